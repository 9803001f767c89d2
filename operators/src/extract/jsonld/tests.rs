//! Whole documents, read.

use serde_json::json;

use crate::extract::SourceConfig;
use crate::extract::test_support::{codes, extract_with, raw};
use crate::listing::{Listing, Status};
use crate::raw::{DeadLetter, DeadLetterCode, Extracted};

fn run(value: serde_json::Value) -> (Vec<Extracted>, Vec<DeadLetter>) {
    let config = SourceConfig { timezone: Some("America/Los_Angeles".into()), ..SourceConfig::default() };
    let extraction = extract_with(config, raw("application/ld+json", value.to_string().as_bytes()));
    (extraction.document.map(|document| document.listings).unwrap_or_default(), extraction.failures)
}

fn one(value: serde_json::Value) -> Listing {
    let (mut listings, failures) = run(value);
    assert_eq!((listings.len(), failures.len()), (1, 0), "{failures:?}");
    listings.remove(0).listing
}

#[test]
fn a_full_event() {
    let (listings, failures) = run(json!({
        "@context": "https://schema.org",
        "@type": ["https://schema.org/MusicEvent", "Event"],
        "identifier": {"@type": "PropertyValue", "value": 4711},
        "name": "  Spring <b>Concert</b> ",
        "description": "Strings",
        "startDate": "2026-03-28T19:30",
        "endDate": "2026-03-28T22:00:00-07:00",
        "eventStatus": "https://schema.org/EventRescheduled",
        "eventAttendanceMode": "https://schema.org/MixedEventAttendanceMode",
        "location": [
            {"@type": "VirtualLocation", "url": "https://stream.example/1"},
            {"@type": "Place", "name": "Old Mill", "address": {
                "@type": "PostalAddress", "streetAddress": "1 Mill Rd", "addressLocality": "Davis",
                "addressRegion": "CA", "postalCode": "95616", "addressCountry": {"@type": "Country", "name": "US"}},
             "geo": {"latitude": "38.5", "longitude": -121.7}}
        ],
        "offers": [{"price": "15.00", "priceCurrency": "USD"}, {"@type": "AggregateOffer", "lowPrice": 10, "highPrice": 40}],
        "organizer": [{"@type": "Organization", "name": "Davis Strings", "url": "https://strings.example"}],
        "image": ["https://img.example/1.jpg", {"@type": "ImageObject", "url": "https://img.example/2.jpg"}],
        "url": "https://strings.example/spring",
        "keywords": "strings, classical",
        "maximumAttendeeCapacity": 120,
        "dateModified": "2026-01-02T03:04:05Z"
    }));
    assert!(failures.is_empty());
    assert_eq!(listings[0].stamp.modified_ms, 1_767_323_045_000);
    let listing = &listings[0].listing;
    assert_eq!(&*listing.external_id, "4711");
    assert_eq!(listing.title, "Spring <b>Concert</b>");
    assert_eq!(listing.start.to_string(), "2026-03-28T19:30:00-07:00");
    assert_eq!(listing.end.unwrap().to_string(), "2026-03-28T22:00:00-07:00");
    assert_eq!(listing.timezone.as_deref(), Some("America/Los_Angeles"));
    assert_eq!(*listing.source_categories, ["MusicEvent"]);
    assert_eq!(listing.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["strings", "classical"]);
    assert!(listing.online);
    assert_eq!(listing.venue.name.as_deref(), Some("Old Mill"));
    assert_eq!(listing.venue.country.as_deref(), Some("US"));
    assert_eq!(listing.venue.geo.unwrap().point.latitude(), 38.5);
    assert_eq!(listing.organizer.as_ref().unwrap().name, "Davis Strings");
    let pricing = listing.pricing.as_ref().unwrap();
    assert_eq!((pricing.min.unwrap().0, pricing.max.unwrap().0), (10_000, 40_000));
    assert_eq!((pricing.currency.as_deref(), pricing.free), (Some("USD"), None));
    assert_eq!(listing.images.len(), 2);
    assert_eq!(*listing.urls, ["https://stream.example/1", "https://strings.example/spring"]);
    assert_eq!(listing.capacity, Some(120));
    assert_eq!(listing.status, Status::Rescheduled);
}

