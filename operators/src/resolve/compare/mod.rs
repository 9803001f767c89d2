//! Comparison: are two listings the same event, how sure is that, and why.
//!
//! Comparing two listings *finds* features: the same words, starts ten minutes apart, other
//! venues. Each counts so many points (log-odds), as the [`Model`] says; the score is their sum,
//! turned into a probability. A field that one side lacks finds nothing, and so neither raises nor
//! lowers; since the sum begins well below zero, too little evidence is no match. Vetoes stand
//! beside the sum: no evidence outweighs them.

mod place;
mod title;

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use self::place::{Venue, lies_in, same_city, venue};
pub(super) use self::title::ONE_PAGE;
use self::title::{Titles, title};
use super::config::ResolveConfig;
use super::designation::are_other_parts;
use super::field::Field;
use super::fingerprint::Fingerprint;
use super::model::{Feature, Found, Model};
use super::page::Page;
use super::points::{Contribution, Contributions, Points, likelihood};
use super::span::{NEAR_MINUTES, SAME_MINUTES, Span};
use super::token::{Class, Token};
use crate::listing::{GeoPrecision, Ratio};

/// How many times as far apart two points have to be for two cities where one of them may be the
/// centre of a region.
pub(super) const VAGUE: f64 = 10.0;

/// Why two listings cannot be one event, whatever else agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Veto {
    /// The titles name different years.
    OtherEdition,
    /// Different sessions of a day, or different days.
    OtherSession,
    /// The one is a run of several days, the other a session or a single day of it.
    PartOfRun,
    /// The titles or the rooms name different parts: "Program A", "Studio 2", "(EN)".
    OtherPart,
    /// Different cities.
    OtherCity,
    /// One source, and other venues.
    OtherVenue,
    /// Both online only, with other organizers and other pages.
    OtherOrganizer,
    /// Two entries of a source that never lists an event twice.
    SameSource,
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherEdition => "another edition or year",
            Self::OtherSession => "another session",
            Self::PartOfRun => "a part of a longer run",
            Self::OtherPart => "another part",
            Self::OtherCity => "another city",
            Self::OtherVenue => "another venue of the source",
            Self::OtherOrganizer => "another organizer",
            Self::SameSource => "two entries of a source without duplicates",
        })
    }
}

/// What two listings that are alike are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Relation {
    /// One event.
    Same,
    /// The first is a run of several days, the second a part of it.
    RunAndPart,
    /// The other way round.
    PartAndRun,
}

impl Relation {
    /// The relation of the second to the first.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Same => Self::Same,
            Self::RunAndPart => Self::PartAndRun,
            Self::PartAndRun => Self::RunAndPart,
        }
    }
}

/// The outcome of comparing two listings. Symmetric in them.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// How likely it is that the two are one event, vetoes aside.
    pub score: Ratio,
    /// The log-odds of that: the sum of the contributions.
    pub points: f64,
    /// What each field said.
    pub contributions: Contributions,
    /// All that was found.
    pub found: Found,
    /// What forbids a match.
    pub veto: Option<Veto>,
    /// Whether the two match.
    pub matched: bool,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.matched { "the same event" } else { "not the same event" };
        write!(f, "{verdict}: similarity {:.2}", self.score.get())?;
        for (i, part) in self.contributions.iter().enumerate() {
            let lead = if i == 0 { " (" } else { ", " };
            write!(f, "{lead}{} {:+.1}", part.field, part.points.get())?;
        }
        if !self.contributions.is_empty() {
            f.write_str(")")?;
        }
        self.veto.map_or(Ok(()), |veto| write!(f, "; {veto}"))
    }
}

/// Compares fingerprints as a configuration says.
#[derive(Debug, Clone)]
pub struct Comparer {
    config: ResolveConfig,
    model: Model,
    threshold: Ratio,
}

impl Comparer {
    /// A comparer with the model, limits and weights of `config`.
    pub fn new(config: &ResolveConfig) -> Self {
        Self { config: config.clone(), model: config.weighted_model(), threshold: Ratio::new(config.threshold) }
    }

    /// What each feature counts.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The similarity of two listings if they match; cheaper than [`compare`](Self::compare).
    pub fn matches(&self, a: &Fingerprint, b: &Fingerprint) -> Option<Ratio> {
        self.relation(a, b).filter(|(relation, _)| *relation == Relation::Same).map(|(_, score)| score)
    }

    /// What two listings are to each other, and their similarity, if they are alike enough for a match.
    pub fn relation(&self, a: &Fingerprint, b: &Fingerprint) -> Option<(Relation, Ratio)> {
        let relation = match self.veto(a, b) {
            None => Relation::Same,
            Some(Veto::PartOfRun) if a.span.is_run_around(&b.span) => Relation::RunAndPart,
            Some(Veto::PartOfRun) => Relation::PartAndRun,
            Some(_) => return None,
        };
        let score = Ratio::new(likelihood(self.points(&self.find(a, b))));
        (score >= self.threshold).then_some((relation, score))
    }

