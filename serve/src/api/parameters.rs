//! The parameters of the API: one table that is read, checked and described.

/// A parameter of a query.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it does, in a sentence or two.
    pub about: &'static str,
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Some texts, one of which is to hold. The parameter may be repeated, and a value may hold several,
    /// separated by commas; a comma within one is written `\,`.
    AnyOf,
    /// Some of these texts.
    SomeOf(&'static [&'static str]),
    /// A number in this range.
    Number {
        /// The least.
        least: f64,
        /// The greatest.
        most: f64,
    },
    /// A whole number in this range.
    Integer {
        /// The least.
        least: u64,
        /// The greatest.
        most: u64,
    },
    /// `true` or `false`.
    Bool,
    /// A day (`2026-12-01`) or an instant (`2026-12-01T20:00:00Z`, RFC 3339).
    Time,
    /// A position, as the header `Headwater-Position` gives it.
    Position,
    /// Four numbers, separated by commas.
    Bounds,
}

/// The letters of grades.
pub(super) const GRADES: &[&str] = &["A", "B", "C", "D", "F"];

/// The words for whether an event takes place.
pub(super) const STATUSES: &[&str] =
    &["scheduled", "soldOut", "tentative", "rescheduled", "movedOnline", "postponed", "cancelled"];

/// What facets there are.
pub(super) const FACETS: &[&str] =
    &["category", "tag", "source", "place", "city", "country", "grade", "status", "moderation"];

/// What editors say of events, and the word for nothing.
pub(super) const MODERATIONS: &[&str] = &["approved", "flagged", "rejected", "none"];

