//! Writing: plain production, and transactions.
//!
//! librdkafka tells the fate of each record through events that somebody has to serve. Here that
//! is the calling thread, in millisecond steps; the binding's own flushing sleeps for longer than
//! a small transaction takes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::{Deliveries, Undelivered, Watch};
use super::{Cluster, admin, create, is_transient, is_unknown_topic};
use crate::fail_point::FailPoint;
use crate::log::{LogError, NewRecord, Producer, TopicPartition, Transaction, Transactional};

/// A step of waiting for librdkafka.
const STEP: Duration = Duration::from_millis(1);

/// Events are served after this many records, so that their memory is given back.
const SERVE_EVERY: usize = 512;

/// One call to the transaction coordinator; repeated while patience lasts.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(10);

/// How long opening waits for the coordinator, which may be ending the former writer's transaction.
const OPEN_PATIENCE: Duration = Duration::from_secs(120);

/// How long a commit is repeated while the cluster is in trouble.
const COMMIT_PATIENCE: Duration = Duration::from_secs(300);

/// How long a plain producer waits for what is queued. Above the delivery timeout, which decides.
const FLUSH_PATIENCE: Duration = Duration::from_secs(330);

/// A producer together with what it knows about its topics.
struct Sink {
    producer: BaseProducer<Deliveries>,
    cluster: Arc<Cluster>,
    /// `max.message.bytes` by topic.
    limits: HashMap<Arc<str>, usize>,
}

impl Sink {
    fn open(cluster: Arc<Cluster>, config: &rdkafka::ClientConfig) -> Result<Self, LogError> {
        let producer = create(config, Deliveries::default()).map_err(|e| cluster.config_error(&e))?;
        Ok(Self { producer, cluster, limits: HashMap::new() })
    }

    fn context(&self) -> &Deliveries {
        self.producer.context()
    }

    /// Learns the limits of topics that were not written to before.
    fn learn<'a>(&mut self, topics: impl Iterator<Item = &'a Arc<str>>) -> Result<(), LogError> {
        let unknown: BTreeSet<&Arc<str>> = topics.filter(|topic| !self.limits.contains_key(*topic)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = unknown.iter().map(|topic| &***topic).collect();
        let found = match admin::setting(&self.cluster, &names, "max.message.bytes") {
            Ok(found) => found,
            // Nobody answers just now; the broker checks sizes itself.
            Err(error) => {
                self.context().watch.warn(&format!("record sizes are not checked beforehand: {error}"));
                return Ok(());
            }
        };
        for topic in unknown {
            let limit = match found.get(&**topic) {
                Some(value) => value.parse().unwrap_or(usize::MAX),
                None if self.cluster.partitions(topic)?.is_none() => {
                    return Err(LogError::UnknownTopic { topic: topic.to_string() });
                }
                // Not allowed to ask.
                None => usize::MAX,
            };
            self.limits.insert(Arc::clone(topic), limit);
        }
        Ok(())
    }

    /// Refuses a record that its topic would not take.
    fn check_size(&self, record: &NewRecord, index: usize) -> Result<(), LogError> {
        let limit = self.limits.get(&record.topic).copied().unwrap_or(usize::MAX);
        let size = size_on_the_wire(record);
        if size <= limit {
            return Ok(());
        }
        Err(LogError::TooLarge { index, topic: record.topic.to_string(), size, limit })
    }

    /// Hands a record to librdkafka, waiting while its queue is full. Gives up when an earlier one
    /// has failed.
    fn enqueue(&self, record: &NewRecord, index: usize) -> Result<(), KafkaError> {
        let mut pending = to_kafka(record, index);
        loop {
            pending = match self.producer.send(pending) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if !self.context().failed() => {
                    back
                }
                Err((error, _)) => return Err(error),
            };
            self.producer.poll(STEP);
        }
    }

    /// Waits until the fate of everything queued is known. False when `deadline` was first, or a
    /// record has failed.
    fn drain(&self, deadline: Instant) -> bool {
        while self.producer.in_flight_count() > 0 {
            if self.context().failed() || Instant::now() >= deadline {
                return false;
            }
            self.producer.poll(STEP);
        }
        !self.context().failed()
    }

    /// What librdkafka holds against going on at all, if anything.
    fn fatal(&self, id: &str) -> Option<LogError> {
        let (code, reason) = self.producer.client().fatal_error()?;
        if is_fenced(code) {
            return Some(LogError::Fenced { id: id.to_owned() });
        }
        Some(LogError::Failed { doing: "writing", reason: format!("{code}: {reason}") })
    }

    /// The error for a record that the broker refused.
    fn refused(&self, undelivered: Undelivered, record: Option<&NewRecord>) -> LogError {
        let Undelivered { index, code } = undelivered;
        let topic = record.map(|r| r.topic.to_string()).unwrap_or_default();
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge => {
                let size = record.map_or(0, size_on_the_wire);
                let limit = record.and_then(|r| self.limits.get(&r.topic)).copied().unwrap_or(0);
                LogError::TooLarge { index, topic, size, limit }
            }
            code if is_unknown_topic(code) => LogError::UnknownTopic { topic },
            code if is_transient(code) => self.unreachable(&code.to_string()),
            code => LogError::Failed { doing: "writing a record", reason: format!("{topic}: {code}") },
        }
    }

    fn unreachable(&self, otherwise: &str) -> LogError {
        let reason = self.context().watch.reason().unwrap_or_else(|| otherwise.to_owned());
        LogError::Unreachable { at: self.cluster.at(), reason }
    }
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::TransactionCoordinatorFenced
    )
}

