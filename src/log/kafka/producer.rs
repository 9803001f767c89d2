//! Plain production.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer as _, PurgeConfig};

use super::context::{Deliveries, Returned, Undelivered, is_purge};
use super::vigil::Vigil;
use super::writer::{FLUSH_PATIENCE, SERVE_EVERY, Sink};
use super::{Cluster, end_elsewhere, is_unknown_topic};
use crate::error::{Backoff, Failure, Fatal, Fault, Transient};
use crate::log::{Headers, LogError, NewRecord, Producer};

/// How often it is looked whether the client has lost its way.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Appends outside of transactions.
///
/// Just after a broker has started it may say of a topic that there is none: librdkafka then returns
/// the records. They are sent again once the topic turns out to be there, in the order of before. So
/// are those that are left with a client that has lost its way, by another one; some may then have been
/// written already.
pub(super) struct KafkaProducer {
    sink: Sink,
    sent: usize,
    watched: Watched,
}

/// Watches over the client of a producer.
struct Watched {
    /// Since all brokers were away at once: the client may have lost its way then.
    vigil: Option<Vigil>,
    /// Records delivered when that was last looked at.
    delivered: u64,
    /// When was that?
    looked: Instant,
    /// Topic of one of the records.
    topic: Option<Arc<str>>,
}

impl Watched {
    fn new() -> Self {
        Self { vigil: None, delivered: 0, looked: Instant::now(), topic: None }
    }

    /// Whether the client of `sink` has lost its way.
    fn is_stranded(&mut self, sink: &Sink) -> bool {
        let now = Instant::now();
        self.looked = now;
        let delivered = sink.context().delivered();
        let moved = std::mem::replace(&mut self.delivered, delivered) != delivered;
        if sink.context().watch.take_all_down() {
            // What was delivered until now was delivered before.
            self.vigil.get_or_insert_with(|| Vigil::new(now));
        } else if moved {
            self.vigil = None;
        }
        let Some(vigil) = &mut self.vigil else { return false };
        if sink.producer.in_flight_count() == 0 {
            vigil.moved(now);
        }
        vigil.is_stranded(now, || sink.cluster.is_well(self.topic.as_deref()))
    }
}

impl KafkaProducer {
    pub(super) fn open(cluster: Arc<Cluster>) -> Result<Self, LogError> {
        let config = cluster.config.producer();
        let sink = Sink::open(cluster, &config, Deliveries::that_keep_records())?;
        Ok(Self { sink, sent: 0, watched: Watched::new() })
    }

    /// Queues a record, and what has come back before it.
    fn queue(&mut self, record: NewRecord, deadline: Instant) -> Result<(), LogError> {
        self.watched.topic = Some(Arc::clone(&record.topic));
        loop {
            let (watched, sink) = (&mut self.watched, &self.sink);
            let code = match sink.enqueue(&record, &Headers::new(), self.sent, || watched.is_stranded(sink)) {
                Ok(()) => break,
                Err(error) => error.rdkafka_error_code(),
            };
            let why = Undelivered { index: self.sent, code: code.unwrap_or(RDKafkaErrorCode::Fail) };
            match code {
                // Gave up because of an earlier one, or of the client.
                Some(RDKafkaErrorCode::QueueFull) if self.sink.context().failed() => {
                    self.send_returned_again(deadline)?;
                }
                Some(RDKafkaErrorCode::QueueFull) => self.begin_anew(deadline)?,
                Some(code) if is_unknown_topic(code) => self.may_be_sent_again(why, &record, deadline)?,
                _ => return Err(self.refused(why, &record)),
            }
        }
        self.sent += 1;
        if self.sent.is_multiple_of(SERVE_EVERY) {
            self.sink.producer.poll(Duration::ZERO);
        }
        Ok(())
    }

    /// Sends again what librdkafka has returned, if it may be; else tells why it was returned.
    fn send_returned_again(&mut self, deadline: Instant) -> Result<(), LogError> {
        if !self.sink.context().failed() {
            return Ok(());
        }
        let mut returned = self.sink.context().take_returned();
        self.judge(&returned, deadline)?;
        // What was sent later must not overtake it.
        self.sink.producer.purge(PurgeConfig::default().queue());
        if !self.drain(deadline) {
            return Err(self.sink.unreachable("records are still waiting to be delivered"));
        }
        let purged = self.sink.context().take_returned();
        self.judge(&purged, deadline)?;
        returned.extend(purged);
        tracing::debug!(target: "headwater::kafka", records = returned.len(), "records are sent again");
        returned.into_iter().try_for_each(|returned| self.queue(returned.record, deadline))
    }

