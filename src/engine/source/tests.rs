//! Tests of the source, on a log in memory: what it gives, and at which epochs.

use std::sync::mpsc;

use headwater_flow::RawRecord;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::operators::Capture;
use timely::dataflow::operators::capture::Event;
use timely::worker::Worker;

use super::*;
use crate::log::memory::MemoryLog;
use crate::schema::Catalog;

/// When the state is restored: long ago.
const RESTORED: Epoch = 20_000_000;

type Events<D> = mpsc::Receiver<Event<Epoch, Vec<D>>>;

/// A source on a worker of its own, and everything that it gives.
struct Bench {
    worker: Worker,
    lifecycle: Arc<Lifecycle>,
    raw: Events<(RawRecord, Epoch, isize)>,
    state: Events<Arc<LogRecord>>,
    tables: Events<LogRecord>,
    positions: Events<PositionReport>,
    restored: Events<Restored>,
}

/// What a source has given: all with their epochs.
#[derive(Default)]
struct Seen {
    raw: Vec<(Epoch, RawRecord)>,
    state: Vec<(Epoch, Arc<LogRecord>)>,
    tables: Vec<(Epoch, LogRecord)>,
    positions: Vec<(Epoch, PositionReport)>,
    restored: Vec<Epoch>,
}

fn drain<D>(events: &Events<D>) -> impl Iterator<Item = (Epoch, D)> {
    events.try_iter().flat_map(|event| match event {
        Event::Messages(epoch, data) => data.into_iter().map(|one| (epoch, one)).collect(),
        Event::Progress(_) => Vec::new(),
    })
}

fn record(topic: &str, n: i64) -> LogRecord {
    LogRecord {
        topic: topic.into(),
        partition: 0,
        offset: 0,
        timestamp_ms: 1_000 + n,
        key: Some(format!("{topic}-{n}").into_bytes()),
        value: Some(vec![b'x'; 100]),
        headers: Vec::new(),
    }
}

/// A log with five records on each of the topics `raw`, `table` and `state`.
fn log() -> MemoryLog {
    let log = MemoryLog::new();
    for topic in ["raw", "table", "state"] {
        log.create(topic, 1);
        for n in 0..5 {
            log.put(record(topic, n)).unwrap();
        }
    }
    log
}

/// Of the raw topic two records were read before, of the table three were known.
fn options(rebuilding: bool) -> SourceOptions {
    let at = |topic: &str| TopicPartition::new(topic, 0);
    SourceOptions {
        share: Share {
            state: vec![at("state")],
            tables: vec![(at("table"), 3)],
            raw: vec![(at("raw"), Some(Reached { next: 2, max_timestamp: Some(1_001), last: None }))],
        },
        inputs: Arc::new(BTreeMap::from([("raw".into(), InputTopic { source: None, content_type: None })])),
        restored_epoch: RESTORED,
        rebuilding,
        cut: false,
        pace: Pace { interval: Duration::from_millis(5), max_epochs: 1_000, max_bytes: 1 << 20 },
        timestamps: Timestamps::new(None),
        growth: Growth {
            dealt: BTreeMap::from([("raw".into(), 1)]),
            worker: 0,
            workers: 1,
            every: Duration::from_secs(60),
        },
    }
}

impl Bench {
    fn new(log: &MemoryLog, options: SourceOptions) -> Self {
        let lifecycle = Arc::new(Lifecycle::new(Arc::new(Catalog::default())));
        let allocator = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(timely::WorkerConfig::default(), allocator, Some(Instant::now()));
        let (log, shared) = (Arc::new(log.clone()), Arc::clone(&lifecycle));
        let (raw, state, tables, positions, restored) = worker.dataflow(|scope| {
            let given = source(scope, log, options, shared);
            let (raw, state, tables) = (given.raw.capture(), given.state.capture(), given.tables.capture());
            (raw, state, tables, given.positions.capture(), given.restored.capture())
        });
        Self { worker, lifecycle, raw, state, tables, positions, restored }
    }

    /// Steps until `done`, for ten seconds at most; adds to `seen` what is given.
    fn run(&mut self, seen: &mut Seen, done: impl Fn(&Seen) -> bool) {
        let begun = Instant::now();
        while !done(seen) {
            assert!(begun.elapsed() < Duration::from_secs(10), "the source gives no more");
            self.worker.step_or_park(Some(Duration::from_millis(1)));
            seen.raw.extend(drain(&self.raw).map(|(epoch, (record, ..))| (epoch, record)));
            seen.state.extend(drain(&self.state));
            seen.tables.extend(drain(&self.tables));
            seen.positions.extend(drain(&self.positions));
            seen.restored.extend(drain(&self.restored).map(|(epoch, _)| epoch));
        }
    }

