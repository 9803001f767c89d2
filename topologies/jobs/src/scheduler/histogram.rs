//! Quantiles of times that come and go.

use crate::model::Quantiles;

/// Parts of an octave: a bucket is a sixteenth of it wide.
const PARTS: u32 = 16;

/// Buckets: those of one millisecond each, and then the octaves up to 2^48 ms.
const BUCKETS: usize = (PARTS * 46) as usize;

/// Counts of times in ms, in buckets of a sixteenth of an octave. What was added may be taken out again, so that
/// the counts always are those of the jobs that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, ms: i64) {
        let bucket = bucket(ms);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// Takes out what was added.
    pub(super) fn remove(&mut self, ms: i64) {
        self.counts[bucket(ms)] -= 1;
        self.total -= 1;
    }

    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        (self.total > 0).then(|| Quantiles { p50: self.quantile(50), p95: self.quantile(95) })
    }

    /// The end of the bucket that holds the `percent`-th of a hundred.
    fn quantile(&self, percent: u64) -> i64 {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        found.map_or(0, longest)
    }
}

/// The bucket of a time.
fn bucket(ms: i64) -> usize {
    let ms = u64::try_from(ms).unwrap_or(0);
    let octave = ms.checked_ilog2().unwrap_or(0).saturating_sub(PARTS.ilog2());
    let bucket = u64::from(octave * PARTS) + (ms >> octave);
    (bucket as usize).min(BUCKETS - 1)
}

/// The longest time of a bucket.
fn longest(bucket: usize) -> i64 {
    let parts = PARTS as usize;
    if bucket < 2 * parts {
        return bucket as i64;
    }
    let octave = bucket / parts - 1;
    (((bucket - octave * parts + 1) as i64) << octave) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_at_most_a_sixteenth_too_high(
            mut times in prop::collection::vec(0i64..100_000_000, 1..200),
            gone in prop::collection::vec(0i64..100_000_000, 0..50),
        ) {
            let mut histogram = Histogram::default();
            gone.iter().chain(&times).for_each(|ms| histogram.add(*ms));
            gone.iter().for_each(|ms| histogram.remove(*ms));
            times.sort_unstable();
            let found = histogram.quantiles().unwrap();
            for (percent, found) in [(50, found.p50), (95, found.p95)] {
                let exact = times[(times.len() * percent).div_ceil(100).max(1) - 1];
                prop_assert!(exact <= found && found <= exact + exact / 16, "{exact} {found}");
            }
        }
    }

    #[test]
    fn every_time_has_a_bucket() {
        let mut histogram = Histogram::default();
        for ms in [i64::MIN, -1, 0, 1, 31, 32, i64::MAX] {
            assert!(bucket(ms) < BUCKETS, "{ms}");
            histogram.add(ms);
        }
        assert!(Histogram::default().quantiles().is_none());
    }
}
