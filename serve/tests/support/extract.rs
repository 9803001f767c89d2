//! The extractor, as sources' calendars meet it.

use headwater_operators::Listing;
use headwater_operators::extract::{ExtractConfig, Extractor, SourceConfig};
use headwater_operators::raw::{Origin, RawRecord};

/// The listings of a calendar, of which nothing may be refused.
pub fn calendar(bytes: &[u8]) -> Vec<Listing> {
    let config = ExtractConfig { defaults: SourceConfig::default(), ..ExtractConfig::default() };
    let extractor = Extractor::new(&config).unwrap();
    let now = "2026-11-30T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let extraction = extractor.extract(RawRecord {
        origin: Origin { topic: "raw".into(), partition: 0, offset: 0, timestamp_ms: now, order_ms: now },
        source: Some("served".into()),
        content_type: Some("text/calendar".into()),
        key: Some(b"events.ics".to_vec()),
        value: Some(bytes.to_vec()),
        headers: Vec::new(),
    });
    assert!(extraction.failures.is_empty(), "{:?}", extraction.failures);
    extraction.document.unwrap().listings.into_iter().map(|one| one.listing).collect()
}
