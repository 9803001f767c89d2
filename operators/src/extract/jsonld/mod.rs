//! schema.org `Event` as JSON-LD: an object, an array, a `@graph`, or nested in other nodes.
//!
//! An event is a node whose type ends in `Event` or `Festival` (`MusicEvent`, `EducationEvent`,
//! …), or is `CourseInstance` or `Hackathon`. Its id is the first of `identifier`, `@id` and `url`
//! that it has, or else a digest of name and start. Sub-events are listings of their own; the
//! event that `superEvent` points to is not, since it is described in passing only.
//!
//! - What is referred to by `@id` is looked up in the document.
//! - A sub-event that names no place or organizer has those of what it is part of.
//! - An event with several starts, or with an `eventSchedule`, gives one listing for each time. Its id has the
//!   time behind a slash, as in a calendar: `ID/20260328T193000`.
//! - What seems to be an event and is not read as one (an unknown type with a `startDate`, a series that does
//!   not say when it takes place) is told.
//! - JSON as web pages have it is read too, and that is told: see [`lenient`].

mod graph;
mod schedule;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Span};
use smol_str::SmolStr;

use self::graph::{Event, Found, Graph, types};
use self::schedule::Schedule;
use super::json::{Node, Slices};
use super::lenient;
use super::place;
use super::problem::Problem;
use super::record::{Output, Record, check_id, source_geo, stand_in_id};
use super::when::{self, When};
use super::words::{self, Prices};
use super::zone::Zone;
use crate::listing::{Amount, Listing, Organizer, Pricing, Status, Venue};
use crate::moment::Moment;
use crate::raw::{DeadLetterCode, SourceStamp};

/// Changes whenever the same record would give other listings than before.
pub(super) const VERSION: u32 = 2;

/// How much of a record that was read leniently goes into its dead letter, in bytes.
const LENIENT_HEAD: usize = 1024;

/// Reads a JSON-LD record. A document of other things than events is one without listings.
pub(super) fn extract(record: &Record<'_>) -> Result<Output, Problem> {
    let problem = match Node::parse(record.bytes, record.limits.max_nesting) {
        Ok(root) => return read(record, root, record.bytes),
        Err(problem) => problem,
    };
    let text = std::str::from_utf8(record.bytes).ok().filter(|_| problem.code == DeadLetterCode::MALFORMED);
    let Some(text) = text else { return Err(problem) };
    let lenient::Mended { text, mut mended } = lenient::mend(text);
    let root = Node::parse_all(&text, record.limits.max_nesting);
    let Some(root) = root.filter(|root| matches!(root, Node::List(_) | Node::Object(_))) else { return Err(problem) };
    if mended.is_empty() {
        mended.push("several values");
    }
    let mut output = read(record, root, text.as_bytes())?;
    let reason = format!("{}; read without {}", problem.reason, mended.join(", "));
    let head = record.bytes.get(..LENIENT_HEAD.min(record.bytes.len())).unwrap_or_default();
    output.warn(Problem::new(crate::raw::code::READ_LENIENTLY, reason), head);
    output.rewritten = true;
    Ok(output)
}

/// Reads a document that was parsed; `bytes` are what it was parsed from.
fn read<'a>(record: &Record<'_>, mut root: Node<'a>, bytes: &'a [u8]) -> Result<Output, Problem> {
    graph::normalise(&mut root, bytes);
    let graph = Graph::new(&root);
    let found = Found::of(&graph);
    if found.events.is_empty() && !found.typed && !is_empty(&root) {
        let reason = "there is no @type, so it is not JSON-LD; JSON of another form needs a mapping for its source";
        return Err(Problem::new(DeadLetterCode::MISSING_FIELD, reason));
    }
    let mut slices = Slices::new(bytes);
    let mut reader =
        Reader { record, graph: &graph, output: Output::default(), budget: record.limits.max_recurrence_steps };
    for (types, (why, path)) in &found.strange {
        let reason = match types.as_str() {
            "" => format!("a thing without @type: {why}"),
            types => format!("{types}: {why}"),
        };
        reader
            .output
            .warn(Problem::new(crate::raw::code::NOT_AN_EVENT, super::record::cut(&reason, 200)), slices.slice(path));
    }
    let total = found.events.len();
    for (index, event) in found.events.iter().enumerate() {
        if reader.output.room(record.limits) == 0 {
            let reason =
                format!("{} events of {total} are beyond the limit, limits.max_listings_per_record", total - index);
            reader.output.fail(record, Problem::new(crate::raw::code::TOO_MANY_LISTINGS, reason), None, record.bytes);
            break;
        }
        let bytes = &mut || slices.slice(&event.path).to_vec();
        if let Err(problem) = reader.event(event, bytes) {
            let id = given_id(event.node).filter(|id| check_id(id, record.limits).is_ok());
            let bytes = bytes();
            reader.output.fail(record, problem, id.as_deref(), &bytes);
        }
    }
    Ok(reader.output)
}

