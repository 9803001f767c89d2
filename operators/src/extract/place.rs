//! Venue, address and city out of one line of text, where they are evident.
//!
//! Feeds write places as "Venue", "Venue, 123 Main St, Davis, CA 95616, United States",
//! "123 Main St, Davis", "Davis, CA" or a web address. What is not evident stays as it is: a wrong
//! city would do more harm than none.

use smol_str::SmolStr;

use crate::gazetteer::Gazetteer;
use crate::listing::Venue;

/// Splits a line that names a place.
pub(crate) fn split(text: &str) -> Venue {
    let text = text.trim();
    if text.is_empty() || is_web_address(text) {
        return Venue::default();
    }
    let parts = parts(text);
    if parts.is_empty() {
        return Venue::default();
    }
    if let Some(venue) = city_first(text, &parts) {
        return venue;
    }
    let mut venue = address(text);
    // In "Berlin" alone the name may be one of a venue too: it stays one.
    let first_is_city = parts.len() > 1 && venue.city.as_deref() == parts.first().copied();
    let named = parts.first().filter(|first| !has_digit(first) && !is_region(first));
    // In "Davis, CA" the first part is the city.
    venue.name = named.filter(|_| !first_is_city).map(|first| SmolStr::from(*first));
    if parts.len() == 1 {
        if venue.name.is_none() {
            venue.name = Some(text.into());
        }
        venue.address = None;
    }
    venue
}

/// "Davis, CA, Hickey Gym": town and state before the place, as sports calendars have it.
fn city_first(text: &str, parts: &[&str]) -> Option<Venue> {
    let [city, region, name, rest @ ..] = parts else { return None };
    let evident = is_region(region) && !has_digit(city) && !has_digit(name) && !is_usa(name);
    if !evident || !rest.is_empty() {
        return None;
    }
    let owned = |text: &str| Some(SmolStr::from(text));
    Some(Venue {
        name: owned(name),
        address: owned(text),
        city: owned(city),
        region: owned(region),
        ..Venue::default()
    })
}

/// Splits an address that holds no name of a venue.
pub(crate) fn address(text: &str) -> Venue {
    let venue = american_address(text);
    if venue.city.is_some() {
        return venue;
    }
    let Some(parsed) = Gazetteer::embedded().address(text, None) else { return venue };
    let owned = |text: Option<&str>| text.map(SmolStr::from);
    Venue {
        city: Some(parsed.city.into()),
        region: owned(parsed.region),
        postal_code: owned(parsed.postal_code),
        country: owned(parsed.country),
        ..venue
    }
}

/// What an address of the United States says, whether or not its city is known.
fn american_address(text: &str) -> Venue {
    let parts = parts(text);
    let mut venue = Venue { address: Some(text.trim().into()), ..Venue::default() };
    let mut rest = parts.as_slice();
    if let Some((last, before)) = rest.split_last()
        && is_usa(last)
    {
        venue.country = Some(SmolStr::from(*last));
        rest = before;
    }
    if let Some((last, before)) = rest.split_last()
        && is_zip(last)
    {
        venue.postal_code = Some(SmolStr::from(*last));
        rest = before;
    }
    let Some((last, before)) = rest.split_last() else { return venue };
    let Some((region, zip)) = region_and_zip(last) else {
        return Venue { postal_code: None, ..venue };
    };
    venue.region = Some(region.into());
    venue.postal_code = zip.map(SmolStr::from).or(venue.postal_code);
    venue.city = before.last().filter(|city| !has_digit(city)).map(|city| SmolStr::from(*city));
    venue
}

