//! Classes: streams of one subject, and which of them a change may concern.
//!
//! A filter that asks for a category, a city or the like can see an event only where the event has one of
//! those values, or had it. So a class is looked up by the values of the attribute of which the fewest events
//! have one, and a change is shown to the classes that its old and its new values lead to. Filters without any
//! such value, say of an area or of words alone, are shown every change.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};

use super::queue::{Queue, SharedQueue};
use super::subject::Subject;
use crate::document::Attribute;
use crate::filter::Filter;
use crate::history::{Changes, EventChange};

/// After so many new streams those that have ended are forgotten, unless there are more subjects than that.
const MOST_ADDED: usize = 64;

/// The streams of all subjects.
#[derive(Default)]
pub(super) struct Classes {
    classes: HashMap<Arc<Subject>, Class, foldhash::fast::RandomState>,
    /// The subjects that are looked up by a value.
    by_value: HashMap<Attribute, HashMap<Box<str>, Vec<Arc<Subject>>>>,
    /// Streams that were added since those that have ended were forgotten.
    added: usize,
}

struct Class {
    queues: Vec<Weak<Queue>>,
    looked_up_by: Option<Attribute>,
}

/// The attribute by which a filter is looked up: that of which the fewest events have a value that it asks for.
/// `frequency` is how many events have a value.
pub(super) fn rarest(filter: &Filter, frequency: impl Fn(Attribute, &str) -> u64) -> Option<Attribute> {
    let events = |attribute: Attribute| {
        let values = filter.any_of.get(&attribute).into_iter().flatten();
        values.map(|value| frequency(attribute, value)).sum::<u64>()
    };
    filter.any_of.keys().copied().min_by_key(|attribute| events(*attribute))
}

impl Classes {
    /// Adds a stream. The first one of a subject says by which attribute that is looked up.
    pub fn join(&mut self, subject: Subject, queue: &SharedQueue, by: Option<Attribute>) -> Arc<Subject> {
        // Commits do it, too, but the log may be quiet.
        self.added += 1;
        if self.added > self.classes.len().max(MOST_ADDED) {
            self.forget_ended();
        }
        let entry = self.classes.entry(Arc::new(subject));
        let subject = Arc::clone(entry.key());
        let class = match entry {
            Entry::Occupied(class) => class.into_mut(),
            Entry::Vacant(free) => {
                for value in values(&subject, by) {
                    let of_attribute = by.map(|by| self.by_value.entry(by).or_default());
                    let subjects = of_attribute.map(|all| all.entry(value.clone()).or_default());
                    subjects.into_iter().for_each(|subjects| subjects.push(Arc::clone(&subject)));
                }
                free.insert(Class { queues: Vec::new(), looked_up_by: by })
            }
        };
        class.queues.push(Arc::downgrade(queue));
        subject
    }

    /// The queues of all streams.
    pub fn queues(&self) -> impl Iterator<Item = SharedQueue> {
        self.classes.values().flat_map(|class| &class.queues).filter_map(Weak::upgrade)
    }

    /// Calls `publish` for each class with the changes that it may see, and with its queues.
    pub fn for_each(&mut self, changes: &Changes, publish: impl Fn(&Subject, &[&EventChange], &[SharedQueue])) {
        self.forget_ended();
        let led_to = self.led_to(changes);
        let all: Vec<&EventChange> = changes.events.iter().collect();
        for (subject, class) in &self.classes {
            let queues: Vec<SharedQueue> = class.queues.iter().filter_map(Weak::upgrade).collect();
            let seen = match class.looked_up_by {
                None => all.as_slice(),
                Some(_) => led_to.get(&Arc::as_ptr(subject)).map_or(&[][..], Vec::as_slice),
            };
            publish(subject, seen, &queues);
        }
    }

    /// For each subject that values lead to, the changes that do, in their order.
    fn led_to<'c>(&self, changes: &'c Changes) -> HashMap<*const Subject, Vec<&'c EventChange>> {
        let mut led_to: HashMap<*const Subject, Vec<&EventChange>> = HashMap::new();
        for change in &changes.events {
            let versions = change.former.iter().chain(change.now.iter().map(|(version, _)| version));
            for term in versions.flat_map(|version| &version.facts.terms) {
                let subjects = self.by_value.get(&term.attribute).and_then(|values| values.get(&term.key));
                for subject in subjects.into_iter().flatten() {
                    let seen = led_to.entry(Arc::as_ptr(subject)).or_default();
                    // Old and new values often lead to one subject.
                    if seen.last().is_none_or(|last| !std::ptr::eq(*last, change)) {
                        seen.push(change);
                    }
                }
            }
        }
        led_to
    }

    /// Forgets streams that have ended, and subjects that nobody has any more.
    fn forget_ended(&mut self) {
        self.added = 0;
        let by_value = &mut self.by_value;
        self.classes.retain(|subject, class| {
            class.queues.retain(|queue| queue.strong_count() > 0);
            if class.queues.is_empty() {
                forget(by_value, subject, class.looked_up_by);
            }
            !class.queues.is_empty()
        });
    }
}

