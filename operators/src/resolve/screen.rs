//! [`Screen`]: tells pairs apart by their sketches.
//!
//! It gives an *upper bound* of what a comparison would find, and where even that is below the
//! threshold, nothing else is looked at. The bound is never too low, so what matches is the same
//! with and without it; a property test holds it to that.

use super::compare::{ONE_PAGE, VAGUE};
use super::config::ResolveConfig;
use super::fingerprint::Fingerprint;
use super::model::{Feature, Model};
use super::points::log_odds;
use super::sketch::{
    ANY_START, CITY, Glance, ONLINE, OPEN, PAGE, PLACED, POINT, REGION, SHORT, Sketch, VENUE, WORDS, Words, bit, bits,
    half,
};
use super::span::{NEAR_MINUTES, SAME_MINUTES};
use super::token::Token;

/// Metres to a degree of latitude, a little less than on the sphere that distances are measured on.
const METRES_PER_DEGREE: f64 = 111_000.0;

/// Twice the step of a [`Ratio`](crate::listing::Ratio), rounded up.
const STEP: f64 = 2.1e-4;

/// The features that a [`Screen`] bounds by what it sees; each of the others may be in any pair.
const BOUNDED: &[Feature] = {
    use Feature as F;
    &[
        F::Base,
        F::TitleSame,
        F::TitleCommon,
        F::TitleShare,
        F::TitleOtherAny,
        F::TitleOther,
        F::TitleMore,
        F::TitleNone,
        F::TitleHeld,
        F::TitleAcronym,
        F::StartSame,
        F::StartClock,
        F::StartNear,
        F::StartFar,
        F::EndSame,
        F::EndOther,
        F::DaySame,
        F::DaysSame,
        F::DaysStart,
        F::DaysEnd,
        F::DaysOverlap,
        F::PlaceSame,
        F::VenueSame,
        F::VenueHeld,
        F::VenuePart,
        F::VenueBranch,
        F::VenueOther,
        F::VenueOtherPlain,
        F::CitySame,
        F::OnlineBoth,
        F::OnlineOne,
        F::PlaceUnknown,
        F::UrlSame,
        F::UrlFront,
        F::UrlSite,
        F::UrlFamily,
        F::UrlPages,
        F::UrlOther,
    ]
};

impl Sketch {
    /// The sketch of a listing.
    pub(super) fn of(f: &Fingerprint) -> Self {
        let span = &f.span;
        let Self { mut title, mut short, .. } = Self::default();
        title.iter_mut().zip(f.title()).for_each(|(slot, token)| *slot = *token);
        let own = |token: &Token| {
            let same = |word: &Token| word.hash() == token.hash();
            f.venue().iter().any(same) || f.city().iter().any(same) || f.country.iter().any(same)
        };
        let own_place = (0u8..).zip(title.iter().take(f.title().len())).filter(|(_, token)| own(token));
        let shorts = f
            .letters
            .into_iter()
            .chain([f.core, f.billing.headliner])
            .chain(f.acronyms().iter().map(|token| token.hash()))
            .map(half);
        short.iter_mut().zip(shorts.filter(|short| *short != 0)).for_each(|(slot, hash)| *slot = hash);
        let bit_of = |hash: u16| if hash == 0 { 0 } else { 1u64 << (hash & 63) };
        let short_bits = short.iter().fold(0, |all, hash| all | bit_of(*hash));
        let title_bits = f.title().iter().fold(short_bits, |all, token| all | bit_of(half(token.hash())));
        let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
        let placed = f.geo.is_some() || !f.venue().is_empty() || !f.city().is_empty() || !f.address().is_empty();
        // More abbreviations than there is room for can match what is not seen here.
        let open = f.title().len() > WORDS || f.acronyms().len() + f.letters.len() + 2 > SHORT;
        let glance = Glance {
            start: if span.days() == 1 { span.start_min.unwrap_or(ANY_START) } else { ANY_START },
            offset: span.offset_min,
            flags: flag(open, OPEN)
                | flag(f.online, ONLINE)
                | flag(!f.venue().is_empty(), VENUE)
                | flag(f.geo.is_some(), POINT)
                | flag(placed, PLACED)
                | flag(f.url.is_some(), PAGE)
                | flag(!f.city().is_empty(), CITY)
                | flag(f.vague, REGION),
            city: bits(f.city()),
            lat_e7: f.geo.map_or(0, |(point, _)| point.lat_e7),
        };
        Self {
            glance,
            own_place: own_place.fold(0, |mask, (position, _)| mask | 1 << position),
            title,
            len: f.title().len().min(WORDS) as u8,
            short,
            short_bits,
            title_bits,
            place: bits(f.venue()) | bits(f.city()) | f.country.map_or(0, |country| bit(country.hash())),
            house: bits(f.venue()) | bits(f.address()),
            page: f.url.map_or(0, |page| (page.exact >> 48) as u16),
            family: f.url.map_or(0, |page| half(page.family)),
        }
    }
}

