//! The command line that all binaries share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Subcommand};
use headwater_operators::resolve::ListingRef;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::config::{Config, ConfigErrors, Loaded, Sources, load};
use crate::error::Fault;
use crate::log::Log;
use crate::telemetry::{LogFormat, TelemetryError, start_logging};
use crate::tools::consume::{ConsumeOptions, consume};
use crate::tools::dead_letters::{
    self, Filter, LetterId, ListOptions as LettersOptions, ReplayOptions, ShowForm, Standing, parse_time,
};
use crate::tools::decide::{self, ListOptions, NewDecision, Say, parse_listing};
use crate::tools::evaluate::{EvaluateOptions, evaluate};
use crate::tools::explain::{Subject, explain};
use crate::tools::produce::{KeyRule, ProduceOptions, SourceRule, produce};
use crate::tools::train::{TrainOptions, train_resolve};
use crate::tools::{ToolError, check, open_log, open_written_log, topics};
use crate::view::ViewSpec;

/// The configuration that is used when none is named and this file is there.
pub const USUAL_CONFIG: &str = "config/quickstart.toml";

/// Ends a command with an error: prints it, what caused it, and what to do about it to stderr.
pub fn fail(error: &dyn Fault) -> ExitCode {
    // Nothing is left to be done when even stderr is gone.
    let _ = write_error(error, &mut io::stderr());
    ExitCode::from(error.domain().exit_code())
}

fn write_error(error: &dyn Fault, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "error: {error}")?;
    let mut cause = error.source();
    while let Some(inner) = cause {
        writeln!(err, "  caused by: {inner}")?;
        cause = inner.source();
    }
    match error.hint() {
        Some(hint) => writeln!(err, "  hint: {hint}"),
        None => Ok(()),
    }
}

/// Which configuration, and how much to log.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file [default: config/quickstart.toml where it is there, or else built-in defaults]
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Set one value of the configuration, such as engine.epoch_interval=50ms; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Log lines to show: error, warn, info, debug, trace, or tracing's filter syntax [env: RUST_LOG]
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
    /// Form of the log lines
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    pub log_format: LogFormat,
}

impl ConfigArgs {
    /// Where the configuration is read from.
    pub fn sources(&self) -> Sources {
        let usual = Path::new(USUAL_CONFIG);
        let file = self.config.clone().or_else(|| usual.is_file().then(|| usual.to_owned()));
        Sources::of_process(file, self.set.clone())
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded<Config>, ConfigErrors> {
        load(&self.sources())
    }

    /// Starts log lines, at level `default` unless told otherwise.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn start_logging(&self, default: &str) -> Result<(), TelemetryError> {
        start_logging(self.log_level.as_deref(), default, self.log_format)
    }
}

/// The arguments of a topology's binary.
#[derive(Debug, Clone, Default, Args)]
pub struct TopologyArgs {
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Worker threads of each process [default: as configured, or one per core]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Processes of the topology [default: as configured, or one]
    #[arg(long, value_name = "N")]
    pub processes: Option<usize>,
    /// Which of them this is, from 0
    #[arg(long, value_name = "I")]
    pub process: Option<usize>,
    /// Where each process is found: host:port with commas, or a file with one a line [default: this machine]
    #[arg(long, value_name = "HOSTS")]
    pub hosts: Option<String>,
    /// Stop once everything is processed that the input topics hold at the start
    #[arg(long)]
    pub exit_when_idle: bool,
    /// Print JSON lines instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Consent to more corrections of the outputs at the start than engine.correction_guard allows
    #[arg(long)]
    pub yes: bool,
    /// Say what a start would correct in the outputs, and write nothing; safe beside a running instance
    #[arg(long)]
    pub plan: bool,
    /// Compute everything anew from the raw topics, as far back as they reach, and correct the outputs
    #[arg(long)]
    pub rebuild: bool,
    /// Do something else than run.
    #[command(subcommand)]
    pub command: Option<TopologyCommand>,
}

