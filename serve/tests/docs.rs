//! The page that explains the API: every command on it is run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::config::{Input, Runtime};
use headwater::log::Log;
use headwater::log::memory::MemoryLog;
use headwater_serve::admin::{Admin, Means};
use headwater_serve::api::Origins;
use headwater_serve::site::Site;
use serde_json::json;

use support::http::{Answer, Running, open, send_bytes};

const ORIGIN: &str = "http://127.0.0.1:8081";

/// A server with some events, to which records may be sent.
fn running() -> Running {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let config = Runtime { inputs: vec![Input::of("raw.events")], ..Runtime::default() };
    log.ensure_topics(&[config.topic_spec("raw.events")]).unwrap();
    let means = Means { log, config, examine: None, preview: None };
    let mut running =
        Running::start_as(&Origins::None, |hub| Site { admin: Some(Arc::new(Admin::new(means))), ..Site::of(hub) });
    let event = |id: &str| {
        json!({"format": 1, "id": id, "title": "Jazz", "startTime": "2026-12-01T20:00:00Z", "category": "music",
            "venue": {"name": "Town Hall", "city": "Napa"}, "listings": [{"source": "town"}], "status": "scheduled"})
    };
    running.commit(&[("e1", Some(event("e1"))), ("e2", Some(event("e2")))]);
    running
}

/// A command of the page, and the status that it is to have.
struct Command {
    words: Vec<String>,
    status: u16,
}

fn commands(page: &str) -> Vec<Command> {
    let blocks = page.split("<pre class=\"code\"").skip(1).map(|rest| rest.split_once("</pre>").unwrap().0);
    let of_block = |block: &str| {
        let (head, code) = block.split_once("<code>").unwrap();
        let status = head.split("data-status=\"").nth(1).and_then(|rest| rest.split('"').next());
        let status = status.map_or(200, |status| status.parse().unwrap());
        let code = code.trim_end_matches("</code>");
        let lines = code.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned);
        lines.map(|line| Command { words: words(&unescaped(&line)), status }).collect::<Vec<_>>()
    };
    blocks.flat_map(of_block).collect()
}

fn unescaped(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// The words of a command, as a shell sees them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    assert_eq!(quote, None, "{line}");
    words
}

/// Does what curl would do.
fn run(running: &Running, words: &[String]) -> Answer {
    let (mut method, mut body, mut headers, mut path) = (None, None, Vec::new(), String::new());
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-N" => {}
            "-X" => method = rest.next().cloned(),
            "-d" => body = rest.next().cloned(),
            "-H" => headers.push(rest.next().unwrap().split_once(": ").unwrap()),
            url => path = url.strip_prefix(ORIGIN).unwrap_or_else(|| panic!("{url}")).to_owned(),
        }
    }
    let address = running.server.address();
    let method = method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
    if path.contains("/live") {
        let (_, status, headers) = open(address, &method, &path, &headers);
        return Answer { status, headers, body: Vec::new() };
    }
    send_bytes(address, &method, &path, body.unwrap_or_default().as_bytes(), &headers)
}

#[test]
fn every_command_of_the_page_runs() {
    let running = running();
    let first = running.get("/api/events?limit=1").json();
    let variables = BTreeMap::from([
        ("$CURSOR", first["nextCursor"].as_str().unwrap().to_owned()),
        ("$EVENT", "e1".to_owned()),
        ("$PLACE", running.get("/api/places").json()["places"][0]["key"].as_str().unwrap().to_owned()),
        ("$KEY", "hw_none".to_owned()),
    ]);
    let commands = commands(&running.get("/docs").text());
    assert!(commands.len() >= 20, "{}", commands.len());
    for Command { mut words, status } in commands {
        for word in &mut words {
            variables.iter().for_each(|(name, value)| *word = word.replace(name, value));
        }
        let answer = run(&running, &words);
        let right = if status == 200 { matches!(answer.status, 200 | 202) } else { answer.status == status };
        assert!(right, "{words:?}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn the_page_is_served_as_the_console_is() {
    let running = Running::start();
    let page = running.get("/docs");
    assert_eq!((page.status, &*page.headers["content-type"]), (200, "text/html; charset=utf-8"));
    let console = running.get("/console/");
    for header in ["content-security-policy", "x-content-type-options", "cache-control", "referrer-policy"] {
        assert_eq!(page.headers[header], console.headers[header], "{header}");
    }
    let again = running.get_with("/docs", &[("If-None-Match", &page.headers["etag"])]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let text = page.text();
    assert!(!text.contains("<style") && !text.contains("style=") && !text.contains("onclick"), "nothing is inline");
    assert_eq!(text.matches("<script").count(), text.matches(" src=\"/console/").count());
    for asked in text.split("=\"/console/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert_eq!(running.get(&format!("/console/{asked}")).status, 200, "{asked}");
    }
}
