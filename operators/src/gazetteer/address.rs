//! Addresses in one text, as people write them in many countries.

use super::countries::{country_code, regions_named, regions_of_zip};
use super::{Gazetteer, Hints, Town};

/// People of a city that is meant where nothing but its name is said, at the end of an address.
const WELL_KNOWN: u32 = 400_000;

/// Likewise where the text is nothing but that name, which may be the name of a venue too.
const VERY_WELL_KNOWN: u32 = 1_000_000;

/// Likewise where the country is known, though not from the address.
const KNOWN_HERE: u32 = 5_000;
const WELL_KNOWN_HERE: u32 = 50_000;

/// Parts of an address, from its end, that may name country, region and city.
const MAX_PARTS: usize = 5;

/// What an address says of its city.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'t> {
    /// The city.
    pub town: Town,
    /// What the address calls it.
    pub city: &'t str,
    /// The state, province or region, as written.
    pub region: Option<&'t str>,
    /// The postal code.
    pub postal_code: Option<&'t str>,
    /// The country, as written.
    pub country: Option<&'t str>,
}

/// The parts of an address: what is between commas, lines and the like.
pub(crate) fn parts(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    // A part may stand in brackets or behind a dash.
    let around = |c: char| c.is_whitespace() || matches!(c, '-' | '–' | '—' | '(' | ')' | '[' | ']' | '*');
    text.split([',', '\n', ';', '|', '•', '·', '('])
        .map(move |part| part.trim_matches(around))
        .filter(|part| !part.is_empty())
}

/// What was found on the way from the end of an address to its city.
#[derive(Default)]
struct Found<'t> {
    hints: Hints,
    region: Option<&'t str>,
    postal_code: Option<&'t str>,
    country: Option<&'t str>,
}

impl<'t> Found<'t> {
    fn parsed(&self, town: Town, city: &'t str) -> Parsed<'t> {
        Parsed { town, city, region: self.region, postal_code: self.postal_code, country: self.country }
    }

    fn is_hinted(&self) -> bool {
        self.hints.country.is_some() || !self.hints.regions.is_empty()
    }
}

/// Finds the city of an address, from its end: country, region and postal code tell which one is meant.
/// `country` is the code of the country where nothing else is said.
pub(super) fn parse<'t>(gazetteer: &Gazetteer, text: &'t str, country: Option<&'static str>) -> Option<Parsed<'t>> {
    let all: Vec<&str> = parts(text).collect();
    let mut found = Found::default();
    let mut skipped = false;
    for (at, part) in all.iter().enumerate().rev().take(MAX_PARTS) {
        let Part { rest, code, country: of_code } = Part::of(part);
        let near_code = code.is_some();
        if rest.is_empty() {
            found.postal_code = found.postal_code.or(code);
            found.hints.country = found.hints.country.or(of_code);
            continue;
        }
        let regions = regions_named(rest);
        let named = country_code(rest);
        if !found.is_hinted() && regions.is_empty() && at > 0 && named.is_some() {
            (found.hints.country, found.country) = (named, Some(rest));
            found.postal_code = found.postal_code.or(code);
            continue;
        }
        if found.hints.regions.is_empty() && !regions.is_empty() && at > 0 {
            (found.hints.regions, found.region) = (regions, Some(rest));
            found.postal_code = found.postal_code.or(code);
            found.hints.country = found.hints.country.or(of_code);
            continue;
        }
        found.hints.country = found.hints.country.or(of_code);
        if found.hints.country == Some("US") && found.hints.regions.is_empty() {
            let code = found.postal_code.or(code);
            found.hints.regions = code.map(regions_of_zip).unwrap_or_default();
        }
        if let Some((town, city)) = city(gazetteer, rest, &mut found) {
            // In "4140 Mill Rd Petaluma, CA" it is a number of the street.
            let of_city = code.filter(|code| city == rest || part.ends_with(*code));
            found.postal_code = found.postal_code.or(of_city);
            return Some(found.parsed(town, city));
        }
        if !found.is_hinted() {
            let least = match (near_code, all.len()) {
                (true, _) => 1,
                (false, 1) => VERY_WELL_KNOWN,
                (false, _) => WELL_KNOWN,
            };
            let plain = gazetteer.decided(rest, &found.hints, false).filter(|town| town.people >= least);
            let here = || {
                let hints = Hints { country: Some(country?), ..Hints::default() };
                let least = if all.len() == 1 { WELL_KNOWN_HERE } else { KNOWN_HERE };
                gazetteer.decided(rest, &hints, false).filter(|town| near_code || town.people >= least)
            };
            found.postal_code = found.postal_code.or(code);
            return here().or(plain).map(|town| found.parsed(town, rest));
        }
        // A county or a region that is not known may stand before the city.
        if std::mem::replace(&mut skipped, true) {
            return None;
        }
    }
    None
}

/// The city that a part names, where country or region are known; or with its region behind it.
fn city<'t>(gazetteer: &Gazetteer, part: &'t str, found: &mut Found<'t>) -> Option<(Town, &'t str)> {
    if found.is_hinted()
        && let Some(town) = gazetteer.decided(part, &found.hints, true)
    {
        return Some((town, part));
    }
    if found.hints.regions.is_empty()
        && let Some((before, last)) = part.rsplit_once(char::is_whitespace)
        && last.chars().all(|c| c.is_ascii_uppercase() || c == '.')
    {
        let regions = regions_named(last);
        if !regions.is_empty() {
            let hints = Hints { regions, country: found.hints.country };
            if let Some((town, city)) = ending(gazetteer, before.trim_end(), &hints) {
                (found.hints, found.region) = (hints, Some(last));
                return Some((town, city));
            }
        }
    }
    // "12 Elm St Petaluma" before a state.
    if !found.hints.regions.is_empty() {
        return ending(gazetteer, part, &found.hints);
    }
    None
}

