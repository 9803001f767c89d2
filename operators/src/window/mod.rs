//! Counts by tumbling window, source and category: how many records were seen and what became of
//! them, and what the events were like when the window closed.
//!
//! A window covers `size` of record time (the log's timestamps, never a clock). It is open until
//! the watermark reaches its end plus the allowed lateness; then its measures of state are sampled
//! and its row is frozen, but for the count of records that come later still. Nothing is lost
//! silently: each such record is counted, and given out on its own.
//!
//! The newest closed windows are remembered. The rows of older ones go. The late records that they
//! counted go on counting, in one row a source. What is remembered follows from the rows alone, so a
//! restart changes nothing.

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

/// A row that has changed: before, if there was one, and after, if it stays.
pub type RowChange = (Option<WindowRow>, Option<WindowRow>);

/// At most this many rows are forgotten in an epoch: a transaction stays small after a start that finds many.
const MOST_FORGOTTEN: usize = 10_000;

/// The rows that an epoch touches, as they were before it.
type Before = BTreeMap<WindowKey, Option<WindowRow>>;

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
/// let row = rows[0].1.as_ref().unwrap();
/// assert_eq!((row.seen, row.closed), (2, true));
///
/// let (rows, late) = windows.apply([seen(500)]);
/// let row = rows[0].1.as_ref().unwrap();
/// assert_eq!((row.seen, row.late, late.len()), (2, 1, 1));
/// ```
#[derive(Debug)]
pub struct Windows {
    config: WindowConfig,
    watermark: i64,
    open: BTreeMap<WindowKey, WindowRow>,
    closed: BTreeMap<WindowKey, WindowRow>,
    /// Starts of the windows of `closed`.
    closed_starts: BTreeSet<i64>,
    /// For each source, the late records of windows that are forgotten.
    forgotten: BTreeMap<WindowKey, WindowRow>,
    /// Rows of windows of another size, from another configuration. They change no more.
    foreign: BTreeMap<WindowKey, WindowRow>,
    measures: HashMap<Dimensions, Measures>,
}

impl Windows {
    /// No windows yet.
    pub fn new(config: WindowConfig) -> Self {
        Self {
            config,
            watermark: i64::MIN,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            closed_starts: BTreeSet::new(),
            forgotten: BTreeMap::new(),
            foreign: BTreeMap::new(),
            measures: HashMap::new(),
        }
    }

    /// Takes in an epoch; gives the rows that changed, by key, and the records that were late.
    pub fn apply(&mut self, input: impl IntoIterator<Item = WindowInput>) -> (Vec<RowChange>, Vec<Tally>) {
        let mut input: Vec<WindowInput> = input.into_iter().collect();
        // The order of the variants is the order in which they have to be taken.
        input.sort_unstable();
        // What is restored is on its topic, and what is given with it may not be written: rows go later.
        let restores = input.first().is_some_and(|first| matches!(first, WindowInput::Restored(_)));
        let (mut before, mut late) = (Before::new(), Vec::new());
        for item in input {
            match item {
                WindowInput::Restored(row) => self.restore(row),
                WindowInput::Tally(tally) => self.count(tally, &mut before, &mut late),
                WindowInput::Measures(dimensions, change) => self.measure(dimensions, &change),
                WindowInput::Watermark(ms) => self.watermark = self.watermark.max(ms),
            }
        }
        self.close(&mut before);
        if !restores {
            self.forget(&mut before);
        }
        let changed = before.into_iter().filter_map(|(key, old)| {
            let new = self.row(&key).cloned();
            (old != new).then_some((old, new))
        });
        (changed.collect(), late)
    }

