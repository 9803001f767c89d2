//! A worker: builds the dataflow on its thread, and steps it until the engine ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;
use differential_dataflow::AsCollection;
use headwater_flow::{Epoch, meter};
use timely::dataflow::Scope;
use timely::worker::Worker;

use super::error::EngineError;
use super::growth::Growth;
use super::input::InputTopic;
use super::lifecycle::{Lifecycle, PARK, PanicGuard};
use super::options::EngineOptions;
use super::orders::Orders;
use super::pace::Pace;
use super::seal::{self, Sealed};
use super::source::{self, SourceOptions};
use super::timestamps::Timestamps;
use super::watermark;
use crate::dataflow::{Context, Flow, Inputs};
use crate::log::Log;
use crate::program::Program;

pub(super) struct WorkerSetup {
    /// One for each thread: the log closes when nobody has it any more, while the workers, which share
    /// this, may still be freeing what they held.
    pub(super) logs: Mutex<Vec<Arc<dyn Log>>>,
    pub(super) inputs: Arc<BTreeMap<Arc<str>, InputTopic>>,
    pub(super) context: Context,
    pub(super) options: Arc<EngineOptions>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) orders: Orders,
    pub(super) program: Program,
    pub(super) sealed: Sender<Sealed>,
}

impl WorkerSetup {
    pub(super) fn run(&self, worker: &mut Worker) {
        let _guard = PanicGuard::new("a worker", &self.lifecycle);
        if self.options.stage_metrics {
            self.lifecycle.stages.watch(worker);
        }
        let Some(log) = self.logs.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
            return self
                .lifecycle
                .fail(EngineError::Thread { reason: "there are more workers than asked for".to_owned() });
        };
        worker.dataflow_named("Topology", |scope| self.build(scope, log));
        while worker.has_dataflows() && !self.lifecycle.failed() {
            worker.step_or_park(Some(PARK));
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    }

    fn build(&self, scope: Scope<'_, Epoch>, log: Arc<dyn Log>) {
        let (worker, workers) = (scope.index(), scope.peers());
        let restored_epoch = self.orders.restored_epoch;
        let timestamps = Timestamps::new(self.options.max_timestamp_lead);
        let source = SourceOptions {
            share: self.orders.shares.get(worker).cloned().unwrap_or_default(),
            inputs: Arc::clone(&self.inputs),
            restored_epoch,
            rebuilding: self.orders.rebuilding,
            cut: self.orders.cut,
            pace: Pace { max_bytes: self.options.pace.max_bytes / workers, ..self.options.pace },
            timestamps,
            growth: Growth {
                dealt: self.orders.dealt.clone(),
                worker,
                workers,
                every: self.options.look_for_partitions,
            },
        };
        let streams = source::source(scope, log, source, Arc::clone(&self.lifecycle));
        let idle_after_ms = self.options.idle_after.as_millis() as u64;
        let restored = (restored_epoch, self.orders.watermark.map(|mark| timestamps.believed(mark, restored_epoch)));
        let behind = self.orders.behind();
        let watermark = watermark::watermark(streams.positions.clone(), restored, idle_after_ms, behind);
        let inputs = Inputs {
            raw: streams.raw.as_collection(),
            watermark: watermark.clone(),
            states: streams.state,
            tables: streams.tables,
        };
        let mut flow = Flow::new(scope, self.context.clone(), inputs);
        self.program.build(&mut flow);
        let records = flow.finish();
        self.lifecycle.add_meters(meter::collect());
        let sealed = self.sealed.clone();
        seal::seal(scope, records, streams.positions, watermark, streams.restored, restored_epoch, sealed);
    }
}
