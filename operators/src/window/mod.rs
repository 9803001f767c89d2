//! Counts by tumbling window, source and category: how many records were seen and what became of
//! them, and what the events were like when the window closed.
//!
//! A window covers `size` of record time (the log's timestamps, never a clock). It is open until
//! the watermark reaches its end plus the allowed lateness; then its measures of state are sampled
//! and its row is frozen, but for the count of records that come later still. Nothing is lost
//! silently: each such record is counted, and given out on its own.

mod row;

use std::collections::{BTreeMap, BTreeSet};

use differential_dataflow::{AsCollection, VecCollection};
use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::core::OkErr;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;

pub use self::row::{FORGOTTEN_MS, Measures, Outcome, Tally, WindowConfig, WindowKey, WindowRow};
use crate::event::EventId;
use crate::score::ScoredEvent;
use crate::{Epoch, Shared};
use headwater_flow::epochs::{Complete, CompleteEpochs};
use headwater_flow::meter::EntryMeter;

/// Source and category.
type Dimensions = (SmolStr, Option<SmolStr>);

/// Something that the windows take in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WindowInput {
    /// A row as it was written before a restart.
    Restored(WindowRow),
    /// Records.
    Tally(Tally),
    /// A change of the measures of a source and category.
    Measures(Dimensions, Measures),
    /// No record before this time, in ms since the Unix epoch, is expected any more.
    Watermark(i64),
}

/// A row that has changed: before, if there was one, and after.
pub type RowChange = (Option<WindowRow>, WindowRow);

/// The windows as plain state: takes in epochs, gives out changed rows.
///
/// Within an epoch the order of the input does not matter: rows are restored first, then records
/// are counted by the watermark that was in force before, then the watermark advances.
///
/// ```
/// use headwater_operators::window::{Outcome, Tally, WindowConfig, WindowInput, Windows};
///
/// let mut windows = Windows::new(WindowConfig { size_ms: 1000, allowed_lateness_ms: 0, ..WindowConfig::default() });
/// let seen = |origin_ms| {
///     WindowInput::Tally(Tally { origin_ms, source: "venue".into(), category: None, outcome: Outcome::Seen, n: 1 })
/// };
/// let (rows, _) = windows.apply([seen(10), seen(990), WindowInput::Watermark(1000)]);
/// assert_eq!((rows[0].1.seen, rows[0].1.closed), (2, true));
///
/// let (rows, late) = windows.apply([seen(500)]);
/// assert_eq!((rows[0].1.seen, rows[0].1.late, late.len()), (2, 1, 1));
/// ```
#[derive(Debug)]
pub struct Windows {
    config: WindowConfig,
    watermark: i64,
    /// Windows that start before this are forgotten.
    remembered_from: i64,
    open: BTreeMap<WindowKey, WindowRow>,
    closed: BTreeMap<WindowKey, WindowRow>,
    /// Starts of the windows of `closed`.
    closed_starts: BTreeSet<i64>,
    forgotten: BTreeMap<WindowKey, WindowRow>,
    measures: HashMap<Dimensions, Measures>,
}

impl Windows {
    /// No windows yet.
    pub fn new(config: WindowConfig) -> Self {
        Self {
            config,
            watermark: i64::MIN,
            remembered_from: i64::MIN,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            closed_starts: BTreeSet::new(),
            forgotten: BTreeMap::new(),
            measures: HashMap::new(),
        }
    }

    /// Takes in an epoch; gives the rows that changed, by key, and the records that were late.
    pub fn apply(&mut self, input: impl IntoIterator<Item = WindowInput>) -> (Vec<RowChange>, Vec<Tally>) {
        let mut input: Vec<WindowInput> = input.into_iter().collect();
        // The order of the variants is the order in which they have to be taken.
        input.sort_unstable();
        let (mut before, mut late) = (BTreeMap::new(), Vec::new());
        for item in input {
            match item {
                WindowInput::Restored(row) => self.restore(row),
                WindowInput::Tally(tally) => self.count(tally, &mut before, &mut late),
                WindowInput::Measures(dimensions, change) => self.measure(dimensions, &change),
                WindowInput::Watermark(ms) => self.watermark = self.watermark.max(ms),
            }
        }
        self.close(&mut before);
        let changed = before.into_iter().filter_map(|(key, old)| {
            let new = self.row(&key)?.clone();
            (old.as_ref() != Some(&new)).then_some((old, new))
        });
        let changed = changed.collect();
        self.forget();
        (changed, late)
    }

