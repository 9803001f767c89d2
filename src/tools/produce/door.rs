//! The door: records that the topology would not look at are not written.

use headwater_flow::raw::{Origin, RawRecord};

use super::error::ProduceError;
use super::input::Input;
use super::options::ProduceOptions;
use crate::config::Runtime;
use crate::tools::dead_letters::Examine;

/// Says why the topology would make a dead letter of every record of one of `inputs`, or of a
/// tombstone. A topic that is no input of the topology takes anything.
pub(super) fn check(
    config: &Runtime,
    options: &ProduceOptions,
    inputs: &[Input],
    examine: &dyn Examine,
) -> Result<(), ProduceError> {
    let full = config.full_name(&options.topic);
    let Some(topic) = config.inputs.iter().find(|input| config.full_name(&input.topic) == full) else { return Ok(()) };
    let record = |source: Option<String>, content_type: Option<String>| RawRecord {
        origin: Origin { topic: full.as_str().into(), partition: 0, offset: 0, timestamp_ms: 0, order_ms: 0 },
        source: source.or_else(|| topic.source.clone()).map(Into::into),
        content_type: content_type.or_else(|| topic.content_type.clone()).map(Into::into),
        key: None,
        value: Some(Vec::new()),
        headers: Vec::new(),
    };
    let refused = |place: String, record: RawRecord| match examine.objection(record) {
        Some(objection) => Err(ProduceError::Refused { place, reason: objection.reason, hint: objection.hint }),
        None => Ok(()),
    };
    for input in inputs {
        let source = options.source.of_file(input.stem());
        refused(input.name(), record(source, input.content_type.clone()))?;
    }
    for key in &options.tombstones {
        let source = options.source.of_file(None);
        let record = RawRecord { key: Some(key.clone().into_bytes()), value: None, ..record(source, None) };
        refused(format!("the tombstone {key:?}"), record)?;
    }
    Ok(())
}
