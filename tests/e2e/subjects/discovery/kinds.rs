//! The kinds of hostile records: how one is made, and what must come of it.

use headwater_operators::ids::ListingId;

use crate::support::noise;
use crate::support::subject::{Fate, Kind, Poison};

/// 2026-03-26T00:00:00Z.
const NOW_MS: i64 = 1_774_483_200_000;

/// Raw records.
const RAW: &str = "raw.events";

/// The source of a record.
pub fn source(kind: &str, number: usize) -> String {
    match kind {
        "keys alike in sources" => format!("poison {kind} {}", number % 3),
        "names that run together" => split_name(number).0,
        kind => format!("poison {kind}"),
    }
}

fn sent(kind: &str, content_type: &str, key: Option<String>, value: impl Into<Vec<u8>>) -> Poison {
    let headers = vec![
        ("source".to_owned(), format!("poison {kind}").into_bytes()),
        ("content-type".to_owned(), content_type.as_bytes().to_vec()),
    ];
    Poison { topic: RAW, key: key.map(String::into_bytes), value: Some(value.into()), headers, timestamp_ms: NOW_MS }
}

fn json(kind: &str, number: usize, value: impl Into<Vec<u8>>) -> Poison {
    sent(kind, "application/ld+json", Some(format!("{kind} {number}")), value)
}

fn calendar(kind: &str, number: usize, lines: &str) -> Poison {
    let text = format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{lines}END:VEVENT\r\nEND:VCALENDAR\r\n");
    sent(kind, "text/calendar", Some(format!("{kind} {number}")), text)
}

/// A good event with more members in it.
fn event(id: &str, title: &str, more: &str) -> String {
    format!(
        r#"{{"@type": "Event", "identifier": "{id}", "name": "{title}", "startDate": "2026-05-01T19:30:00+02:00"{more}}}"#
    )
}

fn dead(code: &'static str) -> Fate {
    Fate { dead: vec![(code, 1)], live: Vec::new() }
}

fn live(id: impl Into<String>, title: impl Into<String>) -> Fate {
    Fate { dead: Vec::new(), live: vec![(id.into(), title.into())] }
}

/// Listings of a kind whose records are many are the same few, again and again.
fn few(number: usize) -> usize {
    number % 50
}

/// Words that no other listing has, so that the good ones are events of their own.
fn good_title(number: usize) -> String {
    format!("Evening {} of {}", spelled(number), spelled(number.wrapping_mul(7919) + 13))
}

fn spelled(mut number: usize) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "lo", "mi", "ru", "ta", "ve", "sho", "ni", "pa", "ge", "du", "fe", "bo", "hu", "zi", "wa"];
    let mut word = String::new();
    for _ in 0..6 {
        word.push_str(SYLLABLES[number % 16]);
        number /= 16;
    }
    word
}

fn good_day(number: usize) -> String {
    format!("2026-{:02}-{:02}T19:30:00+02:00", 4 + number % 6, 1 + number / 6 % 28)
}

