//! Places: the venues of events, and what is on there.

use std::io;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use headwater_operators::Moment;
use headwater_operators::listing::Point;
use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::Answer;
use super::endpoints::{OF_PLACE, OF_PLACE_STATUS, OF_PLACES};
use super::format::Format;
use super::problem::Problem;
use super::query::Query;
use super::request::{self, by_distance};
use super::{cursor, next_page, reach, ready};
use crate::document::{self, EventValue};
use crate::index::{self, Agenda, PlaceFilter, PlaceSort, PlacesRequest};
use crate::live::Live;
use crate::packed::{Packed, Unpacker};
use crate::stream::Hub;

/// Places of a page unless told otherwise.
const LIMIT: usize = 50;

/// Events of a place unless told otherwise.
const EVENTS: usize = 10;

/// The most events of a status.
const UNDER_WAY: usize = 50;

/// A place, as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlaceValue {
    key: String,
    name: Option<String>,
    address: Option<String>,
    city: Option<String>,
    region: Option<String>,
    country: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance_km: Option<f64>,
    /// Number of events that have not begun.
    events_to_come: u64,
    /// The first of them.
    next_event: Option<Brief>,
}

/// An event in short.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Brief {
    id: String,
    title: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListValue {
    places: Vec<PlaceValue>,
    total: u64,
    has_more: bool,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct OneValue {
    #[serde(flatten)]
    place: PlaceValue,
    /// Documents, as lists of events have them.
    events: Vec<Box<RawValue>>,
}

/// What is on at a place. Nothing says yet when it is open and how full it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusValue {
    key: String,
    name: Option<String>,
    at: String,
    state: &'static str,
    under_way: Vec<Brief>,
    next: Option<Brief>,
    opening_hours: Option<String>,
    capacity: Option<String>,
}

/// `GET /api/places`
pub(super) async fn list(
    format: Format,
    State(hub): State<Arc<Hub>>,
    uri: Uri,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_PLACES)?;
    let at_least = query.position("at_least", hub.live().lineage());
    let (request, from, digest) = list_request(&mut query);
    let rest = query.without(&["cursor", "offset", "at_least"]);
    query.finish()?;
    ready(&hub)?;
    reach(&hub, at_least).await?;
    let (commit, found, places) = find(hub.live(), &request, from).map_err(|error| Problem::internal(&error))?;
    let next_cursor = found.next.as_ref().map(|end| cursor::encode(end, digest));
    let link = next_cursor.as_ref().map(|cursor| next_page(&uri, &rest, cursor));
    let body = match format {
        Format::GeoJson => serde_json::to_vec(&features(places)),
        _ => {
            let (total, has_more) = (found.total, next_cursor.is_some());
            serde_json::to_vec(&ListValue { places, total, has_more, next_cursor })
        }
    };
    let body = body.map_err(|error| Problem::internal(&error))?;
    let position = hub.live().position(commit);
    Ok(Answer { position, content_type: format.content_type(), body, link }.respond(&headers))
}

/// The list that is asked for, from where distances are measured, and what its cursors carry.
fn list_request(query: &mut Query<'_>) -> (PlacesRequest, Option<Point>, u64) {
    let point = request::point(query);
    let filter = PlaceFilter {
        text: request::text(query),
        circle: request::circle(query, point),
        bounds: query.bounds("bbox"),
        ..PlaceFilter::default()
    };
    let filter = filter.in_cities(query.values("city").iter().map(String::as_str));
    let sort = match query.word("sort").as_deref() {
        Some("events") => PlaceSort::Events,
        Some("distance") => by_distance(query, point).map_or(PlaceSort::Name, PlaceSort::Distance),
        _ => PlaceSort::Name,
    };
    let digest = cursor::digest(filter.digest(), sort);
    let after = request::after(query, digest);
    let limit = query.integer("limit").unwrap_or(LIMIT);
    let offset = query.integer("offset").unwrap_or(0);
    let at_ms = at(query).as_millisecond();
    (PlacesRequest { filter, sort, limit, offset, after, at_ms }, point, digest)
}

/// As of when; whole minutes of now, so that answers stay the same for a while.
fn at(query: &mut Query<'_>) -> Timestamp {
    let given = query.time("at").and_then(|bound| Timestamp::from_millisecond(request::ms(bound)).ok());
    given.unwrap_or_else(|| {
        let now = Timestamp::now();
        now.round(jiff::TimestampRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Floor)).unwrap_or(now)
    })
}

/// The list, and the commit that it shows. Documents are read when the index is free again.
fn find(
    live: &Live,
    request: &PlacesRequest,
    from: Option<Point>,
) -> io::Result<(u64, index::Places, Vec<PlaceValue>)> {
    let (commit, found, packing) = {
        let served = live.read();
        (served.index.commit(), served.index.places(request), served.index.packing().clone())
    };
    let mut unpacker = packing.unpacker()?;
    let values = found.places.iter().map(|place| told(place, from, &mut unpacker)).collect::<io::Result<_>>()?;
    Ok((commit, found, values))
}

