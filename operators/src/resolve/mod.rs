//! Resolving: which listings are one event, kept right under insert, update and withdrawal at the
//! cost of what changed.
//!
//! ```text
//!  decisions ───────────┬─────────────────────────────────────┐           history
//!                       ▼                                     ▼              ▼
//!  listings ──┬─► Fingerprint ──► Blocks ── matches ──► Clusters (graph, refinement, identity)
//!             │   by listing      by key                on one worker
//!             │        └──────── arrived, gone ────────────►  │  └─► redirects, reports, stats
//!             │                                               │ who belongs where, but for
//!             │                                               ▼ plain listings
//!             └──────────────────────────────────────────► Assignments ── all others ─► Merge
//!                                                            by listing               by event
//!                                                               │ plain listings        │
//!  decisions on single listings ──► Assignments ──► moderated    └──► events, links ◄────┘
//! ```
//!
//! A listing is read into a [`fingerprint`] once (`describe`, `title`; words in `token` and
//! `vocabulary`); [`keys`] say by what it is looked up, and [`block`] which pairs are compared;
//! `screen` sorts out most of those by a glance; [`compare`] judges a pair by the [`model`];
//! `graph` keeps the matches, and [`cluster`] makes groups of them, as far as the decisions allow
//! that hold (`rulings`); [`identity`] gives each group its event id; [`merge`] makes the event.
//! What editors said of single listings follows them into their events (`moderations`).
//! `fingerprinting` and `clustering` are the wiring of their operators. Payloads move once, and only
//! those of listings that have duplicates; all else moves fingerprints by pointer and 16-byte ids.
//!
//! # Sessions
//!
//! Which listings may be one event where a source has several of one thing on a day:
//!
//! 1. *Within one source*, two entries are two sessions where each has its own start, its own end, or
//!    its own page under one title, and always where they are instances of one series. So are entries
//!    at two venues. What a source repeats at the same time is one event. (Two exceptions: an entry
//!    without a length beside one of the same title with a length was left behind when the time was
//!    corrected; entries whose pages are of two sites come from two origins.)
//! 2. *Across sources*, the sessions of two sources are matched one to one: a listing goes with the
//!    nearest session of the other source, of those as much alike, and only if it is in turn the nearest
//!    to that one. No pairs cross, and a session without a counterpart stays alone (`sessions`).
//! 3. *Parts*: titles or rooms that name different parts of one sort ("Program A", "Part II", "U12",
//!    "(EN)", "Studio 2") are different events, whatever the source (`designation`).
//! 4. *Runs*: an event of several days is not one of its sessions, openings or single days. The two are
//!    related: the event of the part says which event it is part of ([`Relation`],
//!    [`Event::part_of`](crate::Event::part_of)). Runs are found by the days of a week
//!    from their first, or by the first alone where they are longer than
//!    [`short_event_days`](ResolveConfig::short_event_days).
//!
//! A person's decision outweighs all of this. Property tests hold the second rule to a slow search, and
//! the whole to a computation from scratch.
//!
//! What comes out is a function of the listings and decisions present, whatever the order, the
//! batches and the number of workers; only the ids also depend on history, as they must to be
//! stable. NB: that holds for what events say, not for how they are kept: a merged event that says the
//! same with a newer version of a listing stays the one that was given out.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;

use crate::Epoch;
use crate::event::Composed;
use crate::ids::{EventId, ListingId};
use crate::listing::LiveListing;
use crate::shared::Shared;

mod acts;
pub mod batch;
mod billing;
pub mod block;
pub mod cluster;
mod clustering;
pub mod compare;
mod component;
mod config;
mod decision;
mod describe;
mod designation;
mod disjoint_sets;
mod epochs;
mod field;
pub mod fingerprint;
mod fingerprinting;
mod graph;
pub mod identity;
pub mod keys;
pub mod merge;
pub mod model;
mod moderations;
mod page;
mod points;
mod rulings;
mod screen;
mod separator;
mod sessions;
mod sketch;
mod span;
mod title;
mod token;
pub mod train;
mod vocabulary;

pub use batch::Batch;
pub use billing::Billing;
pub use compare::{Comparer, Comparison, Relation, Veto};
pub use config::{ConfigProblem, ResolveConfig, Weights};
pub use decision::{
    Decision, DecisionReport, DecisionState, ListingName, ListingRef, Moderated, Moderation, Pair, Ruling, Subject,
};
pub use designation::Designation;
pub use field::Field;
pub use fingerprint::Fingerprint;
pub use identity::{Remembered, own_id};
pub use merge::{Link, Linked, Via};
pub use model::{Feature, Model};
pub use page::Page;
pub use points::{Contribution, Points, likelihood, log_odds};
pub use rulings::Overruled;
pub use span::Span;
pub use token::{Class, Number, Token};

