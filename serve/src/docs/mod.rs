//! The page that explains the API, at `/docs`: a guide, and a reference of every endpoint.
//!
//! The reference is made of the table of endpoints, as the router and the OpenAPI document are. The commands of the guide
//! are run by `serve/tests/docs.rs`. The page looks like the console and has its policy; without its scripts it is
//! complete. Other topologies have pages of their own ([`Page::new`]).

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use xxhash_rust::xxh3::xxh3_64;

use crate::api::described::Described;
use crate::api::openapi;
use crate::api::parameters::{Kind, Parameter};
use crate::console::{self, File};
use crate::site::Site;

/// What stands on a page.
#[derive(Debug)]
pub struct Guide {
    /// The guide, in HTML.
    pub html: &'static str,
    /// Its parts: anchors and headings, as they are in it.
    pub parts: &'static [(&'static str, &'static str)],
    /// The parts of the reference.
    pub groups: &'static [Group],
    /// Where the OpenAPI document is.
    pub openapi: &'static str,
}

/// Endpoints that are told together.
#[derive(Debug)]
pub struct Group {
    /// Its heading.
    pub name: &'static str,
    /// How their paths begin. An endpoint belongs to the first group whose path it has; without one, it is not told.
    pub paths: &'static [&'static str],
}

/// A page that explains an API. It does not change while the program runs.
#[derive(Debug)]
pub struct Page {
    html: String,
    hash: String,
}

impl Page {
    /// The page with this guide, and the reference of these endpoints.
    pub fn new(guide: &Guide, endpoints: &[Described]) -> Self {
        let html = page(guide, endpoints);
        let hash = format!("{:016x}", xxh3_64(html.as_bytes()));
        Self { html, hash }
    }

    /// Its HTML.
    pub fn html(&self) -> &str {
        &self.html
    }
}

/// The guide to events.
const EVENTS: Guide = Guide {
    html: include_str!("guide.html"),
    parts: &[
        ("first", "First requests"),
        ("filters", "Filters"),
        ("pages", "Pages"),
        ("one", "One event, one place"),
        ("live", "Live streams"),
        ("errors", "Errors"),
        ("keys", "Keys"),
        ("webhooks", "Webhooks in"),
        ("doing", "The pipeline"),
    ],
    groups: &[
        Group { name: "Streams", paths: &["/api/events/live", "/api/ws"] },
        Group { name: "Events", paths: &["/api/events", "/api/suggest", "/api/trending"] },
        Group { name: "Places", paths: &["/api/places"] },
        Group { name: "Records in", paths: &["/api/in/"] },
        Group { name: "Pipeline", paths: &["/api/pipeline"] },
        Group { name: "Signing in", paths: &["/api/session", "/api/ticket"] },
        Group { name: "Operators and editors", paths: &["/api/admin"] },
    ],
    openapi: "/openapi.json",
};

static PAGE: LazyLock<Page> = LazyLock::new(|| Page::new(&EVENTS, &openapi::described()));

/// The routes of the page about events.
pub(crate) fn routes() -> Router<Site> {
    routes_of(&PAGE)
}

/// The routes of a page.
pub fn routes_of<S>(page: &'static LazyLock<Page>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let answer = move |headers: HeaderMap| async move { answer(page, &headers) };
    Router::new().route("/docs", get(answer)).route("/docs/", get(answer))
}

fn answer(page: &'static Page, headers: &HeaderMap) -> Response {
    let (content_type, bytes) = ("text/html; charset=utf-8", page.html.as_bytes());
    console::respond(&File { name: "docs", content_type, hash: &page.hash, immutable: false, bytes }, headers)
}

fn page(guide: &Guide, endpoints: &[Described]) -> String {
    let file = |stem: &str| format!("/console/{}", console::named(stem));
    let Guide { html, parts, groups, openapi } = guide;
    let contents: String = parts.iter().map(|(id, name)| link(id, name)).collect();
    let sections: String = groups.iter().map(|group| link(&anchor(group.name), group.name)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>The API · Headwater</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"{icon}\" type=\"image/svg+xml\">\n<script src=\"{theme}\"></script>\n\
         <link rel=\"stylesheet\" href=\"{style}\">\n<script type=\"module\" src=\"{script}\"></script>\n</head>\n\
         <body class=\"docs\">\n<a class=\"skip\" href=\"#content\">Skip to the page</a>\n\
         <header class=\"docs-top\"><a class=\"docs-brand\" href=\"/console/\">Headwater</a>\
         <a href=\"/console/\">Console</a><a href=\"{openapi}\">OpenAPI</a></header>\n\
         <nav class=\"docs-contents\" aria-label=\"Contents\"><div><p>Guide</p><ul>{contents}</ul></div>\
         <div><p>Reference</p><ul>{sections}</ul></div></nav>\n\
         <main id=\"content\" tabindex=\"-1\">\n<h1>The API</h1>\n{html}\n<section aria-labelledby=\"reference\">\n\
         <h2 id=\"reference\">Reference</h2>\n<p>Every endpoint, made of the same table as \
         <a href=\"{openapi}\">{openapi}</a>.</p>\n{reference}</section>\n</main>\n</body>\n</html>\n",
        icon = file("icon"),
        theme = file("theme"),
        style = file("style"),
        script = file("docs"),
        reference = reference(groups, endpoints),
    )
}