/// The one name "poison x1y" + "z…", cut in different places between source and id.
fn split_name(number: usize) -> (String, String) {
    let whole = format!("names that run together {:04}", number / 8);
    let (source, id) = whole.split_at(8 + number % 8);
    (format!("poison {source}"), id.trim_start().to_owned())
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "good",
        per_100k: 4_000,
        make: |n| {
            let text =
                event(&format!("good {n}"), &good_title(n), "").replace("2026-05-01T19:30:00+02:00", &good_day(n));
            json("good", n, text)
        },
        fate: |n| live(format!("good {n}"), good_title(n)),
    },
    // Broken syntax.
    Kind {
        name: "truncated",
        per_100k: 16_000,
        make: |n| {
            let whole = event(&format!("{n}"), "Cut off", r#", "description": "as in a network that fails""#);
            json("truncated", n, &whole.as_bytes()[..1 + n * 7919 % (whole.len() - 1)])
        },
        fate: |_| dead("malformed"),
    },
    Kind {
        name: "truncated calendar",
        per_100k: 200,
        make: |n| {
            let id = few(n);
            let text =
                format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:{id}\r\nSUMMARY:Cut {id}\r\nDTSTART:20260501\r\n");
            sent("truncated calendar", "text/calendar", Some(format!("cut {id}")), text)
        },
        fate: |n| Fate { dead: vec![("malformed", 1)], ..live(few(n).to_string(), format!("Cut {}", few(n))) },
    },
    Kind {
        name: "noise",
        per_100k: 10_000,
        make: |n| json("noise", n, noise(n, 1 + n % 200)),
        fate: |_| dead("malformed"),
    },
    Kind {
        name: "noise as a calendar",
        per_100k: 5_000,
        make: |n| sent("noise as a calendar", "text/calendar", None, noise(n, 1 + n % 200)),
        fate: |_| dead("malformed"),
    },
    Kind {
        name: "invalid UTF-8",
        per_100k: 6_000,
        make: |n| {
            let mut bytes = event(&few(n).to_string(), "Caf?", "").into_bytes();
            let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
            bytes[at] = [0xE9, 0xFF, 0xC0, 0xED][few(n) % 4];
            json("invalid UTF-8", n, bytes)
        },
        // Read as Windows-1252, and told.
        fate: |n| {
            let title = format!("Caf{}", ['é', 'ÿ', 'À', 'í'][few(n) % 4]);
            Fate { dead: vec![("read-leniently", 1)], ..live(few(n).to_string(), title) }
        },
    },
    Kind {
        name: "half a character",
        per_100k: 2_000,
        make: |n| json("half a character", n, event(&n.to_string(), r"\ud83d", "")),
        fate: |_| dead("malformed"),
    },
    Kind {
        name: "not a number",
        per_100k: 4_000,
        make: |n| {
            let value = ["NaN", "Infinity", "-Infinity", "1e999"][n % 4];
            let geo = format!(r#", "location": {{"geo": {{"latitude": {value}, "longitude": 2}}}}"#);
            json("not a number", n, event(&n.to_string(), "Nowhere", &geo))
        },
        fate: |_| dead("malformed"),
    },
    // Too much of something.
    Kind {
        name: "nested deeply",
        per_100k: 4_000,
        make: |n| {
            let depth = 33 + n % 500;
            let value = if n % 2 == 0 { "[".repeat(depth) + &"]".repeat(depth) } else { r#"{"a":"#.repeat(depth) };
            json("nested deeply", n, value)
        },
        fate: |_| dead("nested-too-deeply"),
    },
    Kind {
        name: "a megabyte of brackets",
        per_100k: 10,
        make: |n| json("a megabyte of brackets", n, "[".repeat(1 << 20)),
        fate: |_| dead("nested-too-deeply"),
    },
    Kind {
        name: "a megabyte of numbers",
        per_100k: 10,
        make: |n| json("a megabyte of numbers", n, format!("[0{}]", ",0".repeat(1 << 19))),
        fate: |_| dead("missing-field"),
    },
    Kind {
        name: "as large as the topic takes",
        per_100k: 10,
        make: |n| json("as large as the topic takes", n, "x".repeat((4 << 20) - 2_000)),
        fate: |_| dead("record-too-large"),
    },
    Kind {
        name: "thousands of bad parts",
        per_100k: 5,
        make: |n| {
            let parts = vec![r#"{"@type": "Event"}"#; 3_000].join(",");
            json("thousands of bad parts", n, format!("[{parts}]"))
        },
        fate: |_| Fate { dead: vec![("missing-field", 500), ("too-many-listings", 1)], live: Vec::new() },
    },
    Kind {
        name: "bad parts under a long key",
        per_100k: 3,
        make: |n| {
            let parts = vec![r#"{"@type": "Event"}"#; 400].join(",");
            let key = format!("{n}{}", "k".repeat(1 << 20));
            sent("bad parts under a long key", "application/ld+json", Some(key), format!("[{parts}]"))
        },
        fate: |_| dead("missing-field"),
    },
    Kind {
        name: "an id of a megabyte",
        per_100k: 10,
        make: |n| json("an id of a megabyte", n, event(&"i".repeat(1 << 20), "Endless", "")),
        fate: |_| dead("string-too-long"),
    },
    Kind {
        name: "a key of a megabyte",
        per_100k: 10,
        make: |n| {
            let key = format!("{n}{}", "k".repeat(1 << 20));
            sent("a key of a megabyte", "application/ld+json", Some(key), event(&n.to_string(), "Long key", ""))
        },
        fate: |n| live(n.to_string(), "Long key"),
    },
    // Wrong contents.
    Kind {
        name: "wrong types",
        per_100k: 8_000,
        make: |n| {
            let name = ["null", "{}", "[]", "[[]]", "true", r#"{"a": 1}"#][n % 6];
            let text = format!(r#"{{"@type": "Event", "name": {name}, "startDate": [{{"b": []}}], "location": 7}}"#);
            json("wrong types", n, text)
        },
        fate: |_| dead("missing-field"),
    },
    Kind {
        name: "no event at all",
        per_100k: 3_000,
        make: |n| json("no event at all", n, ["7", "null", "\"text\"", "{\"a\": 1}", "[1]", "true"][n % 6]),
        fate: |_| dead("missing-field"),
    },
    Kind {
        name: "years that never come",
        per_100k: 6_000,
        make: |n| {
            let date =
                ["99999-12-31", "+099999-01-01T00:00:00Z", "-271821-04-20", "9999-12-31", "0001-01-01", "2201-01-01"];
            let text = event(&n.to_string(), "Never", "").replace("2026-05-01T19:30:00+02:00", date[n % 6]);
            json("years that never come", n, text)
        },
        fate: |_| dead("invalid-field"),
    },
    Kind {
        name: "dates that are none",
        per_100k: 6_000,
        make: |n| {
            let date = ["TBD", "2026-13-45", "2026-02-30T10:00", "25:61", "tomorrow", "2026-05-01T10:00+99:99"];
            let text = event(&n.to_string(), "Sometime", "").replace("2026-05-01T19:30:00+02:00", date[n % 6]);
            json("dates that are none", n, text)
        },
        fate: |_| dead("invalid-field"),
    },
    Kind {
        name: "numbers beyond measure",
        per_100k: 500,
        make: |n| {
            let more = r#", "offers": {"price": 1e308, "highPrice": -5}, "maximumAttendeeCapacity": -9223372036854775808,
                "location": {"name": "x", "geo": {"latitude": "NaN", "longitude": 1e300}}"#;
            json("numbers beyond measure", few(n), event(&few(n).to_string(), "Beyond", more))
        },
        fate: |n| live(few(n).to_string(), "Beyond"),
    },
    Kind {
        name: "zones that are none",
        per_100k: 300,
        make: |n| {
            let zone = ["Mars/Phobos", "", "../../etc/passwd", "UTC+99", "\u{202e}Paris"][n % 5];
            let title = format!("Where {}", spelled(n));
            let lines = format!("UID:{n}\r\nSUMMARY:{title}\r\nDTSTART;TZID={zone}:20260501T100000\r\n");
            calendar("zones that are none", n, &lines)
        },
        fate: |n| {
            // Characters that nobody sees are not part of a name.
            let dead = if n % 5 == 4 { Vec::new() } else { vec![("unknown-timezone", 1)] };
            Fate { dead, ..live(n.to_string(), format!("Where {}", spelled(n))) }
        },
    },
    // Rules that never end.
    Kind {
        name: "every day for ever",
        per_100k: 200,
        make: |n| {
            let id = few(n) / 10;
            let lines = format!("UID:{id}\r\nSUMMARY:Daily\r\nDTSTART:20260401T100000\r\nRRULE:FREQ=DAILY\r\n");
            calendar("every day for ever", id, &lines)
        },
        fate: |n| {
            let day = |day: usize| (format!("{}/202604{day:02}T100000", few(n) / 10), "Daily".to_owned());
            Fate { dead: vec![("too-many-listings", 1)], live: (1..=20).map(day).collect() }
        },
    },
    Kind {
        name: "every second",
        per_100k: 300,
        make: |n| {
            let id = few(n);
            let freq = [
                "SECONDLY",
                "MINUTELY",
                "SECONDLY;COUNT=4294967295",
                "DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11;BYMINUTE=0,1,2,3,4,5,6,7,8,9",
            ][n % 4];
            let lines = format!("UID:{id}\r\nSUMMARY:Often\r\nDTSTART:20260401T100000\r\nRRULE:FREQ={freq}\r\n");
            calendar("every second", id, &lines)
        },
        fate: |n| Fate { dead: vec![("invalid-field", 1)], ..live(format!("{}/20260401T100000", few(n)), "Often") },
    },
    Kind {
        name: "rules without instances",
        per_100k: 60,
        make: |n| {
            let rule = [
                "YEARLY;BYMONTH=2;BYMONTHDAY=30",
                "DAILY;BYMONTH=2;BYMONTHDAY=30;COUNT=5",
                "MONTHLY;BYDAY=MO;BYSETPOS=31",
                "DAILY;INTERVAL=65535;COUNT=4294967295",
                "HOURLY;BYMONTH=2;BYMONTHDAY=31;UNTIL=99991231T000000Z",
            ];
            let id = few(n);
            let lines =
                format!("UID:{id}\r\nSUMMARY:Never\r\nDTSTART:20260401T100000\r\nRRULE:FREQ={}\r\n", rule[n % 5]);
            calendar("rules without instances", id, &lines)
        },
        fate: |n| live(format!("{}/20260401T100000", few(n)), "Never"),
    },
    // Markup.
    Kind {
        name: "nested tags",
        per_100k: 300,
        make: |n| {
            let title = format!("{}Safe {}{}", "<b><i>".repeat(200), few(n), "</b>".repeat(200));
            json("nested tags", few(n), event(&few(n).to_string(), &title, ""))
        },
        fate: |n| live(few(n).to_string(), format!("Safe {}", few(n))),
    },
    Kind {
        name: "a flood of entities",
        per_100k: 60,
        make: |n| {
            let description =
                format!(r#", "description": "{}""#, "&amp;lt;script&amp;gt;&NotEqualTilde;".repeat(8_000));
            json("a flood of entities", few(n), event(&few(n).to_string(), "Flood", &description))
        },
        fate: |n| live(few(n).to_string(), "Flood"),
    },
    Kind {
        name: "an attribute of a megabyte",
        per_100k: 10,
        make: |n| {
            let description = format!(r#", "description": "<a href='{}'>x</a>""#, "h".repeat(1 << 20));
            json("an attribute of a megabyte", n, event(&n.to_string(), "Attribute", &description))
        },
        fate: |n| live(n.to_string(), "Attribute"),
    },
    Kind {
        name: "a script in the title",
        per_100k: 300,
        make: |n| {
            let title = format!("&lt;script&gt;alert(1)&lt;/script&gt;<img src=x onerror=alert(1)>Show {}", few(n));
            let more = r#", "url": ["javascript:alert(1)", "data:text/html,x", "https://a.example/"]"#;
            json("a script in the title", few(n), event(&few(n).to_string(), &title, more))
        },
        fate: |n| live(few(n).to_string(), format!("Show {}", few(n))),
    },
    Kind {
        name: "nothing but markup",
        per_100k: 3_000,
        make: |n| {
            let title = ["<b></b>", "<script>x</script>", "&nbsp;", "\u{200b}\u{2060}", "<!-- x -->", r"\u0000\u202e"];
            json("nothing but markup", n, event(&n.to_string(), title[n % 6], ""))
        },
        fate: |_| dead("missing-field"),
    },
    Kind {
        name: "invisible characters",
        per_100k: 300,
        make: |n| {
            let title = format!("\u{200b}In\u{202e}vis\u{0}\u{feff}ible\u{2066} {}", few(n)).replace('\0', r"\u0000");
            json("invisible characters", few(n), event(&few(n).to_string(), &title, ""))
        },
        fate: |n| live(few(n).to_string(), format!("Invisible {}", few(n))),
    },
    // Identity.
    Kind {
        name: "ids with control characters",
        per_100k: 2_000,
        make: |n| json("ids with control characters", n, event(r"a\u0000b\nc", "Control", "")),
        fate: |_| dead("invalid-field"),
    },
    Kind {
        name: "keys alike in sources",
        per_100k: 600,
        make: |n| {
            let mut record = json("keys alike in sources", 0, event("same", "Alike", ""));
            record.key = Some(b"same".to_vec());
            record.headers[0].1 = format!("poison keys alike in sources {}", n % 3).into_bytes();
            record
        },
        fate: |_| live("same", "Alike"),
    },
    Kind {
        name: "one listing, many keys",
        per_100k: 3_000,
        make: |n| json("one listing, many keys", n, event("same", "Claimed", "")),
        fate: |_| live("same", "Claimed"),
    },
    Kind {
        name: "one listing, no key",
        per_100k: 2_000,
        make: |_| {
            let mut record = json("one listing, no key", 0, event("same", "Repeated", ""));
            record.key = None;
            record
        },
        fate: |_| live("same", "Repeated"),
    },
    Kind {
        name: "names that run together",
        per_100k: 400,
        make: |n| {
            let (source, id) = split_name(n);
            let mut record = json("names that run together", n, event(&id, "Together", ""));
            record.headers[0].1 = source.into_bytes();
            record
        },
        fate: |n| live(split_name(n).1, "Together"),
    },
    // What is around the value.
    Kind {
        name: "a source that is no text",
        per_100k: 3_000,
        make: |n| {
            let mut record = json("", n, event(&n.to_string(), "Whose", ""));
            record.headers[0].1 = vec![0xFF, 0xFE, n as u8];
            record
        },
        fate: |_| dead("unknown-source"),
    },
    Kind {
        name: "a source without measure",
        per_100k: 1_000,
        make: |n| {
            let mut record = json("", n, event(&n.to_string(), "Whose", ""));
            record.headers[0].1 = if n % 100 == 0 { vec![b's'; 1 << 20] } else { vec![b's'; 257 + n % 300] };
            record
        },
        fate: |_| dead("unknown-source"),
    },
    Kind {
        name: "a content type that is none",
        per_100k: 3_000,
        make: |n| {
            let content_type = ["application/xml", "", ";;;", "text/calendarr", "image/png; charset=\u{202e}"][n % 5];
            sent("a content type that is none", content_type, None, event(&n.to_string(), "What", ""))
        },
        fate: |_| dead("unknown-content-type"),
    },
    Kind {
        name: "no value",
        per_100k: 2_000,
        make: |n| {
            let mut record = json("no value", n, ["", " ", "\r\n\t"][n % 3]);
            record.key = Some(n.to_string().into_bytes()).filter(|_| n % 2 == 0);
            record
        },
        fate: |_| dead("empty-record"),
    },
    Kind {
        name: "neither key nor value",
        per_100k: 1_000,
        make: |n| Poison { key: None, value: None, ..json("neither key nor value", n, "") },
        fate: |_| dead("empty-record"),
    },
    Kind {
        name: "withdrawals of nothing",
        per_100k: 1_000,
        make: |n| Poison { value: None, ..json("withdrawals of nothing", n, "") },
        fate: |_| Fate::default(),
    },
    Kind {
        name: "times that are none",
        per_100k: 300,
        make: |n| {
            let times = [3_093_527_980_799_000, i64::MAX / 4, 253_402_300_799_999, NOW_MS * 2];
            let text = event(&few(n).to_string(), "Timeless", "");
            Poison { timestamp_ms: times[n % 4], ..json("times that are none", few(n), text) }
        },
        fate: |n| live(few(n).to_string(), "Timeless"),
    },
    // Topics that people write.
    Kind {
        name: "tables of nonsense",
        per_100k: 900,
        make: |n| {
            let value: Vec<u8> = match n % 4 {
                0 => noise(n, 50),
                1 => b"{\"same\": 1e999}".to_vec(),
                2 => format!(r#"{{"{}": 1}}"#, "unknown".repeat(2_000)).into_bytes(),
                _ => "[".repeat(500).into_bytes(),
            };
            let mut record = json("tables of nonsense", n, value);
            record.topic = ["decisions", "places", "control"][n % 3];
            record
        },
        fate: |_| dead("invalid-control"),
    },
];

/// Names that run together are different listings.
#[test]
fn names_that_run_together_are_told_apart() {
    let ids: std::collections::BTreeSet<ListingId> =
        (0..64).map(split_name).map(|(source, id)| ListingId::of(&source, &id)).collect();
    assert_eq!(ids.len(), 64);
}