/// An upper bound of what a record takes as a batch of its own: its bytes, varint lengths, and the
/// batch header of 61 bytes (Kafka protocol, record batch version 2).
fn size_on_the_wire(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len) + headers + 61 + 40
}

fn to_kafka(record: &NewRecord, index: usize) -> BaseRecord<'_, [u8], [u8], usize> {
    let mut out = BaseRecord::with_opaque_to(&record.topic, index);
    out.key = record.key.as_deref();
    out.payload = record.value.as_deref();
    // Zero would mean now.
    out.timestamp = record.timestamp_ms.map(|ms| ms.max(1));
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        out.headers = Some(
            record
                .headers
                .iter()
                .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) })),
        );
    }
    out
}

/// Appends outside of transactions.
pub(super) struct KafkaProducer {
    sink: Sink,
    sent: usize,
}

impl KafkaProducer {
    pub(super) fn open(cluster: Arc<Cluster>) -> Result<Self, LogError> {
        let config = cluster.config.producer();
        Ok(Self { sink: Sink::open(cluster, &config)?, sent: 0 })
    }

    /// The error of a record that failed after it was queued.
    fn failure(&self) -> Result<(), LogError> {
        match self.sink.context().take() {
            Some(undelivered) => Err(self.sink.refused(Undelivered { index: 0, ..undelivered }, None)),
            None => Ok(()),
        }
    }
}

impl Producer for KafkaProducer {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.sink.learn(std::iter::once(&record.topic))?;
        self.sink.check_size(&record, 0)?;
        let sent = self.sink.enqueue(&record, 0);
        self.failure()?;
        sent.map_err(|e| LogError::Failed { doing: "writing a record", reason: e.to_string() })?;
        self.sent += 1;
        if self.sent.is_multiple_of(SERVE_EVERY) {
            self.sink.producer.poll(Duration::ZERO);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let drained = self.sink.drain(Instant::now() + FLUSH_PATIENCE);
        self.failure()?;
        if drained { Ok(()) } else { Err(self.sink.unreachable("records are still waiting to be delivered")) }
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(target: "headwater::kafka", %error, "records were lost when a producer closed");
        }
    }
}

/// Why an attempt at a transaction has not succeeded.
enum Trouble {
    /// Nothing can help.
    Final(LogError),
    /// The transaction has to be aborted; then it may be tried again.
    Abort(String),
    /// The group's positions cannot be written; without them the transaction may succeed.
    Positions(String),
}

/// The single writer of a topology, on Kafka.
pub(super) struct KafkaTransactional {
    sink: Sink,
    id: String,
    /// Where positions go; none once that has turned out to be impossible.
    group: Option<ConsumerGroupMetadata>,
}

impl KafkaTransactional {
    pub(super) fn open(cluster: Arc<Cluster>, id: &str, group: &str) -> Result<Self, LogError> {
        let config = cluster.config.transactional(id);
        let sink = Sink::open(cluster, &config)?;
        let mut writer = Self { sink, id: id.to_owned(), group: None };
        writer.initialise()?;
        // A consumer that never subscribes still has a group's metadata, which is all that is wanted.
        let consumer: BaseConsumer<Watch> = create(&writer.sink.cluster.config.group(group), Watch::default())
            .map_err(|e| writer.sink.cluster.config_error(&e))?;
        writer.group = consumer.group_metadata();
        Ok(writer)
    }

    /// Fences whoever held the id, and waits for what they left open.
    fn initialise(&self) -> Result<(), LogError> {
        let deadline = Instant::now() + OPEN_PATIENCE;
        self.persist(deadline, || self.sink.producer.init_transactions(COORDINATOR_TIMEOUT)).map_err(|trouble| {
            match trouble {
                Trouble::Final(error) => error,
                Trouble::Abort(reason) | Trouble::Positions(reason) => self.sink.unreachable(&reason),
            }
        })
    }

    /// Repeats a call to the coordinator while that can help.
    fn persist(&self, deadline: Instant, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), Trouble> {
        loop {
            let Err(error) = call() else { return Ok(()) };
            self.sink.producer.poll(STEP);
            if let Some(fatal) = self.sink.fatal(&self.id) {
                return Err(Trouble::Final(fatal));
            }
            match &error {
                KafkaError::Transaction(e) if e.txn_requires_abort() => return Err(Trouble::Abort(e.string())),
                KafkaError::Transaction(e) if e.is_retriable() => self.sink.context().watch.warn(&e.string()),
                KafkaError::Transaction(e) if is_fenced(e.code()) => {
                    return Err(Trouble::Final(LogError::Fenced { id: self.id.clone() }));
                }
                other => {
                    let reason = other.to_string();
                    return Err(Trouble::Final(LogError::Failed { doing: "a transaction", reason }));
                }
            }
            if Instant::now() >= deadline {
                return Err(Trouble::Final(self.sink.unreachable(&error.to_string())));
            }
        }
    }