/// The city that the last words of a text name; the more words the better.
fn ending<'t>(gazetteer: &Gazetteer, text: &'t str, hints: &Hints) -> Option<(Town, &'t str)> {
    let starts = text.match_indices(' ').map(|(at, _)| at + 1);
    let mut ends: Vec<&str> = std::iter::once(0).chain(starts).filter_map(|at| text.get(at..)).collect();
    if ends.len() > 4 {
        ends.drain(..ends.len() - 4);
    }
    ends.into_iter()
        .map(|end| end.trim_start_matches(|c: char| !c.is_alphanumeric()))
        .find_map(|end| Some((gazetteer.decided(end, hints, true)?, end)))
}

/// A part of an address, and the postal code in it.
#[derive(Debug, PartialEq)]
pub(super) struct Part<'t> {
    pub(super) rest: &'t str,
    code: Option<&'t str>,
    /// The country whose codes look like that, where only one's do.
    country: Option<&'static str>,
}

impl<'t> Part<'t> {
    pub(super) fn of(part: &'t str) -> Self {
        let part = part.trim();
        Self::with_last(part).or_else(|| Self::with_first(part)).or_else(|| Self::with_middle(part)).unwrap_or(Part {
            rest: part,
            code: None,
            country: None,
        })
    }

    /// `CA 95616`, `London WC2N 6HH`, `ON M5V 1E3`.
    fn with_last(part: &'t str) -> Option<Self> {
        let two = part.rmatch_indices(' ').nth(1).map_or(0, |(at, _)| at + 1);
        let one = part.rfind(' ').map_or(0, |at| at + 1);
        let (last_two, last) = (part.get(two..)?, part.get(one..)?);
        let cut = |at: usize, country| {
            let rest = part.get(..at)?.trim_end();
            Some(Part { rest, code: part.get(at..), country })
        };
        match () {
            () if is_british(last_two) => cut(two, Some("GB")),
            () if is_canadian(last_two) => cut(two, Some("CA")),
            () if is_canadian(last) => cut(one, Some("CA")),
            () if one > 0 && is_british_area(last) => cut(one, Some("GB")),
            () if is_number(last) => cut(one, None),
            () => None,
        }
    }

