//! Comparison: are two listings the same event, how sure is that, and why.
//!
//! Each field that both listings have gives a similarity in 0..=1. The score is their mean,
//! weighted by the configured weight times the *precision* of what was compared: the same city is
//! a weaker statement than the same venue. A field that one side lacks takes no part. The evidence
//! is the sum of those effective weights, where a title counts by how telling its common words
//! are: two listings that agree on "Trivia Night" and on the day agree on next to nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::config::ResolveConfig;
use super::fingerprint::{Fingerprint, Span, Token};
use crate::listing::{GeoPrecision, Ratio};

/// Precision of a comparison that knows only the city, or only that both are online.
const CITY_PRECISION: f64 = 0.25;
/// Precision of a comparison of single days, without a time of day.
const DAY_PRECISION: f64 = 0.5;
/// Weight of title words (see [`Token::weight`]) in common from which on a title is fully telling:
/// two telling words.
const TELLING: f64 = 8.0;
/// Beyond this distance in metres the same venue name is the name of two venues.
const SAME_NAME_M: f64 = 5_000.0;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// Words of the titles.
    Title,
    /// Start and end.
    Time,
    /// Coordinates, venues, cities.
    Place,
    /// The listing's own web address.
    Url,
    /// A person's word that outweighs all the others.
    Decision,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Title => "title",
            Self::Time => "time",
            Self::Place => "place",
            Self::Url => "address",
            Self::Decision => "decision",
        })
    }
}

/// What one field said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contribution {
    /// The field.
    pub field: Field,
    /// How alike the two are in it.
    pub similarity: Ratio,
    /// The part of the score that it decides: its effective weight over the sum of them all.
    pub weight: Ratio,
}

/// What each field said; at most one entry a field.
pub type Contributions = SmallVec<[Contribution; 4]>;

/// Why two listings cannot be one event, whatever else agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Veto {
    /// The titles name different years, or different editions or parts.
    OtherEdition,
    /// Different sessions of a day, or different days.
    OtherSession,
    /// Different cities.
    OtherCity,
    /// Two entries of a source that never lists an event twice.
    SameSource,
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherEdition => "another edition or year",
            Self::OtherSession => "another session",
            Self::OtherCity => "another city",
            Self::SameSource => "two entries of a source without duplicates",
        })
    }
}

/// The outcome of comparing two listings. Symmetric in them.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Weighted similarity.
    pub score: Ratio,
    /// Sum of the weights that stand behind the score.
    pub evidence: f64,
    /// What each field said.
    pub contributions: Contributions,
    /// What forbids a match.
    pub veto: Option<Veto>,
    /// Whether the evidence is enough to say anything.
    pub enough: bool,
    /// Whether the two match.
    pub matched: bool,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.matched { "the same event" } else { "not the same event" };
        write!(f, "{verdict}: similarity {:.2}", self.score.get())?;
        for (i, part) in self.contributions.iter().enumerate() {
            let lead = if i == 0 { " (" } else { ", " };
            write!(f, "{lead}{} {:.2} × {:.2}", part.field, part.similarity.get(), part.weight.get())?;
        }
        if !self.contributions.is_empty() {
            f.write_str(")")?;
        }
        if let Some(veto) = self.veto {
            write!(f, "; {veto}")?;
        } else if !self.enough {
            f.write_str("; too little is known")?;
        }
        Ok(())
    }
}

/// What a field says before weighing.
#[derive(Debug, Clone, Copy)]
struct Measure {
    similarity: f64,
    precision: f64,
}

/// Compares fingerprints as a configuration says.
#[derive(Debug, Clone)]
pub struct Comparer {
    config: ResolveConfig,
    threshold: Ratio,
}

impl Comparer {
    /// A comparer with the weights, windows and limits of `config`.
    pub fn new(config: &ResolveConfig) -> Self {
        Self { config: config.clone(), threshold: Ratio::new(config.threshold) }
    }

    /// The similarity of two listings if they match; cheaper than [`compare`](Self::compare).
    pub fn matches(&self, a: &Fingerprint, b: &Fingerprint) -> Option<Ratio> {
        if veto_by_source(a, b) || a.span.first_day.abs_diff(b.span.first_day) > 31 {
            return None;
        }
        let comparison = self.compare(a, b);
        comparison.matched.then_some(comparison.score)
    }

