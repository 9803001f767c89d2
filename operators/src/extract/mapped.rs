//! `mapped`: any JSON, with fields named in the configuration. See [`Mapping`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Time;
use regex::Regex;
use smol_str::SmolStr;

use super::config::{Capture, ConfigProblem, Field, Mapping, Place};
use super::json::{Node, Pointer, Slices, Step};
use super::problem::Problem;
use super::record::{Output, Record, check_id, cut, source_geo, stand_in_id};
use super::when::{self, DateFormat, When};
use super::words::{self, Prices};
use super::zone::Zone;
use crate::listing::{Listing, Organizer, Pricing, Status, Texts, Venue};
use crate::moment::Moment;
use crate::raw::{DeadLetterCode, Extracted, SourceStamp};

/// Changes whenever the same record and mapping would give other listings than before.
pub(super) const VERSION: u32 = 2;

/// A field, ready to be looked up.
#[derive(Debug)]
struct Finder {
    places: Vec<CompiledPlace>,
    constant: Option<Node<'static>>,
    default: Option<Node<'static>>,
}

#[derive(Debug)]
struct CompiledPlace {
    pointer: Pointer,
    capture: Option<Regex>,
}

/// Declares the fields once: their finders, and their names for `constants` and `defaults`.
macro_rules! fields {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug)]
        struct Finders { $($name: Finder),* }

        const FIELD_NAMES: &[&str] = &[$(stringify!($name)),*];

        impl Finders {
            fn compile(mapping: &Mapping, problems: &mut Problems<'_>) -> Self {
                Self { $($name: Finder::compile(stringify!($name), &mapping.$name, mapping, problems)),* }
            }
        }
    };
}

fields! {
    id, title, description, start, start_time, end, end_time, year, timezone, categories, tags, venue, address, city,
    region, postal_code, country, latitude, longitude, online, organizer, organizer_url, price, price_max, currency,
    free, capacity, images, urls, status, sequence, modified,
}

/// A [`Mapping`], checked and compiled.
#[derive(Debug)]
pub(crate) struct CompiledMapping {
    records: Option<Pointer>,
    fields: Finders,
    formats: Vec<DateFormat>,
    statuses: BTreeMap<String, Status>,
}

/// Collects what is wrong in one mapping.
struct Problems<'p> {
    path: &'p str,
    found: &'p mut Vec<ConfigProblem>,
}

impl Problems<'_> {
    fn add(&mut self, key: &str, message: impl Into<String>) {
        self.found.push(ConfigProblem { path: format!("{}.{key}", self.path), message: message.into() });
    }

    fn check<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(key, message)).ok()
    }
}

impl CompiledMapping {
    /// Compiles a mapping; what is wrong with it goes to `problems`, under keys below `path`.
    pub(crate) fn compile(mapping: &Mapping, path: &str, problems: &mut Vec<ConfigProblem>) -> Self {
        let mut problems = Problems { path, found: problems };
        let fields = Finders::compile(mapping, &mut problems);
        for (list, names) in [("constants", &mapping.constants), ("defaults", &mapping.defaults)] {
            for name in names.keys().filter(|name| !FIELD_NAMES.contains(&name.as_str())) {
                problems.add(&format!("{list}.{name}"), "there is no field of this name");
            }
        }
        for (name, finder) in [("title", &fields.title), ("start", &fields.start)] {
            if finder.is_nowhere() {
                problems.add(name, "this field is required");
            }
        }
        let records = mapping.records.as_ref();
        let records = records.and_then(|pointer| problems.check("records", plain_pointer(pointer)));
        let mut formats = Vec::new();
        for name in &mapping.date_formats {
            formats.extend(problems.check("date_formats", DateFormat::compile(name)));
        }
        if formats.is_empty() {
            formats.push(DateFormat::Iso8601);
        }
        let statuses = mapping.status_map.iter().map(|(word, status)| (word.to_lowercase(), *status)).collect();
        Self { records, fields, formats, statuses }
    }
}

fn plain_pointer(text: &str) -> Result<Pointer, String> {
    if text.split('/').any(|part| part == "*") {
        return Err("no * here: the pointer must name one array".to_owned());
    }
    Pointer::compile(text)
}

impl Finder {
    fn compile(name: &str, field: &Field, mapping: &Mapping, problems: &mut Problems<'_>) -> Self {
        let fixed = |values: &BTreeMap<String, String>| values.get(name).map(|text| Node::Text(text.clone().into()));
        Self {
            places: field.places().iter().filter_map(|place| CompiledPlace::compile(name, place, problems)).collect(),
            constant: fixed(&mapping.constants),
            default: fixed(&mapping.defaults),
        }
    }

