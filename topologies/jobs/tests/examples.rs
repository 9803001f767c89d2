//! The examples of every `--help` are valid command lines of this binary.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use jobs::Jobs;

#[path = "../../../tests/help/mod.rs"]
#[allow(dead_code, reason = "what needs a server is run in tools.rs")]
mod help;

use help::{assert_valid, examples};

#[test]
fn every_example_is_a_valid_command_line() {
    let command = headwater::app::command::<Jobs>();
    let examples = examples(&command);
    assert_valid(&command, &examples, 50);
    // They are about this topology, not about the one that the tools were written beside.
    let foreign = ["headwater ", "discovery", "raw.events", "consume events", "decisions"];
    let found: Vec<&String> = examples.iter().filter(|one| foreign.iter().any(|word| one.contains(word))).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_tool_of_jobs_has_an_example_that_names_it() {
    fn named(command: &clap::Command, path: &str, shown: &mut Vec<String>) {
        for tool in command.get_subcommands().filter(|tool| !tool.is_hide_set() && tool.get_name() != "help") {
            let path = format!("{path} {}", tool.get_name());
            let help = tool.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("\n  {path}")), "{path}: {help}");
            named(tool, &path, shown);
            shown.push(path);
        }
    }
    let mut shown = Vec::new();
    named(&headwater::app::command::<Jobs>(), "headwater-jobs", &mut shown);
    for wanted in ["work", "jobs submit", "queues drain", "schedules set", "demo jobs"]
        .map(|tool| format!("headwater-jobs {tool}"))
    {
        assert!(shown.contains(&wanted), "{wanted}: {shown:?}");
    }
}