/// What a topology's binary can do beside running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum TopologyCommand {
    /// Check configuration, log and databases, and list all problems at once
    #[command(after_help = "Exit codes: 0 all is well, 2 something to mend in the configuration, 3 something is down.")]
    Check,
}

impl TopologyArgs {
    /// Where the configuration is read from, the flags for workers and processes included.
    pub fn sources(&self) -> Sources {
        let mut sources = self.config.sources();
        sources.flags.extend(self.workers.map(|workers| format!("workers={workers}")));
        sources.flags.extend(self.processes.map(|processes| format!("cluster.processes={processes}")));
        sources.flags.extend(self.process.map(|process| format!("cluster.process={process}")));
        sources.flags.extend(self.hosts.as_ref().map(|hosts| format!("cluster.hosts={hosts}")));
        sources
    }

    /// Checks everything and prints what was found. `views` is what the topology's views show.
    pub fn check(&self, views: &ViewSpec) -> ExitCode {
        let report = check::check(&self.sources(), views);
        match report.print(self.json, &mut io::stdout(), &mut io::stderr()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&ToolError::Output(error)),
            _ => ExitCode::from(report.exit_code()),
        }
    }
}

/// The tools that work on a log.
#[derive(Debug, Clone, Subcommand)]
pub enum ToolArgs {
    /// Write files into a topic
    Produce(ProduceArgs),
    /// Print the records of a topic
    Consume(ConsumeArgs),
    /// List the topics
    Topics(TopicsArgs),
    /// List, show and replay what could not be used
    #[command(subcommand)]
    DeadLetters(DeadLettersArgs),
    /// Say that two listings are one event or not, take it back, list what was said
    #[command(subcommand)]
    Decide(DecideArgs),
    /// Tell how well listings were resolved, by labelled pairs
    Evaluate(EvaluateArgs),
    /// Train what comparisons count by labelled pairs
    #[command(subcommand)]
    Train(TrainArgs),
    /// Explain why two listings are one event, or why they are not
    Explain(ExplainArgs),
}

impl ToolArgs {
    /// Runs the tool; errors are printed. The exit code is 0, that of the error's domain, or 130
    /// for a replay that was stopped.
    pub fn run(self) -> ExitCode {
        let done = |()| ExitCode::SUCCESS;
        let outcome = match self {
            Self::Produce(args) => args.run().map(done),
            Self::Consume(args) => args.run().map(done),
            Self::Topics(args) => args.run().map(done),
            Self::Decide(args) => args.run().map(done),
            Self::Evaluate(args) => args.run().map(done),
            Self::Train(TrainArgs::Resolve(args)) => args.run().map(done),
            Self::Explain(args) => args.run().map(done),
            Self::DeadLetters(args) => args.run(),
        };
        outcome.unwrap_or_else(|error| fail(error.as_ref()))
    }
}

type Outcome = Result<(), Box<dyn Fault>>;

impl<E: Fault + 'static> From<E> for Box<dyn Fault> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// `headwater produce`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
JSON is written a record a line, without a key. Any other file is one record, and so is a .json \
file that is one JSON value; its key is the file's name without its extension, so that a newer \
version of the file replaces all the listings of the older one.

