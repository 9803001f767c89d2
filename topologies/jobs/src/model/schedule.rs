//! Schedules: when which job is submitted.

use std::fmt::Display;
use std::str::FromStr;

use croner::Cron;
use croner::errors::CronError;
use headwater::config::Period;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::command::Submit;

/// A row of the table `schedules`: when which job is submitted. The key is its name.
///
/// ```
/// use jobs::model::Schedule;
/// let text = r#"{"cron": "0 7 * * MON-FRI", "zone": "Europe/Berlin", "job": {"queue": "reports"}}"#;
/// let schedule: Schedule = serde_json::from_str(text).unwrap();
/// let calendar = schedule.calendar("morning").unwrap();
/// let next = calendar.next_after("2026-12-04T12:00:00Z".parse().unwrap());
/// assert_eq!(next.unwrap().to_string(), "2026-12-07T06:00:00Z");
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// A cron pattern of five fields, or of six with seconds first, or `@daily` and the like. Either this or `every`.
    #[serde(default)]
    pub cron: Option<String>,
    /// An interval: due at multiples of it since 1970, moved by a part of it that its name gives.
    #[serde(default)]
    pub every: Option<Period>,
    /// The time zone of `cron`, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub zone: String,
    /// What becomes of times at which the engine did not run.
    #[serde(default)]
    pub missed: Missed,
    /// What becomes of a time at which the job before has not been settled.
    #[serde(default)]
    pub overlap: Overlap,
    /// Whether it submits nothing.
    #[serde(default)]
    pub paused: bool,
    /// The job.
    pub job: ScheduledJob,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What becomes of times at which the engine did not run, or that it met more than a minute late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Nothing.
    #[default]
    Skip,
    /// One job, for the last of them.
    Once,
    /// A job for each, at most a thousand: the newest.
    All,
}

/// What becomes of a time at which the job before has not been settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// Nothing.
    #[default]
    Skip,
    /// Its job runs beside it.
    Allow,
    /// Its job runs after it.
    Queue,
}

/// What a schedule submits: the fields of `submit`, but for id and times.
#[derive(Debug, Clone)]
pub struct ScheduledJob(pub Submit);

impl<'de> Deserialize<'de> for ScheduledJob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let submit = Submit::deserialize(deserializer)?;
        submit.check().map_err(de::Error::custom)?;
        if submit.id.is_some() || submit.run_at.is_some() || submit.delay.is_some() || !submit.parents.is_empty() {
            return Err(de::Error::custom("id, runAt, delay and parents are given by the schedule"));
        }
        Ok(Self(submit))
    }
}

/// When a schedule is due, ready to be asked.
#[derive(Debug, Clone)]
pub struct Calendar(When);

/// When a schedule is due.
#[derive(Debug, Clone)]
pub enum When {
    /// By a cron pattern, in a time zone.
    Cron(Box<Cron>, TimeZone),
    /// At multiples of an interval since 1970, moved, all in milliseconds.
    Every {
        /// The interval.
        interval_ms: i64,
        /// By so much.
        moved_ms: i64,
    },
}

/// The shortest interval.
const SHORTEST_MS: i64 = 1_000;

impl Schedule {
    /// When it is due, under the name `name`.
    ///
    /// # Errors
    /// What is wrong with pattern, interval or zone.
    pub fn calendar(&self, name: &str) -> Result<Calendar, String> {
        match (&self.cron, self.every) {
            (Some(pattern), None) => {
                let wrong = |error: &dyn Display| format!("the cron pattern {pattern:?}: {error}");
                // A field of empty parts holds no time at all, and croner would look for one through all years.
                if pattern.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
                    return Err(wrong(&"a field has an empty part beside a comma"));
                }
                let cron = Cron::from_str(pattern).map_err(|error| wrong(&error))?;
                let zone = TimeZone::get(&self.zone).map_err(|error| format!("the zone {:?}: {error}", self.zone))?;
                Ok(Calendar(When::Cron(Box::new(cron), zone)))
            }
            (None, Some(every)) if every.as_millis_i64() >= SHORTEST_MS => {
                let interval_ms = every.as_millis_i64();
                // Those that were made together do not all come at once.
                let moved_ms = (xxh3_64(name.as_bytes()) % interval_ms.unsigned_abs()) as i64;
                Ok(Calendar(When::Every { interval_ms, moved_ms }))
            }
            (None, Some(every)) => Err(format!("every {every}: a second is the shortest")),
            _ => Err("a schedule needs either `cron` or `every`".to_owned()),
        }
    }
}

impl Calendar {
    /// The first time after `time` at which it is due; `None` where there is none in the next years.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            When::Cron(cron, zone) => next_of_cron(cron, zone, time),
            When::Every { interval_ms, moved_ms } => {
                let since = time.as_millisecond() - moved_ms;
                let next = (since.div_euclid(*interval_ms) + 1).checked_mul(*interval_ms)?.checked_add(*moved_ms)?;
                Timestamp::from_millisecond(next).ok()
            }
        }
    }
}

impl Calendar {
    /// The times after `after`, up to and with `until`, at which it is due: the newest `most` of them, the oldest first.
    pub fn due_between(&self, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        let mut times = Vec::new();
        let mut at = self.last_at(until);
        while let Some(time) = at.filter(|time| *time > after && times.len() < most) {
            times.push(time);
            at = time.checked_sub(SignedDuration::from_millis(1)).ok().and_then(|before| self.last_at(before));
        }
        times.reverse();
        times
    }

