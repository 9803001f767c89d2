//! The console's files, over real sockets. What they do in a browser is in `scripts/browser.sh`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use axum::http::HeaderValue;
use headwater_serve::api::Origins;

use support::http::{Answer, Running};

/// The addresses below `/console/` that a page asks for.
fn asked_for(page: &Answer) -> Vec<String> {
    let text = page.text();
    let rests = text.split("\"/console/").skip(1);
    rests.map(|rest| format!("/console/{}", rest.split('"').next().unwrap())).collect()
}

#[test]
fn every_address_of_the_console_is_its_page() {
    let running = Running::start();
    for path in ["/", "/console"] {
        let answer = running.get(path);
        assert_eq!((answer.status, &*answer.headers["location"]), (307, "/console/"), "{path}");
    }
    let page = running.get("/console/");
    assert_eq!((page.status, &*page.headers["content-type"]), (200, "text/html; charset=utf-8"));
    assert_eq!(running.get("/console/events?city=Napa").body, page.body);
    assert_eq!(running.get("/console/map/").body, page.body);
    assert_eq!(running.get("/console/nothing.js").status, 404);
    assert_eq!(running.get("/console/about.json").json()["topology"], "");
}

#[test]
fn nothing_is_inline_and_nothing_is_asked_of_others() {
    let running = Running::start();
    let page = running.get("/console/");
    let policy = &page.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    let text = page.text();
    assert!(!text.contains("<style") && !text.contains("style=") && !text.contains("://"), "{text}");
    assert_eq!(text.matches("<script").count(), text.matches("<script src=").count() + 1, "one is a module: {text}");
}

#[test]
fn what_never_changes_is_kept_and_the_rest_is_asked_for_again() {
    let running = Running::start();
    let page = running.get("/console/");
    assert_eq!(page.headers["cache-control"], "no-cache");
    let again = running.get_with("/console/", &[("If-None-Match", &page.headers["etag"])]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let files = asked_for(&page);
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let file = running.get(&path);
        assert_eq!((file.status, &*file.headers["x-content-type-options"]), (200, "nosniff"), "{path}");
        assert!(file.headers["cache-control"].contains("immutable"), "{path}");
        let packed = running.get_with(&path, &[("Accept-Encoding", "gzip")]);
        assert!(file.body.len() < 1_000 || packed.body.len() < file.body.len() / 2, "{path}");
    }
}

#[test]
fn pages_of_allowed_origins_may_load_the_component() {
    let origin = "https://example.org";
    let running = Running::start_for(&Origins::Only(vec![HeaderValue::from_static("https://example.org")]));
    let component = running.get_with("/headwater-events.js", &[("Origin", origin)]);
    assert_eq!((component.status, &*component.headers["content-type"]), (200, "text/javascript"));
    assert_eq!(component.headers["access-control-allow-origin"], origin);
    assert_eq!(component.headers["cache-control"], "no-cache");
    let other = running.get_with("/headwater-events.js", &[("Origin", "https://example.net")]);
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}
