//! `headwater explain`: why two listings are one event, or why they are not.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;

use clap::Args;
use headwater::cli::ConfigArgs;
use headwater::error::{Domain, Fault};
use headwater::log::Log;
use headwater::tools::{Opened, Outcome, ToolError, opened_or_made, print_result};
use headwater_operators::extract::Extractor;
use headwater_operators::raw::{Origin, RawRecord};
use headwater_operators::resolve::keys::{KeyKind, common_kinds};
use headwater_operators::resolve::{Batch, Comparer, Comparison, Decision, Field, ListingRef, ResolveConfig, Veto};
use headwater_operators::sanitize::sanitize;
use headwater_operators::{EventId, Listing, ListingId, LiveListing};
use headwater_serve::decisions::{self, describe};
use serde::Serialize;

use super::evaluate::{self, EvaluateError, EvaluateOptions, Line};
use crate::config::Config;

/// One of the two listings, as the command line names it.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A listing of the topology.
    Known(ListingRef),
    /// A raw record in JSON, read as the configuration says.
    Json(String),
}

impl Subject {
    /// A record, if it begins like one, or else the name of a listing.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            return Ok(Self::Json(text.to_owned()));
        }
        decisions::parse_listing(text).map(Self::Known)
    }
}

/// What one feature counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The field that it belongs to.
    pub field: Field,
    /// Its name.
    pub feature: &'static str,
    /// What it is, in words.
    pub meaning: &'static str,
    /// Its value; 1 for what either is or is not.
    pub value: f32,
    /// What it counts, in log-odds.
    pub points: f64,
}

/// A step from one listing to the next in an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// From this listing,
    pub from: String,
    /// to this one,
    pub to: String,
    /// with this likelihood.
    pub similarity: f64,
}

/// Why two listings are, or are not, one event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The one listing.
    pub a: Listing,
    /// The other one.
    pub b: Listing,
    /// By what they share blocks; nothing where they are never compared.
    pub met_by: BTreeSet<KeyKind>,
    /// What speaks for and against, the weightiest first.
    pub reasons: Vec<Reason>,
    /// The sum of the points.
    pub points: f64,
    /// The likelihood that has these log-odds.
    pub similarity: f64,
    /// From which likelihood on two listings match.
    pub threshold: f64,
    /// What forbids a match.
    pub veto: Option<Veto>,
    /// Whether the two match when compared.
    pub matched: bool,
    /// Decisions on the pair, in words.
    pub decisions: Vec<String>,
    /// Whether they are one event.
    pub same: bool,
    /// The event of each, where the topology has given them one.
    pub events: Option<[EventId; 2]>,
    /// The strongest way from the one to the other through the listings of their event or, where they
    /// are two events, through matches that were cut.
    pub path: Vec<Step>,
    /// What keeps apart two listings that a path connects.
    pub cut: Option<String>,
}

/// `headwater explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Either may also be a raw record in JSON, read as the configuration reads those of its source.

Examples:
  headwater explain library/17 paper/a-3
  headwater explain \\
    '{\"@type\": \"Event\", \"@id\": \"1\", \"name\": \"Jazz\", \"startDate\": \"2026-03-28T20:00\"}' \\
    '{\"@type\": \"Event\", \"@id\": \"2\", \"name\": \"Jazz Night\", \"startDate\": \"2026-03-28T20:00\"}'")]
pub struct ExplainArgs {
    /// One listing: SOURCE/ID, its id of 32 hexadecimal digits, or a record in JSON
    #[arg(value_parser = Subject::parse)]
    pub a: Subject,
    /// The other one
    #[arg(value_parser = Subject::parse)]
    pub b: Subject,
    /// Print the explanation as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ExplainArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run(self) -> Outcome {
        let Opened { config, log, .. } = opened_or_made(&self.config)?;
        print_result(&explain(log.as_ref(), &config, &[self.a, self.b])?, self.json)
    }
}