    /// Compares two listings field by field.
    pub fn compare(&self, a: &Fingerprint, b: &Fingerprint) -> Comparison {
        let found = self.find(a, b);
        let points = self.points(&found);
        let score = Ratio::new(likelihood(points));
        let veto = self.veto(a, b);
        let mut by_field: SmallVec<[(Field, f64); 6]> = SmallVec::new();
        for &(feature, value) in &found {
            let points = self.model.points(feature, value);
            match by_field.iter_mut().find(|(field, _)| *field == feature.field()) {
                Some((_, sum)) => *sum += points,
                None => by_field.push((feature.field(), points)),
            }
        }
        let contribution = |(field, points)| Contribution { field, points: Points::new(points) };
        Comparison {
            score,
            points,
            contributions: by_field.into_iter().map(contribution).collect(),
            found,
            veto,
            matched: veto.is_none() && score >= self.threshold,
        }
    }

    fn points(&self, found: &Found) -> f64 {
        found.iter().map(|&(feature, value)| self.model.points(feature, value)).sum()
    }

    /// All that the model counts.
    pub fn find(&self, a: &Fingerprint, b: &Fingerprint) -> Found {
        let mut found = Found::new();
        found.push((Feature::Base, 1.0));
        let title = title(a, b);
        title.find(a, b, &mut found);
        self.time(a, b, &mut found);
        self.place(a, b, &title, &mut found);
        url(a.url, b.url, &title, &mut found);
        if a.source == b.source {
            found.push((Feature::SourceSame, 1.0));
        }
        found
    }

    fn veto(&self, a: &Fingerprint, b: &Fingerprint) -> Option<Veto> {
        if a.duplicate_free && a.source == b.source {
            Some(Veto::SameSource)
        } else if self.other_session(a, b) || (a.source == b.source && !is_run_and_part(a, b) && is_other_entry(a, b)) {
            Some(Veto::OtherSession)
        } else if are_other_parts(&a.designations, &b.designations) || are_other_parts(&a.rooms, &b.rooms) {
            Some(Veto::OtherPart)
        } else if disjoint(&a.years, &b.years) {
            Some(Veto::OtherEdition)
        } else if self.far(a, b) {
            Some(Veto::OtherCity)
        } else if a.source == b.source && is_other_venue(a, b) {
            Some(Veto::OtherVenue)
        } else if is_other_group(a, b) {
            Some(Veto::OtherOrganizer)
        } else if is_run_and_part(a, b) {
            // After all others: that two are run and part says that nothing else keeps them apart.
            Some(Veto::PartOfRun)
        } else {
            None
        }
    }

    fn other_session(&self, f: &Fingerprint, g: &Fingerprint) -> bool {
        let (a, b) = (&f.span, &g.span);
        let days_apart = a.first_day.max(b.first_day) > a.last_day.min(b.last_day);
        let Some(apart) = a.apart(b, || self.is_one_place(f, g)) else { return days_apart };
        if a.is_long() || b.is_long() {
            return days_apart;
        }
        // The clocks of two zones tell nothing of what comes first.
        let one_zone = a.offset_min == b.offset_min;
        let after =
            |first: &Span, then: &Span| first.end_min.zip(then.start_min).is_some_and(|(end, start)| end <= start);
        (one_zone && (after(a, b) || after(b, a))) || apart > self.config.session_gap_minutes
    }

    /// Whether something says that the two are at one place, or that both are online.
    fn is_one_place(&self, a: &Fingerprint, b: &Fingerprint) -> bool {
        let near = || a.geo.zip(b.geo).is_some_and(|((p, _), (q, _))| p.distance_m(&q) <= self.config.other_city_m);
        let alike = || matches!(venue(a, b), Some(Venue::Same | Venue::Address | Venue::Held | Venue::Part(_)));
        (a.online && b.online)
            || same_city(a, b) == Some(true)
            || a.url.zip(b.url).is_some_and(|(x, y)| x.exact == y.exact)
            || near()
            || alike()
    }

    /// Whether points, be they of cities or venues, lie in different cities. Equal names outweigh
    /// them: coordinates are looked up, and what is looked up may be the wrong one of two cities.
    fn far(&self, a: &Fingerprint, b: &Fingerprint) -> bool {
        let Some(((p, _), (q, _))) = a.geo.zip(b.geo) else { return false };
        let named_alike = same_city(a, b) == Some(true);
        // Of one page and the same days, one source has the city wrong.
        let days = |f: &Fingerprint| (f.span.first_day, f.span.last_day);
        let one_page = days(a) == days(b) && a.url.zip(b.url).is_some_and(|(x, y)| x.exact == y.exact);
        let limit = self.config.other_city_m * if a.vague || b.vague { VAGUE } else { 1.0 };
        !named_alike && !one_page && !a.online && !b.online && p.distance_m(&q) > limit
    }

