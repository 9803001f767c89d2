//! Extraction: raw records become documents of listings, and dead letters.
//!
//! The source of a record is its `source` header or its topic's, and the source's configuration
//! says how to read it; where it names no format, the content type decides:
//!
//! | content type | format |
//! | --- | --- |
//! | `application/ld+json` | [`Format::JsonLd`] |
//! | `text/calendar` | [`Format::ICalendar`] |
//! | `application/json` | [`Format::Mapped`] where the source has a mapping, else [`Format::JsonLd`] |
//!
//! Rules that hold for every format:
//! - A record that cannot be used at all gives a dead letter and no document: what its former
//!   version said stays. A part that cannot be used gives a dead letter with the part's own bytes,
//!   and, where its id could be read, the listing stays as it was ([`Document::kept`]). Where every
//!   part fails there is no document either.
//! - Of two descriptions of one id in a record the one with the greater stamp stays, the last among
//!   equals.
//! - Optional fields that cannot be read are left out.
//! - What was used, but not as it stands there, is told too: a dead letter with a code of its own, such as
//!   [`crate::raw::code::UNKNOWN_TIMEZONE`], beside the listings.
//! - No listing ends before it begins: see [`when::end_after`].
//! - Nothing depends on a clock: horizons are relative to the record's timestamp.

mod config;
mod encoding;
mod icalendar;
mod json;
mod jsonld;
mod lenient;
mod mapped;
mod marks;
mod place;
mod problem;
mod record;
mod recurrence;
mod site;
#[cfg(test)]
mod test_support;
mod text_range;
mod when;
mod words;
mod zone;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use smol_str::SmolStr;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub use config::{
    Capture, ConfigProblem, ExtractConfig, Field, Format, Limits, Mapping, Place, SourceConfig, SourcePlace,
    UnknownSources,
};

use self::encoding::{Decoded, around_broken};
use self::mapped::CompiledMapping;
use self::problem::Problem;
use self::record::{Output, Record, Source};
use self::site::Site;
use self::zone::Zone;
use crate::listing::{GeoProvenance, Listing};
use crate::raw::{DeadLetter, DeadLetterCode, Document, RawRecord};

/// Longest name of a source, in bytes.
const MAX_SOURCE_BYTES: usize = 256;

/// Reads raw records, as configured.
#[derive(Debug)]
pub struct Extractor {
    limits: Limits,
    unknown_sources: UnknownSources,
    sources: HashMap<String, Reader>,
    default: Reader,
    fingerprint: u64,
}

/// How the records of a source are read.
#[derive(Debug)]
struct Reader {
    source: Source,
    mapping: Option<CompiledMapping>,
}

/// The dead letters of the parts of one record hold no more than so many of the largest records.
const MAX_LETTERS: usize = 4;

/// What one raw record gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Extraction {
    /// What it says; `None` where nothing of it could be used.
    pub document: Option<Document>,
    /// What could not be used.
    pub failures: Vec<DeadLetter>,
    /// Whether the same bytes would give the same at any time. Not so where instances of a series
    /// were looked for around the time of the record.
    pub timeless: bool,
}

/// An [`Extraction`] before its dead letters are written.
struct Read {
    document: Option<Document>,
    failures: Vec<record::PartFailure>,
    timeless: bool,
}

