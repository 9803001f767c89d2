//! [`Flow`]: what a topology builds its dataflow on.

use std::sync::Arc;

use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use headwater_flow::{DeadLetter, Epoch, Positioned, RawRecord};
use serde::de::DeserializeOwned;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::{Operator, source};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concatenate, Inspect};
use timely::dataflow::{Scope, StreamVec};

use super::context::{Context, Recovery};
use super::record::OutRecord;
use super::table::Unreadable;
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
    pub(crate) fn new(scope: Scope<'s, Epoch>, context: Context, inputs: Inputs<'s>) -> Self {
        Self { scope, context, inputs, outputs: Vec::new(), failures: Vec::new() }
    }

    /// The scope of the dataflow.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| schema.rows("about", codec(), Spec::default()),
    ///     |about, flow| {
    ///         let workers = flow.scope().peers() as isize;
    ///         flow.write(about, flow.constant(("workers".to_owned(), workers)));
    ///     },
    /// );
    /// let mut driver = driver.unwrap().workers(2);
    /// driver.advance_to(1);
    /// assert_eq!(driver.rows("about")["workers"], 2);
    /// ```
    pub fn scope(&self) -> Scope<'s, Epoch> {
        self.scope
    }

    /// The raw records. In a rebuild those that are read again come at the restored epoch.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| schema.rows("visits", codec(), Spec::default()),
    ///     |visits, flow| {
    ///         let pages = flow.raw().flat_map(|record| String::from_utf8(record.value?).ok());
    ///         flow.write(visits, pages.count());
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.advance_to(1_000);
    /// driver.rebuild();
    /// assert_eq!(driver.rows("visits")["home"], 1);
    /// ```
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
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| schema.rows("visits", codec(), Spec::default()),
    ///     |visits, flow| {
    ///         let restored = flow.rebuilt_at().unwrap_or(0);
    ///         let pages = flow.raw_as_read().flat_map(|record| String::from_utf8(record.value?).ok());
    ///         flow.write(visits, pages.count().delay(move |epoch| restored.max(*epoch)));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.advance_to(1_000);
    /// driver.rebuild();
    /// assert!(driver.differences().is_empty());
    /// ```
    pub fn raw_as_read(&self) -> VecCollection<'s, Epoch, RawRecord> {
        self.inputs.raw.clone()
    }

    /// The restored epoch in a rebuild; `None` where the state is read back.
    ///
    /// ```
    /// # use headwater::driver::Driver;
    /// let at = std::sync::Arc::new(std::sync::Mutex::new(None));
    /// let seen = at.clone();
    /// let driver = Driver::build(|_schema| (), move |(), flow| *seen.lock().unwrap() = flow.rebuilt_at());
    /// let mut driver = driver.unwrap();
    /// driver.advance_to(1_000);
    /// assert_eq!(*at.lock().unwrap(), None);
    /// driver.rebuild();
    /// assert_eq!(*at.lock().unwrap(), Some(1_000));
    /// ```
    pub fn rebuilt_at(&self) -> Option<Epoch> {
        self.context.rebuilding.then_some(self.context.restored_epoch)
    }

    /// The epoch at which the state is restored: the last that was committed.
    ///
    /// ```
    /// # use headwater::{dataflow::Recovery, driver::Driver};
    /// let at = std::sync::Arc::new(std::sync::Mutex::new(0));
    /// let seen = at.clone();
    /// let driver = Driver::build(|_schema| (), move |(), flow| *seen.lock().unwrap() = flow.restored_epoch());
    /// let mut driver = driver.unwrap();
    /// driver.advance_to(1_000);
    /// driver.restart(Recovery::Trust).unwrap();
    /// assert_eq!(*at.lock().unwrap(), 1_000);
    /// ```
    pub fn restored_epoch(&self) -> Epoch {
        self.context.restored_epoch
    }

    /// Whether this binary and configuration left the state and the outputs as they are, so that what the
    /// restored epoch yields is not even serialised.
    ///
    /// ```
    /// # use headwater::{dataflow::Recovery, driver::Driver};
    /// let trusted = std::sync::Arc::new(std::sync::Mutex::new(false));
    /// let seen = trusted.clone();
    /// let driver = Driver::build(|_schema| (), move |(), flow| *seen.lock().unwrap() = flow.trusted());
    /// let mut driver = driver.unwrap();
    /// driver.advance_to(1_000);
    /// driver.restart(Recovery::Trust).unwrap();
    /// assert!(*trusted.lock().unwrap());
    /// ```
    pub fn trusted(&self) -> bool {
        self.context.recovery == Recovery::Trust
    }

    /// The watermark (ms since the Unix epoch), at each epoch at which it moves, on worker 0.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// let driver = Driver::build(
    ///     |schema| schema.rows("time", codec(), Spec::default()),
    ///     |time, flow| {
    ///         let row = |ms: i64| ("watermark".to_owned(), Some(ms as isize));
    ///         flow.write_changes(time, flow.watermark().map(row));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home").at(900));
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.rows("time")["watermark"], 900);
    /// ```
    pub fn watermark(&self) -> StreamVec<'s, Epoch, i64> {
        self.inputs.watermark.clone()
    }

    /// The rows of a table: the latest value of each key. Records that cannot be read become dead letters,
    /// and take away what their key said before.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| (schema.table::<(String, isize)>("prices"), schema.rows("doubled", codec(), Spec::default())),
    ///     |(prices, doubled), flow| {
    ///         let rows = flow.table(prices);
    ///         flow.write(doubled, rows.map(|(name, price)| (name, 2 * price)));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.put("prices", "7", ("bread", 3));
    /// driver.put("prices", "7", ("bread", 4));
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.rows("doubled")["bread"], 8);
    /// ```
    pub fn table<V: ExchangeData + DeserializeOwned>(&mut self, from: &Table<V>) -> VecCollection<'s, Epoch, V> {
        self.follow(from, Unreadable::TakesAway).map(|(_, row)| row.value)
    }

    /// The rows of a table on which a record that cannot be read changes nothing: it becomes a dead letter, and
    /// what its key said before holds on. Each row comes with its key and with the position of its record.
    ///
    /// Compaction may remove the record that holds, so the rows are kept in `kept` too. They are found there
    /// again after a restart.
    ///
    /// ```
    /// # use headwater::driver::Driver;
    /// # use headwater::schema::{Codec, Spec, text_codec};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| {
    ///         let (kept, reader) = text_codec();
    ///         let kept = schema.state("prices-kept", kept, reader, Spec::default());
    ///         (schema.table::<isize>("prices"), kept, schema.rows("doubled", codec(), Spec::default()))
    ///     },
    ///     |(prices, kept, doubled), flow| {
    ///         let rows = flow.steady_table(prices, kept);
    ///         flow.write(doubled, rows.map(|(name, price)| (name, 2 * price.value)));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.put("prices", "bread", 3);
    /// driver.put("prices", "bread", "much");
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.rows("doubled")["bread"], 6);
    /// assert_eq!(driver.letters().len(), 1);
    /// ```
    pub fn steady_table<V: ExchangeData + DeserializeOwned>(
        &mut self,
        from: &Table<V>,
        kept: &State<String, Positioned<V>>,
    ) -> VecCollection<'s, Epoch, (String, Positioned<V>)> {
        let restored = self.restored(kept).map(|(key, row)| (key.into_bytes(), row));
        let rows = self.follow(from, Unreadable::ChangesNothing(restored));
        // Keys that are no text are told apart by what can be read of them.
        let rows = rows.map(|(key, row)| (String::from_utf8_lossy(&key).into_owned(), row));
        self.write(kept, rows.clone());
        rows
    }

    fn follow<V: ExchangeData + DeserializeOwned>(
        &mut self,
        from: &Table<V>,
        unreadable: Unreadable<'s, V>,
    ) -> VecCollection<'s, Epoch, (Vec<u8>, Positioned<V>)> {
        let name = from.topic.full_name(self.context.names.prefix());
        let followed = table::table(self.inputs.tables.clone(), name, self.context.restored_epoch, unreadable);
        self.failures.push(followed.failures);
        followed.rows
    }

    /// A collection of one value that never changes.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| schema.rows("limits", codec(), Spec::default()),
    ///     |limits, flow| flow.write(limits, flow.constant(("seats".to_owned(), 40))),
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.advance_to(1);
    /// assert_eq!(driver.rows("limits")["seats"], 40);
    /// ```
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
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// # let reader = || Reader::of_json_value(|n: isize| n);
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// let driver = Driver::build(
    ///     |schema| schema.state("totals", codec(), reader(), Spec::default()),
    ///     |totals, flow| {
    ///         let before = flow.restored(totals);
    ///         flow.write_changes(totals, before.map(|n| ("sum".to_owned(), Some(n))));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.write("totals", "sum", Some("41"));
    /// driver.advance_to(1_000);
    /// assert!(driver.differences().is_empty());
    /// ```
    pub fn restored<K, V, R: Clone + 'static>(&self, from: &State<K, V, R>) -> StreamVec<'s, Epoch, R> {
        restore::restored(&self.context, from.id, from.reader.clone(), self.inputs.states.clone())
    }

    /// The same as a collection.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// # let reader = || Reader::of_json_value(|n: isize| n);
    /// let driver = Driver::build(
    ///     |schema| schema.state("total", codec(), reader(), Spec { rebuilt: true, ..Spec::default() }),
    ///     |total, flow| {
    ///         let before = flow.restored_rows(total).explode(|n| Some(("visits".to_owned(), n)));
    ///         let now = flow.raw().map(|_| "visits".to_owned());
    ///         flow.write(total, now.concat(before).count());
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.advance_to(1_000);
    /// driver.restart(headwater::dataflow::Recovery::Compare).unwrap();
    /// assert!(driver.differences().is_empty());
    /// ```
    pub fn restored_rows<K, V, R: Clone + 'static>(&self, from: &State<K, V, R>) -> VecCollection<'s, Epoch, R> {
        let epoch = self.context.restored_epoch;
        self.restored(from).map(move |row| (row, epoch, 1)).as_collection()
    }

    /// Lets a topic of rows always hold what `rows` holds: one row a key.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| schema.rows("sizes", codec(), Spec::default()),
    ///     |sizes, flow| {
    ///         let size = |record: headwater_flow::RawRecord| Some(("bytes".to_owned(), record.value?.len() as isize));
    ///         flow.write(sizes, flow.raw().explode(size).count());
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.rows("sizes")["bytes"], 4);
    /// ```
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
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// let driver = Driver::build(
    ///     |schema| schema.rows("last", codec(), Spec::default()),
    ///     |last, flow| {
    ///         let size = |record: headwater_flow::RawRecord| record.value.map(|value| value.len() as isize);
    ///         let changes = flow.raw().inner.map(move |(record, ..)| ("size".to_owned(), size(record)));
    ///         flow.write_changes(last, changes);
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.rows("last")["size"], 4);
    /// driver.produce("raw.visits", |record| record);
    /// driver.advance_to(2_000);
    /// assert!(driver.rows("last").is_empty());
    /// ```
    pub fn write_changes<K: 'static, V: 'static>(
        &mut self,
        to: &impl RowTopic<K, V>,
        changes: StreamVec<'s, Epoch, (K, Option<V>)>,
    ) {
        self.outputs.push(encode::state(self.context.clone(), to.id(), to.codec().clone(), changes));
    }

    /// Writes facts. In a rebuild those of records that are read again are left out: they were written when
    /// the records were read first.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Fact, Spec}};
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// let fact = |value: Vec<u8>| Fact { value: Some(value.into()), ..Fact::default() };
    /// let driver = Driver::build(
    ///     |schema| schema.facts("seen", fact, Spec::default()),
    ///     |seen, flow| flow.write_facts(seen, flow.raw().inner.flat_map(|(record, ..)| record.value)),
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.advance_to(1_000);
    /// driver.rebuild();
    /// assert_eq!(driver.records("seen").len(), 1);
    /// ```
    pub fn write_facts<T: 'static>(&mut self, to: &Facts<T>, facts: StreamVec<'s, Epoch, T>) {
        let encode = Arc::clone(&to.encode);
        self.outputs.push(encode::facts(self.context.clone(), to.id, move |fact| encode(fact), facts));
    }

    /// Writes facts on the topics of a family, each with the name of its topic after the family's stem. A
    /// name that no topic can have gives a dead letter.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Fact, Spec}};
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// let fact = |value: Vec<u8>| Fact { value: Some(value.into()), ..Fact::default() };
    /// let driver = Driver::build(
    ///     |schema| schema.family("of.", fact, Spec::default()),
    ///     |by_source, flow| {
    ///         let named = flow.raw().inner.flat_map(|(record, ..)| Some((record.source?.to_string(), record.value?)));
    ///         flow.write_family(by_source, named);
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.source("kiosk").value("home"));
    /// driver.produce("raw.visits", |record| record.source("no topic").value("home"));
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.records("of.kiosk").len(), 1);
    /// assert_eq!(driver.letters()[0].code, "invalid-topic");
    /// ```
    pub fn write_family<T: 'static>(&mut self, to: &Family<T>, facts: StreamVec<'s, Epoch, (String, T)>) {
        let encode = Arc::clone(&to.encode);
        self.outputs.push(encode::family(self.context.clone(), to.id, move |fact| encode(fact), facts));
    }

    /// Writes dead letters: `own`, and those of the tables that were read so far. Returns all that are
    /// written, each once: those of records that are read again were written before.
    ///
    /// ```
    /// # use headwater::driver::Driver;
    /// use headwater_flow::{DeadLetter, DeadLetterCode};
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// let driver = Driver::build(
    ///     |_schema| (),
    ///     |(), flow| {
    ///         let empty = flow.raw().filter(|record| record.value.is_none());
    ///         let letters = empty.inner.map(|(record, ..)| DeadLetter::of(record, DeadLetterCode::EMPTY_RECORD, "no value"));
    ///         flow.dead_letters(letters);
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.key("home"));
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.letters()[0].reason, "no value");
    /// ```
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
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Fact, Spec}};
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// static READ: AtomicUsize = AtomicUsize::new(0);
    /// let driver = Driver::build(
    ///     |schema| schema.facts("seen", |n: usize| Fact { value: Some(n.to_string().into()), ..Fact::default() }, Spec::default()),
    ///     |seen, flow| {
    ///         let first = flow.first_time(flow.raw().inner);
    ///         flow.write_facts(seen, first.map(|_| READ.fetch_add(1, Ordering::Relaxed)));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.advance_to(1_000);
    /// driver.rebuild();
    /// assert_eq!(READ.load(Ordering::Relaxed), 1);
    /// ```
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

    /// Tells people what they should know of the restored state and tables. A start logs it as a warning, `--plan`
    /// shows it. What comes later than the restored epoch is not told.
    ///
    /// ```
    /// # use headwater::driver::Driver;
    /// use timely::dataflow::operators::vec::Map;
    ///
    /// let driver = Driver::build(
    ///     |schema| schema.table::<u64>("prices"),
    ///     |prices, flow| {
    ///         let rows = flow.table(prices).map(|price| price.to_string());
    ///         flow.note(rows.inner.map(|(price, ..)| format!("the price is fixed at {price}")));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// # driver.advance_to(1);
    /// driver.notes();
    /// ```
    pub fn note(&self, notes: StreamVec<'s, Epoch, String>) {
        let (restored_epoch, on_note) = (self.context.restored_epoch, Arc::clone(&self.context.on_note));
        notes.inspect_time(move |epoch, note| {
            if *epoch == restored_epoch {
                on_note(note.clone());
            }
        });
    }

    /// Counts the rows of a collection in a gauge, and returns them.
    ///
    /// ```
    /// # use headwater::{driver::Driver, schema::{Codec, Reader, Spec}};
    /// # let codec = || Codec::<String, isize>::new(|key| key.clone().into(), |_, n| n.to_string().into());
    /// let driver = Driver::build(
    ///     |schema| (schema.gauge("pages", "Pages."), schema.rows("visits", codec(), Spec::default())),
    ///     |(pages, visits), flow| {
    ///         let rows = flow.raw().flat_map(|record| String::from_utf8(record.value?).ok()).count();
    ///         flow.write(visits, flow.count(*pages, rows));
    ///     },
    /// );
    /// let mut driver = driver.unwrap();
    /// driver.produce("raw.visits", |record| record.value("home"));
    /// driver.produce("raw.visits", |record| record.value("shop"));
    /// driver.advance_to(1_000);
    /// assert_eq!(driver.gauge("pages"), 2);
    /// ```
    pub fn count<D: Clone + 'static>(
        &self,
        gauge: Gauge,
        rows: VecCollection<'s, Epoch, D>,
    ) -> VecCollection<'s, Epoch, D> {
        let gauges = self.context.gauges.clone();
        rows.inspect(move |(_, _, diff)| gauges.add(gauge, *diff as i64))
    }

    /// Shows in `/metrics` how many of each kind a collection holds, as the gauge `metric` with the label
    /// `kind`; `help` says what it counts.
    ///
    /// ```
    /// # use headwater::driver::Driver;
    /// let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    /// let driver = Driver::build(
    ///     |_schema| (),
    ///     |(), flow| {
    ///         let kind = |value: &Option<Vec<u8>>| if value.is_some() { "said" } else { "withdrawn" };
    ///         let values = flow.raw().map(|record| record.value);
    ///         flow.count_kinds("visits", "Visits by what was said", &["said", "withdrawn"], values, kind);
    ///     },
    /// );
    /// metrics::with_local_recorder(&recorder, || {
    ///     let mut driver = driver.unwrap();
    ///     driver.produce("raw.visits", |record| record.value("home"));
    ///     driver.advance_to(1_000);
    /// });
    /// assert!(recorder.handle().render().contains("visits{kind=\"said\"} 1"));
    /// ```
    pub fn count_kinds<D: Clone + 'static>(
        &self,
        metric: &'static str,
        help: &'static str,
        kinds: &'static [&'static str],
        rows: VecCollection<'s, Epoch, D>,
        kind: impl Fn(&D) -> &'static str + 'static,
    ) {
        metrics::describe_gauge!(metric, help);
        kinds.iter().for_each(|kind| metrics::gauge!(metric, "kind" => *kind).increment(0.0));
        rows.inspect(move |(data, _, diff)| {
            metrics::gauge!(metric, "kind" => kind(data)).increment(*diff as f64);
        });
    }

    /// All output records in one stream, those of failures that nobody took included.
    pub(crate) fn finish(mut self) -> StreamVec<'s, Epoch, OutRecord> {
        if let Some(last) = self.failures.pop() {
            self.dead_letters(last);
        }
        self.scope.concatenate(self.outputs)
    }
}

#[cfg(test)]
mod tests {
    /// The public methods in a source text whose documentation has no example that runs.
    fn without_example(source: &str) -> Vec<&str> {
        let (mut has_example, mut found) = (false, Vec::new());
        for line in source.lines().map(str::trim_start) {
            match line.strip_prefix("pub fn ") {
                _ if line.starts_with("///") => has_example |= line == "/// ```",
                Some(method) if !has_example => found.push(method),
                _ if line.starts_with("#[") => {}
                _ => has_example = false,
            }
        }
        found
    }

    #[test]
    fn every_method_of_flow_and_schema_has_an_example_that_runs() {
        for source in [include_str!("flow.rs"), include_str!("../schema/mod.rs")] {
            assert_eq!(without_example(source), Vec::<&str>::new());
        }
        let text = "/// Bare.\npub fn bare() {\n}\n/// ```\n/// ```\n#[inline]\npub fn shown() {\n}\npub fn none() {";
        assert_eq!(without_example(text), ["bare() {", "none() {"]);
    }
}
