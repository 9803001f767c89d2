//! What a process knows of the others before it joins them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The processes of a topology, seen from one of them.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Number of this process, from 0.
    pub process: usize,
    /// Where each process is found: `host:port`.
    pub addresses: Vec<String>,
    /// Where this one listens.
    pub listen: String,
    /// How long the others are waited for at the start.
    pub wait: Duration,
    /// A process that says nothing for so long has gone.
    pub silent_after: Duration,
    /// Set when this process is asked to end while it waits for the others.
    pub stop: Arc<AtomicBool>,
}

impl ClusterOptions {
    /// The address of a process.
    pub fn address(&self, process: usize) -> String {
        self.addresses.get(process).cloned().unwrap_or_default()
    }
}

/// What all processes have to agree on, by name.
pub type Agreement = BTreeMap<String, String>;
