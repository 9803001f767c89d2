//! Decisions: a person's word on whether two listings are one event, given, taken back and listed.
//!
//! A decision is a record of the topic `decisions`; its key stands for the pair, whichever way round
//! the two are named, so that the next one on a pair replaces it. The topology follows it at once and
//! tells on the topic `decision-reports` what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, Subcommand};
use headwater::cli::ConfigArgs;
use headwater::config::Runtime;
use headwater::dataflow::buffer::json;
use headwater::error::{Domain, Fault};
use headwater::log::{Log, LogError, NewRecord, Producer, read_to_end};
use headwater::tools::{Opened, Outcome, ToolError, opened, print_result, still_read};
use headwater_operators::resolve::{
    Decision, DecisionReport, DecisionState, ListingName, ListingRef, Pair, Ruling, pair_key,
};
use serde::Serialize;

use crate::config::Sections;

/// The topic of decisions, without the prefix.
const DECISIONS: &str = "decisions";

/// Why a decision could not be made, taken back or listed.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// What any tool may fail at.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A decision on a listing and itself.
    #[error("a decision is on two listings, not on one and itself")]
    OneListing,
    /// Nobody is named as the one who decides.
    #[error("who decides? Neither --by, nor the variables USER and LOGNAME, nor the system name anybody")]
    Nobody,
    /// There is no decision to take back.
    #[error("there is no decision on {a} and {b}")]
    NoDecision {
        /// One listing.
        a: String,
        /// The other one.
        b: String,
    },
}

impl From<LogError> for DecideError {
    fn from(error: LogError) -> Self {
        Self::Tool(error.into())
    }
}

impl Fault for DecideError {
    fn domain(&self) -> Domain {
        match self {
            Self::Tool(error) => error.domain(),
            Self::OneListing | Self::Nobody | Self::NoDecision { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::OneListing => None,
            Self::Nobody => Some("name the person: --by kim".to_owned()),
            Self::NoDecision { .. } => Some("`headwater decide list` shows those there are".to_owned()),
        }
    }
}

/// What a person says of two listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// They are one event.
    Same,
    /// They are not.
    Different,
}

/// A decision to be made.
#[derive(Debug, Clone)]
pub struct NewDecision {
    /// What is said.
    pub say: Say,
    /// Of which two listings.
    pub listings: [ListingRef; 2],
    /// By whom.
    pub who: String,
    /// Why.
    pub why: Option<String>,
    /// When, in ms since the Unix epoch.
    pub at_ms: i64,
}

/// What deciding has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// Key of the pair.
    pub key: String,
    /// What holds on the pair from now on; `None` for nothing.
    pub decision: Option<Decision>,
    /// What was said of the pair before, the newest first.
    pub replaced: Vec<Decision>,
}

/// Reads `SOURCE/ID`, where the id may hold further slashes, or a listing's id of 32 hexadecimal
/// digits.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_listing(text: &str) -> Result<ListingRef, String> {
    match text.split_once('/') {
        Some((source, id)) if !source.is_empty() && !id.is_empty() => Ok(ListingName::new(source, id).into()),
        None if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            text.parse().map(ListingRef::Id).map_err(|_| "is no listing's id".to_owned())
        }
        _ => Err("a listing is SOURCE/ID, or its id of 32 hexadecimal digits".to_owned()),
    }
}

/// Writes a decision, in place of what was said of the pair before.
///
/// # Errors
/// When it is on a listing and itself, or the log fails.
pub fn decide(log: &dyn Log, config: &Runtime, new: NewDecision) -> Result<Decided, DecideError> {
    let [a, b] = new.listings;
    let ruling = Ruling { a, b, who: new.who.into(), why: new.why, at: new.at_ms };
    let decision = match new.say {
        Say::Same => Decision::Same(ruling),
        Say::Different => Decision::Different(ruling),
    };
    let pair = decision.pair().ok_or(DecideError::OneListing)?;
    let key = pair_key(pair);
    let mut before = on_pair(log, config, pair)?;
    let topic: Arc<str> = config.full_name(DECISIONS).into();
    let mut producer = log.producer()?;
    producer.send(record(&topic, key.clone().into_bytes(), Some(json(&decision))))?;
    before.records.retain(|(other, _)| *other != key.as_bytes());
    before.withdraw(&topic, &mut *producer)?;
    producer.flush()?;
    Ok(Decided { key, decision: Some(decision), replaced: before.decisions })
}

