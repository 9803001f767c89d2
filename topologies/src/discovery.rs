//! Discovery: raw listings in; clean, deduplicated, scored events out.

use std::sync::Arc;

use crate::config::{Config, topic};
use bytes::Bytes;
use differential_dataflow::VecCollection;
use headwater::config::{Invalid, Lifetime};
use headwater::engine::lifecycle::Counters;
use headwater::engine::output::{OutRecord, Output, Outputs, Rows, json, records_of, text};
use headwater::engine::state::{FORMAT, ListingState};
use headwater::engine::upsert::{Retention, Upsert, UpsertOptions};
use headwater::engine::{Fingerprints, Inputs, Topology, all_dead_letters};
use headwater_operators::categorize::Taxonomy;
use headwater_operators::event::EventId;
use headwater_operators::extract::Extractor;
use headwater_operators::geocode::{Geocode, GeocodeConfig, Place, PlaceKey, PlaceRequest};
use headwater_operators::raw::{DeadLetter, DeadLetterCode};
use headwater_operators::resolve::{
    Decision, DecisionReport, DecisionState, Linked, Pair, Resolve, ResolveConfig, Stat, pair_key,
};
use headwater_operators::sanitize::{SanitizeConfig, sanitize};
use headwater_operators::score::{Gates, ScoreEvents, ScoredEvent};
use headwater_operators::window::{Outcome, Tally, WindowConfig, WindowKey, WindowRow, window};
use headwater_operators::{Epoch, ListingId, Shared};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;
use xxhash_rust::xxh3::xxh3_64;

/// Changes whenever the same configuration and input would give other outputs than before.
const OPERATORS_VERSION: u64 = 4;

/// The discovery topology, ready to be built.
pub struct Discovery {
    extractor: Arc<Extractor>,
    sanitize: SanitizeConfig,
    taxonomy: Arc<Taxonomy>,
    retention: Retention,
    geocode: GeocodeConfig,
    resolve: Arc<ResolveConfig>,
    gates: Gates,
    window: WindowConfig,
    fingerprints: Fingerprints,
}

impl Discovery {
    /// Prepares the topology that `config` describes.
    ///
    /// # Errors
    /// Everything that is wrong with the sections of the operators.
    pub fn new(config: &Config) -> Result<Self, Vec<Invalid>> {
        let (extractor, taxonomy) = config.topology.compile()?;
        let resolve = config.topology.resolve_config();
        let limits: Vec<usize> =
            Output::ALL.iter().map(|output| config.runtime.topic_spec(output.name()).max_record_bytes).collect();
        let operators =
            (&config.topology.geocode, &config.topology.score, resolve.fingerprint(), taxonomy.fingerprint());
        let results = (operators, &config.topology.window, limits);
        let fingerprints = Fingerprints {
            results: xxh3_64(&json(&results)) ^ OPERATORS_VERSION,
            extraction: extractor.fingerprint() ^ xxh3_64(&json(&config.topology.sanitize)),
        };
        let past_events_ms = match config.topology.retention.past_events {
            Lifetime::Forever => None,
            Lifetime::For(period) => Some(i64::try_from(period.get().as_millis()).unwrap_or(i64::MAX)),
        };
        Ok(Self {
            extractor: Arc::new(extractor),
            sanitize: config.topology.sanitize.clone(),
            taxonomy: Arc::new(taxonomy),
            retention: Retention { past_events_ms, assumed_duration_ms: ASSUMED_DURATION_MS },
            geocode: config.topology.geocode.clone(),
            resolve: Arc::new(resolve),
            gates: config.topology.score.clone(),
            window: config.topology.window,
            fingerprints,
        })
    }
}

/// How long an event lasts that does not say when it ends.
const ASSUMED_DURATION_MS: i64 = 3 * 3_600_000;

impl Topology for Discovery {
    fn fingerprints(&self) -> Fingerprints {
        self.fingerprints
    }

