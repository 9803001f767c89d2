//! The arguments of `headwater dead-letters`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::examine::MakeExamine;
use super::id::LetterId;
use super::letter::{Filter, Standing, parse_time};
use super::plan::ReplayOptions;
use super::print::{ListOptions, ShowForm, list, show, summary};
use super::replay::replay;
use crate::cli::{ConfigArgs, stop_on_signals};
use crate::config::{ConfigErrors, Invalid, Runtime, Section};
use crate::error::Fault;
use crate::tools::error::ToolError;
use crate::tools::open::{Opened, opened};
use crate::tools::print::{Outcome, print_result};

/// `headwater dead-letters`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
A dead letter is new until it is replayed; if its record fails again, that makes another dead letter, \
which counts the tries. One that has failed dead_letters.max_attempts times is parked.

Examples:
  headwater dead-letters summary
  headwater dead-letters list --code invalid-field --source city-guide
  headwater dead-letters show 2/1042
  headwater dead-letters replay --source city-guide --dry-run")]
pub enum DeadLettersArgs {
    /// List them, the newest first
    List(LettersArgs),
    /// Count them by code and source
    Summary(LettersSummaryArgs),
    /// Show one of them whole
    Show(LetterArgs),
    /// Put records back on the topics that they came from
    Replay(ReplayArgs),
}

/// Which dead letters.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only those of this code, such as invalid-field; may be repeated
    #[arg(long, value_name = "CODE")]
    pub code: Vec<String>,
    /// Only those of this source; may be repeated
    #[arg(long, value_name = "NAME")]
    pub source: Vec<String>,
    /// Only those of records of this topic, with or without the prefix
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only those of records of this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// Only those of the record at this offset
    #[arg(long, value_name = "N")]
    pub offset: Option<i64>,
    /// Only those written at or after this time: 2026-03-28T19:30:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<i64>,
    /// Only those written before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<i64>,
}

impl FilterArgs {
    fn filter(self, config: &Runtime, ids: Vec<LetterId>) -> Filter {
        Filter {
            ids,
            codes: self.code,
            sources: self.source,
            topic: self.topic.map(|topic| config.full_name(&topic)),
            partition: self.partition,
            offset: self.offset,
            since_ms: self.since,
            until_ms: self.until,
        }
    }
}

/// `headwater dead-letters list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater dead-letters list
  headwater dead-letters list --parked --code malformed --since 2h
  headwater dead-letters list --new --oldest-first --limit 0 --json")]
