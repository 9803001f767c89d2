//! The binary `headwater` as a user runs it: arguments, exit codes, streams.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn headwater(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.current_dir(folder).args(arguments).env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG");
    command
}

fn run(folder: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut command = headwater(folder, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("the binary reads");
    child.wait_with_output().expect("the binary ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn what_is_produced_is_listed_and_consumed() {
    let folder = folder();
    let done = run(folder.path(), &["produce", "raw.events", "--json", "--source", "a"], "{\"n\":1}\n{\"n\":2}\n");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let counts: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&counts["records"], &counts["leftOut"]), (&2.into(), &0.into()));
    let listed = run(folder.path(), &["topics"], "");
    assert!(text(&listed.stdout).contains("headwater.raw.events"), "{}", text(&listed.stdout));
    let read = run(folder.path(), &["consume", "raw.events", "--exit-at-end"], "");
    let mut lines: Vec<String> = text(&read.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["{\"n\":1}", "{\"n\":2}"]);
}

#[test]
fn errors_have_a_hint_and_an_exit_code() {
    let folder = folder();
    for (arguments, code, stderr) in [
        (
            &["topics", "--set", "nam=x"][..],
            2,
            "error: the configuration has a problem\n--set nam: nam: unknown key\n  hint: did you mean `name`?\n",
        ),
        (
            &["topics", "--config", "gone.toml"],
            2,
            "error: the configuration has a problem\ngone.toml: cannot be read: No such file or directory (os error 2)\n  hint: is the path right?\n",
        ),
        (
            &["produce", "x", "gone.ics"],
            2,
            "error: cannot read gone.ics\n  caused by: No such file or directory (os error 2)\n",
        ),
        (&["topics", "--set", "log.embedded.path=/proc/none/log.db"], 3, "error: "),
    ] {
        let output = run(folder.path(), arguments, "");
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(shown.starts_with(stderr), "{arguments:?}: {shown}");
    }
    let wrong = run(folder.path(), &["produce", "x", "--key", "id"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("a JSON Pointer begins with /"));
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let folder = folder();
    let lines: String = (0..200_000).map(|n| format!("{{\"n\":{n},\"text\":\"some more words\"}}\n")).collect();
    run(folder.path(), &["produce", "raw.events"], &lines);
    let mut child = headwater(folder.path(), &["consume", "raw.events", "--from-beginning"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(line.starts_with("{\"n\":"));
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("stderr ends");
    assert_eq!((child.wait().expect("it ends").code(), stderr.as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_consuming_with_exit_code_0() {
    let folder = folder();
    run(folder.path(), &["produce", "raw.events"], "1\n");
    let mut child = headwater(folder.path(), &["consume", "raw.events", "--from-beginning"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