    fn build<'s>(&self, inputs: Inputs<'s>) -> Outputs<'s> {
        let mut outputs = inputs.outputs();
        let places = inputs.table::<Place>(topic::PLACES);
        let decisions = inputs.table::<Decision>(topic::DECISIONS);
        let control = inputs.table::<Control>(topic::CONTROL);
        let gates = latest_gates(inputs.constant(self.gates.clone()), control.rows);

        let upserted = inputs.raw.clone().upsert(inputs.restored_listings(), self.upsert_options(&inputs));
        let geocoded = upserted.listings.geocode(places.rows, self.geocode.clone());
        let resolved = geocoded.listings.resolve(&self.resolve, decisions.rows, inputs.restored_links());
        inputs.gauge("headwater_over_limit", &Stat::NAMES, resolved.stats, |stat| stat.name());
        let events = resolved.events.score(gates);

        let letters = inputs.first_time(all_dead_letters(
            inputs.scope(),
            [records_of(upserted.failures), places.failures, decisions.failures, control.failures],
        ));
        let tallies = upserted.tallies.concat(letters.clone().map(|letter| dead(&letter)));
        let windows = window(tallies, events.clone(), inputs.watermark.clone(), inputs.restored_windows(), self.window);

        write_states(&mut outputs, upserted.states);
        write_links(&mut outputs, &inputs, resolved.links);
        write_decision_reports(&mut outputs, &inputs, resolved.reports);
        write_events(&mut outputs, &inputs, events, resolved.redirects);
        write_metrics(&mut outputs, &inputs, windows.rows);
        write_place_requests(&mut outputs, &inputs, geocoded.requests);
        outputs.dead_letters(letters);
        outputs
    }
}

impl Discovery {
    fn upsert_options(&self, inputs: &Inputs<'_>) -> UpsertOptions {
        let (extractor, cleaning) = (Arc::clone(&self.extractor), self.sanitize.clone());
        let taxonomy = Arc::clone(&self.taxonomy);
        UpsertOptions {
            read: Arc::new(move |record| {
                let mut extraction = extractor.extract(record);
                let listings = extraction.document.iter_mut().flat_map(|document| &mut document.listings);
                listings.for_each(|one| sanitize(&mut one.listing, &cleaning));
                extraction
            }),
            retention: self.retention,
            salt: self.fingerprints.extraction,
            enrich: Arc::new(move |listing| taxonomy.apply(listing)),
            trusted: inputs.trusted(),
            rebuilt_at: inputs.rebuilt_at(),
        }
    }
}

/// A record of the `control` topic: configuration that changes while running.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    gates: Gates,
}

/// The gates of the `control` topic or, while there are none, the configured ones.
fn latest_gates<'s>(
    configured: VecCollection<'s, Epoch, Gates>,
    control: VecCollection<'s, Epoch, Control>,
) -> VecCollection<'s, Epoch, Gates> {
    let ranked = configured.map(|gates| ((), (0u8, gates))).concat(control.map(|control| ((), (1, control.gates))));
    let greatest = ranked.reduce(|_, ranked, out| {
        out.extend(ranked.last().map(|((_, gates), _)| (gates.clone(), 1isize)));
    });
    greatest.map(|((), gates)| gates)
}

fn dead(letter: &DeadLetter) -> Tally {
    // What names no source that may be could name any number of them, of any length.
    let source = letter.source.clone().filter(|_| letter.code != DeadLetterCode::UnknownSource);
    Tally {
        origin_ms: letter.origin.timestamp_ms,
        source: source.unwrap_or_else(|| "unknown".into()),
        category: None,
        outcome: Outcome::Dead,
        n: 1,
    }
}

fn write_states<'s>(outputs: &mut Outputs<'s>, states: StreamVec<'s, Epoch, (ListingId, Option<Arc<ListingState>>)>) {
    outputs.facts(states, |(id, state)| OutRecord {
        output: Output::Listings,
        key: Some(text(id)),
        value: state.map(|state| json(&state)),
        headers: Vec::new(),
    });
}

