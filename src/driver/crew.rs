//! The workers of a driver: the dataflow on the calling thread, or on several threads.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use differential_dataflow::AsCollection;
use headwater_flow::{Epoch, RawRecord, meter};
use timely::WorkerConfig;
use timely::communication::allocator::thread::Thread;
use timely::communication::{Allocator, WorkerGuards};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::{InputHandleVec, ProbeHandle};
use timely::worker::Worker;

use crate::dataflow::{Context, Flow, Inputs, OutRecord};
use crate::log::LogRecord;
use crate::program::Program;

/// What one worker is given, at the epochs where its inputs stand.
#[derive(Default)]
pub(super) struct Given {
    pub(super) raw: Vec<RawRecord>,
    pub(super) states: Vec<LogRecord>,
    pub(super) tables: Vec<LogRecord>,
    pub(super) watermark: Option<i64>,
}

/// An output record, and the epoch and the worker that gave it.
pub(super) struct Taken {
    pub(super) epoch: Epoch,
    pub(super) worker: usize,
    pub(super) record: OutRecord,
}

/// An epoch that does not end in this time never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a worker waits for what the others send, before it looks whether they still live.
const PAUSE: Duration = Duration::from_millis(20);

/// The dataflow on one worker, and the ends of its streams.
struct Station {
    worker: Worker,
    raw: InputHandleVec<Epoch, (RawRecord, Epoch, isize)>,
    states: InputHandleVec<Epoch, Arc<LogRecord>>,
    tables: InputHandleVec<Epoch, LogRecord>,
    watermark: InputHandleVec<Epoch, i64>,
    ended: ProbeHandle<Epoch>,
    taken: Rc<RefCell<Vec<Taken>>>,
    failed: Arc<AtomicBool>,
}

impl Station {
    fn new(mut worker: Worker, program: &Program, context: &Context, first: Epoch, failed: Arc<AtomicBool>) -> Self {
        let (mut raw, mut states) = (InputHandleVec::new(), InputHandleVec::new());
        let (mut tables, mut watermark) = (InputHandleVec::new(), InputHandleVec::new());
        let taken = Rc::new(RefCell::new(Vec::new()));
        let take = Rc::clone(&taken);
        let ended = worker.dataflow_named("Topology", |scope| {
            let inputs = Inputs {
                raw: raw.to_stream(scope).as_collection(),
                watermark: watermark.to_stream(scope),
                states: states.to_stream(scope),
                tables: tables.to_stream(scope),
            };
            let mut flow = Flow::new(scope, context.clone(), inputs);
            program.build(&mut flow);
            let worker = scope.index();
            let all = flow.finish().unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
                Pipeline,
                "driver/Take",
                |_capability, _info| {
                    move |input, _out| {
                        input.for_each(|capability, data| {
                            let epoch = *capability.time();
                            take.borrow_mut().extend(data.drain(..).map(|record| Taken { epoch, worker, record }));
                        });
                    }
                },
            );
            all.probe().0
        });
        // They are for those who watch a running engine.
        drop(meter::collect());
        raw.advance_to(first);
        states.advance_to(context.restored_epoch);
        tables.advance_to(context.restored_epoch);
        watermark.advance_to(context.restored_epoch);
        Self { worker, raw, states, tables, watermark, ended, taken, failed }
    }

    fn give(&mut self, given: Given) {
        let epoch = *self.raw.time();
        given.raw.into_iter().for_each(|record| self.raw.send((record, epoch, 1)));
        given.states.into_iter().for_each(|record| self.states.send(Arc::new(record)));
        given.tables.into_iter().for_each(|record| self.tables.send(record));
        given.watermark.into_iter().for_each(|watermark| self.watermark.send(watermark));
    }

    /// Brings the inputs to `epoch`, as far as they stand before it, and works until nothing before it can
    /// come any more; returns what has come.
    fn advance(&mut self, epoch: Epoch) -> Vec<Taken> {
        self.raw.advance_to(epoch.max(*self.raw.time()));
        self.states.advance_to(epoch.max(*self.states.time()));
        self.tables.advance_to(epoch.max(*self.tables.time()));
        self.watermark.advance_to(epoch.max(*self.watermark.time()));
        let begun = Instant::now();
        while self.ended.less_than(&epoch) {
            assert!(!self.failed.load(Ordering::Acquire), "another worker has panicked; see the message above");
            assert!(
                begun.elapsed() < PATIENCE,
                "the dataflow does not come to epoch {epoch}: an operator keeps a capability for an earlier one"
            );
            // Alone it waits for nobody.
            let pause = if self.worker.peers() > 1 { PAUSE } else { Duration::ZERO };
            self.worker.step_or_park(Some(pause));
        }
        // For operators that no output waits for.
        self.worker.step();
        std::mem::take(&mut *self.taken.borrow_mut())
    }
}

/// All workers.
pub(super) struct Crew(Kind);

