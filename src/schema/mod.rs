//! What a topology declares: its topics, states, tables, gauges, figures and views.
//!
//! A topology fills a [`Schema`] once, before anything runs, and keeps the typed handles that the schema
//! returns. The frozen [`Catalog`] is all that the runtime knows of the topology's topics:
//!
//! | declared by | holds | at a start |
//! | --- | --- | --- |
//! | [`Schema::table`] | records that others write, by key | read from the beginning |
//! | [`Schema::rows`] | rows that follow from the state | compared, and corrected where they differ |
//! | [`Schema::state`] | rows that the topology finds itself again by | read back, and corrected where the topology gives them again |
//! | [`Schema::facts`] | records that belong to input records | left as they are |
//! | [`Schema::family`] | facts on topics that are named at run time | left as they are |
//!
//! The runtime's own topics are always there: `dead-letters` and `progress`.

mod catalog;
mod codec;
mod figure;
mod handle;
mod spec;
mod topic_id;

use std::marker::PhantomData;
use std::sync::Arc;

pub use catalog::{Catalog, Kind, REPLAYS, TableTopic, Topic};
pub use codec::{Codec, FORMAT, Reader, Versioned, json_codec, known_format, read_json, text_codec, versioned};
pub use figure::{Figure, Gauge, GaugeSpec, Gauges};
pub use handle::{Counted, Fact, Facts, Family, RowTopic, Rows, State, Table};
pub use headwater_flow::position::topic_digest;
pub use spec::{Guard, InputPosition, PositionsOf, Spec, WhenLost, WordsOn};
pub use topic_id::TopicId;

use crate::config::{Invalid, Role, TopicRole};

/// What a topology declares. See the module's documentation.
#[derive(Debug, Default)]
pub struct Schema {
    catalog: Catalog,
    invalid: Vec<Invalid>,
}

impl Schema {
    /// Declares a topic that is read as a table: the latest value of each key, JSON of a `V`. `name` is
    /// without the prefix.
    ///
    /// ```
    /// let mut schema = headwater::schema::Schema::default();
    /// let prices = schema.table::<f64>("prices");
    /// assert_eq!(&*schema.freeze().unwrap().tables()[0].name, "prices");
    /// ```
    pub fn table<V>(&mut self, name: &str) -> Table<V> {
        self.read_table(name, false)
    }

    /// Declares a topic that another topology writes, read as a table. `name` is its full name. It is never
    /// created here: a start without it is refused.
    ///
    /// ```
    /// let mut schema = headwater::schema::Schema::default();
    /// let events = schema.foreign_table::<serde_json::Value>("headwater.events");
    /// assert_eq!(schema.freeze().unwrap().tables()[0].full_name("registrations."), "headwater.events");
    /// ```
    pub fn foreign_table<V>(&mut self, name: &str) -> Table<V> {
        self.read_table(name, true)
    }

    fn read_table<V>(&mut self, name: &str, foreign: bool) -> Table<V> {
        let topic = TableTopic { name: name.into(), foreign };
        if self.is_taken(name) {
            self.invalid.push(Invalid::new("topics", format!("topic {name:?} is declared twice")));
        }
        self.catalog.tables.push(topic.clone());
        Table { topic, value: PhantomData }
    }

    /// Declares a topic of rows that follow from the state.
    ///
    /// ```
    /// use headwater::schema::{Schema, Spec, json_codec};
    /// let mut schema = Schema::default();
    /// let totals = schema.rows("totals", json_codec::<String, i64>().0, Spec::default());
    /// assert!(schema.freeze().unwrap().find("totals").is_some());
    /// ```
    pub fn rows<K, V>(&mut self, name: &str, codec: Codec<K, V>, spec: Spec) -> Rows<K, V> {
        Rows { id: self.topic(name, Kind::Rows, spec), codec, counted: None }
    }

    /// Declares a topic of rows that are read back at a start.
    ///
    /// ```
    /// use headwater::schema::{Schema, Spec, json_codec};
    /// let mut schema = Schema::default();
    /// let (codec, reader) = json_codec::<String, i64>();
    /// let totals = schema.state("totals", codec, reader, Spec::default());
    /// assert_eq!(schema.freeze().unwrap().states().count(), 1);
    /// ```
    pub fn state<K, V, R>(&mut self, name: &str, codec: Codec<K, V>, reader: Reader<R>, spec: Spec) -> State<K, V, R> {
        State { id: self.topic(name, Kind::State, spec), codec, reader, counted: None }
    }

    /// Declares a topic of facts. Records of facts are kept as long as dead letters.
    ///
    /// ```
    /// use headwater::schema::{Fact, Schema, Spec};
    /// let mut schema = Schema::default();
    /// let sold = schema.facts("sold", |seat: u32| Fact { value: Some(seat.to_string().into()), ..Fact::default() }, Spec::default());
    /// assert!(!schema.freeze().unwrap().topics().last().unwrap().1.is_compacted());
    /// ```
    pub fn facts<T>(&mut self, name: &str, encode: impl Fn(T) -> Fact + Send + Sync + 'static, spec: Spec) -> Facts<T> {
        Facts { id: self.topic(name, Kind::Facts, spec), encode: Arc::new(encode) }
    }

    /// Declares topics of facts whose names are `stem` and a name that comes with each fact. A topic is
    /// created when the first fact of its name is committed.
    ///
    /// ```
    /// use headwater::schema::{Fact, Schema, Spec};
    /// let mut schema = Schema::default();
    /// let streams = schema.family("stream.", |text: String| Fact { value: Some(text.into()), ..Fact::default() }, Spec::default());
    /// ```
    pub fn family<T>(
        &mut self,
        stem: &str,
        encode: impl Fn(T) -> Fact + Send + Sync + 'static,
        spec: Spec,
    ) -> Family<T> {
        Family { id: self.topic(stem, Kind::Family, spec), encode: Arc::new(encode) }
    }