    /// `75018 Paris`, `D-10115 Berlin`, `1012 AB Amsterdam`, `111 22 Stockholm`.
    fn with_first(part: &'t str) -> Option<Self> {
        let mut words = part.match_indices(' ').map(|(at, _)| at);
        let one = words.next()?;
        let two = words.next();
        let first = part.get(..one)?;
        let cut = |at: usize, country| Some(Part { rest: part.get(at..)?.trim_start(), code: part.get(..at), country });
        if let Some(two) = two {
            let second = part.get(one + 1..two)?;
            let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits(first, 4) && second.len() == 2 && second.bytes().all(|byte| byte.is_ascii_uppercase()) {
                return cut(two, Some("NL"));
            }
            if digits(first, 3) && digits(second, 2) {
                return cut(two, None);
            }
        }
        let bare = first.trim_start_matches('〒');
        let bare =
            bare.split_once('-').filter(|(land, _)| land.len() <= 2 && land.bytes().all(|b| b.is_ascii_uppercase()));
        let bare = bare.map_or(first.trim_start_matches('〒'), |(_, digits)| digits);
        is_number(bare).then(|| cut(one, None)).flatten()
    }

    /// `Hauptstr. 5 24103 Kiel`.
    fn with_middle(part: &'t str) -> Option<Self> {
        let words = part.match_indices(' ').map(|(at, _)| at + 1);
        words.into_iter().find_map(|at| {
            let (code, rest) = part.get(at..)?.split_once(' ')?;
            let five = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_digit());
            let named = rest.chars().next().is_some_and(char::is_uppercase);
            (five && named).then_some(Part { rest, code: Some(code), country: None })
        })
    }
}

/// Four digits or more, possibly in two parts.
fn is_number(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    (4..=9).contains(&digits)
        && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        && !word.starts_with('-')
}

/// Letters as `A` and digits as `9`.
fn shape(text: &str) -> Option<String> {
    let letter = |c: char| match c {
        'A'..='Z' => Some('A'),
        '0'..='9' => Some('9'),
        ' ' => Some(' '),
        _ => None,
    };
    if text.len() > 8 { None } else { text.chars().map(letter).collect() }
}

fn is_british(text: &str) -> bool {
    shape(text)
        .is_some_and(|shape| ["A9 9AA", "A99 9AA", "AA9 9AA", "AA99 9AA", "A9A 9AA", "AA9A 9AA"].contains(&&*shape))
}

/// The first half of a British postal code.
fn is_british_area(text: &str) -> bool {
    shape(text).is_some_and(|shape| ["A9", "A99", "AA9", "AA99", "A9A", "AA9A"].contains(&&*shape))
}

fn is_canadian(text: &str) -> bool {
    shape(text).is_some_and(|shape| ["A9A 9A9", "A9A9A9"].contains(&&*shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postal_codes_of_many_countries() {
        for (part, rest, code, country) in [
            ("CA 95616", "CA", Some("95616"), None),
            ("CA 95616-1234", "CA", Some("95616-1234"), None),
            ("London WC2N 6HH", "London", Some("WC2N 6HH"), Some("GB")),
            ("M1 1AA", "", Some("M1 1AA"), Some("GB")),
            ("London E8", "London", Some("E8"), Some("GB")),
            ("ON M6J 0B1", "ON", Some("M6J 0B1"), Some("CA")),
            ("QC H2X1Y4", "QC", Some("H2X1Y4"), Some("CA")),
            ("75018 Paris", "Paris", Some("75018"), None),
            ("D-10115 Berlin", "Berlin", Some("D-10115"), None),
            ("1012 AB Amsterdam", "Amsterdam", Some("1012 AB"), Some("NL")),
            ("111 22 Stockholm", "Stockholm", Some("111 22"), None),
            ("00-950 Warszawa", "Warszawa", Some("00-950"), None),
            ("Sydney 2000", "Sydney", Some("2000"), None),
            ("Weg 5 24103 Kiel", "Kiel", Some("24103"), None),
            ("12 High St", "12 High St", None, None),
            ("Studio 5", "Studio 5", None, None),
            ("", "", None, None),
        ] {
            assert_eq!(Part::of(part), Part { rest, code, country }, "{part}");
        }
    }
}
