//! Who may ask for what, and how often, over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use headwater_serve::access::keys::{KeyConfig, Scope, generate};
use headwater_serve::api::Origins;
use headwater_serve::config::{LimitsConfig, ServeConfig, TlsConfig};
use headwater_serve::live::Live;
use headwater_serve::server::{Listening, Server};
use headwater_serve::site::Site;
use headwater_serve::stream::Hub;
use headwater_serve::timeline::Timeline;
use serde_json::json;

use support::http::{Answer, get, listening, open, request, send};

/// A server of nothing, by a configuration.
fn serve(config: &ServeConfig) -> Server {
    let (live, mut writer) = Live::new();
    writer.set_lineage("0000002a".parse().unwrap());
    writer.begin(0, Timeline::default(), 0);
    let site = Site { access: Arc::new(config.access().unwrap()), ..Site::of(Hub::new(live)) };
    Server::start(&Listening { tls: config.tls.clone(), ..listening(&Origins::None) }, site).unwrap()
}

/// A configuration with keys of these scopes; and the keys.
fn keys(scopes: &[&[Scope]]) -> (ServeConfig, Vec<String>) {
    let mut config = ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() };
    let mut keys = Vec::new();
    for (number, scopes) in scopes.iter().enumerate() {
        let (key, hash) = generate().unwrap();
        config.keys.push(KeyConfig { name: format!("key {number}"), hash, scopes: scopes.to_vec() });
        keys.push(key);
    }
    (config, keys)
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_key_opens_what_its_scopes_say() {
    let (config, keys) = keys(&[&[Scope::Read], &[Scope::Ops]]);
    let server = serve(&config);
    let ask = |path: &str, headers: &[(&str, &str)]| get(server.address(), path, headers);
    assert_eq!(code(&ask("/api/events", &[])), (401, "unauthorized".to_owned()));
    assert_eq!(ask("/api/events", &[]).headers["www-authenticate"], "Bearer");
    assert_eq!(ask("/api/events", &[("Authorization", &bearer(&keys[0]))]).status, 200);
    assert_eq!(ask("/api/events", &[("X-API-Key", &keys[0])]).status, 200);
    assert_eq!(code(&ask("/api/events", &[("X-API-Key", &keys[1])])), (403, "forbidden".to_owned()));
    assert_eq!(ask("/api/pipeline/status", &[("X-API-Key", &keys[1])]).status, 200);
    let wrong = ask("/openapi.json", &[("Authorization", "Bearer hw_wrong")]);
    assert_eq!(code(&wrong), (401, "unauthorized".to_owned()), "a wrong key is told, although none is needed");
    assert_eq!(ask("/openapi.json", &[]).status, 200);
    assert_eq!(ask("/console/", &[]).status, 200, "people sign in there");
    let open = ServeConfig { anonymous: Some(vec![Scope::Read]), ..config };
    assert_eq!(get(serve(&open).address(), "/api/events", &[]).status, 200);
}

#[test]
fn a_browser_signs_in_and_out() {
    let (config, keys) = keys(&[&[Scope::Read, Scope::Decide]]);
    let server = serve(&config);
    let address = server.address();
    let nobody = get(address, "/api/session", &[]).json();
    assert_eq!((&nobody["name"], &nobody["keysNeeded"], &nobody["scopes"]), (&json!(null), &json!(true), &json!([])));
    assert_eq!(send(address, "POST", "/api/session", &json!({"key": "hw_no"}), &[]).status, 401);
    let signed_in = send(address, "POST", "/api/session", &json!({"key": keys[0]}), &[]);
    let cookie = &signed_in.headers["set-cookie"];
    assert!(["HttpOnly", "SameSite=Strict", "Path=/"].iter().all(|part| cookie.contains(part)), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let session = get(address, "/api/session", &[("Cookie", cookie)]).json();
    assert_eq!((&session["name"], &session["scopes"]), (&json!("key 0"), &json!(["read", "decide"])));
    assert_eq!(get(address, "/api/events", &[("Cookie", cookie)]).status, 200);
    assert_eq!(request(address, "DELETE", "/api/session", &[("Cookie", cookie)]).status, 204);
    assert_eq!(get(address, "/api/events", &[("Cookie", cookie)]).status, 401);
}

#[test]
fn a_ticket_opens_one_stream() {
    let (config, keys) = keys(&[&[Scope::Read]]);
    let server = serve(&config);
    let address = server.address();
    assert_eq!(send(address, "POST", "/api/ticket", &json!({}), &[]).status, 401);
    let answer = send(address, "POST", "/api/ticket", &json!({}), &[("X-API-Key", &keys[0])]).json();
    let path = format!("/api/events/live?ticket={}", answer["ticket"].as_str().unwrap());
    assert_eq!(open(address, "GET", &path, &[]).1, 200);
    assert_eq!(open(address, "GET", &path, &[]).1, 401, "it was used");
    assert_eq!(get(address, &path.replace("/live", ""), &[]).status, 401, "it opens streams only");
}

#[test]
fn who_asks_too_often_is_told_to_wait() {
    let (mut config, keys) = keys(&[&[Scope::Read], &[Scope::Read]]);
    config.limits = LimitsConfig { requests_per_second: 1, burst: 3, ..LimitsConfig::default() };
    let server = serve(&config);
    let ask = |key: usize| get(server.address(), "/api/suggest?q=a", &[("X-API-Key", &keys[key])]);
    let answers: Vec<Answer> = (0..4).map(|_| ask(0)).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200, 429]);
    assert_eq!(answers[0].headers["ratelimit-policy"], "\"client\";q=3;w=3");
    assert_eq!(answers[0].headers["ratelimit"], "\"client\";r=2;t=3");
    assert_eq!((code(&answers[3]).1.as_str(), answers[3].headers["retry-after"].as_str()), ("too-many-requests", "1"));
    assert_eq!(ask(1).status, 200, "others are not counted");
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(ask(0).status, 200);
}

