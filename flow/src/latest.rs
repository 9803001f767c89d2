//! [`Latest`]: of all that records say of a key, the last word.
//!
//! The last word is the one with the greatest [`LogPosition`], whatever the order of arrival. So what this
//! operator holds is a function of the log alone: repeats, restarts, rebuilds and other numbers of workers end
//! with the same rows. A withdrawal is a word like any other, and is remembered like any other: were it
//! forgotten, an older record of another partition that is read later would bring back what it withdrew.
//! What bounds the memory is the time at which words leave.

use std::collections::hash_map::Entry;
use std::hash::Hash;

use differential_dataflow::{AsCollection, ExchangeData, Hashable, VecCollection};
use foldhash::{HashMap, HashMapExt};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::Epoch;
use crate::epochs::{CompleteEpochs, least};
use crate::meter::EntryMeter;
use crate::position::Positioned;
use crate::timer::Timers;

/// Of all that records say of a key, the last word.
///
/// ```
/// use differential_dataflow::input::Input;
/// use headwater_flow::{Latest, LogPosition, Positioned};
/// use timely::dataflow::operators::capture::{Capture, Extract};
///
/// let said = |offset, value| (7, Positioned { position: LogPosition { offset, ..Default::default() }, value });
/// let rows = timely::execute_directly(move |worker| {
///     let (mut words, rows) = worker.dataflow::<u64, _, _>(|scope| {
///         let (input, words) = scope.new_collection();
///         let (_, restored) = scope.new_collection_from(None);
///         (input, words.latest(restored, |_| None).inner.capture())
///     });
///     words.advance_to(1);
///     words.insert(said(5, true));
///     words.insert(said(3, false));
///     words.advance_to(2);
///     words.insert(said(4, false));
///     rows
/// });
/// let rows: Vec<_> = rows.extract().into_iter().flat_map(|(_, rows)| rows).collect();
/// assert_eq!(rows, [(said(5, true), 1, 1)]);
/// ```
pub trait Latest<'s, K, V> {
    /// The last word on each key, going on from what is `restored`. `leaves` gives the time (ms since the Unix
    /// epoch) from which a word is forgotten; `None` is never.
    ///
    /// NB: `leaves` must give the same for the same word at all times.
    fn latest(
        self,
        restored: VecCollection<'s, Epoch, (K, Positioned<V>)>,
        leaves: impl Fn(&V) -> Option<i64> + 'static,
    ) -> VecCollection<'s, Epoch, (K, Positioned<V>)>;
}

impl<'s, K: ExchangeData + Hash, V: ExchangeData> Latest<'s, K, V> for VecCollection<'s, Epoch, (K, Positioned<V>)> {
    fn latest(
        self,
        restored: VecCollection<'s, Epoch, (K, Positioned<V>)>,
        leaves: impl Fn(&V) -> Option<i64> + 'static,
    ) -> VecCollection<'s, Epoch, (K, Positioned<V>)> {
        latest(self.concat(restored), move |value| leaves(value).unwrap_or(Timers::<K>::NEVER))
    }
}

/// The last word on each key so far.
struct LastWords<K, V> {
    known: HashMap<K, Positioned<V>>,
    timers: Timers<K>,
}

impl<K: ExchangeData + Hash, V: ExchangeData> LastWords<K, V> {
    /// Takes in a word at `now`; what changes by it goes to `out`.
    fn say(
        &mut self,
        key: K,
        word: Positioned<V>,
        leaves: &impl Fn(&V) -> i64,
        now: i64,
        out: &mut Vec<((K, Positioned<V>), isize)>,
    ) {
        let known = self.known.get(&key);
        if known.is_some_and(|known| known.position >= word.position) {
            return;
        }
        let before = known.map_or(Timers::<K>::NEVER, |known| leaves(&known.value));
        let leaves_at = leaves(&word.value);
        let stays = leaves_at > now;
        self.timers.move_to(key.clone(), before, if stays { leaves_at } else { Timers::<K>::NEVER });
        let gone = match stays {
            true => self.known.insert(key.clone(), word.clone()),
            false => self.known.remove(&key),
        };
        out.extend(gone.map(|gone| ((key.clone(), gone), -1)));
        out.extend(stays.then_some(((key, word), 1)));
    }

