//! Who may ask for what, and how often.
//!
//! ```text
//!  request ─► host, origin ─► identity: key, token, session, ticket ─► rate limit ─► scope of the endpoint ─► handler
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `keys` | keys, their scopes, and what is kept of them |
//! | `tokens`, `jwks` | tokens of an issuer (JWT), and the public keys that verify them |
//! | `watched` | files with keys, which are read again when they change |
//! | `sessions` | sessions of browsers, and tickets for streams of other origins |
//! | `limits` | requests a second of each client |
//! | `webhooks` | signatures of records that sources send |
//! | `guard` | all of it, before each request |
//!
//! What an identity rests on may end while a stream is open: a session, a token, a key. [`Access::lasts`] says until
//! when it holds, and [`Access::changes`] when to ask again.

pub mod guard;
mod jwks;
pub mod keys;
pub(crate) mod limits;
pub(crate) mod sessions;
pub mod tokens;
pub mod watched;
pub mod webhooks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blake3::Hash;
use headwater::error::{Domain, Fault};
use tokio::sync::watch;

use self::keys::{KeyRing, Scope};
use self::limits::Limiter;
use self::sessions::{Sessions, Tickets};
use self::tokens::Tokens;
use self::watched::Unusable;
use self::webhooks::Webhooks;

/// How often files with keys are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// When to look again at what does not end by itself.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Why a file with keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} (serve.{key})", file.display())]
pub struct KeysError {
    /// Which key of the configuration names the file.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub source: Unusable,
}

impl Fault for KeysError {
    fn domain(&self) -> Domain {
        match &self.source {
            Unusable::Read(error) => Domain::of_file(error),
            Unusable::Content(_) => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        let wanted = match self.key {
            "keys_file" => "a file with [[keys]] as in the configuration, readable by the user that runs it",
            _ => "the public keys of the issuer as a JWK set, such as its `jwks_uri` gives it",
        };
        Some(wanted.to_owned())
    }
}

/// Who may ask for what, and how often.
#[derive(Debug)]
pub struct Access {
    pub(crate) keys: KeyRing,
    /// Tokens of an issuer, if there is one.
    pub(crate) tokens: Option<Tokens>,
    /// What may be done without a key.
    pub(crate) anonymous: Arc<[Scope]>,
    /// What may be done without a key through a proxy.
    pub(crate) forwarded: Arc<[Scope]>,
    pub(crate) sessions: Sessions,
    pub(crate) tickets: Tickets,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) webhooks: Webhooks,
    /// Whether a page of another name may have been made to lead here (DNS rebinding): then only names of this
    /// machine are answered.
    pub(crate) only_local_names: bool,
    /// Whether browsers reach it by TLS alone.
    pub(crate) secure: bool,
    /// Origins whose pages may write, beside its own.
    pub(crate) origins: Vec<String>,
    /// Whether every page may read (`"*"`).
    pub(crate) every_origin_reads: bool,
    /// Told when something that identities rest on may have ended.
    pub(crate) changed: watch::Sender<()>,
}

impl Access {
    /// Everything is allowed to everybody, as often as they like: for a server that only this machine reaches.
    pub fn open() -> Self {
        Self {
            keys: KeyRing::default(),
            tokens: None,
            anonymous: Scope::ALL.into(),
            forwarded: Scope::ALL.into(),
            sessions: Sessions::default(),
            tickets: Tickets::default(),
            limiter: None,
            webhooks: Webhooks::default(),
            only_local_names: false,
            secure: false,
            origins: Vec::new(),
            every_origin_reads: false,
            changed: watch::Sender::default(),
        }
    }

    /// The same, but that nothing may be done without a key from afar: through a proxy, from a page of another origin,
    /// or where others than this machine reach it. For what is not meant for the public.
    #[must_use]
    pub fn closed_to_strangers(self) -> Self {
        let nothing: Arc<[Scope]> = Arc::default();
        // Names of this machine alone are answered where only this machine asks.
        let anonymous = if self.only_local_names { self.anonymous } else { Arc::clone(&nothing) };
        Self { anonymous, forwarded: nothing, ..self }
    }

