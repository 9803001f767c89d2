//! Reading a listing into its [`Fingerprint`].

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::acts::named;
use super::billing::billing;
use super::config::ResolveConfig;
use super::designation::designations;
use super::fingerprint::{Fingerprint, Words};
use super::keys::{self, TITLE_KEYS};
use super::page::Page;
use super::sketch::Sketch;
use super::span::Span;
use super::title;
use super::token::{Class, MAX_TOKENS, Number, Token, Tokens, for_each_word, number_of, stem};
use super::vocabulary::{self, CITY_WORDS, VENUE_WORDS, Weight, WordTable};
use crate::gazetteer::{Gazetteer, country_code};
use crate::listing::{GeoProvenance, LiveListing, VenueView};
use crate::online::is_the_web;

impl Fingerprint {
    /// The fingerprint of `live`.
    pub fn of(live: &LiveListing, config: &ResolveConfig) -> Self {
        let listing = live.listing.view();
        let venue = &listing.venue;
        // "Online" is no house that two events share.
        let house = venue.name.filter(|name| !(listing.online && is_the_web(name))).unwrap_or_default();
        let title = title::read(listing.title);
        let named = named(listing.title);
        let mut organizer: Tokens =
            listing.organizer.map(|organizer| sorted(words(organizer.name, &VENUE_WORDS))).unwrap_or_default();
        organizer.truncate(MAX_ORGANIZER_TOKENS);
        let mut fingerprint = Self {
            listing: live.id,
            first_seen: live.first_seen,
            source: xxh3_64(listing.source.as_bytes()),
            duplicate_free: config.duplicate_free.contains(listing.source),
            words: Words::new([
                &distinct_words(sorted(title.tokens.iter().map(|(token, _)| *token))),
                &sorted::<[Token; 8], _>(words(house, &VENUE_WORDS)),
                &sorted::<[Token; 8], _>(street(venue)),
                &sorted::<[Token; 8], _>(words(venue.city.unwrap_or_default(), &CITY_WORDS)),
                &title.acronyms.iter().map(|hash| Token::of_hash(u64::from(*hash), Class::Telling)).collect::<Tokens>(),
                &organizer,
            ]),
            letters: title.letters,
            tail: title.tail,
            core: title.core,
            parts: title.parts,
            series: series(listing.external_id),
            billing: billing(listing.title),
            act: named.whole,
            acts: named.acts.as_slice().into(),
            designations: designations(listing.title).as_slice().into(),
            rooms: designations(house).as_slice().into(),
            years: sorted::<[u16; 4], _>(title.years).as_slice().into(),
            numbers: sorted::<[Number; 2], _>(title.numbers).as_slice().into(),
            span: Span::new(
                listing.start,
                listing.end,
                listing.timezone,
                config.midnight_is_no_time.contains(listing.source),
            ),
            geo: live.geo().map(|geo| (geo.point, geo.precision)),
            vague: is_vague(venue),
            country: venue.country.and_then(country_code).map(vocabulary::country_token_of),
            online: listing.online,
            url: listing.urls.first().and_then(Page::of),
            keys: Box::default(),
            sketch: Sketch::default(),
        };
        let keys = keys::keys(&fingerprint, &leading(title.tokens, &title.acronyms), config);
        fingerprint.keys = keys.as_slice().into();
        fingerprint.sketch = Sketch::of(&fingerprint);
        fingerprint
    }
}

/// More words of an organizer's name than this are left out.
const MAX_ORGANIZER_TOKENS: usize = 8;

/// The series of an instance, whose id is that of the series, a slash and the time by which the series
/// has it: `UID/20260329T023000Z`, or `UID/20260329`.
fn series(external_id: &str) -> u32 {
    let Some((series, instance)) = external_id.rsplit_once('/') else { return 0 };
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = match instance.trim_end_matches('Z').split_once('T') {
        Some((day, time)) => digits(day, 8) && digits(time, 6),
        None => digits(instance, 8),
    };
    if is_time { (xxh3_64(series.as_bytes()) as u32).max(1) } else { 0 }
}