impl Extractor {
    /// Checks and compiles the configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it: unknown zones, JSON Pointers, patterns and date formats
    /// that cannot be read, limits out of range.
    pub fn new(config: &ExtractConfig) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        check_limits(&config.limits, &mut problems);
        let default = compile_source(&config.defaults, &config.defaults, "defaults", &mut problems);
        let mut sources = HashMap::with_capacity(config.sources.len());
        for (name, source) in &config.sources {
            let path = format!("sources.{name}");
            sources.insert(name.clone(), compile_source(source, &config.defaults, &path, &mut problems));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            limits: config.limits.clone(),
            unknown_sources: config.unknown_sources,
            sources,
            default,
            fingerprint: fingerprint(config),
        })
    }

    /// Changes when the same record may give other listings than before: with the configuration,
    /// less what extraction does not use, and with the version of an adapter. Stable across builds.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Reads a record.
    ///
    /// ```
    /// use headwater_operators::extract::{ExtractConfig, Extractor};
    /// use headwater_operators::raw::{Origin, RawRecord};
    ///
    /// let extractor = Extractor::new(&ExtractConfig::default()).unwrap();
    /// let origin = Origin { topic: "raw.web".into(), partition: 0, offset: 0, timestamp_ms: 0, order_ms: 0 };
    /// let json = r#"{"@type": "Event", "@id": "17", "name": "Jazz", "startDate": "2026-03-28T19:30:00-07:00"}"#;
    /// let extraction = extractor.extract(RawRecord {
    ///     origin,
    ///     source: Some("venue".into()),
    ///     content_type: Some("application/ld+json".into()),
    ///     key: None,
    ///     value: Some(json.into()),
    ///     headers: Vec::new(),
    /// });
    /// let document = extraction.document.unwrap();
    /// assert_eq!(document.listings[0].listing.start.to_string(), "2026-03-28T19:30:00-07:00");
    /// ```
    pub fn extract(&self, record: RawRecord) -> Extraction {
        match self.try_extract(&record) {
            Ok(Read { document, failures, timeless }) => {
                Extraction { document, failures: self.part_letters(record, failures), timeless }
            }
            Err(problem) => Extraction {
                document: None,
                failures: vec![DeadLetter::of(record, problem.code, problem.reason)],
                timeless: true,
            },
        }
    }

    fn try_extract(&self, raw: &RawRecord) -> Result<Read, Problem> {
        let (name, reader) = self.reader_of(raw)?;
        let mut document = Document {
            origin: raw.origin.clone(),
            source: name.clone(),
            id: raw.document(),
            listings: Vec::new(),
            kept: Vec::new(),
        };
        let Some(bytes) = &raw.value else {
            return match document.id {
                Some(_) => Ok(Read { document: Some(document), failures: Vec::new(), timeless: true }),
                None => Err(Problem::new(DeadLetterCode::EMPTY_RECORD, "the record has neither key nor value")),
            };
        };
        if bytes.len() > self.limits.max_record_bytes {
            let reason = format!(
                "the record has {} bytes, more than limits.max_record_bytes, {}",
                bytes.len(),
                self.limits.max_record_bytes
            );
            return Err(Problem::new(DeadLetterCode::RECORD_TOO_LARGE, reason));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::new(DeadLetterCode::EMPTY_RECORD, "the record's value is empty"));
        }
        let content_type = raw.content_type.as_deref().or(reader.source.config.content_type.as_deref());
        let format = format_of(content_type, reader)?;
        let decoded = Decoded::of(bytes, content_type, format == Format::ICalendar)?;
        let record = Record::new(&decoded.bytes, name, &reader.source, &self.limits, raw.origin.timestamp_ms);
        let mut output = read(format, &record, reader.mapping.as_ref())?;
        output.deduplicate();
        output.settle_midnights();
        if let Some(guess) = decoded.guess {
            output.warn(Problem::new(crate::raw::code::READ_LENIENTLY, guess), around_broken(bytes));
        }
        let timeless = record.is_timeless();
        let nothing = output.listings.is_empty() && !output.failures.is_empty();
        output.failures.append(&mut output.warnings);
        if output.rewritten || decoded.is_rewritten() {
            output.failures = as_they_stand(output.failures, &decoded, bytes);
        }
        if nothing {
            return Ok(Read { document: None, failures: output.failures, timeless });
        }
        if output.cut_off {
            document.id = None;
        }
        document.listings = output.listings;
        document.kept = output.kept;
        Ok(Read { document: Some(document), failures: output.failures, timeless })
    }

    /// The dead letters of parts. Each bears the key and the headers of its record: where that
    /// would multiply the record beyond measure, the record is one dead letter.
    fn part_letters(&self, record: RawRecord, failures: Vec<record::PartFailure>) -> Vec<DeadLetter> {
        let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let around = record.key.as_ref().map_or(0, Vec::len) + headers;
        let bytes: usize = failures.iter().map(|failure| failure.bytes.len() + around).sum();
        let Some(first) = failures.first().filter(|_| bytes > MAX_LETTERS * self.limits.max_record_bytes) else {
            return failures.into_iter().map(|failure| failure.dead_letter(&record)).collect();
        };
        let reason = format!("{} parts cannot be used, of which the first: {}", failures.len(), first.problem.reason);
        vec![DeadLetter::of(record, first.problem.code, reason)]
    }

    fn reader_of<'r>(&self, raw: &'r RawRecord) -> Result<(&'r SmolStr, &Reader), Problem> {
        let unknown = |reason: &str| Problem::new(DeadLetterCode::UNKNOWN_SOURCE, reason);
        let name = raw
            .source
            .as_ref()
            .ok_or_else(|| unknown("neither a readable header of the record nor its topic names a source"))?;
        if name.trim().is_empty() || name.len() > MAX_SOURCE_BYTES || name.chars().any(char::is_control) {
            return Err(unknown("the name of the source is empty, too long, or holds control characters"));
        }
        match (self.sources.get(&**name), self.unknown_sources) {
            (Some(reader), _) => Ok((name, reader)),
            (None, UnknownSources::Accept) => Ok((name, &self.default)),
            (None, UnknownSources::Reject) => Err(unknown("the source is not configured")),
        }
    }
}

