//! Traces of jobs that ran somewhere: when each was submitted, and how long it took.
//!
//! Files are in the Standard Workload Format: a line a job with 18 columns, `;` before comments, -1 for what is not
//! known. Where there is no file, a trace of a like shape is made up.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use headwater::error::{Domain, Fault};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Columns of a line.
const COLUMNS: usize = 18;

/// The status of lines that are of a part of a job alone. Another line of the same number is of the whole job.
const OF_A_PART: std::ops::RangeInclusive<i64> = 2..=4;

/// What a file in gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A job of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceJob {
    /// Its number in the trace.
    pub number: u64,
    /// When it was submitted, in seconds since the trace begins.
    pub submit: u64,
    /// How long it ran, in seconds; 0 where that is not known.
    pub run: u64,
    /// How many processors it had; `None` where that is not known.
    pub processors: Option<u32>,
    /// Whose it was.
    pub user: Option<u32>,
    /// The group of the user.
    pub group: Option<u32>,
    /// The queue.
    pub queue: Option<u32>,
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A line is wrong.
    #[error("line {line} of the trace: {reason}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read.
    #[error("the trace cannot be read")]
    Reading(#[from] io::Error),
}

impl Fault for TraceError {
    fn domain(&self) -> Domain {
        match self {
            Self::Line { .. } => Domain::User,
            Self::Reading(error) if error.kind() == io::ErrorKind::InvalidData => Domain::User,
            Self::Reading(error) => Domain::of_file(error),
        }
    }

    fn hint(&self) -> Option<String> {
        Some("it is to be in the Standard Workload Format, as text or in gzip".to_owned())
    }
}

/// Reads a trace, as text or in gzip. The jobs are in the order of their submission. Lines of parts of jobs, between
/// two checkpoints for instance, are left out.
///
/// # Errors
/// When a line is wrong, a number is that of two jobs, or `source` fails.
///
/// ```
/// let text = "; MaxJobs: 1\n 1 30 -1 600 8 -1 -1 -1 -1 -1 -1 4 1 -1 -1 -1 -1 -1\n";
/// let jobs = jobs::trace::read_trace(text.as_bytes()).unwrap();
/// assert_eq!((jobs[0].submit, jobs[0].run, jobs[0].user), (30, 600, Some(4)));
/// ```
pub fn read_trace(source: impl Read) -> Result<Vec<TraceJob>, TraceError> {
    let mut source = BufReader::new(source);
    let is_gzip = source.fill_buf()?.starts_with(&GZIP);
    let mut jobs = match is_gzip {
        true => read_lines(BufReader::new(MultiGzDecoder::new(source)))?,
        false => read_lines(source)?,
    };
    jobs.sort_by_key(|job| job.submit);
    Ok(jobs)
}

fn read_lines(source: impl BufRead) -> Result<Vec<TraceJob>, TraceError> {
    let mut jobs = Vec::new();
    let mut lines = HashMap::new();
    for (number, line) in (1..).zip(source.lines()) {
        let line = line?;
        let text = line.split(';').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let wrong = |reason| TraceError::Line { line: number, reason };
        let Some(job) = job_of(text).map_err(wrong)? else { continue };
        if let Some(before) = lines.insert(job.number, number) {
            return Err(wrong(format!("the number of the job {} stands in line {before} too", job.number)));
        }
        jobs.push(job);
    }
    Ok(jobs)
}

/// The job of a line, unless it is of a part of one.
fn job_of(text: &str) -> Result<Option<TraceJob>, String> {
    let columns: Vec<&str> = text.split_whitespace().collect();
    if columns.len() != COLUMNS {
        return Err(format!("it has {} columns, not {COLUMNS}", columns.len()));
    }
    let number_of = |name: &str, column: usize| {
        let text = columns[column];
        text.parse::<i64>().map_err(|_| format!("the {name} {text:?} in column {} is no number", column + 1))
    };
    let known = |name: &str, column: usize| {
        let number = number_of(name, column)?;
        u64::try_from(number).map_err(|_| format!("the {name} {number} in column {} is negative", column + 1))
    };
    let status = number_of("status", 10)?;
    let perhaps = |name: &str, column: usize| number_of(name, column).map(|number| u32::try_from(number).ok());
    let job = TraceJob {
        number: known("number of the job", 0)?,
        submit: known("time of submission", 1)?,
        run: u64::try_from(number_of("run time", 3)?).unwrap_or(0),
        processors: perhaps("number of processors", 4)?,
        user: perhaps("user", 11)?,
        group: perhaps("group", 12)?,
        queue: perhaps("queue", 14)?,
    };
    Ok(Some(job).filter(|_| !OF_A_PART.contains(&status)))
}

/// A class of times in seconds, and how many of a thousand are in it.
type Class = (u32, u32, u32);

/// Seconds between two submissions: bursts, and long quiet times.
const BETWEEN: [Class; 4] = [(95, 0, 10), (285, 10, 60), (520, 60, 600), (100, 600, 6_000)];

/// Seconds that jobs run: most are short, few run for hours.
const RUNS: [Class; 5] = [(70, 0, 10), (350, 10, 60), (420, 60, 600), (110, 600, 3_600), (50, 3_600, 30_000)];

