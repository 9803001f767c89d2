//! Targets of the crate `headwater-operators`: everything that reads the bytes of sources.
//!
//! Whatever a source sends, extraction must
//! - account for it: a record gives a document or a dead letter, never neither, and a dead letter
//!   holds bytes of the record, unchanged;
//! - keep to its limits, in what it gives and in what its dead letters hold;
//! - give the same twice;
//! - give listings that survive sanitising (twice is the same as once), JSON (the `listings` topic)
//!   and bincode (between workers), and that every operator downstream can take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use headwater_operators::categorize::{Taxonomy, TaxonomyConfig};
use headwater_operators::extract::{
    Capture, ExtractConfig, Extraction, Extractor, Field, Limits, Mapping, Place, SourceConfig, SourcePlace,
};
use headwater_operators::geocode::PlaceKey;
use headwater_operators::listing::Ratio;
use headwater_operators::raw::{DeadLetter, Origin, RawRecord};
use headwater_operators::resolve::identity::Identity;
use headwater_operators::resolve::merge::merge;
use headwater_operators::resolve::{Comparer, Fingerprint, ResolveConfig, own_id};
use headwater_operators::sanitize::{SanitizeConfig, sanitize as sanitize_listing};
use headwater_operators::score::{Gates, score};
use headwater_operators::{Listing, LiveListing, Moment, Shared};

/// 2026-03-26T00:00:00Z.
const NOW_MS: i64 = 1_774_483_200_000;

/// Narrow, so that inputs of some kilobytes reach them.
fn limits() -> Limits {
    Limits {
        max_record_bytes: 64 << 10,
        max_nesting: 8,
        max_string_bytes: 300,
        max_id_bytes: 64,
        max_url_bytes: 120,
        max_list_items: 6,
        max_listings_per_record: 64,
        max_instances_per_series: 32,
        max_recurrence_steps: 20_000,
        horizon_past_days: 31,
        horizon_future_days: 400,
    }
}