/// A value with the format version in front, for readers to come.
#[derive(Serialize)]
struct Versioned<'a, T> {
    format: u8,
    #[serde(flatten)]
    value: &'a T,
}

/// `value` as JSON, with the format version in front.
pub(crate) fn versioned<T: Serialize>(value: &T) -> Bytes {
    json(&Versioned { format: FORMAT, value })
}

fn write_links<'s>(
    outputs: &mut Outputs<'s>,
    inputs: &Inputs<'s>,
    links: VecCollection<'s, Epoch, (ListingId, Linked)>,
) {
    let rows = Rows { gauge: |counters: &Counters| &counters.listings, counts: |_| true };
    // A listing that joins or leaves a group changes the worker on which its link arises.
    outputs.table_by(
        Output::Links,
        links,
        Some(rows),
        &inputs.lifecycle,
        |id| id.0 as u64,
        |id, link| (text(id), link.map(|linked| versioned(&*linked.link()))),
    );
}

fn write_decision_reports<'s>(
    outputs: &mut Outputs<'s>,
    inputs: &Inputs<'s>,
    reports: VecCollection<'s, Epoch, (Pair, Shared<DecisionReport>)>,
) {
    let gauge = Rows {
        gauge: |counters: &Counters| &counters.overruled_decisions,
        counts: |report: &Shared<DecisionReport>| report.state == DecisionState::Overruled,
    };
    outputs.table(Output::DecisionReports, reports, Some(gauge), &inputs.lifecycle, |pair, report| {
        (text(pair_key(*pair)), report.map(versioned))
    });
}

/// A row of the events topic: an event, or where to find what took its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum EventRow {
    Event(Shared<ScoredEvent>),
    Redirect(EventId),
}

/// The record of a retired id: on `events` for those who hold the id, on `redirects` for the engine.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RedirectRecord {
    format: u8,
    id: EventId,
    redirect_to: EventId,
}

fn write_events<'s>(
    outputs: &mut Outputs<'s>,
    inputs: &Inputs<'s>,
    events: VecCollection<'s, Epoch, (EventId, Shared<ScoredEvent>)>,
    redirects: VecCollection<'s, Epoch, (EventId, EventId)>,
) {
    let rows = events
        .map(|(id, event)| (id, EventRow::Event(event)))
        .concat(redirects.clone().map(|(retired, survivor)| (retired, EventRow::Redirect(survivor))));
    let gauge = Rows {
        gauge: |counters: &Counters| &counters.events,
        counts: |row: &EventRow| matches!(row, EventRow::Event(_)),
    };
    outputs.table_by(
        Output::Events,
        rows,
        Some(gauge),
        &inputs.lifecycle,
        |id| id.0 as u64,
        |id, row| {
            let value = row.map(|row| match row {
                EventRow::Event(event) => versioned(event),
                EventRow::Redirect(survivor) => redirect(*id, *survivor),
            });
            (text(id), value)
        },
    );
    outputs.table(Output::Redirects, redirects, None, &inputs.lifecycle, |retired, survivor| {
        (text(retired), survivor.map(|survivor| redirect(*retired, *survivor)))
    });
}

fn redirect(id: EventId, redirect_to: EventId) -> Bytes {
    json(&RedirectRecord { format: FORMAT, id, redirect_to })
}

fn write_metrics<'s>(
    outputs: &mut Outputs<'s>,
    inputs: &Inputs<'s>,
    rows: VecCollection<'s, Epoch, (WindowKey, WindowRow)>,
) {
    outputs.table(Output::Metrics, rows, None, &inputs.lifecycle, |key, row| (json(key), row.map(versioned)));
}

fn write_place_requests<'s>(
    outputs: &mut Outputs<'s>,
    inputs: &Inputs<'s>,
    requests: VecCollection<'s, Epoch, (PlaceKey, PlaceRequest)>,
) {
    outputs.table(Output::PlaceRequests, requests, None, &inputs.lifecycle, |key, request| {
        (text(&key.0), request.map(versioned))
    });
}
