//! Documents and register together, against restarts, repeats and any order of partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use headwater::dataflow::Recovery;
use headwater::driver::Driver;
use headwater_operators::extract::Extraction;
use headwater_operators::raw::code::HELD_BACK;
use headwater_operators::raw::{DeadLetterCode, Document, Extracted, Origin, RawRecord, SourceStamp};
use headwater_operators::window::{Outcome, WindowConfig};
use headwater_operators::{Listing, ListingId, LiveListing, Moment, Shared};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::Discovery;
use super::change::{Change, Retention};
use super::documents::{Documents, HoldBack, Outcome as Changes};
use super::register::{Emitted, MAX_CLAIMS, Register};
use super::state::ListingState;
use crate::config::Config;

/// Windows that are forgotten leave their topic, once, whenever the topology is restarted.
#[test]
fn forgotten_windows_are_deleted_once_across_restarts() {
    const WINDOW_MS: u64 = 1_000;
    let mut config = Config::default();
    config.topology.window = WindowConfig { size_ms: WINDOW_MS as u32, allowed_lateness_ms: 0, keep_closed: 3 };
    let mut driver = Driver::of::<Discovery>(&config).unwrap();
    for window in 1..20 {
        let at = window * WINDOW_MS;
        driver.produce("raw.events", |record| record.source("city").value("{").at(at as i64));
        driver.advance_to(at);
        driver.advance_to(at + WINDOW_MS / 2);
        if window % 4 == 0 {
            let recovery = if window % 8 == 0 { Recovery::Trust } else { Recovery::Compare };
            driver.restart(recovery).unwrap();
            assert_eq!(driver.differences(), []);
        }
        // The open one, and those that are remembered.
        assert!(driver.rows("metrics").len() <= 4, "{window}: {:?}", driver.rows("metrics").keys());
    }
    let mut gone = BTreeMap::new();
    let tombstones = driver.records("metrics").iter().filter(|record| record.value.is_none());
    tombstones.for_each(|record| *gone.entry(record.key.clone()).or_insert(0) += 1);
    assert_eq!(gone.len(), 19 - driver.rows("metrics").len());
    assert!(gone.values().all(|times| *times == 1), "{gone:?}");
}

const FOR_EVER: Retention = Retention { past_events_ms: None, assumed_duration_ms: 0 };

/// A record, which `read` reads back.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Told {
    #[serde(skip)]
    partition: i32,
    #[serde(skip)]
    offset: i64,
    #[serde(skip)]
    key: Option<String>,
    listings: Vec<(String, String, i64, String)>,
    kept: Vec<String>,
}

fn document(partition: i32, offset: i64, key: Option<&str>, listings: &[(&str, &str, i64)]) -> Told {
    let start = "2026-05-01T20:00:00Z".to_owned();
    let listings =
        listings.iter().map(|(id, title, sequence)| ((*id).to_owned(), (*title).to_owned(), *sequence, start.clone()));
    let key = key.map(str::to_owned);
    Told { partition, offset, key, listings: listings.collect(), kept: Vec::new() }
}

impl Told {
    fn record(&self) -> RawRecord {
        let (partition, offset) = (self.partition, self.offset);
        RawRecord {
            origin: Origin { topic: "raw".into(), partition, offset, timestamp_ms: offset, order_ms: offset },
            source: Some("s".into()),
            content_type: None,
            key: self.key.as_ref().map(|key| key.as_bytes().to_vec()),
            value: Some(serde_json::to_vec(self).unwrap()),
            headers: Vec::new(),
        }
    }
}

fn read(record: RawRecord) -> Extraction {
    let told: Told = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    let extracted = |(id, title, sequence, start): &(String, String, i64, String)| Extracted {
        listing: Listing::new("s", id, title, start.parse::<Moment>().unwrap()),
        stamp: SourceStamp { sequence: *sequence, modified_ms: 0 },
    };
    let document = Document {
        id: record.document(),
        origin: record.origin,
        source: "s".into(),
        listings: told.listings.iter().map(extracted).collect(),
        kept: told.kept.iter().map(|id| ListingId::of("s", id)).collect(),
    };
    Extraction { document: Some(document), failures: Vec::new(), timeless: true }
}