fn format_of(content_type: Option<&str>, Reader { source, mapping }: &Reader) -> Result<Format, Problem> {
    if let Some(format) = source.config.format {
        return Ok(format);
    }
    let Some(given) = content_type else {
        return Err(Problem::new(DeadLetterCode::UNKNOWN_CONTENT_TYPE, "there is no content type"));
    };
    let kind = given.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "text/calendar" => Ok(Format::ICalendar),
        "application/ld+json" => Ok(Format::JsonLd),
        "application/json" if mapping.is_some() => Ok(Format::Mapped),
        "application/json" => Ok(Format::JsonLd),
        _ => {
            let reason = format!("there is no adapter for {:?}", record::cut(kind, 80));
            Err(Problem::new(DeadLetterCode::UNKNOWN_CONTENT_TYPE, reason))
        }
    }
}

/// Runs the adapter. Records come from anywhere and pass through libraries for calendars and
/// recurrence: a panic in one of them must cost one record, not the stream.
fn read(format: Format, record: &Record<'_>, mapping: Option<&CompiledMapping>) -> Result<Output, Problem> {
    let adapter = || match (format, mapping) {
        (Format::JsonLd, _) => jsonld::extract(record),
        (Format::ICalendar, _) => icalendar::extract(record),
        (Format::Mapped, Some(mapping)) => mapped::extract(record, mapping),
        (Format::Mapped, None) => Err(Problem::new(DeadLetterCode::UNKNOWN_CONTENT_TYPE, "the source has no mapping")),
    };
    catch_unwind(AssertUnwindSafe(adapter))
        .unwrap_or_else(|_| Err(Problem::new(DeadLetterCode::MALFORMED, "reading it failed unexpectedly")))
}

/// Parts of one record that are looked for in its bytes; that takes a look at all of them each time.
const MAX_SEARCHED: usize = 100;

/// Parts with the bytes that they have in the record, where it was decoded or mended before it was read. Where
/// they cannot be found there, the record as a whole stands for them, once.
fn as_they_stand(parts: Vec<record::PartFailure>, decoded: &Decoded<'_>, bytes: &[u8]) -> Vec<record::PartFailure> {
    let mut found = Vec::with_capacity(parts.len());
    let mut lost: Option<(record::PartFailure, usize)> = None;
    for (index, mut part) in parts.into_iter().enumerate() {
        part.bytes = decoded.as_written(&part.bytes).into_owned();
        if index < MAX_SEARCHED && memchr::memmem::find(bytes, &part.bytes).is_some() {
            found.push(part);
        } else if let Some((_, count)) = &mut lost {
            *count += 1;
        } else {
            lost = Some((part, 1));
        }
    }
    if let Some((mut first, count)) = lost {
        if count > 1 {
            first.problem.reason =
                format!("{count} parts cannot be used, of which the first: {}", first.problem.reason);
            first.part = None;
        }
        first.bytes = bytes.to_vec();
        found.push(first);
    }
    found
}

