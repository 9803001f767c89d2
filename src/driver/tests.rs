//! Tests of the driver, by a topology that counts.

use std::collections::BTreeMap;

use headwater_flow::{DeadLetter, DeadLetterCode, Due};
use proptest::prelude::*;
use serde_json::{Value, json};
use timely::dataflow::operators::vec::Map;

use super::*;
use crate::schema::{Codec, Fact, Facts, Family, Reader, Rows, Spec, State, Table, text_codec};

/// Counts visits of pages: for ever, those of the last minute, and what they earn.
struct Counting {
    earnings: Table<(String, i64)>,
    totals: State<String, i64>,
    recent: Rows<String, i64>,
    earned: Rows<String, i64>,
    seen: Facts<String>,
    by_page: Family<String>,
}

fn codec() -> Codec<String, i64> {
    Codec::new(|key: &String| key.clone().into(), |_, n: &i64| n.to_string().into())
}

fn reader() -> Reader<(String, i64)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
    let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number"));
    Reader::new(move |key, value| Ok((text(key)?, number(text(value)?)?)))
}

impl Counting {
    fn declare(schema: &mut Schema) -> Self {
        let gauge = schema.gauge("pages", "Pages.");
        let fact = |page: String| Fact { value: Some(page.into()), ..Fact::default() };
        Self {
            earnings: schema.table("earnings"),
            totals: schema
                .state("totals", codec(), reader(), Spec { rebuilt: true, ..Spec::default() })
                .counted(gauge, |_| true),
            recent: schema.rows("recent", codec(), Spec::default()),
            earned: schema.rows("earned", codec(), Spec::default()),
            seen: schema.facts("seen", fact, Spec::default()),
            by_page: schema.family("page.", fact, Spec::default()),
        }
    }

    fn build(&self, flow: &mut Flow<'_>) {
        let visits = flow.raw().map(|record| {
            let text = record.value.clone().and_then(|value| String::from_utf8(value).ok());
            (record, text)
        });
        let bad = visits.clone().flat_map(|(record, text)| {
            text.is_none().then(|| DeadLetter::of(record, DeadLetterCode::MALFORMED, "no text"))
        });
        let good = visits.flat_map(|(record, text)| Some((text?, record.origin.timestamp_ms)));
        let pages = good.clone().map(|(page, _)| page);
        let known = flow.restored_rows(&self.totals);
        let known = known.explode(|(page, n): (String, i64)| Some((page, n as isize)));
        let totals = pages.clone().concat(known).count().map(|(page, n)| (page, n as i64));
        let recent = good.expire(|(_, at)| Some(at + 60_000)).map(|(page, _)| page).count();
        let earned = totals.clone().join_map(flow.table(&self.earnings), |page, n, cents| (page.clone(), n * cents));
        flow.write(&self.totals, totals);
        flow.write(&self.recent, recent.map(|(page, n)| (page, n as i64)));
        flow.write(&self.earned, earned);
        flow.write_facts(&self.seen, pages.clone().inner.map(|(page, ..)| page));
        flow.write_family(&self.by_page, pages.inner.map(|(page, ..)| (page.clone(), page)));
        flow.dead_letters(bad.inner.map(|(letter, ..)| letter));
    }
}

fn driver() -> Driver {
    Driver::build(Counting::declare, Counting::build).unwrap()
}

fn visit(driver: &mut Driver, page: &str) {
    driver.produce("raw.visits", |record| record.value(page).source("door"));
}

/// A run of some length: visits, prices before and after them, something bad.
fn busy(mut driver: Driver) -> Driver {
    driver.put("earnings", "home", ("home", 5));
    for (at, page) in (0..).zip(["home", "shop", "home", "map", "shop", "home"]) {
        let record = |record: Record| record.value(page).at(at * 10_000).partition(at as i32 % 3);
        driver.produce("raw.visits", record);
        driver.advance_to((at as u64 + 1) * 10_000);
    }
    driver.produce("raw.visits", |record| record.value(b"\xff").source("door"));
    driver.put("earnings", "shop", ("shop", 7));
    driver.advance_to(90_000);
    driver
}

