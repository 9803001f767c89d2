//! Gives listings coordinates: those of the source; else those of the `places` topic; else the
//! centre of the city by the embedded [gazetteer](crate::gazetteer). Every coordinate says how
//! precise it is and where it comes from.
//!
//! Places that nobody has located yet are asked for, each once: whoever knows answers on `places`,
//! which changes the listings concerned. Listings whose source gives coordinates, and listings
//! without venue and address, pass by without touching any state.

mod cities;
mod place;

use std::collections::{BTreeMap, HashMap};

use differential_dataflow::{AsCollection, VecCollection};
use smallvec::SmallVec;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::core::OkErr;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;

use self::cities::Cities;
use crate::ids::ListingId;
use crate::listing::{GeoPrecision, LiveListing};
use crate::{Epoch, Shared};
use headwater_flow::epochs::{Complete, CompleteEpochs};
use headwater_flow::meter::EntryMeter;

pub use self::cities::{GeocodeConfig, locate};
pub use self::place::{Place, PlaceKey, PlaceRequest};

/// What [`Geocode::geocode`] gives.
pub struct Geocoded<'scope> {
    /// The listings, with coordinates where any could be found.
    pub listings: VecCollection<'scope, Epoch, Shared<LiveListing>, isize>,
    /// The places that live listings need and that nobody has located.
    pub requests: VecCollection<'scope, Epoch, (PlaceKey, PlaceRequest), isize>,
}

/// Locates every listing of a collection.
pub trait Geocode<'scope> {
    /// Gives coordinates to the listings that have none.
    ///
    /// A change of one listing costs the same however many share its place; a change of a place
    /// costs by the listings that are there. Of several places with one key the greatest counts.
    /// A request is there as long as some live listing needs its place and `places` says nothing
    /// about it; its fields are those of the listing with the smallest id.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use headwater_operators::{Listing, LiveListing, Shared};
    /// use headwater_operators::geocode::{Geocode, GeocodeConfig};
    ///
    /// let start = "2026-03-28".parse().unwrap();
    /// let mut listing = Listing::new("venue", "17", "Jazz", start);
    /// listing.venue.name = Some("Blue Note".into());
    /// listing.venue.city = Some("New York".into());
    /// let live = LiveListing::new(&listing, 0, 0);
    ///
    /// timely::example(move |scope| {
    ///     let listings = scope.new_collection_from([Shared::new(live)]).1;
    ///     let places = scope.new_collection_from([]).1;
    ///     let geocoded = listings.geocode(places, GeocodeConfig::default());
    ///     let latitude = geocoded.listings.map(|live| live.geo().map(|geo| geo.point.latitude().round() as i32));
    ///     latitude.assert_eq(scope.new_collection_from([Some(41)]).1);
    ///     let asked = geocoded.requests.map(|(key, _)| key.0.to_string());
    ///     asked.assert_eq(scope.new_collection_from(["blue note||new york|".to_owned()]).1);
    /// });
    /// ```
    fn geocode(self, places: VecCollection<'scope, Epoch, Place, isize>, config: GeocodeConfig) -> Geocoded<'scope>;
}

/// An update of the listings.
type ListingUpdate = (Shared<LiveListing>, Epoch, isize);
/// An update of the requests; boxed, because most updates are of listings and small.
type RequestUpdate = Box<((PlaceKey, PlaceRequest), Epoch, isize)>;

