//! How a topic is treated: what a topology says of it beside its name.

use headwater_flow::LogPosition;
use serde::Deserialize;

use super::topic_id::TopicId;

/// Reads the value of a state record for the input records that it proves to have been read.
pub type PositionsOf = fn(value: &[u8]) -> Vec<InputPosition>;

/// A few words on a row, from its value.
pub type WordsOn = fn(value: &[u8]) -> Option<String>;

/// How a topic is treated. Every field has a default that suits most topics.
///
/// ```
/// use headwater::schema::{Guard, Spec};
///
/// let spec = Spec { guard: Guard::ChangedOrRemoved, ..Spec::default() };
/// assert!(spec.compared && !spec.rebuilt);
/// ```
#[derive(Debug, Clone)]
pub struct Spec {
    /// Largest record of the topic in bytes: key, value and headers. `None`: `topics.max_record`.
    pub limit: Option<usize>,
    /// Of a state: whether the topology gives all its rows again at a start, so that they are compared
    /// with those that the topic holds. Rows always are.
    pub compared: bool,
    /// Of a state: whether a rebuild makes it from the raw topics, so that it is not read back then.
    pub rebuilt: bool,
    /// The topic whose keys the keys of this one name. Its rows are written after those that they name
    /// and leave before them. A row whose target is missing at a start shows that the target was lost.
    pub refers_to: Option<TopicId>,
    /// Which changes at a start need a person's consent.
    pub guard: Guard,
    /// Of a state: what its loss means.
    pub when_lost: WhenLost,
    /// Of a state: which input records a record of it proves to have been read. Used where the progress
    /// was lost.
    pub positions: Option<PositionsOf>,
    /// A few words that tell a person what a row is, such as its title, from its value.
    pub example: Option<WordsOn>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            limit: None,
            compared: true,
            rebuilt: false,
            refers_to: None,
            guard: Guard::None,
            when_lost: WhenLost::Refuse,
            positions: None,
            example: None,
        }
    }
}

/// Which corrections of a topic at a start need consent, where they are more than a configured share of
/// its rows. Rows that are missing never do: to fill them in harms nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// None.
    None,
    /// Those that remove rows.
    Removed,
    /// Those that change or remove rows.
    ChangedOrRemoved,
}

/// What it means that a state topic was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLost {
    /// The start is refused: nothing else tells what it held.
    Refuse,
    /// The start goes on, with this note for people: what is lost beside the rows, such as "the counts of
    /// past windows are gone". Empty where the rows are all there was.
    Note(&'static str),
}

/// Where an input record stands that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputPosition {
    /// [`topic_digest`](headwater_flow::position::topic_digest) of its topic.
    pub topic: u32,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl InputPosition {
    /// The record that a state of [`Positioned`](headwater_flow::Positioned) values proves to have been read,
    /// from the value of its record: for [`Spec::positions`].
    ///
    /// ```
    /// use headwater::schema::{InputPosition, Spec};
    /// let spec = Spec { positions: Some(InputPosition::of_positioned), ..Spec::default() };
    /// let value = br#"{"format":1,"position":{"orderMs":5,"topic":7,"partition":2,"offset":9},"value":"taken"}"#;
    /// assert_eq!(spec.positions.unwrap()(value), [InputPosition { topic: 7, partition: 2, offset: 9 }]);
    /// ```
    pub fn of_positioned(value: &[u8]) -> Vec<Self> {
        #[derive(Deserialize)]
        struct Said {
            position: LogPosition,
        }
        let said = serde_json::from_slice::<Said>(value).ok();
        let position = |LogPosition { topic, partition, offset, .. }| Self { topic, partition, offset };
        said.map(|said| position(said.position)).into_iter().collect()
    }
}
