//! The instants of a series: RRULE and RDATE less EXDATE, within a horizon.
//!
//! Rules are expanded on the clock of the place (local times without a zone), as RFC 5545 asks:
//! "every Tuesday at 19:00" stays at 19:00 when summer time comes. Which instants these are is for
//! the caller's zone to say.
//!
//! A feed must not be able to stop the stream. A rule is worked off in steps of one period, with a
//! budget for all the rules of a record, and rules that repeat within a quarter of an hour are refused.

use std::collections::{BTreeSet, HashSet};

use calcard::common::{CalendarScale, PartialDateTime};
use calcard::icalendar::{ICalendarFrequency, ICalendarRecurrenceRule};
use chrono::{Datelike, NaiveDate, TimeZone as _, Timelike};
use jiff::civil::{Date, DateTime};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

/// `rrule` gives up after as many periods in a row without an instance.
const EMPTY_STEPS: u64 = 100_000;
/// Most times of day that a rule may name (every quarter of an hour).
const MAX_TIMES_OF_DAY: usize = 96;

/// Shortest period of a rule, in seconds.
const MIN_PERIOD: u64 = 15 * 60;

/// A series, with all times on one clock.
pub(super) struct Series<'r> {
    pub(super) start: DateTime,
    /// Whether the start is an instance, whether or not a rule names it.
    pub(super) starts: bool,
    /// The rules, with the last time that each may reach.
    pub(super) rules: &'r [(ICalendarRecurrenceRule, Option<DateTime>)],
    /// Rules of what is left out, likewise.
    pub(super) excluding: &'r [(ICalendarRecurrenceRule, Option<DateTime>)],
    pub(super) extra: &'r [DateTime],
    pub(super) excluded: &'r HashSet<DateTime>,
    pub(super) excluded_days: &'r HashSet<Date>,
    /// The horizon.
    pub(super) from: DateTime,
    pub(super) to: DateTime,
    /// Most instances.
    pub(super) max: usize,
}

/// What a series expands to.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    /// In order, within the horizon, no more than the maximum.
    pub(super) instants: Vec<DateTime>,
    /// Whether there would have been more.
    pub(super) surplus: bool,
    /// Whether the budget ended before the horizon.
    pub(super) exhausted: bool,
    /// A rule that cannot be used.
    pub(super) bad_rule: Option<String>,
}

impl Series<'_> {
    /// Expands the series, taking what it costs from `budget`.
    pub(super) fn expand(&self, budget: &mut u64) -> Expansion {
        let mut expansion = Expansion::default();
        let mut instants = BTreeSet::new();
        let start = Some(self.start).filter(|_| self.starts);
        instants.extend(start.into_iter().chain(self.extra.iter().copied()).filter(|&at| self.wants(at)));
        for (rule, until) in self.rules {
            if let Err(reason) = self.expand_rule(rule, *until, budget, &mut instants, &mut expansion) {
                expansion.bad_rule = Some(reason);
            }
        }
        let mut left_out = BTreeSet::new();
        for (rule, until) in self.excluding {
            if let Err(reason) = self.expand_rule(rule, *until, budget, &mut left_out, &mut expansion) {
                expansion.bad_rule = Some(reason);
            }
        }
        instants.retain(|at| !left_out.contains(at));
        expansion.surplus = instants.len() > self.max;
        expansion.instants = instants.into_iter().take(self.max).collect();
        expansion
    }

    fn wants(&self, at: DateTime) -> bool {
        (self.from..=self.to).contains(&at) && !self.excluded.contains(&at) && !self.excluded_days.contains(&at.date())
    }

    fn expand_rule(
        &self,
        rule: &ICalendarRecurrenceRule,
        until: Option<DateTime>,
        budget: &mut u64,
        instants: &mut BTreeSet<DateTime>,
        expansion: &mut Expansion,
    ) -> Result<(), String> {
        if until.is_some_and(|until| until < self.start) {
            return Ok(());
        }
        let period = check(rule)?;
        if *budget == 0 {
            expansion.exhausted = true;
            return Ok(());
        }
        let start = to_chrono(self.start).ok_or("the start is out of range")?;
        // The last time is looked at below: `rrule` would not notice it in periods without an instance.
        let set: RRuleSet = parse(rule)?.build(start).map_err(|error| error.to_string())?;
        let last_wanted = until.map_or(self.to, |until| until.min(self.to));
        let (mut last, mut found, mut given) = (start, 0, 0);
        for at in &set.limit() {
            let gap = (at - last).num_seconds().unsigned_abs() / period;
            *budget = budget.saturating_sub(gap + 1);
            (last, given) = (at, given + 1);
            let Some(local) = from_chrono(at) else { return Ok(()) };
            if local > last_wanted || found > self.max {
                return Ok(());
            }
            if *budget == 0 {
                expansion.exhausted = true;
                return Ok(());
            }
            if self.wants(local) {
                instants.insert(local);
                found += 1;
            }
        }
        if rule.count.is_none_or(|count| given < count) {
            *budget = budget.saturating_sub(EMPTY_STEPS);
        }
        Ok(())
    }
}

