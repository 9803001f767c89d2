//! The feed: which record comes next, and what is remembered.

use std::collections::VecDeque;
use std::mem;

use super::breakage::broken;
use super::dice::{Dice, Purpose};
use super::form::calendar::{Series, Times, push_calendar};
use super::form::mapped::{push_campus, push_circle, push_tickets};
use super::form::push_compact;
use super::form::schema_org::{push_event, push_graph};
use super::style::{self, Source, Telling};
use super::world::{DAY, MAX_SHOWS, Plan, Production, World};
use super::{Form, GenerateConfig, GenerateError, Generated, Kind, Shape, TruthRow};

/// The most sources that tell of one event.
const MAX_TELLERS: usize = 3;

/// Numbers of events from here on are those of malformed records: no listing has such an id.
const BROKEN_EVENTS: u64 = 1 << 39;

/// After so many changes a listing is left alone, so that every change is one.
const MAX_REVISION: u8 = 250;

/// How many remembered productions are looked at for one that suits.
const PROBES: usize = 16;

/// How far, in records, a kind may lag behind its share: the greater, the less regular the feed.
const DITHER: f64 = 4.0;

/// A production that is remembered.
#[derive(Debug)]
struct Entry {
    production: u64,
    /// Number of its first show's event; the others follow.
    first_event: u64,
    shows: u8,
    /// Minutes by which it was moved.
    moved: i64,
    /// Who told of it, in order.
    tellers: Vec<Teller>,
}

/// What one source tells of a production.
#[derive(Debug)]
struct Teller {
    source: usize,
    /// Which shows it ever told of, a bit each.
    told: u8,
    /// Which of these are not withdrawn.
    live: u8,
    /// Number of changes by show; a source that bundles has one for all, the first.
    revisions: [u8; MAX_SHOWS],
}

/// How many records of each kind there were, and how many listings were told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All records.
    pub records: u64,
    /// Records of [`Kind::New`].
    pub new: u64,
    /// Records of [`Kind::Duplicate`].
    pub duplicate: u64,
    /// Records of [`Kind::Update`].
    pub update: u64,
    /// Records of [`Kind::Repeat`].
    pub repeat: u64,
    /// Records of [`Kind::Withdrawal`].
    pub withdrawal: u64,
    /// Records of [`Kind::Malformed`].
    pub malformed: u64,
    /// Events told of.
    pub events: u64,
    /// Listings told of, withdrawn ones included.
    pub listings: u64,
}

/// The feed as an iterator. See the [module](super).
pub struct Generator {
    world: World,
    config: GenerateConfig,
    sources: Vec<Source>,
    dice: Dice,
    window: VecDeque<Entry>,
    ready: VecDeque<Generated>,
    counts: Counts,
    next_production: u64,
    next_event: u64,
    /// Rows of productions that have left the window; `None` unless asked for.
    settled: Option<Vec<TruthRow>>,
}

impl Generator {
    /// A feed from its beginning.
    ///
    /// # Errors
    /// [`GenerateError::Config`] for a value out of its range.
    pub fn new(config: GenerateConfig) -> Result<Self, GenerateError> {
        config.check()?;
        Ok(Self {
            world: World::new(&config),
            sources: style::sources(config.sources, &config.shapes),
            dice: Dice::new(config.seed, Purpose::Feed, 0, 0),
            window: VecDeque::with_capacity(config.window as usize + 1),
            ready: VecDeque::with_capacity(MAX_SHOWS),
            counts: Counts::default(),
            next_production: 0,
            next_event: 0,
            settled: None,
            config,
        })
    }

    /// Keeps the truth, for [`settled_truth`](Self::settled_truth) and
    /// [`remaining_truth`](Self::remaining_truth).
    #[must_use]
    pub fn with_truth(mut self) -> Self {
        self.settled = Some(Vec::new());
        self
    }

    /// The rows whose listings no further record will touch, each given once. Take them now and
    /// then: until taken they are kept in memory.
    pub fn settled_truth(&mut self) -> Vec<TruthRow> {
        self.settled.as_mut().map(mem::take).unwrap_or_default()
    }