/// An empty list, or a node without content but a list of none.
fn is_empty(root: &Node<'_>) -> bool {
    match root {
        Node::List(items) => items.is_empty(),
        object => object.get("@graph").is_some_and(|graph| graph.items().is_empty()),
    }
}

/// Reads the events of one document.
struct Reader<'r, 'n, 'a> {
    record: &'r Record<'r>,
    graph: &'r Graph<'n, 'a>,
    output: Output,
    budget: u64,
}

/// What an end says; a time of day alone is one of the day on which the event begins.
fn end_of(text: &str, start: Moment) -> Option<When> {
    when::loose(text).or_else(|| Some(When::Local(start.local_date().to_datetime(when::time_of_day(text)?))))
}

/// When an event takes place.
struct Times {
    start: Moment,
    end: Option<Moment>,
    timezone: Option<SmolStr>,
}

impl<'n, 'a> Reader<'_, 'n, 'a> {
    /// Adds the listings of an event; `bytes` are those of its node.
    fn event(&mut self, event: &Event<'n, 'a>, bytes: &mut dyn FnMut() -> Vec<u8>) -> Result<(), Problem> {
        let node = event.node;
        let title = name(node).ok_or_else(|| Problem::missing("name"))?;
        // The start stands in until it is known; what is said of the event does not depend on it.
        let mut listing =
            self.record.listing(SmolStr::default(), title.as_ref().into(), Moment::Day(jiff::civil::Date::ZERO));
        self.describe(&mut listing, event);
        let zone = self.record.zone_of(&listing.venue);
        let modified = first_text(node, "dateModified").and_then(|text| when::iso8601(&text));
        let modified_ms = modified.and_then(|modified| modified.epoch_ms(&zone)).unwrap_or(0);
        let stamp = SourceStamp { sequence: 0, modified_ms };
        if let Some(schedules) = node.get("eventSchedule").map(Node::items).filter(|items| !items.is_empty()) {
            let id = given_id(node).unwrap_or_else(|| stand_in_id(&title, "eventSchedule"));
            return self.scheduled(
                schedules,
                event.node,
                &Scheduled { id: &id, listing: &listing, zone, stamp },
                bytes,
            );
        }
        let starts = texts(node, "startDate");
        let first = starts.first().ok_or_else(|| Problem::missing("startDate"))?;
        let id = given_id(node).unwrap_or_else(|| stand_in_id(&title, first));
        let times = self.times(node, &starts, &zone)?;
        for (end, at) in texts(node, "endDate").iter().zip(times.iter().cycle()) {
            if end_of(end, at.1.start).is_none() {
                self.output.warn(Problem::invalid("endDate", end), &bytes());
            }
        }
        let several = times.len() > 1;
        for (suffix, Times { start, end, timezone }) in times {
            let id = if several { format!("{id}/{suffix}") } else { id.clone() };
            let one = Listing { external_id: id.into(), start, end, timezone, ..listing.clone() };
            self.output.listings.push(self.record.accept(one, stamp)?);
        }
        Ok(())
    }

    /// Each start with its end, and what tells it apart in ids.
    fn times(&self, node: &Node<'_>, starts: &[String], zone: &Zone) -> Result<Vec<(String, Times)>, Problem> {
        let ends = texts(node, "endDate");
        let mut times: Vec<(String, Times)> = Vec::new();
        for (index, written) in starts.iter().enumerate() {
            let invalid = || Problem::invalid("startDate", written);
            let begin = when::loose(written).ok_or_else(invalid)?;
            // A time may name its zone beside the offset.
            let annotated = when::annotation(written).and_then(Zone::resolve);
            let zone = annotated.as_ref().unwrap_or(zone);
            let start = begin.begin(zone).ok_or_else(invalid)?;
            let end = match (starts.len(), ends.len()) {
                (1, _) => ends.first(),
                (starts, ends_given) if starts == ends_given => ends.get(index),
                _ => None,
            };
            let end = end.and_then(|text| end_of(text, start)?.begin(zone));
            let end = end.or_else(|| begin.last_day()).or_else(|| from_duration(node, start));
            let timezone = zone.name().filter(|_| begin.fits(zone)).cloned();
            let suffix = match (&begin, start) {
                (When::Days(..), _) => start.local_date().strftime("%Y%m%d").to_string(),
                _ => local(start).strftime("%Y%m%dT%H%M%S").to_string(),
            };
            times.push((suffix, Times { start, end, timezone }));
        }
        // A day beside a time of that day says nothing more.
        let timed: Vec<_> =
            times.iter().filter(|(_, at)| !at.start.is_day()).map(|(_, at)| at.start.local_date()).collect();
        times.retain(|(_, at)| !(at.start.is_day() && timed.contains(&at.start.local_date())));
        times.sort_by(|(a, _), (b, _)| a.cmp(b));
        times.dedup_by(|(a, _), (b, _)| a == b);
        Ok(times)
    }

    /// Adds the instances of schedules within the horizon.
    fn scheduled(
        &mut self,
        schedules: &'n [Node<'a>],
        event: &Node<'_>,
        what: &Scheduled<'_>,
        bytes: &mut dyn FnMut() -> Vec<u8>,
    ) -> Result<(), Problem> {
        let limits = self.record.limits;
        for node in schedules {
            let zone = match first_text(node, "scheduleTimezone") {
                Some(name) => Zone::resolve(&name).unwrap_or_else(|| {
                    let reason = format!("there is no time zone {:?}", super::record::cut(&name, 80));
                    self.output.warn(Problem::new(crate::raw::code::UNKNOWN_TIMEZONE, reason), &bytes());
                    what.zone.clone()
                }),
                None => what.zone.clone(),
            };
            let schedule = Schedule::read(node, event)?;
            let (from, to) = self.record.horizon();
            let max = limits.max_instances_per_series.min(self.output.room(limits));
            let lasts = schedule.lasts.unwrap_or_default();
            let from = zone.local(from).checked_sub(lasts).unwrap_or_else(|_| zone.local(from));
            let expansion = schedule.expand(from, zone.local(to), max, &mut self.budget);
            if let Some(rule) = &expansion.bad_rule {
                return Err(Problem::invalid("eventSchedule", rule));
            }
            for at in &expansion.instants {
                self.instance(what, &schedule, &zone, *at)?;
            }
            if expansion.surplus || expansion.exhausted {
                let key = if expansion.exhausted { "max_recurrence_steps" } else { "max_instances_per_series" };
                let used = expansion.instants.len();
                let reason =
                    format!("only the first {used} instances of the schedule are used: limits.{key} is reached");
                self.output.fail(
                    self.record,
                    Problem::new(crate::raw::code::TOO_MANY_LISTINGS, reason),
                    Some(what.id),
                    &bytes(),
                );
            }
        }
        Ok(())
    }

    fn instance(
        &mut self,
        what: &Scheduled<'_>,
        schedule: &Schedule,
        zone: &Zone,
        at: DateTime,
    ) -> Result<(), Problem> {
        let invalid = || Problem::invalid("eventSchedule", &at.to_string());
        let (start, suffix, end) = match schedule.timed {
            true => {
                let end = schedule.lasts.and_then(|lasts| zone.moment(at.checked_add(lasts).ok()?));
                (zone.moment(at).ok_or_else(invalid)?, at.strftime("%Y%m%dT%H%M%S").to_string(), end)
            }
            false => {
                let last = |lasts: SignedDuration| at.date().checked_add(lasts).ok()?.yesterday().ok();
                let end = schedule.lasts.filter(|lasts| lasts.as_hours() >= 48).and_then(last).map(Moment::Day);
                (Moment::Day(at.date()), at.strftime("%Y%m%d").to_string(), end)
            }
        };
        let id = format!("{}/{suffix}", what.id).into();
        let one = Listing { external_id: id, start, end, timezone: zone.name().cloned(), ..what.listing.clone() };
        self.output.listings.push(self.record.accept(one, what.stamp)?);
        Ok(())
    }

    fn describe(&self, listing: &mut Listing, event: &Event<'n, 'a>) {
        let node = event.node;
        listing.description = first_text(node, "description").or_else(|| first_text(node, "content")).map(Into::into);
        listing.source_categories =
            types(node).filter(|name| !name.eq_ignore_ascii_case("Event")).map(SmolStr::from).collect();
        for key in ["eventCategory", "category", "genre"] {
            each_name(node, key, &mut |text| listing.source_categories.push(text.into()));
        }
        listing.tags = keywords(node);
        listing.venue = Venue::default();
        self.locate(listing, event);
        let own = |node: &'n Node<'a>| self.organizer(node, "organizer").or_else(|| self.organizer(node, "performer"));
        listing.organizer =
            own(node).or_else(|| event.parents.iter().find_map(|parent| self.organizer(parent, "organizer")));
        let (pricing, sold_out) = self.pricing(node);
        listing.pricing = pricing;
        listing.capacity = node.get("maximumAttendeeCapacity").and_then(Node::whole);
        for image in self.graph.items(node, "image") {
            listing.images.extend(url_of(image).map(SmolStr::from));
        }
        for key in ["url", "mainEntityOfPage", "sameAs"] {
            each_url(node, key, &mut |url| listing.urls.push(url.into()));
        }
        listing.status = status(node, sold_out);
        listing.online |= listing.status == Status::MovedOnline;
    }

    /// Fills in venue and whether it is online, from all places that are named: those of the event, or else of
    /// what it is part of.
    fn locate(&self, listing: &mut Listing, event: &Event<'n, 'a>) {
        let around = std::iter::once(event.node).chain(event.parents.iter().copied());
        let Some(node) =
            around.clone().find(|node| node.get("location").is_some_and(|found| !found.items().is_empty()))
        else {
            listing.online = is_online(event.node);
            return;
        };
        listing.online = is_online(if event.node.get("eventAttendanceMode").is_some() { event.node } else { node });
        let mut located = false;
        for place in self.graph.items(node, "location") {
            if types(place).any(|name| name == "VirtualLocation") {
                listing.online = true;
                each_url(place, "url", &mut |url| listing.urls.push(url.into()));
            } else if !located {
                listing.venue = self.venue(place);
                located = true;
            }
        }
    }

    fn venue(&self, place: &'n Node<'a>) -> Venue {
        if let Some(text) = place.filled() {
            return place::split(text);
        }
        let own = |key: &str| first_text(place, key).map(SmolStr::from);
        let mut venue = match self.graph.items(place, "address").next() {
            Some(Node::Text(text)) => place::address(text),
            Some(address) => self.postal_address(address),
            None if types(place).any(|name| name == "PostalAddress") => self.postal_address(place),
            None => Venue::default(),
        };
        venue.name = own("name").or(venue.name);
        let geo = self.graph.items(place, "geo").next().unwrap_or(place);
        let degrees = |key: &str| geo.get(key).and_then(|value| value.items().first()?.number());
        venue.geo = degrees("latitude").zip(degrees("longitude")).and_then(|(lat, lon)| source_geo(lat, lon));
        venue
    }

    fn postal_address(&self, address: &'n Node<'a>) -> Venue {
        let own = |key: &str| {
            let named = || self.graph.items(address, key).next()?.get("name")?.filled().map(SmolStr::from);
            named().or_else(|| first_text(address, key).map(SmolStr::from))
        };
        Venue {
            name: None,
            address: own("streetAddress"),
            city: own("addressLocality"),
            region: own("addressRegion"),
            postal_code: own("postalCode"),
            country: own("addressCountry"),
            geo: None,
        }
    }

    fn organizer(&self, node: &'n Node<'a>, key: &str) -> Option<Organizer> {
        let first = self.graph.items(node, key).next()?;
        if let Some(name) = first.filled() {
            return Some(Organizer { name: name.into(), url: None });
        }
        let name = name(first)?.into();
        Some(Organizer { name, url: first_text(first, "url").map(SmolStr::from) })
    }

    /// The lowest and highest price of all offers, and whether all of them are sold out.
    fn pricing(&self, node: &'n Node<'a>) -> (Option<Pricing>, bool) {
        let mut prices = Prices::default();
        prices.pricing.free = node.get("isAccessibleForFree").and_then(free);
        let (mut offers, mut sold_out) = (0, 0);
        let mut add = |offer: &'n Node<'a>| {
            add_offer(&mut prices, offer);
            if let Some(word) = first_text(offer, "availability") {
                offers += 1;
                sold_out += usize::from(words::local_name(word.trim()).eq_ignore_ascii_case("SoldOut"));
            }
        };
        for offer in self.graph.items(node, "offers") {
            add(offer);
            self.graph.items(offer, "offers").for_each(&mut add);
        }
        (prices.finish(), offers > 0 && sold_out == offers)
    }
}

