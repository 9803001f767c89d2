//! From records of the output topics to rows of the view's tables.
//!
//! The tables are declared once, here, as lists of columns; both stores are generic over these
//! lists, and their migrations create tables with the same names and columns.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use headwater_operators::listing::Amount;
use headwater_operators::moment::Moment;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ViewError, ViewTopics};
use crate::log::{LogRecord, TopicPartition};

/// The newest format of state records that the views understand.
pub const FORMAT: u64 = 1;

/// The years that a view can store: both databases order these as text and as time.
const FIRST_MS: i64 = -62_135_596_800_000; // 0001-01-01T00:00:00Z
const LAST_MS: i64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A list of texts.
    List,
    /// A whole number.
    Int,
    /// A floating point number.
    Real,
    /// An amount of money; the cell holds thousandths.
    Money,
    /// True or false.
    Bool,
    /// An instant; the cell holds ms since the Unix epoch.
    Time,
    /// A calendar day; the cell holds `2026-03-28`.
    Date,
    /// A JSON document; the cell holds its text.
    Json,
    /// Bytes.
    Bytes,
}

/// A column of a table.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// A table of the view.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How many of the first columns are the primary key.
    pub key: usize,
    /// Its columns, in the order of the cells of a [`Row`].
    pub columns: &'static [Column],
}

macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident = $name:literal, key $key:literal { $($column:ident: $kind:ident),+ $(,)? })+) => {
        $($(#[$doc])*
        pub static $table: Table = Table {
            name: $name,
            key: $key,
            columns: &[$(Column { name: stringify!($column), kind: Kind::$kind }),+],
        };)+
        /// Every table that holds rows.
        pub static TABLES: &[&Table] = &[$(&$table),+];
    };
}

