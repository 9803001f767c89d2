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

/// How long a ticket can be used.
pub(crate) const TICKET_LASTS: Duration = Duration::from_secs(30);

/// More than these are not kept: the oldest goes first.
const MOST: usize = 10_000;

/// Random texts that stand for keys for a while.
#[derive(Debug)]
struct Passes {
    lasts: Duration,
    /// By the hash of the text: a copy of memory opens nothing.
    passes: Mutex<HashMap<blake3::Hash, (Arc<Holder>, Instant)>>,
}

impl Passes {
    fn new(lasts: Duration) -> Self {
        Self { lasts, passes: Mutex::default() }
    }

    fn passes(&self) -> MutexGuard<'_, HashMap<blake3::Hash, (Arc<Holder>, Instant)>> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, holder: Arc<Holder>, now: Instant) -> Result<String, openssl::error::ErrorStack> {
        let text = random_text()?;
        let mut passes = self.passes();
        passes.retain(|_, (_, until)| *until > now);
        if passes.len() >= MOST
            && let Some(oldest) = passes.iter().min_by_key(|(_, (_, until))| *until).map(|(hash, _)| *hash)
        {
            passes.remove(&oldest);
        }
        passes.insert(blake3::hash(text.as_bytes()), (holder, now + self.lasts));
        Ok(text)
    }

    fn holder(&self, text: &str, now: Instant) -> Option<Arc<Holder>> {
        let passes = self.passes();
        let (holder, until) = passes.get(&blake3::hash(text.as_bytes()))?;
        (*until > now).then(|| Arc::clone(holder))
    }

    fn take(&self, text: &str, now: Instant) -> Option<Arc<Holder>> {
        let (holder, until) = self.passes().remove(&blake3::hash(text.as_bytes()))?;
        (until > now).then_some(holder)
    }
}

/// Sessions of browsers.
#[derive(Debug)]
pub(crate) struct Sessions(Passes);

impl Default for Sessions {
    fn default() -> Self {
        Self(Passes::new(SESSION_LASTS))
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
        Self(Passes::new(TICKET_LASTS))
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
        let passes = Passes::new(TICKET_LASTS);
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
}
