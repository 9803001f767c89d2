//! Bodies of the fuzz targets: each takes any bytes and fails where an invariant does not hold.

#[cfg(feature = "topologies")]
pub mod discovery;
#[cfg(feature = "topologies")]
pub mod jobs;
pub mod parsers;
#[cfg(feature = "topologies")]
pub mod records;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "topologies")]
pub mod views;
