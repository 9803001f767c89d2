//! What an evaluation found, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use headwater_operators::Listing;
use headwater_operators::resolve::{Batch, Stat};
use serde::Serialize;

use super::measure::{BCubed, Counts};
use super::truth::Label;

/// What an evaluation found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Live listings.
    pub listings: usize,
    /// How many events there are with so many listings.
    pub sizes: BTreeMap<usize, usize>,
    /// Listings that the truth names and that are not there.
    pub missing: usize,
    /// Pairs left out: ambiguous, of other groups, excluded by how they came to be known.
    pub left_out: usize,
    /// Results by group.
    pub groups: BTreeMap<String, Group>,
    /// How much work blocking left.
    pub blocking: Blocking,
    /// What is over a limit.
    pub limits: BTreeMap<Stat, isize>,
    /// How steady the ids of events were.
    pub churn: Churn,
    /// The worst mistakes.
    pub mistakes: Vec<Mistake>,
}

/// Results on a group of pairs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Over all its pairs.
    #[serde(flatten)]
    pub scores: Scores,
    /// By label and by how the label came to be known, where that is told.
    pub by_how: Vec<(Label, String, Scores)>,
    /// Averaged over listings instead of pairs.
    pub b_cubed: Option<BCubed>,
    /// Share of the positive pairs that share a block, so that they can be compared at all.
    pub blocking_recall: Option<f64>,
}

/// Pairwise figures at the level of final clusters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    /// Pairs that are one event.
    pub positives: usize,
    /// Pairs that are two.
    pub negatives: usize,
    /// Positives in one event.
    pub found: usize,
    /// Negatives in one event.
    pub merged: usize,
    /// 0..=1, or nothing where no pair is in one event.
    pub precision: Option<f64>,
    /// 0..=1, or nothing where there are no positives.
    pub recall: Option<f64>,
    /// 0..=1.
    pub f1: Option<f64>,
    /// Merged negatives, 0..=1.
    pub false_positive_rate: Option<f64>,
    /// Pairs on whose date the sources disagree.
    pub date_conflicts: usize,
    /// Those in one event.
    pub date_conflicts_merged: usize,
}

impl Scores {
    /// The figures of `counts`.
    pub fn of(counts: &Counts) -> Self {
        Self {
            positives: counts.found + counts.missed,
            negatives: counts.merged + counts.apart,
            found: counts.found,
            merged: counts.merged,
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f1(),
            false_positive_rate: counts.false_positive_rate(),
            date_conflicts: counts.conflicts,
            date_conflicts_merged: counts.conflicts_merged,
        }
    }
}

/// How much work blocking left of comparing everything with everything.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocking {
    /// Pairs compared in full.
    pub compared: u64,
    /// Share of all pairs that blocks and sketches rule out.
    pub reduction: f64,
}

impl Blocking {
    pub(super) fn of(batch: &Batch) -> Self {
        let count = batch.fingerprints.len() as f64;
        let all = count * (count - 1.0) / 2.0;
        let reduction = if all > 0.0 { 1.0 - batch.compared as f64 / all } else { 0.0 };
        Self { compared: batch.compared, reduction }
    }
}

/// How often listings were given another event than before, as far back as the topic reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Churn {
    /// Links that were written anew for a listing that had one.
    pub updates: u64,
    /// Those with another event.
    pub changed: u64,
}

/// How a pair was decided wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MistakeKind {
    /// One event, not found to be.
    Missed,
    /// Two events, merged.
    Merged,
}

/// A pair that was decided wrongly.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mistake {
    /// In what way.
    pub kind: MistakeKind,
    /// Group of the pair.
    pub group: String,
    /// How its label came to be known.
    pub how: String,
    /// The labeller's remark.
    pub note: String,
    /// The one listing.
    pub a: Box<Listing>,
    /// The other one.
    pub b: Box<Listing>,
    /// Whether they share a block.
    pub met: bool,
    /// Whether the two match when compared.
    pub matched: bool,
    /// How alike they are.
    pub score: f64,
    /// The comparison in words.
    pub why: String,
}