/// Why two listings could not be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// What any tool may fail at.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The listings or links of the topology cannot be read.
    #[error(transparent)]
    Listings(#[from] EvaluateError),
    /// There is no such live listing.
    #[error("there is no live listing {listing}")]
    NoListing {
        /// As it was named.
        listing: String,
    },
    /// Both names are those of one listing.
    #[error("an explanation is of two listings, not of one and itself")]
    OneListing,
    /// A record of the command line cannot be read.
    #[error("record {letter}: {reason}")]
    Record {
        /// Which of the two: `a` or `b`.
        letter: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl Fault for ExplainError {
    fn domain(&self) -> Domain {
        match self {
            Self::Tool(error) => error.domain(),
            Self::Listings(error) => error.domain(),
            Self::NoListing { .. } | Self::OneListing | Self::Record { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::Listings(error) => error.hint(),
            Self::NoListing { .. } => Some(
                "a listing is named SOURCE/ID with the source's own id; `headwater consume listings --exit-at-end --json` \
                 shows those there are"
                    .to_owned(),
            ),
            Self::OneListing | Self::Record { .. } => None,
        }
    }
}

/// Explains two listings.
///
/// # Errors
/// When a listing is unknown, a record cannot be read, or the log fails.
pub fn explain(log: &dyn Log, config: &Config, subjects: &[Subject; 2]) -> Result<Explanation, ExplainError> {
    let resolve = config.topology.resolve_config();
    let known = subjects.iter().any(|subject| matches!(subject, Subject::Known(_)));
    let options = EvaluateOptions::default();
    let mut listings = if known { evaluate::read_listings(log, config, &options)? } else { HashMap::new() };
    let mut ids = Vec::new();
    for (subject, letter) in subjects.iter().zip(["a", "b"]) {
        ids.push(match subject {
            Subject::Known(listing) => listing.id(),
            Subject::Json(text) => {
                let live = read_record(config, text, letter)?;
                let id = live.id;
                listings.insert(id, live);
                id
            }
        });
        if let Some(id) = ids.last().filter(|id| !listings.contains_key(id)) {
            let listing = match subject {
                Subject::Known(listing) => listing.to_string(),
                Subject::Json(_) => id.to_string(),
            };
            return Err(ExplainError::NoListing { listing });
        }
    }
    let (Some(&a), Some(&b)) = (ids.first(), ids.get(1)) else { return Err(ExplainError::OneListing) };
    if a == b {
        return Err(ExplainError::OneListing);
    }
    let decisions: Vec<Decision> = if known {
        decisions::decisions(log, &config.runtime)?.0.into_iter().map(|listed| listed.decision).collect()
    } else {
        Vec::new()
    };
    let batch = Batch::resolve(listings.values(), &decisions, &resolve);
    let events = if known { evaluate::events_of(log, config, [a, b])? } else { None };
    Ok(compose(&listings, &batch, &decisions, &resolve, (a, b), events))
}

fn read_record(config: &Config, text: &str, letter: &'static str) -> Result<LiveListing, ExplainError> {
    let wrong = |reason: String| ExplainError::Record { letter, reason };
    let (extractor, _): (Extractor, _) = config.topology.compile().map_err(|problems| {
        wrong(
            problems
                .iter()
                .map(|problem| format!("{}: {}", problem.key, problem.message))
                .collect::<Vec<_>>()
                .join("; "),
        )
    })?;
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let source = value.get("source").and_then(|source| source.as_str()).unwrap_or(letter);
    let now = jiff::Timestamp::now().as_millisecond();
    let record = RawRecord {
        origin: Origin { topic: "command line".into(), partition: 0, offset: 0, timestamp_ms: now, order_ms: now },
        source: Some(source.into()),
        content_type: Some("application/json".into()),
        key: None,
        value: Some(text.as_bytes().to_vec()),
        headers: Vec::new(),
    };
    let extraction = extractor.extract(record);
    if let Some(failure) = extraction.failures.first() {
        return Err(wrong(failure.reason.clone()));
    }
    let first = extraction.document.and_then(|document| document.listings.into_iter().next());
    let mut listing = first.ok_or_else(|| wrong("it gives no listing".to_owned()))?.listing;
    sanitize(&mut listing, &config.topology.sanitize);
    listing.venue.geo = headwater_operators::geocode::locate(&listing.venue.view(), &config.topology.geocode);
    Ok(LiveListing::new(&listing, now, now))
}

fn compose(
    listings: &HashMap<ListingId, LiveListing>,
    batch: &Batch,
    decisions: &[Decision],
    resolve: &ResolveConfig,
    (a, b): (ListingId, ListingId),
    events: Option<[EventId; 2]>,
) -> Explanation {
    let comparer = Comparer::new(resolve);
    let fallback = || {
        let live = |id| listings.get(id).cloned();
        let of = |live: &LiveListing| headwater_operators::resolve::Fingerprint::of(live, resolve);
        live(&a).zip(live(&b)).map(|(x, y)| (of(&x), of(&y)))
    };
    let pair = batch.fingerprints.get(&a).zip(batch.fingerprints.get(&b));
    let (comparison, met_by): (Option<Comparison>, BTreeSet<KeyKind>) = match pair {
        Some((x, y)) => (Some(comparer.compare(x, y)), common_kinds(x, y)),
        None => (fallback().map(|(x, y)| comparer.compare(&x, &y)), BTreeSet::new()),
    };
    let reasons = comparison.as_ref().map(|comparison| reasons(comparison, &comparer)).unwrap_or_default();
    let same = batch.together(a, b);
    let path = path(batch, listings, (a, b), same);
    let cut = (!same && !path.is_empty()).then(|| cut(batch, &comparer, listings, decisions, (a, b)));
    let on_pair = |decision: &&Decision| decision.pair() == Some((a.min(b), a.max(b)));
    let listing = |id: &ListingId| listings.get(id).map(LiveListing::described);
    let unknown = || Listing::new("", "", "", headwater_operators::Moment::Instant { ms: 0, offset_min: 0 });
    Explanation {
        a: listing(&a).unwrap_or_else(unknown),
        b: listing(&b).unwrap_or_else(unknown),
        met_by,
        reasons,
        points: comparison.as_ref().map_or(0.0, |comparison| comparison.points),
        similarity: comparison.as_ref().map_or(0.0, |comparison| comparison.score.get()),
        threshold: resolve.threshold,
        veto: comparison.as_ref().and_then(|comparison| comparison.veto),
        matched: comparison.is_some_and(|comparison| comparison.matched),
        decisions: decisions.iter().filter(on_pair).map(describe).collect(),
        same,
        events,
        path,
        cut,
    }
}

fn reasons(comparison: &Comparison, comparer: &Comparer) -> Vec<Reason> {
    let reason = |&(feature, value)| {
        let points = comparer.model().points(feature, value);
        Reason { field: feature.field(), feature: feature.key(), meaning: feature.describe(), value, points }
    };
    let mut reasons: Vec<Reason> = comparison.found.iter().map(reason).collect();
    reasons.sort_by(|x, y| y.points.abs().total_cmp(&x.points.abs()));
    reasons
}

fn name(listings: &HashMap<ListingId, LiveListing>, id: ListingId) -> String {
    let name = listings.get(&id).map(|live| live.listing.name());
    name.map_or_else(|| id.to_string(), |(source, external_id)| format!("{source}/{external_id}"))
}

/// The shortest way over matches; of equally short ones the likeliest first.
fn path(
    batch: &Batch,
    listings: &HashMap<ListingId, LiveListing>,
    (a, b): (ListingId, ListingId),
    within: bool,
) -> Vec<Step> {
    let mut next: HashMap<ListingId, Vec<(ListingId, f64)>> = HashMap::new();
    for found in &batch.matches {
        let (x, y, score) = (found.a.listing, found.b.listing, found.score.get());
        if !within || batch.together(x, y) {
            next.entry(x).or_default().push((y, score));
            next.entry(y).or_default().push((x, score));
        }
    }
    next.values_mut().for_each(|others| others.sort_by(|x, y| y.1.total_cmp(&x.1).then(x.0.cmp(&y.0))));
    let mut from: HashMap<ListingId, (ListingId, f64)> = HashMap::from([(a, (a, 1.0))]);
    let mut queue = VecDeque::from([a]);
    while let Some(at) = queue.pop_front() {
        for &(other, score) in next.get(&at).into_iter().flatten() {
            from.entry(other).or_insert_with(|| {
                queue.push_back(other);
                (at, score)
            });
        }
    }
    let mut steps = Vec::new();
    let mut at = b;
    while let Some(&(before, similarity)) = from.get(&at).filter(|_| at != a) {
        steps.push(Step { from: name(listings, before), to: name(listings, at), similarity });
        at = before;
    }
    steps.reverse();
    steps
}

/// What stands between the two groups that two listings are in.
fn cut(
    batch: &Batch,
    comparer: &Comparer,
    listings: &HashMap<ListingId, LiveListing>,
    decisions: &[Decision],
    (a, b): (ListingId, ListingId),
) -> String {
    let group = |id: ListingId| {
        batch.cluster(id).map_or_else(|| vec![id], |cluster| cluster.iter().map(|member| member.node.listing).collect())
    };
    let (left, right) = (group(a), group(b));
    let between = |(x, y): (ListingId, ListingId)| {
        (left.contains(&x) && right.contains(&y)) || (left.contains(&y) && right.contains(&x))
    };
    let different = |decision: &&Decision| matches!(decision, Decision::Different(_));
    if let Some(decision) = decisions.iter().filter(different).find(|decision| decision.pair().is_some_and(between)) {
        return format!("decided: {}", describe(decision));
    }
    let (mut sum, mut count) = (0.0, 0_u32);
    let mut worst: Option<(f64, String)> = None;
    for (x, y) in left.iter().flat_map(|x| right.iter().map(move |y| (*x, *y))) {
        let Some((p, q)) = batch.fingerprints.get(&x).zip(batch.fingerprints.get(&y)) else { continue };
        let comparison = comparer.compare(p, q);
        if let Some(veto) = comparison.veto {
            return format!("{} and {} cannot be one event: {veto}", name(listings, x), name(listings, y));
        }
        sum += comparison.points;
        count += 1;
        if worst.as_ref().is_none_or(|(points, _)| comparison.points < *points) {
            worst = Some((comparison.points, format!("{} and {}", name(listings, x), name(listings, y))));
        }
    }
    let mean = sum / f64::from(count.max(1));
    let (points, pair) = worst.unwrap_or_default();
    match count {
        0 | 1 => format!("{pair} say {points:+.1}"),
        _ => {
            format!(
                "all {count} pairs between the two groups together say {mean:+.1} on average; {pair} say {points:+.1}"
            )
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", Line(&self.a), Line(&self.b))?;
        if self.met_by.is_empty() {
            writeln!(f, "They are never compared, for they share no block. If they were:")?;
        } else {
            let kinds: Vec<String> = self.met_by.iter().map(ToString::to_string).collect();
            writeln!(f, "They are compared, found by: {}.", kinds.join(", "))?;
        }
        for Reason { field, meaning, value, points, .. } in &self.reasons {
            let value = if (*value - 1.0).abs() < 1e-6 { String::new() } else { format!(" ({value:.2})") };
            writeln!(f, "  {:>9} {points:+6.2}  {meaning}{value}", field.to_string())?;
        }
        let relation = if self.similarity >= self.threshold { "at or above" } else { "below" };
        let (points, similarity, threshold) = (self.points, self.similarity, self.threshold);
        writeln!(f, "  {:>9} {points:+6.2}  likelihood {similarity:.4}, {relation} the threshold {threshold}", "sum")?;
        if let Some(veto) = self.veto {
            writeln!(f, "What forbids it, whatever else agrees: {veto}.")?;
        }
        self.decisions.iter().try_for_each(|decision| writeln!(f, "Decided: {decision}"))?;
        writeln!(f, "\n{}", if self.same { "One event." } else { "Two events." })?;
        match self.events {
            Some([a, b]) if a == b => writeln!(f, "The topology has them in {a}.")?,
            Some([a, b]) => writeln!(f, "The topology has them in {a} and {b}.")?,
            None => {}
        }
        for Step { from, to, similarity } in &self.path {
            writeln!(f, "  {from} matches {to} ({similarity:.4})")?;
        }
        self.cut.as_ref().map_or(Ok(()), |cut| writeln!(f, "Kept apart although these matches connect them: {cut}."))
    }
}

#[cfg(test)]
mod tests {
    use headwater_operators::resolve::{ListingName, Ruling};

    use super::*;

    fn live(source: &str) -> LiveListing {
        let start = "2026-03-28T19:30:00+01:00".parse().unwrap();
        let mut listing = Listing::new(source, "1", "An Evening with the Glass Orchestra", start);
        listing.venue.name = Some("Old Mill".into());
        listing.venue.city = Some("Berlin".into());
        LiveListing::new(&listing, 0, 0)
    }

    #[test]
    fn what_a_person_keeps_apart_is_said_to_be_kept_apart_by_that_person() {
        let listings: HashMap<_, _> = [live("x"), live("y")].into_iter().map(|live| (live.id, live)).collect();
        let [a, b] = ["x", "y"].map(|source| ListingId::of(source, "1"));
        let name = |source| ListingName::new(source, "1").into();
        let ruling = Ruling { a: name("x"), b: name("y"), who: "kim".into(), why: None, at: 0 };
        let resolve = ResolveConfig::default();
        let explained = |decisions: &[Decision]| {
            let batch = Batch::resolve(listings.values(), decisions, &resolve);
            compose(&listings, &batch, decisions, &resolve, (a, b), None)
        };
        let alone = explained(&[]);
        assert!(alone.same && alone.cut.is_none());
        let decided = explained(&[Decision::Different(ruling)]);
        assert!(!decided.same && !decided.path.is_empty());
        let cut = decided.cut.unwrap();
        assert!(cut.starts_with("decided: ") && cut.contains("kim"), "{cut}");
    }
}
