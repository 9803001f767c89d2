//! The index: what is served, in memory, as one commit has left it.
//!
//! ```text
//!  id ──► slot ──► entry: row, commit, packed document
//!
//!  attribute, value ──┐
//!  cell of the globe ─┼──► sets of slots ──(and)──► candidates ──(rows)──► selection ──► page, facets
//!  word, field ───────┘
//! ```
//!
//! An event has a slot, a small number, for as long as it is there. What has few values is looked up in
//! sets of slots, what has many is tested on rows. The index does not keep the words of its events:
//! whoever replaces an event brings what was read of the former document.

mod facets;
mod page;
mod places;
mod select;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::document::{Attribute, Facts, Row, Term};
use crate::geo::Cell;
use crate::packed::{Packed, Packing};
use crate::slots::Slots;
use crate::text::Field;

pub use facets::{Facet, FacetValue};
pub use page::{Hit, Page, PageEnd, PageRequest, Sort};
pub use places::{Agenda, Place, PlaceFilter, PlaceSort, Places, PlacesRequest};
pub use select::{Hidden, Selection};

/// Events that last so many days at most are looked for by the day on which they begin; the few others are tested one
/// by one.
const SHORT_DAYS: i32 = 7;

/// How many redirects are followed from a retired id: events merge a few times, not for ever.
const MOST_REDIRECTS: usize = 64;

/// What is served, as one commit has left it.
#[derive(Default)]
pub struct Index {
    commit: u64,
    entries: Vec<Option<Entry>>,
    all: RoaringBitmap,
    free: Vec<u32>,
    slots: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    redirects: HashMap<Arc<str>, Arc<str>, foldhash::fast::RandomState>,
    by_start: BTreeSet<(i64, Arc<str>, u32)>,
    terms: [BTreeMap<Box<str>, TermSlots>; Attribute::ALL.len()],
    cells: BTreeMap<Cell, Slots>,
    /// By the local day on which they begin.
    days: BTreeMap<i32, Slots>,
    /// Those that last longer than [`SHORT_DAYS`].
    long: Slots,
    words: BTreeMap<Box<str>, [Slots; Field::ALL.len()]>,
    packing: Packing,
}

/// What is kept of an event.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: Arc<str>,
    /// What is tested of it.
    pub row: Row,
    /// The commit that wrote it last.
    pub commit: u64,
    /// Its document.
    pub document: Packed,
}

/// The events that have a value.
#[derive(Debug, Default)]
struct TermSlots {
    slots: Slots,
    /// How events that are shown spell it, and how often.
    spellings: BTreeMap<Box<str>, u32>,
}

impl TermSlots {
    /// The most frequent spelling; where no event is shown, the key.
    fn label<'t>(&'t self, key: &'t str) -> &'t str {
        let most = self.spellings.iter().rev().max_by_key(|(_, count)| **count);
        most.map_or(key, |(spelling, _)| spelling)
    }
}

