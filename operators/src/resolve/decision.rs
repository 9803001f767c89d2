//! [`Decision`]: a person's word on whether two listings are the same event, or on whether one is to be shown,
//! and [`DecisionReport`]: what became of it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::{SmallVec, smallvec};
use smol_str::SmolStr;

use crate::ids::ListingId;
use crate::moment::rfc3339_ms;
use crate::shared::Shared;

/// A listing by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListingName {
    /// Its source.
    pub source: SmolStr,
    /// The source's id for it.
    pub external_id: SmolStr,
}

impl ListingName {
    /// The listing `external_id` of `source`.
    pub fn new(source: &str, external_id: &str) -> Self {
        Self { source: source.into(), external_id: external_id.into() }
    }

    /// The compact stand-in.
    pub fn id(&self) -> ListingId {
        ListingId::of(&self.source, &self.external_id)
    }
}

/// A listing as a decision names it. In JSON `{"source": …, "externalId": …}` or `{"listing": id}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListingRef {
    /// By name.
    Name(ListingName),
    /// By the compact stand-in, as the topics `listings` and `links` show it.
    Id(ListingId),
}

impl ListingRef {
    /// The compact stand-in.
    pub fn id(&self) -> ListingId {
        match self {
            Self::Name(name) => name.id(),
            Self::Id(id) => *id,
        }
    }
}

impl From<ListingName> for ListingRef {
    fn from(name: ListingName) -> Self {
        Self::Name(name)
    }
}

/// `source/external-id`, or the id.
impl std::fmt::Display for ListingRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(ListingName { source, external_id }) => write!(f, "{source}/{external_id}"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// All that JSON may say of a listing.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listing: Option<ListingId>,
}

impl Serialize for ListingRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) if serializer.is_human_readable() => name.serialize(serializer),
            Self::Id(id) if serializer.is_human_readable() => {
                RefForm { source: None, external_id: None, listing: Some(*id) }.serialize(serializer)
            }
            Self::Name(name) => Ok::<_, &ListingId>(name).serialize(serializer),
            Self::Id(id) => Err::<&ListingName, _>(id).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ListingRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let either = Result::<ListingName, ListingId>::deserialize(deserializer)?;
            return Ok(either.map_or_else(Self::Id, Self::Name));
        }
        match RefForm::deserialize(deserializer)? {
            RefForm { source: Some(source), external_id: Some(external_id), listing: None } => {
                Ok(Self::Name(ListingName { source, external_id }))
            }
            RefForm { source: None, external_id: None, listing: Some(id) } => Ok(Self::Id(id)),
            _ => Err(D::Error::custom("a listing is named by source and externalId, or else by listing")),
        }
    }
}

/// What was decided on which pair, by whom, why and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ruling {
    /// One listing.
    pub a: ListingRef,
    /// The other one.
    pub b: ListingRef,
    /// Who decided.
    pub who: SmolStr,
    /// Why.
    pub why: Option<String>,
    /// When, in ms since the Unix epoch.
    #[serde(with = "rfc3339_ms")]
    pub at: i64,
}

/// What an editor says of an event; the later in this order, the graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moderation {
    /// It was looked at, and is right.
    Approved,
    /// Somebody should look at it.
    Flagged,
    /// It is not to be shown.
    Rejected,
}

impl Moderation {
    /// All of them, from the lightest to the gravest.
    pub const ALL: [Self; 3] = [Self::Approved, Self::Flagged, Self::Rejected];

    /// As records spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Flagged => "flagged",
            Self::Rejected => "rejected",
        }
    }
}

/// What was said of which listing, by whom, why and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moderated {
    /// What is said of it.
    pub moderation: Moderation,
    /// The listing.
    pub listing: ListingRef,
    /// Who decided.
    pub who: SmolStr,
    /// Why.
    pub why: Option<String>,
    /// When, in ms since the Unix epoch.
    #[serde(with = "rfc3339_ms")]
    pub at: i64,
}

/// Two listings, the lesser id first: what a decision is on, whichever way round it names them.
pub type Pair = (ListingId, ListingId);

/// What a decision is on. Of several decisions on one subject the newest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// Whether two listings are one event.
    Pair(Pair),
    /// Whether one is to be shown.
    Listing(ListingId),
}

