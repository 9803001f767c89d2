//! The checks of the five gates.

use super::gates::Gates;
use super::reason::{Reason, Reasons};
use crate::event::EventView;
use crate::gazetteer::country_code;
use crate::listing::{Amount, GeoPrecision, Ratio};
use crate::moment::DAY_MS;
use crate::{web, zones};

/// The checks of one gate: shares that were reached, of those that apply.
#[derive(Default)]
pub(super) struct Checks {
    reached: f64,
    possible: f64,
    pub(super) reasons: Reasons,
}

impl Checks {
    /// A check worth `share`, of which `part` (0..=1) is reached.
    fn partly(&mut self, share: f64, part: f64, reason: Reason) {
        self.possible += share;
        self.reached += share * part;
        if part < 1.0 {
            self.reasons.add(reason);
        }
    }

    fn check(&mut self, share: f64, good: bool, reason: Reason) {
        self.partly(share, f64::from(u8::from(good)), reason);
    }

    pub(super) fn score(&self) -> Ratio {
        Ratio::new(if self.possible > 0.0 { self.reached / self.possible } else { 1.0 })
    }
}

fn present(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.trim().is_empty())
}

/// Shares: title 0.30, start 0.20, place 0.25, web address 0.15, description 0.10. So at the
/// default threshold an event may lack an address on the web or a description, not a place.
pub(super) fn core_completeness(event: &EventView<'_>) -> Checks {
    let venue = &event.venue;
    let place = event.online || [venue.name, venue.address, venue.city].into_iter().any(present);
    // Every event has a start.
    let mut checks = Checks { reached: 0.20, possible: 0.20, ..Checks::default() };
    checks.check(0.30, !event.title.trim().is_empty(), Reason::NoTitle);
    checks.check(0.25, place, Reason::NoPlace);
    checks.check(0.15, !event.urls.is_empty(), Reason::NoUrl);
    checks.check(0.10, present(event.description), Reason::NoDescription);
    checks
}

/// Shares: title 0.40 (length 0.25, case 0.15), links 0.20, time zone, currency and country 0.10
/// each. What is absent is not checked.
pub(super) fn format_accuracy(event: &EventView<'_>) -> Checks {
    let mut checks = Checks::default();
    let title_chars = event.title.chars().count();
    checks.check(0.25, (3..=200).contains(&title_chars), Reason::TitleLength);
    checks.check(0.15, !shouts(event.title), Reason::TitleShouts);
    let links = event.urls.len() + event.images.len();
    if links > 0 {
        let valid = event.urls.iter().chain(&event.images).filter(|url| is_web_address(url)).count();
        checks.partly(0.20, valid as f64 / links as f64, Reason::InvalidUrl);
    }
    if let Some(zone) = event.timezone {
        checks.check(0.10, zones::is_known(zone), Reason::UnknownTimezone);
    }
    if let Some(pricing) = event.pricing {
        let costs = [pricing.min, pricing.max].into_iter().flatten().any(|amount| amount != Amount(0));
        match pricing.currency {
            Some(code) => checks.check(0.10, is_currency(code), Reason::InvalidCurrency),
            None if costs => checks.check(0.10, false, Reason::InvalidCurrency),
            None => {}
        }
    }
    if let Some(country) = event.venue.country {
        checks.check(0.10, country_code(country).is_some(), Reason::UnknownCountry);
    }
    checks
}

fn shouts(title: &str) -> bool {
    let letters = || title.chars().filter(|c| c.is_alphabetic());
    letters().all(char::is_uppercase) && letters().take(11).count() > 10
}

fn is_web_address(url: &str) -> bool {
    // What is plain has a host and no spaces, and is told sooner.
    if web::plain(url).is_some() {
        return true;
    }
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) && !url.contains(char::is_whitespace)
}

/// The form of ISO 4217; the list itself changes too often to be worth embedding.
fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Starts at 1; each contradiction takes off more than the default threshold allows.
pub(super) fn business_logic(event: &EventView<'_>, gates: &Gates) -> Checks {
    const PENALTY: f64 = 0.4;
    const YEAR_MS: i64 = 365 * DAY_MS + DAY_MS / 4;
    // Instants are what they are in any zone.
    let has_days = event.start_time.is_day() || event.end_time.is_some_and(|end| end.is_day());
    let zone = event.timezone.filter(|_| has_days).and_then(zones::zone);
    let start = event.start_time.earliest_ms(zone.as_ref());
    let ends_early = event.end_time.is_some_and(|end| end.latest_ms(zone.as_ref()) < start);
    let ahead = start.saturating_sub(event.first_seen);
    let (least, most) = event.pricing.map_or((None, None), |pricing| (pricing.min, pricing.max));
    let negative = [least, most].into_iter().flatten().any(|amount| amount < Amount(0));
    let reversed = least.zip(most).is_some_and(|(min, max)| min > max);

    let contradictions = [
        (ends_early, Reason::EndBeforeStart),
        (ahead > i64::from(gates.max_years_ahead) * YEAR_MS, Reason::TooFarAhead),
        (ahead < -i64::from(gates.max_years_past) * YEAR_MS, Reason::TooLongAgo),
        (negative, Reason::NegativePrice),
        (reversed, Reason::PriceRange),
        (event.capacity.is_some_and(|people| people <= 0), Reason::Capacity),
    ];
    let reasons: Reasons = contradictions.into_iter().filter(|(found, _)| *found).map(|(_, reason)| reason).collect();
    Checks { reached: 1.0 - PENALTY * reasons.len() as f64, possible: 1.0, reasons }
}

/// Shares: coordinates 0.60 (of a street 0.50, of a city 0.35), venue or address 0.20, city and
/// country 0.10 each. An event that is online and nowhere else needs none of it.
pub(super) fn geographic_data(event: &EventView<'_>) -> Checks {
    let (venue, geo) = (&event.venue, event.venue.geo);
    let mut checks = Checks::default();
    let named = present(venue.name) || present(venue.address);
    if event.online && !named && !present(venue.city) && geo.is_none() {
        return checks;
    }
    let (part, reason) = match geo.map(|geo| geo.precision) {
        Some(GeoPrecision::Venue) => (0.60, Reason::CoarseCoordinates),
        Some(GeoPrecision::Street) => (0.50, Reason::CoarseCoordinates),
        Some(GeoPrecision::City) => (0.35, Reason::CoarseCoordinates),
        None => (0.0, Reason::NoCoordinates),
    };
    checks.partly(0.60, part / 0.60, reason);
    checks.check(0.20, named, Reason::NoVenue);
    checks.check(0.10, present(venue.city), Reason::NoCity);
    checks.check(0.10, present(venue.country), Reason::NoCountry);
    checks
}

/// Shares: description 0.40 (by its length), image and category 0.15 each, organizer, tags and a
/// title of more than one word 0.10 each.
pub(super) fn content_quality(event: &EventView<'_>, gates: &Gates) -> Checks {
    let full = gates.full_description_chars.max(1) as usize;
    let chars = event.description.map_or(0, |text| text.chars().take(full).count());
    let mut checks = Checks::default();
    checks.partly(0.40, chars as f64 / full as f64, Reason::ShortDescription);
    checks.check(0.15, !event.images.is_empty(), Reason::NoImage);
    checks.check(0.15, event.category.is_some(), Reason::NoCategory);
    checks.check(0.10, event.organizer.is_some(), Reason::NoOrganizer);
    checks.check(0.10, !event.tags.is_empty(), Reason::NoTags);
    checks.check(0.10, event.title.split_whitespace().nth(1).is_some(), Reason::BareTitle);
    checks
}
