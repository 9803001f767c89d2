//! Scores the quality of events: five gates, a weighted score, a letter, and for every shortcoming
//! a reason and what would mend it.
//!
//! Gates, thresholds and weights are data: they arrive as a collection, and a change of theirs
//! emits exactly the events whose report changes. Nothing here looks at a clock: what is far away
//! is measured from the time at which the event was first seen.

use std::cell::RefCell;
use std::collections::BTreeMap;

use differential_dataflow::{AsCollection, VecCollection};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Broadcast;

use crate::epochs::Epochs;
use crate::event::{Composed, Event, EventId, EventView};
use crate::gazetteer::country_code;
use crate::listing::{Amount, GeoPrecision, Ratio};
use crate::meter::Held;
use crate::moment::DAY_MS;
use crate::web;
use crate::zones;
use crate::{Epoch, Shared};

/// The five gates and what is made of them. The defaults are those of the design.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Title, start, place, address on the web, description. Weight 0.30, threshold 0.80.
    pub core_completeness: Gate,
    /// Whether what is there is well formed. Weight 0.25, threshold 0.85.
    pub format_accuracy: Gate,
    /// Whether it makes sense. Weight 0.20, threshold 0.70.
    pub business_logic: Gate,
    /// Whether it can be found on a map. Weight 0.15, threshold 0.60.
    pub geographic_data: Gate,
    /// Whether it is worth reading. Weight 0.10, threshold 0.50.
    pub content_quality: Gate,
    /// Score from which an event passes. Default 0.7.
    pub pass: Ratio,
    /// Least score for each letter.
    pub grades: Grades,
    /// Years after it was first seen at which the start of an event is absurd. Default 5.
    pub max_years_ahead: u16,
    /// Years before it was first seen at which the start of an event is absurd. Default 20.
    pub max_years_past: u16,
    /// Characters from which a description counts as full. Default 200.
    pub full_description_chars: u32,
}

/// One gate. The default lets everything pass and counts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Its share of the score, relative to the other weights, 0..=1.
    pub weight: Ratio,
    /// Score from which the gate is passed, 0..=1.
    pub threshold: Ratio,
    /// Whether an event that fails this gate fails as a whole, whatever its score.
    pub required: bool,
}

impl Gate {
    fn new(weight: f64, threshold: f64) -> Self {
        Self { weight: Ratio::new(weight), threshold: Ratio::new(threshold), required: false }
    }
}

/// Least score for each letter; what is below `d` is an F.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grades {
    /// Default 0.9.
    pub a: Ratio,
    /// Default 0.8.
    pub b: Ratio,
    /// Default 0.7.
    pub c: Ratio,
    /// Default 0.6.
    pub d: Ratio,
}

impl Default for Grades {
    fn default() -> Self {
        Self { a: Ratio::new(0.9), b: Ratio::new(0.8), c: Ratio::new(0.7), d: Ratio::new(0.6) }
    }
}

impl Grades {
    fn of(&self, score: Ratio) -> Grade {
        let letters = [(self.a, Grade::A), (self.b, Grade::B), (self.c, Grade::C), (self.d, Grade::D)];
        letters.into_iter().find(|(least, _)| score >= *least).map_or(Grade::F, |(_, letter)| letter)
    }
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            core_completeness: Gate::new(0.30, 0.80),
            format_accuracy: Gate::new(0.25, 0.85),
            business_logic: Gate::new(0.20, 0.70),
            geographic_data: Gate::new(0.15, 0.60),
            content_quality: Gate::new(0.10, 0.50),
            pass: Ratio::new(0.7),
            grades: Grades::default(),
            max_years_ahead: 5,
            max_years_past: 20,
            full_description_chars: 200,
        }
    }
}

/// A letter for a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the letters say it all")]
pub enum Grade {
    A,
    B,
    C,
    D,
    F,
}

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateName {
    /// Is everything there that an event cannot do without?
    CoreCompleteness,
    /// Is what is there well formed?
    FormatAccuracy,
    /// Does it make sense?
    BusinessLogic,
    /// Can it be found on a map?
    GeographicData,
    /// Is it worth reading?
    ContentQuality,
}

/// The verdict on an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Mean of the gates' scores by their weights.
    pub score: Ratio,
    /// Its letter.
    pub grade: Grade,
    /// Whether the score suffices and every required gate is passed.
    pub passed: bool,
    /// The gates, in the order of [`GateName`].
    pub gates: [GateReport; 5],
}

/// The verdict of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateReport {
    /// Which gate.
    pub gate: GateName,
    /// Its score.
    pub score: Ratio,
    /// Whether the score reaches the threshold.
    pub passed: bool,
    /// Everything that costs points, whether or not the gate is passed.
    pub reasons: Reasons,
}

/// Reasons, each at most once, in the order of [`Reason::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reasons(u32);

const _: () = assert!(Reason::ALL.len() <= u32::BITS as usize);

impl Reasons {
    fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u32;
    }

    /// The reasons.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.0 & (1 << *reason as u32) != 0)
    }

    /// How many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Reason> for Reasons {
    fn from_iter<I: IntoIterator<Item = Reason>>(reasons: I) -> Self {
        let mut all = Self::default();
        reasons.into_iter().for_each(|reason| all.add(reason));
        all
    }
}

