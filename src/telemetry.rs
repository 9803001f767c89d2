//! What the process says about itself: log lines on stderr, and metrics.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::error::{Domain, Fault};

/// What of the libraries is worth reading at the usual level: librdkafka's own lines and SQL
/// statements are not, nor what recurrence rules look like that sources send.
const QUIETER: &str = "rdkafka=warn,tokio_postgres=warn,hyper=warn,rrule=error";

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("{from}: {filter:?} is no log filter: {reason}")]
    Filter {
        /// Where it was given.
        from: &'static str,
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else has been installed before.
    #[error("{what} is installed already")]
    Installed {
        /// What was to be installed.
        what: &'static str,
    },
}

impl Fault for TelemetryError {
    fn domain(&self) -> Domain {
        match self {
            Self::Filter { .. } => Domain::User,
            Self::Installed { .. } => Domain::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Filter { .. } => {
                Some("use error, warn, info, debug or trace, or tracing's syntax: headwater=debug,rdkafka=info".into())
            }
            Self::Installed { .. } => None,
        }
    }
}

/// Starts log lines on stderr. What is shown is decided by `level` (`--log-level`), or else by the
/// variable RUST_LOG, or else by `default`.
///
/// # Errors
/// When the filter cannot be read, or when log lines were started before.
pub fn start_logging(level: Option<&str>, default: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = match (level, from_environment) {
        (Some(level), _) => filter("--log-level", level)?,
        (None, Some(given)) => filter("RUST_LOG", &given)?,
        (None, None) => filter("default", default)?,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| TelemetryError::Installed { what: "a tracing subscriber" })
}

/// A bare level is for Headwater; libraries then stay quieter.
fn filter(from: &'static str, given: &str) -> Result<EnvFilter, TelemetryError> {
    let refused = |reason: String| TelemetryError::Filter { from, filter: given.to_owned(), reason };
    let bare = !given.contains(['=', ',']);
    if given.trim().is_empty() || bare && given.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
        return Err(refused("unknown level".to_owned()));
    }
    let text = if bare { format!("{given},{QUIETER}") } else { given.to_owned() };
    EnvFilter::try_new(text).map_err(|error| refused(error.to_string()))
}

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Upper bounds of histogram buckets for times, in seconds: 1 ms to 5 min.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Upper bounds of histogram buckets for numbers of records.
const RECORDS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// Upper bounds of histogram buckets for bytes: 1 KiB to 256 MiB.
const BYTES: [f64; 7] = [1024.0, 16384.0, 262_144.0, 1_048_576.0, 4_194_304.0, 33_554_432.0, 268_435_456.0];

impl Metrics {
    /// Starts to collect metrics. Somebody must call [`Metrics::tidy`] now and then, as the admin
    /// server does; so without an admin server, do not install.
    ///
    /// # Errors
    /// When a recorder has been installed before.
    pub fn install() -> Result<Self, TelemetryError> {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Installed { what: "a metrics recorder" })?;
        describe();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        metrics::gauge!("process_start_time_seconds").set(now);
        metrics::gauge!("headwater_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self(handle))
    }

    /// Metrics that nothing is recorded in, for tests.
    pub fn detached() -> Self {
        Self(builder().build_recorder().handle())
    }

    /// All metrics in Prometheus's text format.
    pub fn render(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
        }
        self.0.render()
    }

    /// The values of all metrics now.
    pub fn figures(&self) -> Figures {
        Figures::read(&self.render())
    }

    /// Folds recorded samples into their histograms, which otherwise grow with every sample.
    pub fn tidy(&self) {
        self.0.run_upkeep();
    }
}

/// The values of metrics at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(BTreeMap<String, Vec<Labelled>>);

/// A value with its labels.
type Labelled = (Vec<(String, String)>, f64);

