//! Tells a broker that is away from a client that has lost its way.
//!
//! When all brokers leave the metadata at once, as the only one of a small cluster does for a moment
//! after a start or a stall, librdkafka (2.12) gives up their connections, and is to begin anew at the
//! bootstrap servers. That does not always come about: the end of the answer that named no broker may
//! cancel it (<https://github.com/confluentinc/librdkafka/issues/5301>), and a transactional producer
//! may hold on to the connection of its coordinator. Such a client asks nobody any more, for ever.
//! Another one finds the brokers well all the while, and that is how it is told.

use std::time::{Duration, Instant};

/// How long nothing has to have succeeded before anybody else is asked.
const QUIET: Duration = Duration::from_secs(15);

/// Others are asked this often.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// For how long others have to have been answered: a client finds its way back by itself in less.
const WELL_FOR: Duration = Duration::from_secs(12);

/// What lies between two answers that are farther apart is not known. Whoever waits for a transaction
/// asks every ten to twenty seconds: one call to the coordinator, and a pause.
const GAP: Duration = Duration::from_secs(45);

/// Watches over what a client has to do.
#[derive(Debug)]
pub(super) struct Vigil {
    /// When something last succeeded.
    moved: Instant,
    probed: Option<Instant>,
    /// Since when others have been answered without a gap.
    well_since: Option<Instant>,
}

impl Vigil {
    /// Begins to watch.
    pub(super) fn new(now: Instant) -> Self {
        Self { moved: now, probed: None, well_since: None }
    }

    /// The broker has answered.
    pub(super) fn moved(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// For how long nothing has succeeded.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.moved)
    }

    /// Whether the client has lost its way. `others_are_answered` asks by a client of its own, and is
    /// called now and then only.
    pub(super) fn is_stranded(&mut self, now: Instant, others_are_answered: impl FnOnce() -> bool) -> bool {
        let just_probed = self.probed.is_some_and(|at| now.saturating_duration_since(at) < PROBE_EVERY);
        if self.quiet_for(now) < QUIET || just_probed {
            return false;
        }
        let probed = self.probed.replace(now);
        if probed.is_some_and(|at| now.saturating_duration_since(at) > GAP) {
            self.well_since = None;
        }
        if !others_are_answered() {
            self.well_since = None;
            return false;
        }
        now.saturating_duration_since(*self.well_since.get_or_insert(now)) >= WELL_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks every second whether the client is stranded; the second at which it is.
    fn watch(mut vigil: Vigil, began: Instant, answered: impl Fn(u64) -> bool) -> Option<u64> {
        let at = |second| began + Duration::from_secs(second);
        (0..300).find(|second| vigil.is_stranded(at(*second), || answered(*second)))
    }

    #[test]
    fn a_broker_that_is_away_strands_nobody() {
        let began = Instant::now();
        assert_eq!(watch(Vigil::new(began), began, |_| false), None);
        // Nor does one that answers now and then.
        assert_eq!(watch(Vigil::new(began), began, |second| second % 10 < 5), None);
    }

    #[test]
    fn who_is_not_answered_while_others_are_is_stranded() {
        let began = Instant::now();
        assert_eq!(watch(Vigil::new(began), began, |_| true), Some(27));
        let came_back_at = 60;
        assert_eq!(watch(Vigil::new(began), began, |second| second >= came_back_at), Some(came_back_at + 12));
    }

    #[test]
    fn two_answers_far_apart_say_nothing_of_the_time_between() {
        let began = Instant::now();
        let asked = |seconds: &[u64]| {
            let mut vigil = Vigil::new(began);
            seconds.iter().map(|second| vigil.is_stranded(began + Duration::from_secs(*second), || true)).collect()
        };
        let answers: Vec<bool> = asked(&[20, 80, 90, 95]);
        assert_eq!(answers, [false, false, false, true]);
        // As often as a writer asks that tries to commit again and again.
        let answers: Vec<bool> = asked(&[20, 41]);
        assert_eq!(answers, [false, true]);
    }

    #[test]
    fn what_moves_is_not_stranded_and_others_are_not_asked() {
        let began = Instant::now();
        let mut vigil = Vigil::new(began);
        for second in 0..300 {
            let now = began + Duration::from_secs(second);
            vigil.moved(now);
            assert!(!vigil.is_stranded(now + Duration::from_secs(10), || unreachable!("others were asked")));
        }
    }
}
