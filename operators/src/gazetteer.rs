//! gazetteer.

/// The ISO code.
pub fn country_code(text: &str) -> Option<&'static str> {
    isocountry::CountryCode::for_alpha2_caseless(text).ok().map(|code| code.alpha2())
}
