//! The whole pipeline on a generated feed: the same results on either log, on any number of
//! workers, in one go or with restarts; the counts are those of a naive recount, and the events
//! are those that the generator meant.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use headwater_operators::Listing;
use headwater_operators::raw::{Origin, RawRecord};
use headwater_operators::sanitize::sanitize;

use crate::subject::feed::{Counts, FEED, REFERENCE, assert_same, harness, in_portions, metrics, settled};
use crate::support::Place;
use crate::support::subject::Name;

#[test]
fn two_workers_give_the_same() {
    assert_same(&in_portions(Place::Embedded, &[2]), "2 workers");
}

#[test]
fn three_workers_give_the_same() {
    assert_same(&in_portions(Place::Embedded, &[3]), "3 workers");
}

#[test]
fn kafka_gives_the_same() {
    let Some(place) = Place::kafka("the whole pipeline") else { return };
    assert_same(&in_portions(place, &[2]), "Kafka");
}

#[test]
fn restarts_with_other_worker_counts_give_the_same() {
    assert_same(&in_portions(Place::Embedded, &[1, 3, 2]), "with restarts");
}

#[test]
fn restarts_on_kafka_give_the_same() {
    let Some(place) = Place::kafka("restarts") else { return };
    assert_same(&in_portions(place, &[2, 1]), "with restarts on Kafka");
}

/// Who last said what of a listing.
#[derive(Default)]
struct Recount {
    /// Listings of each keyed document.
    documents: HashMap<(String, Vec<u8>), BTreeSet<Name>>,
    live: BTreeMap<Name, Listing>,
    counts: Counts,
}

impl Recount {
    fn count(&mut self, source: &str, at: usize) {
        self.counts.entry(source.to_owned()).or_default()[at] += 1;
    }

    fn take(&mut self, source: &str, key: Option<Vec<u8>>, listings: Vec<Listing>, kept: &BTreeSet<Name>) {
        let mut said = BTreeSet::new();
        for listing in listings {
            let name = (source.to_owned(), listing.external_id.to_string());
            said.insert(name.clone());
            let before = self.live.insert(name, listing.clone());
            self.count(source, 0);
            self.count(
                source,
                if before.is_none() {
                    1
                } else if before == Some(listing) {
                    3
                } else {
                    2
                },
            );
        }
        let Some(key) = key else { return };
        let document = self.documents.entry((source.to_owned(), key)).or_default();
        let before = std::mem::take(document);
        *document = said.union(&before.intersection(kept).cloned().collect()).cloned().collect();
        for gone in before.difference(&said).filter(|name| !kept.contains(*name)) {
            if self.live.remove(gone).is_some() {
                self.count(source, 4);
            }
        }
    }
}

/// Reads the feed record by record in order, with nothing shared with the engine but extraction.
fn recount() -> Recount {
    let harness = harness(Place::Embedded);
    let (extractor, _) = harness.config.topology.compile().unwrap();
    let mut recount = Recount::default();
    for (offset, input) in (0..).zip(&FEED.inputs) {
        let origin = Origin {
            topic: "raw".into(),
            partition: 0,
            offset,
            timestamp_ms: input.timestamp_ms,
            order_ms: input.timestamp_ms,
        };
        let source = input.source.as_deref().unwrap();
        let extraction = extractor.extract(RawRecord {
            origin,
            source: Some(source.into()),
            content_type: input.content_type.as_deref().map(Into::into),
            key: input.key.clone(),
            value: input.value.clone(),
            headers: Vec::new(),
        });
        extraction.failures.iter().for_each(|_| recount.count(source, 5));
        let Some(mut document) = extraction.document else { continue };
        let kept: BTreeSet<Name> = recount
            .live
            .iter()
            .filter(|(_, known)| document.kept.contains(&known.id()))
            .map(|(n, _)| n.clone())
            .collect();
        document.listings.iter_mut().for_each(|one| sanitize(&mut one.listing, &harness.config.topology.sanitize));
        let listings = document.listings.into_iter().map(|one| one.listing).collect();
        recount.take(source, input.key.clone().filter(|_| document.id.is_some()), listings, &kept);
    }
    recount
}

#[test]
fn counts_and_live_listings_are_those_of_a_naive_recount() {
    let recount = recount();
    let live: BTreeSet<Name> =
        REFERENCE.listings.values().map(|state| crate::subject::name(&state["listing"])).collect();
    assert_eq!(recount.live.keys().cloned().collect::<BTreeSet<_>>(), live);
    assert_eq!(settled(recount.counts.clone()), metrics(&REFERENCE));
    let all: [u64; 6] = recount.counts.values().fold([0; 6], |mut sum, one| {
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        sum
    });
    assert!(all.iter().all(|count| *count > 20), "the feed has some of everything: {all:?}");
}

/// Pairs of listings that are one event.
fn pairs<'a>(groups: impl IntoIterator<Item = Vec<&'a Name>>) -> BTreeSet<(&'a Name, &'a Name)> {
    let mut pairs = BTreeSet::new();
    for mut group in groups {
        group.sort();
        for (at, a) in group.iter().enumerate() {
            pairs.extend(group.iter().skip(at + 1).map(|b| (*a, *b)));
        }
    }
    pairs
}

#[test]
fn events_are_those_that_the_generator_meant() {
    let groups = REFERENCE.groups();
    let found = pairs(groups.values().map(|group| group.iter().collect()));
    let names: Vec<(Name, u64)> = FEED
        .truth
        .iter()
        .filter(|row| row.live)
        .map(|row| ((row.source.to_string(), row.external_id.clone()), row.event))
        .collect();
    let mut by_event: BTreeMap<u64, Vec<&Name>> = BTreeMap::new();
    names.iter().for_each(|(name, event)| by_event.entry(*event).or_default().push(name));
    let meant = pairs(by_event.into_values());
    let right = found.intersection(&meant).count() as f64;
    let (precision, recall) = (right / found.len() as f64, right / meant.len() as f64);
    println!("{} pairs found, {} meant: precision {precision:.4}, recall {recall:.4}", found.len(), meant.len());
    assert!(meant.len() > 300, "{} pairs are too few to judge by", meant.len());
    assert!(precision >= 0.99, "precision {precision}");
    assert!(recall >= 0.97, "recall {recall}");
    let live: BTreeSet<&Name> = names.iter().map(|(name, _)| name).collect();
    let listed: BTreeSet<&Name> = groups.values().flatten().collect();
    assert_eq!(listed, live, "what is listed is what the generator has live");
}
