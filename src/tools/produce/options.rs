//! What to write, and under which names.

use std::path::PathBuf;

/// Where a record's source comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SourceRule {
    /// From the configuration of the topic.
    #[default]
    Topic,
    /// This one.
    Name(String),
    /// The file's name without its extension.
    FileName,
}

impl SourceRule {
    /// The source that the records of a file name, whose name without its extension is `stem`; `None` where
    /// they name none.
    pub(super) fn of_file(&self, stem: Option<String>) -> Option<String> {
        match self {
            Self::Topic => None,
            Self::Name(name) => Some(name.clone()),
            Self::FileName => stem,
        }
    }
}

/// Where a record's key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyRule {
    /// None for lines, the file's name without its extension for whole files.
    #[default]
    Usual,
    /// From this place in each record: a JSON Pointer such as `/id`.
    Pointer(String),
    /// This text.
    Text(String),
    /// No key.
    None,
}

/// What to write.
#[derive(Debug, Clone, Default)]
pub struct ProduceOptions {
    /// The topic, with or without the prefix.
    pub topic: String,
    /// Files; `-` is standard input, and of a folder all files below it are taken. None at all is
    /// standard input, unless there are tombstones.
    pub files: Vec<PathBuf>,
    /// Keys to write tombstones under, after the files.
    pub tombstones: Vec<String>,
    /// The source.
    pub source: SourceRule,
    /// The content type; `None` tells it by each file's name.
    pub content_type: Option<String>,
    /// The key.
    pub key: KeyRule,
    /// Create time of all records, in ms since the Unix epoch; `None` is now.
    pub timestamp_ms: Option<i64>,
    /// Leave out what cannot be written, instead of stopping there.
    pub keep_going: bool,
    /// Write also what the topology would not look at.
    pub force: bool,
    /// Create the topic also where the configuration does not know it.
    pub create: bool,
    /// Show a progress bar on a terminal.
    pub progress: bool,
}
