//! How a view runs.

use std::time::Duration;

use serde::Deserialize;

use crate::config::Invalid;

/// How much is written in one transaction: whatever is reached first. A view that is behind lets
/// batches grow to `records` and `bytes` while its database is busy. Several writers of one view
/// share these two.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Records (1 or more).
    pub records: usize,
    /// Bytes of keys, values and headers. A larger record is a batch of its own.
    pub bytes: usize,
    /// Milliseconds since the first record of the batch.
    pub interval_ms: u64,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { records: 20_000, bytes: 32 << 20, interval_ms: 50 }
    }
}

impl BatchConfig {
    /// Everything that is wrong; `section` is where it stands.
    pub(super) fn validate(&self, section: &str) -> Vec<Invalid> {
        let key = |name: &str| format!("{section}.{name}");
        let found = [
            Invalid::outside(key("records"), self.records, 1, 10_000_000),
            Invalid::outside(key("bytes"), self.bytes, 1, 1 << 32),
            Invalid::outside(key("interval_ms"), self.interval_ms, 0, 3_600_000),
        ];
        found.into_iter().flatten().collect()
    }
}

/// A view that was away for longer than this rebuilds itself, by default.
pub(super) const REBUILD_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How a view runs.
#[derive(Debug, Clone)]
pub struct ViewOptions {
    /// How much is written in one transaction.
    pub batch: BatchConfig,
    /// A view that was away for longer than this rebuilds itself.
    pub rebuild_after: Duration,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { batch: BatchConfig::default(), rebuild_after: REBUILD_AFTER }
    }
}
