//! What operators and editors do: decisions, dead letters, records of topics, sources, and records that come in.
//!
//! All of it blocks, and works on the log by the same functions as the tools of the command line.
//!
//! | file | what |
//! | --- | --- |
//! | `audit` | writes, each with a record of who has written what |
//! | `control` | the gates in force, and records that change them |
//! | `inbound` | raw records that come in over HTTP |
//! | `letters` | what the codes of dead letters ask for |
//! | `records` | records of topics, to be looked at |
//! | `review` | the pairs that a person should look at |
//! | `sources` | what each source gives |

mod audit;
pub(crate) mod control;
pub(crate) mod inbound;
pub(crate) mod letters;
pub(crate) mod records;
pub(crate) mod review;
pub(crate) mod sources;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use headwater::config::Runtime;
use headwater::log::{Log, NewRecord};
use headwater::tools::dead_letters::Examine;
use headwater_operators::raw::RawRecord;
use headwater_operators::score::Gates;
use serde_json::Value;
use tokio::sync::Semaphore;

use self::audit::Audited;
pub(crate) use self::audit::{Act, AuditError};
use self::inbound::Inbound;
use self::review::ReviewCache;
use self::sources::SourcesCache;
use crate::live::Live;

/// Writes that may be made at once.
const MOST_WRITES: usize = 8;

/// What a topology knows, beside what is in its topics.
pub trait Preview: Send + Sync {
    /// What would become of a record, without writing anything: JSON with `listings` and `failures`.
    /// `live` is what is served now.
    fn preview(&self, live: &Live, record: RawRecord) -> Value;

    /// The likelihood from which two listings are one event, from 0 to 1.
    fn threshold(&self) -> f64;

    /// The gates as they are configured.
    fn gates(&self) -> &Gates;
}

/// What a server needs to do more than to show events.
pub struct Means {
    /// The log of the topology.
    pub log: Arc<dyn Log>,
    /// Its configuration.
    pub config: Runtime,
    /// What it knows of raw records.
    pub examine: Option<Box<dyn Examine>>,
    /// What it would make of them.
    pub preview: Option<Box<dyn Preview>>,
}

/// What operators and editors do.
pub struct Admin {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) config: Runtime,
    pub(crate) examine: Option<Box<dyn Examine>>,
    pub(crate) preview: Option<Box<dyn Preview>>,
    pub(crate) inbound: Inbound,
    pub(crate) sources: SourcesCache,
    pub(crate) review: ReviewCache,
    /// Replays end when it is set.
    pub(crate) stop: Arc<AtomicBool>,
    /// Who decides or changes gates: what was there before is to be what the new record replaces.
    pub(crate) deciding: Mutex<()>,
    /// Writes that may be made at once: each holds a thread, for long while the log is away.
    pub(crate) writes: Semaphore,
    audited: Audited,
}

impl Admin {
    /// Works on a log.
    pub fn new(means: Means) -> Self {
        let Means { log, config, examine, preview } = means;
        Self {
            inbound: Inbound::new(Arc::clone(&log)),
            audited: Audited::new(Arc::clone(&log), &config),
            sources: SourcesCache::default(),
            review: ReviewCache::default(),
            stop: Arc::default(),
            deciding: Mutex::default(),
            writes: Semaphore::new(MOST_WRITES),
            log,
            config,
            examine,
            preview,
        }
    }

    /// Appends records together with what is known of who writes them, or nothing.
    pub(crate) fn write(&self, records: Vec<NewRecord>, act: &Act<'_>) -> Result<(), AuditError> {
        self.audited.write(records, act)
    }
}
