//! The tools as a user runs them, of the binary `headwater` and of `discovery`: arguments, exit codes, streams.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater");
const DISCOVERY: &str = env!("CARGO_BIN_EXE_discovery");

fn headwater(folder: &Path, arguments: &[&str]) -> Command {
    command(HEADWATER, folder, arguments)
}

fn command(binary: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(folder).args(arguments).env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG");
    command
}

fn run(folder: &Path, arguments: &[&str], stdin: &str) -> Output {
    given(headwater(folder, arguments), stdin)
}

/// The same tool of the binary `discovery`.
fn run_discovery(folder: &Path, arguments: &[&str], stdin: &str) -> Output {
    given(command(DISCOVERY, folder, arguments), stdin)
}

fn given(mut command: Command, stdin: &str) -> Output {
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
fn a_topologys_binary_has_the_tools_too() {
    let folder = folder();
    let record = r#"{"@type":"Event","@id":"1","name":"Jazz","startDate":"2099-03-28T19:30:00Z"}"#;
    let content_type = "application/ld+json";
    let arguments = ["produce", "raw.events", "--source", "city", "--content-type", content_type];
    let done = run_discovery(folder.path(), &arguments, record);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let ran = run_discovery(folder.path(), &["--exit-when-idle", "--json", "--set", "admin.listen="], "");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let events = run_discovery(folder.path(), &["consume", "events", "--exit-at-end"], "");
    let event: serde_json::Value = serde_json::from_slice(&events.stdout).expect("JSON");
    assert_eq!(event["title"], "Jazz");
    for (arguments, code, told) in [
        (&["topics"][..], 0, "headwater.decision-reports"),
        (&["check", "--json", "--set", "admin.listen="], 0, "{\"problems\":[]"),
        (&["dead-letters", "summary", "--json"], 0, ""),
        (&["decide", "same", "city/1", "other/2", "--by", "kim"], 0, "decided: same city/1 + other/2 (kim, "),
        (&["decide", "list", "--open"], 0, "pending     same       city/1 + other/2"),
        (&["explain", "city/1", record, "--json"], 0, "\"same\":"),
        (&["explain", "city/1", "city/2"], 2, "error: there is no live listing city/2\n"),
        (&["evaluate", "--truth", "gone.csv"], 2, "error: cannot read gone.csv\n"),
        (&["train", "resolve", "--truth", "gone.csv"], 2, "error: cannot read gone.csv\n"),
        (
            &["topics", "--set", "sorces.a=1"],
            2,
            "--set sorces.a: sorces: unknown key\n  hint: did you mean `sources`?\n",
        ),
        (&["topics", "--set", "wokers=1"], 2, "--set wokers: unknown key\n  hint: did you mean `workers`?\n"),
    ] {
        let ours = run_discovery(folder.path(), arguments, "");
        let shown = text(&ours.stdout) + &text(&ours.stderr);
        assert_eq!(ours.status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(shown.contains(told), "{arguments:?}: {shown}");
        // A check is no tool of `headwater`, and a second decision takes the place of the first.
        if !arguments.iter().any(|argument| ["check", "same"].contains(argument)) {
            let theirs = run(folder.path(), arguments, "");
            assert_eq!(text(&theirs.stdout) + &text(&theirs.stderr), shown, "{arguments:?}");
        }
    }
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description may go on in the next line, further to the right.
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Every help text of a binary, with the command that it belongs to.
fn helps(binary: &str, command: &[String]) -> Vec<(String, String)> {
    let output = Command::new(binary).args(command).arg("--help").output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{command:?}");
    let help = text(&output.stdout);
    let inner = commands(&help).into_iter().flat_map(|name| helps(binary, &[command, &[name]].concat()));
    std::iter::once((command.join(" "), help.clone())).chain(inner).collect()
}

#[test]
fn every_help_has_examples_of_its_own_binary() {
    let tools = [
        "",
        "produce",
        "consume",
        "topics",
        "dead-letters",
        "dead-letters list",
        "dead-letters summary",
        "dead-letters show",
        "dead-letters replay",
        "decide",
        "decide same",
        "decide different",
        "decide moderate",
        "decide withdraw",
        "decide list",
        "evaluate",
        "train",
        "train resolve",
        "explain",
        "export",
        "check-source",
        "serve",
        "key",
    ];
    let of_jobs = [
        "work",
        "jobs",
        "jobs submit",
        "jobs list",
        "jobs show",
        "jobs watch",
        "jobs cancel",
        "jobs retry",
        "queues",
        "queues pause",
        "queues resume",
        "queues drain",
        "schedules",
        "schedules list",
        "schedules show",
        "schedules set",
        "schedules remove",
        "schedules run",
        "demo",
        "demo jobs",
        "verify",
    ];
    let of_headwater = [&["generate", "bench", "bench jobs", "bench pipeline", "bench serve"][..], &of_jobs].concat();
    for (binary, name, more) in [(HEADWATER, "headwater", &of_headwater[..]), (DISCOVERY, "discovery", &["check"])] {
        let helps = helps(binary, &[]);
        let mut listed: Vec<&str> = helps.iter().map(|(command, _)| command.as_str()).collect();
        let mut wanted = [&tools[..], more].concat();
        listed.sort();
        wanted.sort();
        assert_eq!(listed, wanted);
        for (command, help) in &helps {
            let example = format!("\n  {name} {command}").trim_end().to_owned();
            let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name} {command}: {help}"));
            let shown = format!("\n{examples}");
            assert!(shown.contains(&example), "{name} {command}: {help}");
        }
    }
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
        (&["produce", "raw.events", "--set", "log.embedded.path=/proc/none/log.db"], 2, "error: the log cannot be at "),
        (
            &["produce", "raw.evnts", "listing.jsonl"],
            2,
            "error: there is no topic \"headwater.raw.evnts\", and the configuration knows none of that name\n  \
             hint: did you mean \"headwater.raw.events\"? `headwater produce --create` makes a topic all the same\n",
        ),
        (
            &["produce", "listings", "listing.jsonl"],
            2,
            "error: \"headwater.listings\" is a topic that the topology itself writes: a record from elsewhere would be \
             taken for its own\n  hint: write raw records, and the tables that it reads, such as raw.events, places, \
             decisions, control; a dead letter goes back in by `headwater dead-letters replay`\n",
        ),
        (
            &["generate", "--records", "1", "--to-topic", "events"],
            2,
            "error: \"headwater.events\" is a topic that the topology itself writes",
        ),
        (
            &["produce", "raw.events", "listing.jsonl"],
            2,
            "error: listing.jsonl: every record would become a dead letter: neither a readable header of the record nor \
             its topic names a source\n  hint: name the source: --source NAME, or `source` of the topic under \
             [[inputs]]; `produce --force` writes it as it is\n",
        ),
        (
            &["produce", "raw.events", "listing.jsonl", "--source", "a", "--content-type", "text/csv"],
            2,
            "error: listing.jsonl: every record would become a dead letter: there is no adapter for \"text/csv\"\n",
        ),
        (
            &["produce", "raw.events", "--tombstone", "a"],
            2,
            "error: the tombstone \"a\": every record would become a dead letter: neither",
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
    let done = run(
        folder.path(),
        &["produce", "raw.events", "--source", "a", "--key", "/id"],
        "{\"id\":1}\n{\"id\":2}\nno JSON\n",
    );
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
    run(folder.path(), &["produce", "raw.events", "--source", "a"], &lines);
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

#[test]
fn tables_are_for_people_to_write() {
    let folder = folder();
    for topic in ["places", "decisions", "control"] {
        let done = run(folder.path(), &["produce", topic, "--key-value", "x"], "{}\n");
        assert_eq!(done.status.code(), Some(0), "{topic}: {}", text(&done.stderr));
    }
}

#[test]
fn an_empty_file_and_files_of_one_name_are_said() {
    let folder = folder();
    for name in ["north/feed.ics", "south/feed.ics", "empty.json"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, if name == "empty.json" { "" } else { "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n" })
            .expect("written");
    }
    let files = ["produce", "raw.events", "north", "./south/feed.ics", "empty.json", "--source", "town"];
    let done = run(folder.path(), &files, "");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(
        text(&done.stderr),
        "note: 2 files are named \"feed\": their keys are their paths, such as \"north/feed.ics\"\n\
         empty: empty.json: nothing was written, and what it gave before stays; --tombstone KEY withdraws it\n"
    );
    assert!(text(&done.stdout).starts_with("2 records (64 B) from 3 files to headwater.raw.events in "));
    assert!(text(&done.stdout).ends_with(" s; 1 empty\n"), "{}", text(&done.stdout));
    let read = run(folder.path(), &["consume", "raw.events", "--latest", "--json"], "");
    let keys: Vec<String> = text(&read.stdout)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["key"].to_string())
        .collect();
    assert_eq!(keys, ["\"north/feed.ics\"", "\"south/feed.ics\""]);
}

#[test]
fn a_decision_is_made_by_whoever_the_system_names() {
    let folder = folder();
    run(folder.path(), &["produce", "raw.events", "--source", "a"], "{}\n");
    let decide = |variables: &[(&str, &str)]| {
        let mut command = headwater(folder.path(), &["decide", "same", "a/1", "b/1"]);
        command.env_remove("USER").env_remove("LOGNAME").envs(variables.iter().copied());
        let done = given(command, "");
        (done.status.code(), text(&done.stdout) + &text(&done.stderr))
    };
    let (code, said) = decide(&[("LOGNAME", "kim")]);
    assert!(code == Some(0) && said.starts_with("decided: same a/1 + b/1 (kim, "), "{said}");
    // In a container there is no variable, and perhaps no name.
    let (code, said) = decide(&[]);
    assert!(code == Some(0) && said.contains("same a/1 + b/1 ("), "{said}");
    let (code, said) = decide(&[("PATH", "")]);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(
        said,
        "error: who decides? Neither --by, nor the variables USER and LOGNAME, nor the system name anybody\n  \
         hint: name the person: --by kim\n"
    );
}

/// Two events that are over, one to come with a title that is too long, a repeated one, one that cannot be read.
const SOURCE: &str = r#"{"@type":"Event","@id":"1","name":"Jazz Night","startDate":"2026-05-01T20:00:00Z"}
{"@type":"Event","@id":"2","name":"Old Fair","startDate":"2024-05-01"}
{"@type":"Event","@id":"3","name":"Older Fair","startDate":"2023-05-01","url":"javascript:alert(1)"}
{"@type":"Event","@id":"1","name":"Jazz Night","startDate":"2026-05-01T21:00:00Z"}
{"@type":"Event","@id":"4","name":"Sometime","startDate":"soon"}
"#;

#[test]
fn a_source_is_checked_without_any_log() {
    let folder = folder();
    std::fs::write(folder.path().join("town.jsonl"), SOURCE).expect("written");
    let at = ["--timestamp", "2026-03-26T00:00:00Z"];
    let checked = |more: &[&str]| {
        let arguments = [&["check-source", "town.jsonl", "--source", "town"], &at[..], more].concat();
        let done = run(folder.path(), &arguments, "");
        assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(0), ""), "{}", text(&done.stdout));
        assert_eq!(run_discovery(folder.path(), &arguments, "").stdout, done.stdout);
        text(&done.stdout)
    };
    let shown = checked(&[]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 10, "{shown}");
    assert!(lines[0].starts_with("town.jsonl:1: 2026-05-01T20:00:00+00:00  Jazz Night  ["), "{shown}");
    assert!(lines[0].ends_with("  town/1"), "{shown}");
    assert!(lines[1].contains("  Old Fair  ") && lines[1].ends_with("  town/2  past"), "{shown}");
    assert_eq!(
        lines[3],
        "town.jsonl:3: warning: sanitized: urls: 1 of 1 left out, no address of the web or too many (3)"
    );
    assert!(lines[5].starts_with("town.jsonl:5: dead letter: invalid-field: "), "{shown}");
    assert_eq!(lines[6], "3 listings of 5 records in 1 file; 1 warning, 1 dead letter");
    assert_eq!(lines[7], "2 of 3 listings are past and would leave at once under retention.past_events = \"30 days\"");
    assert_eq!(lines[8], "1 description of listings that were described before: the last of each counts");
    assert_eq!(lines[9], "2 listings without a category");
    let kept = checked(&["--set", "retention.past_events=forever"]);
    assert!(!kept.contains("past"), "{kept}");

    let found: Vec<serde_json::Value> =
        checked(&["--json"]).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(found.len(), 7);
    assert_eq!(
        (&found[1]["listing"]["past"], &found[1]["listing"]["listing"]["title"]),
        (&true.into(), &"Old Fair".into())
    );
    assert_eq!(found[3]["warning"]["code"], "sanitized");
    assert_eq!(found[5]["deadLetter"]["code"], "invalid-field");
    let summary = &found[6]["summary"];
    assert_eq!([&summary["listings"], &summary["past"], &summary["records"], &summary["deadLetters"]], [3, 2, 5, 1]);
    assert!(!folder.path().join(".headwater").exists(), "no log was made");
}

