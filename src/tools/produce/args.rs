//! `headwater produce`.

use std::path::PathBuf;

use clap::Args;

use super::options::{KeyRule, ProduceOptions, SourceRule};
use super::write::produce;
use crate::cli::ConfigArgs;
use crate::config::{ConfigErrors, Section};
use crate::tools::dead_letters::MakeExamine;
use crate::tools::open::{Opened, opened_or_made};
use crate::tools::print::{Outcome, print_result};

/// `headwater produce`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A file of JSON lines is written a record a line, without a key. Any other file is one record; its key is \
the file's name without its extension, so that a newer version of the file replaces all the listings of the \
older one. Files of one name in several folders have their paths as keys.

A .json file is read as JSON lines where most of its lines are JSON values, and else as one record. Standard \
input is JSON lines where its first line is a JSON value; --content-type application/x-ndjson says that a file \
has a record a line, whatever its name.

A tombstone withdraws a document: all the listings that the file of that key gave.

Examples:
  headwater produce raw.events listings.jsonl --source meetup
  headwater produce raw.events calendars/*.ics --source-from-file-name
  curl -s https://example.org/events.ics |
    headwater produce raw.events - --source example --content-type text/calendar
  headwater produce raw.events --tombstone city-hall --source city-hall
  headwater produce raw.events listings.jsonl --key /id --source meetup")]
pub struct ProduceArgs {
    /// Topic, with or without the prefix; one that the configuration knows is created when missing
    pub topic: String,
    /// Files or folders; - or none is standard input
    pub files: Vec<PathBuf>,
    /// A file, as among FILES; may be repeated
    #[arg(long = "file", value_name = "FILE")]
    pub more_files: Vec<PathBuf>,
    /// Write a tombstone under this key, which withdraws the document of that key; may be repeated
    #[arg(long = "tombstone", value_name = "KEY", conflicts_with_all = ["files", "more_files", "key_rule"])]
    pub tombstones: Vec<String>,
    /// Source of the records
    #[arg(long, value_name = "NAME", conflicts_with = "source_from_file_name")]
    pub source: Option<String>,
    /// Take each file's name without its extension as the source of its records
    #[arg(long, conflicts_with = "tombstones")]
    pub source_from_file_name: bool,
    /// Content type of the records [default: by each file's name]
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Take the key from this place in each JSON record, a JSON Pointer such as /id
    #[arg(long, value_name = "POINTER", group = "key_rule", value_parser = pointer)]
    pub key: Option<String>,
    /// Give all records this key
    #[arg(long, value_name = "TEXT", group = "key_rule")]
    pub key_value: Option<String>,
    /// Give no record a key
    #[arg(long, group = "key_rule")]
    pub no_key: bool,
    /// Say that the records were written at this time, such as 2026-03-26T00:00:00Z; on Kafka the
    /// retention of the topic counts from it [default: now]
    #[arg(long, value_name = "TIME")]
    pub timestamp: Option<jiff::Timestamp>,
    /// Leave out records that cannot be written, instead of stopping there
    #[arg(long)]
    pub keep_going: bool,
    /// Write records also where the topology would make a dead letter of each: no source, or no reader for the format
    #[arg(long)]
    pub force: bool,
    /// Create the topic also where the configuration does not know it
    #[arg(long)]
    pub create: bool,
    /// Print the counts as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a JSON Pointer begins with /".to_owned()) }
}

impl ProduceArgs {
    fn options(&self) -> ProduceOptions {
        let source = match (&self.source, self.source_from_file_name) {
            (Some(name), _) => SourceRule::Name(name.clone()),
            (None, true) => SourceRule::FileName,
            (None, false) => SourceRule::Topic,
        };
        let key = match (&self.key, &self.key_value, self.no_key) {
            (Some(pointer), _, _) => KeyRule::Pointer(pointer.clone()),
            (None, Some(text), _) => KeyRule::Text(text.clone()),
            (None, None, true) => KeyRule::None,
            (None, None, false) => KeyRule::Usual,
        };
        ProduceOptions {
            topic: self.topic.clone(),
            files: self.files.iter().chain(&self.more_files).cloned().collect(),
            tombstones: self.tombstones.clone(),
            source,
            content_type: self.content_type.clone(),
            key,
            timestamp_ms: self.timestamp.map(jiff::Timestamp::as_millisecond),
            keep_going: self.keep_going,
            force: self.force,
            create: self.create,
            progress: !self.json,
        }
    }

    /// Runs the tool. `examiner` gives what the topology knows of records.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run<S: Section>(self, examiner: MakeExamine<S>) -> Outcome {
        let Opened { config, places, log } = opened_or_made::<S>(&self.config)?;
        let problems = |invalid: Vec<_>| ConfigErrors(invalid.into_iter().map(|one| places.problem(one)).collect());
        let examine = examiner(&config).map_err(problems)?;
        let produced = produce(log.as_ref(), &config.runtime, examine.as_deref(), &self.options())?;
        print_result(&produced, self.json)
    }
}
