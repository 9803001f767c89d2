//! Typed configuration.
//!
//! One TOML file describes how a topology runs; every key has a default, so that the file says
//! only what is different. Its top-level keys are those of [`Runtime`], which any topology has, and
//! those of the topology's own [`Section`]. [`loader`] reads both, with environment variables and
//! flags laid over the file, and lists everything that is wrong with it at once.
//! `config/discovery.toml` shows every option of discovery with its meaning and default.

mod cluster;
mod document;
mod explain;
mod keys;
pub mod loader;
mod problem;
mod reference;
mod roles;
mod runtime;
mod section;
mod sources;
mod specs;
mod values;

pub use cluster::ClusterSection;
pub use explain::suggest;
pub use loader::{Attempt, Loaded, attempt, load};
pub use problem::{ConfigErrors, Invalid, Place, Places, Position, Problem};
pub use roles::{Role, TopicRole, TopicRoles, topic};
pub use runtime::{
    AdminSection, DeadLettersSection, EngineSection, Input, LogKind, LogSection, Runtime, TopicOverride, TopicsSection,
};
pub use section::{Config, Section};
pub use sources::Sources;
pub use values::{Lifetime, Period, Size, ValueError};
