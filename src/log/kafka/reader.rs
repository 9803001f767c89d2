//! Reading committed records of partitions that were dealt by hand.
//!
//! Every partition has a queue of its own: librdkafka's partition-EOF signal names a partition
//! number but no topic, so that only the queue it arrives on tells which partition has ended.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::{Watch, lock};
use super::vigil::Vigil;
use super::{Cluster, REQUEST_TIMEOUT, create, end_elsewhere, failed, is_transient, is_unknown_topic};
use crate::log::{Headers, LogError, LogRecord, Polled, Reader, Start, TopicPartition, outside};

/// At most this much of one partition before the next one has its turn.
const QUANTUM_BYTES: usize = 1 << 20;

/// While waiting, librdkafka's own events are served this often.
const SERVE_EVERY: Duration = Duration::from_millis(100);

/// Set by librdkafka's threads when a queue that was empty gets something.
#[derive(Default)]
struct Signal {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn set(&self) {
        *lock(&self.set) = true;
        self.changed.notify_one();
    }

    fn clear(&self) {
        *lock(&self.set) = false;
    }

    fn wait(&self, timeout: Duration) {
        let set = lock(&self.set);
        let waited = self.changed.wait_timeout_while(set, timeout, |set| !*set);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// One partition that is being read.
struct Assigned {
    partition: TopicPartition,
    queue: PartitionQueue<Watch>,
    /// What was asked for.
    start: Start,
    /// Where reading began; the end of a partition that has given nothing since.
    begin: i64,
    /// The end reported last, forgotten when a record follows.
    reported: Option<i64>,
}

/// What a partition's queue gave.
enum Taken {
    Nothing,
    Record(usize),
    End,
}

/// A reader on Kafka.
pub(super) struct KafkaReader {
    // Before the consumer: queues are to be dropped first.
    assigned: Vec<Assigned>,
    consumer: Arc<BaseConsumer<Watch>>,
    cluster: Arc<Cluster>,
    signal: Arc<Signal>,
    /// Whose turn it is.
    turn: usize,
    /// Since all brokers were away at once: the client may have lost its way then.
    watched: Option<Watched>,
}

/// Watches over a client that has lost all its brokers.
struct Watched {
    vigil: Vigil,
    /// Whether all was taken since that had been fetched before: what comes now is new.
    emptied: bool,
}

impl KafkaReader {
    pub(super) fn open(cluster: Arc<Cluster>, partitions: &[(TopicPartition, Start)]) -> Result<Self, LogError> {
        let consumer: BaseConsumer<Watch> =
            create(&cluster.config.reader(partitions.len()), Watch::default()).map_err(|e| cluster.config_error(&e))?;
        let mut reader = Self {
            assigned: Vec::new(),
            consumer: Arc::new(consumer),
            cluster,
            signal: Arc::default(),
            turn: 0,
            watched: None,
        };
        reader.add(partitions)?;
        Ok(reader)
    }

    /// Watches over a client that had lost all brokers at once; takes another one in its place
    /// where nothing has come from it for long, although others are answered.
    fn look_after(&mut self) -> Result<(), LogError> {
        let now = Instant::now();
        if self.consumer.context().take_all_down() {
            self.watched = Some(Watched { vigil: Vigil::new(now), emptied: false });
        }
        let Some(Watched { vigil, emptied }) = &mut self.watched else { return Ok(()) };
        *emptied = true;
        let (cluster, topic) = (&self.cluster, self.assigned.first().map(|assigned| &*assigned.partition.topic));
        if !vigil.is_stranded(now, || cluster.is_well(topic)) {
            return Ok(());
        }
        let seconds = vigil.quiet_for(now).as_secs();
        tracing::info!(
            target: "headwater::kafka",
            seconds,
            "nothing has come since all brokers were away at once: reading goes on by another client"
        );
        // Where that fails it is tried again in a while: this client is no worse than before.
        *vigil = Vigil::new(now);
        match self.begin_anew() {
            Err(error @ (LogError::OffsetGone { .. } | LogError::UnknownTopic { .. } | LogError::Damaged { .. })) => {
                Err(error)
            }
            Err(error) => {
                self.consumer.context().warn(&error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Something has come: a client that was emptied before has found its way back.
    fn came(&mut self) {
        match &mut self.watched {
            Some(watched) if !watched.emptied => watched.vigil.moved(Instant::now()),
            watched => *watched = None,
        }
    }

    /// Goes on by another client where this one stands.
    fn begin_anew(&mut self) -> Result<(), LogError> {
        let mut other = Self::open(Arc::clone(&self.cluster), &self.stands_at()?)?;
        for (new, old) in other.assigned.iter_mut().zip(&self.assigned) {
            new.reported = old.reported;
        }
        other.turn = self.turn;
        end_elsewhere(std::mem::replace(self, other));
        Ok(())
    }

    fn stands_at(&self) -> Result<Vec<(TopicPartition, Start)>, LogError> {
        // Not to be kept: what librdkafka lists refers to its partitions, and keeps the client from ending.
        let positions = positions(&self.consumer)?;
        let start = |one: &Assigned| match (found(&positions, &one.partition), one.start) {
            (Some(next), _) => Start::Offset(next),
            (None, Start::Beginning) => Start::Beginning,
            (None, _) => Start::Offset(one.begin),
        };
        Ok(self.assigned.iter().map(|one| (one.partition.clone(), start(one))).collect())
    }

    /// Adds partitions, all at once: while one is being fetched, what concerns the next has to wait
    /// for the broker's answer to that fetch.
    fn add(&mut self, partitions: &[(TopicPartition, Start)]) -> Result<(), LogError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let mut added = Vec::with_capacity(partitions.len());
        for (at, start) in partitions {
            let (begin, offset) = self.begin(at, *start)?;
            list.add_partition_offset(&at.topic, at.partition, offset)
                .map_err(|e| LogError::Failed { doing: "assigning a partition", reason: e.to_string() })?;
            added.push(Assigned {
                partition: at.clone(),
                queue: self.queue(at)?,
                start: *start,
                begin,
                reported: None,
            });
        }
        // Else librdkafka would look for the partitions' leaders in its own time, a second or two.
        let topics: BTreeSet<&str> = partitions.iter().map(|(at, _)| &*at.topic).collect();
        for topic in topics {
            self.consumer
                .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
                .map_err(|e| self.cluster.request_error("asking for a topic", &e, Some(topic)))?;
        }
        self.consumer
            .incremental_assign(&list)
            .map_err(|e| LogError::Failed { doing: "assigning partitions", reason: e.to_string() })?;
        self.assigned.extend(added);
        Ok(())
    }

    /// The queue of a partition. Taken before the partition is assigned, it keeps what is fetched
    /// from the first record on.
    fn queue(&self, at: &TopicPartition) -> Result<PartitionQueue<Watch>, LogError> {
        let mut queue = self
            .consumer
            .split_partition_queue(&at.topic, at.partition)
            .ok_or_else(|| LogError::UnknownTopic { topic: at.topic.to_string() })?;
        let signal = Arc::clone(&self.signal);
        queue.set_nonempty_callback(move || signal.set());
        Ok(queue)
    }

    /// The offset to begin at, and what to tell librdkafka.
    fn begin(&self, at: &TopicPartition, start: Start) -> Result<(i64, Offset), LogError> {
        let ends = self.cluster.watermarks(&at.topic, at.partition)?;
        match start {
            Start::Beginning => Ok((ends.low, Offset::Beginning)),
            Start::End => Ok((ends.high, Offset::Offset(ends.high))),
            Start::Offset(offset) => match outside(at, offset, ends) {
                Some(error) => Err(error),
                None => Ok((offset, Offset::Offset(offset))),
            },
        }
    }

    /// Serves librdkafka's own events. What concerns a partition comes on its queue.
    fn serve(&self) -> Result<(), LogError> {
        for _ in 0..4 {
            if let Some(Err(KafkaError::MessageConsumptionFatal(code))) = self.consumer.poll(Duration::ZERO) {
                return Err(LogError::Failed { doing: "reading", reason: code.to_string() });
            }
        }
        Ok(())
    }

    /// One round over the partitions, each for up to [`QUANTUM_BYTES`]. Returns the bytes taken.
    fn round(&mut self, into: &mut Vec<Polled>, max_bytes: usize) -> Result<usize, LogError> {
        let count = self.assigned.len();
        let mut bytes = 0;
        for step in 0..count {
            if bytes >= max_bytes {
                self.turn = (self.turn + step) % count;
                break;
            }
            let index = (self.turn + step) % count;
            bytes += self.drain(index, into, (max_bytes - bytes).min(QUANTUM_BYTES))?;
        }
        Ok(bytes)
    }

    /// Takes what one partition's queue holds, up to about `max_bytes`.
    fn drain(&mut self, index: usize, into: &mut Vec<Polled>, max_bytes: usize) -> Result<usize, LogError> {
        let Some(assigned) = self.assigned.get_mut(index) else { return Ok(0) };
        let mut bytes = 0;
        while bytes < max_bytes {
            match take(assigned, &self.cluster, &self.consumer, into)? {
                Taken::Nothing => break,
                Taken::Record(size) => bytes += size,
                Taken::End => report_end(assigned, &self.consumer, into)?,
            }
        }
        Ok(bytes)
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, into: &mut Vec<Polled>, max_bytes: usize, wait: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        let before = into.len();
        loop {
            self.signal.clear();
            self.serve()?;
            let mut bytes = 0;
            while bytes < max_bytes {
                let length = into.len();
                bytes += self.round(into, max_bytes - bytes)?;
                if into.len() == length {
                    break;
                }
            }
            if into.len() > before {
                self.came();
                return Ok(());
            }
            // Whoever cannot wait is not kept waiting.
            if !wait.is_zero() {
                self.look_after()?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.signal.wait(left.min(SERVE_EVERY));
        }
    }

    fn assign(&mut self, partition: TopicPartition, start: Start) -> Result<(), LogError> {
        self.add(&[(partition, start)])
    }
}

/// Takes one thing from a partition's queue.
fn take(
    assigned: &mut Assigned,
    cluster: &Cluster,
    consumer: &BaseConsumer<Watch>,
    into: &mut Vec<Polled>,
) -> Result<Taken, LogError> {
    match assigned.queue.poll(Duration::ZERO) {
        None => Ok(Taken::Nothing),
        Some(Ok(message)) => {
            let record = copy(&assigned.partition, &message);
            let size = record.size();
            assigned.reported = None;
            into.push(Polled::Record(record));
            Ok(Taken::Record(size))
        }
        Some(Err(KafkaError::PartitionEOF(_))) => Ok(Taken::End),
        Some(Err(error)) => {
            trouble(assigned, &error, cluster, consumer)?;
            Ok(Taken::Nothing)
        }
    }
}

/// Decides whether an error of a partition is final.
fn trouble(
    assigned: &Assigned,
    error: &KafkaError,
    cluster: &Cluster,
    consumer: &BaseConsumer<Watch>,
) -> Result<(), LogError> {
    let at = &assigned.partition;
    let refused = || {
        let reason = format!("{}/{}: {error}", at.topic, at.partition);
        match error.rdkafka_error_code() {
            Some(code) => failed("reading", code, reason),
            None => LogError::Failed { doing: "reading", reason },
        }
    };
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
            let ends = cluster.watermarks(&at.topic, at.partition)?;
            let offset = position(consumer, at)?.unwrap_or(assigned.begin);
            Err(outside(at, offset, ends).unwrap_or_else(refused))
        }
        Some(code) if is_unknown_topic(code) && !cluster.is_there_after_all(&at.topic, at.partition)? => {
            Err(LogError::UnknownTopic { topic: at.topic.to_string() })
        }
        Some(code) if is_unknown_topic(code) || is_transient(code) => {
            consumer.context().warn(&error.to_string());
            Ok(())
        }
        _ => Err(refused()),
    }
}

/// The offset after the last record or marker taken, if there was one.
fn position(consumer: &BaseConsumer<Watch>, at: &TopicPartition) -> Result<Option<i64>, LogError> {
    positions(consumer).map(|positions| found(&positions, at))
}

fn positions(consumer: &BaseConsumer<Watch>) -> Result<TopicPartitionList, LogError> {
    consumer.position().map_err(|e| LogError::Failed { doing: "asking for the position", reason: e.to_string() })
}

fn found(positions: &TopicPartitionList, at: &TopicPartition) -> Option<i64> {
    match positions.find_partition(&at.topic, at.partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

fn report_end(assigned: &mut Assigned, consumer: &BaseConsumer<Watch>, into: &mut Vec<Polled>) -> Result<(), LogError> {
    let next = position(consumer, &assigned.partition)?.unwrap_or(assigned.begin);
    // librdkafka repeats the signal after a change of leader.
    if assigned.reported != Some(next) {
        assigned.reported = Some(next);
        into.push(Polled::End { partition: assigned.partition.clone(), next });
    }
    Ok(())
}

fn copy(at: &TopicPartition, message: &BorrowedMessage<'_>) -> LogRecord {
    LogRecord {
        topic: Arc::clone(&at.topic),
        partition: at.partition,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(|headers| copy_headers(at, headers)).unwrap_or_default(),
    }
}

/// Copies headers; null values become empty ones.
///
/// The binding panics on a header whose name is not UTF-8. Anybody who may write to a topic could
/// so stop every reader, for ever; such a header is left out instead.
fn copy_headers(at: &TopicPartition, headers: &BorrowedHeaders) -> Headers {
    let one = |index| {
        let header = headers.try_get(index)?;
        Some((header.key.to_owned(), header.value.map(<[u8]>::to_vec).unwrap_or_default()))
    };
    (0..headers.count())
        .filter_map(|index| {
            catch_unwind(AssertUnwindSafe(|| one(index))).unwrap_or_else(|_| {
                tracing::warn!(topic = %at.topic, partition = at.partition, "a header's name is not UTF-8: left out");
                None
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::log::Log as _;
    use crate::log::kafka::{KafkaConfig, KafkaLog};

    /// Partition and offset.
    type Places = Vec<(i32, i64)>;

    /// Polls until all ends were told; what came, and where each end was.
    fn read_to_ends(reader: &mut KafkaReader) -> (Places, Places) {
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        let until = Instant::now() + Duration::from_secs(30);
        while ends.len() < reader.assigned.len() && Instant::now() < until {
            let mut polled = Vec::new();
            reader.poll(&mut polled, 1 << 20, Duration::from_millis(50)).unwrap();
            for one in polled {
                match one {
                    Polled::Record(record) => records.push((record.partition, record.offset)),
                    Polled::End { partition, next } => ends.push((partition.partition, next)),
                }
            }
        }
        (records, ends)
    }

    #[test]
    fn another_client_goes_on_where_the_former_one_stood() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 2, 1).unwrap();
        let log = KafkaLog::new(KafkaConfig { brokers: mock.bootstrap_servers(), ..KafkaConfig::default() }).unwrap();
        let produce = |keys: std::ops::Range<u32>| {
            let config = log.cluster.config.producer();
            let producer: rdkafka::producer::BaseProducer = config.create().unwrap();
            for key in keys {
                let key = key.to_string();
                producer.send(rdkafka::producer::BaseRecord::to("t").key(&key).payload("x")).unwrap();
            }
            rdkafka::producer::Producer::flush(&producer, Duration::from_secs(30)).unwrap();
        };
        produce(0..20);
        let all: Vec<_> = (0..2).map(|number| (TopicPartition::new("t", number), Start::Beginning)).collect();
        let mut reader = KafkaReader::open(Arc::clone(&log.cluster), &all).unwrap();
        let (first, ends) = read_to_ends(&mut reader);
        assert_eq!((first.len(), ends.len()), (20, 2));
        reader.begin_anew().unwrap();
        // What is known is not told again.
        let mut polled = Vec::new();
        reader.poll(&mut polled, 1 << 20, Duration::from_secs(1)).unwrap();
        assert!(polled.is_empty(), "{polled:?}");
        produce(20..40);
        let (second, _) = read_to_ends(&mut reader);
        let mut together: Vec<_> = first.into_iter().chain(second).collect();
        together.sort_unstable();
        let ends: Vec<i64> = log.watermarks("t").unwrap().unwrap().iter().map(|at| at.high).collect();
        let wanted: Vec<_> = (0..).zip(ends).flat_map(|(number, end)| (0..end).map(move |at| (number, at))).collect();
        assert_eq!(together, wanted);
    }
}