    /// Puts back a row as it was written: open windows go on counting, closed ones stay closed.
    /// Rows of windows of another size, from another configuration, are left to themselves.
    fn restore(&mut self, row: WindowRow) {
        let key = row.key();
        let size = row.window_end.saturating_sub(row.window_start);
        if key.window_start != FORGOTTEN_MS && size != self.config.size() {
            return;
        }
        if key.window_start == FORGOTTEN_MS {
            self.forgotten.insert(key, row);
        } else if row.closed {
            let closed_at = row.window_end + i64::from(self.config.allowed_lateness_ms);
            self.watermark = self.watermark.max(closed_at);
            self.closed_starts.insert(key.window_start);
            self.closed.insert(key, row);
        } else {
            self.open.insert(key, row);
        }
    }

    fn count(&mut self, tally: Tally, before: &mut BTreeMap<WindowKey, Option<WindowRow>>, late: &mut Vec<Tally>) {
        let start = self.config.start_of(tally.origin_ms);
        let end = start + self.config.size();
        let is_late = self.config.is_closed(start, self.watermark);
        let mut key = WindowKey { window_start: start, source: tally.source.clone(), category: tally.category.clone() };
        let (rows, end) = if !is_late {
            (&mut self.open, end)
        } else if start >= self.remembered_from {
            self.closed_starts.insert(start);
            (&mut self.closed, end)
        } else {
            key.window_start = FORGOTTEN_MS;
            key.category = None;
            (&mut self.forgotten, FORGOTTEN_MS)
        };
        before.entry(key.clone()).or_insert_with_key(|key| rows.get(key).cloned());
        let row = rows.entry(key).or_insert_with_key(|key| WindowRow::new(key, end));
        if is_late {
            row.closed = true;
            row.late += tally.n;
            late.push(tally);
        } else {
            row.count(tally.outcome, tally.n);
        }
    }

    fn measure(&mut self, dimensions: Dimensions, change: &Measures) {
        let measures = self.measures.entry(dimensions).or_default();
        measures.add(change);
    }

    /// Closes the windows that the watermark has passed.
    fn close(&mut self, before: &mut BTreeMap<WindowKey, Option<WindowRow>>) {
        while let Some(first) = self.open.first_entry() {
            if !self.config.is_closed(first.key().window_start, self.watermark) {
                break;
            }
            let (key, mut row) = first.remove_entry();
            before.entry(key.clone()).or_insert_with(|| Some(row.clone()));
            let dimensions = (key.source.clone(), key.category.clone());
            row.close(&self.measures.get(&dimensions).copied().unwrap_or_default());
            self.closed_starts.insert(key.window_start);
            self.closed.insert(key, row);
        }
        self.measures.retain(|_, measures| *measures != Measures::default());
    }

    fn row(&self, key: &WindowKey) -> Option<&WindowRow> {
        [&self.open, &self.closed, &self.forgotten].into_iter().find_map(|rows| rows.get(key))
    }

    /// Drops the oldest closed windows beyond the configured number.
    fn forget(&mut self) {
        while self.closed_starts.len() > self.config.keep_closed {
            let Some(start) = self.closed_starts.pop_first() else { return };
            self.remembered_from = self.remembered_from.max(start + 1);
            while self.closed.first_key_value().is_some_and(|(key, _)| key.window_start <= start) {
                self.closed.pop_first();
            }
        }
    }
}

/// What [`window`] gives.
pub struct Windowed<'scope> {
    /// Changes of rows: the old one goes, the new one comes. Closed rows are never taken back;
    /// restored rows are not given again, since they are on their topic already.
    pub rows: VecCollection<'scope, Epoch, (WindowKey, WindowRow), isize>,
    /// The records that came too late for their window. Those of one window, source, category and
    /// outcome may come together, with the timestamp of the start of their window.
    pub late: StreamVec<'scope, Epoch, Tally>,
}

