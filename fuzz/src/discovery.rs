//! Targets of the crate `topologies`: the configuration of discovery, and so both halves of one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

use std::collections::BTreeMap;
use std::fs;

use discovery::config::Sections;
use headwater::config::{Sources, load};
use tempfile::NamedTempFile;

thread_local! {
    /// In memory, where there is a file system of that kind.
    static FILE: NamedTempFile = NamedTempFile::new_in("/dev/shm").or_else(|_| NamedTempFile::new()).unwrap();
}

/// A configuration file and, in its first line, a flag.
pub fn config(data: &[u8]) {
    const SECRET: &str = "correct-horse-battery";
    let Ok(text) = std::str::from_utf8(data) else { return };
    // These read other files or ask for the addresses of hosts.
    if ["include", "from_file", "listen"].iter().any(|word| text.contains(word)) || text.contains('\\') {
        return;
    }
    let path = FILE.with(|file| file.path().to_owned());
    fs::write(&path, text).unwrap();
    let flag = text.lines().next().unwrap_or_default().to_owned();
    let sources = Sources {
        file: Some(path),
        environment: BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned())]),
        flags: if text.len() % 2 == 0 { vec![flag] } else { Vec::new() },
    };
    match load::<Sections>(&sources) {
        Ok(loaded) => {
            assert!(loaded.config.topology.compile().is_ok());
            assert!(loaded.config.runtime.topic_specs().len() > 10);
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            let shown = errors.to_string();
            assert!(!shown.contains(SECRET), "{shown}");
            assert!(errors.0.iter().all(|problem| !problem.message.is_empty()), "{shown}");
        }
    }
}
