//! Places: the venues at which events take place.
//!
//! A place is nothing but the events that have its key, the attribute [`Attribute::Place`]. The key tells its name and
//! city, the rows of its events tell the rest. So a list of places reads keys; the rows of a place where it is sorted
//! by them, has to lie somewhere, or is on the page; and two documents for each place on the page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use headwater_operators::listing::Point;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::Xxh3;

use super::page::{PageEnd, distance_mm};
use super::{Entry, Hidden, Index, TermSlots};
use crate::document::{Attribute, Row, hyphenated, parts_of_place};
use crate::geo::{Bounds, Circle};
use crate::packed::Packed;
use crate::slots::Slots;
use crate::text::TextQuery;

/// An event of these states does not take place there.
const CALLED_OFF: [&str; 3] = ["cancelled", "postponed", "movedOnline"];

/// Which places are asked for: those of which everything that it says holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PlaceFilter {
    /// Its name has these words.
    pub text: Option<TextQuery>,
    /// It is in one of these cities, where there is one here; see [`PlaceFilter::in_cities`].
    pub cities: BTreeSet<String>,
    /// It lies in this circle.
    pub circle: Option<Circle>,
    /// It lies in this rectangle.
    pub bounds: Option<Bounds>,
}

impl PlaceFilter {
    /// Only places in one of these cities, compared without case, accents and punctuation.
    pub fn in_cities<'c>(self, cities: impl IntoIterator<Item = &'c str>) -> Self {
        Self { cities: cities.into_iter().map(hyphenated).collect(), ..self }
    }

    /// A number that tells filters apart, the same in every process of this version.
    pub fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn admits_key(&self, key: &str) -> bool {
        let (name, city) = parts_of_place(key);
        let in_city = || city.is_some_and(|city| self.cities.contains(city));
        (self.cities.is_empty() || in_city()) && self.text.as_ref().is_none_or(|text| text.finds(name))
    }

    fn admits_point(&self, point: Option<Point>) -> bool {
        self.circle.is_none_or(|circle| point.is_some_and(|point| circle.contains(point)))
            && self.bounds.is_none_or(|bounds| point.is_some_and(|point| bounds.contains(point)))
    }
}

/// The order of places. Equal ones follow by their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceSort {
    /// By their keys.
    Name,
    /// Those with the most events to come first.
    Events,
    /// The nearest first; those without coordinates last.
    Distance(Point),
}

/// What list of places is asked for.
#[derive(Debug, Clone)]
pub struct PlacesRequest {
    /// Which places.
    pub filter: PlaceFilter,
    /// The order.
    pub sort: PlaceSort,
    /// The most places.
    pub limit: usize,
    /// So many places are left out first.
    pub offset: usize,
    /// Only what comes after the end of another page.
    pub after: Option<PageEnd>,
    /// Events are to come that begin then or later, in ms since the Unix epoch.
    pub at_ms: i64,
}

/// A place.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its key.
    pub key: Box<str>,
    /// Where most of its events are; of equally frequent points the most southern, then the most western one.
    pub point: Option<Point>,
    /// Number of events that have not begun.
    pub to_come: u64,
    /// The first of them to begin: id and document.
    pub next: Option<(Arc<str>, Packed)>,
    /// The document whose venue is told: of the events at its point that of the best quality, then of the lowest id.
    pub told_by: Option<Packed>,
}

/// Some places of a list.
#[derive(Debug, Clone)]
pub struct Places {
    /// The places, in order.
    pub places: Vec<Place>,
    /// Number of places in the whole list.
    pub total: u64,
    /// Where this page ends; `None` where no place is left.
    pub next: Option<PageEnd>,
}

/// What is on at a place: ids and documents, in the order in which the events begin.
#[derive(Debug, Clone, Default)]
pub struct Agenda {
    /// Events that have begun and not ended.
    pub under_way: Vec<(Arc<str>, Packed)>,
    /// Events that have not begun.
    pub to_come: Vec<(Arc<str>, Packed)>,
}

/// As of when places are told, and which events count.
struct View {
    at_ms: i64,
    /// Events that are not shown: they are of no place.
    hidden: Hidden,
    /// Events that do not take place.
    called_off: RoaringBitmap,
}

/// What rows tell of a place.
struct Outline {
    point: Option<Point>,
    to_come: u64,
    next: Option<u32>,
    told_by: Option<u32>,
}

impl Index {
    /// A list of places.
    pub fn places(&self, request: &PlacesRequest) -> Places {
        let view = self.view(request.at_ms);
        let near = request.filter.circle.map(|circle| circle.bounds()).or(request.filter.bounds);
        let near = near.map(|bounds| self.near(&bounds));
        let all = self.terms[Attribute::Place as usize].iter().filter(|(key, _)| request.filter.admits_key(key));
        let all = all.filter(|(_, term)| view.hidden.count_others(&term.slots) > 0);
        let all = all.filter(|(_, term)| near.as_ref().is_none_or(|near| term.slots.count_in(near) > 0));
        let ranked = all.filter_map(|(key, term)| Some((self.rank(&term.slots, request, &view)?, &**key, term)));
        let mut ranked: Vec<(i64, &str, &TermSlots)> = ranked.collect();
        let total = ranked.len() as u64;
        if let Some(after) = &request.after {
            ranked.retain(|(rank, key, _)| (*rank, *key) > (after.first, &*after.id));
        }
        ranked.sort_unstable_by_key(|(rank, key, _)| (*rank, *key));
        let end = request.offset.saturating_add(request.limit);
        let next = ranked.len() > end;
        ranked.truncate(end);
        let next = ranked.last().filter(|_| next);
        let next = next.map(|(rank, key, _)| PageEnd { first: *rank, second: 0, id: (*key).into() });
        let page = ranked.into_iter().skip(request.offset);
        let places = page.map(|(_, key, term)| self.told(key, &self.outline(&term.slots, &view)));
        Places { places: places.collect(), total, next }
    }