    /// Runs until `raw` raw records were given and their positions told; stops in order.
    fn run_to(log: &MemoryLog, options: SourceOptions, raw: usize) -> Seen {
        let (mut bench, mut seen) = (Self::new(log, options), Seen::default());
        let told = |seen: &Seen| seen.positions.iter().any(|(_, one)| &*one.topic == "raw" && one.reached.next == 5);
        bench.run(&mut seen, |seen| seen.raw.len() >= raw && seen.tables.len() >= 5 && told(seen));
        bench.lifecycle.stop();
        while bench.worker.has_dataflows() {
            bench.worker.step_or_park(Some(Duration::from_millis(1)));
        }
        bench.run(&mut seen, |_| true);
        seen
    }
}

impl Drop for Bench {
    /// The reader's thread ends.
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

fn offsets(records: &[(Epoch, RawRecord)], which: impl Fn(Epoch) -> bool) -> Vec<i64> {
    let which = records.iter().filter(|(epoch, _)| which(*epoch));
    which.map(|(_, record)| record.origin.offset).collect()
}

#[test]
fn state_comes_first_and_everything_live_after_it() {
    let seen = Bench::run_to(&log(), options(false), 3);
    assert_eq!(seen.state.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [RESTORED; 5]);
    assert_eq!(seen.restored, [RESTORED]);
    let (known, new): (Vec<_>, Vec<_>) = seen.tables.iter().partition(|(epoch, _)| *epoch == RESTORED);
    let told = |records: &[&(Epoch, LogRecord)]| records.iter().map(|(_, one)| one.offset).collect::<Vec<_>>();
    assert_eq!((told(&known), told(&new)), (vec![0, 1, 2], vec![3, 4]));
    assert!(new.iter().all(|(epoch, _)| *epoch > RESTORED));
    assert_eq!(offsets(&seen.raw, |epoch| epoch > RESTORED), [2, 3, 4]);
    assert_eq!(seen.raw.len(), 3);
}

#[test]
fn a_rebuild_reads_again_before_the_restored_epoch() {
    let seen = Bench::run_to(&log(), options(true), 5);
    assert_eq!(offsets(&seen.raw, |epoch| epoch < RESTORED), [0, 1]);
    assert_eq!(offsets(&seen.raw, |epoch| epoch > RESTORED), [2, 3, 4]);
    assert_eq!((seen.raw.len(), seen.restored), (5, vec![RESTORED]));
}

#[test]
fn positions_cover_what_was_given() {
    let log = log();
    let (mut bench, mut seen) = (Bench::new(&log, options(false)), Seen::default());
    for n in 5..9 {
        bench.run(&mut seen, |seen| seen.raw.len() as i64 == n - 2);
        log.put(record("raw", n)).unwrap();
    }
    let last = |seen: &Seen| seen.positions.iter().any(|(_, one)| &*one.topic == "raw" && one.reached.next == 9);
    bench.run(&mut seen, last);
    let raw: Vec<_> = seen.positions.iter().filter(|(_, one)| &*one.topic == "raw").collect();
    assert!(
        raw.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1.reached.next < pair[1].1.reached.next),
        "{raw:?}"
    );
    for (epoch, report) in raw {
        assert_eq!(offsets(&seen.raw, |at| at <= *epoch).last(), Some(&(report.reached.next - 1)), "at {epoch}");
        assert_eq!(report.reached.max_timestamp, Some(1_000 + report.reached.next - 1));
    }
}

#[test]
fn reading_pauses_at_the_limit_until_a_commit() {
    let log = log();
    for n in 5..200 {
        log.put(record("raw", n)).unwrap();
    }
    let each = record("raw", 100).size() + RECORD_OVERHEAD;
    let pace = Pace { max_bytes: 10 * each, ..options(false).pace };
    let (mut bench, mut seen) = (Bench::new(&log, SourceOptions { pace, ..options(false) }), Seen::default());
    bench.run(&mut seen, |seen| seen.raw.len() >= 8);
    let begun = Instant::now();
    bench.run(&mut seen, |_| begun.elapsed() > Duration::from_millis(100));
    let paused = seen.raw.len();
    // Keys of the first records are shorter, and the tables' records count too.
    assert!((8..=12).contains(&paused), "{paused} records were given");
    assert!(bench.lifecycle.counters.bytes_in_flight.load(Ordering::Relaxed) <= 11 * each as i64);
    let closed = seen.positions.last().unwrap().0;
    bench.lifecycle.set_committed(closed);
    bench.run(&mut seen, |seen| seen.raw.len() > paused);
}

#[test]
fn timestamps_that_cannot_be_count_as_the_arrival() {
    let log = log();
    log.create("raw", 1);
    for timestamp_ms in [-1, 1_000, i64::MAX, 1_003, -7] {
        log.put(LogRecord { timestamp_ms, ..record("raw", 0) }).unwrap();
    }
    let seen = Bench::run_to(&log, options(true), 5);
    for (at, (epoch, record)) in seen.raw.iter().enumerate() {
        let arrival = if *epoch < RESTORED { RESTORED } else { *epoch } as i64;
        let expected = [arrival, 1_000, arrival, 1_003, arrival][at];
        assert_eq!(record.origin.timestamp_ms, expected, "record {at}");
        assert!(record.origin.order_ms >= record.origin.timestamp_ms);
    }
}