fn half() -> HoldBack {
    HoldBack { otherwise: 0.5, ..HoldBack::default() }
}

/// The same without the cheap path of repeats.
fn read_always(record: RawRecord) -> Extraction {
    Extraction { timeless: false, ..read(record) }
}

struct Upserts {
    documents: Documents,
    register: Register,
    live: BTreeMap<Shared<LiveListing>, isize>,
    states: BTreeMap<ListingId, Option<Arc<ListingState>>>,
    tallies: Vec<Outcome>,
    letters: Vec<DeadLetterCode>,
}

impl Upserts {
    fn new(retention: Retention) -> Self {
        Self::reading(retention, read)
    }

    fn reading(retention: Retention, read: fn(RawRecord) -> Extraction) -> Self {
        Self {
            documents: Documents::new(retention, half(), 1, Arc::new(read)),
            register: Register::new(retention, Arc::new(|_| {})),
            live: BTreeMap::new(),
            states: BTreeMap::new(),
            tallies: Vec::new(),
            letters: Vec::new(),
        }
    }

    fn take(&mut self, emitted: Emitted) {
        for (listing, diff) in emitted.listings {
            *self.live.entry(listing).or_default() += diff;
        }
        self.live.retain(|_, count| *count != 0);
        self.states.extend(emitted.states);
        let outcomes = emitted.tallies.into_iter().map(|tally| tally.outcome);
        self.tallies.extend(outcomes.filter(|outcome| *outcome != Outcome::Seen));
    }

    fn apply(&mut self, told: Told, now: u64) {
        let mut said = Changes::default();
        let record = told.record();
        self.documents.apply(record.document(), record, now as i64, &mut said);
        self.letters.extend(said.failures.iter().map(|letter| letter.code));
        let mut emitted = Emitted::default();
        for (id, change) in said.changes {
            self.register.apply(id, change, now, &mut emitted);
        }
        self.take(emitted);
    }

    fn titles(&self) -> Vec<&str> {
        assert!(self.live.values().all(|count| *count == 1), "one row a listing");
        let mut titles: Vec<&str> = self.live.keys().map(|live| live.listing.view().title).collect();
        titles.sort_unstable();
        titles
    }

    /// What a restart would find in the `listings` topic.
    fn restarted(&self, retention: Retention) -> Self {
        let mut fresh = Self::new(retention);
        let mut emitted = Emitted::default();
        for (id, state) in &self.states {
            let Some(state) = state else { continue };
            for claim in &state.claims {
                let ends_at = retention.ends_at(state.live.listing.start(), state.live.listing.end());
                let held = claim.held.as_deref().copied();
                fresh.documents.restore(claim.document, *id, claim.version, ends_at, held);
            }
            fresh.register.apply(*id, Change::Restore(Arc::clone(state)), 0, &mut emitted);
        }
        fresh.take(emitted);
        fresh
    }
}

#[test]
fn a_repeat_in_another_partition_changes_nothing() {
    let mut upserts = Upserts::new(FOR_EVER);
    for (partition, offset, title) in [(0, 1, "A"), (1, 2, "A"), (1, 3, "B"), (0, 4, "B"), (2, 5, "B")] {
        upserts.apply(document(partition, offset, None, &[("a", title, 0)]), 1);
    }
    use Outcome::{Discovered, Unchanged, Updated};
    assert_eq!(upserts.tallies, [Discovered, Unchanged, Updated, Unchanged, Unchanged]);
    let live: Vec<_> = upserts.live.keys().map(|live| (live.first_seen, live.updated_at)).collect();
    assert_eq!(live, [(1, 3)]);
}

#[test]
fn the_next_version_of_a_document_replaces_its_listings() {
    let mut upserts = Upserts::new(FOR_EVER);
    upserts.apply(document(0, 1, Some("cal"), &[("a", "A", 0), ("b", "B", 0)]), 1);
    upserts.apply(document(0, 2, Some("cal"), &[("a", "A", 0), ("c", "C", 0)]), 2);
    assert_eq!(upserts.titles(), ["A", "C"]);
    upserts.apply(document(0, 3, Some("cal"), &[]), 3);
    assert!(upserts.titles().is_empty());
    use Outcome::{Discovered, Unchanged, Withdrawn};
    assert_eq!(upserts.tallies, [Discovered, Discovered, Unchanged, Discovered, Withdrawn, Withdrawn, Withdrawn]);
}

