//! The description of the API: the OpenAPI document, and the page at `/docs`. Both are made of the table of endpoints.

use std::sync::LazyLock;

use headwater_serve::api::described::{Api, Described, json_body};
use headwater_serve::api::openapi::{of_sessions, problem};
use headwater_serve::docs::{Group, Guide, Page};
use serde_json::{Value, json};

use super::endpoints::{Endpoint, Operation, endpoints};
use super::report::End;
use crate::model::Phase;

/// Codes of problems that no other topology has.
const CODES: [&str; 4] = ["invalid-command", "invalid-schedule", "not-retryable", "stale-lease"];

const GUIDE: Guide = Guide {
    html: include_str!("guide.html"),
    parts: &[
        ("first", "First requests"),
        ("work", "Work"),
        ("look", "Look, cancel, retry"),
        ("schedules", "Schedules"),
        ("live", "Live streams"),
        ("errors", "Errors"),
        ("keys", "Keys"),
    ],
    groups: &[
        Group { name: "Streams", paths: &["/api/jobs/{name}/live", "/api/live", "/api/notifications"] },
        Group {
            name: "For workers",
            paths: &[
                "/api/jobs/lease",
                "/api/jobs/{name}/heartbeat",
                "/api/jobs/{name}/complete",
                "/api/jobs/{name}/fail",
                "/api/jobs/{name}/release",
                "/api/workers",
            ],
        },
        Group { name: "Jobs", paths: &["/api/jobs"] },
        Group { name: "Queues", paths: &["/api/queues", "/api/stats"] },
        Group { name: "Timetables", paths: &["/api/schedules"] },
        Group { name: "The server", paths: &["/api/ready"] },
        Group { name: "Signing in", paths: &["/api/session", "/api/ticket"] },
    ],
    openapi: "/api/openapi.json",
};

/// The page.
pub(super) static PAGE: LazyLock<Page> = LazyLock::new(|| Page::new(&GUIDE, &described()));

/// The OpenAPI document.
pub(super) fn document() -> Value {
    Api {
        about: "Jobs: queues, schedules and workers. Decisions are the engine's: 202 says that the log has what was \
                asked for.",
        endpoints: described(),
        schemas: schemas(),
        headers: json!({}),
    }
    .document()
}

fn described() -> Vec<Described> {
    endpoints().into_iter().map(describe).chain(of_sessions()).collect()
}

fn describe(endpoint: Endpoint) -> Described {
    let Endpoint { method, path, operation } = endpoint;
    let placeholders = [
        ("name", name_of(path, operation)),
        ("queue", "Name of the queue."),
        ("channel", "Name of the channel, such as `user:123`."),
    ];
    let placeholders = placeholders.into_iter().filter(|(name, _)| path.contains(&format!("{{{name}}}")));
    Described {
        method,
        path: path.to_owned(),
        summary: operation.summary().to_owned(),
        scope: operation.scope(),
        placeholders: placeholders.collect(),
        parameters: operation.parameters().to_vec(),
        resumes: operation == Operation::LiveChannel,
        body: body(operation),
        responses: responses(operation),
    }
}