    /// Puts back a row as it was written: open windows go on counting, closed ones stay closed.
    /// Rows of windows of another size, from another configuration, stay as they are until they are forgotten.
    fn restore(&mut self, row: WindowRow) {
        let key = row.key();
        let size = row.window_end.saturating_sub(row.window_start);
        if key.window_start != FORGOTTEN_MS && size != self.config.size() {
            self.foreign.insert(key, row);
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

    /// Whether late records of the window that starts here are counted in a row of its own.
    fn is_remembered(&self, start: i64) -> bool {
        self.closed_starts.contains(&start)
            || self.closed_starts.len() < self.config.keep_closed
            || (self.config.keep_closed > 0 && self.closed_starts.first().is_some_and(|first| *first < start))
    }

    fn count(&mut self, tally: Tally, before: &mut Before, late: &mut Vec<Tally>) {
        let start = self.config.start_of(tally.origin_ms);
        let end = start + self.config.size();
        let is_late = self.config.is_closed(start, self.watermark);
        let mut key = WindowKey { window_start: start, source: tally.source.clone(), category: tally.category.clone() };
        let (rows, end) = if !is_late {
            (&mut self.open, end)
        } else if self.is_remembered(start) {
            self.closed_starts.insert(start);
            (&mut self.closed, end)
        } else {
            key = forgotten_of(tally.source.clone());
            (&mut self.forgotten, FORGOTTEN_MS)
        };
        // A row of another size under the same key gives way.
        let of_other_size = self.foreign.remove(&key);
        before.entry(key.clone()).or_insert_with_key(|key| rows.get(key).cloned().or(of_other_size));
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
    fn close(&mut self, before: &mut Before) {
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
        [&self.open, &self.closed, &self.forgotten, &self.foreign].into_iter().find_map(|rows| rows.get(key))
    }

    /// Drops the rows of the oldest closed windows beyond the configured number, and those of other sizes that
    /// are as old.
    fn forget(&mut self, before: &mut Before) {
        for _ in 0..MOST_FORGOTTEN {
            let Some(row) = self.pop_closed().or_else(|| self.pop_foreign()) else { return };
            if row.late > 0 {
                self.count_forgotten(&row, before);
            }
            before.entry(row.key()).or_insert(Some(row));
        }
    }

    /// Takes out a row of the oldest closed window, while there are more of them than are remembered.
    fn pop_closed(&mut self) -> Option<WindowRow> {
        if self.closed_starts.len() <= self.config.keep_closed {
            return None;
        }
        let (key, row) = self.closed.pop_first()?;
        let is_last = self.closed.first_key_value().is_none_or(|(next, _)| next.window_start != key.window_start);
        if is_last {
            self.closed_starts.remove(&key.window_start);
        }
        Some(row)
    }

    /// Takes out a row of another window size that ends before all closed windows that are remembered.
    fn pop_foreign(&mut self) -> Option<WindowRow> {
        let oldest = match self.closed_starts.first() {
            Some(first) if self.closed_starts.len() >= self.config.keep_closed => *first,
            None if self.config.keep_closed == 0 => self.watermark,
            _ => return None,
        };
        let first = self.foreign.first_entry().filter(|first| first.get().window_end <= oldest)?;
        Some(first.remove())
    }

    /// The late records of a row that goes count on in the row of its source.
    fn count_forgotten(&mut self, row: &WindowRow, before: &mut Before) {
        let key = forgotten_of(row.source.clone());
        before.entry(key.clone()).or_insert_with_key(|key| self.forgotten.get(key).cloned());
        let sum = self.forgotten.entry(key).or_insert_with_key(|key| WindowRow::new(key, FORGOTTEN_MS));
        sum.closed = true;
        sum.late += row.late;
    }
}

/// The key of the row that counts the late records of a source whose windows are forgotten.
fn forgotten_of(source: SmolStr) -> WindowKey {
    WindowKey { window_start: FORGOTTEN_MS, source, category: None }
}

/// What [`window`] gives.
pub struct Windowed<'scope> {
    /// Changes of rows: the old one goes, the new one comes. Closed rows go when their window is
    /// forgotten; restored rows are not given again, since they are on their topic already.
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
                    closed.set(windows.closed.len() + windows.forgotten.len() + windows.foreign.len());
                    let mut session = output.session(capability);
                    for (old, new) in rows {
                        let changes = [(old, -1), (new, 1)];
                        let changes = changes.into_iter().filter_map(|(row, diff)| Some((row?, diff)));
                        session.give_iterator(changes.map(|(row, diff)| Ok(((row.key(), row), epoch, diff))));
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

    /// Takes in an epoch that forgets nothing; gives each row before and after, and the late records.
    fn changed(
        windows: &mut Windows,
        input: impl IntoIterator<Item = WindowInput>,
    ) -> (Vec<(Option<WindowRow>, WindowRow)>, Vec<Tally>) {
        let (rows, late) = windows.apply(input);
        (rows.into_iter().map(|(old, new)| (old, new.unwrap())).collect(), late)
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
        (event.id, Shared::new(ScoredEvent { event: event.into(), report, moderation: None }))
    }

    fn measures_of(events: &[(EventId, Shared<ScoredEvent>)]) -> Vec<WindowInput> {
        let mut sums = HashMap::new();
        events.iter().for_each(|(_, scored)| add_event(scored, 1, &mut sums));
        sums.into_iter().map(|(dimensions, change)| WindowInput::Measures(dimensions, change)).collect()
    }

    #[test]
    fn a_window_closes_after_its_lateness_and_stays_frozen() {
        let mut windows = Windows::new(CONFIG);
        let (rows, _) = changed(&mut windows, [seen(150), seen(150), WindowInput::Watermark(219)]);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].0.is_none() && rows[0].1.seen == 2 && !rows[0].1.closed);
        assert_eq!((rows[0].1.window_start, rows[0].1.window_end, rows[0].1.open_events), (100, 200, None));

        let (rows, late) = changed(&mut windows, [seen(199), WindowInput::Watermark(220)]);
        assert_eq!((rows[0].1.seen, rows[0].1.closed, rows[0].1.open_events), (3, true, Some(0)));
        assert!(late.is_empty());

        let events = [event(1, &["a"], Some("Music"), "x y")];
        let (rows, late) = changed(&mut windows, measures_of(&events).into_iter().chain([seen(100)]));
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
        let input = measures_of(&events).into_iter().chain(tallies).chain([WindowInput::Watermark(120)]);
        let (rows, _) = changed(&mut windows, input);
        let sampled: Vec<_> = rows.iter().map(|(_, row)| (row.duplicates, row.rejected, row.open_events)).collect();
        assert_eq!(sampled, [(Some(2), Some(2), Some(2)), (Some(2), Some(1), Some(1))]);
        assert!((rows[0].1.mean_score.unwrap().get() - (scores[0] + scores[1]) / 2.0).abs() < 1e-4);
        assert_eq!(rows[1].1.mean_score, Some(Ratio::new(scores[0])));
    }

    /// Start, count of late records before and after, of each row that changes.
    fn lateness(rows: &[RowChange]) -> Vec<(i64, Option<u64>, Option<u64>)> {
        let late = |row: &Option<WindowRow>| row.as_ref().map(|row| row.late);
        let start = |(old, new): &RowChange| new.as_ref().or(old.as_ref()).unwrap().window_start;
        rows.iter().map(|change| (start(change), late(&change.0), late(&change.1))).collect()
    }

    #[test]
    fn forgotten_windows_leave_and_have_one_row_a_source() {
        let mut windows = Windows::new(CONFIG);
        windows.apply([seen(0), seen(100), seen(200)]);
        let (rows, _) = windows.apply([WindowInput::Watermark(1000)]);
        assert_eq!(lateness(&rows), [(0, Some(0), None), (100, Some(0), Some(0)), (200, Some(0), Some(0))]);
        let (rows, late) = windows.apply([seen(5), seen(50), seen(100)]);
        assert_eq!(lateness(&rows), [(FORGOTTEN_MS, None, Some(2)), (100, Some(0), Some(1))]);
        assert_eq!(late.len(), 3);
        // A newer window takes the place of the oldest one, whose late record counts on.
        let (rows, _) = windows.apply([seen(800)]);
        let expected = [(FORGOTTEN_MS, Some(2), Some(3)), (100, Some(1), None), (800, None, Some(1))];
        assert_eq!(lateness(&rows), expected);
        assert_eq!(lateness(&windows.apply([seen(-500)]).0), [(FORGOTTEN_MS, Some(3), Some(4))]);
    }

    #[test]
    fn what_is_restored_beyond_the_number_goes_in_the_next_epoch_once() {
        let row = |start: i64, size: i64| {
            let key = WindowKey { window_start: start, source: "a".into(), category: None };
            WindowInput::Restored(WindowRow { closed: true, ..WindowRow::new(&key, start + size) })
        };
        let mut windows = Windows::new(CONFIG);
        // Five windows of this size, and three of another one.
        let restored = (0..5).map(|n| row(n * 100, 100)).chain([row(10, 50), row(60, 50), row(400, 50)]);
        assert_eq!(windows.apply(restored).0, [], "nothing may be written with what is restored");
        let (rows, _) = windows.apply([WindowInput::Watermark(600)]);
        let gone = [0, 10, 60, 100, 200].map(|start| (start, Some(0), None));
        assert_eq!(lateness(&rows), gone);
        assert_eq!(windows.apply([WindowInput::Watermark(601)]).0, []);
        assert_eq!(windows.foreign.keys().map(|key| key.window_start).collect::<Vec<_>>(), [400]);
    }

    #[test]
    fn an_epoch_forgets_a_bounded_number_of_rows() {
        let row = |n: usize| {
            let key = WindowKey { window_start: 0, source: format!("{n}").into(), category: None };
            WindowInput::Restored(WindowRow { closed: true, ..WindowRow::new(&key, 100) })
        };
        let mut windows = Windows::new(WindowConfig { keep_closed: 0, ..CONFIG });
        windows.apply((0..MOST_FORGOTTEN + 7).map(row));
        let mut forget = || windows.apply([WindowInput::Watermark(600)]).0.len();
        assert_eq!([forget(), forget(), forget()], [MOST_FORGOTTEN, 7, 0]);
    }

    #[test]
    fn extreme_timestamps_have_windows_with_names() {
        let mut windows = Windows::new(WindowConfig::default());
        let input = [seen(i64::MIN), seen(-1), seen(i64::MAX), WindowInput::Watermark(i64::MAX)];
        let (rows, _) = changed(&mut windows, input);
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
        let (rows, _) = changed(&mut windows, [seen(0)]);
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
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Topic(BTreeMap<WindowKey, WindowRow>);

    impl Topic {
        fn write(&mut self, changes: Vec<RowChange>) {
            for (old, new) in changes {
                let Some(new) = new else {
                    assert_eq!(self.0.remove(&old.as_ref().unwrap().key()), old, "only what is there goes");
                    continue;
                };
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
            let mut closed = BTreeSet::new();
            for (key, row) in topic.0.iter().filter(|(key, _)| key.window_start != FORGOTTEN_MS) {
                prop_assert_eq!(found.get(key).map(|(found, _)| found), expected.get(key).map(|(numbers, _)| numbers));
                closed.extend(row.closed.then_some(key.window_start));
            }
            prop_assert!(closed.len() <= keep_closed, "{:?}", closed);
            let counted = expected.iter().filter(|(_, (numbers, _))| *numbers != [0; 6]).map(|(key, _)| key);
            for key in counted.filter(|key| !topic.0.contains_key(key)) {
                prop_assert!(closed.first().is_none_or(|first| key.window_start < *first), "{:?} went too soon", key);
            }
            prop_assert_eq!(&windows.closed_starts, &closed);
        }

        #[test]
        fn a_restart_forgets_and_remembers_the_same(
            history in any_history(),
            restarts in prop::collection::btree_set(0..12usize, 0..4),
            keep_closed in 0..4usize,
        ) {
            let config = WindowConfig { keep_closed, ..CONFIG };
            let run = |restarts: &BTreeSet<usize>| {
                let (mut windows, mut topic, mut watermark) = (Windows::new(config), Topic::default(), i64::MIN);
                for (number, part) in history.iter().enumerate() {
                    if restarts.contains(&number) {
                        windows = Windows::new(config);
                        let restored = topic.0.values().cloned().map(WindowInput::Restored);
                        let given = windows.apply(restored.chain([WindowInput::Watermark(watermark)])).0;
                        assert_eq!(given, []);
                    }
                    topic.write(windows.apply(epoch(part)).0);
                    watermark = part.1;
                }
                topic
            };
            prop_assert_eq!(run(&restarts), run(&BTreeSet::new()));
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
