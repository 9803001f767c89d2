//! Runs the body of a fuzz target without a fuzzer: over its seeds, the regressions, and mutations
//! of both. For the tests of the workspace; the same inputs every time, unless
//! `HEADWATER_FUZZ_CASES` asks for as many random mutations.

use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Mutations of one target in CI.
const CASES: u32 = 400;

/// Runs `body` on everything that is kept for `target`, and on mutations of it.
pub fn drive(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    for (path, bytes) in &corpus {
        let outcome = catch_unwind(|| body(bytes));
        assert!(outcome.is_ok(), "{target} fails on {}", path.display());
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    assert!(!inputs.is_empty(), "{target} has no seeds");
    mutate(target, &inputs, body);
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("fuzz"))
        .find(|folder| folder.is_dir())
        .expect("the folder fuzz");
    let mut files: Vec<PathBuf> = ["seeds", "regressions"]
        .iter()
        .filter_map(|kind| fs::read_dir(root.join(kind).join(target)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

fn mutate(target: &str, inputs: &[Vec<u8>], body: impl Fn(&[u8]) + RefUnwindSafe) {
    let asked = std::env::var("HEADWATER_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = Config { cases: asked.unwrap_or(CASES), failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = if asked.is_some() { TestRunner::new(config) } else { TestRunner::new_with_rng(config, rng) };
    let edit = (any::<Index>(), any::<Index>(), any::<Index>(), any::<u8>(), 0..7u8);
    let strategy = (any::<Index>(), prop::collection::vec(edit, 0..8));
    let outcome = runner.run(&strategy, |(chosen, edits)| {
        let mut bytes = inputs[chosen.index(inputs.len())].clone();
        for (at, other, length, byte, kind) in edits {
            edit_once(&mut bytes, at, &inputs[other.index(inputs.len())], length, byte, kind);
        }
        body(&bytes);
        Ok(())
    });
    assert!(outcome.is_ok(), "{target}: {}", outcome.unwrap_err());
}

fn edit_once(bytes: &mut Vec<u8>, at: Index, other: &[u8], length: Index, byte: u8, kind: u8) {
    const TELLING: &[u8] = b"0192-+:;,=\\\"'\n <>&/[]{}TZ\0\xFF";
    if bytes.is_empty() {
        return bytes.push(byte);
    }
    let at = at.index(bytes.len());
    let until = |from: usize, end: usize| from + length.index(end - from + 1);
    match kind {
        0 => bytes[at] = byte,
        1 => bytes[at] = TELLING[usize::from(byte) % TELLING.len()],
        2 => bytes.insert(at, TELLING[usize::from(byte) % TELLING.len()]),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..until(at, (at + 40).min(bytes.len())))),
        5 => {
            let piece = bytes[at..until(at, (at + 40).min(bytes.len()))].to_vec();
            let piece = piece.repeat(usize::from(byte) % 8);
            bytes.splice(at..at, piece);
        }
        _ => {
            let from = length.index(other.len().max(1));
            let piece = other.get(from..(from + usize::from(byte)).min(other.len())).unwrap_or_default().to_vec();
            bytes.splice(at..at, piece);
        }
    }
}