const fn parameter(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

/// Half the Earth's circumference in kilometres, rounded up: every circle of this radius is the whole globe.
const HALF_AROUND_KM: f64 = 20_038.0;

/// Which events: the same for lists and for live streams.
pub const FILTER: &[Parameter] = &[
    parameter("category", Kind::AnyOf, "Category of the taxonomy. Case, accents and punctuation do not matter."),
    parameter("tag", Kind::AnyOf, "Tag. Case, accents and punctuation do not matter."),
    parameter("source", Kind::AnyOf, "Source of one of its listings."),
    parameter("place", Kind::AnyOf, "Place, by its key, as `/api/places` tells it."),
    parameter("city", Kind::AnyOf, "City of the venue. Case, accents and punctuation do not matter."),
    parameter("country", Kind::AnyOf, "Country of the venue, as its source writes it. Case does not matter."),
    parameter(
        "q",
        Kind::Text,
        "Words that all have to be found in title, description or names. The last one may be half typed, unless a \
         space follows. One typing error is forgiven from 5 letters on, two from 9 on, but not in the first letter.",
    ),
    parameter("startDate", Kind::Time, "Events that are not over by then. A day is one of the event's own calendar."),
    parameter(
        "endDate",
        Kind::Time,
        "Events that have begun by then. A day is one of the event's own calendar, and included.",
    ),
    parameter("lat", Kind::Number { least: -90.0, most: 90.0 }, "Latitude in degrees, with `lng`."),
    parameter("lng", Kind::Number { least: -180.0, most: 180.0 }, "Longitude in degrees, with `lat`."),
    parameter(
        "radius",
        Kind::Number { least: 0.0, most: HALF_AROUND_KM },
        "Events at most so many kilometres from `lat` and `lng`.",
    ),
    parameter(
        "bbox",
        Kind::Bounds,
        "Events in this rectangle: west, south, east, north in degrees (RFC 7946). West is greater than east across \
         the antimeridian.",
    ),
    parameter(
        "price",
        Kind::Text,
        "`free`, or the most that the cheapest ticket may cost, in the event's own currency. Events without a known \
         price are left out.",
    ),
    parameter("grade", Kind::SomeOf(GRADES), "Letter of the quality."),
    parameter("minQuality", Kind::Number { least: 0.0, most: 1.0 }, "Least quality."),
    parameter("status", Kind::SomeOf(STATUSES), "Whether it takes place."),
    parameter(
        "moderation",
        Kind::SomeOf(MODERATIONS),
        "What editors say of it; `none` where they said nothing. Default: all but `rejected`.",
    ),
    parameter("online", Kind::Bool, "Whether it can be attended online."),
    parameter(
        "updatedSince",
        Kind::Time,
        "Events that changed at this time or later; or, given a position, those that a later commit wrote. Lists then \
         tell the ids that have left the result since, as `removed`.",
    ),
];

/// Which part of a list, and how it looks.
pub const LIST: &[Parameter] = &[
    parameter(
        "sort",
        Kind::OneOf(&["start", "distance", "relevance"]),
        "The order. `distance` needs `lat` and `lng`, `relevance` needs `q`. Default: `relevance` with `q`, else `start`.",
    ),
    parameter(
        "fields",
        Kind::AnyOf,
        "Only these fields of each event, by their names at the top of its JSON; `id` is always there.",
    ),
    parameter("facets", Kind::SomeOf(FACETS), "Count the events of the whole result by these."),
    parameter("limit", Kind::Integer { least: 1, most: 200 }, "The most events of the answer. Default: 50."),
    parameter("offset", Kind::Integer { least: 0, most: 10_000 }, "Leave out so many events first."),
    parameter(
        "cursor",
        Kind::Text,
        "Go on after the end of another page, its `nextCursor`. Nothing is missed or given twice when events change.",
    ),
];

/// Which places, and in which order.
pub const PLACES: &[Parameter] = &[
    parameter(
        "q",
        Kind::Text,
        "Words that all have to be found in the name. The last one may be half typed, and typing errors are forgiven, as \
         in lists of events.",
    ),
    parameter("city", Kind::AnyOf, "City. Case, accents and punctuation do not matter."),
    parameter("lat", Kind::Number { least: -90.0, most: 90.0 }, "Latitude in degrees, with `lng`."),
    parameter("lng", Kind::Number { least: -180.0, most: 180.0 }, "Longitude in degrees, with `lat`."),
    parameter(
        "radius",
        Kind::Number { least: 0.0, most: HALF_AROUND_KM },
        "Places at most so many kilometres from `lat` and `lng`.",
    ),
    parameter(
        "bbox",
        Kind::Bounds,
        "Places in this rectangle: west, south, east, north in degrees (RFC 7946). West is greater than east across \
         the antimeridian.",
    ),
    parameter(
        "sort",
        Kind::OneOf(&["name", "events", "distance"]),
        "The order: by key, by the number of events to come, or by the distance from `lat` and `lng`. Default: `name`.",
    ),
    parameter("limit", Kind::Integer { least: 1, most: 200 }, "The most places of the answer. Default: 50."),
    parameter("offset", Kind::Integer { least: 0, most: 10_000 }, "Leave out so many places first."),
    parameter("cursor", Kind::Text, "Go on after the end of another page, its `nextCursor`."),
];

/// As of when places are told.
pub const AT: &[Parameter] =
    &[parameter("at", Kind::Time, "As of this time. A day begins in UTC. Default: now, to the minute.")];

/// How many events of a place.
pub const AGENDA: &[Parameter] =
    &[parameter("limit", Kind::Integer { least: 1, most: 200 }, "The most events of the answer. Default: 10.")];

/// What every answer takes.
pub const ANSWER: &[Parameter] =
    &[parameter("at_least", Kind::Position, "Wait until this position is shown, for ten seconds at most.")];

/// What a live stream takes beside a filter.
pub const STREAM: &[Parameter] = &[
    parameter("snapshot", Kind::Bool, "Begin with all events of the result. Default: true."),
    parameter(
        "lastEventId",
        Kind::Position,
        "Go on after this position; for clients that cannot send the header `Last-Event-ID`.",
    ),
    parameter(
        "ticket",
        Kind::Text,
        "A ticket of `POST /api/ticket`, for clients that cannot send the header `Authorization`.",
    ),
];

/// What suggestions take.
pub const SUGGEST: &[Parameter] = &[
    parameter("q", Kind::Text, "What was typed so far."),
    parameter("limit", Kind::Integer { least: 1, most: 20 }, "The most suggestions of a kind. Default: 5."),
];

/// How far back figures go.
pub const TIMEFRAME: &[Parameter] =
    &[parameter("timeframe", Kind::OneOf(&["5m", "15m", "1h"]), "How far back. Default: `1h`.")];

/// What the pipeline is asked for, in the form with one address.
pub const ACTION: &[Parameter] =
    &[parameter("action", Kind::OneOf(&["status", "health", "metrics"]), "What to tell. Default: `status`.")];

/// Which records of a topic.
pub const RECORDS: &[Parameter] = &[
    parameter("partition", Kind::Integer { least: 0, most: 1 << 31 }, "Only this partition. Default: all."),
    parameter("offset", Kind::Text, "From this offset on; a negative one counts from the end. Default: the last ones."),
    parameter("key", Kind::Text, "Only records with this key."),
    parameter("contains", Kind::Text, "Only records whose key or value holds this text."),
    parameter(
        "since",
        Kind::Text,
        "Only records written since then: a time (RFC 3339), or how long ago, such as `2h`.",
    ),
    parameter("limit", Kind::Integer { least: 1, most: 500 }, "The most records of the answer. Default: 50."),
];

/// Which dead letters.
pub const LETTERS: &[Parameter] = &[
    parameter("code", Kind::AnyOf, "Only those of this code."),
    parameter("source", Kind::AnyOf, "Only those of this source."),
    parameter("state", Kind::OneOf(&["new", "replayed", "parked"]), "Only those of this state."),
    parameter("since", Kind::Text, "Only those written since then: a time (RFC 3339), or how long ago, such as `2h`."),
    parameter("limit", Kind::Integer { least: 1, most: 500 }, "The most dead letters of the answer. Default: 50."),
    parameter("offset", Kind::Integer { least: 0, most: 1_000_000 }, "Leave out so many first; the newest come first."),
];

/// Which pairs to review.
pub const REVIEW: &[Parameter] =
    &[parameter("limit", Kind::Integer { least: 1, most: 200 }, "The most pairs of the answer. Default: 50.")];

/// Which decisions.
pub const DECISIONS: &[Parameter] = &[
    parameter("open", Kind::Bool, "Only those that do not hold: overruled, waiting, pending."),
    parameter("listing", Kind::Text, "Only those that name this listing: `SOURCE/ID`, or its id."),
];

/// How a record comes in.
pub const INBOUND: &[Parameter] = &[parameter(
    "key",
    Kind::Text,
    "The record is the document of this key: it replaces all listings that the last one gave. Without a key, its \
     listings are added or updated.",
)];