    fn time(&self, f: &Fingerprint, g: &Fingerprint, found: &mut Found) {
        let (a, b) = (&f.span, &g.span);
        let long = a.is_long() && b.is_long();
        if let (Some(apart), false) = (a.apart(b, || self.is_one_place(f, g)), long) {
            let instants = a.start_min.zip(b.start_min).map_or(0, |(a, b)| a.abs_diff(b));
            let start = match apart {
                0..=SAME_MINUTES if instants > apart => Feature::StartClock,
                0..=SAME_MINUTES => Feature::StartSame,
                _ if apart <= NEAR_MINUTES => Feature::StartNear,
                _ => Feature::StartFar,
            };
            found.push((start, 1.0));
            if let (Some(end_a), Some(end_b), true) = (a.end_min, b.end_min, a.offset_min == b.offset_min) {
                match end_a.abs_diff(end_b) {
                    0..=SAME_MINUTES => found.push((Feature::EndSame, 1.0)),
                    31.. => found.push((Feature::EndOther, 1.0)),
                    _ => {}
                }
            }
            return;
        }
        let (first, last) = (a.first_day == b.first_day, a.last_day == b.last_day);
        let open = !a.has_end || !b.has_end;
        let feature = match (first, last) {
            (true, true) if a.days() > 1 => Feature::DaysSame,
            (true, true) => Feature::DaySame,
            (true, false) if open => Feature::DaySame,
            (true, false) => Feature::DaysStart,
            (false, true) => Feature::DaysEnd,
            (false, false) => Feature::DaysOverlap,
        };
        found.push((feature, 1.0));
    }

    fn place(&self, a: &Fingerprint, b: &Fingerprint, title: &Titles, found: &mut Found) {
        let exact = |geo: Option<(_, GeoPrecision)>| geo.is_some_and(|(_, precision)| precision != GeoPrecision::City);
        // A source may give one point to all that a group does.
        let of_group = a.source == b.source && a.geo == b.geo;
        let distance = a.geo.zip(b.geo).filter(|_| !of_group).map(|((p, _), (q, _))| p.distance_m(&q));
        let metres = distance.filter(|_| exact(a.geo) && exact(b.geo));
        let venue = venue(a, b);
        match venue {
            Some(Venue::Address) => found.push((Feature::PlaceSame, 1.0)),
            _ if metres.is_some_and(|metres| metres <= self.config.same_place_m) => {
                found.push((Feature::PlaceSame, 1.0))
            }
            _ => {}
        }
        match venue {
            Some(Venue::Same) => found.extend([(Feature::VenueHeld, 1.0), (Feature::VenueSame, 1.0)]),
            Some(Venue::Held) => found.push((Feature::VenueHeld, 1.0)),
            Some(Venue::Part(share)) => found.push((Feature::VenuePart, share)),
            Some(Venue::Branch) => found.push((Feature::VenueBranch, 1.0)),
            Some(Venue::Other) if title.is_plain() => found.push((Feature::VenueOtherPlain, 1.0)),
            Some(Venue::Other) => found.push((Feature::VenueOther, 1.0)),
            Some(Venue::Address) | None => {}
        }
        let placed_alike = matches!(venue, Some(Venue::Same | Venue::Address | Venue::Held | Venue::Part(_)));
        let page = a.url.zip(b.url).is_some_and(|(x, y)| x.exact == y.exact);
        let near = metres.is_some_and(|metres| metres < self.config.other_place_m);
        if title.telling == 0 && title.common > 0 && title.only == [0, 0] && !placed_alike && !page && !near {
            found.push((Feature::PlainNowhere, 1.0));
        }
        if metres.is_some_and(|metres| metres >= self.config.other_place_m) {
            found.push((Feature::PlaceFar, 1.0));
        }
        let city = same_city(a, b).map(|same| same || lies_in(a, b) || lies_in(b, a));
        let near = distance.is_some_and(|metres| metres <= self.config.other_city_m);
        if city == Some(true) || near {
            if venue.is_none() {
                found.push((Feature::CitySame, 1.0));
            }
        } else if city == Some(false) && !(a.online && b.online) {
            found.push((Feature::CityOther, 1.0));
        }
        if a.country.zip(b.country).is_some_and(|(x, y)| x != y) {
            found.push((Feature::CountryOther, 1.0));
        }
        let placed = Fingerprint::is_placed;
        match (a.online, b.online) {
            (true, true) => found.push((Feature::OnlineBoth, 1.0)),
            (true, false) if !placed(a) && placed(b) => found.push((Feature::OnlineOne, 1.0)),
            (false, true) if !placed(b) && placed(a) => found.push((Feature::OnlineOne, 1.0)),
            _ if !placed(a) || !placed(b) => found.push((Feature::PlaceUnknown, 1.0)),
            _ => {}
        }
    }
}

fn url(a: Option<Page>, b: Option<Page>, title: &Titles, found: &mut Found) {
    let Some((a, b)) = a.zip(b) else { return };
    if a.exact == b.exact {
        found.push((if a.deep { Feature::UrlSame } else { Feature::UrlFront }, 1.0));
        if !title.same && (title.common == 0 || title.other() > 0) {
            found.push((Feature::UrlSameOther, 1.0));
        }
    } else if a.site != 0 && a.site == b.site {
        found.push((if a.deep && b.deep { Feature::UrlPages } else { Feature::UrlSite }, 1.0));
        if !title.same && title.common == 0 {
            found.push((Feature::UrlSiteOther, 1.0));
        }
    } else if a.family != 0 && a.family == b.family {
        found.push((Feature::UrlFamily, 1.0));
    } else {
        found.push((Feature::UrlOther, 1.0));
    }
}

fn is_run_and_part(a: &Fingerprint, b: &Fingerprint) -> bool {
    a.span.is_run_around(&b.span) || b.span.is_run_around(&a.span)
}