    fn is_nowhere(&self) -> bool {
        self.places.is_empty() && self.constant.is_none() && self.default.is_none()
    }

    /// What `read` makes of the first that it can read of everything that is there, in order of preference.
    fn first<'n, T>(&'n self, node: &'n Node<'_>, mut read: impl FnMut(Cow<'n, Node<'n>>) -> Option<T>) -> Option<T> {
        let found = match &self.constant {
            Some(constant) => read(Cow::Borrowed(constant)),
            None => self.places.iter().find_map(|place| read(place.find(node)?)),
        };
        found.or_else(|| read(Cow::Borrowed(self.default.as_ref()?)))
    }

    fn value<'n>(&'n self, node: &'n Node<'_>) -> Option<Cow<'n, Node<'n>>> {
        self.first(node, Some)
    }

    fn text(&self, node: &Node<'_>) -> Option<SmolStr> {
        self.value(node)?.text().map(SmolStr::from)
    }

    fn number(&self, node: &Node<'_>) -> Option<f64> {
        self.value(node)?.number()
    }

    /// Texts of a list: all that the first place finds that finds any, or what all places find.
    fn texts(&self, node: &Node<'_>, of_all_places: bool) -> Texts {
        let mut texts = Texts::new();
        if self.constant.is_none() {
            for place in &self.places {
                place.each(node, &mut |text| texts.push(text.into()));
                if !of_all_places && !texts.is_empty() {
                    break;
                }
            }
        }
        if texts.is_empty() {
            let fixed = self.constant.as_ref().or(self.default.as_ref());
            texts.extend(fixed.and_then(Node::filled).map(SmolStr::from));
        }
        texts
    }
}

impl CompiledPlace {
    fn compile(name: &str, place: &Place, problems: &mut Problems<'_>) -> Option<Self> {
        let (pointer, capture) = match place {
            Place::Pointer(pointer) => (pointer, None),
            Place::Capture(Capture { pointer, capture }) => (pointer, Some(capture)),
        };
        let pointer = problems.check(name, Pointer::compile(pointer));
        let capture = match capture {
            Some(pattern) => Some(problems.check(name, Regex::new(pattern).map_err(|error| error.to_string()))?),
            None => None,
        };
        Some(Self { pointer: pointer?, capture })
    }

    /// What is there, unless it is null or blank.
    fn find<'n>(&'n self, node: &'n Node<'_>) -> Option<Cow<'n, Node<'n>>> {
        let found = self.pointer.find(node)?;
        if let Some(regex) = &self.capture {
            let text = part_of(regex, found.filled()?)?;
            return Some(Cow::Owned(Node::Text(Cow::Borrowed(text))));
        }
        match found {
            Node::Null => None,
            Node::Text(text) if text.trim().is_empty() => None,
            found => Some(Cow::Borrowed(found)),
        }
    }

    fn each(&self, node: &Node<'_>, push: &mut dyn FnMut(&str)) {
        self.pointer.each(node, &mut |found| {
            for item in found.items() {
                let Some(text) = item.text() else { continue };
                let text = match &self.capture {
                    Some(regex) => part_of(regex, text.trim()),
                    None => Some(text.trim()),
                };
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    push(text);
                }
            }
        });
    }
}

/// The first group of the first match, or all of it.
fn part_of<'t>(regex: &Regex, text: &'t str) -> Option<&'t str> {
    let captures = regex.captures(text)?;
    let part = captures.get(1).or_else(|| if regex.captures_len() == 1 { captures.get(0) } else { None })?;
    Some(part.as_str().trim()).filter(|part| !part.is_empty())
}

