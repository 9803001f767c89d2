//! The log on a Kafka broker, through librdkafka.
//!
//! | promise of the log | what keeps it |
//! | --- | --- |
//! | committed records only | `isolation.level=read_committed`; watermarks are last stable offsets |
//! | the end of a partition | librdkafka's partition-EOF signal, one queue a partition, because the signal names no topic |
//! | all or nothing | one transactional, idempotent producer; a failed delivery fails the commit |
//! | fencing | `init_transactions` under a fixed `transactional.id` |
//! | equal keys, one partition | `murmur2_random`, which is where Java clients put them too |
//!
//! Nothing here runs on its own: librdkafka's threads do the work, and calls of the trait serve
//! their events. Log lines of librdkafka go to `tracing` under `headwater::kafka`.

mod admin;
mod config;
mod context;
mod producer;
mod reader;
mod vigil;
mod writer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

pub use config::KafkaConfig;
use context::{Watch, lock};
use producer::KafkaProducer;
use reader::KafkaReader;
use writer::KafkaTransactional;

use crate::error::Backoff;

use super::{Log, LogError, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec, Transactional, Watermarks};

/// How long no positions are published after their coordinator took none.
const POSITIONS_REST: Duration = Duration::from_secs(600);

/// Patience with one question to the cluster.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Patience with a client that only tries whether the cluster answers.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Topics of Kafka itself, which no listing shows.
const INTERNAL_PREFIX: &str = "__";

/// The log on Kafka.
pub struct KafkaLog {
    cluster: Arc<Cluster>,
}

impl KafkaLog {
    /// A log on the cluster that `config` names. Connects to nothing yet: [`Log::check`] does.
    ///
    /// # Errors
    /// [`LogError::Config`] when a property is unknown, has a wrong value or is not to be changed.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        Ok(Self { cluster: Arc::new(Cluster::new(config)?) })
    }

    /// Deletes topics, by their full names, with all that they hold. Those that do not exist are
    /// gone already. Nothing that runs a topology does this: it is for benchmarks and tests.
    ///
    /// # Errors
    /// When the broker refuses or cannot be reached.
    pub fn delete_topics(&self, topics: &[&str]) -> Result<(), LogError> {
        admin::delete(&self.cluster, topics)
    }
}

/// A client for questions, and how errors are told.
pub(crate) struct Cluster {
    config: KafkaConfig,
    asking: Mutex<Arc<BaseConsumer<Watch>>>,
    /// Topics that were found at least once.
    known: Mutex<BTreeSet<String>>,
    /// When publishing positions was given up.
    positions_lost: Mutex<Option<Instant>>,
}

impl Cluster {
    fn new(config: KafkaConfig) -> Result<Self, LogError> {
        config.validate()?;
        let asking =
            create(&config.asking(), Watch::default()).map_err(|e| LogError::Config { reason: config_reason(&e) })?;
        Ok(Self {
            config,
            asking: Mutex::new(Arc::new(asking)),
            known: Mutex::default(),
            positions_lost: Mutex::default(),
        })
    }

    /// Positions are not published for a while: their coordinator takes none. They are for lag tools only, and no
    /// reason to stop.
    fn lose_positions(&self) {
        tracing::warn!(target: "headwater::kafka", "positions are not published for {} min", POSITIONS_REST.as_secs() / 60);
        *lock(&self.positions_lost) = Some(Instant::now());
    }

    /// Whether a writer that begins now is to publish none.
    fn positions_are_lost(&self) -> bool {
        lock(&self.positions_lost).is_some_and(|at| at.elapsed() < POSITIONS_REST)
    }

    fn at(&self) -> String {
        format!("kafka://{}", self.config.brokers)
    }

    /// Reports what went wrong when a client could not be created.
    fn config_error(&self, error: &KafkaError) -> LogError {
        LogError::Config { reason: config_reason(error) }
    }

    fn asking(&self) -> Arc<BaseConsumer<Watch>> {
        Arc::clone(&lock(&self.asking))
    }

    /// Asks something. Where nobody answers, the next one asks by another client: this one may have
    /// lost its way, see [`vigil`].
    fn asked<T>(&self, question: impl Fn(&BaseConsumer<Watch>) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let client = self.asking();
        let answer = question(&client);
        if answer.as_ref().err().and_then(KafkaError::rdkafka_error_code).is_some_and(is_no_answer) {
            self.ask_by_another(&client);
        }
        answer
    }

    fn ask_by_another(&self, former: &Arc<BaseConsumer<Watch>>) {
        serve(former);
        let watch = Watch::of_trouble(Instant::now(), former.context().reason());
        let mut other = match create(&self.config.asking(), watch) {
            Ok(client) => Arc::new(client),
            Err(error) => {
                tracing::warn!(target: "headwater::kafka", %error, "no further client can be made");
                return;
            }
        };
        let mut asking = lock(&self.asking);
        if Arc::ptr_eq(&asking, former) {
            std::mem::swap(&mut *asking, &mut other);
        }
        drop(asking);
        end_elsewhere(other);
    }

