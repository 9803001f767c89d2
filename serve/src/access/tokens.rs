//! Tokens of an issuer whom the configuration trusts: JWT (RFC 7519) with signatures that its public keys verify.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::Hash;
use headwater::config::Invalid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::jwks::{Algorithm, KeySet};
use super::keys::Scope;
use super::watched::{Unusable, Watched};
use super::{Basis, Identity};

/// How far the clocks of an issuer and of this machine may be apart, in seconds.
const LEEWAY: f64 = 30.0;

/// The most that a subject may have (OpenID Connect Core, 2).
const LONGEST_SUBJECT: usize = 255;

/// A stream with a token of more than that ends all the same.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// `[serve.jwt]`: whose tokens are taken for keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// File with the public keys of the issuer, a JWK set; it is read again when it changes.
    pub jwks: PathBuf,
    /// The issuer, as its tokens name it (`iss`).
    pub issuer: String,
    /// What tokens have to be for (`aud`).
    pub audience: String,
    /// The claim that holds the scopes: a text with spaces between them, or a list.
    pub scope_claim: String,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self { jwks: PathBuf::new(), issuer: String::new(), audience: String::new(), scope_claim: "scope".to_owned() }
    }
}

/// Everything that is wrong, but for what the file holds.
pub(crate) fn validate(jwt: &JwtConfig) -> Vec<Invalid> {
    let texts = [
        ("jwks", jwt.jwks.as_os_str().is_empty(), "must name a file with the public keys of the issuer"),
        ("issuer", jwt.issuer.is_empty(), "must be the issuer as its tokens name it (`iss`)"),
        ("audience", jwt.audience.is_empty(), "must be what tokens are for (`aud`)"),
        ("scope_claim", jwt.scope_claim.is_empty(), "must be the name of the claim with the scopes"),
    ];
    let wrong = texts.into_iter().filter(|(_, is_wrong, _)| *is_wrong);
    wrong.map(|(field, _, problem)| Invalid::new(format!("serve.jwt.{field}"), problem)).collect()
}

/// Why a token opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("This token is no JWT with a signature (RFC 7519, RFC 7515).")]
    Malformed,
    #[error("What is verified are signatures by RS256, PS256, ES256 and EdDSA.")]
    Algorithm,
    #[error("The key set of the issuer has no key for this token.")]
    UnknownKey,
    #[error("The signature of this token is wrong.")]
    Signature,
    #[error("This token has expired, or does not say when it does.")]
    Expired,
    #[error("This token is not valid yet.")]
    TooEarly,
    #[error("This token is of another issuer.")]
    Issuer,
    #[error("This token is for another audience.")]
    Audience,
    #[error("This token names no subject of 1 to {LONGEST_SUBJECT} characters.")]
    Subject,
}

/// The head of a token.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What has to be understood beside that; nothing is.
    crit: Option<Value>,
}

/// Whose tokens are taken for keys.
#[derive(Debug)]
pub(crate) struct Tokens {
    keys: Watched<KeySet>,
    config: JwtConfig,
}

impl Tokens {
    /// Those of a configuration that is valid.
    ///
    /// # Errors
    /// When the key set cannot be used.
    pub(crate) fn open(config: &JwtConfig) -> Result<Self, Unusable> {
        let keys = Watched::open(&config.jwks, KeySet::parse)?;
        match keys.get().nothing_of_use() {
            Some(problem) => Err(Unusable::Content(problem)),
            None => Ok(Self { keys, config: config.clone() }),
        }
    }

    /// Reads the key set again if it has changed; whether it has. A set without keys is how an issuer takes back its
    /// last one.
    pub(crate) fn refresh(&self) -> bool {
        let changed = self.keys.refresh();
        if let Some(problem) = self.keys.get().nothing_of_use().filter(|_| changed) {
            tracing::warn!(file = %self.config.jwks.display(), problem, "no token opens anything any more");
        }
        changed
    }

    /// Whether the key set still has the key with this fingerprint.
    pub(crate) fn knows(&self, key: &Hash) -> bool {
        self.keys.get().has(key)
    }

    /// Whether a text is meant to be a token, and no key.
    pub(crate) fn is_like(text: &str) -> bool {
        text.starts_with("eyJ") && text.split('.').count() == 3
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// Why it opens nothing.
    pub(crate) fn identity(&self, token: &str) -> Result<Identity, TokenError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.identity_at(token, now.as_secs_f64())
    }

