//! The arguments of `headwater evaluate`.

use std::path::PathBuf;

use clap::Args;
use headwater::cli::ConfigArgs;
use headwater::tools::{Opened, Outcome, opened_or_made, print_line};

use super::judge::{EvaluateOptions, evaluate};

/// `headwater evaluate`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The truth is a CSV file with the columns source_a, id_a, source_b, id_b, label (positive, negative, \
date_conflict or ambiguous) and, if wanted, how, group and note. What is judged are events: a pair \
counts as merged when both its listings are in one event. Pairs without a label are never counted. \
Or it has the columns source, external_id and event, as `headwater generate --truth` writes them: then \
every pair counts.

Examples:
  headwater evaluate --truth pairs.csv
  headwater evaluate --truth generated/truth.csv
  headwater evaluate --truth pairs.csv --group conf --without-urls
  headwater evaluate --truth pairs.csv --anew --set resolve.threshold=0.9 --json")]
pub struct EvaluateArgs {
    /// Labelled pairs, or listings with their events, as CSV
    #[arg(long, value_name = "FILE")]
    pub truth: PathBuf,
    /// Take only the pairs of this group; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Leave out pairs that came to be known in this way; may be repeated
    #[arg(long, value_name = "HOW", default_values_t = ["same_uid".to_owned()])]
    pub exclude_how: Vec<String>,
    /// Judge what the configuration makes of the listings now, not what the topology made of them
    #[arg(long)]
    pub anew: bool,
    /// As --anew, with the web addresses of all listings withheld
    #[arg(long)]
    pub without_urls: bool,
    /// Read links from a file of JSON lines, such as `consume links` prints, instead of the topic
    #[arg(long, value_name = "FILE")]
    pub links: Option<PathBuf>,
    /// Read listings from a file of JSON lines, such as `consume listings` prints
    #[arg(long, value_name = "FILE")]
    pub listings: Option<PathBuf>,
    /// How many mistakes of each kind to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub mistakes: usize,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl EvaluateArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run(self) -> Outcome {
        let Opened { config, log, .. } = opened_or_made(&self.config)?;
        let options = EvaluateOptions {
            truth: self.truth,
            groups: self.groups,
            exclude_how: self.exclude_how,
            links: self.links,
            listings: self.listings,
            anew: self.anew,
            without_urls: self.without_urls,
            mistakes: self.mistakes,
        };
        let report = evaluate(log.as_ref(), &config, &options)?;
        let text = if self.json { serde_json::json!(report).to_string() } else { report.to_string() };
        print_line(text.trim_end())
    }
}
