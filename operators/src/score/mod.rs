//! Scores the quality of events: five gates, a weighted score, a letter, and for every shortcoming
//! a reason and what would mend it.
//!
//! Gates, thresholds and weights are data: they arrive as a collection, and a change of theirs
//! emits exactly the events whose report changes. So does what editors say of events: it is laid beside the report
//! here, where the events are kept anyway. Nothing here looks at a clock: what is far away
//! is measured from the time at which the event was first seen.

mod checks;
mod gates;
mod reason;
mod report;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use differential_dataflow::{AsCollection, VecCollection};
use smallvec::SmallVec;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use self::checks::{business_logic, content_quality, core_completeness, format_accuracy, geographic_data};
pub use self::gates::{Control, Gate, GatePatch, Gates, GatesPatch, Grade, Grades, GradesPatch};
pub use self::reason::{Reason, Reasons};
pub use self::report::{GateName, GateReport, Report, ScoredEvent};
use crate::event::{Composed, EventId, EventView};
use crate::listing::Ratio;
use crate::resolve::Moderation;
use crate::{Epoch, Shared};
use headwater_flow::epochs::{Complete, CompleteEpochs};
use headwater_flow::meter::EntryMeter;

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

/// Scores every event of a collection.
pub trait ScoreEvents<'scope> {
    /// Scores each event by the greatest of `gates`, or by the defaults while there are none.
    ///
    /// The result of an epoch follows from the events and gates at that epoch, whatever the order
    /// in which they came. A change of gates costs a scoring of all events and emits those whose
    /// report changes.
    ///
    /// `moderated` holds what editors say of events: of several words on one the gravest counts. One on an event
    /// that is not there changes nothing.
    ///
    /// ```
    /// # use headwater_operators::{Event, EventId};
    /// # let event: Event = serde_json::from_value(serde_json::json!({
    /// #     "id": EventId(1), "title": "Jazz in the Park", "tags": [], "startTime": "2026-03-28T19:30:00-07:00",
    /// #     "allDay": false, "venue": {}, "online": false, "images": [], "urls": [], "status": "scheduled",
    /// #     "listings": [], "fieldSources": {}, "firstSeen": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
    /// # })).unwrap();
    /// use differential_dataflow::input::Input;
    /// use headwater_operators::resolve::Moderation;
    /// use headwater_operators::score::{Gates, ScoreEvents};
    ///
    /// timely::example(move |scope| {
    ///     let events = scope.new_collection_from([(event.id, event.into())]).1;
    ///     let gates = scope.new_collection_from([Gates::default()]).1;
    ///     let moderated = scope.new_collection_from([(EventId(1), Moderation::Flagged)]).1;
    ///     let failed = scope.new_collection_from([(EventId(1), Some(Moderation::Flagged))]).1;
    ///     let scored = events.score(gates, moderated).filter(|(_, scored)| !scored.report.passed);
    ///     scored.map(|(id, scored)| (id, scored.moderation)).assert_eq(failed);
    /// });
    /// ```
    fn score(
        self,
        gates: VecCollection<'scope, Epoch, Gates, isize>,
        moderated: VecCollection<'scope, Epoch, (EventId, Moderation), isize>,
    ) -> VecCollection<'scope, Epoch, (EventId, Shared<ScoredEvent>), isize>;
}

impl<'scope> ScoreEvents<'scope> for VecCollection<'scope, Epoch, (EventId, Composed), isize> {
    fn score(
        self,
        gates: VecCollection<'scope, Epoch, Gates, isize>,
        moderated: VecCollection<'scope, Epoch, (EventId, Moderation), isize>,
    ) -> VecCollection<'scope, Epoch, (EventId, Shared<ScoredEvent>), isize> {
        let by_event = Exchange::new(|((id, _), _, _): &((EventId, Composed), Epoch, isize)| id.route());
        let by_moderated = Exchange::new(|((id, _), _, _): &((EventId, Moderation), Epoch, isize)| id.route());
        let mut builder = OperatorBuilder::new("score/Events".to_owned(), self.inner.scope());
        let mut events = builder.new_input(self.inner, by_event);
        let mut gates = builder.new_input(gates.inner.broadcast(), Pipeline);
        let mut moderated = builder.new_input(moderated.inner, by_moderated);
        let (output, scored) = builder.new_output();
        let mut output = OutputBuilder::<Epoch, CapacityContainerBuilder<Vec<_>>>::from(output);
        let held = EntryMeter::new("score-events");
        builder.build(move |_| {
            let mut epochs: CompleteEpochs<Changes> = CompleteEpochs::new(1);
            let mut scorer = Scorer::default();
            move |frontiers| {
                events.for_each(|capability, data| {
                    for (event, epoch, diff) in data.drain(..) {
                        epochs.at(&capability, epoch).events.push((event, diff));
                    }
                });
                gates.for_each(|capability, data| {
                    for (gates, epoch, diff) in data.drain(..) {
                        epochs.at(&capability, epoch).gates.push((gates, diff));
                    }
                });
                moderated.for_each(|capability, data| {
                    for (word, epoch, diff) in data.drain(..) {
                        epochs.at(&capability, epoch).moderated.push((word, diff));
                    }
                });
                while let Some(Complete { epoch, capabilities, input: changes }) = epochs.next(frontiers) {
                    let Some(capability) = capabilities.first() else { continue };
                    let mut output = output.activate();
                    let mut session = output.session(capability);
                    scorer.apply(changes, |scored, diff| session.give((scored, epoch, diff)));
                    held.set(scorer.events.len());
                }
            }
        });
        scored.as_collection()
    }
}