    /// Compares two listings field by field.
    pub fn compare(&self, a: &Fingerprint, b: &Fingerprint) -> Comparison {
        let weights = &self.config.weights;
        let (title, telling) = title(a, b);
        let (place, other_city) = self.place(a, b);
        let time = self.time(&a.span, &b.span);
        let fields = [
            (Field::Title, weights.title, title),
            (Field::Time, weights.time, Some(time)),
            (Field::Place, weights.place, place),
            (Field::Url, weights.url, url(a, b)),
        ];
        let known = || fields.iter().filter_map(|&(field, weight, measure)| Some((field, weight, measure?)));
        let total: f64 = known().map(|(_, weight, measure)| weight * measure.precision).sum();
        let alike: f64 = known().map(|(_, weight, measure)| weight * measure.precision * measure.similarity).sum();
        let evidence = total - if title.is_some() { weights.title * (1.0 - telling) } else { 0.0 };
        let score = if total > 0.0 { Ratio::new(alike / total) } else { Ratio::ZERO };
        let veto = self.veto(a, b, time, other_city);
        // Without a word in common two listings are two events at one time and place.
        let enough = title.is_some() && evidence + 1e-9 >= self.config.min_evidence;
        Comparison {
            score,
            evidence,
            contributions: known()
                .filter(|(_, weight, _)| *weight > 0.0)
                .map(|(field, weight, measure)| Contribution {
                    field,
                    similarity: Ratio::new(measure.similarity),
                    weight: Ratio::new(weight * measure.precision / total),
                })
                .collect(),
            veto,
            enough,
            matched: veto.is_none() && enough && score >= self.threshold,
        }
    }

    fn veto(&self, a: &Fingerprint, b: &Fingerprint, time: Measure, other_city: bool) -> Option<Veto> {
        if veto_by_source(a, b) {
            Some(Veto::SameSource)
        } else if disjoint(&a.years, &b.years) || disjoint(&a.numbers, &b.numbers) {
            Some(Veto::OtherEdition)
        } else if time.similarity == 0.0 || self.other_session(&a.span, &b.span) {
            Some(Veto::OtherSession)
        } else if other_city {
            Some(Veto::OtherCity)
        } else {
            None
        }
    }

    fn other_session(&self, a: &Span, b: &Span) -> bool {
        let (Some(start_a), Some(start_b)) = (a.start_min, b.start_min) else { return false };
        if a.days() > 1 && b.days() > 1 {
            return false;
        }
        let one_after_the_other =
            a.end_min.is_some_and(|end| end <= start_b) || b.end_min.is_some_and(|end| end <= start_a);
        one_after_the_other || start_a.abs_diff(start_b) > self.config.session_gap_minutes
    }

    fn time(&self, a: &Span, b: &Span) -> Measure {
        let long = a.days() > 1 && b.days() > 1;
        match (a.start_min, b.start_min) {
            (Some(start_a), Some(start_b)) if !long => {
                let apart = f64::from(start_a.abs_diff(start_b));
                let similarity = (1.0 - apart / f64::from(self.config.time_window_minutes)).max(0.0);
                Measure { similarity, precision: 1.0 }
            }
            _ => days_alike(a, b),
        }
    }

    /// How alike the places are, and whether they are in different cities.
    fn place(&self, a: &Fingerprint, b: &Fingerprint) -> (Option<Measure>, bool) {
        let distance = a.geo.zip(b.geo).map(|((p, _), (q, _))| p.distance_m(&q));
        let city = city(a, b);
        let far = match distance {
            Some(metres) => metres > self.config.other_city_m,
            None => city == Some(false),
        };
        let names = venues_alike(a, b);
        let exact = |geo: Option<(_, GeoPrecision)>| geo.is_some_and(|(_, precision)| precision != GeoPrecision::City);
        let points = distance.filter(|_| exact(a.geo) && exact(b.geo)).map(|metres| self.nearness(metres));
        let similarity = match (points, names) {
            (Some(near), Some(names)) if distance.is_some_and(|metres| metres < SAME_NAME_M) => Some(near.max(names)),
            (Some(near), _) => Some(near),
            (None, names) => names,
        };
        let venue = similarity.map(|similarity| Measure { similarity, precision: 1.0 });
        let same_city = city == Some(true) || (distance.is_some() && !far) || (a.online && b.online);
        let coarse = same_city.then_some(Measure { similarity: 1.0, precision: CITY_PRECISION });
        (venue.or(coarse), far)
    }

    fn nearness(&self, metres: f64) -> f64 {
        let config = &self.config;
        let beyond = (metres - config.same_place_m) / (config.other_place_m - config.same_place_m);
        1.0 - beyond.clamp(0.0, 1.0)
    }
}

fn veto_by_source(a: &Fingerprint, b: &Fingerprint) -> bool {
    a.duplicate_free && a.source == b.source
}

