//! The plain program: the pipeline's own functions, called one after another on one thread.
//!
//! The [floor](super::floor) does the least that may be called this job. This does what the pipeline
//! does, with the same code: extraction, cleaning, categories, fingerprints, blocks, comparisons,
//! clusters, merging, scores, and the records of events, listings and links. But it does so from
//! scratch, when all records are there: nothing arrives in epochs, nothing is taken back or
//! committed, no ids are remembered, no windows are counted. So it tells how much of what a record
//! costs is the work itself, and how much is the price of results that are right at any time.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::discovery::state::{Claim, ListingState, Version};
use bytes::Bytes;
use headwater::dataflow::buffer::{json, text};
use headwater::schema::versioned;
use headwater_flow::IdMap;
use headwater_operators::categorize::Taxonomy;
use headwater_operators::event::{Composed, EventId};
use headwater_operators::extract::{Extractor, content_hash};
use headwater_operators::geocode::locate;
use headwater_operators::ids::DocumentId;
use headwater_operators::listing::LiveListing;
use headwater_operators::raw::{Extracted, Origin, RawRecord};
use headwater_operators::resolve::cluster::{Cluster, Membership};
use headwater_operators::resolve::identity::{Carrier, Identity};
use headwater_operators::resolve::merge::merge;
use headwater_operators::resolve::{Batch, Comparer, Link, ResolveConfig, Via};
use headwater_operators::sanitize::sanitize;
use headwater_operators::score::{ScoredEvent, score};
use headwater_operators::{ListingId, Shared};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::BenchError;
use super::input::{Input, Record};
use super::measured::BEGAN_MS;
use super::process::usage;
use super::quality::{Quality, quality};

/// What the plain program came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainReport {
    /// Records, all of them: there is no warm-up but that of tables that are read once.
    pub records: u64,
    /// How long they took.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Records for each second of processor time.
    pub records_per_cpu_second: Option<f64>,
    /// Seconds by phase: read (up to listings with their categories), resolve (up to clusters), write
    /// (merging and scores with it).
    pub phases: [f64; 3],
    /// Listings at the end.
    pub listings: u64,
    /// Events at the end.
    pub events: u64,
    /// Bytes of the records of events, listings and links: keys and values.
    pub output_bytes: u64,
    /// Those of them that are events.
    pub event_bytes: u64,
    /// How well listings were brought together.
    pub quality: Option<Quality>,
}

/// So many records go through a program that is thrown away first, so that what is read once (the
/// gazetteer, time zones) is not measured.
const WARM_UP_RECORDS: usize = 1_000;

/// Runs the plain program on `input`, as `config` says.
pub(super) fn plain(input: &Input, config: &Config) -> Result<PlainReport, BenchError> {
    let places = input.in_order();
    let warm_up = places.get(..WARM_UP_RECORDS.min(places.len())).unwrap_or_default();
    Plain::new(config)?.run(input, warm_up);

    let mut program = Plain::new(config)?;
    let (began, used) = (Instant::now(), usage());
    let (clusters, phases) = program.run(input, &places);
    let seconds = began.elapsed().as_secs_f64();
    let processor = usage().since(used).filter(|seconds| *seconds > 0.0);
    let records = places.len() as u64;
    Ok(PlainReport {
        records,
        seconds,
        records_per_second: records as f64 / seconds,
        records_per_cpu_second: processor.map(|processor| records as f64 / processor),
        phases: phases.map(|phase| phase.as_secs_f64()),
        listings: program.listings.len() as u64,
        events: program.written.events,
        output_bytes: program.written.bytes,
        event_bytes: program.written.event_bytes,
        quality: input.truth.as_ref().map(|truth| quality(truth, &program.events_of(&clusters))),
    })
}

/// The program with its state.
struct Plain<'c> {
    config: &'c Config,
    extractor: Extractor,
    taxonomy: Taxonomy,
    resolve: ResolveConfig,
    documents: IdMap<DocumentId, Known>,
    listings: IdMap<ListingId, Described>,
    written: Written,
}

/// What a document said last.
#[derive(Default)]
struct Known {
    bytes: u64,
    listings: SmallVec<[ListingId; 1]>,
}

/// A listing as a document describes it.
struct Described {
    live: Shared<LiveListing>,
    claim: Claim,
}