    /// The rows of what is still remembered: together with all that
    /// [`settled_truth`](Self::settled_truth) gave, the truth about the records so far. Empty
    /// unless [`with_truth`](Self::with_truth).
    pub fn remaining_truth(&self) -> Vec<TruthRow> {
        let mut rows = Vec::new();
        if self.settled.is_some() {
            self.window.iter().for_each(|entry| self.rows(entry, &mut rows));
        }
        // What has been prepared but not handed out was not said.
        let unsaid = |row: &TruthRow| {
            let of_source = self.ready.iter().filter(|record| record.source == row.source);
            of_source.flat_map(|record| &record.truth).any(|(id, _)| *id == row.external_id)
        };
        rows.retain(|row| !unsaid(row));
        rows
    }

    /// What there was so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The names of the sources.
    pub fn source_names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| &*source.name)
    }

    /// Fills `ready` with at least one record, if it can.
    fn prepare(&mut self) {
        let share = &self.config;
        let (malformed, repeat) = (share.malformed_share, share.repeat_share);
        let (update, withdraw) = (share.update_share, share.withdraw_share);
        let due = if self.lags(self.counts.malformed, malformed) {
            self.malformed()
        } else if self.lags(self.counts.withdrawal, withdraw) {
            self.withdrawal()
        } else if self.lags(self.counts.update, update) {
            self.update()
        } else if self.lags(self.counts.repeat, repeat) {
            self.repeat()
        } else {
            None
        };
        if let Some(record) = due {
            self.ready.push_back(record);
            return;
        }
        let duplicates = self.counts.listings - self.counts.events;
        let wanted = self.config.duplicate_share * (self.counts.listings + 1) as f64;
        if duplicates as f64 + DITHER * self.dice.unit() < wanted && self.duplicate() {
            return;
        }
        self.new_production();
    }

    fn lags(&mut self, done: u64, share: f64) -> bool {
        done as f64 + DITHER * self.dice.unit() < share * (self.counts.records + 1) as f64
    }

    fn count(&mut self, record: &Generated) {
        self.counts.records += 1;
        let told = record.truth.len() as u64;
        if record.kind == Kind::New {
            self.counts.events += told;
        }
        if matches!(record.kind, Kind::New | Kind::Duplicate) {
            self.counts.listings += told;
        }
        let counter = match record.kind {
            Kind::New => &mut self.counts.new,
            Kind::Duplicate => &mut self.counts.duplicate,
            Kind::Update => &mut self.counts.update,
            Kind::Repeat => &mut self.counts.repeat,
            Kind::Withdrawal => &mut self.counts.withdrawal,
            Kind::Malformed => &mut self.counts.malformed,
        };
        *counter += 1;
    }

    /// Some source tells of the next production that any lists. There always is one: the first
    /// source lists everything.
    fn new_production(&mut self) {
        loop {
            let number = self.next_production;
            self.next_production += 1;
            let production = self.world.production(number);
            let Some(source) = self.a_source_for(&production, &[]) else { continue };
            let shows = production.shows.len();
            let mut entry = Entry {
                production: number,
                first_event: self.next_event,
                shows: shows as u8,
                moved: 0,
                tellers: Vec::with_capacity(MAX_TELLERS),
            };
            self.next_event += shows as u64;
            self.tell(&mut entry, &production, source, (1 << shows) - 1, Kind::New);
            self.remember(entry);
            return;
        }
    }

    /// Another source tells of a production. Whether one was found.
    fn duplicate(&mut self) -> bool {
        for _ in 0..PROBES {
            let Some(index) = self.a_recent_entry() else { return false };
            let Some(entry) = self.window.get_mut(index) else { continue };
            if entry.tellers.len() >= MAX_TELLERS {
                continue;
            }
            // Taken out, so that the generator can be asked while it changes.
            let mut entry = mem::replace(entry, Entry::nothing());
            let production = self.production(&entry);
            let before: Vec<usize> = entry.tellers.iter().map(|teller| teller.source).collect();
            let source = self.a_source_for(&production, &before);
            if let Some(source) = source {
                let shows = u32::from(entry.shows);
                let all = (1u8 << shows) - 1;
                let mask = if shows > 1 && self.dice.percent(20) { all & !(1 << self.dice.below(shows)) } else { all };
                self.tell(&mut entry, &production, source, mask, Kind::Duplicate);
            }
            self.window[index] = entry;
            if source.is_some() {
                return true;
            }
        }
        false
    }

    fn tell(&mut self, entry: &mut Entry, production: &Production, source: usize, mask: u8, kind: Kind) {
        let teller = Teller { source, told: mask, live: mask, revisions: [0; MAX_SHOWS] };
        if self.sources[source].style.form.bundles() {
            self.ready.push_back(self.record(entry, production, &teller, 0, kind));
        } else {
            for show in bits(mask) {
                self.ready.push_back(self.record(entry, production, &teller, show, kind));
            }
        }
        entry.tellers.push(teller);
    }

    /// A random source that would list `production` and is none of `before`.
    fn a_source_for(&mut self, production: &Production, before: &[usize]) -> Option<usize> {
        let count = self.sources.len();
        let first = self.dice.index(count);
        (0..count)
            .map(|step| (first + step) % count)
            .find(|index| !before.contains(index) && self.sources[*index].lists(&self.world, production))
    }

    /// A remembered production, more often a recent one.
    fn a_recent_entry(&mut self) -> Option<usize> {
        let count = self.window.len();
        let (one, other) = (self.dice.index(count), self.dice.index(count));
        (count > 0).then_some(one.max(other))
    }

    /// A remembered production with the place of a teller in it, and of one of its live shows
    /// (for a source that bundles: the first one), for which `suits` holds.
    fn a_listing(&mut self, suits: impl Fn(&Source, &Teller, usize) -> bool) -> Option<(usize, usize, usize)> {
        for _ in 0..PROBES {
            let index = self.a_recent_entry()?;
            let Some(entry) = self.window.get(index) else { continue };
            let which = self.dice.index(entry.tellers.len());
            let Some(teller) = entry.tellers.get(which) else { continue };
            let source = &self.sources[teller.source];
            let show = if source.style.form.bundles() {
                0
            } else {
                let live: Vec<usize> = bits(teller.live).collect();
                if live.is_empty() { 0 } else { *self.dice.pick(&live) }
            };
            if teller.live != 0 && suits(source, teller, show) {
                return Some((index, which, show));
            }
        }
        None
    }

    fn repeat(&mut self) -> Option<Generated> {
        let (index, which, show) = self.a_listing(|_, _, _| true)?;
        let entry = self.window.get(index)?;
        let teller = entry.tellers.get(which)?;
        Some(self.record(entry, &self.production(entry), teller, show, Kind::Repeat))
    }

    fn update(&mut self) -> Option<Generated> {
        let (index, which, show) = self.a_listing(|_, teller, show| teller.revisions[show] < MAX_REVISION)?;
        let moves = self.dice.percent(30);
        let by = *self.dice.pick(&[-30, 15, 30, 60, DAY, 7 * DAY]);
        let entry = self.window.get_mut(index)?;
        // Only while one source tells of it: the others would not know.
        if moves && entry.tellers.len() == 1 && entry.shows == 1 && entry.moved == 0 {
            entry.moved = by;
        }
        entry.tellers.get_mut(which)?.revisions[show] += 1;
        let entry = self.window.get(index)?;
        let teller = entry.tellers.get(which)?;
        Some(self.record(entry, &self.production(entry), teller, show, Kind::Update))
    }

    fn withdrawal(&mut self) -> Option<Generated> {
        let (index, which, show) =
            self.a_listing(|source, teller, show| source.style.keyed && teller.revisions[show] < MAX_REVISION)?;
        let whole = self.dice.percent(50);
        let entry = self.window.get_mut(index)?;
        let teller = entry.tellers.get_mut(which)?;
        let bundles = self.sources[teller.source].style.form.bundles();
        let withdrawn = match bits(teller.live).last() {
            _ if !bundles => 1 << show,
            Some(last) if !whole && teller.live.count_ones() > 1 => 1 << last,
            _ => teller.live,
        };
        let before = teller.live;
        teller.live &= !withdrawn;
        teller.revisions[show] += 1;
        let entry = self.window.get(index)?;
        let teller = entry.tellers.get(which)?;
        let production = self.production(entry);
        if bundles && teller.live != 0 {
            return Some(self.record(entry, &production, teller, 0, Kind::Withdrawal));
        }
        let source = &self.sources[teller.source];
        let shows = if bundles { before } else { withdrawn };
        Some(Generated {
            source: source.name.clone(),
            content_type: source.style.form.content_type(),
            key: key(source, entry, show),
            value: None,
            kind: Kind::Withdrawal,
            truth: self.truth(entry, &production, teller, shows),
        })
    }

    fn malformed(&mut self) -> Option<Generated> {
        let number = self.counts.malformed;
        let mut dice = Dice::new(self.config.seed, Purpose::Breaking, number, 0);
        let production = self.world.production(number);
        let source = self.a_source_for(&production, &[])?;
        let source = &self.sources[source];
        let form = source.style.form;
        let event = BROKEN_EVENTS + number;
        let telling = Telling::new(&self.world, source, &production, production.shows.first()?, event, 0);
        let (title, id) = (telling.title.clone(), telling.id.clone());
        let whole = written(form, &[telling], Times::Zoned, None);
        let broken = broken(&mut dice, form, whole, &title);
        Some(Generated {
            source: source.name.clone(),
            content_type: broken.content_type.unwrap_or(form.content_type()),
            key: (source.style.keyed && !broken.unkeyed).then(|| id.into_bytes()),
            value: Some(broken.value),
            kind: Kind::Malformed,
            truth: Vec::new(),
        })
    }

    fn production(&self, entry: &Entry) -> Production {
        let mut production = self.world.production(entry.production);
        production.shows.iter_mut().for_each(|show| show.start += entry.moved);
        production
    }

    /// What `teller` says now: of one show, or, where it bundles, of all.
    fn record(&self, entry: &Entry, production: &Production, teller: &Teller, show: usize, kind: Kind) -> Generated {
        let source = &self.sources[teller.source];
        let form = source.style.form;
        let shows = if form.bundles() { teller.live } else { 1 << show };
        let series = series(source, production, shows);
        let tellings: Vec<Telling<'_>> = bits(shows)
            .enumerate()
            .filter_map(|(place, index)| {
                // Of a bundle, only the first changes.
                let revision = match (form.bundles(), place) {
                    (true, 0) => teller.revisions[0],
                    (true, _) => 0,
                    (false, _) => teller.revisions[index],
                };
                // A series stands under the id of its first show, even without it.
                let number = entry.first_event + if series.is_some() { 0 } else { index as u64 };
                let told = if series.is_some() { production.shows.first() } else { production.shows.get(index) };
                Some(Telling::new(&self.world, source, production, told?, number, revision))
            })
            .collect();
        Generated {
            source: source.name.clone(),
            content_type: form.content_type(),
            key: if source.style.keyed { key(source, entry, show) } else { None },
            value: Some(written(form, &tellings, self.times(entry, production), series.as_ref()).into_bytes()),
            kind,
            truth: self.truth(entry, production, teller, shows),
        }
    }

    /// How a calendar of this production writes times.
    fn times(&self, entry: &Entry, production: &Production) -> Times {
        let zone = |venue: usize| self.world.cities[self.world.venues[venue].city].words.zone;
        let one_zone = production.shows.windows(2).all(|pair| zone(pair[0].venue) == zone(pair[1].venue));
        match entry.production % 10 {
            // A rule in UTC would not follow the change of clocks.
            0 | 1 if production.plan != Plan::Weekly => Times::Utc,
            2 if one_zone => Times::Floating,
            _ => Times::Zoned,
        }
    }

    fn truth(&self, entry: &Entry, production: &Production, teller: &Teller, shows: u8) -> Vec<(String, u64)> {
        let source = &self.sources[teller.source];
        let is_series = series(source, production, shows).is_some();
        bits(shows)
            .map(|show| {
                let event = entry.first_event + show as u64;
                if !is_series {
                    return (source.external_id(event), event);
                }
                let id = source.external_id(entry.first_event);
                (self.instance_id(&id, production, show), event)
            })
            .collect()
    }

    /// The id that extraction gives to one instance of a series: the calendar's id, and the time
    /// on the clock of the place.
    fn instance_id(&self, uid: &str, production: &Production, show: usize) -> String {
        let mut id = String::from(uid);
        id.push('/');
        if let Some(show) = production.shows.get(show) {
            push_compact(&mut id, &self.world, show.start);
        }
        id
    }

    fn rows(&self, entry: &Entry, rows: &mut Vec<TruthRow>) {
        let production = self.production(entry);
        for teller in &entry.tellers {
            let truth = self.truth(entry, &production, teller, teller.told);
            rows.extend(bits(teller.told).zip(truth).map(|(show, (external_id, event))| TruthRow {
                source: self.sources[teller.source].name.clone(),
                external_id,
                event,
                live: teller.live & (1 << show) != 0,
            }));
        }
    }

    fn remember(&mut self, entry: Entry) {
        self.window.push_back(entry);
        if self.window.len() <= self.config.window as usize {
            return;
        }
        let left = self.window.pop_front();
        if let (Some(entry), Some(mut rows)) = (left, self.settled.take()) {
            self.rows(&entry, &mut rows);
            self.settled = Some(rows);
        }
    }
}