impl<'scope> Geocode<'scope> for VecCollection<'scope, Epoch, Shared<LiveListing>, isize> {
    fn geocode(self, places: VecCollection<'scope, Epoch, Place, isize>, config: GeocodeConfig) -> Geocoded<'scope> {
        let mut cities = Cities::new(config.clone());
        let (direct, keyed) = self.inner.ok_err(move |(live, epoch, diff): ListingUpdate| {
            // The place of a source stands for the city of its listings only: better may be known.
            if live.listing.geo().is_some_and(|geo| geo.precision > GeoPrecision::City) {
                return Ok((live, epoch, diff));
            }
            match PlaceKey::of(&live.listing.view().venue) {
                Some(key) => Err(((key, live), epoch, diff)),
                None => Ok((located(&live, None, &mut cities), epoch, diff)),
            }
        });
        let by_listing =
            Exchange::new(|((key, _), _, _): &((PlaceKey, Shared<LiveListing>), Epoch, isize)| key.hash_code());
        let by_place = Exchange::new(|(place, _, _): &(Place, Epoch, isize)| place.key.hash_code());
        let updates: StreamVec<'scope, Epoch, Result<ListingUpdate, RequestUpdate>> =
            keyed.binary_frontier(places.inner, by_listing, by_place, "geocode/Places", |_, _| {
                let mut epochs: CompleteEpochs<Changes> = CompleteEpochs::new(1);
                let mut state = Places::new(Cities::new(config));
                let (keys, waiting) = (EntryMeter::new("geocode-places"), EntryMeter::new("geocode-listings"));
                move |(listings, listings_frontier), (places, places_frontier), output| {
                    listings.for_each(|capability, data: &mut Vec<_>| {
                        for (keyed, epoch, diff) in data.drain(..) {
                            epochs.at(&capability, epoch).listings.push((keyed, diff));
                        }
                    });
                    places.for_each(|capability, data| {
                        for (place, epoch, diff) in data.drain(..) {
                            epochs.at(&capability, epoch).places.push((place, diff));
                        }
                    });
                    while let Some(Complete { epoch, capabilities, input: changes }) =
                        epochs.next([listings_frontier, places_frontier])
                    {
                        let Some(capability) = capabilities.first() else { continue };
                        let mut session = output.session(capability);
                        state.apply(changes, |change| session.give(change.at(epoch)));
                        keys.set(state.keys.len());
                        waiting.set(state.listings.len());
                    }
                }
            });
        let (located, requests) = updates.ok_err(|update| update);
        let requests: StreamVec<'scope, Epoch, RequestUpdate> = requests;
        let located: VecCollection<'scope, Epoch, _, isize> = located.as_collection();
        Geocoded {
            listings: located.concat(direct.as_collection()),
            requests: requests.map(|update| *update).as_collection(),
        }
    }
}

/// What an epoch brings.
#[derive(Default)]
struct Changes {
    listings: Vec<((PlaceKey, Shared<LiveListing>), isize)>,
    places: Vec<(Place, isize)>,
}

/// What an epoch changes.
enum Change {
    Listing(Shared<LiveListing>, isize),
    Request(PlaceKey, PlaceRequest, isize),
}

impl Change {
    fn at(self, epoch: Epoch) -> Result<ListingUpdate, RequestUpdate> {
        match self {
            Self::Listing(listing, diff) => Ok((listing, epoch, diff)),
            Self::Request(key, request, diff) => Err(Box::new(((key, request), epoch, diff))),
        }
    }
}

/// The listing with the best coordinates there are; the listing itself where that changes nothing.
fn located(live: &Shared<LiveListing>, place: Option<&Place>, cities: &mut Cities) -> Shared<LiveListing> {
    let own = live.listing.geo();
    let of_city = || if own.is_none() { cities.locate(&live.listing.view().venue) } else { None };
    let geo = place.and_then(Place::geo).or_else(of_city);
    if geo == live.located {
        return live.clone();
    }
    Shared::new(LiveListing { located: geo, ..LiveListing::clone(live) })
}

/// The versions of one listing with the number of times each is there: nearly always one, once.
type Versions = SmallVec<[(Shared<LiveListing>, isize); 1]>;

/// What is known about places, and the listings that are there, as they were given out.
struct Places {
    keys: HashMap<PlaceKey, KeyState>,
    /// By number of the key, then by listing: one map for all keys, since most have few listings.
    listings: BTreeMap<(u64, ListingId), Versions>,
    next_number: u64,
    cities: Cities,
}

struct KeyState {
    number: u64,
    places: SmallVec<[(Place, isize); 1]>,
}

impl KeyState {
    fn place(&self) -> Option<&Place> {
        self.places.iter().filter(|(_, count)| *count > 0).map(|(place, _)| place).max()
    }
}

/// From what the request for a place follows.
#[derive(PartialEq)]
struct Need {
    first: Option<Shared<LiveListing>>,
    answered: bool,
}

impl Need {
    fn request(self, key: &PlaceKey) -> Option<PlaceRequest> {
        self.first.filter(|_| !self.answered).map(|live| PlaceRequest::new(key, &live.listing.view().venue))
    }
}

impl Places {
    fn new(cities: Cities) -> Self {
        Self { keys: HashMap::new(), listings: BTreeMap::new(), next_number: 0, cities }
    }

    fn apply(&mut self, changes: Changes, mut emit: impl FnMut(Change)) {
        let mut before = HashMap::new();
        let mut old_places = HashMap::new();
        for (place, diff) in changes.places {
            let key = place.key.clone();
            before.entry(key.clone()).or_insert_with(|| self.need(&key));
            let state = self.key(&key);
            old_places.entry(key).or_insert_with(|| state.place().cloned());
            count(&mut state.places, place, diff);
        }
        for (key, old) in old_places {
            self.move_listings(&key, old.as_ref(), &mut emit);
        }
        for ((key, live), diff) in changes.listings {
            before.entry(key.clone()).or_insert_with(|| self.need(&key));
            let listing = self.update(&key, &live, diff);
            emit(Change::Listing(listing, diff));
        }
        for (key, before) in before {
            self.settle(&key, before, &mut emit);
        }
    }

