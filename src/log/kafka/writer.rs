//! Writing in transactions, and what all writing shares.
//!
//! librdkafka tells the fate of each record through events that somebody has to serve. Here that
//! is the calling thread, in millisecond steps; the binding's own flushing sleeps for longer than
//! a small transaction takes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::{Deliveries, Undelivered, Watch};
use super::vigil::Vigil;
use super::{Cluster, admin, create, failed, is_transient, is_unknown_topic};
use crate::fail_point::FailPoint;
use crate::log::{Headers, LogError, NewRecord, TopicPartition, Transaction, Transactional};

/// A step of waiting for librdkafka.
const STEP: Duration = Duration::from_millis(1);

/// Events are served after this many records, so that their memory is given back.
pub(super) const SERVE_EVERY: usize = 512;

/// One call to the transaction coordinator; whoever commits repeats it.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a call on another thread is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long opening waits for the coordinator, which may be ending the former writer's transaction.
const OPEN_PATIENCE: Duration = Duration::from_secs(120);

/// How long to wait for what is queued. Above the delivery timeout, which decides.
pub(super) const FLUSH_PATIENCE: Duration = Duration::from_secs(330);

/// A producer together with what it knows about its topics.
pub(super) struct Sink {
    pub(super) producer: Arc<BaseProducer<Deliveries>>,
    pub(super) cluster: Arc<Cluster>,
    /// `max.message.bytes` by topic.
    limits: HashMap<Arc<str>, usize>,
}

impl Sink {
    pub(super) fn open(
        cluster: Arc<Cluster>,
        config: &rdkafka::ClientConfig,
        deliveries: Deliveries,
    ) -> Result<Self, LogError> {
        let producer: BaseProducer<Deliveries> = create(config, deliveries).map_err(|e| cluster.config_error(&e))?;
        Ok(Self { producer: Arc::new(producer), cluster, limits: HashMap::new() })
    }

    pub(super) fn context(&self) -> &Deliveries {
        self.producer.context()
    }

    /// As [`open`](Self::open), with what `former` has learned.
    pub(super) fn in_place_of(
        former: &Self,
        config: &rdkafka::ClientConfig,
        deliveries: Deliveries,
    ) -> Result<Self, LogError> {
        let opened = Self::open(Arc::clone(&former.cluster), config, deliveries)?;
        Ok(Self { limits: former.limits.clone(), ..opened })
    }

    /// Learns the limits of topics that were not written to before.
    pub(super) fn learn<'a>(&mut self, topics: impl Iterator<Item = &'a Arc<str>>) -> Result<(), LogError> {
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

    /// A topic without a limit of its own, which is not asked for.
    #[cfg(test)]
    pub(super) fn knows(&mut self, topic: &str) {
        self.limits.insert(topic.into(), usize::MAX);
    }

    /// Refuses a record that its topic would not take.
    pub(super) fn check_size(&self, record: &NewRecord, further: &Headers, index: usize) -> Result<(), LogError> {
        let limit = self.limits.get(&record.topic).copied().unwrap_or(usize::MAX);
        let size = size_on_the_wire(record, further);
        if size <= limit {
            return Ok(());
        }
        Err(LogError::TooLarge { index, topic: record.topic.to_string(), size, limit })
    }

    /// Hands a record to librdkafka, waiting while its queue is full. Gives up when an earlier one
    /// has failed, or `gives_up`.
    pub(super) fn enqueue(
        &self,
        record: &NewRecord,
        further: &Headers,
        index: usize,
        mut gives_up: impl FnMut() -> bool,
    ) -> Result<(), KafkaError> {
        let mut pending = to_kafka(record, further, index);
        loop {
            pending = match self.producer.send(pending) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if !self.context().failed() && !gives_up() =>
                {
                    back
                }
                Err((error, _)) => return Err(error),
            };
            self.step();
        }
    }

    /// Serves what there is to serve, or waits a step for it. Waits outside of the binding: that asks
    /// again and again within the last millisecond of what it waits, which kept a processor busy
    /// throughout every commit.
    pub(super) fn step(&self) {
        let before = self.producer.in_flight_count();
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() == before {
            thread::sleep(STEP);
            self.producer.poll(Duration::ZERO);
        }
    }

    /// What librdkafka holds against going on at all, if anything.
    fn fatal(&self, id: &str) -> Option<LogError> {
        let (code, reason) = self.producer.client().fatal_error()?;
        if is_fenced(code) {
            return Some(LogError::Fenced { id: id.to_owned() });
        }
        if is_lost(code) {
            return Some(LogError::Lost { id: id.to_owned(), reason });
        }
        Some(failed("writing", code, format!("{code}: {reason}")))
    }

    /// The error for a record that the broker refused.
    pub(super) fn refused(&self, undelivered: Undelivered, record: Option<&NewRecord>, further: &Headers) -> LogError {
        let Undelivered { index, code } = undelivered;
        let topic = record.map(|r| r.topic.to_string()).unwrap_or_default();
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge => {
                let size = record.map_or(0, |record| size_on_the_wire(record, further));
                let limit = record.and_then(|r| self.limits.get(&r.topic)).copied().unwrap_or(0);
                LogError::TooLarge { index, topic, size, limit }
            }
            code if is_unknown_topic(code) && record.is_some() => match self.cluster.is_there_after_all(&topic, 0) {
                Ok(true) => self.unreachable(&code.to_string()),
                Ok(false) => LogError::UnknownTopic { topic },
                Err(error) => error,
            },
            code if is_unknown_topic(code) || is_transient(code) => self.unreachable(&code.to_string()),
            code => failed("writing a record", code, format!("{topic}: {code}")),
        }
    }

    pub(super) fn unreachable(&self, otherwise: &str) -> LogError {
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

/// What a coordinator answers that has forgotten the transaction, or has ended it already.
fn is_lost(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::InvalidTransactionalState | Code::InvalidProducerIdMapping | Code::UnknownProducerId)
}

