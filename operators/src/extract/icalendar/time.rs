//! Dates and times of a calendar, and ends.

use calcard::icalendar::ICalendarDuration;
use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Span, Timestamp};

use super::super::zone::Zone;
use crate::moment::Moment;

/// A date or time of a calendar.
#[derive(Debug, Clone)]
pub(super) struct Time {
    pub(super) form: Form,
    /// On the clock of `zone`.
    pub(super) local: DateTime,
    pub(super) zone: Zone,
    /// Whether it names no zone: then `zone` is the calendar's.
    pub(super) floating: bool,
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
        Self { form: Form::Utc, local: zone.local(instant), zone, floating: false }
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

    /// The same, with the zone of `other` where it names none itself: what belongs to a time is meant on
    /// its clock.
    pub(super) fn beside(self, other: &Self) -> Self {
        if !self.floating || self.form == Form::Day || other.form == Form::Day {
            return self;
        }
        Self { form: other.form, zone: other.zone.clone(), floating: other.floating, local: self.local }
    }

    /// The same on the clocks of `zone`, where it names no zone itself.
    pub(super) fn in_zone(&self, zone: &Zone) -> Self {
        let floating = self.floating && self.form == Form::Local;
        Self { zone: if floating { zone.clone() } else { self.zone.clone() }, ..self.clone() }
    }

    /// The day that is meant where a time in UTC stands for one: its local midnight; or what the time says
    /// in UTC, where that is the beginning or the end of a day; or the local day. Where the zone is not
    /// known, full hours stand for the nearest midnight.
    fn day_meant(&self, zone: &Zone) -> Option<Date> {
        let local = zone.local(self.instant()?);
        let midnight = jiff::civil::Time::midnight();
        let whole = local.minute() % 15 == 0 && local.second() == 0;
        if local.time() == midnight && zone.is_known() {
            Some(local.date())
        } else if self.local.time() == midnight || (self.local.hour(), self.local.minute()) == (23, 59) {
            Some(self.local.date())
        } else if zone.is_known() || !whole || local.hour() < 12 {
            Some(local.date())
        } else {
            local.date().tomorrow().ok()
        }
    }

    /// Makes a day of a midnight.
    pub(super) fn make_day(&mut self, zone: &Zone) {
        if self.form == Form::Utc {
            let local = self.instant().map_or(self.local, |instant| zone.local(instant));
            if [local, self.local].iter().any(|at| at.time() == jiff::civil::Time::midnight())
                && let Some(day) = self.day_meant(zone)
            {
                *self = Self { form: Form::Day, local: day.into(), zone: zone.clone(), floating: false };
            }
        } else if self.local.time() == jiff::civil::Time::midnight() {
            self.form = Form::Day;
        }
    }

    /// On the clock of another time. A day takes that one's time of day, so that it names the
    /// instance of that day.
    pub(super) fn on_clock_of(&self, other: &Self) -> Option<DateTime> {
        match (self.form, other.form) {
            (Form::Day, _) => Some(self.local.date().to_datetime(other.local.time())),
            (Form::Utc, Form::Day) => Some(self.day_meant(&other.zone)?.into()),
            (_, Form::Day) => Some(self.local.date().into()),
            _ if self.floating => Some(self.local),
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

/// How long it is from `start` to `end` on the clock.
pub(super) fn length(start: &Time, end: &End) -> Option<SignedDuration> {
    match end {
        End::At(end) => Some(end.on_clock_of(start)?.duration_since(start.local)),
        End::After(duration) => {
            let days = i64::from(duration.weeks) * 7 + i64::from(duration.days);
            let rest =
                i64::from(duration.hours) * 3600 + i64::from(duration.minutes) * 60 + i64::from(duration.seconds);
            (!duration.neg).then(|| SignedDuration::from_secs(days * 86_400 + rest))
        }
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