impl record::PartFailure {
    fn dead_letter(self, record: &RawRecord) -> DeadLetter {
        DeadLetter {
            origin: record.origin.clone(),
            source: record.source.clone(),
            content_type: record.content_type.clone(),
            key: record.key.clone(),
            code: self.problem.code,
            reason: self.problem.reason,
            part: self.part,
            excerpt: record.value.as_ref() != Some(&self.bytes),
            bytes: self.bytes,
            headers: record.headers.clone(),
        }
    }
}

fn check_limits(limits: &Limits, problems: &mut Vec<ConfigProblem>) {
    const LARGEST: usize = 1 << 30;
    let ranges = [
        ("max_record_bytes", limits.max_record_bytes, 1, LARGEST),
        ("max_nesting", limits.max_nesting, 1, 100),
        ("max_string_bytes", limits.max_string_bytes, 1, LARGEST),
        ("max_id_bytes", limits.max_id_bytes, 1, LARGEST),
        ("max_url_bytes", limits.max_url_bytes, 1, LARGEST),
        ("max_list_items", limits.max_list_items, 0, 1_000_000),
        ("max_listings_per_record", limits.max_listings_per_record, 1, 10_000_000),
        ("max_instances_per_series", limits.max_instances_per_series, 1, 10_000_000),
        ("max_recurrence_steps", limits.max_recurrence_steps as usize, 1, 1_000_000_000),
        ("horizon_past_days", limits.horizon_past_days as usize, 0, MOST_DAYS as usize),
        ("horizon_future_days", limits.horizon_future_days as usize, 0, MOST_DAYS as usize),
    ];
    for (key, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            let message = format!("must be from {least} to {most}, and is {value}");
            problems.push(ConfigProblem { path: format!("limits.{key}"), message });
        }
    }
}

/// The longest horizon of series: a century.
const MOST_DAYS: u32 = 36_525;

fn compile_source(
    config: &SourceConfig,
    defaults: &SourceConfig,
    path: &str,
    problems: &mut Vec<ConfigProblem>,
) -> Reader {
    let mut config = config.clone();
    config.format = config.format.or(defaults.format);
    config.content_type = config.content_type.or_else(|| defaults.content_type.clone());
    config.timezone = config.timezone.or_else(|| defaults.timezone.clone());
    config.place = config.place.or_else(|| defaults.place.clone());
    let mut problem = |key: &str, message: String| {
        problems.push(ConfigProblem { path: format!("{path}.{key}"), message });
    };
    let zone = config.timezone.as_ref().and_then(|name| {
        let zone = Zone::resolve(name);
        if zone.is_none() {
            problem("timezone", format!("there is no time zone {name:?}"));
        }
        zone
    });
    let site = config.place.as_ref().and_then(|place| match Site::compile(place) {
        Ok(site) => Some(site),
        Err((key, message)) => {
            problem(&format!("place.{key}"), message);
            None
        }
    });
    if !(0.0..=1.0).contains(&config.trust) {
        problem("trust", "must be between 0 and 1".to_owned());
    }
    if !(0.0..=1.0).contains(&config.hold_back) {
        problem("hold_back", "must be between 0 and 1".to_owned());
    }
    let horizons =
        [("horizon_past_days", config.horizon_past_days), ("horizon_future_days", config.horizon_future_days)];
    for (key, days) in horizons {
        if let Some(days) = days.filter(|days| *days > MOST_DAYS) {
            problem(key, format!("must be from 0 to {MOST_DAYS}, and is {days}"));
        }
    }
    if config.format == Some(Format::Mapped) && config.mapping.is_none() {
        problem("mapping", "the format mapped needs one".to_owned());
    }
    let mapping_path = format!("{path}.mapping");
    let mapping = config.mapping.as_ref().map(|mapping| CompiledMapping::compile(mapping, &mapping_path, problems));
    let category_map = config.category_map.iter().map(|(from, to)| (from.to_lowercase(), to.clone())).collect();
    Reader { source: Source { zone: zone.unwrap_or_else(Zone::unknown), site, category_map, config }, mapping }
}

