//! Tests that run over any topology, see [`Subject`](crate::support::subject::Subject).

#[cfg(unix)]
mod cluster;
#[cfg(unix)]
mod crash;
#[cfg(target_os = "linux")]
mod poison;
pub mod recovery;