/// The rows of every topic, and how many records each topic of facts has.
fn state(driver: &Driver) -> BTreeMap<&'static str, Value> {
    let rows = ["totals", "recent", "earned"].map(|topic| (topic, json!(driver.rows(topic))));
    let facts = ["seen", "page.home", "dead-letters"].map(|topic| (topic, json!(driver.records(topic).len())));
    rows.into_iter().chain(facts).collect()
}

#[test]
fn records_and_tables_go_in_and_rows_facts_and_letters_come_out() {
    let driver = busy(driver());
    assert_eq!(json!(driver.rows("totals")), json!({"home": 3, "shop": 2, "map": 1}));
    // Those after 30_000.
    assert_eq!(json!(driver.rows("recent")), json!({"shop": 1, "home": 1}));
    assert_eq!(json!(driver.rows("earned")), json!({"home": 15, "shop": 14}));
    assert_eq!((driver.records("seen").len(), driver.records("page.home").len()), (6, 3));
    assert_eq!(driver.gauge("pages"), 3);
    let letters = driver.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].code.as_str(), letters[0].source.as_deref()), ("malformed", Some("door")));
    let epochs: Vec<_> = driver.records("totals").iter().map(crate::dataflow::epoch_of).collect();
    assert_eq!(epochs, [1, 10_001, 20_001, 30_001, 40_001, 50_001].map(Some), "each record carries its epoch");
}

#[test]
fn several_workers_give_the_same_as_one() {
    let one = busy(driver());
    for workers in [2, 3] {
        let several = busy(driver().workers(workers));
        assert_eq!(state(&several), state(&one));
        for topic in ["totals", "recent", "earned", "seen"] {
            assert_eq!(several.records(topic), one.records(topic), "{topic} of {workers} workers");
        }
    }
}

#[test]
fn a_restart_changes_nothing_and_the_topology_goes_on() {
    for (recovery, workers) in [(Recovery::Trust, 1), (Recovery::Compare, 1), (Recovery::Compare, 2)] {
        let mut driver = busy(driver().workers(workers));
        let before = state(&driver);
        driver.advance_to(200_000);
        assert_eq!(json!(driver.rows("recent")), json!({}));
        let quiet = state(&driver);
        assert_eq!(quiet["totals"], before["totals"]);
        driver.restart(recovery).unwrap();
        assert_eq!((driver.differences(), state(&driver)), (&[][..], quiet));
        assert_eq!(driver.gauge("pages"), 3, "counted again");
        visit(&mut driver, "home");
        driver.advance_to(200_100);
        assert_eq!((&driver.rows("totals")["home"], &driver.rows("earned")["home"]), (&json!(4), &json!(20)));
    }
}

#[test]
fn what_was_given_before_a_restart_and_not_read_is_read_once_after_it() {
    let mut driver = driver();
    visit(&mut driver, "home");
    driver.advance_to(100);
    visit(&mut driver, "home");
    driver.restart(Recovery::Trust).unwrap();
    assert_eq!(driver.rows("totals")["home"], 1);
    driver.advance_to(200);
    assert_eq!(driver.rows("totals")["home"], 2);
    assert_eq!(driver.records("seen").len(), 2);
}

#[test]
fn a_rebuild_gives_the_same_rows_and_no_fact_twice() {
    for workers in [1, 2] {
        let mut driver = busy(driver().workers(workers));
        let before = state(&driver);
        driver.rebuild();
        assert_eq!((driver.differences(), state(&driver)), (&[][..], before));
        visit(&mut driver, "map");
        driver.advance_to(91_000);
        assert_eq!((&driver.rows("totals")["map"], driver.records("seen").len()), (&json!(2), 7));
    }
}

#[test]
fn a_start_says_what_differs_and_corrects_it() {
    let mut driver = busy(driver());
    let before = state(&driver);
    driver.write("earned", "home", Some("1"));
    driver.write("earned", "shop", None);
    driver.write("recent", "nowhere", Some("9"));
    driver.restart(Recovery::Trust).unwrap();
    assert_eq!(driver.differences(), [], "nothing is compared");
    driver.rebuild();
    let told: Vec<_> = driver.differences().iter().map(ToString::to_string).collect();
    let expected =
        ["earned home: 15 instead of 1", "earned shop: 14 instead of no row", "recent nowhere: no row instead of 9"];
    assert_eq!(told, expected);
    assert_eq!(state(&driver), before);
    driver.restart(Recovery::Compare).unwrap();
    // Visits of the last minute are no state: this topology forgets them, and a comparison finds it.
    assert!(driver.differences().iter().all(|one| one.topic == "recent" && one.implied.is_none()));
}