/// An event with its report. As JSON, the fields of the event with `qualityScore`,
/// `qualityGrade`, `passed` and `gates` beside them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScoredEvent {
    /// The event.
    pub event: Composed,
    /// Its report.
    pub report: Report,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $code:literal $text:literal $mend:literal)*) => {
        /// Something that costs an event points. The codes are stable: tools filter by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Reason {
            /// All reasons there are.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable text form, such as `no-place`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What is wrong, for people.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What would mend it.
            pub fn recommendation(self) -> &'static str {
                match self { $(Self::$name => $mend,)* }
            }
        }
    };
}

reasons! {
    /// Core: the title is empty.
    NoTitle "no-title" "has no title" "give the event a title"
    /// Core: neither online nor with a venue, address or city.
    NoPlace "no-place" "says neither where it is nor that it is online" "name the venue, or mark the event as online"
    /// Core: no web address.
    NoUrl "no-url" "has no page of its own" "link to the page of the event"
    /// Core: no description.
    NoDescription "no-description" "has no description" "describe the event in a few sentences"
    /// Format: shorter than 3 or longer than 200 characters.
    TitleLength "title-length" "has a title shorter than 3 or longer than 200 characters" "use a title that fits on one line"
    /// Format: more than ten letters, none of them small.
    TitleShouts "title-shouts" "has a title in capital letters only" "write the title in normal case"
    /// Format: neither `http://` nor `https://`, or with spaces.
    InvalidUrl "invalid-url" "has a link that is not a web address" "use addresses that begin with https://"
    /// Format: not a name of the IANA database.
    UnknownTimezone "unknown-timezone" "names a time zone that does not exist" "use an IANA name such as Europe/Paris"
    /// Format: a currency that is not three capital letters, or prices without any.
    InvalidCurrency "invalid-currency" "has a price without a valid currency" "give the currency as an ISO 4217 code such as EUR"
    /// Format: not a country's name or code.
    UnknownCountry "unknown-country" "names a country that is not known" "give the country by its name or ISO 3166 code"
    /// Business: the end lies before the start.
    EndBeforeStart "end-before-start" "ends before it starts" "correct the start or the end"
    /// Business: too long after it was first seen.
    TooFarAhead "too-far-ahead" "starts absurdly late" "check the year of the start"
    /// Business: too long before it was first seen.
    TooLongAgo "too-long-ago" "was long over when it was first seen" "check the year of the start"
    /// Business: a price below zero.
    NegativePrice "negative-price" "has a price below zero" "correct the price"
    /// Business: the lowest price exceeds the highest.
    PriceRange "price-range" "has a lowest price above its highest" "swap or correct the prices"
    /// Business: zero or less.
    Capacity "capacity" "takes no people at all" "correct or leave out the capacity"
    /// Geography: no coordinates.
    NoCoordinates "no-coordinates" "has no coordinates" "give coordinates, or an address that can be found"
    /// Geography: coordinates of a city or street only.
    CoarseCoordinates "coarse-coordinates" "is located by its city or street only" "give the coordinates of the venue"
    /// Geography: neither venue nor address.
    NoVenue "no-venue" "names neither venue nor street address" "name the venue or give its address"
    /// Geography: no city.
    NoCity "no-city" "names no city" "name the city"
    /// Geography: no country.
    NoCountry "no-country" "names no country" "name the country"
    /// Content: no description, or a short one.
    ShortDescription "short-description" "says little about itself" "describe what happens, for whom, and what to bring"
    /// Content: no image.
    NoImage "no-image" "has no image" "add an image"
    /// Content: no category.
    NoCategory "no-category" "fits no category" "use words that say what kind of event it is"
    /// Content: no organizer.
    NoOrganizer "no-organizer" "does not say who is behind it" "name the organizer"
    /// Content: no tags.
    NoTags "no-tags" "has no tags" "add tags"
    /// Content: a single word.
    BareTitle "bare-title" "has a title of one word" "say in the title what happens"
}

/// Scores an event.
///
/// ```
/// use headwater_operators::score::{Gates, Reason, score};
/// # use headwater_operators::{Event, EventId};
/// # let mut event: Event = serde_json::from_value(serde_json::json!({
/// #     "id": EventId(1), "title": "Jazz in the Park", "tags": [], "startTime": "2026-03-28T19:30:00-07:00",
/// #     "allDay": false, "venue": {}, "online": false, "images": [], "urls": [], "status": "scheduled",
/// #     "listings": [], "fieldSources": {}, "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
/// # })).unwrap();
/// event.end_time = Some("2026-03-28T19:00:00-07:00".parse().unwrap());
/// let report = score(&event.view(), &Gates::default());
///
/// let logic = &report.gates[2];
/// assert!(!logic.passed);
/// assert!(logic.reasons.iter().eq([Reason::EndBeforeStart]));
/// assert_eq!(Reason::EndBeforeStart.recommendation(), "correct the start or the end");
/// ```
pub fn score(event: &EventView<'_>, gates: &Gates) -> Report {
    let checked = [
        (GateName::CoreCompleteness, gates.core_completeness, core_completeness(event)),
        (GateName::FormatAccuracy, gates.format_accuracy, format_accuracy(event)),
        (GateName::BusinessLogic, gates.business_logic, business_logic(event, gates)),
        (GateName::GeographicData, gates.geographic_data, geographic_data(event)),
        (GateName::ContentQuality, gates.content_quality, content_quality(event, gates)),
    ];
    let (mut sum, mut weights, mut required) = (0.0, 0.0, true);
    let reports = checked.map(|(name, gate, checks)| {
        let score = checks.score();
        let passed = score >= gate.threshold;
        sum += score.get() * gate.weight.get();
        weights += gate.weight.get();
        required &= passed || !gate.required;
        GateReport { gate: name, score, passed, reasons: checks.reasons }
    });
    let score = Ratio::new(if weights > 0.0 { sum / weights } else { 0.0 });
    Report { score, grade: gates.grades.of(score), passed: required && score >= gates.pass, gates: reports }
}

