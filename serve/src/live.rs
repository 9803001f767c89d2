//! The live index: one writer, many readers, each of which sees one commit whole.
//!
//! ```text
//!  commit ─► Writer: read, pack ─► lock ─► index, related, history ─► unlock ─► who waits
//! ```
//!
//! 1. All that takes long is done before the lock: documents are read, packed and compared with the
//!    former ones, which only the writer changes.
//! 2. Under the lock all changes of a commit are made, and only then its number is shown.
//! 3. A reader copies what it needs under the lock (packed documents are shared, not copied) and works on
//!    it afterwards.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use headwater::dataflow::{CommitId, Lineage};
use headwater::view::Unread;
use tokio::sync::watch;

use crate::commit::{Change, Commit, Topic};
use crate::document::{self, Document, Facts};
use crate::filter::Filter;
use crate::history::{Changes, EventChange, Gone, History, Version};
use crate::index::{Fate, Index};
use crate::packed::{Packed, Packing, TRAINED_ON};
use crate::timeline::Timeline;

/// All that is served, as one commit has left it.
#[derive(Default)]
pub struct Served {
    /// The events.
    pub index: Index,
    /// Records of listings.
    pub listings: Related,
    /// Records of links.
    pub links: Related,
    /// What has changed lately.
    pub history: History,
    /// When commits were made.
    pub timeline: Timeline,
    /// Whether all is there that was in the topics when serving began.
    pub ready: bool,
}

impl Served {
    /// The ids that may have been in the result of `filter` at `commit` and are not any more: of events that
    /// have gone, and of those that changed and are not asked for; `None` where that is not known any more.
    /// What `filter` says of changes does not count.
    pub fn left_since(&self, filter: &Filter, commit: u64) -> Option<Vec<Arc<str>>> {
        let gone = self.history.gone_since(commit)?.map(|gone| &gone.id);
        let gone: BTreeSet<Arc<str>> = gone.filter(|id| self.index.get(id).is_none()).cloned().collect();
        let selection = self.index.select(&Filter { updated_since: None, ..filter.clone() });
        let changed = self.index.changed_outside(&selection, commit).cloned();
        Some(gone.into_iter().chain(changed).collect())
    }
}

/// Records that belong to events, by key.
#[derive(Default)]
pub struct Related {
    documents: HashMap<Box<str>, Packed, foldhash::fast::RandomState>,
    packing: Packing,
}

impl Related {
    /// The record of a key.
    pub fn get(&self, key: &str) -> Option<&Packed> {
        self.documents.get(key)
    }

    /// How its records are packed.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// All records, in no order. They are shared, not copied.
    pub fn all(&self) -> Vec<Packed> {
        self.documents.values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    fn set(&mut self, key: Box<str>, document: Option<Packed>) {
        match document {
            Some(document) => self.documents.insert(key, document),
            None => self.documents.remove(&key),
        };
    }
}

/// What is served, shared between the writer and all readers.
pub struct Live {
    served: RwLock<Served>,
    /// The number of the lineage of its commits.
    lineage: AtomicU32,
    /// When the commit that is shown was made, in ms since the Unix epoch; 0 where that is not known.
    committed_ms: AtomicI64,
    commits: watch::Sender<u64>,
}

impl Live {
    /// Nothing yet, and the one writer.
    pub fn new() -> (Arc<Self>, Writer) {
        let lineage = AtomicU32::new(Lineage::default().number());
        let committed_ms = AtomicI64::new(0);
        let live = Arc::new(Self { served: RwLock::default(), lineage, committed_ms, commits: watch::Sender::new(0) });
        (Arc::clone(&live), Writer { live, untrainable: Vec::new() })
    }

    /// What is served now. The writer waits for as long as this is held.
    pub fn read(&self) -> RwLockReadGuard<'_, Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Served> {
        self.served.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lineage of its commits.
    pub fn lineage(&self) -> Lineage {
        Lineage::from_number(self.lineage.load(Ordering::Acquire))
    }

    /// When the commit that is shown was made, in ms since the Unix epoch; just after the start, up to a minute
    /// before that. `None` where it is not known.
    pub fn committed_ms(&self) -> Option<i64> {
        Some(self.committed_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0)
    }

    /// A commit of its lineage.
    pub fn position(&self, commit: u64) -> CommitId {
        CommitId { lineage: self.lineage(), number: commit }
    }

