//! What this process uses, as Linux tells it; nothing elsewhere.

use std::fs;

use headwater::telemetry::{peak_resident_bytes, resident_bytes};

/// What the process has used or uses at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Memory held in bytes, see [`resident_bytes`].
    pub resident: Option<u64>,
    /// Processor time of all threads in seconds.
    pub processor: Option<f64>,
}

impl Usage {
    /// Seconds of processor time since `earlier`.
    pub fn since(&self, earlier: Self) -> Option<f64> {
        Some(self.processor? - earlier.processor?)
    }
}

/// Clock ticks a second in /proc: 100 on every Linux that there is.
const TICKS: f64 = 100.0;

/// What is used now.
pub(super) fn usage() -> Usage {
    Usage { resident: resident_bytes(), processor: processor() }
}

/// The most memory that was held since [`forget_peak`], in bytes.
pub(super) fn peak() -> Option<u64> {
    peak_resident_bytes()
}

/// Lets the peak begin anew; where that is not allowed, it stays that of the whole process.
pub(super) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn processor() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold blanks; user and system time are the 14th and 15th field.
    let fields = stat.rsplit(')').next()?.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    Some(ticks.iter().sum::<f64>() / TICKS)
}