/// The checks of one gate: shares that were reached, of those that apply.
#[derive(Default)]
struct Checks {
    reached: f64,
    possible: f64,
    reasons: Reasons,
}

impl Checks {
    /// A check worth `share`, of which `part` (0..=1) is reached.
    fn partly(&mut self, share: f64, part: f64, reason: Reason) {
        self.possible += share;
        self.reached += share * part;
        if part < 1.0 {
            self.reasons.add(reason);
        }
    }

    fn check(&mut self, share: f64, good: bool, reason: Reason) {
        self.partly(share, f64::from(u8::from(good)), reason);
    }

    fn score(&self) -> Ratio {
        Ratio::new(if self.possible > 0.0 { self.reached / self.possible } else { 1.0 })
    }
}

fn present(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.trim().is_empty())
}

/// Shares: title 0.30, start 0.20, place 0.25, web address 0.15, description 0.10. So at the
/// default threshold an event may lack an address on the web or a description, not a place.
fn core_completeness(event: &EventView<'_>) -> Checks {
    let venue = &event.venue;
    let place = event.online || [venue.name, venue.address, venue.city].into_iter().any(present);
    // Every event has a start.
    let mut checks = Checks { reached: 0.20, possible: 0.20, ..Checks::default() };
    checks.check(0.30, !event.title.trim().is_empty(), Reason::NoTitle);
    checks.check(0.25, place, Reason::NoPlace);
    checks.check(0.15, !event.urls.is_empty(), Reason::NoUrl);
    checks.check(0.10, present(event.description), Reason::NoDescription);
    checks
}

/// Shares: title 0.40 (length 0.25, case 0.15), links 0.20, time zone, currency and country 0.10
/// each. What is absent is not checked.
fn format_accuracy(event: &EventView<'_>) -> Checks {
    let mut checks = Checks::default();
    let title_chars = event.title.chars().count();
    checks.check(0.25, (3..=200).contains(&title_chars), Reason::TitleLength);
    checks.check(0.15, !shouts(event.title), Reason::TitleShouts);
    let links = event.urls.len() + event.images.len();
    if links > 0 {
        let valid = event.urls.iter().chain(&event.images).filter(|url| is_web_address(url)).count();
        checks.partly(0.20, valid as f64 / links as f64, Reason::InvalidUrl);
    }
    if let Some(zone) = event.timezone {
        checks.check(0.10, zones::is_known(zone), Reason::UnknownTimezone);
    }
    if let Some(pricing) = event.pricing {
        let costs = [pricing.min, pricing.max].into_iter().flatten().any(|amount| amount != Amount(0));
        match pricing.currency {
            Some(code) => checks.check(0.10, is_currency(code), Reason::InvalidCurrency),
            None if costs => checks.check(0.10, false, Reason::InvalidCurrency),
            None => {}
        }
    }
    if let Some(country) = event.venue.country {
        checks.check(0.10, country_code(country).is_some(), Reason::UnknownCountry);
    }
    checks
}

fn shouts(title: &str) -> bool {
    let letters = || title.chars().filter(|c| c.is_alphabetic());
    letters().all(char::is_uppercase) && letters().take(11).count() > 10
}

fn is_web_address(url: &str) -> bool {
    // What is plain has a host and no spaces, and is told sooner.
    if web::plain(url).is_some() {
        return true;
    }
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) && !url.contains(char::is_whitespace)
}

/// The form of ISO 4217; the list itself changes too often to be worth embedding.
fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Starts at 1; each contradiction takes off more than the default threshold allows.
fn business_logic(event: &EventView<'_>, gates: &Gates) -> Checks {
    const PENALTY: f64 = 0.4;
    const YEAR_MS: i64 = 365 * DAY_MS + DAY_MS / 4;
    // Instants are what they are in any zone.
    let has_days = event.start_time.is_day() || event.end_time.is_some_and(|end| end.is_day());
    let zone = event.timezone.filter(|_| has_days).and_then(zones::zone);
    let start = event.start_time.earliest_ms(zone.as_ref());
    let ends_early = event.end_time.is_some_and(|end| end.latest_ms(zone.as_ref()) < start);
    let ahead = start.saturating_sub(event.first_seen);
    let (least, most) = event.pricing.map_or((None, None), |pricing| (pricing.min, pricing.max));
    let negative = [least, most].into_iter().flatten().any(|amount| amount < Amount(0));
    let reversed = least.zip(most).is_some_and(|(min, max)| min > max);

    let contradictions = [
        (ends_early, Reason::EndBeforeStart),
        (ahead > i64::from(gates.max_years_ahead) * YEAR_MS, Reason::TooFarAhead),
        (ahead < -i64::from(gates.max_years_past) * YEAR_MS, Reason::TooLongAgo),
        (negative, Reason::NegativePrice),
        (reversed, Reason::PriceRange),
        (event.capacity.is_some_and(|people| people <= 0), Reason::Capacity),
    ];
    let reasons: Reasons = contradictions.into_iter().filter(|(found, _)| *found).map(|(_, reason)| reason).collect();
    Checks { reached: 1.0 - PENALTY * reasons.len() as f64, possible: 1.0, reasons }
}