    /// The number of the commit that is shown, as it changes.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }
}

/// Why a commit could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A record was written in a format newer than this program knows.
    #[error("the record {key:?} of the topic {topic} has format {found}, and this program knows {known} at most")]
    NewerFormat {
        /// The topic, without prefix.
        topic: &'static str,
        /// The key of the record.
        key: String,
        /// Its format.
        found: u64,
        /// The newest format that is known.
        known: u64,
    },
    /// There is no memory to pack documents.
    #[error("cannot pack a document")]
    Pack(#[from] io::Error),
}

/// The only one that changes what is served.
pub struct Writer {
    live: Arc<Live>,
    /// Topics whose documents are too much alike to train a dictionary.
    untrainable: Vec<Topic>,
}

/// A record of a listing or a link, packed; `None` where the key has none any more.
type PackedRecord = (Topic, Box<str>, Option<Packed>);

/// What a commit does to an id, worked out.
struct Prepared {
    id: Box<str>,
    commit: u64,
    former: Option<Version>,
    next: Next,
}

enum Next {
    Event(Box<Facts>, Packed, Bytes),
    Redirect(String),
    Gone,
}

impl Writer {
    /// What it writes to.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Takes in records that were there before serving began. Nobody is told of them; readers may see a
    /// part of them, so let [`Served::ready`] tell when they are all there.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn restore(&mut self, part: Vec<Change>) -> Result<(), ApplyError> {
        self.make(Commit { changes: part, ..Commit::default() }, false).map(drop)
    }

    /// Its commits belong to a lineage from now on.
    pub fn set_lineage(&mut self, lineage: Lineage) {
        self.live.lineage.store(lineage.number(), Ordering::Release);
    }

    /// Forgets everything: the log is another one. Nothing is answered until it [begins](Self::begin) again.
    pub fn forget(&mut self) {
        *self.live.write() = Served::default();
        self.untrainable.clear();
        self.set_lineage(Lineage::default());
    }

    /// Ends the restoring: `commit` is shown, and from now on every commit counts. `timeline` says when those were made that are
    /// restored. What went after the commit `gone_after` was among the records.
    pub fn begin(&mut self, commit: u64, timeline: Timeline, gone_after: u64) {
        let mut served = self.live.write();
        served.index.set_commit(commit);
        self.live.committed_ms.store(timeline.last_ms().unwrap_or(0), Ordering::Relaxed);
        served.timeline = timeline;
        served.history.begin(commit, gone_after);
        served.ready = true;
        drop(served);
        self.live.commits.send_replace(commit);
    }

    /// Makes the changes of a commit, all at once, and tells of it. A record that cannot be read is
    /// logged and changes nothing.
    ///
    /// # Errors
    /// See [`ApplyError`]; nothing was changed then.
    pub fn apply(&mut self, commit: Commit) -> Result<Arc<Changes>, ApplyError> {
        let ms = commit.ms;
        let changes = self.make(commit, true)?;
        self.live.committed_ms.store(ms, Ordering::Relaxed);
        self.live.commits.send_replace(changes.commit);
        Ok(changes)
    }

    fn make(&mut self, commit: Commit, told: bool) -> Result<Arc<Changes>, ApplyError> {
        // Of several changes of a key the last one counts. They are made in the order of their keys, so that
        // the same commit gives the same stream.
        let mut last: BTreeMap<(Topic, Box<str>), Change> = BTreeMap::new();
        for change in commit.changes {
            last.insert((change.topic, change.key.clone()), change);
        }
        let (events, related) = last.into_values().partition(|change| change.topic == Topic::Events);
        let events = self.prepare(events)?;
        let related = self.pack_related(related)?;
        let mut served = self.live.write();
        for (topic, key, document) in related {
            match topic {
                Topic::Listings => served.listings.set(key, document),
                Topic::Links | Topic::Events => served.links.set(key, document),
            }
        }
        let events = events.into_iter().map(|prepared| set(&mut served, prepared)).collect();
        let number = commit.number.max(served.index.commit());
        served.index.set_commit(number);
        let changes = Arc::new(Changes { commit: number, events });
        if told {
            served.timeline.note(number, commit.ms);
            served.history.push(Arc::clone(&changes));
        }
        drop(served);
        self.train();
        Ok(changes)
    }

    fn prepare(&self, events: Vec<Change>) -> Result<Vec<Prepared>, ApplyError> {
        let packing = self.live.read().index.packing().clone();
        let (mut packer, mut unpacker) = (packing.packer()?, packing.unpacker()?);
        let mut prepared = Vec::new();
        for Change { key: id, value, commit, .. } in events {
            let next = match value {
                None => Next::Gone,
                Some(value) => match readable(Topic::Events, &id, text(&value).and_then(document::read))? {
                    None => continue,
                    Some(Document::Redirect(to)) => Next::Redirect(to),
                    Some(Document::Event(facts)) => Next::Event(facts, packer.pack(&value)?, value.into()),
                },
            };
            let former = self.live.read().index.get(&id).map(|entry| (entry.document.clone(), entry.commit));
            let former = match former {
                None => None,
                Some((document, commit)) => former_version(&unpacker.unpack(&document)?, commit),
            };
            prepared.push(Prepared { id, commit, former, next });
        }
        Ok(prepared)
    }

