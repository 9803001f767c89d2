//! The quality gates in force: those of the topic `control` or, while there are none, the configured ones.

use differential_dataflow::VecCollection;
use headwater_operators::Epoch;
use headwater_operators::score::Gates;
use serde::{Deserialize, Serialize};

/// A record of the `control` topic: configuration that changes while running.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The gates.
    pub gates: Gates,
}

/// The gates of the `control` topic or, while there are none, the configured ones.
pub fn latest_gates<'s>(
    configured: VecCollection<'s, Epoch, Gates>,
    control: VecCollection<'s, Epoch, Control>,
) -> VecCollection<'s, Epoch, Gates> {
    let ranked = configured.map(|gates| ((), (0u8, gates))).concat(control.map(|control| ((), (1, control.gates))));
    let greatest = ranked.reduce(|_, ranked, out| {
        out.extend(ranked.last().map(|((_, gates), _)| (gates.clone(), 1isize)));
    });
    greatest.map(|((), gates)| gates)
}
