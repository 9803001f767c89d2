//! What discovery knows of raw records: of dead letters, and of those that are to be written.

use headwater::config::Invalid;
use headwater::tools::dead_letters::{Examine, Objection};
use headwater_operators::extract::Extractor;
use headwater_operators::raw::{DeadLetterCode, RawRecord};

use crate::config::Config;

/// Reads records as the topology would. The subjects of a record are the listings that it describes.
pub struct Examiner(Extractor);

impl Examiner {
    /// Reads records as `config` says.
    ///
    /// # Errors
    /// Everything that is wrong with the sections of extraction.
    pub fn of(config: &Config) -> Result<Option<Box<dyn Examine>>, Vec<Invalid>> {
        let (extractor, _) = config.topology.compile()?;
        Ok(Some(Box::new(Self(extractor))))
    }
}

impl Examine for Examiner {
    fn subjects(&self, record: RawRecord) -> Vec<u128> {
        let document = self.0.extract(record).document;
        document.into_iter().flat_map(|document| document.listings).map(|one| one.listing.id().0).collect()
    }

    fn failures(&self, record: RawRecord) -> Vec<&'static str> {
        self.0.extract(record).failures.iter().map(|failure| failure.code.as_str()).collect()
    }

    fn objection(&self, record: RawRecord) -> Option<Objection> {
        // What is said of the bytes does not count, so any will do that are not blank.
        let value = record.value.is_some().then(|| b"{}".to_vec());
        let failures = self.0.extract(RawRecord { value, ..record }).failures;
        failures.into_iter().find_map(|failure| {
            let hint = match failure.code {
                DeadLetterCode::UNKNOWN_SOURCE => {
                    "name the source: --source NAME, or `source` of the topic under [[inputs]]"
                }
                DeadLetterCode::UNKNOWN_CONTENT_TYPE => {
                    "say what it is: --content-type text/calendar or application/ld+json, or `format` and `mapping` \
                     under [sources.NAME]"
                }
                _ => return None,
            };
            Some(Objection { reason: failure.reason, hint: hint.to_owned() })
        })
    }
}

#[cfg(test)]
mod tests {
    use headwater_operators::ListingId;
    use headwater_operators::raw::Origin;

    use super::*;

    fn record(value: &str) -> RawRecord {
        RawRecord {
            origin: Origin { topic: "t".into(), partition: 0, offset: 0, timestamp_ms: 0, order_ms: 0 },
            source: Some("city".into()),
            content_type: Some("application/ld+json".into()),
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    #[test]
    fn subjects_are_listings_and_failures_are_codes() {
        let examiner = Examiner::of(&Config::default()).unwrap().unwrap();
        let fine = r#"{"@type":"Event","@id":"1","name":"Jazz","startDate":"2099-03-28T19:30:00Z"}"#;
        assert_eq!(examiner.subjects(record(fine)), [ListingId::of("city", "1").0]);
        assert_eq!(examiner.failures(record(fine)), [""; 0]);
        assert_eq!(examiner.subjects(record("{")), [0; 0]);
        assert_eq!(examiner.failures(record("{")), ["malformed"]);
    }

    #[test]
    fn only_source_and_content_type_are_objected_to() {
        let examiner = Examiner::of(&Config::default()).unwrap().unwrap();
        let objection = |record| examiner.objection(record).map(|found| found.reason);
        assert_eq!(objection(record("{")), None);
        let csv = RawRecord { content_type: Some("text/csv".into()), ..record("") };
        assert_eq!(objection(csv.clone()).unwrap(), "there is no adapter for \"text/csv\"");
        let nameless = RawRecord { source: None, ..record("") };
        assert!(objection(nameless.clone()).unwrap().contains("names a source"));
        let tombstone = |record| RawRecord { key: Some(b"a".to_vec()), value: None, ..record };
        assert_eq!(objection(tombstone(csv)), None, "there is nothing to read in it");
        assert!(objection(tombstone(nameless)).is_some());
    }
}
