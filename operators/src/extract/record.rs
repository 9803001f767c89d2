//! What the adapters share: the record being read, what comes out of it, and the rules that hold
//! for listings of every format.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use smol_str::SmolStr;

use super::config::{Limits, SourceConfig};
use super::marks;
use super::problem::Problem;
use super::site::{self, Site};
use super::when;
use super::zone::Zone;
use crate::ids::{ListingId, digest};
use crate::listing::{Geo, GeoPrecision, GeoProvenance, Listing, Organizer, Point, Status, Texts, Venue};
use crate::moment::{DAY_MS, Moment};
use crate::online::{self, Presence};
use crate::raw::{DeadLetterCode, Extracted, SourceStamp};
use crate::sanitize::is_blank;

/// A source as the adapters need it: its configuration, checked.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) config: SourceConfig,
    pub(crate) zone: Zone,
    /// Where its events take place that do not say where.
    pub(crate) site: Option<Site>,
    /// Lower-case words of the source, and what they become.
    pub(crate) category_map: BTreeMap<String, String>,
}

/// The record that an adapter reads.
pub(crate) struct Record<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) name: &'a SmolStr,
    pub(crate) source: &'a Source,
    pub(crate) limits: &'a Limits,
    timestamp_ms: i64,
    /// Whether what it gives depends on its timestamp.
    is_timed: Cell<bool>,
}

/// What an adapter found in a record.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) listings: Vec<Extracted>,
    pub(crate) kept: Vec<ListingId>,
    pub(crate) failures: Vec<PartFailure>,
    /// What was read otherwise than it stands there, or only in part: told, but nothing is lost.
    pub(crate) warnings: Vec<PartFailure>,
    /// Whether parts were read from a text that was mended before.
    pub(crate) rewritten: bool,
    /// Whether the record seems cut off: what it does not name is not withdrawn.
    pub(crate) cut_off: bool,
}

/// A part of a record that cannot be used.
#[derive(Debug)]
pub(crate) struct PartFailure {
    pub(crate) problem: Problem,
    pub(crate) part: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Entries with a time that a record has to have for [`Output::settle_midnights`], and titles among them.
const MIN_MIDNIGHTS: usize = 8;
const MIN_TITLES: usize = 4;

impl Output {
    /// Notes a part that cannot be used. `external_id`, where it could be read, keeps what the
    /// listing said before.
    pub(crate) fn fail(&mut self, record: &Record<'_>, problem: Problem, external_id: Option<&str>, bytes: &[u8]) {
        if let Some(id) = external_id {
            self.keep(record, id);
        }
        self.failures.push(PartFailure {
            problem,
            part: external_id.map(|id| cut(id, record.limits.max_id_bytes)),
            bytes: bytes.to_vec(),
        });
    }

    /// Notes what is to be told although it was used.
    pub(crate) fn warn(&mut self, problem: Problem, bytes: &[u8]) {
        self.warnings.push(PartFailure { problem, part: None, bytes: bytes.to_vec() });
    }

    /// Keeps what the listing said before.
    pub(crate) fn keep(&mut self, record: &Record<'_>, external_id: &str) {
        self.kept.push(ListingId::of(record.name, external_id));
    }

    /// How many more events the record may hold.
    pub(crate) fn room(&self, limits: &Limits) -> usize {
        limits.max_listings_per_record.saturating_sub(self.listings.len() + self.failures.len())
    }

    /// Makes days of the times of a record nearly all of whose entries begin at 00:00: nobody begins so much then,
    /// and the times are not known. An end by day says that one is, and so does a zone that nobody knows:
    /// 00:00 in UTC is an evening somewhere. Records of few entries say nothing; there it has to be configured.
    pub(crate) fn settle_midnights(&mut self) {
        let local = |listing: &Listing| match listing.start {
            Moment::Instant { offset_min, .. } => listing.timezone.is_some() || offset_min != 0,
            Moment::Day(_) => false,
        };
        let unknown = |listing: &Listing| {
            local(listing)
                && when::is_midnight(&listing.start)
                && listing.end.is_none_or(|end| end.is_day() || when::is_midnight(&end))
        };
        let timed = self.listings.iter().filter(|one| !one.listing.start.is_day()).count();
        if timed < MIN_MIDNIGHTS {
            return;
        }
        let at_midnight = || self.listings.iter().map(|one| &one.listing).filter(|listing| unknown(listing));
        let titles: HashSet<&str> = at_midnight().map(|listing| &*listing.title).take(MIN_TITLES * 4).collect();
        if at_midnight().count() * 10 < timed * 9 || titles.len() < MIN_TITLES {
            return;
        }
        for listing in self.listings.iter_mut().map(|one| &mut one.listing).filter(|listing| unknown(listing)) {
            listing.start = Moment::Day(listing.start.local_date());
            listing.end = listing.end.map(when::last_day);
        }
    }

