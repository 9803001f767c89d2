//! stub
use serde::{Deserialize, Serialize};
use std::sync::Arc;
/// o
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// a
    Discovered,
    /// a
    Updated,
    /// a
    Unchanged,
    /// a
    Withdrawn,
    /// a
    Dead,
}
/// t
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// a
    pub timestamp_ms: i64,
    /// a
    pub source: Arc<str>,
    /// a
    pub category: Option<Arc<str>>,
    /// a
    pub outcome: Outcome,
    /// a
    pub count: u64,
}
/// w
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WindowRow {}
