//! Times of events, of series and of what belongs to them.

use super::{calendar, one, run, run_bytes, shown};
use crate::extract::SourceConfig;
use crate::extract::test_support::{NOW_MS, codes, extract_with, raw};
use crate::raw::DeadLetterCode;

/// What a calendar of one event gives.
fn of(event: &str) -> Vec<String> {
    let extraction = run(&calendar(&[event]));
    assert_eq!(extraction.failures, [], "{event}");
    shown(&extraction)
}

#[test]
fn what_belongs_to_a_start_is_on_its_clock() {
    assert_eq!(
        of("UID:a\nSUMMARY:Loom\nDTSTART;TZID=Asia/Tokyo:20260401T100000\nDTEND:20260401T120000"),
        ["a 2026-04-01T10:00:00+09:00 2026-04-01T12:00:00+09:00"]
    );
    assert_eq!(
        of("UID:a\nSUMMARY:Loom\nDTSTART:20260401T100000Z\nDTEND:20260401T120000"),
        ["a 2026-04-01T03:00:00-07:00 2026-04-01T05:00:00-07:00"]
    );
    assert_eq!(
        of("UID:b\nSUMMARY:Loom\nDTSTART;TZID=Europe/Madrid:20260401T100000\nDURATION:PT1H\n\
            RRULE:FREQ=DAILY;UNTIL=20260404T100000\nEXDATE:20260402T100000\nRDATE:20260410T180000"),
        [
            "b/20260401T100000 2026-04-01T10:00:00+02:00 2026-04-01T11:00:00+02:00",
            "b/20260403T100000 2026-04-03T10:00:00+02:00 2026-04-03T11:00:00+02:00",
            "b/20260404T100000 2026-04-04T10:00:00+02:00 2026-04-04T11:00:00+02:00",
            "b/20260410T180000 2026-04-10T18:00:00+02:00 2026-04-10T19:00:00+02:00",
        ]
    );
    let series = "UID:c\nSUMMARY:Loom\nDTSTART;TZID=Europe/Madrid:20260401T100000\nRRULE:FREQ=DAILY;COUNT=2";
    let moved = "UID:c\nSUMMARY:Late loom\nRECURRENCE-ID:20260402T100000\nDTSTART;TZID=Europe/Madrid:20260402T150000";
    assert_eq!(
        shown(&run(&calendar(&[series, moved]))),
        ["c/20260401T100000 2026-04-01T10:00:00+02:00", "c/20260402T100000 2026-04-02T15:00:00+02:00"]
    );
    assert_eq!(shown(&run(&calendar(&[moved]))), ["c/20260402T100000 2026-04-02T15:00:00+02:00"]);
}

#[test]
fn an_hour_that_clocks_skip_is_as_long_as_any() {
    // Clocks in Madrid are put forward from 2:00 to 3:00 on 2026-03-29.
    for (end, ends) in
        [("DTEND:20260328T033000", "04:30"), ("DTEND:20260328T030000", "04:00"), ("DURATION:PT1H", "04:30")]
    {
        let start = "DTSTART;TZID=Europe/Madrid:20260328T023000";
        let nights = of(&format!("UID:n\nSUMMARY:Loom\n{start}\n{end}\nRRULE:FREQ=DAILY;COUNT=2"));
        let skipped = format!("n/20260329T023000 2026-03-29T03:30:00+02:00 2026-03-29T{ends}:00+02:00");
        assert_eq!(nights[1], skipped, "{end}");
    }
}

/// Ids of what a daily series of days gives, in a calendar of this zone.
fn days(zone: &str, more: &str) -> Vec<String> {
    let event = format!("UID:d\nSUMMARY:Fair\nDTSTART;VALUE=DATE:20260401\nRRULE:FREQ=DAILY;{more}");
    let text = calendar(&[&event]).replace("VERSION:2.0", &format!("X-WR-TIMEZONE:{zone}"));
    let extraction = extract_with(SourceConfig::default(), raw("text/calendar", text.as_bytes()));
    shown(&extraction).iter().map(|line| line.split(' ').next_back().unwrap()[8..].to_owned()).collect()
}