fn extractor(defaults: SourceConfig) -> Extractor {
    let config = ExtractConfig { limits: limits(), defaults, ..ExtractConfig::default() };
    Extractor::new(&config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn raw(content_type: &str, bytes: &[u8]) -> RawRecord {
    RawRecord {
        origin: Origin { topic: "raw.s".into(), partition: 0, offset: 7, timestamp_ms: NOW_MS, order_ms: NOW_MS },
        source: Some("s".into()),
        content_type: Some(content_type.into()),
        key: Some(b"k".to_vec()),
        value: Some(bytes.to_vec()),
        headers: vec![("h".to_owned(), b"v".to_vec())],
    }
}

/// Calendars.
pub fn icalendar(data: &[u8]) {
    static PLAIN: LazyLock<Extractor> = LazyLock::new(|| {
        extractor(SourceConfig { timezone: Some("America/Los_Angeles".into()), ..SourceConfig::default() })
    });
    check(&PLAIN, &raw("text/calendar", data));
}

/// A rule, a start, and the lines of exceptions beside them: `RULE \n START \n …`.
pub fn recurrence(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let (rule, start) = (lines.next().unwrap_or_default(), lines.next().unwrap_or("20260301T100000"));
    let rest: String = lines.map(|line| format!("{line}\r\n")).collect();
    let calendar = format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:x\r\nDTSTART:{start}\r\nRRULE:{rule}\r\n{rest}\
         END:VEVENT\r\nEND:VCALENDAR\r\n"
    );
    icalendar(calendar.as_bytes());
}

/// schema.org as JSON-LD.
pub fn jsonld(data: &[u8]) {
    static PLAIN: LazyLock<Extractor> = LazyLock::new(|| extractor(SourceConfig::default()));
    check(&PLAIN, &raw("application/ld+json", data));
}

fn at(pointer: &str) -> Field {
    Field::One(Place::Pointer(pointer.into()))
}

/// Any JSON, by a mapping that names every field.
pub fn mapped(data: &[u8]) {
    static MAPPED: LazyLock<Extractor> = LazyLock::new(|| {
        let mapping = Mapping {
            records: Some("/events".into()),
            id: at("/id"),
            title: Field::FirstOf(vec![Place::Pointer("/name".into()), Place::Pointer("/headline".into())]),
            description: at("/text"),
            start: at("/start"),
            start_time: at("/startTime"),
            end: at("/end"),
            end_time: at("/endTime"),
            year: at("/year"),
            timezone: at("/zone"),
            categories: at("/kinds/*"),
            tags: at("/tags/*/text"),
            venue: at("/venue"),
            address: at("/address"),
            city: Field::One(Place::Capture(Capture { pointer: "/place".into(), capture: "^([^,]+),".into() })),
            region: at("/region"),
            postal_code: at("/zip"),
            country: at("/country"),
            latitude: at("/at/0"),
            longitude: at("/at/1"),
            online: at("/online"),
            organizer: at("/by"),
            organizer_url: at("/byUrl"),
            price: at("/price"),
            price_max: at("/priceMax"),
            currency: at("/currency"),
            free: at("/free"),
            capacity: at("/capacity"),
            images: at("/images/*"),
            urls: at("/urls"),
            status: at("/status"),
            sequence: at("/sequence"),
            modified: at("/modified"),
            date_formats: ["iso8601", "rfc2822", "text-range", "%d/%m/%y %I %p", "%d %b", "epoch-millis"]
                .map(str::to_owned)
                .into(),
            ..Mapping::default()
        };
        extractor(SourceConfig {
            mapping: Some(mapping),
            midnight_means_unknown: true,
            timezone: Some("Europe/Paris".into()),
            ..SourceConfig::default()
        })
    });
    check(&MAPPED, &raw("application/json", data));
}

/// Dates as people write them: a text by itself, read in every format.
pub fn text_dates(data: &[u8]) {
    static BY_FORMAT: LazyLock<Vec<Extractor>> = LazyLock::new(|| {
        let formats = ["text-range", "iso8601", "rfc2822", "epoch-seconds", "epoch-millis", "%d.%m.%Y %H:%M", "%s %z"];
        let one = |format: &str| {
            let mapping = Mapping {
                title: at("/t"),
                start: at("/d"),
                start_time: at("/d"),
                end: at("/d"),
                end_time: at("/d"),
                modified: at("/d"),
                timezone: at("/z"),
                year: at("/y"),
                date_formats: vec![format.to_owned()],
                ..Mapping::default()
            };
            extractor(SourceConfig { mapping: Some(mapping), ..SourceConfig::default() })
        };
        formats.map(one).into()
    });
    let text = String::from_utf8_lossy(data);
    let (date, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let (zone, year) = rest.split_once('\n').unwrap_or((rest, "2026"));
    let json = serde_json::json!({ "t": "x", "d": date, "z": zone, "y": year }).to_string();
    for extractor in BY_FORMAT.iter() {
        check(extractor, &raw("application/json", json.as_bytes()));
    }
}

/// A content type, then bytes in any encoding, in every format: `CONTENT TYPE \n BYTES`.
pub fn charsets(data: &[u8]) {
    static AT_A_PLACE: LazyLock<Extractor> = LazyLock::new(|| {
        let place = SourcePlace { city: Some("Ghent".into()), country: Some("BE".into()), ..SourcePlace::default() };
        extractor(SourceConfig { place: Some(place), ..SourceConfig::default() })
    });
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let (head, bytes) = data.split_at(end);
    let content_type = String::from_utf8_lossy(head);
    check(&AT_A_PLACE, &raw(&content_type, bytes.get(1..).unwrap_or_default()));
}

/// What is around the value: source, content type, key, headers, timestamps.
pub fn envelope(data: &[u8]) {
    static PLAIN: LazyLock<Extractor> = LazyLock::new(|| extractor(SourceConfig::default()));
    let mut parts = data.split(|&byte| byte == b'\n');
    let text = |part: Option<&[u8]>| part.and_then(|part| std::str::from_utf8(part).ok()).map(str::to_owned);
    let (source, content_type) = (text(parts.next()), text(parts.next()));
    let key = parts.next().map(<[u8]>::to_vec);
    let number = parts.next().map(|part| part.iter().fold(0i64, |sum, byte| sum << 7 ^ i64::from(*byte)));
    let timestamp_ms = number.unwrap_or(NOW_MS);
    let value = parts.next().map(|_| data.to_vec());
    let mut record = raw("", b"");
    record.origin = Origin { timestamp_ms, order_ms: timestamp_ms, ..record.origin };
    record.headers = vec![("source".to_owned(), source.as_deref().unwrap_or_default().as_bytes().to_vec())];
    let calendar = b"BEGIN:VEVENT\nUID:1\nSUMMARY:a\nDTSTART:20260301\nRRULE:FREQ=DAILY\nEND:VEVENT\n".to_vec();
    let json = br#"{"@type":"Event","name":"a","startDate":"2026-03-01"}"#.to_vec();
    for value in [value, Some(calendar), Some(json), None] {
        check(
            &PLAIN,
            &RawRecord {
                source: source.as_deref().map(Into::into),
                content_type: content_type.as_deref().map(Into::into),
                key: key.clone(),
                value,
                ..record.clone()
            },
        );
    }
}

/// Texts with markup, entities and invisible characters, in every text field.
pub fn sanitize(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let start = Moment::Day(jiff::civil::date(2026, 3, 28));
    let mut listing = Listing::new("s", "1", &text, start);
    listing.description = Some(text.as_str().into());
    listing.venue.name = Some(text.as_str().into());
    listing.venue.city = Some(text.as_str().into());
    listing.tags = text.split(',').map(Into::into).collect();
    listing.source_categories = [text.as_str().into()].into();
    listing.urls = text.split_whitespace().map(Into::into).collect();
    listing.images = [text.into()].into();
    check_sanitized(listing);
}

fn check(extractor: &Extractor, record: &RawRecord) {
    let extraction = extractor.extract(record.clone());
    assert_eq!(extractor.extract(record.clone()), extraction, "extraction is a function of the record");
    assert!(extraction.document.is_some() || !extraction.failures.is_empty(), "the record vanished");
    check_failures(record, &extraction);
    let Some(document) = &extraction.document else { return };
    let limits = limits();
    assert!(document.listings.len() <= limits.max_listings_per_record);
    let ids: BTreeSet<&str> = document.listings.iter().map(|one| &*one.listing.external_id).collect();
    assert_eq!(ids.len(), document.listings.len(), "two listings of one id");
    for one in &document.listings {
        check_listing(&one.listing, &limits);
    }
    // The others are instances of the same few series.
    let first = document.listings.iter().take(3);
    let sanitized: Vec<Listing> = first.map(|one| check_sanitized(one.listing.clone())).collect();
    assert!(sanitized.iter().all(|listing| !listing.title.is_empty()), "a listing without a title");
    if let [first, second, ..] = sanitized.as_slice() {
        check_pair(first, second);
    }
}

fn check_failures(record: &RawRecord, extraction: &Extraction) {
    let limits = limits();
    let value = record.value.as_deref().unwrap_or_default();
    assert!(extraction.failures.len() <= limits.max_listings_per_record + 8, "{}", extraction.failures.len());
    let mut bytes = 0;
    for letter in &extraction.failures {
        let DeadLetter { origin, source, content_type, key, headers, .. } = letter;
        assert_ne!(letter.reason, "reading it failed unexpectedly");
        assert!(letter.reason.len() <= 1_000, "a reason of {} bytes", letter.reason.len());
        assert!(letter.part.as_ref().is_none_or(|part| part.len() <= limits.max_id_bytes));
        assert_eq!((origin, source, content_type), (&record.origin, &record.source, &record.content_type));
        assert_eq!((key, headers), (&record.key, &record.headers));
        assert!(is_part(&letter.bytes, value), "a dead letter with bytes that are not the record's");
        assert!(extraction.document.is_some() || letter.part.is_some() || !letter.bytes.is_empty() || value.is_empty());
        bytes += letter.bytes.len();
    }
    // A part that is nested in others is in the bytes of each of them.
    assert!(bytes <= (limits.max_nesting + 4) * value.len(), "{bytes} bytes in dead letters of {}", value.len());
}

fn is_part(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty() || part.len() == whole.len() && part == whole || whole.windows(part.len()).any(|w| w == part)
}

fn check_listing(listing: &Listing, limits: &Limits) {
    let text = |text: &str| assert!(text.len() <= limits.max_string_bytes, "{} bytes", text.len());
    assert!(!listing.title.trim().is_empty());
    text(&listing.title);
    assert!(!listing.external_id.is_empty() && !listing.external_id.chars().any(char::is_control));
    assert!(listing.external_id.len() <= limits.max_id_bytes);
    let venue = &listing.venue;
    let fields = [&venue.name, &venue.address, &venue.city, &venue.region, &venue.postal_code, &venue.country];
    fields.into_iter().flatten().for_each(|field| text(field));
    listing.description.iter().for_each(|field| text(field));
    listing.tags.iter().for_each(|tag| text(tag));
    listing.source_categories.iter().for_each(|category| text(category));
    for urls in [&listing.urls, &listing.images] {
        assert!(urls.len() <= limits.max_list_items);
        assert!(urls.iter().all(|url| !url.is_empty() && url.len() <= limits.max_url_bytes));
    }
    assert!(listing.tags.len().max(listing.source_categories.len()) <= limits.max_list_items);
    for moment in [Some(listing.start), listing.end].into_iter().flatten() {
        assert!((1900..=2200).contains(&moment.local_date().year()), "{moment}");
    }
    assert!(!listing.start.is_day() || listing.end.is_none_or(|end| end.is_day()));
}

/// Sanitises and checks what must hold of the result and of everything made of it.
fn check_sanitized(mut listing: Listing) -> Listing {
    let config = SanitizeConfig::default();
    sanitize_listing(&mut listing, &config);
    let mut again = listing.clone();
    sanitize_listing(&mut again, &config);
    assert_eq!(again, listing, "sanitising is idempotent");
    assert!(listing.title.chars().count() <= config.max_title_chars);
    for text in
        [Some(&*listing.title), listing.description.as_deref(), listing.venue.name.as_deref()].into_iter().flatten()
    {
        assert!(!text.contains(['\0', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}', '\r']), "{text:?}");
        assert!(!text.to_ascii_lowercase().contains("<script"), "{text:?}");
    }
    for url in listing.urls.iter().chain(&listing.images) {
        assert!(url.starts_with("https://") || url.starts_with("http://"), "{url}");
    }
    let json = serde_json::to_string(&listing).unwrap();
    assert_eq!(serde_json::from_str::<Listing>(&json).unwrap(), listing, "{json}");
    let bytes = bincode::serialize(&listing).unwrap();
    assert_eq!(bincode::deserialize::<Listing>(&bytes).unwrap(), listing);
    check_downstream(listing.clone());
    listing
}

fn live(listing: &Listing) -> LiveListing {
    let live = LiveListing::new(listing, NOW_MS, NOW_MS);
    assert_eq!(&live.described(), listing);
    live
}

/// Categories, places, fingerprints, merging and scores take any listing.
fn check_downstream(mut listing: Listing) {
    static TAXONOMY: LazyLock<Taxonomy> = LazyLock::new(|| Taxonomy::new(&TaxonomyConfig::default()).unwrap());
    static RESOLVE: LazyLock<ResolveConfig> = LazyLock::new(ResolveConfig::default);
    static GATES: LazyLock<Gates> = LazyLock::new(Gates::default);
    TAXONOMY.apply(&mut listing);
    let _place = PlaceKey::of(&listing.venue.view());
    let live = live(&listing);
    let fingerprint = Fingerprint::of(&live, &RESOLVE);
    assert_eq!(Fingerprint::of(&live, &RESOLVE), fingerprint);
    let identity = Identity { born: NOW_MS, event: own_id(live.id) };
    let event = merge(identity, [(Shared::new(live), Ratio::ONE)], &RESOLVE).unwrap();
    let event = event.view();
    let report = score(&event, &GATES);
    assert!(serde_json::to_vec(&event).is_ok() && serde_json::to_vec(&report).is_ok());
}

/// Two listings are compared alike from both sides.
fn check_pair(first: &Listing, second: &Listing) {
    let config = ResolveConfig::default();
    let comparer = Comparer::new(&config);
    let [a, b] = [first, second].map(|listing| Fingerprint::of(&live(listing), &config));
    assert_eq!(comparer.matches(&a, &b), comparer.matches(&b, &a));
}