#[derive(Default)]
struct Written {
    events: u64,
    bytes: u64,
    event_bytes: u64,
}

impl Written {
    fn record(&mut self, key: &Bytes, value: &Bytes) -> u64 {
        let size = (key.len() + std::hint::black_box(value).len()) as u64;
        self.bytes += size;
        size
    }
}

impl<'c> Plain<'c> {
    fn new(config: &'c Config) -> Result<Self, BenchError> {
        let (extractor, taxonomy) = config.topology.compile().map_err(BenchError::Config)?;
        Ok(Self {
            config,
            extractor,
            taxonomy,
            resolve: config.topology.resolve_config(),
            documents: IdMap::default(),
            listings: IdMap::default(),
            written: Written::default(),
        })
    }

    /// From records at these places to what is written; how long each phase took.
    fn run(&mut self, input: &Input, places: &[(usize, usize)]) -> (Batch, [Duration; 3]) {
        let began = Instant::now();
        for (partition, index) in places {
            if let Some(record) = input.get(*partition, *index) {
                self.read(input, (*partition, *index), &record);
            }
        }
        let read = Instant::now();
        let batch = Batch::resolve(self.listings.values().map(|described| &*described.live), &[], &self.resolve);
        let resolved = Instant::now();
        self.write(&batch);
        (batch, [read - began, resolved - read, resolved.elapsed()])
    }

    fn read(&mut self, input: &Input, (partition, offset): (usize, usize), record: &Record<'_>) {
        let Some(sender) = input.senders().get(record.sender) else { return };
        let timestamp_ms = BEGAN_MS + i64::from(record.order);
        let raw = RawRecord {
            origin: Origin {
                topic: "raw.events".into(),
                partition: partition as i32,
                offset: offset as i64,
                timestamp_ms,
                order_ms: timestamp_ms,
            },
            source: Some((&*sender.source).into()),
            content_type: Some((&*sender.content_type).into()).filter(|_| !sender.content_type.is_empty()),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        };
        let Some(id) = raw.document() else { return };
        let known = self.documents.entry(id).or_default();
        let bytes = xxh3_64(raw.value.as_deref().unwrap_or_default());
        if known.bytes == bytes {
            return;
        }
        known.bytes = bytes;
        let before = std::mem::take(&mut known.listings);
        let Some(document) = self.extractor.extract(raw).document else { return };
        let described: SmallVec<[Described; 1]> =
            document.listings.into_iter().map(|one| self.describe(id, &document.origin, one)).collect();
        let gone = before.iter().filter(|id| described.iter().all(|one| one.live.id != **id));
        gone.for_each(|id| drop(self.listings.remove(id)));
        if let Some(known) = self.documents.get_mut(&id) {
            known.listings = described.iter().map(|one| one.live.id).collect();
        }
        self.listings.extend(described.into_iter().map(|one| (one.live.id, one)));
    }

    fn describe(&self, document: DocumentId, origin: &Origin, one: Extracted) -> Described {
        let Extracted { mut listing, stamp } = one;
        sanitize(&mut listing, &self.config.topology.sanitize);
        let content_hash = content_hash(&listing, 0);
        self.taxonomy.apply(&mut listing);
        let known = self.listings.get(&listing.id());
        let first_seen = known.map_or(origin.timestamp_ms, |known| known.live.first_seen);
        let mut live = LiveListing::new(&listing, first_seen, origin.timestamp_ms);
        if live.geo().is_none() {
            live.located = locate(&live.listing.view().venue, &self.config.topology.geocode);
        }
        let claim = Claim {
            document,
            version: Version::new(origin, stamp),
            content_hash,
            first_seen,
            updated_at: origin.timestamp_ms,
            listing: None,
            held: None,
        };
        Described { live: Shared::new(live), claim }
    }

    fn write(&mut self, batch: &Batch) {
        let mut written = Written::default();
        let comparer = Comparer::new(&self.resolve);
        for cluster in &batch.clusters {
            self.write_cluster(cluster, batch, &comparer, &mut written);
        }
        for described in self.listings.values() {
            let state = ListingState { live: described.live.clone(), claims: vec![described.claim.clone()] };
            written.record(&text(described.live.id), &json(&state));
            if batch.cluster_of(described.live.id).is_none() {
                let identity = carrier(&described.live).own();
                let event = Composed::single(identity.event, identity.born, &described.live);
                self.write_event(identity.event, event, &mut written);
                written.record(&text(described.live.id), &versioned(&Link::single(&described.live, identity)));
            }
        }
        self.written = written;
    }