    /// Leaves one listing for each external id: that of the greatest stamp, the last among equals.
    pub(crate) fn deduplicate(&mut self) {
        if self.listings.len() < 2 {
            return;
        }
        let mut best: HashMap<SmolStr, usize> = HashMap::with_capacity(self.listings.len());
        for (at, extracted) in self.listings.iter().enumerate() {
            let held = best.entry(extracted.listing.external_id.clone()).or_insert(at);
            if self.listings.get(*held).is_some_and(|other| other.stamp <= extracted.stamp) {
                *held = at;
            }
        }
        if best.len() < self.listings.len() {
            let mut at = 0;
            self.listings.retain(|extracted| {
                at += 1;
                best.get(&extracted.listing.external_id) == Some(&(at - 1))
            });
        }
    }
}

impl<'a> Record<'a> {
    pub(crate) fn new(
        bytes: &'a [u8],
        name: &'a SmolStr,
        source: &'a Source,
        limits: &'a Limits,
        timestamp_ms: i64,
    ) -> Self {
        Self { bytes, name, source, limits, timestamp_ms, is_timed: Cell::new(false) }
    }

    /// A listing of this source.
    pub(crate) fn listing(&self, external_id: SmolStr, title: SmolStr, start: Moment) -> Listing {
        let source = self.name.clone();
        Listing { source, external_id, title, ..Listing::new("", "", "", start) }
    }

    /// The zone of times that name none, of what takes place at `venue`.
    pub(crate) fn zone_of(&self, venue: &Venue) -> Zone {
        let of_place = || site::zone_of(venue, self.source.site.as_ref());
        let configured = self.source.config.timezone.is_some();
        Some(()).filter(|()| !configured).and_then(|()| of_place()).unwrap_or_else(|| self.source.zone.clone())
    }

    /// Applies what holds for listings of every format: limits, the category map, years that make
    /// sense, midnight that means nothing.
    pub(crate) fn accept(&self, mut listing: Listing, stamp: SourceStamp) -> Result<Extracted, Problem> {
        if listing.title.trim().is_empty() {
            return Err(Problem::missing("title"));
        }
        check_id(&listing.external_id, self.limits)?;
        self.settle_times(&mut listing)?;
        self.shorten(&mut listing);
        if is_blank(&listing.title) {
            return Err(Problem::new(
                DeadLetterCode::MISSING_FIELD,
                "the title holds nothing but markup or what is invisible",
            ));
        }
        settle_status(&mut listing);
        settle_presence(&mut listing);
        site::turn_round(&mut listing.venue);
        if let Some(site) = &self.source.site {
            site.inherit(&mut listing);
        }
        self.map_categories(&mut listing.source_categories);
        Ok(Extracted { listing, stamp })
    }

    fn settle_times(&self, listing: &mut Listing) -> Result<(), Problem> {
        if !when::in_range(&listing.start) {
            return Err(Problem::invalid("start", &listing.start.to_string()));
        }
        // An end in the year 9999 is how some say that there is none.
        listing.end = listing.end.filter(when::in_range);
        if self.source.config.midnight_means_unknown && when::is_midnight(&listing.start) {
            listing.start = Moment::Day(listing.start.local_date());
        }
        if listing.start.is_day() {
            listing.end = listing.end.map(when::last_day);
        }
        let zone = listing.timezone.as_deref();
        listing.end = listing.end.and_then(|end| when::end_after(&listing.start, end, zone));
        Ok(())
    }