/// Reads a JSON record by the mapping of its source.
pub(super) fn extract(record: &Record<'_>, mapping: &CompiledMapping) -> Result<Output, Problem> {
    let root = Node::parse(record.bytes, record.limits.max_nesting)?;
    let (node, path) = match &mapping.records {
        None => (&root, Vec::new()),
        Some(pointer) => {
            let found = pointer.find(&root).filter(|node| matches!(node, Node::List(_)));
            (found.ok_or_else(|| Problem::missing("array of records"))?, pointer.steps())
        }
    };
    let mut output = Output::default();
    let mut unknown = BTreeSet::new();
    let Node::List(items) = node else {
        let (extracted, _) = mapping.read(record, node);
        output.listings.push(extracted?);
        mapping.tell_unknown_zone(record, node, &mut unknown, &mut output, &mut || record.bytes);
        return Ok(output);
    };
    let mut slices = Slices::new(record.bytes);
    for (index, item) in items.iter().enumerate() {
        if output.room(record.limits) == 0 {
            let reason = format!(
                "{} records of {} are beyond the limit, limits.max_listings_per_record",
                items.len() - index,
                items.len()
            );
            output.fail(record, Problem::new(crate::raw::code::TOO_MANY_LISTINGS, reason), None, record.bytes);
            break;
        }
        let (extracted, id) = mapping.read(record, item);
        match extracted {
            Ok(extracted) => {
                output.listings.push(extracted);
                let bytes = &mut || slices.slice(&path_to(&path, index));
                mapping.tell_unknown_zone(record, item, &mut unknown, &mut output, bytes);
            }
            Err(problem) => output.fail(record, problem, id.as_deref(), slices.slice(&path_to(&path, index))),
        }
    }
    Ok(output)
}

/// Unknown zones of one record that are told.
const MAX_UNKNOWN_ZONES: usize = 4;

fn path_to(list: &[Step], index: usize) -> Vec<Step> {
    list.iter().cloned().chain([Step::Index(index)]).collect()
}

