//! Discovery under test.

pub mod feed;
pub mod kinds;
mod stream;

use std::collections::{BTreeMap, BTreeSet};

use discovery::Discovery;
use discovery::generate::{Shape, source_config_toml};
use headwater::log::LogRecord;
use serde_json::Value;

use crate::support::header;
use crate::support::subject::{Kind, Name, Poisoned, Subject, Told, compare, without};

/// What the suites run over.
pub type Tested = Discovery;

/// A topology of discovery with its log.
pub type Harness = crate::support::Harness<Discovery>;

impl Subject for Discovery {
    const BINARY: &'static str = env!("CARGO_BIN_EXE_discovery");
    const RAW: &'static str = "raw.events";
    const SHOWN: (&'static str, &'static str) = ("listings", "listings");
    const STATE: &'static str = "listings";
    const ROWS: &'static [&'static str] = &["events", "place-requests"];

    fn sections() -> String {
        let own = "[retention]\npast_events = 'forever'\n[window]\nsize_ms = 600_000\nallowed_lateness_ms = 60_000\n";
        format!("{own}{}", source_config_toml(6, &Shape::ALL))
    }

    fn stream(raw: usize) -> Vec<crate::support::Input> {
        stream::stream(raw)
    }

    type Results = Results;

    fn results(harness: &Harness) -> Results {
        let results = Results {
            events: harness.table("events"),
            listings: harness.table("listings"),
            links: harness.table("links"),
            redirects: harness.table("redirects"),
            metrics: harness.table("metrics"),
            place_requests: harness.table("place-requests"),
            dead_letters: harness.records("dead-letters"),
        };
        results.check();
        results
    }

    fn differences(expected: &Results, found: &Results) -> Vec<String> {
        let mut all = Vec::new();
        compare(&mut all, "listing", &expected.normal_listings(), &found.normal_listings());
        compare(&mut all, "group", &groups(expected), &groups(found));
        compare(&mut all, "event", &events(expected), &events(found));
        compare(&mut all, "link", &links(expected), &links(found));
        compare(&mut all, "count", &counts(expected), &counts(found));
        compare(&mut all, "place request", &expected.place_requests, &found.place_requests);
        all
    }

    fn differences_when_late(expected: &Results, found: &Results) -> Vec<String> {
        let seen = |results: &Results| {
            let sum: u64 = results.metrics.values().map(|row| row["seen"].as_u64().unwrap()).sum();
            BTreeMap::from([("all windows", sum)])
        };
        let mut all = Vec::new();
        compare(&mut all, "event", &events(expected), &events(found));
        compare(&mut all, "seen", &seen(expected), &seen(found));
        all
    }

    fn row_differences(before: &Results, after: &Results) -> Vec<String> {
        let mut all = Vec::new();
        // Repeats without a key are counted as newer in a rebuild, which changes no listing.
        compare(&mut all, "listing", &before.normal_listings(), &after.normal_listings());
        compare(&mut all, "event", &before.events, &after.events);
        compare(&mut all, "link", &before.links, &after.links);
        compare(&mut all, "redirect", &before.redirects, &after.redirects);
        compare(&mut all, "place request", &before.place_requests, &after.place_requests);
        compare(&mut all, "window", &before.metrics, &after.metrics);
        all
    }

    fn told(results: &Results) -> Told {
        let closed = results.metrics.values().filter(|row| row["closed"] == true).count();
        vec![("listings", results.listings.len()), ("closed windows", closed)]
    }

    // Claims without a key that were repeated; see `Register::repeat`.
    const CHANGED_BY_REBUILDS: usize = 29;

    const CHANGED: &'static [&'static str] = &["--set", "score.pass=0.95", "--set", "resolve.weights.title=0.45"];

    fn differing(_prefix: &str) -> Vec<String> {
        Self::CHANGED.iter().map(|flag| (*flag).to_owned()).collect()
    }
}

impl Poisoned for Discovery {
    const KINDS: &'static [Kind] = kinds::KINDS;
    const CONFIG: &'static str = "e2e/subjects/discovery/poison.toml";

    fn live(results: &Results) -> BTreeMap<Name, String> {
        let in_events: BTreeSet<Name> = results.groups().into_values().flatten().collect();
        let listing = |state: &Value| (name(&state["listing"]), text(&state["listing"]["title"]));
        results.listings.values().map(listing).filter(|(name, _)| in_events.contains(name)).collect()
    }

    fn source(kind: &Kind, number: usize) -> String {
        kinds::source(kind.name, number)
    }

    fn is_excerpt(kept: &[u8], whole: &[u8], part: bool) -> bool {
        let is_part = || !kept.is_empty() && whole.windows(kept.len()).any(|part| part == kept);
        // The dead letter of a calendar shows the component that it is about.
        (part || whole.starts_with(b"BEGIN:VCALENDAR")) && is_part()
    }
}

/// The output topics, read to their ends.
pub struct Results {
    pub events: BTreeMap<String, Value>,
    pub listings: BTreeMap<String, Value>,
    pub links: BTreeMap<String, Value>,
    pub redirects: BTreeMap<String, Value>,
    pub metrics: BTreeMap<String, Value>,
    pub place_requests: BTreeMap<String, Value>,
    pub dead_letters: Vec<LogRecord>,
}

