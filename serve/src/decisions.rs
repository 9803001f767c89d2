//! Decisions: a person's word on whether two listings are one event, or on whether one is to be shown; given, taken
//! back and listed.
//!
//! A decision is a record of the topic `decisions`; its key stands for the pair, whichever way round the two are
//! named, or for the listing, so that the next one on it replaces it. The topology follows it at once and tells on
//! the topic `decision-reports` what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use headwater::config::Runtime;
use headwater::dataflow::buffer::json;
use headwater::error::{Domain, Fault};
use headwater::log::{Log, LogError, NewRecord, read_to_end};
use headwater::tools::ToolError;
use headwater_operators::resolve::{
    Decision, DecisionReport, DecisionState, ListingName, ListingRef, Moderated, Moderation, Ruling, Subject,
};
use serde::{Deserialize, Serialize};

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
    /// There is no decision to take back.
    #[error("there is no decision on {a} and {b}")]
    NoDecision {
        /// One listing.
        a: String,
        /// The other one.
        b: String,
    },
    /// Nobody has said anything that could be taken back.
    #[error("nobody has approved, flagged or rejected {listings}")]
    NoModeration {
        /// The listings.
        listings: String,
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
            Self::OneListing | Self::NoDecision { .. } | Self::NoModeration { .. } => Domain::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::OneListing => None,
            Self::NoDecision { .. } | Self::NoModeration { .. } => {
                Some("`headwater decide list` shows those there are".to_owned())
            }
        }
    }
}

/// What a person says of two listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// An editor's word on some listings, to be written.
#[derive(Debug, Clone)]
pub struct NewModeration {
    /// What is said.
    pub moderation: Moderation,
    /// Of which listings.
    pub listings: Vec<ListingRef>,
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
    /// Key of the pair or the listing.
    pub key: String,
    /// What holds on it from now on; `None` for nothing.
    pub decision: Option<Decision>,
    /// What was said of it before, the newest first.
    pub replaced: Vec<Decision>,
}

/// A change of decisions, to be written.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it changes.
    pub decided: Decided,
    /// The records that make it.
    pub records: Vec<NewRecord>,
}

