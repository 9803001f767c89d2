//! Dates and times of a calendar, and ends.

use calcard::icalendar::ICalendarDuration;
use jiff::civil::DateTime;
use jiff::{Span, Timestamp};

use super::super::zone::Zone;
use crate::moment::Moment;

/// A date or time of a calendar.
#[derive(Debug, Clone)]
pub(super) struct Time {
    pub(super) form: Form,
    /// On the clock of `zone`.
    pub(super) local: DateTime,
    pub(super) zone: Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Day,
    Local,
    Utc,
}

impl Time {
    pub(super) fn utc(instant: Timestamp) -> Self {
        let zone = Zone::unknown();
        Self { form: Form::Utc, local: zone.local(instant), zone }
    }

    pub(super) fn with_local(&self, local: DateTime) -> Self {
        Self { local, ..self.clone() }
    }

    /// For listings: a day, or the instant with the offset on site.
    pub(super) fn moment(&self, site: &Zone) -> Option<Moment> {
        match self.form {
            Form::Day => Some(Moment::Day(self.local.date())),
            Form::Local => self.zone.moment(self.local),
            Form::Utc => self.instant().map(|instant| site.at(instant)),
        }
    }

    pub(super) fn instant(&self) -> Option<Timestamp> {
        match self.zone.moment(self.local)? {
            Moment::Instant { ms, .. } => Timestamp::from_millisecond(ms).ok(),
            Moment::Day(_) => None,
        }
    }

    /// On the clock of another time. A day takes that one's time of day, so that it names the
    /// instance of that day.
    pub(super) fn on_clock_of(&self, other: &Self) -> Option<DateTime> {
        match (self.form, other.form) {
            (Form::Day, _) => Some(self.local.date().to_datetime(other.local.time())),
            (_, Form::Day) => Some(self.local.date().into()),
            _ => Some(other.zone.local(self.instant()?)),
        }
    }

    /// As it stands in ids.
    pub(super) fn id(&self) -> String {
        let (date, time) = (self.local.date(), self.local.time());
        let day = format!("{:04}{:02}{:02}", date.year(), date.month(), date.day());
        let clock = || format!("{day}T{:02}{:02}{:02}", time.hour(), time.minute(), time.second());
        match self.form {
            Form::Day => day,
            Form::Local => clock(),
            Form::Utc => format!("{}Z", clock()),
        }
    }
}

/// When an event ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    At(Time),
    After(ICalendarDuration),
}

/// Days and weeks are counted on the clock, hours and less in real time.
pub(super) fn end_after(start: &Time, duration: &ICalendarDuration, site: &Zone) -> Option<Moment> {
    let sign = if duration.neg { -1 } else { 1 };
    let days = sign * (i64::from(duration.weeks) * 7 + i64::from(duration.days));
    let rest = i64::from(duration.hours) * 3600 + i64::from(duration.minutes) * 60 + i64::from(duration.seconds);
    if start.form == Form::Day {
        let last = (days + i64::from(rest > 0) - 1).max(0);
        return start.local.date().checked_add(Span::new().try_days(last).ok()?).ok().map(Moment::Day);
    }
    let shifted = start.local.checked_add(Span::new().try_days(days).ok()?).ok()?;
    match start.with_local(shifted).moment(site)? {
        Moment::Instant { ms, offset_min } => Some(Moment::Instant { ms: ms + sign * rest * 1000, offset_min }),
        day => Some(day),
    }
}

/// The last time of a rule on the clock of its start; a day counts to its end.
pub(super) fn last_time(until: &Time, start: &Time) -> Option<DateTime> {
    let local = until.on_clock_of(start)?;
    match until.form {
        Form::Day => Some(local.date().at(23, 59, 59, 0)),
        _ => Some(local),
    }
}
