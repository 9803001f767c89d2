//! What every error of the runtime can say about itself.

/// Whose error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Something the user wrote or asked for: configuration, flags, files.
    User,
    /// A system outside: broker, database, file system, network.
    External,
    /// Nobody's: another instance has taken over, as it should.
    Superseded,
    /// A defect in Headwater.
    Internal,
}

impl Domain {
    /// The process's exit code for an error of this domain (2 user, 3 external, 4 superseded, 70
    /// internal).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::User => 2,
            Self::External => 3,
            Self::Superseded => 4,
            Self::Internal => 70,
        }
    }
}

/// An error that knows its domain, whether trying again can help, and what a person can do.
pub trait Fault: std::error::Error {
    /// Whose error it is.
    fn domain(&self) -> Domain;
    /// Whether the same call may succeed later.
    fn retryable(&self) -> bool {
        false
    }
    /// What to do about it.
    fn hint(&self) -> Option<String> {
        None
    }
}
