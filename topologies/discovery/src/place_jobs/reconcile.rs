//! What is to be done: a function of the requests that are open and of the jobs that are known.
//!
//! | request | its job | |
//! | --- | --- | --- |
//! | open | none | submit it |
//! | open | was cancelled | let it run again |
//! | open | is done with a place | write the place |
//! | open | is done with something else | tell it once, and leave it |
//! | open | has to be done, or is dead | wait |
//! | not open | has not begun | cancel it |
//!
//! The place may come from any job of the queue that names the key: a person may submit one, too. Everything else is
//! about the job whose id follows from the key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::discriminant;
use std::sync::Arc;

use bytes::Bytes;
use headwater::dataflow::buffer::json;
use headwater_operators::gazetteer::country_code;
use headwater_operators::geocode::{Place, PlaceRequest};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::read::{PlaceJob, Standing};

/// What kind of work the jobs are.
const KIND: &str = "place";

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Write a command on a job.
    Command {
        /// The job.
        job: String,
        /// The command as JSON.
        value: Bytes,
    },
    /// Write a place.
    Answer(Place),
    /// Tell that the result of a job is no place.
    Refuse {
        /// The job.
        job: Arc<str>,
        /// The place that it is about.
        key: Arc<str>,
        /// What is wrong.
        reason: String,
    },
}

/// A command, as the topic `job-commands` has it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Command<'a> {
    Submit {
        id: &'a str,
        queue: &'a str,
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<&'a str>,
        payload: &'a PlaceRequest,
    },
    Retry {
        id: &'a str,
        payload: &'a PlaceRequest,
    },
    Cancel {
        id: &'a str,
    },
}

/// What was done about a place since its request and its jobs last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Submit,
    Retry,
    Cancel,
    /// The result of the job of this number was written.
    Answer(u64),
    /// The result of the job of this number was refused.
    Refuse(u64),
}

/// What is known of a place.
#[derive(Debug, Default)]
struct Known {
    /// The request, while it is open.
    request: Option<PlaceRequest>,
    /// The jobs by number, with their ids.
    jobs: BTreeMap<u64, (Arc<str>, Standing)>,
    told: Option<Told>,
}

/// Follows requests and jobs, and says what is to be done.
#[derive(Debug)]
pub(super) struct Reconciler {
    /// Two topologies that share a queue have jobs of their own.
    topology: String,
    queue: Arc<str>,
    places: HashMap<Arc<str>, Known>,
    /// The place and the number of each job.
    jobs: HashMap<Arc<str>, (Arc<str>, u64)>,
    changed: BTreeSet<Arc<str>>,
}

impl Reconciler {
    /// For the requests of `topology`, known by its prefix, and the jobs of `queue`.
    pub(super) fn new(topology: String, queue: Arc<str>) -> Self {
        Self { topology, queue, places: HashMap::new(), jobs: HashMap::new(), changed: BTreeSet::new() }
    }

    /// How many requests are open.
    pub(super) fn open(&self) -> usize {
        self.places.values().filter(|known| known.request.is_some()).count()
    }

    /// Takes in a record of `place-requests`; `None` is a tombstone.
    pub(super) fn take_request(&mut self, key: &str, request: Option<PlaceRequest>) {
        let key: Arc<str> = key.into();
        let known = self.places.entry(Arc::clone(&key)).or_default();
        if known.request.is_some() != request.is_some() {
            known.told = None;
        }
        known.request = request;
        self.changed.insert(key);
    }

    /// Takes in a record of `jobs`; `None` where the job has left, or has nothing to do with places.
    pub(super) fn take_job(&mut self, id: &str, job: Option<PlaceJob>) {
        let before = self.forget(id);
        let Some(PlaceJob { key, number, standing }) = job else { return };
        let id: Arc<str> = id.into();
        let known = self.places.entry(Arc::clone(&key)).or_default();
        if before.is_none_or(|before| discriminant(&before) != discriminant(&standing)) {
            known.told = None;
        }
        known.jobs.insert(number, (Arc::clone(&id), standing));
        self.jobs.insert(id, (Arc::clone(&key), number));
        self.changed.insert(key);
    }