#[test]
fn days_are_meant_by_the_midnights_that_stand_for_them() {
    for (zone, more, expected) in [
        ("Europe/Rome", "UNTIL=20260402T220000Z", "01 02 03"),
        ("", "UNTIL=20260402T220000Z", "01 02 03"),
        ("Europe/Rome", "UNTIL=20260403T000000Z", "01 02 03"),
        ("Europe/Rome", "UNTIL=20260403T235959Z", "01 02 03"),
        ("America/Denver", "UNTIL=20260403T060000Z", "01 02 03"),
        ("America/Denver", "UNTIL=20260404T055959Z", "01 02 03"),
        ("", "UNTIL=20260403T060000Z", "01 02 03"),
        ("Europe/Rome", "COUNT=3\nEXDATE:20260401T220000Z", "01 03"),
        ("", "COUNT=3\nEXDATE:20260401T230000Z", "01 03"),
        ("America/Denver", "COUNT=3\nEXDATE:20260402T060000Z", "01 03"),
        ("Europe/Rome", "COUNT=3\nEXDATE;TZID=America/Denver:20260402T000000", "01 03"),
        ("Europe/Rome", "COUNT=3\nEXDATE:20260402T000000", "01 03"),
    ] {
        assert_eq!(days(zone, more).join(" "), expected, "{zone} {more}");
    }
}

#[test]
fn all_day_midnights_in_utc_are_days_of_the_zone() {
    let event =
        "UID:d\nSUMMARY:Fair\nDTSTART:20260401T070000Z\nDTEND:20260402T070000Z\nX-MICROSOFT-CDO-ALLDAYEVENT:TRUE";
    assert_eq!(of(event), ["d 2026-04-01 2026-04-01"]);
}

#[test]
fn exrule_leaves_out_what_it_names() {
    let rule = "UID:e\nSUMMARY:Loom\nDTSTART:20260401T100000\nRRULE:FREQ=DAILY;COUNT=6\nEXRULE:FREQ=DAILY;INTERVAL=2";
    assert_eq!(
        of(rule),
        [
            "e/20260402T100000 2026-04-02T10:00:00-07:00",
            "e/20260404T100000 2026-04-04T10:00:00-07:00",
            "e/20260406T100000 2026-04-06T10:00:00-07:00"
        ]
    );
    let refused = run(&calendar(&[&rule.replace("FREQ=DAILY;INTERVAL=2", "FREQ=SECONDLY")]));
    assert_eq!(codes(&refused.failures), [DeadLetterCode::INVALID_FIELD]);
}

#[test]
fn periods_have_ends_of_their_own() {
    assert_eq!(
        of("UID:p\nSUMMARY:Loom\nDTSTART:20260401T100000\nDTEND:20260401T110000\n\
            RDATE;VALUE=PERIOD:20260402T100000/20260402T153000,20260403T090000/PT45M"),
        [
            "p/20260401T100000 2026-04-01T10:00:00-07:00 2026-04-01T11:00:00-07:00",
            "p/20260402T100000 2026-04-02T10:00:00-07:00 2026-04-02T15:30:00-07:00",
            "p/20260403T090000 2026-04-03T09:00:00-07:00 2026-04-03T09:45:00-07:00",
        ]
    );
}

