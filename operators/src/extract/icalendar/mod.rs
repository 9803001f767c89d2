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
//! - Times without a zone are in the calendar's (X-WR-TIMEZONE) or else in the source's; those that belong to
//!   a DTSTART (DTEND, EXDATE, RDATE, RECURRENCE-ID, UNTIL) are on its clock.
//! - A zone is what the record's VTIMEZONE says, or else what is known by its name. One that nobody knows is
//!   told, and its times are read like those without a zone.
//! - A record may hold several calendars, each with its own zone.
//! - An instance of a series is given where it has not ended before the horizon begins.
//! - A calendar that ends before END:VCALENDAR may be cut off: its events count, but nothing is
//!   withdrawn, and a dead letter tells of it.

mod calendar;
mod event;
mod lines;
mod scan;
mod series;
#[cfg(test)]
mod tests;
mod time;
mod values;
mod zones;

use std::collections::{BTreeSet, HashMap};

use self::calendar::Calendar;
use self::event::Event;
use self::scan::{Block, Scan};
use self::series::{Emission, Group};
use super::problem::Problem;
use super::record::{Output, Record};
use crate::raw::DeadLetterCode;

/// Changes whenever the same record would give other listings than before.
pub(super) const VERSION: u32 = 2;

/// Reads calendars.
pub(super) fn extract(record: &Record<'_>) -> Result<Output, Problem> {
    let scan = Scan::of(record.bytes);
    let total = scan.events();
    if total == 0 && !scan.calendar {
        return Err(Problem::new(DeadLetterCode::MALFORMED, not_a_calendar(record.bytes)));
    }
    let mut output = Output::default();
    let mut budget = record.limits.max_recurrence_steps;
    let mut room = record.limits.max_listings_per_record;
    for (index, components) in scan.calendars.iter().enumerate() {
        let calendar = Calendar::new(record, &scan.calendars, index);
        let events = components.events.get(..room.min(components.events.len())).unwrap_or_default();
        room -= events.len();
        read_events(&calendar, events, &mut budget, &mut output);
        calendar.tell_unknown(&mut output);
    }
    if total > record.limits.max_listings_per_record {
        let beyond = total - record.limits.max_listings_per_record;
        let reason = format!("{beyond} VEVENTs of {total} are beyond the limit, limits.max_listings_per_record");
        output.fail(record, Problem::new(crate::raw::code::TOO_MANY_LISTINGS, reason), None, record.bytes);
    }
    if scan.cut_off {
        let problem = Problem::new(DeadLetterCode::MALFORMED, "there is no END:VCALENDAR: nothing is withdrawn");
        let tail = record.bytes.get(record.bytes.len().saturating_sub(CUT_OFF_TAIL)..).unwrap_or_default();
        output.fail(record, problem, None, tail);
        output.cut_off = true;
    }
    Ok(output)
}

/// Reads the events of one calendar.
fn read_events(calendar: &Calendar<'_>, events: &[Block], budget: &mut u64, output: &mut Output) {
    let record = calendar.record;
    let mut groups: HashMap<String, Group<'_>> = HashMap::new();
    let mut order = Vec::new();
    for block in events {
        let bytes = record.bytes.get(block.range.clone()).unwrap_or_default();
        calendar.reads(bytes);
        match Event::read(calendar, block, bytes) {
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
    let mut emission = Emission { calendar, budget, output, told: BTreeSet::new() };
    for uid in &order {
        if let Some(group) = groups.remove(uid) {
            group.emit(&mut emission);
        }
    }
}

/// What bytes without a calendar seem to be.
fn not_a_calendar(bytes: &[u8]) -> String {
    let head = bytes.trim_ascii_start();
    let html = [&b"<!doctype"[..], b"<html"]
        .iter()
        .any(|tag| head.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag)));
    let page = if html { ": it is an HTML page" } else { "" };
    format!("there is neither a VCALENDAR nor a VEVENT{page}")
}

/// How much of the end of a calendar that is cut off goes into its dead letter, in bytes.
const CUT_OFF_TAIL: usize = 1024;
