//! Tokens of an issuer, and files with keys that change, over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_serve::access::keys::generate;
use headwater_serve::access::tokens::JwtConfig;
use headwater_serve::api::Origins;
use headwater_serve::config::{ServeConfig, TlsConfig};
use headwater_serve::live::Live;
use headwater_serve::server::Server;
use headwater_serve::site::Site;
use headwater_serve::stream::Hub;
use headwater_serve::timeline::Timeline;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};

use support::http::{Answer, get, listening, request, send};

/// How often the server looks at its files, and then some.
const LOOKED_AT: Duration = Duration::from_secs(15);

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of the issuer.
struct Key {
    id: &'static str,
    algorithm: &'static str,
    key: PKey<Private>,
}

impl Key {
    fn new(id: &'static str, algorithm: &'static str) -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = match algorithm {
            "ES256" => PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap(),
            "EdDSA" => PKey::generate_ed25519().unwrap(),
            _ => PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap(),
        };
        Self { id, algorithm, key }
    }

    /// The public half, as an issuer shows it.
    fn jwk(&self) -> Value {
        let mut jwk = match self.algorithm {
            "ES256" => {
                let key = self.key.ec_key().unwrap();
                let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
                let point = key.public_key().to_bytes(key.group(), form, &mut BigNumContext::new().unwrap()).unwrap();
                json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
            }
            "EdDSA" => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(self.key.raw_public_key().unwrap()) }),
            _ => {
                let key = self.key.rsa().unwrap();
                json!({ "kty": "RSA", "n": encode(key.n().to_vec()), "e": encode(key.e().to_vec()), "use": "sig" })
            }
        };
        jwk["kid"] = self.id.into();
        jwk
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let sha256 = MessageDigest::sha256();
        match self.algorithm {
            "EdDSA" => Signer::new_without_digest(&self.key).unwrap().sign_oneshot_to_vec(message).unwrap(),
            "ES256" => {
                let der = Signer::new(sha256, &self.key).unwrap().sign_oneshot_to_vec(message).unwrap();
                let both = EcdsaSig::from_der(&der).unwrap();
                [both.r().to_vec_padded(32).unwrap(), both.s().to_vec_padded(32).unwrap()].concat()
            }
            algorithm => {
                let mut signer = Signer::new(sha256, &self.key).unwrap();
                if algorithm == "PS256" {
                    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                    signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
                }
                signer.sign_oneshot_to_vec(message).unwrap()
            }
        }
    }

    fn token(&self, claims: &Value) -> String {
        self.token_as(&json!({ "alg": self.algorithm, "kid": self.id, "typ": "at+jwt" }), claims)
    }

    fn token_as(&self, header: &Value, claims: &Value) -> String {
        let signed = signed(header, claims);
        format!("{signed}.{}", encode(self.sign(signed.as_bytes())))
    }
}

/// What is signed of a token.
fn signed(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Those of somebody who may read, for an hour.
fn claims() -> Value {
    json!({ "iss": "https://login", "aud": ["other", "events"], "sub": "kim@login", "exp": now() + 3_600, "scope": "openid read" })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// A server that trusts an issuer.
struct Served {
    server: Server,
    jwks: PathBuf,
    _folder: tempfile::TempDir,
}

fn serve(keys: &[&Key]) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    write_set(&jwks, keys);
    let config = ServeConfig { jwt: Some(jwt(&jwks)), ..local() };
    assert!(config.validate().is_empty());
    Served { server: start(&config), jwks, _folder: folder }
}

fn write_set(jwks: &std::path::Path, keys: &[&Key]) {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    std::fs::write(jwks, json!({ "keys": keys }).to_string()).unwrap();
}

fn jwt(jwks: &std::path::Path) -> JwtConfig {
    let (issuer, audience) = ("https://login".to_owned(), "events".to_owned());
    JwtConfig { jwks: jwks.to_owned(), issuer, audience, ..JwtConfig::default() }
}

fn local() -> ServeConfig {
    ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() }
}

/// A server of nothing.
fn start(config: &ServeConfig) -> Server {
    let (live, mut writer) = Live::new();
    writer.set_lineage("0000002a".parse().unwrap());
    writer.begin(0, Timeline::default(), 0);
    let site = Site { access: Arc::new(config.access().unwrap()), ..Site::of(Hub::new(live)) };
    Server::start(&listening(&Origins::None), site).unwrap()
}

fn ask(address: SocketAddr, token: &str) -> Answer {
    get(address, "/api/events", &[("Authorization", &format!("Bearer {token}"))])
}

/// The status, and what a token that opens nothing is told.
fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
}