/// A share in percent with one digit, or a dash.
struct Percent(Option<f64>);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(share) => f.pad(&format!("{:.1}", share * 100.0)),
            None => f.pad("-"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: usize = self.sizes.values().sum();
        writeln!(f, "{} listings in {events} events", self.listings)?;
        if self.missing > 0 {
            writeln!(f, "{} listings that the truth names are not there", self.missing)?;
        }
        let sizes: Vec<String> = self.sizes.iter().map(|(size, count)| format!("{count} of {size}")).collect();
        writeln!(f, "events by number of listings: {}", sizes.join(", "))?;
        let Blocking { compared, reduction } = self.blocking;
        writeln!(
            f,
            "{compared} pairs compared in full: all but {:.5} % ruled out by blocks and sketches",
            (1.0 - reduction) * 100.0
        )?;
        for (stat, count) in self.limits.iter().filter(|(_, count)| **count != 0) {
            writeln!(f, "over a limit: {stat:?} {count}")?;
        }
        let Churn { updates, changed } = self.churn;
        if updates > 0 {
            writeln!(f, "{updates} links written anew, {changed} of them to another event")?;
        }
        for (name, group) in &self.groups {
            writeln!(f)?;
            group.write(name, f)?;
        }
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n{mistake}"))
    }
}

impl Group {
    fn write(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["precision", "recall", "F1", "merged negatives"];
        writeln!(f, "{:44} {:>9} {:>9} {:>6} {:>16}", name, heads[0], heads[1], heads[2], heads[3])?;
        let Scores { positives, negatives, merged, precision, recall, f1, false_positive_rate, .. } = self.scores;
        let pairs = format!("  {positives} positive, {negatives} negative pairs");
        let rate = format!("{merged} ({} %)", Percent(false_positive_rate));
        writeln!(f, "{pairs:44} {:>9} {:>9} {:>6} {rate:>16}", Percent(precision), Percent(recall), Percent(f1))?;
        if let Some(BCubed { precision, recall, f1 }) = self.b_cubed {
            let [precision, recall, f1] = [precision, recall, f1].map(|share| Percent(Some(share)));
            writeln!(f, "{:44} {precision:>9} {recall:>9} {f1:>6}", "  averaged over listings (B³)")?;
        }
        if self.blocking_recall.is_some() {
            writeln!(f, "{:44} {:>9} {:>9}", "  pairs that blocking lets meet", "", Percent(self.blocking_recall))?;
        }
        for (label, how, scores) in &self.by_how {
            let (kind, hit, all) = match label {
                Label::Positive => ("found", scores.found, scores.positives),
                Label::Negative => ("merged", scores.merged, scores.negatives),
                Label::DateConflict => ("dates differ, merged", scores.date_conflicts_merged, scores.date_conflicts),
                Label::Ambiguous => continue,
            };
            writeln!(f, "  {how:42} {kind} {hit} of {all}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            MistakeKind::Missed => "missed",
            MistakeKind::Merged => "merged",
        };
        f.write_str(kind)?;
        let known: Vec<&str> = [&*self.group, &*self.how].into_iter().filter(|text| !text.is_empty()).collect();
        if !known.is_empty() {
            write!(f, " [{}]", known.join(", "))?;
        }
        if !self.note.is_empty() {
            write!(f, " {}", self.note)?;
        }
        writeln!(f)?;
        for listing in [&self.a, &self.b] {
            writeln!(f, "  {}", Line(listing))?;
        }
        let met = if self.met { "" } else { "never compared, for they share no block; would be " };
        let chained = if self.kind == MistakeKind::Merged && !self.matched { " (joined by others)" } else { "" };
        writeln!(f, "  {met}{}{chained}", self.why)
    }
}

/// A listing in one line.
pub(in super::super) struct Line<'l>(pub(in super::super) &'l Listing);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listing { source, external_id, title, start, end, venue, urls, .. } = self.0;
        write!(f, "{source}/{external_id}: {title} | {start}")?;
        if let Some(end) = end {
            write!(f, " to {end}")?;
        }
        for part in [&venue.name, &venue.address, &venue.city].into_iter().flatten() {
            write!(f, " | {part}")?;
        }
        urls.first().map_or(Ok(()), |url| write!(f, " | {url}"))
    }
}
