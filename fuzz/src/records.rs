//! Targets of discovery: the records of state and of tables that it reads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

use std::sync::Arc;

use discovery::discovery::state::{LinkState, ListingState, RedirectState};
use discovery::discovery::{Change, Documents, Emitted, HoldBack, Register, Retention};
use headwater_operators::extract::Extraction;
use headwater_operators::geocode::Place;
use headwater_operators::resolve::{Decision, Remembered};
use headwater_operators::score::Gates;
use headwater_operators::window::{WindowConfig, WindowInput, WindowRow, Windows};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What reads must be written so that it reads as the same again.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let json = serde_json::to_vec(&value).unwrap();
    let again: T = serde_json::from_slice(&json).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&json)));
    assert_eq!(again, value);
    let bytes = bincode::serialize(&value).unwrap();
    if let Ok(again) = bincode::deserialize::<T>(&bytes) {
        assert_eq!(again, value);
    }
    Some(value)
}

/// Records of the topics in which the engine finds itself again.
pub fn state_records(data: &[u8]) {
    if let Some(state) = round_trip::<ListingState>(data) {
        restore(state);
    }
    if let Some(row) = round_trip::<WindowRow>(data) {
        let mut windows = Windows::new(WindowConfig::default());
        let mark = row.window_start;
        windows.apply([WindowInput::Restored(row.clone()), WindowInput::Restored(row), WindowInput::Watermark(mark)]);
        windows.apply([WindowInput::Watermark(i64::MAX)]);
    }
    let _link = serde_json::from_slice::<LinkState>(data).map(Remembered::from);
    let _redirect = serde_json::from_slice::<RedirectState>(data).map(Remembered::from);
}

fn restore(state: ListingState) {
    for past_events_ms in [None, Some(1_000)] {
        let retention = Retention { past_events_ms, assumed_duration_ms: 1_000 };
        let nothing = |_| Extraction { document: None, failures: Vec::new(), timeless: true };
        let mut documents = Documents::new(retention, HoldBack::default(), 0, Arc::new(nothing));
        let mut register = Register::new(retention, Arc::new(|_| ()));
        let mut emitted = Emitted::default();
        let leaves_at = retention.leaves_at(state.live.listing.start(), state.live.listing.end());
        let ends_at = retention.ends_at(state.live.listing.start(), state.live.listing.end());
        for claim in &state.claims {
            let held = claim.held.as_deref().copied();
            documents.restore(claim.document, state.live.id, claim.version, ends_at, held);
        }
        register.apply(state.live.id, Change::Restore(Arc::new(state.clone())), 1_000, &mut emitted);
        assert_eq!(register.len(), 1);
        documents.expire(i64::MAX);
        register.expire(i64::MAX, &mut emitted);
        assert_eq!(register.is_empty(), retention.past_events_ms.is_some() && leaves_at < i64::MAX);
    }
}

/// Records that people and programs write: places, decisions, gates.
pub fn table_records(data: &[u8]) {
    let _place = round_trip::<Place>(data);
    if let Some(decision) = round_trip::<Decision>(data) {
        let _key = decision.subject().map(|subject| subject.to_string());
    }
    let _gates = round_trip::<Gates>(data);
}
