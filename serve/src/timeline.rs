//! When commits were made: from times to commit numbers.

use std::collections::BTreeMap;

/// Commits that were made within so many ms of one that is known are not kept.
const APART_MS: i64 = 60_000;

/// Some commits with their times, at most one a minute.
#[derive(Debug, Clone, Default)]
pub struct Timeline(BTreeMap<i64, u64>);

impl Timeline {
    /// Notes that `commit` was made at a time in ms since the Unix epoch. Commits may be noted in any order.
    pub fn note(&mut self, commit: u64, ms: i64) {
        if self.0.range(..=ms).next_back().is_none_or(|(before, _)| ms - before >= APART_MS) {
            self.0.insert(ms, commit);
        }
    }

    /// When the last commit was made that is known.
    pub fn last_ms(&self) -> Option<i64> {
        self.0.keys().next_back().copied()
    }

    /// A commit before `ms`, about a minute before it at most where one was made then; 0 where none is known.
    pub fn last_before(&self, ms: i64) -> u64 {
        self.0.range(..ms).next_back().map_or(0, |(_, commit)| *commit)
    }

    /// A commit that no commit before `ms` follows; `None` where none since then is known.
    pub fn first_since(&self, ms: i64) -> Option<u64> {
        self.0.range(ms..).next().map(|(_, commit)| *commit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_commit_a_minute_is_known() {
        let mut timeline = Timeline::default();
        for (commit, ms) in [(2, 100_000), (3, 100_001), (9, 200_000), (1, 30_000)] {
            timeline.note(commit, ms);
        }
        assert_eq!([30_000, 30_001, 100_002, 200_001].map(|ms| timeline.last_before(ms)), [0, 1, 2, 9]);
        assert_eq!([0, 30_001, 200_000].map(|ms| timeline.first_since(ms)), [Some(1), Some(2), Some(9)]);
        assert_eq!(timeline.first_since(200_001), None);
    }

    proptest! {
        #[test]
        fn answers_err_to_the_safe_side(mut steps in prop::collection::vec(0i64..90_000, 1..50), at in 0i64..3_000_000) {
            let mut ms = 0;
            let mut commits: Vec<(u64, i64)> = Vec::new();
            for (number, step) in (1..).zip(&mut steps) {
                ms += *step;
                commits.push((number, ms));
            }
            let mut timeline = Timeline::default();
            commits.iter().for_each(|(number, ms)| timeline.note(*number, *ms));
            let before = commits.iter().filter(|(_, ms)| *ms < at).map(|(number, _)| *number).max().unwrap_or(0);
            prop_assert!(timeline.last_before(at) <= before);
            prop_assert!(timeline.first_since(at).is_none_or(|commit| commit > before));
        }
    }
}
