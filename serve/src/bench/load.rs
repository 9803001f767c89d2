//! What a server is put under.

use clap::ValueEnum;

/// What a server is put under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Load {
    /// Streams to which nothing happens
    Idle,
    /// 100 changes a second, each of which 100 streams see
    Hundred,
    /// 2,000 changes a second, each of which 10 streams see
    Many,
    /// One change a second, which all streams see
    AllMatch,
    /// Requests for lists, while 200 changes a second arrive
    Rest,
}

/// How streams are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Server-sent events, one stream on each connection
    Sse,
    /// A WebSocket with one subscription on each connection
    Websocket,
}

impl Transport {
    /// Its name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Websocket => "websocket",
        }
    }
}

impl Load {
    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Hundred => "hundred",
            Self::Many => "many",
            Self::AllMatch => "all-match",
            Self::Rest => "rest",
        }
    }

    /// What it is, for people.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Idle => "streams to which nothing happens",
            Self::Hundred => "100 changes a second, each seen by 100 streams",
            Self::Many => "2,000 changes a second, each seen by 10 streams",
            Self::AllMatch => "one change a second, seen by all streams",
            Self::Rest => "requests for lists, while 200 changes a second arrive",
        }
    }

    /// Commits a second, and changes in each.
    pub(super) fn commits(self) -> (u32, u32) {
        match self {
            Self::Idle => (0, 0),
            Self::Hundred => (10, 10),
            Self::Many => (10, 200),
            Self::AllMatch => (1, 1),
            Self::Rest => (10, 20),
        }
    }

    /// In how many classes connections are: those of one see the same changes.
    pub(super) fn classes(self, connections: u32) -> u32 {
        match self {
            Self::Idle | Self::Hundred | Self::Rest => (connections / 100).max(1),
            Self::Many => (connections / 10).max(1),
            Self::AllMatch => 1,
        }
    }
}
