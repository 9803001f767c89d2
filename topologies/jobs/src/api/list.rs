//! Lists of jobs, the newest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::head::Head;
use super::store::{Entry, Index, Place, State, Store};
use crate::model::Phase;

/// So many jobs are looked at before others are let in.
const PART: usize = 2_000;

/// Which jobs. All that is said has to be so.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) queue: Option<String>,
    /// One of these; where there is none, any.
    pub(super) phases: Vec<Phase>,
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    /// The code of the last error.
    pub(super) error: Option<String>,
    pub(super) schedule: Option<String>,
    /// A text in the id, the payload, the result or the error.
    pub(super) text: Option<Text>,
}

/// A page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) jobs: Vec<Bytes>,
    /// How many jobs there are on all pages.
    pub(super) total: usize,
    /// The number of the last job of this page, where there is another page.
    pub(super) next: Option<u64>,
}

impl Filter {
    fn indexes<'s>(&self, state: &'s State) -> Vec<&'s Index> {
        if self.queue.is_none() && self.phases.is_empty() {
            return vec![state.all()];
        }
        let all: Vec<&'s [Index; Phase::ALL.len()]> = match &self.queue {
            Some(queue) => state.phases_of(queue).into_iter().collect(),
            None => state.by_phase().map(|(_, phases)| phases).collect(),
        };
        let is_wanted = |phase: &Phase| self.phases.is_empty() || self.phases.contains(phase);
        let of_one = |phases: &'s [Index; Phase::ALL.len()]| {
            phases.iter().zip(Phase::ALL).filter(|(_, phase)| is_wanted(phase)).map(|(index, _)| index)
        };
        all.into_iter().flat_map(of_one).filter(|index| !index.is_empty()).collect()
    }

    /// Whether more has to be looked at than where jobs are kept.
    pub(super) fn looks_at_jobs(&self) -> bool {
        let fields = [&self.group, &self.kind, &self.error, &self.schedule];
        fields.into_iter().any(Option::is_some) || self.text.is_some()
    }

    fn lets(&self, head: &Head) -> bool {
        let is = |wanted: &Option<String>, name: &Option<Arc<str>>| {
            wanted.as_ref().is_none_or(|wanted| name.as_deref() == Some(wanted))
        };
        is(&self.group, &head.group)
            && is(&self.kind, &head.kind)
            && is(&self.error, &head.error)
            && is(&self.schedule, &head.schedule)
    }
}

/// The places of several indexes below a place, from the highest on.
fn downwards<'s>(indexes: &[&'s Index], below: Option<Place>) -> impl Iterator<Item = Place> + use<'s> {
    let range = (Bound::Unbounded, below.map_or(Bound::Unbounded, Bound::Excluded));
    let mut each: Vec<_> = indexes.iter().map(|index| index.range(range).rev().copied()).collect();
    let firsts = each.iter_mut().enumerate().filter_map(|(number, one)| Some((one.next()?, Reverse(number))));
    let mut heap: BinaryHeap<(Place, Reverse<usize>)> = firsts.collect();
    std::iter::from_fn(move || {
        let (place, Reverse(number)) = heap.pop()?;
        if let Some(next) = each.get_mut(number).and_then(Iterator::next) {
            heap.push((next, Reverse(number)));
        }
        Some(place)
    })
}

/// Hands the jobs that a filter lets through to `each`, the newest first, until it returns false.
pub(super) fn scan(store: &Store, filter: &Filter, mut each: impl FnMut(&Found) -> bool) {
    let mut below = None;
    let mut scratch = Vec::new();
    loop {
        // Others are let in before texts are searched.
        let (found, last) = part(&store.read(), filter, below);
        for one in &found {
            let has = filter.text.as_ref().is_none_or(|text| text.is_in(&one.document, &mut scratch));
            if has && !each(one) {
                return;
            }
        }
        match last {
            Some(last) => below = Some(last),
            None => return,
        }
    }
}

/// A job that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) number: u64,
    pub(super) id: Arc<str>,
    pub(super) queue: Arc<str>,
    /// The code of its last error.
    pub(super) error: Option<Arc<str>>,
    pub(super) settled_at: Option<Timestamp>,
    pub(super) document: Bytes,
}

/// Those of the next few jobs that a filter lets through, but for its text, and where to go on.
fn part(state: &State, filter: &Filter, below: Option<Place>) -> (Vec<Found>, Option<Place>) {
    let places: Vec<Place> = downwards(&filter.indexes(state), below).take(PART).collect();
    let last = places.last().copied().filter(|_| places.len() == PART);
    let entry = |place: Place| state.entry(place.1).filter(|entry| filter.lets(&entry.head));
    let one = |Entry { head, document }: &Entry| Found {
        number: head.number,
        id: Arc::clone(&head.id),
        queue: Arc::clone(&head.queue),
        error: head.error.clone(),
        settled_at: head.settled_at,
        document: document.clone(),
    };
    (places.into_iter().filter_map(entry).map(one).collect(), last)
}

