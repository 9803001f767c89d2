//! Whole calendars, read.

mod times;
mod zones;

use crate::extract::test_support::{NOW_MS, codes, extract_with, raw};
use crate::extract::{ExtractConfig, Extraction, Limits, SourceConfig};
use crate::ids::ListingId;
use crate::listing::{Listing, Status};
use crate::moment::DAY_MS;
use crate::raw::DeadLetterCode;

pub(super) fn run(text: &str) -> Extraction {
    run_bytes(text.replace('\n', "\r\n").as_bytes())
}

pub(super) fn run_bytes(bytes: &[u8]) -> Extraction {
    let config = SourceConfig { timezone: Some("America/Los_Angeles".into()), ..SourceConfig::default() };
    extract_with(config, raw("text/calendar; charset=utf-8", bytes))
}

pub(super) fn calendar(events: &[&str]) -> String {
    let events: String = events.iter().map(|event| format!("BEGIN:VEVENT\n{event}\nEND:VEVENT\n")).collect();
    format!("BEGIN:VCALENDAR\nVERSION:2.0\n{events}END:VCALENDAR\n")
}

pub(super) fn one(event: &str) -> Listing {
    let extraction = run(&calendar(&[event]));
    assert_eq!(extraction.failures, [], "{event}");
    let mut listings = extraction.document.unwrap().listings;
    assert_eq!(listings.len(), 1, "{event}");
    listings.remove(0).listing
}

/// Ids, begins and ends.
pub(super) fn shown(extraction: &Extraction) -> Vec<String> {
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
        ("DTSTART;VALUE=DATE:20260328", "2026-03-28"),
        ("DTSTART:20260328", "2026-03-28"),
        ("DTSTART:2026-03-28T19:30:00", "2026-03-28T19:30:00-07:00"),
        ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260330", "2026-03-28 2026-03-29"),
        ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260329", "2026-03-28 2026-03-28"),
        ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260328", "2026-03-28 2026-03-28"),
        ("DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260320", "2026-03-28"),
        ("DTSTART;VALUE=DATE:20260328\nDURATION:P2D", "2026-03-28 2026-03-29"),
        ("DTSTART:20260307T230000\nDURATION:PT4H", "2026-03-07T23:00:00-08:00 2026-03-08T03:00:00-08:00"),
        ("DTSTART:20260307T230000\nDURATION:P1D", "2026-03-07T23:00:00-08:00 2026-03-08T23:00:00-07:00"),
        ("DTSTART:20260328T193000\nDTEND:junk", "2026-03-28T19:30:00-07:00"),
        ("DTSTART:20260328T193000\nDTEND:20260328T183000", "2026-03-28T19:30:00-07:00"),
        ("DTSTART:20260328T000000\nDTEND:20260329T000000\nX-MICROSOFT-CDO-ALLDAYEVENT:TRUE", "2026-03-28 2026-03-28"),
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
    let moved =
        "UID:s\nSUMMARY:Late talk\nRECURRENCE-ID:20260403T020000Z\nDTSTART;TZID=America/Los_Angeles:20260402T210000";
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
    assert_eq!(codes(&run(&calendar(&[untitled])).failures), [DeadLetterCode::MISSING_FIELD]);
}

#[test]
fn the_horizon_is_relative_to_the_record() {
    let daily = calendar(&["UID:d\nSUMMARY:x\nDTSTART;VALUE=DATE:20100101\nRRULE:FREQ=DAILY"]);
    let config = ExtractConfig {
        limits: Limits { horizon_past_days: 1, horizon_future_days: 2, ..Limits::default() },
        ..ExtractConfig::default()
    };
    let extractor = crate::extract::test_support::extractor(config);
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
    let extraction = crate::extract::test_support::extractor(config).extract(raw("text/calendar", text.as_bytes()));
    assert_eq!(
        shown(&extraction),
        ["d/20260401 2026-04-01", "d/20260402 2026-04-02", "d/20260403 2026-04-03", "e 2026-04-01"]
    );
    assert_eq!(codes(&extraction.failures), [crate::raw::code::TOO_MANY_LISTINGS]);
    assert_eq!(extraction.failures[0].part.as_deref(), Some("d"));
}

#[test]
fn a_rule_that_cannot_be_read_leaves_the_first_instance() {
    for rule in ["nonsense", "FREQ=SECONDLY", "FREQ=WEEKLY;BYDAY=XX"] {
        let extraction = run(&calendar(&[&format!("UID:d\nSUMMARY:x\nDTSTART:20260401T100000\nRRULE:{rule}")]));
        assert_eq!(shown(&extraction), ["d/20260401T100000 2026-04-01T10:00:00-07:00"], "{rule}");
        assert_eq!(codes(&extraction.failures), [DeadLetterCode::INVALID_FIELD], "{rule}");
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
    let (missing, invalid) = (DeadLetterCode::MISSING_FIELD, DeadLetterCode::INVALID_FIELD);
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
        (format!("BEGIN:VCALENDAR\n{event}DESCRIPTION:one\ntwo\n\nthree: four\nEND:VEVENT\nEND:VCALENDAR"), vec!["1"]),
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
            (true, vec![DeadLetterCode::MALFORMED])
        );
    }
}

#[test]
fn a_calendar_that_is_cut_off_withdraws_nothing() {
    let extraction = run("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nSUMMARY:x\nDTSTART:20260401\n");
    assert_eq!(codes(&extraction.failures), [DeadLetterCode::MALFORMED]);
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
    assert_eq!(codes(&extraction.failures), [DeadLetterCode::NESTED_TOO_DEEPLY]);
    assert_eq!(shown(&extraction), ["2 2026-04-01"]);
}

#[test]
fn a_cancelling_calendar_cancels_its_events() {
    let text = calendar(&["UID:1\nSUMMARY:x\nDTSTART:20260401"]).replace("VERSION:2.0", "METHOD:CANCEL");
    assert_eq!(run(&text).document.unwrap().listings[0].listing.status, Status::Cancelled);
}