/// Shares: coordinates 0.60 (of a street 0.50, of a city 0.35), venue or address 0.20, city and
/// country 0.10 each. An event that is online and nowhere else needs none of it.
fn geographic_data(event: &EventView<'_>) -> Checks {
    let (venue, geo) = (&event.venue, event.venue.geo);
    let mut checks = Checks::default();
    let named = present(venue.name) || present(venue.address);
    if event.online && !named && !present(venue.city) && geo.is_none() {
        return checks;
    }
    let (part, reason) = match geo.map(|geo| geo.precision) {
        Some(GeoPrecision::Venue) => (0.60, Reason::CoarseCoordinates),
        Some(GeoPrecision::Street) => (0.50, Reason::CoarseCoordinates),
        Some(GeoPrecision::City) => (0.35, Reason::CoarseCoordinates),
        None => (0.0, Reason::NoCoordinates),
    };
    checks.partly(0.60, part / 0.60, reason);
    checks.check(0.20, named, Reason::NoVenue);
    checks.check(0.10, present(venue.city), Reason::NoCity);
    checks.check(0.10, present(venue.country), Reason::NoCountry);
    checks
}

/// Shares: description 0.40 (by its length), image and category 0.15 each, organizer, tags and a
/// title of more than one word 0.10 each.
fn content_quality(event: &EventView<'_>, gates: &Gates) -> Checks {
    let full = gates.full_description_chars.max(1) as usize;
    let chars = event.description.map_or(0, |text| text.chars().take(full).count());
    let mut checks = Checks::default();
    checks.partly(0.40, chars as f64 / full as f64, Reason::ShortDescription);
    checks.check(0.15, !event.images.is_empty(), Reason::NoImage);
    checks.check(0.15, event.category.is_some(), Reason::NoCategory);
    checks.check(0.10, event.organizer.is_some(), Reason::NoOrganizer);
    checks.check(0.10, !event.tags.is_empty(), Reason::NoTags);
    checks.check(0.10, event.title.split_whitespace().nth(1).is_some(), Reason::BareTitle);
    checks
}

/// Scores every event of a collection.
pub trait ScoreEvents<'scope> {
    /// Scores each event by the greatest of `gates`, or by the defaults while there are none.
    ///
    /// The result of an epoch follows from the events and gates at that epoch, whatever the order
    /// in which they came. A change of gates costs a scoring of all events and emits those whose
    /// report changes.
    ///
    /// ```
    /// # use headwater_operators::{Event, EventId};
    /// # let event: Event = serde_json::from_value(serde_json::json!({
    /// #     "id": EventId(1), "title": "Jazz in the Park", "tags": [], "startTime": "2026-03-28T19:30:00-07:00",
    /// #     "allDay": false, "venue": {}, "online": false, "images": [], "urls": [], "status": "scheduled",
    /// #     "listings": [], "fieldSources": {}, "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
    /// # })).unwrap();
    /// use differential_dataflow::input::Input;
    /// use headwater_operators::score::{Gates, ScoreEvents};
    ///
    /// timely::example(move |scope| {
    ///     let events = scope.new_collection_from([(event.id, event.into())]).1;
    ///     let gates = scope.new_collection_from([Gates::default()]).1;
    ///     let failed = scope.new_collection_from([EventId(1)]).1;
    ///     events.score(gates).filter(|(_, scored)| !scored.report.passed).map(|(id, _)| id).assert_eq(failed);
    /// });
    /// ```
    fn score(
        self,
        gates: VecCollection<'scope, Epoch, Gates, isize>,
    ) -> VecCollection<'scope, Epoch, (EventId, Shared<ScoredEvent>), isize>;
}

impl<'scope> ScoreEvents<'scope> for VecCollection<'scope, Epoch, (EventId, Composed), isize> {
    fn score(
        self,
        gates: VecCollection<'scope, Epoch, Gates, isize>,
    ) -> VecCollection<'scope, Epoch, (EventId, Shared<ScoredEvent>), isize> {
        let by_event = Exchange::new(|((id, _), _, _): &((EventId, Composed), Epoch, isize)| id.0 as u64);
        self.inner
            .binary_frontier(gates.inner.broadcast(), by_event, Pipeline, "ScoreEvents", |_, _| {
                let mut epochs = Epochs::<Changes>::default();
                let mut scorer = Scorer::default();
                let held = Held::new("score-events");
                move |(events, events_frontier), (gates, gates_frontier), output| {
                    events.for_each(|capability, data| {
                        for (event, epoch, diff) in data.drain(..) {
                            epochs.at(epoch, || capability.delayed(&epoch, 0)).events.push((event, diff));
                        }
                    });
                    gates.for_each(|capability, data| {
                        for (gates, epoch, diff) in data.drain(..) {
                            epochs.at(epoch, || capability.delayed(&epoch, 0)).gates.push((gates, diff));
                        }
                    });
                    while let Some((capability, changes)) = epochs.next_complete(&[events_frontier, gates_frontier]) {
                        let mut session = output.session(&capability);
                        scorer.apply(changes, |scored, diff| session.give((scored, *capability.time(), diff)));
                        held.set(scorer.events.len());
                    }
                }
            })
            .as_collection()
    }
}