/// Whether two entries of one source are two sessions: each has its own start, its own end or its own
/// page under one title, or both are of one series. That each has its own id says nothing: whoever
/// repeats an entry gives it a new one. Two exceptions for starts:
/// - Of two entries of one title, one has no length: it was left behind when the time was corrected.
/// - Their pages are of two sites: the source passes on what two others say, and is two sources here.
fn is_other_entry(a: &Fingerprint, b: &Fingerprint) -> bool {
    let pages = a.url.zip(b.url);
    let own_end = a.span.end_min.zip(b.span.end_min).is_some_and(|(x, y)| x != y);
    // Whoever puts an event on a platform makes a page there.
    let on_one_site = |(x, y): (Page, Page)| x.deep && y.deep && x.exact != y.exact && x.site != 0 && x.site == y.site;
    let own_page = pages.is_some_and(on_one_site) && a.letters == b.letters;
    let series = a.series != 0 && a.series == b.series;
    if series || own_page {
        return true;
    }
    let two_origins = pages.is_some_and(|(x, y)| x.site != y.site);
    let other_start = !a.span.starts_with(&b.span);
    !two_origins && ((own_end && !other_start) || (other_start && !is_left_behind(a, b)))
}

/// Whether one of two entries of a source with one title has a time but no length.
fn is_left_behind(a: &Fingerprint, b: &Fingerprint) -> bool {
    let timed = a.span.start_min.is_some() && b.span.start_min.is_some();
    timed && a.span.has_end != b.span.has_end && title(a, b).same
}

/// Whether two entries of one source are at two places: no telling word of their venues in common, or
/// other cities. Coordinates do not count: a source may give one point to all that a group does. A
/// venue that a title names is no other one.
fn is_other_venue(a: &Fingerprint, b: &Fingerprint) -> bool {
    let page = a.url.zip(b.url).is_some_and(|(x, y)| x.deep && x.exact == y.exact);
    let other_city = same_city(a, b) == Some(false) && !lies_in(a, b) && !lies_in(b, a);
    let in_title = |venue: &Fingerprint, title: &Fingerprint| {
        let in_title = |word: &Token| title.title().iter().any(|other| other.hash() == word.hash());
        venue.venue().iter().any(|word| word.class() == Class::Telling && in_title(word))
    };
    let named = || in_title(a, a) || in_title(a, b) || in_title(b, a) || in_title(b, b);
    !page && (other_city || (matches!(venue(a, b), Some(Venue::Branch | Venue::Other)) && !named()))
}

/// Whether two that are online and nowhere else are of other groups: other organizers, and other pages.
fn is_other_group(a: &Fingerprint, b: &Fingerprint) -> bool {
    let online_only = |f: &Fingerprint| f.online && !f.is_placed();
    let known = !a.organizer().is_empty() && !b.organizer().is_empty();
    let in_common = || a.organizer().iter().any(|word| b.organizer().iter().any(|other| other.hash() == word.hash()));
    let other_page = || a.url.zip(b.url).is_some_and(|(x, y)| x.exact != y.exact);
    online_only(a) && online_only(b) && known && !in_common() && other_page()
}