    /// Turns the failure of a question into an error of the log; `topic` is what it was about.
    fn request_error(&self, doing: &'static str, error: &KafkaError, topic: Option<&str>) -> LogError {
        let asking = self.asking();
        serve(&asking);
        let Some(code) = error.rdkafka_error_code() else {
            return LogError::Failed { doing, reason: error.to_string() };
        };
        if let (true, Some(topic)) = (is_unknown_topic(code), topic) {
            return LogError::UnknownTopic { topic: topic.to_owned() };
        }
        if is_transient(code) {
            let reason = asking.client().context().reason().unwrap_or_else(|| code.to_string());
            return LogError::Unreachable { at: self.at(), reason };
        }
        failed(doing, code, code.to_string())
    }

    fn metadata(&self, topic: Option<&str>, timeout: Duration) -> Result<Metadata, LogError> {
        self.asked(|client| ask(client, topic, timeout))
            .map_err(|e| self.request_error("asking for the topics", &e, topic))
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, LogError> {
        let (low, high) = self
            .settled(topic, || self.asked(|client| client.fetch_watermarks(topic, partition, REQUEST_TIMEOUT)))
            .map_err(|e| self.request_error("asking for watermarks", &e, Some(topic)))?;
        Ok(Watermarks { low, high })
    }

    /// Number of partitions, or none when there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        let asked = self.settled(topic, || {
            let metadata = self.asked(|client| ask(client, Some(topic), REQUEST_TIMEOUT))?;
            let found = metadata.topics().iter().find(|t| t.name() == topic);
            match found.map(|t| (t.error().map(RDKafkaErrorCode::from), t.partitions().len())) {
                None => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic)),
                Some((Some(code), _)) => Err(KafkaError::MetadataFetch(code)),
                Some((None, partitions)) => Ok(i32::try_from(partitions).ok()),
            }
        });
        match asked {
            Err(error) if error.rdkafka_error_code().is_some_and(is_unknown_topic) => {
                lock(&self.known).remove(topic);
                Ok(None)
            }
            Err(error) => Err(self.request_error("asking for a topic", &error, Some(topic))),
            Ok(found) => {
                lock(&self.known).insert(topic.to_owned());
                Ok(found)
            }
        }
    }

    /// Whether a partition is there that was said to be unknown.
    fn is_there_after_all(&self, topic: &str, partition: i32) -> Result<bool, LogError> {
        self.partitions(topic).map(|found| found.is_some_and(|count| partition < count))
    }

    /// Whether a client that begins now is answered, and finds leaders for all partitions of `topic`.
    fn is_well(&self, topic: Option<&str>) -> bool {
        let watch = Watch::of_trouble(Instant::now(), None);
        let Ok(client) = create::<_, BaseConsumer<Watch>>(&self.config.asking(), watch) else { return false };
        let answer = ask(&client, topic, PROBE_TIMEOUT);
        end_elsewhere(client);
        let Ok(metadata) = answer else { return false };
        metadata.topics().iter().all(|t| t.error().is_none() && t.partitions().iter().all(|p| p.leader() >= 0))
    }

    /// Asks again while a partition's leader is not settled, as just after its topic was created or
    /// its broker came back. That may take as long as one question from the first such answer on: the question
    /// itself may have waited for the broker.
    fn settled<T>(&self, topic: &str, question: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let mut deadline = None;
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let answer = question();
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + REQUEST_TIMEOUT);
            let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
            // So that what has troubled the client is known before it is asked about.
            serve(&self.asking());
            let may_pass =
                code.is_some_and(|code| is_unsettled(code) || (is_unknown_topic(code) && self.may_be_back(topic)));
            if !may_pass || Instant::now() >= deadline {
                return answer;
            }
            std::thread::sleep(backoff.pause());
        }
    }

    /// Whether a topic that is said to be unknown may be known again in a moment. A broker that has
    /// just come back answers before it has read all about its topics.
    fn may_be_back(&self, topic: &str) -> bool {
        lock(&self.known).contains(topic) || self.asking().client().context().was_troubled_within(REQUEST_TIMEOUT)
    }

    fn all_watermarks(&self, topic: &str, partitions: i32) -> Result<Vec<Watermarks>, LogError> {
        (0..partitions).map(|partition| self.watermarks(topic, partition)).collect()
    }
}

/// Serves what librdkafka has to tell: its log lines and errors reach the context this way. One
/// call serves one event, and does not say whether there was one.
fn serve(client: &BaseConsumer<Watch>) {
    for _ in 0..32 {
        let _ = client.poll(Duration::ZERO);
    }
}

/// Ends a client on a thread of its own. librdkafka waits for the connections of a client that ends: for
/// long where a broker does not answer, and nobody else is to wait with it.
fn end_elsewhere<C: Send + 'static>(client: C) {
    // Without a thread it ends here.
    let _ = std::thread::Builder::new().name("former client".to_owned()).spawn(move || drop(client));
}

