//! Zones that a calendar defines: VTIMEZONE (RFC 5545, 3.6.5).
//!
//! The instants at which clocks change are worked out from all observances, whatever form they have: a rule,
//! possibly ended by UNTIL; dates (RDATE); one observance for each year. Where a zone of the tz database is
//! known by the name and agrees with that, it stands in: it knows of the years before and after too. Where
//! it does not agree, the calendar is obeyed.

use std::cell::RefCell;
use std::collections::HashSet;

use calcard::icalendar::{ICalendarComponent, ICalendarComponentType, ICalendarProperty, ICalendarValue};
use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::Offset;
use xxhash_rust::xxh3::xxh3_128;

use super::super::recurrence::{Series, civil};
use super::super::zone::Zone;
use super::lines::joined;
use super::values::parse_component;

/// A zone, and what the calendar calls it.
pub(super) type Defined = (String, Zone);

/// Definitions that are remembered; feeds send the same few with every record.
const MAX_REMEMBERED: usize = 256;

/// What working out one definition may cost, in steps of its rules.
const MAX_STEPS: u64 = 20_000;

/// Changes of clocks that one definition may have.
const MAX_CHANGES: usize = 1_000;

/// The year from which on a zone of the tz database has to agree with a definition.
const AGREES_FROM: i16 = 2015;

/// The last year for which changes are worked out. What comes later has the offset of its end.
const LAST_YEAR: i16 = 2100;

/// The zone that the bytes of a VTIMEZONE define.
pub(super) fn defined_zone(bytes: &[u8]) -> Option<Defined> {
    thread_local! {
        static REMEMBERED: RefCell<foldhash::HashMap<u128, Option<Defined>>> = RefCell::default();
    }
    REMEMBERED.with_borrow_mut(|remembered| {
        let hash = xxh3_128(bytes);
        if let Some(known) = remembered.get(&hash) {
            return known.clone();
        }
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        let defined = work_out(&parse_component(&joined(bytes)));
        remembered.insert(hash, defined.clone());
        defined
    })
}

fn work_out(components: &[ICalendarComponent]) -> Option<Defined> {
    let zone = components.first()?;
    let id = zone.property(&ICalendarProperty::Tzid)?.values.first()?.as_text()?.to_owned();
    let named = Zone::resolve(&id).or_else(|| zone.timezone().and_then(|(_, hint)| Zone::resolve(&hint.name()?)));
    let definition = Definition::of(components.get(1..).unwrap_or_default());
    let zone = match (named, definition) {
        (Some(named), Some(definition)) if !definition.agrees_with(&named, &id) => definition.zone()?,
        (Some(named), _) => named,
        (None, definition) => definition?.zone()?,
    };
    Some((id, zone))
}

/// When clocks change, and to which offset, in seconds.
struct Definition {
    /// The offset before all changes.
    first: i32,
    changes: Vec<(i64, i32)>,
    /// Whether a rule goes on for ever.
    goes_on: bool,
}

impl Definition {
    fn of(components: &[ICalendarComponent]) -> Option<Self> {
        let mut budget = MAX_STEPS;
        let mut definition = Self { first: 0, changes: Vec::new(), goes_on: false };
        let mut earliest = None;
        for observance in components.iter().filter_map(Observance::read) {
            for onset in observance.onsets(&mut budget) {
                let Ok(offset) = Offset::from_seconds(observance.from) else { continue };
                let Ok(at) = offset.to_timestamp(onset) else { continue };
                definition.changes.push((at.as_second(), observance.to));
                if earliest.is_none_or(|(earliest, _)| at.as_second() < earliest) {
                    earliest = Some((at.as_second(), observance.from));
                }
            }
            definition.goes_on |= observance.goes_on();
        }
        definition.first = earliest?.1;
        definition.changes.sort_unstable();
        definition.changes.dedup_by_key(|(at, _)| *at);
        Some(definition)
    }

    fn zone(&self) -> Option<Zone> {
        Zone::of_transitions(self.first, &self.changes, None)
    }

    /// Whether clocks in `named` show the same wherever the definition says something.
    fn agrees_with(&self, named: &Zone, id: &str) -> bool {
        let Some(own) = self.zone() else { return true };
        let begin = seconds(date(AGREES_FROM, 1, 1).at(0, 0, 0, 0));
        let (Some((first, _)), Some((last, _))) = (self.changes.first(), self.changes.last()) else { return true };
        // A place of the tz database with one observance alone: the others were left out.
        let open = self.goes_on || (self.changes.len() == 1 && !is_place(id));
        let end = if open { seconds(date(2037, 12, 31).at(0, 0, 0, 0)) } else { last + 90 * DAY };
        let begin = begin.max(*first);
        // Around the changes themselves exporters are often some hours off, and hardly anything begins then.
        let around = self.changes.iter().flat_map(|(at, _)| [at - SETTLED, at + SETTLED]);
        let monthly = (0..).map(|month| begin + month * 30 * DAY).take_while(|at| *at <= end);
        let settled = |at: &i64| self.changes.iter().all(|(change, _)| (at - change).abs() >= SETTLED);
        around
            .chain(monthly)
            .filter(|at| (begin..=end).contains(at) && settled(at))
            .all(|at| Timestamp::from_second(at).is_ok_and(|at| own.offset_at(at) == named.offset_at(at)))
    }
}

