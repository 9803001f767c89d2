//! Tests of the committer, with a writer that notes what it is given.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use crossbeam_channel::{Sender, unbounded};
use proptest::prelude::*;

use super::*;
use crate::engine::input::PositionReport;
use crate::engine::progress::Position;
use crate::engine::progress::Reached;
use crate::log::memory::MemoryLog;
use crate::log::{Cleanup, TopicSpec};
use crate::schema::{RowTopic, Schema, Spec, json_codec};

/// The epoch of the last commit.
const RESTORED: Epoch = 100;

/// What a writer was given, and how it answers before it takes everything.
#[derive(Clone, Default)]
struct Written {
    transactions: Arc<Mutex<Vec<Transaction>>>,
    answers: Arc<Mutex<VecDeque<LogError>>>,
}

impl Transactional for Written {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        let Transaction { records, headers, positions } = transaction;
        let copy = Transaction { records: records.clone(), headers: headers.clone(), positions: positions.clone() };
        self.transactions.lock().unwrap().push(copy);
        self.answers.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }

    fn check(&mut self, _positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        Ok(())
    }
}

struct Bench {
    committer: Committer,
    written: Written,
    rows: TopicId,
    later: (Sender<Sealed>, Receiver<Sealed>),
}

impl Bench {
    /// A committer for `workers` workers that goes on at [`RESTORED`]; it compares where rows are `held`.
    fn new(workers: usize, held: Option<Vec<&str>>) -> Self {
        let mut schema = Schema::default();
        let rows = schema.rows("rows", json_codec::<String, i64>().0, Spec::default()).id();
        let catalog = schema.freeze().unwrap();
        let log = MemoryLog::new();
        catalog.topics().for_each(|(_, topic)| log.create(&topic.name, 1));
        let names = Arc::new(TopicNames::new("", &catalog));
        let held = held.map(|keys| Arc::new(keys.iter().map(|key| row(rows, key, 0)).collect::<HeldRows>()));
        let position = Position { topic: "raw".to_owned(), partition: 0, next: 10, max_timestamp: Some(5), last: None };
        let options = CommitterOptions {
            name: "t".to_owned(),
            log: Arc::new(log),
            members: Members::new(Arc::clone(&names), Arc::new(spec)),
            names,
            fingerprints: Fingerprints { results: 2, extraction: 0 },
            progress: Some(Progress {
                format: FORMAT,
                epoch: RESTORED,
                positions: vec![position.clone()],
                watermark: Some(5),
                results: 1,
                extraction: 0,
                ends: Vec::new(),
                rebuilding: None,
                agreed: None,
                lineage: None,
                commit: 0,
                written: BTreeMap::new(),
            }),
            positions: Positions::from(&[position][..]),
            held,
            rebuilding: false,
            correction_batch: 1,
            correction_guard: None,
            preview: false,
            published: BTreeSet::from(["raw".to_owned()]),
            workers,
            goals: None,
            catalog: Arc::clone(&catalog),
        };
        let written = Written::default();
        let committer = Committer::new(options, Box::new(written.clone()), Arc::new(Lifecycle::new(catalog)));
        Self { committer, written, rows, later: unbounded() }
    }

    /// A committer whose workers have restored everything.
    fn restored() -> Self {
        let mut bench = Self::new(1, None);
        bench.take(Sealed { frontier: Some(RESTORED + 1), sources_restored: 1, epoch: RESTORED, ..Sealed::default() });
        bench
    }

    fn take(&mut self, sealed: Sealed) {
        self.committer.take(sealed, &self.later.1).unwrap();
    }

    /// What is sealed when `epoch` is complete: a row whose value is the epoch, and a position.
    fn sealed(&self, epoch: Epoch) -> Sealed {
        let position = PositionReport {
            topic: "raw".into(),
            partition: 0,
            reached: Reached { next: epoch as i64, max_timestamp: Some(epoch as i64), last: None },
            found_with_end: None,
        };
        Sealed {
            frontier: Some(epoch + 1),
            records: vec![row(self.rows, &format!("row of {epoch}"), epoch)],
            positions: vec![position.clone()],
            watermark: Some(epoch as i64),
            epoch,
            first: Some(epoch),
            ..Sealed::default()
        }
    }

