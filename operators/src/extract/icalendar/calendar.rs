//! What holds for all events of a calendar: its zones, and how its times are read.

use std::cell::RefCell;
use std::collections::HashMap;

use calcard::common::PartialDateTime;
use calcard::icalendar::{ICalendarEntry, ICalendarPeriod, ICalendarValue};
use jiff::tz::Offset;

use super::super::record::Record;
use super::super::recurrence::civil;
use super::super::when::{self, When};
use super::super::zone::Zone;
use super::scan::Scan;
use super::time::{Form, Time};
use super::values::{decode, parse_component};
use super::zones::defined_zone;

/// What holds for all events of a calendar.
pub(super) struct Calendar<'a> {
    pub(super) record: &'a Record<'a>,
    /// Of times without one.
    pub(super) zone: Zone,
    /// Zones that the calendar defines under names that say nothing by themselves.
    pub(super) defined: HashMap<String, Zone>,
    /// Names that were looked up before: every event names its zone twice.
    pub(super) known: RefCell<HashMap<String, Option<Zone>>>,
    pub(super) cancelled: bool,
}

impl<'a> Calendar<'a> {
    pub(super) fn new(record: &'a Record<'a>, scan: &Scan) -> Self {
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
    pub(super) fn time(&self, value: &PartialDateTime, zone_id: Option<&str>) -> Option<Time> {
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
    pub(super) fn times(&self, entry: &ICalendarEntry) -> Vec<Time> {
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
