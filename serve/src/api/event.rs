//! One event, with the records of its listings and why they belong to it.

use std::io;

use headwater_operators::ListingId;
use headwater_operators::resolve::ListingName;
use serde_json::value::RawValue;

use crate::document;
use crate::live::Live;

/// What is known of an id.
pub enum Known {
    /// The event, as JSON: its document, and `members` with the records of listings and links.
    Event(String),
    /// The id was retired for this one.
    Redirect(String),
    /// Nothing.
    Nothing,
}

/// A listing of an event.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    source: String,
    external_id: String,
    /// Its record on the topic `listings`.
    listing: Option<Box<RawValue>>,
    /// Its record on the topic `links`: the edge that holds it in the event, and what counted for it.
    link: Option<Box<RawValue>>,
}

/// What an id stands for.
pub enum Named {
    /// An event of these listings.
    Event(Vec<ListingName>),
    /// The id was retired for this one.
    Redirect(String),
    /// Nothing.
    Nothing,
}

/// The listings of the event with an id.
///
/// # Errors
/// When its document cannot be unpacked.
pub fn listings(live: &Live, id: &str) -> io::Result<Named> {
    let served = live.read();
    let Some(entry) = served.index.get(id) else {
        return Ok(served.index.redirect(id).map_or(Named::Nothing, |to| Named::Redirect(to.to_string())));
    };
    let document = served.index.packing().unpacker()?.unpack(&entry.document)?;
    drop(served);
    let document = String::from_utf8(document).map_err(io::Error::other)?;
    let listings = document::value(&document).map(|value| value.listings).unwrap_or_default();
    let name = |listing: &document::ListingValue<'_>| ListingName::new(&listing.source.0, &listing.external_id.0);
    Ok(Named::Event(listings.iter().map(name).collect()))
}

/// Looks an id up, at one commit, which is returned too.
///
/// # Errors
/// When a document cannot be unpacked.
pub fn look_up(live: &Live, id: &str) -> io::Result<(u64, Known)> {
    let served = live.read();
    let commit = served.index.commit();
    let Some(entry) = served.index.get(id) else {
        let known = served.index.redirect(id).map_or(Known::Nothing, |to| Known::Redirect(to.to_string()));
        return Ok((commit, known));
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(io::Error::other);
    let document = text(served.index.packing().unpacker()?.unpack(&entry.document)?)?;
    let listings = document::value(&document).map(|value| value.listings).unwrap_or_default();
    let mut members = Vec::with_capacity(listings.len());
    for listing in &listings {
        let key = ListingId::of(&listing.source.0, &listing.external_id.0).to_string();
        let record = |related: &crate::live::Related| -> io::Result<Option<Box<RawValue>>> {
            let Some(packed) = related.get(&key) else { return Ok(None) };
            let record = text(related.packing().unpacker()?.unpack(packed)?)?;
            Ok(RawValue::from_string(record).ok())
        };
        members.push(Member {
            source: listing.source.0.to_string(),
            external_id: listing.external_id.0.to_string(),
            listing: record(&served.listings)?,
            link: record(&served.links)?,
        });
    }
    drop(served);
    let members = serde_json::to_string(&members).map_err(io::Error::other)?;
    let whole = match document.trim_end().strip_suffix('}') {
        Some(rest) => format!("{rest},\"members\":{members}}}"),
        None => document,
    };
    Ok((commit, Known::Event(whole)))
}
