//! iCalendar (RFC 5545): whole calendars, with the malformed feeds of the real world.
//!
//! The calendar is cut into its components by lines, and each VEVENT is read on its own, so that
//! one bad VEVENT does not take the others with it.
//!
//! - The external id is the UID. An instance of a series has the UID, a slash, and the time at
//!   which the series has it, in the form of DTSTART: `UID/20260328T193000`, `UID/20260328` or
//!   `UID/20260329T023000Z`. An instance that was moved keeps its id (RECURRENCE-ID).
//! - Where one calendar uses a UID for several events, the second one's id is `UID~2`, and so on.
//! - A version's stamp is SEQUENCE and LAST-MODIFIED. DTSTAMP says when the file was made, and
//!   feeds that are made afresh at every request would always seem newer.
//! - Times without a zone are in the calendar's (X-WR-TIMEZONE) or else in the source's.
//! - A calendar that ends before END:VCALENDAR may be cut off: its events count, but nothing is
//!   withdrawn, and a dead letter tells of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use calcard::common::PartialDateTime;
use calcard::icalendar::{
    ICalendarComponent, ICalendarComponentType, ICalendarDuration, ICalendarEntry, ICalendarParameterName,
    ICalendarPeriod, ICalendarProperty, ICalendarRecurrenceRule, ICalendarStatus, ICalendarValue, Uri,
};
use calcard::{Entry, Parser};
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{Span, Timestamp};
use smol_str::SmolStr;

use super::place;
use super::record::{Output, Problem, Record, check_id, source_geo, stand_in_id};
use super::recurrence::{Series, civil};
use super::when::{self, When};
use super::words;
use super::zone::Zone;
use crate::listing::{Geo, Listing, Organizer, Status, Texts, Venue};
use crate::moment::Moment;
use crate::raw::{DeadLetterCode, SourceStamp};

/// Changes whenever the same record would give other listings than before.
pub(super) const VERSION: u32 = 1;

/// Reads a calendar.
pub(super) fn extract(record: &Record<'_>) -> Result<Output, Problem> {
    let scan = Scan::of(record.bytes);
    if scan.events.is_empty() && !scan.calendar {
        return Err(Problem::new(DeadLetterCode::Malformed, "there is neither a VCALENDAR nor a VEVENT"));
    }
    let calendar = Calendar::new(record, &scan);
    let mut output = Output::default();
    let total = scan.events.len();
    let mut groups: HashMap<String, Group<'_>> = HashMap::new();
    let mut order = Vec::new();
    for (index, block) in scan.events.iter().enumerate() {
        if index >= record.limits.max_listings_per_record {
            let reason = format!("{} VEVENTs of {total} are beyond the limit", total - index);
            output.fail(record, Problem::new(DeadLetterCode::TooManyListings, reason), None, record.bytes);
            break;
        }
        let bytes = record.bytes.get(block.range.clone()).unwrap_or_default();
        match Event::read(&calendar, block, bytes) {
            Ok(event) => {
                let group = groups.entry(event.uid.clone()).or_insert_with(|| {
                    order.push(event.uid.clone());
                    Group::default()
                });
                group.add(event);
            }
            Err((problem, id)) => output.fail(record, problem, id.as_deref(), bytes),
        }
    }
    let mut budget = record.limits.max_recurrence_steps;
    let mut emission =
        Emission { calendar: &calendar, budget: &mut budget, output: &mut output, told: BTreeSet::new() };
    for uid in &order {
        if let Some(group) = groups.remove(uid) {
            group.emit(&mut emission);
        }
    }
    if scan.cut_off {
        let problem = Problem::new(DeadLetterCode::Malformed, "there is no END:VCALENDAR: nothing is withdrawn");
        let tail = record.bytes.get(record.bytes.len().saturating_sub(CUT_OFF_TAIL)..).unwrap_or_default();
        output.fail(record, problem, None, tail);
        output.cut_off = true;
    }
    Ok(output)
}

/// How much of the end of a calendar that is cut off goes into its dead letter, in bytes.
const CUT_OFF_TAIL: usize = 1024;

/// Where the components of a calendar are.
#[derive(Debug, Default)]
struct Scan {
    calendar: bool,
    cut_off: bool,
    events: Vec<Block>,
    zones: Vec<Range<usize>>,
    /// Lines of the calendar itself.
    properties: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Block {
    range: Range<usize>,
    /// How deep its components are nested, itself included.
    depth: usize,
}

/// What the line scanner is inside of.
enum Inside {
    Calendar,
    Event { start: usize, open: usize, deepest: usize },
    Zone { start: usize },
    Other { open: usize },
}

impl Scan {
    fn of(bytes: &[u8]) -> Self {
        let mut scan = Self::default();
        let mut inside = Inside::Calendar;
        let mut ended = false;
        let mut at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let end = at + rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |newline| newline + 1);
            let line = bytes.get(at..end).unwrap_or_default();
            let name = component_name(line, b"BEGIN:").map(|name| (true, name));
            let name = name.or_else(|| component_name(line, b"END:").map(|name| (false, name)));
            match name {
                Some((_, "VCALENDAR")) => {
                    scan.close(&mut inside, at);
                    scan.calendar = true;
                    ended = line.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'E'));
                }
                Some((begin, name)) => scan.component(&mut inside, begin, name, at..end),
                None if matches!(inside, Inside::Calendar) => scan.properties.push(at..end),
                None => {}
            }
            at = end;
        }
        scan.close(&mut inside, bytes.len());
        scan.cut_off = scan.calendar && !ended;
        scan
    }

    fn component(&mut self, inside: &mut Inside, begin: bool, name: &str, line: Range<usize>) {
        if begin && name == "VEVENT" {
            // Inside another component: the END of that one is missing.
            self.close(inside, line.start);
            *inside = Inside::Event { start: line.start, open: 1, deepest: 1 };
            return;
        }
        match inside {
            Inside::Calendar if begin && name == "VTIMEZONE" => *inside = Inside::Zone { start: line.start },
            Inside::Calendar if begin => *inside = Inside::Other { open: 1 },
            Inside::Calendar => {}
            Inside::Event { .. } if !begin && name == "VEVENT" => self.close(inside, line.end),
            Inside::Event { open, deepest, .. } if begin => {
                *open += 1;
                *deepest = (*deepest).max(*open);
            }
            Inside::Event { open, .. } => *open = open.saturating_sub(1).max(1),
            Inside::Zone { .. } if !begin && name == "VTIMEZONE" => self.close(inside, line.end),
            Inside::Zone { .. } => {}
            Inside::Other { open } if begin => *open += 1,
            Inside::Other { open } => {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    *inside = Inside::Calendar;
                }
            }
        }
    }

    fn close(&mut self, inside: &mut Inside, end: usize) {
        match *inside {
            Inside::Event { start, deepest, .. } => self.events.push(Block { range: start..end, depth: deepest }),
            Inside::Zone { start } => self.zones.push(start..end),
            Inside::Calendar | Inside::Other { .. } => {}
        }
        *inside = Inside::Calendar;
    }
}

/// The known name of the component that a line begins or ends.
fn component_name(line: &[u8], keyword: &[u8]) -> Option<&'static str> {
    let head = line.get(..keyword.len())?;
    let name = line.get(keyword.len()..)?.trim_ascii();
    if !head.eq_ignore_ascii_case(keyword) || name.is_empty() {
        return None;
    }
    let known = ["VCALENDAR", "VEVENT", "VTIMEZONE"].into_iter();
    Some(known.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes())).unwrap_or("other"))
}

