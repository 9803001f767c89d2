//! What is fed in: the same records, at the same times, in every run.

use std::sync::LazyLock;

use crate::subject::Tested;
use crate::support::Input;
use crate::support::subject::Subject;

/// How often each test of kills is to kill, if anybody has said so.
pub fn wanted_kills() -> Option<usize> {
    let text = std::env::var("HEADWATER_CRASH_KILLS").ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("HEADWATER_CRASH_KILLS is {text:?}, which is no number")))
}

/// Some of everything that the topology reads, in an order that mixes it.
pub static STREAM: LazyLock<Vec<Input>> =
    LazyLock::new(|| Tested::stream((wanted_kills().unwrap_or(0) * 12).max(1_400)));
