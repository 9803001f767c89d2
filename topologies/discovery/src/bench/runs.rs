//! Several runs, each in a process of its own: no run finds a warm allocator, or the peak of memory,
//! of another one.

use std::process::{Command, Stdio};

use headwater::error::Fault;
use serde::de::DeserializeOwned;

use super::BenchError;
use super::args::PipelineArgs;
use super::floor::FloorReport;
use super::pipeline::RunReport;
use super::plain::PlainReport;
use super::report::Report;

/// Runs everything that `args` ask for. Pipeline and floor take turns, so that both meet the same
/// weather.
pub(super) fn measure(args: &PipelineArgs) -> Result<Report, Box<dyn Fault>> {
    if args.floor && args.input.is_some() {
        return Err(Box::new(BenchError::FloorSource));
    }
    let (mut runs, mut one, mut same, mut plain) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.runs {
        runs.push(child::<RunReport>(&["--part", "pipeline"])?);
        if args.floor {
            one.push(floor(1)?);
            if args.workers > 1 {
                same.push(floor(args.workers)?);
            }
            plain.push(child::<PlainReport>(&["--part", "plain"])?);
        }
    }
    let mut report = Report::of(&runs).ok_or(BenchError::Child { reason: "nothing was run".to_owned() })?;
    let same = if args.workers > 1 { &same } else { &one };
    report.compare(&one, same, &plain);
    Ok(report)
}

fn floor(threads: usize) -> Result<FloorReport, BenchError> {
    child(&["--part", "floor", "--floor-threads", &threads.to_string()])
}

/// Starts this program once more, with the same arguments and some more.
fn child<T: DeserializeOwned>(more: &[&str]) -> Result<T, BenchError> {
    let failed = |reason: String| BenchError::Child { reason };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).args(more).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(BenchError::Failed { code: output.status.code() });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}
