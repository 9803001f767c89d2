//! schema.org `Event` as JSON-LD: an object, an array, a `@graph`, or nested in other nodes.
//!
//! An event is a node whose type ends in `Event` or `Festival` (`MusicEvent`, `EducationEvent`,
//! …), or is `CourseInstance` or `Hackathon`. Its id is the first of `identifier`, `@id` and `url`
//! that it has, or else a digest of name and start. Sub-events are listings of their own; the
//! event that `superEvent` points to is not, since it is described in passing only.

use std::borrow::Cow;

use jiff::{SignedDuration, Span};
use smol_str::SmolStr;

use super::json::{Node, Slices, Step};
use super::place;
use super::problem::Problem;
use super::record::{Output, Record, check_id, source_geo, stand_in_id};
use super::when::{self, When};
use super::words::{self, Prices};
use crate::listing::{Listing, Organizer, Pricing, Status, Venue};
use crate::moment::Moment;
use crate::raw::{DeadLetterCode, Extracted, SourceStamp};

/// Changes whenever the same record would give other listings than before.
pub(super) const VERSION: u32 = 1;

/// Reads a JSON-LD record. A document of other things than events is one without listings.
pub(super) fn extract(record: &Record<'_>) -> Result<Output, Problem> {
    let root = Node::parse(record.bytes, record.limits.max_nesting)?;
    let mut found = Found::default();
    found.walk(&root, &mut Vec::new());
    if found.events.is_empty() && !found.typed && !is_empty(&root) {
        let reason = "there is no @type, so it is not JSON-LD; JSON of another form needs a mapping for its source";
        return Err(Problem::new(DeadLetterCode::MissingField, reason));
    }
    let mut output = Output::default();
    let mut slices = Slices::new(record.bytes);
    let total = found.events.len();
    for (index, (node, path)) in found.events.into_iter().enumerate() {
        if output.room(record.limits) == 0 {
            let reason = format!("{} events of {total} are beyond the limit", total - index);
            output.fail(record, Problem::new(DeadLetterCode::TooManyListings, reason), None, record.bytes);
            break;
        }
        match listing(record, node) {
            Ok(extracted) => output.listings.push(extracted),
            Err(problem) => {
                let id = given_id(node).filter(|id| check_id(id, record.limits).is_ok());
                output.fail(record, problem, id.as_deref(), slices.slice(&path));
            }
        }
    }
    Ok(output)
}

/// An empty list, or a node without content but a list of none.
fn is_empty(root: &Node<'_>) -> bool {
    match root {
        Node::List(items) => items.is_empty(),
        object => object.get("@graph").is_some_and(|graph| graph.items().is_empty()),
    }
}

/// The events of a document, with the way to each.
#[derive(Default)]
struct Found<'n, 'a> {
    events: Vec<(&'n Node<'a>, Vec<Step>)>,
    /// Whether any node has a type, as every JSON-LD document about things has.
    typed: bool,
}