    fn key(&mut self, key: &PlaceKey) -> &mut KeyState {
        let next = &mut self.next_number;
        self.keys.entry(key.clone()).or_insert_with(|| {
            *next += 1;
            KeyState { number: *next, places: SmallVec::new() }
        })
    }

    fn need(&self, key: &PlaceKey) -> Need {
        let Some(state) = self.keys.get(key) else { return Need { first: None, answered: false } };
        let there = self.listings.range(there(state.number));
        let present = there.flat_map(|(_, versions)| versions).filter(|(_, count)| *count > 0);
        Need { first: present.map(|(live, _)| live.clone()).next(), answered: state.place().is_some() }
    }

    /// Gives the listings of a place their new coordinates if what is known about it has changed.
    fn move_listings(&mut self, key: &PlaceKey, old: Option<&Place>, emit: &mut impl FnMut(Change)) {
        let Some(state) = self.keys.get(key) else { return };
        if old.and_then(Place::geo) == state.place().and_then(Place::geo) {
            return;
        }
        for (_, versions) in self.listings.range_mut(there(state.number)) {
            for (live, count) in versions {
                let new = located(live, state.place(), &mut self.cities);
                if new != *live {
                    emit(Change::Listing(std::mem::replace(live, new.clone()), -*count));
                    emit(Change::Listing(new, *count));
                }
            }
        }
    }

    /// Counts a change of a listing, and gives it with its coordinates.
    fn update(&mut self, key: &PlaceKey, live: &Shared<LiveListing>, diff: isize) -> Shared<LiveListing> {
        let number = self.key(key).number;
        let place = self.keys.get(key).and_then(KeyState::place);
        let listing = located(live, place, &mut self.cities);
        let versions = self.listings.entry((number, live.id)).or_default();
        count(versions, listing.clone(), diff);
        if versions.is_empty() {
            self.listings.remove(&(number, live.id));
        }
        listing
    }

    /// Emits what has become of the request for a place, and forgets places without anything.
    fn settle(&mut self, key: &PlaceKey, before: Need, emit: &mut impl FnMut(Change)) {
        let after = self.need(key);
        if before != after {
            let (old, new) = (before.request(key), after.request(key));
            if old != new {
                old.into_iter().for_each(|request| emit(Change::Request(key.clone(), request, -1)));
                new.into_iter().for_each(|request| emit(Change::Request(key.clone(), request, 1)));
            }
        }
        let used = self
            .keys
            .get(key)
            .is_some_and(|state| !state.places.is_empty() || self.listings.range(there(state.number)).next().is_some());
        if !used {
            self.keys.remove(key);
        }
    }
}

/// The listings of the key with this number.
fn there(number: u64) -> std::ops::RangeInclusive<(u64, ListingId)> {
    (number, ListingId(0))..=(number, ListingId(u128::MAX))
}