/// What extraction depends on, and the versions of the adapters.
fn fingerprint(config: &ExtractConfig) -> u64 {
    let mut used = config.clone();
    for source in used.sources.values_mut().chain([&mut used.defaults]) {
        source.trust = 0.0;
        source.duplicate_free = false;
        source.hold_back = 0.0;
    }
    let versions = (jsonld::VERSION, icalendar::VERSION, mapped::VERSION);
    // Serialising plain data of maps with text keys cannot fail; if it did, every build would
    // find the same fingerprint, and a change would only be noticed later.
    let bytes = serde_json::to_vec(&(versions, used)).unwrap_or_default();
    xxh3_64(&bytes)
}

/// Hash of everything that the source said in a listing, for telling whether one that comes again
/// has changed. What Headwater worked out (`category` and its confidence, coordinates that are not
/// the source's) does not count. Stable across builds; `salt` is [`Extractor::fingerprint`].
pub fn content_hash(listing: &Listing, salt: u64) -> u64 {
    let venue = &listing.venue;
    let said = (
        (&listing.source, &listing.external_id, &listing.title, &listing.description),
        (&listing.source_categories, &listing.tags, listing.start, listing.end, &listing.timezone),
        (&venue.name, &venue.address, &venue.city, &venue.region, &venue.postal_code, &venue.country),
        venue.geo.filter(|geo| geo.provenance == GeoProvenance::Source).map(|geo| (geo.point, geo.precision)),
        (listing.online, &listing.organizer, &listing.pricing, listing.capacity),
        (&listing.images, &listing.urls, listing.status),
    );
    let mut bytes = Vec::with_capacity(1024);
    // Writing plain data into memory cannot fail. If it did, the hash of what was written would
    // still be the same for the same listing.
    let _written = write(&mut bytes, &said);
    xxh3_64_with_seed(&bytes, salt)
}

