//! Zones that a calendar defines: VTIMEZONE.

use calcard::icalendar::{
    ICalendarComponent, ICalendarComponentType, ICalendarProperty, ICalendarRecurrenceRule, ICalendarValue,
};
use jiff::civil::Date;

use super::super::recurrence::civil;
use super::super::zone::Zone;

/// A zone that a VTIMEZONE defines: by hints at its real name, or by its rules.
pub(super) fn defined_zone(components: &[ICalendarComponent]) -> Option<(String, Zone)> {
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
