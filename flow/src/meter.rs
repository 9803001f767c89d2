//! [`EntryMeter`]: how much a stateful operator holds, for whoever runs the dataflow to look at.
//!
//! Operators have no way out but their streams, and sizes are no data. So each operator makes its
//! meters where it is built, and whoever built the dataflow on this thread [`collect`]s them.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A number of entries that an operator holds on one worker.
#[derive(Debug, Clone)]
pub struct EntryMeter {
    name: &'static str,
    entries: Arc<AtomicI64>,
}

thread_local! {
    static MADE: RefCell<Vec<EntryMeter>> = const { RefCell::new(Vec::new()) };
}

/// Takes the meters that were made on this thread since this was called last.
pub fn collect() -> Vec<EntryMeter> {
    MADE.with_borrow_mut(std::mem::take)
}

impl EntryMeter {
    /// A meter that says 0, to be found by [`collect`]. Names are in kebab case, and say of which
    /// operator what is counted.
    pub fn new(name: &'static str) -> Self {
        let meter = Self { name, entries: Arc::default() };
        MADE.with_borrow_mut(|made| made.push(meter.clone()));
        meter
    }

    /// What is counted.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Says how many there are.
    pub fn set(&self, entries: usize) {
        self.entries.store(i64::try_from(entries).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Says that there are so many more, or fewer.
    pub fn add(&self, change: i64) {
        self.entries.fetch_add(change, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn entries(&self) -> i64 {
        self.entries.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_are_collected_once_by_the_thread_that_made_them() {
        collect();
        let made = EntryMeter::new("window-rows");
        std::thread::spawn(|| assert!(collect().is_empty())).join().unwrap();
        let collected = collect();
        made.set(7);
        made.add(-2);
        assert_eq!(
            collected.iter().map(|meter| (meter.name(), meter.entries())).collect::<Vec<_>>(),
            [("window-rows", 5)]
        );
        assert!(collect().is_empty());
    }
}