impl Figures {
    /// Reads Prometheus's text format. Comments and what is no number are left out.
    fn read(text: &str) -> Self {
        let mut figures = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            figures.0.entry(name.to_owned()).or_default().push((labels_of(labels), value));
        }
        figures
    }

    /// The sum over all labels of the metric `name`; `None` where there is no such metric yet.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|series| series.iter().map(|(_, value)| value).sum())
    }

    /// The greatest value of the metric `name`.
    pub fn greatest(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.iter().map(|(_, value)| *value).reduce(f64::max)
    }

    /// The sums of the metric `name` by the values of `label`.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.0.get(name).into_iter().flatten() {
            let found = labels.iter().find(|(name, _)| name == label);
            *sums.entry(found.map_or("", |(_, value)| value.as_str())).or_default() += value;
        }
        sums
    }
}

/// The labels of `a="b",c="d"}`. A value may hold `\\`, `\"` and `\n`.
fn labels_of(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut rest = text;
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => {
                    value.extend(chars.next().map(|(_, escaped)| if escaped == 'n' { '\n' } else { escaped }))
                }
                Some((at, '"')) => break at + 1,
                Some((_, other)) => value.push(other),
                None => break quoted.len(),
            }
        };
        labels.push((name.trim_start_matches(',').to_owned(), value));
        rest = &quoted[end..];
    }
    labels
}

fn builder() -> PrometheusBuilder {
    let buckets: [(&str, &[f64]); 3] = [("_seconds", &SECONDS), ("_records", &RECORDS), ("_bytes", &BYTES)];
    buckets.into_iter().fold(PrometheusBuilder::new(), |builder, (suffix, bounds)| {
        // Fails for an empty list of buckets only.
        builder.set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), bounds).unwrap_or_default()
    })
}

