//! `headwater schedules`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use headwater::tools::{print_line, print_result};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Ended;
use super::api::{ApiArgs, UsageError, json_of, json_of_file};
use super::show::{Listing, ago, print_lines};
use crate::client::ScheduleStatus;
use crate::model::Schedule;

/// `headwater schedules`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater schedules
  headwater schedules set morning '{\"cron\": \"0 7 * * MON-FRI\", \"zone\": \"Europe/Berlin\", \"job\": {\"queue\": \"reports\"}}'
  headwater schedules run morning")]
pub struct SchedulesArgs {
    /// What is done; without it, all schedules are listed.
    #[command(subcommand)]
    pub command: Option<SchedulesCommand>,
    /// Where the API is, and how schedules are printed: with --json a schedule a line.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// What is done with schedules.
#[derive(Debug, Clone, Subcommand)]
pub enum SchedulesCommand {
    /// List all schedules
    #[command(after_help = "\
Examples:
  headwater schedules list
  headwater schedules list --json | jq .next")]
    List(ListSchedules),
    /// Show a schedule
    #[command(after_help = "\
Examples:
  headwater schedules show morning
  headwater schedules show morning --json | jq .definition")]
    Show(OneSchedule),
    /// Set a schedule, whether there was one of its name or not
    Set(SetSchedule),
    /// Remove a schedule; its jobs stay
    #[command(after_help = "\
Examples:
  headwater schedules remove morning")]
    Remove(OneSchedule),
    /// Submit the job of a schedule now
    #[command(after_help = "\
Examples:
  headwater schedules run morning")]
    Run(OneSchedule),
}

/// `headwater schedules list`.
#[derive(Debug, Clone, Args)]
pub struct ListSchedules {
    /// Where the API is, and how schedules are printed: with --json a schedule a line.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// A schedule.
#[derive(Debug, Clone, Args)]
pub struct OneSchedule {
    /// Its name
    pub name: String,
    /// Where the API is, and how the result is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// `headwater schedules set`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A schedule is JSON: `cron` (five fields, or six with seconds first, or @daily) with `zone`, or `every`; `missed` (skip, \
once, all) says what becomes of times at which nothing ran, `overlap` (skip, allow, queue) of a time at which the job \
before still runs; `paused`; and `job`, with the fields of a submit.

Examples:
  headwater schedules set morning '{\"cron\": \"0 7 * * MON-FRI\", \"zone\": \"Europe/Berlin\", \"job\": {\"queue\": \"reports\"}}'
  headwater schedules set tidy '{\"every\": \"10 min\", \"overlap\": \"skip\", \"job\": {\"queue\": \"chores\", \"kind\": \"tidy\"}}'
  headwater schedules set morning --file morning.json")]
pub struct SetSchedule {
    /// Its name
    pub name: String,
    /// The schedule: JSON
    #[arg(required_unless_present = "file")]
    pub schedule: Option<String>,
    /// File with the schedule; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "schedule")]
    pub file: Option<PathBuf>,
    /// Where the API is, and how the result is printed.
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Serialize)]
struct Changed {
    schedule: String,
    #[serde(rename = "asked")]
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
}

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.schedule, self.what)?;
        match self.next {
            Some(next) => write!(f, ", due next at {next}"),
            None => Ok(()),
        }
    }
}

impl SchedulesArgs {
    pub(super) fn run(self) -> Ended {
        match self.command {
            None => list(&self.api),
            Some(SchedulesCommand::List(args)) => list(&args.api),
            Some(SchedulesCommand::Show(one)) => one.show(),
            Some(SchedulesCommand::Set(args)) => args.run(),
            Some(SchedulesCommand::Remove(one)) => {
                one.api.client()?.remove_schedule(&one.name)?;
                print_result(&Changed { schedule: one.name, what: "removed", next: None }, one.api.json)?;
                Ok(ExitCode::SUCCESS)
            }
            Some(SchedulesCommand::Run(one)) => {
                let submitted = one.api.client()?.run_schedule(&one.name)?;
                match one.api.json {
                    true => print_line(&serde_json::json!(submitted).to_string())?,
                    false => print_line(&submitted.id)?,
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl SetSchedule {
    fn run(self) -> Ended {
        let text = match (&self.schedule, &self.file) {
            (Some(text), _) => json_of(text, "the schedule")?,
            (None, Some(path)) => json_of_file(path)?,
            (None, None) => return Err(UsageError::new("a schedule is missing").into()),
        };
        let next = next_of(&self.name, &text).map_err(UsageError::new)?;
        self.api.client()?.set_schedule(&self.name, &text)?;
        print_result(&Changed { schedule: self.name, what: "set", next }, self.api.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// When a schedule is due next, if it can be at all.
fn next_of(name: &str, text: &RawValue) -> Result<Option<Timestamp>, String> {
    let schedule: Schedule = serde_json::from_str(text.get()).map_err(|error| format!("the schedule: {error}"))?;
    let calendar = schedule.calendar(name)?;
    Ok(if schedule.paused { None } else { calendar.next_after(Timestamp::now()) })
}

impl OneSchedule {
    fn show(self) -> Ended {
        let status = self.api.client()?.schedule(&self.name)?;
        if self.api.json {
            print_lines(&[status])?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut facts = Listing::default();
        let time = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
        facts.push(["schedule".into(), status.name.as_str().into()]);
        facts.push(["due".into(), what(&status).into()]);
        facts.push(["next".into(), time(status.next).into()]);
        facts.push(["submitted".into(), status.submitted.to_string().into()]);
        facts.push(["skipped".into(), status.skipped.to_string().into()]);
        facts.push(["last job".into(), status.last_job.as_deref().unwrap_or("none").into()]);
        if let Some(schedule) = &status.definition {
            facts.push(["set".into(), schedule.get().into()]);
        }
        facts.print()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn list(api: &ApiArgs) -> Ended {
    let schedules = api.client()?.schedules()?;
    if api.json {
        print_lines(&schedules)?;
        return Ok(ExitCode::SUCCESS);
    }
    if schedules.is_empty() {
        eprintln!("no schedules");
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let mut listing = Listing::new(["SCHEDULE", "DUE", "NEXT", "SUBMITTED", "SKIPPED", "LAST JOB"]);
    for status in &schedules {
        listing.push([
            status.name.as_str().into(),
            what(status).into(),
            status.next.map_or_else(|| "never".to_owned(), |next| ago(next, now)).into(),
            status.submitted.to_string().into(),
            status.skipped.to_string().into(),
            status.last_job.as_deref().unwrap_or_default().into(),
        ]);
    }
    listing.print()?;
    Ok(ExitCode::SUCCESS)
}

/// When a schedule is due, in words.
fn what(status: &ScheduleStatus) -> String {
    let read = status.definition.as_ref().and_then(|text| serde_json::from_str::<Schedule>(text.get()).ok());
    let Some(schedule) = read else { return String::new() };
    let when = match (&schedule.cron, schedule.every) {
        (Some(cron), _) => format!("{cron} {}", schedule.zone),
        (None, Some(every)) => format!("every {every}"),
        (None, None) => String::new(),
    };
    if schedule.paused { format!("paused ({when})") } else { when }
}