#[test]
fn one_record_on_standard_input_is_a_dry_run() {
    let folder = folder();
    let record = r#"{"events": [{"no": 7, "what": "Jazz", "from": "01.05.2026 20:00"}]}"#;
    let config = "[sources.town]\nformat = \"mapped\"\ntimezone = \"Europe/Berlin\"\n[sources.town.mapping]\n\
                  records = \"/events\"\nid = \"/no\"\ntitle = \"/what\"\nstart = \"/from\"\ndate_formats = [\"%d.%m.%Y %H:%M\"]\n";
    std::fs::write(folder.path().join("own.toml"), config).expect("written");
    let arguments = ["check-source", "--source", "town", "--config", "own.toml", "--timestamp", "2026-03-26T00:00:00Z"];
    for stdin in [record, &record.replace(", ", ",\n ")] {
        let done = run(folder.path(), &arguments, stdin);
        let shown = text(&done.stdout);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        assert!(shown.contains(": 2026-05-01T20:00:00+02:00  Jazz  "), "{shown}");
        assert!(shown.contains("\n1 listing of 1 record in 1 file; 0 warnings, 0 dead letters"), "{shown}");
    }
    let unnamed = run(folder.path(), &["check-source"], record);
    assert_eq!(unnamed.status.code(), Some(2));
    assert!(text(&unnamed.stderr).contains("names a source"), "{}", text(&unnamed.stderr));
}

#[test]
fn too_few_pairs_are_not_trained_on() {
    let folder = folder();
    run(folder.path(), &["produce", "raw.events", "--source", "a"], SOURCE);
    run(folder.path(), &["produce", "raw.events", "--source", "b"], SOURCE);
    let ran = ["--exit-when-idle", "--set", "admin.listen=", "--set", "retention.past_events=forever"];
    let ran = run_discovery(folder.path(), &ran, "");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let pairs =
        "source_a,id_a,source_b,id_b,label\na,1,b,1,positive\na,1,b,2,negative\na,1,b,99,negative\na,2,b,2,positive\n";
    std::fs::write(folder.path().join("pairs.csv"), pairs).expect("written");
    let done = run(folder.path(), &["train", "resolve", "--truth", "pairs.csv"], "");
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stdout));
    assert_eq!(
        text(&done.stderr),
        "error: pairs.csv: too few pairs to train on: 30 of each label are needed; found 2 positive and 0 negative\n  \
         hint: label more pairs; 1 more name listings that are not there, and 1 more are decided by a veto and teach \
         nothing\n"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_consuming_with_exit_code_0() {
    let folder = folder();
    run(folder.path(), &["produce", "raw.events", "--source", "a"], "1\n");
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
