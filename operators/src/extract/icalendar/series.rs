//! The events of one UID become listings: an event, or the instances of a series.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::SignedDuration;
use jiff::civil::DateTime;

use super::super::problem::Problem;
use super::super::record::Output;
use super::super::recurrence::Series;
use super::calendar::Calendar;
use super::event::{Body, Event};
use super::time::{End, Form, Time, end_after, length};
use crate::listing::Status;
use crate::moment::Moment;
use crate::raw::DeadLetterCode;

/// The VEVENTs of one UID: an event, or a series with the instances that differ.
#[derive(Default)]
pub(super) struct Group<'a> {
    pub(super) main: Option<Event<'a>>,
    /// More events under the same UID, in the order of the calendar.
    pub(super) namesakes: Vec<Event<'a>>,
    pub(super) overrides: Vec<Event<'a>>,
}

/// Where the listings of a group go, and what they take.
pub(super) struct Emission<'e, 'a> {
    pub(super) calendar: &'e Calendar<'a>,
    pub(super) budget: &'e mut u64,
    pub(super) output: &'e mut Output,
    /// What has been told already of which VEVENT, by its place.
    pub(super) told: BTreeSet<(usize, DeadLetterCode)>,
}

/// The instances of a series that differ, by when the series has them.
struct Changes<'e> {
    by_key: BTreeMap<DateTime, &'e Event<'e>>,
    /// Those that hold for all later instances too.
    future: BTreeMap<DateTime, &'e Event<'e>>,
    /// Ends of instances that are not as long as the others.
    ends: BTreeMap<DateTime, &'e End>,
}

/// Longest time that an instance may be under way when the horizon begins, to be given all the same.
const MAX_UNDER_WAY: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Leaves out what is over at `from`, and what began before where the next instance begins before it ends: who repeats each day
/// what lasts for months does not mean that hundreds are under way.
fn leave_out_overlapping(instants: &mut Vec<DateTime>, from: DateTime, lasts: SignedDuration) {
    let next: Vec<Option<DateTime>> = (1..=instants.len()).map(|at| instants.get(at).copied()).collect();
    let mut next = next.into_iter();
    instants.retain(|at| {
        let next = next.next().flatten();
        let end = at.checked_add(lasts).unwrap_or(*at);
        *at >= from || (end > from && next.is_none_or(|next| end <= next))
    });
}

impl<'a> Group<'a> {
    /// Adds a VEVENT. Of two of the same event the greater stamp stays, the last among equals.
    /// Calendars whose UIDs are made of title and day use one for several events: what has the
    /// same stamp and another time or place is another event.
    pub(super) fn add(&mut self, event: Event<'a>) {
        if event.recurrence.is_some() {
            self.overrides.push(event);
            return;
        }
        let Some(main) = &mut self.main else {
            self.main = Some(event);
            return;
        };
        let held = std::iter::once(main).chain(&mut self.namesakes).find(|held| !event.is_beside(held));
        match held {
            Some(held) if held.stamp <= event.stamp => *held = event,
            Some(_) => {}
            None => self.namesakes.push(event),
        }
    }

    pub(super) fn emit(self, to: &mut Emission<'_, '_>) {
        for (number, event) in (2..).zip(&self.namesakes) {
            if let Some(start) = &event.start {
                to.listing(event, None, &format!("{}~{number}", event.uid), start, None);
            }
        }
        match &self.main {
            Some(main) if main.is_series() => to.series(main, &self.overrides),
            main => {
                if let Some(main) = main
                    && let Some(start) = &main.start
                {
                    to.listing(main, None, &main.uid, start, None);
                }
                for instance in &self.overrides {
                    to.lone_instance(instance, main.as_ref());
                }
            }
        }
    }
}

