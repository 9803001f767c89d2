//! The tools of jobs as a user runs them, against a server that speaks the contract.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Fake;

const JOBS: &str = env!("CARGO_BIN_EXE_headwater-jobs");

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(JOBS);
    command.args(arguments).env("HEADWATER_URL", url);
    for variable in ["HEADWATER_CONFIG", "HEADWATER_KEY", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run_at(url: &str, arguments: &[&str], stdin: &str) -> Output {
    let mut child = command(url, arguments).spawn().expect("the binary runs");
    // A tool need not read its input.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the binary ends")
}

fn run(fake: &Fake, arguments: &[&str]) -> Output {
    run_at(&fake.url(), arguments, "")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a tool prints that ends with this exit code.
fn printed(fake: &Fake, arguments: &[&str], code: i32) -> String {
    let output = run(fake, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a tool says to stderr that ends with this exit code.
fn refused(fake: &Fake, arguments: &[&str], code: i32) -> String {
    let output = run(fake, arguments);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), String::new()), "{arguments:?}");
    text(&output.stderr)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

#[test]
fn a_job_is_submitted_with_all_that_is_said_of_it() {
    let fake = Fake::start();
    let id = printed(&fake, &["jobs", "submit", "mail", "{\"to\": 12345678901234567890}"], 0);
    let job = fake.job(id.trim());
    assert_eq!((job.queue.as_str(), job.payload.to_string().as_str()), ("mail", "{\"to\":12345678901234567890}"));
    let options = "jobs submit mail null --id a --kind k --group g --priority -5 --delay 90s --start-within 1h \
                   --finish-within 2h --heartbeat-within 30s --attempts 4 --backoff 1s --max-backoff 5min --parent p \
                   --parent q --on-parent-failure run --keep 7days --notify user:1 --json";
    let told = printed(&fake, &options.split_whitespace().collect::<Vec<_>>(), 0);
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json!({"id": "a"}));
    let expected = json!({
        "id": "a", "payload": null, "kind": "k", "group": "g", "priority": -5, "delay": "90 s", "startWithin": "1 h",
        "finishWithin": "2 h", "heartbeatWithin": "30 s", "attempts": 4, "backoff": "1 s", "maxBackoff": "5 min",
        "parents": ["p", "q"], "onParentFailure": "run", "keep": "7 days", "notify": ["user:1"],
    });
    assert_eq!(fake.job("a").submitted, expected);
    // What is known already is told, and nothing is submitted.
    fake.change("a", |job| job.phase = "done");
    let told = printed(&fake, &["jobs", "submit", "mail", "--id", "a", "--json"], 0);
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json!({"id": "a", "phase": "done"}));
}

