//! The pairs that a person should look at: listings that are one event by the smallest margin.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::live::Live;

/// The most pairs of an answer.
const MOST_PAIRS: usize = 200;

/// The threshold where no topology says it.
pub(crate) const USUAL_THRESHOLD: f64 = 0.5;

/// A pair is worth a look where it lies in this share of the way from the threshold to certainty.
const NEAR: f64 = 0.8;

/// What is read of a record of the topic `links`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    source: String,
    external_id: String,
    listing: String,
    event_id: String,
    similarity: f64,
    via: Option<Via>,
    contributions: Box<RawValue>,
    decisions: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Via {
    source: String,
    external_id: String,
    listing: String,
}

/// How old an answer may be: all links are read for one.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// The last answer, with the most pairs that anybody may ask for.
#[derive(Default)]
pub(crate) struct ReviewCache(Mutex<Option<(Instant, Arc<Review>)>>);

impl ReviewCache {
    /// The pairs; at most [`KEPT_FOR`] old.
    pub(crate) fn get(&self, live: &Live, threshold: f64) -> io::Result<Arc<Review>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, review)) = kept.as_ref()
            && at.elapsed() < KEPT_FOR
        {
            return Ok(Arc::clone(review));
        }
        let review = Arc::new(find(live, threshold, MOST_PAIRS)?);
        *kept = Some((Instant::now(), Arc::clone(&review)));
        Ok(review)
    }
}

/// The pairs, the least likely first.
#[derive(Serialize)]
pub(crate) struct Review {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) total: usize,
    /// From this likelihood on they are one event.
    pub(crate) threshold: f64,
    /// Pairs less likely than this are shown.
    pub(crate) below: f64,
}

#[derive(Serialize)]
pub(crate) struct Pair {
    similarity: f64,
    event: String,
    a: Side,
    b: Side,
    contributions: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    source: String,
    external_id: String,
    /// Its record on the topic `listings`.
    listing: Option<Box<RawValue>>,
}

/// Finds at most `limit` of them. Pairs that a person has decided are left out.
fn find(live: &Live, threshold: f64, limit: usize) -> io::Result<Review> {
    let below = threshold + (1.0 - threshold) * NEAR;
    let (links, packing) = {
        let served = live.read();
        (served.links.all(), served.links.packing().clone())
    };
    let mut unpacker = packing.unpacker()?;
    let mut near = Vec::new();
    for packed in links {
        let Ok(link) = serde_json::from_slice::<Link>(&unpacker.unpack(&packed)?) else { continue };
        if link.via.is_some() && link.decisions.is_empty() && link.similarity < below {
            near.push(link);
        }
    }
    near.sort_by(|a, b| a.similarity.total_cmp(&b.similarity).then_with(|| a.listing.cmp(&b.listing)));
    let total = near.len();
    near.truncate(limit);
    let pairs = near.into_iter().filter_map(|link| pair(live, link).transpose()).collect::<io::Result<_>>()?;
    Ok(Review { pairs, total, threshold, below })
}

fn pair(live: &Live, link: Link) -> io::Result<Option<Pair>> {
    let Link { source, external_id, listing, event_id, similarity, via, contributions, .. } = link;
    let Some(via) = via else { return Ok(None) };
    Ok(Some(Pair {
        similarity,
        event: event_id,
        a: Side { source, external_id, listing: record(live, &listing)? },
        b: Side { source: via.source, external_id: via.external_id, listing: record(live, &via.listing)? },
        contributions,
    }))
}

fn record(live: &Live, key: &str) -> io::Result<Option<Box<RawValue>>> {
    let served = live.read();
    let Some(packed) = served.listings.get(key) else { return Ok(None) };
    let bytes = served.listings.packing().unpacker()?.unpack(packed)?;
    Ok(String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok()))
}
