//! Answers: a body with the position that it shows and a tag by which it is told from others.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater::dataflow::CommitId;
use xxhash_rust::xxh3::xxh3_64;

/// The header that names the commit that an answer shows.
pub const POSITION: HeaderName = HeaderName::from_static("headwater-position");

/// An answer to a question that may be asked again.
pub struct Answer {
    /// What it shows.
    pub position: CommitId,
    /// Its content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Where the next page is.
    pub link: Option<String>,
}

impl Answer {
    /// The response; 304 without a body where the client has it already.
    pub fn respond(self, request: &HeaderMap) -> Response {
        // Weak: compression changes the bytes.
        let tag = format!("W/\"{:016x}\"", xxh3_64(&self.body));
        let known = is_known(request, &tag);
        let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { self.body.into_response() };
        let headers = response.headers_mut();
        if !known {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        let mut text = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        text(header::ETAG, &tag);
        text(POSITION, &self.position.to_string());
        text(header::VARY, "accept");
        text(header::CACHE_CONTROL, "no-cache");
        if let Some(link) = self.link {
            text(header::LINK, &format!("<{link}>; rel=\"next\""));
        }
        response
    }
}

/// Whether `If-None-Match` names the tag, compared weakly (RFC 9110, 13.1.2).
pub fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}