/// Keeps windows over a dataflow.
///
/// Tallies, watermarks and restored rows are facts and come as plain streams, at the time of their
/// epoch; events are a collection. After a restart the rows, and the watermark as it was, have to
/// come at an epoch before that of the first tallies. Each worker sums up what it has before anything leaves it; the sums, which are few, go
/// to the first worker.
///
/// ```
/// use differential_dataflow::input::Input;
/// use timely::dataflow::operators::ToStream;
/// use headwater_operators::window::{Outcome, Tally, WindowConfig, WindowRow, window};
///
/// timely::example(|scope| {
///     let tally = Tally { origin_ms: 5, source: "venue".into(), category: None, outcome: Outcome::Seen, n: 2 };
///     let tallies = vec![tally].to_stream(scope).container::<Vec<_>>();
///     let watermarks = vec![0].to_stream(scope).container::<Vec<_>>();
///     let restored = Vec::<WindowRow>::new().to_stream(scope).container::<Vec<_>>();
///     let events = scope.new_collection_from([]).1;
///     let windowed = window(tallies, events, watermarks, restored, WindowConfig::default());
///     windowed.rows.map(|(_, row)| row.seen).assert_eq(scope.new_collection_from([2]).1);
/// });
/// ```
pub fn window<'scope>(
    tallies: StreamVec<'scope, Epoch, Tally>,
    events: VecCollection<'scope, Epoch, (EventId, Shared<ScoredEvent>), isize>,
    watermarks: StreamVec<'scope, Epoch, i64>,
    restored: StreamVec<'scope, Epoch, WindowRow>,
    config: WindowConfig,
) -> Windowed<'scope> {
    let scope = tallies.scope();
    let inputs = scope.concatenate([
        sum_tallies(tallies, config),
        sum_measures(events),
        watermarks.map(WindowInput::Watermark),
        restored.map(WindowInput::Restored),
    ]);
    let to_first = Exchange::new(|_: &WindowInput| 0);
    let updates: StreamVec<'scope, Epoch, Result<RowUpdate, Tally>> =
        inputs.unary_frontier(to_first, "window/Window", |_, _| {
            let mut epochs: CompleteEpochs<Vec<WindowInput>> = CompleteEpochs::new(1);
            let mut windows = Windows::new(config);
            let (open, closed) = (EntryMeter::new("window-open-rows"), EntryMeter::new("window-closed-rows"));
            move |(input, frontier), output| {
                input.for_each(|capability, data| {
                    epochs.now(&capability).append(data);
                });
                while let Some(Complete { epoch, capabilities, input }) = epochs.next([frontier]) {
                    let Some(capability) = capabilities.first() else { continue };
                    let (rows, late) = windows.apply(input);
                    open.set(windows.open.len());
                    closed.set(windows.closed.len() + windows.forgotten.len());
                    let mut session = output.session(capability);
                    for (old, new) in rows {
                        let key = new.key();
                        if let Some(old) = old {
                            session.give(Ok(((key.clone(), old), epoch, -1)));
                        }
                        session.give(Ok(((key, new), epoch, 1)));
                    }
                    late.into_iter().for_each(|tally| session.give(Err(tally)));
                }
            }
        });
    let (rows, late) = updates.ok_err(|update| update);
    Windowed { rows: rows.as_collection(), late }
}

type RowUpdate = ((WindowKey, WindowRow), Epoch, isize);

