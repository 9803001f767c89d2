//! Pace: when epochs close, and how much may be under way.

use std::time::Duration;

use headwater_flow::Epoch;

/// When epochs close and how much may be under way.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long an epoch stays open.
    pub interval: Duration,
    /// How many closed epochs may wait for their commit, per worker.
    pub max_epochs: usize,
    /// How many bytes may be read and not committed, per worker.
    pub max_bytes: usize,
}

/// The epoch that the clock shows: the beginning of its interval.
pub(super) fn epoch_of_clock(ms: u64, interval: Duration) -> Epoch {
    let interval = interval.as_millis().max(1) as u64;
    ms / interval * interval
}

/// The epoch after `epoch` at `now`, or itself while it is not over. A full one is over at once. Epochs
/// that have not moved by the interval for two of them do so whatever the clock shows: one that was set
/// back must not keep them where they are until it has caught up.
pub(super) fn next_epoch(epoch: Epoch, now: u64, interval: Duration, since_step: Duration, full: bool) -> Epoch {
    let overdue = if since_step >= interval * 2 { interval.as_millis().max(1) as u64 } else { 0 };
    let least = if full { overdue.max(1) } else { overdue };
    epoch_of_clock(now, interval).max(epoch + least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[test]
    fn an_epoch_is_over_with_its_interval_or_when_it_is_full() {
        let after = |now, full| next_epoch(1_000, now, INTERVAL, Duration::ZERO, full);
        assert_eq!([after(1_099, false), after(1_100, false), after(1_234, false)], [1_000, 1_100, 1_200]);
        assert_eq!([after(1_099, true), after(1_100, true)], [1_001, 1_100]);
        assert_eq!(next_epoch(1_101, 1_199, INTERVAL, Duration::ZERO, false), 1_101);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_no_epoch_up_whether_full_or_not() {
        for full in [false, true] {
            let (mut epoch, mut stepped) = (1_000_000, 0);
            for at in (0..10_000).step_by(50) {
                let next = next_epoch(epoch, 5, INTERVAL, Duration::from_millis(at - stepped), full);
                if epoch_of_clock(next, INTERVAL) != epoch_of_clock(epoch, INTERVAL) {
                    stepped = at;
                }
                epoch = next;
            }
            assert!((1_004_000..=1_006_000).contains(&epoch), "{epoch}");
        }
    }
}