    /// `now` is in seconds since the Unix epoch.
    fn identity_at(&self, token: &str, now: f64) -> Result<Identity, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let key = self.verify(header, signed, signature)?;
        let claims: Map<String, Value> = part(claims)?;
        let lasts = self.check(&claims, now)?;
        let is_name = |subject: &&str| {
            (1..=LONGEST_SUBJECT).contains(&subject.chars().count()) && !subject.chars().any(char::is_control)
        };
        let subject = claims.get("sub").and_then(Value::as_str).filter(is_name).ok_or(TokenError::Subject)?;
        let scopes = claims.get(&self.config.scope_claim).map(scopes).unwrap_or_default();
        let basis = Basis::Token { key, until: Instant::now() + lasts };
        Ok(Identity { name: Some(subject.into()), scopes: scopes.into(), basis })
    }

    /// The fingerprint of the key that has signed a token.
    fn verify(&self, header: &str, signed: &str, signature: &str) -> Result<Hash, TokenError> {
        let header: Header = part(header)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(TokenError::Algorithm)?;
        let keys = self.keys.get();
        let key = header.kid.and_then(|id| keys.find(&id, algorithm)).ok_or(TokenError::UnknownKey)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        if !key.verifies(algorithm, signed.as_bytes(), &signature) {
            return Err(TokenError::Signature);
        }
        Ok(key.fingerprint)
    }

    /// For how long claims still hold.
    fn check(&self, claims: &Map<String, Value>, now: f64) -> Result<Duration, TokenError> {
        let time = |name: &str| claims.get(name).and_then(Value::as_f64);
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&self.config.issuer) {
            return Err(TokenError::Issuer);
        }
        let is_meant = |audience: &Value| audience.as_str() == Some(&self.config.audience);
        let is_for_us = claims.get("aud").is_some_and(|audience| {
            is_meant(audience) || audience.as_array().is_some_and(|several| several.iter().any(is_meant))
        });
        if !is_for_us {
            return Err(TokenError::Audience);
        }
        // What is there and no time is no time that has come.
        if claims.contains_key("nbf") && time("nbf").is_none_or(|begins| begins > now + LEEWAY) {
            return Err(TokenError::TooEarly);
        }
        let lasts = time("exp").map(|ends| ends + LEEWAY - now).filter(|lasts| *lasts > 0.0);
        let lasts = lasts.ok_or(TokenError::Expired)?;
        Ok(Duration::try_from_secs_f64(lasts).unwrap_or(LONGEST).min(LONGEST))
    }
}