impl CompiledMapping {
    /// Says that the zone that an event names is not known: once for each name.
    fn tell_unknown_zone<'b>(
        &self,
        record: &Record<'_>,
        node: &Node<'_>,
        told: &mut BTreeSet<SmolStr>,
        output: &mut Output,
        bytes: &mut dyn FnMut() -> &'b [u8],
    ) {
        if self.fields.timezone.is_nowhere() || told.len() >= MAX_UNKNOWN_ZONES {
            return;
        }
        let Some(name) = self.fields.timezone.text(node).filter(|name| Zone::resolve(name).is_none()) else { return };
        let reason = format!("there is no time zone {:?}: the times were read without it", cut(&name, 80));
        if told.insert(name) {
            let bytes = bytes();
            output.warn(Problem::new(crate::raw::code::UNKNOWN_TIMEZONE, reason), bytes);
            debug_assert!(bytes.len() <= record.bytes.len());
        }
    }

    /// Reads one event; with its id, where there is one, whether it can be read or not.
    fn read(&self, record: &Record<'_>, node: &Node<'_>) -> (Result<Extracted, Problem>, Option<SmolStr>) {
        let id = self.fields.id.text(node).map(|id| SmolStr::from(id.trim()));
        let extracted = self.listing(record, node, id.as_ref());
        (extracted, id.filter(|id| check_id(id, record.limits).is_ok()))
    }

    fn listing(&self, record: &Record<'_>, node: &Node<'_>, id: Option<&SmolStr>) -> Result<Extracted, Problem> {
        if !matches!(node, Node::Object(_)) {
            return Err(Problem::new(DeadLetterCode::MALFORMED, "the record is not a JSON object"));
        }
        let fields = &self.fields;
        let title = fields.title.text(node).ok_or_else(|| Problem::missing("title"))?;
        let named_zone = fields.timezone.text(node).and_then(|name| Zone::resolve(&name));
        let venue = self.venue(node);
        let zone = &named_zone.unwrap_or_else(|| record.zone_of(&venue));
        let year = fields.year.value(node).and_then(|year| i16::try_from(year.whole()?).ok());
        let begin = self.date(&fields.start, "start", node, year)?.with_time(time(&fields.start_time, node));
        let start = begin.begin(zone).ok_or_else(|| Problem::invalid("start", &format!("{begin:?}")))?;
        let id = match id {
            Some(id) => id.clone(),
            None => stand_in_id(&title, &start.to_string()).into(),
        };
        let mut listing = record.listing(id, title, start);
        listing.timezone = zone.name().filter(|_| begin.fits(zone)).cloned();
        listing.end = self.end(&begin, start, zone, node, year);
        listing.venue = venue;
        self.describe(&mut listing, node);
        record.accept(listing, self.stamp(zone, node))
    }

    fn describe(&self, listing: &mut Listing, node: &Node<'_>) {
        let fields = &self.fields;
        listing.description = fields.description.text(node);
        listing.source_categories = fields.categories.texts(node, false);
        listing.tags = fields.tags.texts(node, false).into_vec();
        listing.online = fields.online.value(node).is_some_and(|value| truthy(&value));
        let organizer = fields.organizer.text(node);
        listing.organizer = organizer.map(|name| Organizer { name, url: fields.organizer_url.text(node) });
        listing.pricing = self.pricing(node);
        listing.capacity = fields.capacity.value(node).and_then(|value| value.whole());
        listing.images = fields.images.texts(node, true);
        listing.urls = fields.urls.texts(node, true);
        listing.status = self.status(node);
    }

    /// The first date among the candidates that one of the formats reads.
    fn date(&self, finder: &Finder, name: &str, node: &Node<'_>, year: Option<i16>) -> Result<When, Problem> {
        let mut unreadable = None;
        let date = finder.first(node, |candidate| {
            let text = candidate.text()?;
            let date = self.formats.iter().find_map(|format| format.read(&text, year));
            if date.is_none() {
                unreadable.get_or_insert_with(|| text.into_owned());
            }
            date
        });
        date.ok_or_else(|| unreadable.map_or_else(|| Problem::missing(name), |text| Problem::invalid(name, &text)))
    }

    fn end(&self, begin: &When, start: Moment, zone: &Zone, node: &Node<'_>, year: Option<i16>) -> Option<Moment> {
        match self.date(&self.fields.end, "end", node, year) {
            Ok(end) => end.last_day().or_else(|| end.with_time(time(&self.fields.end_time, node)).begin(zone)),
            // A time of day alone is one of the day on which it begins.
            Err(_) if !start.is_day() => {
                let time = time(&self.fields.end_time, node)?;
                When::Local(start.local_date().to_datetime(time)).begin(zone)
            }
            Err(_) => begin.last_day(),
        }
    }

    fn venue(&self, node: &Node<'_>) -> Venue {
        let fields = &self.fields;
        let point = fields.latitude.number(node).zip(fields.longitude.number(node));
        Venue {
            name: fields.venue.text(node),
            address: fields.address.text(node),
            city: fields.city.text(node),
            region: fields.region.text(node),
            postal_code: fields.postal_code.text(node),
            country: fields.country.text(node),
            geo: point.and_then(|(latitude, longitude)| source_geo(latitude, longitude)),
        }
    }

    fn pricing(&self, node: &Node<'_>) -> Option<Pricing> {
        let fields = &self.fields;
        let mut prices = Prices::default();
        for finder in [&fields.price, &fields.price_max] {
            let Some(text) = finder.text(node) else { continue };
            match words::prices(&text) {
                Some(range) => prices.add(range),
                None if words::says_free(&text) => prices.pricing.free = Some(true),
                None => {}
            }
        }
        prices.pricing.free = fields.free.value(node).map(|value| truthy(&value)).or(prices.pricing.free);
        let mut pricing = prices.finish()?;
        let named = || words::currency(&fields.price.text(node)?).map(SmolStr::from);
        pricing.currency = fields.currency.text(node).or_else(named);
        Some(pricing)
    }

    fn status(&self, node: &Node<'_>) -> Status {
        let Some(word) = self.fields.status.text(node) else { return Status::default() };
        let known = self.statuses.get(&word.trim().to_lowercase()).copied();
        known.or_else(|| words::status(&word)).unwrap_or_default()
    }

    fn stamp(&self, zone: &Zone, node: &Node<'_>) -> SourceStamp {
        let modified = self.fields.modified.text(node);
        let modified = modified.and_then(|text| {
            self.formats.iter().find_map(|format| format.read(&text, None)).or_else(|| when::iso8601(&text))
        });
        SourceStamp {
            sequence: self.fields.sequence.value(node).and_then(|value| value.whole()).unwrap_or(0),
            modified_ms: modified.and_then(|when| when.epoch_ms(zone)).unwrap_or(0),
        }
    }
}

fn time(finder: &Finder, node: &Node<'_>) -> Option<Time> {
    when::time_of_day(&finder.text(node)?)
}