    /// Forgets what leaves at `now`.
    fn expire(&mut self, now: i64, out: &mut Vec<((K, Positioned<V>), isize)>) {
        while let Some((_, key)) = self.timers.pop(now) {
            out.extend(self.known.remove(&key).map(|gone| ((key, gone), -1)));
        }
    }
}

/// The last word of an epoch on each key: all that is kept of the words of an epoch that is not complete.
type Words<K, V> = HashMap<K, Positioned<V>>;

fn keep_later<K: ExchangeData + Hash, V>(words: &mut Words<K, V>, key: K, word: Positioned<V>) {
    match words.entry(key) {
        Entry::Occupied(mut known) if known.get().position < word.position => drop(known.insert(word)),
        Entry::Occupied(_) => {}
        Entry::Vacant(vacant) => drop(vacant.insert(word)),
    }
}

fn latest<'s, K: ExchangeData + Hash, V: ExchangeData>(
    words: VecCollection<'s, Epoch, (K, Positioned<V>)>,
    leaves: impl Fn(&V) -> i64 + 'static,
) -> VecCollection<'s, Epoch, (K, Positioned<V>)> {
    let mut builder = OperatorBuilder::new("latest/LastWords".to_owned(), words.inner.scope());
    let by_key = Exchange::new(|((key, _), _, _): &((K, Positioned<V>), Epoch, isize)| key.hashed());
    let mut input = builder.new_input(words.inner, by_key);
    let (rows_out, rows) = builder.new_output();
    builder.build(move |capabilities| {
        let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(rows_out);
        let mut epochs: CompleteEpochs<Words<K, V>> = CompleteEpochs::new(1);
        let mut last = LastWords { known: HashMap::new(), timers: Timers::default() };
        let meter = EntryMeter::new("latest-words");
        // Held at the frontier, so that words leave although no record arrives.
        let mut held = capabilities;
        move |frontiers| {
            input.for_each(|capability, data| {
                // Words of a batch may lie at later epochs than its capability.
                for ((key, word), epoch, _diff) in data.drain(..) {
                    keep_later(epochs.at(&capability, epoch), key, word);
                }
            });
            let mut give = |capability: &_, epoch: Epoch, changes: Vec<_>| {
                let updates = changes.into_iter().map(|(row, diff)| (row, epoch, diff));
                rows_out.activate().session(capability).give_iterator(updates);
            };
            while let Some(complete) = epochs.next(frontiers) {
                let (now, mut out) = (complete.epoch as i64, Vec::new());
                last.expire(now, &mut out);
                for (key, word) in complete.input {
                    last.say(key, word, &leaves, now, &mut out);
                }
                meter.set(last.known.len());
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
            last.expire(now as i64, &mut out);
            if !out.is_empty() {
                meter.set(last.known.len());
                give(capability, now, out);
            }
        }
    });
    rows.as_collection()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use differential_dataflow::input::Input;
    use proptest::prelude::*;
    use timely::dataflow::operators::Capture;
    use timely::dataflow::operators::capture::Extract;

    use super::*;
    use crate::LogPosition;

    /// A value, and when it leaves.
    type Value = (u8, Option<i64>);
    type Word = (u8, Positioned<Value>);

    fn word(key: u8, order_ms: i64, value: Value) -> Word {
        (key, Positioned { position: LogPosition { order_ms, offset: order_ms, ..LogPosition::default() }, value })
    }

    /// What is there after each epoch of `steps` (their words, at epochs 1, 2, ...), on `workers` workers.
    fn observed(restored: Vec<Word>, steps: Vec<Vec<Word>>, workers: usize) -> Vec<(Word, Epoch, isize)> {
        let (send, receive) = std::sync::mpsc::channel();
        let send = std::sync::Mutex::new(send);
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let send = send.lock().unwrap().clone();
            let (index, peers) = (worker.index(), worker.peers());
            let restored: Vec<Word> = restored.clone().into_iter().filter(|_| index == 0).collect();
            let (mut words, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (input, words) = scope.new_collection::<Word, isize>();
                let rows = words.latest(scope.new_collection_from(restored).1, |(_, leaves)| *leaves);
                rows.clone().inner.capture_into(send);
                (input, rows.probe().0)
            });
            for (step, said) in steps.iter().enumerate() {
                let epoch = step as Epoch + 1;
                words.advance_to(epoch);
                let own = said.iter().enumerate().filter(|(at, _)| at % peers == index);
                own.for_each(|(_, word)| words.insert(*word));
                words.advance_to(epoch + 1);
                words.flush();
                while probe.less_than(&(epoch + 1)) {
                    worker.step();
                }
            }
        });
        guards.unwrap().join().into_iter().for_each(|outcome| outcome.unwrap());
        receive.extract().into_iter().flat_map(|(_, data)| data).collect()
    }

    fn left(observed: &[(Word, Epoch, isize)], until: Epoch) -> BTreeMap<Word, isize> {
        let mut rows = BTreeMap::new();
        for (word, _, diff) in observed.iter().filter(|(_, epoch, _)| *epoch <= until) {
            *rows.entry(*word).or_default() += diff;
        }
        rows.retain(|_, count| *count != 0);
        rows
    }

    impl Copy for Positioned<Value> {}

    #[test]
    fn a_later_word_replaces_and_an_older_one_changes_nothing() {
        let steps = vec![vec![word(1, 50, (1, None))], vec![word(1, 40, (2, None))], vec![word(1, 60, (3, None))]];
        let rows = observed(Vec::new(), steps, 1);
        let expected =
            [(word(1, 50, (1, None)), 1, 1), (word(1, 50, (1, None)), 3, -1), (word(1, 60, (3, None)), 3, 1)];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_word_leaves_at_its_time_though_nothing_comes() {
        let rows = observed(vec![word(2, 5, (0, Some(3)))], vec![vec![word(1, 9, (1, Some(2)))], vec![], vec![]], 1);
        assert_eq!(left(&rows, 1).len(), 2);
        assert_eq!(left(&rows, 2).keys().map(|(key, _)| *key).collect::<Vec<_>>(), [2]);
        assert!(left(&rows, 3).is_empty());
    }

    #[test]
    fn what_comes_too_late_takes_away_what_it_replaces() {
        let steps = vec![vec![], vec![], vec![], vec![word(1, 9, (1, Some(2)))]];
        let rows = observed(vec![word(1, 5, (0, Some(100)))], steps, 1);
        assert_eq!((left(&rows, 3).len(), left(&rows, 4).len()), (1, 0));
    }

    fn words() -> impl Strategy<Value = Vec<Vec<Word>>> {
        let said = (0u8..3, any::<u8>()).prop_map(|(key, value)| (key, (value, None)));
        prop::collection::vec(prop::collection::vec(said, 0..4), 1..8).prop_map(|steps| {
            // Positions are unique, and those of later steps may be earlier ones.
            let mut n = 0;
            let mut at = |key: u8, value| {
                n += 7;
                word(key, n % 31 * 100 + n, value)
            };
            steps.into_iter().map(|step| step.into_iter().map(|(key, value)| at(key, value)).collect()).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn neither_order_nor_restarts_nor_workers_change_the_end(steps in words(), cut in 0usize..8, workers in 1usize..3) {
            let all: Vec<Word> = steps.iter().flatten().copied().collect();
            let end = steps.len() as Epoch;
            let rows = left(&observed(Vec::new(), steps.clone(), workers), end);
            let mut backwards = all.clone();
            backwards.reverse();
            prop_assert_eq!(&rows, &left(&observed(Vec::new(), vec![backwards], 1), 1));
            // A restart after some of the steps goes on from what they left.
            let (before, after) = steps.split_at(cut.min(steps.len()));
            let restored = left(&observed(Vec::new(), before.to_vec(), 1), end).into_keys().collect();
            prop_assert_eq!(&rows, &left(&observed(restored, after.to_vec(), workers), end));
        }
    }
}