    /// Now and then looks whether the client has lost its way, and takes another one if so.
    fn look_after(&mut self, deadline: Instant) -> Result<(), LogError> {
        if self.watched.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.sink.step();
        if self.watched.is_stranded(&self.sink) { self.begin_anew(deadline) } else { Ok(()) }
    }

    /// Sends what is left with a client that has lost its way by another one.
    fn begin_anew(&mut self, deadline: Instant) -> Result<(), LogError> {
        let records = self.sink.producer.in_flight_count();
        tracing::warn!(
            target: "headwater::kafka",
            records,
            "this producer is not answered, but others are: another one takes its place"
        );
        let config = self.sink.cluster.config.producer();
        let other = Sink::in_place_of(&self.sink, &config, Deliveries::that_keep_records())?;
        self.sink.producer.purge(PurgeConfig::default().queue().inflight());
        if !self.drain(deadline) {
            return Err(self.sink.unreachable("records are still waiting to be delivered"));
        }
        let left = self.sink.context().take_returned();
        end_elsewhere(std::mem::replace(&mut self.sink, other));
        self.watched = Watched { topic: self.watched.topic.take(), ..Watched::new() };
        let judged = self.judge(&left, deadline);
        // One that is refused does not take the others with it.
        let again = left.into_iter().filter(|returned| judged.is_ok() || is_purge(returned.why.code));
        again.map(|returned| returned.record).try_for_each(|record| self.queue(record, deadline))?;
        judged
    }

    /// The error of the first record that is not to be sent again.
    fn judge(&self, returned: &[Returned], deadline: Instant) -> Result<(), LogError> {
        let mut asked = None;
        for Returned { why, record } in returned {
            if is_purge(why.code) || asked == Some(&record.topic) {
                continue;
            }
            self.may_be_sent_again(*why, record, deadline)?;
            asked = Some(&record.topic);
        }
        Ok(())
    }

    /// Waits until the topic is there that was said to be unknown. The error if it is not, or if that
    /// was not what has failed.
    fn may_be_sent_again(&self, why: Undelivered, record: &NewRecord, deadline: Instant) -> Result<(), LogError> {
        if !is_unknown_topic(why.code) {
            return Err(self.refused(why, record));
        }
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            match self.sink.cluster.is_there_after_all(&record.topic, 0).map_err(Fault::judged) {
                Ok(true) => break,
                Ok(false) => return Err(LogError::UnknownTopic { topic: record.topic.to_string() }),
                Err(Failure::Transient(_)) if Instant::now() < deadline => self.wait(backoff.pause()),
                Err(Failure::Transient(Transient(error)) | Failure::Fatal(Fatal(error))) => return Err(error),
            }
        }
        if Instant::now() >= deadline {
            return Err(self.refused(why, record));
        }
        // This client may take a moment longer to learn of it.
        self.wait(backoff.pause());
        Ok(())
    }

    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.sink.step();
        }
    }

    fn refused(&self, why: Undelivered, record: &NewRecord) -> LogError {
        self.sink.refused(Undelivered { index: 0, ..why }, Some(record), &Headers::new())
    }

    /// Waits until the fate of everything queued is known. False when `deadline` was first.
    fn drain(&self, deadline: Instant) -> bool {
        while self.sink.producer.in_flight_count() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            self.sink.step();
        }
        true
    }
}

