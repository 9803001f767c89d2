//! Moderations: what editors said of single listings, and what of it reaches the events.
//!
//! An editor speaks of an event, but event ids come and go with merges. So the word is kept for listings: it
//! follows a listing into whatever event that belongs to, and an event has the gravest word of its listings.
//! A word on a listing that is not live waits for it.
//!
//! Few listings are moderated. They are kept apart from all the others, which cost a look into a small table
//! when they change.

use foldhash::{HashMap, HashSet};

use super::decision::{Decision, DecisionReport, DecisionState, Known, Moderation, Subject};
use crate::event::EventId;
use crate::ids::ListingId;
use crate::shared::Shared;

/// What comes (1) or goes (-1) of words and of reports in an epoch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModerationChanges {
    /// A word on an event: one for each of its listings that is moderated.
    pub(super) moderated: Vec<((EventId, Moderation), isize)>,
    pub(super) reports: Vec<((Subject, Shared<DecisionReport>), isize)>,
}

/// The moderated listings of one worker.
#[derive(Debug, Default)]
pub(super) struct Moderations {
    known: HashMap<ListingId, ModeratedListing>,
    /// Those to be looked at again.
    touched: HashSet<ListingId>,
}

/// The decisions on a listing, and what was last told of them.
#[derive(Debug, Default)]
struct ModeratedListing {
    decisions: Known,
    given: Option<(EventId, Moderation)>,
    report: Option<Shared<DecisionReport>>,
}

impl Moderations {
    /// Number of listings that are moderated.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes in that a decision came or went.
    pub(super) fn decide(&mut self, listing: ListingId, decision: Shared<Decision>, diff: isize) {
        self.known.entry(listing).or_default().decisions.change(decision, diff);
        self.touched.insert(listing);
    }

    /// Takes in that a listing may have come, gone, or moved to another event.
    pub(super) fn touch(&mut self, listing: ListingId) {
        if self.known.contains_key(&listing) {
            self.touched.insert(listing);
        }
    }

    /// Looks again at what was touched. `event_of` gives the event of a listing that is live.
    pub(super) fn review(&mut self, event_of: impl Fn(ListingId) -> Option<EventId>) -> ModerationChanges {
        let mut changes = ModerationChanges::default();
        for listing in self.touched.drain() {
            let Some(known) = self.known.get_mut(&listing) else { continue };
            known.review(listing, event_of(listing), &mut changes);
            if known.decisions.is_empty() {
                self.known.remove(&listing);
            }
        }
        changes
    }
}

impl ModeratedListing {
    fn review(&mut self, listing: ListingId, event: Option<EventId>, changes: &mut ModerationChanges) {
        let counting = self.decisions.counting();
        let given = event.zip(counting.and_then(|decision| decision.moderation()));
        if given != self.given {
            changes.moderated.extend(self.given.map(|old| (old, -1)));
            changes.moderated.extend(given.map(|new| (new, 1)));
            self.given = given;
        }
        let report = counting.map(|decision| Shared::new(report(decision, event.is_some())));
        if report != self.report {
            let subject = Subject::Listing(listing);
            let old = std::mem::replace(&mut self.report, report.clone());
            changes.reports.extend(old.map(|old| ((subject, old), -1)));
            changes.reports.extend(report.map(|new| ((subject, new), 1)));
        }
    }
}

fn report(decision: &Shared<Decision>, is_live: bool) -> DecisionReport {
    let missing = if is_live { Vec::new() } else { decision.listings().into_iter().cloned().collect() };
    let state = if is_live { DecisionState::Holds } else { DecisionState::Waits };
    DecisionReport { decision: decision.clone(), state, missing, overruled_by: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::decision::{ListingRef, Moderated};

    const LISTING: ListingId = ListingId(1);

    fn decision(moderation: Moderation, at: i64) -> Shared<Decision> {
        let listing = ListingRef::Id(LISTING);
        Shared::new(Decision::Moderate(Moderated { moderation, listing, who: "kim".into(), why: None, at }))
    }

    #[test]
    fn a_word_follows_its_listing_and_waits_for_it() {
        let mut moderations = Moderations::default();
        moderations.decide(LISTING, decision(Moderation::Rejected, 1), 1);
        let waiting = moderations.review(|_| None);
        assert_eq!(waiting.moderated, []);
        assert_eq!((waiting.reports[0].0.1.state, waiting.reports[0].0.1.missing.len()), (DecisionState::Waits, 1));

        moderations.touch(LISTING);
        let holding = moderations.review(|_| Some(EventId(7)));
        assert_eq!(holding.moderated, [((EventId(7), Moderation::Rejected), 1)]);
        assert_eq!(holding.reports.iter().map(|(_, diff)| *diff).collect::<Vec<_>>(), [-1, 1]);
        moderations.touch(LISTING);
        let moved = moderations.review(|_| Some(EventId(8)));
        let words = [((EventId(7), Moderation::Rejected), -1), ((EventId(8), Moderation::Rejected), 1)];
        assert_eq!((&moved.moderated[..], moved.reports.len()), (&words[..], 0), "what is told of it stays");
        moderations.touch(LISTING);
        assert_eq!(moderations.review(|_| Some(EventId(8))), ModerationChanges::default());
    }

    #[test]
    fn the_newest_word_counts_until_it_is_taken_back() {
        let mut moderations = Moderations::default();
        moderations.decide(LISTING, decision(Moderation::Rejected, 1), 1);
        moderations.decide(LISTING, decision(Moderation::Approved, 2), 1);
        assert_eq!(moderations.review(|_| Some(EventId(7))).moderated, [((EventId(7), Moderation::Approved), 1)]);
        moderations.decide(LISTING, decision(Moderation::Approved, 2), -1);
        let back = moderations.review(|_| Some(EventId(7)));
        assert_eq!(back.moderated.last(), Some(&((EventId(7), Moderation::Rejected), 1)));
        moderations.decide(LISTING, decision(Moderation::Rejected, 1), -1);
        let gone = moderations.review(|_| Some(EventId(7)));
        assert_eq!(gone.moderated, [((EventId(7), Moderation::Rejected), -1)]);
        assert_eq!((gone.reports.len(), moderations.len()), (1, 0));
        moderations.touch(LISTING);
        assert_eq!(moderations.review(|_| None), ModerationChanges::default());
    }
}