enum Kind {
    /// One, on the calling thread.
    Here(Box<Station>),
    /// Several, each on a thread.
    Threads(Threads),
}

struct Threads {
    orders: Vec<Sender<Order>>,
    taken: Receiver<Vec<Taken>>,
    /// Whether a worker has panicked.
    failed: Arc<AtomicBool>,
    /// `None` once they are waited for.
    guards: Option<WorkerGuards<()>>,
}

impl Threads {
    /// What every worker gives before `epoch`.
    fn advance(&mut self, epoch: Epoch) -> Vec<Taken> {
        for order in &self.orders {
            let _ = order.send(Order::Advance(epoch));
        }
        let (mut all, mut missing) = (Vec::new(), self.orders.len());
        while missing > 0 {
            match self.taken.recv_timeout(PAUSE) {
                Ok(part) => {
                    all.extend(part);
                    missing -= 1;
                }
                // One that has panicked sends nothing any more; the others may.
                Err(_) => {
                    assert!(!self.failed.load(Ordering::Acquire), "a worker has panicked; see the message above");
                }
            }
        }
        all
    }
}

impl Drop for Threads {
    /// Waits for the workers. One that has panicked was reported: its guard would panic again.
    fn drop(&mut self) {
        self.orders.clear();
        drop(self.guards.take().map(WorkerGuards::join));
    }
}

enum Order {
    Give(Given),
    Advance(Epoch),
}

impl Crew {
    /// Builds the dataflow on `workers` workers. Raw records enter from epoch `first` on, everything else
    /// from the restored epoch.
    ///
    /// What several workers exchange passes as bytes, as between processes: every type has to survive that.
    pub(super) fn start(workers: usize, program: &Program, context: &Context, first: Epoch) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        if workers <= 1 {
            let worker =
                Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), Some(Instant::now()));
            return Self(Kind::Here(Box::new(Station::new(worker, program, context, first, failed))));
        }
        let (builders, others) = match timely::CommunicationConfig::ProcessBinary(workers).try_build() {
            Ok(built) => built,
            Err(reason) => unavailable(&reason),
        };
        let (orders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| unbounded::<Order>()).unzip();
        let receivers = Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>());
        let (send, taken) = unbounded();
        let (program, context, failing) = (program.clone(), context.clone(), Arc::clone(&failed));
        let work = move |worker: &mut Worker| {
            let _guard = Failing(Arc::clone(&failing));
            let mut receivers = receivers.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(receiver) = receivers.get_mut(worker.index()).and_then(Option::take) else { return };
            drop(receivers);
            let mut station = Station::new(worker.clone(), &program, &context, first, Arc::clone(&failing));
            while let Ok(order) = receiver.recv() {
                match order {
                    Order::Give(given) => station.give(given),
                    // Nobody listens any more when the driver is gone.
                    Order::Advance(epoch) => drop(send.send(station.advance(epoch))),
                }
            }
            // Another worker may have panicked, and would never come to the end of the dataflow.
            drop(station);
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        };
        match timely::execute::execute_from(builders, others, WorkerConfig::default(), work) {
            Ok(guards) => Self(Kind::Threads(Threads { orders, taken, failed, guards: Some(guards) })),
            Err(reason) => unavailable(&reason),
        }
    }

    /// The number of workers.
    pub(super) fn workers(&self) -> usize {
        match &self.0 {
            Kind::Here(_) => 1,
            Kind::Threads(threads) => threads.orders.len(),
        }
    }

    /// Gives what enters at the epochs where the inputs stand: to each worker its own.
    pub(super) fn give(&mut self, given: Vec<Given>) {
        match &mut self.0 {
            Kind::Here(station) => given.into_iter().for_each(|given| station.give(given)),
            Kind::Threads(threads) => {
                for (order, given) in threads.orders.iter().zip(given) {
                    // A worker that has panicked is reported by the next advance.
                    let _ = order.send(Order::Give(given));
                }
            }
        }
    }

    /// Completes all epochs before `epoch`; returns what they gave, in their order, within an epoch by topic
    /// and key, and within those as it came.
    pub(super) fn advance(&mut self, epoch: Epoch) -> Vec<Taken> {
        let mut all = match &mut self.0 {
            Kind::Here(station) => station.advance(epoch),
            Kind::Threads(threads) => threads.advance(epoch),
        };
        all.sort_by(|a, b| {
            let place = |taken: &Taken| (taken.epoch, taken.record.topic);
            place(a).cmp(&place(b)).then_with(|| a.record.key.cmp(&b.record.key)).then(a.worker.cmp(&b.worker))
        });
        all
    }
}

#[allow(clippy::panic, reason = "a test cannot go on without its threads")]
fn unavailable(reason: &str) -> ! {
    panic!("the threads of the workers cannot be started: {reason}")
}

/// Says that its thread has panicked: others would wait for it.
struct Failing(Arc<AtomicBool>);

impl Drop for Failing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Release);
        }
    }
}