/// Text of a component: unfolded before it is decoded, since some fold between the bytes of one
/// character; UTF-8, or else Windows-1252, which old calendars are written in.
fn decode(bytes: &[u8]) -> String {
    let mut unfolded = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        match line.first() {
            Some(b' ' | b'\t') if !unfolded.is_empty() => {
                while matches!(unfolded.last(), Some(b'\n' | b'\r')) {
                    unfolded.pop();
                }
                unfolded.extend_from_slice(line.get(1..).unwrap_or_default());
            }
            _ => unfolded.extend_from_slice(line),
        }
    }
    String::from_utf8(unfolded).unwrap_or_else(|error| error.into_bytes().into_iter().map(windows_1252).collect())
}

/// The character of a byte in Windows-1252 as browsers read it (WHATWG Encoding Standard).
fn windows_1252(byte: u8) -> char {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => UPPER.get(usize::from(byte - 0x80)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
        other => char::from(other),
    }
}

fn parse_component(text: &str) -> Vec<ICalendarComponent> {
    match Parser::new(text).entry() {
        Entry::ICalendar(calendar) => calendar.components,
        _ => Vec::new(),
    }
}

/// What holds for all events of a calendar.
struct Calendar<'a> {
    record: &'a Record<'a>,
    /// Of times without one.
    zone: Zone,
    /// Zones that the calendar defines under names that say nothing by themselves.
    defined: HashMap<String, Zone>,
    /// Names that were looked up before: every event names its zone twice.
    known: RefCell<HashMap<String, Option<Zone>>>,
    cancelled: bool,
}

impl<'a> Calendar<'a> {
    fn new(record: &'a Record<'a>, scan: &Scan) -> Self {
        let mut calendar = Self {
            record,
            zone: record.source.zone.clone(),
            defined: HashMap::new(),
            known: RefCell::default(),
            cancelled: false,
        };
        for range in &scan.zones {
            let components = parse_component(&decode(record.bytes.get(range.clone()).unwrap_or_default()));
            if let Some((id, zone)) = defined_zone(&components) {
                calendar.defined.insert(id, zone);
            }
        }
        for range in &scan.properties {
            let line = String::from_utf8_lossy(record.bytes.get(range.clone()).unwrap_or_default());
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_uppercase().as_str() {
                "X-WR-TIMEZONE" | "TIMEZONE-ID" => {
                    let zone = calendar.named(value.trim());
                    calendar.zone = zone.unwrap_or(calendar.zone);
                }
                "METHOD" => calendar.cancelled = value.trim().eq_ignore_ascii_case("CANCEL"),
                _ => {}
            }
        }
        calendar
    }

    fn named(&self, id: &str) -> Option<Zone> {
        if let Some(known) = self.known.borrow().get(id) {
            return known.clone();
        }
        let zone = Zone::resolve(id).or_else(|| self.defined.get(id).cloned());
        self.known.borrow_mut().insert(id.to_owned(), zone.clone());
        zone
    }

    /// A date or time, read with the zone that its property names.
    fn time(&self, value: &PartialDateTime, zone_id: Option<&str>) -> Option<Time> {
        let (date, time) = civil(value)?;
        let Some(time) = time else {
            return Some(Time { form: Form::Day, local: date.into(), zone: self.zone.clone() });
        };
        let local = date.to_datetime(time);
        if let Some(hours) = value.tz_hour {
            let seconds = i32::from(hours) * 3600 + i32::from(value.tz_minute.unwrap_or(0)) * 60;
            let offset = Offset::from_seconds(if value.tz_minus { -seconds } else { seconds }).ok()?;
            return Some(Time::utc(offset.to_timestamp(local).ok()?));
        }
        let zone = zone_id.and_then(|id| self.named(id)).unwrap_or_else(|| self.zone.clone());
        Some(Time { form: Form::Local, local, zone })
    }

    /// All dates and times of an entry. What is written in the manner of ISO 8601 counts too.
    fn times(&self, entry: &ICalendarEntry) -> Vec<Time> {
        let read = |value: &ICalendarValue| match value {
            ICalendarValue::PartialDateTime(value) => self.time(value, entry.tz_id()),
            ICalendarValue::Period(ICalendarPeriod::Range { start, .. } | ICalendarPeriod::Duration { start, .. }) => {
                self.time(start, entry.tz_id())
            }
            ICalendarValue::Text(text) => self.iso_time(text, entry.tz_id()),
            _ => None,
        };
        entry.values.iter().filter_map(read).collect()
    }

    fn iso_time(&self, text: &str, zone_id: Option<&str>) -> Option<Time> {
        let zone = || zone_id.and_then(|id| self.named(id)).unwrap_or_else(|| self.zone.clone());
        match when::iso8601(text)? {
            When::Days(date, _) => Some(Time { form: Form::Day, local: date.into(), zone: self.zone.clone() }),
            When::Local(local) => Some(Time { form: Form::Local, local, zone: zone() }),
            When::Instant(instant, _) => Some(Time::utc(instant)),
        }
    }
}

/// A zone that a VTIMEZONE defines: by hints at its real name, or by its rules.
fn defined_zone(components: &[ICalendarComponent]) -> Option<(String, Zone)> {
    let zone = components.first()?;
    let id = zone.property(&ICalendarProperty::Tzid)?.values.first()?.as_text()?.to_owned();
    let hinted = zone.timezone().and_then(|(_, hint)| Zone::resolve(&hint.name()?));
    let zone = hinted.or_else(|| Zone::posix(&posix_rule(components.get(1..)?)?))?;
    Some((id, zone))
}

/// The rules of a VTIMEZONE that hold today, as a POSIX TZ string.
fn posix_rule(components: &[ICalendarComponent]) -> Option<String> {
    let latest = |kind: ICalendarComponentType| {
        let same = components.iter().filter(|component| component.component_type == kind);
        same.filter_map(Observance::read).max_by_key(|observance| observance.since)
    };
    let standard = latest(ICalendarComponentType::Standard)?;
    let name = format!("<STD>{}", posix_offset(standard.offset));
    let daylight = latest(ICalendarComponentType::Daylight);
    let Some((daylight, start, end)) = daylight.and_then(|daylight| {
        let (start, end) = (daylight.rule.clone()?, standard.rule.clone()?);
        Some((daylight, start, end))
    }) else {
        return Some(name);
    };
    Some(format!("{name}<DST>{},{start},{end}", posix_offset(daylight.offset)))
}

/// POSIX counts west of Greenwich.
fn posix_offset(seconds: i32) -> String {
    let (sign, size) = if seconds > 0 { ("-", seconds) } else { ("", -seconds) };
    format!("{sign}{}:{:02}", size / 3600, size / 60 % 60)
}

/// A STANDARD or DAYLIGHT part of a zone.
struct Observance {
    since: Date,
    offset: i32,
    /// As in a POSIX TZ string: `M3.2.0/2:00`.
    rule: Option<String>,
}

