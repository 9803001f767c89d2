//! The description of the API (OpenAPI 3.1), made of the same tables as the router and the checks.

use serde_json::{Value, json};

use super::described::{Api, Described, json_body};
use super::endpoints::{Endpoint, Operation, endpoints};
use super::format::Format;
use super::parameters::MODERATIONS;
use super::problem::{CODES, PARAMETER_CODES};

/// The document.
pub fn document() -> Value {
    Api {
        about: "Events, each once, from all sources. Every answer shows one commit whole; the header \
                Headwater-Position names it.",
        endpoints: described(),
        schemas: schemas(),
        headers: headers(),
    }
    .document()
}

/// All endpoints, as they are described.
pub(crate) fn described() -> Vec<Described> {
    endpoints().iter().map(describe).collect()
}

/// Where browsers sign in and out, and get tickets, as it is described: [`session::routes`](super::session::routes).
pub fn of_sessions() -> Vec<Described> {
    let is_one = |endpoint: &&Endpoint| {
        matches!(endpoint.operation, Operation::Session | Operation::SignIn | Operation::SignOut | Operation::Ticket)
    };
    endpoints().iter().filter(is_one).map(describe).collect()
}

fn describe(endpoint: &Endpoint) -> Described {
    let placeholders = PLACEHOLDERS.into_iter().filter(|(name, _)| endpoint.path.contains(&format!("{{{name}}}")));
    Described {
        method: endpoint.method.clone(),
        path: endpoint.path.clone(),
        summary: endpoint.operation.summary(),
        scope: endpoint.operation.scope(),
        placeholders: placeholders.collect(),
        parameters: endpoint.parameters.concat(),
        resumes: endpoint.operation == Operation::Live,
        body: body(endpoint.operation),
        responses: responses(endpoint),
    }
}

/// What stands for the parts of a path.
const PLACEHOLDERS: [(&str, &str); 6] = [
    ("id", "Id of an event."),
    ("key", "Key of a place."),
    ("source", "Name of the source."),
    ("topic", "Name of the topic, with or without the prefix."),
    ("partition", "Partition of the dead letter."),
    ("offset", "Offset of the dead letter."),
];

/// The body that a request has.
fn body(operation: Operation) -> Option<Value> {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    let flag = || json!({ "type": "boolean" });
    let (required, properties) = match operation {
        Operation::Inbound => {
            let any = json!({ "*/*": { "schema": { "type": "string", "format": "binary" } } });
            return Some(json!({ "required": true, "content": any,
                "description": "The raw record. Its content type is that of the header Content-Type." }));
        }
        Operation::SignIn => (json!(["key"]), json!({ "key": text() })),
        Operation::Act => (
            json!(["action"]),
            json!({
                "action": { "type": "string", "enum": ["validate", "subscribe"] },
                "source": text(), "contentType": text(),
                "events": { "type": "array", "description": "To be validated: texts, or JSON." },
                "filter": { "type": "string", "description": "To be subscribed to: the query of a live stream." },
            }),
        ),
        Operation::Replay => (
            json!([]),
            json!({
                "ids": texts(), "code": texts(), "source": texts(), "limit": { "type": "integer", "minimum": 1 },
                "dryRun": flag(), "again": flag(), "parked": flag(), "force": flag(), "yes": flag(),
            }),
        ),
        Operation::Decide => (
            json!(["say", "a", "b"]),
            json!({
                "say": { "type": "string", "enum": ["same", "different"] }, "a": text(), "b": text(), "because": text(),
            }),
        ),
        Operation::Undecide => (json!(["a", "b"]), json!({ "a": text(), "b": text() })),
        Operation::Moderate => (
            json!(["event", "moderation"]),
            json!({
                "event": text(),
                "moderation": { "type": "string", "enum": MODERATIONS,
                    "description": "`none` takes back what was said." },
                "because": text(),
            }),
        ),
        Operation::Control => (
            json!(["key", "gates"]),
            json!({
                "key": text(),
                "gates": { "type": ["object", "null"], "description": "What to set, by the keys of `[score]`; null \
                    takes back what the record of the key sets." },
            }),
        ),
        _ => return None,
    };
    let schema = json!({ "type": "object", "required": required, "properties": properties,
        "additionalProperties": false });
    Some(json_body(&schema))
}