/// The listing that a JSON object with `source` and `externalId` names.
pub fn name(value: &Value) -> Name {
    (text(&value["source"]), text(&value["externalId"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Results {
    /// The records of `events` that are events, not redirects.
    pub fn live_events(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.events.iter().filter(|(_, event)| event.get("redirectTo").is_none())
    }

    /// The listings of each event.
    pub fn groups(&self) -> BTreeMap<String, BTreeSet<Name>> {
        let members = |event: &Value| event["listings"].as_array().unwrap().iter().map(name).collect();
        self.live_events().map(|(id, event)| (id.clone(), members(event))).collect()
    }

    /// The live listings without what the engine keeps beside them.
    pub fn normal_listings(&self) -> BTreeMap<&String, [&Value; 3]> {
        let facts = |state| ["firstSeen", "updatedAt", "listing"].map(|field| Value::get(state, field).unwrap());
        self.listings.iter().map(|(id, state)| (id, facts(state))).collect()
    }

    /// The events without their ids, which are history, in the order of their listings.
    pub fn normal_events(&self) -> Vec<Value> {
        let mut events: Vec<Value> = self.live_events().map(|(_, event)| event.clone()).collect();
        for event in &mut events {
            let fields = event.as_object_mut().unwrap();
            fields.remove("id");
            fields.remove("format");
        }
        events.sort_by_key(|event| event["listings"].as_array().unwrap().iter().map(name).min());
        events
    }

    /// How many dead letters there are of each code.
    pub fn dead_by_code(&self) -> BTreeMap<String, usize> {
        let mut codes = BTreeMap::new();
        for letter in &self.dead_letters {
            *codes.entry(header(letter, "dead-letter-code")).or_default() += 1;
        }
        codes
    }

    /// What must hold of any results: live listings, links and events tell the same story.
    pub fn check(&self) {
        let listed: BTreeSet<&String> = self.listings.keys().collect();
        let linked: BTreeSet<&String> = self.links.keys().collect();
        let none: [&&String; 0] = [];
        assert_eq!(Vec::from_iter(listed.difference(&linked)), none, "listings without a link");
        assert_eq!(Vec::from_iter(linked.difference(&listed)), none, "links without a listing");
        let mut by_links: BTreeMap<String, BTreeSet<Name>> = BTreeMap::new();
        for (key, link) in &self.links {
            assert_eq!(name(link), name(&self.listings[key]["listing"]), "a link names its listing");
            by_links.entry(text(&link["eventId"])).or_default().insert(name(link));
        }
        assert_eq!(by_links, self.groups(), "links and events name the same groups");
        for (id, event) in &self.events {
            assert_eq!(&text(&event["id"]), id, "the key of an event is its id");
        }
        let in_events: BTreeMap<&String, &Value> =
            self.events.iter().filter(|(_, event)| event.get("redirectTo").is_some()).collect();
        assert_eq!(in_events, self.redirects.iter().collect(), "events and redirects name the same retired ids");
        for redirect in self.redirects.values() {
            let survivor = &self.events[&text(&redirect["redirectTo"])];
            assert!(survivor.get("redirectTo").is_none(), "a redirect leads to an event: {redirect}");
        }
    }
}

/// Groups of listings. An event's id is history: it comes from the listing that was read first.
fn groups(results: &Results) -> BTreeMap<BTreeSet<(String, String)>, usize> {
    let mut groups = BTreeMap::new();
    results.groups().into_values().for_each(|group| *groups.entry(group).or_default() += 1);
    groups
}

/// Events by their first listing, less what is history: the id, and when it was first seen, which
/// depends on which of its listings was read first and on some that have gone since.
fn events(results: &Results) -> BTreeMap<String, Value> {
    let keyed = |event: Value| (event["listings"].to_string(), without(event, "firstSeen"));
    results.normal_events().into_iter().map(keyed).collect()
}

fn links(results: &Results) -> BTreeMap<String, Value> {
    let keyed =
        |(key, link): (&String, &Value)| (key.clone(), without(without(link.clone(), "eventId"), "eventFirstSeen"));
    results.links.iter().map(keyed).collect()
}

/// The records of this source have no key. They lie in all partitions, and whether one of them is
/// the first of its listing, or changes it, depends on which partition is read first.
const UNKEYED: &str = "town-crier";

/// The exact counts of each window, source and category. Of the source without keys, what does not
/// depend on the order of partitions: what was seen and what was dead by window, the rest in sum.
fn counts(results: &Results) -> BTreeMap<String, [u64; 6]> {
    let mut counts: BTreeMap<String, [u64; 6]> = BTreeMap::new();
    for (key, row) in &results.metrics {
        let field = |name: &str| row[name].as_u64().unwrap();
        let [seen, discovered, updated, unchanged, withdrawn, dead] =
            ["seen", "discovered", "updated", "unchanged", "withdrawn", "dead"].map(field);
        assert_eq!(row["late"], 0, "nothing is late: {row}");
        if row["source"] == UNKEYED {
            counts.insert(key.clone(), [seen, 0, 0, 0, 0, dead]);
            let sum = counts.entry(UNKEYED.to_owned()).or_default();
            [discovered, updated + unchanged, withdrawn].into_iter().zip(&mut sum[1..]).for_each(|(n, sum)| *sum += n);
        } else {
            counts.insert(key.clone(), [seen, discovered, updated, unchanged, withdrawn, dead]);
        }
    }
    counts
}