/// A part of a token: JSON in base64.
fn part<T: DeserializeOwned>(text: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// The scopes of a claim; an issuer has others, too, which are no concern of ours.
fn scopes(claim: &Value) -> Vec<Scope> {
    let names: Vec<&str> = match claim {
        Value::String(text) => text.split_ascii_whitespace().collect(),
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    Scope::ALL.into_iter().filter(|scope| names.contains(&scope.to_string().as_str())).collect()
}

#[cfg(test)]
mod tests {
    use openssl::pkey::{PKey, Private};
    use openssl::sign::Signer;
    use serde_json::json;

    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    struct Issuer {
        key: PKey<Private>,
        tokens: Tokens,
        _folder: tempfile::TempDir,
    }

    fn issuer() -> Issuer {
        let key = PKey::generate_ed25519().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let jwks = folder.path().join("jwks.json");
        let x = URL_SAFE_NO_PAD.encode(key.raw_public_key().unwrap());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x }] });
        std::fs::write(&jwks, set.to_string()).unwrap();
        let config =
            JwtConfig { jwks, issuer: "https://login".to_owned(), audience: "events".to_owned(), ..Default::default() };
        assert!(validate(&config).is_empty());
        Issuer { key, tokens: Tokens::open(&config).unwrap(), _folder: folder }
    }

    impl Issuer {
        fn token(&self, header: &Value, claims: &Value) -> String {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let mut signer = Signer::new_without_digest(&self.key).unwrap();
            let signature = signer.sign_oneshot_to_vec(signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn error(&self, header: &Value, claims: &Value) -> Option<TokenError> {
            self.tokens.identity_at(&self.token(header, claims), NOW).err()
        }
    }

    fn header() -> Value {
        json!({ "alg": "EdDSA", "kid": "one" })
    }

    fn claims() -> Value {
        json!({ "iss": "https://login", "aud": "events", "sub": "kim", "exp": NOW + 60.0, "scope": "openid read ops" })
    }

    fn with(mut value: Value, name: &str, one: Value) -> Value {
        value[name] = one;
        value
    }

    #[test]
    fn the_last_key_of_an_issuer_is_taken_back() {
        let issuer = issuer();
        let set = &issuer.tokens.config.jwks;
        assert_eq!(issuer.error(&header(), &claims()), None);
        std::fs::write(set, r#"{"keys":[]}"#).unwrap();
        assert!(issuer.tokens.refresh());
        assert_eq!(issuer.error(&header(), &claims()), Some(TokenError::UnknownKey));
        assert!(Tokens::open(&issuer.tokens.config).is_err(), "at a start it has to have one");
        std::fs::write(set, "{").unwrap();
        assert!(!issuer.tokens.refresh());
    }

    #[test]
    fn a_token_is_its_subject_with_its_scopes() {
        let issuer = issuer();
        let token = issuer.token(&header(), &claims());
        assert!(Tokens::is_like(&token) && !Tokens::is_like("hw_a.b.c") && !Tokens::is_like("eyJ"));
        let kim = issuer.tokens.identity_at(&token, NOW).unwrap();
        assert_eq!((kim.who(), &*kim.scopes), ("kim", &[Scope::Read, Scope::Ops][..]));
        let Basis::Token { key, until } = kim.basis else { panic!("it rests on a token") };
        let lasts = until.saturating_duration_since(Instant::now());
        assert!(
            issuer.tokens.knows(&key) && lasts <= Duration::from_secs(90) && lasts > Duration::from_secs(80),
            "{lasts:?}"
        );
        let listed = with(with(claims(), "aud", json!(["x", "events"])), "scope", json!(["produce", "x"]));
        assert_eq!(
            &*issuer.tokens.identity_at(&issuer.token(&header(), &listed), NOW).unwrap().scopes,
            [Scope::Produce]
        );
        let no_scope = with(claims(), "scope", json!({ "read": true }));
        assert!(issuer.tokens.identity_at(&issuer.token(&header(), &no_scope), NOW).unwrap().scopes.is_empty());
    }

    #[test]
    fn each_claim_has_to_be_right() {
        let issuer = issuer();
        let wrong = [
            ("exp", json!(NOW - LEEWAY), TokenError::Expired),
            ("exp", json!(null), TokenError::Expired),
            ("exp", json!("1900000000"), TokenError::Expired),
            ("nbf", json!(NOW + LEEWAY + 1.0), TokenError::TooEarly),
            ("nbf", json!("soon"), TokenError::TooEarly),
            ("iss", json!("https://login/"), TokenError::Issuer),
            ("iss", json!(["https://login"]), TokenError::Issuer),
            ("aud", json!("other"), TokenError::Audience),
            ("aud", json!(["other"]), TokenError::Audience),
            ("aud", json!(null), TokenError::Audience),
            ("sub", json!(""), TokenError::Subject),
            ("sub", json!("a\nb"), TokenError::Subject),
            ("sub", json!("x".repeat(256)), TokenError::Subject),
        ];
        for (name, value, error) in wrong {
            assert_eq!(issuer.error(&header(), &with(claims(), name, value.clone())), Some(error), "{name} {value}");
        }
        for (name, value) in [("exp", NOW - LEEWAY + 1.0), ("nbf", NOW + LEEWAY), ("exp", 1e300)] {
            assert_eq!(issuer.error(&header(), &with(claims(), name, json!(value))), None, "{name} {value}");
        }
    }

    #[test]
    fn each_part_has_to_be_right() {
        let issuer = issuer();
        let wrong = [
            ("alg", json!("none"), TokenError::Algorithm),
            ("alg", json!("HS256"), TokenError::Algorithm),
            ("alg", json!("RS256"), TokenError::UnknownKey),
            ("kid", json!("two"), TokenError::UnknownKey),
            ("kid", json!(null), TokenError::UnknownKey),
            ("crit", json!(["b64"]), TokenError::Malformed),
        ];
        for (name, value, error) in wrong {
            assert_eq!(issuer.error(&with(header(), name, value.clone()), &claims()), Some(error), "{name} {value}");
        }
        let token = issuer.token(&header(), &claims());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = issuer.token(&header(), &with(claims(), "sub", json!("ann")));
        let mixed = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        let cut = [
            (format!("{signed}."), TokenError::Signature),
            (mixed, TokenError::Signature),
            (format!("{signed}.{signature}="), TokenError::Malformed),
            (format!("{token}.x"), TokenError::Malformed),
            (signed.to_owned(), TokenError::Malformed),
            ("eyJ.e30.".to_owned(), TokenError::Malformed),
        ];
        for (token, error) in cut {
            assert_eq!(issuer.tokens.identity_at(&token, NOW).err(), Some(error), "{token}");
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        let wrong: Vec<String> = validate(&JwtConfig { scope_claim: String::new(), ..JwtConfig::default() })
            .into_iter()
            .map(|invalid| invalid.key)
            .collect();
        assert_eq!(wrong, ["jwks", "issuer", "audience", "scope_claim"].map(|field| format!("serve.jwt.{field}")));
    }
}