#[test]
fn work_is_not_counted_for_those_who_may_do_it() {
    let (mut config, keys) = keys(&[&[Scope::Work], &[Scope::Read]]);
    config.limits = LimitsConfig { requests_per_second: 1, burst: 2, ..LimitsConfig::default() };
    let server = serve(&config);
    let ask = |path: &str, key: usize| {
        send(server.address(), "POST", path, &json!({}), &[("X-API-Key", keys[key].as_str())]).status
    };
    // This server has no jobs; they are counted before that is known.
    let work = ["/api/jobs/lease", "/api/jobs/a/heartbeat", "/api/jobs/a/complete", "/api/jobs/a/fail"];
    assert!(work.into_iter().cycle().take(20).all(|path| ask(path, 0) == 404));
    assert_eq!([(); 3].map(|()| ask("/api/jobs/mail", 0)), [404, 404, 429], "everything else is");
    assert_eq!(ask("/api/jobs/lease", 0), 404);
    assert_eq!([(); 3].map(|()| ask("/api/jobs/lease", 1)), [404, 404, 429], "without the scope it is counted");
}

#[test]
fn without_keys_neither_foreign_names_nor_foreign_pages_get_in() {
    let server = serve(&ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() });
    let address = server.address();
    let host = |host: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!([host("localhost:1"), host("127.0.0.1"), host("evil.example")], [200, 200, 421]);
    let write =
        |origin: &str| send(address, "POST", "/api/pipeline", &json!({"action": "subscribe"}), &[("Origin", origin)]);
    assert_eq!(write("http://localhost").status, 200);
    assert_eq!(code(&write("https://evil.example")), (403, "wrong-origin".to_owned()));
    let foreign = [("Origin", "https://evil.example")];
    assert_eq!(get(address, "/api/events", &foreign).status, 200, "without CORS the page cannot see it");
    assert_eq!(code(&get(address, "/api/pipeline/status", &foreign)), (403, "forbidden".to_owned()));
    let form = support::http::send_bytes(
        address,
        "POST",
        "/api/pipeline",
        b"action=subscribe",
        &[("Content-Type", "text/plain")],
    );
    assert_eq!(code(&form), (415, "unsupported-media-type".to_owned()));
    let forwarded = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(get(address, "/api/events", &forwarded).status, 200);
    assert_eq!(code(&get(address, "/api/pipeline/status", &forwarded)), (403, "forbidden".to_owned()));
}

#[test]
fn it_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let wrong = TlsConfig { certificate: certificate.clone(), key: key.clone() };
    let config =
        |tls: TlsConfig| ServeConfig { listen: "127.0.0.1:0".to_owned(), tls: Some(tls), ..ServeConfig::default() };
    let site = || Site::of(Hub::new(Live::new().0));
    let start =
        |tls: &TlsConfig| Server::start(&Listening { tls: Some(tls.clone()), ..listening(&Origins::None) }, site());
    let error = start(&wrong).err().unwrap().to_string();
    assert!(error.contains("cert.pem") && error.contains("serve.tls.certificate"), "{error}");
    self_signed(&certificate, &key);
    let server = serve(&config(wrong));
    assert!(server.url().starts_with("https://"));
    let mut builder = openssl::ssl::SslConnector::builder(openssl::ssl::SslMethod::tls_client()).unwrap();
    builder.set_ca_file(&certificate).unwrap();
    let stream = std::net::TcpStream::connect(server.address()).unwrap();
    let mut stream = builder.build().connect("localhost", stream).unwrap();
    use std::io::{Read, Write};
    write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // Some peers end a connection without saying so.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A certificate for localhost.
fn self_signed(certificate: &std::path::Path, key: &std::path::Path) {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509Builder, X509NameBuilder};
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let pair = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&pair).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns("localhost").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&pair, MessageDigest::sha256()).unwrap();
    std::fs::write(certificate, builder.build().to_pem().unwrap()).unwrap();
    std::fs::write(key, pair.private_key_to_pem_pkcs8().unwrap()).unwrap();
}

#[test]
fn connections_beyond_the_limit_wait() {
    let (live, _writer) = Live::new();
    let server =
        Server::start(&Listening { connections: 2, ..listening(&Origins::None) }, Site::of(Hub::new(live))).unwrap();
    let address = server.address();
    let held = [(); 2].map(|()| std::net::TcpStream::connect(address).unwrap());
    // They are taken before the next one.
    std::thread::sleep(Duration::from_millis(100));
    let asking = std::thread::spawn(move || get(address, "/openapi.json", &[]).status);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!asking.is_finished());
    drop(held);
    assert_eq!(asking.join().unwrap(), 200);
}
