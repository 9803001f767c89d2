//! An engine that serves, workers that run scripts, and the tools: each a process of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jobs::verify::Report;
use reqwest::blocking::{Client, Response};
use serde_json::Value;

use crate::trial::{Engine, Place, Trial};

/// How long a process may take to start or to end, and a job to be done that takes no time.
const SOON: Duration = Duration::from_secs(30);

const JOBS: &str = env!("CARGO_BIN_EXE_headwater-jobs");

/// A running engine that serves.
pub struct Served {
    pub trial: Trial,
    engine: Engine,
    url: String,
    client: Client,
}

impl Served {
    pub fn start(place: &Place, sections: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let trial = Trial::listening(place.clone(), &address, sections);
        let engine = trial.engine(None);
        let client = Client::builder().timeout(SOON).build().unwrap();
        let served = Self { trial, engine, url: format!("http://{address}"), client };
        served.wait_until_ready();
        served
    }

    fn wait_until_ready(&self) {
        let ready = || {
            let answer = self.client.get(format!("{}/api/ready", self.url)).send();
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        self.wait_until("the engine serves", SOON, ready);
    }

    /// Kills the engine, as a crash would.
    pub fn kill(&mut self) {
        self.engine.kill();
    }

    /// Starts the engine again, on the same log and at the same address.
    pub fn start_again(&mut self) {
        self.engine = self.trial.engine(None);
        self.wait_until_ready();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(JOBS);
        command.args(arguments).env("HEADWATER_URL", &self.url);
        for variable in ["HEADWATER_CONFIG", "HEADWATER_KEY", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    /// What a tool prints that does what it is told.
    pub fn tool(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A tool need not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn submit(&self, queue: &str, id: &str, more: &[&str]) {
        self.tool(&[&["jobs", "submit", queue, r#"{"n":1}"#, "--id", id][..], more].concat(), "");
    }

    /// The document of a job.
    pub fn job(&self, id: &str) -> Value {
        let answer = self.client.get(format!("{}/api/jobs/{id}", self.url)).send().unwrap();
        answer.json().unwrap()
    }

    pub fn get(&self, path: &str) -> Value {
        self.client.get(format!("{}{path}", self.url)).send().unwrap().json().unwrap()
    }

    pub fn wait_until(&self, what: &str, patience: Duration, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < patience, "not within {patience:?}: {what}\n{}", self.trial.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn wait_soon(&self, what: &str, is_so: impl Fn() -> bool) {
        self.wait_until(what, SOON, is_so);
    }

    /// Waits for a phase of a job, and gives its document.
    pub fn wait_for(&self, id: &str, phase: &str) -> Value {
        self.wait_soon(&format!("{id} is {phase}"), || self.job(id)["phase"] == phase);
        self.job(id)
    }

    /// Waits until the script of a job has told progress.
    pub fn wait_for_progress(&self, id: &str) {
        self.wait_soon(&format!("{id} runs"), || self.job(id)["progress"].is_object());
    }

    /// A stream of events, from the one after `last` on.
    pub fn events(&self, path: &str, last: Option<&str>) -> Events {
        let mut request = Client::builder().timeout(SOON).build().unwrap().get(format!("{}{path}", self.url));
        if let Some(id) = last {
            request = request.header("last-event-id", id);
        }
        let response = request.send().unwrap();
        assert_eq!(response.status(), 200, "{path}");
        Events { lines: BufReader::new(response), id: String::new() }
    }

    /// A worker that does jobs of `queue` by a script of the shell.
    pub fn work(&self, name: &str, queue: &str, slots: u32, script: &str) -> Work {
        let slots = slots.to_string();
        let arguments =
            ["work", "--queue", queue, "--name", name, "--slots", &slots, "--json", "--", "sh", "-c", script];
        let errors = File::create(self.trial.file(&format!("{name}.txt"))).unwrap();
        let mut command = self.command(&arguments);
        Work(Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().unwrap()))
    }

    /// Waits until the server has heard of a worker.
    pub fn wait_for_worker(&self, name: &str) {
        let knows = || {
            self.get("/api/workers").as_array().unwrap().iter().any(|one| one["worker"] == name && one["slots"] != 0)
        };
        self.wait_soon(&format!("{name} works"), knows);
    }

    /// What scripts have written into a file.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.trial.file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Checks the whole log.
    pub fn verify(&self) -> Report {
        let report = self.trial.verify();
        assert_eq!(report.violations, Vec::<String>::new());
        report
    }
}

/// A worker; killed when it is dropped.
pub struct Work(Option<Child>);

impl Work {
    /// As a crash would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// As Ctrl-C in a terminal.
    pub fn interrupt(&self) {
        signal(self.0.as_ref().unwrap().id(), "INT");
    }

    /// How it ends: its exit code, and what it says it has done.
    pub fn ended(mut self) -> (Option<i32>, Value) {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.end();
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Whether a process runs.
pub fn runs(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success()
}

/// A stream that is read.
pub struct Events {
    lines: BufReader<Response>,
    /// What a browser would come back with.
    pub id: String,
}

impl Events {
    /// The next event; `None` at the end.
    pub fn next(&mut self) -> Option<(String, Value)> {
        let (mut name, mut data, mut line) = (String::new(), String::new(), String::new());
        loop {
            line.clear();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut self.id),
                Some(("event", event)) => event.clone_into(&mut name),
                Some(("data", json)) => json.clone_into(&mut data),
                _ if line == "\n" && !data.is_empty() => return Some((name, serde_json::from_str(&data).unwrap())),
                _ => {}
            }
        }
    }
}
