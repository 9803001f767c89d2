//! docs/jobs.md and the page at `/docs`: commands are there, requests are answered by an engine, and nothing is left out.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../tests/help/mod.rs"]
#[allow(dead_code, reason = "what needs a server is run here in another way")]
mod help;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jobs::Jobs;
use jobs::model::{Schedule, Submit};
use reqwest::Method;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

const GUIDE: &str = include_str!("../../../docs/jobs.md");

/// Where commands find the server.
const ORIGIN: &str = "http://127.0.0.1:8084";

/// An engine on a log of its own. It ends with this.
struct Engine {
    child: Child,
    url: String,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Engine {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-jobs"));
        command.args(["--set", "serve.listen=\"127.0.0.1:0\"", "--set", "admin.listen=\"\"", "--workers", "1"]);
        command.args(["--set", "engine.epoch_interval=25ms", "--log-level", "error"]);
        for variable in ["HEADWATER_CONFIG", "RUST_LOG"] {
            command.env_remove(variable);
        }
        let child = command.current_dir(folder.path()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.expect("the binary runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let url = line.trim().strip_prefix("console ")?;
            Some(url.trim().trim_end_matches('/').to_owned())
        });
        // What it says later is read, too: it is not to wait for that.
        std::thread::spawn(move || lines.for_each(drop));
        let client = Client::builder().timeout(Duration::from_secs(40)).build().expect("a client");
        let engine = Self { child, url: url.expect("the engine says where it serves"), client, _folder: folder };
        let ready = || engine.client.get(format!("{}/api/ready", engine.url)).send().is_ok_and(|r| r.status() == 200);
        let tries = (0..400).any(|_| {
            ready() || {
                std::thread::sleep(Duration::from_millis(50));
                false
            }
        });
        assert!(tries, "the engine serves");
        engine
    }

    fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().expect("an answer")
    }

    fn submit(&self, queue: &str, job: &Value) {
        let url = format!("{}/api/jobs/{queue}?wait=20", self.url);
        let answer = self.client.post(url).json(job).send().expect("an answer");
        assert_eq!(answer.status(), 201, "{job}");
    }

    /// The result of a job, once it is settled: its stream ends then.
    fn result_of(&self, id: &str) -> Value {
        let stream = self.get(&format!("/api/jobs/{id}/live")).text().expect("it ends");
        assert!(stream.contains("event: settled"), "{stream}");
        self.get(&format!("/api/jobs/{id}")).json::<Value>().expect("a job")["result"].take()
    }

    /// Does what curl would do; `job` is the one whose lease is named.
    fn curl(&self, line: &str, job: &str) -> Response {
        if line.contains("$LEASE") {
            let job: Value = self.get(&format!("/api/jobs/{job}")).json().expect("a job");
            return self.curl(&line.replace("$LEASE", &job["leaseNumber"].to_string()), "");
        }
        let (mut method, mut body, mut headers, mut url) = (None, None, Vec::new(), String::new());
        let words = words(line);
        let mut rest = words.iter().skip(1);
        while let Some(word) = rest.next() {
            match word.as_str() {
                "-N" => {}
                "-X" => method = rest.next().cloned(),
                "-d" => body = rest.next().cloned(),
                "-H" => headers.push(rest.next().expect("a header").split_once(": ").expect("a header")),
                word => url = word.replace(ORIGIN, &self.url),
            }
        }
        let usual = if body.is_some() { Method::POST } else { Method::GET };
        let method = method.map_or(usual, |method| method.parse().expect("a method"));
        let mut request = self.client.request(method, url).body(body.unwrap_or_default());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The words of a command, as a shell sees them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().expect("a word").push(c),
        }
    }
    assert_eq!(quote, None, "{line}");
    words
}

/// The lines of the guide that a shell is to run, without what stands behind them.
fn shell_lines() -> Vec<String> {
    let blocks = GUIDE.split("```sh\n").skip(1).map(|rest| rest.split_once("```").expect("an end").0);
    let without_remark = |line: &str| line.split("  #").next().unwrap_or_default().trim().to_owned();
    blocks.flat_map(str::lines).map(without_remark).collect()
}

#[test]
fn every_command_of_the_guide_is_valid() {
    // The tools are those of both binaries.
    let plain = |line: &String| {
        let line = line.trim_end_matches(" &").split(['<', '>']).next().unwrap_or_default().trim_end();
        line.strip_prefix("headwater ").map_or(line.to_owned(), |tool| format!("headwater-jobs {tool}"))
    };
    let commands: Vec<String> = shell_lines().iter().filter(|line| line.starts_with("headwater")).map(plain).collect();
    help::assert_valid(&headwater::app::command::<Jobs>(), &commands, 20);
}

#[test]
fn every_request_of_the_guide_is_answered() {
    let engine = Engine::start();
    let requests: Vec<String> = shell_lines().into_iter().filter(|line| line.starts_with("curl ")).collect();
    assert!(requests.len() >= 7, "{requests:?}");
    for line in requests {
        let answer = engine.curl(&line, "mail-1");
        assert!(answer.status().is_success(), "{line}: {}", answer.text().expect("a text"));
    }
    assert_eq!(engine.result_of("mail-1"), json!({"sent": true}));
}