/// Sums up the tallies of each window, source, category and outcome that are at hand.
fn sum_tallies(tallies: StreamVec<'_, Epoch, Tally>, config: WindowConfig) -> StreamVec<'_, Epoch, WindowInput> {
    tallies.unary(Pipeline, "window/SumTallies", |_, _| {
        move |input, output| {
            input.for_each_time(|time, data| {
                let mut sums = HashMap::new();
                for Tally { origin_ms, source, category, outcome, n } in data.flat_map(|data| data.drain(..)) {
                    *sums.entry((config.start_of(origin_ms), source, category, outcome)).or_insert(0) += n;
                }
                let sums = sums.into_iter().map(|((origin_ms, source, category, outcome), n)| {
                    WindowInput::Tally(Tally { origin_ms, source, category, outcome, n })
                });
                output.session(&time).give_iterator(sums);
            });
        }
    })
}

/// Sums up the changes of the measures at hand, by epoch.
fn sum_measures<'scope>(
    events: VecCollection<'scope, Epoch, (EventId, Shared<ScoredEvent>), isize>,
) -> StreamVec<'scope, Epoch, WindowInput> {
    events.inner.unary(Pipeline, "window/SumMeasures", |_, _| {
        move |input, output| {
            input.for_each(|capability, data| {
                let mut sums: HashMap<Epoch, HashMap<Dimensions, Measures>> = HashMap::new();
                for ((_, scored), epoch, diff) in data.drain(..) {
                    let sums = sums.entry(epoch).or_default();
                    add_event(&scored, diff as i64, sums);
                }
                for (epoch, sums) in sums {
                    let capability = capability.delayed(&epoch, 0);
                    let changes = sums.into_iter().filter(|(_, change)| *change != Measures::default());
                    let inputs = changes.map(|(dimensions, change)| WindowInput::Measures(dimensions, change));
                    output.session(&capability).give_iterator(inputs);
                }
            });
        }
    })
}

