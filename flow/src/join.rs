//! [`LeftJoin`]: rows with what is known of their keys, and rows that follow redirects.

use differential_dataflow::{ExchangeData, Hashable, VecCollection};

use crate::Epoch;

/// Rows with what is known of their keys.
///
/// ```
/// use differential_dataflow::input::Input;
/// use headwater_flow::LeftJoin;
/// use timely::dataflow::operators::capture::{Capture, Extract};
///
/// let named = timely::execute_directly(|worker| {
///     worker.dataflow::<u64, _, _>(|scope| {
///         let (_, seats) = scope.new_collection_from([('a', 1), ('b', 2), ('c', 3)]);
///         let (_, moved) = scope.new_collection_from([('b', 'a')]);
///         let (_, names) = scope.new_collection_from([('a', 'H')]);
///         seats.redirected(moved).left_join(names).consolidate().inner.capture()
///     })
/// });
/// let mut rows: Vec<_> = named.extract().into_iter().flat_map(|(_, rows)| rows).map(|(row, ..)| row).collect();
/// rows.sort();
/// assert_eq!(rows, [('a', 1, Some('H')), ('a', 2, Some('H')), ('c', 3, None)]);
/// ```
pub trait LeftJoin<'s, K, D> {
    /// Each row with the value of its key, `None` where there is none. A key has one value at most.
    fn left_join<V: ExchangeData>(
        self,
        values: VecCollection<'s, Epoch, (K, V)>,
    ) -> VecCollection<'s, Epoch, (K, D, Option<V>)>;

    /// Each row under the key that its key is redirected to; a key without a redirect stays as it is. One step
    /// is taken: who writes redirects lets each lead to what is there now, as discovery does. So rows never go in circles,
    /// whatever the order in which changed redirects are read.
    fn redirected(self, redirects: VecCollection<'s, Epoch, (K, K)>) -> VecCollection<'s, Epoch, (K, D)>;
}

impl<'s, K: ExchangeData + Hashable, D: ExchangeData> LeftJoin<'s, K, D> for VecCollection<'s, Epoch, (K, D)> {
    fn left_join<V: ExchangeData>(
        self,
        values: VecCollection<'s, Epoch, (K, V)>,
    ) -> VecCollection<'s, Epoch, (K, D, Option<V>)> {
        let keys = values.clone().map(|(key, _)| key);
        let without = self.clone().antijoin(keys).map(|(key, row)| (key, row, None));
        self.join_map(values, |key, row, value| (key.clone(), row.clone(), Some(value.clone()))).concat(without)
    }

    fn redirected(self, redirects: VecCollection<'s, Epoch, (K, K)>) -> VecCollection<'s, Epoch, (K, D)> {
        self.left_join(redirects).map(|(key, row, target)| (target.unwrap_or(key), row))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use differential_dataflow::input::Input;
    use timely::dataflow::operators::Capture;
    use timely::dataflow::operators::capture::Extract;

    use super::*;

    type Row = (char, i32, Option<char>);

    /// What is there after each epoch.
    fn observed(workers: usize) -> Vec<BTreeMap<Row, isize>> {
        let (send, receive) = std::sync::mpsc::channel();
        let send = std::sync::Mutex::new(send);
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let send = send.lock().unwrap().clone();
            let (mut rows, mut redirects, mut names) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (rows_in, rows) = scope.new_collection();
                let (redirects_in, redirects) = scope.new_collection();
                let (names_in, names) = scope.new_collection();
                rows.redirected(redirects).left_join(names).inner.capture_into(send);
                (rows_in, redirects_in, names_in)
            });
            if worker.index() > 0 {
                return;
            }
            rows.insert(('a', 1));
            rows.insert(('a', 1));
            rows.insert(('b', 1));
            names.insert(('a', 'H'));
            names.insert(('b', 'Y'));
            for epoch in 1..=4 {
                rows.advance_to(epoch);
                redirects.advance_to(epoch);
                names.advance_to(epoch);
                match epoch {
                    // Merged, renamed, apart again.
                    1 => redirects.insert(('b', 'a')),
                    2 => {
                        names.remove(('a', 'H'));
                        names.insert(('a', 'D'));
                    }
                    3 => redirects.remove(('b', 'a')),
                    _ => names.remove(('b', 'Y')),
                }
            }
        });
        guards.unwrap().join().into_iter().for_each(|outcome| outcome.unwrap());
        let all: Vec<(Row, Epoch, isize)> = receive.extract().into_iter().flat_map(|(_, data)| data).collect();
        let at = |epoch| {
            let mut rows = BTreeMap::new();
            all.iter()
                .filter(|(_, at, _)| *at <= epoch)
                .for_each(|(row, _, diff)| *rows.entry(*row).or_default() += diff);
            rows.retain(|_, count| *count != 0);
            rows
        };
        (0..=4).map(at).collect()
    }

    #[test]
    fn rows_follow_redirects_and_names_there_and_back() {
        for workers in [1, 2] {
            let expected = [
                vec![(('a', 1, Some('H')), 2), (('b', 1, Some('Y')), 1)],
                vec![(('a', 1, Some('H')), 3)],
                vec![(('a', 1, Some('D')), 3)],
                vec![(('a', 1, Some('D')), 2), (('b', 1, Some('Y')), 1)],
                vec![(('a', 1, Some('D')), 2), (('b', 1, None), 1)],
            ];
            assert_eq!(observed(workers), expected.map(BTreeMap::from_iter), "{workers} workers");
        }
    }

    #[test]
    fn redirects_in_a_circle_end() {
        let captured = timely::execute_directly(|worker| {
            worker.dataflow::<Epoch, _, _>(|scope| {
                let (_, rows) = scope.new_collection_from([('a', 1), ('b', 2)]);
                let (_, redirects) = scope.new_collection_from([('a', 'b'), ('b', 'a')]);
                rows.redirected(redirects).consolidate().inner.capture()
            })
        });
        let mut rows: Vec<_> = captured.extract().into_iter().flat_map(|(_, data)| data).map(|(row, ..)| row).collect();
        rows.sort_unstable();
        assert_eq!(rows, [('a', 2), ('b', 1)]);
    }
}
