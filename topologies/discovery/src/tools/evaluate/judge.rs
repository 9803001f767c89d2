//! Judging how well listings were resolved, by labelled pairs or known events.
//!
//! What is judged are final clusters: a pair counts as merged when both its listings are in one
//! event, however they came there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::discovery::state::ListingState;
use headwater::config::Runtime;
use headwater::log::{Log, read_to_end};
use headwater::tools::{ToolError, no_topic};
use headwater_operators::geocode::{GeocodeConfig, locate};
use headwater_operators::listing::{Geo, Texts, Venue};
use headwater_operators::resolve::{Batch, Comparer, Link, ResolveConfig, Stat};
use headwater_operators::{EventId, Listing, ListingId, LiveListing, PackedListing, Shared};

use super::error::EvaluateError;
use super::measure::{self, Counts, b_cubed};
use super::report::{Blocking, Churn, Group, Mistake, MistakeKind, Report, Scores};
use super::truth::{self, Label, Member, Name, Names, Pair, Truth};
use crate::config::Config;

/// What to evaluate, and by what.
#[derive(Debug, Clone, Default)]
pub struct EvaluateOptions {
    /// What is known, see [`truth::read_truth`].
    pub truth: PathBuf,
    /// Take only the pairs of these groups; all where it is empty.
    pub groups: Vec<String>,
    /// Leave out pairs that came to be known in these ways.
    pub exclude_how: Vec<String>,
    /// Links as JSON lines, instead of those of the topic.
    pub links: Option<PathBuf>,
    /// Listings as JSON lines, instead of those of the topic.
    pub listings: Option<PathBuf>,
    /// Judge not what the topology made of the listings, but what the configuration makes of them
    /// here and now.
    pub anew: bool,
    /// The same, with the web addresses of all listings withheld.
    pub without_urls: bool,
    /// How many mistakes of each kind are shown.
    pub mistakes: usize,
}

/// Live listings.
pub(in crate::tools) type Listings = HashMap<ListingId, LiveListing>;

/// Listings as a configuration resolves them, by the names of a truth.
pub(in crate::tools) struct Resolved<'l> {
    pub(in crate::tools) batch: Batch,
    listings: &'l Listings,
    found: Found,
}

impl<'l> Resolved<'l> {
    pub(in crate::tools) fn new(listings: &'l Listings, resolve: &ResolveConfig) -> Self {
        let batch = Batch::resolve(listings.values(), &[], resolve);
        let found = resolved_anew(listings, &batch);
        Self { batch, listings, found }
    }

    /// Two listings of the two names that are one event.
    pub(in crate::tools) fn hit(&self, a: &Name, b: &Name) -> Option<(ListingId, ListingId)> {
        self.found.together(a, b)
    }

    /// The two listings of the two names that are nearest in time.
    pub(in crate::tools) fn nearest(&self, a: &Name, b: &Name) -> Option<(ListingId, ListingId)> {
        nearest(self.found.names.find(a), self.found.names.find(b), self.listings)
    }
}

/// Which event each listing is in.
#[derive(Debug, Default)]
struct Found {
    event_of: HashMap<ListingId, EventId>,
    names: Names,
    churn: Churn,
}

impl Found {
    fn add(&mut self, source: &str, external_id: &str, listing: ListingId, event: EventId) {
        self.names.add(source, external_id, listing);
        self.event_of.insert(listing, event);
    }

    /// Two listings of the two names that are in one event. A series has many listings; any of
    /// them will do.
    fn together(&self, a: &Name, b: &Name) -> Option<(ListingId, ListingId)> {
        let (a, b) = (self.names.find(a), self.names.find(b));
        a.iter()
            .flat_map(|x| b.iter().map(move |y| (*x, *y)))
            .find(|(x, y)| x == y || self.event_of.get(x).is_some_and(|event| Some(event) == self.event_of.get(y)))
    }

