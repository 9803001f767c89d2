//! A VEVENT, read but not expanded.

use calcard::icalendar::{
    ICalendarEntry, ICalendarParameterName, ICalendarProperty, ICalendarRecurrenceRule, ICalendarValue,
};
use jiff::Timestamp;
use jiff::civil::DateTime;
use smol_str::SmolStr;

use super::super::place;
use super::super::problem::Problem;
use super::super::record::{check_id, stand_in_id};
use super::super::zone::Zone;
use super::calendar::Calendar;
use super::lines::joined;
use super::scan::Block;
use super::time::{End, Form, Time, end_after, last_time, length};
use super::values::{
    duration_of, geo_of, integer_of, is_image, organizer_of, parse_component, status_of, structured_geo_of, text_of,
    texts_of, value_shown,
};
use crate::listing::{Geo, Listing, Organizer, Status, Texts, Venue};
use crate::moment::Moment;
use crate::online;
use crate::raw::{DeadLetterCode, SourceStamp};

/// A VEVENT, read but not expanded.
pub(super) struct Event<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) uid: String,
    pub(super) title: Option<String>,
    pub(super) start: Option<Time>,
    pub(super) end: Option<End>,
    /// Which instance of its series it describes.
    pub(super) recurrence: Option<Time>,
    pub(super) this_and_future: bool,
    /// Rules, each with its last time on the clock of `start`.
    pub(super) rules: Vec<(ICalendarRecurrenceRule, Option<DateTime>)>,
    /// Rules of what is left out (EXRULE), likewise.
    pub(super) excluding: Vec<(ICalendarRecurrenceRule, Option<DateTime>)>,
    pub(super) bad_rule: Option<String>,
    /// Further instances, some with ends of their own.
    pub(super) extra: Vec<(Time, Option<End>)>,
    pub(super) excluded: Vec<Time>,
    pub(super) stamp: SourceStamp,
    pub(super) body: Body,
}

/// What does not depend on time.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    pub(super) description: Option<String>,
    pub(super) categories: Texts,
    pub(super) location: Option<String>,
    pub(super) geo: Option<Geo>,
    pub(super) urls: Texts,
    /// Addresses of meetings on the web.
    pub(super) meetings: Texts,
    pub(super) images: Texts,
    pub(super) organizer: Option<Organizer>,
    pub(super) status: Option<Status>,
    pub(super) online: bool,
}

impl<'a> Event<'a> {
    /// Reads a VEVENT; an error comes with the id, where there is one.
    pub(super) fn read(
        calendar: &Calendar<'_>,
        block: &Block,
        bytes: &'a [u8],
    ) -> Result<Self, (Problem, Option<String>)> {
        let limits = calendar.record.limits;
        let Some(component) = parse_component(&joined(bytes)).into_iter().next() else {
            return Err((Problem::new(DeadLetterCode::MALFORMED, "the VEVENT cannot be read"), None));
        };
        let given = component.property(&ICalendarProperty::Uid).and_then(text_of);
        if let Some(problem) = given.as_ref().and_then(|id| check_id(id, limits).err()) {
            return Err((problem, None));
        }
        if block.depth > limits.max_nesting {
            let reason =
                format!("the VEVENT is nested more than limits.max_nesting, {}, levels deep", limits.max_nesting);
            return Err((Problem::new(DeadLetterCode::NESTED_TOO_DEEPLY, reason), given));
        }
        let start = component.property(&ICalendarProperty::Dtstart);
        let mut event = Self::from_entries(calendar, &component.entries, bytes);
        if event.recurrence.is_none() {
            // What an instance lacks may be in the VEVENT of its series.
            let problem = match (&event.title, &event.start, start) {
                (None, ..) => Some(Problem::missing("SUMMARY")),
                (_, None, Some(start)) => Some(Problem::invalid("DTSTART", &value_shown(start))),
                (_, None, None) => Some(Problem::missing("DTSTART")),
                _ => None,
            };
            if let Some(problem) = problem {
                return Err((problem, given));
            }
        }
        event.uid = given.unwrap_or_else(|| {
            let start = event.start.as_ref().or(event.recurrence.as_ref()).map(Time::id).unwrap_or_default();
            stand_in_id(event.title.as_deref().unwrap_or_default(), &start)
        });
        Ok(event)
    }