tables! {
    /// Events.
    EVENTS = "events", key 1 {
        id: Text, title: Text, description: Text, category: Text, tags: List,
        start_time: Time, start_date: Date, end_time: Time, timezone: Text, all_day: Bool,
        venue_name: Text, address: Text, city: Text, region: Text, postal_code: Text, country: Text,
        latitude: Real, longitude: Real, geo_precision: Text, online: Bool, organizer: Text,
        price_min: Money, price_max: Money, currency: Text, free: Bool, status: Text,
        quality_score: Real, quality_grade: Text, passed: Bool, listing_count: Int,
        first_seen: Time, updated_at: Time, document: Json,
    }
    /// Retired event ids.
    EVENT_REDIRECTS = "event_redirects", key 1 { id: Text, redirect_to: Text }
    /// Listings.
    LISTINGS = "listings", key 1 {
        id: Text, source: Text, external_id: Text, title: Text, category: Text,
        start_time: Time, start_date: Date, end_time: Time, timezone: Text, all_day: Bool,
        venue_name: Text, city: Text, country: Text, latitude: Real, longitude: Real,
        status: Text, url: Text, first_seen: Time, updated_at: Time, document: Json,
    }
    /// Which listing belongs to which event.
    EVENT_LINKS = "event_links", key 1 {
        listing_id: Text, source: Text, external_id: Text, event_id: Text, event_first_seen: Time,
        similarity: Real, via_source: Text, via_external_id: Text, contributions: Json,
    }
    /// Metrics by window, source and category.
    WINDOW_METRICS = "window_metrics", key 1 {
        key: Text, window_start: Time, window_end: Time, source: Text, category: Text,
        seen: Int, discovered: Int, updated: Int, unchanged: Int, withdrawn: Int, dead: Int, late: Int,
        closed: Bool, duplicates: Int, rejected: Int, mean_score: Real, open_events: Int,
    }
    /// Dead letters, by their position in the dead-letters topic.
    DEAD_LETTERS = "dead_letters", key 3 {
        topic: Text, partition: Int, record_offset: Int, recorded_at: Time,
        code: Text, reason: Text, part: Text, source: Text, content_type: Text,
        raw_topic: Text, raw_partition: Int, raw_offset: Int, raw_time: Time,
        raw_key: Bytes, raw_value: Bytes,
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// For [`Kind::Text`], [`Kind::Date`] and [`Kind::Json`]. Never holds a NUL character.
    Text(Cow<'a, str>),
    /// For [`Kind::List`].
    List(Vec<Cow<'a, str>>),
    /// For [`Kind::Int`], [`Kind::Money`] and [`Kind::Time`].
    Int(i64),
    /// For [`Kind::Real`].
    Real(f64),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Bytes`].
    Bytes(&'a [u8]),
}

/// The cells of one row, in the order of its table's columns.
pub type Row<'a> = Vec<Cell<'a>>;

/// What changes in one table. No key occurs twice.
#[derive(Debug)]
pub struct Changes<'a> {
    /// The table.
    pub table: &'static Table,
    /// Rows to insert or to replace.
    pub upserts: Vec<Row<'a>>,
    /// Keys (values of the first column) of rows to delete.
    pub deletes: Vec<&'a str>,
}

impl Changes<'_> {
    /// Puts the rows, which came last to first, into the order of their keys: neighbours in a
    /// table's largest index are written one after the other.
    fn sort(&mut self) {
        fn key<'r>(row: &'r Row<'_>) -> &'r str {
            match row.first() {
                Some(Cell::Text(text)) => text,
                _ => "",
            }
        }
        self.upserts.reverse();
        self.upserts.sort_by(|a, b| key(a).cmp(key(b)));
        self.deletes.sort_unstable();
    }
}

/// The move of one partition's offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The partition.
    pub partition: TopicPartition,
    /// What the store must hold now; `None` where it must hold nothing.
    pub expected: Option<i64>,
    /// What it holds afterwards: the offset at which reading goes on.
    pub next: i64,
}

/// Rows and offsets to be written in one transaction.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Changes, at most one entry for each table.
    pub changes: Vec<Changes<'a>>,
    /// Moves of offsets, at most one for each partition.
    pub steps: Vec<Step>,
    /// Dead letters below these offsets of their topic are gone from the log, and leave the table.
    pub forget: Vec<(TopicPartition, i64)>,
    /// Records whose value could not be read. They change nothing.
    pub skipped: usize,
}

impl<'a> Batch<'a> {
    /// Reads `records` (in the order of the log within each partition, and made [storable]) into
    /// rows. Of several records with one key the last readable one counts.
    ///
    /// [storable]: make_storable
    ///
    /// # Errors
    /// [`ViewError::NewerFormat`]. A value that cannot be read for another reason is logged,
    /// counted in `skipped` and changes nothing: the engine mends damaged topics by writing the
    /// key again, and a view that stopped here would never get to see that.
    pub fn read(records: &'a [LogRecord], topics: &ViewTopics, steps: Vec<Step>) -> Result<Self, ViewError> {
        let mut batch = Self { steps, ..Self::default() };
        let mut seen: HashSet<(&str, &[u8])> = HashSet::with_capacity(records.len());
        for record in records.iter().rev() {
            let keyed = record.topic != topics.dead_letters;
            let key = (&*record.topic, record.key.as_deref().unwrap_or_default());
            if keyed && seen.contains(&key) {
                continue;
            }
            match batch.add(record, topics) {
                Ok(()) => {
                    seen.insert(key);
                }
                Err(Unread::Format(format)) => return Err(newer_format(record, format)),
                Err(Unread::Malformed(reason)) => {
                    batch.skipped += 1;
                    tracing::error!(
                        topic = &*record.topic,
                        partition = record.partition,
                        offset = record.offset,
                        reason,
                        "skipped a record of an output topic that cannot be read"
                    );
                }
            }
        }
        for changes in &mut batch.changes {
            changes.sort();
        }
        Ok(batch)
    }

    /// Number of rows written and deleted.
    pub fn rows(&self) -> usize {
        self.changes.iter().map(|changes| changes.upserts.len() + changes.deletes.len()).sum()
    }

    fn add(&mut self, record: &'a LogRecord, topics: &ViewTopics) -> Result<(), Unread> {
        let topic = &record.topic;
        if *topic == topics.dead_letters {
            self.upsert(&DEAD_LETTERS, dead_letter(record));
            return Ok(());
        }
        let key = key_of(record)?;
        let value = value_of(record)?;
        if *topic == topics.events {
            return self.add_event(key, value);
        }
        let (table, read): (&'static Table, ReadRow<'a>) = if *topic == topics.listings {
            (&LISTINGS, listing)
        } else if *topic == topics.links {
            (&EVENT_LINKS, link)
        } else if *topic == topics.metrics {
            (&WINDOW_METRICS, window_metric)
        } else {
            return Err(Unread::Malformed("the view does not read this topic".to_owned()));
        };
        match value {
            Some(value) => {
                let row = read(key, value)?;
                self.upsert(table, row);
            }
            None => self.delete(table, key),
        }
        Ok(())
    }

    /// An id is an event, or a redirect, or nothing; whatever it becomes, it ceases to be the rest.
    fn add_event(&mut self, id: &'a str, value: Option<&'a str>) -> Result<(), Unread> {
        let Some(text) = value else {
            self.delete(&EVENTS, id);
            self.delete(&EVENT_REDIRECTS, id);
            return Ok(());
        };
        let event: EventValue<'a> = parse(text)?;
        if let Some(survivor) = event.redirect_to {
            self.upsert(&EVENT_REDIRECTS, vec![Cell::Text(id.into()), Cell::Text(survivor.0)]);
            self.delete(&EVENTS, id);
            return Ok(());
        }
        let row = event_row(id, text, event)?;
        self.upsert(&EVENTS, row);
        self.delete(&EVENT_REDIRECTS, id);
        Ok(())
    }

    fn upsert(&mut self, table: &'static Table, row: Row<'a>) {
        self.changes_of(table).upserts.push(row);
    }

    fn delete(&mut self, table: &'static Table, key: &'a str) {
        self.changes_of(table).deletes.push(key);
    }

    fn changes_of(&mut self, table: &'static Table) -> &mut Changes<'a> {
        let index = self.changes.iter().position(|changes| std::ptr::eq(changes.table, table));
        let index = index.unwrap_or_else(|| {
            self.changes.push(Changes { table, upserts: Vec::new(), deletes: Vec::new() });
            self.changes.len() - 1
        });
        &mut self.changes[index]
    }
}

/// Makes a row of a key and a value.
type ReadRow<'a> = fn(&'a str, &'a str) -> Result<Row<'a>, Unread>;

/// Why a record gave no row.
enum Unread {
    Format(u64),
    Malformed(String),
}

fn newer_format(record: &LogRecord, format: u64) -> ViewError {
    ViewError::NewerFormat {
        topic: record.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        format,
        known: FORMAT,
    }
}

/// Removes NUL characters, which Postgres cannot hold, from the values of `records` but dead
/// letters.
pub fn make_storable(records: &mut [LogRecord], topics: &ViewTopics) {
    let keyed = records.iter_mut().filter(|record| record.topic != topics.dead_letters);
    keyed.for_each(rewrite_without_nul);
}

/// Rewrites a JSON value without NUL characters. In JSON they are always written as escapes, and
/// the engine escapes nothing else in this way but other control characters, so this is rare.
fn rewrite_without_nul(record: &mut LogRecord) {
    let Some(value) = &mut record.value else { return };
    if !std::str::from_utf8(value).is_ok_and(|text| text.contains("\\u0000")) {
        return;
    }
    if let Ok(mut json) = serde_json::from_slice::<Value>(value) {
        strip_nul(&mut json);
        *value = json.to_string().into_bytes();
    }
}

/// NB: recursion is bounded by the nesting limit of `serde_json`, which read the value.
fn strip_nul(json: &mut Value) {
    match json {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(items) => items.iter_mut().for_each(strip_nul),
        Value::Object(fields) => {
            let cleaned = std::mem::take(fields).into_iter().map(|(mut name, mut value)| {
                name.retain(|c| c != '\0');
                strip_nul(&mut value);
                (name, value)
            });
            *fields = cleaned.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn key_of(record: &LogRecord) -> Result<&str, Unread> {
    let key = record.key.as_deref().ok_or_else(|| Unread::Malformed("it has no key".to_owned()))?;
    match std::str::from_utf8(key) {
        Ok(key) if !key.contains('\0') => Ok(key),
        _ => Err(Unread::Malformed("its key is not text".to_owned())),
    }
}

fn value_of(record: &LogRecord) -> Result<Option<&str>, Unread> {
    let value = record.value.as_deref().map(std::str::from_utf8).transpose();
    value.map_err(|_| Unread::Malformed("its value is not UTF-8".to_owned()))
}

/// Reads a value, and refuses newer formats whether or not they happen to look like this one.
fn parse<'a, T: Deserialize<'a> + Versioned>(text: &'a str) -> Result<T, Unread> {
    match serde_json::from_str::<T>(text) {
        Ok(value) if value.format() > FORMAT => Err(Unread::Format(value.format())),
        Ok(value) => Ok(value),
        Err(error) => match serde_json::from_str::<FormatOnly>(text) {
            Ok(only) if only.format > FORMAT => Err(Unread::Format(only.format)),
            _ => Err(Unread::Malformed(error.to_string())),
        },
    }
}

trait Versioned {
    fn format(&self) -> u64;
}

macro_rules! versioned {
    ($($value:ident),+) => {
        $(impl Versioned for $value<'_> {
            fn format(&self) -> u64 {
                self.format
            }
        })+
    };
}
versioned!(EventValue, ListingState, LinkValue, MetricValue);

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// Text that borrows from its JSON document where it has no escapes (a plain `Option<Cow<str>>`
/// never borrows in serde).
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventValue<'a> {
    format: u64,
    #[serde(borrow)]
    redirect_to: Option<Text<'a>>,
    title: Option<Text<'a>>,
    description: Option<Text<'a>>,
    category: Option<Text<'a>>,
    #[serde(default)]
    tags: Vec<Text<'a>>,
    start_time: Option<Moment>,
    end_time: Option<Moment>,
    timezone: Option<Text<'a>>,
    venue: Option<VenueValue<'a>>,
    #[serde(default)]
    online: bool,
    organizer: Option<OrganizerValue<'a>>,
    pricing: Option<PricingValue<'a>>,
    status: Option<Text<'a>>,
    #[serde(default)]
    listings: Vec<IgnoredAny>,
    first_seen: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    quality_score: Option<f64>,
    quality_grade: Option<Text<'a>>,
    passed: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct VenueValue<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    address: Option<Text<'a>>,
    city: Option<Text<'a>>,
    region: Option<Text<'a>>,
    postal_code: Option<Text<'a>>,
    country: Option<Text<'a>>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    geo_precision: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct OrganizerValue<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
struct PricingValue<'a> {
    min: Option<Amount>,
    max: Option<Amount>,
    #[serde(borrow)]
    currency: Option<Text<'a>>,
    free: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingState<'a> {
    format: u64,
    first_seen: Timestamp,
    updated_at: Timestamp,
    #[serde(borrow)]
    listing: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingValue<'a> {
    #[serde(borrow)]
    source: Text<'a>,
    external_id: Text<'a>,
    title: Text<'a>,
    category: Option<Text<'a>>,
    start: Moment,
    end: Option<Moment>,
    timezone: Option<Text<'a>>,
    venue: Option<VenueValue<'a>>,
    #[serde(default)]
    urls: Vec<Text<'a>>,
    status: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkValue<'a> {
    format: u64,
    #[serde(borrow)]
    source: Text<'a>,
    external_id: Text<'a>,
    event_id: Text<'a>,
    event_first_seen: Option<Timestamp>,
    similarity: Option<f64>,
    via: Option<ViaValue<'a>>,
    contributions: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ViaValue<'a> {
    #[serde(borrow)]
    source: Text<'a>,
    external_id: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue<'a> {
    format: u64,
    window_start: Timestamp,
    window_end: Timestamp,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    category: Option<Text<'a>>,
    #[serde(default)]
    seen: i64,
    #[serde(default)]
    discovered: i64,
    #[serde(default)]
    updated: i64,
    #[serde(default)]
    unchanged: i64,
    #[serde(default)]
    withdrawn: i64,
    #[serde(default)]
    dead: i64,
    #[serde(default)]
    late: i64,
    #[serde(default)]
    closed: bool,
    duplicates: Option<i64>,
    rejected: Option<i64>,
    mean_score: Option<f64>,
    open_events: Option<i64>,
}

fn event_row<'a>(id: &'a str, document: &'a str, event: EventValue<'a>) -> Result<Row<'a>, Unread> {
    let title = event.title.ok_or_else(|| Unread::Malformed("it has no title".to_owned()))?;
    let start = event.start_time.ok_or_else(|| Unread::Malformed("it has no startTime".to_owned()))?;
    let times = Times::new(start, event.end_time, event.timezone.as_ref())?;
    let venue = event.venue.unwrap_or_default();
    let pricing = event.pricing.unwrap_or_default();
    Ok(vec![
        Cell::Text(id.into()),
        title.into(),
        event.description.into(),
        event.category.into(),
        Cell::List(event.tags.into_iter().map(|tag| tag.0).collect()),
        Cell::Int(times.start_ms),
        times.start_date(),
        times.end_ms.into(),
        event.timezone.into(),
        Cell::Bool(start.is_day()),
        venue.name.into(),
        venue.address.into(),
        venue.city.into(),
        venue.region.into(),
        venue.postal_code.into(),
        venue.country.into(),
        venue.latitude.into(),
        venue.longitude.into(),
        venue.geo_precision.into(),
        Cell::Bool(event.online),
        event.organizer.and_then(|organizer| organizer.name).into(),
        pricing.min.map(|amount| amount.0).into(),
        pricing.max.map(|amount| amount.0).into(),
        pricing.currency.into(),
        pricing.free.into(),
        event.status.into(),
        event.quality_score.into(),
        event.quality_grade.into(),
        event.passed.into(),
        Cell::Int(i64::try_from(event.listings.len()).unwrap_or(i64::MAX)),
        time_cell(event.first_seen)?,
        time_cell(event.updated_at)?,
        Cell::Text(document.into()),
    ])
}

fn listing<'a>(id: &'a str, text: &'a str) -> Result<Row<'a>, Unread> {
    let state: ListingState<'a> = parse(text)?;
    let document = state.listing.get();
    let listing: ListingValue<'a> =
        serde_json::from_str(document).map_err(|error| Unread::Malformed(error.to_string()))?;
    let times = Times::new(listing.start, listing.end, listing.timezone.as_ref())?;
    let venue = listing.venue.unwrap_or_default();
    Ok(vec![
        Cell::Text(id.into()),
        listing.source.into(),
        listing.external_id.into(),
        listing.title.into(),
        listing.category.into(),
        Cell::Int(times.start_ms),
        times.start_date(),
        times.end_ms.into(),
        listing.timezone.into(),
        Cell::Bool(listing.start.is_day()),
        venue.name.into(),
        venue.city.into(),
        venue.country.into(),
        venue.latitude.into(),
        venue.longitude.into(),
        listing.status.into(),
        listing.urls.into_iter().next().into(),
        time_cell(Some(state.first_seen))?,
        time_cell(Some(state.updated_at))?,
        Cell::Text(document.into()),
    ])
}

fn link<'a>(listing_id: &'a str, text: &'a str) -> Result<Row<'a>, Unread> {
    let link: LinkValue<'a> = parse(text)?;
    let (via_source, via_external_id) = link.via.map(|via| (via.source, via.external_id)).unzip();
    Ok(vec![
        Cell::Text(listing_id.into()),
        link.source.into(),
        link.external_id.into(),
        link.event_id.into(),
        time_cell(link.event_first_seen)?,
        link.similarity.into(),
        via_source.into(),
        via_external_id.into(),
        link.contributions.map_or(Cell::Null, |json| Cell::Text(json.get().into())),
    ])
}

fn window_metric<'a>(key: &'a str, text: &'a str) -> Result<Row<'a>, Unread> {
    let metric: MetricValue<'a> = parse(text)?;
    Ok(vec![
        Cell::Text(key.into()),
        time_cell(Some(metric.window_start))?,
        time_cell(Some(metric.window_end))?,
        metric.source.into(),
        metric.category.into(),
        Cell::Int(metric.seen),
        Cell::Int(metric.discovered),
        Cell::Int(metric.updated),
        Cell::Int(metric.unchanged),
        Cell::Int(metric.withdrawn),
        Cell::Int(metric.dead),
        Cell::Int(metric.late),
        Cell::Bool(metric.closed),
        metric.duplicates.into(),
        metric.rejected.into(),
        metric.mean_score.into(),
        metric.open_events.into(),
    ])
}

/// A dead letter always gives a row: its headers are the engine's own, and its value may be
/// anything.
fn dead_letter(record: &LogRecord) -> Row<'_> {
    let text = |name| record.header(name).map_or(Cell::Null, |bytes| Cell::Text(without_nul(bytes)));
    let number = |name| number_header(record, name);
    vec![
        Cell::Text(Cow::Borrowed(&*record.topic)),
        Cell::Int(i64::from(record.partition)),
        Cell::Int(record.offset),
        storable_ms(Some(record.timestamp_ms)),
        text("dead-letter-code"),
        text("dead-letter-reason"),
        text("dead-letter-part"),
        text("source"),
        text("content-type"),
        text("dead-letter-topic"),
        number("dead-letter-partition").into(),
        number("dead-letter-offset").into(),
        storable_ms(number("dead-letter-timestamp")),
        record.key.as_deref().map_or(Cell::Null, Cell::Bytes),
        record.value.as_deref().map_or(Cell::Null, Cell::Bytes),
    ]
}

fn number_header(record: &LogRecord, name: &str) -> Option<i64> {
    std::str::from_utf8(record.header(name)?).ok()?.parse().ok()
}

fn without_nul(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        text if text.contains('\0') => Cow::Owned(text.replace('\0', "")),
        text => text,
    }
}

/// When something takes place, as instants.
struct Times {
    start_ms: i64,
    end_ms: Option<i64>,
    start: Moment,
}

impl Times {
    /// Days begin at midnight of `zone` (UTC where it is not known) and end at the next one.
    fn new(start: Moment, end: Option<Moment>, zone: Option<&Text<'_>>) -> Result<Self, Unread> {
        let needs_zone = start.is_day() || end.is_some_and(|end| end.is_day());
        let zone = zone.filter(|_| needs_zone).and_then(|name| TimeZone::get(&name.0).ok());
        let times = Self {
            start_ms: start.earliest_ms(zone.as_ref()),
            end_ms: end.map(|end| end.latest_ms(zone.as_ref())),
            start,
        };
        let storable = |ms: i64| (FIRST_MS..=LAST_MS).contains(&ms);
        if storable(times.start_ms) && times.end_ms.is_none_or(storable) {
            return Ok(times);
        }
        Err(Unread::Malformed("its time is outside of the years 1 to 9999".to_owned()))
    }

    fn start_date(&self) -> Cell<'static> {
        Cell::Text(self.start.local_date().to_string().into())
    }
}

fn time_cell(at: Option<Timestamp>) -> Result<Cell<'static>, Unread> {
    match (at, storable_ms(at.map(Timestamp::as_millisecond))) {
        (Some(_), Cell::Null) => Err(Unread::Malformed("a time of it is outside of the years 1 to 9999".to_owned())),
        (_, cell) => Ok(cell),
    }
}

fn storable_ms(ms: Option<i64>) -> Cell<'static> {
    ms.filter(|ms| (FIRST_MS..=LAST_MS).contains(ms)).into()
}

impl<'a> From<Text<'a>> for Cell<'a> {
    fn from(text: Text<'a>) -> Self {
        Self::Text(text.0)
    }
}

impl<'a> From<Option<Text<'a>>> for Cell<'a> {
    fn from(text: Option<Text<'a>>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Int)
    }
}

impl From<Option<f64>> for Cell<'_> {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Null, Self::Real)
    }
}

impl From<Option<bool>> for Cell<'_> {
    fn from(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Bool)
    }
}

/// The partitions that `records` come from, with the offset after the last of each.
pub(super) fn ends_of(records: &[LogRecord]) -> Vec<(TopicPartition, i64)> {
    let mut ends: Vec<(TopicPartition, i64)> = Vec::new();
    for record in records {
        let known = ends.iter_mut().find(|(at, _)| at.partition == record.partition && at.topic == record.topic);
        match known {
            Some((_, next)) => *next = record.offset + 1,
            None => ends.push((TopicPartition::new(Arc::clone(&record.topic), record.partition), record.offset + 1)),
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"format":1,"id":"e1","title":"Jazz \"Night\"","description":null,"category":"music",
        "tags":["live","jazz"],"startTime":"2026-03-28T19:30:00-07:00","endTime":null,
        "timezone":"America/Los_Angeles","allDay":false,"venue":{"name":"Blue Note","city":"Napa",
        "latitude":38.3,"longitude":-122.28,"geoPrecision":"venue"},"online":false,"organizer":{"name":"BN"},
        "pricing":{"min":12.5,"max":20,"currency":"USD"},"status":"scheduled","listings":[{},{}],
        "firstSeen":"2026-01-01T00:00:00Z","updatedAt":"2026-01-02T00:00:00Z","qualityScore":0.9,
        "qualityGrade":"A","passed":true,"gates":[]}"#;
    const LISTING: &str = r#"{"format":1,"id":"l1","firstSeen":"2026-01-01T00:00:00Z",
        "updatedAt":"2026-01-02T00:00:00Z","listing":{"source":"s","externalId":"7","title":"T",
        "start":"2026-03-28","end":"2026-03-29","timezone":"Europe/Paris","urls":["https://a.example"]}}"#;
    const LINK: &str = r#"{"format":1,"listing":"l1","source":"s","externalId":"7","eventId":"e1",
        "eventFirstSeen":"2026-01-01T00:00:00Z","similarity":0.93,"via":{"source":"t","externalId":"8"},
        "contributions":[{"field":"title"}]}"#;
    const METRIC: &str = r#"{"format":1,"windowStart":"2026-01-01T00:00:00Z","windowEnd":"2026-01-01T00:01:00Z",
        "source":"s","category":"music","seen":3,"closed":true,"duplicates":1,"meanScore":0.5}"#;

    fn topics() -> ViewTopics {
        ViewTopics::with_prefix("t.")
    }

    fn record(topic: &Arc<str>, offset: i64, key: &str, value: Option<&str>) -> LogRecord {
        LogRecord {
            topic: Arc::clone(topic),
            partition: 0,
            offset,
            timestamp_ms: 0,
            key: Some(key.into()),
            value: value.map(Into::into),
            headers: Vec::new(),
        }
    }

    fn fits(kind: Kind, cell: &Cell<'_>) -> bool {
        match cell {
            Cell::Null => true,
            Cell::Text(_) => matches!(kind, Kind::Text | Kind::Date | Kind::Json),
            Cell::List(_) => kind == Kind::List,
            Cell::Int(_) => matches!(kind, Kind::Int | Kind::Money | Kind::Time),
            Cell::Real(_) => kind == Kind::Real,
            Cell::Bool(_) => kind == Kind::Bool,
            Cell::Bytes(_) => kind == Kind::Bytes,
        }
    }

    fn cell<'b>(batch: &'b Batch<'_>, table: &Table, column: &str) -> &'b Cell<'b> {
        let changes = batch.changes.iter().find(|changes| changes.table.name == table.name).unwrap();
        let index = table.columns.iter().position(|c| c.name == column).unwrap();
        &changes.upserts[0][index]
    }

    #[test]
    fn rows_fit_their_tables() {
        let topics = topics();
        let records = vec![
            record(&topics.events, 0, "e1", Some(EVENT)),
            record(&topics.events, 1, "e2", Some(r#"{"format":1,"id":"e2","redirectTo":"e1"}"#)),
            record(&topics.listings, 0, "l1", Some(LISTING)),
            record(&topics.links, 0, "l1", Some(LINK)),
            record(&topics.metrics, 0, "m", Some(METRIC)),
            record(&topics.dead_letters, 0, "raw", Some("\0")),
        ];
        let batch = Batch::read(&records, &topics, Vec::new()).unwrap();
        assert_eq!((batch.skipped, batch.changes.len()), (0, TABLES.len()));
        for Changes { table, upserts, .. } in &batch.changes {
            assert_eq!(upserts[0].len(), table.columns.len(), "{}", table.name);
            for (column, cell) in table.columns.iter().zip(&upserts[0]) {
                assert!(fits(column.kind, cell), "{}.{}: {cell:?}", table.name, column.name);
            }
        }
        assert_eq!(*cell(&batch, &EVENTS, "title"), Cell::Text("Jazz \"Night\"".into()));
        assert_eq!(*cell(&batch, &EVENTS, "price_min"), Cell::Int(12_500));
        assert_eq!(*cell(&batch, &EVENTS, "listing_count"), Cell::Int(2));
        assert_eq!(*cell(&batch, &EVENT_LINKS, "via_external_id"), Cell::Text("8".into()));
        assert_eq!(*cell(&batch, &WINDOW_METRICS, "open_events"), Cell::Null);
    }

    #[test]
    fn days_begin_and_end_at_midnight_of_their_zone() {
        let topics = topics();
        // Clocks change in Paris in the night to 2026-03-29, which is therefore 23 hours long.
        let records = [record(&topics.listings, 0, "l1", Some(LISTING))];
        let batch = Batch::read(&records, &topics, Vec::new()).unwrap();
        let ms = |text: &str| Cell::Int(text.parse::<Timestamp>().unwrap().as_millisecond());
        assert_eq!(*cell(&batch, &LISTINGS, "start_time"), ms("2026-03-27T23:00:00Z"));
        assert_eq!(*cell(&batch, &LISTINGS, "end_time"), ms("2026-03-29T22:00:00Z"));
        assert_eq!(*cell(&batch, &LISTINGS, "start_date"), Cell::Text("2026-03-28".into()));
    }

    #[test]
    fn the_last_readable_record_of_a_key_counts() {
        let topics = topics();
        let renamed = EVENT.replace("Jazz", "Blues");
        let records = [
            record(&topics.events, 0, "e1", Some(EVENT)),
            record(&topics.events, 1, "e1", None),
            record(&topics.events, 2, "e1", Some(&renamed)),
            record(&topics.events, 3, "e1", Some(r#"{"format":1,"title":7}"#)),
            record(&topics.events, 4, "e2", Some(EVENT)),
            record(&topics.events, 5, "e2", None),
        ];
        let batch = Batch::read(&records, &topics, Vec::new()).unwrap();
        assert_eq!(batch.skipped, 1);
        assert_eq!(*cell(&batch, &EVENTS, "title"), Cell::Text("Blues \"Night\"".into()));
        let events = batch.changes.iter().find(|changes| changes.table.name == "events").unwrap();
        assert_eq!((events.upserts.len(), events.deletes.as_slice()), (1, ["e2"].as_slice()));
    }

    #[test]
    fn newer_formats_are_an_error_that_names_the_record() {
        let topics = topics();
        for value in [r#"{"format":2,"title":"T","startTime":"2026-03-28"}"#, r#"{"format":2,"title":{"en":"T"}}"#] {
            let records = [record(&topics.events, 41, "e1", Some(value))];
            let error = Batch::read(&records, &topics, Vec::new()).unwrap_err();
            assert!(matches!(&error, ViewError::NewerFormat { offset: 41, format: 2, .. }), "{error}");
            assert!(error.to_string().contains("offset 41 of t.events/0"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let topics = topics();
        let broken = [
            "",
            "null",
            "[]",
            "7",
            "{",
            r#"{"format":1}"#,
            r#"{"title":"no format"}"#,
            r#"{"format":1,"title":"T","startTime":"soon"}"#,
            r#"{"format":1,"title":"T","startTime":"-001000-01-01"}"#,
            r#"{"format":-1,"title":"T","startTime":"2026-01-01"}"#,
        ];
        for value in broken {
            let records = [record(&topics.events, 0, "e1", Some(value))];
            let batch = Batch::read(&records, &topics, Vec::new()).unwrap();
            assert_eq!((batch.skipped, batch.rows()), (1, 0), "{value}");
        }
        let mut records = [record(&topics.events, 0, "e\0", Some(EVENT)), record(&topics.events, 1, "", Some(EVENT))];
        records[1].key = None;
        let batch = Batch::read(&records, &topics, Vec::new()).unwrap();
        assert_eq!((batch.skipped, batch.rows()), (2, 0));
    }

    #[test]
    fn nul_characters_are_removed_everywhere() {
        let mut json = serde_json::json!({"a\0": ["x\0y", {"b": "\0"}], "n": 1});
        strip_nul(&mut json);
        assert_eq!(json, serde_json::json!({"a": ["xy", {"b": ""}], "n": 1}));
        assert_eq!(without_nul(b"a\0b\xff"), "ab\u{fffd}");
    }
}
