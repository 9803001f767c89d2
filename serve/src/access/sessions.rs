//! Sessions of browsers, and tickets: what stands for a key where a key cannot be shown.
//!
//! A browser shows a key once, and from then on a cookie that scripts cannot read. A page of another origin cannot
//! send headers with an `EventSource`, so it asks for a ticket first, which opens one stream. Both are kept in memory
//! only: after a restart people sign in again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blake3::Hash;

use super::Identity;
use super::keys::random_text;

/// How long a session lasts.
pub(crate) const SESSION_LASTS: Duration = Duration::from_secs(12 * 3600);

/// How long a session lasts in which nothing is asked for.
const SESSION_RESTS: Duration = Duration::from_secs(30 * 60);

/// How long a ticket can be used.
pub(crate) const TICKET_LASTS: Duration = Duration::from_secs(30);

/// More than these are not kept: the oldest goes first.
const MOST: usize = 10_000;

/// Sessions that one name has at once: the oldest of them goes first, so that nobody can end those of others.
const MOST_OF_ONE: usize = 20;

/// Random texts that stand for keys for a while.
#[derive(Debug)]
struct Passes {
    lasts: Duration,
    /// How long one lasts that is not used.
    rests: Duration,
    /// How many of one name are kept.
    most_of_one: usize,
    /// By the hash of the text: a copy of memory opens nothing.
    passes: Mutex<HashMap<Hash, Pass>>,
}

#[derive(Debug)]
struct Pass {
    owner: Identity,
    until: Instant,
    used: Instant,
}

impl Passes {
    fn new(lasts: Duration, rests: Duration, most_of_one: usize) -> Self {
        Self { lasts, rests, most_of_one, passes: Mutex::default() }
    }

    fn is_valid(&self, pass: &Pass, now: Instant) -> bool {
        pass.until > now && pass.used + self.rests > now
    }

    fn passes(&self) -> MutexGuard<'_, HashMap<Hash, Pass>> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, owner: Identity, now: Instant) -> Result<String, openssl::error::ErrorStack> {
        let text = random_text()?;
        let mut passes = self.passes();
        passes.retain(|_, pass| self.is_valid(pass, now));
        let of_owner = |pass: &Pass| pass.owner.name == owner.name;
        if passes.values().filter(|pass| of_owner(pass)).count() >= self.most_of_one {
            remove_oldest(&mut passes, of_owner);
        }
        if passes.len() >= MOST {
            remove_oldest(&mut passes, |_| true);
        }
        passes.insert(blake3::hash(text.as_bytes()), Pass { owner, until: now + self.lasts, used: now });
        Ok(text)
    }

    /// Who has a pass, if it is valid; it is used then.
    fn used(&self, hash: &Hash, now: Instant) -> Option<Identity> {
        let mut passes = self.passes();
        let pass = passes.get_mut(hash).filter(|pass| self.is_valid(pass, now))?;
        pass.used = now;
        Some(pass.owner.clone())
    }

    /// Who has a pass, if it is valid, and until when it is if it is not used.
    fn lasts(&self, hash: &Hash, now: Instant) -> Option<(Identity, Instant)> {
        let passes = self.passes();
        let pass = passes.get(hash).filter(|pass| self.is_valid(pass, now))?;
        Some((pass.owner.clone(), pass.until.min(pass.used + self.rests)))
    }

    fn take(&self, text: &str, now: Instant) -> Option<Identity> {
        let pass = self.passes().remove(&blake3::hash(text.as_bytes()))?;
        self.is_valid(&pass, now).then_some(pass.owner)
    }
}

fn remove_oldest(passes: &mut HashMap<Hash, Pass>, among: impl Fn(&Pass) -> bool) {
    let those = passes.iter().filter(|(_, pass)| among(pass));
    if let Some(oldest) = those.min_by_key(|(_, pass)| pass.until).map(|(hash, _)| *hash) {
        passes.remove(&oldest);
    }
}

/// Sessions of browsers.
#[derive(Debug)]
pub(crate) struct Sessions(Passes);

impl Default for Sessions {
    fn default() -> Self {
        Self(Passes::new(SESSION_LASTS, SESSION_RESTS, MOST_OF_ONE))
    }
}

impl Sessions {
    /// Begins one; gives its secret.
    pub(crate) fn begin(&self, owner: Identity) -> Result<String, openssl::error::ErrorStack> {
        self.0.issue(owner, Instant::now())
    }