#[test]
fn payloads_come_from_a_file_or_line_by_line() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.json");
    std::fs::write(&file, "[1, 2]\n").unwrap();
    printed(&fake, &["jobs", "submit", "q", "--file", file.to_str().unwrap(), "--id", "f"], 0);
    assert_eq!(fake.job("f").payload, json!([1, 2]));
    let lines: String = (0..2_500).map(|number| format!("{{\"n\": {number}}}\n\n")).collect();
    let output = run_at(&fake.url(), &["jobs", "submit", "many", "-", "--group", "g"], &lines);
    assert_eq!(text(&output.stderr), "submitted 2,500 jobs\n");
    let ids: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert!(ids.len() == 2_500 && ids.iter().all(|id| fake.job(id).queue == "many"));
    let known = fake.known();
    let mut numbers: Vec<u64> =
        known.jobs.values().filter(|job| job.queue == "many").map(|job| job.payload["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..2_500).collect::<Vec<_>>());
    assert!(known.jobs.values().filter(|job| job.queue == "many").all(|job| job.submitted["group"] == "g"));
    assert_eq!(known.requests.iter().filter(|line| line.ends_with("/many")).count(), 3);
}

#[test]
fn ids_of_jobs_that_were_taken_are_printed_though_later_ones_are_refused() {
    let fake = Fake::start();
    let lines: String = (0..1_500).map(|number| format!("{number}\n")).collect();
    for more in [&[][..], &["--json"], &["--wait"]] {
        fake.known().submits_left = Some(1);
        let output = run_at(&fake.url(), &[&["jobs", "submit", "many", "-"], more].concat(), &lines);
        let (said, ids) = (text(&output.stderr), text(&output.stdout));
        assert!(output.status.code() == Some(2) && said.contains("No more of these."), "{said}");
        let id = |line: &str| match more {
            ["--json"] => serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned(),
            _ => line.to_owned(),
        };
        assert_eq!(ids.lines().map(id).filter(|id| fake.job(id).queue == "many").count(), 1_000, "{more:?}");
    }
}

#[test]
fn what_cannot_be_submitted_is_told_before() {
    let fake = Fake::start();
    for (arguments, stdin, told) in [
        (&["jobs", "submit", "mail", "hello"][..], "", "the payload is no JSON"),
        (&["jobs", "submit", "a b", "1"], "", "the queue \"a b\" has ' '"),
        (&["jobs", "submit", "q", "--file", "gone.json"], "", "cannot read gone.json"),
        (&["jobs", "submit", "q", "-"], "1\n\n{\n", "line 3 of standard input"),
        (&["jobs", "submit", "q", "-", "--id", "a"], "1\n", "--id is of one job"),
        (&["jobs", "submit", "q", "1", "--priority", "2000"], "", "2000"),
        (&["jobs", "submit", "q", "1", "--delay", "5"], "", "is not a duration"),
        (&["jobs", "cancel"], "", "no jobs are named"),
        (&["jobs", "cancel", "a", "--queue", "q"], "", "not both"),
        (&["jobs", "retry", "a", "b", "--payload", "1"], "", "--payload is of one job"),
        (&["jobs", "list", "--phase", "asleep"], "", "blocked, delayed"),
        (&["queues", "--url", "localhost:8084"], "", "is not a valid API URL"),
        (&["queues", "--url", "http://kim:pass@localhost"], "", "a user name and a password have no place in it"),
        (&["schedules", "set", "s", "{\"cron\": \"x\", \"job\": {\"queue\": \"q\"}}"], "", "the cron pattern"),
        (&["work", "--queue", "q", "--", "no-such-command-here"], "", "there is no command"),
        (&["work", "--queue", "lease", "--", "true"], "", "has the name of a path"),
    ] {
        let output = run_at(&fake.url(), arguments, stdin);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(told), "{arguments:?}: {said}");
    }
    assert!(fake.known().jobs.is_empty());
}

#[test]
fn a_server_that_is_away_or_says_no_is_told_with_a_hint() {
    let fake = Fake::start();
    let gone = {
        let fake = Fake::start();
        fake.url()
    };
    let output = run_at(&gone, &["queues"], "");
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("cannot be reached") && said.contains("hint: "), "{said}");
    assert!(refused(&fake, &["jobs", "show", "x"], 2).starts_with("error: 404 not-found: "));
    fake.known().key = Some("secret".to_owned());
    assert!(refused(&fake, &["queues"], 2).contains("hint: name a key"));
    printed(&fake, &["queues", "--key", "secret"], 0);
    let with_key = command(&fake.url(), &["queues"]).env("HEADWATER_KEY", "secret").output().unwrap();
    assert_eq!(with_key.status.code(), Some(0));
}

#[test]
fn jobs_are_listed_page_by_page_and_shown() {
    let fake = Fake::start();
    for number in 0..450 {
        fake.add(&format!("j{number:03}"), "q", json!(number));
    }
    fake.add("other", "r", json!({"to": "kim"}));
    let listed = printed(&fake, &["jobs", "list", "--queue", "q", "--limit", "420", "--json"], 0);
    let ids: Vec<String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, (0..420).map(|number| format!("j{number:03}")).collect::<Vec<_>>());
    fake.change("other", |job| {
        job.phase = "dead";
        job.error = Some(json!({"code": "smtp", "message": "no\nanswer"}));
    });
    let listed = run(&fake, &["jobs", "list", "--phase", "dead"]);
    let table = text(&listed.stdout);
    assert!(table.contains("other  r      dead   0/3") && table.contains("smtp: no answer"), "{table}");
    assert!(!table.contains('\u{1b}'), "colours are for terminals");
    assert_eq!(text(&listed.stderr), "1 of 1 job\n");
    let shown = printed(&fake, &["jobs", "show", "other"], 0);
    assert!(shown.contains("error      smtp: no\nanswer") && shown.contains("payload    {\"to\":\"kim\"}"), "{shown}");
    let document: Value = serde_json::from_str(&printed(&fake, &["jobs", "show", "other", "--json"], 0)).unwrap();
    assert_eq!(document["payload"], json!({"to": "kim"}));
}

