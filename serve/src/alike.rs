//! Events that may be the same as one that is not there yet.

use std::io;

use headwater_operators::ListingId;

use crate::document;
use crate::filter::Filter;
use crate::index::{Page, PageRequest, Sort};
use crate::live::Live;

/// An event with the records of its listings.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its listings' records on the topic `listings`, in JSON.
    pub listings: Vec<Vec<u8>>,
}

/// Events that `filter` asks for, at most `limit`: of those that answer a text the best ones, else the first to begin.
///
/// # Errors
/// When a document cannot be unpacked.
pub fn candidates(live: &Live, filter: &Filter, limit: usize) -> io::Result<Vec<Candidate>> {
    let sort = if filter.text.is_some() { Sort::Relevance } else { Sort::Start };
    let request = PageRequest { sort, limit, offset: 0, after: None, point: None };
    let (hits, events) = {
        let served = live.read();
        let Page { hits, .. } = served.index.page(&served.index.select(filter), &request);
        (hits, served.index.packing().clone())
    };
    let mut events = events.unpacker()?;
    let mut found = Vec::with_capacity(hits.len());
    for hit in hits {
        let document = String::from_utf8(events.unpack(&hit.document)?).map_err(io::Error::other)?;
        let members = document::value(&document).map(|value| value.listings).unwrap_or_default();
        let keys = members.iter().map(|member| ListingId::of(&member.source.0, &member.external_id.0).to_string());
        let (packed, listings) = {
            let served = live.read();
            let packed: Vec<_> = keys.filter_map(|key| served.listings.get(&key).cloned()).collect();
            (packed, served.listings.packing().clone())
        };
        let mut listings = listings.unpacker()?;
        let records = packed.iter().map(|packed| listings.unpack(packed)).collect::<io::Result<_>>()?;
        found.push(Candidate { id: hit.id.to_string(), listings: records });
    }
    Ok(found)
}
