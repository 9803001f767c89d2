//! Discovery: raw listings in; clean, deduplicated, scored events out.
//!
//! ```text
//!  raw records ─► documents ─► register ─► geocode ─► resolve ─► score ─► events
//!                                 │           │          │
//!                                 ▼           ▼          ▼
//!                             listings  place-requests  links, redirects, decision-reports
//! ```

pub mod change;
mod documents;
mod gates;
mod highlight;
#[cfg(test)]
mod moderation_tests;
mod register;
pub mod state;
#[cfg(test)]
mod tests;
pub mod topics;
pub mod upsert;

use std::sync::Arc;

use headwater::config::{ConfigErrors, Invalid, Places, Section};
use headwater::dataflow::Flow;
use headwater::dataflow::buffer::json;
use headwater::error::Fault;
use headwater::program::Fingerprints;
use headwater::schema::Schema;
use headwater::tools::dead_letters::Examine;
use headwater::tools::open_log;
use headwater::topology::{Beside, Companion, Showcase, Topology};
use headwater::view::ViewSpec;
use headwater_operators::categorize::Taxonomy;
use headwater_operators::extract::Extractor;
use headwater_operators::geocode::{Geocode, GeocodeConfig};
use headwater_operators::raw::{DeadLetter, DeadLetterCode};
use headwater_operators::resolve::{Resolve, ResolveConfig, Stat};
use headwater_operators::sanitize::{SanitizeConfig, sanitize};
use headwater_operators::score::{Gates, ScoreEvents};
use headwater_operators::window::{Outcome, Tally, WindowConfig, window};
use headwater_serve::admin::Means;
use headwater_serve::pipeline::Engine;
use headwater_serve::tool::{Serving, greet};
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;
use xxhash_rust::xxh3::xxh3_64;

pub use change::{Change, Retention};
pub use documents::{Documents, HoldBack};
pub use register::{Emitted, Register};

use crate::config::{Config, Sections};
use crate::generate::LiveFeed;
use crate::place_jobs::PlaceJobs;
use crate::tables::view_spec;
use crate::tools::{DiscoveryTools, Examiner, knowledge};
use gates::gates_in_force;
use highlight::merged_event;
use topics::{EventRow, Topics};
use upsert::{Past, Upsert, UpsertOptions};

/// Changes whenever the same configuration and input would give other outputs than before: a start then compares
/// the outputs with what the state implies. A test ties it to the expectations of the golden cases.
pub const OPERATORS_VERSION: u64 = 8;

/// What the gauge `headwater_over_limit` counts.
const OVER_LIMIT: &str = "Blocks and components over their limits, by what was done about them";

/// The discovery topology, ready to be built.
pub struct Discovery {
    topics: Topics,
    extractor: Arc<Extractor>,
    sanitize: SanitizeConfig,
    taxonomy: Arc<Taxonomy>,
    retention: Retention,
    hold_back: HoldBack,
    geocode: GeocodeConfig,
    resolve: Arc<ResolveConfig>,
    gates: Gates,
    window: WindowConfig,
    fingerprints: Fingerprints,
}

impl Topology for Discovery {
    const ABOUT: &'static str = "Turn raw event listings into clean, deduplicated, scored events";
    const HELP: &'static str = "\
Without --config, config/quickstart.toml is used where it is there: an embedded log, a SQLite view \
and a generated feed. Where it is not, built-in defaults are: an embedded log and no view. Ctrl-C or SIGTERM ends it in order; SIGHUP does nothing.

Examples:
  discovery
  discovery --config config/discovery.toml --workers 2
  discovery --config config/discovery.toml --exit-when-idle --json
  discovery --config config/discovery.toml --plan            what a start would correct
  discovery --config config/discovery.toml --yes             consent to it, where it is much
  discovery --config config/discovery.toml --rebuild --plan  the same for a rebuild from the raw topics
  discovery check --config config/discovery.toml

Exit codes: 0 ended in order, 2 something to mend in configuration or usage, 3 something outside \
failed, 4 another instance has taken over, 70 a defect.";
    const SHOWCASE: Showcase = Showcase {
        topic: "events",
        command: "cargo run --release --",
        query: "select title, start_time, listing_count, quality_grade from events limit 10",
        highlight: Some(merged_event),
    };
    type Config = Sections;
    type Tools = DiscoveryTools;

    fn declare(config: &Config, schema: &mut Schema) -> Result<Self, Vec<Invalid>> {
        let own = &config.topology;
        let (extractor, taxonomy) = own.compile()?;
        let resolve = own.resolve_config();
        let limits: Vec<usize> = config.runtime.topic_specs().into_iter().map(|topic| topic.max_record_bytes).collect();
        let operators = (&own.geocode, &own.score, resolve.fingerprint(), taxonomy.fingerprint());
        let fingerprints = Fingerprints {
            results: xxh3_64(&json(&(operators, &own.window, limits))) ^ OPERATORS_VERSION,
            extraction: extractor.fingerprint() ^ xxh3_64(&json(&own.sanitize)),
        };
        Ok(Self {
            topics: Topics::declare(schema),
            extractor: Arc::new(extractor),
            sanitize: own.sanitize.clone(),
            taxonomy: Arc::new(taxonomy),
            retention: Retention::of(&own.retention),
            hold_back: HoldBack::of(own),
            geocode: own.geocode.clone(),
            resolve: Arc::new(resolve),
            gates: own.score.clone(),
            window: own.window,
            fingerprints,
        })
    }

