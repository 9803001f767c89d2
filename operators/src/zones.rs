//! Time zones by their IANA names. Every listing names one, and few are in use: each thread remembers
//! those that it has looked up.

use std::cell::RefCell;

use jiff::tz::TimeZone;
use smol_str::SmolStr;

/// There are some six hundred names. What is beyond that is nonsense, and not worth its memory.
const MAX_REMEMBERED: usize = 1024;

/// Longer names are of no zone, and are not remembered.
const MAX_NAME_BYTES: usize = 64;

thread_local! {
    static REMEMBERED: RefCell<foldhash::HashMap<SmolStr, Option<TimeZone>>> = RefCell::default();
}

/// The zone of this name, whatever its letters' case.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    with_zone(name, |zone| zone.cloned())
}

/// Whether there is a zone of this name.
pub(crate) fn is_known(name: &str) -> bool {
    with_zone(name, |zone| zone.is_some())
}

fn with_zone<T>(name: &str, look: impl FnOnce(Option<&TimeZone>) -> T) -> T {
    REMEMBERED.with_borrow_mut(|remembered| {
        if let Some(zone) = remembered.get(name) {
            return look(zone.as_ref());
        }
        let zone = TimeZone::get(name).ok();
        let found = look(zone.as_ref());
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        if name.len() <= MAX_NAME_BYTES {
            remembered.insert(name.into(), zone);
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_was_found() {
        for _ in 0..2 {
            assert_eq!(zone("europe/paris").unwrap().iana_name(), Some("Europe/Paris"));
            assert!(is_known("Europe/Paris") && !is_known("Europe/Atlantis"));
            assert_eq!(zone("Europe/Atlantis"), None);
        }
    }

    #[test]
    fn nonsense_is_not_remembered_without_end() {
        (0..2 * MAX_REMEMBERED).for_each(|number| assert!(!is_known(&format!("No/Where{number}"))));
        assert!(!is_known(&"x".repeat(1_000_000)) && is_known("Asia/Tokyo"));
        REMEMBERED.with_borrow(|remembered| assert!(remembered.len() <= MAX_REMEMBERED));
    }
}
