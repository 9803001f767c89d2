//! The console: what a running topology tells the person who started it.
//!
//! On a terminal one line is kept up to date and a record that is worth it is shown now and then above it;
//! elsewhere the same lines are printed at a slower pace. With `--json` every line is an object.

mod spotlight;

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use crate::engine::lifecycle::{Lifecycle, Totals};
use crate::log::{Log, LogError, LogRecord};
use crate::words::grouped;
use spotlight::Spotlight;

/// How often the status is printed where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Over how long a rate is taken: under load records are read in bursts, with a second or two between.
const RATE_OVER: Duration = Duration::from_secs(5);
/// How often it is taken.
const RATE_EVERY: Duration = Duration::from_millis(500);

/// What a running topology counts, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Raw records read since the start.
    pub records: u64,
    /// The topology's own figures: key in JSON, what people read after the number, the number.
    pub own: Vec<(&'static str, &'static str, i64)>,
    /// Dead letters written since the start.
    pub dead_letters: u64,
}

impl Figures {
    /// Reads the counters of all processes.
    pub fn of(lifecycle: &Lifecycle) -> Self {
        let Totals { records, dead_letters, gauges } = lifecycle.totals();
        let own = lifecycle.catalog().figures().iter();
        let own = own.map(|figure| (figure.key, figure.label, figure.value(&gauges))).collect();
        Self { records, own, dead_letters }
    }

    /// One of the topology's own figures, by its key.
    pub fn get(&self, key: &str) -> Option<i64> {
        self.own.iter().find(|(known, ..)| *known == key).map(|(.., value)| *value)
    }

    /// Every number with what people read after it, dead letters last.
    fn rows(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let own = self.own.iter().map(|(_, label, value)| (value.unsigned_abs(), *label));
        [(self.records, "records")].into_iter().chain(own).chain([(self.dead_letters, "dead letters")])
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.own.len() + 2))?;
        map.serialize_entry("records", &self.records)?;
        for (key, _, value) in &self.own {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("deadLetters", &self.dead_letters)?;
        map.end()
    }
}

/// Tells of a running engine until it ends.
pub struct Console {
    lifecycle: Arc<Lifecycle>,
    json: bool,
    line: Option<ProgressBar>,
    goal: Option<ProgressBar>,
    spotlight: Option<Spotlight>,
    started: Instant,
    last_print: Instant,
    rate: Rate,
    told_corrections: bool,
    config: Option<PathBuf>,
    command: &'static str,
}

