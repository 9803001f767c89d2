//! Several processes as one topology.
//!
//! ```text
//!             control: orders, committed epoch, stop, failures, counts
//!   process 0 ◄──────────────────────────────────────────────► process 1, 2, …
//!       └──────────────── data: timely's exchange ─────────────────┘   (every pair)
//! ```
//!
//! Process 0 fences other instances, plans the recovery, commits and serves the views. The others
//! join it, and read nothing before they have its orders. Whatever ends one process ends all: the
//! dataflow cannot go on with a part of it, and the next start goes on from the last commit.
//!
//! Connections are neither encrypted nor authenticated: they belong on a private network.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use timely::communication::allocator::zero_copy::initialize::{CommsGuard, initialize_networking_from_sockets};
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::initialize::Hooks;

use super::error::EngineError;
use super::lifecycle::Lifecycle;
use super::orders::Orders;

mod control;
mod gather;
mod link;
pub mod options;
mod wire;

use control::Control;
use link::Link;
use options::{Agreement, ClusterOptions};

/// This process's place among the others, with the connections to them.
pub struct Cluster {
    options: Arc<ClusterOptions>,
    control: Control,
    links: Vec<Option<Link>>,
    threads: Option<CommsGuard>,
    lifecycle: Arc<Lifecycle>,
}

impl Cluster {
    /// Connects to all other processes, and waits for those that are missing.
    ///
    /// # Errors
    /// When one does not come in time, or does not agree on what it takes to run together.
    pub fn join(
        options: ClusterOptions,
        agreement: &Agreement,
        lifecycle: &Arc<Lifecycle>,
    ) -> Result<Self, EngineError> {
        let options = Arc::new(options);
        let gathered = gather::gather(&options, agreement)?;
        let link = |(process, stream): (usize, Option<std::net::TcpStream>)| {
            stream.map(|stream| Link::new(stream, process, options.address(process), lifecycle))
        };
        let links = gathered.data.into_iter().enumerate().map(link).collect();
        let control = Control::start(gathered.control, &options, lifecycle)?;
        Ok(Self { options, control, links, threads: None, lifecycle: Arc::clone(lifecycle) })
    }

    /// Gives the orders to the other processes. For process 0.
    pub fn give(&self, orders: &Orders) {
        self.control.give(orders);
    }

    /// Waits for the orders of process 0; `None` when it fails or goes. For the others.
    pub fn orders(&self) -> Option<Orders> {
        while !self.lifecycle.failed() {
            if let Some(orders) = self.control.orders(Duration::from_millis(200)) {
                return Some(orders);
            }
            if self.options.stop.load(Ordering::Relaxed) && !self.lifecycle.stopping() {
                self.lifecycle.stop();
            }
        }
        None
    }

    /// What timely's workers of this process are built from.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn allocators(&mut self, workers: usize) -> Result<Vec<AllocatorBuilder>, EngineError> {
        let failed = |error: std::io::Error| EngineError::Thread { reason: error.to_string() };
        let hooks = Hooks::default();
        let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let links = std::mem::take(&mut self.links);
        let (builders, threads) =
            initialize_networking_from_sockets(local, links, self.options.process, workers, hooks).map_err(failed)?;
        self.threads = Some(threads);
        Ok(builders.into_iter().map(AllocatorBuilder::Tcp).collect())
    }

    /// Says how this process ended, and waits until the others have ended too.
    pub fn finish(self) {
        self.control.finish(self.options.process == 0, &self.lifecycle);
        let Some(threads) = self.threads else { return };
        if self.lifecycle.failed() {
            // They wait for what will never come; the process is about to end.
            std::mem::forget(threads);
            return;
        }
        let (done, ended) = crossbeam_channel::bounded::<()>(1);
        let waiter = std::thread::Builder::new().name("links".to_owned()).spawn(move || {
            drop(threads);
            drop(done);
        });
        if waiter.is_ok() {
            // A process that is killed at this moment leaves a connection without an end.
            let _ = ended.recv_timeout(LAST_WORDS);
        }
    }
}

/// How long the connections may take to close once all is done.
const LAST_WORDS: Duration = Duration::from_secs(5);
