//! Topics: creating and deleting them, and asking for their settings.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;

use super::context::Watch;
use super::{Cluster, REQUEST_TIMEOUT, end_elsewhere, failed};
use crate::log::{Cleanup, LogError, TopicSpec};

/// What a batch of one record adds to the record's own bytes, at most, for a few headers.
const BATCH_OVERHEAD: usize = 1024;

/// Kafka's own default of `max.message.bytes`. Producers batch small records up to about this
/// size, and the limit holds for whole batches, so that a topic's limit is never set below it.
const LEAST_MAX_MESSAGE_BYTES: usize = 1_048_588;

/// How long an administrative request may take in all: a connection, and the request itself.
const ADMIN_PATIENCE: Duration = Duration::from_secs(60);

/// How long new topics may take until every partition has a leader.
const CREATION_PATIENCE: Duration = Duration::from_secs(30);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future of the admin client on this thread. It is to bound its own time; should it not, nobody waits
/// for it for ever.
fn wait<F: Future>(cluster: &Cluster, future: F) -> Result<F::Output, LogError> {
    let deadline = Instant::now() + ADMIN_PATIENCE;
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let reason = format!("no answer to an administrative request within {} s", ADMIN_PATIENCE.as_secs());
            return Err(LogError::Unreachable { at: cluster.at(), reason });
        }
        thread::park_timeout(left);
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

fn client(cluster: &Cluster) -> Result<AdminClient<Watch>, LogError> {
    cluster.config.asking().create_with_context(Watch::default()).map_err(|e| cluster.config_error(&e))
}

/// The topic properties that a specification stands for; explicit ones win.
fn properties(spec: &TopicSpec) -> BTreeMap<&str, String> {
    let bytes = spec.max_record_bytes.saturating_add(BATCH_OVERHEAD).max(LEAST_MAX_MESSAGE_BYTES);
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    let mut all = BTreeMap::from([("max.message.bytes", bytes.to_string())]);
    match spec.cleanup {
        Cleanup::Delete { retention_ms } => {
            all.insert("cleanup.policy", "delete".to_owned());
            all.insert("retention.ms", retention_ms.unwrap_or(-1).to_string());
        }
        Cleanup::Compact => {
            all.insert("cleanup.policy", "compact".to_owned());
            // Only closed segments are compacted: close them after an hour or 128 MiB, so that
            // what has to be read at a start stays near what is live.
            all.insert("segment.ms", "3600000".to_owned());
            all.insert("segment.bytes", "134217728".to_owned());
            all.insert("min.cleanable.dirty.ratio", "0.3".to_owned());
            // A view that was away for less than a day sees every tombstone.
            all.insert("delete.retention.ms", "86400000".to_owned());
        }
    }
    all.extend(spec.properties.iter().map(|(k, v)| (k.as_str(), v.clone())));
    all
}

/// Creates those of `specs` that are missing.
pub(super) fn ensure(cluster: &Cluster, specs: &[TopicSpec]) -> Result<(), LogError> {
    let metadata = cluster.metadata(None, REQUEST_TIMEOUT)?;
    let missing: Vec<&TopicSpec> =
        specs.iter().filter(|spec| !metadata.topics().iter().any(|t| t.name() == spec.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    create(cluster, &missing)?;
    await_leaders(cluster, &missing)
}

fn create(cluster: &Cluster, missing: &[&TopicSpec]) -> Result<(), LogError> {
    let settings: Vec<_> = missing.iter().map(|spec| properties(spec)).collect();
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(&settings)
        .map(|(spec, settings)| {
            let replication = spec.replication.or(cluster.config.replication).unwrap_or(-1);
            let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(replication));
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let client = client(cluster)?;
    let results = wait(cluster, client.create_topics(&topics, &options()));
    end_elsewhere(client);
    let results = results?.map_err(|e| cluster.request_error("creating topics", &e, None))?;
    for result in results {
        match result {
            Ok(name) => tracing::info!(topic = name, "topic created"),
            // Another process was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(failed("creating a topic", code, format!("{name}: {code}")));
            }
        }
    }
    Ok(())
}

/// Waits until the new topics can be read and written: creation returns before the last broker knows.
fn await_leaders(cluster: &Cluster, created: &[&TopicSpec]) -> Result<(), LogError> {
    let deadline = Instant::now() + CREATION_PATIENCE;
    loop {
        let metadata = cluster.metadata(None, REQUEST_TIMEOUT)?;
        let ready = |spec: &&TopicSpec| {
            metadata.topics().iter().any(|t| {
                t.name() == spec.name && !t.partitions().is_empty() && t.partitions().iter().all(|p| p.leader() >= 0)
            })
        };
        match created.iter().find(|spec| !ready(spec)) {
            None => return Ok(()),
            Some(spec) if Instant::now() >= deadline => {
                return Err(LogError::Failed {
                    doing: "creating a topic",
                    reason: format!("{}: some partition has no leader yet", spec.name),
                });
            }
            Some(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Deletes topics; those that do not exist are gone already.
pub(super) fn delete(cluster: &Cluster, topics: &[&str]) -> Result<(), LogError> {
    if topics.is_empty() {
        return Ok(());
    }
    let client = client(cluster)?;
    let results = wait(cluster, client.delete_topics(topics, &options()));
    end_elsewhere(client);
    let results = results?.map_err(|e| cluster.request_error("deleting topics", &e, None))?;
    for result in results {
        match result {
            Ok(name) => tracing::info!(topic = name, "topic deleted"),
            Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
            Err((name, code)) => {
                return Err(failed("deleting a topic", code, format!("{name}: {code}")));
            }
        }
    }
    Ok(())
}

/// One setting of each of `topics`, by topic name; without those that do not exist or may not be
/// described, which the binding does not tell apart.
pub(super) fn setting(cluster: &Cluster, topics: &[&str], name: &str) -> Result<BTreeMap<String, String>, LogError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let client = client(cluster)?;
    let described = wait(cluster, client.describe_configs(&resources, &options()));
    end_elsewhere(client);
    let described = described?.map_err(|e| cluster.request_error("asking for the topics' settings", &e, None))?;
    let mut found = BTreeMap::new();
    for resource in described.into_iter().flatten() {
        let value = resource.get(name).and_then(|entry| entry.value.clone());
        if let (OwnedResourceSpecifier::Topic(topic), Some(value)) = (resource.specifier, value) {
            found.insert(topic, value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cleanup: Cleanup, max_record_bytes: usize) -> TopicSpec {
        TopicSpec {
            name: "t".to_owned(),
            partitions: 1,
            replication: None,
            cleanup,
            max_record_bytes,
            properties: BTreeMap::from([("segment.ms".to_owned(), "1000".to_owned())]),
        }
    }

    #[test]
    fn explicit_properties_win_over_the_policy() {
        let spec = spec(Cleanup::Compact, 16 << 20);
        let all = properties(&spec);
        assert_eq!(all["cleanup.policy"], "compact");
        assert_eq!(all["segment.ms"], "1000");
        assert_eq!(all["max.message.bytes"], ((16 << 20) + BATCH_OVERHEAD).to_string());
    }

    #[test]
    fn retention_for_ever_is_minus_one_and_small_limits_leave_room_for_batches() {
        let spec = spec(Cleanup::Delete { retention_ms: None }, 1000);
        let all = properties(&spec);
        assert_eq!(all["retention.ms"], "-1");
        assert_eq!(all["max.message.bytes"], LEAST_MAX_MESSAGE_BYTES.to_string());
    }
}
