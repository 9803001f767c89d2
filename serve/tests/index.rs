//! The live index answers as a naive scan does: over inserts, updates, withdrawals, redirects and restarts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_operators::listing::Point;
use headwater_serve::commit::{Change, Commit, Topic};
use headwater_serve::document::Attribute;
use headwater_serve::filter::{Bound, Filter, Price, Since};
use headwater_serve::geo::{Bounds, Circle};
use headwater_serve::index::{PageRequest, Place, PlaceFilter, PlaceSort, PlacesRequest, Sort};
use headwater_serve::live::{Live, Writer};
use headwater_serve::text::TextQuery;
use headwater_serve::timeline::Timeline;
use proptest::prelude::*;
use serde_json::{Value, json};

use support::documents::{self, any_event};
use support::naive::{self, NaivePlace, PlaceQuestion, Question, Scan};

/// What a record says of an id.
#[derive(Debug, Clone)]
enum Step {
    Event(Value),
    Withdrawn,
    Redirect(u8),
    /// A record that cannot be read changes nothing.
    Broken,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_event().prop_map(Step::Event),
        2 => Just(Step::Withdrawn),
        1 => (0u8..8).prop_map(Step::Redirect),
        1 => Just(Step::Broken),
    ]
}

fn id(number: u8) -> String {
    format!("{number:032x}")
}

/// What the topic holds: the last record of each key, as serving has to understand it.
#[derive(Debug, Clone, Default)]
struct Topics {
    scan: Scan,
    redirects: BTreeMap<String, (u64, String)>,
    /// All that was written of each key, last the latest.
    last: BTreeMap<String, (u64, Option<Vec<u8>>)>,
}

impl Topics {
    fn write(&mut self, number: u8, step: &Step, commit: u64) -> Change {
        let key = id(number);
        let value = match step {
            Step::Event(event) => {
                let mut event = event.clone();
                event["id"] = json!(key);
                self.scan.insert(key.clone(), (commit, event.clone()));
                self.redirects.remove(&key);
                Some(event.to_string().into_bytes())
            }
            Step::Withdrawn => {
                self.scan.remove(&key);
                self.redirects.remove(&key);
                None
            }
            Step::Redirect(to) => {
                self.scan.remove(&key);
                self.redirects.insert(key.clone(), (commit, id(*to)));
                Some(json!({"format": 1, "id": key, "redirectTo": id(*to)}).to_string().into_bytes())
            }
            Step::Broken => Some(b"{\"format\":1".to_vec()),
        };
        if !matches!(step, Step::Broken) {
            self.last.insert(key.clone(), (commit, value.clone()));
        }
        Change { topic: Topic::Events, key: key.into(), value, commit }
    }

    /// Serving that begins now, and reads what compaction has left.
    fn restarted(&self) -> (Arc<Live>, Writer) {
        let (live, mut writer) = Live::new();
        let change = |(key, (commit, value)): (&String, &(u64, Option<Vec<u8>>))| Change {
            topic: Topic::Events,
            key: key.as_str().into(),
            value: value.clone(),
            commit: *commit,
        };
        let changes: Vec<Change> = self.last.iter().map(change).collect();
        for part in changes.chunks(3) {
            writer.restore(part.to_vec()).unwrap();
        }
        let last = changes.iter().map(|change| change.commit).max().unwrap_or_default();
        writer.begin(last, Timeline::default(), 0);
        (live, writer)
    }
}

