//! Commands: the records of the topic `job-commands`.

use headwater::config::Period;
use headwater_flow::{DeadLetterCode, RawRecord, Unusable};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::job::{Failure, OnParentFailure};
use super::name::{check_channel, check_id, check_label, check_queue, check_worker};

/// What a record of `job-commands` asks for. It is JSON with a field `type`.
#[derive(Debug, Clone)]
pub enum Command {
    /// `submit`: a job, unless there is one with its id.
    Submit(Box<Submit>),
    /// `cancel`: end a job; one that runs is asked to stop.
    Cancel {
        /// The job.
        id: String,
    },
    /// `retry`: let a job run again that is dead or cancelled, or now one that waits for its time.
    Retry {
        /// The job.
        id: String,
        /// What it is to do from now on; `None` is as before.
        payload: Option<Box<RawValue>>,
    },
    /// `hello`: how many jobs a worker takes.
    Hello(WorkerHello),
    /// `heartbeat`: a worker is at it.
    Heartbeat {
        /// The job.
        id: String,
        /// The number of its lease.
        lease: u32,
        /// How far it has come, from 0 to 1.
        progress: Option<f64>,
        /// The same in words.
        message: Option<String>,
    },
    /// `complete`, `fail`, `release`: how a lease ended.
    End {
        /// The job.
        id: String,
        /// The number of its lease.
        lease: u32,
        /// How.
        outcome: Outcome,
    },
    /// `queue`: how a queue works from now on.
    Queue(QueueChange),
    /// `notify`: a message to a channel.
    Notify(Notify),
}

/// How a lease ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The job is done, with this result.
    Complete(Option<Box<RawValue>>),
    /// The attempt failed.
    Fail {
        /// Why.
        error: Failure,
        /// Whether another attempt may help.
        retry: bool,
        /// The pause before it; `None` is as the job says.
        retry_in: Option<Period>,
    },
    /// The worker gives the job back, as if it had never had it.
    Release,
}

/// A job to submit.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Submit {
    #[serde(rename = "type", default)]
    _type: IgnoredAny,
    /// Its id; without one, it is the record's key.
    #[serde(default)]
    pub id: Option<String>,
    /// The queue.
    pub queue: String,
    /// What the worker is to do: any JSON.
    #[serde(default)]
    pub payload: Option<Box<RawValue>>,
    /// What kind of work it is.
    #[serde(default)]
    pub kind: Option<String>,
    /// Groups of a queue take turns.
    #[serde(default)]
    pub group: Option<String>,
    /// Higher goes first, from -1000 to 1000.
    #[serde(default)]
    pub priority: i16,
    /// It may be leased so long after it was submitted.
    #[serde(default)]
    pub delay: Option<Period>,
    /// It may be leased from then on.
    #[serde(default)]
    pub run_at: Option<Timestamp>,
    /// It is dead when no worker has begun so long after it could.
    #[serde(default)]
    pub start_within: Option<Period>,
    /// An attempt fails when it takes longer.
    #[serde(default)]
    pub finish_within: Option<Period>,
    /// A lease ends when nothing is heard for so long.
    #[serde(default)]
    pub heartbeat_within: Option<Period>,
    /// The most attempts.
    #[serde(default)]
    pub attempts: Option<u32>,
    /// The pause after the first attempt; then twice as long each time.
    #[serde(default)]
    pub backoff: Option<Period>,
    /// The longest pause between attempts.
    #[serde(default)]
    pub max_backoff: Option<Period>,
    /// Jobs that have to be settled before.
    #[serde(default)]
    pub parents: Vec<String>,
    /// What becomes of it when a parent is dead or cancelled.
    #[serde(default)]
    pub on_parent_failure: OnParentFailure,
    /// It stays so long after it was done.
    #[serde(default)]
    pub keep: Option<Period>,
    /// Channels that are told when it is settled.
    #[serde(default)]
    pub notify: Vec<String>,
}

/// How many jobs a worker takes, and of which queues.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerHello {
    #[serde(rename = "type", default)]
    _type: IgnoredAny,
    /// Its name: one of its own for each process.
    pub worker: String,
    /// The queues.
    pub queues: Vec<String>,
    /// How many jobs it has at once at most, those that it has counted in; 0 is a farewell.
    pub slots: u32,
    /// How long this holds.
    #[serde(rename = "for")]
    pub holds: Period,
}

/// How a queue works from now on. What is not said stays.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueChange {
    #[serde(rename = "type", default)]
    _type: IgnoredAny,
    /// The queue.
    pub queue: String,
    /// Whether no job of it is leased.
    #[serde(default)]
    pub paused: Option<bool>,
    /// Cancels all jobs that have not begun.
    #[serde(default)]
    pub drain: bool,
}

/// A message to a channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notify {
    #[serde(rename = "type", default)]
    _type: IgnoredAny,
    /// The channel.
    pub channel: String,
    /// What it is told: any JSON.
    pub body: Box<RawValue>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfJob {
    #[serde(rename = "type", default)]
    _type: IgnoredAny,
    id: Option<String>,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfLease {
    #[serde(rename = "type", default)]
    _type: IgnoredAny,
    id: Option<String>,
    lease: u32,
    #[serde(default)]
    progress: Option<f64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<FailureSaid>,
    #[serde(default)]
    retry: Option<bool>,
    #[serde(default)]
    retry_in: Option<Period>,
}

/// A failure as workers say it: the code may be missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FailureSaid {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: String,
}