    fn transactions(&self) -> Vec<Seen> {
        self.written.transactions.lock().unwrap().iter().map(seen).collect()
    }
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        replication: None,
        cleanup: Cleanup::Compact,
        max_record_bytes: 1 << 20,
        properties: BTreeMap::new(),
    }
}

fn row(topic: TopicId, key: &str, value: u64) -> OutRecord {
    OutRecord::row(topic, Bytes::copy_from_slice(key.as_bytes()), Some(value.to_string().into()))
}

/// A transaction, as a test looks at it.
#[derive(Debug, PartialEq)]
struct Seen {
    /// The values of its rows.
    rows: Vec<u64>,
    progress: Progress,
    mark: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

fn seen(transaction: &Transaction) -> Seen {
    let (progress, rows) = transaction.records.split_last().unwrap();
    assert_eq!(&*progress.topic, "progress");
    let value = |record: &NewRecord| {
        record.value.as_deref().map_or(u64::MAX, |text| std::str::from_utf8(text).unwrap().parse().unwrap())
    };
    Seen {
        rows: rows.iter().filter(|record| &*record.topic == "rows").map(value).collect(),
        progress: serde_json::from_slice(progress.value.as_deref().unwrap()).unwrap(),
        mark: progress.headers[0].1.clone(),
        headers: transaction.headers.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_is_in_one_transaction_and_nothing_goes_back(
        steps in prop::collection::vec((1u64..50, 0usize..3), 1..30),
    ) {
        let mut bench = Bench::restored();
        let (mut epoch, mut all) = (RESTORED, Vec::new());
        let mut sealed: Vec<Vec<Sealed>> = Vec::new();
        for (step, joined) in steps {
            epoch += step;
            all.push(epoch);
            let one = bench.sealed(epoch);
            // Some are sealed while a transaction is under way.
            match sealed.last_mut().filter(|_| joined > 0) {
                Some(last) => last.push(one),
                None => sealed.push(vec![one]),
            }
        }
        for stretch in sealed {
            let mut stretch = stretch.into_iter();
            let first = stretch.next().unwrap();
            stretch.for_each(|later| bench.later.0.send(later).unwrap());
            bench.take(first);
        }
        let transactions = bench.transactions();
        prop_assert_eq!(transactions.iter().flat_map(|one| one.rows.clone()).collect::<Vec<_>>(), all);
        let mut before = RESTORED;
        for (number, one) in (1..).zip(&transactions) {
            let epoch = one.progress.epoch;
            let commit = CommitId { lineage: bench.committer.lineage, number };
            prop_assert_eq!((one.progress.lineage, one.progress.commit), (Some(commit.lineage), number));
            prop_assert_eq!(&one.progress.written, &BTreeMap::from([("rows".to_owned(), one.rows.len() as u64)]));
            prop_assert!(one.rows.iter().all(|row| before < *row && *row <= epoch), "{before}, {one:?}");
            let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
            prop_assert_eq!(&one.headers, &[header(EPOCH, epoch.to_string()), header(COMMIT, commit.to_string())]);
            prop_assert_eq!(one.progress.positions[0].next as u64, *one.rows.last().unwrap());
            prop_assert_eq!(one.progress.watermark.unwrap() as u64, *one.rows.last().unwrap());
            before = epoch;
        }
        prop_assert_eq!(bench.committer.lifecycle.committed(), before);
    }
}

#[test]
fn nothing_is_written_before_every_share_is_restored() {
    let mut bench = Bench::new(2, None);
    bench.take(Sealed { frontier: Some(RESTORED), ..Sealed::default() });
    // One of two has stopped on the way.
    bench.take(Sealed { frontier: Some(RESTORED + 1), sources_restored: 1, epoch: RESTORED, ..Sealed::default() });
    let sealed = bench.sealed(RESTORED + 5);
    bench.take(sealed);
    assert_eq!(bench.transactions(), []);
    bench.take(Sealed { sources_restored: 1, ..bench.sealed(RESTORED + 6) });
    assert_eq!(bench.transactions().len(), 1);
}

#[test]
fn corrections_come_first() {
    let mut bench = Bench::new(1, Some(vec!["gone", "same"]));
    let implied = vec![row(bench.rows, "same", 0), row(bench.rows, "new", 7)];
    let first = Sealed { restored: implied, sources_restored: 1, ..bench.sealed(RESTORED + 9) };
    bench.take(first);
    let told: Vec<_> =
        bench.transactions().iter().map(|one| (one.rows.clone(), one.progress.epoch, one.progress.results)).collect();
    let removed = vec![u64::MAX];
    let expected =
        [(vec![7], RESTORED, 1), (removed, RESTORED, 1), (vec![], RESTORED, 2), (vec![RESTORED + 9], RESTORED + 9, 2)];
    assert_eq!(told, expected, "a row, its like that goes, the fingerprint, and then what is new");
}

#[test]
fn ends_are_recorded_when_nothing_is_left_to_say() {
    let mut bench = Bench::restored();
    bench.committer.ends_are_current = false;
    bench.committer.record_ends().unwrap();
    bench.committer.record_ends().unwrap();
    let ends: Vec<_> = bench.transactions().iter().map(|one| one.progress.ends.len()).collect();
    assert_eq!(ends, [0, 2], "once: of rows and of dead letters");
    let sealed = bench.sealed(RESTORED + 1);
    bench.take(sealed);
    bench.committer.record_ends().unwrap();
    assert_eq!(bench.transactions().len(), 5, "a row was written since");
    let code = (header::CODE.to_owned(), DeadLetterCode::OUTPUT_TOO_LARGE.as_str().into());
    let letter = OutRecord { headers: vec![code], ..row(TopicId::DEAD_LETTERS, "row", 0) };
    bench.take(Sealed { records: vec![letter], ..bench.sealed(RESTORED + 2) });
    bench.committer.record_ends().unwrap();
    assert_eq!(bench.transactions().len(), 6, "a row is missing from the outputs");
}

#[test]
fn a_row_that_the_log_refuses_is_a_dead_letter_and_missing_from_the_outputs() {
    let mut bench = Bench::restored();
    bench.committer.ends_are_current = false;
    let refused = LogError::TooLarge { index: 0, topic: "rows".to_owned(), size: 9, limit: 1 };
    bench.written.answers.lock().unwrap().push_back(refused);
    let sealed = bench.sealed(RESTORED + 1);
    bench.take(sealed);
    let written = bench.written.transactions.lock().unwrap().last().map(|one| one.records.clone()).unwrap();
    assert!(written[0].value.is_none(), "the row became a tombstone");
    assert!(written.iter().any(|record| &*record.topic == "dead-letters"));
    let counts = BTreeMap::from([("dead-letters".to_owned(), 1), ("rows".to_owned(), 1)]);
    assert_eq!(bench.transactions().last().unwrap().progress.written, counts);
    assert_eq!(bench.committer.lifecycle.counters.dead_letters.load(Ordering::Relaxed), 1);
    let before = bench.written.transactions.lock().unwrap().len();
    bench.committer.record_ends().unwrap();
    assert_eq!(bench.written.transactions.lock().unwrap().len(), before, "a later start compares");
}

#[test]
fn a_transaction_is_repeated_until_its_fate_is_known() {
    let mut bench = Bench::restored();
    let away = LogError::Unreachable { at: "here".to_owned(), reason: "it was switched off".to_owned() };
    bench.written.answers.lock().unwrap().push_back(away);
    for epoch in [RESTORED + 1, RESTORED + 2] {
        let sealed = bench.sealed(epoch);
        bench.take(sealed);
    }
    let transactions = bench.transactions();
    let [first, again, next] = &*transactions else { panic!("{transactions:?}") };
    assert_eq!(first, again);
    assert_ne!(first.mark, next.mark);
    assert_eq!((first.progress.commit, next.progress.commit), (1, 2));
    assert_eq!(next.rows, [RESTORED + 2]);
}