/// The page of at most `limit` jobs whose numbers are below `before`.
pub(super) fn list(store: &Store, filter: &Filter, before: Option<u64>, limit: usize) -> Page {
    if filter.looks_at_jobs() { page_of_scan(store, filter, before, limit) } else { page(store, filter, before, limit) }
}

/// A page whose jobs are known by where they are kept.
fn page(store: &Store, filter: &Filter, before: Option<u64>, limit: usize) -> Page {
    let state = store.read();
    let indexes = filter.indexes(&state);
    let below = before.map(|number| (number, 0));
    let places: Vec<Place> = downwards(&indexes, below).take(limit + 1).collect();
    let last = limit.checked_sub(1).and_then(|last| places.get(last));
    let next = last.filter(|_| places.len() > limit).map(|place| place.0);
    let documents = places.iter().take(limit).filter_map(|place| state.entry(place.1));
    Page {
        jobs: documents.map(|entry| entry.document.clone()).collect(),
        total: indexes.iter().map(|index| index.len()).sum(),
        next,
    }
}

fn page_of_scan(store: &Store, filter: &Filter, before: Option<u64>, limit: usize) -> Page {
    let mut page = Page::default();
    let mut last = None;
    scan(store, filter, |Found { number, document, .. }| {
        page.total += 1;
        if before.is_none_or(|before| *number < before) {
            if page.jobs.len() < limit {
                page.jobs.push(document.clone());
                last = Some(*number);
            } else {
                page.next = last;
            }
        }
        true
    });
    page
}

/// A text to search for: in small letters, as far as they are of ASCII, and as JSON writes it.
#[derive(Debug)]
pub(super) struct Text(Finder<'static>);

/// What of a document is searched.
#[derive(Deserialize)]
struct Searched<'d> {
    #[serde(borrow)]
    id: &'d RawValue,
    #[serde(borrow)]
    payload: &'d RawValue,
    #[serde(default, borrow)]
    result: Option<&'d RawValue>,
    #[serde(default, borrow)]
    error: Option<SearchedError<'d>>,
}

#[derive(Deserialize)]
struct SearchedError<'d> {
    #[serde(borrow)]
    code: &'d RawValue,
    #[serde(borrow)]
    message: &'d RawValue,
}

impl Text {
    /// `None` where there is nothing to search for.
    pub(super) fn new(text: &str) -> Option<Self> {
        let written = serde_json::to_string(&text.to_ascii_lowercase()).ok()?;
        let written = written.strip_prefix('"')?.strip_suffix('"')?;
        (!written.is_empty()).then(|| Self(Finder::new(written.as_bytes()).into_owned()))
    }

    /// Whether a job holds it. `scratch` is used again and again.
    fn is_in(&self, document: &[u8], scratch: &mut Vec<u8>) -> bool {
        if !self.is_in_text(document, scratch) {
            return false;
        }
        // The names of fields and the rest of the document are not searched.
        let Ok(Searched { id, payload, result, error }) = serde_json::from_slice(document) else { return false };
        let (code, message) = error.map(|error| (error.code, error.message)).unzip();
        let parts = [Some(id), Some(payload), result, code, message];
        parts.into_iter().flatten().any(|part| self.is_in_text(part.get().as_bytes(), scratch))
    }