/// Something that went over a limit. Of each, the collection of statistics holds as many as there
/// are at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stat {
    /// A block over the cap, divided by words of titles.
    SplitBlock,
    /// A part of a block over the cap, divided by start and place.
    SplitPart,
    /// A part of a part over the cap, where nothing is compared.
    SkippedPart,
    /// A component over the limit, where the weaker matches were left out.
    TightenedComponent,
    /// A component over the limit even so, where nothing but decisions counted.
    DissolvedComponent,
}

impl Stat {
    /// The names of all of them.
    pub const NAMES: [&str; 5] =
        ["split-block", "split-part", "skipped-part", "tightened-component", "dissolved-component"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SplitBlock => "split-block",
            Self::SplitPart => "split-part",
            Self::SkippedPart => "skipped-part",
            Self::TightenedComponent => "tightened-component",
            Self::DissolvedComponent => "dissolved-component",
        }
    }
}

/// What [`Resolve::resolve`] gives.
pub struct Resolved<'s> {
    /// The events.
    pub events: VecCollection<'s, Epoch, (EventId, Composed)>,
    /// One link for each live listing.
    pub links: VecCollection<'s, Epoch, (ListingId, Linked)>,
    /// Ids that were given up, each with the id of the event that took its listings in. No id that
    /// is in use is in here on the left, and none that is not on the right.
    pub redirects: VecCollection<'s, Epoch, (EventId, EventId)>,
    /// What editors say of events, once for each listing of which they said it.
    pub moderated: VecCollection<'s, Epoch, (EventId, Moderation)>,
    /// What becomes of the decision that counts on each pair and each moderated listing.
    pub reports: VecCollection<'s, Epoch, (Subject, Shared<DecisionReport>)>,
    /// What is over a limit at the moment.
    pub stats: VecCollection<'s, Epoch, Stat>,
}

/// Resolves listings into events.
pub trait Resolve<'s> {
    /// Groups the listings that are one event, and merges each group.
    ///
    /// - The collection holds each live listing once. An update is the retraction of the old
    ///   content and the assertion of the new in one epoch; `first_seen` stays as it was.
    /// - `decisions` may hold several decisions on a pair or a listing: the newest counts.
    /// - `history` is what a former run left in the topics `links` and `redirects`: all of it no
    ///   later than the first epoch that has listings, which then has to bring them all.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use differential_dataflow::input::Input;
    /// use headwater_operators::resolve::{Decision, Remembered, Resolve, ResolveConfig};
    /// use headwater_operators::{Listing, LiveListing, Shared};
    /// use timely::dataflow::operators::{Input as _, Inspect};
    ///
    /// let live = |source: &str, title: &str| {
    ///     let mut listing = Listing::new(source, "1", title, "2026-05-01T18:00:00+05:30".parse().unwrap());
    ///     listing.venue.name = Some("Indiranagar Club".into());
    ///     Shared::new(LiveListing::new(&listing, 0, 0))
    /// };
    /// let a = live("a", "Food Festival at Indiranagar");
    /// let b = live("b", "Indiranagar Food Festival");
    ///
    /// timely::execute_directly(move |worker| {
    ///     worker.dataflow::<u64, _, _>(|scope| {
    ///         let listings = scope.new_collection_from([a, b]).1;
    ///         let decisions = scope.new_collection_from(Vec::<Decision>::new()).1;
    ///         let history = scope.new_input::<Vec<Remembered>>().1;
    ///         let resolved = listings.resolve(&Arc::new(ResolveConfig::default()), decisions, history);
    ///         resolved.events.map(|(_, event)| event.category_and_sources().1.len()).assert_eq(scope.new_collection_from([2]).1);
    ///     });
    /// });
    /// ```
    fn resolve(
        self,
        config: &Arc<ResolveConfig>,
        decisions: VecCollection<'s, Epoch, Decision>,
        history: Stream<'s, Epoch, Vec<Remembered>>,
    ) -> Resolved<'s>;
}

impl<'s> Resolve<'s> for VecCollection<'s, Epoch, Shared<LiveListing>> {
    fn resolve(
        self,
        config: &Arc<ResolveConfig>,
        decisions: VecCollection<'s, Epoch, Decision>,
        history: Stream<'s, Epoch, Vec<Remembered>>,
    ) -> Resolved<'s> {
        let named = decisions.clone().flat_map(|decision| decision.pair().into_iter().flat_map(|(a, b)| [a, b]));
        let (blocks, presence) = fingerprinting::fingerprints(self.clone(), named, config);
        let (matches, block_stats) = block::matches(blocks, config);
        let clusters = clustering::clusters(matches, presence, decisions.clone(), history, config);
        let merged = merge::merged(self, clusters.assigned, decisions, config);
        let of_pairs = clusters.reports.map(|(pair, report)| (Subject::Pair(pair), report));
        Resolved {
            events: merged.events,
            links: merged.links,
            redirects: clusters.redirects,
            moderated: merged.moderated,
            reports: of_pairs.concat(merged.reports),
            stats: clusters.stats.concat(block_stats),
        }
    }
}

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
