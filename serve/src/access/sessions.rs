//! Sessions of browsers, and tickets: what stands for a key where a key cannot be shown.
//!
//! A browser shows a key once, and from then on a cookie that scripts cannot read. A page of another origin cannot
//! send headers with an `EventSource`, so it asks for a ticket first, which opens one stream. Both are kept in memory
//! only: after a restart people sign in again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::keys::{Holder, random_text};

/// How long a session lasts.
pub(crate) const SESSION_LASTS: Duration = Duration::from_secs(12 * 3600);

/// How long a session lasts in which nothing is asked for.
const SESSION_RESTS: Duration = Duration::from_secs(30 * 60);

/// How long a ticket can be used.
pub(crate) const TICKET_LASTS: Duration = Duration::from_secs(30);

/// More than these are not kept: the oldest goes first.
const MOST: usize = 10_000;

/// Random texts that stand for keys for a while.
#[derive(Debug)]
struct Passes {
    lasts: Duration,
    /// How long one lasts that is not used.
    rests: Duration,
    /// By the hash of the text: a copy of memory opens nothing.
    passes: Mutex<HashMap<blake3::Hash, Pass>>,
}

#[derive(Debug)]
struct Pass {
    holder: Arc<Holder>,
    until: Instant,
    used: Instant,
}

impl Passes {
    fn new(lasts: Duration, rests: Duration) -> Self {
        Self { lasts, rests, passes: Mutex::default() }
    }

    fn is_valid(&self, pass: &Pass, now: Instant) -> bool {
        pass.until > now && pass.used + self.rests > now
    }

    fn passes(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Pass>> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, holder: Arc<Holder>, now: Instant) -> Result<String, openssl::error::ErrorStack> {
        let text = random_text()?;
        let mut passes = self.passes();
        passes.retain(|_, pass| self.is_valid(pass, now));
        if passes.len() >= MOST
            && let Some(oldest) = passes.iter().min_by_key(|(_, pass)| pass.until).map(|(hash, _)| *hash)
        {
            passes.remove(&oldest);
        }
        passes.insert(blake3::hash(text.as_bytes()), Pass { holder, until: now + self.lasts, used: now });
        Ok(text)
    }

    fn holder(&self, text: &str, now: Instant) -> Option<Arc<Holder>> {
        let mut passes = self.passes();
        let pass = passes.get_mut(&blake3::hash(text.as_bytes())).filter(|pass| self.is_valid(pass, now))?;
        pass.used = now;
        Some(Arc::clone(&pass.holder))
    }

    fn take(&self, text: &str, now: Instant) -> Option<Arc<Holder>> {
        let pass = self.passes().remove(&blake3::hash(text.as_bytes()))?;
        self.is_valid(&pass, now).then_some(pass.holder)
    }
}

/// Sessions of browsers.
#[derive(Debug)]
pub(crate) struct Sessions(Passes);

impl Default for Sessions {
    fn default() -> Self {
        Self(Passes::new(SESSION_LASTS, SESSION_RESTS))
    }
}

impl Sessions {
    /// Begins one; gives its secret.
    pub(crate) fn begin(&self, holder: Arc<Holder>) -> Result<String, openssl::error::ErrorStack> {
        self.0.issue(holder, Instant::now())
    }

    pub(crate) fn holder(&self, secret: &str) -> Option<Arc<Holder>> {
        self.0.holder(secret, Instant::now())
    }

    pub(crate) fn end(&self, secret: &str) {
        self.0.take(secret, Instant::now());
    }
}

/// Tickets, each of which opens one stream.
#[derive(Debug)]
pub(crate) struct Tickets(Passes);

impl Default for Tickets {
    fn default() -> Self {
        Self(Passes::new(TICKET_LASTS, TICKET_LASTS))
    }
}

impl Tickets {
    pub(crate) fn issue(&self, holder: Arc<Holder>) -> Result<String, openssl::error::ErrorStack> {
        self.0.issue(holder, Instant::now())
    }

    /// Who has the ticket, which is used up.
    pub(crate) fn take(&self, ticket: &str) -> Option<Arc<Holder>> {
        self.0.take(ticket, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Scope;
    use super::*;

    #[test]
    fn passes_end_by_themselves_and_tickets_with_their_use() {
        let holder = Arc::new(Holder { name: Some("kim".into()), scopes: [Scope::Read].into() });
        let passes = Passes::new(TICKET_LASTS, TICKET_LASTS);
        let now = Instant::now();
        let text = passes.issue(Arc::clone(&holder), now).unwrap();
        assert_eq!(passes.holder(&text, now + TICKET_LASTS / 2), Some(Arc::clone(&holder)));
        assert_eq!(passes.holder(&text, now + TICKET_LASTS), None);
        assert_eq!(passes.take(&text, now), Some(Arc::clone(&holder)));
        assert_eq!(passes.take(&text, now), None);
        for _ in 0..MOST + 5 {
            passes.issue(Arc::clone(&holder), now).unwrap();
        }
        assert_eq!(passes.passes().len(), MOST);
    }

    #[test]
    fn a_session_ends_when_it_is_not_used() {
        let holder = Arc::new(Holder { name: Some("kim".into()), scopes: [Scope::Read].into() });
        let passes = Passes::new(SESSION_LASTS, SESSION_RESTS);
        let begin = Instant::now();
        let text = passes.issue(holder, begin).unwrap();
        let after = |rests: u32| begin + SESSION_RESTS / 4 * rests;
        assert!([3, 6, 9].iter().all(|rests| passes.holder(&text, after(*rests)).is_some()), "each use prolongs it");
        assert!(passes.holder(&text, after(13)).is_none());
        assert!(passes.holder(&text, after(12)).is_some(), "what was too late has not prolonged it");
        assert!(passes.holder(&text, begin + SESSION_LASTS).is_none());
    }
}
