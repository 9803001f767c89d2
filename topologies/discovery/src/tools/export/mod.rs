//! `headwater export`: events of a server as a file; also as the work of a job.

mod error;
mod format;
mod query;

use std::fmt::{Display, Formatter};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use headwater::cli::{fail, stop_on_signals};
use headwater::error::{Backoff, Domain, Fault};
use headwater::tools::still_read;
use headwater::words::{counted, grouped};
use jobs::client::{Client, TextPage};
use jobs::model::check_id;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

pub use error::ExportError;
pub use format::{Format, JoinError, Joiner};
pub use query::Query;

/// Events of a page: the most that a server gives.
const PAGE: usize = 200;

/// A server that is away, or has too much to do, is asked so often.
const TRIES: u32 = 6;

/// The shortest and the longest pause between them.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// The variable in which a worker names the job.
const JOB: &str = "HEADWATER_JOB";

/// What tells a worker that no other attempt helps (EX_DATAERR).
const NO_OTHER_ATTEMPT: u8 = 65;

/// What a shell tells of a process that SIGINT has ended.
const INTERRUPTED: u8 = 130;

/// `headwater export`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The file appears when it is complete, and replaces one of its name then.

With --job, the query is JSON on standard input: the parameters of /api/events, and `format`, as in \
{\"format\": \"ics\", \"city\": \"Melbourne\", \"category\": [\"Music\", \"Arts\"]}. The file is named after the job. Lines \
`progress 0.4 text` and `result {\"file\": …, \"events\": …}` go to standard output, as \
`headwater work --queue exports -- headwater export --job --folder exports` reads them.

Examples:
  headwater export events.csv
  headwater export free.ics --filter 'city=Melbourne&price=free'
  headwater export events.geojson --url https://events.example:8443 --key KEY

Exit codes: 0 written, 2 something to mend in usage, 3 something outside failed, 65 with --job: no other attempt \
helps, 130 stopped.")]
pub struct ExportArgs {
    /// File to write; its ending names the format
    #[arg(value_name = "FILE", required_unless_present = "job", conflicts_with = "job")]
    pub file: Option<PathBuf>,
    /// Which events, as in the query of /api/events [default: all]
    #[arg(long, value_name = "QUERY", conflicts_with = "job")]
    pub filter: Option<String>,
    /// Format [default: by the ending of the file; of a job that names none: csv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Do the job of a worker
    #[arg(long, conflicts_with = "json")]
    pub job: bool,
    /// Folder for the files of jobs; made where it is missing
    #[arg(long, value_name = "FOLDER", default_value = ".", requires = "job")]
    pub folder: PathBuf,
    /// Where events are served
    #[arg(long, value_name = "URL", env = "HEADWATER_EVENTS_URL", default_value = "http://127.0.0.1:8081")]
    pub url: String,
    /// Key for the API, where one is needed
    #[arg(long, value_name = "KEY", env = "HEADWATER_EVENTS_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Print JSON instead of text for people
    #[arg(long)]
    pub json: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The file.
    pub file: PathBuf,
    /// Its format.
    pub format: Format,
    /// How many events it holds.
    pub events: u64,
}

impl Display for Exported {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", counted(self.events, "event"), self.file.display())
    }
}

/// What is to be exported.
struct Export {
    client: Client,
    query: Query,
    format: Format,
    file: PathBuf,
}

#[derive(Deserialize)]
struct Size {
    total: u64,
}

impl ExportArgs {
    pub(super) fn run(self) -> ExitCode {
        let for_worker = self.job;
        let Err(error) = self.export() else { return ExitCode::SUCCESS };
        let usual = fail(&error);
        match error {
            ExportError::Stopped => ExitCode::from(INTERRUPTED),
            error if for_worker && error.domain() == Domain::User => ExitCode::from(NO_OTHER_ATTEMPT),
            _ => usual,
        }
    }

    fn export(self) -> Result<(), ExportError> {
        let stop = stop_on_signals()?;
        let (for_worker, json) = (self.job, self.json);
        let export = self.prepare()?;
        let exported = export.write(&stop, |events, total| match for_worker {
            true => tell(&progress(events, total)),
            false => Ok(()),
        })?;
        let told = serde_json::json!(exported).to_string();
        match (for_worker, json) {
            (true, _) => tell(&format!("result {told}")),
            (false, true) => tell(&told),
            (false, false) => tell(&exported.to_string()),
        }
    }

    /// Reads what is to be exported, and where to.
    fn prepare(self) -> Result<Export, ExportError> {
        let client = Client::new(&self.url, self.key.as_deref().filter(|key| !key.is_empty()))?;
        let Some(file) = self.file else {
            let job = job()?;
            let mut payload = String::new();
            io::stdin().read_to_string(&mut payload).map_err(ExportError::Input)?;
            let (query, named) = Query::of_payload(&payload)?;
            let format = named.or(self.format).unwrap_or(Format::Csv);
            let writing = |source| ExportError::Writing { path: self.folder.clone(), source };
            fs::create_dir_all(&self.folder).map_err(writing)?;
            // Whoever reads the result need not know where the worker was started.
            let folder = std::path::absolute(&self.folder).map_err(writing)?;
            return Ok(Export { client, query, format, file: folder.join(format!("{job}.{format}")) });
        };
        let query = Query::of_text(self.filter.as_deref().unwrap_or_default())?;
        let Some(format) = self.format.or_else(|| Format::of_file(&file)) else {
            return Err(ExportError::NoFormat { file });
        };
        Ok(Export { client, query, format, file })
    }
}