/// What becomes of an id.
#[derive(Debug, Clone)]
pub enum Fate<'a> {
    /// It is an event.
    Event(&'a Facts, Packed),
    /// It was retired for another one.
    Redirect(&'a str),
    /// Nothing is known of it any more.
    Gone,
}

impl Index {
    /// The commit that it shows.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// Number of events.
    pub fn len(&self) -> u64 {
        self.all.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How its documents are packed.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// The event of this id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.slots.get(id).and_then(|slot| self.entry(*slot))
    }

    /// The id that a retired one leads to, over all redirects. That event may have gone since.
    pub fn redirect(&self, id: &str) -> Option<&Arc<str>> {
        let mut to = self.redirects.get(id)?;
        for _ in 0..MOST_REDIRECTS {
            match self.redirects.get(to) {
                Some(next) => to = next,
                None => return Some(to),
            }
        }
        None
    }

    /// All events, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// The ids of events that changed after `commit` and are not in `selection`.
    pub fn changed_outside(&self, selection: &Selection, commit: u64) -> impl Iterator<Item = &Arc<str>> {
        let changed = (0..).zip(&self.entries).filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)));
        let changed = changed.filter(move |(_, entry)| entry.commit > commit);
        changed.filter(|(slot, _)| !selection.slots.contains(*slot)).map(|(_, entry)| &entry.id)
    }

    /// The events of `selection`, in the order in which they begin.
    pub fn in_order(&self, selection: &Selection) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = selection.slots.iter().filter_map(|slot| self.entry(slot)).collect();
        entries.sort_unstable_by(|a, b| (a.row.start_ms, &a.id).cmp(&(b.row.start_ms, &b.id)));
        entries
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    /// Shows that it has come to a commit.
    ///
    /// NB: a reader must not see the changes of a commit before all of them are made.
    pub fn set_commit(&mut self, commit: u64) {
        debug_assert!(self.commit <= commit, "commit {commit} after {}", self.commit);
        self.commit = commit;
    }

    /// Packs the documents anew; `repacked` holds each event's.
    pub fn set_packing(&mut self, packing: Packing, repacked: Vec<(Arc<str>, Packed)>) {
        self.packing = packing;
        for (id, document) in repacked {
            let slot = self.slots.get(&id).copied();
            if let Some(Some(entry)) = slot.and_then(|slot| self.entries.get_mut(slot as usize)) {
                entry.document = document;
            }
        }
    }

    /// Lets `commit` decide what becomes of `id`. `former` is what was read of the document that the index
    /// has of it, if it has one.
    pub fn set(&mut self, id: &str, former: Option<&Facts>, fate: Fate<'_>, commit: u64) {
        debug_assert_eq!(former.is_some(), self.slots.contains_key(id), "what was known of {id}");
        let former = former.and_then(|facts| self.remove(id, facts));
        self.redirects.remove(id);
        match fate {
            Fate::Event(facts, document) => {
                let id = former.unwrap_or_else(|| id.into());
                self.insert(Entry { id, row: facts.row, commit, document }, facts);
            }
            Fate::Redirect(to) => {
                self.redirects.insert(id.into(), to.into());
            }
            Fate::Gone => {}
        }
    }

    fn insert(&mut self, entry: Entry, facts: &Facts) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            // NB: so many events do not fit into memory.
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        self.all.insert(slot);
        self.slots.insert(Arc::clone(&entry.id), slot);
        self.by_start.insert((entry.row.start_ms, Arc::clone(&entry.id), slot));
        for Term { attribute, key, spelling } in &facts.terms {
            let term = entry_of(&mut self.terms[*attribute as usize], key);
            term.slots.insert(slot);
            if !facts.is_rejected() {
                *entry_of(&mut term.spellings, spelling) += 1;
            }
        }
        if let Some(point) = entry.row.point {
            self.cells.entry(Cell::of(point)).or_default().insert(slot);
        }
        match is_long(&entry.row) {
            true => self.long.insert(slot),
            false => self.days.entry(entry.row.first_day).or_default().insert(slot),
        }
        for (word, field) in facts.words.iter() {
            entry_of(&mut self.words, word)[field as usize].insert(slot);
        }
        if let Some(place) = self.entries.get_mut(slot as usize) {
            *place = Some(entry);
        }
    }

    /// Removes an event, of which `facts` were read, and gives its id back.
    fn remove(&mut self, id: &str, facts: &Facts) -> Option<Arc<str>> {
        let slot = self.slots.remove(id)?;
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.all.remove(slot);
        self.free.push(slot);
        self.by_start.remove(&(entry.row.start_ms, Arc::clone(&entry.id), slot));
        for Term { attribute, key, spelling } in &facts.terms {
            let counted = (!facts.is_rejected()).then_some(&**spelling);
            remove_term(&mut self.terms[*attribute as usize], key, counted, slot);
        }
        if let Some(point) = entry.row.point {
            remove_slot(&mut self.cells, &Cell::of(point), |slots| slots.remove(slot), Slots::is_empty);
        }
        match is_long(&entry.row) {
            true => self.long.remove(slot),
            false => remove_slot(&mut self.days, &entry.row.first_day, |slots| slots.remove(slot), Slots::is_empty),
        }
        for (word, field) in facts.words.iter() {
            let none = |fields: &[Slots; 3]| fields.iter().all(Slots::is_empty);
            remove_slot(&mut self.words, word, |fields| fields[field as usize].remove(slot), none);
        }
        Some(entry.id)
    }
}

fn is_long(row: &Row) -> bool {
    row.last_day.saturating_sub(row.first_day) > SHORT_DAYS
}

/// The value of a key, made where it is missing.
fn entry_of<'m, V: Default>(map: &'m mut BTreeMap<Box<str>, V>, key: &str) -> &'m mut V {
    map.entry(key.into()).or_default()
}

fn remove_term(terms: &mut BTreeMap<Box<str>, TermSlots>, key: &str, spelling: Option<&str>, slot: u32) {
    let without = |term: &mut TermSlots| {
        term.slots.remove(slot);
        if let Some(spelling) = spelling {
            remove_slot(&mut term.spellings, spelling, |count| *count = count.saturating_sub(1), |count| *count == 0);
        }
    };
    remove_slot(terms, key, without, |term| term.slots.is_empty());
}

/// Changes the value of a key, and removes it where it has become empty.
fn remove_slot<K, Q, V>(map: &mut BTreeMap<K, V>, key: &Q, change: impl FnOnce(&mut V), empty: impl Fn(&V) -> bool)
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    let Some(value) = map.get_mut(key) else { return };
    change(value);
    if empty(value) {
        map.remove(key);
    }
}
