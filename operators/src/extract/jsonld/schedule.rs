//! When an event takes place: once, at several times, or by a schedule.
//!
//! A `Schedule` is a rule as calendars have it, in other words: `repeatFrequency` is an ISO 8601 duration or
//! a word, `byDay` names days with or without address or as in iCalendar, `byMonthWeek` says which of a month.

use std::collections::HashSet;

use calcard::icalendar::{ICalendarDay, ICalendarFrequency, ICalendarMonth, ICalendarRecurrenceRule, ICalendarWeekday};
use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Span};

use super::super::json::Node;
use super::super::problem::Problem;
use super::super::recurrence::{Expansion, Series};
use super::super::when::{self, When};
use super::super::words::local_name;
use super::texts;

/// A schedule, read: instances on the clock of the place.
pub(super) struct Schedule {
    start: DateTime,
    /// Whether it says the time of day.
    pub(super) timed: bool,
    rule: Option<ICalendarRecurrenceRule>,
    until: Option<DateTime>,
    excluded: HashSet<DateTime>,
    excluded_days: HashSet<Date>,
    /// How long an instance lasts.
    pub(super) lasts: Option<SignedDuration>,
}

impl Schedule {
    /// Reads a schedule; `event` says what it leaves out.
    ///
    /// # Errors
    ///
    /// What is missing or cannot be read.
    pub(super) fn read(node: &Node<'_>, event: &Node<'_>) -> Result<Self, Problem> {
        let text = |key: &str| texts(node, key).into_iter().next();
        let first = text("startDate").or_else(|| texts(event, "startDate").into_iter().next());
        let first = first.ok_or_else(|| Problem::missing("startDate of the eventSchedule"))?;
        let (day, own_time) =
            local(&first).ok_or_else(|| Problem::invalid("startDate of the eventSchedule", &first))?;
        let time = match text("startTime") {
            Some(time) => Some(time_of(&time).ok_or_else(|| Problem::invalid("startTime", &time))?),
            None => own_time,
        };
        let start = day.to_datetime(time.unwrap_or_default());
        let last = text("endDate").and_then(|last| local(&last));
        let rule = rule(node)?;
        let until = last.map(|(day, time)| day.to_datetime(time.unwrap_or(Time::MAX)));
        let mut schedule = Self {
            start,
            timed: time.is_some(),
            lasts: lasts(node, start),
            until: until.filter(|_| rule.is_some()),
            rule,
            excluded: HashSet::new(),
            excluded_days: HashSet::new(),
        };
        for text in texts(node, "exceptDate") {
            match local(&text) {
                Some((day, Some(time))) => schedule.excluded.insert(day.to_datetime(time)),
                Some((day, None)) => schedule.excluded_days.insert(day),
                None => return Err(Problem::invalid("exceptDate", &text)),
            };
        }
        Ok(schedule)
    }

    /// The instances between two times.
    pub(super) fn expand(&self, from: DateTime, to: DateTime, max: usize, budget: &mut u64) -> Expansion {
        let rules: Vec<_> = self.rule.iter().map(|rule| (rule.clone(), self.until)).collect();
        let series = Series {
            start: self.start,
            starts: rules.is_empty(),
            rules: &rules,
            excluding: &[],
            extra: &[],
            excluded: &self.excluded,
            excluded_days: &self.excluded_days,
            from,
            to,
            max,
        };
        series.expand(budget)
    }
}

/// Day and time of day on the clock of the place: an offset says no more than that clock shows.
fn local(text: &str) -> Option<(Date, Option<Time>)> {
    match when::loose(text)? {
        When::Days(day, _) => Some((day, None)),
        When::Local(local) => Some((local.date(), Some(local.time()))),
        When::Instant(instant, offset) => {
            let local = offset.unwrap_or(jiff::tz::Offset::UTC).to_datetime(instant);
            Some((local.date(), Some(local.time())))
        }
    }
}

fn time_of(text: &str) -> Option<Time> {
    let clock = text.trim().trim_start_matches('T');
    let clock = clock.split(['+', 'Z', '-']).next().unwrap_or_default();
    when::time_of_day(clock).or_else(|| local(text)?.1)
}

/// How long an instance lasts: to its `endTime`, in the night after where that is earlier; or its `duration`.
fn lasts(node: &Node<'_>, start: DateTime) -> Option<SignedDuration> {
    let text = |key: &str| texts(node, key).into_iter().next();
    if let Some(end) = text("endTime").and_then(|end| time_of(&end)) {
        let lasts = start.date().to_datetime(end).duration_since(start);
        return Some(if lasts.is_negative() { lasts + SignedDuration::from_hours(24) } else { lasts });
    }
    let span: Span = text("duration")?.trim().parse().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok().filter(SignedDuration::is_positive)
}

