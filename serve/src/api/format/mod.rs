//! The forms in which a list is given.

mod calendar;
mod feed;
mod geojson;
mod json;
mod table;

use axum::http::{HeaderMap, header};

use super::found::Found;
use super::problem::Problem;
use super::request::ListRequest;

pub use calendar::CONTENT_TYPE as CALENDAR;

/// A form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON of the API's own.
    Json,
    /// GeoJSON (RFC 7946).
    GeoJson,
    /// iCalendar (RFC 5545).
    Ics,
    /// RSS 2.0.
    Rss,
    /// CSV (RFC 4180) with a header.
    Csv,
}

impl Format {
    /// All of them; the first is the default.
    pub const ALL: [Self; 5] = [Self::Json, Self::GeoJson, Self::Ics, Self::Rss, Self::Csv];

    /// The suffix of its address.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Json => "",
            Self::GeoJson => ".geojson",
            Self::Ics => ".ics",
            Self::Rss => ".rss",
            Self::Csv => ".csv",
        }
    }

    /// Its media type, without parameters.
    pub fn media_type(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }

    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::GeoJson => "application/geo+json",
            Self::Ics => CALENDAR,
            Self::Rss => "application/rss+xml; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// What a client would like best, by its header `Accept` (RFC 9110, 12.5.1). Ties go to the first of
    /// [`Format::ALL`].
    ///
    /// # Errors
    /// When it accepts none of them.
    pub fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(String, f32)> = values.flat_map(|value| value.split(',')).map(range).collect();
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        let mut best = (Self::Json, 0.0);
        for format in Self::ALL {
            let weight = weight(&ranges, format.media_type());
            if weight > best.1 {
                best = (format, weight);
            }
        }
        if best.1 > 0.0 {
            return Ok(best.0);
        }
        let types: Vec<&str> = Self::ALL.iter().map(|format| format.media_type()).collect();
        let detail = format!("There are {}.", types.join(", "));
        Err(Problem::new(axum::http::StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail))
    }

    /// The list in this form.
    pub fn write(self, found: &Found, request: &ListRequest, next: Option<&str>) -> Vec<u8> {
        match self {
            Self::Json => json::write(found, request, next),
            Self::GeoJson => geojson::write(found),
            Self::Ics => calendar::write(found),
            Self::Rss => feed::write(found),
            Self::Csv => table::write(found),
        }
    }
}

fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|weight| weight.parse().ok());
    (media, weight.unwrap_or(1.0))
}

/// The weight of the most specific range that holds a media type.
fn weight(ranges: &[(String, f32)], media: &str) -> f32 {
    let any = media.split('/').next().map(|main| format!("{main}/*")).unwrap_or_default();
    let of = |name: &str| ranges.iter().find(|(range, _)| range == name).map(|(_, weight)| *weight);
    of(media).or_else(|| of(&any)).or_else(|| of("*/*")).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepted(accept: &'static str) -> Option<Format> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        Format::accepted(&headers).ok()
    }

    #[test]
    fn the_client_chooses() {
        assert_eq!(Format::accepted(&HeaderMap::new()), Ok(Format::Json));
        assert_eq!(accepted("*/*"), Some(Format::Json));
        assert_eq!(accepted("text/calendar"), Some(Format::Ics));
        assert_eq!(accepted("text/csv;q=0.5, application/geo+json"), Some(Format::GeoJson));
        assert_eq!(accepted("text/*"), Some(Format::Ics));
        assert_eq!(accepted("application/json;q=0, */*;q=0.1"), Some(Format::GeoJson));
        assert_eq!(accepted("image/png"), None);
        // What browsers send.
        assert_eq!(accepted("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Some(Format::Json));
    }
}