/// Weighted Dice coefficient of the words, and how telling those in common are, both 0..=1. A word
/// that only names the other listing's place ("at Indiranagar", "Berlin") is no difference.
fn title(a: &Fingerprint, b: &Fingerprint) -> (Option<Measure>, f64) {
    if a.title.is_empty() || b.title.is_empty() {
        return (None, 0.0);
    }
    let (mut common, mut differ) = (0, 0);
    merge(&a.title, &b.title, |token, both| {
        if both {
            common += token.weight();
        } else if !names_place(token, a) && !names_place(token, b) {
            differ += token.weight();
        }
    });
    if common == 0 {
        return (Some(Measure { similarity: 0.0, precision: 1.0 }), 0.0);
    }
    let similarity = f64::from(2 * common) / f64::from(2 * common + differ);
    let same_number =
        a.years.iter().any(|year| b.years.contains(year)) || a.numbers.iter().any(|n| b.numbers.contains(n));
    let telling = f64::from(common) / TELLING + if same_number { 0.25 } else { 0.0 };
    (Some(Measure { similarity, precision: 1.0 }), telling.min(1.0))
}

fn names_place(token: Token, fingerprint: &Fingerprint) -> bool {
    // Titles, venues and cities know different common words: only the hash proper is compared.
    let same = |other: &Token| other.hash() | 1 == token.hash() | 1;
    fingerprint.venue.iter().any(same) || fingerprint.city.iter().any(same)
}

/// Visits each distinct element of two ascending lists, with whether it is in both.
fn merge(a: &[Token], b: &[Token], mut visit: impl FnMut(Token, bool)) {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    loop {
        let (x, y) = (a.peek().copied(), b.peek().copied());
        let Some(next) = [x, y].into_iter().flatten().min() else { return };
        visit(next, x == y);
        a.next_if_eq(&next);
        b.next_if_eq(&next);
    }
}

/// The Dice coefficient, or, where one name holds the other ("Room 2, Central Library"), little
/// less than 1.
fn venues_alike(a: &Fingerprint, b: &Fingerprint) -> Option<f64> {
    if a.venue.is_empty() || b.venue.is_empty() {
        return None;
    }
    let weight = |tokens: &[Token]| tokens.iter().map(|token| token.weight()).sum::<u32>();
    let (mut common, mut telling) = (0, false);
    merge(&a.venue, &b.venue, |token, both| {
        if both {
            common += token.weight();
            telling |= !token.is_common();
        }
    });
    let (weight_a, weight_b) = (weight(&a.venue), weight(&b.venue));
    let dice = f64::from(2 * common) / f64::from(weight_a + weight_b);
    let held = f64::from(common) / f64::from(weight_a.min(weight_b));
    Some(if telling { dice.max(0.9 * held) } else { dice })
}

fn city(a: &Fingerprint, b: &Fingerprint) -> Option<bool> {
    if a.city.is_empty() || b.city.is_empty() {
        return None;
    }
    Some(a.city.iter().any(|token| b.city.contains(token)))
}

fn url(a: &Fingerprint, b: &Fingerprint) -> Option<Measure> {
    (a.url.is_some() && a.url == b.url).then_some(Measure { similarity: 1.0, precision: 1.0 })
}

