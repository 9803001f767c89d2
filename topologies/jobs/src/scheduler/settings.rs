//! How queues work, as the configuration says.

use std::collections::BTreeMap;

use headwater::config::{Invalid, Lifetime, Period};
use serde::{Deserialize, Serialize};

use super::rate::{Pace, Rate};
use crate::model::{Backoff, Limits, Submit};

/// A settled job stays so long at least, so that it can be seen.
const SHORTEST_KEEP_MS: i64 = 1_000;

/// The key of what holds for all queues.
pub const EVERY_QUEUE: &str = "*";

/// `[queues."NAME"]`: how a queue works. What is not said is as `[queues."*"]` says, and then as the defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// The most jobs that run at once. Default: any number.
    pub concurrency: Option<u32>,
    /// The most jobs of one group that run at once. Default: any number.
    pub group_concurrency: Option<u32>,
    /// How many are leased in how long, such as `"100 / min"`. Default: any number.
    pub rate: Option<Rate>,
    /// How many of them may come at once. Default: what comes in a quarter of a second, 1 at least.
    pub burst: Option<u32>,
    /// As `rate`, of one group.
    pub group_rate: Option<Rate>,
    /// As `burst`, of one group.
    pub group_burst: Option<u32>,
    /// A job with a priority higher by 1 goes before those that have waited up to so much longer. Default: 1 min.
    pub ageing: Option<Period>,
    /// The most attempts. Default: 5.
    pub attempts: Option<u32>,
    /// The pause after the first attempt; then twice as long each time. Default: 10 s.
    pub backoff: Option<Period>,
    /// The longest pause. Default: 1 h.
    pub max_backoff: Option<Period>,
    /// A lease ends when nothing is heard of its worker for so long. Default: 30 s.
    pub heartbeat_within: Option<Period>,
    /// A job is dead when no worker has begun so long after it could. Default: never.
    pub start_within: Option<Period>,
    /// An attempt fails when it takes longer. Default: never.
    pub finish_within: Option<Period>,
}

/// `[retention]`: how long settled jobs stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Jobs that are done, unless they say otherwise.
    pub done: Lifetime,
    /// Jobs that were cancelled.
    pub cancelled: Lifetime,
    /// Dead jobs.
    pub dead: Lifetime,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            done: Lifetime::For(Period::from_days(1)),
            cancelled: Lifetime::For(Period::from_days(1)),
            dead: Lifetime::For(Period::from_days(30)),
        }
    }
}

/// How all queues work.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SchedulerSettings {
    /// By name.
    pub queues: BTreeMap<String, QueueSettings>,
    /// How long settled jobs stay.
    pub retention: Retention,
}

/// What decides which job of a queue is leased when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueLimits {
    pub(super) concurrency: u32,
    pub(super) group_concurrency: u32,
    pub(super) pace: Option<Pace>,
    pub(super) group_pace: Option<Pace>,
    pub(super) ageing_ms: i64,
}

impl SchedulerSettings {
    /// What holds for a queue, each key by itself.
    fn of<T>(&self, queue: &str, key: impl Fn(&QueueSettings) -> Option<T>) -> Option<T> {
        let named = self.queues.get(queue).and_then(&key);
        named.or_else(|| self.queues.get(EVERY_QUEUE).and_then(&key))
    }

    /// The head start that a priority higher by 1 gives in a queue, in ms.
    pub fn ageing_ms(&self, queue: &str) -> i64 {
        self.of(queue, |own| own.ageing).unwrap_or(Period::from_secs(60)).as_millis_i64()
    }

    pub(super) fn queue_limits(&self, queue: &str) -> QueueLimits {
        let pace = |rate: Option<Rate>, burst: Option<u32>| rate.map(|rate| Pace::new(rate, burst));
        QueueLimits {
            concurrency: self.of(queue, |own| own.concurrency).unwrap_or(u32::MAX),
            group_concurrency: self.of(queue, |own| own.group_concurrency).unwrap_or(u32::MAX),
            pace: pace(self.of(queue, |own| own.rate), self.of(queue, |own| own.burst)),
            group_pace: pace(self.of(queue, |own| own.group_rate), self.of(queue, |own| own.group_burst)),
            ageing_ms: self.ageing_ms(queue),
        }
    }