    /// Pairs of which it is known what they are: all that are one event and, of those that are two,
    /// the ones that are in one event here. The others are only counted, since there are far too many.
    fn judged(&self, members: &[Member]) -> Judged {
        let mut events: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut here: BTreeMap<EventId, Vec<usize>> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            events.entry(&member.event).or_default().push(at);
            let listings = self.names.find(&member.name());
            let ids: BTreeSet<EventId> = listings.iter().filter_map(|id| self.event_of.get(id).copied()).collect();
            ids.into_iter().for_each(|id| here.entry(id).or_default().push(at));
        }
        let of = |at: usize| members.get(at);
        let event = |at: usize| of(at).map(|member| &member.event);
        let positives = events.values().flat_map(|together| pairs_among(together));
        // A set, since two series may meet in many events.
        let merged: BTreeSet<(usize, usize)> =
            here.values().flat_map(|together| pairs_among(together)).filter(|(a, b)| event(*a) != event(*b)).collect();
        let labelled = positives.map(|pair| (pair, Label::Positive));
        let labelled = labelled.chain(merged.into_iter().map(|pair| (pair, Label::Negative)));
        let pairs: Vec<Pair> = labelled.filter_map(|((a, b), label)| Some(pair(of(a)?, of(b)?, label))).collect();
        let all = members.len() * members.len().saturating_sub(1) / 2;
        Judged { apart: all.saturating_sub(pairs.len()), pairs, names: members.iter().map(Member::name).collect() }
    }

    fn sizes(&self) -> BTreeMap<usize, usize> {
        let mut events: HashMap<EventId, usize> = HashMap::new();
        self.event_of.values().for_each(|event| *events.entry(*event).or_default() += 1);
        measure::sizes(events.into_values())
    }
}

/// Pairs to judge by.
struct Judged {
    pairs: Vec<Pair>,
    /// So many more that are two events, and are kept apart.
    apart: usize,
    /// Listings that are judged, whether or not one of the pairs names them.
    names: Vec<Name>,
}

fn pairs_among(numbers: &[usize]) -> impl Iterator<Item = (usize, usize)> + use<'_> {
    let after = |at: usize| numbers.iter().skip(at + 1);
    numbers.iter().enumerate().flat_map(move |(at, a)| after(at).map(move |b| (*a, *b)))
}

fn pair(a: &Member, b: &Member, label: Label) -> Pair {
    let ((source_a, id_a), (source_b, id_b)) = (a.name(), b.name());
    let (how, group, note) = (String::new(), String::new(), String::new());
    Pair { source_a, id_a, source_b, id_b, label, how, group, note }
}

/// Evaluates what a topology, or the configuration alone, made of the listings.
///
/// # Errors
/// When a file or topic cannot be read.
pub fn evaluate(log: &dyn Log, config: &Config, options: &EvaluateOptions) -> Result<Report, EvaluateError> {
    let truth = truth::read_truth(&options.truth)?;
    let resolve = config.topology.resolve_config();
    let listings = read_listings(log, config, options)?;
    let batch = Batch::resolve(listings.values(), &[], &resolve);
    let found = if options.anew || options.without_urls {
        resolved_anew(&listings, &batch)
    } else {
        read_links(log, config, options)?
    };
    if matches!(truth, Truth::Events(_)) && !options.groups.is_empty() {
        let reason = "a file of listings with their events has no groups".to_owned();
        return Err(EvaluateError::Truth { place: options.truth.display().to_string(), reason });
    }
    let judged = match truth {
        Truth::Pairs(pairs) => Judged { pairs, apart: 0, names: Vec::new() },
        Truth::Events(members) => found.judged(&members),
    };
    Ok(judge(&judged, &found, &listings, &batch, &resolve, options))
}

fn resolved_anew(listings: &Listings, batch: &Batch) -> Found {
    let mut found = Found::default();
    for (id, live) in listings {
        let first = batch.cluster(*id).and_then(|cluster| cluster.first());
        let event = EventId(first.map_or(*id, |member| member.node.listing).0);
        let (source, external_id) = live.listing.name();
        found.add(source, external_id, *id, event);
    }
    found
}

fn read_links(log: &dyn Log, config: &Config, options: &EvaluateOptions) -> Result<Found, EvaluateError> {
    let mut links: HashMap<ListingId, Link> = HashMap::new();
    let mut churn = Churn::default();
    each_value(log, &config.runtime, "links", options.links.as_deref(), |place, key, value| {
        let Some(value) = value else {
            if let Some(listing) = key.and_then(|key| key.parse().ok()) {
                links.remove(&listing);
            }
            return Ok(());
        };
        let link: Link = parse(place, value)?;
        if let Some(before) = links.get(&link.listing) {
            churn.updates += 1;
            churn.changed += u64::from(before.event_id != link.event_id);
        }
        links.insert(link.listing, link);
        Ok(())
    })?;
    let mut found = Found { churn, ..Found::default() };
    for link in links.into_values() {
        found.add(&link.source, &link.external_id, link.listing, link.event_id);
    }
    Ok(found)
}

