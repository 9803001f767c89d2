//! The console: pages in the browser over the API, and a web component for the pages of others.
//!
//! Its sources are in `serve/console`; the bundle in `serve/console/dist` is committed, and is embedded here. It asks
//! nobody but this server, which its Content-Security-Policy makes sure of.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use crate::api::answer::is_known;
use crate::api::problem::Problem;

/// A file of the bundle.
pub(crate) struct File {
    pub name: &'static str,
    pub content_type: &'static str,
    /// Of its bytes.
    pub hash: &'static str,
    /// Whether its name has the hash in it, so that it never changes.
    pub immutable: bool,
    pub bytes: &'static [u8],
}

const FILES: &[File] = include!("../console/dist/files.rs");

/// The page that every address of the console begins with.
const PAGE: &str = "index.html";

/// The web component.
const COMPONENT: &str = "headwater-events.js";

/// Scripts, styles, images and data of this server alone, nothing inline, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the console, to which `/` leads, and of what a page has to know of its server at first: `/api` names the
/// topology.
pub fn routes<S>(topology: &str) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let topology: Arc<str> = topology.into();
    let named = Arc::clone(&topology);
    Router::new()
        .route("/api", get(move || async move { told(&serde_json::json!({ "topology": *named })) }))
        .route("/", get(|| async { Redirect::temporary("/console/") }))
        .route("/console", get(|| async { Redirect::temporary("/console/") }))
        .route("/console/", get(|headers: HeaderMap| async move { file(PAGE, &headers) }))
        .route("/console/about.json", get(move || async move { about(&topology) }))
        .route("/console/{*path}", get(page_or_file))
        .route(&format!("/{COMPONENT}"), get(|headers: HeaderMap| async move { file(COMPONENT, &headers) }))
}

/// What a page cannot know otherwise.
fn about(topology: &str) -> Response {
    told(&serde_json::json!({ "topology": topology, "version": env!("CARGO_PKG_VERSION") }))
}

fn told(value: &serde_json::Value) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-cache"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, axum::Json(value)).into_response()
}

/// A file, or the page whose script reads the rest of the address.
async fn page_or_file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file(if path.contains('.') { &path } else { PAGE }, &headers)
}

/// The name of the file that begins with `stem`, before its hash.
pub(crate) fn named(stem: &str) -> &'static str {
    let is = |file: &&File| file.name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('-'));
    FILES.iter().find(is).map_or("", |file| file.name)
}

fn file(name: &str, request: &HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => respond(file, request),
        None => Problem::not_found(format!("The console has no file {name:?}.")).into_response(),
    }
}

/// The answer with a file; 304 without it where the client has it already.
pub(crate) fn respond(file: &File, request: &HeaderMap) -> Response {
    // Weak: compression changes the bytes.
    let tag = format!("W/\"{}\"", file.hash);
    let cache = if file.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response =
        if is_known(request, &tag) { StatusCode::NOT_MODIFIED.into_response() } else { file.bytes.into_response() };
    let headers = response.headers_mut();
    let all: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, file.content_type),
        (header::CACHE_CONTROL, cache),
        (header::ETAG, &tag),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in all {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_is_whole() {
        let named = |name: &str| FILES.iter().any(|file| file.name == name);
        assert!(named(PAGE) && named(COMPONENT));
        let page = FILES.iter().find(|file| file.name == PAGE).map(|file| String::from_utf8_lossy(file.bytes));
        let page = page.unwrap_or_default();
        let asked: Vec<&str> = page.split("\"/console/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(asked.len(), 4, "{page}");
        for name in asked {
            assert!(named(name), "{name}");
        }
        for file in FILES {
            assert_eq!(file.immutable, file.name.contains(file.hash), "{}", file.name);
        }
    }
}