    fn forget(&mut self, id: &str) -> Option<Standing> {
        let (key, number) = self.jobs.remove(id)?;
        let known = self.places.get_mut(&key)?;
        let (_, standing) = known.jobs.remove(&number)?;
        self.changed.insert(key);
        Some(standing)
    }

    /// What is to be done now. It counts as done from then on.
    pub(super) fn actions(&mut self) -> Vec<Action> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|key| self.settle(&key)).collect()
    }

    fn settle(&mut self, key: &Arc<str>) -> Option<Action> {
        let known = self.places.get_mut(key)?;
        if known.request.is_none() && known.jobs.is_empty() {
            self.places.remove(key);
            return None;
        }
        let id = job_id(&self.topology, key);
        let (told, action) = known.due(&self.queue, &id, key)?;
        (known.told.replace(told) != Some(told)).then_some(action)
    }
}

impl Known {
    /// What is due, whether it was done or not.
    fn due(&self, queue: &str, id: &str, key: &Arc<str>) -> Option<(Told, Action)> {
        let own = self.jobs.values().find(|(job, _)| **job == *id).map(|(_, standing)| standing);
        let command = |told, command| Some((told, Action::Command { job: id.to_owned(), value: json(&command) }));
        let Some(request) = &self.request else {
            let unbegun = own == Some(&Standing::Unbegun);
            return if unbegun { command(Told::Cancel, Command::Cancel { id }) } else { None };
        };
        if let Some((number, place)) = self.place() {
            return Some((Told::Answer(number), Action::Answer(place.clone())));
        }
        match own {
            None => {
                let group = request.country.as_deref().map(|country| country_code(country).unwrap_or(country));
                command(Told::Submit, Command::Submit { id, queue, kind: KIND, group, payload: request })
            }
            Some(Standing::Cancelled) => command(Told::Retry, Command::Retry { id, payload: request }),
            Some(_) => self.refused().map(|(number, job, reason)| {
                let (job, key) = (Arc::clone(job), Arc::clone(key));
                (Told::Refuse(number), Action::Refuse { job, key, reason: reason.to_owned() })
            }),
        }
    }

    /// The newest place that a job gave, and the number of the job.
    fn place(&self) -> Option<(u64, &Place)> {
        self.jobs.iter().rev().find_map(|(number, (_, standing))| match standing {
            Standing::Done(Ok(place)) => Some((*number, place)),
            _ => None,
        })
    }

    /// The newest job that is done with something else.
    fn refused(&self) -> Option<(u64, &Arc<str>, &str)> {
        self.jobs.iter().rev().find_map(|(number, (job, standing))| match standing {
            Standing::Done(Err(reason)) => Some((*number, job, reason.as_str())),
            _ => None,
        })
    }
}

