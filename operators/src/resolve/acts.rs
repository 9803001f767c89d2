//! Acts: whom a title bills that names several.
//!
//! A house announces "Marsh Owls / Tin Kettle / Ada Brook", and an aggregator lists each act as an entry of
//! its own, or the same bill with one act more. So a bill keeps a hash of each of its acts. What shares a
//! bill, begins at one time and is at one place is one show:
//! - two bills, the one with all acts of the other, also where they are entries of one source;
//! - entries that name one act each, where a third listing bills them all.

use smallvec::SmallVec;

use super::fingerprint::Fingerprint;
use super::separator::Separators;
use super::title::hash_of_letters;
use super::token::for_each_word;

/// Hashes of acts, ascending.
pub(super) type Acts = SmallVec<[u32; 8]>;

/// A title that names more than this is a list of another kind.
const MOST: usize = 12;

/// An act has so many letters.
const LETTERS: usize = 3;

/// What stands between two acts.
const BETWEEN: Separators = Separators::new(&[
    ", ",
    " & ",
    " + ",
    " / ",
    " and ",
    " w/ ",
    " with ",
    " feat. ",
    " featuring ",
    " ft. ",
    " plus ",
]);

/// The acts of a title; none where it names fewer than two.
pub(super) fn acts(title: &str) -> Acts {
    let mut acts = Acts::new();
    let (mut rest, mut letters) = (title, String::new());
    while let Some((at, length)) = BETWEEN.first_in(rest) {
        add(rest.get(..at).unwrap_or_default(), &mut letters, &mut acts);
        rest = rest.get(at + length..).unwrap_or_default();
    }
    if rest.len() == title.len() {
        return acts;
    }
    add(rest, &mut letters, &mut acts);
    acts.sort_unstable();
    acts.dedup();
    if !(2..=MOST).contains(&acts.len()) {
        acts.clear();
    }
    acts
}

/// Adds the hash that [`Fingerprint::letters`] has of a title that is this act alone.
fn add(act: &str, letters: &mut String, acts: &mut Acts) {
    letters.clear();
    for_each_word(act, |word, _| letters.push_str(word));
    if letters.len() >= LETTERS {
        acts.push(hash_of_letters(letters));
    }
}

/// Whether `bill` names what the other title says, all of it.
pub(super) fn bills(bill: &Fingerprint, act: &Fingerprint) -> bool {
    bill.acts.binary_search(&act.letters[2]).is_ok() || are_one_bill(bill, act)
}

/// Whether both are bills, and the one has all acts of the other.
pub(super) fn are_one_bill(a: &Fingerprint, b: &Fingerprint) -> bool {
    let (less, more) = if a.acts.len() <= b.acts.len() { (a, b) } else { (b, a) };
    !less.acts.is_empty() && less.acts.iter().all(|act| more.acts.binary_search(act).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Batch, ResolveConfig};
    use super::*;
    use crate::ids::ListingId;
    use crate::listing::{Listing, LiveListing};

    #[test]
    fn acts_are_what_stands_between_separators() {
        let names = |text: &str| text.split('|').map(hash_of_letters).collect::<BTreeSet<_>>();
        for (title, expected) in [
            ("Marsh Owls / Tin Kettle / Ada Brook", "marshowls|tinkettle|adabrook"),
            ("MARSH OWLS, Tin Kettle & Ada Brook", "marshowls|tinkettle|adabrook"),
            ("Marsh Owls w/ Tin Kettle", "marshowls|tinkettle"),
            ("Marsh Owls With Tin Kettle", "marshowls|tinkettle"),
        ] {
            assert_eq!(acts(title).iter().copied().collect::<BTreeSet<_>>(), names(expected), "{title}");
        }
        for title in ["Marsh Owls", "", "Owls, ", "Owls & X", "Bread,Butter", "Owls, owls"] {
            assert!(acts(title).is_empty(), "{title}");
        }
        let many = (0..=MOST).map(|act| format!("Act {act:03}")).collect::<Vec<_>>().join(", ");
        assert!(acts(&many).is_empty());
    }

    fn show(source: &str, id: &str, title: &str, times: (&str, &str), venue: &str) -> LiveListing {
        let at = |time: &str| format!("2026-12-10T{time}:00+01:00").parse().unwrap();
        let mut listing = Listing::new(source, id, title, at(times.0));
        listing.end = (!times.1.is_empty()).then(|| at(times.1));
        listing.venue.name = Some(venue.into());
        listing.urls.push(format!("https://{source}.example/e/{id}").into());
        LiveListing::new(&listing, 0, 0)
    }

    fn clusters(shows: &[LiveListing]) -> BTreeSet<BTreeSet<ListingId>> {
        let batch = Batch::resolve(shows, &[], &ResolveConfig::default());
        batch.clusters.iter().map(|cluster| cluster.iter().map(|member| member.node.listing).collect()).collect()
    }

    const ACTS: [&str; 3] = ["Marsh Owls", "Ada Brook", "Seven Kettles"];

    fn of_tracker(start: [&str; 3], venue: &str) -> Vec<LiveListing> {
        ACTS.iter().zip(start).map(|(act, start)| show("tracker", act, act, (start, ""), venue)).collect()
    }

    #[test]
    fn acts_that_are_listed_one_by_one_are_the_show_that_bills_them() {
        let bill = show("house", "1", "Marsh Owls / Ada Brook / Seven Kettles", ("19:30", ""), "Heron Cellar");
        let mut shows = of_tracker(["20:00"; 3], "Heron Cellar");
        shows.push(bill.clone());
        assert_eq!(clusters(&shows), [shows.iter().map(|show| show.id).collect()].into());
        let alone = of_tracker(["20:00"; 3], "Heron Cellar");
        assert!(clusters(&alone).iter().all(|cluster| cluster.len() < 2), "nobody says that they are one show");
        for apart in [of_tracker(["20:00", "20:15", "20:30"], "Heron Cellar"), of_tracker(["20:00"; 3], "Owl Barn")] {
            let shows = [apart, vec![bill.clone()]].concat();
            assert!(clusters(&shows).iter().all(|cluster| cluster.len() < 3), "their times or places differ");
        }
    }

    #[test]
    fn bills_that_hold_each_other_are_one_show_in_one_source_too() {
        let more = show("guide", "1", "Marsh Owls, Ada Brook, Seven Kettles", ("20:00", "23:00"), "Heron Cellar");
        let less = show("guide", "2", "Ada Brook & Marsh Owls", ("20:00", "23:59"), "Heron Cellar");
        let other = show("guide", "3", "Ada Brook & Tin Kettle", ("20:00", "23:59"), "Heron Cellar");
        assert_eq!(clusters(&[more.clone(), less.clone()]), [[more.id, less.id].into()].into());
        assert!(clusters(&[more, other]).iter().all(|cluster| cluster.len() < 2));
    }
}