/// Takes back what was said of two listings.
///
/// # Errors
/// When nothing was, or the log fails.
pub fn withdraw(log: &dyn Log, config: &Runtime, listings: [ListingRef; 2]) -> Result<Decided, DecideError> {
    let [a, b] = &listings;
    let pair = ordered(a, b).ok_or(DecideError::OneListing)?;
    let before = on_pair(log, config, pair)?;
    if before.records.is_empty() {
        return Err(DecideError::NoDecision { a: a.to_string(), b: b.to_string() });
    }
    let topic: Arc<str> = config.full_name(DECISIONS).into();
    let mut producer = log.producer()?;
    before.withdraw(&topic, &mut *producer)?;
    producer.flush()?;
    Ok(Decided { key: pair_key(pair), decision: None, replaced: before.decisions })
}

/// `headwater decide`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
A listing is named SOURCE/ID, with the source's own id, or by its id on the topics listings and links. \
A later decision on a pair takes the place of an earlier one, whichever way round the two are named.

Examples:
  headwater decide same city-guide/1234 meetup/987 --by kim --because 'asked the venue'
  headwater decide different city-guide/1234 ticket-office/55 --because 'two stages'
  headwater decide list --open                  what is overruled, waits or is not read yet
  headwater decide withdraw city-guide/1234 meetup/987")]
pub enum DecideArgs {
    /// The two listings are one event
    #[command(after_help = "\
Examples:
  headwater decide same city-guide/1234 meetup/987
  headwater decide same city-guide/1234 meetup/987 --by kim --because 'asked the venue' --json")]
    Same(DecideOn),
    /// The two listings are not one event
    #[command(after_help = "\
Examples:
  headwater decide different city-guide/1234 ticket-office/55
  headwater decide different city-guide/1234 ticket-office/55 --because 'two stages'")]
    Different(DecideOn),
    /// Take back what was said of two listings
    Withdraw(WithdrawArgs),
    /// List the decisions, and what became of each
    List(DecisionsArgs),
}