/// The id of the job of a place: the same each time, and within the rules for ids whatever the key holds.
pub(super) fn job_id(topology: &str, key: &str) -> String {
    // Neither of them holds this character.
    format!("{KIND}-{:032x}", xxh3_128(format!("{topology}\u{0}{key}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use headwater_flow::{Origin, RawRecord};
    use headwater_operators::geocode::PlaceKey;
    use headwater_operators::listing::{GeoPrecision, Point};
    use jobs::model::{Command as JobCommand, check_id};
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "old mill||ely|GB";

    fn reconciler() -> Reconciler {
        Reconciler::new("headwater.".to_owned(), "places".into())
    }

    fn request(venue: &str) -> PlaceRequest {
        PlaceRequest {
            key: PlaceKey(KEY.into()),
            venue: Some(venue.into()),
            address: None,
            city: Some("Ely".into()),
            region: None,
            country: Some("United Kingdom".into()),
            fallback: None,
        }
    }

    fn place(latitude: f64) -> Place {
        let point = Point::from_degrees(latitude, 0.26);
        Place { key: PlaceKey(KEY.into()), point, precision: GeoPrecision::Venue, provider: None }
    }

    fn own() -> String {
        job_id("headwater.", KEY)
    }

    fn take(of: &mut Reconciler, id: &str, number: u64, standing: Standing) {
        of.take_job(id, Some(PlaceJob { key: KEY.into(), number, standing }));
    }

    /// The types of the commands that are due; each is one that the topology `jobs` takes.
    fn commands(of: &mut Reconciler) -> Vec<String> {
        of.actions().into_iter().map(|action| read(&action)["type"].as_str().unwrap().to_owned()).collect()
    }

    fn read(action: &Action) -> Value {
        let Action::Command { job, value } = action else { panic!("{action:?}") };
        let record = RawRecord {
            origin: Origin::default(),
            source: None,
            content_type: None,
            key: Some(job.as_bytes().to_vec()),
            value: Some(value.to_vec()),
            headers: Vec::new(),
        };
        JobCommand::read(&record).unwrap();
        let value: Value = serde_json::from_slice(value).unwrap();
        assert_eq!(value["id"], *job);
        value
    }

    #[test]
    fn an_open_request_becomes_a_job_once() {
        let mut of = reconciler();
        of.take_request(KEY, Some(request("Old Mill")));
        let actions = of.actions();
        let [action] = &actions[..] else { panic!("{actions:?}") };
        let expected = json!({"type": "submit", "id": own(), "queue": "places", "kind": "place", "group": "GB",
            "payload": {"key": KEY, "venue": "Old Mill", "address": null, "city": "Ely", "region": null,
                "country": "United Kingdom", "fallback": null}});
        assert_eq!(read(action), expected);
        // The same place, told in the words of another listing.
        of.take_request(KEY, Some(request("OLD MILL")));
        assert_eq!(of.actions(), []);
        take(&mut of, &own(), 1, Standing::Unbegun);
        take(&mut of, &own(), 1, Standing::Leased);
        take(&mut of, &own(), 1, Standing::Dead);
        assert_eq!(of.actions(), []);
        // When a dead job has left, there is another.
        of.take_job(&own(), None);
        assert_eq!(commands(&mut of), ["submit"]);
        assert_eq!(of.open(), 1);
    }

    #[test]
    fn a_result_is_written_once_while_the_request_is_open() {
        let mut of = reconciler();
        take(&mut of, &own(), 1, Standing::Done(Ok(place(52.4))));
        assert_eq!(of.actions(), [], "nobody has asked");
        of.take_request(KEY, Some(request("Old Mill")));
        assert_eq!(of.actions(), [Action::Answer(place(52.4))]);
        take(&mut of, &own(), 1, Standing::Done(Ok(place(52.4))));
        assert_eq!(of.actions(), []);
        of.take_request(KEY, None);
        assert_eq!(of.actions(), []);
        // Somebody has removed the place.
        of.take_request(KEY, Some(request("Old Mill")));
        assert_eq!(of.actions(), [Action::Answer(place(52.4))]);
    }

    #[test]
    fn a_request_that_is_withdrawn_cancels_what_has_not_begun() {
        let mut of = reconciler();
        of.take_request(KEY, Some(request("Old Mill")));
        assert_eq!(commands(&mut of), ["submit"]);
        // It is withdrawn before the job is seen.
        of.take_request(KEY, None);
        assert_eq!(of.actions(), []);
        take(&mut of, &own(), 1, Standing::Unbegun);
        assert_eq!(commands(&mut of), ["cancel"]);
        assert_eq!(of.actions(), []);
        // It comes back while the job is about to be cancelled.
        of.take_request(KEY, Some(request("Old Mill")));
        assert_eq!(of.actions(), []);
        take(&mut of, &own(), 1, Standing::Cancelled);
        assert_eq!(commands(&mut of), ["retry"]);
        assert_eq!(of.actions(), []);
        take(&mut of, &own(), 1, Standing::Leased);
        of.take_request(KEY, None);
        assert_eq!(of.actions(), [], "a worker has it");
        take(&mut of, &own(), 1, Standing::Unbegun);
        assert_eq!(commands(&mut of), ["cancel"], "the attempt has failed");
    }

    #[test]
    fn a_result_that_is_no_place_is_told_once_and_left() {
        let mut of = reconciler();
        of.take_request(KEY, Some(request("Old Mill")));
        take(&mut of, &own(), 1, Standing::Done(Err("missing field `found`".to_owned())));
        let refused = Action::Refuse { job: own().into(), key: KEY.into(), reason: "missing field `found`".to_owned() };
        assert_eq!(of.actions(), [refused]);
        of.take_request(KEY, Some(request("OLD MILL")));
        assert_eq!(of.actions(), []);
        // A person submits another one.
        take(&mut of, "by-hand", 5, Standing::Unbegun);
        take(&mut of, "by-hand", 5, Standing::Done(Ok(place(52.5))));
        assert_eq!(of.actions(), [Action::Answer(place(52.5))]);
    }

    #[test]
    fn jobs_of_others_are_left_alone() {
        let mut of = reconciler();
        take(&mut of, &job_id("other.", KEY), 1, Standing::Unbegun);
        take(&mut of, "by-hand", 2, Standing::Unbegun);
        assert_eq!(of.actions(), []);
        of.take_request(KEY, Some(request("Old Mill")));
        assert_eq!(commands(&mut of), ["submit"]);
    }

    #[test]
    fn nothing_is_kept_of_what_has_left() {
        let mut of = reconciler();
        of.take_request(KEY, Some(request("Old Mill")));
        take(&mut of, &own(), 1, Standing::Leased);
        of.take_request(KEY, None);
        of.take_job(&own(), None);
        assert_eq!(of.actions(), []);
        assert!(of.places.is_empty() && of.jobs.is_empty());
    }

    #[test]
    fn ids_are_stable_and_may_be_ids() {
        assert_eq!(own(), own());
        assert_ne!(own(), job_id("other.", KEY));
        assert_ne!(own(), job_id("headwater.", "old mill||ely|FR"));
        check_id(&job_id("headwater.", &"ключ / \"key\" ".repeat(500))).unwrap();
    }

    /// Whatever was done and lost in a kill: a start over the same topics does what is missing, and nothing else.
    #[test]
    fn a_start_finds_what_is_missing() {
        let after = |standing: Option<Standing>, open: bool| {
            let mut of = reconciler();
            if let Some(standing) = standing {
                take(&mut of, &own(), 1, standing);
            }
            of.take_request(KEY, open.then(|| request("Old Mill")));
            of.actions()
        };
        let kind = |actions: Vec<Action>| match &actions[..] {
            [] => "nothing".to_owned(),
            [action @ Action::Command { .. }] => read(action)["type"].as_str().unwrap().to_owned(),
            [Action::Answer(_)] => "answer".to_owned(),
            [Action::Refuse { .. }] => "refuse".to_owned(),
            more => panic!("{more:?}"),
        };
        for (standing, open, closed) in [
            (None, "submit", "nothing"),
            (Some(Standing::Unbegun), "nothing", "cancel"),
            (Some(Standing::Leased), "nothing", "nothing"),
            (Some(Standing::Cancelled), "retry", "nothing"),
            (Some(Standing::Dead), "nothing", "nothing"),
            (Some(Standing::Done(Ok(place(1.0)))), "answer", "nothing"),
            (Some(Standing::Done(Err(String::new()))), "refuse", "nothing"),
        ] {
            assert_eq!(kind(after(standing.clone(), true)), open, "{standing:?}");
            assert_eq!(kind(after(standing.clone(), false)), closed, "{standing:?}");
        }
    }
}
