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

pub(super) use self::place::are_at_one_place;
use self::place::{Venue, lies_in, same_city, venue};
pub(super) use self::title::ONE_PAGE;
use self::title::{Titles, title};
use super::acts::are_one_bill;
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
    /// The titles or the rooms name different parts: "Program A", "Studio 2", "(EN)". Or one source offers something
    /// alone, and together with something else.
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
        } else if self.other_session(a, b)
            || (a.source == b.source && !is_run_and_part(a, b) && (is_other_entry(a, b) || is_other_of_day(a, b)))
        {
            Some(Veto::OtherSession)
        } else if are_other_parts(&a.designations, &b.designations)
            || are_other_parts(&a.rooms, &b.rooms)
            || (a.source == b.source && (is_more_than(a, b) || is_more_than(b, a)))
        {
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
/// repeats an entry gives it a new one. Ends say nothing of two bills under other titles, of which one has all
/// acts of the other. Two exceptions for starts:
/// - Of two entries of one title, one has no length: it was left behind when the time was corrected.
/// - Their pages are of two sites: the source passes on what two others say, and is two sources here.
fn is_other_entry(a: &Fingerprint, b: &Fingerprint) -> bool {
    let pages = a.url.zip(b.url);
    let own_end = a.span.end_min.zip(b.span.end_min).is_some_and(|(x, y)| x != y);
    // Whoever puts an event on a platform makes a page there. A page that a script draws is no page that anybody made:
    // a calendar draws one for each entry, also where it was sent in twice.
    let made = |page: Page| page.deep && !page.routed;
    let on_one_site =
        |(x, y): (Page, Page)| made(x) && made(y) && x.exact != y.exact && x.site != 0 && x.site == y.site;
    let own_page = pages.is_some_and(on_one_site) && a.letters == b.letters;
    let series = a.series != 0 && a.series == b.series;
    if series || own_page {
        return true;
    }
    let one_bill = a.letters != b.letters && are_one_bill(a, b);
    let two_origins = pages.is_some_and(|(x, y)| x.site != y.site);
    let other_start = !a.span.starts_with(&b.span);
    !two_origins && ((own_end && !other_start && !one_bill) || (other_start && !is_left_behind(a, b)))
}

/// Whether two entries of one source and one day, of which not both have a time, are of two things: each title has
/// words of its own. Two egg hunts of Easter Sunday share its name, and the day.
fn is_other_of_day(a: &Fingerprint, b: &Fingerprint) -> bool {
    let timed = a.span.start_min.is_some() && b.span.start_min.is_some();
    let one_day = a.span.days() == 1 && b.span.days() == 1;
    !timed && one_day && {
        let title = title(a, b);
        !title.same && !title.acronym && title.other() > 0
    }
}

/// Whether the first is the second and something else: "Picnic and Lantern Walk", and "Lantern Walk".
fn is_more_than(a: &Fingerprint, b: &Fingerprint) -> bool {
    a.tail != 0 && a.tail == b.letters[2]
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
    match venue(a, b) {
        // Branches of one house often share one page of their programme.
        Some(Venue::Branch) => !named(),
        Some(Venue::Other) => !page && (other_city || !named()),
        _ => !page && other_city,
    }
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
mod tests;
