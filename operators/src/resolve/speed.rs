//! How fast resolve is and how much memory it takes:
//! `cargo test --release -p headwater-operators speed -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use differential_dataflow::input::InputSession;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Input;

use super::*;
use crate::listing::{Geo, GeoPrecision, GeoProvenance, Listing, Point};
use crate::moment::Moment;

const LISTINGS: u64 = 1_000_000;
const BATCH: u64 = 10_000;

/// A small deterministic generator: SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

fn word(number: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "ko", "li", "mu", "ne", "ra", "so", "ti", "ver", "den", "gol", "har", "jan", "pol", "wes", "zu"];
    (0..3).map(|place| SYLLABLES[((number >> (4 * place)) & 15) as usize]).collect()
}

/// The `n`th listing; three in ten tell again, in other words, of the event that an earlier one
/// tells of.
fn nth(n: u64) -> Shared<LiveListing> {
    let again = n > 100 && n % 10 >= 7;
    let event = if again { n - n % 10 - 1 - Dice(n).roll(60).min(n / 2) } else { n };
    let event = if event % 10 >= 7 { event - 5 } else { event };
    let mut dice = Dice(event.wrapping_mul(31));
    let kinds = ["Festival", "Concert", "Workshop", "Meetup", "Night", "Conference"];
    let (x, y, z) = (word(dice.roll(4096)), word(dice.roll(4096)), word(dice.roll(4096)));
    let kind = kinds[dice.roll(6) as usize];
    let title = if again { format!("{kind}: {y} {x} {z}") } else { format!("{x} {y} {z} {kind}") };
    let minute = (20_500 + dice.roll(365) as i64) * 1_440 + 480 + dice.roll(48) as i64 * 15;
    let late = if again { 15 } else { 0 };
    let start = Moment::Instant { ms: (minute + late) * 60_000, offset_min: 0 };
    let source = ["venue", "paper", "library", "meetup", "town"][(n % 5) as usize];
    let mut listing = Listing::new(source, &format!("{n:x}"), &title, start);
    listing.end = Some(Moment::Instant { ms: (minute + 120) * 60_000, offset_min: 0 });
    let venue = dice.roll(20_000);
    listing.venue.name = Some(format!("{} Hall", word(venue % 4096)).into());
    listing.venue.city = Some(word(venue % 50).into());
    let point = Point::from_degrees(30.0 + (venue % 200) as f64 * 0.05, -120.0 + (venue / 200) as f64 * 0.05);
    listing.venue.geo =
        point.map(|point| Geo { point, precision: GeoPrecision::Venue, provenance: GeoProvenance::Source });
    listing.urls = [format!("https://{source}.example.org/events/{n}").into()].into();
    listing.description = Some("Lorem ipsum dolor sit amet. ".repeat(25).into());
    Shared::new(LiveListing::new(&listing, n as i64, n as i64))
}

/// One of any number of events on one day in one venue, with titles of common words.
fn crowded(n: u64) -> Shared<LiveListing> {
    let mut dice = Dice(n.wrapping_mul(31));
    let words = ["Open", "Jazz", "Night", "Family", "Workshop", "Music", "Market", "Evening"];
    let mut word = || words[dice.roll(8) as usize];
    let title = format!("{} {} {} {n}", word(), word(), word());
    alike(n, &title, (n % 60) as i64 * 10)
}

/// One of any number of listings that tell of the same event, each in a source of its own.
fn repeated(n: u64) -> Shared<LiveListing> {
    alike(n, "Grand Opening of the Copper Lantern", 0)
}

fn alike(n: u64, title: &str, minute: i64) -> Shared<LiveListing> {
    let start = Moment::Instant { ms: (20_500 * 1_440 + 600 + minute) * 60_000, offset_min: 0 };
    let mut listing = Listing::new(&format!("source {n}"), "1", title, start);
    listing.venue.name = Some("Copper Hall".into());
    listing.venue.city = Some("Davis".into());
    Shared::new(LiveListing::new(&listing, n as i64, n as i64))
}

