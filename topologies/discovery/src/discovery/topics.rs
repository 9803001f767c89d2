//! Discovery's topics: what each holds, and how it is treated.

use std::sync::Arc;

use bytes::Bytes;
use headwater::dataflow::buffer::{json, text};
use headwater::schema::{
    Codec, FORMAT, Gauge, Guard, Reader, RowTopic, Rows, Schema, Spec, State, Table, Versioned, WhenLost, text_codec,
    versioned,
};
use headwater_flow::Positioned;
use headwater_operators::event::EventId;
use headwater_operators::geocode::{Place, PlaceKey, PlaceRequest};
use headwater_operators::resolve::{Decision, DecisionReport, DecisionState, Linked, Remembered, Subject};
use headwater_operators::score::{Control, ScoredEvent};
use headwater_operators::window::{WindowKey, WindowRow};
use headwater_operators::{ListingId, Shared};
use serde::{Deserialize, Serialize};

use super::state::{LinkState, ListingState, RedirectState, positions};

/// Discovery's topics and gauges.
pub struct Topics {
    /// Resolved places, by place key.
    pub places: Table<Place>,
    /// People's words on listings: whether two are one event, and whether one is to be shown.
    pub decisions: Table<Decision>,
    /// Configuration that changes while running.
    pub control: Table<Control>,
    /// What the last readable record of each key of `control` sets. Compaction may have removed the record.
    pub gates: State<String, Positioned<Control>>,
    /// Events and redirects, by event id.
    pub events: Rows<EventId, EventRow>,
    /// Listing states, by listing id: the state that all else follows from.
    pub listings: State<ListingId, Arc<ListingState>, Arc<ListingState>>,
    /// Which listing is which event and why, by listing id.
    pub links: State<ListingId, Linked, Remembered>,
    /// Retired event ids, by retired id.
    pub redirects: State<EventId, EventId, Remembered>,
    /// What becomes of decisions, by what they are on.
    pub decision_reports: Rows<Subject, Shared<DecisionReport>>,
    /// Metrics by window and dimensions.
    pub metrics: State<WindowKey, WindowRow, WindowRow>,
    /// Place keys that nobody has resolved yet.
    pub place_requests: Rows<PlaceKey, PlaceRequest>,
    /// What is counted.
    pub gauges: Gauges,
}

impl Topics {
    /// Declares them all.
    pub fn declare(schema: &mut Schema) -> Self {
        let gauges = Gauges::declare(schema);
        let events = schema
            .rows("events", events(), Spec { guard: Guard::ChangedOrRemoved, example: Some(title), ..Spec::default() })
            .counted(gauges.events, |row| matches!(row, EventRow::Event(_)));
        let listings = Spec {
            rebuilt: true,
            guard: Guard::Removed,
            positions: Some(positions),
            example: Some(title),
            ..Spec::default()
        };
        let listings = schema.state("listings", listing_states(), Reader::of_json_value(Arc::new), listings);
        let links = Spec {
            refers_to: Some(listings.id()),
            when_lost: WhenLost::Note("event ids that merged events took over from former ones are given anew"),
            ..Spec::default()
        };
        let links = schema
            .state("links", self::links(), Reader::of_json_value(|link: LinkState| link.into()), links)
            .counted(gauges.listings, |_| true);
        let redirects =
            Spec { when_lost: WhenLost::Note("redirects from retired event ids are gone"), ..Spec::default() };
        let reader = Reader::of_json_value(|redirect: RedirectState| redirect.into());
        let redirects = schema.state("redirects", self::redirects(), reader, redirects);
        let decision_reports = schema
            .rows("decision-reports", reports(), Spec::default())
            .counted(gauges.overruled, |report| report.state == DecisionState::Overruled);
        let metrics = Spec {
            // A closed window is not given again.
            compared: false,
            when_lost: WhenLost::Note("the counts of past windows are gone"),
            ..Spec::default()
        };
        let reader = Reader::of_json_value(|row: Versioned<WindowRow>| row.value);
        let metrics = schema.state("metrics", Codec::new(json, |_, row| versioned(row)), reader, metrics);
        let requests = Codec::new(|key: &PlaceKey| text(&key.0), |_, request| versioned(request));
        let place_requests = schema.rows("place-requests", requests, Spec::default());
        let (codec, reader) = text_codec();
        let gates = Spec {
            when_lost: WhenLost::Note("gates that an unreadable record of `control` has replaced are gone"),
            ..Spec::default()
        };
        let gates = schema.state("gates", codec, reader, gates);
        Self {
            places: schema.table("places"),
            decisions: schema.table("decisions"),
            control: schema.table("control"),
            gates,
            events,
            listings,
            links,
            redirects,
            decision_reports,
            metrics,
            place_requests,
            gauges,
        }
    }
}

