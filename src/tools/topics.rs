//! Lists topics.

use std::io::{self, Write};

use clap::Args;

use super::error::ToolError;
use super::open::{Opened, opened};
use super::print::{Outcome, still_read};
use crate::cli::ConfigArgs;
use crate::config::{Runtime, Section};
use crate::log::{Log, TopicInfo, Watermarks};

/// More partitions than these are not shown one by one.
const PARTITIONS_SHOWN: usize = 8;

/// Prints the topics under the configured prefix: a table, or with `json` one JSON object a line.
///
/// # Errors
/// When the log cannot be asked, or nothing can be printed.
pub fn topics(log: &dyn Log, config: &Runtime, json: bool, out: &mut dyn Write) -> Result<(), ToolError> {
    let found = log.topics(&config.prefix)?;
    let printed = if json { print_json(&found, out) } else { print_table(&found, out) };
    if found.is_empty() && !json {
        eprintln!("no topic of {} begins with {:?} yet", log.describe(), config.prefix);
    }
    still_read(printed)?;
    Ok(())
}

/// `headwater topics`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
FIRST..END are the first offset still there and the one after the last, partition by partition. \
Compaction and transactions leave gaps, so the difference is not the number of records.

Examples:
  headwater topics
  headwater topics --json --config config/discovery.toml")]
pub struct TopicsArgs {
    /// One JSON object a topic
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl TopicsArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run<S: Section>(self) -> Outcome {
        let Opened { config, log, .. } = opened::<S>(&self.config)?;
        Ok(topics(log.as_ref(), &config.runtime, self.json, &mut io::stdout())?)
    }
}

fn print_json(topics: &[TopicInfo], out: &mut dyn Write) -> io::Result<()> {
    for topic in topics {
        serde_json::to_writer(&mut *out, topic)?;
        writeln!(out)?;
    }
    Ok(())
}

fn print_table(topics: &[TopicInfo], out: &mut dyn Write) -> io::Result<()> {
    const TOPIC: &str = "TOPIC";
    const CLEANUP: &str = "CLEANUP";
    if topics.is_empty() {
        return Ok(());
    }
    let widest =
        |header: &str, width: &dyn Fn(&TopicInfo) -> usize| topics.iter().map(width).fold(header.len(), usize::max);
    let name = widest(TOPIC, &|topic| topic.name.len());
    let cleanup = widest(CLEANUP, &|topic| topic.cleanup.len());
    writeln!(out, "{TOPIC:name$}  PARTITIONS  {CLEANUP:cleanup$}  FIRST..END")?;
    for topic in topics {
        let partitions = topic.partitions.len();
        let ends = ends(&topic.partitions);
        writeln!(out, "{:name$}  {partitions:>10}  {:cleanup$}  {ends}", topic.name, topic.cleanup)?;
    }
    Ok(())
}

fn ends(partitions: &[Watermarks]) -> String {
    let shown = partitions.iter().take(PARTITIONS_SHOWN).map(|at| format!("{}..{}", at.low, at.high));
    let mut ends = shown.collect::<Vec<_>>().join(" ");
    if partitions.len() > PARTITIONS_SHOWN {
        ends.push_str(" …");
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, partitions: usize) -> TopicInfo {
        let partitions = (0..partitions).map(|n| Watermarks { low: n as i64, high: 10 }).collect();
        TopicInfo { name: name.to_owned(), partitions, cleanup: "compact".to_owned() }
    }

    #[test]
    fn the_table_is_aligned_and_never_too_wide() {
        let mut out = Vec::new();
        print_table(&[topic("headwater.events", 2), topic("x", 9)], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "TOPIC             PARTITIONS  CLEANUP  FIRST..END\n\
             headwater.events           2  compact  0..10 1..10\n\
             x                          9  compact  0..10 1..10 2..10 3..10 4..10 5..10 6..10 7..10 …\n"
        );
    }

    #[test]
    fn json_has_one_topic_a_line() {
        let mut out = Vec::new();
        print_json(&[topic("x", 1)], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"name\":\"x\",\"partitions\":[{\"low\":0,\"high\":10}],\"cleanup\":\"compact\"}\n"
        );
    }
}