fn name_of(path: &str, operation: Operation) -> &'static str {
    match operation {
        Operation::Submit => "Name of the queue.",
        _ if path.starts_with("/api/schedules") => "Name of the schedule.",
        _ => "Id of the job.",
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn period(about: &str) -> Value {
    json!({ "type": "string", "description": about, "examples": ["30 s", "10 min", "2 h"] })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn counter() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn object(required: &[&str], properties: &Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

/// The body that a request has.
fn body(operation: Operation) -> Option<Value> {
    let lease = json!({ "type": "integer", "minimum": 0, "description": "The number of the lease." });
    let progress = json!({ "type": "number", "minimum": 0, "maximum": 1 });
    let schema = match operation {
        Operation::Submit => {
            let one = reference("Submit");
            let many = json!({ "oneOf": [one, { "type": "array", "items": one }] });
            let content =
                json!({ "application/json": { "schema": many }, "application/x-ndjson": { "schema": text() } });
            return Some(json!({ "required": true, "content": content }));
        }
        Operation::Bulk(_) => object(
            &[],
            &json!({ "ids": texts(), "queue": text(), "phase": phase(), "group": text(), "kind": text(),
                "error": text(), "q": text() }),
        ),
        Operation::Retry => {
            let mut body = json_body(&object(&[], &json!({ "payload": { "description": "Any JSON." } })));
            body["required"] = false.into();
            return Some(body);
        }
        Operation::Lease => object(
            &["worker", "slots"],
            &json!({
                "worker": { "type": "string", "description": "Its name: one of its own for each process." },
                "queues": { "type": "array", "items": text(), "maxItems": 100 },
                "slots": { "type": "integer", "minimum": 0, "maximum": 10_000, "description":
                    "How many jobs it has at once at most, those that it has counted in. 0 is a farewell." },
                "wait": { "type": "number", "minimum": 0, "maximum": 30, "default": 20,
                    "description": "Seconds that the answer may wait." },
                "holding": { "type": "array", "items": object(&["id", "lease"],
                    &json!({ "id": text(), "lease": lease, "progress": progress, "message": text() })) },
            }),
        ),
        Operation::Heartbeat => object(&["lease"], &json!({ "lease": lease, "progress": progress, "message": text() })),
        Operation::End(End::Complete) => {
            object(&["lease"], &json!({ "lease": lease, "result": { "description": "Any JSON." } }))
        }
        Operation::End(End::Fail) => object(
            &["lease", "error"],
            &json!({
                "lease": lease,
                "error": object(&[], &json!({ "code": text(), "message": text() })),
                "retry": { "type": "boolean", "default": true, "description": "Whether another attempt may help." },
                "retryIn": period("The pause before it."),
            }),
        ),
        Operation::End(End::Release) => object(&["lease"], &json!({ "lease": lease })),
        Operation::SetSchedule => reference("Schedule"),
        Operation::Notify => json!({ "description": "Any JSON." }),
        _ => return None,
    };
    Some(json_body(&schema))
}

fn responses(operation: Operation) -> Value {
    let of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let answer = |description: &str, schema: Value| json!({ "description": description, "content": of(schema) });
    let found = |schema: Value| json!({ "200": answer("Found.", schema) });
    let all = |schema: Value| found(json!({ "type": "array", "items": schema }));
    let taken = || answer("The log has it.", json!({ "type": "object" }));
    let stream = |description: &str| {
        let content = json!({ "text/event-stream": { "schema": text() } });
        json!({ "200": { "description": description, "content": content } })
    };
    let mut told = match operation {
        Operation::Submit => json!({
            "200": answer("A job with this id is known; nothing was submitted.", json!({ "type": "object" })),
            "201": answer("With `wait`: the job as it is known now.", reference("Job")),
            "202": answer("The log has it: `id`, or `ids`.", json!({ "type": "object" })),
        }),
        Operation::List => found(reference("Jobs")),
        Operation::Errors => all(reference("DeadJobs")),
        Operation::One => found(reference("Job")),
        Operation::LiveJob => stream("`job` at first and at each change, its data the job; then `settled`."),
        Operation::Live => {
            stream("`queues` with all queues, `jobs` with `ids` and whether these are all (`complete`).")
        }
        Operation::LiveChannel => stream(
            "`notification`, whose id survives restarts of the server; `gap` where there may have been more that is not kept.",
        ),
        Operation::Bulk(_) => {
            let properties = json!({ "count": counter(), "more": { "type": "boolean" } });
            json!({ "202": answer("The log has it. `more`: there are more than fit into a request.",
                json!({ "type": "object", "properties": properties })) })
        }
        Operation::Cancel => {
            json!({ "200": answer("It is settled already.", json!({ "type": "object" })), "202": taken() })
        }
        Operation::Retry => json!({ "202": taken(), "409": { "description": "It is done, or a worker has it." } }),
        Operation::Lease => found(reference("Leases")),
        Operation::Heartbeat => {
            let flag = || json!({ "type": "boolean" });
            found(json!({ "type": "object", "properties": { "cancel": flag(), "lost": flag(),
                "until": { "type": ["string", "null"], "format": "date-time" } } }))
        }
        Operation::End(_) => json!({ "202": taken(),
            "409": { "description": "`stale-lease`: the lease is in force no more. Nothing was written." } }),
        Operation::Workers => all(reference("Worker")),
        Operation::Queues => all(reference("Queue")),
        Operation::Queue => found(reference("Queue")),
        Operation::Schedules => all(reference("ScheduleStatus")),
        Operation::Schedule => found(reference("ScheduleStatus")),
        Operation::Stats | Operation::Ready | Operation::OpenApi => found(json!({ "type": "object" })),
        Operation::Change(_)
        | Operation::SetSchedule
        | Operation::RemoveSchedule
        | Operation::RunSchedule
        | Operation::Notify => json!({ "202": taken() }),
    };
    if operation != Operation::OpenApi {
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        told["default"] = json!({ "description": "A problem.", "content": content });
    }
    told
}

fn phase() -> Value {
    json!({ "type": "string", "enum": Phase::ALL.map(Phase::name) })
}

/// The fields of a job that is submitted.
fn submit() -> Value {
    json!({
        "payload": { "description": "What the worker is to do: any JSON. Default: null." },
        "kind": { "type": "string", "minLength": 1, "maxLength": 100 },
        "group": { "type": "string", "minLength": 1, "maxLength": 100, "description": "Groups of a queue take turns." },
        "priority": { "type": "integer", "minimum": -1_000, "maximum": 1_000, "default": 0 },
        "startWithin": period("It is dead when no worker has begun so long after it could."),
        "finishWithin": period("An attempt fails when it takes longer."),
        "heartbeatWithin": period("A lease ends when nothing is heard of its worker for so long."),
        "attempts": { "type": "integer", "minimum": 1, "maximum": 1_000 },
        "backoff": period("The pause after the first attempt; then twice as long each time."),
        "maxBackoff": period("The longest pause."),
        "onParentFailure": { "type": "string", "enum": ["cancel", "run"], "default": "cancel" },
        "keep": period("It stays so long after it was done."),
        "notify": { "type": "array", "items": text(), "maxItems": 20, "description": "Channels that are told when it is settled." },
    })
}

fn with(mut properties: Value, more: Value) -> Value {
    if let (Some(properties), Value::Object(more)) = (properties.as_object_mut(), more) {
        properties.extend(more);
    }
    properties
}

fn schemas() -> Value {
    let nullable = |kind: &str| json!({ "type": [kind, "null"] });
    let maybe_time = || json!({ "type": ["string", "null"], "format": "date-time" });
    let quantiles = || json!({ "type": ["object", "null"], "properties": { "p50": counter(), "p95": counter() } });
    let of_lease = || json!({ "type": "object", "properties": { "id": text(), "lease": counter() } });
    let own = json!({
        "id": { "type": "string", "description": "Default: one is drawn. A second submit of an id is nothing." },
        "delay": period("It may be leased so long after it was submitted."),
        "runAt": time(),
        "parents": { "type": "array", "items": text(), "maxItems": 1_000,
            "description": "Jobs that have to be settled before." },
    });
    let of_schedule = with(submit(), json!({ "queue": text() }));
    json!({
        "Submit": object(&[], &with(submit(), own)),
        "Schedule": object(&["job"], &json!({
            "cron": { "type": "string", "description": "Five fields, or six with seconds first, or @daily and the like." },
            "every": period("An interval, instead of `cron`."),
            "zone": { "type": "string", "default": "UTC", "description": "The time zone of `cron`." },
            "missed": { "type": "string", "enum": ["skip", "once", "all"], "default": "skip" },
            "overlap": { "type": "string", "enum": ["skip", "allow", "queue"], "default": "skip" },
            "paused": { "type": "boolean", "default": false },
            "job": object(&["queue"], &of_schedule),
        })),
        "ScheduleStatus": { "type": "object", "properties": {
            "name": text(), "definition": { "anyOf": [reference("Schedule"), { "type": "null" }] },
            "next": maybe_time(), "lastJob": nullable("string"), "decided": maybe_time(), "submitted": counter(),
            "skipped": counter(),
        } },
        "Job": {
            "type": "object",
            "required": ["id", "queue", "number", "phase", "payload", "submittedAt", "readyAt", "attempt", "limits"],
            "properties": {
                "id": text(), "queue": text(), "number": counter(), "kind": text(), "group": text(),
                "priority": { "type": "integer" }, "phase": phase(), "payload": {}, "submittedAt": time(),
                "readyAt": time(), "attempt": counter(), "limits": { "type": "object" }, "parents": texts(), "openParents": texts(),
                "onParentFailure": text(), "notify": texts(), "leaseNumber": counter(),
                "lease": { "type": "object", "description": "Of a leased job: who has it." },
                "progress": { "type": "object" },
                "cancelling": { "type": "boolean", "description": "Its worker is to stop." },
                "result": {},
                "error": { "type": "object", "properties": { "code": text(), "message": text() } },
                "runs": { "type": "array", "items": { "type": "object" },
                    "description": "Its newest 20 attempts, the oldest first." },
                "settled": { "type": "object", "properties": { "at": time(), "leavesAt": time() } },
                "schedule": text(),
            },
        },
        "Jobs": { "type": "object", "required": ["jobs", "total", "next"], "properties": {
            "jobs": { "type": "array", "items": reference("Job") },
            "total": { "type": "integer", "description": "Jobs on all pages." },
            "next": { "type": ["string", "null"], "description": "The cursor of the next page." },
        } },
        "DeadJobs": { "type": "object", "properties": {
            "queue": text(), "code": nullable("string"), "count": counter(), "first": maybe_time(),
            "last": maybe_time(), "message": text(),
            "example": { "type": "string", "description": "Id of the newest of them." },
        } },
        "Leases": { "type": "object", "required": ["leases", "cancel", "lost"], "properties": {
            "leases": { "type": "array", "items": { "type": "object", "properties": {
                "id": text(), "queue": text(), "kind": text(), "lease": counter(), "attempt": counter(),
                "maxAttempts": counter(), "payload": {}, "until": time(), "heartbeatWithinMs": counter(),
                "finishWithinMs": nullable("integer"),
            } } },
            "cancel": { "type": "array", "items": of_lease(), "description": "Jobs that the worker is to stop." },
            "lost": { "type": "array", "items": of_lease(),
                "description": "Jobs that the worker has no more: what it would report is refused." },
        } },
        "Worker": { "type": "object", "properties": {
            "worker": text(), "queues": { "type": ["array", "null"], "items": text() },
            "slots": nullable("integer"), "seen": maybe_time(), "leased": texts(),
        } },
        "Queue": { "type": "object", "properties": {
            "queue": text(), "paused": { "type": "boolean" },
            "counts": { "type": "object", "additionalProperties": counter() },
            "oldestWaiting": maybe_time(), "waitMs": quantiles(), "runMs": quantiles(), "donePerMinute": counter(),
        } },
        "Problem": problem(&CODES),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let text = document.to_string();
        let referred = text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        let referred: BTreeSet<&str> = referred.collect();
        let there: Option<BTreeSet<&str>> =
            document["components"]["schemas"].as_object().map(|all| all.keys().map(String::as_str).collect());
        assert_eq!(Some(referred), there);
    }

    #[test]
    fn the_page_tells_every_endpoint_and_its_links_lead_somewhere() {
        let page = PAGE.html();
        let told = page.matches("<h4 id=").count();
        assert_eq!(told, described().len() - 1, "all but the OpenAPI document");
        let anchors: Vec<&str> = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for anchor in anchors {
            assert_eq!(page.matches(&format!("id=\"{anchor}\"")).count(), 1, "{anchor}");
        }
        for (id, name) in GUIDE.parts {
            assert!(GUIDE.html.contains(&format!("<h2 id=\"{id}\">{name}</h2>")), "{id}");
        }
    }
}
