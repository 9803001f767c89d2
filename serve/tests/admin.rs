//! What operators and editors do, over real sockets and a log in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headwater::config::Runtime;
use headwater::log::memory::MemoryLog;
use headwater::log::{Log, LogRecord, NewRecord, read_to_end};
use headwater::tools::dead_letters::{Examine, Objection};
use headwater_operators::ListingId;
use headwater_operators::raw::RawRecord;
use headwater_operators::score::Gates;
use headwater_serve::access::keys::{KeyConfig, Scope, generate};
use headwater_serve::access::webhooks::WebhookConfig;
use headwater_serve::admin::{Means, Preview};
use headwater_serve::config::ServeConfig;
use headwater_serve::live::Live;
use headwater_serve::tool::Serving;
use serde_json::{Value, json};

use support::http::{Answer, get, request, send, send_bytes};

/// Objects to one source.
struct Picky;

impl Examine for Picky {
    fn subjects(&self, _record: RawRecord) -> Vec<u128> {
        Vec::new()
    }
    fn failures(&self, _record: RawRecord) -> Vec<&'static str> {
        Vec::new()
    }
    fn objection(&self, record: RawRecord) -> Option<Objection> {
        let known = record.source.as_deref() != Some("stranger");
        let objection = || Objection { reason: "the source is unknown".to_owned(), hint: "configure it".to_owned() };
        (!known).then(objection)
    }
}

/// Knows the default gates.
struct Usual(Gates);

impl Preview for Usual {
    fn preview(&self, _live: &Live, _record: RawRecord) -> Value {
        Value::Null
    }
    fn threshold(&self) -> f64 {
        0.5
    }
    fn gates(&self) -> &Gates {
        &self.0
    }
}

struct Site {
    serving: Serving,
    log: Arc<dyn Log>,
    config: Runtime,
}

impl Site {
    fn start(serve: ServeConfig) -> Self {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let config = Runtime { name: "t".to_owned(), prefix: "t.".to_owned(), ..Runtime::default() };
        let mut config = Runtime { inputs: vec![headwater::config::Input::of("raw.events")], ..config };
        // Records are read in the order in which they were written.
        config.topics.partitions = 1;
        let topics =
            ["raw.events", "decisions", "dead-letters", "replays", "events", "listings", "links", "gates", "progress"];
        let specs: Vec<_> = topics.iter().map(|topic| config.topic_spec(topic)).collect();
        log.ensure_topics(&specs).unwrap();
        let examine: Option<Box<dyn Examine>> = Some(Box::new(Picky));
        let preview: Option<Box<dyn Preview>> = Some(Box::new(Usual(Gates::default())));
        let means = Means { log: Arc::clone(&log), config: config.clone(), examine, preview };
        let serve = ServeConfig { listen: "127.0.0.1:0".to_owned(), ..serve };
        let serving = Serving::start(means, &serve, None).unwrap();
        Self { serving, log, config }
    }

    fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    fn get(&self, path: &str) -> Answer {
        get(self.address(), path, &[])
    }

    fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        send(self.address(), method, path, &body, &[])
    }

    fn records(&self, topic: &str) -> Vec<LogRecord> {
        let mut records = Vec::new();
        read_to_end(&*self.log, &self.config.full_name(topic), |record| {
            records.push(record);
            Ok::<(), headwater::log::LogError>(())
        })
        .unwrap();
        records
    }

    fn values(&self, topic: &str) -> Vec<Value> {
        let value =
            |record: LogRecord| serde_json::from_slice(&record.value.unwrap_or_default()).unwrap_or(Value::Null);
        self.records(topic).into_iter().map(value).collect()
    }

    /// Commits rows as an engine does: topic, key and value.
    fn commit(&self, number: u64, rows: &[(&str, String, Value)]) {
        let record = |topic: &str, key: &str, value: &Value| NewRecord {
            topic: self.config.full_name(topic).into(),
            key: Some(key.to_owned().into()),
            value: Some(value.to_string().into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        let mut records: Vec<NewRecord> = rows.iter().map(|(topic, key, value)| record(topic, key, value)).collect();
        let mut written: BTreeMap<String, u64> = BTreeMap::new();
        rows.iter().for_each(|(topic, ..)| *written.entry(self.config.full_name(topic)).or_default() += 1);
        let progress = json!({"format": 2, "epoch": number, "positions": [], "watermark": null, "results": 1,
            "extraction": 1, "ends": [], "lineage": "00000001", "commit": number, "written": written});
        records.push(record("progress", "progress", &progress));
        let commit = format!("00000001-{number}").into_bytes();
        let headers = vec![("epoch".to_owned(), number.to_string().into_bytes()), ("commit".to_owned(), commit)];
        let mut writer = self.log.transactional("t", "t").unwrap();
        writer.commit(&headwater::log::Transaction { records, headers, positions: Vec::new() }).unwrap();
    }

    /// Waits until an event is answered with a status.
    fn wait_for(&self, event: &str, status: u16) {
        let began = std::time::Instant::now();
        while self.get(&format!("/api/events/{event}")).status != status {
            assert!(began.elapsed() < Duration::from_secs(30), "{event} is not answered with {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A dead letter of a record that is on the raw topic.
    fn dead_letter(&self, code: &str, value: &str, offset: i64) {
        let raw = self.config.full_name("raw.events");
        let of = |topic: &str, headers: Vec<(String, Vec<u8>)>| NewRecord {
            topic: self.config.full_name(topic).into(),
            key: None,
            value: Some(value.to_owned().into()),
            headers,
            timestamp_ms: None,
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let headers = vec![
            header("source", "city"),
            header("dead-letter-code", code),
            header("dead-letter-reason", "it is wrong"),
            header("dead-letter-topic", &raw),
            header("dead-letter-partition", "0"),
            header("dead-letter-offset", &offset.to_string()),
            header("dead-letter-timestamp", "1000"),
        ];
        let mut producer = self.log.producer().unwrap();
        producer.send(of("dead-letters", headers)).unwrap();
        producer.flush().unwrap();
    }
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_decision_is_written_with_who_made_it() {
    let (key, hash) = generate().unwrap();
    let scopes = vec![Scope::Decide, Scope::Ops];
    let keys = vec![KeyConfig { name: "kim".to_owned(), hash, scopes }];
    let site = Site::start(ServeConfig { keys, ..ServeConfig::default() });
    let by = [("X-API-Key", key.as_str())];
    let decide = |body: Value| send(site.address(), "POST", "/api/admin/decisions", &body, &by);
    let body = json!({"say": "different", "a": "city/1", "b": "town/2", "because": "two stages"});
    assert_eq!(site.send("POST", "/api/admin/decisions", body.clone()).status, 401);
    assert_eq!(site.records("decisions").len(), 0);
    let decided = decide(body).json();
    assert_eq!(decided["decision"]["different"]["who"], "kim", "{decided}");
    let audit = site.values("audit");
    assert_eq!(
        (&audit[0]["who"], &audit[0]["action"], &audit[0]["request"]["because"]),
        (&json!("kim"), &json!("decide"), &json!("two stages"))
    );
    assert_eq!((&audit[0]["before"], &audit[0]["after"]), (&json!([]), &decided["decision"]));

    let listed = get(site.address(), "/api/admin/decisions?listing=town/2", &by).json();
    assert_eq!(
        (listed["decisions"].as_array().unwrap().len(), &listed["decisions"][0]["state"]),
        (1, &json!("pending"))
    );
    assert_eq!(get(site.address(), "/api/admin/decisions?listing=town/3", &by).json()["decisions"], json!([]));
    for (body, wanted) in [
        (json!({"say": "same", "a": "city/1", "b": "city/1"}), (400, "invalid-body")),
        (json!({"say": "maybe", "a": "city/1", "b": "city/2"}), (400, "invalid-body")),
        (json!({"say": "same", "a": "city", "b": "city/2"}), (400, "invalid-body")),
        (json!({"say": "same", "a": "city/1", "b": "city/2", "x": 1}), (400, "invalid-body")),
    ] {
        assert_eq!(code(&decide(body)), (wanted.0, wanted.1.to_owned()));
    }
    let undecide =
        |b: &str| send(site.address(), "DELETE", "/api/admin/decisions", &json!({"a": "city/1", "b": b}), &by);
    assert_eq!(undecide("town/2").json()["decision"], Value::Null);
    assert_eq!(undecide("town/2").status, 404);
    assert_eq!(site.records("decisions").last().unwrap().value, None);
    assert_eq!(site.values("audit").len(), 2);
}

#[test]
fn dead_letters_are_listed_shown_and_replayed() {
    let site = Site::start(ServeConfig::default());
    assert_eq!(site.get("/api/admin/dead-letters").json(), json!({"deadLetters": [], "total": 0}));
    for number in 0..5 {
        site.dead_letter(if number == 0 { "malformed" } else { "invalid-field" }, &format!("record {number}"), number);
    }
    let page = site.get("/api/admin/dead-letters?code=invalid-field&limit=2&offset=1").json();
    assert_eq!((&page["total"], page["deadLetters"].as_array().unwrap().len()), (&json!(4), 2));
    let groups = site.get("/api/admin/dead-letters/summary").json()["groups"].clone();
    assert_eq!(
        (&groups[0]["code"], &groups[0]["letters"], &groups[0]["new"]),
        (&json!("invalid-field"), &json!(4), &json!(4))
    );
    assert!(groups[0]["hint"].as_str().unwrap().contains("mapping"), "{groups}");
    let id = groups[1]["example"].as_str().unwrap().to_owned();
    let shown = site.get(&format!("/api/admin/dead-letters/{id}")).json();
    assert_eq!((&shown["code"], &shown["value"]), (&json!("malformed"), &json!("record 0")));
    assert_eq!(code(&site.get("/api/admin/dead-letters/0/999")), (404, "not-found".to_owned()));
    assert_eq!(code(&site.get("/api/admin/dead-letters/x/y")), (404, "not-found".to_owned()));
    assert_eq!(
        site.get("/api/admin/dead-letters?state=old&since=yesterday").json()["errors"].as_array().unwrap().len(),
        2
    );

    let replay = |body: Value| site.send("POST", "/api/admin/dead-letters/replay", body);
    let dry = replay(json!({"code": ["invalid-field"], "dryRun": true})).json();
    assert_eq!(
        (&dry["letters"], &dry["dryRun"], site.records("raw.events").len()),
        (&json!(4), &json!(true), 0),
        "{dry}"
    );
    assert_eq!(site.get("/api/admin/topics/audit/records").status, 404, "nothing was written");
    let done = replay(json!({"code": ["invalid-field"]})).json();
    assert_eq!((&done["records"], &done["complete"]), (&json!(4), &json!(true)), "{done}");
    assert_eq!(site.records("raw.events").len(), 4);
    assert_eq!(site.values("audit")[0]["action"], "replay");
    assert_eq!(replay(json!({"ids": ["5"]})).status, 400);
    assert_eq!(replay(json!({"ids": ["0/999"]})).status, 404);
    let counts = site.get("/api/admin/dead-letters/summary").json()["groups"][0].clone();
    assert_eq!((&counts["new"], &counts["replayed"]), (&json!(0), &json!(4)));
}

#[test]
fn records_come_in_when_the_log_has_them() {
    let (key, hash) = generate().unwrap();
    let keys = vec![KeyConfig { name: "feeder".to_owned(), hash, scopes: vec![Scope::Produce] }];
    let secret = "it is between the two of us";
    let webhooks: BTreeMap<String, WebhookConfig> =
        [("shop".to_owned(), serde_json::from_value(json!({ "secret": secret })).unwrap())].into();
    let site = Site::start(ServeConfig { keys, webhooks, ..ServeConfig::default() });
    let post =
        |path: &str, body: &[u8], headers: &[(&str, &str)]| send_bytes(site.address(), "POST", path, body, headers);
    let by = ("X-API-Key", key.as_str());
    let kind = ("Content-Type", "text/calendar; charset=utf-8");
    assert_eq!(post("/api/in/city", b"x", &[]).status, 401);
    assert_eq!(post("/api/in/city", b"", &[by, kind]).status, 400);
    assert_eq!(code(&post("/api/in/stranger", b"x", &[by, kind])), (422, "refused".to_owned()));
    let taken = post("/api/in/city?key=summer", b"BEGIN:VCALENDAR", &[by, kind]);
    assert_eq!((taken.status, taken.json()), (202, json!({"topic": "t.raw.events", "bytes": 15})));
    let record = site.records("raw.events").pop().unwrap();
    let header = |name: &str| String::from_utf8_lossy(record.header(name).unwrap()).into_owned();
    assert_eq!(
        [header("source"), header("content-type"), header("received-by")],
        ["city", "text/calendar; charset=utf-8", "feeder"]
    );
    assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"summer"[..]), Some(&b"BEGIN:VCALENDAR"[..])));

    let body = br#"{"id": 1}"#;
    let signature = hmac(secret, body);
    assert_eq!(post("/api/in/shop", body, &[("X-Hub-Signature-256", &signature)]).status, 202);
    assert_eq!(post("/api/in/shop", b"{}", &[("X-Hub-Signature-256", &signature)]).status, 401);
    assert_eq!(post("/api/in/shop?key=a", body, &[("X-Hub-Signature-256", &signature)]).status, 403);
    let empty = hmac(secret, b"");
    let withdraw = request(site.address(), "DELETE", "/api/in/shop?key=a", &[("X-Hub-Signature-256", &empty)]);
    assert_eq!(withdraw.status, 403, "whoever saw one could withdraw anything");
    assert_eq!(
        post("/api/in/city", body, &[("X-Hub-Signature-256", &signature)]).status,
        401,
        "it is of another source"
    );

    assert_eq!(request(site.address(), "DELETE", "/api/in/city", &[by]).status, 400);
    assert_eq!(request(site.address(), "DELETE", "/api/in/city?key=summer", &[by]).status, 202);
    assert_eq!(site.records("raw.events").iter().filter(|record| record.value.is_none()).count(), 1);
    let all: Vec<_> = (0..40)
        .map(|number| {
            let (address, key) = (site.address(), key.clone());
            std::thread::spawn(move || {
                let body = format!("record {number}");
                send_bytes(address, "POST", "/api/in/city", body.as_bytes(), &[("X-API-Key", &key), kind]).status
            })
        })
        .collect();
    assert!(all.into_iter().all(|one| one.join().unwrap() == 202));
    assert_eq!(site.records("raw.events").len(), 43);
}

fn hmac(secret: &str, body: &[u8]) -> String {
    let key = openssl::pkey::PKey::hmac(secret.as_bytes()).unwrap();
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &key).unwrap();
    let bytes = signer.sign_oneshot_to_vec(body).unwrap();
    format!("sha256={}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[test]
fn topics_and_their_records_are_shown() {
    let site = Site::start(ServeConfig::default());
    let names: Vec<String> = site.get("/api/admin/topics").json()["topics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| topic["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&"t.raw.events".to_owned()), "{names:?}");
    site.dead_letter("malformed", "x", 1);
    let found = site.get("/api/admin/topics/dead-letters/records?contains=x").json();
    assert_eq!(found["records"][0]["headers"]["dead-letter-code"], "malformed", "{found}");
    assert_eq!(site.get("/api/admin/topics/t.dead-letters/records").status, 200);
    assert_eq!(site.get("/api/admin/topics/nothing/records").status, 404);
    assert_eq!(
        site.get("/api/admin/topics/raw.events/records?offset=x&partition=-1").json()["errors"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn sources_and_pairs_are_those_of_the_listings() {
    let site = Site::start(ServeConfig::default());
    let listing = |source: &str, id: &str, end: Value| {
        json!({"format": 1, "firstSeen": jiff::Timestamp::now(), "updatedAt": "2026-11-01T10:00:00Z",
            "listing": {"source": source, "externalId": id, "title": "Jazz", "end": end, "venue": {"latitude": 1.0}}})
    };
    let id = |source: &str, id: &str| ListingId::of(source, id).to_string();
    let event = json!({"format": 1, "id": "e1", "title": "Jazz", "startTime": "2026-12-01T19:30:00Z", "qualityGrade": "A",
        "listings": [{"source": "city", "externalId": "1"}, {"source": "town", "externalId": "2"}]});
    let link = json!({"format": 1, "source": "city", "externalId": "1", "listing": id("city", "1"), "eventId": "e1",
        "similarity": 0.6, "via": {"source": "town", "externalId": "2", "listing": id("town", "2")},
        "contributions": [{"field": "title", "points": 2.0}], "decisions": []});
    let rows = [
        ("listings", id("city", "1"), listing("city", "1", Value::Null)),
        ("listings", id("town", "2"), listing("town", "2", json!("2026-12-01T21:00:00Z"))),
        ("links", id("city", "1"), link),
        ("events", "e1".to_owned(), event),
    ];
    site.commit(1, &rows);
    site.wait_for("e1", 200);
    let sources = site.get("/api/admin/sources").json()["sources"].clone();
    assert_eq!(
        (&sources[0]["source"], &sources[0]["sharedEvents"], &sources[0]["gaps"]["endTime"]),
        (&json!("city"), &json!(1), &json!(1.0))
    );
    assert_eq!((&sources[1]["gaps"]["endTime"], &sources[1]["grades"]["A"]), (&json!(0.0), &json!(1)));
    let review = site.get("/api/admin/review").json();
    assert_eq!((&review["total"], &review["pairs"][0]["event"]), (&json!(1), &json!("e1")), "{review}");
    assert_eq!(review["pairs"][0]["b"]["listing"]["listing"]["source"], "town");
    let explained = site.get("/api/events/e1/explain").json();
    assert_eq!(
        (&explained["edges"][0]["similarity"], explained["listings"].as_array().unwrap().len()),
        (&json!(0.6), 2)
    );
    let status = site.get("/api/pipeline/status").json();
    assert_eq!(
        (&status["events"], &status["listings"], &status["engine"]),
        (&json!(1), &json!(2), &Value::Null),
        "{status}"
    );
    assert_eq!(site.get("/api/pipeline?action=health").json()["healthy"], true);
    assert_eq!(
        site.get("/api/pipeline?action=metrics&timeframe=5m").json()["series"]["events"].as_array().unwrap().len(),
        30
    );
    let saved =
        site.send("POST", "/api/pipeline", json!({"action": "subscribe", "filter": "category=music&q=jazz"})).json();
    assert_eq!(saved["url"], "/api/events/live?category=music&q=jazz");
    let wrong = site.send("POST", "/api/pipeline", json!({"action": "subscribe", "filter": "colour=red"}));
    assert_eq!(code(&wrong), (400, "invalid-parameters".to_owned()));
}

#[test]
fn an_editors_word_on_an_event_is_kept_for_its_listings() {
    let (key, hash) = generate().unwrap();
    let scopes = vec![Scope::Read, Scope::Decide, Scope::Ops];
    let (reader, read_hash) = generate().unwrap();
    let reading = KeyConfig { name: "reader".to_owned(), hash: read_hash, scopes: vec![Scope::Read] };
    let keys = vec![KeyConfig { name: "kim".to_owned(), hash, scopes }, reading];
    let site = Site::start(ServeConfig { keys, ..ServeConfig::default() });
    let by = [("X-API-Key", key.as_str())];
    let moderate = |body: Value| send(site.address(), "POST", "/api/admin/events/moderate", &body, &by);
    let body = |word: &str| json!({"event": "e1", "moderation": word, "because": "spam"});
    let event = json!({"format": 1, "id": "e1", "title": "Jazz", "startTime": "2026-12-01T19:30:00Z",
        "listings": [{"source": "city", "externalId": "1"}, {"source": "town", "externalId": "2"}]});
    let former = json!({"format": 1, "id": "e0", "redirectTo": "e1"});
    site.commit(1, &[("events", "e0".to_owned(), former), ("events", "e1".to_owned(), event)]);
    let began = std::time::Instant::now();
    while get(site.address(), "/api/events/e1", &by).status != 200 {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(site.send("POST", "/api/admin/events/moderate", body("rejected")).status, 401);
    let read_only = [("X-API-Key", reader.as_str())];
    let refused = send(site.address(), "POST", "/api/admin/events/moderate", &body("rejected"), &read_only);
    assert_eq!(code(&refused), (403, "forbidden".to_owned()));

    let decided = moderate(body("rejected")).json()["decided"].clone();
    let ids = [ListingId::of("city", "1"), ListingId::of("town", "2")].map(|id| id.to_string());
    let records = site.records("decisions");
    let written: Vec<&[u8]> = records.iter().map(|record| record.key.as_deref().unwrap()).collect();
    assert_eq!(written, ids.each_ref().map(|id| id.as_bytes()), "{decided}");
    let said = site.values("decisions")[1]["moderate"].clone();
    assert_eq!(
        (&said["listing"], &said["moderation"], &said["who"], &said["why"]),
        (&json!({"source": "town", "externalId": "2"}), &json!("rejected"), &json!("kim"), &json!("spam"))
    );
    let audit = site.values("audit");
    assert_eq!(
        (audit.len(), &audit[0]["action"], &audit[0]["request"]["event"]),
        (1, &json!("moderate"), &json!("e1"))
    );
    assert_eq!((&audit[0]["before"], &audit[0]["after"][1]["moderate"]), (&json!([]), &said));
    let listed = get(site.address(), "/api/admin/decisions?listing=town/2", &by).json()["decisions"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["state"]), (1, &json!("pending")), "{listed}");

    assert_eq!(moderate(body("approved")).json()["decided"][0]["replaced"][0]["moderate"]["moderation"], "rejected");
    assert_eq!(moderate(body("none")).json()["decided"][1]["decision"], Value::Null);
    let last: Vec<_> = site.records("decisions").split_off(4).into_iter().map(|record| record.value).collect();
    assert_eq!(last, [None, None]);
    assert_eq!(site.values("audit")[2]["before"][0]["moderate"]["moderation"], "approved");
    for (body, wanted) in [
        (body("none"), (404, "not-found")),
        (body("maybe"), (400, "invalid-body")),
        (json!({"event": "e9", "moderation": "rejected"}), (404, "not-found")),
        (json!({"event": "e0", "moderation": "rejected"}), (409, "refused")),
        (json!({"event": "e1"}), (400, "invalid-body")),
    ] {
        let answer = moderate(body);
        assert_eq!(code(&answer), (wanted.0, wanted.1.to_owned()), "{}", answer.text());
    }
    assert_eq!((site.records("decisions").len(), site.values("audit").len()), (6, 3), "nothing more was written");
}

#[test]
fn gates_are_changed_with_what_was_there_before() {
    let site = Site::start(ServeConfig::default());
    let shown = || site.get("/api/admin/control").json();
    let change = |body: Value| site.send("POST", "/api/admin/control", body);
    let before = shown();
    assert_eq!((&before["records"], &before["inForce"]["setBy"]), (&json!([]), &Value::Null));
    assert_eq!(before["inForce"]["gates"]["pass"], 0.7, "{before}");

    let set = change(json!({"key": "desk", "gates": {"pass": 0.5, "geographicData": {"weight": 0.3}}}));
    assert_eq!(set.json()["before"], Value::Null, "{}", set.text());
    let gates = json!({"pass": 0.5, "geographicData": {"weight": 0.3}});
    assert_eq!(site.values("control"), [json!({ "gates": gates })], "it says what was asked for");
    assert_eq!(change(json!({"key": "desk", "gates": {"pass": 0.6}})).json()["before"], json!({ "gates": gates }));
    let audit = site.values("audit");
    assert_eq!(
        (&audit[1]["action"], &audit[1]["before"]["gates"], &audit[1]["after"]["gates"]),
        (&json!("control"), &gates, &json!({"pass": 0.6}))
    );
    let record = shown()["records"][0].clone();
    assert_eq!((&record["key"], &record["problem"]), (&json!("desk"), &Value::Null), "{record}");
    assert_eq!(shown()["inForce"]["setBy"], Value::Null, "the topology has not read it yet");
    let position = |offset: i64| json!({"orderMs": 1, "topic": 7, "partition": 0, "offset": offset});
    let kept =
        |offset, pass: f64| json!({"format": 1, "position": position(offset), "value": {"gates": {"pass": pass}}});
    site.commit(1, &[("gates", "desk".to_owned(), kept(1, 0.6)), ("gates", "a".to_owned(), kept(0, 0.1))]);
    let in_force = shown()["inForce"].clone();
    assert_eq!(
        (&in_force["setBy"], &in_force["gates"]["pass"], &in_force["overridden"]),
        (&json!("desk"), &json!(0.6), &json!(["score.pass"]))
    );

    for (gates, word) in [
        (json!({"passs": 0.5}), "unknown field `passs`"),
        (json!({"geographicDate": {}}), "unknown field `geographicDate`"),
        (json!({"geographicData": {"wieght": 0.5}}), "unknown field `wieght`"),
        (json!({"pass": 7}), "7 is not between 0 and 1"),
    ] {
        let refused = change(json!({"key": "desk", "gates": gates}));
        assert_eq!(code(&refused), (400, "invalid-body".to_owned()));
        assert!(refused.json()["detail"].as_str().unwrap().contains(word), "{}", refused.text());
    }
    for (body, wanted) in [
        (json!({"key": "desk"}), 400),
        (json!({"key": " ", "gates": {"pass": 0.5}}), 400),
        (json!({"key": "nobody", "gates": null}), 404),
    ] {
        assert_eq!(change(body.clone()).status, wanted, "{body}");
    }
    assert_eq!(change(json!({"key": "desk", "gates": null})).json()["after"], Value::Null);
    assert_eq!(site.records("control").last().unwrap().value, None);
    assert_eq!((shown()["records"].clone(), site.values("audit").len()), (json!([]), 3));
}
