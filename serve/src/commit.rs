//! Commits: what changes at once.

/// A topic that serving reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Events and redirects, by event id.
    Events,
    /// Listings, by the stand-in of their identity.
    Listings,
    /// Which listing is which event and why, by the same stand-in.
    Links,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Listings, Self::Links];

    /// Its name, without prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Listings => "listings",
            Self::Links => "links",
        }
    }
}

/// A record: what a key is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The topic.
    pub topic: Topic,
    /// The key.
    pub key: Box<str>,
    /// The document; `None` where the key has none any more.
    pub value: Option<Vec<u8>>,
    /// The commit that wrote it.
    pub commit: u64,
}

/// What changes at once: no reader sees a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its number, greater than those of all before it.
    pub number: u64,
    /// When it was made, in ms since the Unix epoch.
    pub ms: i64,
    /// The changes, in the order of the log for each key.
    pub changes: Vec<Change>,
}