/// Refuses rules that repeat too often; gives the seconds of a period.
fn check(rule: &ICalendarRecurrenceRule) -> Result<u64, String> {
    let period = match rule.freq {
        ICalendarFrequency::Yearly => 365 * 86_400,
        ICalendarFrequency::Monthly => 28 * 86_400,
        ICalendarFrequency::Weekly => 7 * 86_400,
        ICalendarFrequency::Daily => 86_400,
        ICalendarFrequency::Hourly => 3_600,
        ICalendarFrequency::Minutely => 60,
        ICalendarFrequency::Secondly => 1,
    };
    let period = period * u64::from(rule.interval.unwrap_or(1).max(1));
    if period < MIN_PERIOD {
        return Err("the rule repeats within the quarter of an hour".to_owned());
    }
    let distinct = |times: &[u8]| times.iter().collect::<HashSet<_>>().len().max(1);
    if distinct(&rule.byhour) * distinct(&rule.byminute) * distinct(&rule.bysecond) > MAX_TIMES_OF_DAY {
        return Err("the rule names too many times of day".to_owned());
    }
    if rule.rscale.as_ref().is_some_and(|scale| *scale != CalendarScale::Gregorian) {
        return Err("the rule counts in another calendar".to_owned());
    }
    Ok(period)
}

fn parse(rule: &ICalendarRecurrenceRule) -> Result<RRule<Unvalidated>, String> {
    let mut plain = ICalendarRecurrenceRule { until: None, rscale: None, skip: None, ..rule.clone() };
    // Only within months and years is there a first Tuesday; elsewhere all are meant (RFC 5545, 3.3.10).
    let counts = matches!(rule.freq, ICalendarFrequency::Monthly | ICalendarFrequency::Yearly);
    if !counts || !rule.byweekno.is_empty() {
        plain.byday.iter_mut().for_each(|day| day.ordwk = None);
        plain.byday.dedup();
    }
    plain.to_string().parse().map_err(|error: rrule::RRuleError| error.to_string())
}

/// The local time as if it were UTC, in which `rrule` finds neither gaps nor folds.
fn to_chrono(local: DateTime) -> Option<chrono::DateTime<Tz>> {
    let date = NaiveDate::from_ymd_opt(local.year().into(), month(local)?, local.day().try_into().ok()?)?;
    let time = date.and_hms_opt(
        local.hour().try_into().ok()?,
        local.minute().try_into().ok()?,
        local.second().try_into().ok()?,
    )?;
    Tz::UTC.from_local_datetime(&time).single()
}

fn month(local: DateTime) -> Option<u32> {
    local.month().try_into().ok()
}

fn from_chrono(at: chrono::DateTime<Tz>) -> Option<DateTime> {
    DateTime::new(
        at.year().try_into().ok()?,
        at.month().try_into().ok()?,
        at.day().try_into().ok()?,
        at.hour().try_into().ok()?,
        at.minute().try_into().ok()?,
        at.second().try_into().ok()?,
        0,
    )
    .ok()
}

/// Date and, where there is one, time of day of a value that `calcard` read.
pub(super) fn civil(value: &PartialDateTime) -> Option<(Date, Option<jiff::civil::Time>)> {
    let small = |part: Option<u8>| part.and_then(|part| i8::try_from(part).ok());
    let date = Date::new(i16::try_from(value.year?).ok()?, small(value.month)?, small(value.day)?).ok()?;
    let Some(hour) = value.hour else { return Some((date, None)) };
    // A leap second, and the 24:00 of some exporters, are no times of day elsewhere.
    let second = small(value.second).unwrap_or(0).min(59);
    match i8::try_from(hour).ok()? {
        24 => Some((date.tomorrow().ok()?, Some(jiff::civil::Time::midnight()))),
        hour => {
            let time = jiff::civil::Time::new(hour, small(value.minute).unwrap_or(0), second, 0).ok()?;
            Some((date, Some(time)))
        }
    }
}

#[cfg(test)]
mod tests {
    use calcard::icalendar::{ICalendar, ICalendarProperty, ICalendarValue};