#[test]
fn state_of_elsewhere_is_restored_and_damage_is_told() {
    let mut driver = driver();
    driver.write("totals", "home", Some("41"));
    visit(&mut driver, "home");
    driver.advance_to(1);
    assert_eq!(driver.rows("totals")["home"], 42);
    driver.write("totals", "home", Some("many"));
    let damage = driver.restart(Recovery::Trust).unwrap_err();
    assert!(damage.topic == "totals" && damage.reason.contains("\"many\" is no number"), "{damage:?}");
    driver.rebuild();
    assert_eq!(driver.rows("totals")["home"], 1, "it comes from the raw records now");
}

#[test]
fn timers_fire_when_time_passes_and_not_before() {
    let mut driver = driver();
    driver.produce("raw.visits", |record| record.value("home").at(1_000));
    driver.advance_to(60_999);
    assert_eq!(driver.rows("recent")["home"], 1);
    driver.advance_to(61_000);
    assert_eq!(json!(driver.rows("recent")), json!({}));
    let last = driver.records("recent").last().unwrap();
    assert_eq!((last.timestamp_ms, &last.value), (61_000, &None), "in the epoch that was asked for");
}

#[test]
fn a_row_that_leaves_a_table_takes_its_join_along() {
    let mut driver = driver();
    visit(&mut driver, "home");
    driver.put("earnings", "home", ("home", 2));
    driver.advance_to(10);
    assert_eq!(driver.rows("earned")["home"], 2);
    driver.remove("earnings", "home");
    driver.produce("earnings", |record| record.key("shop").value("no JSON"));
    driver.advance_to(20);
    assert_eq!(json!(driver.rows("earned")), json!({}));
    assert_eq!(driver.letters()[0].code, "invalid-control");
    driver.restart(Recovery::Compare).unwrap();
    driver.advance_to(30);
    assert_eq!(driver.letters().len(), 1, "told once");
}

/// Prices that are followed steadily, on the topic `known`.
fn steady() -> Driver {
    let declare = |schema: &mut Schema| {
        let (kept, reader) = text_codec();
        let kept = schema.state("kept", kept, reader, Spec::default());
        (schema.table::<i64>("prices"), kept, schema.rows("known", codec(), Spec::default()))
    };
    let driver = Driver::build(declare, |(prices, kept, known), flow| {
        let rows = flow.steady_table(prices, kept);
        flow.write(known, rows.map(|(name, price)| (name, price.value)));
    });
    driver.unwrap()
}

#[derive(Debug, Clone)]
enum Deed {
    Put(usize, i64),
    Spoil(usize),
    Remove(usize),
    Compact,
    Restart,
    Rebuild,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..3usize, 0..5i64).prop_map(|(key, price)| Deed::Put(key, price)),
        3 => (0..3usize).prop_map(Deed::Spoil),
        1 => (0..3usize).prop_map(Deed::Remove),
        2 => Just(Deed::Compact),
        2 => Just(Deed::Restart),
        1 => Just(Deed::Rebuild),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever compaction removes and when a start comes: an unreadable record changes nothing.
    #[test]
    fn a_steady_table_holds_the_last_readable_record(
        deeds in prop::collection::vec(deed(), 1..30),
        workers in 1usize..3,
    ) {
        let mut driver = steady().workers(workers);
        let (mut expected, mut letters) = (BTreeMap::new(), 0);
        for (number, deed) in (1..).zip(&deeds) {
            match deed {
                Deed::Put(key, price) => {
                    driver.put("prices", format!("{key}"), price);
                    expected.insert(format!("{key}"), json!(price));
                }
                Deed::Spoil(key) => {
                    driver.put("prices", format!("{key}"), "much");
                    letters += 1;
                }
                Deed::Remove(key) => {
                    driver.remove("prices", format!("{key}"));
                    expected.remove(&format!("{key}"));
                }
                Deed::Compact => driver.compact("prices"),
                Deed::Restart => driver.restart(Recovery::Compare).unwrap(),
                Deed::Rebuild => driver.rebuild(),
            }
            prop_assert_eq!(driver.differences(), &[]);
            driver.advance_to(number * 10);
            prop_assert_eq!(driver.rows("known"), expected.clone());
            prop_assert_eq!(driver.letters().len(), letters);
        }
    }
}

