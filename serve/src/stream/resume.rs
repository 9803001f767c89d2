//! Resume: from what a client has to what there is now.
//!
//! | the client has | it gets |
//! | --- | --- |
//! | a commit that is still in the ring of the last ones | every change since, exactly |
//! | an older commit of this lineage | in state: what changed since and is asked for, as `update`; what may have left, as `leave` |
//! | nothing, another lineage, or a commit so old that nobody knows what went since | `reset`, and all |
//!
//! A client that keeps a map from id to event (`enter` and `update` put, `leave` removes, `reset` empties)
//! ends with the same map in all three cases.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use headwater::dataflow::CommitId;

use super::frame;
use super::subject::Subject;
use crate::filter::{Filter, Since};
use crate::history::Changes;
use crate::live::Live;
use crate::packed::{Packed, Packing};

/// A chunk is sent once it has so many bytes.
const CHUNK: usize = 32 << 10;

/// What is to be sent to bring a client to a commit. It is made chunk by chunk: a snapshot may be large.
pub(super) struct Resume {
    /// The commit that the client has then.
    pub commit: u64,
    position: CommitId,
    kind: &'static str,
    total: u64,
    packing: Packing,
    parts: VecDeque<Part>,
}

enum Part {
    Reset(&'static str),
    Put(&'static str, Packed),
    Leave(Arc<str>),
    Changes(Arc<Changes>),
    Live,
}

/// From where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// The client has this commit.
    After(CommitId),
    /// The client has this commit, and is too slow for every change.
    Conflated(CommitId),
    /// The client has nothing, and wants all.
    Snapshot,
    /// The client wants only what changes.
    Now,
}

impl Resume {
    /// What brings a client from `begin` to the commit that is shown now.
    pub fn new(live: &Live, subject: &Subject, begin: Begin) -> Self {
        let served = live.read();
        let commit = served.index.commit();
        let selection = served.index.select(&subject.filter);
        let mut resume = Self {
            commit,
            position: live.position(commit),
            kind: "reset",
            total: selection.total(),
            packing: served.index.packing().clone(),
            parts: VecDeque::new(),
        };
        let since = match begin {
            Begin::Now => Some(commit),
            // Who was cut off within a snapshot has a part of it, and this position.
            Begin::After(position) if position.number == 0 => None,
            // A position that was not reached yet belongs to another history.
            Begin::After(position) | Begin::Conflated(position) => {
                (position.lineage == live.lineage() && position.number <= commit).then_some(position.number)
            }
            Begin::Snapshot => None,
        };
        let exactly = since.filter(|_| !matches!(begin, Begin::Conflated(_)));
        let recent = exactly.and_then(|since| served.history.since(since));
        let left = since.and_then(|since| served.left_since(&subject.filter, since));
        match (since, recent, left) {
            (Some(_), Some(changes), _) => {
                resume.kind = "exact";
                resume.parts.extend(changes.into_iter().map(Part::Changes));
            }
            (Some(since), None, Some(left)) => {
                resume.kind = "state";
                resume.parts.extend(left.into_iter().map(Part::Leave));
                let changed = served.index.select(&changed_since(&subject.filter, since));
                let puts = served.index.in_order(&changed).into_iter();
                resume.parts.extend(puts.map(|entry| Part::Put("update", entry.document.clone())));
            }
            _ => {
                let reason = if begin == Begin::Snapshot { "snapshot" } else { "position" };
                resume.parts.push_back(Part::Reset(reason));
                let puts = served.index.in_order(&selection).into_iter();
                resume.parts.extend(puts.map(|entry| Part::Put("enter", entry.document.clone())));
            }
        }
        resume.parts.push_back(Part::Live);
        resume
    }

    /// Whether all is sent.
    pub fn is_done(&self) -> bool {
        self.parts.is_empty()
    }

    /// The next chunk; `None` once all is sent.
    ///
    /// # Errors
    /// When a document cannot be unpacked.
    pub fn chunk(&mut self, live: &Live, subject: &Subject) -> io::Result<Option<String>> {
        let packing = self.packing.clone();
        let mut unpacker = packing.unpacker()?;
        let mut out = String::new();
        while out.len() < CHUNK
            && let Some(part) = self.parts.pop_front()
        {
            match part {
                // Who is cut off before the end has a part of all, whatever id it came with.
                Part::Reset(reason) => {
                    let nothing = Some(live.position(0));
                    frame::event(&mut out, "reset", &format!("{{\"reason\":\"{reason}\"}}"), nothing);
                }
                Part::Put(name, packed) => {
                    let document = String::from_utf8(unpacker.unpack(&packed)?).map_err(io::Error::other)?;
                    frame::event(&mut out, name, &frame::document(subject, &document), None);
                }
                Part::Leave(id) => frame::leave(&mut out, &id, None, None),
                Part::Changes(changes) => {
                    let position = live.position(changes.commit);
                    out.push_str(&frame::of_commit(subject, changes.events.iter(), position).unwrap_or_default());
                }
                Part::Live => {
                    let data = format!("{{\"total\":{},\"resumed\":\"{}\"}}", self.total, self.kind);
                    frame::event(&mut out, "live", &data, Some(self.position));
                }
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }
}

/// The filter, and changed by a later commit. A time that it asks for itself is tested by the selection of
/// all, so that the stricter of both holds.
fn changed_since(filter: &Filter, commit: u64) -> Filter {
    let since = match filter.updated_since {
        Some(Since::Commit(own)) => Since::Commit(own.max(commit)),
        _ => Since::Commit(commit),
    };
    Filter { updated_since: Some(since), ..filter.clone() }
}