    fn shorten(&self, listing: &mut Listing) {
        let limit = self.limits.max_string_bytes;
        listing.title = tidy(std::mem::take(&mut listing.title), limit).unwrap_or_default();
        listing.description = listing.description.take().and_then(|text| match text.trim() {
            "" => None,
            inner if inner.len() == text.len() && text.len() <= limit => Some(text),
            inner => Some(cut(inner, limit).into()),
        });
        let venue = &mut listing.venue;
        for text in [
            &mut venue.name,
            &mut venue.address,
            &mut venue.city,
            &mut venue.region,
            &mut venue.postal_code,
            &mut venue.country,
        ] {
            *text = text.take().and_then(|text| tidy(text, limit));
        }
        listing.organizer = listing.organizer.take().and_then(|organizer| {
            let name = tidy(organizer.name, limit)?;
            Some(Organizer { name, url: organizer.url.and_then(|url| self.url(url)) })
        });
        for list in [&mut listing.urls, &mut listing.images] {
            let mut kept = Texts::new();
            for url in std::mem::take(list).into_iter().filter_map(|url| self.url(url)) {
                if kept.len() < self.limits.max_list_items && !kept.contains(&url) {
                    kept.push(url);
                }
            }
            *list = kept;
        }
        listing.tags.truncate(self.limits.max_list_items);
        for tag in listing.tags.iter_mut().filter(|tag| tag.len() > limit) {
            *tag = cut(tag, limit).into();
        }
        listing.source_categories.truncate(self.limits.max_list_items);
        let currency = listing.pricing.as_mut().and_then(|pricing| pricing.currency.as_mut());
        for text in listing.source_categories.iter_mut().chain(currency).filter(|text| text.len() > limit) {
            *text = cut(text, limit).into();
        }
    }

    fn url(&self, url: SmolStr) -> Option<SmolStr> {
        let url = trimmed(url);
        (!url.is_empty() && url.len() <= self.limits.max_url_bytes).then_some(url)
    }

    fn map_categories(&self, categories: &mut [SmolStr]) {
        if self.source.category_map.is_empty() {
            return;
        }
        for category in categories {
            if let Some(mapped) = self.source.category_map.get(&category.to_lowercase()) {
                *category = mapped.into();
            }
        }
    }

    /// Whether nothing has asked for the record's time so far.
    pub(crate) fn is_timeless(&self) -> bool {
        !self.is_timed.get()
    }