/// `headwater decide same` and `headwater decide different`.
#[derive(Debug, Clone, Args)]
pub struct DecideOn {
    /// One listing: SOURCE/ID, or its id
    #[arg(value_parser = parse_listing)]
    pub a: ListingRef,
    /// The other one
    #[arg(value_parser = parse_listing)]
    pub b: ListingRef,
    /// Who decides [default: $USER, $LOGNAME, or else the system's name for the user]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater decide withdraw`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater decide withdraw city-guide/1234 meetup/987
  headwater decide withdraw city-guide/1234 meetup/987 --json")]
pub struct WithdrawArgs {
    /// One listing: SOURCE/ID, or its id
    #[arg(value_parser = parse_listing)]
    pub a: ListingRef,
    /// The other one
    #[arg(value_parser = parse_listing)]
    pub b: ListingRef,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater decide list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
States: holds (followed), waits (a listing is not live), overruled (newer decisions leave no room for \
it), pending (the topology has not read it yet), superseded (a newer one is on the pair, under \
another key).

Examples:
  headwater decide list
  headwater decide list --open
  headwater decide list --listing city-guide/1234 --json")]
pub struct DecisionsArgs {
    /// Only those that name this listing
    #[arg(long, value_name = "LISTING", value_parser = parse_listing)]
    pub listing: Option<ListingRef>,
    /// Only those that do not hold: overruled, waiting, pending
    #[arg(long)]
    pub open: bool,
    /// One JSON object a decision
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl DecideArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run(self) -> Outcome {
        match self {
            Self::Same(on) => on.run(Say::Same),
            Self::Different(on) => on.run(Say::Different),
            Self::Withdraw(args) => {
                let Opened { config, log, .. } = opened::<Sections>(&args.config)?;
                let changed = withdraw(log.as_ref(), &config.runtime, [args.a, args.b])?;
                print_result(&changed, args.json)
            }
            Self::List(args) => {
                let Opened { config, log, .. } = opened::<Sections>(&args.config)?;
                let options = ListOptions { listing: args.listing, open: args.open, json: args.json };
                Ok(list(log.as_ref(), &config.runtime, &options, &mut io::stdout())?)
            }
        }
    }
}

impl DecideOn {
    fn run(self, say: Say) -> Outcome {
        let who = who(self.by, |variable| std::env::var(variable).ok(), system_user)?;
        let Opened { config, log, .. } = opened::<Sections>(&self.config)?;
        let new = NewDecision {
            say,
            listings: [self.a, self.b],
            who,
            why: self.because,
            at_ms: jiff::Timestamp::now().as_millisecond(),
        };
        let changed = decide(log.as_ref(), &config.runtime, new)?;
        print_result(&changed, self.json)
    }
}

/// Who decides: as named, or else as the environment or the `system` names the user. In a container there is
/// often no variable.
fn who(
    by: Option<String>,
    variable: impl Fn(&str) -> Option<String>,
    system: impl FnOnce() -> Option<String>,
) -> Result<String, DecideError> {
    let named = [by, variable("USER"), variable("LOGNAME")].into_iter().flatten();
    let is_name = |name: &String| !name.trim().is_empty();
    named.into_iter().find(is_name).or_else(|| system().filter(is_name)).ok_or(DecideError::Nobody)
}

/// The user of this process: a name, or a number where it has no name.
fn system_user() -> Option<String> {
    let ask = |flags: &str| {
        let said = Command::new("id").arg(flags).stderr(Stdio::null()).output().ok()?;
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    ask("-un").or_else(|| Some(format!("user {}", ask("-u")?)))
}

fn ordered(a: &ListingRef, b: &ListingRef) -> Option<Pair> {
    let (a, b) = (a.id(), b.id());
    (a != b).then(|| (a.min(b), a.max(b)))
}

/// The records on one pair: people may have written them under keys of their own.
struct OnPair {
    records: Vec<(Vec<u8>, Decision)>,
    /// The same, the newest first.
    decisions: Vec<Decision>,
}

impl OnPair {
    fn withdraw(&self, topic: &Arc<str>, producer: &mut dyn Producer) -> Result<(), ToolError> {
        for (key, _) in &self.records {
            producer.send(record(topic, key.clone(), None))?;
        }
        Ok(())
    }
}

fn on_pair(log: &dyn Log, config: &Runtime, pair: Pair) -> Result<OnPair, ToolError> {
    log.ensure_topics(&[config.topic_spec(DECISIONS)])?;
    let mut records = known(log, config)?.records;
    records.retain(|(_, decision)| decision.pair() == Some(pair));
    let mut decisions: Vec<Decision> = records.iter().map(|(_, decision)| decision.clone()).collect();
    decisions.sort_by(|a, b| b.rank().cmp(&a.rank()));
    Ok(OnPair { records, decisions })
}

fn record(topic: &Arc<str>, key: Vec<u8>, value: Option<Bytes>) -> NewRecord {
    NewRecord { topic: Arc::clone(topic), key: Some(key.into()), value, headers: Vec::new(), timestamp_ms: None }
}

/// The latest record of every key of a compacted topic; empty where there is no such topic.
fn table(log: &dyn Log, topic: &str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ToolError> {
    let mut table = BTreeMap::new();
    read_to_end(log, topic, |record| -> Result<(), ToolError> {
        match (record.key, record.value) {
            (Some(key), Some(value)) => drop(table.insert(key, value)),
            (Some(key), None) => drop(table.remove(&key)),
            (None, _) => {}
        }
        Ok(())
    })?;
    Ok(table)
}

struct KnownDecisions {
    records: Vec<(Vec<u8>, Decision)>,
    /// Records that are no decisions.
    unreadable: usize,
}

fn known(log: &dyn Log, config: &Runtime) -> Result<KnownDecisions, ToolError> {
    let mut known = KnownDecisions { records: Vec::new(), unreadable: 0 };
    for (key, value) in table(log, &config.full_name(DECISIONS))? {
        match serde_json::from_slice::<Decision>(&value) {
            Ok(decision) => known.records.push((key, decision)),
            Err(_) => known.unreadable += 1,
        }
    }
    Ok(known)
}

/// What became of a listed decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ListedState {
    /// Newer decisions and a "different" leave no room for it.
    Overruled,
    /// A listing that it names is not live.
    Waits,
    /// The topology has not told yet: it is not running, or has not read it.
    Pending,
    /// It is followed.
    Holds,
    /// There is a newer one on the pair, under another key.
    Superseded,
}

impl ListedState {
    /// As printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overruled => "overruled",
            Self::Waits => "waits",
            Self::Pending => "pending",
            Self::Holds => "holds",
            Self::Superseded => "superseded",
        }
    }
}

impl From<DecisionState> for ListedState {
    fn from(state: DecisionState) -> Self {
        match state {
            DecisionState::Holds => Self::Holds,
            DecisionState::Waits => Self::Waits,
            DecisionState::Overruled => Self::Overruled,
        }
    }
}

/// A decision with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Key of its record.
    pub key: String,
    /// What became of it.
    pub state: ListedState,
    /// The decision.
    pub decision: Decision,
    /// The listings that it waits for.
    pub missing: Vec<ListingRef>,
    /// The decisions that do not let it hold.
    pub overruled_by: Vec<Decision>,
}

