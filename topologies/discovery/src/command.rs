//! The command line of the binary `headwater`: the tools beside a topology.

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use headwater::cli::{ConfigArgs, fail, stop_on_signals};
use headwater::error::Fault;
use headwater::tools::{ToolArgs, ensure_topic, open_log};
use headwater::topology::Tools;
use headwater::words::grouped;
use jobs::tools::JobsTools;

use crate::bench::BenchArgs;
use crate::config::Sections;
use crate::generate::{GenerateArgs, GenerateSummary, run_generate};
use crate::tools::{DiscoveryTools, Examiner};

/// Work beside a topology: check sources, produce, consume, replay dead letters, decide, explain, evaluate, submit and do
/// jobs, benchmark
#[derive(Parser)]
#[command(
    name = "headwater",
    version,
    after_help = "\
Examples:
  headwater generate --records 1000 --to-topic raw.events
  headwater consume events --exit-at-end
  headwater dead-letters summary
  headwater explain library/17 paper/a-3
  headwater work --queue reports -- ./report.sh"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Tool(ToolArgs),
    #[command(flatten)]
    Discovery(DiscoveryTools),
    #[command(flatten)]
    Jobs(JobsTools),
    /// Generate realistic listings of several sources, with the truth about what is one event
    #[command(after_help = "\
Examples:
  headwater generate --records 10000 --out generated
  headwater generate --records 100000 --seed 7 --to-topic raw.events --rate 500 --truth truth.csv
  headwater generate --records 5 --out -

How to read the sources is in config/generated-sources.toml: include it in the configuration of the \
topology that is to read them.")]
    Generate(Generate),
    /// Measure how fast it is
    #[command(
        subcommand,
        after_help = "\
Examples:
  headwater bench pipeline
  headwater bench pipeline --records 1000000 --workers 2 --floor
  headwater bench serve --connections 2000"
    )]
    Bench(BenchArgs),
}

#[derive(Args)]
struct Generate {
    #[command(flatten)]
    generate: GenerateArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The command line.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The `main` of the binary. Where the arguments are wrong, or ask for help, it ends the process.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Tool(tool) => tool.run(Examiner::of),
        Command::Discovery(tool) => tool.run(),
        Command::Jobs(tool) => tool.run(),
        Command::Bench(bench) => bench.run(),
        Command::Generate(args) => match generate(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.as_ref()),
        },
    }
}

fn generate(args: &Generate) -> Result<(), Box<dyn Fault>> {
    args.config.start_logging("warn")?;
    let stop = stop_on_signals()?;
    let Some(topic) = &args.generate.to_topic else {
        let summary = run_generate(&args.generate, None, &stop)?;
        report(&summary);
        return Ok(());
    };
    let config = args.config.load::<Sections>()?.config.runtime;
    let log = open_log(&config)?;
    let topic = ensure_topic(&*log, &config, topic, false)?;
    let summary = run_generate(&args.generate, Some((&*log, &topic)), &stop)?;
    report(&summary);
    Ok(())
}

fn report(summary: &GenerateSummary) {
    let counts = &summary.counts;
    eprintln!("{} records to {}", grouped(counts.records), summary.target);
    let kinds = [
        ("new", counts.new),
        ("duplicates", counts.duplicate),
        ("updates", counts.update),
        ("repeats", counts.repeat),
        ("withdrawals", counts.withdrawal),
        ("malformed", counts.malformed),
    ];
    let kinds: Vec<String> = kinds.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    eprintln!("  {}", kinds.join(", "));
    if let Some(truth) = &summary.truth {
        eprintln!("  which listings are one event: {}", truth.display());
    }
}
