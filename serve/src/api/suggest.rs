//! Suggestions: what begins with what was typed.

use std::io;

use headwater_operators::words::fold;
use serde::Serialize;

use crate::document::{self, Attribute};
use crate::filter::Filter;
use crate::index::{Index, PageRequest, Sort};
use crate::live::Live;
use crate::text::TextQuery;

/// Suggestions of every kind, the most frequent first.
#[derive(Debug, Serialize)]
pub struct Suggestions {
    /// Words that the last word may become.
    words: Vec<Suggestion>,
    /// Cities.
    cities: Vec<Suggestion>,
    /// Categories.
    categories: Vec<Suggestion>,
    /// Tags.
    tags: Vec<Suggestion>,
    /// Events that answer what was typed best.
    events: Vec<Named>,
}

/// A suggestion, and how many events have it.
#[derive(Debug, Serialize)]
struct Suggestion {
    text: String,
    count: u64,
}

/// An event by name.
#[derive(Debug, Serialize)]
struct Named {
    id: String,
    title: String,
}

/// What `typed` may become: at most `most` suggestions of each kind, at one commit, which is returned too.
///
/// # Errors
/// When a document cannot be unpacked.
pub fn suggest(live: &Live, typed: &str, most: usize) -> io::Result<(u64, Suggestions)> {
    let served = live.read();
    let index = &served.index;
    let folded = fold(typed);
    let last = folded.rsplit(' ').next().unwrap_or_default();
    let hidden = index.hidden();
    let of = |attribute: Attribute| first(index.values_with(attribute, &attribute.key(typed), &hidden), most);
    let suggestions = Suggestions {
        words: first(index.words_with(last, &hidden), most),
        cities: of(Attribute::City),
        categories: of(Attribute::Category),
        tags: of(Attribute::Tag),
        events: named(index, typed, most)?,
    };
    Ok((index.commit(), suggestions))
}

fn first<'i>(all: impl Iterator<Item = (&'i str, u64)>, most: usize) -> Vec<Suggestion> {
    let mut all: Vec<(&str, u64)> = all.collect();
    all.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    all.truncate(most);
    all.into_iter().map(|(text, count)| Suggestion { text: text.to_owned(), count }).collect()
}

fn named(index: &Index, typed: &str, most: usize) -> io::Result<Vec<Named>> {
    let filter = Filter { text: TextQuery::new(typed), ..Filter::shown() };
    let request = PageRequest { sort: Sort::Relevance, limit: most, offset: 0, after: None, point: None };
    let page = index.page(&index.select(&filter), &request);
    let mut unpacker = index.packing().unpacker()?;
    let mut named = Vec::with_capacity(page.hits.len());
    for hit in page.hits {
        let document = String::from_utf8(unpacker.unpack(&hit.document)?).map_err(io::Error::other)?;
        let title = document::value(&document).ok().and_then(|value| value.title.map(|title| title.0.to_string()));
        named.push(Named { id: hit.id.to_string(), title: title.unwrap_or_default() });
    }
    Ok(named)
}