impl<'n, 'a> Found<'n, 'a> {
    fn walk(&mut self, node: &'n Node<'a>, path: &mut Vec<Step>) {
        match node {
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.step(Step::Index(index), item, path);
                }
            }
            Node::Object(members) => {
                self.typed |= node.get("@type").is_some();
                let event = is_event(node);
                if event {
                    self.events.push((node, path.clone()));
                }
                for (name, value) in members.iter().map(|(name, value)| (name.as_str(), value)) {
                    if name != "superEvent" && (!event || holds_events(name)) {
                        self.step(Step::Name(name.to_owned()), value, path);
                    }
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, step: Step, node: &'n Node<'a>, path: &mut Vec<Step>) {
        if matches!(node, Node::List(_) | Node::Object(_)) {
            path.push(step);
            self.walk(node, path);
            path.pop();
        }
    }
}

fn holds_events(name: &str) -> bool {
    ["subEvent", "subEvents", "event", "events", "@graph"].contains(&name)
}

fn types<'n>(node: &'n Node<'_>) -> impl Iterator<Item = &'n str> {
    node.get("@type").map(Node::items).unwrap_or_default().iter().filter_map(Node::filled).map(words::local_name)
}

fn is_event(node: &Node<'_>) -> bool {
    types(node).any(|name| {
        name.ends_with("Event") || name.ends_with("Festival") || name == "CourseInstance" || name == "Hackathon"
    })
}

fn listing(record: &Record<'_>, node: &Node<'_>) -> Result<Extracted, Problem> {
    let zone = &record.source.zone;
    let title = first_text(node, "name").ok_or_else(|| Problem::missing("name"))?;
    let written = first_text(node, "startDate").ok_or_else(|| Problem::missing("startDate"))?;
    let begin = when::iso8601(&written).ok_or_else(|| Problem::invalid("startDate", &written))?;
    let start = begin.begin(zone).ok_or_else(|| Problem::invalid("startDate", &written))?;
    let id = given_id(node).unwrap_or_else(|| stand_in_id(&title, &written));
    let mut listing = record.listing(id.into(), title.into(), start);
    listing.timezone = zone.name().filter(|_| begin.fits(zone)).cloned();
    listing.end = end(record, node, &begin, start);
    describe(&mut listing, node);
    let modified = first_text(node, "dateModified").and_then(|text| when::iso8601(&text));
    let modified_ms = modified.and_then(|modified| modified.epoch_ms(zone)).unwrap_or(0);
    record.accept(listing, SourceStamp { sequence: 0, modified_ms })
}

fn describe(listing: &mut Listing, node: &Node<'_>) {
    listing.description = first_text(node, "description").map(Into::into);
    listing.source_categories = types(node).filter(|name| *name != "Event").map(SmolStr::from).collect();
    for key in ["eventCategory", "category", "genre"] {
        each_name(node, key, &mut |text| listing.source_categories.push(text.into()));
    }
    listing.tags = keywords(node);
    listing.venue = Venue::default();
    locate(listing, node);
    listing.organizer = organizer(node, "organizer").or_else(|| organizer(node, "performer"));
    listing.pricing = pricing(node);
    listing.capacity = node.get("maximumAttendeeCapacity").and_then(Node::whole);
    each_url(node, "image", &mut |url| listing.images.push(url.into()));
    for key in ["url", "mainEntityOfPage", "sameAs"] {
        each_url(node, key, &mut |url| listing.urls.push(url.into()));
    }
    listing.status = first_text(node, "eventStatus").and_then(|word| words::status(&word)).unwrap_or_default();
    listing.online |= listing.status == Status::MovedOnline;
}

/// The end as given, or from the duration. A day as the end is the last one.
fn end(record: &Record<'_>, node: &Node<'_>, begin: &When, start: Moment) -> Option<Moment> {
    if let Some(end) = first_text(node, "endDate").and_then(|text| when::iso8601(&text)) {
        return end.begin(&record.source.zone);
    }
    let span: Span = first_text(node, "duration")?.trim().parse().ok()?;
    match (start, begin) {
        (Moment::Instant { ms, offset_min }, _) => {
            let duration = SignedDuration::try_from(span).ok().or_else(|| days_as_hours(span))?;
            let ms = ms.checked_add(i64::try_from(duration.as_millis()).ok()?)?;
            Some(Moment::Instant { ms, offset_min })
        }
        (Moment::Day(day), _) => Some(Moment::Day(day.checked_add(span).ok()?.yesterday().ok()?)),
    }
}

fn days_as_hours(span: Span) -> Option<SignedDuration> {
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// `identifier`, else `@id`, else `url`. Ids that hold only inside the document are none.
fn given_id(node: &Node<'_>) -> Option<String> {
    let identifier = node.get("identifier").and_then(|found| found.items().iter().find_map(identifier));
    let id = || first_text(node, "@id").filter(|id| !id.starts_with("_:") && !id.starts_with('#')).map(Cow::into_owned);
    let url = || first_text(node, "url").map(Cow::into_owned);
    identifier.or_else(id).or_else(url).map(|id| id.trim().to_owned())
}

/// An identifier: a text, a number, or the value of a `PropertyValue`.
fn identifier(node: &Node<'_>) -> Option<String> {
    match node {
        Node::Object(_) => ["value", "@value", "@id"].iter().find_map(|key| first_text(node, key)).map(Cow::into_owned),
        Node::Text(_) => node.filled().map(str::to_owned),
        other => other.text().map(Cow::into_owned),
    }
}

/// The first text among the values of `key`: a text or number, or the value of a language-tagged one.
fn first_text<'n>(node: &'n Node<'_>, key: &str) -> Option<Cow<'n, str>> {
    node.get(key)?.items().iter().find_map(|item| match item {
        Node::Object(_) => item.get("@value").or_else(|| item.get("@id"))?.filled().map(Cow::Borrowed),
        Node::Text(_) => item.filled().map(Cow::Borrowed),
        Node::Int(_) | Node::Float(_) => item.text(),
        _ => None,
    })
}

/// Calls `found` with every text of `key`, and the name of every thing.
fn each_name(node: &Node<'_>, key: &str, found: &mut dyn FnMut(&str)) {
    for item in node.get(key).map(Node::items).unwrap_or_default() {
        if let Some(text) = item.filled().or_else(|| item.get("name").and_then(Node::filled)) {
            found(text);
        }
    }
}

/// Calls `found` with every address of `key`: a text, or the address of a thing.
fn each_url(node: &Node<'_>, key: &str, found: &mut dyn FnMut(&str)) {
    for item in node.get(key).map(Node::items).unwrap_or_default() {
        let inner = || ["url", "contentUrl", "@id"].iter().find_map(|key| item.get(key)?.items().first()?.filled());
        if let Some(url) = item.filled().or_else(inner) {
            found(url);
        }
    }
}

/// Keywords as a list, or as one text with commas.
fn keywords(node: &Node<'_>) -> Vec<SmolStr> {
    let mut tags = Vec::new();
    each_name(node, "keywords", &mut |text| {
        tags.extend(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(Into::into));
    });
    tags
}

/// Fills in venue and whether it is online, from all places that are named.
fn locate(listing: &mut Listing, node: &Node<'_>) {
    if let Some(mode) = first_text(node, "eventAttendanceMode") {
        let mode = words::local_name(&mode);
        listing.online = mode.starts_with("Online") || mode.starts_with("Mixed");
    }
    let mut located = false;
    for place in node.get("location").map(Node::items).unwrap_or_default() {
        if types(place).any(|name| name == "VirtualLocation") {
            listing.online = true;
            each_url(place, "url", &mut |url| listing.urls.push(url.into()));
        } else if !located {
            listing.venue = venue(place);
            located = true;
        }
    }
}

fn venue(place: &Node<'_>) -> Venue {
    if let Some(text) = place.filled() {
        return place::split(text);
    }
    let own = |key: &str| first_text(place, key).map(SmolStr::from);
    let mut venue = match place.get("address").and_then(|address| address.items().first()) {
        Some(Node::Text(text)) => place::address(text),
        Some(address) => postal_address(address),
        None if types(place).any(|name| name == "PostalAddress") => postal_address(place),
        None => Venue::default(),
    };
    venue.name = own("name").or(venue.name);
    let geo = place.get("geo").and_then(|geo| geo.items().first()).unwrap_or(place);
    let degrees = |key: &str| geo.get(key).and_then(Node::number);
    venue.geo = degrees("latitude").zip(degrees("longitude")).and_then(|(lat, lon)| source_geo(lat, lon));
    venue
}

fn postal_address(address: &Node<'_>) -> Venue {
    let own = |key: &str| {
        let named = || address.get(key)?.items().first()?.get("name")?.filled().map(SmolStr::from);
        first_text(address, key).map(SmolStr::from).or_else(named)
    };
    Venue {
        name: None,
        address: own("streetAddress"),
        city: own("addressLocality"),
        region: own("addressRegion"),
        postal_code: own("postalCode"),
        country: own("addressCountry"),
        geo: None,
    }
}

fn organizer(node: &Node<'_>, key: &str) -> Option<Organizer> {
    let first = node.get(key)?.items().first()?;
    if let Some(name) = first.filled() {
        return Some(Organizer { name: name.into(), url: None });
    }
    let name = first_text(first, "name")?.into();
    Some(Organizer { name, url: first_text(first, "url").map(SmolStr::from) })
}

/// The lowest and highest price of all offers.
fn pricing(node: &Node<'_>) -> Option<Pricing> {
    let mut prices = Prices::default();
    prices.pricing.free = node.get("isAccessibleForFree").and_then(Node::flag);
    for offer in node.get("offers").map(Node::items).unwrap_or_default() {
        add_offer(&mut prices, offer);
        for inner in offer.get("offers").map(Node::items).unwrap_or_default() {
            add_offer(&mut prices, inner);
        }
    }
    prices.finish()
}

fn add_offer(prices: &mut Prices, offer: &Node<'_>) {
    let specification = offer.get("priceSpecification").map(Node::items).unwrap_or_default();
    for source in std::iter::once(offer).chain(specification) {
        for key in ["price", "lowPrice", "highPrice", "minPrice", "maxPrice"] {
            let Some(text) = source.get(key).and_then(Node::text) else { continue };
            match words::price(&text) {
                Some(amount) => prices.add(amount),
                None if words::says_free(&text) => prices.add(crate::listing::Amount(0)),
                None => {}
            }
        }
        if prices.pricing.currency.is_none() {
            prices.pricing.currency = first_text(source, "priceCurrency").map(SmolStr::from);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_support::{codes, extract_with, raw};
    use super::*;
    use crate::extract::SourceConfig;
    use crate::raw::DeadLetter;

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
        assert_eq!(codes(&run(json!({"hello": "world"})).1), [DeadLetterCode::MissingField]);
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
        let event = |start: &str, key: &str, value: &str| json!({"@type": "Event", "name": "x", "startDate": start, key: value});
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
    fn one_bad_event_does_not_take_the_others_with_it() {
        let (listings, failures) = run(json!([
            {"@type": "Event", "identifier": "1", "name": "good", "startDate": "2026-05-01"},
            {"@type": "Event", "identifier": "2", "startDate": "2026-05-01"},
            {"@type": "Event", "identifier": "3", "name": "x", "startDate": "soon"},
            {"@type": "Event", "identifier": "4", "name": "x", "startDate": "1026-05-01"},
            {"@type": "Event", "identifier": "5", "name": "x"},
        ]));
        assert_eq!(listings.len(), 1);
        let (missing, invalid) = (DeadLetterCode::MissingField, DeadLetterCode::InvalidField);
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
}