Examples:
  headwater produce raw.events listings.jsonl --source meetup
  headwater produce raw.events calendars/*.ics --source-from-file-name
  curl -s https://example.org/events.ics |
    headwater produce raw.events - --source example --content-type text/calendar
  headwater produce decisions decisions.jsonl --key /id")]
pub struct ProduceArgs {
    /// Topic, with or without the prefix; one that the configuration knows is created when missing
    pub topic: String,
    /// Files or folders; - or none is standard input
    pub files: Vec<PathBuf>,
    /// A file, as among FILES; may be repeated
    #[arg(long = "file", value_name = "FILE")]
    pub more_files: Vec<PathBuf>,
    /// Source of the records
    #[arg(long, value_name = "NAME", conflicts_with = "source_from_file_name")]
    pub source: Option<String>,
    /// Take each file's name without its extension as the source of its records
    #[arg(long)]
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
            source,
            content_type: self.content_type.clone(),
            key,
            timestamp_ms: self.timestamp.map(jiff::Timestamp::as_millisecond),
            keep_going: self.keep_going,
            create: self.create,
            progress: !self.json,
        }
    }

    fn run(self) -> Outcome {
        let (config, log) = opened_or_made(&self.config)?;
        let produced = produce(log.as_ref(), &config, &self.options())?;
        let line = if self.json { serde_json::json!(produced).to_string() } else { produced.to_string() };
        print_line(&line)
    }
}

/// `headwater consume`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater consume events                                  events as they come
  headwater consume events --json --exit-at-end | jq .value.title
  headwater consume dead-letters --exit-at-end --json --max 10")]
pub struct ConsumeArgs {
    /// Topic, with or without the prefix
    pub topic: String,
    /// Begin with the first record that is there, instead of the next to come
    #[arg(long)]
    pub from_beginning: bool,
    /// Print what is there, from the beginning, and stop
    #[arg(long)]
    pub exit_at_end: bool,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// One JSON object a record: topic, partition, offset, timestamp, key, headers, value
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ConsumeArgs {
    fn run(self) -> Outcome {
        let (config, log) = opened(&self.config)?;
        let stop = stop_on_signals()?;
        let options = ConsumeOptions {
            topic: self.topic,
            from_beginning: self.from_beginning,
            exit_at_end: self.exit_at_end,
            max: self.max,
            json: self.json,
        };
        let stdout = io::stdout().lock();
        consume(log.as_ref(), &config, &options, &stop, &mut io::BufWriter::with_capacity(1 << 16, stdout))?;
        Ok(())
    }
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
    fn run(self) -> Outcome {
        let (config, log) = opened(&self.config)?;
        piped(topics::topics(log.as_ref(), &config, self.json, &mut io::stdout()))
    }
}

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
    fn filter(self, config: &Config, ids: Vec<LetterId>) -> Filter {
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
    fn run(self) -> Result<ExitCode, Box<dyn Fault>> {
        match self {
            Self::List(args) => args.run()?,
            Self::Summary(args) => {
                let (config, log) = opened(&args.config)?;
                let filter = args.filter.filter(&config, Vec::new());
                piped(dead_letters::summary(log.as_ref(), &config, &filter, args.json, &mut io::stdout()))?;
            }
            Self::Show(args) => args.run()?,
            Self::Replay(args) => return args.run(),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl LettersArgs {
    fn run(self) -> Outcome {
        let (config, log) = opened(&self.config)?;
        let standing = match (self.new, self.replayed, self.parked) {
            (true, _, _) => Some(Standing::New),
            (_, true, _) => Some(Standing::Replayed),
            (_, _, true) => Some(Standing::Parked),
            _ => None,
        };
        let options = LettersOptions {
            filter: self.filter.filter(&config, Vec::new()),
            standing,
            oldest_first: self.oldest_first,
            limit: Some(self.limit).filter(|limit| *limit > 0),
            json: self.json,
        };
        let stdout = io::stdout().lock();
        piped(dead_letters::list(log.as_ref(), &config, &options, &mut io::BufWriter::new(stdout)))
    }
}

impl LetterArgs {
    fn run(self) -> Outcome {
        let (config, log) = opened(&self.config)?;
        let form = match (self.raw || self.out.is_some(), self.json) {
            (true, _) => ShowForm::Raw,
            (false, true) => ShowForm::Json,
            (false, false) => ShowForm::Text,
        };
        let Some(path) = self.out else {
            return piped(dead_letters::show(log.as_ref(), &config, self.id, form, &mut io::stdout()));
        };
        let mut bytes = Vec::new();
        dead_letters::show(log.as_ref(), &config, self.id, form, &mut bytes)?;
        std::fs::write(&path, bytes).map_err(|source| ToolError::Writing { path, source })?;
        Ok(())
    }
}

impl ReplayArgs {
    fn run(self) -> Result<ExitCode, Box<dyn Fault>> {
        const STOPPED: u8 = 130;
        let (config, log) = opened(&self.config)?;
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
        let replayed = dead_letters::replay(log.as_ref(), &config, &options, &stop)?;
        print_result(&replayed, self.json)?;
        Ok(if replayed.complete { ExitCode::SUCCESS } else { ExitCode::from(STOPPED) })
    }
}

/// `headwater decide`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
A listing is named SOURCE/ID, with the source's own id, or by its id on the topics listings and links. \
A later decision on a pair takes the place of an earlier one, whichever way round the two are named.

Examples:
  headwater decide same city-guide/1234 meetup/987 --by kim --because 'asked the venue'
  headwater decide different city-guide/1234 ticket-office/55 --because 'two stages'
  headwater decide list --open                  what is overruled, waits or is not read yet
  headwater decide withdraw city-guide/1234 meetup/987")]
pub enum DecideArgs {
    /// The two listings are one event
    Same(DecideOn),
    /// The two listings are not one event
    Different(DecideOn),
    /// Take back what was said of two listings
    Withdraw(WithdrawArgs),
    /// List the decisions, and what became of each
    List(DecisionsArgs),
}

/// `headwater decide same` and `headwater decide different`.
#[derive(Debug, Clone, Args)]
pub struct DecideOn {
    /// One listing: SOURCE/ID, or its id
    #[arg(value_parser = parse_listing)]
    pub a: ListingRef,
    /// The other one
    #[arg(value_parser = parse_listing)]
    pub b: ListingRef,
    /// Who decides
    #[arg(long, value_name = "NAME", env = "USER")]
    pub by: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater decide withdraw`.
#[derive(Debug, Clone, Args)]
pub struct WithdrawArgs {
    /// One listing: SOURCE/ID, or its id
    #[arg(value_parser = parse_listing)]
    pub a: ListingRef,
    /// The other one
    #[arg(value_parser = parse_listing)]
    pub b: ListingRef,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater decide list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
States: holds (followed), waits (a listing is not live), overruled (newer decisions leave no room for \
it), pending (the topology has not read it yet), superseded (a newer one is on the pair, under \
another key).")]
pub struct DecisionsArgs {
    /// Only those that name this listing
    #[arg(long, value_name = "LISTING", value_parser = parse_listing)]
    pub listing: Option<ListingRef>,
    /// Only those that do not hold: overruled, waiting, pending
    #[arg(long)]
    pub open: bool,
    /// One JSON object a decision
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl DecideArgs {
    fn run(self) -> Outcome {
        match self {
            Self::Same(on) => on.run(Say::Same),
            Self::Different(on) => on.run(Say::Different),
            Self::Withdraw(args) => {
                let (config, log) = opened(&args.config)?;
                let changed = decide::withdraw(log.as_ref(), &config, [args.a, args.b])?;
                print_result(&changed, args.json)
            }
            Self::List(args) => {
                let (config, log) = opened(&args.config)?;
                let options = ListOptions { listing: args.listing, open: args.open, json: args.json };
                piped(decide::list(log.as_ref(), &config, &options, &mut io::stdout()))
            }
        }
    }
}

impl DecideOn {
    fn run(self, say: Say) -> Outcome {
        let (config, log) = opened(&self.config)?;
        let new = NewDecision {
            say,
            listings: [self.a, self.b],
            who: self.by,
            why: self.because,
            at_ms: jiff::Timestamp::now().as_millisecond(),
        };
        let changed = decide::decide(log.as_ref(), &config, new)?;
        print_result(&changed, self.json)
    }
}

/// The configuration and its log, which has to be there already.
fn opened(args: &ConfigArgs) -> Result<(Config, Arc<dyn Log>), Box<dyn Fault>> {
    args.start_logging("warn")?;
    let config = args.load()?.config;
    let log = open_written_log(&config)?;
    Ok((config, log))
}

/// The configuration and its log, for a tool that may do without what is in it.
fn opened_or_made(args: &ConfigArgs) -> Result<(Config, Arc<dyn Log>), Box<dyn Fault>> {
    args.start_logging("warn")?;
    let config = args.load()?.config;
    let log = open_log(&config).map_err(ToolError::from)?;
    Ok((config, log))
}

/// Whoever reads what is printed may have enough of it.
fn piped(printed: Result<(), ToolError>) -> Outcome {
    match printed {
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn print_result<T: Serialize + std::fmt::Display>(result: &T, json: bool) -> Outcome {
    print_line(&if json { serde_json::json!(result).to_string() } else { result.to_string() })
}

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
    fn run(self) -> Outcome {
        let (config, log) = opened_or_made(&self.config)?;
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

/// `headwater train`.
#[derive(Debug, Clone, Subcommand)]
pub enum TrainArgs {
    /// The parameters by which listings are resolved
    Resolve(TrainResolveArgs),
}

/// `headwater train resolve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The truth is a file of pairs as for `headwater evaluate`. What --out writes is a configuration with nothing \
but a table resolve.model: name it under `include` in that of the topology.

Examples:
  headwater train resolve --truth pairs.csv --cross-validate
  headwater train resolve --truth pairs.csv --out config/model.toml")]
pub struct TrainResolveArgs {
    /// Labelled pairs, as CSV
    #[arg(long, value_name = "FILE")]
    pub truth: PathBuf,
    /// Leave out pairs that came to be known in this way; may be repeated
    #[arg(long, value_name = "HOW", default_values_t = ["same_uid".to_owned()])]
    pub exclude_how: Vec<String>,
    /// Read listings from a file of JSON lines, such as `consume listings` prints
    #[arg(long, value_name = "FILE")]
    pub listings: Option<PathBuf>,
    /// How strongly parameters are held at where they start
    #[arg(long, value_name = "X", default_value_t = 3.0)]
    pub ridge: f64,
    /// Start from nothing instead of from values set by hand
    #[arg(long)]
    pub from_scratch: bool,
    /// For each source, train on the pairs without it and measure on those with it
    #[arg(long)]
    pub cross_validate: bool,
    /// Write the parameters to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl TrainResolveArgs {
    fn run(self) -> Outcome {
        let (config, log) = opened_or_made(&self.config)?;
        let options = TrainOptions {
            truth: self.truth,
            exclude_how: self.exclude_how,
            listings: self.listings,
            ridge: self.ridge,
            from_scratch: self.from_scratch,
            cross_validate: self.cross_validate,
        };
        let trained = train_resolve(log.as_ref(), &config, &options)?;
        if let Some(path) = self.out {
            std::fs::write(&path, &trained.config).map_err(|source| ToolError::Writing { path, source })?;
        }
        print_result(&trained, self.json)
    }
}

/// `headwater explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Either may also be a raw record in JSON, read as the configuration reads those of its source:
  headwater explain library/17 paper/a-3
  headwater explain '{\"id\": \"1\", \"title\": \"Jazz\", …}' '{\"id\": \"2\", \"title\": \"Jazz Night\", …}'")]
pub struct ExplainArgs {
    /// One listing: SOURCE/ID, its id of 32 hexadecimal digits, or a record in JSON
    #[arg(value_parser = Subject::parse)]
    pub a: Subject,
    /// The other one
    #[arg(value_parser = Subject::parse)]
    pub b: Subject,
    /// Print the explanation as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ExplainArgs {
    fn run(self) -> Outcome {
        let (config, log) = opened_or_made(&self.config)?;
        print_result(&explain(log.as_ref(), &config, &[self.a, self.b])?, self.json)
    }
}

/// A flag that SIGINT and SIGTERM set. A second signal ends the process at once.
///
/// # Errors
/// When signals cannot be caught.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>, ToolError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Registered first, so that it acts only on a flag that an earlier signal has set.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .map_err(ToolError::Signals)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(ToolError::Signals)?;
    }
    Ok(stop)
}

fn print_line(line: &str) -> Outcome {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ToolError::Output(error).into()),
        _ => Ok(()),
    }
}