fn told(place: &index::Place, from: Option<Point>, unpacker: &mut Unpacker<'_>) -> io::Result<PlaceValue> {
    let document = place.told_by.as_ref().map(|packed| unpack(unpacker, packed)).transpose()?;
    let event = document.as_deref().and_then(|document| document::value(document).ok());
    let venue = event.and_then(|event| event.venue).unwrap_or_default();
    let text = |text: Option<headwater::view::Text<'_>>| text.map(|text| text.0.into_owned());
    let next = place.next.as_ref().map(|(id, packed)| brief(id, packed, unpacker)).transpose()?;
    Ok(PlaceValue {
        key: place.key.to_string(),
        name: text(venue.name),
        address: text(venue.address),
        city: text(venue.city),
        region: text(venue.region),
        country: text(venue.country),
        latitude: place.point.map(|point| point.latitude()),
        longitude: place.point.map(|point| point.longitude()),
        distance_km: from.zip(place.point).map(|(from, to)| (from.distance_m(&to)).round() / 1000.0),
        events_to_come: place.to_come,
        next_event: next,
    })
}

fn brief(id: &str, packed: &Packed, unpacker: &mut Unpacker<'_>) -> io::Result<Brief> {
    let document = unpack(unpacker, packed)?;
    let event = document::value(&document).ok();
    let time = |at: fn(&EventValue<'_>) -> Option<Moment>| event.as_ref().and_then(at).map(|at| at.to_string());
    let (start_time, end_time) = (time(|event| event.start_time), time(|event| event.end_time));
    let title = event.and_then(|event| event.title).map(|title| title.0.into_owned());
    Ok(Brief { id: id.to_owned(), title, start_time, end_time })
}

fn unpack(unpacker: &mut Unpacker<'_>, packed: &Packed) -> io::Result<String> {
    String::from_utf8(unpacker.unpack(packed)?).map_err(io::Error::other)
}

/// Places as GeoJSON (RFC 7946).
fn features(places: Vec<PlaceValue>) -> serde_json::Value {
    let feature = |place: PlaceValue| {
        let point = place.longitude.zip(place.latitude);
        let geometry = point
            .map(|(longitude, latitude)| serde_json::json!({ "type": "Point", "coordinates": [longitude, latitude] }));
        serde_json::json!({ "type": "Feature", "id": place.key, "geometry": geometry, "properties": place })
    };
    let features: Vec<_> = places.into_iter().map(feature).collect();
    serde_json::json!({ "type": "FeatureCollection", "features": features })
}

/// A place with what is on there, and the commit that it shows.
struct Found<'l> {
    hub: &'l Hub,
    commit: u64,
    place: index::Place,
    agenda: Agenda,
    packing: crate::packed::Packing,
}

impl<'l> Found<'l> {
    fn look_up(hub: &'l Hub, key: &str, at: Timestamp) -> Result<Self, Problem> {
        let served = hub.live().read();
        let found = served.index.place(key, at.as_millisecond());
        let (place, agenda) = found.ok_or_else(|| Problem::not_found(format!("There is no place {key:?}.")))?;
        Ok(Self { hub, commit: served.index.commit(), place, agenda, packing: served.index.packing().clone() })
    }

    fn respond(
        &self,
        headers: &HeaderMap,
        value: impl FnOnce(&Self, &mut Unpacker<'_>) -> io::Result<Vec<u8>>,
    ) -> Result<Response, Problem> {
        let body = self.packing.unpacker().and_then(|mut unpacker| value(self, &mut unpacker));
        let body = body.map_err(|error| Problem::internal(&error))?;
        let position = self.hub.live().position(self.commit);
        Ok(Answer { position, content_type: "application/json", body, link: None }.respond(headers))
    }
}

/// `GET /api/places/{key}`
pub(super) async fn one(
    State(hub): State<Arc<Hub>>,
    Path(key): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_PLACE)?;
    let at_least = query.position("at_least", hub.live().lineage());
    let (limit, at) = (query.integer("limit").unwrap_or(EVENTS), at(&mut query));
    query.finish()?;
    ready(&hub)?;
    reach(&hub, at_least).await?;
    Found::look_up(&hub, &key, at)?.respond(&headers, |found, unpacker| {
        let place = told(&found.place, None, unpacker)?;
        let next = found.agenda.to_come.iter().take(limit);
        let raw = |packed| RawValue::from_string(unpack(unpacker, packed)?).map_err(io::Error::other);
        let events = next.map(|(_, packed)| packed).map(raw).collect::<io::Result<_>>()?;
        serde_json::to_vec(&OneValue { place, events }).map_err(io::Error::other)
    })
}

/// `GET /api/places/{key}/status`
pub(super) async fn status(
    State(hub): State<Arc<Hub>>,
    Path(key): Path<String>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_PLACE_STATUS)?;
    let at_least = query.position("at_least", hub.live().lineage());
    let at = at(&mut query);
    query.finish()?;
    ready(&hub)?;
    reach(&hub, at_least).await?;
    Found::look_up(&hub, &key, at)?.respond(&headers, |found, unpacker| {
        let place = told(&found.place, None, unpacker)?;
        let under_way = found.agenda.under_way.iter().take(UNDER_WAY);
        let under_way: Vec<Brief> =
            under_way.map(|(id, packed)| brief(id, packed, unpacker)).collect::<io::Result<_>>()?;
        let state = match (under_way.is_empty(), &place.next_event) {
            (false, _) => "underWay",
            (true, Some(_)) => "toCome",
            (true, None) => "nothing",
        };
        let PlaceValue { key, name, next_event: next, .. } = place;
        let (at, opening_hours, capacity) = (at.to_string(), None, None);
        let status = StatusValue { key, name, at, state, under_way, next, opening_hours, capacity };
        serde_json::to_vec(&status).map_err(io::Error::other)
    })
}