/// An upper bound of what a record takes as a batch of its own: its bytes, varint lengths, and the
/// batch header of 61 bytes (Kafka protocol, record batch version 2).
fn size_on_the_wire(record: &NewRecord, further: &Headers) -> usize {
    let headers: usize = record.headers.iter().chain(further).map(|(name, value)| name.len() + value.len() + 10).sum();
    record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len) + headers + 61 + 40
}

fn to_kafka<'a>(record: &'a NewRecord, further: &'a Headers, index: usize) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut out = BaseRecord::with_opaque_to(&record.topic, index);
    out.key = record.key.as_deref();
    out.payload = record.value.as_deref();
    // Zero would mean now.
    out.timestamp = record.timestamp_ms.map(|ms| ms.max(1));
    let count = record.headers.len() + further.len();
    if count > 0 {
        let headers = OwnedHeaders::new_with_capacity(count);
        let all = record.headers.iter().chain(further);
        out.headers =
            Some(all.fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) })));
    }
    out
}

/// Why an attempt at a transaction has not succeeded.
enum Trouble {
    /// Nothing can help.
    Final(LogError),
    /// The coordinator does not answer now; the same call may succeed later.
    Away(String),
    /// The transaction has to be aborted; then it may be tried again.
    Abort(String),
    /// The group's positions cannot be written; without them the transaction may succeed.
    Positions(String),
}

/// What has been begun and is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnderWay {
    Nothing,
    /// Something was sent that must not be committed.
    Abort,
    /// The coordinator was asked to commit, and has not answered: to ask again is to ask about the
    /// same transaction.
    Commit(Purpose),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Records,
    Check,
}

/// The single writer of a topology, on Kafka.
pub(super) struct KafkaTransactional {
    sink: Sink,
    id: String,
    /// Where positions go; none once that has turned out to be impossible.
    group: Option<Arc<ConsumerGroupMetadata>>,
    /// Whether a call has not come back, so that no other one can be made.
    is_stuck: bool,
    under_way: UnderWay,
    /// When the last transaction was begun.
    begun: Instant,
    /// The broker ends transactions that are open for longer.
    timeout: Duration,
    vigil: Vigil,
}

impl KafkaTransactional {
    pub(super) fn open(cluster: Arc<Cluster>, id: &str, group: &str) -> Result<Self, LogError> {
        let config = cluster.config.transactional(id);
        let timeout = config.get("transaction.timeout.ms").and_then(|ms| ms.parse().ok()).unwrap_or(60_000);
        let sink = Sink::open(cluster, &config, Deliveries::default())?;
        let mut writer = Self {
            sink,
            id: id.to_owned(),
            group: None,
            is_stuck: false,
            under_way: UnderWay::Nothing,
            begun: Instant::now(),
            timeout: Duration::from_millis(timeout),
            vigil: Vigil::new(Instant::now()),
        };
        writer.initialise()?;
        if writer.sink.cluster.positions_are_lost() {
            return Ok(writer);
        }
        // A consumer that never subscribes still has a group's metadata, which is all that is wanted.
        let consumer: BaseConsumer<Watch> = create(&writer.sink.cluster.config.group(group), Watch::default())
            .map_err(|e| writer.sink.cluster.config_error(&e))?;
        writer.group = consumer.group_metadata().map(Arc::new);
        Ok(writer)
    }

