//! Measures the live index on real event documents: memory, loading, searching, commits.
//!
//! ```text
//! headwater consume events --latest > events.jsonl
//! cargo run --release -p headwater-serve --example measure -- events.jsonl [times]
//! ```
//!
//! With `times`, every event is taken so often, each time under another id and with another word in its title.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::time::{Duration, Instant};

use headwater_operators::listing::Point;
use headwater_serve::commit::{Change, Commit, Topic};
use headwater_serve::document::Attribute;
use headwater_serve::filter::{Bound, Filter};
use headwater_serve::geo::Circle;
use headwater_serve::index::{PageRequest, PlaceFilter, PlaceSort, PlacesRequest, Sort};
use headwater_serve::live::{Live, Writer};
use headwater_serve::text::TextQuery;
use headwater_serve::timeline::Timeline;
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("the first argument is a file of events, one a line")?;
    let times: u64 = arguments.next().map_or(Ok(1), |times| times.parse())?;
    let (live, mut writer) = Live::new();
    let before = resident()?;
    let began = Instant::now();
    for time in 0..times {
        load(&mut writer, &file, time)?;
    }
    writer.begin(1, Timeline::default(), 0);
    report_memory(&live, before, began.elapsed())?;
    for (name, filter, sort) in questions() {
        let took = median(21, || {
            let served = live.read();
            let selection = served.index.select(&filter);
            let request = PageRequest { sort, limit: 50, offset: 0, after: None, point: None };
            (selection.total(), served.index.page(&selection, &request).hits.len())
        });
        println!("{name:40} {:>9.2} ms  {:>9} events", took.0.as_secs_f64() * 1e3, took.1.0);
    }
    measure_places(&live);
    measure_commits(&mut writer)?;
    Ok(())
}

fn change(id: &str, value: &Value, commit: u64) -> Change {
    Change { topic: Topic::Events, key: id.into(), value: Some(value.to_string().into_bytes()), commit }
}

fn load(writer: &mut Writer, file: &str, time: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut changes = Vec::new();
    for line in BufReader::new(File::open(file)?).lines() {
        let mut value: Value = serde_json::from_str(&line?)?;
        let Some(id) = value["id"].as_str().map(str::to_owned) else { continue };
        if value.get("redirectTo").is_some() {
            continue;
        }
        let (id, title) =
            (format!("{time:08x}{}", id.get(8..).unwrap_or(&id)), value["title"].as_str().map(str::to_owned));
        value["id"] = id.as_str().into();
        value["title"] = format!("{} v{time}", title.unwrap_or_default()).into();
        changes.push(change(&id, &value, 1));
        if changes.len() == 2_000 {
            writer.restore(std::mem::take(&mut changes))?;
        }
    }
    Ok(writer.restore(changes)?)
}

fn report_memory(live: &Live, before: u64, took: Duration) -> io::Result<()> {
    let served = live.read();
    let (events, packed) =
        (served.index.len(), served.index.entries().map(|entry| entry.document.size() as u64).sum::<u64>());
    let resident = resident()?.saturating_sub(before);
    println!("{events} events loaded in {:.1} s", took.as_secs_f64());
    println!("  resident memory   {:>7} bytes an event", resident / events.max(1));
    println!("  packed documents  {:>7} bytes an event", packed / events.max(1));
    println!("  beyond them       {:>7} bytes an event", resident.saturating_sub(packed) / events.max(1));
    Ok(())
}

/// Memory of this process in bytes (Linux).
fn resident() -> io::Result<u64> {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.unwrap_or(0) * PAGE)
}

fn questions() -> Vec<(&'static str, Filter, Sort)> {
    let text = |text: &str| Filter { text: TextQuery::new(text), ..Filter::default() };
    let city = Filter { any_of: [(Attribute::City, ["melbourne".into()].into())].into(), ..Filter::default() };
    let melbourne = Point { lat_e7: -378_142_000, lon_e7: 1_449_632_000 };
    let near = Filter { circle: Some(Circle { middle: melbourne, radius_m: 25_000 }), ..Filter::default() };
    let today = Bound::Instant(jiff::Timestamp::now().as_millisecond());
    vec![
        ("everything", Filter::default(), Sort::Start),
        ("from today", Filter { from: Some(today), ..Filter::default() }, Sort::Start),
        ("a city", city, Sort::Start),
        ("25 km around a point, nearest first", near, Sort::Distance(melbourne)),
        ("one word: concert", text("concert "), Sort::Relevance),
        ("half typed: con", text("con"), Sort::Relevance),
        ("a typing error: consert", text("consert "), Sort::Relevance),
        ("two words: jazz night", text("jazz night"), Sort::Relevance),
    ]
}

fn measure_places(live: &Live) {
    let middle = Point { lat_e7: -378_142_000, lon_e7: 1_449_632_000 };
    let named = PlaceFilter { text: TextQuery::new("hall"), ..PlaceFilter::default() };
    let near = PlaceFilter { circle: Some(Circle { middle, radius_m: 25_000 }), ..PlaceFilter::default() };
    for (name, filter, sort) in [
        ("places", PlaceFilter::default(), PlaceSort::Name),
        ("places, half typed: hall", named, PlaceSort::Name),
        ("places within 25 km, nearest first", near, PlaceSort::Distance(middle)),
        ("places, most events first", PlaceFilter::default(), PlaceSort::Events),
    ] {
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let request = PlacesRequest { filter, sort, limit: 50, offset: 0, after: None, at_ms };
        let (took, total) = median(21, || live.read().index.places(&request).total);
        println!("{name:40} {:>9.2} ms  {total:>9} places", took.as_secs_f64() * 1e3);
    }
}

/// The median time of `times` runs, and the last result.
fn median<T>(times: usize, run: impl Fn() -> T) -> (Duration, T) {
    let mut took = Vec::with_capacity(times);
    let mut result = run();
    for _ in 0..times {
        let began = Instant::now();
        result = run();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    (took.get(times / 2).copied().unwrap_or_default(), result)
}

/// Commits of 200 changed events each.
fn measure_commits(writer: &mut Writer) -> Result<(), Box<dyn std::error::Error>> {
    let mut took = Vec::new();
    for number in 2..22u64 {
        let mut changes = Vec::new();
        {
            let served = writer.live().read();
            let mut unpacker = served.index.packing().unpacker()?;
            for entry in served.index.entries().skip(number as usize * 500).take(200) {
                let mut value: Value = serde_json::from_slice(&unpacker.unpack(&entry.document)?)?;
                value["title"] = format!("Changed {number}").into();
                changes.push(change(&entry.id, &value, number));
            }
        }
        let began = Instant::now();
        writer.apply(Commit { number, ms: 0, changes })?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    println!("{:40} {:>9.2} ms", "a commit of 200 changes", took[took.len() / 2].as_secs_f64() * 1e3);
    Ok(())
}