/// What all instances of a schedule have in common.
struct Scheduled<'s> {
    id: &'s str,
    listing: &'s Listing,
    zone: Zone,
    stamp: SourceStamp,
}

/// What clocks on site show at a moment.
fn local(moment: Moment) -> DateTime {
    match moment {
        Moment::Day(day) => day.into(),
        Moment::Instant { ms, offset_min } => {
            let local = jiff::Timestamp::from_millisecond(ms + i64::from(offset_min) * 60_000).unwrap_or_default();
            jiff::tz::Offset::UTC.to_datetime(local)
        }
    }
}

fn is_online(node: &Node<'_>) -> bool {
    first_text(node, "eventAttendanceMode").is_some_and(|mode| {
        let mode = words::local_name(mode.trim()).to_ascii_lowercase();
        mode.starts_with("online") || mode.starts_with("mixed")
    })
}

/// What the words of `eventStatus` say together: of several the gravest.
fn status(node: &Node<'_>, sold_out: bool) -> Status {
    let said = texts(node, "eventStatus").iter().filter_map(|word| words::status(word)).max();
    match said.unwrap_or_default() {
        Status::Scheduled if sold_out => Status::SoldOut,
        status => status,
    }
}

/// Whether it is free: a boolean, or one as text or with the address of schema.org.
fn free(node: &Node<'_>) -> Option<bool> {
    node.flag().or_else(|| match words::local_name(node.filled()?).to_ascii_lowercase().as_str() {
        "true" | "yes" => Some(true),
        "false" | "no" => Some(false),
        _ => None,
    })
}