fn is_vague(venue: &VenueView<'_>) -> bool {
    let from_source = venue.geo.is_some_and(|geo| geo.provenance == GeoProvenance::Source);
    let bare = from_source && venue.name.is_none() && venue.address.is_none();
    let city = venue.city.filter(|_| bare);
    city.is_some_and(|city| Gazetteer::embedded().city(city, venue.region, venue.country).is_none())
}

/// The telling words by which a title is looked up: its own abbreviation first, then the longest, since long
/// words are rarer.
fn leading(mut tokens: Vec<(Token, usize)>, acronyms: &[u32]) -> SmallVec<[Token; 8]> {
    tokens.retain(|(token, _)| token.class() == Class::Telling);
    tokens
        .sort_unstable_by_key(|&(token, length)| (!acronyms.contains(&token.hash()), std::cmp::Reverse(length), token));
    tokens.dedup();
    tokens.into_iter().map(|(token, _)| token).take(TITLE_KEYS).collect()
}

/// Each word once, as what tells most.
fn distinct_words(mut tokens: Tokens) -> Tokens {
    tokens.dedup_by_key(|token| token.hash());
    tokens
}

fn sorted<A: smallvec::Array<Item = T>, T: Ord>(items: impl IntoIterator<Item = T>) -> SmallVec<A> {
    let mut items: SmallVec<A> = items.into_iter().collect();
    items.sort_unstable();
    items.dedup();
    items
}

fn words(text: &str, table: &WordTable) -> SmallVec<[Token; 8]> {
    let (mut tokens, mut skipped) = (SmallVec::new(), SmallVec::new());
    for_each_word(text, |word, _| {
        if tokens.len() >= MAX_TOKENS || number_of(word).is_some() {
            return;
        }
        let word = vocabulary::alias(stem(word));
        match table.get(word) {
            Some(Weight::None) => skipped.push(Token::new(word, Class::Common)),
            Some(Weight::Little) => tokens.push(Token::new(word, Class::Common)),
            None => tokens.push(Token::new(word, Class::Telling)),
        }
    });
    if tokens.is_empty() { skipped } else { tokens }
}