#[test]
fn ordinals_count_only_within_months_and_years() {
    let starts = |rule: &str| {
        of(&format!("UID:o\nSUMMARY:Loom\nDTSTART:20260401T100000\nRRULE:{rule}"))
            .iter()
            .map(|line| line.split(' ').nth(1).unwrap()[5..10].to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(starts("FREQ=WEEKLY;BYDAY=1WE;COUNT=3"), "04-01 04-08 04-15");
    assert_eq!(starts("FREQ=WEEKLY;BYDAY=1WE,FR;COUNT=3"), "04-01 04-03 04-08");
    assert_eq!(starts("FREQ=DAILY;BYDAY=-1WE,2WE;COUNT=3"), "04-01 04-08 04-15");
    assert_eq!(starts("FREQ=MONTHLY;BYDAY=1WE;COUNT=3"), "04-01 05-06 06-03");
    assert_eq!(starts("FREQ=MINUTELY;INTERVAL=45;COUNT=3"), "04-01 04-01 04-01");
}

#[test]
fn what_is_under_way_is_given() {
    let day = |days: i64| {
        let at = jiff::Timestamp::from_millisecond(NOW_MS + days * crate::moment::DAY_MS).unwrap();
        at.strftime("%Y%m%d").to_string()
    };
    let run_of = |start: i64, end: i64, rule: &str| {
        let (start, end) = (day(start), day(end));
        of(&format!("UID:u\nSUMMARY:Clocks\nDTSTART;VALUE=DATE:{start}\nDTEND;VALUE=DATE:{end}\nRRULE:{rule}")).len()
    };
    assert_eq!(run_of(-90, 30, "FREQ=YEARLY"), 2);
    assert_eq!(run_of(-365 - 90, -365 + 30, "FREQ=YEARLY"), 2);
    assert_eq!(run_of(-90, -40, "FREQ=YEARLY"), 1, "over before the horizon");
    assert_eq!(run_of(-90, 30, "FREQ=DAILY;UNTIL=20260101"), 1, "the last of instances that overlap");
    let (start, end) = (day(-60), day(10));
    let moved = format!(
        "UID:m\nSUMMARY:Clocks\nRECURRENCE-ID;VALUE=DATE:{start}\nDTSTART;VALUE=DATE:{start}\nDTEND;VALUE=DATE:{end}"
    );
    assert_eq!(of(&moved).len(), 1);
}

#[test]
fn an_exclusion_newer_than_a_change_wins() {
    let series = |more: &str| {
        format!(
            "UID:x\nSUMMARY:Loom\nDTSTART:20260401T100000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260402T100000\n{more}"
        )
    };
    let change = |more: &str| {
        format!("UID:x\nSUMMARY:Long loom\nRECURRENCE-ID:20260402T100000\nDTSTART:20260402T100000\n{more}")
    };
    let ids = |series: &str, change: &str| shown(&run(&calendar(&[series, change]))).len();
    assert_eq!(ids(&series("SEQUENCE:2"), &change("SEQUENCE:1")), 2);
    assert_eq!(ids(&series("LAST-MODIFIED:20260102T000000Z"), &change("LAST-MODIFIED:20260101T000000Z")), 2);
    assert_eq!(ids(&series("SEQUENCE:1"), &change("SEQUENCE:1")), 3, "moved: excluded and described by itself");
    assert_eq!(ids(&series("SEQUENCE:1"), &change("SEQUENCE:2")), 3);
    let beyond = change("SEQUENCE:1").replace("RECURRENCE-ID:20260402", "RECURRENCE-ID:20260420");
    assert_eq!(ids(&series("SEQUENCE:2"), &beyond), 2, "the series ends before");
}

#[test]
fn no_event_ends_before_it_begins() {
    let end = |start: &str, end: &str| {
        let listing =
            one(&format!("UID:n\nSUMMARY:Loom\nDTSTART;TZID=Europe/Lisbon:{start}\nDTEND;TZID=Europe/Lisbon:{end}"));
        listing.end.map(|end| end.to_string())
    };
    assert_eq!(end("20260401T220000", "20260401T020000").as_deref(), Some("2026-04-02T02:00:00+01:00"));
    assert_eq!(end("20261024T230000", "20261024T030000").as_deref(), Some("2026-10-25T03:00:00+00:00"));
    assert_eq!(end("20260401T200000", "20260401T000000").as_deref(), Some("2026-04-02T00:00:00+01:00"));
    assert_eq!(end("20260401T150000", "20260401T000000"), None, "the end is not known");
    assert_eq!(end("20260401T193000", "20260401T183000"), None);
    assert_eq!(end("20260401T220000", "20260331T230000"), None);
    assert_eq!(end("20260401", "20260320"), None);
}

#[test]
fn events_of_one_uid_with_other_titles_and_times_are_others() {
    let event = |title: &str, day: u8| {
        format!("UID:s\nSUMMARY:{title}\nDTSTART:202604{day:02}T100000\nLAST-MODIFIED:202601{day:02}T000000Z")
    };
    assert_eq!(shown(&run(&calendar(&[&event("Loom", 1), &event("Spindle", 2), &event("Dye", 3)]))).len(), 3);
    assert_eq!(shown(&run(&calendar(&[&event("Loom", 1), &event("Loom", 2)]))).len(), 1, "moved");
}

#[test]
fn lines_may_end_in_carriage_returns_alone() {
    let text = calendar(&["UID:1\nSUMMARY:Loom\nDTSTART:20260401", "UID:2\nSUMMARY:Dye\nDTSTART:20260402"]);
    assert_eq!(shown(&run_bytes(text.replace('\n', "\r").as_bytes())), ["1 2026-04-01", "2 2026-04-02"]);
}

#[test]
fn paragraphs_that_are_not_folded_are_kept() {
    let listing = one(
        "UID:1\nSUMMARY:Loom\nDESCRIPTION:Bring yarn.\n\nDoors: at nine\nDTSTART:20260401\nLOCATION:Mill\nWeir Lane 3",
    );
    assert_eq!(listing.description.as_deref(), Some("Bring yarn.\n\nDoors: at nine"));
    assert_eq!(listing.venue.name.as_deref(), Some("Mill"));
}

#[test]
fn phones_say_where_in_a_property_of_their_own() {
    let listing = one("UID:1\nSUMMARY:Loom\nDTSTART:20260401\nLOCATION:Mill\n\
         X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE=Weir Lane 3\nGhent\nBelgium:geo:51.05,3.72");
    assert_eq!(listing.venue.geo.unwrap().point.latitude(), 51.05);
    let both =
        one("UID:1\nSUMMARY:Loom\nDTSTART:20260401\nGEO:1;2\nX-APPLE-STRUCTURED-LOCATION;VALUE=URI:geo:51.05,3.72");
    assert_eq!(both.venue.geo.unwrap().point.latitude(), 1.0);
}