/// The end by the duration. Days count the first.
fn from_duration(node: &Node<'_>, start: Moment) -> Option<Moment> {
    let span: Span = first_text(node, "duration")?.trim().parse().ok()?;
    match start {
        Moment::Instant { ms, offset_min } => {
            let duration = SignedDuration::try_from(span).ok().or_else(|| days_as_hours(span))?;
            let ms = ms.checked_add(i64::try_from(duration.as_millis()).ok()?)?;
            Some(Moment::Instant { ms, offset_min })
        }
        Moment::Day(day) => Some(Moment::Day(day.checked_add(span).ok()?.yesterday().ok()?)),
    }
}

fn days_as_hours(span: Span) -> Option<SignedDuration> {
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// The name of a thing: a text, or the English or the first one of several languages.
fn name<'n>(node: &'n Node<'_>) -> Option<Cow<'n, str>> {
    first_text(node, "name").or_else(|| {
        let by_language = node.get("name")?.items().first()?;
        let Node::Object(members) = by_language else { return None };
        let own = |(name, value): &'n (_, Node<'_>)| {
            let name: &super::json::Name<'_> = name;
            value.filled().filter(|_| !name.as_str().starts_with('@'))
        };
        by_language.get("en").and_then(Node::filled).or_else(|| members.iter().find_map(own)).map(Cow::Borrowed)
    })
}

