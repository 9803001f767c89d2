//! Dead letters: what could not be used, to be listed, looked at and replayed.
//!
//! A dead letter is a record of the topic `dead-letters`: the bytes as they were, what is known of
//! them in headers. It is *new* until it was replayed, *replayed* from then on, and *parked* instead
//! when the record has failed as often as the configuration allows. None of this changes the topic:
//! what was replayed is written on the topic `replays`, in the transactions that put the records
//! back; how often is in a header that goes along with the record.

mod args;
mod error;
mod examine;
mod id;
mod letter;
mod newest;
mod plan;
mod print;
mod replay;

pub use args::{DeadLettersArgs, FilterArgs, LetterArgs, LettersArgs, LettersSummaryArgs, ReplayArgs};
pub use error::LettersError;
pub use examine::{Examine, MakeExamine, Objection};
pub use id::LetterId;
pub use letter::{Filter, Letter, Origin, Standing, Version, parse_time};
pub use plan::{ReplayOptions, Skipped};
pub use print::{ListOptions, ShowForm, Shown, Tally, find, list, show, summary, tallies};
pub use replay::{Outlook, Replayed, replay};