fn add_event(scored: &ScoredEvent, count: i64, sums: &mut HashMap<Dimensions, Measures>) {
    let (category, mut sources) = scored.event.category_and_sources();
    let measures = Measures::of(scored, sources.len(), count);
    sources.sort_unstable();
    sources.dedup();
    for source in sources {
        let dimensions = (SmolStr::from(source), category.map(SmolStr::from));
        sums.entry(dimensions).or_default().add(&measures);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use differential_dataflow::input::Input as _;
    use proptest::prelude::*;
    use timely::dataflow::operators::{Input as _, Inspect};

    use super::*;
    use crate::event::{Event, Member};
    use crate::listing::Ratio;
    use crate::score::{Gates, score};

    const CONFIG: WindowConfig = WindowConfig { size_ms: 100, allowed_lateness_ms: 20, keep_closed: 2 };

    fn tally(origin_ms: i64, source: &str, outcome: Outcome) -> Tally {
        Tally { origin_ms, source: source.into(), category: Some("Music".into()), outcome, n: 1 }
    }

    fn seen(origin_ms: i64) -> WindowInput {
        WindowInput::Tally(tally(origin_ms, "a", Outcome::Seen))
    }

    fn event(id: u128, sources: &[&str], category: Option<&str>, title: &str) -> (EventId, Shared<ScoredEvent>) {
        let mut event: Event = serde_json::from_value(serde_json::json!({
            "id": EventId(id), "title": title, "tags": [], "startTime": "2026-03-28", "allDay": true, "venue": {},
            "online": false, "images": [], "urls": [], "status": "scheduled", "listings": [], "fieldSources": {},
            "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z", "category": category,
        }))
        .unwrap();
        event.listings = sources
            .iter()
            .map(|&source| Member { source: source.into(), external_id: "1".into(), url: None, similarity: Ratio::ONE })
            .collect();
        let report = score(&event.view(), &Gates::default());
        (event.id, Shared::new(ScoredEvent { event: event.into(), report }))
    }

    fn measures_of(events: &[(EventId, Shared<ScoredEvent>)]) -> Vec<WindowInput> {
        let mut sums = HashMap::new();
        events.iter().for_each(|(_, scored)| add_event(scored, 1, &mut sums));
        sums.into_iter().map(|(dimensions, change)| WindowInput::Measures(dimensions, change)).collect()
    }

    #[test]
    fn a_window_closes_after_its_lateness_and_stays_frozen() {
        let mut windows = Windows::new(CONFIG);
        let (rows, _) = windows.apply([seen(150), seen(150), WindowInput::Watermark(219)]);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].0.is_none() && rows[0].1.seen == 2 && !rows[0].1.closed);
        assert_eq!((rows[0].1.window_start, rows[0].1.window_end, rows[0].1.open_events), (100, 200, None));

        let (rows, late) = windows.apply([seen(199), WindowInput::Watermark(220)]);
        assert_eq!((rows[0].1.seen, rows[0].1.closed, rows[0].1.open_events), (3, true, Some(0)));
        assert!(late.is_empty());

        let events = [event(1, &["a"], Some("Music"), "x y")];
        let (rows, late) = windows.apply(measures_of(&events).into_iter().chain([seen(100)]));
        let (old, new) = &rows[0];
        assert_eq!((new.seen, new.late, new.open_events), (3, 1, Some(0)));
        assert_eq!(old.as_ref().map(|old| WindowRow { late: 1, ..old.clone() }).as_ref(), Some(new));
        assert_eq!(late, [tally(100, "a", Outcome::Seen)]);
    }

    #[test]
    fn measures_count_an_event_once_for_each_source() {
        let mut windows = Windows::new(CONFIG);
        let events = [
            event(1, &["a", "a", "b"], Some("Music"), "x y"),
            event(2, &["a"], Some("Music"), ""),
            event(3, &["a"], None, "other"),
        ];
        let scores: Vec<f64> = events.iter().map(|(_, scored)| scored.report.score.get()).collect();
        let tallies = ["a", "b"].map(|source| WindowInput::Tally(tally(0, source, Outcome::Discovered)));
        let (rows, _) =
            windows.apply(measures_of(&events).into_iter().chain(tallies).chain([WindowInput::Watermark(120)]));
        let sampled: Vec<_> = rows.iter().map(|(_, row)| (row.duplicates, row.rejected, row.open_events)).collect();
        assert_eq!(sampled, [(Some(2), Some(2), Some(2)), (Some(2), Some(1), Some(1))]);
        assert!((rows[0].1.mean_score.unwrap().get() - (scores[0] + scores[1]) / 2.0).abs() < 1e-4);
        assert_eq!(rows[1].1.mean_score, Some(Ratio::new(scores[0])));
    }

    #[test]
    fn forgotten_windows_have_one_row_a_source() {
        let mut windows = Windows::new(CONFIG);
        windows.apply([seen(0), seen(100), seen(200), WindowInput::Watermark(1000)]);
        let (rows, late) = windows.apply([seen(5), seen(50), seen(100), seen(900 - 100)]);
        let starts: Vec<_> = rows.iter().map(|(_, row)| (row.window_start, row.late, row.seen)).collect();
        assert_eq!(starts, [(FORGOTTEN_MS, 2, 0), (100, 1, 1), (800, 1, 0)]);
        assert_eq!(late.len(), 4);
        let (rows, _) = windows.apply([seen(-500)]);
        assert_eq!((rows[0].1.window_start, rows[0].1.late), (FORGOTTEN_MS, 3));
    }

    #[test]
    fn extreme_timestamps_have_windows_with_names() {
        let mut windows = Windows::new(WindowConfig::default());
        let (rows, _) = windows.apply([seen(i64::MIN), seen(-1), seen(i64::MAX), WindowInput::Watermark(i64::MAX)]);
        assert_eq!(rows.len(), 3);
        for (_, row) in rows {
            let json = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<WindowRow>(&json).unwrap(), row);
            let input = WindowInput::Restored(row);
            assert_eq!(bincode::deserialize::<WindowInput>(&bincode::serialize(&input).unwrap()).unwrap(), input);
        }
    }

    #[test]
    fn rows_are_camel_case_json() {
        let mut windows = Windows::new(WindowConfig { keep_closed: 0, ..CONFIG });
        let (rows, _) = windows.apply([seen(0)]);
        let json = serde_json::to_value(&rows[0].1).unwrap();
        assert_eq!(
            (&json["windowStart"], &json["windowEnd"]),
            (&"1970-01-01T00:00:00Z".into(), &"1970-01-01T00:00:00.1Z".into())
        );
        assert_eq!(
            (&json["seen"], &json["closed"], &json["meanScore"]),
            (&1.into(), &false.into(), &serde_json::Value::Null)
        );
    }

    /// A random history: per epoch, records with their timestamps, and how far the watermark goes.
    type History = Vec<(Vec<Tally>, i64)>;

    fn any_tally() -> impl Strategy<Value = Tally> {
        let outcomes = [
            Outcome::Seen,
            Outcome::Discovered,
            Outcome::Updated,
            Outcome::Unchanged,
            Outcome::Withdrawn,
            Outcome::Dead,
        ];
        let category = prop::option::of(prop::sample::select(vec!["Music", "Film"]));
        (
            -200..1000i64,
            prop::sample::select(vec!["a", "b"]),
            category,
            prop::sample::select(outcomes.to_vec()),
            1..4u64,
        )
            .prop_map(|(origin_ms, source, category, outcome, n)| Tally {
                origin_ms,
                source: source.into(),
                category: category.map(Into::into),
                outcome,
                n,
            })
    }

    fn any_history() -> impl Strategy<Value = History> {
        prop::collection::vec((prop::collection::vec(any_tally(), 0..8), 0..150i64), 0..12).prop_map(|mut epochs| {
            let mut watermark = -200;
            for (_, advance) in &mut epochs {
                watermark += *advance;
                *advance = watermark;
            }
            epochs
        })
    }

    type Counted = BTreeMap<WindowKey, ([u64; 6], u64)>;

    fn counted<'a>(rows: impl IntoIterator<Item = &'a WindowRow>) -> Counted {
        let numbers = |row: &WindowRow| [row.seen, row.discovered, row.updated, row.unchanged, row.withdrawn, row.dead];
        rows.into_iter().map(|row| (row.key(), (numbers(row), row.late))).collect()
    }

    /// Counts each record by itself, with nothing ever forgotten.
    fn recount(history: &History) -> Counted {
        let (mut counts, mut watermark) = (Counted::new(), i64::MIN);
        for (tallies, advance) in history {
            for tally in tallies {
                let start = tally.origin_ms.div_euclid(100) * 100;
                let key =
                    WindowKey { window_start: start, source: tally.source.clone(), category: tally.category.clone() };
                let (numbers, late) = counts.entry(key).or_default();
                if watermark >= start + 120 { *late += tally.n } else { numbers[tally.outcome as usize] += tally.n }
            }
            watermark = *advance;
        }
        counts
    }

    /// The rows of a topic that takes all changes.
    #[derive(Default)]
    struct Topic(BTreeMap<WindowKey, WindowRow>);

    impl Topic {
        fn write(&mut self, changes: Vec<RowChange>) {
            for (old, new) in changes {
                assert_eq!(self.0.get(&new.key()), old.as_ref());
                if old.as_ref().is_some_and(|old| old.closed) {
                    assert_eq!(old, Some(WindowRow { late: old.as_ref().unwrap().late, ..new.clone() }));
                }
                self.0.insert(new.key(), new);
            }
        }
    }

    fn epoch((tallies, watermark): &(Vec<Tally>, i64)) -> impl Iterator<Item = WindowInput> {
        tallies.iter().cloned().map(WindowInput::Tally).chain([WindowInput::Watermark(*watermark)])
    }

    /// The rows after `history` in a dataflow, with each worker taking a part of each epoch.
    fn play(history: History, workers: usize, config: WindowConfig) -> (Vec<WindowRow>, u64) {
        let result = Arc::new(Mutex::new((BTreeMap::<_, isize>::new(), 0)));
        let sink = Arc::clone(&result);
        timely::execute(timely::Config::process(workers), move |worker| {
            let (sink, late_sink) = (Arc::clone(&sink), Arc::clone(&sink));
            let first = worker.index() == 0;
            let (mut tallies, mut watermarks) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (tallies_in, tallies) = scope.new_input();
                let (watermarks_in, watermarks) = scope.new_input();
                let events = [event(1, &["a", "a"], Some("Music"), "x y")].into_iter().filter(|_| first);
                let events = scope.new_collection_from(events.collect::<Vec<_>>()).1;
                let restored = scope.new_input().1;
                let windowed = window(tallies, events, watermarks, restored, config);
                windowed.rows.inspect(move |((_, row), _, diff)| {
                    *sink.lock().unwrap().0.entry(row.clone()).or_default() += diff;
                });
                windowed.late.inspect(move |tally| late_sink.lock().unwrap().1 += tally.n);
                (tallies_in, watermarks_in)
            });
            for (number, (records, watermark)) in history.iter().enumerate() {
                let mine = records.iter().skip(worker.index()).step_by(worker.peers());
                mine.for_each(|tally| tallies.send(tally.clone()));
                if number % worker.peers() == worker.index() {
                    watermarks.send(*watermark);
                }
                tallies.advance_to(number as u64 + 1);
                watermarks.advance_to(number as u64 + 1);
                worker.step();
            }
        })
        .unwrap()
        .join()
        .into_iter()
        .for_each(|worker| worker.unwrap());
        let (rows, late) = std::mem::take(&mut *result.lock().unwrap());
        (
            rows.into_iter()
                .filter(|(_, count)| *count != 0)
                .map(|(row, count)| (row, assert_eq!(count, 1)).0)
                .collect(),
            late,
        )
    }

    proptest! {
        #[test]
        fn counts_are_exact_across_restarts(history in any_history(), restart in 0..12usize) {
            let config = WindowConfig { keep_closed: 100, ..CONFIG };
            let (mut windows, mut topic, mut late) = (Windows::new(config), Topic::default(), 0);
            for (number, part) in history.iter().enumerate() {
                if number == restart {
                    windows = Windows::new(config);
                    let restored = topic.0.values().cloned().map(WindowInput::Restored);
                    // The watermark is on its own topic.
                    let before = history[..number].last().map_or(i64::MIN, |(_, watermark)| *watermark);
                    windows.apply(restored.chain([WindowInput::Watermark(before)]));
                }
                let (rows, tallies) = windows.apply(epoch(part));
                topic.write(rows);
                late += tallies.iter().map(|tally| tally.n).sum::<u64>();
            }
            let expected = recount(&history);
            prop_assert_eq!(late, expected.values().map(|(_, late)| late).sum::<u64>());
            prop_assert_eq!(counted(topic.0.values()), expected);
        }

        #[test]
        fn nothing_is_lost_when_windows_are_forgotten(history in any_history(), keep_closed in 0..3usize) {
            let (mut windows, mut topic) = (Windows::new(WindowConfig { keep_closed, ..CONFIG }), Topic::default());
            history.iter().for_each(|part| topic.write(windows.apply(epoch(part)).0));
            let late = |counts: &Counted, source: &str| -> u64 {
                counts.iter().filter(|(key, _)| &*key.source == source).map(|(_, (_, late))| late).sum()
            };
            let (found, expected) = (counted(topic.0.values()), recount(&history));
            for source in ["a", "b"] {
                prop_assert_eq!(late(&found, source), late(&expected, source));
            }
            for (key, (numbers, _)) in expected.iter().filter(|(_, (numbers, _))| *numbers != [0; 6]) {
                prop_assert_eq!(found.get(key).map(|(found, _)| found), Some(numbers));
            }
            prop_assert!(windows.closed_starts.len() <= keep_closed);
            prop_assert!(windows.closed.keys().all(|key| windows.closed_starts.contains(&key.window_start)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_number_of_workers_counts_the_same(history in any_history(), workers in 1..4usize) {
            let (rows, late) = play(history.clone(), workers, WindowConfig { keep_closed: 100, ..CONFIG });
            let expected = recount(&history);
            prop_assert_eq!(late, expected.values().map(|(_, late)| late).sum::<u64>());
            prop_assert_eq!(counted(&rows), expected);
            for row in rows {
                let events = u64::from(&*row.source == "a" && row.category.as_deref() == Some("Music"));
                prop_assert!(row.open_events.is_none_or(|open| open == events));
                prop_assert_eq!(row.duplicates, row.open_events);
            }
        }
    }
}