/// The key of its records on the topics `decisions` and `decision-reports`.
///
/// ```
/// use headwater_operators::ListingId;
/// use headwater_operators::resolve::Subject;
/// assert_eq!(Subject::Pair((ListingId(1), ListingId(2))).to_string().len(), 65);
/// assert_eq!(Subject::Listing(ListingId(1)).to_string(), ListingId(1).to_string());
/// ```
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pair((a, b)) => write!(f, "{a}-{b}"),
            Self::Listing(listing) => write!(f, "{listing}"),
        }
    }
}

/// A person's word on two listings, or on one. The newest on a [`Subject`] holds.
///
/// ```
/// use headwater_operators::resolve::Decision;
/// let text = r#"{"different": {"a": {"source": "x", "externalId": "1"},
///     "b": {"source": "y", "externalId": "7"}, "who": "kim", "why": null, "at": "2026-03-28T19:30:00Z"}}"#;
/// let decision: Decision = serde_json::from_str(text).unwrap();
/// assert!(matches!(&decision, Decision::Different(ruling) if ruling.b.to_string() == "y/7"));
/// let itself = text.replace("y", "x").replace("7", "1");
/// assert!(serde_json::from_str::<Decision>(&itself).is_err());
/// let text = r#"{"moderate": {"listing": {"source": "x", "externalId": "1"}, "moderation": "rejected",
///     "who": "kim", "why": "spam", "at": "2026-03-28T19:30:00Z"}}"#;
/// let decision: Decision = serde_json::from_str(text).unwrap();
/// assert!(decision.pair().is_none() && decision.subject().is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Form")]
pub enum Decision {
    /// The two are one event.
    Same(Ruling),
    /// The two are not.
    Different(Ruling),
    /// An editor's word on what a listing tells of.
    Moderate(Moderated),
}

/// A decision before it is known to be on two listings.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Form {
    Same(Ruling),
    Different(Ruling),
    Moderate(Moderated),
}

impl TryFrom<Form> for Decision {
    type Error = &'static str;

    fn try_from(form: Form) -> Result<Self, Self::Error> {
        let decision = match form {
            Form::Same(ruling) => Self::Same(ruling),
            Form::Different(ruling) => Self::Different(ruling),
            Form::Moderate(moderated) => Self::Moderate(moderated),
        };
        decision.subject().map(|_| ()).ok_or("a decision is on two listings, not on one and itself")?;
        Ok(decision)
    }
}

impl Decision {
    /// The listings that it names: two, or the one that is moderated.
    pub fn listings(&self) -> SmallVec<[&ListingRef; 2]> {
        match self {
            Self::Same(Ruling { a, b, .. }) | Self::Different(Ruling { a, b, .. }) => smallvec![a, b],
            Self::Moderate(Moderated { listing, .. }) => smallvec![listing],
        }
    }

    /// Who decided.
    pub fn who(&self) -> &str {
        match self {
            Self::Same(ruling) | Self::Different(ruling) => &ruling.who,
            Self::Moderate(moderated) => &moderated.who,
        }
    }

    /// Why.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Same(ruling) | Self::Different(ruling) => ruling.why.as_deref(),
            Self::Moderate(moderated) => moderated.why.as_deref(),
        }
    }

    /// When, in ms since the Unix epoch.
    pub fn at(&self) -> i64 {
        match self {
            Self::Same(ruling) | Self::Different(ruling) => ruling.at,
            Self::Moderate(moderated) => moderated.at,
        }
    }

    /// Whether the two are the same event.
    pub fn is_same(&self) -> bool {
        matches!(self, Self::Same(_))
    }

    /// What an editor says of a listing; `None` where it is on two.
    pub fn moderation(&self) -> Option<Moderation> {
        match self {
            Self::Moderate(moderated) => Some(moderated.moderation),
            Self::Same(_) | Self::Different(_) => None,
        }
    }

    /// The pair; `None` for a listing and itself, and where it is on one listing.
    pub fn pair(&self) -> Option<Pair> {
        match self.subject()? {
            Subject::Pair(pair) => Some(pair),
            Subject::Listing(_) => None,
        }
    }

    /// What it is on; `None` for a listing and itself.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Same(Ruling { a, b, .. }) | Self::Different(Ruling { a, b, .. }) => {
                let (a, b) = (a.id(), b.id());
                (a != b).then(|| Subject::Pair((a.min(b), a.max(b))))
            }
            Self::Moderate(Moderated { listing, .. }) => Some(Subject::Listing(listing.id())),
        }
    }

    /// Of several decisions on a subject, the one with the greatest rank holds: the newest, and of those of one
    /// millisecond a "different" or the gravest moderation.
    pub fn rank(&self) -> (i64, &Self) {
        (self.at(), self)
    }
}