    /// Whether there is anything to show: keys, or tokens.
    pub(crate) fn knows_somebody(&self) -> bool {
        self.tokens.is_some() || !self.keys.is_empty()
    }

    /// Who shows `text`, which is a key or a token.
    ///
    /// # Errors
    /// Why it opens nothing, for who shows it.
    pub(crate) fn identity(&self, text: &str) -> Result<Identity, String> {
        if let Some(identity) = self.keys.identity(text) {
            return Ok(identity);
        }
        match &self.tokens {
            Some(tokens) if Tokens::is_like(text) => {
                let identity = tokens.identity(text).map_err(|error| error.to_string())?;
                // On the topic `audit` and before the rate limit there are names alone.
                match identity.who() {
                    "anonymous" => Err("The subject of this token is the name of who shows none.".to_owned()),
                    name if self.keys.has_name(name) => {
                        Err("The subject of this token is the name of a key.".to_owned())
                    }
                    _ => Ok(identity),
                }
            }
            _ => Err("This key is not known here.".to_owned()),
        }
    }

    /// Who has the session, whose secret a cookie holds.
    pub(crate) fn of_session(&self, secret: &str) -> Option<Identity> {
        let owner = self.sessions.owner(secret).filter(|owner| self.lasts(owner).is_some())?;
        Some(Identity { basis: Basis::Session(blake3::hash(secret.as_bytes())), ..owner })
    }

    /// Who has the ticket, which is used up.
    pub(crate) fn of_ticket(&self, ticket: &str) -> Option<Identity> {
        self.tickets.take(ticket).filter(|identity| self.lasts(identity).is_some())
    }

    /// Ends a session, and the streams that were opened with it.
    pub(crate) fn end_session(&self, secret: &str) {
        if self.sessions.end(secret) {
            self.changed.send_replace(());
        }
    }

    /// Until when an identity holds, unless something changes; `None` where it does not hold any more.
    pub fn lasts(&self, identity: &Identity) -> Option<Instant> {
        let now = Instant::now();
        match &identity.basis {
            Basis::Nothing => Some(now + FAR),
            Basis::Key(hash) => self.keys.still_has(hash, identity).then_some(now + FAR),
            Basis::Token { key, until } => {
                (*until > now && self.tokens.as_ref().is_some_and(|tokens| tokens.knows(key))).then_some(*until)
            }
            Basis::Session(hash) => {
                let (owner, until) = self.sessions.lasts(hash)?;
                self.lasts(&owner).map(|owner_until| owner_until.min(until))
            }
        }
    }

    /// Counts what somebody with a stream asks for as a use of the session.
    pub(crate) fn is_used_by(&self, identity: &Identity) {
        if let Basis::Session(hash) = &identity.basis {
            self.sessions.is_used(hash);
        }
    }

    /// Tells when to ask again for how long an identity holds.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Reads files with keys again when they change, for ever.
    pub async fn follow_files(self: Arc<Self>) {
        if self.tokens.is_none() && !self.keys.has_file() {
            return;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let access = Arc::clone(&self);
            // A disk may take its time.
            if let Err(error) = tokio::task::spawn_blocking(move || access.refresh()).await {
                tracing::error!(%error, "files with keys could not be looked at");
            }
        }
    }

    fn refresh(&self) {
        let keys = self.keys.refresh();
        if self.tokens.as_ref().is_some_and(Tokens::refresh) || keys {
            self.changed.send_replace(());
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of the key, or the subject of the token; none without one.
    pub(crate) name: Option<Arc<str>>,
    /// What it may do.
    pub(crate) scopes: Arc<[Scope]>,
    /// What that rests on.
    pub(crate) basis: Basis,
}

/// What an identity rests on, and ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Basis {
    /// Nothing was shown.
    Nothing,
    /// The key with this hash.
    Key(Hash),
    /// A token that the key of its issuer with this fingerprint has signed.
    Token { key: Hash, until: Instant },
    /// The session whose secret has this hash.
    Session(Hash),
}

impl Identity {
    /// Whether it may do `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The name, for people.
    pub fn who(&self) -> &str {
        self.name.as_deref().unwrap_or("anonymous")
    }
}