/// All decisions, those that need a person's eye first, then by time; and how many records of the
/// topic are no decisions.
///
/// # Errors
/// When the log fails.
pub fn decisions(log: &dyn Log, config: &Runtime) -> Result<(Vec<Listed>, usize), ToolError> {
    let known = known(log, config)?;
    let reports: HashMap<Vec<u8>, DecisionReport> = table(log, &config.full_name("decision-reports"))?
        .into_iter()
        .filter_map(|(key, value)| Some((key, serde_json::from_slice(&value).ok()?)))
        .collect();
    let mut counting: HashMap<Pair, &Decision> = HashMap::new();
    for (_, decision) in &known.records {
        let Some(pair) = decision.pair() else { continue };
        let counts = counting.entry(pair).or_insert(decision);
        if counts.rank() < decision.rank() {
            *counts = decision;
        }
    }
    let mut listed: Vec<Listed> = known
        .records
        .iter()
        .filter_map(|(key, decision)| {
            let pair = decision.pair()?;
            let counts = counting.get(&pair).is_some_and(|counts| *counts == decision);
            let report = reports.get(pair_key(pair).as_bytes()).filter(|report| *report.decision == *decision);
            Some(Listed {
                key: String::from_utf8_lossy(key).into_owned(),
                state: match (counts, report) {
                    (false, _) => ListedState::Superseded,
                    (true, None) => ListedState::Pending,
                    (true, Some(report)) => report.state.into(),
                },
                decision: decision.clone(),
                missing: report.filter(|_| counts).map(|report| report.missing.clone()).unwrap_or_default(),
                overruled_by: report
                    .filter(|_| counts)
                    .map(|report| report.overruled_by.iter().map(|by| (**by).clone()).collect())
                    .unwrap_or_default(),
            })
        })
        .collect();
    listed.sort_by(|a, b| (a.state, a.decision.rank(), &a.key).cmp(&(b.state, b.decision.rank(), &b.key)));
    Ok((listed, known.unreadable))
}

/// Which decisions are listed, and how.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only those that name this listing.
    pub listing: Option<ListingRef>,
    /// Only those that do not hold: overruled, waiting, pending.
    pub open: bool,
    /// One JSON object a line.
    pub json: bool,
}

/// Prints the decisions: a table, or with `json` one JSON object a line.
///
/// # Errors
/// When the log fails, or nothing can be printed.
pub fn list(log: &dyn Log, config: &Runtime, options: &ListOptions, out: &mut dyn Write) -> Result<(), ToolError> {
    let (mut listed, unreadable) = decisions(log, config)?;
    listed.retain(|one| {
        let ruling = one.decision.ruling();
        let named = |listing: &ListingRef| [ruling.a.id(), ruling.b.id()].contains(&listing.id());
        let open = matches!(one.state, ListedState::Overruled | ListedState::Waits | ListedState::Pending);
        options.listing.as_ref().is_none_or(named) && (open || !options.open)
    });
    let printed = if options.json { print_json(&listed, out) } else { print_table(&listed, out) };
    if !still_read(printed)? {
        return Ok(());
    }
    if unreadable > 0 {
        let code = "headwater dead-letters list --code invalid-control";
        eprintln!("{unreadable} records of the topic are no decisions; `{code}` shows why");
    }
    if listed.is_empty() && !options.json {
        eprintln!("no decisions");
    }
    Ok(())
}