/// Decisions on one subject with their multiplicities: nearly always one, once.
#[derive(Debug, Default)]
pub(super) struct Known(SmallVec<[(Shared<Decision>, isize); 1]>);

impl Known {
    /// Takes in that a decision came or went.
    pub(super) fn change(&mut self, decision: Shared<Decision>, diff: isize) {
        match self.0.iter_mut().find(|(other, _)| *other == decision) {
            Some((_, count)) => *count += diff,
            None => self.0.push((decision, diff)),
        }
        self.0.retain(|(_, count)| *count != 0);
    }

    /// Whether nobody has said anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The decision that counts.
    pub(super) fn counting(&self) -> Option<&Shared<Decision>> {
        let present = self.0.iter().filter(|(_, count)| *count > 0).map(|(decision, _)| decision);
        present.max_by(|a, b| a.rank().cmp(&b.rank()))
    }
}

/// What becomes of a decision. One on a single listing holds or waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecisionState {
    /// It is followed.
    Holds,
    /// A listing that it names is not live: it is followed as soon as both are.
    Waits,
    /// A "same" that newer ones and a "different" leave no room for.
    Overruled,
}

/// A decision with what becomes of it at the moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionReport {
    /// The decision: of several on its subject, the one that counts.
    pub decision: Shared<Decision>,
    /// What becomes of it.
    pub state: DecisionState,
    /// Of a decision that waits, the listings that are not live.
    pub missing: Vec<ListingRef>,
    /// Of one that is overruled, the "different" decisions that do not let it hold, in the order of
    /// their pairs. Each stands between groups that newer "same" decisions, or none, have made.
    pub overruled_by: Vec<Shared<Decision>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(a: ListingRef) -> Ruling {
        Ruling { a, b: ListingName::new("y", "7/8").into(), who: "kim".into(), why: None, at: 0 }
    }

    #[test]
    fn listings_are_named_either_way() {
        let id = ListingName::new("x", "1").id();
        for (text, expected) in [
            (r#"{"source":"x","externalId":"1"}"#.to_owned(), ListingName::new("x", "1").into()),
            (format!(r#"{{"listing":"{id}"}}"#), ListingRef::Id(id)),
        ] {
            let read: ListingRef = serde_json::from_str(&text).unwrap();
            assert_eq!((&read, read.id()), (&expected, id));
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
            let decision = Decision::Same(ruling(read));
            let bytes = bincode::serialize(&decision).unwrap();
            assert_eq!(bincode::deserialize::<Decision>(&bytes).unwrap(), decision);
        }
        for wrong in [r#"{"source":"x"}"#, "{}", r#"{"source":"x","externalId":"1","listing":"1"}"#, r#"{"id":"1"}"#] {
            assert!(serde_json::from_str::<ListingRef>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listing_is_moderated_as_it_is_named() {
        let moderated = |moderation| {
            let listing = ListingName::new("x", "1").into();
            Decision::Moderate(Moderated { listing, moderation, who: "kim".into(), why: Some("spam".into()), at: 0 })
        };
        for moderation in Moderation::ALL {
            let decision = moderated(moderation);
            let json = serde_json::to_value(&decision).unwrap();
            assert_eq!(json["moderate"]["moderation"], moderation.name());
            assert_eq!(serde_json::from_value::<Decision>(json).unwrap(), decision);
            let bytes = bincode::serialize(&decision).unwrap();
            assert_eq!(bincode::deserialize::<Decision>(&bytes).unwrap(), decision);
            assert_eq!(decision.subject(), Some(Subject::Listing(ListingName::new("x", "1").id())));
        }
        assert!(Moderation::ALL.map(moderated).is_sorted_by(|a, b| a.rank() < b.rank()));
        let wrong = serde_json::to_string(&moderated(Moderation::Flagged)).unwrap().replace("flagged", "maybe");
        assert!(serde_json::from_str::<Decision>(&wrong).is_err());
    }

    #[test]
    fn the_newest_decision_ranks_first_and_of_one_moment_a_different() {
        let same = |at| Decision::Same(Ruling { at, ..ruling(ListingRef::Id(ListingId(1))) });
        let different = Decision::Different(ruling(ListingRef::Id(ListingId(1))));
        assert!(same(1).rank() > different.rank());
        assert!(same(0).rank() < different.rank());
    }
}