    /// Declares a number of rows that shows in `/metrics` under `metric`. [`Flow::count`] feeds it.
    ///
    /// ```
    /// let mut schema = headwater::schema::Schema::default();
    /// let events = schema.gauge("headwater_events", "Events.");
    /// assert_eq!(schema.freeze().unwrap().gauges()[0].metric, "headwater_events");
    /// ```
    ///
    /// [`Flow::count`]: crate::dataflow::Flow::count
    pub fn gauge(&mut self, metric: &'static str, help: &'static str) -> Gauge {
        self.catalog.gauges.push(GaugeSpec { metric, help });
        Gauge((self.catalog.gauges.len() - 1) as u16)
    }

    /// Declares a number that the console and the summary show: its key in JSON, what people read after
    /// it, and how it follows from the gauges.
    ///
    /// ```
    /// let mut schema = headwater::schema::Schema::default();
    /// let (sold, returned) = (schema.gauge("sold", "Sold."), schema.gauge("returned", "Returned."));
    /// schema.figure("kept", "kept", move |of| of(sold) - of(returned));
    /// let catalog = schema.freeze().unwrap();
    /// assert_eq!(catalog.figures()[0].value(&[7, 2]), 5);
    /// ```
    pub fn figure(
        &mut self,
        key: &'static str,
        label: &'static str,
        value: impl Fn(&dyn Fn(Gauge) -> i64) -> i64 + Send + Sync + 'static,
    ) {
        self.catalog.figures.push(Figure { key, label, value: Arc::new(value) });
    }

    /// The catalog of everything that was declared.
    ///
    /// ```
    /// let catalog = headwater::schema::Schema::default().freeze().unwrap();
    /// let names: Vec<_> = catalog.topics().map(|(_, topic)| &*topic.name).collect();
    /// assert_eq!(names, ["dead-letters", "progress"]);
    /// ```
    ///
    /// # Errors
    /// Names that are declared twice.
    pub fn freeze(self) -> Result<Arc<Catalog>, Vec<Invalid>> {
        if self.invalid.is_empty() { Ok(Arc::new(self.catalog)) } else { Err(self.invalid) }
    }

    fn topic(&mut self, name: &str, kind: Kind, spec: Spec) -> TopicId {
        if self.is_taken(name) {
            self.invalid.push(Invalid::new("topics", format!("topic {name:?} is declared twice")));
        }
        let id = TopicId(self.catalog.topics.len() as u16);
        debug_assert!(spec.refers_to.is_none_or(|target| target < id), "a topic refers to one that is declared before");
        self.catalog.topics.push(Topic { name: name.into(), kind, spec });
        id
    }

    fn is_taken(&self, name: &str) -> bool {
        let read = self.catalog.tables.iter().any(|table| &*table.name == name);
        read || name == REPLAYS || self.catalog.find(name).is_some()
    }
}

/// The topics that `declare` declares, and how each is used: what a
/// [`Section`](crate::config::Section) tells of its topology's topics. Topics of other topologies are left out.
///
/// ```
/// use headwater::config::Role;
/// use headwater::schema::roles;
/// let roles = roles(|schema| {
///     schema.table::<f64>("prices");
/// });
/// assert_eq!(roles, [("prices".into(), Role::Table)]);
/// ```
pub fn roles(declare: impl FnOnce(&mut Schema)) -> Vec<TopicRole> {
    let mut schema = Schema::default();
    declare(&mut schema);
    let Schema { catalog, .. } = schema;
    let role = |topic: &Topic| match topic.kind {
        Kind::Rows | Kind::State => Role::Compacted,
        Kind::Facts => Role::Facts,
        Kind::Family => Role::Family,
        Kind::Progress => Role::Progress,
    };
    let own = |id: &TopicId| !matches!(*id, TopicId::DEAD_LETTERS | TopicId::PROGRESS);
    let written = catalog.topics().filter(|(id, _)| own(id)).map(|(_, topic)| (Arc::clone(&topic.name), role(topic)));
    let tables = catalog.tables().iter().filter(|table| !table.foreign);
    written.chain(tables.map(|table| (Arc::clone(&table.name), Role::Table))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(schema: &mut Schema, name: &str, spec: Spec) -> TopicId {
        schema.rows(name, json_codec::<String, i64>().0, spec).id()
    }

    #[test]
    fn a_name_is_declared_once() {
        for taken in ["events", "progress", "replays", "places"] {
            let mut schema = Schema::default();
            rows(&mut schema, "events", Spec::default());
            schema.table::<i64>("places");
            assert!(schema.invalid.is_empty());
            rows(&mut schema, taken, Spec::default());
            assert!(schema.freeze().unwrap_err()[0].message.contains(taken));
        }
    }

    #[test]
    fn what_refers_stands_above_what_it_names() {
        let mut schema = Schema::default();
        let target = rows(&mut schema, "listings", Spec::default());
        let above = rows(&mut schema, "links", Spec { refers_to: Some(target), ..Spec::default() });
        let top = rows(&mut schema, "notes", Spec { refers_to: Some(above), ..Spec::default() });
        let catalog = schema.freeze().unwrap();
        assert_eq!([target, above, top].map(|id| catalog.depth(id)), [0, 1, 2]);
        assert_eq!(catalog.compared().collect::<Vec<_>>(), [target, above, top]);
    }
}