    /// Whether it is another event than `other`, which has the same UID: it was not changed since, and is
    /// elsewhere or at another time; or it has both another title and another time.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let elsewhere = self.body.location.is_some() && self.body.location != other.body.location;
        let start = |event: &Self| event.start.as_ref().map(Time::id);
        let (single, moved) = (!self.is_series() && !other.is_series(), start(self) != start(other));
        single && ((self.stamp == other.stamp && (elsewhere || moved)) || (moved && self.title != other.title))
    }

    fn from_entries(calendar: &Calendar<'_>, entries: &[ICalendarEntry], bytes: &'a [u8]) -> Self {
        let mut event = Self {
            bytes,
            uid: String::new(),
            title: None,
            start: None,
            end: None,
            recurrence: None,
            this_and_future: false,
            rules: Vec::new(),
            excluding: Vec::new(),
            bad_rule: None,
            extra: Vec::new(),
            excluded: Vec::new(),
            stamp: SourceStamp::default(),
            body: Body::default(),
        };
        let (mut untils, mut excluding_untils) = (Vec::new(), Vec::new());
        let mut all_day = false;
        for entry in entries {
            match &entry.name {
                ICalendarProperty::Dtstart => event.start = calendar.times(entry).into_iter().next().or(event.start),
                ICalendarProperty::Dtend => {
                    event.end = calendar.times(entry).into_iter().next().map(End::At).or(event.end)
                }
                ICalendarProperty::Duration => event.end = duration_of(entry).map(End::After).or(event.end),
                ICalendarProperty::RecurrenceId => {
                    event.recurrence = calendar.times(entry).into_iter().next();
                    event.this_and_future = entry.has_parameter(&ICalendarParameterName::Range);
                }
                ICalendarProperty::Rrule | ICalendarProperty::Exrule => {
                    let (rules, untils) = match entry.name {
                        ICalendarProperty::Rrule => (&mut event.rules, &mut untils),
                        _ => (&mut event.excluding, &mut excluding_untils),
                    };
                    match entry.values.first() {
                        Some(ICalendarValue::RecurrenceRule(rule)) => {
                            untils.push(rule.until.as_ref().and_then(|until| calendar.time(until, None)));
                            rules.push(((**rule).clone(), None));
                        }
                        _ => event.bad_rule = Some(text_of(entry).unwrap_or_default()),
                    }
                }
                ICalendarProperty::Rdate => event.extra.extend(calendar.periods(entry)),
                ICalendarProperty::Exdate => event.excluded.extend(calendar.times(entry)),
                ICalendarProperty::Sequence => event.stamp.sequence = integer_of(entry).unwrap_or(0),
                ICalendarProperty::LastModified => {
                    let modified = calendar.times(entry).into_iter().next().and_then(|time| time.instant());
                    event.stamp.modified_ms = modified.map_or(0, Timestamp::as_millisecond);
                }
                ICalendarProperty::Summary => event.title = text_of(entry).or(event.title),
                ICalendarProperty::Other(name) if is_all_day(name) => {
                    all_day = text_of(entry).is_some_and(|flag| flag == "1" || flag.eq_ignore_ascii_case("TRUE"));
                }
                _ => event.body.read(entry),
            }
        }
        if all_day {
            event.make_all_day(&calendar.zone);
        }
        event.settle_clocks(&untils, &excluding_untils);
        event
    }

    /// Times that belong to the start are on its clock where they name none.
    fn settle_clocks(&mut self, untils: &[Option<Time>], excluding_untils: &[Option<Time>]) {
        let Some(start) = &self.start else { return };
        if let Some(End::At(end)) = self.end.take_if(|end| matches!(end, End::At(_))) {
            self.end = Some(End::At(end.beside(start)));
        }
        for (rules, untils) in [(&mut self.rules, untils), (&mut self.excluding, excluding_untils)] {
            for ((_, until), given) in rules.iter_mut().zip(untils) {
                *until = given.as_ref().and_then(|given| last_time(given, start));
            }
        }
        for (time, end) in &mut self.extra {
            *time = time.clone().beside(start);
            if let Some(End::At(end)) = end {
                *end = end.clone().beside(start);
            }
        }
    }

    /// Outlook writes days as midnights, with a property that says so.
    fn make_all_day(&mut self, zone: &Zone) {
        let end = match &mut self.end {
            Some(End::At(end)) => Some(end),
            _ => None,
        };
        for time in self.start.iter_mut().chain(end).chain(&mut self.recurrence) {
            time.make_day(zone);
        }
    }

    pub(super) fn is_series(&self) -> bool {
        !self.rules.is_empty() || !self.extra.is_empty() || self.bad_rule.is_some()
    }

    /// The end of an instance that begins at `start`: as long after it as the end of this event
    /// is after its own start, on the clock. The last day, for days.
    pub(super) fn end_of(&self, start: &Time, site: &Zone) -> Option<Moment> {
        match self.end.as_ref()? {
            End::At(end) => {
                let shift = self.start.as_ref().map(|own| start.local.duration_since(own.local)).unwrap_or_default();
                let end = end.with_local(end.local.checked_add(shift).ok()?).beside(start);
                if end.form == Form::Day && end.local.date() > start.local.date() {
                    return end.local.date().yesterday().ok().map(Moment::Day);
                }
                in_order(start, end, site)
            }
            End::After(duration) => end_after(start, duration, site),
        }
    }
}