fn truthy(node: &Node<'_>) -> bool {
    match node {
        Node::Bool(flag) => *flag,
        Node::Int(number) => *number != 0,
        Node::Float(number) => *number != 0.0,
        Node::Text(text) => !["", "false", "no", "off", "0"].contains(&text.trim().to_lowercase().as_str()),
        Node::Null => false,
        Node::List(_) | Node::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::config::{ExtractConfig, Format, SourceConfig};
    use super::super::test_support::{codes, extract_with, extractor, raw};
    use crate::extract::{Extraction, Extractor};
    use crate::listing::Status;
    use crate::raw::DeadLetterCode;

    fn source(mapping: Value) -> SourceConfig {
        let mapping = Some(serde_json::from_value(mapping).unwrap());
        let timezone = Some("Europe/Berlin".to_owned());
        SourceConfig { format: Some(Format::Mapped), timezone, mapping, ..SourceConfig::default() }
    }

    fn run(mapping: Value, record: &Value) -> Extraction {
        extract_with(source(mapping), raw("application/json", record.to_string().as_bytes()))
    }

    fn one(mapping: Value, record: &Value) -> crate::Listing {
        let extraction = run(mapping, record);
        assert_eq!(extraction.failures, []);
        extraction.document.unwrap().listings.remove(0).listing
    }

    #[test]
    fn every_field_is_found_where_the_mapping_says() {
        let mapping = json!({
            "id": "/id", "title": ["/headline", "/name"], "description": "/text",
            "start": "/day", "start_time": "/from", "end": "/day", "end_time": "/to", "timezone": "/tz",
            "categories": "/kind", "tags": "/labels/*/name", "venue": "/place/name", "address": "/place/street",
            "city": {"pointer": "/place/town", "capture": "^([^,]+)"}, "region": "/place/region",
            "postal_code": "/place/zip", "country": "/place/country", "latitude": "/geo/0", "longitude": "/geo/1",
            "online": "/stream", "organizer": "/host", "organizer_url": "/host_url", "price": "/price/0",
            "price_max": "/price/1", "currency": "/price/2", "free": "/free", "capacity": "/seats",
            "images": ["/image", "/more_images"], "urls": ["/url", "/tickets"], "status": "/state",
            "sequence": "/rev", "modified": "/changed", "date_formats": ["%d.%m.%Y", "iso8601"],
            "status_map": {"Ausverkauft": "scheduled", "Abgesagt": "cancelled"},
            "constants": {"country": "DE"}, "defaults": {"organizer": "City", "region": "BE"}
        });
        let record = json!({
            "id": 17, "name": "Lange Nacht", "text": "…", "day": "28.03.2026", "from": "19:30", "to": "11 pm",
            "tz": "Europe/Vienna", "kind": ["Musik", " "], "labels": [{"name": "a"}, {}, {"name": "b"}],
            "place": {"name": "Mühle", "street": "Weg 1", "town": "Wien, AT", "zip": 1010, "country": "AT"},
            "geo": ["48.2", 16.37], "stream": "yes", "price": ["12,50", 20, "EUR"], "free": false, "seats": "80",
            "image": "https://i.example/1", "more_images": ["https://i.example/2", "https://i.example/1"],
            "url": "https://e.example", "tickets": "https://t.example", "state": "abgesagt", "rev": 3,
            "changed": "2026-01-01T00:00:00Z"
        });
        let extraction = run(mapping, &record);
        assert_eq!(extraction.failures, []);
        let extracted = extraction.document.unwrap().listings.remove(0);
        assert_eq!((extracted.stamp.sequence, extracted.stamp.modified_ms), (3, 1_767_225_600_000));
        let listing = extracted.listing;
        assert_eq!((&*listing.external_id, &*listing.title), ("17", "Lange Nacht"));
        assert_eq!(listing.start.to_string(), "2026-03-28T19:30:00+01:00");
        assert_eq!(listing.end.unwrap().to_string(), "2026-03-28T23:00:00+01:00");
        assert_eq!(listing.timezone.as_deref(), Some("Europe/Vienna"));
        assert_eq!(*listing.source_categories, ["Musik"]);
        assert_eq!(listing.tags.len(), 2);
        let venue = &listing.venue;
        assert_eq!(venue.name.as_deref(), Some("Mühle"));
        assert_eq!((venue.city.as_deref(), venue.postal_code.as_deref()), (Some("Wien"), Some("1010")));
        assert_eq!((venue.country.as_deref(), venue.region.as_deref()), (Some("DE"), Some("BE")));
        assert_eq!(venue.geo.unwrap().point.longitude(), 16.37);
        assert!(listing.online);
        assert_eq!(listing.organizer.unwrap().name, "City");
        let pricing = listing.pricing.unwrap();
        assert_eq!((pricing.min.unwrap().0, pricing.max.unwrap().0, pricing.free), (12_500, 20_000, Some(false)));
        assert_eq!(listing.capacity, Some(80));
        assert_eq!(*listing.images, ["https://i.example/1", "https://i.example/2"]);
        assert_eq!(*listing.urls, ["https://e.example", "https://t.example"]);
        assert_eq!(listing.status, Status::Cancelled);
    }

    #[test]
    fn dates_fall_back_to_what_can_be_read() {
        let mapping = json!({
            "title": "/t", "start": ["/start", "/text"], "end": ["/end", "/text"], "year": "/year",
            "date_formats": ["iso8601", "text-range", "epoch-seconds"]
        });
        for (record, expected) in [
            (json!({"start": "2026-05-01", "end": "2026-05-03"}), "2026-05-01 2026-05-03"),
            (json!({"start": "soon", "text": "May 1-3, 2026"}), "2026-05-01 2026-05-03"),
            (json!({"text": "30 April - 1 May", "year": 2026}), "2026-04-30 2026-05-01"),
            (json!({"start": "2026-05-01", "end": "open"}), "2026-05-01"),
            (json!({"start": 1_777_593_600}), "2026-05-01T02:00:00+02:00"),
            (json!({"start": "2026-05-03", "end": "2026-05-01"}), "2026-05-03"),
            (json!({"start": "2026-05-03", "end": "9999-12-31"}), "2026-05-03"),
        ] {
            let mut record = record;
            record["t"] = json!("x");
            let listing = one(mapping.clone(), &record);
            let mut shown = listing.start.to_string();
            shown.extend(listing.end.map(|end| format!(" {end}")));
            assert_eq!(shown, expected, "{record}");
        }
    }

    #[test]
    fn records_in_an_array_fail_one_by_one() {
        let mapping = json!({"records": "/data/items", "id": "/i", "title": "/t", "start": "/s"});
        let record = json!({"data": {"items": [
            {"i": 1, "t": "a", "s": "2026-05-01"}, {"i": 2, "t": "a", "s": "TBD"}, {"i": 3, "s": "2026-05-01"}, 7,
            {"i": 1, "t": "again", "s": "2026-05-01"}
        ]}});
        let extraction = run(mapping.clone(), &record);
        let (missing, invalid, malformed) =
            (DeadLetterCode::MISSING_FIELD, DeadLetterCode::INVALID_FIELD, DeadLetterCode::MALFORMED);
        assert_eq!(codes(&extraction.failures), [invalid, missing, malformed]);
        assert_eq!(extraction.failures[0].bytes, br#"{"i":2,"s":"TBD","t":"a"}"#);
        let document = extraction.document.unwrap();
        assert_eq!(document.kept, [crate::ListingId::of("s", "2"), crate::ListingId::of("s", "3")]);
        assert_eq!(document.listings.len(), 1);
        assert_eq!(document.listings[0].listing.title, "again");

        let nothing = run(mapping.clone(), &json!({"data": {}}));
        assert_eq!((nothing.document, codes(&nothing.failures)), (None, vec![missing]));
        let empty = run(mapping, &json!({"data": {"items": []}}));
        assert_eq!(empty.document.unwrap().listings, []);
    }

    #[test]
    fn midnight_can_mean_that_the_time_is_unknown() {
        let mut config = source(json!({"title": "/t", "start": "/s", "end": "/e"}));
        config.midnight_means_unknown = true;
        let record = json!({"t": "x", "s": "2026-05-01T00:00", "e": "2026-05-02T00:00"});
        let extraction = extract_with(config, raw("application/json", record.to_string().as_bytes()));
        let listing = extraction.document.unwrap().listings.remove(0).listing;
        assert_eq!(listing.start.to_string(), "2026-05-01");
        assert_eq!(listing.end.unwrap().to_string(), "2026-05-01");
    }

    #[test]
    fn all_problems_of_a_mapping_are_told_at_once() {
        let mapping = json!({
            "title": "no slash", "city": {"pointer": "/x", "capture": "("}, "date_formats": ["whenever"],
            "records": "/a/*", "constants": {"planet": "Earth"}
        });
        let config = ExtractConfig {
            sources: [("x".to_owned(), SourceConfig { timezone: Some("Nowhere".into()), ..source(mapping) })].into(),
            ..ExtractConfig::default()
        };
        let paths: Vec<String> = Extractor::new(&config).unwrap_err().into_iter().map(|problem| problem.path).collect();
        let mut expected: Vec<String> =
            ["city", "constants.planet", "date_formats", "records", "start", "title", "title"]
                .map(|key| format!("sources.x.mapping.{key}"))
                .into();
        expected.push("sources.x.timezone".to_owned());
        let mut sorted = paths;
        sorted.sort();
        assert_eq!(sorted, expected);
        extractor(ExtractConfig::default());
    }
}
