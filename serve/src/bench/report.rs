//! What a benchmark has found.

use std::fmt;

use headwater::words::grouped;
use serde::Serialize;

use super::client::Seen;
use super::load::{Load, Transport};
use super::server::Used;

/// What a benchmark has found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) connections: u32,
    pub(super) events: u32,
    pub(super) seconds: u32,
    pub(super) rows: Vec<Row>,
}

/// What was found under a load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    load: &'static str,
    about: &'static str,
    /// `sse`, `websocket`, or `http` for lists.
    transport: &'static str,
    tls: bool,
    clients: u32,
    /// Clients whose connection ended before its time.
    ended: u32,
    /// Changes committed a second.
    changes_per_second: f64,
    /// Frames read a second, or requests answered.
    answers_per_second: f64,
    /// Latencies in milliseconds.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Of one core, by the server.
    processor_share: f64,
    /// Memory of the server's process for a connection, in bytes, without any traffic yet.
    memory_per_connection: u64,
    /// Kernel memory for a connection, in bytes, of both its ends.
    kernel_per_connection: u64,
    /// Memory of the server's process at the end, in bytes.
    resident_bytes: u64,
}

/// What was measured under a load.
pub(super) struct Measured {
    pub(super) load: Load,
    pub(super) transport: Transport,
    pub(super) tls: bool,
    pub(super) clients: u32,
    /// Memory of the server's process before anybody connected, in bytes.
    pub(super) resident_before: u64,
    /// When all were connected.
    pub(super) connected: Used,
    /// At the end.
    pub(super) used: Used,
    pub(super) kernel_bytes: u64,
    pub(super) seen: Seen,
}

impl Row {
    pub(super) fn of(measured: &Measured) -> Self {
        let Measured { load, transport, tls, clients, resident_before, connected, used, kernel_bytes, seen } = measured;
        let Seen { latency, ended, seconds } = seen;
        let ms = |micros: u64| (micros as f64 / 10.0).round() / 100.0;
        let quantile = |quantile: f64| if latency.is_empty() { 0.0 } else { ms(latency.value_at_quantile(quantile)) };
        let elapsed = used.elapsed_ms.saturating_sub(connected.elapsed_ms).max(1) as f64;
        let each = |bytes: u64| bytes / u64::from((*clients).max(1));
        Self {
            load: load.name(),
            about: load.about(),
            transport: if *load == Load::Rest { "http" } else { transport.name() },
            tls: *tls,
            clients: *clients,
            ended: *ended,
            changes_per_second: (used.changes as f64 / elapsed * 1e4).round() / 10.0,
            answers_per_second: (latency.len() as f64 / seconds * 10.0).round() / 10.0,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            max_ms: if latency.is_empty() { 0.0 } else { ms(latency.max()) },
            processor_share: (used.processor_ms.saturating_sub(connected.processor_ms) as f64 / elapsed * 100.0)
                .round()
                / 100.0,
            memory_per_connection: each(connected.resident_bytes.saturating_sub(*resident_before)),
            kernel_per_connection: each(*kernel_bytes),
            resident_bytes: used.resident_bytes,
        }
    }
}

impl Row {
    /// What connections are made over, for people.
    fn over(&self) -> String {
        format!("{}{}", self.transport, if self.tls { "+tls" } else { "" })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connections, events) = (grouped(self.connections.into()), grouped(self.events.into()));
        writeln!(f, "{connections} streams, {events} events, {} s each\n", self.seconds)?;
        writeln!(
            f,
            "LOAD       OVER           CLIENTS  CHANGES/s  ANSWERS/s   P50 ms   P99 ms   MAX ms  CORES  KB EACH  KERNEL KB  RESIDENT MB  ENDED"
        )?;
        for row in &self.rows {
            let kb = |bytes: u64| bytes as f64 / 1_024.0;
            writeln!(
                f,
                "{:9}  {:13}  {:>7}  {:>9.1}  {:>9.1}  {:>7.2}  {:>7.2}  {:>7.2}  {:>5.2}  {:>7.1}  {:>9.1}  {:>11.0}  {:>5}",
                row.load,
                row.over(),
                row.clients,
                row.changes_per_second,
                row.answers_per_second,
                row.p50_ms,
                row.p99_ms,
                row.max_ms,
                row.processor_share,
                kb(row.memory_per_connection),
                kb(row.kernel_per_connection),
                row.resident_bytes as f64 / 1e6,
                row.ended
            )?;
        }
        Ok(())
    }
}