/// Share of the days in common; an unknown end is no difference.
fn days_alike(a: &Span, b: &Span) -> Measure {
    let first = a.first_day.max(b.first_day);
    let last = a.last_day.min(b.last_day);
    let common = f64::from(u32::try_from(i64::from(last) - i64::from(first) + 1).unwrap_or(0));
    let exact = a.days() > 1 && b.days() > 1;
    let precision = if exact { 1.0 } else { DAY_PRECISION };
    let all = f64::from(a.days()) + f64::from(b.days()) - common;
    let open = !a.has_end || !b.has_end || a.days() == 1 || b.days() == 1;
    let similarity = match (common > 0.0, a.first_day == b.first_day && open) {
        (false, _) => 0.0,
        (true, true) => 1.0,
        (true, false) => (common / all).max(if open { 0.5 } else { 0.0 }),
    };
    Measure { similarity, precision }
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
        listing.venue.name = Some(venue.to_owned()).filter(|name| !name.is_empty());
        listing.venue.city = Some(city.to_owned()).filter(|name| !name.is_empty());
        listing
    }

    fn compare_with(config: &ResolveConfig, a: &Listing, b: &Listing) -> Comparison {
        let fingerprint = |listing: &Listing| {
            let live = LiveListing { id: listing.id(), first_seen: 0, updated_at: 0, listing: listing.clone() };
            Fingerprint::of(&live, config)
        };
        let (a, b) = (fingerprint(a), fingerprint(b));
        let comparer = Comparer::new(config);
        let there = comparer.compare(&a, &b);
        assert_eq!(there, comparer.compare(&b, &a), "not symmetric");
        assert_eq!(comparer.matches(&a, &b), there.matched.then_some(there.score));
        there
    }

    fn compare(a: &Listing, b: &Listing) -> Comparison {
        compare_with(&ResolveConfig::default(), a, b)
    }

    #[test]
    fn other_words_half_an_hour_apart_at_one_place_match() {
        let a =
            at(listing("a", "1", "Food Festival at Indiranagar", "2026-05-01T18:00:00+05:30"), "Indiranagar Club", "");
        let b = at(listing("b", "1", "Indiranagar Food Festival", "2026-05-01T18:30:00+05:30"), "Indiranagar Club", "");
        let found = compare(&a, &b);
        assert!(found.matched, "{found}");
        assert_eq!(found.to_string().split(':').next(), Some("the same event"));
        assert!(found.to_string().contains("title 1.00"), "{found}");
    }

    #[test]
    fn trivia_nights_without_a_place_do_not_match() {
        let a = listing("a", "1", "Trivia Night", "2026-05-01");
        let b = listing("b", "1", "Trivia Night", "2026-05-01");
        let found = compare(&a, &b);
        assert!(!found.matched && !found.enough, "{found}");
        let at_seven = |source| at(listing(source, "1", "Trivia Night", "2026-05-01T19:00:00-07:00"), "", "Davis");
        assert!(!compare(&at_seven("a"), &at_seven("b")).matched);
        let in_a_pub =
            |source| at(listing(source, "1", "Trivia Night", "2026-05-01T19:00:00-07:00"), "Sudwerk", "Davis");
        assert!(compare(&in_a_pub("a"), &in_a_pub("b")).matched);
    }

    #[test]
    fn a_missing_place_neither_raises_nor_lowers() {
        let a = listing("a", "1", "John Scofield Trio", "2026-05-01T19:00:00-07:00");
        let with_place = at(listing("b", "1", "John Scofield Trio", "2026-05-01T19:00:00-07:00"), "Blue Note", "Napa");
        let found = compare(&a, &with_place);
        assert!(found.matched && found.score == Ratio::ONE, "{found}");
        assert!(found.contributions.iter().all(|part| part.field != Field::Place));
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
        assert_eq!(veto(|other| other.title = "Harvest Marathon 2027".to_owned()), Some(Veto::OtherEdition));
        assert_eq!(veto(|other| other.start = "2026-05-01T14:00:00Z".parse().unwrap()), Some(Veto::OtherSession));
        assert_eq!(veto(|other| other.venue.city = Some("Davis".to_owned())), Some(Veto::OtherCity));
        let config = ResolveConfig { duplicate_free: ["a".to_owned()].into(), ..ResolveConfig::default() };
        let twin = Listing { external_id: "2".into(), ..base() };
        assert_eq!(compare_with(&config, &base(), &twin).veto, Some(Veto::SameSource));
        assert_eq!(compare(&base(), &twin).veto, None);
    }

    #[test]
    fn sessions_one_after_the_other_are_different() {
        let mut a = at(listing("a", "1", "Vinyasa Yoga Basics", "2026-05-01T09:00:00Z"), "Lotus Studio", "Napa");
        let mut b = at(listing("b", "1", "Vinyasa Yoga Basics", "2026-05-01T10:00:00Z"), "Lotus Studio", "Napa");
        assert!(compare(&a, &b).matched);
        a.end = Some(b.start);
        b.end = Some("2026-05-01T11:00:00Z".parse().unwrap());
        assert_eq!(compare(&a, &b).veto, Some(Veto::OtherSession));
    }

    #[test]
    fn a_city_centre_is_not_a_venue() {
        let place = |source: &str, precision, lon| {
            let mut listing = listing(source, "1", "Open Mic", "2026-05-01T19:00:00Z");
            let point = Point::from_degrees(38.5, lon).unwrap();
            listing.venue.geo = Some(Geo { point, precision, provenance: GeoProvenance::Gazetteer });
            listing
        };
        let centre = GeoPrecision::City;
        assert!(!compare(&place("a", centre, -121.7), &place("b", centre, -121.7)).matched);
        let venue = GeoPrecision::Venue;
        assert!(compare(&place("a", venue, -121.7), &place("b", venue, -121.7)).matched);
        assert!(!compare(&place("a", venue, -121.7), &place("b", venue, -121.72)).matched);
        assert_eq!(compare(&place("a", centre, -121.7), &place("b", venue, -125.0)).veto, Some(Veto::OtherCity));
    }

    #[test]
    fn days_and_instants_agree_on_the_day() {
        let day = at(listing("a", "1", "Strawberry Harvest Fair", "2026-05-01"), "Fairgrounds", "Napa");
        let hour = at(listing("b", "1", "Strawberry Harvest Fair", "2026-05-01T23:00:00-07:00"), "Fairgrounds", "Napa");
        let next = at(listing("b", "1", "Strawberry Harvest Fair", "2026-05-02T01:00:00-07:00"), "Fairgrounds", "Napa");
        assert!(compare(&day, &hour).matched);
        assert_eq!(compare(&day, &next).veto, Some(Veto::OtherSession));
    }
}