    /// The place of a key, and what is on there, as of `at_ms`.
    pub fn place(&self, key: &str, at_ms: i64) -> Option<(Place, Agenda)> {
        let slots = &self.terms[Attribute::Place as usize].get(key)?.slots;
        let view = self.view(at_ms);
        if view.hidden.count_others(slots) == 0 {
            return None;
        }
        let place = self.told(key, &self.outline(slots, &view));
        let takes_place = self.entries_of(slots, &view).filter(|(slot, _)| !view.called_off.contains(*slot));
        let mut entries: Vec<&Entry> = takes_place.map(|(_, entry)| entry).collect();
        entries.sort_unstable_by(|a, b| (a.row.start_ms, &a.id).cmp(&(b.row.start_ms, &b.id)));
        let those = |wanted: When| {
            let those = entries.iter().filter(|entry| When::of(&entry.row, at_ms) == wanted);
            those.map(|entry| (Arc::clone(&entry.id), entry.document.clone())).collect()
        };
        Some((place, Agenda { under_way: those(When::UnderWay), to_come: those(When::ToCome) }))
    }

    fn view(&self, at_ms: i64) -> View {
        let called_off = self.with_any(Attribute::Status, &CALLED_OFF.map(Box::from));
        View { at_ms, hidden: self.hidden(), called_off }
    }

    /// By what a place is sorted; `None` where it lies elsewhere.
    fn rank(&self, slots: &Slots, request: &PlacesRequest, view: &View) -> Option<i64> {
        let PlacesRequest { filter, sort, .. } = request;
        let lies = filter.circle.is_some() || filter.bounds.is_some() || matches!(sort, PlaceSort::Distance(_));
        let point = if lies { self.point(slots, view) } else { None };
        filter.admits_point(point).then(|| match *sort {
            PlaceSort::Name => 0,
            PlaceSort::Events => -(self.to_come(slots, view).count() as i64),
            PlaceSort::Distance(from) => distance_mm(point, from),
        })
    }

    /// The events of a place that are shown.
    fn entries_of<'i>(&'i self, slots: &'i Slots, view: &'i View) -> impl Iterator<Item = (u32, &'i Entry)> {
        let shown = slots.iter().filter(|slot| !view.hidden.contains(*slot));
        shown.filter_map(|slot| Some((slot, self.entry(slot)?)))
    }

    /// Where most events of a place are.
    fn point(&self, slots: &Slots, view: &View) -> Option<Point> {
        most_frequent(self.entries_of(slots, view).filter_map(|(_, entry)| entry.row.point))
    }

    /// The events of a place that have not begun.
    fn to_come<'i>(&'i self, slots: &'i Slots, view: &'i View) -> impl Iterator<Item = (u32, &'i Entry)> {
        let to_come =
            self.entries_of(slots, view).filter(|(_, entry)| When::of(&entry.row, view.at_ms) == When::ToCome);
        to_come.filter(|(slot, _)| !view.called_off.contains(*slot))
    }

    fn outline(&self, slots: &Slots, view: &View) -> Outline {
        let point = self.point(slots, view);
        let there = self.entries_of(slots, view).filter(|(_, entry)| entry.row.point == point);
        let told_by = there.max_by_key(|(_, entry)| (entry.row.quality, Reverse(&entry.id)));
        let to_come = || self.to_come(slots, view);
        let next = to_come().min_by_key(|(_, entry)| (entry.row.start_ms, &entry.id));
        Outline {
            point,
            to_come: to_come().count() as u64,
            next: next.map(|(slot, _)| slot),
            told_by: told_by.map(|(slot, _)| slot),
        }
    }

    fn told(&self, key: &str, outline: &Outline) -> Place {
        let entry = |slot: Option<u32>| slot.and_then(|slot| self.entry(slot));
        Place {
            key: key.into(),
            point: outline.point,
            to_come: outline.to_come,
            next: entry(outline.next).map(|entry| (Arc::clone(&entry.id), entry.document.clone())),
            told_by: entry(outline.told_by).map(|entry| entry.document.clone()),
        }
    }
}

/// When an event takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Over,
    UnderWay,
    ToCome,
}

impl When {
    /// As of a time. An event without an end is over once it has begun.
    fn of(row: &Row, at_ms: i64) -> Self {
        match (row.start_ms <= at_ms, at_ms < row.end_ms) {
            (true, true) => Self::UnderWay,
            _ if row.start_ms >= at_ms => Self::ToCome,
            _ => Self::Over,
        }
    }
}

/// The most frequent point; of several the least.
fn most_frequent(points: impl Iterator<Item = Point>) -> Option<Point> {
    let mut counts: BTreeMap<Point, u64> = BTreeMap::new();
    points.for_each(|point| *counts.entry(point).or_default() += 1);
    counts.into_iter().max_by_key(|(point, count)| (*count, Reverse(*point))).map(|(point, _)| point)
}