    fn is_in_text(&self, text: &[u8], scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        scratch.extend_from_slice(text);
        scratch.make_ascii_lowercase();
        self.0.find(scratch).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::store::tests::record;
    use super::*;

    #[derive(Debug, Clone)]
    struct Made {
        queue: u8,
        phase: usize,
        group: Option<u8>,
        error: Option<u8>,
        word: u8,
    }

    const WORDS: [&str; 4] = ["Alpha", "beta\"x", "queue", "ALPINE"];

    fn value(number: u64, made: &Made) -> Value {
        let at = "2026-12-01T10:00:00Z";
        let mut job = json!({"format": 1, "id": format!("j{number}"), "queue": format!("q{}", made.queue), "number": number,
            "phase": Phase::ALL[made.phase], "payload": {"w": WORDS[made.word as usize]}, "submittedAt": at, "readyAt": at,
            "attempt": 0, "limits": {"maxAttempts": 3, "backoff": {"initialMs": 1, "maxMs": 2}, "heartbeatWithinMs": 1}});
        if let Some(group) = made.group {
            job["group"] = format!("g{group}").into();
        }
        if let Some(error) = made.error {
            job["error"] = json!({"code": format!("e{error}"), "message": "it failed"});
        }
        job
    }

    fn naive(jobs: &[Value], filter: &Wanted) -> Vec<u64> {
        let is = |wanted: &Option<String>, value: &Value| wanted.as_ref().is_none_or(|wanted| value == wanted.as_str());
        let has = |value: &Value| {
            let error = [&value["error"]["code"], &value["error"]["message"]];
            let parts = [&value["id"], &value["payload"], &value["result"]].into_iter().chain(error);
            let written = parts.filter(|part| !part.is_null()).map(|part| part.to_string().to_lowercase());
            let wanted = filter.text.as_ref().map(|text| serde_json::to_string(&text.to_lowercase()).unwrap());
            wanted.is_none_or(|text| written.clone().any(|part| part.contains(text.trim_matches('"'))))
        };
        let lets = |value: &&Value| {
            is(&filter.queue, &value["queue"])
                && is(&filter.phase.map(|phase| phase.name().to_owned()), &value["phase"])
                && is(&filter.group, &value["group"])
                && is(&filter.error, &value["error"]["code"])
                && has(value)
        };
        let mut numbers: Vec<u64> = jobs.iter().filter(lets).map(|value| value["number"].as_u64().unwrap()).collect();
        numbers.sort_unstable_by_key(|number| Reverse(*number));
        numbers
    }

    #[derive(Debug, Clone)]
    struct Wanted {
        queue: Option<String>,
        phase: Option<Phase>,
        group: Option<String>,
        error: Option<String>,
        text: Option<String>,
    }

    fn wanted() -> impl Strategy<Value = Wanted> {
        let text = prop::option::of(prop::sample::select(vec![
            "alp",
            "A\"X",
            "queue",
            "J1",
            "FAILED",
            "e1",
            "heartbeat",
            "w",
        ]));
        let some =
            |prefix: &'static str| prop::option::of((0u8..3).prop_map(move |number| format!("{prefix}{number}")));
        let phase = prop::option::of(prop::sample::select(Phase::ALL.to_vec()));
        (some("q"), phase, some("g"), some("e"), text).prop_map(|(queue, phase, group, error, text)| Wanted {
            queue,
            phase,
            group,
            error,
            text: text.map(str::to_owned),
        })
    }

    fn made() -> impl Strategy<Value = Made> {
        let some = || prop::option::of(0u8..3);
        (0u8..3, 0..Phase::ALL.len(), some(), some(), 0u8..4).prop_map(|(queue, phase, group, error, word)| Made {
            queue,
            phase,
            group,
            error,
            word,
        })
    }

    proptest! {
        #[test]
        fn pages_are_what_a_naive_filter_finds(
            jobs in prop::collection::vec(made(), 0..40), wanted in wanted(), limit in 1usize..8
        ) {
            let store = Store::default();
            let values: Vec<Value> = jobs.iter().zip(0..).map(|(made, number)| value(number, made)).collect();
            let records = values.iter().map(|value| {
                record(value["id"].as_str().unwrap(), Some(value.to_string().into_bytes()))
            });
            store.apply(records.collect()).unwrap();
            let expected = naive(&values, &wanted);
            let filter = Filter {
                queue: wanted.queue.clone(),
                phases: wanted.phase.into_iter().collect(),
                group: wanted.group.clone(),
                error: wanted.error.clone(),
                text: wanted.text.as_deref().and_then(Text::new),
                ..Filter::default()
            };
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let page = list(&store, &filter, before, limit);
                prop_assert_eq!(page.total, expected.len());
                prop_assert!(page.jobs.len() <= limit);
                let number = |job: &Bytes| serde_json::from_slice::<Value>(job).unwrap()["number"].as_u64().unwrap();
                found.extend(page.jobs.iter().map(number));
                match page.next {
                    Some(next) => before = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_scan_goes_through_all_parts() {
        let store = Store::default();
        let made = Made { queue: 0, phase: 0, group: Some(1), error: None, word: 0 };
        let job = |number| record(&format!("j{number}"), Some(value(number, &made).to_string().into_bytes()));
        store.apply((0..PART as u64 * 2 + 1).map(job).collect()).unwrap();
        let filter = Filter { group: Some("g1".to_owned()), ..Filter::default() };
        assert_eq!(list(&store, &filter, None, 5).total, PART * 2 + 1);
        let filter = Filter { text: Text::new("ALPHA"), ..filter };
        assert_eq!(list(&store, &filter, Some(3), 5).jobs.len(), 3);
    }
}