/// What an epoch brings.
#[derive(Default)]
struct Changes {
    gates: Vec<(Gates, isize)>,
    events: Vec<((EventId, Composed), isize)>,
}

/// The current events with their reports, and the gates they were scored by.
#[derive(Default)]
struct Scorer {
    offered: BTreeMap<Gates, isize>,
    gates: Gates,
    events: foldhash::HashMap<EventId, Versions>,
}

/// The versions of an event with the number of times each is there: nearly always one, once.
type Versions = SmallVec<[(Shared<ScoredEvent>, isize); 1]>;

impl Scorer {
    fn apply(&mut self, changes: Changes, mut emit: impl FnMut((EventId, Shared<ScoredEvent>), isize)) {
        for (gates, diff) in changes.gates {
            *self.offered.entry(gates).or_default() += diff;
        }
        self.offered.retain(|_, count| *count != 0);
        let greatest = self.offered.iter().rev().find(|(_, count)| **count > 0).map(|(gates, _)| gates.clone());
        let gates = greatest.unwrap_or_default();
        if gates != self.gates {
            self.gates = gates;
            self.score_again(&mut emit);
        }
        self.events.reserve(changes.events.len());
        for ((id, event), diff) in changes.events {
            emit((id, self.update(id, event, diff)), diff);
        }
    }

    fn score_again(&mut self, emit: &mut impl FnMut((EventId, Shared<ScoredEvent>), isize)) {
        for (id, versions) in &mut self.events {
            for (scored, count) in versions {
                let report = score(&scored.event.view(), &self.gates);
                if report == scored.report {
                    continue;
                }
                let event = scored.event.clone();
                let old = std::mem::replace(scored, Shared::new(ScoredEvent { event, report }));
                emit((*id, old), -*count);
                emit((*id, scored.clone()), *count);
            }
        }
    }

    /// Counts a change of `event` and gives it with its report.
    fn update(&mut self, id: EventId, event: Composed, diff: isize) -> Shared<ScoredEvent> {
        let versions = self.events.entry(id).or_default();
        let known = versions.iter().position(|(scored, _)| scored.event == event);
        let at = known.unwrap_or_else(|| {
            let report = score(&event.view(), &self.gates);
            versions.push((Shared::new(ScoredEvent { event, report }), 0));
            versions.len() - 1
        });
        let (scored, count) = &mut versions[at];
        *count += diff;
        let result = scored.clone();
        if *count == 0 {
            versions.swap_remove(at);
        }
        if versions.is_empty() {
            self.events.remove(&id);
        }
        result
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatEvent<E, G> {
    #[serde(flatten)]
    event: E,
    quality_score: Ratio,
    quality_grade: Grade,
    passed: bool,
    gates: G,
}

impl Serialize for ScoredEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return (&self.event, &self.report).serialize(serializer);
        }
        let Report { score, grade, passed, gates } = &self.report;
        FlatEvent {
            event: self.event.view(),
            quality_score: *score,
            quality_grade: *grade,
            passed: *passed,
            gates: GateTexts(gates),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ScoredEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Deserialize::deserialize(deserializer).map(|(event, report)| Self { event, report });
        }
        let flat = FlatEvent::<Event, [GateReport; 5]>::deserialize(deserializer)?;
        let report =
            Report { score: flat.quality_score, grade: flat.quality_grade, passed: flat.passed, gates: flat.gates };
        Ok(Self { event: flat.event.into(), report })
    }
}

/// A gate's report as text: reasons spelt out, and recommendations, which follow from them.
#[derive(Serialize, Deserialize)]
struct GateText<R> {
    gate: GateName,
    score: Ratio,
    passed: bool,
    reasons: R,
    #[serde(skip_deserializing)]
    recommendations: SmallVec<[&'static str; 8]>,
}

/// The gates' reports as text. There are few different ones, and each is mostly the same words: each
/// thread remembers what it has written.
struct GateTexts<'a>(&'a [GateReport; 5]);

thread_local! {
    static WRITTEN: RefCell<foldhash::HashMap<GateReport, Box<RawValue>>> = RefCell::default();
}

/// No more than so many are remembered: scores by length make some thousands.
const MAX_WRITTEN: usize = 8192;

impl Serialize for GateTexts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WRITTEN.with_borrow_mut(|written| {
            if written.len() + self.0.len() > MAX_WRITTEN {
                written.clear();
            }
            for report in self.0.iter() {
                if !written.contains_key(report) {
                    let text = serde_json::value::to_raw_value(report).map_err(S::Error::custom)?;
                    written.insert(*report, text);
                }
            }
            serializer.collect_seq(self.0.iter().filter_map(|report| written.get(report)))
        })
    }
}

struct ReasonTexts(Reasons);

impl Serialize for ReasonTexts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|code| ReasonText { code, text: code.text() }))
    }
}

#[derive(Serialize, Deserialize)]
struct ReasonText {
    code: Reason,
    #[serde(skip_deserializing)]
    text: &'static str,
}