/// Memory held by this process in bytes, where the system tells (Linux).
pub fn resident_bytes() -> Option<u64> {
    held_in(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The most that was held; of huge pages, which the allocator does not give back, those that are held now.
pub fn peak_resident_bytes() -> Option<u64> {
    held_in(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Ordinary pages as `field` counts them, and the huge ones that were set aside beforehand: Linux does not count
/// those as resident.
fn held_in(status: &str, field: &str) -> Option<u64> {
    let bytes = |field: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    bytes(field)?.checked_add(bytes("HugetlbPages:").unwrap_or(0))
}

/// Says what each metric means; docs/operations.md says more.
fn describe() {
    describe_input();
    describe_commits();
    describe_dataflow();
    describe_views();
    describe_gauge!("headwater_build_info", "1, with the version as label");
    describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Memory held by this process");
    describe_gauge!("process_start_time_seconds", Unit::Seconds, "When this process started, since the Unix epoch");
}

fn describe_input() {
    describe_counter!("headwater_input_records_total", "Raw records read, by partition");
    describe_counter!("headwater_source_records_total", "Raw records read, by source");
    describe_counter!("headwater_input_bytes_total", Unit::Bytes, "Bytes of raw records read, by partition");
    describe_gauge!("headwater_input_lag_records", "Offsets between what is committed and the end of a partition");
    describe_gauge!("headwater_input_lag_seconds", Unit::Seconds, "Age of the first end not reached");
    describe_counter!(
        "headwater_input_paused_milliseconds_total",
        Unit::Milliseconds,
        "Time for which reading waited for commits, of all workers"
    );
    describe_gauge!("headwater_log_reachable", "Whether the log answered when it was last asked for its ends");
    describe_gauge!("headwater_bytes_in_flight", Unit::Bytes, "Bytes read and not committed");
    describe_gauge!("headwater_epochs_in_flight", "Closed epochs that are not committed, of all workers");
    describe_gauge!("headwater_watermark_timestamp_seconds", Unit::Seconds, "The watermark, since the Unix epoch");
}

fn describe_commits() {
    describe_histogram!("headwater_epoch_seconds", Unit::Seconds, "From the opening of an epoch to its commit");
    describe_histogram!("headwater_commit_seconds", Unit::Seconds, "Time that a transaction took");
    describe_histogram!("headwater_transaction_records", "Records in a transaction");
    describe_histogram!("headwater_transaction_bytes", Unit::Bytes, "Bytes of the records in a transaction");
    describe_counter!("headwater_commits_total", "Transactions committed");
    describe_counter!("headwater_commit_retries_total", "Attempts at transactions that did not succeed");
    describe_counter!("headwater_output_records_total", "Records committed, by output topic");
    describe_counter!("headwater_output_bytes_total", Unit::Bytes, "Bytes of records committed, by output topic");
    describe_counter!("headwater_dead_letters_total", "Dead letters written, by code and source");
    describe_counter!("headwater_restored_records_total", "State records read at start-up");
    describe_counter!("headwater_reread_records_total", "Raw records read again in a rebuild");
    describe_counter!("headwater_corrections_total", "Corrections written to output topics at start-up");
}

fn describe_dataflow() {
    describe_gauge!("headwater_held_entries", "Entries that stateful operators hold");
    describe_counter!(
        "headwater_stage_busy_milliseconds_total",
        Unit::Milliseconds,
        "Time for which workers were busy with a stage"
    );
    describe_counter!("headwater_stage_records_in_total", "Records that entered a stage");
    describe_counter!("headwater_stage_records_out_total", "Records that left a stage, for each that takes them");
}

fn describe_views() {
    describe_gauge!("headwater_view_working", "Whether a view makes progress: 0 while it tries again, or has ended");
    describe_gauge!("headwater_view_lag_records", "Offsets that a view has still to apply");
    describe_gauge!("headwater_view_lag_seconds", Unit::Seconds, "Age of the first end that a view has not reached");
    describe_counter!("headwater_view_records_total", "Records that a view has applied");
    describe_counter!("headwater_view_rows_total", "Rows that a view has written");
    describe_counter!("headwater_view_skipped_total", "Records that a view could not use");
    describe_counter!("headwater_view_retries_total", "Times that a view has lost its store or the log");
    describe_counter!("headwater_view_rebuilds_total", "Times that a view has begun anew");
    describe_histogram!("headwater_view_apply_seconds", Unit::Seconds, "Time that a view's transaction took");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_with_their_labels() {
        let text = "# HELP a x\na{s=\"x\",p=\"0\"} 2\na{s=\"x\",p=\"1\"} 3\na{s=\"q\\\"\\\\ ,=\"} 1.5\nb 7\nc NaN?\n";
        let figures = Figures::read(text);
        assert_eq!((figures.sum("a"), figures.sum("b"), figures.sum("c")), (Some(6.5), Some(7.0), None));
        assert_eq!(figures.greatest("a"), Some(3.0));
        assert_eq!(figures.by("a", "s"), [("q\"\\ ,=", 1.5), ("x", 5.0)].into());
    }

    #[test]
    fn huge_pages_are_memory_too() {
        let status = "VmHWM:\t 999 kB\nVmRSS:\t  100 kB\nHugetlbPages:\t  2048 kB\n";
        assert_eq!(held_in(status, "VmRSS:"), Some(2_148 << 10));
        assert_eq!(held_in(status, "VmHWM:"), Some(3_047 << 10));
        assert_eq!(held_in("VmRSS:\t  100 kB\n", "VmRSS:"), Some(100 << 10));
        assert_eq!(held_in("HugetlbPages:\t  2048 kB\n", "VmRSS:"), None);
        assert_eq!(held_in("VmRSS: lots\n", "VmRSS:"), None);
    }

    #[test]
    fn filters_are_levels_or_directives() {
        for given in ["info", "debug", "off", "headwater=debug,rdkafka=info"] {
            assert!(filter("--log-level", given).is_ok(), "{given}");
        }
        for given in ["loud", "", "headwater=loud"] {
            assert!(filter("--log-level", given).is_err(), "{given}");
        }
    }

    #[test]
    fn recorded_metrics_are_rendered() {
        let recorder = builder().build_recorder();
        let metrics = Metrics(recorder.handle());
        let text = metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::counter!("headwater_commits_total").increment(3);
            metrics::histogram!("headwater_commit_seconds").record(0.02);
            metrics.tidy();
            metrics.render()
        });
        assert!(text.contains("# HELP headwater_commits_total Transactions committed"), "{text}");
        assert!(text.contains("headwater_commits_total 3"), "{text}");
        assert!(text.contains("headwater_commit_seconds_bucket{le=\"0.025\"} 1"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
