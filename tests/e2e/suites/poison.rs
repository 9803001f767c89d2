//! The poison stream: 100,000 hostile records among good ones, through the binary.
//!
//! Every good record must come through, every bad one must be what its kind says: a dead letter
//! of one code with its own bytes, a listing made safe, or nothing. The process must be alive at
//! the end, have stayed within a bound of memory, and find itself again after a restart.
//!
//! `POISON_RECORDS` asks for another number of records. The counts by kind are printed:
//! `cargo test -p discovery --test e2e poison -- --nocapture`.
//!
//! The suite runs over any topology with a poison stream, see [`Poisoned`].

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater::config::Config;
use headwater::log::{LogRecord, NewRecord};
use headwater::topology::Topology;

use crate::subject::Tested;
use crate::support::subject::{Fate, GOOD, Kind, Name, Poisoned, Subject};
use crate::support::{Place, header, tests_folder};

type Harness = crate::support::Harness<Tested>;

const KINDS: &[Kind] = Tested::KINDS;

/// Hostile records; the good ones come on top.
const RECORDS: usize = 100_000;

/// Most memory that the process may have held at any time. Measured in a debug build: 453 MB on the
/// embedded log and 565 MB on Kafka. Were the stream or its dead letters to pile up, it would be more.
const MOST_MEMORY: u64 = 1_200 << 20;

/// How long the engine may take for all of it. Only a guard against one that has come to a halt.
const PATIENCE: Duration = Duration::from_secs(900);

/// One record of the stream: its kind, and its number among those.
type Entry = (usize, usize);

/// All records in an order that mixes the kinds: the same in every run.
fn stream(records: usize) -> Vec<Entry> {
    let weights: usize = KINDS.iter().filter(|kind| kind.name != GOOD).map(|kind| kind.per_100k).sum();
    let mut entries: Vec<Entry> = Vec::new();
    for (index, kind) in KINDS.iter().enumerate() {
        let count = (kind.per_100k * records / weights).max(1);
        entries.extend((0..count).map(|number| (index, number)));
    }
    // A linear congruential generator (Knuth's MMIX constants) is as random as is needed here.
    let mut state = 0x5EED_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for at in (1..entries.len()).rev() {
        entries.swap(at, next(at + 1));
    }
    // Within a kind the order of numbers is that of the stream, as a source would send them.
    let mut numbers = vec![0; KINDS.len()];
    for (kind, number) in &mut entries {
        *number = numbers[*kind];
        numbers[*kind] += 1;
    }
    entries
}

fn record(config: &Config<<Tested as Topology>::Config>, kind: &Kind, number: usize) -> NewRecord {
    let mut poison = (kind.make)(number);
    poison.headers.push(("kind".to_owned(), kind.name.as_bytes().to_vec()));
    poison.headers.push(("number".to_owned(), number.to_string().into_bytes()));
    poison.into_record(config)
}

/// The engine as a process of its own.
struct Engine(Child);

impl Engine {
    fn start(harness: &Harness, arguments: &[&str]) -> Self {
        let mut command = Command::new(Tested::BINARY);
        command.args(&harness.arguments).args(["--json", "--workers", "2"]).args(arguments);
        command.env_remove("HEADWATER_CONFIG").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        Self(command.spawn().unwrap())
    }

    /// A field of its status that is a size, in bytes.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    }

