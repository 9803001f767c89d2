//! `headwater generate`: into files, to the standard output, or to a topic.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jiff::civil::Date;
use serde::Serialize;

use super::live::{Pace, Sent, send_due, today};
use super::truth::HEADER;
use super::{
    CALENDAR, Counts, GenerateConfig, GenerateError, Generated, Generator, JSON, JSON_LD, Shape, source_config_toml,
    write_truth,
};
use headwater::log::Log;

/// Options of `headwater generate`.
#[derive(Debug, Clone, clap::Args)]
pub struct GenerateArgs {
    /// How many records
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub records: u64,
    /// The same seed, options and base date give the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many sources, 1 to 64; from the seventh on they are copies of the first six
    #[arg(long, value_name = "K", default_value_t = 6)]
    pub sources: u32,
    /// Only sources that write in these shapes
    #[arg(long, value_name = "SHAPE", value_enum, value_delimiter = ',', default_values_t = Shape::ALL)]
    pub shapes: Vec<Shape>,
    /// Share of the listings that describe an event which another source has already, 0 to 0.6
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    pub duplicates: f64,
    /// Share of the records that change a listing
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub updates: f64,
    /// Share of the records that withdraw listings; files have none, since they cannot say it
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    pub withdrawals: f64,
    /// Share of the records that repeat an earlier one unchanged
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub repeats: f64,
    /// Share of the records that cannot be used
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub malformed: f64,
    /// How many cities, 1 to 24
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub cities: u32,
    /// How many venues in each city, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub venues: u32,
    /// The date that the feed looks ahead from [default: today, in UTC]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub base_date: Option<Date>,
    /// On how many days, from the day after the base date, something begins; 1 to 730
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub days: u32,
    /// Directory for the files, or `-` for the standard output: one JSON object a line
    #[arg(long, value_name = "DIR|-", default_value = "generated", conflicts_with = "to_topic")]
    pub out: PathBuf,
    /// Produce to this topic of the configured log instead
    #[arg(long, value_name = "TOPIC")]
    pub to_topic: Option<String>,
    /// Records a second, to the standard output or a topic [default: as fast as possible]
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// Where to write which listings are one event (CSV: source,external_id,event)
    /// [default: truth.csv in the directory, else none]
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// List withdrawn listings in the truth file too
    #[arg(long)]
    pub truth_all: bool,
}

impl GenerateArgs {
    /// The configuration that the options stand for, with today's date where none is given.
    pub fn config(&self) -> GenerateConfig {
        GenerateConfig {
            seed: self.seed,
            records: Some(self.records),
            sources: self.sources,
            shapes: self.shapes.clone(),
            duplicate_share: self.duplicates,
            update_share: self.updates,
            withdraw_share: if self.to_files() { 0.0 } else { self.withdrawals },
            repeat_share: self.repeats,
            malformed_share: self.malformed,
            cities: self.cities,
            venues_per_city: self.venues,
            base_date: self.base_date.unwrap_or_else(today),
            days: self.days,
            ..GenerateConfig::default()
        }
    }

    fn to_files(&self) -> bool {
        self.to_topic.is_none() && self.out != Path::new("-")
    }
}

/// What [`run_generate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateSummary {
    /// What was generated.
    pub counts: Counts,
    /// Where it went, for people.
    pub target: String,
    /// The truth file.
    pub truth: Option<PathBuf>,
}