/// The events that the topology has two listings in; `None` where it has not linked both.
pub(in crate::tools) fn events_of(
    log: &dyn Log,
    config: &Config,
    pair: [ListingId; 2],
) -> Result<Option<[EventId; 2]>, EvaluateError> {
    let found = read_links(log, config, &EvaluateOptions::default())?;
    let [a, b] = pair.map(|id| found.event_of.get(&id).copied());
    Ok(a.zip(b).map(|(a, b)| [a, b]))
}

pub(in crate::tools) fn read_listings(
    log: &dyn Log,
    config: &Config,
    options: &EvaluateOptions,
) -> Result<Listings, EvaluateError> {
    let mut listings = HashMap::new();
    each_value(log, &config.runtime, "listings", options.listings.as_deref(), |place, key, value| {
        let Some(value) = value else {
            if let Some(listing) = key.and_then(|key| key.parse().ok()) {
                listings.remove(&listing);
            }
            return Ok(());
        };
        let state: ListingState = parse(place, value)?;
        listings.insert(state.live.id, state.live.into_inner());
        Ok(())
    })?;
    let mut places = Places::new(&config.topology.geocode);
    for live in listings.values_mut() {
        places.locate(live);
        if options.without_urls {
            let listing = Listing { urls: Texts::new(), ..Listing::from(&live.listing.view()) };
            live.listing = Shared::new(PackedListing::from(&listing));
        }
    }
    Ok(listings)
}

/// Coordinates as the gazetteer knows them; places that a geocoder answered are not at hand here.
struct Places<'c> {
    config: &'c GeocodeConfig,
    known: HashMap<Venue, Option<Geo>>,
}

impl<'c> Places<'c> {
    fn new(config: &'c GeocodeConfig) -> Self {
        Self { config, known: HashMap::new() }
    }

