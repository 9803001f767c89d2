//! Meters: what the engine's threads tell of themselves, for `/metrics`.
//!
//! docs/operations.md says what each metric means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use crate::log::TopicPartition;

/// What one source tells of its partitions.
pub(super) struct InputMeters {
    partitions: Vec<(TopicPartition, Partition)>,
    /// Where in `partitions` the last record was counted: records come in runs.
    last: usize,
    sources: SourceMeters,
    paused: Counter,
    paused_since: Option<Instant>,
}

struct Partition {
    records: Counter,
    bytes: Counter,
}

/// The sources that are labels of metrics. Anybody may name sources, and every label stays in memory: beyond a
/// number of them, all are "other".
#[derive(Debug, Default)]
pub struct SourceLabels(Mutex<BTreeSet<String>>);

impl SourceLabels {
    /// Of records that name no source.
    pub const UNKNOWN: &'static str = "unknown";
    const OTHER: &'static str = "other";
    const MOST: usize = 100;
    const LONGEST: usize = 100;

    /// The label of `source`.
    pub fn of(&self, source: String) -> String {
        let mut known = self.known();
        if known.contains(&source) {
            return source;
        }
        if known.len() >= Self::MOST || source.len() > Self::LONGEST {
            return Self::OTHER.to_owned();
        }
        known.insert(source.clone());
        source
    }