/// The words of an address, with house numbers as words of a kind. Its city, region, country and what stands after
/// the house number like a postal code are no street: they are common.
fn street(venue: &VenueView<'_>) -> SmallVec<[Token; 8]> {
    const SHORTEST_POSTAL_CODE: usize = 5;
    let mut around: SmallVec<[u32; 8]> = SmallVec::new();
    for text in [venue.city, venue.region, venue.country].into_iter().flatten() {
        for_each_word(text, |word, _| around.push(Token::new(vocabulary::alias(stem(word)), Class::Common).hash()));
    }
    let mut tokens = SmallVec::new();
    let mut is_numbered = false;
    for_each_word(venue.address.unwrap_or_default(), |word, _| {
        if tokens.len() < MAX_TOKENS {
            // A venue's name in an address has to be found there as it is in the name.
            let word = vocabulary::alias(stem(word));
            let common = VENUE_WORDS.contains_key(word) || around.contains(&Token::new(word, Class::Common).hash());
            let number = number_of(word);
            let class = match number {
                Some(_) if is_numbered && word.len() >= SHORTEST_POSTAL_CODE => Class::Common,
                Some(_) => Class::Kind,
                None if common || word.len() <= 2 => Class::Common,
                None => Class::Telling,
            };
            is_numbered |= number.is_some();
            tokens.push(Token::new(word, class));
        }
    });
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;

    fn fingerprint(title: &str) -> Fingerprint {
        let listing = Listing::new("s", "1", title, "2026-03-28T19:30:00-07:00".parse().unwrap());
        let live = LiveListing::new(&listing, 0, 0);
        Fingerprint::of(&live, &ResolveConfig::default())
    }

    #[test]
    fn the_tables_hold_stems() {
        for (word, weight) in VENUE_WORDS.iter().chain(CITY_WORDS.iter()) {
            assert!(*weight == Weight::None || stem(word) == *word, "{word}");
        }
    }

    #[test]
    fn spelling_does_not_matter() {
        let plain = fingerprint("Cafe Munster's Jazz Nights");
        assert_eq!(plain.title(), fingerprint("CAFÉ   Münsters: jazz night!").title());
        assert_eq!(plain.title(), fingerprint("Ｃａｆé, Munster’s Jazz Night").title());
        assert_ne!(plain.title(), fingerprint("Cafe Paris Jazz Night").title());
        assert_eq!(fingerprint("Łódź Straße Ølfest").title(), fingerprint("Lodz Strasse Olfest").title());
    }

    #[test]
    fn the_longest_texts_lose_no_words() {
        let words = |form: fn(u32) -> String| (0..60).map(form).collect::<Vec<_>>().join(" ");
        let letters = |n: u32| {
            ["b", "k", "l", "m", "r"].map(|c| c.repeat(n as usize % 7 + 1)).join("o") + &"z".repeat(n as usize / 7)
        };
        let compounds = (0..60).map(|n| letters(n) + "conf").collect::<Vec<_>>().join(" ");
        let mut listing = Listing::new("s", "1", &compounds, "2026-03-28".parse().unwrap());
        listing.venue.name = Some(vocabulary::STOP.join(" ").into());
        listing.venue.address = Some(words(|n| format!("{n}th")).into());
        listing.venue.city = Some((0..60).map(letters).collect::<Vec<_>>().join(" ").into());
        let found = Fingerprint::of(&LiveListing::new(&listing, 0, 0), &ResolveConfig::default());
        assert!(found.title().len() > MAX_TOKENS && found.venue().len() > MAX_TOKENS);
        assert_eq!((found.address().len(), found.city().len()), (MAX_TOKENS, MAX_TOKENS));
        let alone = |change: fn(&mut Listing)| {
            let mut listing = listing.clone();
            change(&mut listing);
            Fingerprint::of(&LiveListing::new(&listing, 0, 0), &ResolveConfig::default())
        };
        assert_eq!(found.city(), alone(|listing| listing.title = "x".into()).city());
    }

    #[test]
    fn years_and_editions_are_not_words() {
        let found = fingerprint("12th PyCon 2026, part 3, 7pm");
        assert_eq!(*found.years, [2026]);
        assert_eq!(found.numbers.iter().map(|number| number.value).collect::<Vec<_>>(), [3, 12]);
        assert_eq!(found.title(), fingerprint("PyCon part").title());
        assert!(fingerprint("99999999999 things").numbers.is_empty());
        assert_eq!(*fingerprint("Jazz III").numbers, [Number { value: 3, ordinal: false }]);
    }

    #[test]
    fn dates_and_times_in_titles_are_compared_as_such() {
        for title in ["Rat Therapy April 30 @ 8:00 pm", "Rat Therapy, 30 April, 8pm", "Rat Therapy 8 pm"] {
            let found = fingerprint(title);
            assert_eq!((&found.title(), found.numbers.len()), (&fingerprint("Rat Therapy").title(), 0), "{title}");
        }
    }

    #[test]
    fn who_presents_says_nothing() {
        let telling = |title: &str| fingerprint(title).title().iter().map(|token| token.differing()).sum::<u32>();
        assert_eq!(telling("Golden State Bank presents: Rat Therapy"), telling("Rat Therapy"));
        assert_eq!(telling("Rat Therapy presents"), telling("Rat Therapy"));
    }

    #[test]
    fn a_title_of_stop_words_keeps_them() {
        assert_eq!(fingerprint("The The").title().len(), 1);
        assert!(fingerprint("").title().is_empty());
        assert!(fingerprint("!!! \u{0301}").title().is_empty());
    }
}
