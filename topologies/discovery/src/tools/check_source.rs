//! `headwater check-source`: the listings that files would give, with everything that is wrong with them,
//! without a log.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use headwater::cli::ConfigArgs;
use headwater::config::{ConfigErrors, Input, Invalid, Loaded, Section};
use headwater::tools::produce::{CONTENT_TYPE_HEADER, Cut, ProduceOptions, SOURCE_HEADER, SourceRule, cut};
use headwater::tools::{Outcome, still_read};
use headwater::words::{counted, grouped};
use headwater_operators::categorize::Taxonomy;
use headwater_operators::extract::Extractor;
use headwater_operators::raw::{DeadLetter, Origin, RawRecord, code};
use headwater_operators::sanitize::{SanitizeConfig, sanitize};
use headwater_operators::{Listing, ListingId};
use serde::Serialize;

use super::Examiner;
use crate::config::{Config, Sections};
use crate::discovery::change::Retention;

/// `headwater check-source`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Files are read as `headwater produce` would write them, and as the topology would read them with this configuration. \
Nothing is written, and no log is needed. A warning is something that is used, but not as it stands there; what \
cannot be used would be a dead letter.

Examples:
  headwater check-source listings.jsonl --source meetup
  headwater check-source calendars/*.ics --source-from-file-name --json
  headwater check-source listings.jsonl --source meetup --set sources.meetup.timezone=Europe/Berlin
  echo '{\"@type\": \"Event\", \"@id\": \"1\", \"name\": \"Jazz\", \"startDate\": \"2026-03-28\"}' |
    headwater check-source --source meetup")]
pub struct CheckSourceArgs {
    /// Files or folders; - or none is standard input
    pub files: Vec<PathBuf>,
    /// Source of the records [default: that of the topic]
    #[arg(long, value_name = "NAME", conflicts_with = "source_from_file_name")]
    pub source: Option<String>,
    /// Take each file's name without its extension as the source of its records
    #[arg(long)]
    pub source_from_file_name: bool,
    /// Content type of the records [default: by each file's name]
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Topic that the records would be written to [default: the first input]
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Read the records as if they arrived at this time, such as 2026-03-26T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub timestamp: Option<jiff::Timestamp>,
    /// One JSON object a line: listings, warnings and dead letters, and a summary at the end
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl CheckSourceArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work. Records that cannot be used are no error of the tool.
    pub fn run(self) -> Outcome {
        self.config.start_logging("warn")?;
        let Loaded { config, places } = self.config.load::<Sections>()?;
        let problems = |invalid: Vec<_>| ConfigErrors(invalid.into_iter().map(|one| places.problem(one)).collect());
        let now_ms = self.timestamp.unwrap_or_else(jiff::Timestamp::now).as_millisecond();
        let options = self.options(&config);
        let examine = Examiner::of(&config).map_err(problems)?;
        let out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let mut check = Check::new(&config, &options.topic, now_ms, self.json, out).map_err(problems)?;
        let files = cut(&config.runtime, &options, examine.as_deref(), &mut |record| check.take(record))?;
        still_read(check.finish(files))?;
        Ok(())
    }

    fn options(&self, config: &Config) -> ProduceOptions {
        let input = config.runtime.inputs.first().map_or(Sections::INPUT, |input| &input.topic);
        ProduceOptions {
            topic: self.topic.clone().unwrap_or_else(|| input.to_owned()),
            files: self.files.clone(),
            source: match (&self.source, self.source_from_file_name) {
                (Some(name), _) => SourceRule::Name(name.clone()),
                (None, true) => SourceRule::FileName,
                (None, false) => SourceRule::Topic,
            },
            content_type: self.content_type.clone(),
            ..ProduceOptions::default()
        }
    }
}

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    files: u64,
    records: u64,
    /// Listings, each id once: of several descriptions the last counts.
    listings: u64,
    /// Descriptions of a listing that another record describes too.
    described_again: u64,
    /// Listings that are past.
    past: u64,
    /// Listings that no category fits.
    without_category: u64,
    /// Things that are used, but not as they stand there.
    warnings: u64,
    /// Dead letters of what cannot be used.
    dead_letters: u64,
    /// `retention.past_events`.
    retention: String,
}

/// One line of the output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Found<'f> {
    Listing {
        place: &'f str,
        /// Whether it would leave at once.
        past: bool,
        listing: &'f Listing,
    },
    Warning(Told<'f>),
    DeadLetter(Told<'f>),
    Summary(&'f Summary),
}

#[derive(Serialize)]
struct Told<'f> {
    place: &'f str,
    code: &'f str,
    reason: &'f str,
    part: Option<&'f str>,
}

/// Reads records as the topology would.
struct Check<W> {
    extractor: Extractor,
    sanitize: SanitizeConfig,
    taxonomy: Taxonomy,
    retention: Retention,
    /// Source and content type of records that name none.
    input: Input,
    now_ms: i64,
    json: bool,
    out: W,
    printed: io::Result<()>,
    /// Of each listing, whether it is past and whether it has a category.
    seen: HashMap<ListingId, (bool, bool)>,
    summary: Summary,
}

impl<W: Write> Check<W> {
    fn new(config: &Config, topic: &str, now_ms: i64, json: bool, out: W) -> Result<Self, Vec<Invalid>> {
        let (extractor, taxonomy) = config.topology.compile()?;
        let full = config.runtime.full_name(topic);
        let input = config.runtime.inputs.iter().find(|input| config.runtime.full_name(&input.topic) == full);
        Ok(Self {
            extractor,
            sanitize: config.topology.sanitize.clone(),
            taxonomy,
            retention: Retention::of(&config.topology.retention),
            input: Input { topic: full, ..input.cloned().unwrap_or_else(|| Input::of(topic)) },
            now_ms,
            json,
            out,
            printed: Ok(()),
            seen: HashMap::new(),
            summary: Summary { retention: config.topology.retention.past_events.to_string(), ..Summary::default() },
        })
    }

    fn take(&mut self, cut: Cut) {
        self.summary.records += 1;
        let place = cut.place.clone();
        let extraction = self.extractor.extract(self.record(cut));
        for extracted in extraction.document.into_iter().flat_map(|document| document.listings) {
            self.listing(&place, extracted.listing);
        }
        extraction.failures.iter().for_each(|letter| self.letter(&place, letter));
    }

    fn record(&self, cut: Cut) -> RawRecord {
        let header = |name: &str| {
            let value = cut.headers.iter().rev().find(|(header, _)| header == name)?;
            Some(String::from_utf8_lossy(&value.1).into_owned())
        };
        let source = header(SOURCE_HEADER).or_else(|| self.input.source.clone());
        let content_type = header(CONTENT_TYPE_HEADER).or_else(|| self.input.content_type.clone());
        let offset = i64::try_from(self.summary.records).unwrap_or(i64::MAX);
        let topic = self.input.topic.as_str().into();
        RawRecord {
            origin: Origin { topic, partition: 0, offset, timestamp_ms: self.now_ms, order_ms: self.now_ms },
            source: source.map(Into::into),
            content_type: content_type.map(Into::into),
            key: cut.key,
            value: cut.value,
            headers: cut.headers,
        }
    }

    fn listing(&mut self, place: &str, mut listing: Listing) {
        let before = listing.clone();
        sanitize(&mut listing, &self.sanitize);
        self.taxonomy.apply(&mut listing);
        let past = self.retention.leaves_at(listing.start, listing.end) <= self.now_ms;
        if self.seen.insert(listing.id(), (past, listing.category.is_some())).is_some() {
            self.summary.described_again += 1;
        }
        self.print(&Found::Listing { place, past, listing: &listing });
        for reason in lost(&before, &listing, &self.sanitize) {
            self.summary.warnings += 1;
            let part = Some(listing.external_id.as_str());
            self.print(&Found::Warning(Told { place, code: "sanitized", reason: &reason, part }));
        }
    }

    fn letter(&mut self, place: &str, letter: &DeadLetter) {
        let told = Told { place, code: letter.code.as_str(), reason: &letter.reason, part: letter.part.as_deref() };
        if [code::UNKNOWN_TIMEZONE, code::READ_LENIENTLY, code::NOT_AN_EVENT].contains(&letter.code) {
            self.summary.warnings += 1;
            self.print(&Found::Warning(told));
        } else {
            self.summary.dead_letters += 1;
            self.print(&Found::DeadLetter(told));
        }
    }

    /// Once nobody reads what is printed, nothing more is.
    fn print(&mut self, found: &Found<'_>) {
        if self.printed.is_ok() {
            self.printed = match self.json {
                true => serde_json::to_writer(&mut self.out, found)
                    .map_err(io::Error::from)
                    .and_then(|()| writeln!(self.out)),
                false => writeln!(self.out, "{found}"),
            };
        }
    }

    fn finish(mut self, files: u64) -> io::Result<()> {
        let mut summary = std::mem::take(&mut self.summary);
        let count = |fits: fn(&(bool, bool)) -> bool| self.seen.values().filter(|one| fits(one)).count() as u64;
        summary.files = files;
        summary.listings = self.seen.len() as u64;
        summary.past = count(|(past, _)| *past);
        summary.without_category = count(|(_, category)| !category);
        self.print(&Found::Summary(&summary));
        self.printed?;
        self.out.flush()
    }
}

/// What cleaning takes from a listing beside markup: texts that are cut, addresses that are none of the web.
fn lost(before: &Listing, after: &Listing, limits: &SanitizeConfig) -> Vec<String> {
    let mut lost = Vec::new();
    let description = |listing: &'_ Listing| listing.description.as_ref().map_or(0, |text| text.chars().count());
    for (key, most, before, after) in [
        ("max_title_chars", limits.max_title_chars, before.title.chars().count(), after.title.chars().count()),
        ("max_description_chars", limits.max_description_chars, description(before), description(after)),
    ] {
        // Markup is removed first: a text that is much shorter than the limit afterwards was not cut.
        if before > most && after + 1 >= most {
            lost.push(format!("a text was cut to sanitize.{key}, {most} characters"));
        }
    }
    for (field, before, after) in [("urls", &before.urls, &after.urls), ("images", &before.images, &after.images)] {
        let distinct: BTreeSet<String> = before.iter().map(|url| url.trim().to_lowercase()).collect();
        if after.len() < distinct.len() {
            let gone = distinct.len() - after.len();
            lost.push(format!("{field}: {gone} of {} left out, no address of the web or too many", distinct.len()));
        }
    }
    lost
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listing { place, past, listing } => {
                write!(f, "{place}: {}", listing.start)?;
                listing.end.map_or(Ok(()), |end| write!(f, " to {end}"))?;
                write!(f, "  {}", listing.title)?;
                let venue = &listing.venue;
                let at: Vec<&str> =
                    [&venue.name, &venue.city, &venue.country].into_iter().flatten().map(|t| &**t).collect();
                if !at.is_empty() {
                    write!(f, "  @ {}", at.join(", "))?;
                }
                write!(f, "  [{}]", listing.category.as_deref().unwrap_or("no category"))?;
                if listing.status != headwater_operators::listing::Status::Scheduled {
                    write!(f, "  {:?}", listing.status)?;
                }
                write!(f, "  {}/{}", listing.source, listing.external_id)?;
                if *past { f.write_str("  past") } else { Ok(()) }
            }
            Self::Warning(told) => write!(f, "{}: warning: {told}", told.place),
            Self::DeadLetter(told) => write!(f, "{}: dead letter: {told}", told.place),
            Self::Summary(summary) => summary.fmt(f),
        }
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, reason, part, .. } = self;
        write!(f, "{code}: {reason}")?;
        part.map_or(Ok(()), |part| write!(f, " ({part})"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, records, listings, past, warnings, dead_letters, retention, .. } = self;
        let (files, records) = (counted(*files, "file"), counted(*records, "record"));
        write!(f, "{} of {records} in {files}", counted(*listings, "listing"))?;
        write!(f, "; {}, {}", counted(*warnings, "warning"), counted(*dead_letters, "dead letter"))?;
        if *past > 0 {
            let (past, are, all) =
                (grouped(*past), if *past == 1 { "is" } else { "are" }, counted(*listings, "listing"));
            write!(
                f,
                "\n{past} of {all} {are} past and would leave at once under retention.past_events = {retention:?}"
            )?;
        }
        if self.described_again > 0 {
            let again = counted(self.described_again, "description");
            write!(f, "\n{again} of listings that were described before: the last of each counts")?;
        }
        if self.without_category > 0 {
            write!(f, "\n{} without a category", counted(self.without_category, "listing"))?;
        }
        Ok(())
    }
}