impl Serialize for GateReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return (self.gate, self.score, self.passed, self.reasons).serialize(serializer);
        }
        let mut recommendations: SmallVec<_> = self.reasons.iter().map(|reason| reason.recommendation()).collect();
        recommendations.dedup();
        GateText {
            gate: self.gate,
            score: self.score,
            passed: self.passed,
            reasons: ReasonTexts(self.reasons),
            recommendations,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GateReport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Deserialize::deserialize(deserializer).map(|(gate, score, passed, reasons)| Self {
                gate,
                score,
                passed,
                reasons,
            });
        }
        let text = GateText::<Vec<ReasonText>>::deserialize(deserializer)?;
        let reasons = text.reasons.into_iter().map(|reason| reason.code).collect();
        Ok(Self { gate: text.gate, score: text.score, passed: text.passed, reasons })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use differential_dataflow::input::Input;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{FieldSources, Member};
    use crate::listing::{Geo, GeoProvenance, Organizer, Point, Pricing, Status, Venue};

    fn good() -> Event {
        Event {
            id: EventId(1),
            title: "Jazz in the Park".into(),
            description: Some("x".repeat(200).into()),
            category: Some("Music".into()),
            tags: vec!["jazz".into()],
            start_time: "2026-03-28T19:30:00-07:00".parse().unwrap(),
            end_time: Some("2026-03-28T22:00:00-07:00".parse().unwrap()),
            timezone: Some("America/Los_Angeles".into()),
            all_day: false,
            venue: Venue {
                name: Some("Central Park".into()),
                city: Some("Davis".into()),
                country: Some("US".into()),
                geo: Point::from_degrees(38.5, -121.7).map(|point| Geo {
                    point,
                    precision: GeoPrecision::Venue,
                    provenance: GeoProvenance::Source,
                }),
                ..Venue::default()
            },
            online: false,
            organizer: Some(Organizer { name: "City".into(), url: None }),
            pricing: Some(Pricing { min: Some(Amount(5000)), currency: Some("USD".into()), ..Pricing::default() }),
            capacity: Some(100),
            images: ["https://example.org/a.jpg".into()].into(),
            urls: ["https://example.org/".into()].into(),
            status: Status::Scheduled,
            listings: vec![Member { source: "a".into(), external_id: "1".into(), url: None, similarity: Ratio::ONE }],
            field_sources: FieldSources::default(),
            first_seen: 1_767_225_600_000, // 2026-01-01
            updated_at: 1_767_225_600_000,
        }
    }

    fn report(change: impl FnOnce(&mut Event)) -> Report {
        let mut event = good();
        change(&mut event);
        score(&event.view(), &Gates::default())
    }

    /// Scores of the gates, and all reasons.
    fn outline(report: &Report) -> ([f64; 5], Vec<Reason>) {
        let mut scores = [0.0; 5];
        for (slot, gate) in scores.iter_mut().zip(&report.gates) {
            *slot = gate.score.get();
        }
        (scores, report.gates.iter().flat_map(|gate| gate.reasons.iter()).collect())
    }

    #[test]
    fn a_perfect_event_scores_one() {
        let report = report(|_| {});
        assert_eq!(outline(&report), ([1.0; 5], vec![]));
        assert_eq!((report.score, report.grade, report.passed), (Ratio::ONE, Grade::A, true));
    }

    #[test]
    fn every_gate_names_what_is_wrong() {
        type Case = (fn(&mut Event), usize, f64, Vec<Reason>);
        let cases: Vec<Case> = vec![
            (|e| e.urls.clear(), 0, 0.85, vec![Reason::NoUrl]),
            (|e| e.title = "JAZZ IN THE PARK".into(), 1, 1.0 - 0.15 / 0.9, vec![Reason::TitleShouts]),
            (|e| e.urls = ["javascript:x".into()].into(), 1, 1.0 - 0.1 / 0.9, vec![Reason::InvalidUrl]),
            (|e| e.timezone = Some("Mars/Olympus".into()), 1, 1.0 - 0.1 / 0.9, vec![Reason::UnknownTimezone]),
            (|e| e.venue.country = Some("Atlantis".into()), 1, 1.0 - 0.1 / 0.9, vec![Reason::UnknownCountry]),
            (|e| e.pricing.as_mut().unwrap().currency = None, 1, 1.0 - 0.1 / 0.9, vec![Reason::InvalidCurrency]),
            (|e| e.end_time = Some("2026-03-27".parse().unwrap()), 2, 0.6, vec![Reason::EndBeforeStart]),
            (
                |e| e.start_time = "2126-03-27".parse().unwrap(),
                2,
                0.2,
                vec![Reason::EndBeforeStart, Reason::TooFarAhead],
            ),
            (|e| e.start_time = "1926-03-27".parse().unwrap(), 2, 0.6, vec![Reason::TooLongAgo]),
            (|e| e.pricing.as_mut().unwrap().min = Some(Amount(-1)), 2, 0.6, vec![Reason::NegativePrice]),
            (|e| e.pricing.as_mut().unwrap().max = Some(Amount(1)), 2, 0.6, vec![Reason::PriceRange]),
            (|e| e.capacity = Some(0), 2, 0.6, vec![Reason::Capacity]),
            (|e| e.venue.geo = None, 3, 0.4, vec![Reason::NoCoordinates]),
            (
                |e| e.venue.geo.as_mut().unwrap().precision = GeoPrecision::City,
                3,
                0.75,
                vec![Reason::CoarseCoordinates],
            ),
            (|e| e.images.clear(), 4, 0.85, vec![Reason::NoImage]),
            (|e| e.description = Some("x".repeat(100).into()), 4, 0.8, vec![Reason::ShortDescription]),
        ];
        for (change, gate, expected, reasons) in cases {
            let report = report(change);
            let (scores, found) = outline(&report);
            assert_eq!(found, reasons);
            for (index, score) in scores.into_iter().enumerate() {
                let expected = if index == gate { expected } else { 1.0 };
                assert!((score - expected).abs() < 1e-4, "{reasons:?}: gate {index} scores {score}");
            }
        }
    }

    #[test]
    fn a_day_may_end_on_itself_and_online_needs_no_place() {
        let all_day = report(|e| {
            e.start_time = "2026-03-28".parse().unwrap();
            e.end_time = Some("2026-03-28".parse().unwrap());
        });
        assert_eq!(all_day.score, Ratio::ONE);
        let online = report(|e| {
            e.venue = Venue::default();
            e.online = true;
        });
        assert_eq!(online.score, Ratio::ONE);
        let nowhere = report(|e| e.venue = Venue::default());
        assert!(!nowhere.gates[0].passed && !nowhere.gates[3].passed);
    }

    #[test]
    fn only_a_required_gate_fails_an_event_by_itself() {
        let mut event = good();
        event.capacity = Some(-1);
        let mut gates = Gates::default();
        let lenient = score(&event.view(), &gates);
        assert!(lenient.passed && !lenient.gates[2].passed);
        gates.business_logic.required = true;
        let strict = score(&event.view(), &gates);
        assert!(!strict.passed);
        assert_eq!(strict.score, lenient.score);
    }

    #[test]
    fn letters_have_inclusive_limits() {
        let grades = Grades::default();
        for (score, letter) in
            [(1.0, Grade::A), (0.9, Grade::A), (0.8999, Grade::B), (0.7, Grade::C), (0.6, Grade::D), (0.5999, Grade::F)]
        {
            assert_eq!(grades.of(Ratio::new(score)), letter);
        }
    }

    #[test]
    fn reason_codes_are_distinct_and_are_their_json() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{}\"", reason.code()));
        }
    }

    #[test]
    fn json_is_flat_and_reads_back() {
        let mut event = good();
        event.capacity = Some(0);
        let report = score(&event.view(), &Gates::default());
        let scored = ScoredEvent { event: event.into(), report };
        let json = serde_json::to_value(&scored).unwrap();
        assert_eq!(json["title"], "Jazz in the Park");
        assert_eq!(json["venue"]["latitude"], 38.5);
        assert_eq!(
            (&json["qualityScore"], &json["qualityGrade"], &json["passed"]),
            (&0.92.into(), &"A".into(), &true.into())
        );
        assert_eq!(
            json["gates"][2],
            serde_json::json!({
                "gate": "businessLogic", "score": 0.6, "passed": false,
                "reasons": [{"code": "capacity", "text": "takes no people at all"}],
                "recommendations": ["correct or leave out the capacity"],
            })
        );
        assert_eq!(serde_json::from_value::<ScoredEvent>(json).unwrap(), scored);
    }

    #[test]
    fn gates_are_configured_in_part() {
        let gates: Gates = toml::from_str("pass = 0.8\n[geographic_data]\nweight = 0.5\nthreshold = 0.6\n").unwrap();
        assert_eq!(gates.pass, Ratio::new(0.8));
        assert_eq!(gates.core_completeness, Gates::default().core_completeness);
        assert!(toml::from_str::<Gates>("passs = 0.8").is_err());
    }

    fn any_event() -> impl Strategy<Value = Event> {
        (any::<[bool; 12]>(), "\\PC{0,30}", any::<i64>(), 0u32..40_000, any::<Option<i64>>()).prop_map(
            |(has, title, first_seen, days, capacity)| {
                let mut event = good();
                event.title = title.into();
                event.first_seen = first_seen;
                event.start_time = crate::Moment::Instant { ms: i64::from(days) * DAY_MS, offset_min: 0 };
                event.capacity = capacity;
                event.end_time = event.end_time.filter(|_| has[0]);
                event.timezone = event.timezone.filter(|_| has[1]);
                event.description = event.description.filter(|_| has[2]);
                event.pricing = event.pricing.filter(|_| has[3]);
                event.venue.geo = event.venue.geo.filter(|_| has[4]);
                event.venue.name = event.venue.name.filter(|_| has[5]);
                event.venue.country = event.venue.country.filter(|_| has[6]);
                event.online = has[7];
                event.category = event.category.filter(|_| has[8]);
                event.organizer = event.organizer.filter(|_| has[9]);
                event.urls.retain(|_| has[10]);
                event.images.retain(|_| has[11]);
                event
            },
        )
    }

    fn any_gates() -> impl Strategy<Value = Gates> {
        (prop::collection::vec((0.0..1.0f64, 0.0..1.0f64, any::<bool>()), 5), 0.0..1.0f64).prop_map(|(gates, pass)| {
            let gate = |index: usize| {
                let (weight, threshold, required) = gates[index];
                Gate { weight: Ratio::new(weight), threshold: Ratio::new(threshold), required }
            };
            Gates {
                core_completeness: gate(0),
                format_accuracy: gate(1),
                business_logic: gate(2),
                geographic_data: gate(3),
                content_quality: gate(4),
                pass: Ratio::new(pass),
                ..Gates::default()
            }
        })
    }

    /// One step of a random history: events by id (0..6) come and go, gates change.
    #[derive(Debug, Clone)]
    enum Step {
        Put(u128, Box<Event>),
        Drop(u128),
        Gates(Gates),
        NoGates,
        NextEpoch,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6u128, any_event()).prop_map(|(id, event)| Step::Put(id, Box::new(event))),
            2 => (0..6u128).prop_map(Step::Drop),
            1 => any_gates().prop_map(Step::Gates),
            1 => Just(Step::NoGates),
            3 => Just(Step::NextEpoch),
        ]
    }

    type Counts<K> = BTreeMap<K, isize>;

    /// Plays `steps` on `workers` workers; gives what the output comes to.
    fn play(steps: Vec<Step>, workers: usize) -> Counts<(EventId, Shared<ScoredEvent>)> {
        let result = Arc::new(Mutex::new(Counts::new()));
        let sink = Arc::clone(&result);
        timely::execute(timely::Config::process(workers), move |worker| {
            let sink = Arc::clone(&sink);
            let (mut events, mut gates) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (events_in, events) = scope.new_collection();
                let (gates_in, gates) = scope.new_collection();
                events.score(gates).inspect(move |(scored, _, diff)| {
                    *sink.lock().unwrap().entry(scored.clone()).or_default() += diff;
                });
                (events_in, gates_in)
            });
            let (mut live, mut current, mut epoch) = (BTreeMap::new(), None, 0);
            // Each worker brings the events of its own ids; the first one brings the gates.
            let (peers, index) = (worker.peers(), worker.index());
            let mine = |id: u128| id as usize % peers == index;
            for (number, step) in steps.iter().enumerate() {
                match step.clone() {
                    Step::Put(id, event) if mine(id) => {
                        let event = Composed::from(*event);
                        events.insert((EventId(id), event.clone()));
                        live.insert(id, event).into_iter().for_each(|old| events.remove((EventId(id), old)));
                    }
                    Step::Drop(id) if mine(id) => {
                        live.remove(&id).into_iter().for_each(|old| events.remove((EventId(id), old)));
                    }
                    Step::Gates(new) if index == 0 => {
                        gates.insert(new.clone());
                        current.replace(new).into_iter().for_each(|old| gates.remove(old));
                    }
                    Step::NoGates => current.take().into_iter().for_each(|old| gates.remove(old)),
                    Step::NextEpoch => epoch = number as u64,
                    _ => {}
                }
                events.advance_to(epoch);
                gates.advance_to(epoch);
                if number % 3 == 0 {
                    events.flush();
                    gates.flush();
                    worker.step();
                }
            }
        })
        .unwrap()
        .join()
        .into_iter()
        .for_each(|worker| worker.unwrap());
        let mut counts = std::mem::take(&mut *result.lock().unwrap());
        counts.retain(|_, count| *count != 0);
        counts
    }

    /// The same from scratch.
    fn expected(steps: &[Step]) -> Counts<(EventId, Shared<ScoredEvent>)> {
        let (mut live, mut gates) = (BTreeMap::new(), Gates::default());
        for step in steps.iter().cloned() {
            match step {
                Step::Put(id, event) => drop(live.insert(id, *event)),
                Step::Drop(id) => drop(live.remove(&id)),
                Step::Gates(new) => gates = new,
                Step::NoGates => gates = Gates::default(),
                Step::NextEpoch => {}
            }
        }
        let scored = |event: Event| {
            let report = score(&event.view(), &gates);
            Shared::new(ScoredEvent { event: event.into(), report })
        };
        live.into_iter().map(|(id, event)| ((EventId(id), scored(event)), 1)).collect()
    }

    proptest! {
        #[test]
        fn scores_stay_in_range(event in any_event(), gates in any_gates()) {
            let report = score(&event.view(), &gates);
            let worst = report.gates.iter().map(|gate| gate.score).min().unwrap();
            let best = report.gates.iter().map(|gate| gate.score).max().unwrap();
            prop_assert!(report.gates.len() == 5);
            prop_assert!(report.score <= best && (report.score >= worst || gates.core_completeness.weight == Ratio::ZERO));
            for gate in &report.gates {
                prop_assert_eq!(gate.score == Ratio::ONE, gate.reasons.is_empty());
            }
        }

        #[test]
        fn text_and_binary_read_back(event in any_event()) {
            let report = score(&event.view(), &Gates::default());
            let scored = ScoredEvent { event: event.into(), report };
            if let Ok(json) = serde_json::to_string(&scored) {
                prop_assert_eq!(serde_json::from_str::<ScoredEvent>(&json).unwrap(), scored.clone());
            }
            // The form in which processes exchange events.
            let bytes = bincode::serialize(&scored).unwrap();
            prop_assert_eq!(bincode::deserialize::<ScoredEvent>(&bytes).unwrap(), scored);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn incremental_is_from_scratch(steps in prop::collection::vec(any_step(), 0..40), workers in 1usize..4) {
            prop_assert_eq!(play(steps.clone(), workers), expected(&steps));
        }
    }

    #[test]
    fn a_threshold_emits_only_what_changes() {
        let mut scorer = Scorer::default();
        let mut weak = good();
        weak.venue.geo = None;
        let events = [(EventId(1), good().into()), (EventId(2), weak.into())];
        scorer.apply(Changes { events: events.map(|event| (event, 1)).to_vec(), gates: vec![] }, |_, _| {});
        let mut stricter = Gates::default();
        stricter.geographic_data.threshold = Ratio::new(0.3);
        let mut emitted = Vec::new();
        scorer.apply(Changes { gates: vec![(stricter, 1)], events: vec![] }, |(id, _), diff| emitted.push((id, diff)));
        assert_eq!(emitted, [(EventId(2), -1), (EventId(2), 1)]);
    }
}
