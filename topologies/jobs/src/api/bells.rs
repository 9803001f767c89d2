//! Bells: who waits for something of a name is woken when it changes, and nobody else is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// So many names are there before those are looked for that nobody listens to any more.
const FIRST_SWEEP: usize = 1_024;

/// A bell for each name that somebody listens to.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<Hung>);

#[derive(Debug, Default)]
struct Hung {
    bells: HashMap<Arc<str>, watch::Sender<()>>,
    sweep_at: usize,
}

impl Bells {
    /// Hears everything that happens to `name` from now on.
    pub(super) fn listen(&self, name: &str) -> watch::Receiver<()> {
        let mut hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = hung.bells.get(name) {
            return bell.subscribe();
        }
        if hung.bells.len() >= hung.sweep_at.max(FIRST_SWEEP) {
            hung.bells.retain(|_, bell| bell.receiver_count() > 0);
            hung.sweep_at = hung.bells.len() * 2;
        }
        let (bell, listener) = watch::channel(());
        hung.bells.insert(name.into(), bell);
        listener
    }

    /// Tells those that listen to any of `names`.
    pub(super) fn ring<'n>(&self, names: impl IntoIterator<Item = &'n Arc<str>>) {
        let mut hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hung.bells.is_empty() {
            return;
        }
        for name in names {
            match hung.bells.get(name) {
                Some(bell) if bell.receiver_count() > 0 => bell.send_replace(()),
                Some(_) => drop(hung.bells.remove(name)),
                None => {}
            }
        }
    }

    /// Tells all.
    pub(super) fn ring_all(&self) {
        let hung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hung.bells.values().for_each(|bell| bell.send_replace(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_told_and_who_has_gone_is_forgotten() {
        let bells = Bells::default();
        let (mut one, mut other) = (bells.listen("a"), bells.listen("b"));
        bells.ring([&Arc::from("a"), &Arc::from("c")]);
        assert!(one.has_changed().unwrap() && !other.has_changed().unwrap());
        one.mark_unchanged();
        bells.ring_all();
        assert!(one.has_changed().unwrap() && other.has_changed().unwrap());
        other.mark_unchanged();
        drop(one);
        bells.ring([&Arc::from("a")]);
        assert_eq!(bells.0.lock().unwrap().bells.len(), 1);
        for number in 0..FIRST_SWEEP * 3 {
            drop(bells.listen(&number.to_string()));
        }
        assert!(bells.0.lock().unwrap().bells.len() <= FIRST_SWEEP + 1);
        assert!(!other.has_changed().unwrap());
    }
}