impl Observance {
    fn read(component: &ICalendarComponent) -> Option<Self> {
        let value = |name| component.property(&name).and_then(|entry| entry.values.first());
        let moment = |name| match value(name) {
            Some(ICalendarValue::PartialDateTime(moment)) => Some(moment),
            _ => None,
        };
        let offset = moment(ICalendarProperty::Tzoffsetto)?;
        let seconds = i32::from(offset.tz_hour?) * 3600 + i32::from(offset.tz_minute.unwrap_or(0)) * 60;
        let (since, time) = civil(moment(ICalendarProperty::Dtstart)?)?;
        let rule = match value(ICalendarProperty::Rrule) {
            Some(ICalendarValue::RecurrenceRule(rule)) => Self::yearly(rule),
            _ => None,
        };
        let time = time.unwrap_or_default();
        let rule = rule.map(|rule| format!("{rule}/{}:{:02}", time.hour(), time.minute()));
        Some(Self { since, offset: if offset.tz_minus { -seconds } else { seconds }, rule })
    }

    /// `FREQ=YEARLY;BYMONTH=3;BYDAY=2SU` as `M3.2.0`.
    fn yearly(rule: &ICalendarRecurrenceRule) -> Option<String> {
        let (month, day) = (rule.bymonth.first()?.month(), rule.byday.first()?);
        let week = match day.ordwk? {
            week @ 1..=4 => week,
            -1 | 5 => 5,
            _ => return None,
        };
        Some(format!("M{month}.{week}.{}", day.weekday as u8))
    }
}

/// A date or time of a calendar.
#[derive(Debug, Clone)]
struct Time {
    form: Form,
    /// On the clock of `zone`.
    local: DateTime,
    zone: Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Day,
    Local,
    Utc,
}

impl Time {
    fn utc(instant: Timestamp) -> Self {
        let zone = Zone::unknown();
        Self { form: Form::Utc, local: zone.local(instant), zone }
    }

    fn with_local(&self, local: DateTime) -> Self {
        Self { local, ..self.clone() }
    }

    /// For listings: a day, or the instant with the offset on site.
    fn moment(&self, site: &Zone) -> Option<Moment> {
        match self.form {
            Form::Day => Some(Moment::Day(self.local.date())),
            Form::Local => self.zone.moment(self.local),
            Form::Utc => self.instant().map(|instant| site.at(instant)),
        }
    }

    fn instant(&self) -> Option<Timestamp> {
        match self.zone.moment(self.local)? {
            Moment::Instant { ms, .. } => Timestamp::from_millisecond(ms).ok(),
            Moment::Day(_) => None,
        }
    }

    /// On the clock of another time. A day takes that one's time of day, so that it names the
    /// instance of that day.
    fn on_clock_of(&self, other: &Self) -> Option<DateTime> {
        match (self.form, other.form) {
            (Form::Day, _) => Some(self.local.date().to_datetime(other.local.time())),
            (_, Form::Day) => Some(self.local.date().into()),
            _ => Some(other.zone.local(self.instant()?)),
        }
    }

    /// As it stands in ids.
    fn id(&self) -> String {
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
enum End {
    At(Time),
    After(ICalendarDuration),
}

/// A VEVENT, read but not expanded.
struct Event<'a> {
    bytes: &'a [u8],
    uid: String,
    title: Option<String>,
    start: Option<Time>,
    end: Option<End>,
    /// Which instance of its series it describes.
    recurrence: Option<Time>,
    this_and_future: bool,
    /// Rules, each with its last time on the clock of `start`.
    rules: Vec<(ICalendarRecurrenceRule, Option<DateTime>)>,
    bad_rule: Option<String>,
    extra: Vec<Time>,
    excluded: Vec<Time>,
    stamp: SourceStamp,
    body: Body,
}

/// What does not depend on time.
#[derive(Debug, Clone, Default)]
struct Body {
    description: Option<String>,
    categories: Texts,
    location: Option<String>,
    geo: Option<Geo>,
    urls: Texts,
    images: Texts,
    organizer: Option<Organizer>,
    status: Option<Status>,
    online: bool,
}

impl<'a> Event<'a> {
    /// Reads a VEVENT; an error comes with the id, where there is one.
    fn read(calendar: &Calendar<'_>, block: &Block, bytes: &'a [u8]) -> Result<Self, (Problem, Option<String>)> {
        let limits = calendar.record.limits;
        let Some(component) = parse_component(&decode(bytes)).into_iter().next() else {
            return Err((Problem::new(DeadLetterCode::Malformed, "the VEVENT cannot be read"), None));
        };
        let given = component.property(&ICalendarProperty::Uid).and_then(text_of);
        if let Some(problem) = given.as_ref().and_then(|id| check_id(id, limits).err()) {
            return Err((problem, None));
        }
        if block.depth > limits.max_nesting {
            let reason = format!("the VEVENT is nested more than {} levels deep", limits.max_nesting);
            return Err((Problem::new(DeadLetterCode::NestedTooDeeply, reason), given));
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

    /// Whether it is another event than `other`, which has the same UID.
    fn is_beside(&self, other: &Self) -> bool {
        let elsewhere = self.body.location.is_some() && self.body.location != other.body.location;
        let start = |event: &Self| event.start.as_ref().map(Time::id);
        let single = !self.is_series() && !other.is_series();
        single && self.stamp == other.stamp && (elsewhere || start(self) != start(other))
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
            bad_rule: None,
            extra: Vec::new(),
            excluded: Vec::new(),
            stamp: SourceStamp::default(),
            body: Body::default(),
        };
        let mut untils = Vec::new();
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
                ICalendarProperty::Rrule => match entry.values.first() {
                    Some(ICalendarValue::RecurrenceRule(rule)) => {
                        untils.push(rule.until.as_ref().and_then(|until| calendar.time(until, None)));
                        event.rules.push(((**rule).clone(), None));
                    }
                    _ => event.bad_rule = Some(text_of(entry).unwrap_or_default()),
                },
                ICalendarProperty::Rdate => event.extra.extend(calendar.times(entry)),
                ICalendarProperty::Exdate => event.excluded.extend(calendar.times(entry)),
                ICalendarProperty::Sequence => event.stamp.sequence = integer_of(entry).unwrap_or(0),
                ICalendarProperty::LastModified => {
                    let modified = calendar.times(entry).into_iter().next().and_then(|time| time.instant());
                    event.stamp.modified_ms = modified.map_or(0, Timestamp::as_millisecond);
                }
                ICalendarProperty::Summary => event.title = text_of(entry).or(event.title),
                ICalendarProperty::Other(name) if name.eq_ignore_ascii_case("X-MICROSOFT-CDO-ALLDAYEVENT") => {
                    all_day = text_of(entry).is_some_and(|flag| flag.eq_ignore_ascii_case("TRUE"));
                }
                _ => event.body.read(entry),
            }
        }
        if all_day {
            event.make_all_day();
        }
        if let Some(start) = &event.start {
            for ((_, until), given) in event.rules.iter_mut().zip(untils) {
                *until = given.and_then(|given| last_time(&given, start));
            }
        }
        event
    }

    /// Outlook writes days as midnights, with a property that says so.
    fn make_all_day(&mut self) {
        let end = match &mut self.end {
            Some(End::At(end)) => Some(end),
            _ => None,
        };
        for time in self.start.iter_mut().chain(end).chain(&mut self.recurrence) {
            if time.local.time() == jiff::civil::Time::midnight() {
                time.form = Form::Day;
            }
        }
    }

    fn is_series(&self) -> bool {
        !self.rules.is_empty() || !self.extra.is_empty() || self.bad_rule.is_some()
    }

