//! [`Flow`]: what a topology builds its dataflow on.

use std::sync::Arc;

use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use headwater_flow::{DeadLetter, Epoch, RawRecord};
use serde::de::DeserializeOwned;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::operator::{Operator, source};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::{Scope, StreamVec};

use super::context::{Context, Recovery};
use super::record::OutRecord;
use super::{dead_letter, encode, restore, table};
use crate::log::LogRecord;
use crate::schema::{Facts, Family, Gauge, RowTopic, State, Table, TopicId};

/// The streams that a source gives.
pub struct Inputs<'s> {
    /// Raw records, each once.
    pub raw: VecCollection<'s, Epoch, RawRecord>,
    /// The watermark, at each epoch at which it moves, on worker 0.
    pub watermark: StreamVec<'s, Epoch, i64>,
    /// Records of the state topics, all at the restored epoch.
    pub states: StreamVec<'s, Epoch, Arc<LogRecord>>,
    /// Records of the table topics.
    pub tables: StreamVec<'s, Epoch, LogRecord>,
}

/// What a topology builds its dataflow on, on one worker: its inputs, its restored state, its outputs.
///
/// The examples run a topology on the [driver](crate::driver), which needs neither a log nor a clock.
pub struct Flow<'s> {
    scope: Scope<'s, Epoch>,
    context: Context,
    inputs: Inputs<'s>,
    outputs: Vec<StreamVec<'s, Epoch, OutRecord>>,
    /// Records of tables that could not be read, and that no dead letter tells of yet.
    failures: Vec<StreamVec<'s, Epoch, DeadLetter>>,
}

impl<'s> Flow<'s> {
    /// A dataflow without operators yet.
    pub fn new(scope: Scope<'s, Epoch>, context: Context, inputs: Inputs<'s>) -> Self {
        Self { scope, context, inputs, outputs: Vec::new(), failures: Vec::new() }
    }