pub struct LettersArgs {
    /// Which ones.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only those that are new: neither replayed nor parked
    #[arg(long, group = "standing")]
    pub new: bool,
    /// Only those that were replayed
    #[arg(long, group = "standing")]
    pub replayed: bool,
    /// Only those that have failed too often to be replayed unasked
    #[arg(long, group = "standing")]
    pub parked: bool,
    /// The oldest first
    #[arg(long)]
    pub oldest_first: bool,
    /// At most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// One JSON object a dead letter
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater dead-letters summary`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater dead-letters summary
  headwater dead-letters summary --source city-guide --since '2 days' --json")]
pub struct LettersSummaryArgs {
    /// Which ones.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// One JSON object a code and source
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater dead-letters show`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater dead-letters show 2/1042
  headwater dead-letters show 2/1042 --raw | less
  headwater dead-letters show 2/1042 --out record.ics")]
pub struct LetterArgs {
    /// The dead letter, PARTITION/OFFSET, as `list` shows it
    pub id: LetterId,
    /// Write its bytes as they are, and nothing else
    #[arg(long)]
    pub raw: bool,
    /// Write its bytes into this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "json"])]
    pub out: Option<PathBuf>,
    /// One JSON object
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater dead-letters replay`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Each record is put back once, whatever interrupts it: the same command goes on where the last one ended. \
A record is left out where its topic has a newer one of the same document or listing. Exit codes: 0 all \
is done, 130 it was stopped before, 2 something to mend in what was asked for, 3 something is down.

Examples:
  headwater dead-letters replay --code unknown-source --dry-run
  headwater dead-letters replay --code unknown-source --rate 200 --yes
  headwater dead-letters replay 0/17 2/1042 --parked")]
pub struct ReplayArgs {
    /// Dead letters, PARTITION/OFFSET; without any, all that the filters let pass
    pub ids: Vec<LetterId>,
    /// Which ones.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most so many records, the oldest dead letters first
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Put them on this topic instead of those that they came from
    #[arg(long, value_name = "TOPIC")]
    pub to_topic: Option<String>,
    /// Only say what would be replayed, and how it would fare now
    #[arg(long)]
    pub dry_run: bool,
    /// Records a second, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Also what was replayed before
    #[arg(long)]
    pub again: bool,
    /// Also what is parked
    #[arg(long)]
    pub parked: bool,
    /// Also where the topic has a newer record: what that one says is undone
    #[arg(long)]
    pub force: bool,
    /// Replay more than 1,000 records
    #[arg(long)]
    pub yes: bool,
    /// Print the counts as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl DeadLettersArgs {
    /// Runs the tool. `examiner` gives what the topology knows of records.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run<S: Section>(self, examiner: MakeExamine<S>) -> Result<ExitCode, Box<dyn Fault>> {
        match self {
            Self::List(args) => args.run::<S>()?,
            Self::Summary(args) => {
                let Opened { config, log, .. } = opened::<S>(&args.config)?;
                let filter = args.filter.filter(&config.runtime, Vec::new());
                summary(log.as_ref(), &config.runtime, &filter, args.json, &mut io::stdout())?;
            }
            Self::Show(args) => args.run::<S>()?,
            Self::Replay(args) => return args.run(examiner),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl LettersArgs {
    fn run<S: Section>(self) -> Outcome {
        let Opened { config, log, .. } = opened::<S>(&self.config)?;
        let standing = match (self.new, self.replayed, self.parked) {
            (true, _, _) => Some(Standing::New),
            (_, true, _) => Some(Standing::Replayed),
            (_, _, true) => Some(Standing::Parked),
            _ => None,
        };
        let options = ListOptions {
            filter: self.filter.filter(&config.runtime, Vec::new()),
            standing,
            oldest_first: self.oldest_first,
            limit: Some(self.limit).filter(|limit| *limit > 0),
            json: self.json,
        };
        let stdout = io::stdout().lock();
        list(log.as_ref(), &config.runtime, &options, &mut io::BufWriter::new(stdout))?;
        Ok(())
    }
}

impl LetterArgs {
    fn run<S: Section>(self) -> Outcome {
        let Opened { config, log, .. } = opened::<S>(&self.config)?;
        let form = match (self.raw || self.out.is_some(), self.json) {
            (true, _) => ShowForm::Raw,
            (false, true) => ShowForm::Json,
            (false, false) => ShowForm::Text,
        };
        let Some(path) = self.out else {
            return Ok(show(log.as_ref(), &config.runtime, self.id, form, &mut io::stdout())?);
        };
        let mut bytes = Vec::new();
        show(log.as_ref(), &config.runtime, self.id, form, &mut bytes)?;
        std::fs::write(&path, bytes).map_err(|source| ToolError::Writing { path, source })?;
        Ok(())
    }
}

impl ReplayArgs {
    fn run<S: Section>(self, examiner: MakeExamine<S>) -> Result<ExitCode, Box<dyn Fault>> {
        const STOPPED: u8 = 130;
        let Opened { config, places, log } = opened::<S>(&self.config)?;
        let problems = |invalid: Vec<Invalid>| invalid.into_iter().map(|one| places.problem(one)).collect();
        let examine = examiner(&config).map_err(|invalid| ConfigErrors(problems(invalid)))?;
        let config = config.runtime;
        let stop = stop_on_signals()?;
        let options = ReplayOptions {
            filter: self.filter.filter(&config, self.ids),
            limit: self.limit,
            to_topic: self.to_topic,
            again: self.again,
            parked: self.parked,
            force: self.force,
            dry_run: self.dry_run,
            yes: self.yes,
            rate: self.rate,
            progress: !self.json,
        };
        let replayed = replay(log.as_ref(), &config, examine.as_deref(), &options, &stop)?;
        print_result(&replayed, self.json)?;
        Ok(if replayed.complete { ExitCode::SUCCESS } else { ExitCode::from(STOPPED) })
    }
}