    /// The end of an instance that begins at `start`: as long after it as the end of this event
    /// is after its own start, on the clock. The last day, for days.
    fn end_of(&self, start: &Time, site: &Zone) -> Option<Moment> {
        match self.end.as_ref()? {
            End::At(end) => {
                let shift = self.start.as_ref().map(|own| start.local.duration_since(own.local)).unwrap_or_default();
                let end = end.with_local(end.local.checked_add(shift).ok()?);
                if end.form == Form::Day && end.local.date() > start.local.date() {
                    return end.local.date().yesterday().ok().map(Moment::Day);
                }
                end.moment(site)
            }
            End::After(duration) => end_after(start, duration, site),
        }
    }
}

/// Days and weeks are counted on the clock, hours and less in real time.
fn end_after(start: &Time, duration: &ICalendarDuration, site: &Zone) -> Option<Moment> {
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
fn last_time(until: &Time, start: &Time) -> Option<DateTime> {
    let local = until.on_clock_of(start)?;
    match until.form {
        Form::Day => Some(local.date().at(23, 59, 59, 0)),
        _ => Some(local),
    }
}

impl Body {
    fn read(&mut self, entry: &ICalendarEntry) {
        match &entry.name {
            ICalendarProperty::Description => self.description = text_of(entry).or(self.description.take()),
            ICalendarProperty::Categories => self.categories.extend(texts_of(entry).map(SmolStr::from)),
            ICalendarProperty::Location => self.location = text_of(entry).or(self.location.take()),
            ICalendarProperty::Geo => self.geo = geo_of(entry),
            ICalendarProperty::Url => self.urls.extend(text_of(entry).map(SmolStr::from)),
            ICalendarProperty::Image => self.images.extend(text_of(entry).map(SmolStr::from)),
            ICalendarProperty::Attach if is_image(entry) => self.images.extend(text_of(entry).map(SmolStr::from)),
            ICalendarProperty::Organizer => self.organizer = organizer_of(entry),
            ICalendarProperty::Conference => self.online = true,
            ICalendarProperty::Status => self.status = status_of(entry),
            _ => {}
        }
    }

    fn apply(self, listing: &mut Listing) {
        listing.description = self.description.map(Into::into);
        listing.source_categories = self.categories;
        listing.urls = self.urls;
        listing.images = self.images;
        listing.organizer = self.organizer;
        listing.status = self.status.unwrap_or_default();
        listing.online = self.online;
        if let Some(location) = self.location {
            listing.online |= is_online(&location);
            if location.starts_with("https://") || location.starts_with("http://") {
                listing.urls.extend(location.split_whitespace().next().map(SmolStr::from));
            }
            listing.venue = place::split(&location);
        }
        listing.venue = Venue { geo: self.geo, ..std::mem::take(&mut listing.venue) };
    }
}

/// Whether a location is a meeting on the web.
fn is_online(location: &str) -> bool {
    let location = location.to_lowercase();
    let first = location.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    ["online", "virtual", "zoom", "webinar", "http", "https"].contains(&first) || location.contains("via zoom")
}

fn value_text(value: &ICalendarValue) -> Option<&str> {
    match value {
        ICalendarValue::Text(text) | ICalendarValue::Uri(Uri::Location(text)) => {
            Some(text.trim()).filter(|text| !text.is_empty())
        }
        _ => None,
    }
}

fn texts_of(entry: &ICalendarEntry) -> impl Iterator<Item = &str> {
    entry.values.iter().filter_map(value_text)
}

fn text_of(entry: &ICalendarEntry) -> Option<String> {
    texts_of(entry).next().map(str::to_owned)
}

/// What stands in an entry, for people.
fn value_shown(entry: &ICalendarEntry) -> String {
    match entry.values.first() {
        Some(ICalendarValue::PartialDateTime(value)) => {
            let part = |part: Option<u8>| part.map_or_else(|| "?".to_owned(), |part| format!("{part:02}"));
            let year = value.year.map_or_else(|| "?".to_owned(), |year| format!("{year:04}"));
            format!("{year}-{}-{} {}:{}", part(value.month), part(value.day), part(value.hour), part(value.minute))
        }
        _ => text_of(entry).unwrap_or_default(),
    }
}

fn integer_of(entry: &ICalendarEntry) -> Option<i64> {
    entry.values.first().and_then(ICalendarValue::as_integer)
}

fn duration_of(entry: &ICalendarEntry) -> Option<ICalendarDuration> {
    entry.values.iter().find_map(|value| match value {
        ICalendarValue::Duration(duration) => Some(duration.clone()),
        _ => None,
    })
}

/// `latitude;longitude`, or with the comma that some write.
fn geo_of(entry: &ICalendarEntry) -> Option<Geo> {
    let number = |value: &ICalendarValue| match value {
        ICalendarValue::Float(number) => vec![*number],
        other => value_text(other)
            .into_iter()
            .flat_map(|text| text.split([',', ';']))
            .filter_map(|n| n.trim().parse().ok())
            .collect(),
    };
    let numbers: Vec<f64> = entry.values.iter().flat_map(number).collect();
    match numbers.as_slice() {
        [latitude, longitude] => source_geo(*latitude, *longitude),
        _ => None,
    }
}

/// The name of the organizer; mail addresses stand in for names in some feeds and are none.
fn organizer_of(entry: &ICalendarEntry) -> Option<Organizer> {
    let name = entry.parameters(&ICalendarParameterName::Cn).find_map(|value| value.as_text())?.trim();
    let url = text_of(entry).filter(|url| url.starts_with("http"));
    (!name.is_empty() && !name.contains('@')).then(|| Organizer { name: name.into(), url: url.map(SmolStr::from) })
}

fn is_image(entry: &ICalendarEntry) -> bool {
    let kind = entry.parameters(&ICalendarParameterName::Fmttype).find_map(|value| value.as_text());
    if let Some(kind) = kind {
        return kind.starts_with("image/");
    }
    let address = text_of(entry).unwrap_or_default().to_lowercase();
    let path = address.split(['?', '#']).next().unwrap_or_default();
    [".jpg", ".jpeg", ".png", ".gif", ".webp"].iter().any(|ending| path.ends_with(ending))
}

fn status_of(entry: &ICalendarEntry) -> Option<Status> {
    match entry.values.first()? {
        ICalendarValue::Status(ICalendarStatus::Cancelled) => Some(Status::Cancelled),
        ICalendarValue::Status(ICalendarStatus::Tentative) => Some(Status::Tentative),
        ICalendarValue::Text(word) => words::status(word),
        _ => None,
    }
}

/// The VEVENTs of one UID: an event, or a series with the instances that differ.
#[derive(Default)]
struct Group<'a> {
    main: Option<Event<'a>>,
    /// More events under the same UID, in the order of the calendar.
    namesakes: Vec<Event<'a>>,
    overrides: Vec<Event<'a>>,
}

/// Where the listings of a group go, and what they take.
struct Emission<'e, 'a> {
    calendar: &'e Calendar<'a>,
    budget: &'e mut u64,
    output: &'e mut Output,
    /// What has been told already of which VEVENT, by its place.
    told: BTreeSet<(usize, DeadLetterCode)>,
}

/// The instances of a series that differ, by when the series has them.
struct Changes<'e> {
    by_key: BTreeMap<DateTime, &'e Event<'e>>,
    /// Those that hold for all later instances too.
    future: BTreeMap<DateTime, &'e Event<'e>>,
}