    /// Who began it; it is used then.
    pub(crate) fn owner(&self, secret: &str) -> Option<Identity> {
        self.0.used(&blake3::hash(secret.as_bytes()), Instant::now())
    }

    /// Who began the one whose secret has this hash, and until when it lasts if it is not used.
    pub(crate) fn lasts(&self, hash: &Hash) -> Option<(Identity, Instant)> {
        self.0.lasts(hash, Instant::now())
    }

    /// Counts a use of the one whose secret has this hash.
    pub(crate) fn is_used(&self, hash: &Hash) {
        self.0.used(hash, Instant::now());
    }

    /// Ends one; whether there was one.
    pub(crate) fn end(&self, secret: &str) -> bool {
        self.0.take(secret, Instant::now()).is_some()
    }
}

/// Tickets, each of which opens one stream.
#[derive(Debug)]
pub(crate) struct Tickets(Passes);

impl Default for Tickets {
    fn default() -> Self {
        Self(Passes::new(TICKET_LASTS, TICKET_LASTS, MOST))
    }
}

impl Tickets {
    pub(crate) fn issue(&self, owner: Identity) -> Result<String, openssl::error::ErrorStack> {
        self.0.issue(owner, Instant::now())
    }

    /// Who has the ticket, which is used up.
    pub(crate) fn take(&self, ticket: &str) -> Option<Identity> {
        self.0.take(ticket, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Basis;
    use super::super::keys::Scope;
    use super::*;

    fn kim() -> Identity {
        Identity { name: Some("kim".into()), scopes: [Scope::Read].into(), basis: Basis::Nothing }
    }

    fn hash(text: &str) -> Hash {
        blake3::hash(text.as_bytes())
    }

    #[test]
    fn passes_end_by_themselves_and_tickets_with_their_use() {
        let kim = kim();
        let passes = Passes::new(TICKET_LASTS, TICKET_LASTS, MOST);
        let now = Instant::now();
        let text = passes.issue(kim.clone(), now).unwrap();
        assert_eq!(passes.used(&hash(&text), now + TICKET_LASTS / 2), Some(kim.clone()));
        assert_eq!(passes.used(&hash(&text), now + TICKET_LASTS), None);
        assert_eq!(passes.take(&text, now), Some(kim.clone()));
        assert_eq!(passes.take(&text, now), None);
        for _ in 0..MOST + 5 {
            passes.issue(kim.clone(), now).unwrap();
        }
        assert_eq!(passes.passes().len(), MOST);
    }

    #[test]
    fn nobody_ends_the_sessions_of_others_by_having_many() {
        let passes = Passes::new(SESSION_LASTS, SESSION_RESTS, MOST_OF_ONE);
        let now = Instant::now();
        let of_kim = passes.issue(kim(), now).unwrap();
        let ann = Identity { name: Some("ann".into()), ..kim() };
        let of_ann: Vec<String> = (0..MOST_OF_ONE + 3)
            .map(|number| passes.issue(ann.clone(), now + Duration::from_secs(number as u64)).unwrap())
            .collect();
        let later = now + Duration::from_secs(60);
        assert!(passes.lasts(&hash(&of_kim), later).is_some());
        let kept: Vec<bool> = of_ann.iter().map(|text| passes.lasts(&hash(text), later).is_some()).collect();
        assert_eq!(kept.iter().position(|kept| *kept), Some(3), "the oldest go first");
    }

    #[test]
    fn a_session_ends_when_it_is_not_used() {
        let kim = kim();
        let passes = Passes::new(SESSION_LASTS, SESSION_RESTS, MOST_OF_ONE);
        let begin = Instant::now();
        let text = passes.issue(kim, begin).unwrap();
        let after = |rests: u32| begin + SESSION_RESTS / 4 * rests;
        assert!(
            [3, 6, 9].iter().all(|rests| passes.used(&hash(&text), after(*rests)).is_some()),
            "each use prolongs it"
        );
        assert_eq!(passes.lasts(&hash(&text), after(10)).unwrap().1, after(13), "to look at it does not");
        assert!(passes.used(&hash(&text), after(13)).is_none());
        assert!(passes.used(&hash(&text), after(12)).is_some(), "what was too late has not prolonged it");
        assert!(passes.used(&hash(&text), begin + SESSION_LASTS).is_none());
    }
}