fn print_json(listed: &[Listed], out: &mut dyn Write) -> io::Result<()> {
    for one in listed {
        serde_json::to_writer(&mut *out, one)?;
        writeln!(out)?;
    }
    Ok(())
}

fn print_table(listed: &[Listed], out: &mut dyn Write) -> io::Result<()> {
    if listed.is_empty() {
        return Ok(());
    }
    let pairs: Vec<String> = listed.iter().map(|one| pair_text(&one.decision)).collect();
    let widest = pairs.iter().map(|pair| pair.chars().count()).fold("LISTINGS".len(), usize::max);
    let who = listed.iter().map(|one| one.decision.ruling().who.chars().count()).fold("BY".len(), usize::max);
    writeln!(out, "STATE       SAYS       {:widest$}  {:who$}  WHEN                  BECAUSE", "LISTINGS", "BY")?;
    for (one, pair) in listed.iter().zip(&pairs) {
        let ruling = one.decision.ruling();
        let why = ruling.why.as_deref().unwrap_or("");
        let (state, says) = (one.state.as_str(), says(&one.decision));
        writeln!(out, "{state:10}  {says:9}  {pair:widest$}  {:who$}  {}  {why}", ruling.who, when(ruling.at))?;
        for missing in &one.missing {
            writeln!(out, "            not live: {missing}")?;
        }
        for by in &one.overruled_by {
            writeln!(out, "            overruled by {}", describe(by))?;
        }
    }
    Ok(())
}

fn says(decision: &Decision) -> &'static str {
    if decision.is_same() { "same" } else { "different" }
}

fn pair_text(decision: &Decision) -> String {
    let ruling = decision.ruling();
    format!("{} + {}", ruling.a, ruling.b)
}

fn when(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| format!("{at:.0}"))
}

/// A decision in a line of text.
pub fn describe(decision: &Decision) -> String {
    let ruling = decision.ruling();
    let why = ruling.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} {} ({}, {}{why})", says(decision), pair_text(decision), ruling.who, when(ruling.at))
}

impl std::fmt::Display for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.decision {
            Some(decision) => write!(f, "decided: {}", describe(decision))?,
            None => write!(f, "withdrawn")?,
        }
        for before in &self.replaced {
            let word = if self.decision.is_some() { "in place of" } else { "was" };
            write!(f, "\n  {word}: {}", describe(before))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decides_is_named_by_hand_or_by_the_system() {
        let in_system = |by: Option<&str>, variables: &[(&str, &str)], system: Option<&str>| {
            let of = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            who(by.map(str::to_owned), of, || system.map(str::to_owned)).map_err(|error| error.to_string())
        };
        let named = |by, variables: &[(&str, &str)]| in_system(by, variables, None);
        let both = [("USER", "root"), ("LOGNAME", "kim")];
        assert_eq!(named(Some("ada"), &both), Ok("ada".to_owned()));
        assert_eq!(named(None, &both), Ok("root".to_owned()));
        assert_eq!(named(None, &[("USER", ""), ("LOGNAME", "kim")]), Ok("kim".to_owned()));
        assert!(named(None, &[]).unwrap_err().contains("--by"));
        assert_eq!(in_system(None, &[("USER", " ")], Some("user 1000")), Ok("user 1000".to_owned()));
        assert_eq!(in_system(None, &both, Some("user 1000")), Ok("root".to_owned()));
    }

    #[test]
    fn listings_are_named_by_source_and_id_or_by_their_id() {
        assert_eq!(parse_listing("city/a/b"), Ok(ListingName::new("city", "a/b").into()));
        let id = ListingName::new("city", "1").id();
        assert_eq!(parse_listing(&id.to_string()), Ok(ListingRef::Id(id)));
        for wrong in ["", "city", "/1", "city/", "00ff", "zz3456789012345678901234567890zz"] {
            assert!(parse_listing(wrong).is_err(), "{wrong}");
        }
    }
}
