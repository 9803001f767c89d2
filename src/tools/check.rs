//! Checks everything that a topology needs before it is started: configuration, log, databases, the admin server's
//! address.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::open::open_log;
use super::print::still_read;
use crate::admin::AdminServer;
use crate::cli::fail;
use crate::config::{Attempt, Loaded, LogKind, Places, Problem, Runtime, Section, Sources, attempt};
use crate::error::{Domain, Fault};
use crate::log::LogError;
use crate::view::{ViewError, ViewSpec};

/// How long the log may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a check has found.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What is wrong, in the configuration first.
    pub problems: Vec<Problem>,
    /// What is right, for people.
    pub fine: Vec<String>,
    /// Whose the worst problem is.
    #[serde(skip)]
    worst: Option<Domain>,
}

impl Report {
    /// 0 without problems, 2 when the user can mend one, or else 3.
    pub fn exit_code(&self) -> u8 {
        self.worst.map_or(0, Domain::exit_code)
    }

    /// Prints problems to `err` and what is right to `out`; with `json`, one object to `out`.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn print(&self, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        if json {
            serde_json::to_writer(&mut *out, self)?;
            return writeln!(out);
        }
        for line in &self.fine {
            writeln!(out, "ok: {line}")?;
        }
        for problem in &self.problems {
            writeln!(err, "error: {problem}")?;
        }
        Ok(())
    }

    fn add(&mut self, domain: Domain, problem: Problem) {
        self.problems.push(problem);
        // What the user wrote comes before what is down.
        if self.worst != Some(Domain::User) {
            self.worst = Some(domain);
        }
    }

    fn fault(&mut self, fault: &dyn Fault, key: &str, places: &Places) {
        let problem =
            Problem { place: places.locate(key), key: key.to_owned(), message: fault.to_string(), hint: fault.hint() };
        self.add(fault.domain(), problem);
    }
}

/// Checks everything, prints what was found, as JSON with `json`, and gives the exit code.
pub fn run<S: Section>(sources: &Sources, views: &ViewSpec, json: bool) -> ExitCode {
    let report = check::<S>(sources, views);
    match still_read(report.print(json, &mut io::stdout(), &mut io::stderr())) {
        Err(error) => fail(&error),
        Ok(_) => ExitCode::from(report.exit_code()),
    }
}

/// Checks configuration, log, databases and the admin server's address, each as far as the others' problems allow. Changes
/// nothing. `views` is what the topology's views show.
pub fn check<S: Section>(sources: &Sources, views: &ViewSpec) -> Report {
    let mut report = Report::default();
    let Attempt { loaded, problems } = attempt::<S>(sources);
    let right = problems.is_empty();
    for problem in problems {
        report.add(Domain::User, problem);
    }
    let Some(Loaded { config, places }) = loaded else { return report };
    let config = config.runtime;
    if right {
        report.fine.push(match &sources.file {
            Some(file) => format!("{}: the configuration is right", file.display()),
            None => "the configuration is right".to_owned(),
        });
    }
    // A broker is not asked under an address that is known to be wrong.
    if !concerns(&report, "log") {
        check_log(&config, &places, &mut report);
    }
    if !concerns(&report, "views") {
        check_views(&config, views, &places, &mut report);
    }
    if !concerns(&report, "admin") {
        check_admin(&config, &places, &mut report);
    }
    report
}

fn concerns(report: &Report, section: &str) -> bool {
    let inside = |key: &str| key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    report.problems.iter().any(|problem| inside(&problem.key))
}

fn check_log(config: &Runtime, places: &Places, report: &mut Report) {
    let key = match config.log.kind {
        LogKind::Embedded => "log.embedded.path",
        LogKind::Kafka => "log.kafka.brokers",
    };
    match reach_log(config) {
        Ok(line) => report.fine.push(line),
        Err(error @ LogError::Config { .. }) => report.fault(&error, "log.kafka", places),
        Err(error) => report.fault(&error, key, places),
    }
}

/// Says which log was reached. A log file that is not there yet is not made.
fn reach_log(config: &Runtime) -> Result<String, LogError> {
    let path: &PathBuf = &config.log.embedded.path;
    if config.log.kind == LogKind::Embedded && matches!(path.try_exists(), Ok(false)) {
        return Ok(format!("embedded://{}: to be created", path.display()));
    }
    let log = open_log(config)?;
    log.check(PATIENCE)?;
    let topics = log.topics(&config.prefix)?;
    Ok(format!("{}: {} topics begin with {:?}", log.describe(), topics.len(), config.prefix))
}

fn check_admin(config: &Runtime, places: &Places, report: &mut Report) {
    let Some(address) = config.admin.address() else { return };
    match AdminServer::check(address) {
        Ok(()) => report.fine.push(format!("http://{address}: free for the admin server")),
        // A configuration is checked while it is in use, too.
        Err(_) if AdminServer::answers(address) => {
            report.fine.push(format!("http://{address}: an instance that is running answers there"));
        }
        Err(error) => report.fault(&error, "admin.listen", places),
    }
}

fn check_views(config: &Runtime, spec: &ViewSpec, places: &Places, report: &mut Report) {
    let postgres = config.views.postgres.as_ref().map(|view| ("views.postgres.url", view.check(spec)));
    let sqlite = config.views.sqlite.as_ref().map(|view| ("views.sqlite.path", view.check(spec)));
    let checked: Vec<(&str, Result<String, ViewError>)> = postgres.into_iter().chain(sqlite).collect();
    for (key, outcome) in checked {
        match outcome {
            Ok(line) => report.fine.push(line),
            Err(error) => report.fault(&error, key, places),
        }
    }
}
