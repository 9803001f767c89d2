//! What holds for all events of a calendar: its zones, and how its times are read.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;

use calcard::common::PartialDateTime;
use calcard::icalendar::{ICalendarEntry, ICalendarPeriod, ICalendarValue};
use jiff::tz::Offset;

use super::super::encoding::guessed;
use super::super::problem::Problem;
use super::super::record::{Output, Record, cut};
use super::super::recurrence::civil;
use super::super::when::{self, When};
use super::super::zone::Zone;
use super::lines::without_end;
use super::scan::Components;
use super::time::{End, Form, Time};
use super::zones::defined_zone;

/// Unknown zones of one calendar that are told one by one.
const MAX_UNKNOWN: usize = 4;

/// What holds for all events of a calendar.
pub(super) struct Calendar<'a> {
    pub(super) record: &'a Record<'a>,
    /// Of times without one.
    pub(super) zone: Zone,
    /// Zones that the record defines, by the names that it gives them.
    defined: HashMap<String, Zone>,
    /// Names that were looked up before: every event names its zone twice.
    known: RefCell<HashMap<String, Option<Zone>>>,
    /// Zones that cannot be told, each with the part that names it first.
    unknown: RefCell<Vec<(String, &'a [u8])>>,
    /// The part that is being read.
    part: Cell<&'a [u8]>,
    pub(super) cancelled: bool,
}

impl<'a> Calendar<'a> {
    /// The calendar at `index` of all of a record. What another one defines is known as well.
    pub(super) fn new(record: &'a Record<'a>, all: &[Components], index: usize) -> Self {
        let mut calendar = Self {
            record,
            zone: record.source.zone.clone(),
            defined: HashMap::new(),
            known: RefCell::default(),
            unknown: RefCell::default(),
            part: Cell::new(&[]),
            cancelled: false,
        };
        let bytes = |range: &Range<usize>| record.bytes.get(range.clone()).unwrap_or_default();
        let own = all.get(index..=index).unwrap_or_default();
        for range in all.iter().chain(own).flat_map(|components| &components.zones) {
            if let Some((id, zone)) = defined_zone(bytes(range)) {
                calendar.defined.insert(id, zone);
            }
        }
        for range in own.iter().flat_map(|components| &components.properties) {
            calendar.read_property(bytes(range));
        }
        calendar
    }

    fn read_property(&mut self, line: &'a [u8]) {
        let text = guessed(without_end(line));
        let Some((name, value)) = property(&text) else { return };
        match name.to_ascii_uppercase().as_str() {
            "X-WR-TIMEZONE" | "TIMEZONE-ID" if !value.is_empty() => {
                self.part.set(line);
                let zone = self.named(value);
                self.zone = zone.unwrap_or(self.zone.clone());
            }
            "METHOD" => self.cancelled = value.eq_ignore_ascii_case("CANCEL"),
            _ => {}
        }
    }

    /// Says which part is being read, for what is told of it.
    pub(super) fn reads(&self, part: &'a [u8]) {
        self.part.set(part);
    }

    /// What the calendar calls `id`: what it defines itself, or else what is known by that name.
    fn named(&self, id: &str) -> Option<Zone> {
        if let Some(known) = self.known.borrow().get(id) {
            return known.clone();
        }
        let zone = self.defined.get(id).cloned().or_else(|| Zone::resolve(id));
        if zone.is_none() {
            self.unknown.borrow_mut().push((id.to_owned(), self.part.get()));
        }
        self.known.borrow_mut().insert(id.to_owned(), zone.clone());
        zone
    }

    /// Says which zones are not known. The events stay.
    pub(super) fn tell_unknown(&self, output: &mut Output) {
        let unknown = self.unknown.borrow();
        for (at, (name, part)) in unknown.iter().enumerate().take(MAX_UNKNOWN) {
            let more = unknown.len().saturating_sub(MAX_UNKNOWN);
            let others = if at + 1 == MAX_UNKNOWN && more > 0 { format!(", nor {more} others") } else { String::new() };
            let reason = format!(
                "there is no time zone {:?}{others}: such times were read in {}",
                cut(name, 80),
                self.zone.name().map_or("UTC", |name| name.as_str())
            );
            output.warn(Problem::new(crate::raw::code::UNKNOWN_TIMEZONE, reason), part);
        }
    }

    /// A date or time, read with the zone that its property names.
    pub(super) fn time(&self, value: &PartialDateTime, zone_id: Option<&str>) -> Option<Time> {
        let (date, time) = civil(value)?;
        let Some(time) = time else { return Some(self.day(date)) };
        let local = date.to_datetime(time);
        if let Some(hours) = value.tz_hour {
            let seconds = i32::from(hours) * 3600 + i32::from(value.tz_minute.unwrap_or(0)) * 60;
            let offset = Offset::from_seconds(if value.tz_minus { -seconds } else { seconds }).ok()?;
            return Some(Time::utc(offset.to_timestamp(local).ok()?));
        }
        Some(self.local(local, zone_id))
    }

    fn day(&self, date: jiff::civil::Date) -> Time {
        Time { form: Form::Day, local: date.into(), zone: self.zone.clone(), floating: false }
    }

    fn local(&self, local: jiff::civil::DateTime, zone_id: Option<&str>) -> Time {
        let named = zone_id.and_then(|id| self.named(id));
        let floating = named.is_none();
        Time { form: Form::Local, local, zone: named.unwrap_or_else(|| self.zone.clone()), floating }
    }

    /// All dates and times of an entry. What is written in the manner of ISO 8601 counts too.
    pub(super) fn times(&self, entry: &ICalendarEntry) -> Vec<Time> {
        self.periods(entry).into_iter().map(|(time, _)| time).collect()
    }

    /// All dates and times of an entry, with their ends where it gives periods.
    pub(super) fn periods(&self, entry: &ICalendarEntry) -> Vec<(Time, Option<End>)> {
        let zone = entry.tz_id();
        let read = |value: &ICalendarValue| match value {
            ICalendarValue::PartialDateTime(value) => Some((self.time(value, zone)?, None)),
            ICalendarValue::Period(ICalendarPeriod::Range { start, end }) => {
                Some((self.time(start, zone)?, self.time(end, zone).map(End::At)))
            }
            ICalendarValue::Period(ICalendarPeriod::Duration { start, duration }) => {
                Some((self.time(start, zone)?, Some(End::After(duration.clone()))))
            }
            ICalendarValue::Text(text) => Some((self.iso_time(text, zone)?, None)),
            _ => None,
        };
        entry.values.iter().filter_map(read).collect()
    }

    fn iso_time(&self, text: &str, zone_id: Option<&str>) -> Option<Time> {
        match when::iso8601(text)? {
            When::Days(date, _) => Some(self.day(date)),
            When::Local(local) => Some(self.local(local, zone_id)),
            When::Instant(instant, _) => Some(Time::utc(instant)),
        }
    }
}

/// Name and value of a line, without its parameters.
fn property(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_at(line.find([':', ';'])?);
    let mut quoted = false;
    let colon = rest.find(|c| {
        quoted ^= c == '"';
        c == ':' && !quoted
    })?;
    Some((name, rest.get(colon + 1..)?.trim().trim_matches('"').trim()))
}
