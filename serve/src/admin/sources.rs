//! What each source gives: listings, events shared with others, duplicates in itself, grades, and what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::live::Live;

/// How old an answer may be: all listings are read for one.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// Hours of the spark line.
const HOURS: usize = 24;

const HOUR_MS: i64 = 3_600_000;

/// What is read of a record of the topic `listings`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingRecord {
    first_seen: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    listing: Listing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    source: String,
    end: Option<IgnoredAny>,
    description: Option<IgnoredAny>,
    venue: Option<Venue>,
    pricing: Option<IgnoredAny>,
    #[serde(default)]
    images: Vec<IgnoredAny>,
    category: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Venue {
    latitude: Option<IgnoredAny>,
}

/// What is read of a record of the topic `events`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    listings: Vec<Member>,
    quality_grade: Option<String>,
}

#[derive(Deserialize)]
struct Member {
    source: String,
}

/// What a source gives.
#[derive(Debug, Clone, Default, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceReport {
    pub(crate) source: String,
    listings: u64,
    events: u64,
    /// Events that other sources have too.
    shared_events: u64,
    /// Listings that are one event with another listing of the same source.
    own_duplicates: u64,
    /// Events by grade.
    grades: BTreeMap<String, u64>,
    /// When a record last changed a listing.
    last_record_at: Option<Timestamp>,
    /// Listings that were new, hour by hour, the last hour at the end.
    new_listings: Vec<u64>,
    /// The share of listings without a field.
    gaps: BTreeMap<&'static str, f64>,
}

impl SourceReport {
    /// A source that gives nothing.
    pub(crate) fn of(source: String) -> Self {
        Self { source, new_listings: vec![0; HOURS], ..Self::default() }
    }
}

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct SourcesCache(Mutex<Option<(Instant, Arc<Vec<SourceReport>>)>>);

impl SourcesCache {
    /// What each source gives, by name; at most [`KEPT_FOR`] old.
    pub(crate) fn get(&self, live: &Live) -> io::Result<Arc<Vec<SourceReport>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, reports)) = kept.as_ref().filter(|(at, _)| at.elapsed() < KEPT_FOR) {
            let _ = at;
            return Ok(Arc::clone(reports));
        }
        let reports = Arc::new(reports(live, Timestamp::now().as_millisecond())?);
        *kept = Some((Instant::now(), Arc::clone(&reports)));
        Ok(reports)
    }
}

fn reports(live: &Live, now_ms: i64) -> io::Result<Vec<SourceReport>> {
    let mut sources: BTreeMap<String, SourceReport> = BTreeMap::new();
    let mut missing: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
    each_listing(live, |record| {
        let source = record.listing.source.clone();
        count_listing(sources.entry(source.clone()).or_default(), &record, now_ms);
        for (field, has) in has(&record.listing) {
            *missing.entry(source.clone()).or_default().entry(field).or_default() += u64::from(!has);
        }
    })?;
    each_event(live, |event| count_event(&mut sources, &event))?;
    for (source, report) in &mut sources {
        report.source.clone_from(source);
        let of = |missing: u64| (missing as f64 / report.listings.max(1) as f64 * 1e3).round() / 1e3;
        report.gaps = missing.remove(source).unwrap_or_default().into_iter().map(|(field, n)| (field, of(n))).collect();
    }
    Ok(sources.into_values().collect())
}

fn has(listing: &Listing) -> [(&'static str, bool); 6] {
    [
        ("endTime", listing.end.is_some()),
        ("description", listing.description.is_some()),
        ("coordinates", listing.venue.as_ref().is_some_and(|venue| venue.latitude.is_some())),
        ("price", listing.pricing.is_some()),
        ("image", !listing.images.is_empty()),
        ("category", listing.category.is_some()),
    ]
}

fn count_listing(report: &mut SourceReport, record: &ListingRecord, now_ms: i64) {
    report.listings += 1;
    report.last_record_at = report.last_record_at.max(record.updated_at);
    if report.new_listings.is_empty() {
        report.new_listings = vec![0; HOURS];
    }
    let age = record.first_seen.map(|seen| (now_ms - seen.as_millisecond()).max(0) / HOUR_MS);
    let hour = age.and_then(|age| (HOURS - 1).checked_sub(usize::try_from(age).ok()?));
    if let Some(count) = hour.and_then(|hour| report.new_listings.get_mut(hour)) {
        *count += 1;
    }
}

fn count_event(sources: &mut BTreeMap<String, SourceReport>, event: &Event) {
    let distinct: BTreeSet<&str> = event.listings.iter().map(|member| member.source.as_str()).collect();
    for source in &distinct {
        let Some(report) = sources.get_mut(*source) else { continue };
        report.events += 1;
        report.shared_events += u64::from(distinct.len() > 1);
        let own = event.listings.iter().filter(|member| member.source == **source).count() as u64;
        report.own_duplicates += own - 1;
        if let Some(grade) = &event.quality_grade {
            *report.grades.entry(grade.clone()).or_default() += 1;
        }
    }
}

fn each_listing(live: &Live, mut each: impl FnMut(ListingRecord)) -> io::Result<()> {
    let (all, packing) = {
        let served = live.read();
        (served.listings.all(), served.listings.packing().clone())
    };
    let mut unpacker = packing.unpacker()?;
    for packed in all {
        // What cannot be read was logged when it came.
        if let Ok(record) = serde_json::from_slice(&unpacker.unpack(&packed)?) {
            each(record);
        }
    }
    Ok(())
}

fn each_event(live: &Live, mut each: impl FnMut(Event)) -> io::Result<()> {
    let (all, packing) = {
        let served = live.read();
        let all: Vec<_> = served.index.entries().map(|entry| entry.document.clone()).collect();
        (all, served.index.packing().clone())
    };
    let mut unpacker = packing.unpacker()?;
    for packed in all {
        if let Ok(event) = serde_json::from_slice(&unpacker.unpack(&packed)?) {
            each(event);
        }
    }
    Ok(())
}