    fn attempt(&self, transaction: &Transaction, deadline: Instant) -> Result<(), Trouble> {
        self.persist(deadline, || self.sink.producer.begin_transaction())?;
        FailPoint::CommitBegun.reach();
        for (index, record) in transaction.records.iter().enumerate() {
            FailPoint::CommitRecord.reach();
            self.sink.enqueue(record, index).map_err(|e| self.after_enqueue(&e))?;
            if index % SERVE_EVERY == 0 {
                self.sink.producer.poll(Duration::ZERO);
                if self.sink.context().failed() {
                    return Err(Trouble::Abort("a record was refused".to_owned()));
                }
            }
        }
        FailPoint::CommitQueued.reach();
        if !self.sink.drain(deadline) {
            return Err(Trouble::Abort("not every record was delivered".to_owned()));
        }
        FailPoint::CommitAppended.reach();
        self.send_positions(&transaction.positions, deadline)?;
        FailPoint::CommitPositions.reach();
        self.persist(deadline, || self.sink.producer.commit_transaction(COORDINATOR_TIMEOUT))?;
        FailPoint::CommitWritten.reach();
        Ok(())
    }

    fn after_enqueue(&self, error: &KafkaError) -> Trouble {
        match self.sink.fatal(&self.id) {
            Some(fatal) => Trouble::Final(fatal),
            None => Trouble::Abort(error.to_string()),
        }
    }

    fn send_positions(&self, positions: &[(TopicPartition, i64)], deadline: Instant) -> Result<(), Trouble> {
        let Some(group) = self.group.as_ref().filter(|_| !positions.is_empty()) else { return Ok(()) };
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for (at, next) in positions {
            offsets
                .add_partition_offset(&at.topic, at.partition, Offset::Offset(*next))
                .map_err(|e| Trouble::Positions(e.to_string()))?;
        }
        let send = || self.sink.producer.send_offsets_to_transaction(&offsets, group, COORDINATOR_TIMEOUT);
        self.persist(deadline, send).map_err(|trouble| match trouble {
            Trouble::Abort(reason) => Trouble::Positions(reason),
            other => other,
        })
    }

    /// Aborts what has begun. Another thread serves events meanwhile: librdkafka waits for that.
    fn abort(&self, deadline: Instant) -> Result<(), LogError> {
        let done = AtomicBool::new(false);
        let producer = &self.sink.producer;
        let aborted = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    producer.poll(STEP);
                }
            });
            let aborted = self.persist(deadline, || producer.abort_transaction(COORDINATOR_TIMEOUT));
            done.store(true, Ordering::Release);
            aborted
        });
        aborted.map_err(|trouble| match trouble {
            Trouble::Final(error) => error,
            Trouble::Abort(reason) | Trouble::Positions(reason) => LogError::Failed { doing: "aborting", reason },
        })
    }

    /// What to tell about a record that failed, if it is final.
    fn verdict(&self, undelivered: Undelivered, transaction: &Transaction) -> Option<LogError> {
        if is_transient(undelivered.code) || super::context::is_purge(undelivered.code) {
            return None;
        }
        Some(self.sink.refused(undelivered, transaction.records.get(undelivered.index)))
    }
}

impl Transactional for KafkaTransactional {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        if transaction.records.is_empty() && transaction.positions.is_empty() {
            return Ok(());
        }
        self.sink.learn(transaction.records.iter().map(|r| &r.topic))?;
        for (index, record) in transaction.records.iter().enumerate() {
            self.sink.check_size(record, index)?;
        }
        let deadline = Instant::now() + COMMIT_PATIENCE;
        let _ = self.sink.context().take();
        loop {
            let reason = match self.attempt(transaction, deadline) {
                Ok(()) => return Ok(()),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Abort(reason)) => reason,
                Err(Trouble::Positions(reason)) => {
                    tracing::warn!(target: "headwater::kafka", reason, "positions are no longer published");
                    self.group = None;
                    reason
                }
            };
            self.abort(deadline)?;
            if let Some(fatal) = self.sink.fatal(&self.id) {
                return Err(fatal);
            }
            let undelivered = self.sink.context().take();
            if let Some(error) = undelivered.and_then(|u| self.verdict(u, transaction)) {
                return Err(error);
            }
            if Instant::now() >= deadline {
                return Err(self.sink.unreachable(&reason));
            }
            tracing::warn!(target: "headwater::kafka", reason, "a transaction was aborted and is tried again");
        }
    }

    fn check(&mut self, positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        if self.group.is_none() {
            // Positions are all that could be sent without a record.
            return Ok(());
        }
        self.commit(&Transaction { records: Vec::new(), positions })
    }
}