    fn write_cluster(&self, cluster: &Cluster, batch: &Batch, comparer: &Comparer, written: &mut Written) {
        let Some(identity) = self.identity(cluster) else { return };
        let mut members: SmallVec<[(&Shared<LiveListing>, &Membership); 4]> =
            cluster.iter().filter_map(|member| Some((self.live(member.node.listing)?, member))).collect();
        members.sort_unstable_by(|(a, _), (b, _)| a.listing.name().cmp(&b.listing.name()));
        let of_event = members.iter().map(|(live, member)| ((*live).clone(), member.similarity));
        if let Some(event) = merge(identity, of_event, &self.resolve) {
            self.write_event(identity.event, Composed::Merged(Shared::new(event)), written);
        }
        for (live, member) in members {
            let edge = member.via.and_then(|via| Some((self.live(via)?, batch.fingerprints.get(&via)?)));
            let contributions = edge.map(|(_, via)| comparer.compare(&member.node, via).contributions.to_vec());
            let link = Link {
                similarity: member.similarity,
                via: edge.map(|(via, _)| via_of(via)),
                contributions: contributions.unwrap_or_default(),
                ..Link::single(live, identity)
            };
            written.record(&text(live.id), &versioned(&link));
        }
    }

    fn write_event(&self, id: EventId, event: Composed, written: &mut Written) {
        let report = score(&event.view(), &self.config.topology.score);
        written.events += 1;
        written.event_bytes += written.record(&text(id), &versioned(&ScoredEvent { event, report, moderation: None }));
    }

    fn live(&self, id: ListingId) -> Option<&Shared<LiveListing>> {
        Some(&self.listings.get(&id)?.live)
    }

    /// An event goes by the listing that was seen first.
    fn identity(&self, cluster: &Cluster) -> Option<Identity> {
        let members = cluster.iter().filter_map(|member| self.live(member.node.listing));
        Some(members.map(|live| carrier(live)).min()?.own())
    }

    /// The event of each listing: that of its cluster, or its own.
    fn events_of(&self, batch: &Batch) -> std::collections::HashMap<ListingId, Result<usize, ListingId>> {
        self.listings.keys().map(|id| (*id, batch.cluster_of(*id).ok_or(*id))).collect()
    }
}

fn carrier(live: &LiveListing) -> Carrier {
    Carrier { first_seen: live.first_seen, listing: live.id }
}

fn via_of(live: &LiveListing) -> Via {
    let (source, external_id) = live.listing.name();
    Via { source: source.into(), external_id: external_id.into(), listing: live.id }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::PipelineArgs;
    use super::super::pipeline;
    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: PipelineArgs,
    }

    fn both(arguments: &str) -> (PlainReport, pipeline::RunReport) {
        let Command { args } = Command::parse_from(format!("x --warmup 0 {arguments}").split(' '));
        let input = pipeline::input(&args, 2).unwrap();
        (plain(&input, &pipeline::config(&args).unwrap()).unwrap(), pipeline::in_memory(&args).unwrap())
    }

    #[test]
    fn it_writes_the_events_that_the_pipeline_writes() {
        let (plain, pipeline) = both("--records 600 --duplicates 0");
        assert_eq!((plain.events, plain.event_bytes), (600, pipeline.event_bytes));
        // Beside events, listings and links the pipeline writes metrics and progress.
        assert!(plain.output_bytes < pipeline.output_bytes);
        assert!(plain.output_bytes as f64 > pipeline.output_bytes as f64 * 0.9);
    }

    #[test]
    fn it_brings_together_what_the_pipeline_brings_together() {
        let (plain, pipeline) = both("--records 3000 --duplicates 0.4 --updates 0.2 --repeats 0.2");
        let (listings, events) = (plain.listings as i64, plain.events as i64);
        assert_eq!((listings, events), (pipeline.figures.listings, pipeline.figures.events));
        assert_eq!(plain.quality, pipeline.quality);
        assert!(events < listings);
    }
}