    /// Fences whoever held the id, and waits for what they left open.
    fn initialise(&self) -> Result<(), LogError> {
        let deadline = Instant::now() + OPEN_PATIENCE;
        loop {
            match self.call(|| self.sink.producer.init_transactions(COORDINATOR_TIMEOUT)) {
                Ok(()) => return Ok(()),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Away(_)) if Instant::now() < deadline => {}
                Err(Trouble::Away(reason) | Trouble::Abort(reason) | Trouble::Positions(reason)) => {
                    return Err(self.sink.unreachable(&reason));
                }
            }
        }
    }

    /// Calls the coordinator, and judges what comes of it.
    fn call(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), Trouble> {
        self.judge(call())
    }

    fn judge(&self, outcome: Result<(), KafkaError>) -> Result<(), Trouble> {
        let Err(error) = outcome else { return Ok(()) };
        self.sink.step();
        if let Some(fatal) = self.sink.fatal(&self.id) {
            return Err(Trouble::Final(fatal));
        }
        Err(match &error {
            KafkaError::Transaction(e) if e.txn_requires_abort() => Trouble::Abort(e.string()),
            KafkaError::Transaction(e) if e.is_retriable() => {
                self.sink.context().watch.warn(&e.string());
                Trouble::Away(e.string())
            }
            KafkaError::Transaction(e) if is_fenced(e.code()) => {
                Trouble::Final(LogError::Fenced { id: self.id.clone() })
            }
            other => Trouble::Final(match other.rdkafka_error_code() {
                Some(code) => failed("a transaction", code, other.to_string()),
                None => LogError::Failed { doing: "a transaction", reason: other.to_string() },
            }),
        })
    }

    /// Settles what is under way, as far as it does not concern `transaction`; sends and commits it.
    fn advance(&mut self, transaction: &Transaction, purpose: Purpose) -> Result<(), Trouble> {
        match self.under_way {
            UnderWay::Nothing => {}
            UnderWay::Abort => self.abort(transaction)?,
            UnderWay::Commit(of) => {
                self.finish(of)?;
                if of == purpose {
                    return Ok(());
                }
            }
        }
        self.attempt(transaction, purpose)
    }

    fn attempt(&mut self, transaction: &Transaction, purpose: Purpose) -> Result<(), Trouble> {
        self.begun = Instant::now();
        self.call(|| self.sink.producer.begin_transaction())?;
        self.under_way = UnderWay::Abort;
        FailPoint::CommitBegun.reach();
        for (index, record) in transaction.records.iter().enumerate() {
            FailPoint::CommitRecord.reach();
            self.sink.enqueue(record, &transaction.headers, index, || false).map_err(|e| self.after_enqueue(&e))?;
            if index % SERVE_EVERY == 0 {
                self.sink.producer.poll(Duration::ZERO);
                if self.sink.context().failed() {
                    return Err(Trouble::Abort("a record was refused".to_owned()));
                }
            }
        }
        FailPoint::CommitQueued.reach();
        self.deliver(transaction)?;
        FailPoint::CommitAppended.reach();
        self.send_positions(transaction)?;
        FailPoint::CommitPositions.reach();
        self.finish(purpose)
    }

    /// Waits until everything queued is delivered.
    fn deliver(&mut self, transaction: &Transaction) -> Result<(), Trouble> {
        let deadline = Instant::now() + FLUSH_PATIENCE;
        let mut before = usize::MAX;
        loop {
            let left = self.sink.producer.in_flight_count().max(0) as usize;
            if self.sink.context().failed() || Instant::now() >= deadline {
                return Err(Trouble::Abort("not every record was delivered".to_owned()));
            }
            if left == 0 {
                return Ok(());
            }
            if left < before {
                before = left;
                self.vigil.moved(Instant::now());
            } else if let Some(stranded) = self.stranded(transaction) {
                return Err(Trouble::Final(stranded));
            }
            self.sink.step();
        }
    }

    /// The error to end with where only this client is not answered.
    fn stranded(&mut self, transaction: &Transaction) -> Option<LogError> {
        let topic = transaction.records.last().map(|record| &*record.topic);
        let (now, cluster) = (Instant::now(), &self.sink.cluster);
        let seconds = self.vigil.quiet_for(now).as_secs();
        let stranded = self.vigil.is_stranded(now, || cluster.is_well(topic));
        stranded.then(|| LogError::Stranded { id: self.id.clone(), seconds })
    }

    fn finish(&mut self, purpose: Purpose) -> Result<(), Trouble> {
        self.under_way = UnderWay::Commit(purpose);
        self.call(|| self.sink.producer.commit_transaction(COORDINATOR_TIMEOUT))?;
        self.under_way = UnderWay::Nothing;
        self.vigil.moved(Instant::now());
        FailPoint::CommitWritten.reach();
        Ok(())
    }

    fn after_enqueue(&self, error: &KafkaError) -> Trouble {
        match self.sink.fatal(&self.id) {
            Some(fatal) => Trouble::Final(fatal),
            None => Trouble::Abort(error.to_string()),
        }
    }

    fn send_positions(&mut self, transaction: &Transaction) -> Result<(), Trouble> {
        let positions = &transaction.positions;
        let Some(group) = self.group.clone().filter(|_| !positions.is_empty()) else { return Ok(()) };
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for (at, next) in positions {
            offsets
                .add_partition_offset(&at.topic, at.partition, Offset::Offset(*next))
                .map_err(|e| Trouble::Positions(e.to_string()))?;
        }
        let producer = Arc::clone(&self.sink.producer);
        let send = move || producer.send_offsets_to_transaction(&offsets, &group, COORDINATOR_TIMEOUT);
        let sent = self.elsewhere(send, transaction)?;
        self.judge(sent).map_err(|trouble| match trouble {
            // After a long stall the whole transaction is void, whoever tells it first.
            Trouble::Abort(reason) if self.begun.elapsed() < COORDINATOR_TIMEOUT => Trouble::Positions(reason),
            other => other,
        })
    }

    /// Makes a call on a thread of its own, and waits for it until this client is [stranded](Self::stranded).
    /// librdkafka (2.12) does not heed the timeout of sending positions: where the group's coordinator has left the
    /// metadata meanwhile, the call comes back when some connection changes, which may be never
    /// (<https://github.com/confluentinc/librdkafka/issues/5456>, <https://github.com/confluentinc/librdkafka/issues/5511>).
    fn elsewhere(
        &mut self,
        call: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
        transaction: &Transaction,
    ) -> Result<Result<(), KafkaError>, Trouble> {
        let (tell, told) = mpsc::sync_channel(1);
        let work = move || {
            // Nobody listens any more where it was given up.
            let _ = tell.send(call());
        };
        let started = thread::Builder::new().name("positions".to_owned()).spawn(work);
        started.map_err(|error| Trouble::Positions(format!("no thread: {error}")))?;
        loop {
            match told.recv_timeout(LOOK_EVERY) {
                Ok(outcome) => return Ok(outcome),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::Positions("its thread has ended".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(stranded) = self.stranded(transaction) {
                self.is_stuck = true;
                self.sink.cluster.lose_positions();
                return Err(Trouble::Final(stranded));
            }
        }
    }

    /// Aborts what has begun. Another thread serves events meanwhile: librdkafka waits for that.
    fn abort(&mut self, transaction: &Transaction) -> Result<(), Trouble> {
        let done = AtomicBool::new(false);
        let sink = &self.sink;
        let aborted = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    sink.step();
                }
            });
            let aborted = self.call(|| sink.producer.abort_transaction(COORDINATOR_TIMEOUT));
            done.store(true, Ordering::Release);
            aborted
        });
        aborted.map_err(|trouble| match trouble {
            Trouble::Abort(reason) | Trouble::Positions(reason) => {
                Trouble::Final(LogError::Failed { doing: "aborting", reason })
            }
            other => other,
        })?;
        self.under_way = UnderWay::Nothing;
        if let Some(fatal) = self.sink.fatal(&self.id) {
            return Err(Trouble::Final(fatal));
        }
        let undelivered = self.sink.context().take();
        undelivered.and_then(|u| self.verdict(u, transaction)).map_or(Ok(()), |error| Err(Trouble::Final(error)))
    }

    /// The error for what keeps a transaction from its end.
    fn judged(&mut self, trouble: Trouble, transaction: &Transaction) -> LogError {
        let (abort, reason) = match trouble {
            Trouble::Final(LogError::Fenced { id }) if self.begun.elapsed() >= self.timeout => {
                return LogError::Expired { id, seconds: self.begun.elapsed().as_secs() };
            }
            Trouble::Final(error) => return error,
            Trouble::Away(reason) => match self.stranded(transaction) {
                Some(stranded) => return stranded,
                None => (false, reason),
            },
            Trouble::Abort(reason) => (true, reason),
            Trouble::Positions(reason) => {
                tracing::warn!(target: "headwater::kafka", reason, "positions are no longer published");
                self.group = None;
                (true, reason)
            }
        };
        if abort {
            self.under_way = UnderWay::Abort;
            // Now, as long as it is known which record was refused.
            if let Err(trouble @ (Trouble::Final(_) | Trouble::Away(_))) = self.abort(transaction) {
                return self.judged(trouble, transaction);
            }
        }
        self.sink.unreachable(&reason)
    }

    fn settle(&mut self, transaction: &Transaction, purpose: Purpose) -> Result<(), LogError> {
        if self.is_stuck {
            let seconds = self.vigil.quiet_for(Instant::now()).as_secs();
            return Err(LogError::Stranded { id: self.id.clone(), seconds });
        }
        if self.under_way == UnderWay::Nothing {
            self.vigil.moved(Instant::now());
        }
        self.advance(transaction, purpose).map_err(|trouble| self.judged(trouble, transaction))
    }

    /// What to tell about a record that failed, if it is final.
    fn verdict(&self, undelivered: Undelivered, transaction: &Transaction) -> Option<LogError> {
        if is_transient(undelivered.code) || super::context::is_purge(undelivered.code) {
            return None;
        }
        Some(self.sink.refused(undelivered, transaction.records.get(undelivered.index), &transaction.headers))
    }
}

