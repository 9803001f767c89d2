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
    std::fs::write(folder.path().join("listing.jsonl"), "{}").expect("a file");
    for (arguments, code, stderr) in [
        (
            &["topics", "--set", "nam=x"][..],
            2,
            "error: the configuration has a problem\n--set nam: unknown key\n  hint: did you mean `name`?\n",
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
        (&["produce", "raw.events", "--set", "log.embedded.path=/proc/none/log.db"], 3, "error: "),
        (
            &["produce", "raw.evnts", "listing.jsonl"],
            2,
            "error: there is no topic \"headwater.raw.evnts\", and the configuration knows none of that name\n  \
             hint: did you mean \"headwater.raw.events\"? `headwater produce --create` makes a topic all the same\n",
        ),
        (
            &["generate", "--records", "1", "--to-topic", "x"],
            2,
            "error: there is no topic \"headwater.x\", and the configuration knows none of that name\n",
        ),
        (&["dead-letters", "replay", "0/17"], 2, "error: there is no topic"),
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
fn what_only_reads_a_log_does_not_make_one() {
    let folder = folder();
    let one = |command: &'static str, more: &[&'static str]| [&[command], more].concat();
    for arguments in
        [one("topics", &[]), one("consume", &["events"]), one("dead-letters", &["list"]), one("decide", &["list"])]
    {
        let done = run(folder.path(), &arguments, "");
        let shown = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {shown}");
        assert!(shown.starts_with("error: there is no log at .headwater/log.db\n  hint: "), "{arguments:?}: {shown}");
        assert!(!folder.path().join(".headwater").exists(), "{arguments:?}");
    }
}

#[test]
fn a_topic_that_nothing_reads_is_made_on_a_persons_word() {
    let folder = folder();
    let done = run(folder.path(), &["produce", "elsewhere", "--create"], "1\n");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stdout).starts_with("1 record (1 B) from 1 file to headwater.elsewhere in "));
    let again = run(folder.path(), &["produce", "elsewhere"], "2\n");
    assert_eq!(again.status.code(), Some(0), "it is there now: {}", text(&again.stderr));
}

#[test]
fn producing_that_stops_tells_how_far_it_came() {
    let folder = folder();
    let done = run(folder.path(), &["produce", "raw.events", "--key", "/id"], "{\"id\":1}\n{\"id\":2}\nno JSON\n");
    let shown = text(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{shown}");
    assert!(
        shown.starts_with("written before: 2 records to headwater.raw.events\nerror: standard input:3: "),
        "{shown}"
    );
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

#[test]
fn a_benchmark_tells_what_was_measured_beside_the_floor() {
    let folder = folder();
    let arguments = ["bench", "pipeline", "--records", "3000", "--runs", "2", "--repeats", "0.3", "--floor", "--json"];
    let done = run(folder.path(), &arguments, "");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&report["records"], &report["workers"]), (&2_700.into(), &2.into()));
    assert!(report["recordsPerSecond"].as_f64() > Some(0.0), "{report}");
    assert!(report["latencyMs"]["p999"].as_f64() >= report["latencyMs"]["p50"].as_f64(), "{report}");
    assert!(report["quality"]["recall"].as_f64() > Some(0.9), "{report}");
    assert_eq!(report["quality"]["missing"], 0);
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(2));
    assert!(report["floor"]["ratio"].as_f64() > Some(0.0), "{report}");
    assert_eq!(report["floor"]["sameThreads"]["listings"], report["figures"]["listings"]);
}

#[test]
fn a_benchmark_on_a_log_waits_until_every_record_is_seen() {
    let folder = folder();
    let options = "bench pipeline --records 1500 --runs 1 --log embedded --rate 1000 --repeats 0.2 --json";
    let done = run(folder.path(), &options.split(' ').collect::<Vec<_>>(), "");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&report["records"], &report["neverSeen"]), (&1_350.into(), &0.into()));
    // Repeats change no event; all others do.
    assert!((950..1_200).contains(&report["latencySamples"].as_u64().unwrap_or(0)), "{report}");
}

#[test]
fn a_benchmark_takes_a_file_of_ones_own() {
    let folder = folder();
    let lines: String = (0..50)
        .map(|n| format!("{{\"id\":\"{n}\",\"name\":\"Jazz {n}\",\"begin\":\"2099-03-28T19:30:00Z\"}}\n"))
        .collect();
    std::fs::write(folder.path().join("feed.jsonl"), lines).expect("written");
    let config = "[sources.city]\nformat = \"mapped\"\n[sources.city.mapping]\nid = \"/id\"\ntitle = \"/name\"\nstart = \"/begin\"\n";
    std::fs::write(folder.path().join("own.toml"), config).expect("written");
    let options = "bench pipeline --input feed.jsonl --source city --key /id --config own.toml --runs 1 --json";
    let done = run(folder.path(), &options.split(' ').collect::<Vec<_>>(), "");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&report["records"], &report["figures"]["listings"]), (&45.into(), &50.into()), "{report}");
    assert_eq!((&report["figures"]["deadLetters"], &report["quality"]), (&0.into(), &serde_json::Value::Null));
    let wrong = run(folder.path(), &["bench", "pipeline", "--input", "gone.jsonl", "--source", "city"], "");
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
}