    fn assert_alive(&mut self) {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "the engine ended: {ended:?}");
    }

    /// An orderly stop.
    fn stop(mut self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Waits until the engine has read what there is, watching its memory. Samples: seconds since the
/// start, share of the input that was read, bytes resident.
fn follow(harness: &Harness, engine: &mut Engine) -> Vec<(f64, f64, u64)> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    loop {
        engine.assert_alive();
        let (read, all) = harness.progress();
        samples.push((begun.elapsed().as_secs_f64(), read as f64 / all as f64, engine.memory("VmRSS")));
        if read >= all {
            return samples;
        }
        assert!(begun.elapsed() < PATIENCE, "the engine has come to a halt: {read} of {all} read");
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn poison(place: Place) {
    let records = std::env::var("POISON_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(RECORDS);
    let harness = Harness::new(place, &tests_folder(Tested::CONFIG), &["engine.max_timestamp_lead=1 day"]);
    let entries = stream(records);
    let begun = Instant::now();
    let mut producer = harness.log.producer().unwrap();
    let mut bytes = 0;
    for (kind, number) in &entries {
        let record = record(&harness.config, &KINDS[*kind], *number);
        bytes += record.value.as_deref().map_or(0, <[u8]>::len) + record.key.as_deref().map_or(0, <[u8]>::len);
        producer.send(record).unwrap();
    }
    producer.flush().unwrap();
    drop(producer);
    println!("{} records, {} MB, produced in {:.1?}", entries.len(), bytes >> 20, begun.elapsed());

    let mut engine = Engine::start(&harness, &[]);
    let samples = follow(&harness, &mut engine);
    for tenth in 1..=10 {
        let (seconds, share, resident) = samples[(samples.len() * tenth / 10).saturating_sub(1)];
        println!("  after {seconds:6.1} s {:5.1} % read, {:4} MB resident", share * 100.0, resident >> 20);
    }

    // It still works: what comes now comes through.
    let last = KINDS.iter().position(|kind| kind.name == GOOD).unwrap();
    harness.log.producer().unwrap().send(record(&harness.config, &KINDS[last], 1_000_000)).unwrap();
    follow(&harness, &mut engine);
    let peak = engine.memory("VmHWM");
    println!("  peak {} MB resident", peak >> 20);
    assert!(peak > 0 && peak < MOST_MEMORY, "{} MB", peak >> 20);
    engine.stop();

    let watermark = harness.watermark();
    assert!(watermark <= now_ms() + 86_400_000, "one record has moved the watermark to {watermark}");
    let (results, letters) = (harness.results(), harness.records("dead-letters"));
    let mut expected = entries;
    expected.push((last, 1_000_000));
    Check::new(&harness.config, &results, &letters).all(&expected);

    // What was written can be read again, and says the same.
    let status = Engine::start(&harness, &["--exit-when-idle"]).0.wait().unwrap();
    assert_eq!(status.code(), Some(0), "the restart");
    assert_eq!(Tested::row_differences(&results, &harness.results()), Vec::<String>::new());
    assert_eq!(harness.records("dead-letters").len(), letters.len());
}

/// What came of every record, against what its kind says.
struct Check<'r> {
    config: &'r Config<<Tested as Topology>::Config>,
    letters: BTreeMap<(String, usize), Vec<&'r LogRecord>>,
    live: BTreeMap<Name, String>,
}

impl<'r> Check<'r> {
    fn new(
        config: &'r Config<<Tested as Topology>::Config>,
        results: &<Tested as Subject>::Results,
        dead: &'r [LogRecord],
    ) -> Self {
        let mut letters: BTreeMap<_, Vec<&LogRecord>> = BTreeMap::new();
        for letter in dead {
            let number = header(letter, "number").parse().expect("a dead letter keeps the headers of its record");
            letters.entry((header(letter, "kind"), number)).or_default().push(letter);
        }
        Self { config, letters, live: Tested::live(results) }
    }

    fn all(mut self, entries: &[Entry]) {
        let mut counts: BTreeMap<usize, (usize, BTreeMap<String, usize>)> = BTreeMap::new();
        for (kind, number) in entries {
            let letters = self.letters.remove(&(KINDS[*kind].name.to_owned(), *number)).unwrap_or_default();
            let (sent, codes) = counts.entry(*kind).or_default();
            *sent += 1;
            for letter in &letters {
                *codes.entry(header(letter, "dead-letter-code")).or_default() += 1;
            }
            self.one(&KINDS[*kind], *number, &letters);
        }
        assert!(self.letters.is_empty(), "dead letters of nothing that was sent: {:?}", self.letters.keys());
        let mut live: BTreeMap<&str, usize> = BTreeMap::new();
        for (source, _) in self.live.keys() {
            *live.entry(source.strip_prefix("poison ").unwrap_or(source)).or_default() += 1;
        }
        println!("  {:29} {:>7} {:>8}  dead letters", "kind", "sent", "live");
        for (kind, (sent, codes)) in counts {
            let name = KINDS[kind].name;
            let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
            let live = live.get(name).copied().unwrap_or(0);
            println!("  {name:29} {sent:7} {live:8}  {}", codes.join(", "));
        }
    }

    fn one(&self, kind: &Kind, number: usize, letters: &[&LogRecord]) {
        let sent = record(self.config, kind, number);
        let what = format!("{} {number}", kind.name);
        for letter in letters {
            assert_eq!(letter.key.as_deref(), sent.key.as_deref(), "{what}: the key");
            let bytes = sent.value.as_deref().unwrap_or_default();
            let kept = letter.value.as_deref().unwrap();
            // Parts without an id do not say that they are parts.
            let part = letter.header("dead-letter-part").is_some() || letters.len() > 1;
            assert!(kept == bytes || Tested::is_excerpt(kept, bytes, part), "{what}: the bytes");
            for (name, value) in &sent.headers {
                assert_eq!(letter.header(name), Some(value.as_slice()), "{what}: the header {name}");
            }
        }
        let Fate { dead, live } = (kind.fate)(number);
        let codes: Vec<String> = letters.iter().map(|letter| header(letter, "dead-letter-code")).collect();
        let expected: Vec<&str> = dead.iter().flat_map(|(code, count)| vec![*code; *count]).collect();
        assert_eq!(codes, expected, "{what}");
        for (id, said) in live {
            let name = (Tested::source(kind, number), id);
            let found = self.live.get(&name).unwrap_or_else(|| panic!("{what}: {name:?} is not live"));
            assert_eq!(*found, said, "{what}");
        }
    }
}

#[test]
fn hostile_records_do_no_harm_on_the_embedded_log() {
    poison(Place::Embedded);
}

#[test]
fn hostile_records_do_no_harm_on_kafka() {
    if let Some(place) = Place::kafka("the poison stream") {
        poison(place);
    }
}
