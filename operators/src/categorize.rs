//! categorize.