/// All texts among the values of `key`, without blank ends.
fn texts(node: &Node<'_>, key: &str) -> Vec<String> {
    let items = node.get(key).map(Node::items).unwrap_or_default();
    items.iter().filter_map(text_of).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// A text or number, or the value of a language-tagged one.
fn text_of<'n>(item: &'n Node<'_>) -> Option<Cow<'n, str>> {
    match item {
        Node::Object(_) => item.get("@value").or_else(|| item.get("@id"))?.filled().map(Cow::Borrowed),
        Node::Text(_) => item.filled().map(Cow::Borrowed),
        Node::Int(_) | Node::Float(_) => item.text(),
        _ => None,
    }
}

/// The address of a thing, or the text that is one.
fn url_of<'n>(item: &'n Node<'_>) -> Option<&'n str> {
    let inner = || ["url", "contentUrl", "@id"].iter().find_map(|key| item.get(key)?.items().first()?.filled());
    item.filled().or_else(inner)
}

/// `identifier`, else `@id`, else `url`. Ids that hold only inside the document are none.
fn given_id(node: &Node<'_>) -> Option<String> {
    let identifier = node.get("identifier").and_then(|found| found.items().iter().find_map(identifier));
    let id = || first_text(node, "@id").filter(|id| !id.starts_with("_:") && !id.starts_with('#')).map(Cow::into_owned);
    let url = || first_text(node, "url").map(Cow::into_owned);
    identifier.or_else(id).or_else(url).map(|id| id.trim().to_owned())
}

/// An identifier: a text, a number, or the value of a `PropertyValue`.
fn identifier(node: &Node<'_>) -> Option<String> {
    match node {
        Node::Object(_) => ["value", "@value", "@id"].iter().find_map(|key| first_text(node, key)).map(Cow::into_owned),
        Node::Text(_) => node.filled().map(str::to_owned),
        other => other.text().map(Cow::into_owned),
    }
}

/// The first text among the values of `key`.
fn first_text<'n>(node: &'n Node<'_>, key: &str) -> Option<Cow<'n, str>> {
    node.get(key)?.items().iter().find_map(text_of)
}

/// Calls `found` with every text of `key`, and the name of every thing.
fn each_name(node: &Node<'_>, key: &str, found: &mut dyn FnMut(&str)) {
    for item in node.get(key).map(Node::items).unwrap_or_default() {
        if let Some(text) = item.filled().or_else(|| item.get("name").and_then(Node::filled)) {
            found(text);
        }
    }
}

/// Calls `found` with every address of `key`.
fn each_url(node: &Node<'_>, key: &str, found: &mut dyn FnMut(&str)) {
    node.get(key).map(Node::items).unwrap_or_default().iter().filter_map(url_of).for_each(found);
}

/// Keywords as a list, or as one text with commas.
fn keywords(node: &Node<'_>) -> Vec<SmolStr> {
    let mut tags = Vec::new();
    each_name(node, "keywords", &mut |text| {
        tags.extend(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(Into::into));
    });
    tags
}

fn add_offer(prices: &mut Prices, offer: &Node<'_>) {
    let specification = offer.get("priceSpecification").map(Node::items).unwrap_or_default();
    let mut named = None;
    for source in std::iter::once(offer).chain(specification) {
        for key in ["price", "lowPrice", "highPrice", "minPrice", "maxPrice"] {
            let Some(text) = source.get(key).and_then(Node::text) else { continue };
            match words::prices(&text) {
                Some(range) => prices.add(range),
                None if words::says_free(&text) => prices.add((Amount(0), Amount(0))),
                None => {}
            }
            named = named.or_else(|| words::currency(&text).map(SmolStr::from));
        }
        if prices.pricing.currency.is_none() {
            prices.pricing.currency = first_text(source, "priceCurrency").map(SmolStr::from);
        }
    }
    prices.pricing.currency = prices.pricing.currency.take().or(named);
}