fn any_question() -> impl Strategy<Value = Question> {
    fn rare<T: std::fmt::Debug + Clone>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
        prop::option::weighted(0.2, of)
    }
    fn one<const N: usize>(of: [&'static str; N]) -> impl Strategy<Value = &'static str> {
        prop::sample::select(of.to_vec())
    }
    let attribute = |name: &'static str, of: Vec<&'static str>| {
        let count = of.len();
        prop::option::weighted(0.15, prop::sample::subsequence(of, 1..=count))
            .prop_map(move |of| of.map(|of| (name, of)))
    };
    let any_of = (
        attribute("category", vec!["music", "talks films"]),
        attribute("tag", documents::TAGS.to_vec()),
        attribute("source", documents::SOURCES.to_vec()),
        attribute(
            "place",
            vec!["hall.napa", "cafe-concert.sao-paulo", "cafe-concert", "the-philharmonic", "Hall.napa"],
        ),
        attribute("city", vec!["napa", "sao paulo", "SUVA", "nowhere"]),
        attribute("country", documents::COUNTRIES.to_vec()),
        attribute("grade", vec!["a", "B"]),
        attribute("status", documents::STATUSES.to_vec()),
        attribute("moderation", vec!["approved", "flagged", "rejected", "none"]),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i)| [a, b, c, d, e, f, g, h, i].into_iter().flatten().collect());
    let time = || one(["2026-12-01", "2026-12-02", "2026-12-03", "2026-12-02T00:00:00Z", "2026-12-02T04:00:00Z"]);
    let point = prop::sample::select(documents::POINTS.to_vec());
    let circle = (point, prop::sample::select(vec![0, 1_500, 3_000, 2_000_000, 30_000_000]))
        .prop_map(|((latitude, longitude), metres)| (latitude, longitude, metres));
    let bounds = prop::sample::select(vec![
        (-123.0, 38.0, -122.0, 39.0),
        (179.0, -19.0, -179.0, -17.0),
        (-180.0, -90.0, 180.0, 90.0),
        (-122.28, 38.3, -122.28, 38.3),
    ]);
    let text = prop::collection::vec(
        one(["jazz", "jaz", "concert", "consert", "cafe", "2026", "workshop", "philarmonik", "hall", "philharmoni"]),
        1..3,
    );
    let text =
        (text, any::<bool>()).prop_map(|(words, whole)| format!("{}{}", words.join(" "), if whole { " " } else { "" }));
    let when = (rare(time()), rare(time()), rare(one(documents::UPDATED)), rare(0u64..9));
    let rest = (rare(any::<bool>()), rare(circle), rare(bounds), rare(prop::option::of(0u8..3)), rare(0u8..=10));
    let whole = (any_of, any::<bool>(), when, rest, prop::option::weighted(0.4, text));
    whole.prop_map(|(any_of, shown, when, rest, text)| {
        let (from, until, since, since_commit) = when;
        let (online, circle, bounds, price, quality) = rest;
        // One "since" or the other.
        let since_commit = since_commit.filter(|_| since.is_none());
        Question { any_of, shown, online, from, until, circle, bounds, price, quality, since, since_commit, text }
    })
}

