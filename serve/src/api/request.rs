//! Requests: what a client asks for, once all its parameters are right.

use std::collections::BTreeMap;

use headwater::dataflow::Lineage;
use headwater_operators::listing::Point;

use super::cursor;
use super::query::{Query, bound};
use crate::document::{Attribute, thousandths};
use crate::filter::{Bound, Filter, Price, Since};
use crate::geo::Circle;
use crate::index::{PageEnd, PageRequest, Sort};
use crate::text::TextQuery;

/// Events of a page unless told otherwise.
const LIMIT: usize = 50;

/// A list that is asked for.
pub struct ListRequest {
    /// Which events.
    pub filter: Filter,
    /// Which part of them.
    pub page: PageRequest,
    /// What the events are counted by.
    pub facets: Vec<Attribute>,
    /// Only these fields, if not all.
    pub fields: Option<Vec<String>>,
    /// What cursors of this list carry.
    pub digest: u64,
}

/// Reads the filter of a query.
pub fn filter(query: &mut Query<'_>, lineage: Lineage) -> (Filter, Option<Point>) {
    let mut any_of = BTreeMap::new();
    for attribute in Attribute::ALL {
        let values = query.values(attribute.name());
        if !values.is_empty() {
            any_of.insert(attribute, values.iter().map(|value| attribute.key(value).into()).collect());
        }
    }
    let (from, until) = (query.time("startDate"), query.time("endDate"));
    if is_reversed(from, until) {
        query.refuse("endDate", "conflicting-parameters", "It lies before startDate.");
    }
    let point = point(query);
    // Whoever asks for a moderation gets what was asked for.
    let none_of = match any_of.contains_key(&Attribute::Moderation) {
        true => BTreeMap::new(),
        false => Filter::shown().none_of,
    };
    let filter = Filter {
        any_of,
        none_of,
        online: query.boolean("online"),
        from,
        until,
        circle: circle(query, point),
        bounds: query.bounds("bbox"),
        price: price(query),
        min_quality: query.number("minQuality").map(|quality| (quality * 10_000.0).round() as u16),
        updated_since: since(query, lineage),
        text: text(query),
    };
    (filter, point)
}

fn is_reversed(from: Option<Bound>, until: Option<Bound>) -> bool {
    match (from, until) {
        (Some(Bound::Day(from)), Some(Bound::Day(until))) => from > until,
        (Some(Bound::Instant(from)), Some(Bound::Instant(until))) => from > until,
        _ => false,
    }
}

pub(super) fn point(query: &mut Query<'_>) -> Option<Point> {
    for (given, missing) in [("lat", "lng"), ("lng", "lat")] {
        if query.has(given) && !query.has(missing) {
            query.refuse(missing, "missing-parameter", format!("{given} needs it."));
        }
    }
    let (latitude, longitude) = (query.number("lat"), query.number("lng"));
    let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
    latitude.zip(longitude).map(|(latitude, longitude)| Point { lat_e7: e7(latitude), lon_e7: e7(longitude) })
}

pub(super) fn circle(query: &mut Query<'_>, point: Option<Point>) -> Option<Circle> {
    if query.has("radius") && !query.has("lat") && !query.has("lng") {
        query.refuse("lat", "missing-parameter", "radius needs it, and lng.");
    }
    let radius_m = (query.number("radius")? * 1000.0).round() as u32;
    point.map(|middle| Circle { middle, radius_m })
}

fn price(query: &mut Query<'_>) -> Option<Price> {
    let value = query.text("price")?;
    if value.eq_ignore_ascii_case("free") {
        return Some(Price::Free);
    }
    match value.parse::<f64>() {
        Ok(most) if (0.0..=1e9).contains(&most) => Some(Price::AtMost(thousandths(most))),
        Ok(_) => {
            query.refuse("price", "out-of-range", format!("{value} is not between 0 and 1000000000."));
            None
        }
        Err(_) => {
            query.refuse("price", "not-a-number", format!("{value:?} is neither \"free\" nor a number."));
            None
        }
    }
}

/// A time in ms since the Unix epoch. A day begins in UTC.
pub(super) fn ms(bound: Bound) -> i64 {
    match bound {
        Bound::Instant(ms) => ms,
        Bound::Day(day) => i64::from(day) * headwater_operators::moment::DAY_MS,
    }
}

/// A time, or a position of `lineage`.
fn since(query: &mut Query<'_>, lineage: Lineage) -> Option<Since> {
    let value = query.text("updatedSince")?;
    match bound(&value) {
        Some(bound) => Some(Since::Instant(ms(bound))),
        None if value.contains(':') => query.time("updatedSince").map(|_| Since::Instant(0)),
        None => query.position("updatedSince", lineage).map(|position| Since::Commit(position.number)),
    }
}

pub(super) fn text(query: &mut Query<'_>) -> Option<TextQuery> {
    let value = query.text("q")?;
    let text = TextQuery::new(&value);
    if text.is_none() {
        query.refuse("q", "empty-value", "There is no word in it.");
    }
    text
}

/// Reads a whole list request.
pub fn list(query: &mut Query<'_>, lineage: Lineage) -> ListRequest {
    let (filter, point) = filter(query, lineage);
    let sort = sort(query, &filter, point);
    let digest = cursor::digest(filter.digest(), sort);
    let after = after(query, digest);
    let page = PageRequest {
        sort,
        limit: query.integer("limit").unwrap_or(LIMIT),
        offset: query.integer("offset").unwrap_or(0),
        after,
        point,
    };
    let facets = query.values("facets");
    let facets = Attribute::ALL.into_iter().filter(|attribute| facets.iter().any(|name| name == attribute.name()));
    let fields = query.has("fields").then(|| query.values("fields"));
    ListRequest { filter, page, facets: facets.collect(), fields, digest }
}

/// Where the page before has ended.
pub(super) fn after(query: &mut Query<'_>, digest: u64) -> Option<PageEnd> {
    if query.has("cursor") && query.has("offset") {
        query.refuse("offset", "conflicting-parameters", "A cursor says already where the page begins.");
    }
    let end = cursor::decode(&query.text("cursor")?, digest);
    if end.is_none() {
        query.refuse("cursor", "invalid-cursor", "It is no cursor of a list with this filter in this order.");
    }
    end
}

fn sort(query: &mut Query<'_>, filter: &Filter, point: Option<Point>) -> Sort {
    match query.word("sort").as_deref() {
        Some("start") => Sort::Start,
        Some("distance") => by_distance(query, point).map_or(Sort::Start, Sort::Distance),
        Some(_) => {
            if !query.has("q") {
                query.refuse("sort", "missing-parameter", "relevance needs q.");
            }
            Sort::Relevance
        }
        None if filter.text.is_some() => Sort::Relevance,
        None => Sort::Start,
    }
}

/// The point from which `sort=distance` measures; it is refused where none was given.
pub(super) fn by_distance(query: &mut Query<'_>, point: Option<Point>) -> Option<Point> {
    if !query.has("lat") && !query.has("lng") {
        query.refuse("sort", "missing-parameter", "distance needs lat and lng.");
    }
    point
}