#[test]
fn events_are_found_wherever_they_are() {
    let event = |name: &str| json!({"@type": "Event", "@id": name, "name": name, "startDate": "2026-05-01"});
    for (value, expected) in [
        (json!([event("a"), event("b")]), vec!["a", "b"]),
        (json!({"@graph": [{"@type": "WebPage"}, event("a")]}), vec!["a"]),
        (json!({"@type": "Place", "event": [event("a")], "events": {"x": event("b")}}), vec!["a", "b"]),
        (json!({"@type": "ItemList", "itemListElement": [{"@type": "ListItem", "item": event("a")}]}), vec!["a"]),
        (json!({"@type": "WebPage", "superEvent": event("a")}), vec![]),
        (json!([]), vec![]),
        (json!({"@graph": []}), vec![]),
    ] {
        let (listings, failures) = run(value.clone());
        let found: Vec<&str> = listings.iter().map(|extracted| &*extracted.listing.external_id).collect();
        assert_eq!((found, failures.len()), (expected, 0), "{value}");
    }
    let mut parent = event("parent");
    parent["subEvent"] = json!([event("child")]);
    parent["organizer"] = event("not a listing");
    assert_eq!(run(parent).0.len(), 2);
    assert_eq!(codes(&run(json!({"hello": "world"})).1), [DeadLetterCode::MISSING_FIELD]);
}

#[test]
fn ids_come_from_identifier_then_id_then_url_then_a_digest() {
    let mut event = json!({"@type": "Event", "name": "x", "startDate": "2026-05-01"});
    let digest = one(event.clone()).external_id;
    assert_eq!(digest.len(), 32);
    event["url"] = json!("https://example.org/e");
    assert_eq!(&*one(event.clone()).external_id, "https://example.org/e");
    event["@id"] = json!("_:b0");
    assert_eq!(&*one(event.clone()).external_id, "https://example.org/e");
    event["@id"] = json!("https://example.org/e#event");
    assert_eq!(&*one(event.clone()).external_id, "https://example.org/e#event");
    event["identifier"] = json!("17");
    assert_eq!(&*one(event).external_id, "17");
}

#[test]
fn days_durations_and_offsets() {
    let event =
        |start: &str, key: &str, value: &str| json!({"@type": "Event", "name": "x", "startDate": start, key: value});
    for (start, key, value, expected) in [
        ("2026-05-01", "endDate", "2026-05-03", "2026-05-01 2026-05-03"),
        ("2026-05-01", "endDate", "2026-05-03T00:00", "2026-05-01 2026-05-02"),
        ("2026-05-01T10:00", "duration", "PT90M", "2026-05-01T10:00:00-07:00 2026-05-01T11:30:00-07:00"),
        ("2026-05-01", "duration", "P2D", "2026-05-01 2026-05-02"),
        ("2026-05-01T10:00:00+02:00", "duration", "P1D", "2026-05-01T10:00:00+02:00 2026-05-02T10:00:00+02:00"),
        ("2026-05-01T17:00:00Z", "x", "", "2026-05-01T10:00:00-07:00"),
    ] {
        let listing = one(event(start, key, value));
        let mut shown = listing.start.to_string();
        shown.extend(listing.end.map(|end| format!(" {end}")));
        assert_eq!(shown, expected);
        assert_eq!(listing.timezone.is_some(), !start.ends_with("+02:00"), "{start}");
    }
}

