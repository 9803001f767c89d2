//! What has changed lately: for streams that follow, and for those that come back.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::document::Facts;
use crate::filter::Filter;

/// So many changes are kept for exact resume.
const MOST_CHANGES: usize = 4_096;

/// So many ids of events that have gone are remembered.
const MOST_GONE: usize = 200_000;

/// What a commit changed.
#[derive(Debug)]
pub struct Changes {
    /// The commit.
    pub commit: u64,
    /// The events that it changed, each once.
    pub events: Vec<EventChange>,
}

/// What became of an event.
#[derive(Debug)]
pub struct EventChange {
    /// Its id.
    pub id: Arc<str>,
    /// What it was, where it was.
    pub former: Option<Version>,
    /// What it is, where it is.
    pub now: Option<(Version, Bytes)>,
    /// The event that took its place, where one did.
    pub redirect_to: Option<Box<str>>,
}

/// An event as a commit wrote it.
#[derive(Debug)]
pub struct Version {
    /// What is searched of it.
    pub facts: Box<Facts>,
    /// The commit.
    pub commit: u64,
}

/// How a change looks through a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The event was not asked for, and is now.
    Enter,
    /// It is asked for, as it was.
    Update,
    /// It was asked for, and is not any more.
    Leave,
}

impl EventChange {
    /// How the change looks through `filter`; `None` where it cannot be seen.
    pub fn seen(&self, filter: &Filter) -> Option<Seen> {
        let admits = |version: &Version| filter.admits(&version.facts, version.commit);
        let was = self.former.as_ref().is_some_and(admits);
        let is = self.now.as_ref().is_some_and(|(version, _)| admits(version));
        match (was, is) {
            (false, true) => Some(Seen::Enter),
            (true, true) => Some(Seen::Update),
            (true, false) => Some(Seen::Leave),
            (false, false) => None,
        }
    }
}

/// An id that is no event any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The commit that said so.
    pub commit: u64,
    /// The id.
    pub id: Arc<str>,
}

/// What has changed lately.
#[derive(Debug, Default)]
pub struct History {
    recent: VecDeque<Arc<Changes>>,
    changes: usize,
    /// `recent` holds all commits after this one.
    recent_after: u64,
    gone: VecDeque<Gone>,
    /// `gone` holds all that went after this commit.
    gone_after: u64,
}

impl History {
    /// Begins at a commit. What went between `gone_after` and that commit is in `gone`.
    pub fn begin(&mut self, commit: u64, gone_after: u64) {
        self.recent.clear();
        self.changes = 0;
        self.recent_after = commit;
        self.gone_after = self.gone_after.max(gone_after);
        self.gone.make_contiguous().sort_by_key(|gone| gone.commit);
    }

    /// Remembers that an id is no event any more.
    pub fn note_gone(&mut self, gone: Gone) {
        self.gone.push_back(gone);
        if self.gone.len() > MOST_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.gone_after = self.gone_after.max(oldest.commit);
        }
    }

    /// Remembers a commit.
    pub fn push(&mut self, changes: Arc<Changes>) {
        self.changes += changes.events.len();
        self.recent.push_back(changes);
        while self.changes > MOST_CHANGES
            && let Some(oldest) = self.recent.pop_front()
        {
            self.changes -= oldest.events.len();
            self.recent_after = oldest.commit;
        }
    }

    /// All commits after `commit`, where they are still known.
    pub fn since(&self, commit: u64) -> Option<Vec<Arc<Changes>>> {
        let after = self.recent.partition_point(|changes| changes.commit <= commit);
        (commit >= self.recent_after).then(|| self.recent.range(after..).cloned().collect())
    }

    /// All ids that are no events any more since `commit`, where that is still known. An id may be an
    /// event again.
    pub fn gone_since(&self, commit: u64) -> Option<impl Iterator<Item = &Gone>> {
        let after = self.gone.partition_point(|gone| gone.commit <= commit);
        (commit >= self.gone_after).then(|| self.gone.range(after..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(commit: u64, events: usize) -> Arc<Changes> {
        let event = || EventChange { id: "e".into(), former: None, now: None, redirect_to: None };
        Arc::new(Changes { commit, events: (0..events).map(|_| event()).collect() })
    }

    #[test]
    fn the_latest_commits_are_known() {
        let mut history = History::default();
        history.begin(10, 0);
        assert!(history.since(9).is_none());
        assert_eq!(history.since(10).unwrap().len(), 0);
        history.push(changes(12, MOST_CHANGES - 1));
        history.push(changes(13, 1));
        assert_eq!(history.since(10).unwrap().len(), 2);
        assert_eq!(history.since(12).unwrap().len(), 1);
        history.push(changes(14, 1));
        assert!(history.since(11).is_none(), "commit 12 was given up");
        assert_eq!(history.since(12).unwrap().len(), 2);
    }

    #[test]
    fn what_went_is_known_for_long() {
        let mut history = History::default();
        for commit in 1..=MOST_GONE as u64 {
            history.note_gone(Gone { commit, id: "e".into() });
        }
        history.begin(MOST_GONE as u64, 0);
        assert_eq!(history.gone_since(0).unwrap().count(), MOST_GONE);
        history.note_gone(Gone { commit: 1 << 40, id: "f".into() });
        assert!(history.gone_since(0).is_none(), "the first was given up");
        assert_eq!(history.gone_since(1).unwrap().count(), MOST_GONE);
    }
}