/// The instant of `end`, which begins at `start`. Where clocks are put forward between the two, both may be one
/// instant: then it is as long after the start as clocks usually show.
fn in_order(start: &Time, end: Time, site: &Zone) -> Option<Moment> {
    let (from, to) = (start.moment(site), end.moment(site)?);
    match (from, to) {
        (Some(Moment::Instant { ms: from, .. }), Moment::Instant { ms, offset_min }) if ms <= from => {
            let lasts = length(start, &End::At(end))?.as_millis();
            let lasts = i64::try_from(lasts).ok().filter(|lasts| *lasts > 0);
            Some(Moment::Instant { ms: lasts.map_or(ms, |lasts| from + lasts), offset_min })
        }
        _ => Some(to),
    }
}

impl Body {
    pub(super) fn read(&mut self, entry: &ICalendarEntry) {
        match &entry.name {
            ICalendarProperty::Description => self.description = text_of(entry).or(self.description.take()),
            ICalendarProperty::Categories => self.categories.extend(texts_of(entry).map(SmolStr::from)),
            ICalendarProperty::Location => self.location = text_of(entry).or(self.location.take()),
            ICalendarProperty::Geo => self.geo = geo_of(entry).or(self.geo),
            ICalendarProperty::Url => self.urls.extend(text_of(entry).map(SmolStr::from)),
            ICalendarProperty::Image => self.images.extend(text_of(entry).map(SmolStr::from)),
            ICalendarProperty::Attach if is_image(entry) => self.images.extend(text_of(entry).map(SmolStr::from)),
            ICalendarProperty::Organizer => self.organizer = organizer_of(entry),
            ICalendarProperty::Conference => self.meet(text_of(entry)),
            ICalendarProperty::Other(name) if is_meeting(name) => self.meet(text_of(entry)),
            ICalendarProperty::Other(name) if name.eq_ignore_ascii_case("X-APPLE-STRUCTURED-LOCATION") => {
                self.geo = self.geo.or_else(|| structured_geo_of(entry));
            }
            ICalendarProperty::Status => self.status = status_of(entry),
            _ => {}
        }
    }

    /// Takes in that there is a meeting on the web. Its address comes after the event's own page.
    fn meet(&mut self, address: Option<String>) {
        self.online = true;
        self.meetings.extend(address.filter(|address| address.starts_with("http")).map(SmolStr::from));
    }

    pub(super) fn apply(self, listing: &mut Listing) {
        listing.description = self.description.map(Into::into);
        listing.source_categories = self.categories;
        listing.urls = self.urls;
        listing.urls.extend(self.meetings);
        listing.images = self.images;
        listing.organizer = self.organizer;
        listing.status = self.status.unwrap_or_default();
        listing.online = self.online;
        if let Some(location) = self.location {
            listing.online |= online::is_on_the_web(&location);
            if location.starts_with("https://") || location.starts_with("http://") {
                listing.urls.extend(location.split_whitespace().next().map(SmolStr::from));
            }
            listing.venue = place::split(&location);
        }
        listing.venue = Venue { geo: self.geo, ..std::mem::take(&mut listing.venue) };
    }
}

/// Properties of Outlook, Exchange and others that say that an event lasts whole days.
fn is_all_day(name: &str) -> bool {
    ["X-MICROSOFT-CDO-ALLDAYEVENT", "X-MICROSOFT-MSNCALENDAR-ALLDAYEVENT", "X-FUNAMBOL-ALLDAY"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Properties that hold the address of a meeting on the web.
fn is_meeting(name: &str) -> bool {
    [
        "X-GOOGLE-CONFERENCE",
        "X-GOOGLE-HANGOUT",
        "X-MICROSOFT-SKYPETEAMSMEETINGURL",
        "X-MICROSOFT-ONLINEMEETINGEXTERNALLINK",
        "X-MICROSOFT-ONLINEMEETINGCONFLINK",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}