    fn fingerprints(&self) -> Fingerprints {
        self.fingerprints
    }

    fn build<'s>(&self, flow: &mut Flow<'s>) {
        let topics = &self.topics;
        let (places, decisions) = (flow.table(&topics.places), flow.table(&topics.decisions));
        let gates = gates_in_force(flow, topics, &self.gates);
        let remembered = flow.restored(&topics.links).concat(flow.restored(&topics.redirects));

        let upserted = flow.raw_as_read().upsert(flow.restored(&topics.listings), self.upsert_options(flow));
        flow.count(topics.gauges.past_on_arrival, upserted.past.clone().filter(|past| *past == Past::OnArrival));
        flow.count(topics.gauges.left_past, upserted.past.filter(|past| *past == Past::Later));
        let geocoded = upserted.listings.geocode(places, self.geocode.clone());
        let resolved = geocoded.listings.resolve(&self.resolve, decisions, remembered);
        flow.count_kinds("headwater_over_limit", OVER_LIMIT, &Stat::NAMES, resolved.stats, |stat| stat.name());
        let events = resolved.events.score(gates, resolved.moderated);

        let letters = flow.dead_letters(upserted.failures.inner.map(|(letter, _epoch, _diff)| letter));
        let tallies = upserted.tallies.concat(letters.map(|letter| dead(&letter)));
        let windows = window(tallies, events.clone(), flow.watermark(), flow.restored(&topics.metrics), self.window);

        let redirected = resolved.redirects.clone().map(|(retired, survivor)| (retired, EventRow::Redirect(survivor)));
        flow.write_changes(&topics.listings, upserted.states);
        flow.write(&topics.links, resolved.links);
        flow.write(&topics.decision_reports, resolved.reports);
        flow.write(&topics.events, events.map(|(id, event)| (id, EventRow::Event(event))).concat(redirected));
        flow.write(&topics.redirects, resolved.redirects);
        flow.write(&topics.metrics, windows.rows);
        flow.write(&topics.place_requests, geocoded.requests);
    }

    fn views() -> ViewSpec {
        view_spec()
    }

    /// The API of `[serve]`, the jobs of `[jobs]`, and the generated feed of `[generate]` into the first of the inputs.
    fn companions(config: &Config, beside: &Beside<'_>) -> Result<Vec<Box<dyn Companion>>, Box<dyn Fault>> {
        let mut companions: Vec<Box<dyn Companion>> = Vec::new();
        let serve = &config.topology.serve;
        if serve.address().is_some() {
            let problems = |invalid: Vec<Invalid>| {
                ConfigErrors(invalid.into_iter().map(|one| Places::default().problem(one)).collect())
            };
            let (examine, preview) = knowledge(config).map_err(problems)?;
            // It reads at its own pace, on a connection of its own.
            let log = open_log(&config.runtime)?;
            let means = Means { log, config: config.runtime.clone(), examine, preview };
            let engine = |metrics| Engine::new(metrics, Arc::clone(&beside.readiness), config.runtime.workers);
            let serving = Serving::start(means, serve, beside.metrics.clone().map(engine))?;
            greet(&serving.url());
            companions.push(Box::new(serving));
        }
        if let Some(jobs) = &config.topology.jobs {
            companions.push(Box::new(PlaceJobs::start(open_log(&config.runtime)?, &config.runtime, jobs)?));
        }
        if let Some(feed) = config.topology.generate.clone() {
            let input = config.runtime.inputs.first().map_or(Sections::INPUT, |input| input.topic.as_str());
            companions.push(Box::new(LiveFeed::start(beside.log, &config.runtime.full_name(input), feed)?));
        }
        Ok(companions)
    }

    fn examine(config: &Config) -> Result<Option<Box<dyn Examine>>, Vec<Invalid>> {
        Examiner::of(config)
    }
}

impl Discovery {
    fn upsert_options(&self, flow: &Flow<'_>) -> UpsertOptions {
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
            hold_back: self.hold_back.clone(),
            salt: self.fingerprints.extraction,
            enrich: Arc::new(move |listing| taxonomy.apply(listing)),
            trusted: flow.trusted(),
            rebuilt_at: flow.rebuilt_at(),
        }
    }
}

fn dead(letter: &DeadLetter) -> Tally {
    // What names no source that may be could name any number of them, of any length.
    let source = letter.source.clone().filter(|_| letter.code != DeadLetterCode::UNKNOWN_SOURCE);
    Tally {
        origin_ms: letter.origin.timestamp_ms,
        source: source.unwrap_or_else(|| "unknown".into()),
        category: None,
        outcome: Outcome::Dead,
        n: 1,
    }
}