/// Asks for metadata, and gives up before the timeout once no broker can be connected to.
fn ask(client: &BaseConsumer<Watch>, topic: Option<&str>, timeout: Duration) -> Result<Metadata, KafkaError> {
    let deadline = Instant::now() + timeout;
    let mut slice = Duration::from_millis(300);
    // While a connection is being made anew, questions fail at once.
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    serve(client);
    client.context().take_all_down();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match client.fetch_metadata(topic, slice.min(left)) {
            Ok(metadata) if !metadata.brokers().is_empty() => return Ok(metadata),
            // A broker that has only just started does not even know itself.
            Ok(_) => KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerNotAvailable),
            Err(error) => error,
        };
        serve(client);
        let is_transient = error.rdkafka_error_code().is_some_and(is_transient);
        if !is_transient || client.context().take_all_down() || Instant::now() >= deadline {
            return Err(error);
        }
        std::thread::sleep(backoff.pause().min(deadline.saturating_duration_since(Instant::now())));
        slice = (slice * 2).min(timeout);
    }
}

/// Creates a client of librdkafka.
fn create<C, T>(config: &rdkafka::ClientConfig, context: C) -> Result<T, KafkaError>
where
    C: rdkafka::ClientContext,
    T: FromClientConfigAndContext<C>,
{
    config.create_with_context(context)
}

/// What is wrong with a configuration, without the value of a secret.
fn config_reason(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, key, _) if config::is_secret(key) => {
            format!("the value of the property `{key}` is refused")
        }
        KafkaError::ClientConfig(_, text, key, value) => format!("property `{key}` = {value:?}: {text}"),
        KafkaError::ClientCreation(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_unknown_topic(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
    )
}

/// A partition that has no leader yet, or another than was thought.
fn is_unsettled(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
    )
}

/// The error of the log for what does not pass by itself: a right or a setting that is missing is for a person.
fn failed(doing: &'static str, code: RDKafkaErrorCode, reason: String) -> LogError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed
        | Code::PolicyViolation => LogError::Denied { doing, reason },
        Code::InvalidTopic | Code::InvalidConfig | Code::InvalidTransactionTimeout => {
            LogError::Config { reason: format!("{doing} failed: {reason}") }
        }
        _ => LogError::Failed { doing, reason },
    }
}

/// Nobody has answered at all.
fn is_no_answer(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::RequestTimedOut
    )
}

/// Trouble that passes by itself: brokers that are away, moving leaders, timeouts.
fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::Authentication
            | Code::SSL
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::WaitingForCoordinator
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
    )
}

impl Log for KafkaLog {
    fn describe(&self) -> String {
        self.cluster.at()
    }

    fn check(&self, timeout: Duration) -> Result<(), LogError> {
        // A client of its own: connections that others hold would hide that new ones fail.
        let client: BaseConsumer<Watch> =
            create(&self.cluster.config.asking(), Watch::default()).map_err(|e| self.cluster.config_error(&e))?;
        let answer = ask(&client, None, timeout);
        let said = client.context().reason();
        end_elsewhere(client);
        let Err(error) = answer else { return Ok(()) };
        let code = || error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        Err(LogError::Unreachable { at: self.describe(), reason: said.unwrap_or_else(code) })
    }

    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        admin::ensure(&self.cluster, specs)
    }

    fn topics(&self, prefix: &str) -> Result<Vec<TopicInfo>, LogError> {
        let metadata = self.cluster.metadata(None, REQUEST_TIMEOUT)?;
        let hides_internal = !prefix.starts_with(INTERNAL_PREFIX);
        let mut found: Vec<(&str, i32)> = metadata
            .topics()
            .iter()
            .filter(|t| t.name().starts_with(prefix) && !(hides_internal && t.name().starts_with(INTERNAL_PREFIX)))
            .filter_map(|t| Some((t.name(), i32::try_from(t.partitions().len()).ok()?)))
            .collect();
        found.sort_unstable();
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        let policies = admin::setting(&self.cluster, &names, "cleanup.policy")?;
        found
            .into_iter()
            .map(|(name, partitions)| {
                Ok(TopicInfo {
                    name: name.to_owned(),
                    partitions: self.cluster.all_watermarks(name, partitions)?,
                    cleanup: policies.get(name).cloned().unwrap_or_default(),
                })
            })
            .collect()
    }

    fn watermarks(&self, topic: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        match self.cluster.partitions(topic)? {
            Some(partitions) => self.cluster.all_watermarks(topic, partitions).map(Some),
            None => Ok(None),
        }
    }

    fn reader(&self, partitions: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(KafkaReader::open(Arc::clone(&self.cluster), partitions)?))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(KafkaProducer::open(Arc::clone(&self.cluster))?))
    }

    fn transactional(&self, id: &str, group: &str) -> Result<Box<dyn Transactional>, LogError> {
        // Fails fast when nothing answers; opening itself is patient.
        self.check(REQUEST_TIMEOUT)?;
        Ok(Box::new(KafkaTransactional::open(Arc::clone(&self.cluster), id, group)?))
    }
}