fn responses(endpoint: &Endpoint) -> Value {
    let found = |content: Value| json!({ "description": "Found.", "headers": shown_headers(), "content": content });
    let one = |media: &str, schema: Value| json!({ media: { "schema": schema } });
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let mut all = match endpoint.operation {
        Operation::List(format) => {
            let forms = Format::ALL.into_iter().filter(|form| format.is_none_or(|format| format == *form));
            let content: serde_json::Map<String, Value> = forms
                .map(|form| {
                    let schema = if form == Format::Json { reference("Events") } else { json!({ "type": "string" }) };
                    (form.media_type().to_owned(), json!({ "schema": schema }))
                })
                .collect();
            json!({ "200": found(content.into()), "304": { "description": "Unchanged, by If-None-Match." } })
        }
        Operation::Event => json!({
            "200": found(one("application/json", reference("Event"))),
            "304": { "description": "Unchanged, by If-None-Match." },
            "308": { "description": "The id was retired; Location names the event that took its place." },
        }),
        Operation::Live => json!({ "200": {
            "description": "A stream of `reset`, `enter`, `update`, `leave` and `live`. enter and update put an event, \
                            leave removes one, reset removes all, live says that the client is up to date.",
            "content": one("text/event-stream", json!({ "type": "string" })),
        } }),
        Operation::Socket => json!({
            "101": { "description": "A WebSocket. The client sends `subscribe` (`subscription`: a name of its own, \
                                     `filter`: the query of /api/events/live) and `unsubscribe`; the server sends \
                                     `changes` (`id`: the position after them), `ended` and `refused` (`problem`)." },
            "426": { "description": "The request does not ask for a WebSocket." },
        }),
        Operation::Places(format) => {
            let schema = if format == Format::Json { reference("Places") } else { json!({ "type": "object" }) };
            json!({ "200": found(one(format.media_type(), schema)), "304": { "description": "Unchanged, by If-None-Match." } })
        }
        Operation::Place => json!({
            "200": found(one("application/json", json!({ "allOf": [reference("Place"), {
                "type": "object",
                "properties": { "events": { "type": "array", "items": reference("Event"),
                    "description": "Those that have not begun, the first to begin first." } },
            }] }))),
            "304": { "description": "Unchanged, by If-None-Match." },
        }),
        Operation::PlaceStatus => json!({
            "200": found(one("application/json", reference("PlaceStatus"))),
            "304": { "description": "Unchanged, by If-None-Match." },
        }),
        Operation::Trending => json!({ "501": { "description": "Popularity is not counted yet." } }),
        Operation::Suggest | Operation::Explain => {
            json!({ "200": found(one("application/json", json!({ "type": "object" }))) })
        }
        Operation::Inbound | Operation::Withdraw => {
            let content = one("application/json", json!({ "type": "object" }));
            json!({ "202": { "description": "The log has it.", "content": content } })
        }
        Operation::SignOut => json!({ "204": { "description": "The session has ended." } }),
        Operation::OpenApi => json!({ "200": {
            "description": "The description of the API.", "content": one("application/json", json!({ "type": "object" })),
        } }),
        _ => json!({ "200": {
            "description": "Done.", "content": one("application/json", json!({ "type": "object" })),
        } }),
    };
    if endpoint.operation != Operation::OpenApi {
        let problem = one("application/problem+json", reference("Problem"));
        all["default"] = json!({ "description": "A problem.", "content": problem });
    }
    all
}

fn shown_headers() -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    json!({ "Headwater-Position": reference("Headwater-Position"), "ETag": reference("ETag") })
}

fn headers() -> Value {
    json!({
        "Headwater-Position": {
            "description": "The commit that the answer shows: at_least, updatedSince and Last-Event-ID take it.",
            "schema": { "type": "string" },
        },
        "ETag": { "description": "Weak; equal answers have equal ones.", "schema": { "type": "string" } },
    })
}