impl Entry {
    /// What stands in the window while an entry is worked on.
    fn nothing() -> Self {
        Self { production: 0, first_event: 0, shows: 0, moved: 0, tellers: Vec::new() }
    }
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        if self.config.records.is_some_and(|records| self.counts.records >= records) {
            return None;
        }
        if self.ready.is_empty() {
            self.prepare();
        }
        let record = self.ready.pop_front()?;
        self.count(&record);
        Some(record)
    }
}

/// `records` records of the `mapped` shapes after `config`, for measuring: JSON, keyed, about
/// 1.2 KB each.
///
/// # Errors
/// [`GenerateError::Config`] for a value out of its range.
pub fn bench_records(
    records: u64,
    config: GenerateConfig,
) -> Result<impl Iterator<Item = Generated> + Send, GenerateError> {
    Generator::new(GenerateConfig { records: Some(records), shapes: vec![Shape::Mapped], ..config })
}

fn written(form: Form, tellings: &[Telling<'_>], times: Times, series: Option<&Series>) -> String {
    let mut out = String::with_capacity(1536 * tellings.len());
    match (form, tellings.first()) {
        (_, None) => {}
        (Form::Calendar, _) => push_calendar(&mut out, tellings, times, series),
        (Form::JsonLdGraph, _) => push_graph(&mut out, tellings),
        (Form::JsonLd, Some(telling)) => push_event(&mut out, telling),
        (Form::Tickets, Some(telling)) => push_tickets(&mut out, telling),
        (Form::Circle, Some(telling)) => push_circle(&mut out, telling),
        (Form::Campus, Some(telling)) => push_campus(&mut out, telling),
    }
    out
}

/// The rule by which `source` tells of the shows of a weekly production; `None` where it tells
/// of each.
fn series(source: &Source, production: &Production, shows: u8) -> Option<Series> {
    if source.style.form != Form::Calendar || production.plan != Plan::Weekly {
        return None;
    }
    let left_out = production.shows.iter().enumerate().filter(|(index, _)| shows & (1 << index) == 0);
    Some(Series { count: production.shows.len(), left_out: left_out.map(|(_, show)| show.start).collect() })
}

/// The key: the id of the listing, or, of a bundle, that of the production's first show.
fn key(source: &Source, entry: &Entry, show: usize) -> Option<Vec<u8>> {
    let show = if source.style.form.bundles() { 0 } else { show as u64 };
    Some(source.external_id(entry.first_event + show).into_bytes())
}

/// The places of the bits that are set.
fn bits(mask: u8) -> impl Iterator<Item = usize> + Clone {
    (0..8).filter(move |place| mask & (1 << place) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let config = GenerateConfig { records: Some(8_000), window: 100, ..GenerateConfig::default() };
        let mut generator = Generator::new(config).unwrap().with_truth();
        let mut rows = 0;
        while generator.next().is_some() {
            rows += generator.settled_truth().len();
            assert!(generator.window.len() <= 100 && generator.window.capacity() < 256);
            assert!(generator.ready.len() < MAX_SHOWS);
            assert!(generator.window.iter().all(|entry| entry.tellers.len() <= MAX_TELLERS));
        }
        assert!(rows > 3000);
    }
}