/// A version of the document "cal" with these listings.
fn calendar(offset: i64, ids: std::ops::Range<usize>) -> Told {
    let names: Vec<String> = ids.map(|id| format!("{id:02}")).collect();
    let listings: Vec<(&str, &str, i64)> = names.iter().map(|name| (name.as_str(), name.as_str(), 0)).collect();
    document(0, offset, Some("cal"), &listings)
}

#[test]
fn a_calendar_that_is_suddenly_empty_withdraws_nothing_until_a_second_record_agrees() {
    for restarts in [false, true] {
        let mut upserts = Upserts::new(FOR_EVER);
        let restart = |upserts: &mut Upserts| {
            if restarts {
                *upserts = upserts.restarted(FOR_EVER);
            }
        };
        upserts.apply(calendar(1, 0..20), 1);
        upserts.apply(calendar(2, 0..0), 2);
        assert_eq!((upserts.titles().len(), &*upserts.letters), (20, &[HELD_BACK][..]));
        restart(&mut upserts);
        // It was a mistake: the next one has nearly all.
        upserts.apply(calendar(3, 1..20), 3);
        assert_eq!(upserts.titles().len(), 19);
        restart(&mut upserts);
        // The first of two again, and byte for byte the same a second time.
        upserts.apply(calendar(4, 0..9), 4);
        assert_eq!(upserts.titles().len(), 20);
        restart(&mut upserts);
        upserts.letters.clear();
        upserts.apply(calendar(5, 0..9), 5);
        assert_eq!((upserts.titles().len(), &*upserts.letters), (9, &[][..]));
        restart(&mut upserts);
        // Nine are too few to doubt.
        upserts.apply(calendar(6, 0..0), 6);
        assert_eq!(upserts.titles().len(), 0);
    }
}

#[test]
fn an_older_record_does_not_agree_after_a_restart() {
    let mut upserts = Upserts::new(FOR_EVER);
    upserts.apply(calendar(1, 0..20), 1);
    upserts.apply(calendar(5, 0..0), 2);
    let mut upserts = upserts.restarted(FOR_EVER);
    upserts.apply(calendar(3, 0..0), 3);
    assert_eq!(upserts.titles().len(), 20);
    upserts.apply(calendar(6, 0..0), 4);
    assert_eq!(upserts.titles().len(), 0);
}

#[test]
fn listings_that_are_over_are_not_missed() {
    let mut upserts = Upserts::new(FOR_EVER);
    upserts.apply(calendar(1, 0..20), 1);
    // All twenty are over by then.
    let after = "2027-01-01T00:00:00Z".parse::<Moment>().unwrap().earliest_ms(None);
    upserts.apply(calendar(after, 0..0), 2);
    assert_eq!(upserts.titles().len(), 0);
}

#[test]
fn a_source_that_may_shrink_is_not_doubted_and_half_is_no_less_than_half() {
    let mut upserts = Upserts::new(FOR_EVER);
    upserts.apply(calendar(1, 0..20), 1);
    upserts.apply(calendar(2, 10..20), 2);
    assert_eq!(upserts.titles().len(), 10);
    let mut upserts = Upserts::new(FOR_EVER);
    let never = HoldBack { by_source: HashMap::from([("s".to_owned(), 0.0)]), ..half() };
    upserts.documents = Documents::new(FOR_EVER, never, 1, Arc::new(read));
    upserts.apply(calendar(1, 0..20), 1);
    upserts.apply(calendar(2, 0..0), 2);
    assert_eq!((upserts.titles().len(), upserts.letters.len()), (0, 0));
}

#[test]
fn a_part_that_could_not_be_read_keeps_what_it_said() {
    let mut upserts = Upserts::new(FOR_EVER);
    upserts.apply(document(0, 1, Some("cal"), &[("a", "A", 0), ("b", "B", 0)]), 1);
    let mut next = document(0, 2, Some("cal"), &[("a", "A2", 0)]);
    next.kept = vec!["b".to_owned()];
    upserts.apply(next, 2);
    assert_eq!(upserts.titles(), ["A2", "B"]);
}