impl<'a> Group<'a> {
    /// Adds a VEVENT. Of two of the same event the greater stamp stays, the last among equals.
    /// Calendars whose UIDs are made of title and day use one for several events: what has the
    /// same stamp and another time or place is another event.
    fn add(&mut self, event: Event<'a>) {
        if event.recurrence.is_some() {
            self.overrides.push(event);
            return;
        }
        let Some(main) = &mut self.main else {
            self.main = Some(event);
            return;
        };
        let held = std::iter::once(main).chain(&mut self.namesakes).find(|held| !event.is_beside(held));
        match held {
            Some(held) if held.stamp <= event.stamp => *held = event,
            Some(_) => {}
            None => self.namesakes.push(event),
        }
    }

    fn emit(self, to: &mut Emission<'_, '_>) {
        for (number, event) in (2..).zip(&self.namesakes) {
            if let Some(start) = &event.start {
                to.listing(event, None, &format!("{}~{number}", event.uid), start);
            }
        }
        match &self.main {
            Some(main) if main.is_series() => to.series(main, &self.overrides),
            main => {
                if let Some(main) = main
                    && let Some(start) = &main.start
                {
                    to.listing(main, None, &main.uid, start);
                }
                for instance in &self.overrides {
                    to.lone_instance(instance, main.as_ref());
                }
            }
        }
    }
}