impl Command {
    /// Reads a record.
    ///
    /// # Errors
    /// What cannot be read, or may not be.
    pub fn read(record: &RawRecord) -> Result<Self, Unusable> {
        let Some(value) = record.value.as_deref().filter(|value| !value.is_empty()) else {
            return Err(Unusable::new(DeadLetterCode::EMPTY_RECORD, "no value"));
        };
        let kind = of_json::<Typed<'_>>(value)?.kind;
        match &*kind {
            "submit" => Self::submit(record, of_json(value)?),
            "cancel" => Ok(Self::Cancel { id: job_of(record, of_json::<OfJob>(value)?.id)? }),
            "retry" => {
                let OfJob { id, payload, .. } = of_json(value)?;
                payload.iter().try_for_each(|payload| within("payload", payload, LARGEST))?;
                Ok(Self::Retry { id: job_of(record, id)?, payload })
            }
            "hello" => Self::hello(of_json(value)?),
            "heartbeat" => {
                let OfLease { id, lease, progress, message, .. } = of_json(value)?;
                let progress = progress.map(fraction).transpose()?;
                let message = message.map(|message| cut(message, LONGEST_PROGRESS));
                Ok(Self::Heartbeat { id: job_of(record, id)?, lease, progress, message })
            }
            "complete" | "fail" | "release" => Self::end(record, &kind, of_json(value)?),
            "queue" => {
                let change: QueueChange = of_json(value)?;
                valid(check_queue(&change.queue))?;
                Ok(Self::Queue(change))
            }
            "notify" => {
                let notify: Notify = of_json(value)?;
                valid(check_channel(&notify.channel))?;
                within("body", &notify.body, LARGEST_NOTE)?;
                Ok(Self::Notify(notify))
            }
            other => Err(Unusable::new(
                DeadLetterCode::INVALID_FIELD,
                format!(
                    "the type {other:?} is not known; submit, cancel, retry, hello, heartbeat, complete, fail, \
                     release, queue and notify are"
                ),
            )),
        }
    }

    fn submit(record: &RawRecord, mut submit: Submit) -> Result<Self, Unusable> {
        submit.id = Some(job_of(record, submit.id.take())?);
        submit.payload.iter().try_for_each(|payload| within("payload", payload, LARGEST))?;
        valid(submit.check())?;
        Ok(Self::Submit(Box::new(submit)))
    }

    fn hello(hello: WorkerHello) -> Result<Self, Unusable> {
        valid(check_worker(&hello.worker))?;
        if hello.queues.len() > MOST_QUEUES {
            let reason = format!("{} queues; {MOST_QUEUES} are possible", hello.queues.len());
            return Err(Unusable::new(DeadLetterCode::INVALID_FIELD, reason));
        }
        valid(hello.queues.iter().try_for_each(|queue| check_queue(queue)))?;
        Ok(Self::Hello(hello))
    }

    fn end(record: &RawRecord, kind: &str, said: OfLease) -> Result<Self, Unusable> {
        let OfLease { id, lease, result, error, retry, retry_in, .. } = said;
        result.iter().try_for_each(|result| within("result", result, LARGEST))?;
        let outcome = match kind {
            "complete" => Outcome::Complete(result),
            "release" => Outcome::Release,
            _ => {
                let missing = || Unusable::new(DeadLetterCode::MISSING_FIELD, "a failure needs an `error`");
                let FailureSaid { code, message } = error.ok_or_else(missing)?;
                let code = code.map_or_else(|| "failed".to_owned(), |code| cut(code, LONGEST_CODE));
                let error = Failure { code, message: cut(message, LONGEST_MESSAGE) };
                Outcome::Fail { error, retry: retry.unwrap_or(true), retry_in }
            }
        };
        Ok(Self::End { id: job_of(record, id)?, lease, outcome })
    }
}

/// The most and the least priority.
const PRIORITIES: std::ops::RangeInclusive<i16> = -1_000..=1_000;

/// The most attempts of a job.
const MOST_ATTEMPTS: u32 = 1_000;

/// The largest payload and the largest result of a job, in bytes of JSON.
pub const LARGEST: usize = 1 << 20;

/// The largest message to a channel, in bytes of JSON.
const LARGEST_NOTE: usize = 64 << 10;

/// What is kept of a message that says why an attempt failed, in bytes.
const LONGEST_MESSAGE: usize = 16 << 10;

/// What is kept of the code of a failure, and of the words on progress, in bytes.
const LONGEST_CODE: usize = 100;
const LONGEST_PROGRESS: usize = 1 << 10;

/// The most queues of a worker.
const MOST_QUEUES: usize = 100;

/// The most channels that a job tells.
const MOST_CHANNELS: usize = 20;

/// The most parents of a job.
const MOST_PARENTS: usize = 1_000;