impl Producer for KafkaProducer {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        let deadline = Instant::now() + FLUSH_PATIENCE;
        self.sink.learn(std::iter::once(&record.topic))?;
        self.sink.check_size(&record, &Headers::new(), 0)?;
        self.send_returned_again(deadline)?;
        self.queue(record, deadline)?;
        self.look_after(deadline)
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let deadline = Instant::now() + FLUSH_PATIENCE;
        loop {
            while self.sink.producer.in_flight_count() > 0 && !self.sink.context().failed() {
                if Instant::now() >= deadline {
                    return Err(self.sink.unreachable("records are still waiting to be delivered"));
                }
                self.sink.step();
                self.look_after(deadline)?;
            }
            if !self.sink.context().failed() {
                return Ok(());
            }
            self.send_returned_again(deadline)?;
        }
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(target: "headwater::kafka", %error, "records were lost when a producer closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::message::Message as _;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use rdkafka::{Offset, TopicPartitionList};

    use super::*;
    use crate::log::kafka::{KafkaConfig, KafkaLog};

    const TOPIC: &str = "raw";

    type Mock = MockCluster<'static, DefaultProducerContext>;

    /// One partition, so that the order is one.
    fn cluster() -> (Mock, KafkaConfig) {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, 1, 1).unwrap();
        let config = KafkaConfig { brokers: mock.bootstrap_servers(), ..KafkaConfig::default() };
        (mock, config)
    }

    fn producer(config: &KafkaConfig) -> KafkaProducer {
        let log = KafkaLog::new(config.clone()).unwrap();
        let mut producer = KafkaProducer::open(Arc::clone(&log.cluster)).unwrap();
        // The mock does not tell limits, and answers that question only after its timeout.
        producer.sink.knows(TOPIC);
        producer
    }

    fn numbered(number: usize) -> NewRecord {
        NewRecord {
            topic: TOPIC.into(),
            key: Some("k".into()),
            value: Some(number.to_string().into()),
            headers: vec![("number".to_owned(), number.to_string().into_bytes())],
            timestamp_ms: Some(1_000 + number as i64),
        }
    }

    /// The values of the topic's first `count` records.
    fn values(config: &KafkaConfig, count: usize) -> Vec<String> {
        let consumer: BaseConsumer = config.asking().set("group.id", "test").create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        let mut found = Vec::new();
        while found.len() < count && Instant::now() < until {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                found.push(String::from_utf8_lossy(message.payload().unwrap()).into_owned());
            }
        }
        found
    }

    #[test]
    fn records_of_a_topic_that_seems_to_be_gone_for_a_moment_are_sent_again_in_order() {
        let (mock, config) = cluster();
        let mut producer = producer(&config);
        let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        mock.request_errors(RDKafkaApiKey::Produce, &[unknown, unknown, unknown]);
        for number in 0..2_000 {
            producer.send(numbered(number)).unwrap();
            // In several batches, so that some are queued when others come back.
            if number % 40 == 0 {
                producer.wait(Duration::from_millis(3));
            }
        }
        producer.flush().unwrap();
        let wanted: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
        assert_eq!(values(&config, 2_000), wanted);
    }

    #[test]
    fn what_is_left_with_a_client_is_sent_by_another_one() {
        let (mock, config) = cluster();
        let mut producer = producer(&config);
        producer.send(numbered(0)).unwrap();
        producer.flush().unwrap();
        mock.broker_down(1).unwrap();
        (1..500).for_each(|number| producer.send(numbered(number)).unwrap());
        producer.wait(Duration::from_millis(200));
        producer.begin_anew(Instant::now() + FLUSH_PATIENCE).unwrap();
        mock.broker_up(1).unwrap();
        producer.send(numbered(500)).unwrap();
        producer.flush().unwrap();
        let wanted: Vec<String> = (0..=500).map(|n| n.to_string()).collect();
        assert_eq!(values(&config, 501), wanted);
    }

    #[test]
    fn a_right_that_is_missing_is_for_a_person() {
        let (mock, config) = cluster();
        let mut producer = producer(&config);
        mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
        producer.send(numbered(0)).unwrap();
        let error = producer.flush().unwrap_err();
        assert!(matches!(&error, LogError::Denied { .. }), "{error:?}");
    }

    #[test]
    fn a_record_that_is_refused_for_good_is_told_once() {
        let (mock, config) = cluster();
        let mut producer = producer(&config);
        mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
        producer.send(numbered(0)).unwrap();
        let error = producer.flush().unwrap_err();
        assert!(matches!(&error, LogError::Failed { .. }), "{error:?}");
        producer.send(numbered(1)).unwrap();
        producer.flush().unwrap();
        assert_eq!(values(&config, 1), ["1"]);
    }
}