/// Asks until the answer has this status.
fn until(status: u16, ask: impl Fn() -> Answer) {
    let began = Instant::now();
    while ask().status != status {
        assert!(began.elapsed() < LOOKED_AT, "{status} was not answered");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_token_of_each_algorithm_opens_what_its_scopes_say() {
    let keys = ["RS256", "PS256", "ES256", "EdDSA"].map(|algorithm| Key::new(algorithm, algorithm));
    let served = serve(&keys.each_ref());
    let address = served.server.address();
    assert_eq!(get(address, "/api/events", &[]).status, 401);
    for key in &keys {
        let token = key.token(&claims());
        assert_eq!(ask(address, &token).status, 200, "{}", key.algorithm);
        let bearer = format!("bearer {token}");
        let session = get(address, "/api/session", &[("Authorization", &bearer)]).json();
        assert_eq!((&session["name"], &session["scopes"]), (&json!("kim@login"), &json!(["read"])));
        let status = get(address, "/api/pipeline/status", &[("Authorization", &bearer)]);
        assert_eq!(refused(&status), (403, "\"kim@login\" has no scope \"ops\", which this needs.".to_owned()));
        let mut cut = token.clone();
        cut.truncate(token.len() - 8);
        assert_eq!(ask(address, &cut).status, 401);
    }
}

#[test]
fn what_is_wrong_with_a_token_is_told_and_it_opens_nothing() {
    let (key, other) = (Key::new("one", "RS256"), Key::new("one", "RS256"));
    let served = serve(&[&key]);
    let address = served.server.address();
    let token = |header: Value| key.token_as(&header, &claims());
    let wrong = [
        (key.token(&with("exp", json!(now() - 60))), "has expired"),
        (key.token(&with("nbf", json!(now() + 60))), "not valid yet"),
        (key.token(&with("aud", json!("other"))), "another audience"),
        (key.token(&with("iss", json!("https://login.evil"))), "another issuer"),
        (other.token(&claims()), "signature"),
        (token(json!({ "alg": "RS256", "kid": "two" })), "no key"),
        (token(json!({ "alg": "RS256" })), "no key"),
        // A key for RSA verifies no token that calls itself something else.
        (token(json!({ "alg": "ES256", "kid": "one" })), "no key"),
        (token(json!({ "alg": "RS512", "kid": "one" })), "RS256, PS256, ES256 and EdDSA"),
        (token(json!({ "alg": "PS256", "kid": "one" })), "signature"),
        ("eyJhbGciOiJSUzI1NiJ9.e30.".to_owned(), "no key"),
        ("eyJ.eyJ.eyJ".to_owned(), "no JWT"),
    ];
    for (token, detail) in &wrong {
        let (status, told) = refused(&ask(address, token));
        assert!(status == 401 && told.contains(detail), "{status} {told}, not {detail}");
    }
    assert_eq!(ask(address, &key.token(&claims())).status, 200);
}

#[test]
fn neither_no_signature_nor_the_public_key_as_a_secret_opens_anything() {
    let key = Key::new("one", "RS256");
    let served = serve(&[&key]);
    let address = served.server.address();
    for none in ["none", "None", "NONE", ""] {
        let signed = signed(&json!({ "alg": none, "kid": "one" }), &claims());
        let tokens = [format!("{signed}."), format!("{signed}.{}", encode(key.sign(signed.as_bytes())))];
        for token in tokens {
            let (status, told) = refused(&ask(address, &token));
            assert!(status == 401 && told.contains("RS256, PS256, ES256 and EdDSA"), "{told}");
        }
    }
    // Whoever has the public key can make these.
    let secrets = [
        key.key.public_key_to_pem().unwrap(),
        key.key.public_key_to_der().unwrap(),
        key.key.rsa().unwrap().public_key_to_pem_pkcs1().unwrap(),
        key.key.rsa().unwrap().n().to_vec(),
        key.jwk().to_string().into_bytes(),
    ];
    for algorithm in ["HS256", "HS384", "HS512"] {
        let signed = signed(&json!({ "alg": algorithm, "kid": "one" }), &claims());
        for secret in &secrets {
            let digest = MessageDigest::from_name(&algorithm.replace("HS", "sha")).unwrap();
            let secret = PKey::hmac(secret).unwrap();
            let code = Signer::new(digest, &secret).unwrap().sign_oneshot_to_vec(signed.as_bytes()).unwrap();
            let (status, told) = refused(&ask(address, &format!("{signed}.{}", encode(code))));
            assert!(status == 401 && told.contains("RS256, PS256, ES256 and EdDSA"), "{told}");
        }
    }
}

#[test]
fn keys_of_the_issuer_rotate_without_a_restart() {
    let (old, new) = (Key::new("old", "ES256"), Key::new("new", "EdDSA"));
    let served = serve(&[&old]);
    let address = served.server.address();
    let (of_old, of_new) = (old.token(&claims()), new.token(&claims()));
    assert_eq!([ask(address, &of_old).status, ask(address, &of_new).status], [200, 401]);
    write_set(&served.jwks, &[&old, &new]);
    until(200, || ask(address, &of_new));
    assert_eq!(ask(address, &of_old).status, 200);
    // What cannot be read changes nothing.
    std::fs::write(&served.jwks, "{").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    std::fs::remove_file(&served.jwks).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!([ask(address, &of_old).status, ask(address, &of_new).status], [200, 200]);
    // What was begun with a key ends with it, also where another one gets its name.
    let signed_in = send(address, "POST", "/api/session", &json!({ "key": of_old }), &[]);
    let cookie = signed_in.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let with_cookie = || get(address, "/api/events", &[("Cookie", &cookie)]);
    assert_eq!(with_cookie().status, 200);
    write_set(&served.jwks, &[&Key::new("old", "ES256"), &new]);
    until(401, || ask(address, &of_old));
    assert_eq!([with_cookie().status, ask(address, &of_new).status], [401, 200]);
}

#[test]
fn a_session_that_began_with_a_token_ends_with_it() {
    let key = Key::new("one", "EdDSA");
    let served = serve(&[&key]);
    let address = served.server.address();
    // Thirty seconds are forgiven.
    let token = key.token(&with("exp", json!(now() - 22)));
    let signed_in = send(address, "POST", "/api/session", &json!({ "key": token }), &[]);
    let cookie = signed_in.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let ask = || get(address, "/api/events", &[("Cookie", &cookie)]);
    assert_eq!((signed_in.status, ask().status), (200, 200));
    until(401, ask);
    assert_eq!(send(address, "POST", "/api/session", &json!({ "key": token }), &[]).status, 401);
}

#[test]
fn keys_of_a_file_come_and_go_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let [(first, first_hash), (second, second_hash)] = [(); 2].map(|()| generate().unwrap());
    let write = |name: &str, hash: &str| {
        let text = format!("[[keys]]\nname = {name:?}\nhash = {hash:?}\nscopes = [\"read\"]\n");
        std::fs::write(&file, text).unwrap();
    };
    let config = ServeConfig { keys_file: Some(file.clone()), ..local() };
    let error = config.access().unwrap_err().to_string();
    assert!(error.contains("keys.toml") && error.contains("serve.keys_file"), "{error}");
    write("first", &first_hash);
    let server = start(&config);
    let address = server.address();
    let ask = |key: &str| get(address, "/api/events", &[("X-API-Key", key)]);
    assert_eq!([ask(&first).status, ask(&second).status], [200, 401]);
    let signed_in = send(address, "POST", "/api/session", &json!({ "key": first }), &[]);
    let cookie = signed_in.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let with_cookie = || get(address, "/api/events", &[("Cookie", &cookie)]);
    assert_eq!(with_cookie().status, 200);
    write("the second", &second_hash);
    until(200, || ask(&second));
    assert_eq!([ask(&first).status, with_cookie().status], [401, 401], "its session has ended with it");
    assert_eq!(request(address, "DELETE", "/api/session", &[("Cookie", &cookie)]).status, 204);
}

#[test]
fn a_configuration_says_what_is_missing() {
    let config = |jwt: JwtConfig| ServeConfig { jwt: Some(jwt), ..local() };
    let wrong: Vec<String> = config(JwtConfig::default()).validate().into_iter().map(|wrong| wrong.key).collect();
    assert_eq!(wrong, ["serve.jwt.jwks", "serve.jwt.issuer", "serve.jwt.audience"]);
    let error = config(jwt("/nowhere/jwks.json".as_ref())).access().unwrap_err().to_string();
    assert_eq!(error, "cannot use /nowhere/jwks.json (serve.jwt.jwks)");
    // Tokens are keys: with them and TLS, others may reach it, and nobody may do anything without one.
    let tls = TlsConfig { certificate: "cert.pem".into(), key: "key.pem".into() };
    let reached = |jwt: Option<JwtConfig>| ServeConfig {
        listen: "0.0.0.0:8443".to_owned(),
        tls: Some(tls.clone()),
        jwt,
        ..ServeConfig::default()
    };
    assert_eq!(reached(None).validate().len(), 1);
    assert!(reached(Some(jwt("jwks.json".as_ref()))).validate().is_empty());
    let key = Key::new("one", "EdDSA");
    let served = serve(&[&key]);
    assert_eq!(get(served.server.address(), "/api/session", &[]).json()["keysNeeded"], true);
}