#[test]
fn an_end_may_be_a_time_of_day_and_a_time_may_name_its_zone() {
    let event = |start: &str, end: &str| json!({"@type": "Event", "name": "x", "startDate": start, "endDate": end});
    for (start, end, expected) in [
        ("2026-05-01T19:30:00-07:00", "22:30", Some("2026-05-01T22:30:00-07:00")),
        ("2026-05-01T22:00", "2am", Some("2026-05-02T02:00:00-07:00")),
        ("2026-05-01T19:30", "", None),
    ] {
        let listing = one(event(start, end));
        assert_eq!(listing.end.map(|end| end.to_string()).as_deref(), expected, "{end}");
    }
    for (start, shown) in [
        ("2026-05-01T19:00:00+02:00[Europe/Berlin]", "2026-05-01T19:00:00+02:00"),
        ("2026-05-01T19:00[Europe/Berlin][u-ca=gregory]", "2026-05-01T19:00:00+02:00"),
    ] {
        let listing = one(event(start, ""));
        assert_eq!((listing.start.to_string(), listing.timezone.as_deref()), (shown.to_owned(), Some("Europe/Berlin")));
    }
    let (listings, failures) = run(event("2026-05-01T19:30", "late"));
    assert_eq!((listings.len(), listings[0].listing.end), (1, None));
    assert!(failures.len() == 1 && failures[0].reason.contains("\"late\""), "{failures:?}");
}

#[test]
fn one_bad_event_does_not_take_the_others_with_it() {
    let (listings, failures) = run(json!([
        {"@type": "Event", "identifier": "1", "name": "good", "startDate": "2026-05-01"},
        {"@type": "Event", "identifier": "2", "startDate": "2026-05-01"},
        {"@type": "Event", "identifier": "3", "name": "x", "startDate": "soon"},
        {"@type": "Event", "identifier": "4", "name": "x", "startDate": "1026-05-01"},
        {"@type": "Event", "identifier": "5", "name": "x"},
    ]));
    assert_eq!(listings.len(), 1);
    let (missing, invalid) = (DeadLetterCode::MISSING_FIELD, DeadLetterCode::INVALID_FIELD);
    assert_eq!(codes(&failures), [missing, invalid, invalid, missing]);
    assert_eq!(failures[1].part.as_deref(), Some("3"));
    let part: serde_json::Value = serde_json::from_slice(&failures[1].bytes).unwrap();
    assert_eq!(part["identifier"], "3");
}

#[test]
fn free_and_priced_offers() {
    let event = |extra: serde_json::Value| {
        let mut event = json!({"@type": "Event", "name": "x", "startDate": "2026-05-01"});
        event.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        one(event).pricing
    };
    assert_eq!(event(json!({})), None);
    assert_eq!(event(json!({"offers": {"price": 0}})).unwrap().free, Some(true));
    assert_eq!(event(json!({"isAccessibleForFree": "true"})).unwrap().free, Some(true));
    let specified =
        event(json!({"offers": {"priceSpecification": {"price": "9,50", "priceCurrency": "EUR"}}})).unwrap();
    assert_eq!((specified.min.unwrap().0, specified.currency.as_deref()), (9_500, Some("EUR")));
    assert_eq!(event(json!({"offers": {"price": "ask at the door"}})), None);
}

/// Ids and starts.
fn starts(value: serde_json::Value) -> Vec<String> {
    let (listings, failures) = run(value);
    assert_eq!(failures, []);
    listings.iter().map(|one| format!("{} {}", one.listing.external_id, one.listing.start)).collect()
}

