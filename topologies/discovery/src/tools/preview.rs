//! What would become of a record, without writing anything: its listings as they would be cleaned, categorised and
//! judged, and the events that they would belong to.

use std::collections::BTreeMap;

use headwater::config::Invalid;
use headwater_operators::categorize::Taxonomy;
use headwater_operators::event::EventView;
use headwater_operators::extract::Extractor;
use headwater_operators::geocode::{GeocodeConfig, locate};
use headwater_operators::listing::Ratio;
use headwater_operators::raw::{DeadLetter, RawRecord};
use headwater_operators::resolve::{Comparer, Fingerprint, ResolveConfig};
use headwater_operators::sanitize::{SanitizeConfig, sanitize};
use headwater_operators::score::{GateReport, Gates, Reason, score};
use headwater_operators::{EventId, Listing, LiveListing};
use headwater_serve::admin::Preview;
use headwater_serve::alike::candidates;
use headwater_serve::filter::{Bound, Filter};
use headwater_serve::live::Live;
use headwater_serve::text::TextQuery;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::discovery::change::Retention;
use crate::discovery::state::ListingState;

/// Events that a listing is compared with: of the same days, and of the same words.
const MOST_OF_DAYS: usize = 150;
const MOST_OF_WORDS: usize = 50;

/// Events that are named as the same, or nearly.
const MOST_NAMED: usize = 5;

/// Looks at records as the topology would.
pub struct Previewer {
    extractor: Extractor,
    sanitize: SanitizeConfig,
    taxonomy: Taxonomy,
    geocode: GeocodeConfig,
    resolve: ResolveConfig,
    gates: Gates,
    retention: Retention,
}

/// An event that a listing may belong to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alike {
    event: String,
    listing: String,
    title: String,
    similarity: f64,
    matched: bool,
}

impl Previewer {
    /// Looks at records as `config` says.
    ///
    /// # Errors
    /// Everything that is wrong with the sections of extraction.
    pub fn of(config: &Config) -> Result<Box<dyn Preview>, Vec<Invalid>> {
        let own = &config.topology;
        let (extractor, taxonomy) = own.compile()?;
        Ok(Box::new(Self {
            extractor,
            sanitize: own.sanitize.clone(),
            taxonomy,
            geocode: own.geocode.clone(),
            resolve: own.resolve_config(),
            gates: own.score.clone(),
            retention: Retention::of(&own.retention),
        }))
    }

    fn listing(&self, served: &Live, mut listing: Listing, now_ms: i64) -> Value {
        sanitize(&mut listing, &self.sanitize);
        self.taxonomy.apply(&mut listing);
        if listing.venue.geo.is_none() {
            listing.venue.geo = locate(&listing.venue.view(), &self.geocode);
        }
        let live = LiveListing::new(&listing, now_ms, now_ms);
        let report = score(&EventView::of_listing(EventId(0), now_ms, &live, Ratio::new(1.0)), &self.gates);
        let gate = |gate: &GateReport| json!({ "gate": gate.gate, "score": gate.score, "passed": gate.passed, "reasons": reasons(gate) });
        let gates: Vec<Value> = report.gates.iter().map(gate).collect();
        let alike = self.alike(served, &listing, &live).unwrap_or_else(|error| {
            tracing::error!(%error, "a listing could not be compared");
            Vec::new()
        });
        json!({
            "listing": listing,
            "past": self.retention.leaves_at(listing.start, listing.end) <= now_ms,
            "qualityScore": report.score,
            "qualityGrade": report.grade,
            "passed": report.passed,
            "gates": gates,
            "duplicates": alike,
        })
    }

    /// The events that it is most like, the likest first.
    fn alike(&self, served: &Live, listing: &Listing, live: &LiveListing) -> std::io::Result<Vec<Alike>> {
        let day = listing.start.local_day_number();
        let days = Filter { from: Some(Bound::Day(day - 1)), until: Some(Bound::Day(day + 1)), ..Filter::default() };
        let words = Filter { text: TextQuery::new(&listing.title), ..days.clone() };
        let mut found = candidates(served, &words, MOST_OF_WORDS)?;
        found.extend(candidates(served, &days, MOST_OF_DAYS)?);
        let comparer = Comparer::new(&self.resolve);
        let own = Fingerprint::of(live, &self.resolve);
        let mut best: BTreeMap<String, Alike> = BTreeMap::new();
        for candidate in found {
            for record in &candidate.listings {
                // What cannot be read was logged when it came.
                let Ok(state) = serde_json::from_slice::<ListingState>(record) else { continue };
                let comparison = comparer.compare(&own, &Fingerprint::of(&state.live, &self.resolve));
                let (source, external_id) = state.live.listing.name();
                let alike = Alike {
                    event: candidate.id.clone(),
                    listing: format!("{source}/{external_id}"),
                    title: state.live.view().title.to_owned(),
                    similarity: comparison.score.get(),
                    matched: comparison.matched,
                };
                let known = best.entry(candidate.id.clone()).or_insert_with(|| alike.clone());
                if known.similarity < alike.similarity {
                    *known = alike;
                }
            }
        }
        let mut best: Vec<Alike> = best.into_values().filter(|alike| alike.similarity >= LEAST_NAMED).collect();
        best.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        best.truncate(MOST_NAMED);
        Ok(best)
    }
}

/// Of a record with more listings the rest is left out.
const MOST_LISTINGS: usize = 50;

/// What is less alike is not named.
const LEAST_NAMED: f64 = 0.1;

fn reasons(gate: &GateReport) -> Vec<Value> {
    let reason = |reason: Reason| json!({ "code": reason.code(), "text": reason.text(), "recommendation": reason.recommendation() });
    gate.reasons.iter().map(reason).collect()
}

impl Preview for Previewer {
    fn preview(&self, live: &Live, record: RawRecord) -> Value {
        let now_ms = record.origin.timestamp_ms;
        let extraction = self.extractor.extract(record);
        let listings = extraction.document.into_iter().flat_map(|document| document.listings);
        let mut listings: Vec<Listing> = listings.map(|one| one.listing).collect();
        let left_out = listings.len().saturating_sub(MOST_LISTINGS);
        listings.truncate(MOST_LISTINGS);
        let listings: Vec<Value> = listings.into_iter().map(|one| self.listing(live, one, now_ms)).collect();
        let failure =
            |letter: &DeadLetter| json!({ "code": letter.code.as_str(), "reason": letter.reason, "part": letter.part });
        let failures: Vec<Value> = extraction.failures.iter().map(failure).collect();
        json!({ "listings": listings, "leftOut": left_out, "failures": failures })
    }

    fn threshold(&self) -> f64 {
        self.resolve.threshold
    }

    fn gates(&self) -> &Gates {
        &self.gates
    }
}
