//! Subjects: what a stream shows.

use crate::filter::Filter;

/// What a stream shows. Streams of one subject share their frames.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Which events.
    pub filter: Filter,
    /// Only these fields of them, if not all.
    pub fields: Option<Vec<String>>,
}