/// Records a second over the last [`RATE_OVER`].
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn new(began: Instant) -> Self {
        Self(VecDeque::from([(began, 0)]))
    }

    /// Takes in how many records there have been in all.
    fn count(&mut self, now: Instant, records: u64) {
        if self.0.back().is_some_and(|(last, _)| now.duration_since(*last) < RATE_EVERY) {
            return;
        }
        self.0.push_back((now, records));
        while self.0.get(1).is_some_and(|(second, _)| now.duration_since(*second) >= RATE_OVER) {
            self.0.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let (Some((from, before)), Some((to, records))) = (self.0.front(), self.0.back()) else { return 0.0 };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds > 0.0 { records.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }
}

/// A few lines for people about a record, where it is worth them.
pub type Highlight = fn(&LogRecord) -> Option<String>;

/// How the console speaks.
#[derive(Debug, Clone, Default)]
pub struct ConsoleOptions {
    /// One JSON object a line on standard output.
    pub json: bool,
    /// Records to go until the engine stops by itself: shown as a progress bar.
    pub goal: Option<u64>,
    /// Which topic is worth a look now and then (full name), and what is shown of its records.
    pub highlight: Option<(String, Highlight)>,
    /// The file of the configuration, for commands that are suggested.
    pub config: Option<PathBuf>,
    /// What starts the tools of the topology, for commands that are suggested.
    pub command: &'static str,
}

impl Console {
    /// A console for the engine behind `lifecycle`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(lifecycle: Arc<Lifecycle>, log: &Arc<dyn Log>, options: ConsoleOptions) -> Result<Self, LogError> {
        let terminal = std::io::stderr().is_terminal() && !options.json;
        let spotlight = match options.highlight.filter(|_| !options.json) {
            Some((topic, highlight)) => Some(Spotlight::start(Arc::clone(log), topic, highlight)?),
            None => None,
        };
        let now = Instant::now();
        let goal = options.goal.filter(|_| terminal).map(goal_bar);
        Ok(Self {
            line: (terminal && goal.is_none()).then(status_line),
            goal,
            spotlight,
            json: options.json,
            started: now,
            last_print: now,
            rate: Rate::new(now),
            told_corrections: false,
            config: options.config,
            command: options.command,
            lifecycle,
        })
    }

    /// To be called about ten times a second.
    pub fn tick(&mut self) {
        self.tell_corrections();
        let figures = Figures::of(&self.lifecycle);
        self.rate.count(Instant::now(), figures.records);
        if let Some(goal) = &self.goal {
            goal.set_position(figures.records);
        }
        if let Some(event) = self.spotlight.as_ref().and_then(Spotlight::next) {
            self.say(&event);
        }
        match &self.line {
            Some(line) => line.set_message(self.status(&figures)),
            None if self.goal.is_none() && self.last_print.elapsed() >= PLAIN_EVERY => {
                self.last_print = Instant::now();
                let text = self.status_or_json(&figures);
                self.say(&text);
            }
            None => {}
        }
    }

    /// Says once what was corrected at the start.
    fn tell_corrections(&mut self) {
        if self.told_corrections {
            return;
        }
        let Some(report) = self.lifecycle.corrections() else { return };
        self.told_corrections = true;
        let text = match self.json {
            true => json!({"corrected": report}).to_string(),
            false if report.rows == 0 && report.total() == 0 => return,
            false => format!("corrected: {report}"),
        };
        self.say(&text);
    }

    fn status_or_json(&self, figures: &Figures) -> String {
        match self.json {
            true => json!({
                "figures": figures, "recordsPerSecond": self.rate.per_second().round(), "lag": self.lag(),
                "bytesInFlight": self.lifecycle.counters.bytes_in_flight.load(Ordering::Relaxed),
            })
            .to_string(),
            false => self.status(figures),
        }
    }

    /// Raw offsets that are there and not committed.
    fn lag(&self) -> i64 {
        self.lifecycle.counters.lag.load(Ordering::Relaxed)
    }

    fn status(&self, figures: &Figures) -> String {
        let behind = match self.lag() {
            0 => String::new(),
            lag => format!(" · {} behind", grouped(lag.unsigned_abs())),
        };
        let rows = figures.rows().map(|(value, label)| format!("{} {label}", grouped(value)));
        format!(
            "{}  {} · {}/s{behind}",
            clock(self.started.elapsed()),
            rows.collect::<Vec<_>>().join(" · "),
            grouped(self.rate.per_second().round() as u64),
        )
    }

    fn say(&self, text: &str) {
        if let Some(bar) = self.line.as_ref().or(self.goal.as_ref()) {
            bar.println(text);
            return;
        }
        // Nobody may be reading any more (a closed pipe): that is no reason to stop working.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Says how it ended.
    pub fn finish(mut self, orderly: bool) {
        self.tell_corrections();
        for bar in self.line.iter().chain(&self.goal) {
            bar.finish_and_clear();
        }
        let figures = Figures::of(&self.lifecycle);
        let elapsed = self.started.elapsed();
        let rate = figures.records as f64 / elapsed.as_secs_f64().max(0.001);
        let text = match self.json {
            true => json!({
                "summary": figures, "seconds": elapsed.as_secs_f64(), "recordsPerSecond": rate.round(),
                "corrections": self.lifecycle.counters.corrections.load(Ordering::Relaxed), "orderly": orderly,
            })
            .to_string(),
            false => summary(&figures, elapsed, rate, orderly) + &why(&figures, self.command, self.config.as_deref()),
        };
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

fn summary(figures: &Figures, elapsed: Duration, rate: f64, orderly: bool) -> String {
    let state = match orderly {
        true => "everything read is committed",
        false => "what was not committed is read again at the next start",
    };
    let mut text = format!("Stopped after {} ({:.0} records/s); {state}.", clock(elapsed), rate);
    for (value, name) in figures.rows() {
        text.push_str(&format!("\n  {name:<18} {:>12}", grouped(value)));
    }
    text
}

/// How to find out why there are dead letters, where there are some.
fn why(figures: &Figures, command: &str, config: Option<&Path>) -> String {
    match figures.dead_letters {
        0 => String::new(),
        _ => format!("   `{command} dead-letters summary{}` says why", config_flag(config)),
    }
}

/// What makes a command that is suggested read the same configuration, with a space before it.
pub fn config_flag(file: Option<&Path>) -> String {
    file.map(|file| format!(" --config {}", file.display())).unwrap_or_default()
}

fn status_line() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn goal_bar(goal: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(goal), ProgressDrawTarget::stderr_with_hz(8));
    if let Ok(style) = ProgressStyle::with_template("{bar:40.cyan/blue} {pos}/{len} records  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_outlasts_the_pauses_between_bursts() {
        let began = Instant::now();
        let mut rate = Rate::new(began);
        assert_eq!(rate.per_second(), 0.0);
        for tenth in 0..200u64 {
            let records = 20_000 * (tenth / 20);
            rate.count(began + Duration::from_millis(100 * tenth), records);
            if tenth > 50 {
                assert!((6_000.0..14_000.0).contains(&rate.per_second()), "{tenth}: {}", rate.per_second());
            }
        }
        assert!(rate.0.len() < 15);
        for tenth in 200..260u64 {
            rate.count(began + Duration::from_millis(100 * tenth), 180_000);
        }
        assert_eq!(rate.per_second(), 0.0, "six seconds without any");
    }

    #[test]
    fn the_command_for_dead_letters_reads_the_same_configuration() {
        let told = |dead_letters, config: Option<&str>| {
            let figures = Figures { dead_letters, ..Figures::default() };
            why(&figures, "counting", config.map(Path::new))
        };
        assert!(told(1, Some("a.toml")).ends_with("`counting dead-letters summary --config a.toml` says why"));
        assert!(told(1, None).ends_with("`counting dead-letters summary` says why"));
        assert_eq!(told(0, Some("a.toml")), "");
    }

    #[test]
    fn hours_show_when_there_are_some() {
        assert_eq!(clock(Duration::from_secs(65)), "01:05");
        assert_eq!(clock(Duration::from_secs(3_665)), "1:01:05");
    }
}
