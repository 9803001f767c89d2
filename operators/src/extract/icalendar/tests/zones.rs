//! Zones by name, by definition, and of calendars.

use super::{calendar, run, shown};
use crate::extract::test_support::{codes, extract_with, raw};
use crate::extract::{Extraction, SourceConfig};

fn zone(id: &str, parts: &[&str]) -> String {
    let part = |text: &&str| {
        let (kind, lines) = text.split_once('\n').unwrap();
        format!("BEGIN:{kind}\n{lines}\nEND:{kind}\n")
    };
    format!("BEGIN:VTIMEZONE\nTZID:{id}\n{}END:VTIMEZONE\n", parts.iter().map(part).collect::<String>())
}

/// Starts of events at noon of these days in the zone `id`, with the zone's name.
fn noons(definition: &str, id: &str, days: &[&str]) -> Vec<String> {
    let events: Vec<String> =
        days.iter().map(|day| format!("UID:{day}\nSUMMARY:Loom\nDTSTART;TZID={id}:{day}T120000")).collect();
    let text = calendar(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let extraction = run(&text.replacen("BEGIN:VEVENT", &format!("{definition}BEGIN:VEVENT"), 1));
    assert_eq!(extraction.failures, []);
    let listings = extraction.document.unwrap().listings;
    listings
        .iter()
        .map(|one| {
            format!("{} {}", &one.listing.start.to_string()[19..], one.listing.timezone.as_deref().unwrap_or("-"))
        })
        .collect()
}

const WINTER: &str =
    "STANDARD\nDTSTART:20001029T030000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nTZOFFSETFROM:+0300\nTZOFFSETTO:+0200";
const SUMMER: &str =
    "DAYLIGHT\nDTSTART:20000326T020000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0300";
const DAYS: [&str; 2] = ["20270115", "20270715"];

#[test]
fn a_definition_is_obeyed_where_the_name_means_something_else() {
    for id in ["UTC", "MST", "W. Europe Standard Time", "Europe/Dublin"] {
        assert_eq!(noons(&zone(id, &[WINTER, SUMMER]), id, &DAYS), ["+02:00 -", "+03:00 -"], "{id}");
    }
}

#[test]
fn what_agrees_with_a_known_zone_is_that_zone() {
    let winter = "STANDARD\nDTSTART:16010101T030000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100";
    let summer = "DAYLIGHT\nDTSTART:16010101T020000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200";
    for id in ["Europe/Vienna", "W. Europe Standard Time", "Romance Standard Time"] {
        let noons = noons(&zone(id, &[winter, summer]), id, &DAYS);
        assert!(noons[0].starts_with("+01:00 Europe/") && noons[1].starts_with("+02:00 Europe/"), "{noons:?}");
    }
    // As a widespread plugin writes it: one observance for each year, at an hour of UTC.
    let years = [
        "STANDARD\nDTSTART:20251026T010000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100",
        "DAYLIGHT\nDTSTART:20260329T010000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200",
        "STANDARD\nDTSTART:20261025T010000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100",
    ];
    assert_eq!(
        noons(&zone("Europe/Vienna", &years), "Europe/Vienna", &["20260715", "20270715"]),
        ["+02:00 Europe/Vienna", "+02:00 Europe/Vienna"]
    );
    let alone = "STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100";
    assert_eq!(noons(&zone("Europe/Vienna", &[alone]), "Europe/Vienna", &DAYS[1..]), ["+02:00 Europe/Vienna"]);
    assert_eq!(noons(&zone("CET", &[alone]), "CET", &DAYS[1..]), ["+01:00 -"]);
}

#[test]
fn definitions_in_every_form() {
    let dates = [
        "STANDARD\nDTSTART:20261004T030000\nRDATE:20271003T030000\nTZOFFSETFROM:-0100\nTZOFFSETTO:-0200",
        "DAYLIGHT\nDTSTART:20260405T020000\nRDATE:20270404T020000,20280402T020000\nTZOFFSETFROM:-0200\nTZOFFSETTO:-0100",
    ];
    let by_month_day = [
        "STANDARD\nDTSTART:20001001T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYMONTHDAY=1,2,3,4,5,6,7;BYDAY=SU\nTZOFFSETFROM:-0100\nTZOFFSETTO:-0200",
        "DAYLIGHT\nDTSTART:20000402T020000\nRRULE:FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=1,2,3,4,5,6,7;BYDAY=SU\nTZOFFSETFROM:-0200\nTZOFFSETTO:-0100",
    ];
    let per_year = [
        "STANDARD\nDTSTART:20261004T030000\nTZOFFSETFROM:-0100\nTZOFFSETTO:-0200",
        "DAYLIGHT\nDTSTART:20270404T020000\nTZOFFSETFROM:-0200\nTZOFFSETTO:-0100",
        "STANDARD\nDTSTART:20271003T030000\nTZOFFSETFROM:-0100\nTZOFFSETTO:-0200",
    ];
    for parts in [&dates[..], &by_month_day, &per_year] {
        let noons = noons(&zone("Ours", parts), "Ours", &["20270115", "20270715", "20271215"]);
        assert_eq!(noons, ["-02:00 -", "-01:00 -", "-02:00 -"], "{parts:?}");
    }
    let ended = [
        "STANDARD\nDTSTART:20001029T030000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nTZOFFSETFROM:+0300\nTZOFFSETTO:+0200",
        "DAYLIGHT\nDTSTART:20000326T020000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3;UNTIL=20260329T000000Z\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0300",
    ];
    assert_eq!(noons(&zone("Ours", &ended), "Ours", &["20260715", "20270715"]), ["+03:00 -", "+02:00 -"]);
}

#[test]
fn an_unknown_zone_is_told_and_the_event_kept() {
    let text = calendar(&[
        "UID:1\nSUMMARY:Loom\nDTSTART;TZID=Customized Time Zone:20260401T100000\nDTEND;TZID=Customized Time Zone:20260401T110000",
        "UID:2\nSUMMARY:Dye\nDTSTART;TZID=Customized Time Zone:20260402T100000",
        "UID:3\nSUMMARY:Felt\nDTSTART;TZID=Europe/Paris:20260402T100000",
    ]);
    let extraction = run(&text);
    assert_eq!(codes(&extraction.failures), [crate::raw::code::UNKNOWN_TIMEZONE], "once for all");
    let letter = &extraction.failures[0];
    assert_eq!(
        letter.reason,
        "there is no time zone \"Customized Time Zone\": such times were read in America/Los_Angeles"
    );
    assert!(letter.bytes.starts_with(b"BEGIN:VEVENT\r\nUID:1") && letter.excerpt);
    assert_eq!(extraction.document.as_ref().unwrap().listings.len(), 3);
    assert_eq!(shown(&extraction)[0], "1 2026-04-01T10:00:00-07:00 2026-04-01T11:00:00-07:00");

    let of_calendar =
        run(&calendar(&["UID:1\nSUMMARY:Loom\nDTSTART:20260401T100000"])
            .replace("VERSION:2.0", "X-WR-TIMEZONE:Atlantis"));
    assert_eq!(codes(&of_calendar.failures), [crate::raw::code::UNKNOWN_TIMEZONE]);
    assert_eq!(of_calendar.failures[0].bytes, b"X-WR-TIMEZONE:Atlantis\r\n");

    let many: Vec<String> =
        (0..9).map(|n| format!("UID:{n}\nSUMMARY:x\nDTSTART;TZID=Zone {n} of ours:20260401T100000")).collect();
    let extraction = run(&calendar(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(extraction.failures.len(), 4);
    assert!(extraction.failures[3].reason.contains("nor 5 others"), "{}", extraction.failures[3].reason);
}

/// What a source without a zone of its own gives.
fn zoneless(text: &str) -> Extraction {
    extract_with(SourceConfig::default(), raw("text/calendar", text.as_bytes()))
}

#[test]
fn the_zone_of_a_calendar_may_have_parameters() {
    let text = calendar(&["UID:1\nSUMMARY:Loom\nDTSTART:20260401T100000"]);
    for line in [
        "X-WR-TIMEZONE;VALUE=TEXT:Europe/Oslo",
        "X-WR-TIMEZONE;X-NOTE=\"a:b\";VALUE=TEXT:Europe/Oslo",
        "X-WR-TIMEZONE:\"Europe/Oslo\"",
        "x-wr-timezone: Europe/Oslo ",
        "TIMEZONE-ID:Europe/Oslo",
    ] {
        assert_eq!(shown(&zoneless(&text.replace("VERSION:2.0", line))), ["1 2026-04-01T10:00:00+02:00"], "{line}");
    }
    let cancelled = text.replace("VERSION:2.0", "METHOD;X-A=b:CANCEL");
    let listing = &zoneless(&cancelled).document.unwrap().listings[0].listing;
    assert_eq!(listing.status, crate::listing::Status::Cancelled);
}

#[test]
fn each_calendar_of_a_record_has_its_own_zone() {
    let one = |uid: &str, properties: &str| {
        calendar(&[&format!("UID:{uid}\nSUMMARY:Loom\nDTSTART:20260401T100000")]).replace("VERSION:2.0", properties)
    };
    let text = [
        one("1", "X-WR-TIMEZONE:Europe/Oslo\nMETHOD:CANCEL"),
        one("2", "X-WR-TIMEZONE:Asia/Seoul"),
        one("3", "VERSION:2.0"),
    ]
    .concat();
    let extraction = zoneless(&text);
    assert_eq!(
        shown(&extraction),
        ["1 2026-04-01T10:00:00+02:00", "2 2026-04-01T10:00:00+09:00", "3 2026-04-01T10:00:00+00:00"]
    );
    let statuses: Vec<_> = extraction.document.unwrap().listings.iter().map(|one| one.listing.status).collect();
    use crate::listing::Status::{Cancelled, Scheduled};
    assert_eq!(statuses, [Cancelled, Scheduled, Scheduled]);
}
