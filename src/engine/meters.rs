//! Meters: what the engine's threads tell of themselves, for `/metrics`.
//!
//! docs/operations.md says what each metric means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    paused: Counter,
    paused_since: Option<Instant>,
}

struct Partition {
    records: Counter,
    bytes: Counter,
}

impl InputMeters {
    pub(super) fn new() -> Self {
        let paused = metrics::counter!("headwater_input_paused_milliseconds_total");
        Self { partitions: Vec::new(), last: 0, paused, paused_since: None }
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

/// The parts of a topology for which time and records are told, by the names of their operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Read,
    Restore,
    Extract,
    Upsert,
    Geocode,
    Fingerprint,
    Block,
    Cluster,
    Merge,
    Score,
    Window,
    Encode,
    Commit,
    Other,
}

const STAGES: [(Stage, &str); 14] = [
    (Stage::Read, "read"),
    (Stage::Restore, "restore"),
    (Stage::Extract, "extract"),
    (Stage::Upsert, "upsert"),
    (Stage::Geocode, "geocode"),
    (Stage::Fingerprint, "fingerprint"),
    (Stage::Block, "block"),
    (Stage::Cluster, "cluster"),
    (Stage::Merge, "merge"),
    (Stage::Score, "score"),
    (Stage::Window, "window"),
    (Stage::Encode, "encode"),
    (Stage::Commit, "commit"),
    (Stage::Other, "other"),
];

impl Stage {
    fn of(operator: &str) -> Self {
        match operator {
            "Source" | "Identify" => Self::Read,
            "Latest" | "Table" | "NewFailures" => Self::Restore,
            "Documents" => Self::Extract,
            "Register" => Self::Upsert,
            "GeocodePlaces" | "OkErr" => Self::Geocode,
            "ResolveFingerprint" => Self::Fingerprint,
            "ResolveBlocks" => Self::Block,
            "ResolveClusters" => Self::Cluster,
            "ResolvePlaces" | "ResolveMerge" => Self::Merge,
            "ScoreEvents" => Self::Score,
            "Window" | "SumTallies" | "SumMeasures" => Self::Window,
            "Commit" => Self::Commit,
            name if name.starts_with("Encode") => Self::Encode,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Default)]
struct StageTotals {
    busy_ns: AtomicU64,
    records_in: AtomicU64,
    records_out: AtomicU64,
}

/// Time and records by stage, of all workers of this process.
#[derive(Debug, Default)]
pub struct Stages([StageTotals; STAGES.len()]);

impl Stages {
    /// Gives the figures to the metrics recorder.
    pub fn publish(&self) {
        for ((_, stage), totals) in STAGES.iter().zip(&self.0) {
            let total = |value: &AtomicU64| value.load(Ordering::Relaxed);
            let busy = total(&totals.busy_ns) / 1_000_000;
            metrics::counter!("headwater_stage_busy_milliseconds_total", "stage" => *stage).absolute(busy);
            let records_in = total(&totals.records_in);
            metrics::counter!("headwater_stage_records_in_total", "stage" => *stage).absolute(records_in);
            let records_out = total(&totals.records_out);
            metrics::counter!("headwater_stage_records_out_total", "stage" => *stage).absolute(records_out);
        }
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
    /// The stage of each operator by its id: only of those that are directly in the dataflow, since
    /// the dataflow itself is an operator around them.
    by_id: Vec<Option<Stage>>,
    /// The same by the operator's index in the dataflow.
    by_index: Vec<Option<Stage>>,
    /// For each channel the indexes of the operators that it joins.
    channels: Vec<Option<(usize, usize)>>,
    began: Duration,
    since: [Seen; STAGES.len()],
}

#[derive(Default, Clone, Copy)]
struct Seen {
    busy: Duration,
    records_in: u64,
    records_out: u64,
}

impl Observer {
    fn observe(&mut self, at: Duration, event: TimelyEvent) {
        match event {
            TimelyEvent::Operates(operator) => {
                if let [_, index] = *operator.addr.as_slice() {
                    put(&mut self.by_id, operator.id, Stage::of(&operator.name));
                    put(&mut self.by_index, index, Stage::of(&operator.name));
                }
            }
            TimelyEvent::Channels(channel) if channel.scope_addr.len() == 1 => {
                put(&mut self.channels, channel.id, (channel.source.0, channel.target.0));
            }
            TimelyEvent::Schedule(schedule) => {
                let Some(seen) = get(&self.by_id, schedule.id).and_then(|stage| self.since.get_mut(stage as usize))
                else {
                    return;
                };
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
                let Some(seen) = stage.filter(|_| from != to).and_then(|stage| self.since.get_mut(stage as usize))
                else {
                    return;
                };
                let records = u64::try_from(message.record_count).unwrap_or(0);
                *(if message.is_send { &mut seen.records_out } else { &mut seen.records_in }) += records;
            }
            _ => {}
        }
    }

    fn hand_over(&mut self, totals: &Stages) {
        for (seen, totals) in self.since.iter_mut().zip(&totals.0) {
            let Seen { busy, records_in, records_out } = std::mem::take(seen);
            if !busy.is_zero() {
                totals.busy_ns.fetch_add(busy.as_nanos() as u64, Ordering::Relaxed);
                totals.records_in.fetch_add(records_in, Ordering::Relaxed);
                totals.records_out.fetch_add(records_out, Ordering::Relaxed);
            }
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
    fn stages_are_listed_in_the_order_of_their_numbers() {
        assert!(STAGES.iter().enumerate().all(|(index, (stage, _))| *stage as usize == index));
    }

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
            (0, operator(8, &[0, 1], "Documents")),
            (0, operator(9, &[0, 2], "Register")),
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
        let told = |stage: Stage| {
            let totals = &stages.0[stage as usize];
            [&totals.busy_ns, &totals.records_in, &totals.records_out].map(|value| value.load(Ordering::Relaxed))
        };
        assert_eq!(told(Stage::Extract), [30_000_000, 0, 3]);
        assert_eq!(told(Stage::Upsert), [5_000_000, 3, 4]);
        assert_eq!(told(Stage::Other), [0, 0, 0]);
    }

    #[test]
    fn pauses_add_up() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let text = metrics::with_local_recorder(&recorder, || {
            let mut meters = InputMeters::new();
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