/// What an epoch brings.
#[derive(Default)]
struct Changes {
    gates: Vec<(Gates, isize)>,
    moderated: Vec<((EventId, Moderation), isize)>,
    events: Vec<((EventId, Composed), isize)>,
}

/// The current events with their reports, the gates they were scored by, and what editors say of a few.
#[derive(Default)]
struct Scorer {
    offered: BTreeMap<Gates, isize>,
    gates: Gates,
    events: foldhash::HashMap<EventId, Versions>,
    moderated: foldhash::HashMap<EventId, Words>,
}

/// What editors say of an event, with the number of listings of which they say it.
type Words = SmallVec<[(Moderation, isize); 1]>;

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
        self.moderate(changes.moderated, &mut emit);
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
                let ScoredEvent { event, moderation, .. } = &**scored;
                let new = Shared::new(ScoredEvent { event: event.clone(), report, moderation: *moderation });
                let old = std::mem::replace(scored, new);
                emit((*id, old), -*count);
                emit((*id, scored.clone()), *count);
            }
        }
    }

    /// Takes in what editors say, and emits the events that are there of which they say something else.
    fn moderate(
        &mut self,
        changes: Vec<((EventId, Moderation), isize)>,
        emit: &mut impl FnMut((EventId, Shared<ScoredEvent>), isize),
    ) {
        let mut touched: BTreeSet<EventId> = BTreeSet::new();
        for ((id, word), diff) in changes {
            let words = self.moderated.entry(id).or_default();
            match words.iter_mut().find(|(known, _)| *known == word) {
                Some((_, count)) => *count += diff,
                None => words.push((word, diff)),
            }
            words.retain(|(_, count)| *count != 0);
            if words.is_empty() {
                self.moderated.remove(&id);
            }
            touched.insert(id);
        }
        for id in touched {
            let word = self.moderation(id);
            for (scored, count) in self.events.get_mut(&id).into_iter().flatten() {
                if scored.moderation == word {
                    continue;
                }
                let new = Shared::new(ScoredEvent { moderation: word, ..(**scored).clone() });
                let old = std::mem::replace(scored, new);
                emit((id, old), -*count);
                emit((id, scored.clone()), *count);
            }
        }
    }

    /// The gravest of what editors say of an event.
    fn moderation(&self, id: EventId) -> Option<Moderation> {
        let words = self.moderated.get(&id)?;
        words.iter().filter(|(_, count)| *count > 0).map(|(word, _)| *word).max()
    }

    /// Counts a change of `event` and gives it with its report.
    fn update(&mut self, id: EventId, event: Composed, diff: isize) -> Shared<ScoredEvent> {
        let moderation = self.moderation(id);
        let versions = self.events.entry(id).or_default();
        let known = versions.iter().position(|(scored, _)| scored.event == event);
        let at = known.unwrap_or_else(|| {
            let report = score(&event.view(), &self.gates);
            versions.push((Shared::new(ScoredEvent { event, report, moderation }), 0));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use differential_dataflow::input::Input;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Event, FieldSources, Member};
    use crate::listing::{Amount, Geo, GeoPrecision, GeoProvenance, Organizer, Point, Pricing, Status, Venue};
    use crate::moment::DAY_MS;

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
            part_of: None,
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
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
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
        let scored = ScoredEvent { event: event.into(), report, moderation: None };
        let json = serde_json::to_value(&scored).unwrap();
        assert_eq!(json.get("moderation"), None, "nobody said anything");
        let rejected = ScoredEvent { moderation: Some(Moderation::Rejected), ..scored.clone() };
        let rejected = serde_json::to_value(&rejected).unwrap();
        assert_eq!(rejected["moderation"], "rejected");
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
        /// An editor says it of an event, which may not be there, or takes it back.
        Moderate(u128, Moderation),
        NextEpoch,
    }

    fn any_moderation() -> impl Strategy<Value = Moderation> {
        prop::sample::select(Moderation::ALL.to_vec())
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6u128, any_event()).prop_map(|(id, event)| Step::Put(id, Box::new(event))),
            2 => (0..6u128).prop_map(Step::Drop),
            1 => any_gates().prop_map(Step::Gates),
            1 => Just(Step::NoGates),
            2 => (0..6u128, any_moderation()).prop_map(|(id, word)| Step::Moderate(id, word)),
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
            let (mut events, mut gates, mut moderated) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (events_in, events) = scope.new_collection();
                let (gates_in, gates) = scope.new_collection();
                let (moderated_in, moderated) = scope.new_collection();
                events.score(gates, moderated).inspect(move |(scored, _, diff)| {
                    *sink.lock().unwrap().entry(scored.clone()).or_default() += diff;
                });
                (events_in, gates_in, moderated_in)
            });
            let (mut live, mut current, mut epoch) = (BTreeMap::new(), None, 0);
            let mut words = BTreeSet::new();
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
                    // Words come from another worker than their events.
                    Step::Moderate(id, word) if mine(id + 1) => {
                        let taken_back = words.remove(&(id, word));
                        moderated.update((EventId(id), word), if taken_back { -1 } else { 1 });
                        if !taken_back {
                            words.insert((id, word));
                        }
                    }
                    Step::NextEpoch => epoch = number as u64,
                    _ => {}
                }
                events.advance_to(epoch);
                gates.advance_to(epoch);
                moderated.advance_to(epoch);
                if number % 3 == 0 {
                    events.flush();
                    gates.flush();
                    moderated.flush();
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
        let (mut live, mut gates, mut moderated) = (BTreeMap::new(), Gates::default(), BTreeSet::new());
        for step in steps.iter().cloned() {
            match step {
                Step::Put(id, event) => drop(live.insert(id, *event)),
                Step::Drop(id) => drop(live.remove(&id)),
                Step::Gates(new) => gates = new,
                Step::NoGates => gates = Gates::default(),
                Step::Moderate(id, word) if !moderated.remove(&(id, word)) => drop(moderated.insert((id, word))),
                Step::Moderate(..) | Step::NextEpoch => {}
            }
        }
        let scored = |id: u128, event: Event| {
            let report = score(&event.view(), &gates);
            let moderation = moderated.iter().filter(|(of, _)| *of == id).map(|(_, word)| *word).max();
            Shared::new(ScoredEvent { event: event.into(), report, moderation })
        };
        live.into_iter().map(|(id, event)| ((EventId(id), scored(id, event)), 1)).collect()
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
        fn text_and_binary_read_back(event in any_event(), moderation in prop::option::of(any_moderation())) {
            let report = score(&event.view(), &Gates::default());
            let scored = ScoredEvent { event: event.into(), report, moderation };
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
        scorer.apply(Changes { events: events.map(|event| (event, 1)).to_vec(), ..Changes::default() }, |_, _| {});
        let mut stricter = Gates::default();
        stricter.geographic_data.threshold = Ratio::new(0.3);
        let mut emitted = Vec::new();
        let changes = Changes { gates: vec![(stricter, 1)], ..Changes::default() };
        scorer.apply(changes, |(id, _), diff| emitted.push((id, diff)));
        assert_eq!(emitted, [(EventId(2), -1), (EventId(2), 1)]);
    }

    #[test]
    fn the_gravest_word_counts_and_only_its_change_is_emitted() {
        let mut scorer = Scorer::default();
        let events = vec![((EventId(1), good().into()), 1), ((EventId(2), good().into()), 1)];
        scorer.apply(Changes { events, ..Changes::default() }, |_, _| {});
        let mut say = |word, diff| {
            let mut emitted = Vec::new();
            let moderated = vec![((EventId(1), word), diff), ((EventId(9), word), diff)];
            let changes = Changes { moderated, ..Changes::default() };
            scorer.apply(changes, |(id, scored), diff| emitted.push((id.0, scored.moderation, diff)));
            emitted
        };
        use Moderation::{Approved, Flagged, Rejected};
        assert_eq!(say(Flagged, 1), [(1, None, -1), (1, Some(Flagged), 1)]);
        assert_eq!(say(Approved, 1), []);
        assert_eq!(say(Rejected, 1), [(1, Some(Flagged), -1), (1, Some(Rejected), 1)]);
        assert_eq!(say(Flagged, -1), []);
        assert_eq!(say(Rejected, -1), [(1, Some(Rejected), -1), (1, Some(Approved), 1)]);
        assert_eq!(say(Approved, -1), [(1, Some(Approved), -1), (1, None, 1)]);
        assert!(scorer.moderated.is_empty());
    }
}