/// Both know some, and none in common.
fn disjoint<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    !a.is_empty() && !b.is_empty() && !a.iter().any(|x| b.contains(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{Geo, GeoProvenance, Listing, LiveListing, Point};

    fn listing(source: &str, id: &str, title: &str, start: &str) -> Listing {
        Listing::new(source, id, title, start.parse().unwrap())
    }

    fn at(mut listing: Listing, venue: &str, city: &str) -> Listing {
        listing.venue.name = Some(venue).filter(|name| !name.is_empty()).map(Into::into);
        listing.venue.city = Some(city).filter(|name| !name.is_empty()).map(Into::into);
        listing
    }

    fn compare_with(config: &ResolveConfig, a: &Listing, b: &Listing) -> Comparison {
        let fingerprint = |listing: &Listing| {
            let live = LiveListing::new(listing, 0, 0);
            Fingerprint::of(&live, config)
        };
        let (a, b) = (fingerprint(a), fingerprint(b));
        let comparer = Comparer::new(config);
        let there = comparer.compare(&a, &b);
        let back = comparer.compare(&b, &a);
        assert_eq!((there.score, there.veto, there.matched), (back.score, back.veto, back.matched), "not symmetric");
        assert_eq!(comparer.matches(&a, &b), there.matched.then_some(there.score));
        let sum: f64 = there.contributions.iter().map(|part| part.points.get()).sum();
        assert!((sum - there.points).abs() < 0.01, "the contributions of {there} do not add up to {}", there.points);
        there
    }

    fn compare(a: &Listing, b: &Listing) -> Comparison {
        compare_with(&ResolveConfig::default(), a, b)
    }

    /// Two titles of one evening at one place.
    fn same_evening(a: &str, b: &str) -> Comparison {
        let evening =
            |source, title| at(listing(source, "1", title, "2026-05-01T18:00:00-07:00"), "Odd Fellows Hall", "Davis");
        compare(&evening("a", a), &evening("b", b))
    }

    #[test]
    fn the_same_letters_in_more_words_count_alike_from_both_sides() {
        assert!(same_evening("Fai&r", "Fair").matched);
        assert!(same_evening("Blue Bird Orchestra", "Bluebird Orchestra").matched);
    }

    #[test]
    fn other_words_half_an_hour_apart_at_one_place_match() {
        let a =
            at(listing("a", "1", "Food Festival at Indiranagar", "2026-05-01T18:00:00+05:30"), "Indiranagar Club", "");
        let b = at(listing("b", "1", "Indiranagar Food Festival", "2026-05-01T18:30:00+05:30"), "Indiranagar Club", "");
        let found = compare(&a, &b);
        assert!(found.matched, "{found}");
        assert_eq!(found.to_string().split(':').next(), Some("the same event"));
        assert!(found.to_string().contains("title +"), "{found}");
    }

    #[test]
    fn one_telling_word_that_differs_outweighs_many_that_agree() {
        for (a, b) in [
            ("Memory Lab: Scanning", "Memory Lab: Cassettes"),
            ("Toddler Storytime with Puppets", "Preschool Storytime with Puppets"),
            ("Bird Walk part 1", "Bird Walk part 2"),
            ("Ravens vs Owls Girls Soccer", "Ravens vs Owls Boys Soccer"),
        ] {
            let found = same_evening(a, b);
            assert!(!found.matched, "{a} / {b}: {found}");
        }
    }

    #[test]
    fn the_same_in_other_words_is_the_same() {
        for (a, b) in [
            ("Ravens vs Owls Soccer", "Owls at Ravens Soccer"),
            ("CANCELED: Rat Therapy Quartet", "Rat Therapy Quartet"),
            ("Golden State Bank presents: Rat Therapy Quartet", "Rat Therapy Quartet"),
            ("12th Annual Harvest Marathon", "Harvest Marathon (12th)"),
            ("RailsIsrael", "Rails Israel"),
            ("International Symposium on Bird Identification and Banding (ISBIB)", "ISBIB 2026"),
            ("Łódź Jazz Quartet", "Lodz Jazz Quartet"),
            ("Brass I/O", "Brass IO"),
            ("R & B Cellar", "R&B Cellar"),
            ("Driftwood Kestrelconf", "Driftwood Kestrel"),
            ("KestrelBerry Conference", "Kestrel Berry"),
            ("SiCoKaFe", "Silver Coast Kayak Festival"),
        ] {
            let found = same_evening(a, b);
            assert!(found.matched, "{a} / {b}: {found}");
        }
    }

    #[test]
    fn trivia_nights_without_a_place_do_not_match() {
        let a = listing("a", "1", "Trivia Night", "2026-05-01");
        let b = listing("b", "1", "Trivia Night", "2026-05-01");
        let found = compare(&a, &b);
        assert!(!found.matched, "{found}");
        let in_a_pub =
            |source| at(listing(source, "1", "Trivia Night", "2026-05-01T19:00:00-07:00"), "Sudwerk", "Davis");
        assert!(compare(&in_a_pub("a"), &in_a_pub("b")).matched);
        let elsewhere = at(listing("b", "1", "Trivia Night", "2026-05-01T19:00:00-07:00"), "Odd Fellows", "Davis");
        assert!(!compare(&in_a_pub("a"), &elsewhere).matched);
    }

    #[test]
    fn a_missing_place_neither_raises_nor_lowers_much() {
        let a = listing("a", "1", "John Scofield Trio", "2026-05-01T19:00:00-07:00");
        let with_place = at(listing("b", "1", "John Scofield Trio", "2026-05-01T19:00:00-07:00"), "Blue Note", "Napa");
        let found = compare(&a, &with_place);
        assert!(found.matched, "{found}");
    }

    #[test]
    fn vetoes_hold_whatever_else_agrees() {
        let base = || at(listing("a", "1", "Harvest Marathon 2026", "2026-05-01T09:00:00Z"), "Town Hall", "Napa");
        let veto = |change: fn(&mut Listing)| {
            let mut other = Listing { source: "b".into(), ..base() };
            change(&mut other);
            compare(&base(), &other).veto
        };
        assert_eq!(veto(|_| ()), None);
        assert_eq!(veto(|other| other.title = "Harvest Marathon 2027".into()), Some(Veto::OtherEdition));
        assert_eq!(veto(|other| other.start = "2026-05-01T14:00:00Z".parse().unwrap()), Some(Veto::OtherSession));
        let config = ResolveConfig { duplicate_free: ["a".to_owned()].into(), ..ResolveConfig::default() };
        let twin = Listing { external_id: "2".into(), ..base() };
        assert_eq!(compare_with(&config, &base(), &twin).veto, Some(Veto::SameSource));
        assert_eq!(compare(&base(), &twin).veto, None);
    }

    #[test]
    fn sessions_one_after_the_other_are_different() {
        let mut a = at(listing("a", "1", "Vinyasa Flow Basics", "2026-05-01T09:00:00Z"), "Lotus Studio", "Napa");
        let mut b = at(listing("b", "1", "Vinyasa Flow Basics", "2026-05-01T10:00:00Z"), "Lotus Studio", "Napa");
        assert!(compare(&a, &b).matched, "{}", compare(&a, &b));
        a.end = Some(b.start);
        b.end = Some("2026-05-01T11:00:00Z".parse().unwrap());
        assert_eq!(compare(&a, &b).veto, Some(Veto::OtherSession));
    }

    #[test]
    fn the_right_time_of_the_wrong_zone_matches() {
        let a = at(listing("a", "1", "Rat Therapy Quartet", "2026-05-01T20:00:00-07:00"), "Mystic Theatre", "");
        let b = at(listing("b", "1", "Rat Therapy Quartet", "2026-05-01T20:00:00-04:00"), "Mystic Theater", "");
        assert!(compare(&a, &b).matched, "{}", compare(&a, &b));
    }

    #[test]
    fn a_city_centre_is_not_a_venue() {
        let place = |source: &str, precision, lon| {
            let mut listing = listing(source, "1", "Open Mic", "2026-05-01T19:00:00Z");
            let point = Point::from_degrees(38.5, lon).unwrap();
            listing.venue.geo = Some(Geo { point, precision, provenance: GeoProvenance::Gazetteer });
            listing
        };
        let (centre, venue) = (GeoPrecision::City, GeoPrecision::Venue);
        let score = |precision, lon| compare(&place("a", precision, -121.7), &place("b", precision, lon)).points;
        assert!(score(venue, -121.7) > score(centre, -121.7));
        assert!(score(venue, -121.7) > score(venue, -121.72));
        assert_eq!(compare(&place("a", centre, -121.7), &place("b", venue, -125.0)).veto, Some(Veto::OtherCity));
    }

    #[test]
    fn the_centre_of_a_region_is_no_other_city() {
        let place = |source: &str, city: &str, lat| {
            let mut listing = at(listing(source, "1", "Kestrel Banding Days", "2026-05-01"), "", city);
            let geo = |point| Geo { point, precision: GeoPrecision::Venue, provenance: GeoProvenance::Source };
            listing.venue.geo = Point::from_degrees(lat, 12.5).map(geo);
            listing
        };
        let veto = |a: &str, b: &str, lat| compare(&place("a", a, 41.9), &place("b", b, lat)).veto;
        assert_eq!(veto("Rome", "Lower Kestrelshire", 43.0), None);
        assert_eq!(veto("Rome", "Lower Kestrelshire", 47.0), Some(Veto::OtherCity));
        assert_eq!(veto("Rome", "Florence", 43.8), Some(Veto::OtherCity));
    }

    #[test]
    fn a_suburb_or_resort_in_the_address_is_the_same_city() {
        let of_city = |found: &Comparison| found.found.iter().any(|(feature, _)| matches!(feature, Feature::CityOther));
        let a = at(listing("a", "1", "Kestrel Banding Days", "2026-05-01"), "", "Heronsgate");
        let mut b = at(listing("b", "1", "Kestrel Banding Days", "2026-05-01"), "", "Oakham");
        assert!(of_city(&compare(&a, &b)));
        b.venue.address = Some("4 Mill Lane, Heronsgate, Oakham".into());
        assert!(!of_city(&compare(&a, &b)));
    }

    #[test]
    fn a_venue_in_the_title_is_known_however_it_is_spelt() {
        let evening = |source: &str, title: &str| {
            at(listing(source, "1", title, "2026-05-01T18:00:00-07:00"), "Lantern Music Theatre", "Davis")
        };
        let found = compare(
            &evening("a", "Rat Therapy at Lantern Music Theater"),
            &evening("b", "Rat Therapy: The Quiet Tour with Marsh Owls"),
        );
        assert!(found.matched, "{found}");
    }

    #[test]
    fn a_part_is_not_the_whole() {
        let of = |source, title| at(listing(source, "1", title, "2026-05-01"), "", "Davis");
        let whole = of("a", "Lighthouse Weavers");
        let part = compare(&whole, &of("b", "Loom devroom at Lighthouse Weavers"));
        assert!(!part.matched, "{part}");
        let longer = compare(&whole, &of("b", "Loom days at Lighthouse Weavers"));
        assert!(longer.matched, "{longer}");
    }

    #[test]
    fn co_located_events_share_a_site() {
        let with = |source: &str, title: &str, url: &str| {
            let mut listing = at(listing(source, "1", title, "2026-05-01"), "", "Davis");
            listing.urls = [url.into()].into();
            listing
        };
        let a = with("a", "Kestrelconf", "https://kestrel.example.com/");
        let b = with("b", "Community Days of Lanterns", "https://kestrel.example.com/lanterns");
        assert!(!compare(&a, &b).matched, "{}", compare(&a, &b));
    }

    #[test]
    fn days_and_instants_agree_on_the_day() {
        let day = at(listing("a", "1", "Strawberry Harvest Fair", "2026-05-01"), "Fairgrounds", "Napa");
        let hour = at(listing("b", "1", "Strawberry Harvest Fair", "2026-05-01T23:00:00-07:00"), "Fairgrounds", "Napa");
        let next = at(listing("b", "1", "Strawberry Harvest Fair", "2026-05-02T01:00:00-07:00"), "Fairgrounds", "Napa");
        assert!(compare(&day, &hour).matched, "{}", compare(&day, &hour));
        assert_eq!(compare(&day, &next).veto, Some(Veto::OtherSession));
    }

    #[test]
    fn weights_scale_the_points_of_their_field() {
        let a = at(listing("a", "1", "Strawberry Harvest Fair", "2026-05-01T10:00:00Z"), "Fairgrounds", "Napa");
        let b = Listing { source: "b".into(), ..a.clone() };
        let mut config = ResolveConfig::default();
        config.weights.title = 0.0;
        let of_title = |found: &Comparison| {
            found.contributions.iter().find(|part| part.field == Field::Title).map_or(0.0, |part| part.points.get())
        };
        assert!(of_title(&compare(&a, &b)) > 1.0);
        assert_eq!(of_title(&compare_with(&config, &a, &b)), 0.0);
    }

    /// Two entries of one source, which differ by `change`.
    fn twice(change: impl FnOnce(&mut Listing)) -> Comparison {
        let first =
            at(listing("guide", "1", "Marsh Owls Shadow Theatre", "2026-05-01T15:00:00Z"), "Odd Fellows Hall", "");
        let mut second = Listing { external_id: "2".into(), ..first.clone() };
        change(&mut second);
        compare(&first, &second)
    }

    #[test]
    fn entries_of_one_source_at_other_times_are_sessions() {
        let start = |text: &'static str| twice(|second| second.start = text.parse().unwrap());
        assert!(twice(|_| ()).matched, "what a source repeats is one");
        assert!(start("2026-05-01").matched, "one has lost its time");
        for text in ["2026-05-01T15:05:00Z", "2026-05-01T15:15:00Z", "2026-05-01T16:00:00Z", "2026-05-02"] {
            assert_eq!(start(text).veto, Some(Veto::OtherSession), "{text}");
        }
    }

    #[test]
    fn entries_of_one_source_with_own_ends_or_pages_are_sessions() {
        let with = |ends: [&str; 2], pages: [&str; 2]| {
            let of = |id: &str, end: &str, page: &str| {
                let mut one = listing("guide", id, "Marsh Owls Shadow Theatre", "2026-05-01T15:00:00Z");
                one.end = Some(end).filter(|end| !end.is_empty()).map(|end| end.parse().unwrap());
                one.urls = [page.into()].into();
                at(one, "Odd Fellows Hall", "")
            };
            compare(&of("1", ends[0], pages[0]), &of("2", ends[1], pages[1])).veto
        };
        let page = "https://hall.example.org/shadows";
        let own = ["https://hall.example.org/shadows-1", "https://hall.example.org/shadows-2"];
        let platform = ["https://www.facebook.com/events/1", "https://www.facebook.com/events/2"];
        assert_eq!(with(["2026-05-01T16:00:00Z"; 2], [page; 2]), None);
        assert_eq!(with(["2026-05-01T16:00:00Z", ""], [page; 2]), None);
        assert_eq!(with(["2026-05-01T16:00:00Z", "2026-05-01T17:00:00Z"], [page; 2]), Some(Veto::OtherSession));
        assert_eq!(with(["2026-05-01T16:00:00Z"; 2], own), Some(Veto::OtherSession));
        assert_eq!(with(["2026-05-01T16:00:00Z"; 2], platform), None);
    }

    #[test]
    fn instances_of_one_series_are_never_one() {
        let of = |id: &str, start: &str| at(listing("guide", id, "Marsh Owls", start), "Odd Fellows Hall", "");
        let first = of("owls@hall/20260501T150000Z", "2026-05-01T15:00:00Z");
        assert_eq!(
            compare(&first, &of("owls@hall/20260501T160000Z", "2026-05-01T15:00:00Z")).veto,
            Some(Veto::OtherSession)
        );
        assert_eq!(compare(&first, &of("owls@hall/20260501", "2026-05-01")).veto, Some(Veto::OtherSession));
        assert_eq!(compare(&first, &of("owls@barn/20260501", "2026-05-01")).veto, None);
    }

    #[test]
    fn one_source_has_no_event_at_two_venues() {
        let elsewhere = |venue: &str, city: &str| {
            let (venue, city) = (venue.to_owned(), city.to_owned());
            twice(move |second| *second = at(second.clone(), &venue, &city)).veto
        };
        assert_eq!(elsewhere("Heron Branch Library", ""), Some(Veto::OtherVenue));
        assert_eq!(elsewhere("Odd Fellows Hall, Room 2", ""), None);
        assert_eq!(elsewhere("Marsh Stage", ""), None, "the title names it");
        let geo = |mut listing: Listing| {
            let point = Point::from_degrees(38.5, -121.7).unwrap();
            listing.venue.geo = Some(Geo { point, precision: GeoPrecision::Venue, provenance: GeoProvenance::Source });
            listing
        };
        let group =
            |id: &str, venue: &str| geo(at(listing("group", id, "Study Circle", "2026-05-01T18:00:00Z"), venue, ""));
        let found = compare(&group("1", "Kestrel Hub"), &group("2", "Heron Library"));
        assert!(!found.matched && !found.found.iter().any(|(feature, _)| *feature == Feature::PlaceSame), "{found}");
    }

    #[test]
    fn rooms_and_groups_are_told_apart() {
        let room = |source: &str, room: &str| {
            let mut one = at(listing(source, "1", "Vinyasa Flow Basics", "2026-05-01T09:00:00Z"), room, "Napa");
            one.venue.address = Some("4 Mill Lane".into());
            one
        };
        assert_eq!(compare(&room("a", "Studio A"), &room("b", "Studio B")).veto, Some(Veto::OtherPart));
        assert_eq!(compare(&room("a", "Studio A"), &room("b", "Studio A")).veto, None);
        let online = |source: &str, organizer: &str| {
            let mut one = listing(source, "1", "Weavers Study Circle", "2026-05-01T09:00:00Z");
            one.online = true;
            one.organizer = Some(crate::listing::Organizer { name: organizer.into(), url: None });
            one.urls = [format!("https://{source}.example.org/circle").into()].into();
            one
        };
        let circles = |x: &str, y: &str| compare(&online("a", x), &online("b", y)).veto;
        assert_eq!(circles("Loom Guild of Davis", "Reed Society"), Some(Veto::OtherOrganizer));
        assert_eq!(circles("Loom Guild of Davis", "The Loom Guild"), None);
    }

    #[test]
    fn equal_clocks_of_two_zones_are_two_regions_unless_the_place_is_one() {
        let meeting = |source: &str, start: &str, venue: &str| {
            at(listing(source, "1", "Council Study Session", start), venue, "")
        };
        let of = |venue: &str| {
            let west = meeting("a", "2026-05-01T18:00:00-07:00", venue);
            compare(&west, &meeting("b", "2026-05-01T18:00:00-04:00", venue)).veto
        };
        assert_eq!(of(""), Some(Veto::OtherSession));
        assert_eq!(of("Kestrel Chambers"), None);
        let unknown = meeting("b", "2026-05-01T18:00:00Z", "");
        assert_eq!(compare(&meeting("a", "2026-05-01T18:00:00-07:00", ""), &unknown).veto, None);
    }

    #[test]
    fn midnight_lies_between_two_days() {
        let night =
            |source: &str, start: &str| at(listing(source, "1", "Moth Parade Techno", start), "Cellar Nine", "");
        let before = night("a", "2026-05-01T23:59:00+02:00");
        assert!(compare(&before, &night("b", "2026-05-02T00:00:00+02:00")).matched);
        assert_eq!(compare(&before, &night("b", "2026-05-01T00:00:00+02:00")).veto, Some(Veto::OtherSession));
        let config = ResolveConfig { midnight_is_no_time: ["b".to_owned()].into(), ..ResolveConfig::default() };
        assert!(compare_with(&config, &before, &night("b", "2026-05-01T00:00:00+02:00")).matched);
        let from =
            |source: &str, start: &str, end: &str| Listing { end: Some(end.parse().unwrap()), ..night(source, start) };
        let early = from("a", "2026-05-01T20:00:00+02:00", "2026-05-02T01:00:00+02:00");
        let late = from("b", "2026-05-01T23:00:00+02:00", "2026-05-02T02:00:00+02:00");
        assert_eq!(compare(&early, &late).veto, Some(Veto::OtherSession), "nights are sessions too");
    }

    #[test]
    fn a_run_and_a_part_of_it_are_related() {
        let run = Listing {
            end: Some("2026-06-20".parse().unwrap()),
            ..at(listing("museum", "1", "Glass Herons", "2026-05-01"), "Kestrel Gallery", "Napa")
        };
        let opening =
            at(listing("guide", "1", "Glass Herons: Opening", "2026-05-01T18:00:00Z"), "Kestrel Gallery", "Napa");
        assert_eq!(compare(&run, &opening).veto, Some(Veto::PartOfRun));
        let of = |listing: &Listing| Fingerprint::of(&LiveListing::new(listing, 0, 0), &ResolveConfig::default());
        let comparer = Comparer::new(&ResolveConfig::default());
        let relation = |a: &Listing, b: &Listing| comparer.relation(&of(a), &of(b)).map(|(relation, _)| relation);
        assert_eq!(relation(&run, &opening), Some(Relation::RunAndPart));
        assert_eq!(relation(&opening, &run), Some(Relation::PartAndRun));
        let other = Listing { title: "Basket Weaving with Ben".into(), ..opening };
        assert_eq!(relation(&run, &other), None);
    }

    #[test]
    fn one_page_outweighs_names_and_cities_that_differ() {
        let with = |source: &str, title: &str, city: &str, lat: f64, page: &str| {
            let mut one = at(listing(source, "1", title, "2026-05-01"), "", city);
            let geo = |point| Geo { point, precision: GeoPrecision::City, provenance: GeoProvenance::Gazetteer };
            one.venue.geo = Point::from_degrees(lat, 12.5).map(geo);
            one.urls = [page.into()].into();
            one
        };
        let page = "https://kestrel.example.org/2026/weavers";
        let a = with("a", "Kestrel Weavers", "Rome", 41.9, page);
        assert_eq!(compare(&a, &with("b", "Kestrel Weavers", "Milan", 45.5, page)).veto, None);
        let other = "https://kestrel.example.org/2026/spinners";
        assert_eq!(compare(&a, &with("b", "Kestrel Weavers", "Milan", 45.5, other)).veto, Some(Veto::OtherCity));
    }

    #[test]
    fn years_and_numbers_may_be_glued_to_a_name() {
        for (a, b) in [
            ("KestrelCon2026", "KestrelCon"),
            ("KestrelCon '26", "KestrelCon 2026"),
            ("Ada Leahyand the Owls", "Ada Leahy and the Owls"),
            ("Marsh Owls: The Quiet Water Tour", "Marsh Owls w/ Tin Kettle"),
        ] {
            let found = same_evening(a, b);
            assert!(found.matched, "{a} / {b}: {found}");
        }
        assert!(!same_evening("KestrelCon '26", "KestrelCon '27").matched);
        assert!(!same_evening("Basket Weaving with Ana", "Basket Weaving with Ben").matched);
    }
}