fn link(anchor: &str, name: &str) -> String {
    format!("<li><a href=\"#{anchor}\">{name}</a></li>")
}

/// The group of a path. What belongs to none: the descriptions of the API itself.
fn group_of<'g>(groups: &'g [Group], path: &str) -> Option<&'g Group> {
    groups.iter().find(|group| group.paths.iter().any(|begin| path.starts_with(begin)))
}

fn reference(groups: &[Group], endpoints: &[Described]) -> String {
    let mut told: Vec<(Vec<&'static str>, String, String)> = Vec::new();
    let mut html = String::new();
    for group in groups {
        let _ = writeln!(html, "<h3 id=\"{}\">{}</h3>", anchor(group.name), group.name);
        let own = endpoints.iter().filter(|one| group_of(groups, &one.path).is_some_and(|of| of.name == group.name));
        own.for_each(|endpoint| tell(&mut html, endpoint, &mut told));
    }
    html
}

/// Adds an endpoint. Parameters that another one has told already are linked to.
fn tell(html: &mut String, endpoint: &Described, told: &mut Vec<(Vec<&'static str>, String, String)>) {
    let name = format!("{} {}", endpoint.method, endpoint.path);
    let id = anchor(&name);
    let scope = match endpoint.scope {
        Some(scope) => format!("Scope <code>{scope}</code>."),
        None => "No scope.".to_owned(),
    };
    let _ = write!(
        html,
        "<section class=\"endpoint\" aria-labelledby=\"{id}\"><h4 id=\"{id}\"><span class=\"method\">{}</span> \
         <code>{}</code></h4><p>{}. <span class=\"faint\">{scope}</span></p>",
        endpoint.method,
        escape(&endpoint.path),
        marked(&endpoint.summary),
    );
    let parameters = &endpoint.parameters;
    let names: Vec<&'static str> = parameters.iter().map(|parameter| parameter.name).collect();
    if let Some((_, id, name)) = told.iter().find(|(others, ..)| *others == names && !names.is_empty()) {
        let _ = write!(html, "<p>Its parameters are those of <a href=\"#{id}\">{}</a>.</p>", escape(name));
    } else if !names.is_empty() {
        let count = names.len();
        let plural = if count == 1 { "" } else { "s" };
        let _ = write!(html, "<details><summary>{count} parameter{plural}</summary><dl>");
        parameters.iter().for_each(|parameter| tell_parameter(html, parameter));
        html.push_str("</dl></details>");
        told.push((names, id, name));
    }
    html.push_str("</section>\n");
}

fn tell_parameter(html: &mut String, parameter: &Parameter) {
    let Parameter { name, kind, about } = parameter;
    let _ = write!(
        html,
        "<div><dt><code>{name}</code> <span class=\"faint\">{}</span></dt><dd>{}</dd></div>",
        escape(&values(*kind)),
        marked(about)
    );
}

/// What values a parameter takes, in a few words.
fn values(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::OneOf(words) => words.join(" | "),
        Kind::AnyOf => "texts".to_owned(),
        Kind::SomeOf(words) => format!("some of {}", words.join(", ")),
        Kind::Number { least, most } => format!("number, {least} to {most}"),
        Kind::Integer { least, most } => format!("whole number, {least} to {most}"),
        Kind::Bool => "true | false".to_owned(),
        Kind::Time => "day or instant".to_owned(),
        Kind::Position => "position".to_owned(),
        Kind::Bounds => "four numbers".to_owned(),
    }
}

/// A name as it may stand in the address of the page.
fn anchor(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    name.chars().map(plain).collect::<String>().split_whitespace().collect::<Vec<_>>().join("-")
}

/// Text with `code` in it as HTML.
fn marked(text: &str) -> String {
    let parts = text.split('`').map(escape).zip([false, true].into_iter().cycle());
    parts.map(|(part, code)| if code { format!("<code>{part}</code>") } else { part }).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_told_once() {
        let page = PAGE.html();
        for endpoint in openapi::described().iter().filter(|endpoint| endpoint.path != "/openapi.json") {
            let heading = format!("<h4 id=\"{}\">", anchor(&format!("{} {}", endpoint.method, endpoint.path)));
            assert_eq!(page.matches(&heading).count(), 1, "{heading}");
        }
    }

    #[test]
    fn every_link_within_the_page_leads_somewhere() {
        let page = PAGE.html();
        let anchors: Vec<&str> = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(anchors.len() > EVENTS.parts.len() + EVENTS.groups.len());
        for anchor in anchors {
            assert_eq!(page.matches(&format!("id=\"{anchor}\"")).count(), 1, "{anchor}");
        }
        for (id, name) in EVENTS.parts {
            assert!(EVENTS.html.contains(&format!("<h2 id=\"{id}\">{name}</h2>")), "{id}");
        }
    }

    #[test]
    fn text_is_text_and_code_is_code() {
        assert_eq!(marked("`a<b` & \"c\""), "<code>a&lt;b</code> &amp; &quot;c&quot;");
    }
}