impl Emission<'_, '_> {
    /// All instances of a series within the horizon.
    fn series(&mut self, main: &Event<'_>, overrides: &[Event<'_>]) {
        let Some(start) = &main.start else { return };
        let (from, to) = self.calendar.record.horizon();
        let mut changed: BTreeMap<DateTime, &Event<'_>> = BTreeMap::new();
        for event in overrides {
            let Some(key) = event.recurrence.as_ref().and_then(|at| at.on_clock_of(start)) else { continue };
            let held = changed.entry(key).or_insert(event);
            if held.stamp <= event.stamp {
                *held = event;
            }
        }
        let (days, times): (Vec<&Time>, Vec<&Time>) =
            main.excluded.iter().partition(|time| time.form == Form::Day && start.form != Form::Day);
        let clock = |times: &[Time]| times.iter().filter_map(|time| time.on_clock_of(start)).collect::<Vec<_>>();
        let limits = self.calendar.record.limits;
        let expansion = Series {
            start: start.local,
            rules: &main.rules,
            extra: &clock(&main.extra),
            excluded: &times.iter().filter_map(|time| time.on_clock_of(start)).collect::<HashSet<_>>(),
            excluded_days: &days.iter().map(|time| time.local.date()).collect::<HashSet<_>>(),
            from: start.zone.local(from),
            to: start.zone.local(to),
            max: limits.max_instances_per_series.min(self.output.room(limits)),
        }
        .expand(self.budget);
        if let Some(rule) = main.bad_rule.as_ref().or(expansion.bad_rule.as_ref()) {
            self.fail(main, Problem::invalid("RRULE", rule), &main.uid);
        }
        if expansion.surplus || expansion.exhausted {
            let reason = format!("only the first {} instances of the series are used", expansion.instants.len());
            self.fail(main, Problem::new(DeadLetterCode::TooManyListings, reason), &main.uid);
        }
        let changed = Changes {
            future: changed
                .iter()
                .filter(|(_, event)| event.this_and_future)
                .map(|(key, event)| (*key, *event))
                .collect(),
            by_key: changed,
        };
        for key in &expansion.instants {
            self.instance(main, &changed, *key);
        }
        for (key, event) in &changed.by_key {
            // Moved into the horizon from outside, or not one of the rule's.
            let moved = event.start.as_ref().is_some_and(|time| self.in_horizon(time));
            if moved && expansion.instants.binary_search(key).is_err() {
                self.instance(main, &changed, *key);
            }
        }
    }

    /// One instance: as it was changed, or else as the last change says that holds for the future,
    /// or else as the series says.
    fn instance(&mut self, main: &Event<'_>, changed: &Changes<'_>, key: DateTime) {
        let Some(start) = &main.start else { return };
        let id = format!("{}/{}", main.uid, start.with_local(key).id());
        if let Some(event) = changed.by_key.get(&key) {
            let own = start.with_local(key);
            return self.listing(event, Some(main), &id, event.start.as_ref().unwrap_or(&own));
        }
        let Some((since, event)) = changed.future.range(..key).next_back() else {
            return self.listing(main, None, &id, &start.with_local(key));
        };
        let shifted = event
            .start
            .as_ref()
            .and_then(|moved| Some(moved.with_local(moved.local.checked_add(key.duration_since(*since)).ok()?)));
        self.listing(event, Some(main), &id, &shifted.unwrap_or_else(|| start.with_local(key)));
    }

    /// An instance whose series is not in the calendar.
    fn lone_instance(&mut self, event: &Event<'_>, main: Option<&Event<'_>>) {
        let Some(recurrence) = &event.recurrence else { return };
        let start = event.start.as_ref().unwrap_or(recurrence);
        if self.in_horizon(start) {
            self.listing(event, main, &format!("{}/{}", event.uid, recurrence.id()), start);
        }
    }

    fn in_horizon(&self, time: &Time) -> bool {
        let (from, to) = self.calendar.record.horizon();
        time.instant().is_some_and(|instant| (from..=to).contains(&instant))
    }

    /// Adds a listing of `event`; `main` has what an instance leaves out.
    fn listing(&mut self, event: &Event<'_>, main: Option<&Event<'_>>, id: &str, start: &Time) {
        if let Err(problem) = self.try_listing(event, main, id, start) {
            self.fail(event, problem, id);
        }
    }

    fn try_listing(
        &mut self,
        event: &Event<'_>,
        main: Option<&Event<'_>>,
        id: &str,
        start: &Time,
    ) -> Result<(), Problem> {
        let site = if start.form == Form::Local { &start.zone } else { &self.calendar.zone };
        let begin = start.moment(site).ok_or_else(|| Problem::invalid("DTSTART", &start.id()))?;
        let (title, body) = match (&event.title, main) {
            (Some(title), _) => (title, event.body.clone()),
            (None, Some(main)) => {
                let title = main.title.as_ref().ok_or_else(|| Problem::missing("SUMMARY"))?;
                (title, Body { status: event.body.status, ..main.body.clone() })
            }
            (None, None) => return Err(Problem::missing("SUMMARY")),
        };
        let timed = if event.end.is_none() { main.unwrap_or(event) } else { event };
        let record = self.calendar.record;
        let mut listing = record.listing(id.into(), title.into(), begin);
        listing.timezone = site.name().cloned();
        listing.end = timed.end_of(start, site);
        body.apply(&mut listing);
        if self.calendar.cancelled {
            listing.status = Status::Cancelled;
        }
        self.output.listings.push(record.accept(listing, event.stamp)?);
        Ok(())
    }

    /// What ails one instance of a series ails the others too: it is told once.
    fn fail(&mut self, event: &Event<'_>, problem: Problem, id: &str) {
        if self.told.insert((event.bytes.as_ptr().addr(), problem.code)) {
            self.output.fail(self.calendar.record, problem, Some(id), event.bytes);
        } else {
            self.output.keep(self.calendar.record, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{NOW_MS, codes, extract_with, raw};
    use super::*;
    use crate::extract::{ExtractConfig, Extraction, Limits, SourceConfig};
    use crate::ids::ListingId;
    use crate::moment::DAY_MS;

    fn run(text: &str) -> Extraction {
        run_bytes(text.replace('\n', "\r\n").as_bytes())
    }

    fn run_bytes(bytes: &[u8]) -> Extraction {
        let config = SourceConfig { timezone: Some("America/Los_Angeles".into()), ..SourceConfig::default() };
        extract_with(config, raw("text/calendar; charset=utf-8", bytes))
    }

    fn calendar(events: &[&str]) -> String {
        let events: String = events.iter().map(|event| format!("BEGIN:VEVENT\n{event}\nEND:VEVENT\n")).collect();
        format!("BEGIN:VCALENDAR\nVERSION:2.0\n{events}END:VCALENDAR\n")
    }

    fn one(event: &str) -> Listing {
        let extraction = run(&calendar(&[event]));
        assert_eq!(extraction.failures, [], "{event}");
        let mut listings = extraction.document.unwrap().listings;
        assert_eq!(listings.len(), 1, "{event}");
        listings.remove(0).listing
    }

    /// Ids, begins and ends.
    fn shown(extraction: &Extraction) -> Vec<String> {
        let listings = extraction.document.iter().flat_map(|document| &document.listings);
        listings
            .map(|extracted| {
                let listing = &extracted.listing;
                let end = listing.end.map(|end| format!(" {end}")).unwrap_or_default();
                format!("{} {}{end}", listing.external_id, listing.start)
            })
            .collect()
    }

    #[test]
    fn a_full_event() {
        let listing = one("UID:17@example.org\nSUMMARY:Jazz\\, and more\nDESCRIPTION:Doors at 7\\nBring a\n  friend\n\
             DTSTART;TZID=America/Los_Angeles:20260328T193000\nDTEND;TZID=America/Los_Angeles:20260328T220000\n\
             LOCATION:Old Mill\\, 1 Mill Rd\\, Davis\\, CA 95616\nGEO:38.5;-121.7\nCATEGORIES:Music,Jazz\n\
             URL:https://example.org/17\nATTACH;FMTTYPE=image/jpeg:https://example.org/1.jpg\n\
             ATTACH:https://example.org/program.pdf\nIMAGE;VALUE=URI:https://example.org/2.png\n\
             ORGANIZER;CN=\"Mill, The\":mailto:a@example.org\nSTATUS:TENTATIVE\nSEQUENCE:2\n\
             LAST-MODIFIED:20260101T000000Z\nX-ANYTHING;A=\"b:c\":d\n\
             BEGIN:VALARM\nTRIGGER:-PT15M\nSUMMARY:not the title\nEND:VALARM");
        assert_eq!((&*listing.external_id, &*listing.title), ("17@example.org", "Jazz, and more"));
        assert_eq!(listing.description.as_deref(), Some("Doors at 7\nBring a friend"));
        assert_eq!(listing.start.to_string(), "2026-03-28T19:30:00-07:00");
        assert_eq!(listing.end.unwrap().to_string(), "2026-03-28T22:00:00-07:00");
        assert_eq!(listing.timezone.as_deref(), Some("America/Los_Angeles"));
        assert_eq!(listing.venue.name.as_deref(), Some("Old Mill"));
        assert_eq!(listing.venue.city.as_deref(), Some("Davis"));
        assert_eq!(listing.venue.geo.unwrap().point.latitude(), 38.5);
        assert_eq!(*listing.source_categories, ["Music", "Jazz"]);
        assert_eq!(*listing.urls, ["https://example.org/17"]);
        assert_eq!(*listing.images, ["https://example.org/1.jpg", "https://example.org/2.png"]);
        assert_eq!(listing.organizer.unwrap().name, "Mill, The");
        assert_eq!(listing.status, Status::Tentative);
    }

    #[test]
    fn times_in_every_form() {
        for (times, expected) in [
            ("DTSTART:20260328T193000", "2026-03-28T19:30:00-07:00"),
            ("DTSTART:20260329T023000Z", "2026-03-28T19:30:00-07:00"),
            ("DTSTART;TZID=Eastern Standard Time:20260328T193000", "2026-03-28T19:30:00-04:00"),
            ("DTSTART;TZID=\"America/New_York\":20260328T193000", "2026-03-28T19:30:00-04:00"),
            ("DTSTART;TZID=/x.org/America/New_York:20260328T193000", "2026-03-28T19:30:00-04:00"),
            ("DTSTART;TZID=Who knows:20260328T193000", "2026-03-28T19:30:00-07:00"),
            ("DTSTART;VALUE=DATE:20260328", "2026-03-28"),
            ("DTSTART:20260328", "2026-03-28"),
            ("DTSTART:2026-03-28T19:30:00", "2026-03-28T19:30:00-07:00"),
            ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260330", "2026-03-28 2026-03-29"),
            ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260329", "2026-03-28 2026-03-28"),
            ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260328", "2026-03-28 2026-03-28"),
            ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260320", "2026-03-28 2026-03-20"),
            ("DTSTART;VALUE=DATE:20260328\nDURATION:P2D", "2026-03-28 2026-03-29"),
            ("DTSTART:20260307T230000\nDURATION:PT4H", "2026-03-07T23:00:00-08:00 2026-03-08T03:00:00-08:00"),
            ("DTSTART:20260307T230000\nDURATION:P1D", "2026-03-07T23:00:00-08:00 2026-03-08T23:00:00-07:00"),
            ("DTSTART:20260328T193000\nDTEND:junk", "2026-03-28T19:30:00-07:00"),
            ("DTSTART:20260328T193000\nDTEND:20260328T183000", "2026-03-28T19:30:00-07:00 2026-03-28T18:30:00-07:00"),
            (
                "DTSTART:20260328T000000\nDTEND:20260329T000000\nX-MICROSOFT-CDO-ALLDAYEVENT:TRUE",
                "2026-03-28 2026-03-28",
            ),
        ] {
            let listing = one(&format!("UID:1\nSUMMARY:x\n{times}"));
            let mut shown = listing.start.to_string();
            shown.extend(listing.end.map(|end| format!(" {end}")));
            assert_eq!(shown, expected, "{times}");
        }
    }

    #[test]
    fn the_calendar_names_the_zone_of_floating_times() {
        let text = calendar(&["UID:1\nSUMMARY:x\nDTSTART:20260328T193000"]);
        let named = text.replace("VERSION:2.0", "VERSION:2.0\nX-WR-TIMEZONE:Europe/Berlin");
        assert_eq!(shown(&run(&named)), ["1 2026-03-28T19:30:00+01:00"]);
    }

    #[test]
    fn zones_that_a_calendar_defines() {
        let zone = |id: &str, extra: &str| {
            format!(
                "BEGIN:VTIMEZONE\nTZID:{id}\n{extra}BEGIN:STANDARD\nDTSTART:19701101T020000\n\
                 RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\nTZOFFSETFROM:-0400\nTZOFFSETTO:-0500\nEND:STANDARD\n\
                 BEGIN:DAYLIGHT\nDTSTART:19700308T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU\n\
                 TZOFFSETFROM:-0500\nTZOFFSETTO:-0400\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
            )
        };
        for (extra, name) in [("", None), ("X-LIC-LOCATION:America/Toronto\n", Some("America/Toronto"))] {
            let text = calendar(&[
                "UID:1\nSUMMARY:x\nDTSTART;TZID=My zone:20260328T193000",
                "UID:2\nSUMMARY:x\nDTSTART;TZID=My zone:20260128T193000",
            ]);
            let text = text.replacen("BEGIN:VEVENT", &format!("{}BEGIN:VEVENT", zone("My zone", extra)), 1);
            let extraction = run(&text);
            assert_eq!(shown(&extraction), ["1 2026-03-28T19:30:00-04:00", "2 2026-01-28T19:30:00-05:00"]);
            assert_eq!(extraction.document.unwrap().listings[0].listing.timezone.as_deref(), name);
        }
    }

    #[test]
    fn a_series_keeps_its_time_of_day_over_the_change_of_clocks() {
        let weekly = "UID:w\nSUMMARY:Choir\nDTSTART;TZID=America/Los_Angeles:20260226T190000\n\
                      DTEND;TZID=America/Los_Angeles:20260226T210000\nRRULE:FREQ=WEEKLY;UNTIL=20260320T035959Z\n\
                      EXDATE;TZID=America/Los_Angeles:20260305T190000\nRDATE;TZID=America/Los_Angeles:20260310T190000";
        assert_eq!(
            shown(&run(&calendar(&[weekly]))),
            [
                "w/20260226T190000 2026-02-26T19:00:00-08:00 2026-02-26T21:00:00-08:00",
                "w/20260310T190000 2026-03-10T19:00:00-07:00 2026-03-10T21:00:00-07:00",
                "w/20260312T190000 2026-03-12T19:00:00-07:00 2026-03-12T21:00:00-07:00",
                "w/20260319T190000 2026-03-19T19:00:00-07:00 2026-03-19T21:00:00-07:00",
            ]
        );
    }

    #[test]
    fn series_of_days_and_of_utc_times() {
        let days =
            "UID:d\nSUMMARY:Fair\nDTSTART;VALUE=DATE:20260401\nDTEND;VALUE=DATE:20260403\nRRULE:FREQ=MONTHLY;COUNT=2";
        assert_eq!(
            shown(&run(&calendar(&[days]))),
            ["d/20260401 2026-04-01 2026-04-02", "d/20260501 2026-05-01 2026-05-02"]
        );
        let utc = "UID:u\nSUMMARY:Call\nDTSTART:20260401T180000Z\nRRULE:FREQ=DAILY;UNTIL=20260402";
        assert_eq!(
            shown(&run(&calendar(&[utc]))),
            ["u/20260401T180000Z 2026-04-01T11:00:00-07:00", "u/20260402T180000Z 2026-04-02T11:00:00-07:00"]
        );
    }

    #[test]
    fn instances_that_differ() {
        let series = "UID:s\nSUMMARY:Talk\nLOCATION:Hall\nDTSTART;TZID=America/Los_Angeles:20260401T190000\n\
                      DTEND;TZID=America/Los_Angeles:20260401T200000\nRRULE:FREQ=DAILY;COUNT=5";
        let moved = "UID:s\nSUMMARY:Late talk\nRECURRENCE-ID:20260403T020000Z\nDTSTART;TZID=America/Los_Angeles:20260402T210000";
        let cancelled = "UID:s\nRECURRENCE-ID;VALUE=DATE:20260403\nSTATUS:CANCELLED";
        let onwards = "UID:s\nSUMMARY:Early talk\nRECURRENCE-ID;RANGE=THISANDFUTURE;TZID=America/Los_Angeles:20260404T190000\n\
                       DTSTART;TZID=America/Los_Angeles:20260404T170000\nDTEND;TZID=America/Los_Angeles:20260404T173000";
        let extraction = run(&calendar(&[moved, cancelled, series, onwards]));
        assert_eq!(extraction.failures, []);
        assert_eq!(
            shown(&extraction),
            [
                "s/20260401T190000 2026-04-01T19:00:00-07:00 2026-04-01T20:00:00-07:00",
                "s/20260402T190000 2026-04-02T21:00:00-07:00 2026-04-02T22:00:00-07:00",
                "s/20260403T190000 2026-04-03T19:00:00-07:00 2026-04-03T20:00:00-07:00",
                "s/20260404T190000 2026-04-04T17:00:00-07:00 2026-04-04T17:30:00-07:00",
                "s/20260405T190000 2026-04-05T17:00:00-07:00 2026-04-05T17:30:00-07:00",
            ]
        );
        let listings = extraction.document.unwrap().listings;
        let titles: Vec<&str> = listings.iter().map(|extracted| &*extracted.listing.title).collect();
        assert_eq!(titles, ["Talk", "Late talk", "Talk", "Early talk", "Early talk"]);
        assert_eq!(listings[2].listing.status, Status::Cancelled);
        assert_eq!(listings[2].listing.venue.name.as_deref(), Some("Hall"));
    }

    #[test]
    fn an_instance_without_its_series_is_a_listing_of_its_own() {
        let alone = "UID:s\nSUMMARY:Talk\nRECURRENCE-ID;TZID=America/Los_Angeles:20260402T190000\nDTSTART;TZID=America/Los_Angeles:20260402T200000";
        assert_eq!(shown(&run(&calendar(&[alone]))), ["s/20260402T190000 2026-04-02T20:00:00-07:00"]);
        let untitled = "UID:s\nRECURRENCE-ID:20260402T190000\nSTATUS:CANCELLED";
        assert_eq!(codes(&run(&calendar(&[untitled])).failures), [DeadLetterCode::MissingField]);
    }

    #[test]
    fn the_horizon_is_relative_to_the_record() {
        let daily = calendar(&["UID:d\nSUMMARY:x\nDTSTART;VALUE=DATE:20100101\nRRULE:FREQ=DAILY"]);
        let config = ExtractConfig {
            limits: Limits { horizon_past_days: 1, horizon_future_days: 2, ..Limits::default() },
            ..ExtractConfig::default()
        };
        let extractor = super::super::test_support::extractor(config);
        let mut record = raw("text/calendar", daily.as_bytes());
        assert_eq!(
            shown(&extractor.extract(record.clone())),
            ["d/20260325 2026-03-25", "d/20260326 2026-03-26", "d/20260327 2026-03-27", "d/20260328 2026-03-28"]
        );
        for nonsense in [i64::MIN, i64::MAX] {
            record.origin.timestamp_ms = nonsense;
            assert_eq!(shown(&extractor.extract(record.clone())), [""; 0]);
        }
        record.origin.timestamp_ms = NOW_MS + 10 * DAY_MS;
        assert!(shown(&extractor.extract(record)).contains(&"d/20260405 2026-04-05".to_owned()));
    }

    #[test]
    fn too_many_instances_leave_the_first_ones() {
        let config = ExtractConfig {
            limits: Limits { max_instances_per_series: 3, ..Limits::default() },
            ..ExtractConfig::default()
        };
        let text = calendar(&[
            "UID:d\nSUMMARY:x\nDTSTART;VALUE=DATE:20260401\nRRULE:FREQ=DAILY",
            "UID:e\nSUMMARY:y\nDTSTART:20260401",
        ]);
        let extraction = super::super::test_support::extractor(config).extract(raw("text/calendar", text.as_bytes()));
        assert_eq!(
            shown(&extraction),
            ["d/20260401 2026-04-01", "d/20260402 2026-04-02", "d/20260403 2026-04-03", "e 2026-04-01"]
        );
        assert_eq!(codes(&extraction.failures), [DeadLetterCode::TooManyListings]);
        assert_eq!(extraction.failures[0].part.as_deref(), Some("d"));
    }

    #[test]
    fn a_rule_that_cannot_be_read_leaves_the_first_instance() {
        for rule in ["nonsense", "FREQ=SECONDLY", "FREQ=WEEKLY;BYDAY=XX"] {
            let extraction = run(&calendar(&[&format!("UID:d\nSUMMARY:x\nDTSTART:20260401T100000\nRRULE:{rule}")]));
            assert_eq!(shown(&extraction), ["d/20260401T100000 2026-04-01T10:00:00-07:00"], "{rule}");
            assert_eq!(codes(&extraction.failures), [DeadLetterCode::InvalidField], "{rule}");
        }
    }

    #[test]
    fn one_bad_event_does_not_take_the_others_with_it() {
        let text = calendar(&[
            "UID:1\nSUMMARY:good\nDTSTART:20260401",
            "UID:2\nDTSTART:20260401",
            "UID:3\nSUMMARY:x",
            "UID:4\nSUMMARY:x\nDTSTART:tomorrow",
            "UID:5\nSUMMARY:x\nDTSTART:10260401",
            "UID:6\nSUMMARY:x\nDTSTART:20260231",
        ]);
        let extraction = run(&text);
        assert_eq!(shown(&extraction), ["1 2026-04-01"]);
        let (missing, invalid) = (DeadLetterCode::MissingField, DeadLetterCode::InvalidField);
        assert_eq!(codes(&extraction.failures), [missing, missing, invalid, invalid, invalid]);
        assert_eq!(extraction.failures[1].part.as_deref(), Some("3"));
        assert_eq!(extraction.failures[1].bytes, b"BEGIN:VEVENT\r\nUID:3\r\nSUMMARY:x\r\nEND:VEVENT\r\n");
        let kept = extraction.document.unwrap().kept;
        assert_eq!(kept, ["2", "3", "4", "6", "5"].map(|id| ListingId::of("s", id)));
    }

    #[test]
    fn malformed_calendars_of_the_real_world() {
        let event = "BEGIN:VEVENT\nUID:1\nSUMMARY:x\nDTSTART:20260401\n";
        for (text, expected) in [
            // Without END:VEVENT, twice.
            (format!("BEGIN:VCALENDAR\n{event}{}END:VCALENDAR\n", event.replace("UID:1", "UID:2")), vec!["1", "2"]),
            // An alarm without its end.
            (
                format!(
                    "BEGIN:VCALENDAR\n{event}BEGIN:VALARM\nEND:VEVENT\n{}END:VEVENT\nEND:VCALENDAR\n",
                    event.replace("UID:1", "UID:2")
                ),
                vec!["1", "2"],
            ),
            // No VCALENDAR around it; a byte order mark; lower case; raw text between the lines.
            (format!("{event}END:VEVENT\n"), vec!["1"]),
            (format!("\u{feff}BEGIN:VCALENDAR\n{event}END:VEVENT\nEND:VCALENDAR"), vec!["1"]),
            (
                format!("begin:vcalendar\n{}end:vevent\nend:vcalendar", event.replace("BEGIN:VEVENT", "begin:vevent")),
                vec!["1"],
            ),
            (
                format!("BEGIN:VCALENDAR\n{event}DESCRIPTION:one\ntwo\n\nthree: four\nEND:VEVENT\nEND:VCALENDAR"),
                vec!["1"],
            ),
            ("BEGIN:VCALENDAR\nEND:VCALENDAR\n".to_owned(), vec![]),
        ] {
            for bytes in [text.clone().into_bytes(), text.replace('\n', "\r\n").into_bytes()] {
                let extraction = run_bytes(&bytes);
                let ids: Vec<String> = extraction
                    .document
                    .iter()
                    .flat_map(|document| &document.listings)
                    .map(|found| found.listing.external_id.to_string())
                    .collect();
                assert_eq!(
                    (ids, extraction.failures.len()),
                    (expected.iter().map(ToString::to_string).collect(), 0),
                    "{text}"
                );
            }
        }
        for text in ["<!DOCTYPE html>", "hello", "BEGIN:VCARD\nEND:VCARD"] {
            let extraction = run(text);
            assert_eq!(
                (extraction.document.is_none(), codes(&extraction.failures)),
                (true, vec![DeadLetterCode::Malformed])
            );
        }
    }

    #[test]
    fn a_calendar_that_is_cut_off_withdraws_nothing() {
        let extraction = run("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nSUMMARY:x\nDTSTART:20260401\n");
        assert_eq!(codes(&extraction.failures), [DeadLetterCode::Malformed]);
        let document = extraction.document.unwrap();
        assert_eq!((document.id, document.listings.len()), (None, 1));
    }

    #[test]
    fn text_is_decoded_after_unfolding() {
        let folded =
            b"BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:caf\xC3\r\n \xA9 cl\r\n\t\xC3\xA9\r\nDTSTART:20260401\r\nEND:VEVENT\r\n";
        let latin = b"BEGIN:VEVENT\nUID:1\nSUMMARY:caf\xE9 \x93cl\xE9\x94\nDTSTART:20260401\nEND:VEVENT\n";
        for (bytes, expected) in [(&folded[..], "café clé"), (&latin[..], "café “clé”")] {
            let listings = run_bytes(bytes).document.unwrap().listings;
            assert_eq!(listings[0].listing.title, expected);
        }
    }

    #[test]
    fn one_uid_for_events_at_two_places_makes_two_listings() {
        let event = |place: &str, time: &str, more: &str| {
            format!("UID:a\nSUMMARY:Reading\nDTSTART:20260401T{time}\nLOCATION:{place}{more}")
        };
        let north = event("North Library", "100000", "");
        let at = |events: &[&str]| shown(&run(&calendar(events)));
        let south = event("South Library", "100000", "");
        let both = ["a 2026-04-01T10:00:00-07:00", "a~2 2026-04-01T10:00:00-07:00"];
        let mut found = at(&[&north, &south]);
        found.sort();
        assert_eq!(found, both);
        assert_eq!(at(&[&north, &event("North Library", "110000", "")]).len(), 2);
        assert_eq!(at(&[&north, &north]).len(), 1);
        assert_eq!(at(&[&north, &event("South Library", "100000", "\nSEQUENCE:1")]), both[..1]);
    }

    #[test]
    fn an_event_without_uid_gets_a_steady_one() {
        let id = |title: &str| one(&format!("SUMMARY:{title}\nDTSTART:20260401")).external_id;
        assert_eq!(id("x"), id("x"));
        assert_ne!(id("x"), id("y"));
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = "BEGIN:X\n".repeat(50);
        let text =
            calendar(&[&format!("UID:1\nSUMMARY:x\nDTSTART:20260401\n{deep}"), "UID:2\nSUMMARY:x\nDTSTART:20260401"]);
        let extraction = run(&text);
        assert_eq!(codes(&extraction.failures), [DeadLetterCode::NestedTooDeeply]);
        assert_eq!(shown(&extraction), ["2 2026-04-01"]);
    }

    #[test]
    fn a_cancelling_calendar_cancels_its_events() {
        let text = calendar(&["UID:1\nSUMMARY:x\nDTSTART:20260401"]).replace("VERSION:2.0", "METHOD:CANCEL");
        assert_eq!(run(&text).document.unwrap().listings[0].listing.status, Status::Cancelled);
    }
}