impl Emission<'_, '_> {
    /// All instances of a series within the horizon.
    fn series(&mut self, main: &Event<'_>, overrides: &[Event<'_>]) {
        let Some(start) = &main.start else { return };
        let (from, to) = self.calendar.record.horizon();
        let mut changed: BTreeMap<DateTime, &Event<'_>> = BTreeMap::new();
        for event in overrides {
            let Some(key) = event.recurrence.as_ref().and_then(|at| at.on_clock_of(start)) else { continue };
            let held = changed.entry(key).or_insert(event);
            if held.stamp <= event.stamp {
                *held = event;
            }
        }
        let (days, times): (Vec<&Time>, Vec<&Time>) =
            main.excluded.iter().partition(|time| time.form == Form::Day && start.form != Form::Day);
        let extra: Vec<DateTime> = main.extra.iter().filter_map(|(time, _)| time.on_clock_of(start)).collect();
        let limits = self.calendar.record.limits;
        let (from, to) = (start.zone.local(from), start.zone.local(to));
        let lasts = main.end.as_ref().and_then(|end| length(start, end)).unwrap_or_default();
        let lasts = lasts.clamp(SignedDuration::ZERO, MAX_UNDER_WAY);
        let excluded: HashSet<DateTime> = times.iter().filter_map(|time| time.on_clock_of(start)).collect();
        let excluded_days = days.iter().map(|time| time.local.date()).collect();
        let mut expansion = Series {
            start: start.local,
            starts: true,
            rules: &main.rules,
            excluding: &main.excluding,
            extra: &extra,
            excluded: &excluded,
            excluded_days: &excluded_days,
            from: from.checked_sub(lasts).unwrap_or(from),
            to,
            max: limits.max_instances_per_series.min(self.output.room(limits)),
        }
        .expand(self.budget);
        leave_out_overlapping(&mut expansion.instants, from, lasts);
        if let Some(rule) = main.bad_rule.as_ref().or(expansion.bad_rule.as_ref()) {
            self.fail(main, Problem::invalid("RRULE", rule), &main.uid);
        }
        if expansion.surplus || expansion.exhausted {
            let key = match expansion.exhausted {
                true => "limits.max_recurrence_steps",
                false if self.output.room(limits) <= limits.max_instances_per_series => {
                    "limits.max_listings_per_record"
                }
                false => "limits.max_instances_per_series",
            };
            let used = expansion.instants.len();
            let reason = format!("only the first {used} instances of the series are used: {key} is reached");
            self.fail(main, Problem::new(crate::raw::code::TOO_MANY_LISTINGS, reason), &main.uid);
        }
        let stale = |key: &DateTime, event: &Event<'_>| {
            // Newer than the change, the series has no such instance any more.
            event.stamp < main.stamp && (from..=to).contains(key) && expansion.instants.binary_search(key).is_err()
        };
        changed.retain(|key, event| !stale(key, event));
        let ends = main.extra.iter().filter_map(|(time, end)| Some((time.on_clock_of(start)?, end.as_ref()?)));
        let changed = Changes {
            future: changed
                .iter()
                .filter(|(_, event)| event.this_and_future)
                .map(|(key, event)| (*key, *event))
                .collect(),
            by_key: changed,
            ends: ends.collect(),
        };
        for key in &expansion.instants {
            self.instance(main, &changed, *key);
        }
        for (key, event) in &changed.by_key {
            // Moved into the horizon from outside, or not one of the rule's.
            let moved = event.start.as_ref().is_some_and(|time| self.in_horizon(time, event.end.as_ref()));
            if moved && expansion.instants.binary_search(key).is_err() {
                self.instance(main, &changed, *key);
            }
        }
    }

    /// One instance: as it was changed, or else as the last change says that holds for the future,
    /// or else as the series says.
    fn instance(&mut self, main: &Event<'_>, changed: &Changes<'_>, key: DateTime) {
        let Some(start) = &main.start else { return };
        let id = format!("{}/{}", main.uid, start.with_local(key).id());
        if let Some(event) = changed.by_key.get(&key) {
            let own = start.with_local(key);
            return self.listing(event, Some(main), &id, event.start.as_ref().unwrap_or(&own), None);
        }
        let Some((since, event)) = changed.future.range(..key).next_back() else {
            return self.listing(main, None, &id, &start.with_local(key), changed.ends.get(&key).copied());
        };
        let shifted = event
            .start
            .as_ref()
            .and_then(|moved| Some(moved.with_local(moved.local.checked_add(key.duration_since(*since)).ok()?)));
        self.listing(event, Some(main), &id, &shifted.unwrap_or_else(|| start.with_local(key)), None);
    }

    /// An instance whose series is not in the calendar.
    fn lone_instance(&mut self, event: &Event<'_>, main: Option<&Event<'_>>) {
        let Some(recurrence) = &event.recurrence else { return };
        // Without its series, what it is an instance of is on its own clock.
        let clock = main.and_then(|main| main.start.as_ref()).or(event.start.as_ref());
        let recurrence = clock.map_or_else(|| recurrence.clone(), |clock| recurrence.clone().beside(clock));
        let start = event.start.as_ref().unwrap_or(&recurrence);
        if self.in_horizon(start, event.end.as_ref()) {
            self.listing(event, main, &format!("{}/{}", event.uid, recurrence.id()), start, None);
        }
    }

    /// Whether what begins at `time` is not over before the horizon begins, and begins within it.
    fn in_horizon(&self, time: &Time, end: Option<&End>) -> bool {
        let (from, to) = self.calendar.record.horizon();
        let lasts = end.and_then(|end| length(time, end)).unwrap_or_default();
        let lasts = lasts.clamp(SignedDuration::ZERO, MAX_UNDER_WAY);
        time.instant().is_some_and(|instant| instant <= to && instant.checked_add(lasts).unwrap_or(instant) >= from)
    }

    /// Adds a listing of `event`; `main` has what an instance leaves out. `end` stands for the event's own.
    fn listing(&mut self, event: &Event<'_>, main: Option<&Event<'_>>, id: &str, start: &Time, end: Option<&End>) {
        if let Err(problem) = self.try_listing(event, main, id, start, end) {
            self.fail(event, problem, id);
        }
    }

    fn try_listing(
        &mut self,
        event: &Event<'_>,
        main: Option<&Event<'_>>,
        id: &str,
        start: &Time,
        end: Option<&End>,
    ) -> Result<(), Problem> {
        let (title, body) = match (&event.title, main) {
            (Some(title), _) => (title, event.body.clone()),
            (None, Some(main)) => {
                let title = main.title.as_ref().ok_or_else(|| Problem::missing("SUMMARY"))?;
                (title, Body { status: event.body.status, ..main.body.clone() })
            }
            (None, None) => return Err(Problem::missing("SUMMARY")),
        };
        let timed = if event.end.is_none() { main.unwrap_or(event) } else { event };
        let record = self.calendar.record;
        // The start stands in until it is known: the zone of times that name none may be that of the place.
        let mut listing = record.listing(id.into(), title.into(), Moment::Day(start.local.date()));
        body.apply(&mut listing);
        let zone = match self.calendar.zone.is_known() {
            true => self.calendar.zone.clone(),
            false => record.zone_of(&listing.venue),
        };
        let start = &start.in_zone(&zone);
        let site = if start.form == Form::Local { &start.zone } else { &zone };
        listing.start = start.moment(site).ok_or_else(|| Problem::invalid("DTSTART", &start.id()))?;
        listing.timezone = site.name().cloned();
        listing.end = match end {
            Some(End::At(end)) => end.clone().beside(start).moment(site),
            Some(End::After(duration)) => end_after(start, duration, site),
            None => timed.end_of(start, site),
        };
        if self.calendar.cancelled {
            listing.status = Status::Cancelled;
        }
        self.output.listings.push(record.accept(listing, event.stamp)?);
        Ok(())
    }

    /// What ails one instance of a series ails the others too: it is told once.
    fn fail(&mut self, event: &Event<'_>, problem: Problem, id: &str) {
        if self.told.insert((event.bytes.as_ptr().addr(), problem.code)) {
            self.output.fail(self.calendar.record, problem, Some(id), event.bytes);
        } else {
            self.output.keep(self.calendar.record, id);
        }
    }
}