impl Submit {
    /// Whether its fields may be what they are.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        self.id.iter().try_for_each(|id| check_id(id))?;
        check_queue(&self.queue)?;
        if !PRIORITIES.contains(&self.priority) {
            return Err(format!("the priority {} is not from -1000 to 1000", self.priority));
        }
        if self.attempts.is_some_and(|attempts| attempts == 0 || attempts > MOST_ATTEMPTS) {
            return Err(format!("attempts may be 1 to {MOST_ATTEMPTS}"));
        }
        if self.delay.is_some() && self.run_at.is_some() {
            return Err("delay and runAt exclude each other".to_owned());
        }
        if self.parents.len() > MOST_PARENTS {
            return Err(format!("{} parents; {MOST_PARENTS} are possible", self.parents.len()));
        }
        if self.notify.len() > MOST_CHANNELS {
            return Err(format!("{} channels; {MOST_CHANNELS} are possible", self.notify.len()));
        }
        self.parents.iter().try_for_each(|id| check_id(id))?;
        if self.id.as_ref().is_some_and(|id| self.parents.contains(id)) {
            return Err("a job cannot be its own parent".to_owned());
        }
        self.kind.iter().try_for_each(|kind| check_label("kind", kind))?;
        self.group.iter().try_for_each(|group| check_label("group", group))?;
        self.notify.iter().try_for_each(|channel| check_channel(channel))?;
        let within = [("startWithin", self.start_within), ("finishWithin", self.finish_within)];
        let within = within.into_iter().chain([("heartbeatWithin", self.heartbeat_within)]);
        for (name, period) in within {
            if period.is_some_and(|period| period.as_millis_i64() < 1) {
                return Err(format!("{name} must be longer than nothing"));
            }
        }
        Ok(())
    }
}

fn of_json<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, Unusable> {
    let malformed = |error: serde_json::Error| {
        let code = if error.is_data() { DeadLetterCode::INVALID_FIELD } else { DeadLetterCode::MALFORMED };
        Unusable::new(code, error.to_string())
    };
    serde_json::from_slice(value).map_err(malformed)
}

/// The job that a record names, or else its key.
fn job_of(record: &RawRecord, id: Option<String>) -> Result<String, Unusable> {
    let of_key = || record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).map(str::to_owned);
    let missing = || Unusable::new(DeadLetterCode::MISSING_FIELD, "neither the record nor its key names a job");
    let id = id.or_else(of_key).ok_or_else(missing)?;
    valid(check_id(&id))?;
    Ok(id)
}

fn valid(checked: Result<(), String>) -> Result<(), Unusable> {
    checked.map_err(|wrong| Unusable::new(DeadLetterCode::INVALID_FIELD, wrong))
}

/// Whether a piece of JSON is not too large.
fn within(what: &str, json: &RawValue, largest: usize) -> Result<(), Unusable> {
    let bytes = json.get().len();
    if bytes <= largest {
        return Ok(());
    }
    let reason = format!("the {what} has {bytes} bytes; {largest} are possible: hand over where it is kept instead");
    Err(Unusable::new(DeadLetterCode::RECORD_TOO_LARGE, reason))
}

/// The beginning of a text, of so many bytes at most.
pub(crate) fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

fn fraction(progress: f64) -> Result<f64, Unusable> {
    if (0.0..=1.0).contains(&progress) {
        return Ok(progress);
    }
    Err(Unusable::new(DeadLetterCode::INVALID_FIELD, format!("the progress {progress} is not from 0 to 1")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(command: &Value) -> Result<Command, (&'static str, String)> {
        let record = RawRecord { value: Some(command.to_string().into_bytes()), ..RawRecord::default() };
        Command::read(&record).map_err(|unusable| (unusable.code.as_str(), unusable.reason))
    }

    #[test]
    fn what_would_not_fit_into_a_row_is_refused_or_cut() {
        let submit = |field: &str, value: Value| {
            let mut submit = json!({"type": "submit", "id": "a", "queue": "q"});
            submit[field] = value;
            read(&submit).map_err(|(code, _)| code).map(drop)
        };
        assert_eq!(submit("payload", json!("x".repeat(LARGEST - 2))), Ok(()));
        assert_eq!(submit("payload", json!("x".repeat(LARGEST))), Err("record-too-large"));
        assert_eq!(submit("notify", json!(vec!["user:1"; MOST_CHANNELS + 1])), Err("invalid-field"));
        assert_eq!(submit("group", json!("g".repeat(101))), Err("invalid-field"));
        let long = json!({"code": "ä".repeat(100), "message": "ö".repeat(20_000)});
        let failed = read(&json!({"type": "fail", "id": "a", "lease": 1, "error": long})).unwrap();
        let Command::End { outcome: Outcome::Fail { error, .. }, .. } = failed else { panic!("{failed:?}") };
        assert_eq!((error.code.len(), error.message.len()), (LONGEST_CODE, LONGEST_MESSAGE));
        let hello = json!({"type": "hello", "worker": "w", "queues": vec!["q"; 101], "slots": 1, "for": "1 s"});
        assert_eq!(read(&hello).unwrap_err().0, "invalid-field");
    }
}