#[test]
fn jobs_are_cancelled_and_retried_one_or_many() {
    let fake = Fake::start();
    ["a", "b", "c"].iter().for_each(|id| fake.add(id, "q", json!(1)));
    assert_eq!(printed(&fake, &["jobs", "cancel", "a"], 0), "cancel requested for 1 job\n");
    assert_eq!(fake.job("a").phase, "cancelled");
    assert_eq!(printed(&fake, &["jobs", "retry", "a", "--payload", "[7]"], 0), "retry requested for 1 job\n");
    assert_eq!((fake.job("a").phase, fake.job("a").payload), ("waiting", json!([7])));
    fake.change("b", |job| job.phase = "done");
    assert!(refused(&fake, &["jobs", "retry", "b"], 2).contains("It cannot run again."));
    let told = printed(&fake, &["jobs", "cancel", "--queue", "q", "--phase", "waiting", "--json"], 0);
    assert_eq!(told, "{\"count\":2,\"more\":false}\n");
    assert_eq!(printed(&fake, &["jobs", "retry", "a", "b"], 0), "retry requested for 2 jobs\n");
}

#[test]
fn jobs_that_one_request_cannot_hold_are_told() {
    let fake = Fake::start();
    ["a", "b", "c"].iter().for_each(|id| fake.add(id, "q", json!(1)));
    fake.known().most_in_bulk = Some(2);
    for verb in ["cancel", "retry"] {
        let output = run(&fake, &["jobs", verb, "--queue", "q"]);
        assert_eq!(text(&output.stdout), format!("{verb} requested for 2 jobs\n"));
        assert!(output.status.code() == Some(1) && text(&output.stderr).contains("run the same command again"));
    }
    let told = printed(&fake, &["jobs", "cancel", "--queue", "q", "--json"], 1);
    assert_eq!(told, "{\"count\":2,\"more\":true}\n");
}

#[test]
fn what_jobs_say_does_not_speak_to_the_terminal() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    fake.change("a", |job| {
        job.phase = "dead";
        job.error = Some(json!({"code": "x\u{1b}[2J", "message": "no\u{7}\nanswer"}));
    });
    for arguments in [&["jobs", "list"][..], &["jobs", "show", "a"]] {
        let shown = printed(&fake, arguments, 0);
        assert!(shown.contains("answer") && !shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
    }
}

#[test]
fn queues_and_schedules_are_shown_and_changed() {
    let fake = Fake::start();
    assert!(refused(&fake, &["queues"], 0).contains("no queues"));
    fake.add("a", "mail", json!(1));
    assert_eq!(printed(&fake, &["queues", "pause", "mail"], 0), "pause requested for queue mail\n");
    let table = printed(&fake, &["queues"], 0);
    assert!(table.contains("mail   paused  1  ") && table.contains("20ms 1.5s"), "{table}");
    let row: Value = serde_json::from_str(&printed(&fake, &["queues", "--json"], 0)).unwrap();
    assert_eq!((&row["counts"]["waiting"], &row["paused"]), (&json!(1), &json!(true)));
    let schedule = r#"{"cron": "0 7 * * *", "zone": "Europe/Berlin", "job": {"queue": "reports"}}"#;
    let told = printed(&fake, &["schedules", "set", "morning", schedule], 0);
    assert!(told.starts_with("morning: set, due next at 2"), "{told}");
    assert_eq!(fake.known().schedules["morning"]["zone"], "Europe/Berlin");
    let table = printed(&fake, &["schedules"], 0);
    assert!(table.contains("morning   0 7 * * * Europe/Berlin  +"), "{table}");
    let shown = printed(&fake, &["schedules", "show", "morning"], 0);
    assert!(shown.contains("next       2099-12-01T10:00:00Z"), "{shown}");
    printed(&fake, &["schedules", "remove", "morning"], 0);
    assert!(fake.known().schedules.is_empty());
    refused(&fake, &["schedules", "remove", "morning"], 2);
}