    /// The scope of the dataflow.
    pub fn scope(&self) -> Scope<'s, Epoch> {
        self.scope
    }

    /// The raw records. In a rebuild those that are read again come at the restored epoch.
    pub fn raw(&self) -> VecCollection<'s, Epoch, RawRecord> {
        let Some(restored) = self.rebuilt_at() else { return self.inputs.raw.clone() };
        let delayed = self.inputs.raw.inner.clone().unary(Pipeline, "read/Delay", move |_capability, _info| {
            move |input, out| {
                input.for_each(|capability, data| {
                    let later = capability.delayed(&restored.max(*capability.time()), 0);
                    let updates = data.drain(..).map(|(record, epoch, diff)| (record, epoch.max(restored), diff));
                    out.session(&later).give_iterator(updates);
                });
            }
        });
        delayed.as_collection()
    }

    /// The raw records, each at the epoch at which it is read: in a rebuild those that are read again come
    /// at epochs before the restored one.
    ///
    /// NB: what a topology gives before the restored epoch is dropped. An operator on this stream holds
    /// it back until [`rebuilt_at`](Self::rebuilt_at).
    pub fn raw_as_read(&self) -> VecCollection<'s, Epoch, RawRecord> {
        self.inputs.raw.clone()
    }

    /// The restored epoch in a rebuild; `None` where the state is read back.
    pub fn rebuilt_at(&self) -> Option<Epoch> {
        self.context.rebuilding.then_some(self.context.restored_epoch)
    }

    /// Whether this binary and configuration left the state and the outputs as they are, so that what the
    /// restored epoch yields is not even serialised.
    pub fn trusted(&self) -> bool {
        self.context.recovery == Recovery::Trust
    }

    /// The watermark (ms since the Unix epoch), at each epoch at which it moves, on worker 0.
    pub fn watermark(&self) -> StreamVec<'s, Epoch, i64> {
        self.inputs.watermark.clone()
    }

    /// The rows of a table: the latest value of each key. Records that cannot be read become dead letters,
    /// and take away what their key said before.
    pub fn table<V: ExchangeData + DeserializeOwned>(&mut self, from: &Table<V>) -> VecCollection<'s, Epoch, V> {
        let name = from.topic.full_name(self.context.names.prefix());
        let followed = table::table(self.inputs.tables.clone(), name, self.context.restored_epoch);
        self.failures.push(followed.failures);
        followed.rows
    }

    /// A collection of one value that never changes.
    pub fn constant<D: ExchangeData>(&self, value: D) -> VecCollection<'s, Epoch, D> {
        let epoch = self.context.restored_epoch;
        let mut value = Some(value).filter(|_| self.scope.index() == 0);
        let stream = source(self.scope, "Constant", move |capability, _info| {
            let mut capability = Some(capability);
            move |out| {
                if let Some(capability) = capability.take() {
                    let capability = capability.delayed(&epoch);
                    out.session(&capability).give_iterator(value.take().map(|value| (value, epoch, 1)).into_iter());
                }
            }
        });
        stream.as_collection()
    }

    /// What a state held at the last commit, at the restored epoch. In a rebuild nothing, where the state
    /// is one that a rebuild makes.
    pub fn restored<K, V, R: Clone + 'static>(&self, from: &State<K, V, R>) -> StreamVec<'s, Epoch, R> {
        restore::restored(&self.context, from.id, from.reader.clone(), self.inputs.states.clone())
    }

    /// The same as a collection.
    pub fn restored_rows<K, V, R: Clone + 'static>(&self, from: &State<K, V, R>) -> VecCollection<'s, Epoch, R> {
        let epoch = self.context.restored_epoch;
        self.restored(from).map(move |row| (row, epoch, 1)).as_collection()
    }

    /// Lets a topic of rows always hold what `rows` holds: one row a key.
    pub fn write<K: ExchangeData, V: ExchangeData>(
        &mut self,
        to: &impl RowTopic<K, V>,
        rows: VecCollection<'s, Epoch, (K, V)>,
    ) {
        let counted = to.counts().cloned();
        self.outputs.push(encode::rows(self.context.clone(), to.id(), to.codec().clone(), counted, rows));
    }

    /// Writes changes of a state as they come: the new row of a key, or `None` where the key has none any
    /// more. For operators that know their rows; each key must belong to one worker.
    pub fn write_changes<K: 'static, V: 'static>(
        &mut self,
        to: &impl RowTopic<K, V>,
        changes: StreamVec<'s, Epoch, (K, Option<V>)>,
    ) {
        self.outputs.push(encode::state(self.context.clone(), to.id(), to.codec().clone(), changes));
    }

    /// Writes facts. In a rebuild those of records that are read again are left out: they were written when
    /// the records were read first.
    pub fn write_facts<T: 'static>(&mut self, to: &Facts<T>, facts: StreamVec<'s, Epoch, T>) {
        let encode = Arc::clone(&to.encode);
        self.outputs.push(encode::facts(self.context.clone(), to.id, move |fact| encode(fact), facts));
    }

    /// Writes facts on the topics of a family, each with the name of its topic after the family's stem. A
    /// name that no topic can have gives a dead letter.
    pub fn write_family<T: 'static>(&mut self, to: &Family<T>, facts: StreamVec<'s, Epoch, (String, T)>) {
        let encode = Arc::clone(&to.encode);
        self.outputs.push(encode::family(self.context.clone(), to.id, move |fact| encode(fact), facts));
    }

    /// Writes dead letters: `own`, and those of the tables that were read so far. Returns all that are
    /// written, each once: those of records that are read again were written before.
    pub fn dead_letters(&mut self, own: StreamVec<'s, Epoch, DeadLetter>) -> StreamVec<'s, Epoch, DeadLetter> {
        let failures = std::mem::take(&mut self.failures);
        let all = self.scope.concatenate(failures.into_iter().chain([own]));
        let letters = self.first_time(all);
        let context = self.context.clone();
        let encode = |letter| {
            let OutRecord { key, value, headers, .. } = dead_letter::of_letter(letter);
            crate::schema::Fact { key, value, headers }
        };
        self.outputs.push(encode::facts(context, TopicId::DEAD_LETTERS, encode, letters.clone()));
        letters
    }

    /// Of `stream`, what belongs to records that are read for the first time.
    pub fn first_time<D: Clone + 'static>(&self, stream: StreamVec<'s, Epoch, D>) -> StreamVec<'s, Epoch, D> {
        let restored_epoch = self.context.restored_epoch;
        stream.unary(Pipeline, "read/FirstTime", move |_capability, _info| {
            move |input, out| {
                input.for_each(|capability, data| {
                    if *capability.time() > restored_epoch {
                        out.session(&capability).give_iterator(data.drain(..));
                    }
                });
            }
        })
    }

    /// Counts the rows of a collection in a gauge, and returns them.
    pub fn count<D: Clone + 'static>(
        &self,
        gauge: Gauge,
        rows: VecCollection<'s, Epoch, D>,
    ) -> VecCollection<'s, Epoch, D> {
        let gauges = self.context.gauges.clone();
        rows.inspect(move |(_, _, diff)| gauges.add(gauge, *diff as i64))
    }

    /// Shows in `/metrics` how many of each kind a collection holds, as the gauge `metric` with the label
    /// `kind`.
    pub fn count_kinds<D: Clone + 'static>(
        &self,
        metric: &'static str,
        kinds: &'static [&'static str],
        rows: VecCollection<'s, Epoch, D>,
        kind: impl Fn(&D) -> &'static str + 'static,
    ) {
        kinds.iter().for_each(|kind| metrics::gauge!(metric, "kind" => *kind).increment(0.0));
        rows.inspect(move |(data, _, diff)| {
            metrics::gauge!(metric, "kind" => kind(data)).increment(*diff as f64);
        });
    }

    /// All output records in one stream, those of failures that nobody took included.
    pub fn finish(mut self) -> StreamVec<'s, Epoch, OutRecord> {
        if let Some(last) = self.failures.pop() {
            self.dead_letters(last);
        }
        self.scope.concatenate(self.outputs)
    }
}
