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

/// What stands between two acts; what begins with another one comes before it.
const BETWEEN: Separators = Separators::new(&[
    ", and ",
    ", & ",
    ", with ",
    ", plus ",
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

/// Whom a title names.
pub(super) struct Named {
    /// Hash of the letters of all its words: what it is called where it is one act.
    pub whole: u32,
    /// The acts that it bills; none where it names fewer than two.
    pub acts: Acts,
}

/// Reads whom a title names.
pub(super) fn named(title: &str) -> Named {
    let mut letters = String::new();
    let whole = hash_of_words(title, &mut letters).unwrap_or(0);
    Named { whole, acts: acts(title, &mut letters) }
}

fn acts(title: &str, letters: &mut String) -> Acts {
    let (mut acts, mut rest) = (Acts::new(), title);
    while let Some((at, length)) = BETWEEN.first_in(rest) {
        acts.extend(hash_of_words(rest.get(..at).unwrap_or_default(), letters));
        rest = rest.get(at + length..).unwrap_or_default();
    }
    if rest.len() == title.len() {
        return acts;
    }
    acts.extend(hash_of_words(rest, letters));
    acts.sort_unstable();
    acts.dedup();
    if !(2..=MOST).contains(&acts.len()) {
        acts.clear();
    }
    acts
}

/// Hash of the letters of all words; `None` where there are too few. `letters` is room for them.
fn hash_of_words(text: &str, letters: &mut String) -> Option<u32> {
    letters.clear();
    for_each_word(text, |word, _| letters.push_str(word));
    (letters.len() >= LETTERS).then(|| hash_of_letters(letters))
}

/// Whether `bill` names all acts that another title names.
pub(super) fn bills(bill: &Fingerprint, one: &Fingerprint) -> bool {
    let names = |act: &u32| bill.acts.binary_search(act).is_ok();
    names(&one.act) || (!one.acts.is_empty() && one.acts.iter().all(names))
}

/// Whether both are bills, and the one has all acts of the other.
pub(super) fn are_one_bill(a: &Fingerprint, b: &Fingerprint) -> bool {
    !a.acts.is_empty() && !b.acts.is_empty() && (bills(a, b) || bills(b, a))
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
            ("Marsh Owls, Reed 41, and Ada Brook", "marshowls|reed41|adabrook"),
        ] {
            assert_eq!(named(title).acts.iter().copied().collect::<BTreeSet<_>>(), names(expected), "{title}");
        }
        for title in ["Marsh Owls", "", "Owls, ", "Owls & X", "Bread,Butter", "Owls, owls"] {
            assert!(named(title).acts.is_empty(), "{title}");
        }
        let many = (0..=MOST).map(|act| format!("Act {act:03}")).collect::<Vec<_>>().join(", ");
        assert!(named(&many).acts.is_empty());
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

    #[test]
    fn a_bill_lifts_no_other_veto() {
        let bill = show("house", "1", "Marsh Owls / Ada Brook / Seven Kettles", ("19:30", ""), "Heron Cellar");
        let apart = |shows: &[LiveListing], config: &ResolveConfig| {
            let batch = Batch::resolve(shows, &[], config);
            assert!(batch.clusters.iter().all(|cluster| cluster.len() < 3), "{:?}", batch.clusters);
        };
        let shows = [of_tracker(["20:00"; 3], "Heron Cellar"), vec![bill]].concat();
        let unique = ResolveConfig { duplicate_free: ["tracker".into()].into(), ..ResolveConfig::default() };
        apart(&shows, &unique);
        let show = |source: &str, id: &str, title: &str, venue: &str| show(source, id, title, ("20:00", ""), venue);
        let (walk, more) = ("Lantern Walk in the Orchard", "Picnic Supper and Lantern Walk in the Orchard");
        let walks = [
            show("town", "1", walk, "Orchard"),
            show("town", "2", more, "Orchard"),
            show("guide", "1", more, "Orchard"),
        ];
        apart(&walks, &ResolveConfig::default());
        let rooms = [
            show("town", "1", "Reed Weaving", "Heron House, Room 1"),
            show("town", "2", "Spoon Carving", "Heron House, Room 2"),
            show("guide", "1", "Reed Weaving & Spoon Carving", "Heron House"),
        ];
        apart(&rooms, &ResolveConfig::default());
    }

    #[test]
    fn a_number_in_a_name_is_a_part_of_it() {
        let bill = show("house", "1", "Reed 41 / Marsh Owls", ("20:00", ""), "Heron Cellar");
        let acts = ["Reed 41", "Marsh Owls"].map(|act| show("tracker", act, act, ("20:00", ""), "Heron Cellar"));
        let shows = [&acts[..], &[bill]].concat();
        assert_eq!(clusters(&shows), [shows.iter().map(|show| show.id).collect()].into());
    }
}