#[test]
fn the_address_may_stand_before_and_after_a_command() {
    let fake = Fake::start();
    let url = fake.url();
    for arguments in [["queues", "--url", &url, "pause", "q"], ["queues", "pause", "q", "--url", &url]] {
        let output = run_at("http://127.0.0.1:1", &arguments, "");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(fake.known().paused.len(), 2);
}

/// Does a job for the test, by hand.
fn settle(fake: &Fake, id: &str, phase: &'static str) {
    fake.change(id, |job| (job.phase, job.progress) = ("leased", Some(0.5)));
    std::thread::sleep(Duration::from_millis(100));
    fake.change(id, |job| (job.phase, job.result) = (phase, Some(json!({"n": 1}))));
}

#[test]
fn a_job_is_followed_to_its_end() {
    let mut fake = Fake::start();
    for (phase, code) in [("done", 0), ("dead", 1), ("cancelled", 1)] {
        let child = command(&fake.url(), &["jobs", "submit", "q", "1", "--id", phase, "--wait"]).spawn().unwrap();
        fake.wait("submitted", |known| known.jobs.contains_key(phase));
        // A connection may break.
        std::thread::sleep(Duration::from_millis(50));
        fake.restart(Duration::from_millis(100));
        settle(&fake, phase, phase);
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said} {}", text(&output.stderr));
        assert!(said.lines().last().unwrap().starts_with(&format!("{phase}  {phase}")), "{said}");
    }
    let watched = printed(&fake, &["jobs", "watch", "done", "--json"], 0);
    assert_eq!(serde_json::from_str::<Value>(&watched).unwrap()["result"], json!({"n": 1}));
    assert!(refused(&fake, &["jobs", "watch", "gone"], 2).contains("404"));
    let many = run_at(&fake.url(), &["jobs", "submit", "q", "1", "--id", "dead", "--wait"], "");
    assert_eq!(many.status.code(), Some(1));
}

/// A worker that runs a script of the shell.
fn worker(fake: &Fake, script: &str, more: &[&str]) -> Child {
    let arguments = [&["work", "--queue", "q", "--json"], more, &["--", "sh", "-c", script]].concat();
    command(&fake.url(), &arguments).spawn().expect("the binary runs")
}

/// The exit code of a worker that has ended, and what it says it has done.
fn ended(child: Child) -> (Option<i32>, Value, String) {
    let output = child.wait_with_output().expect("it ends");
    let summary = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), summary, text(&output.stderr))
}

#[test]
fn a_command_does_jobs_and_a_signal_ends_the_worker() {
    let fake = Fake::start();
    fake.add("good", "q", json!({"n": 2}));
    let script = "read line; case $line in *2*) echo 'progress 0.5 half'; sleep 0.1; echo result \"$line\";; *) echo no >&2; exit 65;; esac";
    let child = worker(&fake, script, &["--slots", "2"]);
    fake.wait_for("good", "done");
    assert_eq!((fake.job("good").result, fake.job("good").progress), (Some(json!({"n": 2})), None));
    fake.add("bad", "q", json!({"n": 1}));
    fake.wait_for("bad", "dead");
    let bad = fake.job("bad");
    assert_eq!((bad.error, bad.retry), (Some(json!({"code": "exit-65", "message": "no"})), Some(false)));
    signal(&child, "TERM");
    let (code, summary, said) = ended(child);
    assert_eq!((code, summary), (Some(0), json!({"done": 1, "failed": 1, "released": 0, "lost": 0})), "{said}");
    assert_eq!(fake.known().slots.values().next().unwrap().last(), Some(&0));
}

#[test]
fn the_first_ctrl_c_waits_for_running_jobs_and_takes_no_more() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    let child = worker(&fake, "echo progress 0.1; sleep 1.5; echo 'result 1'", &[]);
    fake.wait("running", |known| known.jobs["a"].progress.is_some());
    signal(&child, "INT");
    fake.wait("told", |known| known.slots.values().next().unwrap().last() == Some(&0));
    fake.add("b", "q", json!(1));
    let (code, summary, said) = ended(child);
    assert_eq!((code, &summary["done"]), (Some(0), &json!(1)), "{said}");
    assert_eq!((fake.job("a").phase, fake.job("b").phase), ("done", "waiting"));
}

#[test]
fn a_second_ctrl_c_stops_jobs_and_gives_them_back() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    // Many programs end with 0 on SIGTERM: the job is not done all the same.
    let child = worker(&fake, "trap 'exit 0' TERM; echo progress 0.1; while :; do sleep 0.05; done", &[]);
    fake.wait("running", |known| known.jobs["a"].progress.is_some());
    signal(&child, "INT");
    fake.wait("told", |known| known.slots.values().next().unwrap().last() == Some(&0));
    assert_eq!(fake.job("a").phase, "leased");
    let begun = Instant::now();
    signal(&child, "INT");
    let (code, summary, said) = ended(child);
    assert_eq!((code, &summary["released"]), (Some(130), &json!(1)), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((fake.job("a").phase, fake.known().reports.clone()), ("waiting", vec!["a/1 release".to_owned()]));
}