fn parts(text: &str) -> Vec<&str> {
    text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn is_web_address(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && !text.contains(char::is_whitespace)
}

fn has_digit(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
}

fn is_usa(text: &str) -> bool {
    ["USA", "US", "U.S.A.", "United States", "United States of America"].contains(&text)
}

/// Five digits, possibly with four more.
fn is_zip(text: &str) -> bool {
    let (five, four) = text.split_once('-').unwrap_or((text, "0000"));
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    digits(five, 5) && digits(four, 4)
}

/// `CA` or `CA 95616`.
fn region_and_zip(text: &str) -> Option<(&str, Option<&str>)> {
    let (region, zip) = match text.split_once(char::is_whitespace) {
        Some((region, zip)) => (region, Some(zip.trim())),
        None => (text, None),
    };
    (is_region(region) && zip.is_none_or(is_zip)).then_some((region, zip))
}

/// A state of the United States: the two letters of the postal service, or the abbreviation of
/// newspapers.
fn is_region(text: &str) -> bool {
    const CODES: &str = "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ \
                         NM NY NC ND OH OK OR PA PR RI SC SD TN TX UT VT VA VI WA WV WI WY \
                         Ala. Ariz. Ark. Calif. Colo. Conn. Del. D.C. Fla. Ga. Ill. Ind. Kan. Ky. La. Md. Mass. \
                         Mich. Minn. Miss. Mo. Mont. Neb. Nev. N.H. N.J. N.M. N.Y. N.C. N.D. Okla. Ore. Pa. R.I. \
                         S.C. S.D. Tenn. Vt. Va. Wash. W.Va. Wis. Wyo.";
    CODES.split_ascii_whitespace().any(|code| code == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_as_feeds_write_them() {
        // Text; name, address, city, region, postal code, country.
        type Expected = [Option<&'static str>; 6];
        let cases: &[(&str, Expected)] = &[
            ("Old Mill", [Some("Old Mill"), None, None, None, None, None]),
            (
                "Old Mill, 1 Mill Rd, Davis, CA 95616, United States",
                [
                    Some("Old Mill"),
                    Some("Old Mill, 1 Mill Rd, Davis, CA 95616, United States"),
                    Some("Davis"),
                    Some("CA"),
                    Some("95616"),
                    Some("United States"),
                ],
            ),
            (
                "Old Mill, 1 Mill Rd, Davis, CA, 95616-1234",
                [
                    Some("Old Mill"),
                    Some("Old Mill, 1 Mill Rd, Davis, CA, 95616-1234"),
                    Some("Davis"),
                    Some("CA"),
                    Some("95616-1234"),
                    None,
                ],
            ),
            ("1 Mill Rd, Davis, CA", [None, Some("1 Mill Rd, Davis, CA"), Some("Davis"), Some("CA"), None, None]),
            ("Davis, Calif.", [None, Some("Davis, Calif."), Some("Davis"), Some("Calif."), None, None]),
            (
                "Davis, CA, Hickey Gym",
                [Some("Hickey Gym"), Some("Davis, CA, Hickey Gym"), Some("Davis"), Some("CA"), None, None],
            ),
            ("Davis, CA", [None, Some("Davis, CA"), Some("Davis"), Some("CA"), None, None]),
            (
                "Fletcher Hall, Sanctuary",
                [Some("Fletcher Hall"), Some("Fletcher Hall, Sanctuary"), None, None, None, None],
            ),
            ("Room 101", [Some("Room 101"), None, None, None, None, None]),
            (
                "Hall, 12 High St, Leeds LS1 4AP",
                [Some("Hall"), Some("Hall, 12 High St, Leeds LS1 4AP"), Some("Leeds"), None, Some("LS1 4AP"), None],
            ),
            (
                "Barn\nKade 4\n2611 AB Delft\nNederland",
                [
                    Some("Barn"),
                    Some("Barn\nKade 4\n2611 AB Delft\nNederland"),
                    Some("Delft"),
                    None,
                    Some("2611 AB"),
                    Some("Nederland"),
                ],
            ),
            (
                "Barn, 9 Mill Lane, Halifax, NS B3H 4R2, Canada",
                [
                    Some("Barn"),
                    Some("Barn, 9 Mill Lane, Halifax, NS B3H 4R2, Canada"),
                    Some("Halifax"),
                    Some("NS"),
                    Some("B3H 4R2"),
                    Some("Canada"),
                ],
            ),
            (
                "Barn, 9 Mill Lane, Petaluma CA 94952",
                [
                    Some("Barn"),
                    Some("Barn, 9 Mill Lane, Petaluma CA 94952"),
                    Some("Petaluma"),
                    Some("CA"),
                    Some("94952"),
                    None,
                ],
            ),
            ("Arts &amp; Crafts Barn | Loft", [Some("Arts &amp; Crafts Barn | Loft"), None, None, None, None, None]),
            (
                "4140 Mill Rd Petaluma, CA",
                [None, Some("4140 Mill Rd Petaluma, CA"), Some("Petaluma"), Some("CA"), None, None],
            ),
            (
                "Barn - 12 Mill Rd Lancaster PA 17601",
                [
                    Some("Barn - 12 Mill Rd Lancaster PA 17601"),
                    None,
                    Some("Lancaster"),
                    Some("PA"),
                    Some("17601"),
                    None,
                ],
            ),
            ("Barn, Hope", [Some("Barn"), Some("Barn, Hope"), None, None, None, None]),
            ("https://meet.example/1", [None; 6]),
            (" , ", [None; 6]),
        ];
        for (text, expected) in cases {
            let venue = split(text);
            let found = [venue.name, venue.address, venue.city, venue.region, venue.postal_code, venue.country];
            assert_eq!(found.each_ref().map(Option::as_deref), *expected, "{text}");
        }
    }
}