fn schemas() -> Value {
    json!({
        "Events": {
            "type": "object",
            "required": ["events", "total", "hasMore", "nextCursor"],
            "properties": {
                "events": { "type": "array", "items": { "$ref": "#/components/schemas/Event" } },
                "total": { "type": "integer", "description": "Events of the whole result." },
                "hasMore": { "type": "boolean" },
                "nextCursor": { "type": ["string", "null"], "description": "The cursor of the next page." },
                "facets": { "type": "object", "additionalProperties": { "type": "array", "items": {
                    "type": "object",
                    "properties": { "value": { "type": "string" }, "count": { "type": "integer" } },
                } } },
                "removed": { "type": "array", "items": { "type": "string" },
                    "description": "With updatedSince: ids that are not in the result any more." },
                "removedComplete": { "type": "boolean",
                    "description": "Whether `removed` holds all of them; otherwise read the whole result anew." },
            },
        },
        "Event": {
            "type": "object",
            "required": ["id", "title", "startTime"],
            "properties": {
                "id": { "type": "string" },
                "title": { "type": "string" },
                "startTime": { "type": "string", "description": "RFC 3339 with the local offset, or a day." },
                "moderation": { "type": "string", "description": "What editors say of it, where they said anything." },
                "distanceKm": { "type": "number", "description": "Where lat and lng were given." },
            },
        },
        "Places": {
            "type": "object",
            "required": ["places", "total", "hasMore", "nextCursor"],
            "properties": {
                "places": { "type": "array", "items": { "$ref": "#/components/schemas/Place" } },
                "total": { "type": "integer", "description": "Places of the whole list." },
                "hasMore": { "type": "boolean" },
                "nextCursor": { "type": ["string", "null"], "description": "The cursor of the next page." },
            },
        },
        "Place": {
            "type": "object",
            "description": "A venue of events. Name and address are those of the best event at its point.",
            "required": ["key", "name", "eventsToCome", "nextEvent"],
            "properties": {
                "key": { "type": "string", "description": "Its folded name and city: the value of the filter `place`." },
                "name": { "type": ["string", "null"] },
                "address": { "type": ["string", "null"] },
                "city": { "type": ["string", "null"] },
                "region": { "type": ["string", "null"] },
                "country": { "type": ["string", "null"] },
                "latitude": { "type": ["number", "null"], "description": "The most frequent one of its events." },
                "longitude": { "type": ["number", "null"] },
                "distanceKm": { "type": "number", "description": "Where lat and lng were given." },
                "eventsToCome": { "type": "integer",
                    "description": "Events that have not begun, without those that are cancelled, postponed or online." },
                "nextEvent": { "anyOf": [{ "$ref": "#/components/schemas/Brief" }, { "type": "null" }] },
            },
        },
        "PlaceStatus": {
            "type": "object",
            "required": ["key", "name", "at", "state", "underWay", "next", "openingHours", "capacity"],
            "properties": {
                "key": { "type": "string" },
                "name": { "type": ["string", "null"] },
                "at": { "type": "string", "format": "date-time", "description": "As of when this holds." },
                "state": { "type": "string", "enum": ["underWay", "toCome", "nothing"] },
                "underWay": { "type": "array", "items": { "$ref": "#/components/schemas/Brief" } },
                "next": { "anyOf": [{ "$ref": "#/components/schemas/Brief" }, { "type": "null" }] },
                "openingHours": { "type": "null", "description": "Not known yet." },
                "capacity": { "type": "null", "description": "Not known yet." },
            },
        },
        "Brief": {
            "type": "object",
            "required": ["id", "title", "startTime"],
            "properties": {
                "id": { "type": "string" },
                "title": { "type": ["string", "null"] },
                "startTime": { "type": ["string", "null"] },
                "endTime": { "type": ["string", "null"] },
            },
        },
        "Problem": problem(&[]),
    })
}

/// The schema of problems, whose codes are [`CODES`] and `more`.
pub fn problem(more: &[&str]) -> Value {
    let codes = [CODES, more].concat();
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "enum": codes },
            "detail": { "type": "string" },
            "errors": { "type": "array", "items": {
                "type": "object",
                "required": ["parameter", "code", "detail"],
                "properties": {
                    "parameter": { "type": "string" },
                    "code": { "type": "string", "enum": PARAMETER_CODES },
                    "detail": { "type": "string" },
                },
            } },
        },
    })
}