/// Makes up a trace of `jobs` jobs: many short jobs, few that run for hours, bursts of one user's jobs, powers of two
/// for processors. The same `seed` gives the same trace on every machine.
pub fn made_up_trace(seed: u64, jobs: usize) -> Vec<TraceJob> {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
    let (mut submit, mut user) = (0, chance.user());
    let mut trace = Vec::with_capacity(jobs);
    for number in (1..).take(jobs) {
        let between = chance.time(&BETWEEN);
        submit += u64::from(between);
        // Whoever submits a job submits more of them soon.
        if between >= 60 || chance.below(4) == 0 {
            user = chance.user();
        }
        trace.push(TraceJob {
            number,
            submit,
            run: chance.time(&RUNS).into(),
            processors: Some(1 << chance.below(8)),
            user: Some(user),
            group: Some(1 + u32::from(user.is_multiple_of(6))),
            queue: None,
        });
    }
    trace
}

struct Chance(ChaCha8Rng);

impl Chance {
    /// A number in 0..n; 0 for n = 0.
    fn below(&mut self, n: u32) -> u32 {
        // The high half of the product is uniform up to one part in 2^32 / n.
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// Within its class, a shorter time is more likely.
    fn time(&mut self, classes: &[Class]) -> u32 {
        let mut at = self.below(classes.iter().map(|(share, ..)| share).sum());
        for (share, from, to) in classes {
            if at < *share {
                let width = to - from;
                return from + self.below(width).min(self.below(width));
            }
            at -= share;
        }
        0
    }

    /// Few users have most jobs.
    fn user(&mut self) -> u32 {
        1 + self.below(69).min(self.below(69))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "\
; Version: 2.2
;   Computer: one that was made up

    7     90     -1     12    4     -1    -1   -1     -1    -1 -1   3   1  -1  1 -1 -1 -1
    5      0      8     -1   -1     2.5   -1   -1     -1    -1  1  -1  -1  -1 -1 -1 -1 -1 ; the first
";

    fn expected() -> [TraceJob; 2] {
        let first = TraceJob { number: 5, submit: 0, run: 0, processors: None, user: None, group: None, queue: None };
        let second = TraceJob {
            number: 7,
            submit: 90,
            run: 12,
            processors: Some(4),
            user: Some(3),
            group: Some(1),
            queue: Some(1),
        };
        [first, second]
    }

    #[test]
    fn jobs_are_read_in_the_order_of_their_submission() {
        assert_eq!(read_trace(TEXT.as_bytes()).unwrap(), expected());
        assert_eq!(read_trace("".as_bytes()).unwrap(), []);
    }

    #[test]
    fn gzip_is_read_too_in_several_members() {
        let half = TEXT.len() / 2;
        let packed: Vec<u8> = [&TEXT.as_bytes()[..half], &TEXT.as_bytes()[half..]]
            .into_iter()
            .flat_map(|part| {
                let mut packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                packing.write_all(part).unwrap();
                packing.finish().unwrap()
            })
            .collect();
        assert_eq!(read_trace(&packed[..]).unwrap(), expected());
        assert!(matches!(read_trace(&packed[..packed.len() / 4]), Err(TraceError::Reading(_))));
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number() {
        let told = |text: &str| read_trace(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(told("; x\n1 2 3\n"), "line 2 of the trace: it has 3 columns, not 18");
        let line = |submit: &str| format!("1 {submit} -1 12 4 -1 -1 -1 -1 -1 -1 3 1 -1 1 -1 -1 -1");
        assert_eq!(
            told(&line("soon")),
            "line 1 of the trace: the time of submission \"soon\" in column 2 is no number"
        );
        assert_eq!(told(&line("-1")), "line 1 of the trace: the time of submission -1 in column 2 is negative");
    }

    #[test]
    fn a_number_is_of_one_job_and_parts_of_jobs_are_left_out() {
        let line = |number: u32, status: i32| format!("{number} 5 -1 12 4 -1 -1 -1 -1 -1 {status} 3 1 -1 1 -1 -1 -1\n");
        let error = read_trace((line(1, 1) + "\n" + &line(2, 0) + &line(1, 5)).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 4 of the trace: the number of the job 1 stands in line 1 too");
        let parts = line(1, 1) + &line(1, 2) + &line(1, 3) + &line(2, -1) + &line(3, 4);
        let numbers: Vec<u64> = read_trace(parts.as_bytes()).unwrap().iter().map(|job| job.number).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn what_is_made_up_is_the_same_again_and_has_the_shape() {
        let trace = made_up_trace(1, 5_000);
        assert_eq!(trace, made_up_trace(1, 5_000));
        assert_ne!(trace, made_up_trace(2, 5_000));
        assert!(trace.windows(2).all(|pair| pair[0].submit <= pair[1].submit));
        let share = |is: fn(&TraceJob) -> bool| trace.iter().filter(|job| is(job)).count();
        assert!((2_000..2_200).contains(&share(|job| job.run < 60)), "{}", share(|job| job.run < 60));
        assert!((150..350).contains(&share(|job| job.run >= 3_600)));
        let hours = trace[4_999].submit / 3_600;
        assert!((300..800).contains(&hours), "{hours}");
    }
}