impl Transactional for KafkaTransactional {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        if transaction.records.is_empty() && transaction.positions.is_empty() {
            return Ok(());
        }
        self.sink.learn(transaction.records.iter().map(|r| &r.topic))?;
        for (index, record) in transaction.records.iter().enumerate() {
            self.sink.check_size(record, &transaction.headers, index)?;
        }
        if self.under_way == UnderWay::Nothing {
            let _ = self.sink.context().take();
        }
        self.settle(transaction, Purpose::Records)
    }

    fn check(&mut self, positions: Vec<(TopicPartition, i64)>) -> Result<(), LogError> {
        if self.group.is_none() {
            // Positions are all that could be sent without a record.
            return Ok(());
        }
        if self.under_way == UnderWay::Commit(Purpose::Records) {
            // Its answer is for whoever asked for the commit.
            return Ok(());
        }
        self.settle(&Transaction { positions, ..Transaction::default() }, Purpose::Check)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::{MockCluster, MockCoordinator};

    use super::*;
    use crate::log::kafka::{KafkaConfig, KafkaLog};

    #[test]
    fn positions_that_no_coordinator_takes_strand_the_writer_and_do_not_stop_it() {
        let mock = MockCluster::new(2).unwrap();
        mock.create_topic("t", 1, 1).unwrap();
        mock.partition_leader("t", 0, Some(1)).unwrap();
        mock.coordinator(MockCoordinator::Transaction("w".to_owned()), 1).unwrap();
        mock.coordinator(MockCoordinator::Group("g".to_owned()), 2).unwrap();
        let log = KafkaLog::new(KafkaConfig { brokers: mock.bootstrap_servers(), ..KafkaConfig::default() }).unwrap();
        let mut writer = KafkaTransactional::open(Arc::clone(&log.cluster), "w", "g").unwrap();
        writer.sink.knows("t");
        mock.broker_down(2).unwrap();
        let record = NewRecord {
            topic: "t".into(),
            key: None,
            value: Some("v".into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        let positions = vec![(TopicPartition::new("t", 0), 1)];
        let transaction = Transaction { records: vec![record], positions, ..Transaction::default() };
        let stranded = |outcome| matches!(outcome, Err(LogError::Stranded { .. }));
        assert!(stranded(writer.commit(&transaction)));
        let again = Instant::now();
        assert!(stranded(writer.commit(&transaction)), "no other call is made while one has not come back");
        assert!(stranded(writer.check(transaction.positions)));
        assert!(again.elapsed() < LOOK_EVERY);
    }
}