fn write(bytes: &mut Vec<u8>, value: &impl Serialize) -> Result<(), bincode::Error> {
    bincode::serialize_into(bytes, value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::test_support::{codes, extract_with, extractor, raw};
    use super::*;
    use crate::Moment;
    use crate::ids::DocumentId;
    use crate::listing::{Geo, GeoPrecision, Point, Ratio};

    const JSON: &str = r#"{"@type": "Event", "@id": "1", "name": "x", "startDate": "2026-05-01"}"#;

    #[test]
    fn the_content_type_decides_unless_the_source_does() {
        let code = |content_type: &str, config: SourceConfig| {
            codes(&extract_with(config, raw(content_type, JSON.as_bytes())).failures).first().copied()
        };
        let plain = SourceConfig::default;
        assert_eq!(code("application/ld+json", plain()), None);
        assert_eq!(code("Application/JSON; charset=utf-8", plain()), None);
        assert_eq!(code("text/html", plain()), Some(DeadLetterCode::UNKNOWN_CONTENT_TYPE));
        assert_eq!(code("text/html", SourceConfig { format: Some(Format::JsonLd), ..plain() }), None);
        assert_eq!(code("text/calendar", plain()), Some(DeadLetterCode::MALFORMED));

        let mut untyped = raw("", JSON.as_bytes());
        untyped.content_type = None;
        let assumed = SourceConfig { content_type: Some("application/ld+json".into()), ..plain() };
        assert_eq!(codes(&extract_with(assumed, untyped.clone()).failures), []);
        assert_eq!(codes(&extract_with(plain(), untyped).failures), [DeadLetterCode::UNKNOWN_CONTENT_TYPE]);
    }

    #[test]
    fn sources_must_be_named_and_may_have_to_be_known() {
        let mut nameless = raw("application/ld+json", JSON.as_bytes());
        nameless.source = None;
        assert_eq!(codes(&extract_with(SourceConfig::default(), nameless).failures), [DeadLetterCode::UNKNOWN_SOURCE]);
        let closed = extractor(ExtractConfig { unknown_sources: UnknownSources::Reject, ..ExtractConfig::default() });
        let letter = closed.extract(raw("application/ld+json", JSON.as_bytes())).failures.remove(0);
        assert_eq!(letter.code, DeadLetterCode::UNKNOWN_SOURCE);
        assert_eq!((letter.bytes, letter.headers.len()), (JSON.as_bytes().to_vec(), 1));
    }

    #[test]
    fn empty_records_tombstones_and_large_records() {
        let extractor = extractor(ExtractConfig {
            limits: Limits { max_record_bytes: 10, ..Limits::default() },
            ..ExtractConfig::default()
        });
        let mut record = raw("application/ld+json", JSON.as_bytes());
        assert_eq!(codes(&extractor.extract(record.clone()).failures), [DeadLetterCode::RECORD_TOO_LARGE]);
        record.value = Some(b" \n".to_vec());
        assert_eq!(codes(&extractor.extract(record.clone()).failures), [DeadLetterCode::EMPTY_RECORD]);
        record.value = None;
        let document = extractor.extract(record.clone()).document.unwrap();
        assert_eq!((document.listings.len(), document.id), (0, Some(DocumentId::of("raw.s", "s", b"k"))));
        record.key = None;
        assert_eq!(codes(&extractor.extract(record).failures), [DeadLetterCode::EMPTY_RECORD]);
    }

    #[test]
    fn a_record_of_which_nothing_can_be_used_gives_no_document() {
        let extraction = extract_with(SourceConfig::default(), raw("application/ld+json", br#"[{"@type": "Event"}]"#));
        assert_eq!((extraction.document, extraction.failures.len()), (None, 1));
    }

    #[test]
    fn too_many_listings_leave_the_first_ones() {
        let limits = Limits { max_listings_per_record: 2, ..Limits::default() };
        let extractor = extractor(ExtractConfig { limits, ..ExtractConfig::default() });
        let events: Vec<String> = (0..5).map(|n| JSON.replace("\"1\"", &format!("\"{n}\""))).collect();
        let extraction = extractor.extract(raw("application/ld+json", format!("[{}]", events.join(",")).as_bytes()));
        assert_eq!(codes(&extraction.failures), [crate::raw::code::TOO_MANY_LISTINGS]);
        assert_eq!(extraction.document.unwrap().listings.len(), 2);
    }

    #[test]
    fn bad_parts_do_not_multiply_the_key_of_their_record() {
        let limits = Limits { max_record_bytes: 10_000, ..Limits::default() };
        let extractor = extractor(ExtractConfig { limits, ..ExtractConfig::default() });
        let parts = format!("[{}]", vec![r#"{"@type": "Event"}"#; 100].join(","));
        let mut record = raw("application/ld+json", parts.as_bytes());
        assert_eq!(extractor.extract(record.clone()).failures.len(), 100);
        record.key = Some(vec![b'k'; 1_000]);
        let letters = extractor.extract(record).failures;
        assert_eq!(codes(&letters), [DeadLetterCode::MISSING_FIELD]);
        assert_eq!(letters[0].reason, "100 parts cannot be used, of which the first: there is no name");
        assert_eq!(letters[0].bytes, parts.as_bytes());
    }

    #[test]
    fn a_title_of_markup_alone_is_none() {
        for title in ["<b></b>", "&nbsp;", r"\u200b", "<!-- x -->"] {
            let extraction = extract_with(
                SourceConfig::default(),
                raw("application/ld+json", JSON.replace("\"x\"", &format!("\"{title}\"")).as_bytes()),
            );
            assert_eq!(codes(&extraction.failures), [DeadLetterCode::MISSING_FIELD], "{title}");
        }
        let fine = extract_with(
            SourceConfig::default(),
            raw("application/ld+json", JSON.replace("\"x\"", "\"<b>é</b>\"").as_bytes()),
        );
        assert_eq!(codes(&fine.failures), []);
    }

    #[test]
    fn long_texts_are_cut_and_long_addresses_left_out() {
        let limits = Limits { max_string_bytes: 8, max_url_bytes: 20, ..Limits::default() };
        let extractor = extractor(ExtractConfig { limits, ..ExtractConfig::default() });
        let json = r#"{"@type": "Event", "@id": "1", "name": "ééééé", "startDate": "2026-05-01",
            "url": ["https://a.example/1", "https://a.example/much/longer"]}"#;
        let listing =
            extractor.extract(raw("application/ld+json", json.as_bytes())).document.unwrap().listings.remove(0).listing;
        assert_eq!(listing.title, "éééé");
        assert_eq!(*listing.urls, ["https://a.example/1"]);
    }

    #[test]
    fn categories_are_mapped() {
        let config = SourceConfig {
            category_map: [("MUSICevent".to_owned(), "music".to_owned())].into(),
            ..SourceConfig::default()
        };
        let extraction = extract_with(config, raw("application/json", JSON.replace("Event", "MusicEvent").as_bytes()));
        assert_eq!(*extraction.document.unwrap().listings[0].listing.source_categories, ["music"]);
    }

    #[test]
    fn the_fingerprint_changes_with_what_extraction_depends_on() {
        let fingerprint = |change: fn(&mut ExtractConfig)| {
            let mut config = ExtractConfig::default();
            config.sources.insert("s".into(), SourceConfig::default());
            change(&mut config);
            extractor(config).fingerprint()
        };
        let same = fingerprint(|_| ());
        assert_eq!(same, fingerprint(|_| ()));
        assert_eq!(same, fingerprint(|config| config.defaults.trust = 0.9));
        assert_ne!(same, fingerprint(|config| config.defaults.timezone = Some("Europe/Paris".into())));
        assert_ne!(same, fingerprint(|config| config.limits.horizon_future_days += 1));
    }

    #[test]
    fn the_content_hash_covers_what_the_source_said_and_is_stable() {
        let start: Moment = "2026-03-28T19:30:00-07:00".parse().unwrap();
        let listing = Listing::new("s", "1", "x", start);
        // Stored with listings: if this changes, every listing counts as changed once.
        assert_eq!(content_hash(&listing, 1), CONTENT_HASH);
        assert_ne!(content_hash(&listing, 1), content_hash(&listing, 2));
        let geo = |provenance| Geo {
            point: Point::from_degrees(1.0, 2.0).unwrap(),
            precision: GeoPrecision::City,
            provenance,
        };
        let changed = |change: &dyn Fn(&mut Listing)| {
            let mut other = listing.clone();
            change(&mut other);
            content_hash(&other, 1) != CONTENT_HASH
        };
        assert!(!changed(&|other| other.category = Some("music".into())));
        assert!(!changed(&|other| other.category_confidence = Ratio::ONE));
        assert!(!changed(&|other| other.venue.geo = Some(geo(GeoProvenance::Gazetteer))));
        assert!(changed(&|other| other.venue.geo = Some(geo(GeoProvenance::Source))));
        assert!(changed(&|other| other.description = Some("".into())));
        assert!(changed(&|other| other.tags.push("a".into())));
        assert!(changed(&|other| other.end = Some(start)));
        assert!(changed(&|other| other.capacity = Some(0)));
    }

    const CONTENT_HASH: u64 = 8_309_978_014_204_859_033;

    const CALENDAR: &str = "BEGIN:VCALENDAR\r\nX-WR-TIMEZONE:Europe/Paris\r\nBEGIN:VTIMEZONE\r\nTZID:Z\r\nBEGIN:STANDARD\r\n\
        DTSTART:19701101T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\r\nTZOFFSETTO:-0500\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
        BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:a\\, b\r\n c\r\nDTSTART;TZID=Z:20260301T100000\r\nDURATION:PT1H30M\r\n\
        RRULE:FREQ=WEEKLY;BYDAY=MO,-1TU;UNTIL=20270101T000000Z\r\nEXDATE:20260308T100000\r\nGEO:1.5;2.5\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nUID:1\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260402T100000\r\nDTSTART;VALUE=DATE:20260403\r\n\
        CATEGORIES:x,y\r\nATTACH;ENCODING=BASE64;VALUE=BINARY:AAAA\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

    const LINKED: &str = r#"{"@graph": [{"@type": ["Event"], "identifier": {"value": 3}, "name": "n", "startDate": "2026-05-01T10:00",
        "duration": "PT2H", "offers": [{"price": "1,5"}], "location": {"name": "a, 1 b, c, CA 95616", "geo": {"latitude": 1}},
        "keywords": ["k"], "subEvent": [{"@type": "Festival", "name": "f", "startDate": "x"}]}]}"#;

    fn fuzzed() -> Extractor {
        let mapping = Mapping {
            title: Field::One(Place::Pointer("/@graph/*/name".into())),
            start: Field::One(Place::Pointer("/@graph/0/startDate".into())),
            tags: Field::One(Place::Capture(Capture { pointer: "/@graph/*/keywords".into(), capture: "(k)|.".into() })),
            date_formats: vec!["text-range".into(), "iso8601".into(), "%d/%m/%y %I %p".into()],
            ..Mapping::default()
        };
        let config = SourceConfig { mapping: Some(mapping), ..SourceConfig::default() };
        extractor(ExtractConfig { defaults: config, ..ExtractConfig::default() })
    }

    /// A valid record with some bytes replaced, removed or repeated.
    fn mutated(valid: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..6);
        edits.prop_map(move |edits| {
            let mut bytes = valid.as_bytes().to_vec();
            for (at, byte, kind) in edits {
                let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
                match kind {
                    _ if bytes.is_empty() => bytes.push(byte),
                    0 => bytes[at] = byte,
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, b"0192:;,=\\\"\n "[usize::from(byte) % 12]),
                    _ => {
                        bytes.drain(at..(at + usize::from(byte) % 20).min(bytes.len()));
                    }
                }
            }
            bytes
        })
    }

    proptest! {
        /// Nothing that a source can send makes extraction panic, and whatever comes out keeps
        /// the promises that the rest of the system builds on.
        #[test]
        fn no_bytes_make_it_panic(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            mutated(CALENDAR),
            mutated(LINKED),
        ]) {
            let extractor = fuzzed();
            for content_type in ["text/calendar", "application/ld+json", "application/json"] {
                let record = raw(content_type, &bytes);
                let extraction = extractor.extract(record.clone());
                prop_assert!(extraction.failures.iter().all(|letter| letter.reason != "reading it failed unexpectedly"));
                prop_assert!(extraction.document.is_some() || !extraction.failures.is_empty());
                let listings = extraction.document.iter().flat_map(|document| &document.listings);
                for listing in listings.map(|extracted| &extracted.listing) {
                    prop_assert!(!listing.title.is_empty() && !listing.external_id.is_empty());
                    prop_assert!((1900..=2200).contains(&listing.start.local_date().year()));
                    prop_assert!(!listing.start.is_day() || listing.end.is_none_or(|end| end.is_day()));
                }
                prop_assert_eq!(extractor.extract(record), extraction, "extraction is a function of the record");
            }
        }

        #[test]
        fn text_ranges_never_panic(text in ".{0,60}", month in "(Jan|february|SEPT)? ?[0-9]{0,5}[-–, ]{0,3}[0-9]{0,4}") {
            let _read = text_range::read(&text, Some(2026));
            let _read = text_range::read(&month, Some(i16::MAX));
        }
    }
}