/// Resident memory in bytes; 0 where /proc is not to be had.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// Processor time used so far in seconds, all threads together, in ticks of 1/100; 0 where /proc is
/// not to be had. On a busy machine it says more than the wall clock.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn measure(workers: usize, what: &str, count: u64, listing: fn(u64) -> Shared<LiveListing>) {
    let mut inputs: Vec<Vec<Vec<Shared<LiveListing>>>> = Vec::new();
    for worker in 0..workers as u64 {
        let batches = (0..count / BATCH).map(|batch| {
            (batch * BATCH..(batch + 1) * BATCH).filter(|n| n % workers as u64 == worker).map(listing).collect()
        });
        inputs.push(batches.collect());
    }
    let before = resident();
    let inputs = Arc::new(inputs);
    let (began, worked) = (Instant::now(), processor());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let probe = ProbeHandle::new();
        let (mut listings, mut decisions) = (InputSession::new(), InputSession::new());
        let counts = std::rc::Rc::new(std::cell::Cell::new((0isize, 0isize)));
        let mut history = worker.dataflow::<Epoch, _, _>(|scope| {
            let (history, remembered) = scope.new_input::<Vec<Remembered>>();
            let decided = decisions.to_collection(scope);
            let config = Arc::new(ResolveConfig::default());
            let resolved = listings.to_collection(scope).resolve(&config, decided, remembered);
            let (events, links) = (counts.clone(), counts.clone());
            let events = move |(_, _, diff): &(_, Epoch, isize)| events.set((events.get().0 + diff, events.get().1));
            let links = move |(_, _, diff): &(_, Epoch, isize)| links.set((links.get().0, links.get().1 + diff));
            resolved.events.inspect(events).probe_with(&probe);
            resolved.links.inspect(links).probe_with(&probe);
            resolved.stats.probe_with(&probe);
            history
        });
        for (epoch, batch) in inputs[worker.index()].iter().enumerate() {
            batch.iter().for_each(|live| listings.insert(live.clone()));
            let next = epoch as Epoch + 1;
            listings.advance_to(next);
            decisions.advance_to(next);
            history.advance_to(next);
            listings.flush();
            decisions.flush();
            while probe.less_than(&next) {
                worker.step_or_park(None);
            }
        }
        (counts.get(), began.elapsed(), resident(), processor())
    })
    .unwrap();
    let results: Vec<_> = guards.join().into_iter().map(|result| result.unwrap()).collect();
    let seconds = results.iter().map(|(_, elapsed, _, _)| elapsed.as_secs_f64()).fold(0.0, f64::max);
    let events: isize = results.iter().map(|((events, _), _, _, _)| events).sum();
    let links: isize = results.iter().map(|((_, links), _, _, _)| links).sum();
    let memory = results.iter().map(|(_, _, memory, _)| *memory).max().unwrap_or(0).saturating_sub(before);
    let processor = results.iter().map(|(_, _, _, processor)| *processor).fold(0.0, f64::max);
    println!(
        "{what}, {workers} workers: {:.1} µs of processor a listing, {:.0} listings/s, {events} events of {links} listings, {} bytes a listing beside the payload",
        (processor - worked) * 1e6 / count as f64,
        count as f64 / seconds,
        memory / count
    );
}

#[test]
#[ignore = "takes a minute in a release build"]
fn one_worker() {
    measure(1, "all kinds", LISTINGS, nth);
}

#[test]
#[ignore = "takes a minute in a release build"]
fn two_workers() {
    measure(2, "all kinds", LISTINGS, nth);
}

#[test]
#[ignore = "takes a minute in a release build"]
fn hot_block() {
    [10_000, 30_000, 100_000].into_iter().for_each(|count| measure(1, "hot block", count, crowded));
}

#[test]
#[ignore = "takes a minute in a release build"]
fn hot_component() {
    [10_000, 30_000, 100_000].into_iter().for_each(|count| measure(1, "hot component", count, repeated));
}
