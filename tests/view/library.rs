//! A topology's views, as small as can be with a column of every kind: a library.

use headwater::view::{Cell, TableRow, Text, Unread, Versioned, ViewSpec, parse, time_cell};
use headwater::{cells, tables};
use jiff::Timestamp;
use serde::Deserialize;

tables! {
    /// Works.
    pub static WORKS = "works", key 1 {
        id: Text, title: Text, summary: Text, tags: List, pages: Int, weight: Real, price: Money, lent: Bool,
        published: Time, bought: Date, document: Json,
    }
    index [published, pages]
    index [price]
    search [title, summary]
    /// Works that are others now.
    pub static ALIASES = "aliases", key 1 { id: Text, alias_of: Text }
    /// Notes. The names of its columns are words of SQL.
    pub static NOTES = "notes", key 1 { key: Text, order: Int, select: Text }
}

#[derive(Deserialize)]
struct Work<'a> {
    format: u64,
    #[serde(borrow)]
    alias_of: Option<Text<'a>>,
    title: Option<Text<'a>>,
    summary: Option<Text<'a>>,
    #[serde(default)]
    tags: Vec<Text<'a>>,
    pages: Option<i64>,
    weight: Option<f64>,
    price: Option<i64>,
    lent: Option<bool>,
    published: Option<Timestamp>,
    bought: Option<Text<'a>>,
}

impl Versioned for Work<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

fn work<'a>(id: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread> {
    let work: Work<'a> = parse(value)?;
    if let Some(other) = work.alias_of {
        return Ok(ALIASES.row(cells![id, other]));
    }
    let title = work.title.ok_or_else(|| Unread::malformed("it has no title"))?;
    let tags = Cell::List(work.tags.into_iter().map(|tag| tag.0).collect());
    let Work { summary, pages, weight, price, lent, published, bought, .. } = work;
    let published = time_cell(published)?;
    Ok(WORKS.row(cells![id, title, summary, tags, pages, weight, price, lent, published, bought, value]))
}

#[derive(Deserialize)]
struct Note<'a> {
    format: u64,
    order: i64,
    #[serde(borrow)]
    text: Text<'a>,
}

impl Versioned for Note<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

fn note<'a>(key: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread> {
    let note: Note<'a> = parse(value)?;
    Ok(NOTES.row(cells![key, note.order, note.text]))
}

pub fn library() -> ViewSpec {
    ViewSpec::new("library").follow("works", [&WORKS, &ALIASES], work).follow("notes", [&NOTES], note)
}

/// The same topology later: notes have lost a column, and there are shelves.
pub mod later {
    use super::*;

    tables! {
        /// Notes.
        pub static NOTES = "notes", key 1 { key: Text, select: Text }
        /// Shelves, of the same topic.
        pub static SHELVES = "shelves", key 1 { id: Text, shelf: Int }
    }

    fn note<'a>(key: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread> {
        let note: Note<'a> = parse(value)?;
        match note.order {
            0 => Ok(NOTES.row(cells![key, note.text])),
            shelf => Ok(SHELVES.row(cells![key, shelf])),
        }
    }

    pub fn library() -> ViewSpec {
        ViewSpec::new("library").follow("works", [&WORKS, &ALIASES], work).follow("notes", [&NOTES, &SHELVES], note)
    }
}
