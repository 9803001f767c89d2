//! Figures: what a topology counts, and what of it people see.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A number of rows that a topology counts: its index among the topology's gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge(pub(super) u16);

/// A gauge, as `/metrics` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeSpec {
    /// Name of the metric, such as `headwater_events`.
    pub metric: &'static str,
    /// What it counts.
    pub help: &'static str,
}

/// Makes a number of gauges.
type FromGauges = dyn Fn(&dyn Fn(Gauge) -> i64) -> i64 + Send + Sync;

/// A number that the console and the summary show, made of gauges.
#[derive(Clone)]
pub struct Figure {
    /// Its name in JSON.
    pub key: &'static str,
    /// What people read after the number, such as `events`.
    pub label: &'static str,
    pub(super) value: Arc<FromGauges>,
}

impl Figure {
    /// Its value, given those of all gauges.
    pub fn value(&self, gauges: &[i64]) -> i64 {
        (self.value)(&|gauge: Gauge| gauges.get(usize::from(gauge.0)).copied().unwrap_or(0))
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figure").field("key", &self.key).field("label", &self.label).finish()
    }
}

/// The values of all gauges of a topology, shared by the workers of a process.
#[derive(Debug, Clone, Default)]
pub struct Gauges(Arc<[AtomicI64]>);

impl Gauges {
    /// This many gauges, all 0.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicI64::new(0)).collect())
    }

    /// Adds to one of them.
    pub fn add(&self, gauge: Gauge, change: i64) {
        if let Some(value) = self.0.get(usize::from(gauge.0)) {
            value.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// All values, in the order of the gauges.
    pub fn values(&self) -> Vec<i64> {
        self.0.iter().map(|value| value.load(Ordering::Relaxed)).collect()
    }
}