    /// All labels, once there are as many as there may be.
    fn full(&self) -> Option<BTreeSet<String>> {
        let known = self.known();
        (known.len() >= Self::MOST).then(|| known.clone())
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records by source, as one worker counts them. They are summed up here and published now and then, since what
/// threads share is dear to touch.
struct SourceMeters {
    labels: Arc<SourceLabels>,
    known: foldhash::HashMap<String, Pending>,
    other: Pending,
    /// Whether `known` holds all labels that there will ever be.
    full: bool,
}

/// A counter, and what is not in it yet.
struct Pending {
    records: Counter,
    since: u64,
}

impl Pending {
    fn of(label: String) -> Self {
        Self { records: metrics::counter!("headwater_source_records_total", "source" => label), since: 0 }
    }

    fn publish(&mut self) {
        match std::mem::take(&mut self.since) {
            0 => {}
            since => self.records.increment(since),
        }
    }
}

impl SourceMeters {
    fn new(labels: Arc<SourceLabels>) -> Self {
        let other = Pending::of(SourceLabels::OTHER.to_owned());
        Self { labels, known: foldhash::HashMap::default(), other, full: false }
    }

    fn count(&mut self, source: &str) {
        if let Some(known) = self.known.get_mut(source) {
            known.since += 1;
            return;
        }
        if !self.full && source.len() <= SourceLabels::LONGEST {
            self.meet(source);
        }
        self.known.get_mut(source).unwrap_or(&mut self.other).since += 1;
    }

    /// A source that this worker has not seen.
    fn meet(&mut self, source: &str) {
        let mut labels = BTreeSet::from([self.labels.of(source.to_owned())]);
        if let Some(all) = self.labels.full() {
            self.full = true;
            labels = all;
        }
        for label in labels {
            self.known.entry(label).or_insert_with_key(|label| Pending::of(label.clone()));
        }
    }

    fn publish(&mut self) {
        self.known.values_mut().chain([&mut self.other]).for_each(Pending::publish);
    }
}

impl InputMeters {
    pub(super) fn new(labels: Arc<SourceLabels>) -> Self {
        let paused = metrics::counter!("headwater_input_paused_milliseconds_total");
        Self { partitions: Vec::new(), last: 0, sources: SourceMeters::new(labels), paused, paused_since: None }
    }

    /// A raw record of this source was read.
    pub(super) fn read_of(&mut self, source: Option<&str>) {
        self.sources.count(source.unwrap_or(SourceLabels::UNKNOWN));
    }

    /// Gives what was counted of sources to the metrics recorder.
    pub(super) fn publish_sources(&mut self) {
        self.sources.publish();
    }

    /// A raw record of so many bytes was read.
    pub(super) fn read(&mut self, at: &TopicPartition, bytes: usize) {
        if self.partitions.get(self.last).is_none_or(|(known, _)| known != at) {
            self.last = self.find(at);
        }
        if let Some((_, partition)) = self.partitions.get(self.last) {
            partition.records.increment(1);
            partition.bytes.increment(bytes as u64);
        }
    }

    fn find(&mut self, at: &TopicPartition) -> usize {
        if let Some(found) = self.partitions.iter().position(|(known, _)| known == at) {
            return found;
        }
        let labels = [("topic", at.topic.to_string()), ("partition", at.partition.to_string())];
        let records = metrics::counter!("headwater_input_records_total", &labels);
        let bytes = metrics::counter!("headwater_input_bytes_total", &labels);
        self.partitions.push((at.clone(), Partition { records, bytes }));
        self.partitions.len() - 1
    }

    /// Whether reading waits for commits, which is asked time and again.
    pub(super) fn pause(&mut self, paused: bool) {
        let now = Instant::now();
        if let Some(since) = self.paused_since {
            let whole = now.duration_since(since).as_millis() as u64;
            self.paused.increment(whole);
            // What is left of a millisecond counts the next time.
            self.paused_since = Some(since + Duration::from_millis(whole));
        }
        match paused {
            true => drop(self.paused_since.get_or_insert(now)),
            false => self.paused_since = None,
        }
    }
}

/// The stage of an operator: what its name says before the `/`, such as `score` of `score/Events`.
fn stage_of(operator: &str) -> &str {
    operator.split_once('/').map_or(OTHER, |(stage, _)| stage)
}

/// The stage of operators whose names say none.
const OTHER: &str = "other";

#[derive(Debug, Default, Clone, Copy)]
struct StageTotals {
    busy: Duration,
    records_in: u64,
    records_out: u64,
}

/// Time and records by stage, of all workers of this process. A stage is a part of a topology: the operators
/// whose names begin alike, see [`stage_of`].
#[derive(Debug, Default)]
pub struct Stages(Mutex<BTreeMap<String, StageTotals>>);

impl Stages {
    /// Gives the figures to the metrics recorder.
    pub fn publish(&self) {
        for (stage, totals) in &*self.lock() {
            let of = |name: &'static str| metrics::counter!(name, "stage" => stage.clone());
            of("headwater_stage_busy_milliseconds_total").absolute(totals.busy.as_millis() as u64);
            of("headwater_stage_records_in_total").absolute(totals.records_in);
            of("headwater_stage_records_out_total").absolute(totals.records_out);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, StageTotals>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the operators of `worker`, which has none yet, by timely's own log.
    pub(super) fn watch(self: &Arc<Self>, worker: &Worker) {
        let Some(mut register) = worker.log_register() else { return };
        let mut observer = Observer::default();
        let totals = Arc::clone(self);
        register.insert::<TimelyEventBuilder, _>("timely", move |_, events| match events {
            Some(events) => events.drain(..).for_each(|(at, event)| observer.observe(at, event)),
            None => observer.hand_over(&totals),
        });
    }
}

/// Follows what one worker's log says.
#[derive(Default)]
struct Observer {
    /// The stages of this worker's operators, and what they have done since it was handed over.
    stages: Vec<(String, StageTotals)>,
    /// The stage of each operator by its id, as an index of `stages`: only of those that are directly in the
    /// dataflow, since the dataflow itself is an operator around them.
    by_id: Vec<Option<usize>>,
    /// The same by the operator's index in the dataflow.
    by_index: Vec<Option<usize>>,
    /// For each channel the indexes of the operators that it joins.
    channels: Vec<Option<(usize, usize)>>,
    began: Duration,
}

impl Observer {
    fn observe(&mut self, at: Duration, event: TimelyEvent) {
        match event {
            TimelyEvent::Operates(operator) => {
                if let [_, index] = *operator.addr.as_slice() {
                    let stage = self.stage(stage_of(&operator.name));
                    put(&mut self.by_id, operator.id, stage);
                    put(&mut self.by_index, index, stage);
                }
            }
            TimelyEvent::Channels(channel) if channel.scope_addr.len() == 1 => {
                put(&mut self.channels, channel.id, (channel.source.0, channel.target.0));
            }
            TimelyEvent::Schedule(schedule) => {
                let Some(stage) = get(&self.by_id, schedule.id) else { return };
                let Some((_, seen)) = self.stages.get_mut(stage) else { return };
                match schedule.start_stop {
                    StartStop::Start => self.began = at,
                    StartStop::Stop => seen.busy += at.saturating_sub(self.began),
                }
            }
            TimelyEvent::Messages(message) => {
                let Some((from, to)) = get(&self.channels, message.channel) else { return };
                let (from, to) = (get(&self.by_index, from), get(&self.by_index, to));
                // What passes between the operators of one stage neither enters nor leaves it.
                let stage = if message.is_send { from } else { to };
                let Some(stage) = stage.filter(|_| from != to) else { return };
                let Some((_, seen)) = self.stages.get_mut(stage) else { return };
                let records = u64::try_from(message.record_count).unwrap_or(0);
                *(if message.is_send { &mut seen.records_out } else { &mut seen.records_in }) += records;
            }
            _ => {}
        }
    }

    /// The index of a stage.
    fn stage(&mut self, name: &str) -> usize {
        if let Some(known) = self.stages.iter().position(|(stage, _)| stage == name) {
            return known;
        }
        self.stages.push((name.to_owned(), StageTotals::default()));
        self.stages.len() - 1
    }

    fn hand_over(&mut self, all: &Stages) {
        let mut all = all.lock();
        for (stage, seen) in self.stages.iter_mut().filter(|(_, seen)| !seen.busy.is_zero()) {
            let StageTotals { busy, records_in, records_out } = std::mem::take(seen);
            let totals = match all.get_mut(stage) {
                Some(totals) => totals,
                None => all.entry(stage.clone()).or_default(),
            };
            totals.busy += busy;
            totals.records_in += records_in;
            totals.records_out += records_out;
        }
    }
}

fn put<T: Clone>(list: &mut Vec<Option<T>>, at: usize, value: T) {
    if list.len() <= at {
        list.resize(at + 1, None);
    }
    if let Some(slot) = list.get_mut(at) {
        *slot = Some(value);
    }
}

fn get<T: Copy>(list: &[Option<T>], at: usize) -> Option<T> {
    list.get(at).copied().flatten()
}

#[cfg(test)]
mod tests {
    use timely::logging::{ChannelsEvent, MessagesEvent, OperatesEvent, ScheduleEvent};

    use super::*;

    #[test]
    fn time_and_records_go_to_the_stage_of_an_operator() {
        let mut observer = Observer::default();
        let operator = |id, addr: &[usize], name: &str| {
            TimelyEvent::from(OperatesEvent { id, addr: addr.to_vec(), name: name.to_owned() })
        };
        let channel = |id, from, to| {
            let (source, target) = ((from, 0), (to, 0));
            TimelyEvent::from(ChannelsEvent { id, scope_addr: vec![0], source, target, typ: String::new() })
        };
        let message = |is_send, channel, record_count| {
            TimelyEvent::from(MessagesEvent { is_send, channel, source: 0, target: 0, seq_no: 0, record_count })
        };
        let events = [
            (0, operator(7, &[0], "Topology")),
            (0, operator(8, &[0, 1], "extract/Documents")),
            (0, operator(9, &[0, 2], "upsert/Register")),
            (0, operator(10, &[0, 3], "Commit")),
            (0, channel(1, 1, 2)),
            (0, channel(2, 2, 3)),
            (10, ScheduleEvent::start(7).into()),
            (20, ScheduleEvent::start(8).into()),
            (25, message(true, 1, 3)),
            (50, ScheduleEvent::stop(8).into()),
            (60, ScheduleEvent::start(9).into()),
            (60, message(false, 1, 3)),
            (60, message(true, 2, 4)),
            (65, ScheduleEvent::stop(9).into()),
            (99, ScheduleEvent::stop(7).into()),
        ];
        events.into_iter().for_each(|(ms, event)| observer.observe(Duration::from_millis(ms), event));
        let stages = Stages::default();
        observer.hand_over(&stages);
        let told: Vec<_> = stages
            .lock()
            .iter()
            .map(|(stage, totals)| (stage.clone(), totals.busy.as_millis(), totals.records_in, totals.records_out))
            .collect();
        assert_eq!(told, [("extract".to_owned(), 30, 0, 3), ("upsert".to_owned(), 5, 3, 4)]);
        assert_eq!(stage_of("Concatenate"), OTHER);
    }

    #[test]
    fn sources_are_counted_under_a_bounded_number_of_labels() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let labels = Arc::new(SourceLabels::default());
        let text = metrics::with_local_recorder(&recorder, || {
            let mut workers = [(); 2].map(|()| InputMeters::new(Arc::clone(&labels)));
            workers[0].read_of(None);
            for n in 0..150 {
                // Both workers take the same ones for "other", whichever saw them first.
                workers[n % 2].read_of(Some(&format!("s{n}")));
                workers[0].read_of(Some(&format!("s{n}")));
            }
            workers[1].read_of(Some(&"x".repeat(101)));
            workers.iter_mut().for_each(InputMeters::publish_sources);
            workers.iter_mut().for_each(InputMeters::publish_sources);
            recorder.handle().render()
        });
        let count = |source: &str| {
            let line = format!("headwater_source_records_total{{source=\"{source}\"}} ");
            text.lines().find_map(|found| found.strip_prefix(&line)).map(|n| n.parse::<u64>().unwrap())
        };
        assert_eq!((count("unknown"), count("s0"), count("s98"), count("s99")), (Some(1), Some(2), Some(2), None));
        assert_eq!(count("other"), Some(2 * 51 + 1));
        assert_eq!(labels.of("s99".to_owned()), "other", "dead letters have the same labels");
        assert_eq!(text.matches("headwater_source_records_total{").count(), 101);
    }

    #[test]
    fn pauses_add_up() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let text = metrics::with_local_recorder(&recorder, || {
            let mut meters = InputMeters::new(Arc::default());
            meters.pause(true);
            meters.paused_since = meters.paused_since.map(|since| since - Duration::from_millis(700));
            meters.pause(true);
            meters.pause(false);
            meters.pause(false);
            let at = TopicPartition::new("raw", 1);
            meters.read(&at, 10);
            meters.read(&TopicPartition::new("raw", 0), 5);
            meters.read(&at, 20);
            recorder.handle().render()
        });
        assert!(text.contains("headwater_input_paused_milliseconds_total 70"), "{text}");
        assert!(text.contains("headwater_input_bytes_total{topic=\"raw\",partition=\"1\"} 30"), "{text}");
    }
}
