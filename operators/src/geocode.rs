//! geocode.
