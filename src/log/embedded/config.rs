//! Settings of the embedded log.

use std::path::PathBuf;

use serde::Deserialize;

/// Where the embedded log is and how long it keeps tombstones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddedConfig {
    /// The SQLite file; created with its directory when missing.
    pub path: PathBuf,
    /// How long a tombstone stays in a compacted topic, in milliseconds. Default: a day.
    pub tombstone_retention_ms: i64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self { path: PathBuf::from(".headwater/log.db"), tombstone_retention_ms: 24 * 60 * 60 * 1000 }
    }
}