fn event(more: serde_json::Value) -> serde_json::Value {
    let mut event = json!({"@context": "https://schema.org", "@type": "Event", "@id": "e", "name": "Kiln"});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

#[test]
fn references_are_followed() {
    let graph = json!({"@context": "https://schema.org", "@graph": [
        {"@type": "TheaterEvent", "@id": "#show", "identifier": "7", "name": "Kiln", "startDate": "2026-05-01",
         "location": {"@id": "#barn"}, "organizer": [{"@id": "#club"}], "offers": [{"@id": "#dear"}, {"@id": "#cheap"}],
         "image": {"@id": "#picture"}},
        {"@type": "Place", "@id": "#barn", "name": "Barn", "address": {"@id": "#there"}, "geo": {"@id": "#point"}},
        {"@type": "PostalAddress", "@id": "#there", "addressLocality": "Delft", "addressCountry": {"@id": "#nl"}},
        {"@type": "Country", "@id": "#nl", "name": "NL"},
        {"@type": "GeoCoordinates", "@id": "#point", "latitude": "52.0", "longitude": 4.36},
        {"@type": "Organization", "@id": "#club", "name": "Potters"},
        {"@type": "Offer", "@id": "#dear", "price": 30}, {"@type": "Offer", "@id": "#cheap", "price": 10},
        {"@type": "ImageObject", "@id": "#picture", "contentUrl": "https://i.example/1.png"},
    ]});
    let listing = one(graph);
    let venue = &listing.venue;
    assert_eq!(
        (venue.name.as_deref(), venue.city.as_deref(), venue.country.as_deref()),
        (Some("Barn"), Some("Delft"), Some("NL"))
    );
    assert_eq!(venue.geo.unwrap().point.longitude(), 4.36);
    assert_eq!(listing.organizer.unwrap().name, "Potters");
    let pricing = listing.pricing.unwrap();
    assert_eq!((pricing.min.unwrap().0, pricing.max.unwrap().0), (10_000, 30_000));
    assert_eq!(*listing.images, ["https://i.example/1.png"]);
    let by_text = one(json!([event(json!({"startDate": "2026-05-01", "location": "https://k.example/#barn"})),
        {"@type": "Place", "@id": "https://k.example/#barn", "name": "Barn"}]));
    assert_eq!(by_text.venue.name.as_deref(), Some("Barn"));
    let nowhere =
        one(event(json!({"startDate": "2026-05-01", "location": {"@id": "#nowhere"}, "organizer": {"@id": "e"}})));
    assert_eq!((nowhere.venue.name, nowhere.organizer.unwrap().name), (None, "Kiln".into()), "an id in a circle ends");
}

#[test]
fn parts_have_the_place_of_what_they_are_part_of() {
    let place = json!({"@type": "Place", "name": "Barn"});
    let parts = json!([
        {"@type": "Event", "@id": "a", "name": "Opening", "startDate": "2026-05-01"},
        {"@type": "Event", "@id": "b", "name": "Closing", "startDate": "2026-05-02", "location": {"name": "Tent"}},
    ]);
    let club = json!({"name": "Potters"});
    let festival = event(
        json!({"@type": "Festival", "startDate": "2026-05-01", "location": place, "organizer": club, "subEvent": parts}),
    );
    let series =
        json!({"@type": "EventSeries", "name": "Kilns", "location": place, "organizer": club, "subEvent": parts});
    let scattered = json!({"@graph": [
        {"@type": "EventSeries", "name": "Kilns", "location": place, "organizer": club, "subEvent": [{"@id": "a"}, {"@id": "b"}]},
        parts[0], parts[1],
    ]});
    let above = json!([
        {"@type": "Event", "@id": "a", "name": "Opening", "startDate": "2026-05-01", "superEvent": {"@id": "e"}}, parts[1],
        festival_without_parts(&place, &club),
    ]);
    for value in [festival, series, scattered, above] {
        let (listings, failures) = run(value.clone());
        assert_eq!(failures, [], "{value}");
        let of = |id: &str| &listings.iter().find(|one| one.listing.external_id == id).unwrap().listing;
        assert_eq!(of("a").venue.name.as_deref(), Some("Barn"), "{value}");
        assert_eq!(of("a").organizer.as_ref().unwrap().name, "Potters");
        assert_eq!(of("b").venue.name.as_deref(), Some("Tent"));
    }
}

fn festival_without_parts(place: &serde_json::Value, club: &serde_json::Value) -> serde_json::Value {
    event(json!({"startDate": "2026-05-01", "location": place, "organizer": club}))
}

#[test]
fn several_starts_are_several_listings() {
    assert_eq!(
        starts(event(json!({"startDate": ["2026-05-01T10:00", "2026-05-08T10:00"]}))),
        ["e/20260501T100000 2026-05-01T10:00:00-07:00", "e/20260508T100000 2026-05-08T10:00:00-07:00"]
    );
    assert_eq!(starts(event(json!({"startDate": ["2026-05-01"]}))), ["e 2026-05-01"]);
    assert_eq!(
        starts(event(json!({"startDate": ["2026-05-01", "2026-05-01T10:00"]}))),
        ["e 2026-05-01T10:00:00-07:00"]
    );
    let (listings, _) =
        run(event(json!({"startDate": ["2026-05-01", "2026-05-08"], "endDate": ["2026-05-02", "2026-05-09"]})));
    let ends: Vec<_> = listings.iter().map(|one| one.listing.end.unwrap().to_string()).collect();
    assert_eq!(ends, ["2026-05-02", "2026-05-09"]);
    let (listings, failures) = run(event(json!({"startDate": ["2026-05-01", "soon"]})));
    assert_eq!(
        (listings.len(), codes(&failures)),
        (0, vec![DeadLetterCode::INVALID_FIELD]),
        "told, and nothing lost silently"
    );
    assert_eq!(one(event(json!({"startDate": "2026-05-03", "endDate": "2026-05-01"}))).end, None);
}

#[test]
fn the_gravest_of_several_statuses_counts() {
    let status = |value: serde_json::Value| one(event(json!({"startDate": "2026-05-01", "eventStatus": value}))).status;
    assert_eq!(status(json!(["EventScheduled", "https://schema.org/EventPostponed"])), Status::Postponed);
    assert_eq!(status(json!(["https://schema.org/EventCancelled", "EventRescheduled"])), Status::Cancelled);
    let offers = |words: &[&str]| {
        let offers: Vec<_> = words.iter().map(|word| json!({"price": 3, "availability": word})).collect();
        one(event(json!({"startDate": "2026-05-01", "offers": offers}))).status
    };
    assert_eq!(offers(&["https://schema.org/SoldOut", "SoldOut"]), Status::SoldOut);
    assert_eq!(offers(&["https://schema.org/SoldOut", "InStock"]), Status::Scheduled);
}

#[test]
fn schedules_are_expanded() {
    let schedule = |schedule: serde_json::Value| {
        let of = event(json!({"eventSchedule": schedule}));
        let (listings, failures) = run(of);
        assert_eq!(failures, [], "{schedule}");
        listings
            .iter()
            .map(|one| {
                format!("{}{}", one.listing.start, one.listing.end.map(|end| format!(" {end}")).unwrap_or_default())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        schedule(
            json!({"startDate": "2026-04-01", "endDate": "2026-04-20", "repeatFrequency": "P1W", "byDay": ["https://schema.org/Monday"],
            "startTime": "22:00", "endTime": "01:00:00", "scheduleTimezone": "Europe/Oslo", "exceptDate": "2026-04-13"})
        ),
        ["2026-04-06T22:00:00+02:00 2026-04-07T01:00:00+02:00", "2026-04-20T22:00:00+02:00 2026-04-21T01:00:00+02:00"]
    );
    for (value, expected) in [
        (json!({"startDate": "2026-04-01", "repeatFrequency": "P2D", "repeatCount": 2}), "2026-04-01 2026-04-03"),
        (
            json!({"startDate": "2026-04-01", "repeatFrequency": "P1M", "byDay": "Tuesday", "byMonthWeek": 2, "repeatCount": 2}),
            "2026-04-14 2026-05-12",
        ),
        (
            json!({"startDate": "2026-04-01", "repeatFrequency": "Monthly", "byMonthDay": [5], "repeatCount": "2"}),
            "2026-04-05 2026-05-05",
        ),
        (json!({"startDate": "2026-04-01", "byDay": "TU,TH", "endDate": "2026-04-08"}), "2026-04-02 2026-04-07"),
        (json!({"startDate": "2026-04-01"}), "2026-04-01"),
        (json!([{"startDate": "2026-04-01"}, {"startDate": "2026-04-09"}]), "2026-04-01 2026-04-09"),
    ] {
        assert_eq!(schedule(value.clone()).join(" "), expected, "{value}");
    }
    let (listings, failures) =
        run(event(json!({"eventSchedule": {"startDate": "2026-04-01", "repeatFrequency": "now and then"}})));
    assert_eq!((listings.len(), codes(&failures)), (0, vec![DeadLetterCode::INVALID_FIELD]));
    let (listings, failures) =
        run(event(json!({"eventSchedule": {"startDate": "2026-04-01T10:00", "scheduleTimezone": "Atlantis"}})));
    assert_eq!((listings.len(), codes(&failures)), (1, vec![crate::raw::code::UNKNOWN_TIMEZONE]));
    let of_series = event(json!({"@type": "EventSeries", "eventSchedule": {"startDate": "2026-04-01T10:00"}}));
    assert_eq!(starts(of_series), ["e/20260401T100000 2026-04-01T10:00:00-07:00"]);
}

#[test]
fn names_as_contexts_let_them_be_written() {
    for value in [
        json!({"@context": "https://schema.org", "type": "Event", "id": "e", "name": "Kiln", "startDate": "2026-05-01"}),
        json!({"@context": ["http://www.schema.org/"], "type": "event", "id": "e", "name": "Kiln", "startDate": "2026-05-01"}),
        json!({"@context": {"type": "@type", "id": "@id"}, "type": "Event", "id": "e", "name": "Kiln", "startDate": "2026-05-01"}),
        json!({"@context": {"s": "https://schema.org/"}, "@type": "s:Event", "@id": "e", "s:name": "Kiln", "s:startDate": "2026-05-01"}),
        json!({"@context": {"schema": "http://schema.org/"}, "@type": "schema:Event", "@id": "e", "schema:name": "Kiln", "schema:startDate": "2026-05-01"}),
        json!([{"@type": ["http://schema.org/Event"], "@id": "e", "http://schema.org/name": [{"@value": "Kiln"}], "http://schema.org/startDate": [{"@value": "2026-05-01"}]}]),
    ] {
        assert_eq!(starts(value.clone()), ["e 2026-05-01"], "{value}");
    }
    let elsewhere = json!({"@context": "https://shapes.example", "type": "Event", "id": "e", "name": "Kiln", "startDate": "2026-05-01"});
    assert_eq!(codes(&run(elsewhere).1), [DeadLetterCode::MISSING_FIELD]);
    let languages = one(event(json!({"name": {"nl": "Oven", "en": "Kiln"}, "startDate": "2026-05-01"})));
    assert_eq!(languages.title, "Kiln");
}

#[test]
fn what_is_not_read_as_an_event_leaves_a_trace() {
    for (value, expected) in [
        (json!({"@type": "EventSeries", "name": "Kilns", "startDate": "2026-05-01"}), vec!["EventSeries: a series"]),
        (
            json!({"@type": "Happening", "name": "Kiln", "startDate": "2026-05-01"}),
            vec!["Happening: it has a startDate"],
        ),
        (
            json!([{"@type": "Place", "name": "Barn"}, {"name": "Kiln", "startDate": "2026-05-01"}]),
            vec!["a thing without @type"],
        ),
        (json!({"@type": "WebPage", "name": "Kilns"}), vec![]),
        (
            json!({"@type": "MusicAlbum", "name": "Clay", "releasedEvent": {"@type": "PublicationEvent", "name": "x", "startDate": "2026-05-01"}}),
            vec![],
        ),
        (
            json!({"@type": "Organization", "name": "Club", "member": {"@type": "Person", "name": "A", "startDate": "2020"}}),
            vec![],
        ),
    ] {
        let extraction =
            extract_with(SourceConfig::default(), raw("application/ld+json", value.to_string().as_bytes()));
        assert!(extraction.failures.iter().all(|letter| letter.code == crate::raw::code::NOT_AN_EVENT));
        let reasons: Vec<&str> = extraction.failures.iter().map(|letter| &*letter.reason).collect();
        assert!(
            reasons.len() == expected.len()
                && reasons.iter().zip(&expected).all(|(reason, start)| reason.starts_with(start)),
            "{reasons:?}"
        );
        assert_eq!(extraction.document.unwrap().listings, [], "it is a document all the same");
    }
}

#[test]
fn json_of_web_pages_is_read_and_told() {
    let fine = r#"{"@context": "https://schema.org", "@type": "Event", "@id": "e", "name": "Kiln", "startDate": "2026-05-01"}"#;
    for text in [
        format!("<script type=\"application/ld+json\">\n\u{feff}{fine}\n</script>"),
        format!("//<![CDATA[\n{fine}\n//]]>"),
        format!("{fine};"),
        fine.replace('"', "&quot;"),
        fine.replace("{", "{ // ours\n").replace('}', ",}"),
        format!("\u{feff}/* ours */ {fine}"),
    ] {
        let extraction = extract_with(SourceConfig::default(), raw("application/ld+json", text.as_bytes()));
        assert_eq!(codes(&extraction.failures), [crate::raw::code::READ_LENIENTLY], "{text}");
        assert_eq!(extraction.document.unwrap().listings[0].listing.external_id, "e");
        assert!(text.as_bytes().starts_with(&extraction.failures[0].bytes));
    }
    let two = format!("{fine}\n{}", fine.replace("\"e\"", "\"f\""));
    let extraction = extract_with(SourceConfig::default(), raw("application/ld+json", two.as_bytes()));
    assert_eq!(
        (codes(&extraction.failures), extraction.document.unwrap().listings.len()),
        (vec![crate::raw::code::READ_LENIENTLY], 2)
    );
    for broken in [fine.replace(", \"name\"", " \"name\""), fine[..60].to_owned(), "<html></html>".to_owned()] {
        let extraction = extract_with(SourceConfig::default(), raw("application/ld+json", broken.as_bytes()));
        assert_eq!(
            (codes(&extraction.failures), extraction.document),
            (vec![DeadLetterCode::MALFORMED], None),
            "{broken}"
        );
        assert!(extraction.failures[0].reason.starts_with("not JSON"));
    }
}

#[test]
fn a_part_of_a_mended_text_has_its_own_bytes_where_they_are_found() {
    let text = r#"[{"@type": "Event", "@id": "e", "name": "Kiln"}, {"@type": "Event", "@id": "f", "name": "Kiln", "startDate": "2026-05-01"},]"#;
    let extraction = extract_with(SourceConfig::default(), raw("application/ld+json", text.as_bytes()));
    assert_eq!(codes(&extraction.failures), [DeadLetterCode::MISSING_FIELD, crate::raw::code::READ_LENIENTLY]);
    assert_eq!(extraction.failures[0].bytes, br#"{"@type": "Event", "@id": "e", "name": "Kiln"}"#);
    let mended_inside = text.replace("\"Kiln\"}", "\"Kiln\",}");
    let extraction = extract_with(SourceConfig::default(), raw("application/ld+json", mended_inside.as_bytes()));
    let missing = extraction.failures.iter().find(|letter| letter.code == DeadLetterCode::MISSING_FIELD).unwrap();
    assert_eq!(missing.bytes, mended_inside.as_bytes());
}