/// Tells pairs apart by their sketches.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    model: Model,
    session_gap: u32,
    /// What any pair has, and all that is not looked at here.
    always: f64,
    /// The sum that a match needs.
    least: f64,
    same_place_e7: f64,
    other_city_e7: f64,
}

impl Screen {
    /// A screen for what a [`Comparer`](super::compare::Comparer) of the same configuration finds.
    pub(super) fn new(config: &ResolveConfig) -> Self {
        let e7 = |metres: f64| metres / METRES_PER_DEGREE * 1e7;
        let model = config.weighted_model();
        let unseen = Feature::ALL.iter().filter(|feature| !BOUNDED.contains(feature));
        let always = model.of(Feature::Base) + unseen.map(|feature| model.of(*feature).max(0.0)).sum::<f64>();
        // Similarities are rounded to steps before they are held against the threshold.
        let least = if config.threshold > STEP { log_odds(config.threshold - STEP) - 1e-3 } else { f64::NEG_INFINITY };
        Self {
            model,
            session_gap: config.session_gap_minutes,
            always,
            least,
            same_place_e7: e7(config.same_place_m),
            other_city_e7: e7(config.other_city_m),
        }
    }

    /// Whether the two are of one session and may be in one city; false only where a comparison would
    /// say no.
    pub(super) fn may_meet(&self, a: &Glance, b: &Glance) -> bool {
        let timed = a.start != ANY_START && b.start != ANY_START;
        let other_session = timed && Self::apart_minutes(a, b) > self.session_gap;
        !other_session && !self.are_elsewhere(a, b)
    }

    /// Whether two that [may meet](Self::may_meet) may match; false only where a comparison would say no.
    pub(super) fn may_match(&self, a: &Sketch, b: &Sketch) -> bool {
        let time = self.time(&a.glance, &b.glance);
        if (a.glance.flags | b.glance.flags) & OPEN != 0 || a.may_abbreviate(b) || b.may_abbreviate(a) {
            return true;
        }
        let words = Words::of(a, b);
        let one_page = a.has(PAGE) && b.has(PAGE) && a.page == b.page;
        let before_place = self.always + time + self.title(&words, one_page) + self.page(a, b);
        before_place + self.place(a, b, &words) >= self.least
    }

    /// What a feature that may be there adds at most.
    fn most(&self, feature: Feature) -> f64 {
        self.model.of(feature).max(0.0)
    }

    fn most_of(&self, features: &[Feature]) -> f64 {
        features.iter().map(|feature| self.model.of(*feature)).fold(0.0, f64::max)
    }

    /// Minutes between two starts, or between what clocks show then if that is less.
    fn apart_minutes(a: &Glance, b: &Glance) -> u32 {
        a.start.abs_diff(b.start).min(a.clock().abs_diff(b.clock()))
    }