    /// What bounds a job that is submitted.
    pub(super) fn job_limits(&self, submit: &Submit) -> Limits {
        let queue = &submit.queue;
        let or = |said: Option<Period>, key: fn(&QueueSettings) -> Option<Period>| {
            said.or_else(|| self.of(queue, key)).map(Period::as_millis_i64)
        };
        let initial_ms = or(submit.backoff, |own| own.backoff).unwrap_or(10_000);
        let max_ms = or(submit.max_backoff, |own| own.max_backoff).unwrap_or(3_600_000);
        Limits {
            max_attempts: submit.attempts.or_else(|| self.of(queue, |own| own.attempts)).unwrap_or(5),
            backoff: Backoff { initial_ms, max_ms: max_ms.max(initial_ms) },
            heartbeat_within_ms: or(submit.heartbeat_within, |own| own.heartbeat_within).unwrap_or(30_000),
            start_within_ms: or(submit.start_within, |own| own.start_within),
            finish_within_ms: or(submit.finish_within, |own| own.finish_within),
            keep_ms: submit.keep.map(|keep| keep.as_millis_i64().max(SHORTEST_KEEP_MS)),
        }
    }

    /// Everything that is wrong, by keys.
    pub fn validate(&self) -> Vec<Invalid> {
        self.queues.iter().flat_map(|(name, own)| own.validate(name)).collect()
    }
}

impl QueueSettings {
    fn validate(&self, name: &str) -> Vec<Invalid> {
        let mut found = Vec::new();
        let mut wrong = |key: &str, what: &str| found.push(Invalid::new(format!("queues.{name}{key}"), what));
        if name != EVERY_QUEUE
            && let Err(what) = crate::model::check_queue(name)
        {
            wrong("", &what);
        }
        let counts = [
            (".concurrency", self.concurrency),
            (".group_concurrency", self.group_concurrency),
            (".burst", self.burst),
            (".group_burst", self.group_burst),
            (".attempts", self.attempts),
        ];
        counts.iter().filter(|(_, count)| *count == Some(0)).for_each(|(key, _)| wrong(key, "must be 1 or more"));
        let periods = [(".finish_within", self.finish_within), (".start_within", self.start_within)];
        let none = |(_, period): &&(&str, Option<Period>)| period.is_some_and(|period| period == Period::default());
        periods.iter().filter(none).for_each(|(key, _)| wrong(key, "must be longer than nothing"));
        if self.heartbeat_within.is_some_and(|period| period < Period::from_secs(1)) {
            wrong(".heartbeat_within", "must be 1 s or longer");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_says_what_differs_from_all_queues() {
        let text = "[queues.'*']\nconcurrency = 4\nrate = '10 / s'\n[queues.mail]\nconcurrency = 2\nburst = 5";
        #[derive(Deserialize)]
        struct Text {
            queues: BTreeMap<String, QueueSettings>,
        }
        let Text { queues } = toml::from_str(text).unwrap();
        let settings = SchedulerSettings { queues, retention: Retention::default() };
        let mail = settings.queue_limits("mail");
        assert_eq!((mail.concurrency, mail.pace), (2, Some(Pace { interval_us: 100_000, burst: 5 })));
        assert_eq!(settings.queue_limits("other").concurrency, 4);
        assert!(settings.validate().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_by_key() {
        let own = QueueSettings {
            concurrency: Some(0),
            heartbeat_within: Some(Period::from_millis(5)),
            ..Default::default()
        };
        let settings = SchedulerSettings { queues: [("a b".to_owned(), own)].into(), ..Default::default() };
        let keys: Vec<_> = settings.validate().into_iter().map(|invalid| invalid.key).collect();
        assert_eq!(keys, ["queues.a b", "queues.a b.concurrency", "queues.a b.heartbeat_within"]);
    }
}
