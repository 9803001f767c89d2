//! The examples of a binary's `--help`: all are valid command lines, and those that need neither network nor much
//! time are run.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The commands below the word `Examples:` of every help text of `command`, as a shell takes them.
pub fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let shown = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
    let mut own: Vec<String> = Vec::new();
    for line in shown.lines().take_while(|line| line.starts_with("  ")) {
        match (line.strip_prefix("    "), own.last_mut()) {
            (Some(rest), Some(begun)) => {
                *begun = format!("{} {rest}", begun.trim_end_matches('\\').trim_end());
            }
            _ => own.push(line.trim().to_owned()),
        }
    }
    own.iter_mut().for_each(|example| *example = without_remark(example));
    own.extend(command.get_subcommands().flat_map(examples));
    own
}

/// What stands behind a wide gap says what the command does.
fn without_remark(example: &str) -> String {
    let mut quoted = false;
    let gap = example.char_indices().find(|(at, c)| {
        quoted ^= *c == '\'';
        !quoted && example[*at..].starts_with("  ")
    });
    gap.map_or(example, |(at, _)| &example[..at]).to_owned()
}

/// A command line without variables that are set in front of it.
pub fn without_variables(line: &str) -> &str {
    match line.split_once(' ') {
        Some((first, rest)) if first.contains('=') => without_variables(rest),
        _ => line,
    }
}

/// Splits a command line where `at` stands outside of quotes.
pub fn split(line: &str, at: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted, mut rest) = (Vec::new(), String::new(), false, line);
    while let Some(c) = rest.chars().next() {
        if !quoted && rest.starts_with(at) {
            parts.push(std::mem::take(&mut part));
            rest = &rest[at.len()..];
            continue;
        }
        quoted ^= c == '\'';
        part.push(c);
        rest = &rest[c.len_utf8()..];
    }
    parts.push(part);
    parts
}

/// Checks that every example is a valid command line of `command`; there are more than `least`.
pub fn assert_valid(command: &clap::Command, examples: &[String], least: usize) {
    let name = command.get_name().to_owned();
    assert!(examples.len() > least, "{name}: {examples:?}");
    for example in examples {
        let piped = split(example, " | ");
        let own: Vec<&str> =
            piped.iter().map(|part| without_variables(part)).filter(|part| part.starts_with(&name)).collect();
        assert_eq!(own.len(), 1, "{example}");
        let words = split(&split(own[0], " >")[0], " ").into_iter().map(|word| word.trim_matches('\'').to_owned());
        if let Err(error) = command.clone().try_get_matches_from(words) {
            panic!("{example}: {error}");
        }
    }
}

/// Writes a file that examples name, with the folders that it lies in.
pub fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

/// How an example is run.
#[allow(dead_code, reason = "not every binary has examples of each kind")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It does its work.
    Works,
    /// What it names is not there: exit code 2.
    Names(&'static str),
    /// It goes on until it is stopped.
    GoesOn,
    /// It measures for minutes.
    Not,
}

/// Where examples are run: the folder, the binaries that they name, and their configuration.
pub struct Shell<'a> {
    /// The folder with the files that they name.
    pub folder: &'a Path,
    /// A binary, beside which the others are.
    pub binary: &'a str,
    /// The file of the configuration of those that name none.
    pub config: &'a str,
}

impl Shell<'_> {
    /// Runs a command line.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("a shell")
    }

    /// Runs a command line that has to work.
    pub fn succeed(&self, line: &str) {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
    }

    /// Runs an example as `how` says.
    pub fn try_example(&self, example: &str, how: Run) {
        // What shows a result to people is theirs, and so is the web.
        let shown = split(example, " | ").into_iter().filter(|part| !part.starts_with("jq ") && part != "less");
        let line = shown
            .collect::<Vec<_>>()
            .join(" | ")
            .replace("curl -s https://example.org/events.ics", "cat calendars/north.ics");
        match how {
            Run::Not => {}
            Run::Works => self.succeed(&line),
            Run::Names(reason) => {
                let output = self.run(&line);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.code() == Some(2) && said.contains(reason), "{example}: {said}");
            }
            Run::GoesOn => self.goes_on(example, &line),
        }
    }

    fn goes_on(&self, example: &str, line: &str) {
        let mut child = self.command(&format!("exec {line}")).spawn().expect("a shell");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(800) {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "{example}: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    fn command(&self, line: &str) -> Command {
        let binaries = Path::new(self.binary).parent().expect("a folder");
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(self.folder)
            .env("PATH", path)
            .env("HEADWATER_CONFIG", self.config)
            .env("USER", "kim");
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