/// The values by which a subject is looked up.
fn values(subject: &Subject, by: Option<Attribute>) -> impl Iterator<Item = &Box<str>> {
    by.and_then(|by| subject.filter.any_of.get(&by)).into_iter().flatten()
}

fn forget(
    by_value: &mut HashMap<Attribute, HashMap<Box<str>, Vec<Arc<Subject>>>>,
    subject: &Arc<Subject>,
    by: Option<Attribute>,
) {
    let Some(of_attribute) = by.and_then(|by| by_value.get_mut(&by)) else { return };
    for value in values(subject, by) {
        let Entry::Occupied(mut subjects) = of_attribute.entry(value.clone()) else { continue };
        subjects.get_mut().retain(|known| !Arc::ptr_eq(known, subject));
        if subjects.get().is_empty() {
            subjects.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::document::{Document, read};
    use crate::history::Version;
    use crate::text::TextQuery;

    fn version((city, tags, title): (u8, Vec<u8>, u8), commit: u64) -> (Version, Bytes) {
        let tags: Vec<String> = tags.iter().map(|tag| format!("t{tag}")).collect();
        let json = serde_json::json!({
            "format": 1, "title": format!("word{title}"), "startTime": "2026-03-28T19:30:00Z",
            "venue": {"city": format!("c{city}")}, "tags": tags, "category": format!("k{}", city % 2),
        })
        .to_string();
        let Document::Event(facts) = read(&json).unwrap() else { panic!("{json}") };
        (Version { facts, commit }, Bytes::from(json))
    }

    fn subject((cities, tags, word): (Vec<u8>, Vec<u8>, Option<u8>)) -> Subject {
        let mut filter =
            Filter { text: word.and_then(|word| TextQuery::new(&format!("word{word}"))), ..Filter::default() };
        for (attribute, values, letter) in [(Attribute::City, cities, 'c'), (Attribute::Tag, tags, 't')] {
            if !values.is_empty() {
                let keys = values.iter().map(|value| format!("{letter}{value}").into());
                filter.any_of.insert(attribute, keys.collect());
            }
        }
        Subject { filter, fields: None }
    }

    fn events() -> impl Strategy<Value = (u8, Vec<u8>, u8)> {
        (0u8..4, prop::collection::vec(0u8..4, 0..3), 0u8..3)
    }

    fn subjects() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, Option<u8>)> {
        let values = || prop::collection::vec(0u8..4, 0..3);
        (values(), values(), prop::option::of(0u8..3))
    }

    proptest! {
        #[test]
        fn what_a_filter_sees_is_among_what_it_is_shown(
            wanted in prop::collection::vec(subjects(), 1..8),
            changed in prop::collection::vec((prop::option::of(events()), prop::option::of(events())), 0..8),
            weights in prop::collection::vec(0u64..9, 4),
        ) {
            let mut classes = Classes::default();
            let queues: Vec<SharedQueue> = wanted.iter().map(|_| SharedQueue::default()).collect();
            for (wanted, queue) in wanted.iter().zip(&queues) {
                let subject = subject(wanted.clone());
                let by = rarest(&subject.filter, |attribute, value| weights[(attribute as usize + value.len()) % 4]);
                prop_assert_eq!(by.is_none(), subject.filter.any_of.is_empty());
                classes.join(subject, queue, by);
            }
            let events = changed.into_iter().enumerate().map(|(number, (former, now))| EventChange {
                id: number.to_string().into(),
                former: former.map(|event| version(event, 1).0),
                now: now.map(|event| version(event, 2)),
                redirect_to: None,
            });
            let changes = Changes { commit: 2, events: events.collect() };
            let seen = |subject: &Subject, changes: &mut dyn Iterator<Item = &EventChange>| -> Vec<_> {
                changes.filter_map(|change| Some((change.id.clone(), change.seen(&subject.filter)?))).collect()
            };
            let shown = Mutex::new(BTreeMap::new());
            classes.for_each(&changes, |subject, led_to, queues| {
                let found = seen(subject, &mut led_to.iter().copied());
                shown.lock().unwrap().insert(subject.filter.digest(), (found, queues.len()));
            });
            for wanted in &wanted {
                let subject = subject(wanted.clone());
                let shown = shown.lock().unwrap();
                prop_assert_eq!(&shown[&subject.filter.digest()].0, &seen(&subject, &mut changes.events.iter()));
            }
            let of_all: usize = shown.lock().unwrap().values().map(|(_, queues)| queues).sum();
            prop_assert_eq!(of_all, wanted.len());
            drop(queues);
            classes.for_each(&changes, |_, _, _| panic!("nobody is there"));
            prop_assert!(classes.by_value.values().all(HashMap::is_empty));
        }
    }
}