    fn locate(&mut self, live: &mut LiveListing) {
        if live.listing.geo().is_none() {
            let venue = Venue::from(&live.listing.view().venue);
            let known = self.known.entry(venue);
            live.located = *known.or_insert_with_key(|venue| locate(&venue.view(), self.config));
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T, EvaluateError> {
    serde_json::from_slice(bytes)
        .map_err(|error| EvaluateError::Truth { place: place.to_owned(), reason: error.to_string() })
}

/// Visits each record of a topic, or each line of a file that holds its values.
fn each_value(
    log: &dyn Log,
    config: &Runtime,
    topic: &str,
    file: Option<&Path>,
    mut visit: impl FnMut(&str, Option<&str>, Option<&[u8]>) -> Result<(), EvaluateError>,
) -> Result<(), EvaluateError> {
    let Some(path) = file else {
        let name = config.full_name(topic);
        if log.watermarks(&name)?.is_none() {
            return Err(no_topic(log, config, name).into());
        }
        return read_to_end(log, &name, |record| {
            let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
            visit(&format!("{topic}, offset {}", record.offset), key, record.value.as_deref())
        });
    };
    let unreadable = |source| ToolError::Reading { path: path.to_owned(), source };
    let lines = BufReader::new(File::open(path).map_err(unreadable)?).lines();
    for (number, line) in (1..).zip(lines) {
        let line = line.map_err(unreadable)?;
        visit(&format!("{}, line {number}", path.display()), None, Some(line.as_bytes()))?;
    }
    Ok(())
}

fn judge(
    judged: &Judged,
    found: &Found,
    listings: &Listings,
    batch: &Batch,
    resolve: &ResolveConfig,
    options: &EvaluateOptions,
) -> Report {
    let pairs = &judged.pairs;
    let wanted = |pair: &&Pair| {
        let group = options.groups.is_empty() || options.groups.contains(&pair.group);
        group && pair.label != Label::Ambiguous && !options.exclude_how.contains(&pair.how)
    };
    let wanted: Vec<&Pair> = pairs.iter().filter(wanted).collect();
    let mut groups: BTreeMap<String, Vec<&Pair>> = BTreeMap::new();
    if !judged.names.is_empty() {
        groups.entry(String::new()).or_default();
    }
    for pair in &wanted {
        groups.entry(pair.group.clone()).or_default().push(pair);
    }
    let missing: HashSet<Name> = wanted
        .iter()
        .flat_map(|pair| <[Name; 2]>::from(pair.names()))
        .chain(judged.names.iter().cloned())
        .filter(|name| found.names.find(name).is_empty())
        .collect();
    let groups = groups.into_iter().map(|(name, pairs)| (name, group(&pairs, judged, found, batch))).collect();
    let comparer = Comparer::new(resolve);
    Report {
        listings: found.event_of.len(),
        sizes: found.sizes(),
        missing: missing.len(),
        left_out: pairs.len() - wanted.len(),
        groups,
        blocking: Blocking::of(batch),
        limits: limits(batch),
        churn: found.churn,
        mistakes: mistakes(&wanted, found, listings, batch, &comparer, options.mistakes),
    }
}

fn limits(batch: &Batch) -> BTreeMap<Stat, isize> {
    let mut limits = BTreeMap::new();
    for (stat, count) in &batch.stats {
        *limits.entry(*stat).or_default() += count;
    }
    limits
}

fn group(pairs: &[&Pair], judged: &Judged, found: &Found, batch: &Batch) -> Group {
    let mut counts = Counts { apart: judged.apart, ..Counts::default() };
    let mut by_how: BTreeMap<(Label, String), Counts> = BTreeMap::new();
    let (mut positives, mut met) = (0, 0);
    for pair in pairs {
        let (a, b) = pair.names();
        let same = found.together(&a, &b).is_some();
        counts.add(pair.label, same);
        if !pair.how.is_empty() {
            by_how.entry((pair.label, pair.how.clone())).or_default().add(pair.label, same);
        }
        if pair.label == Label::Positive {
            let (a, b) = (found.names.find(&a), found.names.find(&b));
            positives += 1;
            met += usize::from(a.iter().any(|x| b.iter().any(|y| batch.meet(*x, *y))));
        }
    }
    let together = |a: &Name, b: &Name| found.together(a, b).is_some();
    Group {
        scores: Scores::of(&counts),
        by_how: by_how.into_iter().map(|((label, how), counts)| (label, how, Scores::of(&counts))).collect(),
        b_cubed: b_cubed(pairs, &judged.names, together),
        blocking_recall: (positives > 0).then(|| met as f64 / positives as f64),
    }
}

/// The mistakes that the comparison was surest of first, so many of each kind in each group.
fn mistakes(
    pairs: &[&Pair],
    found: &Found,
    listings: &Listings,
    batch: &Batch,
    comparer: &Comparer,
    most: usize,
) -> Vec<Mistake> {
    let mut mistakes: BTreeMap<(String, MistakeKind), Vec<Mistake>> = BTreeMap::new();
    for pair in pairs {
        let (a, b) = pair.names();
        let together = found.together(&a, &b);
        let kind = match (pair.label, together) {
            (Label::Positive, None) => MistakeKind::Missed,
            (Label::Negative, Some(_)) => MistakeKind::Merged,
            _ => continue,
        };
        let nearest = || nearest(found.names.find(&a), found.names.find(&b), listings);
        let Some((x, y)) = together.or_else(nearest) else { continue };
        let Some((left, right)) = listings.get(&x).zip(listings.get(&y)) else { continue };
        let Some((p, q)) = batch.fingerprints.get(&x).zip(batch.fingerprints.get(&y)) else { continue };
        let comparison = comparer.compare(p, q);
        let mistake = Mistake {
            kind,
            group: pair.group.clone(),
            how: pair.how.clone(),
            note: pair.note.clone(),
            a: Box::new(left.described()),
            b: Box::new(right.described()),
            met: batch.meet(x, y),
            matched: comparison.matched,
            score: comparison.score.get(),
            why: comparison.to_string(),
        };
        mistakes.entry((pair.group.clone(), kind)).or_default().push(mistake);
    }
    for ((_, kind), of_kind) in &mut mistakes {
        // The worst first: of what was missed the least alike, of what was merged the most.
        of_kind.sort_by(|x, y| match kind {
            MistakeKind::Missed => x.score.total_cmp(&y.score),
            MistakeKind::Merged => y.score.total_cmp(&x.score),
        });
        of_kind.truncate(most);
    }
    mistakes.into_values().flatten().collect()
}

/// Of two series, the instances that are nearest in time.
fn nearest(a: &[ListingId], b: &[ListingId], listings: &Listings) -> Option<(ListingId, ListingId)> {
    let start = |id: &ListingId| listings.get(id).map(|live| live.listing.start().earliest_ms(None));
    let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (*x, *y)));
    pairs.min_by_key(|(x, y)| start(x).zip(start(y)).map_or(u64::MAX, |(x, y)| x.abs_diff(y)))
}