#[test]
fn unchanged_repeats_write_nothing() {
    let mut upserts = Upserts::new(FOR_EVER);
    upserts.apply(document(0, 1, None, &[("a", "A", 0)]), 1);
    upserts.states.clear();
    upserts.apply(document(0, 2, None, &[("a", "A", 0)]), 2);
    assert!(upserts.states.is_empty());
    assert_eq!(upserts.tallies, [Outcome::Discovered, Outcome::Unchanged]);
}

#[test]
fn a_repeat_is_not_read_until_its_listings_leave() {
    fn refuse(_: RawRecord) -> Extraction {
        Extraction { document: None, failures: Vec::new(), timeless: true }
    }
    let day = 86_400_000;
    let retention = Retention { past_events_ms: Some(day), assumed_duration_ms: 0 };
    let leaves = "2026-05-02T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None) as u64;
    let mut upserts = Upserts::new(retention);
    let one = [("a", "A", 0)];
    upserts.apply(document(0, 1, Some("k"), &one), 1);
    upserts.documents.set_read(Arc::new(refuse));
    upserts.apply(document(0, 2, Some("k"), &one), 1);
    upserts.apply(document(0, 3, Some("k"), &one), leaves - 1);
    // Read, in vain: another text, an older record, and one when the listing is past.
    upserts.apply(document(0, 4, Some("k"), &[("a", "B", 0)]), 1);
    upserts.apply(document(0, 2, Some("k"), &one), 1);
    upserts.apply(document(0, 5, Some("k"), &one), leaves);
    use Outcome::{Discovered, Unchanged};
    assert_eq!(upserts.tallies, [Discovered, Unchanged, Unchanged]);
}

#[test]
fn what_was_stamped_as_older_is_read_again_once_the_newer_has_left() {
    let day = 86_400_000;
    let retention = Retention { past_events_ms: Some(day), assumed_duration_ms: 0 };
    let stale = |offset| {
        let mut told = document(0, offset, Some("k"), &[("a", "in June", 3)]);
        told.listings[0].3 = "2026-06-01T20:00:00Z".to_owned();
        told
    };
    let leaves = "2026-05-02T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None);
    let mut upserts = Upserts::new(retention);
    upserts.apply(document(0, 1, Some("k"), &[("a", "in May", 5)]), 1);
    upserts.apply(stale(2), 1);
    upserts.apply(stale(3), 1);
    assert_eq!(upserts.titles(), ["in May"]);
    let mut emitted = Emitted::default();
    upserts.register.expire(leaves, &mut emitted);
    upserts.take(emitted);
    assert!(upserts.titles().is_empty());
    upserts.apply(stale(4), leaves as u64);
    assert_eq!(upserts.titles(), ["in June"]);
}

#[test]
fn a_repeat_without_a_key_is_the_newest_word() {
    let mut upserts = Upserts::new(FOR_EVER);
    for (partition, offset, title) in [(0, 1, "A"), (1, 2, "B"), (0, 3, "A")] {
        upserts.apply(document(partition, offset, None, &[("a", title, 0)]), 1);
    }
    assert_eq!(upserts.titles(), ["A"]);
    assert_eq!(upserts.restarted(FOR_EVER).titles(), ["A"]);
}

#[test]
fn a_greater_stamp_wins_over_a_later_record() {
    let mut upserts = Upserts::new(FOR_EVER);
    upserts.apply(document(0, 1, None, &[("a", "revised", 7)]), 1);
    upserts.apply(document(0, 2, None, &[("a", "stale", 3)]), 2);
    assert_eq!(upserts.titles(), ["revised"]);
}

#[test]
fn past_events_leave_and_do_not_come_back() {
    let day = 86_400_000;
    let retention = Retention { past_events_ms: Some(day), assumed_duration_ms: 3_600_000 };
    let mut upserts = Upserts::new(retention);
    let begins: i64 = "2026-05-01T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None);
    upserts.apply(document(0, 1, None, &[("a", "A", 0)]), begins as u64);
    let leaves = begins + 3_600_000 + day;
    assert_eq!(upserts.register.next_timer(), Some(leaves));
    let mut emitted = Emitted::default();
    upserts.register.expire(leaves - 1, &mut emitted);
    assert!(emitted.listings.is_empty());
    upserts.register.expire(leaves, &mut emitted);
    upserts.take(emitted);
    assert!(upserts.titles().is_empty());
    assert_eq!(upserts.states.values().collect::<Vec<_>>(), [&None]);
    upserts.apply(document(0, 2, None, &[("a", "A again", 0)]), leaves as u64);
    assert!(upserts.titles().is_empty());
    assert!(upserts.register.is_empty());
}

