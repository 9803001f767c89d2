//! The floor finds what a slow program finds that looks at every pair.

use std::collections::BTreeSet;

use crate::generate::{GenerateConfig, Shape as Shapes};

use super::*;

fn config(updates: f64, repeats: f64) -> GenerateConfig {
    GenerateConfig {
        seed: 11,
        shapes: vec![Shapes::Mapped],
        update_share: updates,
        repeat_share: repeats,
        withdraw_share: 0.0,
        malformed_share: 0.0,
        days: 20,
        ..GenerateConfig::default()
    }
}

/// Every pair that shares a block is compared; groups are what hangs together.
fn slow(input: &Input) -> BTreeSet<BTreeSet<ListingId>> {
    let mut zones = Zones::default();
    let mut listings = Vec::new();
    for (partition, index) in input.in_order() {
        let record = input.get(partition, index).unwrap();
        let source = &input.senders()[record.sender].source;
        let listing = parse::parse(Shape::of_source(source).unwrap(), record.value.unwrap(), &mut zones).unwrap();
        let id = ListingId::of(source, std::str::from_utf8(record.key.unwrap()).unwrap());
        listings.push((id, Print::of(&listing)));
    }
    let mut group: Vec<usize> = (0..listings.len()).collect();
    for a in 0..listings.len() {
        for b in 0..a {
            let ((id_a, (print_a, keys_a)), (id_b, (print_b, keys_b))) = (&listings[a], &listings[b]);
            let met = keys_a.iter().any(|key| keys_b.contains(key)) && print_a.is(print_b);
            if met || id_a == id_b {
                let (from, to) = (group[a], group[b]);
                group.iter_mut().filter(|of| **of == from).for_each(|of| *of = to);
            }
        }
    }
    let mut groups: HashMap<usize, BTreeSet<ListingId>> = HashMap::new();
    for ((id, _), group) in listings.iter().zip(group) {
        groups.entry(group).or_default().insert(*id);
    }
    groups.into_values().collect()
}

fn found(floor: &mut Floor<'_>) -> BTreeSet<BTreeSet<ListingId>> {
    let mut groups: HashMap<Id, BTreeSet<ListingId>> = HashMap::new();
    for (listing, event) in floor.clusters() {
        groups.entry(event).or_default().insert(listing);
    }
    groups.into_values().collect()
}

#[test]
fn groups_are_those_of_a_slow_program() {
    for threads in [1, 2, 3] {
        let input = Input::generated(1_500, config(0.0, 0.1), threads).unwrap();
        let expected = slow(&input);
        assert!(expected.iter().any(|group| group.len() == 3));
        let (none, part, all) = (vec![0; threads], input.split(400), input.lengths());
        let mut floor = Floor::new(&input).unwrap();
        floor.feed(&none, &part);
        floor.feed(&part, &all);
        assert_eq!(found(&mut floor), expected, "{threads} threads");
    }
}

#[test]
fn repeats_are_skipped_and_changes_are_not() {
    let input = Input::generated(2_000, config(0.1, 0.5), 2).unwrap();
    let report = floor(&input, 0).unwrap();
    assert_eq!(report.records, 2_000);
    assert!((900..=1_050).contains(&report.skipped), "{}", report.skipped);
    assert!(report.listings >= 700 && report.listings <= 900, "{}", report.listings);
}

#[test]
fn most_duplicates_are_found_and_little_else() {
    let input = Input::generated(20_000, config(0.0, 0.0), 2).unwrap();
    let report = floor(&input, 5_000).unwrap();
    assert_eq!(report.records, 15_000);
    assert!(report.output_bytes > 800 * report.events);
    let quality = report.quality.unwrap();
    assert_eq!(quality.missing, 0);
    assert!(quality.precision > 0.97 && quality.recall > 0.93, "{quality:?}");
}