    fn time(&self, a: &Glance, b: &Glance) -> f64 {
        use Feature as F;
        if a.start == ANY_START || b.start == ANY_START {
            let days = [F::DaySame, F::DaysSame, F::DaysStart, F::DaysEnd, F::DaysOverlap];
            let starts = [F::StartSame, F::StartClock, F::StartNear, F::StartFar];
            return self.most_of(&days).max(self.most_of(&starts) + self.most_of(&[F::EndSame, F::EndOther]));
        }
        let apart = Self::apart_minutes(a, b);
        let feature = |apart: u32| match apart {
            0..=SAME_MINUTES => F::StartSame,
            _ if apart <= NEAR_MINUTES => F::StartNear,
            _ => F::StartFar,
        };
        // Whether clocks count that show the same at other instants is not known here.
        let instants = a.start.abs_diff(b.start);
        let by_clock = match apart {
            0..=SAME_MINUTES => F::StartClock,
            _ => feature(apart),
        };
        let of_instants = self.model.of(feature(instants));
        let start = if instants > apart { of_instants.max(self.model.of(by_clock)) } else { of_instants };
        start + self.most_of(&[F::EndSame, F::EndOther])
    }

    fn title(&self, words: &Words, one_page: bool) -> f64 {
        use Feature as F;
        let [x, y] = words.alone;
        let (other, common) = (x.min(y), f64::from(words.common));
        let per_word = self.model.of(F::TitleOther);
        let differing = if per_word <= 0.0 { f64::from(other.min(12)) / 4.0 } else { 3.0 };
        let less = if one_page { f64::from(ONE_PAGE) } else { 1.0 };
        let either_way = (per_word * differing).max(per_word * differing * less) + 3.0 * self.most(F::TitleMore);
        let without = if words.certain { f64::NEG_INFINITY } else { self.model.of(F::TitleNone) };
        let of_any = self.model.of(F::TitleOtherAny);
        let any = match (other >= 4, one_page) {
            (true, false) => of_any,
            // One page halves it, if the days agree.
            (true, true) => of_any.max(of_any * f64::from(ONE_PAGE)),
            (false, _) => self.most(F::TitleOtherAny),
        };
        if words.common == 0 {
            return either_way + any + without;
        }
        let share = 2.0 * common / (2.0 * common + f64::from(x + y));
        let with = self.most(F::TitleCommon) * (common / 8.0).min(1.5)
            + self.most(F::TitleShare) * share
            + self.most_of_if(F::TitleHeld, other == 0)
            + self.most_of_if(F::TitleSame, x + y == 0);
        either_way + any + with.max(without)
    }

    fn most_of_if(&self, feature: Feature, possible: bool) -> f64 {
        if possible { self.most(feature) } else { 0.0 }
    }

    /// By how many 1e-7 degrees of latitude two points differ; 0 where one is not known. The great
    /// circle is never shorter.
    fn apart_e7(a: &Glance, b: &Glance) -> f64 {
        if a.has(POINT) && b.has(POINT) { f64::from(a.lat_e7.abs_diff(b.lat_e7)) } else { 0.0 }
    }

    /// Whether they are in different cities, for certain. Most of those are that share a word of their
    /// titles on some day.
    fn are_elsewhere(&self, a: &Glance, b: &Glance) -> bool {
        let either = a.flags | b.flags;
        let one_city = a.has(CITY) && b.has(CITY) && a.city & b.city != 0;
        let vague = if either & REGION != 0 { VAGUE } else { 1.0 };
        let may_be_one_page = a.has(PAGE) && b.has(PAGE);
        !may_be_one_page && either & ONLINE == 0 && !one_city && Self::apart_e7(a, b) > self.other_city_e7 * vague
    }