/// What discovery counts.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    listings: Gauge,
    events: Gauge,
    overruled: Gauge,
    /// Listings that were past when they were read.
    pub past_on_arrival: Gauge,
    /// Listings that have left because they are past.
    pub left_past: Gauge,
}

impl Gauges {
    fn declare(schema: &mut Schema) -> Self {
        let listings = schema.gauge("headwater_listings", "Live listings.");
        let events = schema.gauge("headwater_events", "Events.");
        let overruled = schema.gauge("headwater_overruled_decisions", "Decisions that newer ones leave no room for.");
        let past_on_arrival = schema.gauge(
            "headwater_listings_past_on_arrival",
            "Listings that were past when they were read, since the start; each time that they are read.",
        );
        let left_past = schema
            .gauge("headwater_listings_left_past", "Listings that have left because they are past, since the start.");
        schema.figure("listings", "listings", move |of| of(listings));
        schema.figure("merged", "duplicates merged", move |of| (of(listings) - of(events)).max(0));
        schema.figure("events", "events", move |of| of(events));
        schema.figure("past", "listings past", move |of| of(past_on_arrival) + of(left_past));
        Self { listings, events, overruled, past_on_arrival, left_past }
    }
}

/// A row of the events topic: an event, or where to find what took its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventRow {
    /// An event.
    Event(Shared<ScoredEvent>),
    /// The id was retired: the event that took its place.
    Redirect(EventId),
}

/// The record of a retired id: on `events` for those who hold the id, on `redirects` for discovery.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RedirectRecord {
    format: u8,
    id: EventId,
    redirect_to: EventId,
}

fn redirect(id: EventId, redirect_to: EventId) -> Bytes {
    json(&RedirectRecord { format: FORMAT, id, redirect_to })
}

fn events() -> Codec<EventId, EventRow> {
    let value = |id: &EventId, row: &EventRow| match row {
        EventRow::Event(event) => versioned(event),
        EventRow::Redirect(survivor) => redirect(*id, *survivor),
    };
    Codec::new(|id: &EventId| text(id), value).routed(|id| id.route())
}

fn listing_states() -> Codec<ListingId, Arc<ListingState>> {
    Codec::new(|id: &ListingId| text(id), |_, state| json(state)).routed(|id| id.route())
}

/// A listing that joins or leaves a group changes the worker on which its link arises.
fn links() -> Codec<ListingId, Linked> {
    Codec::new(|id: &ListingId| text(id), |_, linked: &Linked| versioned(&*linked.link())).routed(|id| id.route())
}

fn redirects() -> Codec<EventId, EventId> {
    Codec::new(|id: &EventId| text(id), |retired, survivor| redirect(*retired, *survivor)).routed(|id| id.route())
}

fn reports() -> Codec<Subject, Shared<DecisionReport>> {
    Codec::new(|subject: &Subject| text(subject), |_, report| versioned(report))
}

/// The title of an event or a listing, from its JSON.
fn title(value: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(value).ok()?;
    let title = value.get("title").or_else(|| value.get("listing")?.get("title"))?;
    title.as_str().map(str::to_owned)
}
