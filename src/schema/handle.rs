//! Handles: what a topology holds of the topics that it has declared.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::catalog::TableTopic;
use super::codec::{Codec, Reader};
use super::figure::Gauge;
use super::topic_id::TopicId;

/// A topic that is read as a table: the latest value of each key.
pub struct Table<V> {
    pub(crate) topic: TableTopic,
    pub(super) value: PhantomData<fn() -> V>,
}

/// A topic of rows that follow from the state. It always holds what a collection holds.
pub struct Rows<K, V> {
    pub(crate) id: TopicId,
    pub(crate) codec: Codec<K, V>,
    pub(crate) counted: Option<Counted<V>>,
}

/// A topic of rows that are read back at a start, each as an `R`.
pub struct State<K, V, R = (K, V)> {
    pub(crate) id: TopicId,
    pub(crate) codec: Codec<K, V>,
    pub(crate) reader: Reader<R>,
    pub(crate) counted: Option<Counted<V>>,
}

/// A gauge of the rows of a topic, and which of them count.
pub struct Counted<V> {
    pub(crate) gauge: Gauge,
    pub(crate) counts: Arc<dyn Fn(&V) -> bool + Send + Sync>,
}

impl<K, V> Rows<K, V> {
    /// The same, with a gauge of those rows that `counts` picks.
    ///
    /// ```
    /// use headwater::schema::{Schema, Spec, json_codec};
    /// let mut schema = Schema::default();
    /// let late = schema.gauge("late_trains", "Trains that are late.");
    /// let trains = schema.rows("trains", json_codec::<String, i64>().0, Spec::default()).counted(late, |late_by| *late_by > 0);
    /// ```
    pub fn counted(self, gauge: Gauge, counts: impl Fn(&V) -> bool + Send + Sync + 'static) -> Self {
        Self { counted: Some(Counted { gauge, counts: Arc::new(counts) }), ..self }
    }
}

impl<K, V, R> State<K, V, R> {
    /// The same, with a gauge of those rows that `counts` picks, as far as they are written by
    /// [`Flow::write`](crate::dataflow::Flow::write).
    pub fn counted(self, gauge: Gauge, counts: impl Fn(&V) -> bool + Send + Sync + 'static) -> Self {
        Self { counted: Some(Counted { gauge, counts: Arc::new(counts) }), ..self }
    }
}

/// A topic of records that are written once, with the input record that caused them.
pub struct Facts<T> {
    pub(crate) id: TopicId,
    pub(crate) encode: Encode<T>,
}

/// Topics of facts whose names come with the facts.
pub struct Family<T> {
    pub(crate) id: TopicId,
    pub(crate) encode: Encode<T>,
}

/// Makes a record of a fact.
pub(crate) type Encode<T> = Arc<dyn Fn(T) -> Fact + Send + Sync>;

/// A fact as a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A topic of rows: [`Rows`] or [`State`].
pub trait RowTopic<K, V> {
    /// Its id.
    fn id(&self) -> TopicId;
    /// How its rows become records.
    fn codec(&self) -> &Codec<K, V>;
    /// What counts them.
    fn counts(&self) -> Option<&Counted<V>>;
}

impl<K, V> RowTopic<K, V> for Rows<K, V> {
    fn id(&self) -> TopicId {
        self.id
    }
    fn codec(&self) -> &Codec<K, V> {
        &self.codec
    }
    fn counts(&self) -> Option<&Counted<V>> {
        self.counted.as_ref()
    }
}

impl<K, V, R> RowTopic<K, V> for State<K, V, R> {
    fn id(&self) -> TopicId {
        self.id
    }
    fn codec(&self) -> &Codec<K, V> {
        &self.codec
    }
    fn counts(&self) -> Option<&Counted<V>> {
        self.counted.as_ref()
    }
}

macro_rules! cloned_and_named {
    ($($handle:ident<$($parameter:ident),+> { $($field:ident),+ })+) => {
        $(impl<$($parameter),+> Clone for $handle<$($parameter),+> {
            fn clone(&self) -> Self {
                Self { $($field: self.$field.clone()),+ }
            }
        })+
    };
}
cloned_and_named! {
    Table<V> { topic, value }
    Rows<K, V> { id, codec, counted }
    State<K, V, R> { id, codec, reader, counted }
    Facts<T> { id, encode }
    Family<T> { id, encode }
    Counted<V> { gauge, counts }
}
