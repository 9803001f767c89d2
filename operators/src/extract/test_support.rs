//! Helpers of the tests of extraction.

use super::{ExtractConfig, Extraction, Extractor, SourceConfig};
use crate::raw::{DeadLetter, DeadLetterCode, Origin, RawRecord};

/// 2026-03-26T00:00:00Z.
pub(crate) const NOW_MS: i64 = 1_774_483_200_000;

/// A keyed record of source `s`.
pub(crate) fn raw(content_type: &str, bytes: &[u8]) -> RawRecord {
    RawRecord {
        origin: Origin { topic: "raw.s".into(), partition: 0, offset: 7, timestamp_ms: NOW_MS, order_ms: NOW_MS },
        source: Some("s".into()),
        content_type: Some(content_type.into()),
        key: Some(b"k".to_vec()),
        value: Some(bytes.to_vec()),
        headers: vec![("h".to_owned(), b"v".to_vec())],
    }
}

/// Extracts with one configuration for all sources.
pub(crate) fn extract_with(defaults: SourceConfig, record: RawRecord) -> Extraction {
    extractor(ExtractConfig { defaults, ..ExtractConfig::default() }).extract(record)
}

pub(crate) fn extractor(config: ExtractConfig) -> Extractor {
    Extractor::new(&config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

pub(crate) fn codes(failures: &[DeadLetter]) -> Vec<DeadLetterCode> {
    failures.iter().map(|failure| failure.code).collect()
}
