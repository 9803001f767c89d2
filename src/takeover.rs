//! Taking over: a start ends a running instance of the same name. A person at a terminal is asked before that.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::engine::progress::PROGRESS_KEY;
use crate::error::{Domain, Fault};
use crate::log::{Log, LogError, Polled, Start, TopicPartition};

/// An instance that committed within this time is taken to be running.
const LATELY: Duration = Duration::from_secs(10);

/// How many of the last offsets of the progress topic are looked at: transactions take some beside their
/// records.
const LAST_OFFSETS: i64 = 64;

/// How much is read at a time.
const BATCH_BYTES: usize = 1 << 20;

/// How long a poll waits.
const WAIT: Duration = Duration::from_millis(200);

/// A person does not want another instance to end.
#[derive(Debug, thiserror::Error)]
#[error("not started: an instance of {name:?} may be running, and would have ended")]
pub struct Declined {
    /// Name of the topology.
    pub name: String,
}

impl Fault for Declined {
    fn domain(&self) -> Domain {
        Domain::User
    }

    fn hint(&self) -> Option<String> {
        Some("--plan shows what a start would change, and leaves the other one running; give this one its own `name` and `prefix` to run both".to_owned())
    }
}

/// Asks, where a person sits at a terminal and another instance of `name` committed lately, whether this one
/// is to take over. `progress` is the full name of the progress topic. Nobody is asked elsewhere: a restart
/// after a crash goes on by itself.
///
/// # Errors
/// [`Declined`] where the person does not want it.
pub fn ask(log: &dyn Log, name: &str, progress: &str) -> Result<(), Declined> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(());
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    match committed_ago(log, progress, now_ms) {
        Ok(Some(ago)) => consent(name, ago, &mut io::stdin().lock(), &mut io::stderr()),
        Ok(None) => Ok(()),
        // The start meets the same, and says it.
        Err(error) => {
            tracing::debug!(%error, "the progress topic cannot be read");
            Ok(())
        }
    }
}

/// How long ago an instance committed, where that was lately. An instance that has had nothing to commit for
/// some time cannot be told from one that has ended.
fn committed_ago(log: &dyn Log, progress: &str, now_ms: i64) -> Result<Option<Duration>, LogError> {
    let Some(ends) = log.watermarks(progress)?.and_then(|partitions| partitions.first().copied()) else {
        return Ok(None);
    };
    let from = ends.low.max(ends.high - LAST_OFFSETS);
    let mut reader = log.reader(&[(TopicPartition::new(progress, 0), Start::Offset(from))])?;
    let (mut newest, mut at_end, mut polled) = (None, false, Vec::new());
    while !at_end {
        reader.poll(&mut polled, BATCH_BYTES, WAIT)?;
        for one in polled.drain(..) {
            match one {
                Polled::Record(record) if record.key.as_deref() == Some(PROGRESS_KEY) => {
                    newest = Some(record.timestamp_ms);
                }
                Polled::Record(_) => {}
                Polled::End { .. } => at_end = true,
            }
        }
    }
    // A clock that is ahead makes a commit that has just been.
    let ago = |at_ms: i64| Duration::from_millis(now_ms.saturating_sub(at_ms).try_into().unwrap_or(0));
    Ok(newest.map(ago).filter(|ago| *ago <= LATELY))
}

fn consent(name: &str, ago: Duration, answers: &mut dyn BufRead, err: &mut dyn Write) -> Result<(), Declined> {
    let declined = || Declined { name: name.to_owned() };
    let question = format!(
        "An instance of {name:?} committed {} s ago. If it is still running, this start takes over and ends it.\n\
         --plan shows what a start would change and leaves it running; --yes skips this question.\n\
         Take over? [y/N] ",
        ago.as_secs()
    );
    let mut answer = String::new();
    let asked = err.write_all(question.as_bytes()).and_then(|()| err.flush());
    asked.and_then(|()| answers.read_line(&mut answer)).map_err(|_| declined())?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(declined()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::log::embedded::EmbeddedLog;
    use crate::log::{Cleanup, NewRecord, TopicSpec};

    const NOW: i64 = 1_800_000_000_000;

    fn progress_at(times: &[(&str, i64)]) -> Option<Duration> {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db")).unwrap();
        let spec = TopicSpec {
            name: "t.progress".to_owned(),
            partitions: 1,
            replication: None,
            cleanup: Cleanup::Compact,
            max_record_bytes: 1 << 20,
            properties: BTreeMap::new(),
        };
        log.ensure_topics(&[spec]).unwrap();
        let mut producer = log.producer().unwrap();
        for (key, at) in times {
            let (key, value) = (Some(key.as_bytes().to_vec().into()), Some("{}".into()));
            let topic = "t.progress".into();
            producer.send(NewRecord { topic, key, value, headers: Vec::new(), timestamp_ms: Some(*at) }).unwrap();
        }
        producer.flush().unwrap();
        committed_ago(&log, "t.progress", NOW).unwrap()
    }

    #[test]
    fn only_a_commit_of_the_last_seconds_counts() {
        assert_eq!(progress_at(&[]), None);
        assert_eq!(progress_at(&[("progress", NOW - 3_000)]), Some(Duration::from_secs(3)));
        assert_eq!(progress_at(&[("progress", NOW - 10_001)]), None);
        assert_eq!(progress_at(&[("progress", NOW + 5_000)]), Some(Duration::ZERO));
        assert_eq!(progress_at(&[("progress", NOW - 60_000), ("stray", NOW)]), None);
        let many: Vec<_> = (0..200).map(|n| ("progress", NOW - 400_000 + n * 2_000)).collect();
        assert_eq!(progress_at(&many), Some(Duration::from_secs(2)), "the newest counts");
    }

    #[test]
    fn a_log_without_progress_has_no_instance() {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db")).unwrap();
        assert_eq!(committed_ago(&log, "t.progress", NOW).unwrap(), None);
    }

    #[test]
    fn only_yes_takes_over() {
        for (answer, takes_over) in [("y\n", true), ("YES\n", true), ("\n", false), ("n\n", false), ("", false)] {
            let mut err = Vec::new();
            let done = consent("city", Duration::from_millis(3_900), &mut answer.as_bytes(), &mut err);
            assert_eq!(done.is_ok(), takes_over, "{answer:?}");
            let asked = String::from_utf8(err).unwrap();
            assert!(asked.starts_with("An instance of \"city\" committed 3 s ago."), "{asked}");
            assert!(asked.contains("--plan") && asked.contains("--yes"), "{asked}");
        }
    }
}