    /// The last time up to and with `time` at which it is due.
    fn last_at(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            When::Cron(cron, zone) => {
                let whole = Timestamp::from_second(time.as_millisecond().div_euclid(1_000)).ok()?;
                let found = cron.find_previous_occurrence(&whole.to_zoned(zone.clone()), true);
                found.ok().map(|zoned| zoned.timestamp())
            }
            When::Every { interval_ms, moved_ms } => {
                let since = time.as_millisecond() - moved_ms;
                Timestamp::from_millisecond(since.div_euclid(*interval_ms) * interval_ms + moved_ms).ok()
            }
        }
    }
}

fn next_of_cron(cron: &Cron, zone: &TimeZone, time: Timestamp) -> Option<Timestamp> {
    // Patterns have whole seconds.
    let whole = Timestamp::from_second(time.as_millisecond().div_euclid(1_000)).ok()?;
    let found: Result<_, CronError> = cron.find_next_occurrence(&whole.to_zoned(zone.clone()), false);
    let next = found.ok()?.timestamp();
    (next.duration_since(time) > SignedDuration::ZERO).then_some(next)
}

/// A schedule as it was written: what the dataflow carries, since it can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleText(String);

impl ScheduleText {
    /// The schedule.
    ///
    /// # Errors
    /// None of what was read before.
    pub fn schedule(&self) -> Result<Schedule, String> {
        serde_json::from_str(&self.0).map_err(|error| error.to_string())
    }
}

impl Serialize for ScheduleText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let value: Value = serde_json::from_str(&self.0).map_err(ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ScheduleText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return String::deserialize(deserializer).map(Self);
        }
        // Not as raw JSON: it is read out of a row that has the format version beside it.
        let text = Self(Value::deserialize(deserializer)?.to_string());
        let schedule = text.schedule().map_err(de::Error::custom)?;
        schedule.calendar("").map_err(de::Error::custom)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(definition: &str) -> Result<Calendar, String> {
        let schedule: Schedule = serde_json::from_str(definition).map_err(|error| error.to_string())?;
        schedule.calendar("name")
    }

    fn times(definition: &str, from: &str, count: usize) -> Vec<String> {
        let calendar = calendar(definition).unwrap();
        let mut time: Timestamp = from.parse().unwrap();
        let mut times = Vec::new();
        while times.len() < count {
            time = calendar.next_after(time).unwrap();
            times.push(time.to_string());
        }
        times
    }

    #[test]
    fn a_fixed_time_comes_once_a_day_whatever_the_clocks_do() {
        // On 29 March 2026 Berlin has no 02:30, on 25 October it has two.
        let daily = r#"{"cron": "30 2 * * *", "zone": "Europe/Berlin", "job": {"queue": "q"}}"#;
        let spring = times(daily, "2026-03-28T00:00:00Z", 3);
        assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let autumn = times(daily, "2026-10-24T12:00:00Z", 3);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", "2026-10-27T01:30:00Z"]);
    }

    #[test]
    fn an_interval_goes_on_whatever_the_clocks_do() {
        let half_hours = r#"{"cron": "*/30 * * * *", "zone": "Europe/Berlin", "job": {"queue": "q"}}"#;
        let spring = times(half_hours, "2026-03-29T00:00:00Z", 3);
        assert_eq!(spring, ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
        let autumn = times(half_hours, "2026-10-25T00:00:00Z", 4);
        let expected = ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(autumn, expected);
    }

    #[test]
    fn an_interval_is_moved_by_its_name() {
        let definition = r#"{"every": "1 h", "job": {"queue": "q"}}"#;
        let (first, hour) = (times(definition, "2026-01-01T00:00:00Z", 3), 3_600_000);
        let ms: Vec<i64> = first.iter().map(|time| time.parse::<Timestamp>().unwrap().as_millisecond()).collect();
        assert!(ms.windows(2).all(|pair| pair[1] - pair[0] == hour));
        let moved = (xxh3_64(b"name") % hour as u64) as i64;
        assert_eq!(ms[0].rem_euclid(hour), moved);
    }

    #[test]
    fn the_newest_times_that_were_missed_are_found() {
        for definition in
            [r#"{"cron": "*/10 * * * *", "job": {"queue": "q"}}"#, r#"{"every": "10 min", "job": {"queue": "q"}}"#]
        {
            let calendar = calendar(definition).unwrap();
            let (from, until) = ("2026-01-01T00:05:00Z".parse().unwrap(), "2026-01-01T01:04:00Z".parse().unwrap());
            let mut expected = Vec::new();
            let mut time: Timestamp = from;
            while let Some(next) = calendar.next_after(time).filter(|next| *next <= until) {
                expected.push(next);
                time = next;
            }
            assert_eq!(calendar.due_between(from, until, 100), expected);
            assert_eq!(calendar.due_between(from, until, 2), expected[expected.len() - 2..]);
        }
    }

    #[test]
    fn what_is_never_due_is_told_or_ends() {
        for wrong in [
            r#"{"job": {"queue": "q"}}"#,
            r#"{"cron": "0 0 * * *", "every": "1 h", "job": {"queue": "q"}}"#,
            r#"{"cron": "0 0 * *", "job": {"queue": "q"}}"#,
            r#"{"cron": "*/30 , * * *", "job": {"queue": "q"}}"#,
            r#"{"cron": "0 0 * * *", "zone": "Europe/Nowhere", "job": {"queue": "q"}}"#,
            r#"{"every": "10 ms", "job": {"queue": "q"}}"#,
            r#"{"every": "1 h", "job": {"queue": "q", "id": "own"}}"#,
            r#"{"every": "1 h", "job": {"queue": "a b"}}"#,
        ] {
            assert!(calendar(wrong).is_err(), "{wrong}");
        }
        let never = calendar(r#"{"cron": "* * 31 2 *", "job": {"queue": "q"}}"#).unwrap();
        assert_eq!(never.next_after(Timestamp::UNIX_EPOCH), None);
    }
}