/// The rule of a schedule; `None` where nothing repeats.
fn rule(node: &Node<'_>) -> Result<Option<ICalendarRecurrenceRule>, Problem> {
    let numbers = |key: &str| -> Result<Vec<i8>, Problem> {
        let read = |text: &String| text.trim().parse().map_err(|_| Problem::invalid(key, text));
        texts(node, key).iter().map(read).collect()
    };
    let mut days = Vec::new();
    for text in texts(node, "byDay") {
        for day in text.split(',') {
            days.push(weekday(day).ok_or_else(|| Problem::invalid("byDay", &text))?);
        }
    }
    let frequency = texts(node, "repeatFrequency").into_iter().next();
    let (freq, interval) = match &frequency {
        Some(text) => frequency_of(text).ok_or_else(|| Problem::invalid("repeatFrequency", text))?,
        None if !days.is_empty() => (ICalendarFrequency::Weekly, 1),
        None => return Ok(None),
    };
    let weeks = numbers("byMonthWeek")?;
    if !weeks.is_empty() {
        let each = |day: &ICalendarDay| {
            let day = *day;
            weeks.iter().map(move |week| ICalendarDay { ordwk: Some(i16::from(*week)), ..day }).collect::<Vec<_>>()
        };
        days = days.iter().flat_map(each).collect();
    }
    let months = numbers("byMonth")?.into_iter().filter_map(|month| u8::try_from(month).ok());
    let count = texts(node, "repeatCount").into_iter().next();
    let count =
        count.map(|count| count.trim().parse().map_err(|_| Problem::invalid("repeatCount", &count))).transpose()?;
    Ok(Some(ICalendarRecurrenceRule {
        freq,
        until: None,
        count,
        interval: Some(interval),
        bysecond: Vec::new(),
        byminute: Vec::new(),
        byhour: Vec::new(),
        byday: days,
        bymonthday: numbers("byMonthDay")?,
        byyearday: Vec::new(),
        byweekno: Vec::new(),
        bymonth: months.map(|month| ICalendarMonth::new(month, false)).collect(),
        bysetpos: Vec::new(),
        wkst: None,
        rscale: None,
        skip: None,
    }))
}

/// `P2W`, `P1D`, or a word.
fn frequency_of(text: &str) -> Option<(ICalendarFrequency, u16)> {
    use ICalendarFrequency::{Daily, Hourly, Monthly, Weekly, Yearly};
    let word = local_name(text.trim()).to_ascii_lowercase();
    match word.as_str() {
        "daily" => return Some((Daily, 1)),
        "weekly" => return Some((Weekly, 1)),
        "biweekly" | "fortnightly" => return Some((Weekly, 2)),
        "monthly" => return Some((Monthly, 1)),
        "yearly" | "annually" | "annual" => return Some((Yearly, 1)),
        _ => {}
    }
    let (period, hours) = match word.strip_prefix("pt") {
        Some(hours) => (hours, true),
        None => (word.strip_prefix('p')?, false),
    };
    let number = period.get(..period.len().checked_sub(1)?)?.parse().ok().filter(|number| *number > 0)?;
    match (period.chars().next_back()?, hours) {
        ('h', true) => Some((Hourly, number)),
        ('d', false) => Some((Daily, number)),
        ('w', false) => Some((Weekly, number)),
        ('m', false) => Some((Monthly, number)),
        ('y', false) => Some((Yearly, number)),
        _ => None,
    }
}

/// `https://schema.org/Tuesday`, `Tuesday`, `TU`, `2TU` or `-1TU`.
fn weekday(text: &str) -> Option<ICalendarDay> {
    use ICalendarWeekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let name = local_name(text.trim());
    let begin = name.find(|c: char| c.is_ascii_alphabetic())?;
    let (ordinal, day) = name.split_at(begin);
    let day = day.to_ascii_lowercase();
    let days = [
        ("monday", Monday),
        ("tuesday", Tuesday),
        ("wednesday", Wednesday),
        ("thursday", Thursday),
        ("friday", Friday),
        ("saturday", Saturday),
        ("sunday", Sunday),
    ];
    let (_, weekday) = days.into_iter().find(|(name, _)| day.len() >= 2 && name.starts_with(day.as_str()))?;
    let ordwk = match ordinal {
        "" => None,
        ordinal => Some(ordinal.trim_start_matches('+').parse().ok()?),
    };
    Some(ICalendarDay { ordwk, weekday })
}