fn count<T: PartialEq>(counts: &mut SmallVec<[(T, isize); 1]>, item: T, diff: isize) {
    let Some(at) = counts.iter().position(|(known, _)| *known == item) else {
        return counts.push((item, diff));
    };
    counts[at].1 += diff;
    if counts[at].1 == 0 {
        counts.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use differential_dataflow::input::Input;
    use proptest::prelude::*;

    use super::*;
    use crate::Listing;
    use crate::listing::{Geo, GeoProvenance, Point, Venue};

    fn live(id: &str, venue: Venue) -> Shared<LiveListing> {
        let mut listing = Listing::new("s", id, "t", "2026-03-28".parse().unwrap());
        listing.venue = venue;
        Shared::new(LiveListing::new(&listing, 0, 0))
    }

    fn venue(name: &str, city: &str) -> Venue {
        let some = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Into::into);
        Venue { name: some(name), city: some(city), ..Venue::default() }
    }

    fn place(key: &PlaceKey, degrees: Option<f64>) -> Place {
        let point = degrees.and_then(|degrees| Point::from_degrees(degrees, degrees));
        Place { key: key.clone(), point, precision: GeoPrecision::Venue, provider: None }
    }

    #[test]
    fn keys_do_not_depend_on_spelling() {
        let a = Venue { country: Some("U.S.A.".into()), ..venue("The  Café, Zoë's", "Davis") };
        let b = Venue { country: Some("us".into()), ..venue("the cafe zoes", " DAVIS ") };
        assert_eq!(PlaceKey::of(&a.view()), PlaceKey::of(&b.view()));
        let address = |address: &str| Venue { address: Some(address.into()), ..Venue::default() };
        assert_ne!(PlaceKey::of(&address("a").view()), PlaceKey::of(&venue("a", "").view()));
        for nowhere in [venue("", "Davis"), venue("Zoom", ""), venue("…", ""), Venue::default()] {
            assert_eq!(PlaceKey::of(&nowhere.view()), None);
        }
    }

    #[test]
    fn places_are_flat_json() {
        let text =
            r#"{"key":"a|||","found":true,"latitude":1.5,"longitude":2.0,"precision":"street","provider":"osm"}"#;
        let place: Place = serde_json::from_str(text).unwrap();
        assert_eq!((place.point, place.precision), (Point::from_degrees(1.5, 2.0), GeoPrecision::Street));
        assert_eq!(serde_json::to_string(&place).unwrap(), text);
        let bytes = bincode::serialize(&place).unwrap();
        assert_eq!(bincode::deserialize::<Place>(&bytes).unwrap(), place);
        let lost: Place = serde_json::from_str(r#"{"key":"a|||","found":false,"latitude":1,"longitude":1}"#).unwrap();
        assert_eq!(lost.point, None);
        for wrong in
            [r#"{"key":"a","found":true}"#, r#"{"key":"a","found":true,"latitude":99,"longitude":1}"#, r#"{"key":"a"}"#]
        {
            assert!(serde_json::from_str::<Place>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_country_of_the_configuration_helps() {
        let config = GeocodeConfig { default_country: Some("US".to_owned()), ..GeocodeConfig::default() };
        let mut here = venue("", "Davis");
        here.region = Some("CA".into());
        assert!(Cities::new(config).locate(&here.view()).is_some());
        let france = GeocodeConfig { default_country: Some("FR".to_owned()), ..GeocodeConfig::default() };
        assert!(Cities::new(france).locate(&here.view()).is_none());
        let off = GeocodeConfig { gazetteer: false, ..GeocodeConfig::default() };
        assert!(Cities::new(off).locate(&here.view()).is_none());
    }

    #[test]
    fn state_goes_with_the_last_listing() {
        let mut places = Places::new(Cities::new(GeocodeConfig::default()));
        let live = live("1", venue("Hall", "Berlin"));
        let key = PlaceKey::of(&live.listing.view().venue).unwrap();
        for diff in [1, -1] {
            let changes = Changes { listings: vec![((key.clone(), live.clone()), diff)], places: vec![] };
            let mut requests = 0;
            places.apply(changes, |change| requests += matches!(change, Change::Request(..)) as usize);
            assert_eq!(requests, 1);
        }
        assert!(places.keys.is_empty() && places.listings.is_empty());
    }

    /// One step of a random history.
    #[derive(Debug, Clone)]
    enum Step {
        Put(usize, Venue),
        Drop(usize),
        Place(usize, Option<f64>),
        NoPlace(usize),
        NextEpoch,
    }

    const NAMES: [&str; 4] = ["Hall", "HALL", "Club", "zoom"];

    fn any_venue() -> impl Strategy<Value = Venue> {
        let name = prop::option::of(prop::sample::select(NAMES.to_vec()));
        let city = prop::option::of(prop::sample::select(vec!["Berlin", "berlin", "Springfield"]));
        (name, city, prop::option::weighted(0.2, Just(40.0)), any::<bool>()).prop_map(
            |(name, city, degrees, region)| {
                let mut venue = venue(name.unwrap_or_default(), city.unwrap_or_default());
                venue.region = region.then(|| "Germany".into());
                venue.geo = degrees.and_then(|d| Point::from_degrees(d, d)).map(|point| Geo {
                    point,
                    precision: GeoPrecision::Venue,
                    provenance: GeoProvenance::Source,
                });
                venue
            },
        )
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0..6usize, any_venue()).prop_map(|(id, venue)| Step::Put(id, venue)),
            2 => (0..6usize).prop_map(Step::Drop),
            2 => (0..4usize, prop::option::of(1.0..50.0f64)).prop_map(|(key, degrees)| Step::Place(key, degrees)),
            1 => (0..4usize).prop_map(Step::NoPlace),
            3 => Just(Step::NextEpoch),
        ]
    }

    /// The keys that places are put under: of half the venues there are, and one of none.
    fn key(number: usize) -> PlaceKey {
        let venues = [venue("Hall", "Berlin"), venue("Club", "Berlin"), venue("Hall", ""), venue("Elsewhere", "")];
        PlaceKey::of(&venues[number].view()).unwrap()
    }

    type Counts<K> = BTreeMap<K, isize>;
    type Outcome = (Counts<Shared<LiveListing>>, Counts<(PlaceKey, PlaceRequest)>);

    /// Plays `steps`, each on the worker of its listing or place; gives what the outputs come to.
    fn play(steps: Vec<Step>, workers: usize) -> Outcome {
        let result = Arc::new(Mutex::new(Outcome::default()));
        let sink = Arc::clone(&result);
        timely::execute(timely::Config::process(workers), move |worker| {
            let (sink, request_sink) = (Arc::clone(&sink), Arc::clone(&sink));
            let (mut listings, mut places) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (listings_in, listings) = scope.new_collection();
                let (places_in, places) = scope.new_collection();
                let geocoded = listings.geocode(places, GeocodeConfig::default());
                geocoded.listings.inspect(move |(live, _, diff)| {
                    *sink.lock().unwrap().0.entry(live.clone()).or_default() += diff;
                });
                geocoded.requests.inspect(move |(request, _, diff)| {
                    *request_sink.lock().unwrap().1.entry(request.clone()).or_default() += diff;
                });
                (listings_in, places_in)
            });
            let (peers, index) = (worker.peers(), worker.index());
            let (mut current, mut known) = (BTreeMap::new(), BTreeMap::new());
            for (number, step) in steps.iter().enumerate() {
                match step.clone() {
                    Step::Put(id, venue) if id % peers == index => {
                        let live = live(&id.to_string(), venue);
                        listings.insert(live.clone());
                        current.insert(id, live).into_iter().for_each(|old| listings.remove(old));
                    }
                    Step::Drop(id) if id % peers == index => {
                        current.remove(&id).into_iter().for_each(|old| listings.remove(old));
                    }
                    Step::Place(at, degrees) if at % peers == index => {
                        let place = place(&key(at), degrees);
                        places.insert(place.clone());
                        known.insert(at, place).into_iter().for_each(|old| places.remove(old));
                    }
                    Step::NoPlace(at) if at % peers == index => {
                        known.remove(&at).into_iter().for_each(|old| places.remove(old));
                    }
                    Step::NextEpoch => {
                        listings.advance_to(number as u64);
                        places.advance_to(number as u64);
                    }
                    _ => {}
                }
                if number % 3 == 0 {
                    listings.flush();
                    places.flush();
                    worker.step();
                }
            }
        })
        .unwrap()
        .join()
        .into_iter()
        .for_each(|worker| worker.unwrap());
        let (mut listings, mut requests) = std::mem::take(&mut *result.lock().unwrap());
        listings.retain(|_, count| *count != 0);
        requests.retain(|_, count| *count != 0);
        (listings, requests)
    }

    /// The same from scratch.
    fn expected(steps: &[Step]) -> Outcome {
        let (mut current, mut known) = (BTreeMap::new(), BTreeMap::new());
        for step in steps.iter().cloned() {
            match step {
                Step::Put(id, venue) => drop(current.insert(id, live(&id.to_string(), venue))),
                Step::Drop(id) => drop(current.remove(&id)),
                Step::Place(at, degrees) => drop(known.insert(key(at), place(&key(at), degrees))),
                Step::NoPlace(at) => drop(known.remove(&key(at))),
                Step::NextEpoch => {}
            }
        }
        let mut cities = Cities::new(GeocodeConfig::default());
        let (mut listings, mut first) = (Counts::new(), BTreeMap::new());
        for live in current.into_values() {
            let venue = &live.listing.view().venue;
            let key = PlaceKey::of(venue).filter(|_| venue.geo.is_none());
            let place = key.as_ref().and_then(|key| known.get(key));
            let mut found = || place.and_then(Place::geo).or_else(|| cities.locate(venue));
            let located = if venue.geo.is_none() { found() } else { None };
            if let Some(key) = key.filter(|_| place.is_none()) {
                let request = PlaceRequest::new(&key, venue);
                let slot = first.entry(key).or_insert((live.id, request.clone()));
                if live.id < slot.0 {
                    *slot = (live.id, request);
                }
            }
            listings.insert(Shared::new(LiveListing { located, ..LiveListing::clone(&live) }), 1);
        }
        (listings, first.into_iter().map(|(key, (_, request))| ((key, request), 1)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn incremental_is_from_scratch(steps in prop::collection::vec(any_step(), 0..60), workers in 1usize..4) {
            prop_assert_eq!(play(steps.clone(), workers), expected(&steps));
        }
    }
}