/// The job that a worker does.
fn job() -> Result<String, ExportError> {
    let job = std::env::var(JOB).map_err(|_| ExportError::NoJob(format!("{JOB} names no job")))?;
    // It becomes the name of a file: an id holds no character that leads elsewhere.
    check_id(&job).map_err(|wrong| ExportError::NoJob(format!("{JOB} names no job: {wrong}")))?;
    Ok(job)
}

fn tell(line: &str) -> Result<(), ExportError> {
    still_read(writeln!(io::stdout(), "{line}"))?;
    Ok(())
}

/// How far it has come, as a worker reads it.
fn progress(events: u64, total: u64) -> String {
    // The list may have become longer meanwhile.
    let fraction = if total == 0 { 1.0 } else { (events as f64 / total as f64).min(1.0) };
    format!("progress {fraction:.3} {} of {}", grouped(events), counted(total, "event"))
}

impl Export {
    /// Writes the file: beside its place at first, so that nobody sees a part of it. Tells after each page how many
    /// events there are, and of how many.
    fn write(
        self,
        stop: &AtomicBool,
        mut told: impl FnMut(u64, u64) -> Result<(), ExportError>,
    ) -> Result<Exported, ExportError> {
        let writing = |source| ExportError::Writing { path: self.file.clone(), source };
        let total = self.total(stop)?;
        let file = beside(&self.file).map_err(writing)?;
        let mut joiner = Joiner::new(self.format, BufWriter::new(file));
        let mut cursor: Option<String> = None;
        loop {
            let page = self.page(self.format.address(), &self.query.page(PAGE, cursor.as_deref()), stop)?;
            joiner.add(&page.text).map_err(|error| match error {
                JoinError::Page(reason) => self.unreadable(reason),
                JoinError::Writing(source) => writing(source),
            })?;
            told(joiner.events(), total)?;
            match page.cursor {
                None => break,
                // It would go on for ever.
                same if same == cursor => return Err(self.unreadable("a page leads to itself".to_owned())),
                next => cursor = next,
            }
        }
        let events = joiner.events();
        let file = joiner.finish().map_err(writing)?.into_inner().map_err(|error| writing(error.into_error()))?;
        file.as_file().sync_all().map_err(writing)?;
        file.persist(&self.file).map_err(|error| writing(error.error))?;
        Ok(Exported { file: self.file, format: self.format, events })
    }

    /// How many events there are.
    fn total(&self, stop: &AtomicBool) -> Result<u64, ExportError> {
        let page = self.page(Format::Ndjson.address(), &self.query.size(), stop)?;
        let Size { total } = serde_json::from_str(&page.text).map_err(|error| self.unreadable(error.to_string()))?;
        Ok(total)
    }

    /// A page. What may pass is waited for.
    fn page(&self, address: &str, query: &[(String, String)], stop: &AtomicBool) -> Result<TextPage, ExportError> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        for _ in 1..TRIES {
            if stop.load(Ordering::Relaxed) {
                return Err(ExportError::Stopped);
            }
            match self.client.page_as_text(&["api", address], query) {
                Err(error) if error.may_pass() => wait(backoff.pause(), stop),
                answered => return Ok(answered?),
            }
        }
        Ok(self.client.page_as_text(&["api", address], query)?)
    }

    fn unreadable(&self, reason: String) -> ExportError {
        ExportError::Page { url: self.client.url().to_owned(), format: self.format, reason }
    }
}

/// A file in the folder of `file`, which is removed unless it is put in its place.
fn beside(file: &Path) -> io::Result<NamedTempFile> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".export-").suffix(".part");
    // As any other file: for whom the system says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Waits so long, or until `stop` is set.
fn wait(pause: Duration, stop: &AtomicBool) {
    const TICK: Duration = Duration::from_millis(50);
    let began = Instant::now();
    while began.elapsed() < pause && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_line_for_a_worker() {
        assert_eq!(progress(1_200, 3_000), "progress 0.400 1,200 of 3,000 events");
        assert_eq!(progress(0, 0), "progress 1.000 0 of 0 events");
        assert_eq!(progress(3, 1), "progress 1.000 3 of 1 event");
    }

    #[test]
    fn a_file_is_for_those_for_whom_files_are() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        let file = folder.path().join("a.csv");
        beside(&file).unwrap().persist(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions(), fs::metadata(&plain).unwrap().permissions());
        drop(beside(&file).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "what is not complete goes");
    }
}