fn any_place_question() -> impl Strategy<Value = PlaceQuestion> {
    fn one<const N: usize>(of: [&'static str; N]) -> impl Strategy<Value = &'static str> {
        prop::sample::select(of.to_vec())
    }
    let text = one(["hall", "ha", "concert ", "concrt", "cafe conc", "conc cafe ", "phil", "the philarmonic", "napa"]);
    let cities = prop::sample::subsequence(vec!["napa", "SÃO PAULO", "nowhere"], 1..=2);
    let cities = prop_oneof![3 => Just(Vec::new()), 1 => cities];
    let circle =
        (prop::sample::select(documents::POINTS.to_vec()), prop::sample::select(vec![0, 1_500, 3_000, 9_000_000]))
            .prop_map(|((latitude, longitude), metres)| (latitude, longitude, metres));
    let bounds = prop::sample::select(vec![(-123.0, 38.0, -122.0, 39.0), (179.0, -19.0, -179.0, -17.0)]);
    let at = one(["2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", "2026-12-02T04:30:00Z", "2026-12-04T00:00:00Z"]);
    let where_ = (prop::option::weighted(0.25, circle), prop::option::weighted(0.25, bounds));
    (prop::option::weighted(0.4, text), cities, where_, at).prop_map(|(text, cities, (circle, bounds), at)| {
        PlaceQuestion { text: text.map(str::to_owned), cities, circle, bounds, at }
    })
}

fn place_filter(question: &PlaceQuestion) -> PlaceFilter {
    let circle = question.circle.map(|(latitude, longitude, radius_m)| Circle {
        middle: Point::from_degrees(latitude, longitude).unwrap(),
        radius_m,
    });
    let bounds = question.bounds.and_then(|(west, south, east, north)| Bounds::from_degrees(west, south, east, north));
    let text = question.text.as_deref().and_then(TextQuery::new);
    PlaceFilter { text, circle, bounds, ..PlaceFilter::default() }.in_cities(question.cities.iter().copied())
}

fn filter(question: &Question) -> Filter {
    let bound = |text: &str| match text.parse::<jiff::civil::Date>() {
        Ok(day) => Bound::Day(headwater_operators::Moment::Day(day).local_day_number()),
        Err(_) => Bound::Instant(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()),
    };
    let attribute = |name: &str| Attribute::ALL.into_iter().find(|attribute| attribute.name() == name).unwrap();
    let keys = |attribute: Attribute, of: &[&str]| -> BTreeSet<Box<str>> {
        of.iter().map(|value| attribute.key(value).into()).collect()
    };
    Filter {
        any_of: question.any_of.iter().map(|(name, of)| (attribute(name), keys(attribute(name), of))).collect(),
        none_of: if question.shown { Filter::shown().none_of } else { BTreeMap::new() },
        online: question.online,
        from: question.from.map(bound),
        until: question.until.map(bound),
        circle: question.circle.map(|(latitude, longitude, radius_m)| Circle {
            middle: Point::from_degrees(latitude, longitude).unwrap(),
            radius_m,
        }),
        bounds: question
            .bounds
            .map(|(west, south, east, north)| Bounds::from_degrees(west, south, east, north).unwrap()),
        price: question.price.map(|price| price.map_or(Price::Free, |most| Price::AtMost(i64::from(most) * 1000))),
        min_quality: question.quality.map(|tenths| u16::from(tenths) * 1000),
        updated_since: question
            .since
            .map(|since| Since::Instant(since.parse::<jiff::Timestamp>().unwrap().as_millisecond()))
            .or(question.since_commit.map(Since::Commit)),
        text: question.text.as_deref().map(|text| TextQuery::new(text).unwrap()),
    }
}

/// The ids that a scan finds, in order.
fn expected(scan: &Scan, question: &Question, sort: Sort) -> Vec<String> {
    let found = scan.iter().filter(|(_, (commit, event))| naive::admits(question, event, *commit));
    let mut keyed: Vec<((i64, i64), &String)> = found
        .map(|(id, (_, event))| {
            let key = match sort {
                Sort::Start => (naive::start_ms(event), 0),
                Sort::Distance(from) => {
                    let metres = naive::point(event).map(|point| from.distance_m(&point));
                    (metres.map_or(i64::MAX, |metres| (metres * 1000.0).round() as i64), 0)
                }
                Sort::Relevance => {
                    let score = question.text.as_ref().and_then(|text| naive::score(text, event)).unwrap_or(0);
                    (-i64::from(score), naive::start_ms(event))
                }
            };
            (key, id)
        })
        .collect();
    keyed.sort();
    keyed.into_iter().map(|(_, id)| id.clone()).collect()
}

/// The ids that the index gives, page by page.
fn paged(live: &Live, filter: &Filter, sort: Sort, limit: usize) -> Vec<String> {
    let served = live.read();
    let selection = served.index.select(filter);
    let mut request = PageRequest { sort, limit, offset: 0, after: None, point: None };
    let mut ids = Vec::new();
    loop {
        let page = served.index.page(&selection, &request);
        assert!(page.hits.len() <= limit);
        ids.extend(page.hits.iter().map(|hit| hit.id.to_string()));
        request.after = match page.next {
            Some(next) => Some(next),
            None => break,
        };
    }
    assert_eq!(selection.total(), ids.len() as u64);
    let skipping = PageRequest { offset: 2, after: None, ..request };
    let skipped = served.index.page(&selection, &skipping).hits;
    assert_eq!(
        skipped.iter().map(|hit| hit.id.to_string()).collect::<Vec<_>>(),
        ids.iter().skip(2).take(limit).cloned().collect::<Vec<_>>()
    );
    ids
}

fn compare(live: &Live, topics: &Topics, questions: &[Question], limit: usize) {
    for question in questions {
        let filter = filter(question);
        let from = Point::from_degrees(38.3, -122.28).unwrap();
        for sort in [Sort::Start, Sort::Distance(from), Sort::Relevance] {
            let expected = expected(&topics.scan, question, sort);
            assert_eq!(paged(live, &filter, sort, limit), expected, "{sort:?} {question:?}");
        }
        compare_facets(live, topics, question, &filter);
    }
    let served = live.read();
    for (id, (commit, event)) in &topics.scan {
        let entry = served.index.get(id).unwrap();
        let document = served.index.packing().unpacker().unwrap().unpack(&entry.document).unwrap();
        assert_eq!((entry.commit, serde_json::from_slice::<Value>(&document).unwrap()), (*commit, event.clone()));
    }
    assert_eq!(served.index.len(), topics.scan.len() as u64);
    for number in 0..8 {
        let mut to = topics.redirects.get(&id(number)).map(|(_, to)| to.clone());
        let mut seen = BTreeSet::new();
        while let Some(next) = to.as_ref().and_then(|to| topics.redirects.get(to)) {
            // Round and round leads nowhere.
            to = seen.insert(next.1.clone()).then(|| next.1.clone());
        }
        assert_eq!(served.index.redirect(&id(number)).map(|to| to.to_string()), to, "{number}");
    }
}

fn compare_facets(live: &Live, topics: &Topics, question: &Question, filter: &Filter) {
    let served = live.read();
    let selection = served.index.select(filter);
    for attribute in Attribute::ALL {
        let name = attribute.name();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (commit, event) in topics.scan.values().filter(|(commit, event)| naive::admits(question, event, *commit)) {
            assert!(*commit > 0);
            let keys: BTreeSet<String> = naive::values(event, name).iter().map(|value| attribute.key(value)).collect();
            keys.into_iter().for_each(|key| *counts.entry(key).or_default() += 1);
        }
        let facet = served.index.facet(&selection, attribute, usize::MAX);
        let found: BTreeMap<String, u64> =
            facet.values.iter().map(|value| (attribute.key(&value.value), value.count)).collect();
        assert_eq!(found, counts, "{name}");
        assert!(facet.values.is_sorted_by(|a, b| a.count >= b.count));
    }
}

/// Places are what a scan finds, in every order, page by page.
fn compare_places(live: &Live, topics: &Topics, question: &PlaceQuestion, limit: usize) {
    let served = live.read();
    let expected = naive::places(&topics.scan, question);
    let from = Point::from_degrees(38.3, -122.28).unwrap();
    let at_ms = question.at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    for sort in [PlaceSort::Name, PlaceSort::Events, PlaceSort::Distance(from)] {
        let mut order: Vec<(i64, &str)> = expected.iter().map(|(key, place)| (rank(place, sort), &**key)).collect();
        order.sort_unstable();
        let mut request = PlacesRequest { filter: place_filter(question), sort, limit, offset: 0, after: None, at_ms };
        let mut keys: Vec<String> = Vec::new();
        loop {
            let page = served.index.places(&request);
            assert_eq!((page.total, page.places.len() <= limit), (expected.len() as u64, true));
            for place in &page.places {
                compare_place(&served, place, &expected[&*place.key]);
                keys.push(place.key.to_string());
            }
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        assert_eq!(keys, order.iter().map(|(_, key)| *key).collect::<Vec<_>>(), "{sort:?} {question:?}");
        let skipped = served.index.places(&PlacesRequest { offset: 1, ..request }).places;
        assert!(skipped.iter().map(|place| &*place.key).eq(keys.iter().skip(1).take(limit)), "{sort:?}");
    }
    for (key, expected) in &expected {
        let (place, agenda) = served.index.place(key, at_ms).unwrap();
        compare_place(&served, &place, expected);
        let ids = |events: &[(Arc<str>, _)]| events.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&agenda.under_way), ids(&agenda.to_come)),
            (expected.under_way.clone(), expected.to_come.clone())
        );
    }
}

