//! A topology as a program: its command line and its `main`.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::TopologyArgs;
use crate::config::Section;
use crate::run::run_topology;
use crate::tools::{ToolArgs, check};
use crate::topology::{Tools, Topology};

/// The arguments of a topology's binary.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments<O: Subcommand> {
    #[command(flatten)]
    topology: TopologyArgs,
    /// Do something else than run.
    #[command(subcommand)]
    command: Option<Command<O>>,
}

/// What a topology's binary can do beside running.
#[derive(Debug, Subcommand)]
enum Command<O: Subcommand> {
    /// Check configuration, log, databases and the admin port, and list all problems at once
    #[command(after_help = "\
Examples:
  headwater check
  headwater check --config topology.toml --json

Exit codes: 0 all is well, 2 something to mend in the configuration, 3 something is down.")]
    Check,
    #[command(flatten)]
    Tool(Box<ToolArgs>),
    #[command(flatten)]
    Own(O),
}

/// The command line of a topology's binary.
pub fn command<T: Topology>() -> clap::Command {
    let command = Arguments::<T::Tools>::command().name(T::Config::BINARY).about(T::ABOUT).after_help(T::HELP);
    let names: Vec<String> = command.get_subcommands().map(|tool| tool.get_name().to_owned()).collect();
    let binary = T::Config::BINARY;
    let tools = names.iter().map(|name| (format!("headwater {name}"), format!("{binary} {name}")));
    let own = [
        ("raw.events".to_owned(), T::Config::INPUT.to_owned()),
        ("consume events".to_owned(), format!("consume {}", T::SHOWCASE.topic)),
        ("config/discovery.toml".to_owned(), format!("config/{}.toml", T::Config::NAME)),
    ];
    call(command, &tools.chain(own).collect::<Vec<_>>())
}

/// Help speaks of the tools as those of the binary `headwater`, and of the topics of discovery: says what
/// `words` has instead.
fn call(mut command: clap::Command, words: &[(String, String)]) -> clap::Command {
    if let Some(help) = command.get_after_help() {
        let help = words.iter().fold(help.to_string(), |help, (shared, own)| help.replace(shared, own));
        command = command.after_help(help);
    }
    let tools: Vec<String> = command.get_subcommands().map(|tool| tool.get_name().to_owned()).collect();
    for tool in tools {
        command = command.mut_subcommand(tool, |tool| call(tool, words));
    }
    command
}

/// The `main` of a topology's binary: reads the arguments, and runs the topology or one of its tools.
/// Where the arguments are wrong, or ask for help, it ends the process.
pub fn main<T: Topology>() -> ExitCode {
    let arguments = Arguments::<T::Tools>::from_arg_matches(&command::<T>().get_matches());
    match arguments {
        Ok(Arguments { topology, command: None }) => run_topology::<T>(&topology),
        Ok(Arguments { topology, command: Some(Command::Check) }) => {
            check::run::<T::Config>(&topology.sources(), &T::views(), topology.json)
        }
        Ok(Arguments { command: Some(Command::Tool(tool)), .. }) => tool.run::<T::Config>(T::examine),
        Ok(Arguments { command: Some(Command::Own(tool)), .. }) => tool.run(),
        Err(error) => error.exit(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::{Config, Invalid, Runtime, TopicRole};
    use crate::dataflow::Flow;
    use crate::program::Fingerprints;
    use crate::schema::Schema;
    use crate::topology::Showcase;

    #[derive(Debug, Clone, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {}

    impl Section for Settings {
        const NAME: &'static str = "counting";
        const PREFIX: &'static str = "counting.";
        const INPUT: &'static str = "raw.visits";

        fn topics(&self) -> Vec<TopicRole> {
            Vec::new()
        }

        fn validate(&self, _runtime: &Runtime) -> Vec<Invalid> {
            Vec::new()
        }
    }

    struct Counting;

    impl Topology for Counting {
        const ABOUT: &'static str = "Count visits";
        const HELP: &'static str = "Examples:\n  counting";
        const SHOWCASE: Showcase = Showcase { topic: "visits", command: "counting", query: "", highlight: None };
        type Config = Settings;
        type Tools = OwnTools;

        fn declare(_config: &Config<Settings>, _schema: &mut Schema) -> Result<Self, Vec<Invalid>> {
            Ok(Self)
        }

        fn fingerprints(&self) -> Fingerprints {
            Fingerprints { results: 0, extraction: 0 }
        }

        fn build<'s>(&self, _flow: &mut Flow<'s>) {}
    }

    #[derive(Debug, Subcommand)]
    enum OwnTools {
        /// Sum up
        #[command(after_help = "Examples:\n  headwater sum\n  headwater generate")]
        Sum,
    }

    impl Tools for OwnTools {
        fn run(self) -> ExitCode {
            ExitCode::from(7)
        }
    }

    fn parsed(arguments: &[&str]) -> Result<Arguments<OwnTools>, clap::Error> {
        let matches = command::<Counting>().try_get_matches_from([&["counting"], arguments].concat())?;
        Arguments::from_arg_matches(&matches)
    }

    #[test]
    fn the_command_line_is_consistent() {
        command::<Counting>().debug_assert();
    }

    #[test]
    fn without_a_tool_the_topology_runs() {
        let run = parsed(&["--workers", "2", "--config", "c.toml", "--plan"]).unwrap();
        assert!(run.command.is_none() && run.topology.plan);
        assert_eq!(run.topology.sources().flags, ["workers=2"]);
        assert!(parsed(&["no-such-tool"]).is_err());
    }

    #[test]
    fn shared_options_may_stand_before_and_after_a_tool() {
        for arguments in [&["--config", "c.toml", "topics", "--json"][..], &["topics", "--json", "--config", "c.toml"]]
        {
            let parsed = parsed(arguments).unwrap();
            let Some(Command::Tool(tool)) = parsed.command else { panic!("{arguments:?}") };
            let ToolArgs::Topics(topics) = *tool else { panic!("{arguments:?}") };
            assert_eq!(topics.config.config.as_deref(), Some(std::path::Path::new("c.toml")), "{arguments:?}");
            assert!(topics.json, "{arguments:?}");
        }
        let check = parsed(&["check", "--json", "--set", "a=1"]).unwrap();
        assert!(matches!(check.command, Some(Command::Check)) && check.topology.json);
        assert_eq!(check.topology.sources().flags, ["a=1"]);
    }

    #[test]
    fn tools_of_its_own_come_after_those_of_the_runtime() {
        let names: Vec<String> =
            command::<Counting>().get_subcommands().map(|tool| tool.get_name().to_owned()).collect();
        assert_eq!(names, ["check", "produce", "consume", "topics", "dead-letters", "sum"]);
        assert!(matches!(parsed(&["sum"]).unwrap().command, Some(Command::Own(OwnTools::Sum))));
    }

    #[test]
    fn examples_name_this_binary_for_the_tools_that_it_has() {
        let mut command = command::<Counting>();
        let help = |command: &mut clap::Command, tool: &str| {
            command.find_subcommand_mut(tool).unwrap().render_help().to_string()
        };
        assert!(help(&mut command, "sum").ends_with("Examples:\n  counting sum\n  headwater generate\n"));
        let letters = command.find_subcommand_mut("dead-letters").unwrap();
        assert!(help(letters, "replay").contains("\n  counting dead-letters replay --code "));
        let produce = help(&mut command, "produce");
        assert!(produce.contains("\n  counting produce raw.visits ") && !produce.contains("events "), "{produce}");
        assert!(help(&mut command, "consume").contains("\n  counting consume visits --latest"));
    }
}