    /// The first and the last instant at which instances of series are wanted.
    pub(crate) fn horizon(&self) -> (Timestamp, Timestamp) {
        self.is_timed.set(true);
        let (config, limits) = (&self.source.config, self.limits);
        let past = i64::from(config.horizon_past_days.unwrap_or(limits.horizon_past_days)) * DAY_MS;
        let future = i64::from(config.horizon_future_days.unwrap_or(limits.horizon_future_days)) * DAY_MS;
        let instant = |ms: i64| {
            let ms = ms.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
            Timestamp::from_millisecond(ms).unwrap_or_default()
        };
        (instant(self.timestamp_ms.saturating_sub(past)), instant(self.timestamp_ms.saturating_add(future)))
    }
}

/// Takes the status from the title where it says more than the source's field does.
fn settle_status(listing: &mut Listing) {
    if let Some(marked) = marks::status(&listing.title) {
        listing.status = listing.status.max(marked);
    }
    listing.online |= listing.status == Status::MovedOnline;
}

/// Takes from the words for the place, and from addresses of meetings, whether it is online.
fn settle_presence(listing: &mut Listing) {
    if listing.online {
        return;
    }
    let venue = &listing.venue;
    let place = venue.name.as_deref().or(venue.address.as_deref());
    let named = [venue.name.as_deref(), venue.address.as_deref()];
    listing.online = named.into_iter().flatten().any(|text| online::presence(text) != Presence::OnSite)
        || listing.urls.iter().any(|url| online::is_meeting(url))
        || (place.is_none() && listing.description.as_deref().is_some_and(|text| online::meeting_in(text).is_some()));
}

/// Refuses ids that are empty, too long, or hold control characters, which databases and tools
/// choke on and which never belong there.
pub(crate) fn check_id(id: &str, limits: &Limits) -> Result<(), Problem> {
    if id.is_empty() {
        return Err(Problem::missing("id"));
    }
    if id.len() > limits.max_id_bytes {
        let reason = format!("the id has {} bytes, more than limits.max_id_bytes, {}", id.len(), limits.max_id_bytes);
        return Err(Problem::new(DeadLetterCode::STRING_TOO_LONG, reason));
    }
    if id.chars().any(char::is_control) {
        return Err(Problem::invalid("id", id));
    }
    Ok(())
}

/// The id of a listing to which its source gave none: a digest of title and start.
pub(crate) fn stand_in_id(title: &str, start: &str) -> String {
    format!("{:032x}", digest(&[b"untitled", title.trim().as_bytes(), start.trim().as_bytes()]))
}

/// Text without blank ends, cut to `limit` bytes; `None` where nothing is left.
fn tidy(text: SmolStr, limit: usize) -> Option<SmolStr> {
    let text = trimmed(text);
    let text = if text.len() > limit { cut(&text, limit).into() } else { text };
    (!text.is_empty()).then_some(text)
}

/// Text without blank ends; a copy only where there are any.
fn trimmed(text: SmolStr) -> SmolStr {
    let inner = text.trim();
    if inner.len() == text.len() { text } else { inner.into() }
}

/// The longest beginning of `text` that takes no more than `limit` bytes.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

/// Coordinates that the source itself gave for the venue. What cannot be a latitude is the longitude.
pub(crate) fn source_geo(latitude: f64, longitude: f64) -> Option<Geo> {
    let turned = || Point::from_degrees(longitude, latitude).filter(|_| latitude.abs() > 90.0);
    Some(Geo {
        point: Point::from_degrees(latitude, longitude).or_else(turned)?,
        precision: GeoPrecision::Venue,
        provenance: GeoProvenance::Source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("", 3), "");
        assert_eq!(tidy(" \n ".into(), 9), None);
    }

    #[test]
    fn ids_are_checked() {
        let limits = Limits::default();
        assert!(check_id("a b/ç", &limits).is_ok());
        assert_eq!(check_id("", &limits).unwrap_err().code, DeadLetterCode::MISSING_FIELD);
        assert_eq!(check_id("a\u{0}b", &limits).unwrap_err().code, DeadLetterCode::INVALID_FIELD);
        assert_eq!(check_id(&"x".repeat(2000), &limits).unwrap_err().code, DeadLetterCode::STRING_TOO_LONG);
    }

    /// How many of these starts, each with an end, become days.
    fn days(entries: &[(&str, Option<&str>)], timezone: Option<&str>) -> usize {
        let mut output = Output::default();
        for (index, (start, end)) in entries.iter().enumerate() {
            let mut listing = Listing::new("s", &index.to_string(), &format!("Loom {index}"), start.parse().unwrap());
            listing.end = end.map(|end| end.parse().unwrap());
            listing.timezone = timezone.map(Into::into);
            output.listings.push(Extracted { listing, stamp: SourceStamp::default() });
        }
        output.settle_midnights();
        output.listings.iter().filter(|one| one.listing.start.is_day()).count()
    }

    #[test]
    fn midnight_says_nothing_where_nearly_all_entries_have_it() {
        let midnight = ("2026-05-01T00:00:00+02:00", None);
        let night = ("2026-05-01T00:00:00+02:00", Some("2026-05-01T06:00:00+02:00"));
        let evening = ("2026-05-01T20:00:00+02:00", None);
        let whole = ("2026-05-01T00:00:00+02:00", Some("2026-05-02T00:00:00+02:00"));
        assert_eq!(days(&[midnight; 10], None), 10);
        assert_eq!(days(&[whole; 10], None), 10);
        assert_eq!(days(&[[midnight; 19].as_slice(), &[evening]].concat(), None), 19);
        assert_eq!(days(&[[midnight; 7].as_slice(), &[evening; 3]].concat(), None), 0);
        assert_eq!(days(&[midnight; 5], None), 0, "too few to tell");
        assert_eq!(days(&[night; 10], None), 0, "who says that it ends at six knows when it begins");
        let utc = ("2026-05-01T00:00:00+00:00", None);
        assert_eq!(days(&[utc; 10], None), 0, "an evening somewhere");
        assert_eq!(days(&[utc; 10], Some("Europe/London")), 10);
    }

    #[test]
    fn of_two_listings_with_one_id_the_greater_stamp_stays() {
        let listing = |title: &str| Listing::new("s", "1", title, "2026-01-01".parse().unwrap());
        let stamp = |sequence| SourceStamp { sequence, modified_ms: 0 };
        for (stamps, expected) in [([2, 1], "first"), ([1, 1], "second"), ([1, 2], "second")] {
            let mut output = Output::default();
            for (title, sequence) in ["first", "second"].into_iter().zip(stamps) {
                output.listings.push(Extracted { listing: listing(title), stamp: stamp(sequence) });
            }
            output.deduplicate();
            assert_eq!(output.listings.len(), 1);
            assert_eq!(output.listings[0].listing.title, expected);
        }
    }
}