impl Change {
    /// Writes it, and gives what was changed.
    ///
    /// # Errors
    /// When the log fails.
    pub fn write(self, log: &dyn Log) -> Result<Decided, DecideError> {
        let mut producer = log.producer()?;
        self.records.into_iter().try_for_each(|record| producer.send(record))?;
        producer.flush()?;
        Ok(self.decided)
    }
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

/// What a decision would change, in place of what was said of the pair before. Nothing is written.
///
/// # Errors
/// When it is on a listing and itself, or the log fails.
pub fn decide(log: &dyn Log, config: &Runtime, new: NewDecision) -> Result<Change, DecideError> {
    let [a, b] = new.listings;
    let ruling = Ruling { a, b, who: new.who.into(), why: new.why, at: new.at_ms };
    let decision = match new.say {
        Say::Same => Decision::Same(ruling),
        Say::Different => Decision::Different(ruling),
    };
    let subject = decision.subject().ok_or(DecideError::OneListing)?;
    Ok(KnownDecisions::of(log, config)?.change(config, subject, Some(decision)))
}

/// What taking back would change that was said of two listings. Nothing is written.
///
/// # Errors
/// When nothing was, or the log fails.
pub fn withdraw(log: &dyn Log, config: &Runtime, listings: [ListingRef; 2]) -> Result<Change, DecideError> {
    let [a, b] = &listings;
    let (x, y) = (a.id(), b.id());
    let subject = (x != y).then(|| Subject::Pair((x.min(y), x.max(y)))).ok_or(DecideError::OneListing)?;
    let change = KnownDecisions::of(log, config)?.change(config, subject, None);
    if change.records.is_empty() {
        return Err(DecideError::NoDecision { a: a.to_string(), b: b.to_string() });
    }
    Ok(change)
}

/// What an editor's word would change, for each of the listings, in place of what was said of it before. Nothing is
/// written.
///
/// # Errors
/// When the log fails.
pub fn moderate(log: &dyn Log, config: &Runtime, new: NewModeration) -> Result<Vec<Change>, DecideError> {
    let NewModeration { moderation, listings, who, why, at_ms } = new;
    let known = KnownDecisions::of(log, config)?;
    let change = |listing: ListingRef| {
        let subject = Subject::Listing(listing.id());
        let moderated = Moderated { moderation, listing, who: who.as_str().into(), why: why.clone(), at: at_ms };
        known.change(config, subject, Some(Decision::Moderate(moderated)))
    };
    Ok(listings.into_iter().map(change).collect())
}

/// What taking back would change that editors said of listings, for each of which they said anything. Nothing is
/// written.
///
/// # Errors
/// When they said nothing of any of them, or the log fails.
pub fn unmoderate(log: &dyn Log, config: &Runtime, listings: &[ListingRef]) -> Result<Vec<Change>, DecideError> {
    let known = KnownDecisions::of(log, config)?;
    let change = |listing: &ListingRef| known.change(config, Subject::Listing(listing.id()), None);
    let changes: Vec<Change> = listings.iter().map(change).filter(|change| !change.records.is_empty()).collect();
    if changes.is_empty() {
        return Err(DecideError::NoModeration { listings: text_of(listings) });
    }
    Ok(changes)
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

/// All decisions that there are.
struct KnownDecisions {
    records: Vec<(Vec<u8>, Decision)>,
    /// Records that are no decisions.
    unreadable: usize,
}

impl KnownDecisions {
    /// Those on a log, whose topic of them is made where it is missing.
    fn of(log: &dyn Log, config: &Runtime) -> Result<Self, ToolError> {
        log.ensure_topics(&[config.topic_spec(DECISIONS)])?;
        Self::read(log, config)
    }

    fn read(log: &dyn Log, config: &Runtime) -> Result<Self, ToolError> {
        let mut known = Self { records: Vec::new(), unreadable: 0 };
        for (key, value) in table(log, &config.full_name(DECISIONS))? {
            match serde_json::from_slice::<Decision>(&value) {
                Ok(decision) => known.records.push((key, decision)),
                Err(_) => known.unreadable += 1,
            }
        }
        Ok(known)
    }

    /// Puts `decision`, or nothing, in place of all records on `subject`: people may have written them under keys
    /// of their own.
    fn change(&self, config: &Runtime, subject: Subject, decision: Option<Decision>) -> Change {
        let key = subject.to_string();
        let topic: Arc<str> = config.full_name(DECISIONS).into();
        let former = || self.records.iter().filter(|(_, former)| former.subject() == Some(subject));
        let mut replaced: Vec<Decision> = former().map(|(_, decision)| decision.clone()).collect();
        replaced.sort_by(|a, b| b.rank().cmp(&a.rank()));
        let written = decision.iter().map(|decision| record(&topic, key.clone().into_bytes(), Some(json(decision))));
        let stays = |former: &[u8]| decision.is_some() && former == key.as_bytes();
        let gone = former().filter(|(former, _)| !stays(former)).map(|(key, _)| record(&topic, key.clone(), None));
        let records = written.chain(gone).collect();
        Change { decided: Decided { key, decision, replaced }, records }
    }
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
    /// There is a newer one on the same, under another key.
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

impl Listed {
    /// Whether it is among those that are asked for: on a listing, and those that do not hold.
    pub fn is_meant(&self, listing: Option<&ListingRef>, open: bool) -> bool {
        let named = |listing: &ListingRef| self.decision.listings().iter().any(|one| one.id() == listing.id());
        let is_open = matches!(self.state, ListedState::Overruled | ListedState::Waits | ListedState::Pending);
        listing.is_none_or(named) && (is_open || !open)
    }
}

/// All decisions, those that need a person's eye first, then by time; and how many records of the
/// topic are no decisions.
///
/// # Errors
/// When the log fails.
pub fn decisions(log: &dyn Log, config: &Runtime) -> Result<(Vec<Listed>, usize), ToolError> {
    let known = KnownDecisions::read(log, config)?;
    let reports: HashMap<Vec<u8>, DecisionReport> = table(log, &config.full_name("decision-reports"))?
        .into_iter()
        .filter_map(|(key, value)| Some((key, serde_json::from_slice(&value).ok()?)))
        .collect();
    let mut counting: HashMap<Subject, &Decision> = HashMap::new();
    for (_, decision) in &known.records {
        let Some(subject) = decision.subject() else { continue };
        let counts = counting.entry(subject).or_insert(decision);
        if counts.rank() < decision.rank() {
            *counts = decision;
        }
    }
    let mut listed: Vec<Listed> = known
        .records
        .iter()
        .filter_map(|(key, decision)| {
            let subject = decision.subject()?;
            let counts = counting.get(&subject).is_some_and(|counts| *counts == decision);
            let report = reports.get(subject.to_string().as_bytes()).filter(|report| *report.decision == *decision);
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

/// What it says, in a word.
pub fn says(decision: &Decision) -> &'static str {
    match decision {
        Decision::Same(_) => "same",
        Decision::Different(_) => "different",
        Decision::Moderate(moderated) => moderated.moderation.name(),
    }
}

/// The listings that it names.
pub fn listings_text(decision: &Decision) -> String {
    text_of(decision.listings())
}

fn text_of<'l>(listings: impl IntoIterator<Item = &'l ListingRef>) -> String {
    listings.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")
}

/// When it was made, for people.
pub fn when(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| format!("{at:.0}"))
}

/// A decision in a line of text.
pub fn describe(decision: &Decision) -> String {
    let why = decision.why().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} {} ({}, {}{why})", says(decision), listings_text(decision), decision.who(), when(decision.at()))
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
    fn listings_are_named_by_source_and_id_or_by_their_id() {
        assert_eq!(parse_listing("city/a/b"), Ok(ListingName::new("city", "a/b").into()));
        let id = ListingName::new("city", "1").id();
        assert_eq!(parse_listing(&id.to_string()), Ok(ListingRef::Id(id)));
        for wrong in ["", "city", "/1", "city/", "00ff", "zz3456789012345678901234567890zz"] {
            assert!(parse_listing(wrong).is_err(), "{wrong}");
        }
    }
}
