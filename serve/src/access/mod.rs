//! Who may ask for what, and how often.
//!
//! ```text
//!  request ─► host, origin ─► identity: key, session, ticket ─► rate limit ─► scope of the endpoint ─► handler
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `keys` | keys, their scopes, and what is kept of them |
//! | `sessions` | sessions of browsers, and tickets for streams of other origins |
//! | `limits` | requests a second of each client |
//! | `webhooks` | signatures of records that sources send |
//! | `guard` | all of it, before each request |

pub(crate) mod guard;
pub mod keys;
pub(crate) mod limits;
pub(crate) mod sessions;
pub mod webhooks;

use std::sync::Arc;

use self::keys::{Keys, Scope};
use self::limits::Limiter;
use self::sessions::{Sessions, Tickets};
use self::webhooks::Webhooks;

/// Who may ask for what, and how often.
#[derive(Debug)]
pub struct Access {
    pub(crate) keys: Keys,
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
}

impl Access {
    /// Everything is allowed to everybody, as often as they like: for a server that only this machine reaches.
    pub fn open() -> Self {
        Self {
            keys: Keys::default(),
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
        }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The name of the key; none without one.
    pub(crate) name: Option<Arc<str>>,
    /// What it may do.
    pub(crate) scopes: Arc<[Scope]>,
}

impl Identity {
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The name, for people.
    pub(crate) fn who(&self) -> &str {
        self.name.as_deref().unwrap_or("anonymous")
    }
}