fn rank(place: &NaivePlace, sort: PlaceSort) -> i64 {
    match sort {
        PlaceSort::Name => 0,
        PlaceSort::Events => -(place.to_come.len() as i64),
        PlaceSort::Distance(from) => {
            place.point.map_or(i64::MAX, |point| (from.distance_m(&point) * 1000.0).round() as i64)
        }
    }
}

fn compare_place(served: &headwater_serve::live::Served, place: &Place, expected: &NaivePlace) {
    let next = place.next.as_ref().map(|(id, _)| id.to_string());
    assert_eq!(
        (place.point, place.to_come, next),
        (expected.point, expected.to_come.len() as u64, expected.to_come.first().cloned()),
        "{}",
        place.key
    );
    let document = served.index.packing().unpacker().unwrap().unpack(place.told_by.as_ref().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&document).unwrap(), expected.told_by, "{}", place.key);
}

/// A filter says the same of a change as two scans do.
fn compare_changes(changes: &headwater_serve::history::Changes, before: &Scan, after: &Scan, questions: &[Question]) {
    use headwater_serve::history::Seen;
    for question in questions {
        let filter = filter(question);
        let has =
            |scan: &Scan, id: &str| scan.get(id).is_some_and(|(commit, event)| naive::admits(question, event, *commit));
        for change in &changes.events {
            let expected = match (has(before, &change.id), has(after, &change.id)) {
                (false, true) => Some(Seen::Enter),
                (true, true) => Some(Seen::Update),
                (true, false) => Some(Seen::Leave),
                (false, false) => None,
            };
            assert_eq!(change.seen(&filter), expected, "{question:?}");
        }
        let changed: BTreeSet<&str> = changes.events.iter().map(|change| &*change.id).collect();
        let differ = before.keys().chain(after.keys()).filter(|id| before.get(*id) != after.get(*id));
        assert!(differ.clone().all(|id| changed.contains(id.as_str())), "a change was not told");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_index_is_a_scan(
        commits in prop::collection::vec((prop::collection::vec((0u8..8, any_step()), 1..6), any::<bool>()), 1..9),
        questions in prop::collection::vec(any_question(), 12),
        places in prop::collection::vec(any_place_question(), 6),
        limit in 1usize..5,
    ) {
        let mut topics = Topics::default();
        let (mut live, mut writer) = topics.restarted();
        for ((steps, restart), number) in commits.iter().zip(1u64..) {
            let before = topics.scan.clone();
            let changes = steps.iter().map(|(id, step)| topics.write(*id, step, number)).collect();
            // A later record of a key that cannot be read hides an earlier one of the same commit: a key
            // occurs once in what the engine commits.
            let changes = once(changes);
            let made = writer.apply(Commit { number, ms: 0, changes }).unwrap();
            compare_changes(&made, &before, &topics.scan, &questions);
            if *restart {
                (live, writer) = topics.restarted();
            }
            prop_assert!(live.read().index.commit() <= number);
        }
        let (again, _) = topics.restarted();
        for live in [&live, &again] {
            compare(live, &topics, &questions, limit);
            places.iter().for_each(|question| compare_places(live, &topics, question, limit));
        }
    }
}

/// The last readable change of each key.
fn once(changes: Vec<Change>) -> Vec<Change> {
    let mut last: BTreeMap<Box<str>, Change> = BTreeMap::new();
    for change in changes {
        let broken = change.value.as_deref() == Some(b"{\"format\":1");
        if !broken || !last.contains_key(&change.key) {
            last.insert(change.key.clone(), change);
        }
    }
    last.into_values().collect()
}

#[test]
fn many_documents_train_a_dictionary_and_stay_what_they_were() {
    let mut topics = Topics::default();
    let (live, mut writer) = topics.restarted();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for number in 1..=30u64 {
        let mut changes = Vec::new();
        for one in 0..60u64 {
            let mut event = proptest::strategy::ValueTree::current(&any_event().new_tree(&mut runner).unwrap());
            let key = format!("{:032x}", number * 1000 + one);
            event["id"] = json!(key);
            topics.scan.insert(key.clone(), (number, event.clone()));
            changes.push(Change {
                topic: Topic::Events,
                key: key.into(),
                value: Some(event.to_string().into_bytes()),
                commit: number,
            });
        }
        writer.apply(Commit { number, ms: 0, changes }).unwrap();
    }
    assert!(live.read().index.packing().is_trained());
    let questions = vec![Question::default(), Question { text: Some("jazz".to_owned()), ..Question::default() }];
    compare(&live, &topics, &questions, 500);
}

#[test]
fn a_newer_format_is_an_error_and_changes_nothing() {
    let (live, mut writer) = Live::new();
    writer.begin(0, Timeline::default(), 0);
    let change = |key: &str, value: &str| Change {
        topic: Topic::Events,
        key: key.into(),
        value: Some(value.as_bytes().to_vec()),
        commit: 1,
    };
    let good = change("a", r#"{"format":1,"title":"T","startTime":"2026-12-01"}"#);
    let newer = change("b", r#"{"format":2,"title":{"en":"T"}}"#);
    let error = writer.apply(Commit { number: 1, ms: 0, changes: vec![good, newer] }).unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
    assert!(live.read().index.is_empty());
}