    fn place(&self, a: &Sketch, b: &Sketch, words: &Words) -> f64 {
        use Feature as F;
        let online = [a, b].map(|sketch| sketch.has(ONLINE));
        let points = a.has(POINT) && b.has(POINT);
        let one_house = a.house & b.house != 0;
        let venues = a.has(VENUE) && b.has(VENUE);
        let mut most = match (one_house, venues) {
            (true, _) => {
                let held = self.most(F::VenueHeld) + self.most(F::VenueSame);
                held.max(self.most_of(&[F::VenuePart, F::VenueBranch, F::VenueOther, F::VenueOtherPlain]))
            }
            (false, true) if words.telling < 8 => self.model.of(F::VenueOtherPlain),
            (false, true) => self.model.of(F::VenueOther).max(self.model.of(F::VenueOtherPlain)),
            (false, false) => 0.0,
        };
        most += self.most_of_if(
            F::PlaceSame,
            one_house || (points && Self::apart_e7(&a.glance, &b.glance) <= self.same_place_e7),
        );
        most += self.most_of_if(F::CitySame, !venues);
        most += match online {
            [true, true] => self.most(F::OnlineBoth),
            [false, false] => self.most_of_if(F::PlaceUnknown, !a.has(PLACED) || !b.has(PLACED)),
            _ => self.most_of(&[F::OnlineOne, F::PlaceUnknown]),
        };
        most
    }

    fn page(&self, a: &Sketch, b: &Sketch) -> f64 {
        use Feature as F;
        if !a.has(PAGE) || !b.has(PAGE) {
            return 0.0;
        }
        let other = self.model.of(F::UrlOther);
        let exact = if a.page == b.page { self.most(F::UrlSame).max(self.most(F::UrlFront)) } else { other };
        let site = if a.family != 0 && a.family == b.family {
            self.most_of(&[F::UrlSite, F::UrlPages, F::UrlFamily])
        } else {
            other
        };
        exact.max(site)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compare::Comparer;
    use super::super::config::Weights;
    use super::super::model::FEATURES;
    use super::*;
    use crate::listing::{Geo, GeoPrecision, GeoProvenance, Listing, LiveListing, Point};

    fn fingerprint(listing: Listing, config: &ResolveConfig) -> Fingerprint {
        Fingerprint::of(&LiveListing::new(&listing, 0, 0), config)
    }

    fn passes(screen: &Screen, a: &Sketch, b: &Sketch) -> bool {
        screen.may_meet(&a.glance, &b.glance) && screen.may_match(a, b)
    }

    fn words(pool: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(pool), 0..=most).prop_map(|words| words.join(" "))
    }

    /// Few words, so that they meet in every way: as title, venue, city, abbreviation.
    const WORDS: &[&str] = &[
        "Rust",
        "Jazz",
        "Night",
        "the",
        "of",
        "Davis",
        "NYC",
        "PC",
        "Python",
        "Conference",
        "Library",
        "Hall",
        "7",
        "12th",
        "Łódź",
        "Open",
        "Air",
        "OpenAir",
        "presents",
        "Kids",
        "2026",
        "workshop",
        "Napa",
        "France",
    ];
    const URLS: &[&str] = &[
        "https://jazz.example/",
        "https://jazz.example/a",
        "https://jazz.example/b",
        "https://jazz.test/2026",
        "https://www.meetup.com/x/1",
        "https://www.meetup.com/x/2",
        "https://eu.jazz.example/a?id=3",
    ];
    const STARTS: &[&str] = &[
        "2026-05-01",
        "2026-05-02",
        "2026-05-01T18:00:00Z",
        "2026-05-01T18:04:00Z",
        "2026-05-01T18:30:00+02:00",
        "2026-05-01T18:00:00-07:00",
        "2026-05-01T19:10:00Z",
        "2026-05-01T21:00:00Z",
    ];

