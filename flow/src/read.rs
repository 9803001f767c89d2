//! [`ReadRecords`]: from raw records to rows, with a dead letter of each that cannot be used.

use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::{DeadLetter, DeadLetterCode, Epoch, RawRecord};

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Stable code.
    pub code: DeadLetterCode,
    /// What is wrong, for people.
    pub reason: String,
}

impl Unusable {
    /// It cannot be used, for this reason.
    pub fn new(code: DeadLetterCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The dead letter of the whole `record`.
    ///
    /// ```
    /// use headwater_flow::{DeadLetterCode, Origin, RawRecord, Unusable};
    ///
    /// let origin = Origin { topic: "raw".into(), partition: 0, offset: 7, timestamp_ms: 0, order_ms: 0 };
    /// let record = RawRecord { origin, value: Some(b"{".into()), ..RawRecord::default() };
    /// let letter = Unusable::new(DeadLetterCode::MALFORMED, "not JSON").letter(record);
    /// assert_eq!((letter.bytes.as_slice(), letter.part), (b"{".as_slice(), None));
    /// ```
    pub fn letter(self, record: RawRecord) -> DeadLetter {
        DeadLetter::of(record, self.code, self.reason)
    }
}

/// From raw records to rows.
pub trait ReadRecords<'s> {
    /// What `read` makes of each record, and a dead letter of each that it refuses.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use headwater_flow::{Origin, RawRecord, ReadRecords, json};
    /// use timely::dataflow::operators::capture::{Capture, Extract};
    ///
    /// let record = |text: &str| RawRecord { value: Some(text.into()), ..RawRecord::default() };
    /// let (numbers, letters) = timely::execute_directly(move |worker| {
    ///     worker.dataflow::<u64, _, _>(|scope| {
    ///         let (_, raw) = scope.new_collection_from([record("17"), record("seventeen")]);
    ///         let (numbers, letters) = raw.read(json::parse::<i64>);
    ///         (numbers.inner.capture(), letters.capture())
    ///     })
    /// });
    /// let numbers: Vec<_> = numbers.extract().into_iter().flat_map(|(_, rows)| rows).map(|(row, ..)| row).collect();
    /// let letters: Vec<_> = letters.extract().into_iter().flat_map(|(_, letters)| letters).collect();
    /// assert_eq!(numbers, [17]);
    /// assert_eq!((letters[0].code.as_str(), letters[0].bytes.as_slice()), ("malformed", b"seventeen".as_slice()));
    /// ```
    fn read<T: Clone + 'static>(
        self,
        read: impl Fn(&RawRecord) -> Result<T, Unusable> + 'static,
    ) -> (VecCollection<'s, Epoch, T>, StreamVec<'s, Epoch, DeadLetter>);
}

impl<'s> ReadRecords<'s> for VecCollection<'s, Epoch, RawRecord> {
    fn read<T: Clone + 'static>(
        self,
        read: impl Fn(&RawRecord) -> Result<T, Unusable> + 'static,
    ) -> (VecCollection<'s, Epoch, T>, StreamVec<'s, Epoch, DeadLetter>) {
        let mut builder = OperatorBuilder::new("read/Records".to_owned(), self.inner.scope());
        let mut input = builder.new_input(self.inner, Pipeline);
        let (rows_out, rows) = builder.new_output();
        let (letters_out, letters) = builder.new_output();
        builder.build(move |_capabilities| {
            let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(rows_out);
            let mut letters_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(letters_out);
            move |_frontiers| {
                let (mut rows_port, mut letters_port) = (rows_out.activate(), letters_out.activate());
                input.for_each(|capability, data| {
                    let (to_rows, to_letters) = (capability.retain(0), capability.retain(1));
                    let (mut rows, mut letters) = (rows_port.session(&to_rows), letters_port.session(&to_letters));
                    for (record, epoch, diff) in data.drain(..) {
                        match read(&record) {
                            Ok(row) => rows.give((row, epoch, diff)),
                            Err(unusable) => letters.give(unusable.letter(record)),
                        }
                    }
                });
            }
        });
        (rows.as_collection(), letters)
    }
}
