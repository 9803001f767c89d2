//! What was found: a page of events with all that an answer tells of it, out of the lock.

use std::io;
use std::sync::Arc;

use super::request::ListRequest;
use crate::filter::Since;
use crate::index::{Facet, Hit, Page};
use crate::live::Live;
use crate::timeline::Timeline;

/// The most values of a facet.
const MOST_FACET_VALUES: usize = 50;

/// A page of events.
pub struct Found {
    /// The commit that it shows.
    pub commit: u64,
    /// The events.
    pub events: Vec<FoundEvent>,
    /// Number of events in the whole result.
    pub total: u64,
    /// Where the next page begins.
    pub next: Option<crate::index::PageEnd>,
    /// How the whole result is spread.
    pub facets: Vec<Facet>,
    /// The ids that have left the result, where that was asked for.
    pub removed: Option<Removed>,
}

/// An event of a page.
pub struct FoundEvent {
    /// Its id.
    pub id: Arc<str>,
    /// Its document.
    pub document: String,
    /// How far it is away in metres.
    pub distance_m: Option<f64>,
}

/// The ids that have left a result.
pub struct Removed {
    /// The ids.
    pub ids: Vec<Arc<str>>,
    /// Whether they are all there. Otherwise too long has passed: read everything anew.
    pub complete: bool,
}

/// Looks a list up, all of it at one commit.
///
/// # Errors
/// When a document cannot be unpacked.
pub fn find(live: &Live, request: &ListRequest) -> io::Result<Found> {
    let served = live.read();
    let index = &served.index;
    let selection = index.select(&request.filter);
    let Page { hits, next } = index.page(&selection, &request.page);
    let facets = request.facets.iter().map(|by| index.facet(&selection, *by, MOST_FACET_VALUES)).collect();
    // Once, not with every page.
    let since = request.filter.updated_since.filter(|_| request.page.after.is_none());
    let removed = since.map(|since| {
        let ids = served.left_since(&request.filter, commit_at(&served.timeline, since));
        Removed { complete: ids.is_some(), ids: ids.unwrap_or_default() }
    });
    let (commit, total, packing) = (index.commit(), selection.total(), index.packing().clone());
    drop(served);
    let mut unpacker = packing.unpacker()?;
    let unpacked = |Hit { id, document, distance_m }| {
        let document = String::from_utf8(unpacker.unpack(&document)?).map_err(io::Error::other)?;
        Ok(FoundEvent { id, document, distance_m })
    };
    let events = hits.into_iter().map(unpacked).collect::<io::Result<_>>()?;
    Ok(Found { commit, events, total, next, facets, removed })
}

/// A commit before a time.
fn commit_at(timeline: &Timeline, since: Since) -> u64 {
    match since {
        Since::Commit(commit) => commit,
        Since::Instant(ms) => timeline.last_before(ms),
    }
}