    fn listing(source: &'static str) -> impl Strategy<Value = Listing> {
        let place = (words(WORDS, 2), words(WORDS, 3), words(&["Davis", "Napa", "Open", "New York"], 1));
        let point = prop::option::of((38.0..38.9f64, -121.8..-121.7f64, any::<bool>()));
        let url = prop::option::of(prop::sample::select(URLS));
        let when = (prop::sample::select(STARTS), prop::option::of(prop::sample::select(STARTS)));
        let country = prop::option::of(prop::sample::select(&["France", "US"][..]));
        (words(WORDS, 9), place, country, point, url, when, any::<bool>()).prop_map(
            move |(title, (venue, address, city), country, point, url, (start, end), online)| {
                let mut listing = Listing::new(source, "1", &title, start.parse().unwrap());
                let text = |text: String| Some(text).filter(|text| !text.is_empty()).map(Into::into);
                listing.end = end.map(|end| end.parse().unwrap());
                listing.venue.name = text(venue);
                listing.venue.address = text(address);
                listing.venue.city = text(city);
                listing.venue.country = country.map(Into::into);
                listing.venue.geo = point.and_then(|(lat, lon, exact)| {
                    let precision = if exact { GeoPrecision::Venue } else { GeoPrecision::City };
                    Some(Geo { point: Point::from_degrees(lat, lon)?, precision, provenance: GeoProvenance::Source })
                });
                listing.urls.extend(url.map(Into::into));
                listing.online = online;
                listing
            },
        )
    }

    /// Two listings, of which the second often takes over much of the first.
    fn pair() -> impl Strategy<Value = (Listing, Listing)> {
        (listing("a"), listing("b"), any::<[bool; 4]>()).prop_map(|(a, mut b, [title, start, venue, url])| {
            if title {
                b.title.clone_from(&a.title);
            }
            if start {
                (b.start, b.end) = (a.start, a.end);
            }
            if venue {
                b.venue = a.venue.clone();
            }
            if url {
                b.urls.clone_from(&a.urls);
            }
            (a, b)
        })
    }

    fn config() -> impl Strategy<Value = ResolveConfig> {
        let model = prop::option::of(prop::collection::vec(-4.0..4.0f64, FEATURES));
        let weights = prop::collection::vec(0.0..3.0f64, 4);
        (model, weights, 20u32..600).prop_map(|(points, weights, session_gap_minutes)| {
            let model = points.and_then(|points| points.try_into().ok()).map(Model::new);
            let weights = Weights { title: weights[0], time: weights[1], place: weights[2], url: weights[3] };
            ResolveConfig { model, weights, session_gap_minutes, ..ResolveConfig::default() }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Whatever the model says: at a threshold that the pair just reaches it is not screened out.
        #[test]
        fn what_matches_is_never_screened_out((a, b) in pair(), config in config()) {
            let fingerprints = [a, b].map(|listing| fingerprint(listing, &config));
            let [a, b] = &fingerprints;
            let found = Comparer::new(&config).compare(a, b);
            let reached = ResolveConfig { threshold: found.score.get(), ..config };
            if Comparer::new(&reached).matches(a, b).is_some() {
                let screen = Screen::new(&reached);
                prop_assert!(passes(&screen, &a.sketch, &b.sketch), "{found}, {:?}", found.found);
                prop_assert!(passes(&screen, &b.sketch, &a.sketch), "{found}, {:?}", found.found);
            }
        }
    }

    #[test]
    fn listings_of_one_evening_that_share_a_word_are_told_apart() {
        let config = ResolveConfig::default();
        let screen = Screen::new(&config);
        let evening = |title: &str, venue: &str| {
            let mut listing = Listing::new("a", "1", title, "2026-05-01T18:00:00Z".parse().unwrap());
            listing.venue.name = Some(venue.into());
            fingerprint(listing, &config).sketch
        };
        let jazz = evening("Harvest Moon Jazz", "Odd Fellows Hall");
        assert!(!passes(&screen, &jazz, &evening("Jazz Brunch Buffet", "Mystic Theatre")));
        assert!(passes(&screen, &jazz, &evening("Harvest Moon Jazz", "Oddfellows Hall")));
        assert!(passes(&screen, &jazz, &evening("HMJ", "Odd Fellows Hall")));
    }

    #[test]
    fn every_feature_is_bounded_once() {
        let distinct: std::collections::BTreeSet<Feature> = BOUNDED.iter().copied().collect();
        assert_eq!(distinct.len(), BOUNDED.len());
    }
}