#[test]
fn a_known_end_counts_and_not_the_assumed_one() {
    let retention = Retention { past_events_ms: Some(0), assumed_duration_ms: 3_600_000 };
    let leaves = |start: &str, end: Option<&str>| {
        let end = end.map(|end| end.parse().unwrap());
        let eight = "2026-05-01T20:00:00Z".parse::<Moment>().unwrap().earliest_ms(None);
        retention.leaves_at(start.parse().unwrap(), end) - eight
    };
    assert_eq!(leaves("2026-05-01T20:00:00Z", Some("2026-05-01T20:10:00Z")), 600_000);
    assert_eq!(leaves("2026-05-01T20:00:00Z", None), 3_600_000);
    assert_eq!(leaves("2026-05-01T20:00:00Z", Some("2026-05-01T19:00:00Z")), 0);
    assert_eq!(leaves("2026-05-01", None), 4 * 3_600_000);
}

#[test]
fn what_comes_again_and_again_has_one_timer_and_leaves_none() {
    let retention = Retention { past_events_ms: Some(0), ..FOR_EVER };
    let mut upserts = Upserts::new(retention);
    let start = |upserts: &mut Upserts, offset: i64, key: Option<&str>, day: &str| {
        let mut next = document(0, offset, key, &[("a", &format!("A{offset}"), 0)]);
        next.listings[0].3 = day.to_owned();
        upserts.apply(next, 1);
    };
    for offset in 1..100 {
        start(&mut upserts, offset, Some("cal"), if offset % 2 == 0 { "2026-05-01" } else { "2026-05-02" });
        assert_eq!((upserts.documents.timers(), upserts.register.timers()), (1, 1));
    }
    start(&mut upserts, 100, None, "2026-05-03");
    assert_eq!((upserts.register.timers(), upserts.register.further_claims()), (1, 1));
    upserts.apply(document(0, 101, Some("cal"), &[]), 1);
    assert!(upserts.documents.timers() == 0 && upserts.documents.is_empty());
    assert_eq!((upserts.register.timers(), upserts.register.further_claims()), (1, 0));
    let mut emitted = Emitted::default();
    upserts.register.expire(i64::MAX - 1, &mut emitted);
    assert!(upserts.register.is_empty() && upserts.register.timers() == 0);
}

#[test]
fn an_update_into_the_past_takes_the_listing_away() {
    let retention = Retention { past_events_ms: Some(0), ..FOR_EVER };
    let mut upserts = Upserts::new(retention);
    upserts.apply(document(0, 1, None, &[("a", "A", 0)]), 1);
    assert_eq!(upserts.titles(), ["A"]);
    let mut next = document(0, 2, None, &[("a", "A moved", 0)]);
    next.listings[0].3 = "1970-01-01T00:00:00Z".to_owned();
    upserts.apply(next, 86_400_000);
    assert!(upserts.titles().is_empty());
    assert_eq!(upserts.states.values().collect::<Vec<_>>(), [&None]);
}

/// A record: partition, document key (0: none), which of four listings with which title.
type Step = (i32, u8, Vec<(u8, u8)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let listings = prop::collection::vec((0u8..4, 0u8..3), 0..3);
    prop::collection::vec((0i32..2, 0u8..3, listings), 1..24)
}

/// Keys stay in one partition, as producers keep them.
fn records(steps: &[Step]) -> Vec<Told> {
    let make = |(offset, (partition, key, listings)): (i64, &Step)| {
        let partition = if *key == 0 { *partition } else { i32::from(*key) % 2 };
        // Extraction leaves one listing for each id.
        let named: BTreeMap<String, String> =
            listings.iter().map(|(id, title)| (format!("l{id}"), format!("t{title}"))).collect();
        let listings: Vec<(&str, &str, i64)> =
            named.iter().map(|(id, title)| (id.as_str(), title.as_str(), 0)).collect();
        let key = (*key != 0).then(|| format!("k{key}"));
        document(partition, offset, key.as_deref(), &listings)
    };
    (1..).zip(steps).map(make).collect()
}