#[test]
fn a_third_signal_kills_and_a_closed_terminal_is_a_signal_too() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    let script = "trap '' TERM; echo progress 0.1 $$; while :; do sleep 0.05; done";
    let child = worker(&fake, script, &["--grace", "10min"]);
    fake.wait("running", |known| known.jobs["a"].message.is_some());
    let pid = fake.job("a").message.unwrap();
    signal(&child, "HUP");
    fake.wait("told", |known| known.slots.values().next().unwrap().last() == Some(&0));
    signal(&child, "QUIT");
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(runs(&pid), "it has time to clean up");
    signal(&child, "TERM");
    let (code, summary, said) = ended(child);
    assert_eq!((code, &summary["released"]), (Some(130), &json!(1)), "{said}");
    assert!(!runs(&pid));
    assert_eq!(fake.job("a").phase, "waiting");
}

#[test]
fn a_command_does_not_get_the_key_of_its_worker() {
    let fake = Fake::start();
    fake.known().key = Some("secret".to_owned());
    fake.add("a", "q", json!(1));
    let script = "echo result \"\\\"${HEADWATER_KEY-none}\\\"\"";
    let child = command(&fake.url(), &["work", "--queue", "q", "--json", "--", "sh", "-c", script])
        .env("HEADWATER_KEY", "secret")
        .spawn()
        .unwrap();
    fake.wait_for("a", "done");
    assert_eq!(fake.job("a").result, Some(json!("none")));
    signal(&child, "INT");
    assert_eq!(ended(child).0, Some(0));
}

/// Whether a process still runs.
fn runs(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn cancel_reaches_the_command_by_sigterm_and_then_by_sigkill() {
    let fake = Fake::start();
    fake.add("kind", "q", json!(1));
    let child = worker(
        &fake,
        "echo progress 0.1; if [ $HEADWATER_JOB = kind ]; then trap 'echo bye >&2; exit 0' TERM; else trap '' TERM; fi; while :; do sleep 0.05; done",
        &["--grace", "500ms"],
    );
    fake.wait("running", |known| known.jobs["kind"].progress.is_some());
    fake.change("kind", |job| job.cancelling = true);
    fake.wait_for("kind", "cancelled");
    let error = fake.job("kind").error.unwrap();
    assert!(error["code"] == "stopped" && error["message"].as_str().unwrap().ends_with("bye"), "{error}");
    fake.add("stubborn", "q", json!(1));
    fake.wait("running", |known| known.jobs["stubborn"].progress.is_some());
    let begun = Instant::now();
    fake.change("stubborn", |job| job.cancelling = true);
    fake.wait_for("stubborn", "cancelled");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
    let error = fake.job("stubborn").error.unwrap();
    assert!(error["code"] == "stopped" && error["message"].as_str().unwrap().contains("signal: 9"), "{error}");
    signal(&child, "INT");
    assert_eq!(ended(child).0, Some(0));
}

#[test]
fn a_lost_lease_kills_the_command_and_reports_nothing() {
    let fake = Fake::start();
    fake.add("a", "q", json!(1));
    let child = worker(&fake, "echo progress 0.1 $$; exec sleep 60", &[]);
    fake.wait("running", |known| known.jobs["a"].message.is_some());
    let pid = fake.job("a").message.unwrap();
    assert!(runs(&pid));
    fake.change("a", |job| (job.lease, job.worker) = (2, Some("another".to_owned())));
    let until = Instant::now() + Duration::from_secs(10);
    while runs(&pid) {
        assert!(Instant::now() < until, "the command still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "INT");
    let (code, summary, said) = ended(child);
    assert_eq!((code, &summary["lost"]), (Some(0), &json!(1)), "{said}");
    assert!(fake.known().reports.is_empty());
}

#[test]
fn a_server_that_goes_and_comes_back_finds_the_job_done_once() {
    let mut fake = Fake::start();
    fake.add("a", "q", json!(1));
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("ran");
    let script = format!("echo x >> {}; echo progress 0.1; sleep 1; echo 'result 5'", mark.display());
    let child = worker(&fake, &script, &[]);
    fake.wait("running", |known| known.jobs["a"].phase == "leased" && mark.exists());
    fake.restart(Duration::from_millis(2_000));
    fake.wait_for("a", "done");
    signal(&child, "INT");
    let (code, summary, said) = ended(child);
    assert_eq!((code, &summary["done"]), (Some(0), &json!(1)), "{said}");
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "x\n");
    assert_eq!(fake.known().reports, ["a/1 complete"]);
}