    use super::*;

    fn rule(text: &str) -> ICalendarRecurrenceRule {
        let calendar = ICalendar::parse(format!("BEGIN:VEVENT\nRRULE:{text}\nEND:VEVENT\n")).unwrap();
        let entry = calendar.components[0].property(&ICalendarProperty::Rrule).unwrap();
        let Some(ICalendarValue::RecurrenceRule(rule)) = entry.values.first() else { panic!("{text}") };
        (**rule).clone()
    }

    fn expand(text: &str, start: &str, to: &str, max: usize, budget: &mut u64) -> Expansion {
        let start: DateTime = start.parse().unwrap();
        Series {
            start,
            starts: true,
            rules: &[(rule(text), None)],
            excluding: &[],
            extra: &[],
            excluded: &HashSet::new(),
            excluded_days: &HashSet::new(),
            from: start,
            to: to.parse().unwrap(),
            max,
        }
        .expand(budget)
    }

    fn days(expansion: &Expansion) -> Vec<String> {
        expansion.instants.iter().map(|at| at.date().to_string()).collect()
    }

    #[test]
    fn rules_expand_up_to_the_horizon() {
        let mut budget = 1_000_000;
        for (text, expected) in [
            ("FREQ=WEEKLY;BYDAY=TU", vec!["2026-03-03", "2026-03-10", "2026-03-17", "2026-03-24"]),
            ("FREQ=MONTHLY;BYDAY=-1TU", vec!["2026-03-03", "2026-03-31"]),
            ("FREQ=DAILY;COUNT=2", vec!["2026-03-03", "2026-03-04"]),
            ("FREQ=WEEKLY;INTERVAL=2", vec!["2026-03-03", "2026-03-17"]),
            ("FREQ=YEARLY", vec!["2026-03-03"]),
        ] {
            let to = if text.contains("-1TU") { "2026-03-31T23:00" } else { "2026-03-30T00:00" };
            let expansion = expand(text, "2026-03-03T19:00", to, 100, &mut budget);
            assert_eq!(days(&expansion), expected, "{text}");
            assert!(!expansion.surplus && expansion.bad_rule.is_none());
        }
    }

    #[test]
    fn more_than_the_maximum_is_surplus() {
        let expansion = expand("FREQ=DAILY", "2026-03-03T19:00", "2030-01-01T00:00", 5, &mut 1_000_000);
        assert_eq!(expansion.instants.len(), 5);
        assert!(expansion.surplus);
    }

    #[test]
    fn hostile_rules_end() {
        for text in [
            "FREQ=SECONDLY",
            "FREQ=MINUTELY;COUNT=5",
            "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11;BYMINUTE=0,1,2,3,4,5,6,7,8,9,10",
            "FREQ=YEARLY;RSCALE=HEBREW",
            "FREQ=WEEKLY;BYMONTHDAY=77",
        ] {
            let expansion = expand(text, "2026-03-03T19:00", "2099-01-01T00:00", 10, &mut 1_000_000);
            assert!(expansion.bad_rule.is_some(), "{text}");
            assert_eq!(expansion.instants.len(), 1, "the start stays: {text}");
        }
        for text in ["COUNT=3", "UNTIL=20990101T000000Z", "INTERVAL=2"] {
            let mut budget = 250_000;
            for _ in 0..3 {
                let text = format!("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;{text}");
                assert_eq!(expand(&text, "2026-03-03T19:00", "2099-01-01T00:00", 10, &mut budget).instants.len(), 1);
            }
            assert_eq!(budget, 0, "what never comes costs as much with {text}");
        }
        let mut budget = 250_000;
        for text in [
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        ] {
            let expansion = expand(text, "2026-03-03T19:00", "2099-01-01T00:00", 10, &mut budget);
            assert_eq!(expansion.instants.len(), 1, "{text}");
        }
        assert_eq!(budget, 0);
        let expansion = expand("FREQ=HOURLY", "1901-03-03T19:00", "2199-01-01T00:00", 10, &mut 1_000);
        assert_eq!(expansion.instants.len(), 10);
        let old = Series {
            start: "1901-03-03T19:00".parse().unwrap(),
            starts: true,
            rules: &[(rule("FREQ=HOURLY"), None)],
            excluding: &[],
            extra: &[],
            excluded: &HashSet::new(),
            excluded_days: &HashSet::new(),
            from: "2150-01-01T00:00".parse().unwrap(),
            to: "2151-01-01T00:00".parse().unwrap(),
            max: 10,
        }
        .expand(&mut 100_000);
        assert!(old.exhausted && old.instants.is_empty());
    }
}