/// The records of two partitions, each in its order, as `seed` interleaves them.
fn interleaved(records: Vec<Told>, seed: u64) -> Vec<Told> {
    let mut partitions: [Vec<Told>; 2] = [Vec::new(), Vec::new()];
    records.into_iter().rev().for_each(|record| partitions[record.partition as usize].push(record));
    let (mut bits, mut order) = (seed, Vec::new());
    while !partitions.iter().all(Vec::is_empty) {
        let pick = usize::from(bits & 1 == 1);
        bits = bits.rotate_right(1);
        let pick = if partitions[pick].is_empty() { 1 - pick } else { pick };
        order.extend(partitions[pick].pop());
    }
    order
}

#[test]
fn claims_on_one_listing_are_bounded() {
    let mut upserts = Upserts::new(FOR_EVER);
    for offset in 0..200 {
        let (key, title) = (format!("key {offset}"), format!("title {offset}"));
        upserts.apply(document(0, offset, Some(&key), &[("1", &title, 0)]), 1);
    }
    let state = upserts.states.values().next().unwrap().clone().unwrap();
    assert_eq!(state.claims.len(), MAX_CLAIMS);
    assert_eq!((state.live.listing.view().title, state.live.first_seen), ("title 199", 0));
}

proptest! {
    #[test]
    fn any_interleaving_of_partitions_ends_in_the_same_listings(steps in steps(), seed in any::<u64>()) {
        let records = records(&steps);
        let mut in_order = Upserts::new(FOR_EVER);
        records.iter().for_each(|record| in_order.apply(record.clone(), 1));
        let mut shuffled = Upserts::new(FOR_EVER);
        for record in interleaved(records, seed) {
            shuffled.apply(record, 1);
        }
        prop_assert_eq!(&in_order.live, &shuffled.live);
    }

    #[test]
    fn past_claims_leave_the_others_in_any_interleaving(steps in steps(), seed in any::<u64>()) {
        let retention = Retention { past_events_ms: Some(0), assumed_duration_ms: 0 };
        let mut records = records(&steps);
        for one in records.iter_mut().flat_map(|record| &mut record.listings) {
            if one.1 == "t0" {
                one.3 = "1970-01-01T00:00:00Z".to_owned();
            }
        }
        let now = 86_400_000;
        let mut in_order = Upserts::new(retention);
        records.iter().for_each(|record| in_order.apply(record.clone(), now));
        let mut shuffled = Upserts::new(retention);
        for record in interleaved(records, seed) {
            shuffled.apply(record, now);
        }
        prop_assert_eq!(&in_order.live, &shuffled.live);
    }

    #[test]
    fn repeats_count_and_change_as_if_they_were_read(steps in steps(), again in any::<u64>()) {
        let mut quick = Upserts::new(FOR_EVER);
        let mut thorough = Upserts::reading(FOR_EVER, read_always);
        let mut offset = 0;
        for (index, record) in records(&steps).into_iter().enumerate() {
            for _ in 0..1 + (again >> (2 * index % 64) & 3) {
                offset += 1;
                let record = Told { offset, ..record.clone() };
                quick.apply(record.clone(), 1);
                thorough.apply(record, 1);
            }
        }
        prop_assert_eq!(&quick.live, &thorough.live);
        prop_assert_eq!(&quick.states, &thorough.states);
        prop_assert_eq!(&quick.tallies, &thorough.tallies);
    }

    #[test]
    fn a_restart_anywhere_changes_nothing(steps in steps(), at in 0usize..24) {
        let records = records(&steps);
        let mut undisturbed = Upserts::new(FOR_EVER);
        let mut restarted = Upserts::new(FOR_EVER);
        for (index, record) in records.into_iter().enumerate() {
            if index == at {
                restarted = Upserts { states: restarted.states.clone(), ..restarted.restarted(FOR_EVER) };
            }
            undisturbed.apply(record.clone(), 1);
            restarted.apply(record, 1);
        }
        prop_assert_eq!(&undisturbed.live, &restarted.live);
    }
}