    fn pack_related(&self, related: Vec<Change>) -> Result<Vec<PackedRecord>, ApplyError> {
        let (listings, links) = {
            let served = self.live.read();
            (served.listings.packing.clone(), served.links.packing.clone())
        };
        let (mut listings, mut links) = (listings.packer()?, links.packer()?);
        let mut packed = Vec::with_capacity(related.len());
        for Change { topic, key, value, .. } in related {
            let packer = if topic == Topic::Listings { &mut listings } else { &mut links };
            let document = value.map(|value| packer.pack(&value)).transpose()?;
            packed.push((topic, key, document));
        }
        Ok(packed)
    }

    /// Trains dictionaries where there are enough documents for the first time. Documents that are too much
    /// alike train none; they are packed well enough without.
    fn train(&mut self) {
        let (events, listings, links) = self.untrained();
        let events = self.trained(Topic::Events, events);
        let (listings, links) = (self.trained(Topic::Listings, listings), self.trained(Topic::Links, links));
        let mut served = self.live.write();
        if let Some((packing, documents)) = events {
            served.index.set_packing(packing, documents);
        }
        if let Some((packing, documents)) = listings {
            served.listings = Related { documents: documents.into_iter().collect(), packing };
        }
        if let Some((packing, documents)) = links {
            served.links = Related { documents: documents.into_iter().collect(), packing };
        }
    }

    /// The documents of events, listings and links, where a dictionary is to be trained on them.
    fn untrained(&self) -> Untrained {
        let enough = |topic: Topic, packing: &Packing, documents: usize| {
            !packing.is_trained() && documents >= TRAINED_ON && !self.untrainable.contains(&topic)
        };
        let served = self.live.read();
        let events = enough(Topic::Events, served.index.packing(), served.index.len() as usize)
            .then(|| served.index.entries().map(|entry| (Arc::clone(&entry.id), entry.document.clone())).collect());
        let of = |topic: Topic, related: &Related| {
            let all = || related.documents.iter().map(|(key, document)| (key.clone(), document.clone())).collect();
            enough(topic, &related.packing, related.documents.len()).then(all)
        };
        (events, of(Topic::Listings, &served.listings), of(Topic::Links, &served.links))
    }

    fn trained<K>(&mut self, topic: Topic, documents: Documents<K>) -> Option<(Packing, Vec<(K, Packed)>)> {
        match Packing::repack(documents?) {
            Ok(trained) => Some(trained),
            Err(error) => {
                tracing::debug!(topic = topic.name(), %error, "documents are packed without a dictionary");
                self.untrainable.push(topic);
                None
            }
        }
    }
}

/// Packed documents by key, where there is a reason to take them all.
type Documents<K> = Option<Vec<(K, Packed)>>;

/// Those of events, listings and links.
type Untrained = (Documents<Arc<str>>, Documents<Box<str>>, Documents<Box<str>>);

/// What was read of the document that the index has. It was readable when it came.
fn former_version(document: &[u8], commit: u64) -> Option<Version> {
    match text(document).and_then(document::read) {
        Ok(Document::Event(facts)) => Some(Version { facts, commit }),
        _ => None,
    }
}

fn text(value: &[u8]) -> Result<&str, Unread> {
    std::str::from_utf8(value).map_err(|_| Unread::malformed("it is not UTF-8"))
}

/// What was read; `None` where it cannot be read.
fn readable<T>(topic: Topic, key: &str, read: Result<T, Unread>) -> Result<Option<T>, ApplyError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Unread::Format { found, known }) => {
            Err(ApplyError::NewerFormat { topic: topic.name(), key: key.to_owned(), found, known })
        }
        Err(Unread::Malformed(reason)) => {
            tracing::error!(topic = topic.name(), key, reason, "skipped a record that cannot be read");
            metrics::counter!("headwater_serve_skipped_total").increment(1);
            Ok(None)
        }
    }
}

fn set(served: &mut Served, prepared: Prepared) -> EventChange {
    let Prepared { id, commit, former, next } = prepared;
    let fate = match &next {
        Next::Event(facts, packed, _) => Fate::Event(facts, packed.clone()),
        Next::Redirect(to) => Fate::Redirect(to),
        Next::Gone => Fate::Gone,
    };
    served.index.set(&id, former.as_ref().map(|former| &*former.facts), fate, commit);
    let id: Arc<str> = served.index.get(&id).map_or_else(|| id.into(), |entry| Arc::clone(&entry.id));
    let (now, redirect_to) = match next {
        Next::Event(facts, _, document) => (Some((Version { facts, commit }, document)), None),
        Next::Redirect(to) => (None, Some(to.into_boxed_str())),
        Next::Gone => (None, None),
    };
    if now.is_none() {
        served.history.note_gone(Gone { commit, id: Arc::clone(&id) });
    }
    EventChange { id, former, now, redirect_to }
}