/// Generates as `args` say, until done or until `stop` is set.
///
/// With a directory, it holds afterwards: `<source>.jsonl` for each source that writes JSON (one
/// record a line, in order), `<source>/<document>.ics` for calendars (the newest version of
/// each), `truth.csv`, and `sources.toml`, which says how to read the sources. What has another
/// content type is in `<source>/` too.
///
/// On the standard output each line is `{"source":…,"contentType":…,"key":…,"value":…,"kind":…}`;
/// `key` and `value` are strings or null, and a value that is not UTF-8 is `valueHex` instead.
///
/// `log` is the log and the full name of the topic to produce to; it is used if and only if
/// `args.to_topic` is set, and the topic must exist.
///
/// # Errors
/// [`GenerateError::Config`] for an option out of range, [`GenerateError::NoLog`]; otherwise what
/// the file system or the log reports.
pub fn run_generate(
    args: &GenerateArgs,
    log: Option<(&dyn Log, &str)>,
    stop: &AtomicBool,
) -> Result<GenerateSummary, GenerateError> {
    if let Some(rate) = args.rate {
        super::within("--rate", rate, 1e-3, 1e9)?;
    }
    let mut generator = Generator::new(args.config())?;
    let truth_path = args.truth.clone().or_else(|| args.to_files().then(|| args.out.join("truth.csv")));
    if args.to_files() {
        fs::create_dir_all(&args.out).map_err(|source| GenerateError::File { path: args.out.clone(), source })?;
    }
    let mut truth = None;
    if let Some(path) = &truth_path {
        generator = generator.with_truth();
        truth = Some(TruthFile::create(path.clone(), args.truth_all)?);
    }
    let target = match (&args.to_topic, log) {
        (Some(_), Some((log, topic))) => {
            to_topic(args, &mut generator, log, topic, truth.as_mut(), stop)?;
            format!("topic {topic} of {}", log.describe())
        }
        (Some(_), None) => return Err(GenerateError::NoLog),
        (None, _) if args.to_files() => {
            to_directory(args, &mut generator, truth.as_mut(), stop)?;
            args.out.display().to_string()
        }
        (None, _) => {
            to_stdout(args, &mut generator, truth.as_mut(), stop)?;
            "the standard output".to_owned()
        }
    };
    if let Some(truth) = truth {
        truth.finish(&mut generator)?;
    }
    Ok(GenerateSummary { counts: generator.counts(), target, truth: truth_path })
}

fn to_topic(
    args: &GenerateArgs,
    generator: &mut Generator,
    log: &dyn Log,
    topic: &str,
    mut truth: Option<&mut TruthFile>,
    stop: &AtomicBool,
) -> Result<(), GenerateError> {
    let mut producer = log.producer()?;
    let topic: Arc<str> = topic.into();
    let mut pace = Pace::new(0, args.rate);
    while !stop.load(Ordering::Relaxed) {
        let sent = send_due(generator, &mut *producer, &topic, &mut pace)?;
        if let Some(truth) = truth.as_deref_mut() {
            truth.settle(generator)?;
        }
        match sent {
            Sent::Ended => break,
            Sent::All => {
                producer.flush()?;
                thread::sleep(Duration::from_millis(20));
            }
            Sent::Some => {}
        }
    }
    Ok(producer.flush()?)
}

/// A line of the standard output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    source: &'a str,
    content_type: &'a str,
    key: Option<String>,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_hex: Option<String>,
    kind: super::Kind,
}