#[test]
fn the_watermark_follows_the_records_and_can_be_raised() {
    let declare = |schema: &mut Schema| {
        schema.facts("marks", |ms: i64| Fact { value: Some(ms.to_string().into()), ..Fact::default() }, Spec::default())
    };
    let mut driver = Driver::build(declare, |marks, flow| flow.write_facts(marks, flow.watermark())).unwrap();
    let marks = |driver: &Driver| -> Vec<String> {
        driver.records("marks").iter().map(|one| String::from_utf8(one.value.clone().unwrap()).unwrap()).collect()
    };
    driver.produce("raw", |record| record.value("a").at(500).partition(0));
    driver.produce("raw", |record| record.value("a").at(300).partition(1));
    driver.advance_to(1_000);
    assert_eq!(marks(&driver), ["300"]);
    driver.watermark(700);
    driver.advance_to(2_000);
    driver.watermark(600);
    driver.advance_to(3_000);
    assert_eq!(marks(&driver), ["300", "700"], "it never falls");
}

#[test]
#[should_panic(expected = "all differences of a key must arise on one worker")]
fn a_key_that_two_workers_write_is_found() {
    let declare = |schema: &mut Schema| schema.rows("last", codec(), Spec::default());
    let driver = Driver::build(declare, |last, flow| {
        let rows = flow.raw().inner.map(|(record, ..)| ("any".to_owned(), Some(record.origin.offset)));
        flow.write_changes(last, rows);
    });
    let mut driver = driver.unwrap().workers(2);
    (0..4).for_each(|partition| driver.produce("raw", |record| record.value("x").partition(partition)));
    driver.advance_to(1);
}

#[test]
#[should_panic(expected = "a worker has panicked")]
fn an_operator_that_panics_on_one_of_several_workers_ends_the_test() {
    let driver = Driver::build(
        |_schema| (),
        |(), flow| {
            flow.raw().inspect(|(record, ..)| assert!(record.value.is_some(), "an operator that cannot bear this"));
        },
    );
    let mut driver = driver.unwrap().workers(2);
    driver.advance_to(1);
    driver.produce("raw", |record| record);
    driver.advance_to(2);
    driver.advance_to(3);
}

#[test]
#[should_panic(expected = "holds back until `rebuilt_at`")]
fn what_is_given_before_the_restored_epoch_is_found() {
    let declare = |schema: &mut Schema| schema.rows("seen", codec(), Spec::default());
    let driver = Driver::build(declare, |seen, flow| {
        flow.write(seen, flow.raw_as_read().map(|record| (record.origin.offset.to_string(), 1)));
    });
    let mut driver = driver.unwrap();
    visit(&mut driver, "home");
    driver.advance_to(100);
    driver.rebuild();
}

#[test]
#[should_panic(expected = "is not read")]
fn a_topic_that_nobody_reads_is_refused() {
    driver().produce("totals", |record| record.value("x"));
}

#[test]
fn an_epoch_of_its_own_for_each_step_changes_no_row() {
    let mut steps = driver();
    let mut leap = driver();
    for n in 0..20 {
        for driver in [&mut steps, &mut leap] {
            driver.produce("raw.visits", |record| record.value(format!("page-{}", n % 4)).at(n * 7_000));
        }
        steps.advance_to((n as u64 + 1) * 7_000);
    }
    leap.advance_to(140_000);
    assert_eq!(state(&steps)["totals"], state(&leap)["totals"]);
    assert_eq!(state(&steps)["recent"], state(&leap)["recent"]);
}
