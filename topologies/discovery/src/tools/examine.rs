//! What discovery knows of the records of dead letters.

use headwater::config::Invalid;
use headwater::tools::dead_letters::Examine;
use headwater_operators::extract::Extractor;
use headwater_operators::raw::RawRecord;

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
}