const DAY: i64 = 86_400;

/// How long after a change clocks are certain to have changed.
const SETTLED: i64 = 2 * DAY;

fn seconds(at: DateTime) -> i64 {
    Offset::UTC.to_timestamp(at).map_or(0, Timestamp::as_second)
}

/// Whether a name is one of a place in the tz database, such as `Europe/Rome`.
fn is_place(id: &str) -> bool {
    id.contains('/') && jiff::tz::TimeZone::get(id).is_ok()
}

/// A STANDARD or DAYLIGHT part of a zone.
struct Observance<'c> {
    component: &'c ICalendarComponent,
    start: DateTime,
    /// Seconds east of Greenwich before and after each onset.
    from: i32,
    to: i32,
}

impl<'c> Observance<'c> {
    fn read(component: &'c ICalendarComponent) -> Option<Self> {
        use ICalendarComponentType::{Daylight, Standard};
        if !matches!(component.component_type, Standard | Daylight) {
            return None;
        }
        let value = |name| match component.property(&name).and_then(|entry| entry.values.first()) {
            Some(ICalendarValue::PartialDateTime(value)) => Some(value),
            _ => None,
        };
        let offset = |name| {
            let offset = value(name)?;
            let seconds = i32::from(offset.tz_hour?) * 3600 + i32::from(offset.tz_minute.unwrap_or(0)) * 60;
            Some(if offset.tz_minus { -seconds } else { seconds })
        };
        let to = offset(ICalendarProperty::Tzoffsetto)?;
        let (day, time) = civil(value(ICalendarProperty::Dtstart)?)?;
        let from = offset(ICalendarProperty::Tzoffsetfrom).unwrap_or(to);
        Some(Self { component, start: day.to_datetime(time.unwrap_or_default()), from, to })
    }

    fn values(&self, name: &ICalendarProperty) -> impl Iterator<Item = &'c ICalendarValue> {
        self.component.entries.iter().filter(move |entry| entry.name == *name).flat_map(|entry| &entry.values)
    }

    fn goes_on(&self) -> bool {
        self.values(&ICalendarProperty::Rrule).any(|value| match value {
            ICalendarValue::RecurrenceRule(rule) => rule.until.is_none() && rule.count.is_none(),
            _ => false,
        })
    }

    /// When it begins each time, on the clock before.
    fn onsets(&self, budget: &mut u64) -> Vec<DateTime> {
        let rules: Vec<_> = self
            .values(&ICalendarProperty::Rrule)
            .filter_map(|value| match value {
                ICalendarValue::RecurrenceRule(rule) => Some(rule),
                _ => None,
            })
            .map(|rule| ((**rule).clone(), rule.until.as_ref().and_then(|until| self.last(until))))
            .collect();
        let extra: Vec<DateTime> = self
            .values(&ICalendarProperty::Rdate)
            .filter_map(|value| match value {
                ICalendarValue::PartialDateTime(value) => civil(value),
                _ => None,
            })
            .map(|(day, time)| day.to_datetime(time.unwrap_or(self.start.time())))
            .collect();
        let none = HashSet::new();
        Series {
            start: self.start,
            starts: true,
            rules: &rules,
            excluding: &[],
            extra: &extra,
            excluded: &none,
            excluded_days: &HashSet::new(),
            from: self.start.min(date(AGREES_FROM, 1, 1).at(0, 0, 0, 0)),
            to: date(LAST_YEAR, 1, 1).at(0, 0, 0, 0),
            max: MAX_CHANGES,
        }
        .expand(budget)
        .instants
    }

    /// The last onset of a rule: UNTIL is in UTC.
    fn last(&self, until: &calcard::common::PartialDateTime) -> Option<DateTime> {
        let (day, time) = civil(until)?;
        let Some(time) = time else { return Some(day.at(23, 59, 59, 0)) };
        let local = day.to_datetime(time);
        match until.tz_hour {
            Some(_) => local.checked_add(jiff::SignedDuration::from_secs(self.from.into())).ok(),
            None => Some(local),
        }
    }
}
