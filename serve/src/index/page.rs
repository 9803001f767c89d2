//! Pages: a selection in some order, from some place on.
//!
//! A page ends at a place in the order, not at a number of events. The next one begins after that place,
//! so nothing is missed or shown twice when events come and go meanwhile.

use std::cmp::Ordering;
use std::sync::Arc;

use headwater_operators::listing::Point;

use super::{Entry, Index, Selection};
use crate::packed::Packed;

/// The order of a page. Equal events follow by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The first to begin first.
    Start,
    /// The nearest first; those without coordinates last.
    Distance(Point),
    /// Those that answer the text query best first, and of those the first to begin.
    Relevance,
}

/// Where a page ends: in its order right after this, whether or not that is still there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageEnd {
    /// What is compared first.
    pub first: i64,
    /// What is compared then.
    pub second: i64,
    /// What is compared last: the id of an event, the key of a place.
    pub id: Arc<str>,
}

/// What page is asked for.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// The order.
    pub sort: Sort,
    /// The most events.
    pub limit: usize,
    /// So many events are left out first.
    pub offset: usize,
    /// Only what comes after the end of another page.
    pub after: Option<PageEnd>,
    /// Where distances are measured from.
    pub point: Option<Point>,
}

/// An event on a page.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Its id.
    pub id: Arc<str>,
    /// Its document.
    pub document: Packed,
    /// How far it is away in metres, where a point was given and it has coordinates.
    pub distance_m: Option<f64>,
}

/// Some events of a selection.
#[derive(Debug, Clone)]
pub struct Page {
    /// The events, in order.
    pub hits: Vec<Hit>,
    /// Where the next page begins; `None` where no event is left.
    pub next: Option<PageEnd>,
}

/// Where the events that a page needs are sparser than one in so many, they are sorted; otherwise they are
/// met soon on a walk through all events by their start.
const SPARSE: u64 = 64;

impl Index {
    /// A page of `selection`.
    pub fn page(&self, selection: &Selection, request: &PageRequest) -> Page {
        let dense = selection.total().saturating_mul(SPARSE) > self.len();
        let wanted = request.offset.saturating_add(request.limit).saturating_add(1);
        let mut places = match request.sort {
            Sort::Start if dense => self.walk(selection, request, wanted),
            _ => self.sorted(selection, request, wanted),
        };
        let more = places.len() == wanted;
        places.truncate(wanted - 1);
        let next = places.last().filter(|_| more).map(|(place, _)| place.clone());
        let slots = places.iter().skip(request.offset).map(|(_, slot)| *slot);
        let hits = slots.filter_map(|slot| self.entry(slot)).map(|entry| hit(entry, request.point)).collect();
        Page { hits, next }
    }

    /// The first `wanted` places, by a walk through all events by their start.
    fn walk(&self, selection: &Selection, request: &PageRequest, wanted: usize) -> Vec<(PageEnd, u32)> {
        let from = request.after.as_ref().map(|after| (after.first, Arc::clone(&after.id), u32::MAX));
        let from = from.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let rest = self.by_start.range((from, std::ops::Bound::Unbounded));
        rest.filter(|(.., slot)| selection.slots.contains(*slot))
            .take(wanted)
            .map(|(start, id, slot)| (PageEnd { first: *start, second: 0, id: Arc::clone(id) }, *slot))
            .collect()
    }

    /// The first `wanted` places, by sorting.
    fn sorted(&self, selection: &Selection, request: &PageRequest, wanted: usize) -> Vec<(PageEnd, u32)> {
        let scores = if request.sort == Sort::Relevance { selection.scores() } else { Vec::new() };
        let key = |slot: u32, entry: &Entry| match request.sort {
            Sort::Start => (entry.row.start_ms, 0),
            Sort::Distance(from) => (distance_mm(entry.row.point, from), 0),
            Sort::Relevance => (-i64::from(scores.get(slot as usize).copied().unwrap_or(0)), entry.row.start_ms),
        };
        let keyed =
            selection.slots.iter().filter_map(|slot| self.entry(slot).map(|entry| (key(slot, entry), entry, slot)));
        let after = |((first, second), entry, _): &((i64, i64), &Entry, u32)| {
            request
                .after
                .as_ref()
                .is_none_or(|after| (*first, *second, &entry.id) > (after.first, after.second, &after.id))
        };
        let mut keyed: Vec<_> = keyed.filter(after).collect();
        let order = |a: &((i64, i64), &Entry, u32), b: &((i64, i64), &Entry, u32)| -> Ordering {
            a.0.cmp(&b.0).then_with(|| a.1.id.cmp(&b.1.id))
        };
        if wanted < keyed.len() {
            keyed.select_nth_unstable_by(wanted, order);
            keyed.truncate(wanted);
        }
        keyed.sort_unstable_by(order);
        let place = |((first, second), entry, slot): ((i64, i64), &Entry, u32)| {
            (PageEnd { first, second, id: Arc::clone(&entry.id) }, slot)
        };
        keyed.into_iter().map(place).collect()
    }
}

/// How far a point is away in millimetres; the greatest number where there is none.
pub(super) fn distance_mm(point: Option<Point>, from: Point) -> i64 {
    point.map_or(i64::MAX, |point| (from.distance_m(&point) * 1000.0).round() as i64)
}

fn hit(entry: &Entry, point: Option<Point>) -> Hit {
    let distance_m = point.zip(entry.row.point).map(|(from, to)| from.distance_m(&to));
    Hit { id: Arc::clone(&entry.id), document: entry.document.clone(), distance_m }
}
