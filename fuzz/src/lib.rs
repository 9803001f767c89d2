//! Bodies of the fuzz targets: each takes any bytes and fails where an invariant does not hold.

#[cfg(feature = "runtime")]
pub mod discovery;
pub mod parsers;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "topologies")]
pub mod views;
