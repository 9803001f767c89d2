//! Facets: how the events of a selection are spread over the values of an attribute.

use super::{Hidden, Index, Selection};
use crate::document::Attribute;

/// The values of an attribute in a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facet {
    /// The attribute.
    pub attribute: Attribute,
    /// Its values, the most frequent first, equally frequent ones by their keys.
    pub values: Vec<FacetValue>,
}

/// A value, and how many events have it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FacetValue {
    /// The value as most events spell it.
    pub value: String,
    /// Number of events, 1 or more.
    pub count: u64,
}

impl Index {
    /// The `most` most frequent values of `attribute` in `selection`.
    pub fn facet(&self, selection: &Selection, attribute: Attribute, most: usize) -> Facet {
        let terms = self.terms[attribute as usize].iter();
        let mut counted: Vec<_> = terms.map(|term| (term, term.1.slots.count_in(&selection.slots))).collect();
        counted.retain(|(_, count)| *count > 0);
        // Stable: equal counts stay in the order of their keys.
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counted.truncate(most);
        let values =
            counted.into_iter().map(|((key, term), count)| FacetValue { value: term.label(key).to_owned(), count });
        Facet { attribute, values: values.collect() }
    }

    /// How many events have a value of an attribute, by its key.
    pub fn frequency(&self, attribute: Attribute, key: &str) -> u64 {
        self.terms[attribute as usize].get(key).map_or(0, |term| term.slots.len())
    }

    /// The values of `attribute` whose key begins with `stem`, with the number of shown events that have it.
    pub fn values_with<'i>(
        &'i self,
        attribute: Attribute,
        stem: &'i str,
        hidden: &'i Hidden,
    ) -> impl Iterator<Item = (&'i str, u64)> {
        let from = (std::ops::Bound::Included(stem), std::ops::Bound::Unbounded);
        let terms = self.terms[attribute as usize].range::<str, _>(from);
        let terms = terms.take_while(move |(key, _)| key.starts_with(stem));
        let counted = terms.map(|(key, term)| (term.label(key), hidden.count_others(&term.slots)));
        counted.filter(|(_, count)| *count > 0)
    }
}