#[test]
fn every_request_of_the_page_is_answered() {
    let engine = Engine::start();
    engine.submit("mail", &json!({"id": "page-1"}));
    let page = engine.get("/docs").text().expect("a page");
    let blocks = page.split("<pre class=\"code\"").skip(1).map(|rest| rest.split_once("</pre>").expect("an end").0);
    let mut requests = 0;
    for block in blocks {
        let (head, code) = block.split_once("<code>").expect("code");
        let status = head.split("data-status=\"").nth(1).and_then(|rest| rest.split('"').next());
        for line in code.trim_end_matches("</code>").lines() {
            let line = line.replace("&amp;", "&").replace("$JOB", "page-1").replace("$KEY", "hw_none");
            let answer = engine.curl(&line, "page-1");
            let (told, text) = (answer.status(), status.unwrap_or("2"));
            assert!(told.as_str().starts_with(text), "{line}: {told}");
            requests += 1;
        }
    }
    assert!(requests >= 18, "{requests}");
    assert_eq!(engine.result_of("page-1"), json!({"sent": true}));
}

/// Methods and paths, with all placeholders alike.
fn place(method: &str, path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    format!("{method} {}", parts.collect::<Vec<_>>().join("/"))
}

#[test]
fn the_description_is_what_there_is() {
    let engine = Engine::start();
    let document: Value = engine.get("/api/openapi.json").json().expect("JSON");
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase();
            let scope = operation["security"][0]["bearer"][0].as_str().unwrap_or_default().to_owned();
            described.insert((place(&method, path), scope));
            // It is there: neither the path nor the method is refused.
            let url = format!("{}{}", engine.url, path.replace(['{', '}'], ""));
            let answer = engine.client.request(method.parse().expect("a method"), url).send().expect("an answer");
            let status = answer.status();
            let text = if operation.to_string().contains("event-stream") && status.is_success() {
                String::new()
            } else {
                answer.text().expect("a text")
            };
            assert!(status != 405 && !text.contains("There is nothing at"), "{method} {path}: {status} {text}");
        }
    }
    // The guide has the same, with the same scopes.
    let table = GUIDE.split_once("## The API").expect("the part").1;
    let mut told = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `") && line.contains("/api/")) {
        let (what, scope) = row.trim_end_matches('|').rsplit_once('|').expect("columns");
        let places = what.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(" /"));
        for (method, path) in places.filter(|(method, _)| method.chars().all(|c| c.is_ascii_uppercase())) {
            let path = path.split('?').next().unwrap_or_default();
            told.insert((place(method, &format!("/{path}")), scope.replace('`', "").trim().to_owned()));
        }
    }
    assert_eq!(told, described);
}

#[test]
fn every_parameter_that_is_described_is_known_and_no_other() {
    let engine = Engine::start();
    engine.submit("q", &json!({"id": "known"}));
    let document: Value = engine.get("/api/openapi.json").json().expect("JSON");
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        // The stream of one job takes nothing but tickets, which are looked at before.
        let Some(operation) = methods.get("get").filter(|_| path != "/api/jobs/{name}/live") else { continue };
        let parameters = operation["parameters"].as_array().expect("parameters").iter();
        let of_query = parameters.filter(|one| one["in"] == "query" && one["name"] != "ticket");
        let names: Vec<&str> = of_query.filter_map(|one| one["name"].as_str()).collect();
        for name in names.iter().chain(names.first().map(|_| &"nonsense")) {
            let path = path.replace("{channel}", "c");
            let answer: Value = engine.get(&format!("{path}?{name}=%00&certainly-wrong=1")).json().expect("JSON");
            let is_unknown = |error: &Value| error["parameter"] == **name && error["code"] == "unknown-parameter";
            let unknown = answer["errors"].as_array().is_some_and(|errors| errors.iter().any(is_unknown));
            assert_eq!(unknown, *name == "nonsense", "{path} {name} {answer}");
            tried += 1;
        }
    }
    assert!(tried > 12, "{tried}");
}

/// The fields that a type knows, as it tells them of one that it does not know.
fn fields_of<T: serde::de::DeserializeOwned>() -> Vec<String> {
    let error = serde_json::from_str::<T>("{\"no-such-field\": 1}").err().expect("it is refused").to_string();
    let known = error.split_once("expected one of ").expect("they are told").1;
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_field_is_in_the_guide() {
    let fields = fields_of::<Submit>().into_iter().chain(fields_of::<Schedule>()).filter(|field| field != "type");
    let missing: Vec<String> = fields.filter(|field| !GUIDE.contains(&format!("\n| `{field}` |"))).collect();
    assert_eq!(missing, Vec::<String>::new());
    for table in [&jobs::JOBS, &jobs::JOB_RUNS, &jobs::QUEUES] {
        let missing: Vec<&str> = table
            .columns
            .iter()
            .map(|column| column.name)
            .filter(|name| !GUIDE.contains(&format!("`{name}`")))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