impl<'a> Envelope<'a> {
    fn new(record: &'a Generated) -> Self {
        let text = record.value.as_deref().map(std::str::from_utf8);
        let hex = matches!(text, Some(Err(_))).then(|| {
            let bytes = record.value.as_deref().unwrap_or_default();
            let mut hex = String::with_capacity(2 * bytes.len());
            bytes.iter().for_each(|byte| super::text::push_digits(&mut hex, u64::from(*byte), 16, 2));
            hex
        });
        Self {
            source: &record.source,
            content_type: record.content_type,
            key: record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
            value: text.and_then(Result::ok),
            value_hex: hex,
            kind: record.kind,
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

fn to_stdout(
    args: &GenerateArgs,
    generator: &mut Generator,
    mut truth: Option<&mut TruthFile>,
    stop: &AtomicBool,
) -> Result<(), GenerateError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut pace = Pace::new(0, args.rate);
    while !stop.load(Ordering::Relaxed) {
        let due = pace.due();
        let mut ended = false;
        for _ in 0..due {
            let Some(record) = generator.next() else {
                ended = true;
                break;
            };
            match Envelope::new(&record).write(&mut out) {
                // Whoever reads has read enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                outcome => outcome.map_err(GenerateError::Output)?,
            }
            pace.count();
        }
        if let Some(truth) = truth.as_deref_mut() {
            truth.settle(generator)?;
        }
        if ended {
            break;
        }
        if args.rate.is_some() {
            out.flush().map_err(GenerateError::Output)?;
            thread::sleep(Duration::from_millis(20));
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(GenerateError::Output(error)),
        _ => Ok(()),
    }
}

fn to_directory(
    args: &GenerateArgs,
    generator: &mut Generator,
    mut truth: Option<&mut TruthFile>,
    stop: &AtomicBool,
) -> Result<(), GenerateError> {
    let config = args.config();
    let path = args.out.join("sources.toml");
    fs::write(&path, source_config_toml(config.sources, &config.shapes))
        .map_err(|source| GenerateError::File { path, source })?;
    let mut directory = Directory { path: args.out.clone(), lines: BTreeMap::new(), loose: 0 };
    while let Some(record) = generator.next() {
        directory.write(&record)?;
        if let Some(truth) = truth.as_deref_mut() {
            truth.settle(generator)?;
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    directory.lines.into_values().try_for_each(OpenFile::finish)
}

/// The files of a directory.
struct Directory {
    path: PathBuf,
    /// Open files of lines, by source.
    lines: BTreeMap<Arc<str>, OpenFile>,
    /// Number of files without a key to name them.
    loose: u64,
}

impl Directory {
    fn write(&mut self, record: &Generated) -> Result<(), GenerateError> {
        let Some(value) = record.value.as_deref() else { return Ok(()) };
        match record.content_type {
            // An empty line is no record.
            JSON | JSON_LD if value.is_empty() => Ok(()),
            JSON | JSON_LD => {
                if !self.lines.contains_key(&record.source) {
                    let file = OpenFile::create(self.path.join(format!("{}.jsonl", record.source)))?;
                    self.lines.insert(record.source.clone(), file);
                }
                let Some(file) = self.lines.get_mut(&record.source) else { return Ok(()) };
                file.write(|out| {
                    out.write_all(value)?;
                    out.write_all(b"\n")
                })
            }
            content_type => self.write_whole(record, value, if content_type == CALENDAR { "ics" } else { "txt" }),
        }
    }

    fn write_whole(&mut self, record: &Generated, value: &[u8], extension: &str) -> Result<(), GenerateError> {
        let name = match &record.key {
            Some(key) => String::from_utf8_lossy(key).replace('/', "-"),
            None => {
                self.loose += 1;
                format!("record-{}", self.loose)
            }
        };
        let folder = self.path.join(&*record.source);
        fs::create_dir_all(&folder).map_err(|source| GenerateError::File { path: folder.clone(), source })?;
        let path = folder.join(format!("{name}.{extension}"));
        fs::write(&path, value).map_err(|source| GenerateError::File { path, source })
    }
}

/// A file that is written from the beginning.
struct OpenFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl OpenFile {
    fn create(path: PathBuf) -> Result<Self, GenerateError> {
        match File::create(&path) {
            Ok(file) => Ok(Self { path, out: BufWriter::new(file) }),
            Err(source) => Err(GenerateError::File { path, source }),
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), GenerateError> {
        write(&mut self.out).map_err(|source| GenerateError::File { path: self.path.clone(), source })
    }

    fn finish(mut self) -> Result<(), GenerateError> {
        self.write(|out| out.flush())
    }
}

/// The truth file.
struct TruthFile {
    file: OpenFile,
    all: bool,
}

impl TruthFile {
    fn create(path: PathBuf, all: bool) -> Result<Self, GenerateError> {
        let mut file = OpenFile::create(path)?;
        file.write(|out| writeln!(out, "{HEADER}"))?;
        Ok(Self { file, all })
    }

    fn settle(&mut self, generator: &mut Generator) -> Result<(), GenerateError> {
        let (rows, all) = (generator.settled_truth(), self.all);
        self.file.write(|out| write_truth(out, &rows, all))
    }

    fn finish(mut self, generator: &mut Generator) -> Result<(), GenerateError> {
        self.settle(generator)?;
        let (rows, all) = (generator.remaining_truth(), self.all);
        self.file.write(|out| write_truth(out, &rows, all))?;
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::super::fake::FakeLog;
    use super::super::{Kind, tests::live_listings};
    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: GenerateArgs,
    }

    fn args(options: &str) -> GenerateArgs {
        Command::try_parse_from(["generate"].into_iter().chain(options.split_whitespace())).unwrap().args
    }

    fn go() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[test]
    fn options_stand_for_a_configuration() {
        let config = args("").config();
        let (records, base_date) = (Some(10_000), config.base_date);
        let defaults = GenerateConfig { records, base_date, withdraw_share: 0.0, ..GenerateConfig::default() };
        assert_eq!(config, defaults);
        let config =
            args("--to-topic t --seed 7 --duplicates 0.5 --shapes mapped,icalendar --base-date 2026-01-02").config();
        assert_eq!((config.seed, config.duplicate_share, config.withdraw_share), (7, 0.5, 0.02));
        assert_eq!(config.shapes, [Shape::Mapped, Shape::Icalendar]);
        assert_eq!(config.base_date, jiff::civil::date(2026, 1, 2));
        assert!(Command::try_parse_from(["generate", "--to-topic", "t", "--out", "x"]).is_err());
    }

    #[test]
    fn a_directory_holds_the_files_of_each_source() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = args("--records 3000 --base-date 2026-06-01 --malformed 0.02");
        args.out = folder.path().join("feed");
        let summary = run_generate(&args, None, &go()).unwrap();
        assert_eq!(summary.counts.records, 3000);
        assert_eq!(summary.counts.withdrawal, 0);

        let lines = fs::read(args.out.join("city-guide.jsonl")).unwrap();
        assert!(lines.iter().filter(|byte| **byte == b'\n').count() > 100);
        let calendars = fs::read_dir(args.out.join("venue-calendars")).unwrap();
        let calendars: Vec<_> = calendars.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
        assert!(calendars.len() > 100 && calendars.iter().any(|bytes| bytes.ends_with(b"END:VCALENDAR\r\n")));
        assert!(fs::read_to_string(args.out.join("sources.toml")).unwrap().contains("[sources.meet-circle.mapping]"));

        let records: Vec<_> = Generator::new(args.config()).unwrap().collect();
        let truth = fs::read_to_string(args.out.join("truth.csv")).unwrap();
        let mut rows = truth.lines();
        assert_eq!(rows.next(), Some(HEADER));
        let said: HashSet<String> =
            live_listings(&records).into_iter().map(|(source, id, event)| format!("{source},{id},{event}")).collect();
        assert_eq!(rows.map(str::to_owned).collect::<HashSet<_>>(), said);
    }

    #[test]
    fn a_topic_gets_every_record_with_its_headers() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = args("--records 400 --to-topic raw.events --base-date 2026-06-01 --truth-all");
        args.truth = Some(folder.path().join("truth.csv"));
        let log = FakeLog::default();
        let summary = run_generate(&args, Some((&log, "x.raw.events")), &go()).unwrap();
        assert_eq!((summary.counts.records, summary.target.as_str()), (400, "topic x.raw.events of fake://"));
        let sent = log.records.lock().unwrap();
        let records: Vec<_> = Generator::new(args.config()).unwrap().collect();
        assert_eq!(sent.len(), records.len());
        for (sent, record) in sent.iter().zip(&records) {
            assert_eq!((sent.key.as_deref(), sent.value.as_deref()), (record.key.as_deref(), record.value.as_deref()));
            let headers: Vec<_> = sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            assert_eq!(
                headers,
                [("source", record.source.as_bytes()), ("content-type", record.content_type.as_bytes())]
            );
        }
        let rows = fs::read_to_string(folder.path().join("truth.csv")).unwrap().lines().count();
        assert_eq!(rows as u64, 1 + summary.counts.listings);
        assert!(matches!(run_generate(&args, None, &go()), Err(GenerateError::NoLog)));
    }

    #[test]
    fn a_set_stop_flag_ends_it_at_once() {
        let log = FakeLog::default();
        let stop = AtomicBool::new(true);
        let summary = run_generate(&args("--to-topic t"), Some((&log, "t")), &stop).unwrap();
        assert_eq!(summary.counts.records, 0);
    }

    #[test]
    fn a_line_holds_any_bytes() {
        let mut record = Generated {
            source: "a".into(),
            content_type: JSON,
            key: None,
            value: Some(vec![b'{', 0xFF]),
            kind: Kind::Malformed,
            truth: Vec::new(),
        };
        let line = |record: &Generated| {
            let mut out = Vec::new();
            Envelope::new(record).write(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let start = r#"{"source":"a","contentType":"application/json","key":null,"value":"#;
        assert_eq!(line(&record), format!("{start}null,\"valueHex\":\"7bff\",\"kind\":\"malformed\"}}\n"));
        record.value = Some(b"{}".to_vec());
        assert_eq!(line(&record), format!("{start}\"{{}}\",\"kind\":\"malformed\"}}\n"));
    }
}
