//! Timers: rows that come due, rows that expire.
//!
//! [`Timers`] is the plain data: keys by due time. [`Due`] wires it into a dataflow. Retries, leases,
//! schedules and retention are all made of these two.
//!
//! Time is the epoch, in milliseconds since the Unix epoch. A timer fires at the first epoch at or after
//! its due time, so what it emits enters the log with the commit of that epoch, and nothing fires while
//! the engine stands still.

use std::collections::{BTreeMap, BTreeSet};

use differential_dataflow::{AsCollection, ExchangeData, Hashable, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::Epoch;
use crate::epochs::{CompleteEpochs, least};

/// Keys by due time (ms since the Unix epoch). [`Timers::NEVER`] is no due time: it takes no memory.
///
/// ```
/// use headwater_flow::Timers;
///
/// let mut timers = Timers::default();
/// timers.set(2_000, "b");
/// timers.set(1_000, "a");
/// timers.move_to("b", 2_000, 500);
/// assert_eq!(timers.next_due(), Some(500));
/// assert_eq!(timers.pop(999), Some((500, "b")));
/// assert_eq!(timers.pop(999), None);
/// ```
#[derive(Debug, Clone)]
pub struct Timers<K>(BTreeSet<(i64, K)>);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord> Timers<K> {
    /// The due time of what never comes due.
    pub const NEVER: i64 = i64::MAX;

    /// Lets `key` come due at `due`.
    pub fn set(&mut self, due: i64, key: K) {
        if due != Self::NEVER {
            self.0.insert((due, key));
        }
    }

    /// Takes back what [`set`](Self::set) was told.
    pub fn remove(&mut self, due: i64, key: K) {
        self.0.remove(&(due, key));
    }

    /// Moves the due time of `key` from `before` to `now`.
    pub fn move_to(&mut self, key: K, before: i64, now: i64)
    where
        K: Clone,
    {
        if before != now {
            self.remove(before, key.clone());
            self.set(now, key);
        }
    }

    /// The earliest due time.
    pub fn next_due(&self) -> Option<i64> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Takes out the earliest key that is due at `now`, with its due time.
    pub fn pop(&mut self, now: i64) -> Option<(i64, K)> {
        match self.next_due() {
            Some(due) if due <= now => self.0.pop_first(),
            _ => None,
        }
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Rows that come due, and rows that expire.
///
/// ```
/// use differential_dataflow::input::Input;
/// use headwater_flow::Due;
///
/// let (due, left) = timely::execute_directly(|worker| {
///     use timely::dataflow::operators::Capture;
///     let (mut rows, due, left) = worker.dataflow::<u64, _, _>(|scope| {
///         let (input, rows) = scope.new_collection();
///         let when = |row: &(u32, i64)| Some(row.1);
///         (input, rows.clone().due(when).inner.capture(), rows.expire(when).inner.capture())
///     });
///     rows.advance_to(10);
///     rows.insert((17, 25));
///     rows.advance_to(20);
///     rows.flush();
///     worker.step();
///     rows.advance_to(30);
///     rows.flush();
///     worker.step();
///     (due, left)
/// });
/// use timely::dataflow::operators::capture::Extract;
/// let of = |captured: Vec<(u64, Vec<_>)>| captured.into_iter().flat_map(|(_, rows)| rows).collect::<Vec<_>>();
/// assert_eq!(of(due.extract()), [((17, 25), 30, 1)]);
/// assert_eq!(of(left.extract()), [((17, 25), 10, 1), ((17, 25), 30, -1)]);
/// ```
pub trait Due<'s, D: ExchangeData + Hashable> {
    /// The rows whose due time has come. `when` gives the due time of a row, in ms since the Unix epoch;
    /// `None` is never. A row that is withdrawn leaves, whether it was due or not.
    ///
    /// NB: `when` must give the same for the same row at all times.
    fn due(self, when: impl Fn(&D) -> Option<i64> + 'static) -> VecCollection<'s, Epoch, D>;

    /// The rows whose time has not come: each leaves at its due time.
    fn expire(self, when: impl Fn(&D) -> Option<i64> + 'static) -> VecCollection<'s, Epoch, D>;
}

impl<'s, D: ExchangeData + Hashable> Due<'s, D> for VecCollection<'s, Epoch, D> {
    fn due(self, when: impl Fn(&D) -> Option<i64> + 'static) -> VecCollection<'s, Epoch, D> {
        due(self, when)
    }

    fn expire(self, when: impl Fn(&D) -> Option<i64> + 'static) -> VecCollection<'s, Epoch, D> {
        let left = self.clone().due(when).negate();
        self.concat(left)
    }
}

/// Rows that wait for their time: by due time, with how often each is there.
struct Waiting<D>(BTreeMap<(i64, D), isize>);

impl<D: Ord> Waiting<D> {
    /// Takes in a change at epoch `now`; gives it back where its time has come.
    fn change(&mut self, row: D, due: Option<i64>, diff: isize, now: Epoch) -> Option<(D, isize)> {
        let due = due?;
        if due <= now as i64 {
            return Some((row, diff));
        }
        let key = (due, row);
        let count = self.0.get(&key).copied().unwrap_or(0) + diff;
        match count {
            0 => drop(self.0.remove(&key)),
            count => drop(self.0.insert(key, count)),
        }
        None
    }

    /// What is due at `now`.
    fn fire(&mut self, now: Epoch, out: &mut Vec<(D, isize)>) {
        while let Some(first) = self.0.first_entry().filter(|first| first.key().0 <= now as i64) {
            let ((_, row), count) = first.remove_entry();
            out.push((row, count));
        }
    }
}

fn due<'s, D: ExchangeData + Hashable>(
    rows: VecCollection<'s, Epoch, D>,
    when: impl Fn(&D) -> Option<i64> + 'static,
) -> VecCollection<'s, Epoch, D> {
    let mut builder = OperatorBuilder::new("timer/Due".to_owned(), rows.inner.scope());
    let by_row = Exchange::new(|(row, _, _): &(D, Epoch, isize)| row.hashed().into());
    let mut input = builder.new_input(rows.inner, by_row);
    let (due_out, due) = builder.new_output();
    builder.build(move |capabilities| {
        let mut due_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(due_out);
        let mut epochs: CompleteEpochs<Vec<(D, isize)>> = CompleteEpochs::new(1);
        let mut waiting = Waiting(BTreeMap::new());
        // Held at the frontier, so that rows come due although no row arrives.
        let mut held = capabilities;
        move |frontiers| {
            input.for_each(|capability, data| {
                for (row, epoch, diff) in data.drain(..) {
                    epochs.at(&capability, epoch).push((row, diff));
                }
            });
            let mut give = |capability: &_, epoch: Epoch, rows: Vec<(D, isize)>| {
                let updates = rows.into_iter().map(|(row, diff)| (row, epoch, diff));
                due_out.activate().session(capability).give_iterator(updates);
            };
            while let Some(complete) = epochs.next(frontiers) {
                let mut out = Vec::new();
                waiting.fire(complete.epoch, &mut out);
                for (row, diff) in complete.input {
                    let due = when(&row);
                    out.extend(waiting.change(row, due, diff, complete.epoch));
                }
                if let Some(capability) = complete.capabilities.first().filter(|_| !out.is_empty()) {
                    give(capability, complete.epoch, out);
                }
            }
            let Some(now) = frontiers.first().and_then(|frontier| least(frontier.frontier())) else {
                held.clear();
                return;
            };
            let Some(capability) = held.first_mut() else { return };
            capability.downgrade(&now);
            let mut out = Vec::new();
            waiting.fire(now, &mut out);
            if !out.is_empty() {
                give(capability, now, out);
            }
        }
    });
    due.as_collection()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use differential_dataflow::input::Input;
    use proptest::prelude::*;
    use timely::dataflow::operators::Capture;
    use timely::dataflow::operators::capture::Extract;

    use super::*;

    type Row = (u8, Option<i64>);
    /// By how much the clock moves, and what changes then.
    type Step = (u64, Vec<(Row, bool)>);

    /// What `due` gives at the end of each epoch, by a look at all rows that are there.
    fn expected(steps: &[Step]) -> BTreeMap<Epoch, BTreeMap<Row, isize>> {
        let (mut now, mut rows, mut expected) = (1, BTreeMap::<Row, isize>::new(), BTreeMap::new());
        for (pause, changes) in steps {
            now += pause;
            for (row, insert) in changes {
                *rows.entry(*row).or_default() += if *insert { 1 } else { -1 };
            }
            let is_due = |row: &Row| row.1.is_some_and(|due| due <= now as i64);
            let due = rows.iter().filter(|(row, count)| is_due(row) && **count != 0);
            expected.insert(now, due.map(|(row, count)| (*row, *count)).collect());
        }
        expected
    }

    fn observed(steps: Vec<Step>, workers: usize) -> Vec<(Row, Epoch, isize)> {
        let (send, receive) = std::sync::mpsc::channel();
        let send = std::sync::Mutex::new(send);
        let config = timely::Config::process(workers);
        let guards = timely::execute(config, move |worker| {
            let send = send.lock().unwrap().clone();
            let (mut rows, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (input, rows) = scope.new_collection::<Row, isize>();
                let due = rows.due(|row| row.1);
                due.clone().inner.capture_into(send);
                (input, due.probe().0)
            });
            let (index, peers) = (worker.index(), worker.peers());
            let mut now = 1;
            for (step, (pause, changes)) in steps.iter().enumerate() {
                now += pause;
                rows.advance_to(now);
                for (at, (row, insert)) in changes.iter().enumerate() {
                    // A row and its withdrawal may arise on different workers.
                    if (step + at) % peers == index {
                        rows.update(*row, if *insert { 1 } else { -1 });
                    }
                }
                rows.flush();
                while probe.less_than(&now) {
                    worker.step();
                }
            }
        });
        guards.unwrap().join().into_iter().for_each(|outcome| outcome.unwrap());
        receive.extract().into_iter().flat_map(|(_, data)| data).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_due_is_what_a_look_at_all_rows_finds(
            steps in prop::collection::vec(
                (1u64..6, prop::collection::vec(((0u8..3, prop::option::of(0i64..40)), any::<bool>()), 0..4)),
                1..12,
            ),
            workers in 1usize..3,
        ) {
            let observed = observed(steps.clone(), workers);
            for (epoch, expected) in expected(&steps) {
                let mut sum: BTreeMap<Row, isize> = BTreeMap::new();
                for (row, _, diff) in observed.iter().filter(|(_, at, _)| *at <= epoch) {
                    *sum.entry(*row).or_default() += diff;
                }
                sum.retain(|_, count| *count != 0);
                prop_assert_eq!(sum, expected, "at epoch {}", epoch);
            }
        }
    }

    #[test]
    fn one_key_has_one_timer_and_never_is_none() {
        let mut timers = Timers::default();
        timers.set(Timers::<u8>::NEVER, 1);
        assert!(timers.is_empty());
        timers.set(10, 1);
        timers.move_to(1, 10, 30);
        assert_eq!((timers.len(), timers.next_due(), timers.pop(29)), (1, Some(30), None));
        timers.move_to(1, 30, Timers::<u8>::NEVER);
        assert!(timers.is_empty());
    }
}
