//! Public keys of an issuer of tokens: a JWK set (RFC 7517), and the signatures that they verify (RFC 7518, RFC 8037).
//!
//! A key says which algorithms it is for, and a token chooses among these alone: a token that names another one, such
//! as `none` or an HMAC with the public key for its secret, is refused before anything is computed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::Hash;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Verifier};
use serde::Deserialize;

/// RSA keys that are shorter are refused (RFC 7518, 3.3).
const SHORTEST_RSA_BITS: u32 = 2_048;

/// Bytes of a coordinate of P-256, and of each half of a signature with it.
const P256_BYTES: usize = 32;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// Those that are verified.
    const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// Its name in tokens and key sets.
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A key of a set, as it is written.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A key that verifies signatures.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    /// Its name in tokens (`kid`).
    id: Box<str>,
    /// Hash of the key itself: another key may get the name of one that is gone.
    pub(super) fingerprint: Hash,
    algorithms: &'static [Algorithm],
    key: PKey<Public>,
}

/// The keys of an issuer.
#[derive(Debug)]
pub(super) struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// Reads a set. Keys that are for something else, or that cannot be understood, are passed over (RFC 7517, 5).
    ///
    /// # Errors
    /// What is wrong, where it is no set.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|error| format!("it is no JWK set (RFC 7517): {error}"))?;
        let mut keys = Vec::new();
        for (number, one) in set.keys.into_iter().enumerate() {
            match serde_json::from_value(one).map_err(|error| error.to_string()).and_then(VerifyingKey::read) {
                Ok(key) => keys.push(key),
                Err(problem) => tracing::info!(number, problem, "a key of a JWK set is passed over"),
            }
        }
        Ok(Self(keys))
    }

    /// What is wrong with a set by which no token can be verified.
    pub(super) fn nothing_of_use(&self) -> Option<String> {
        let all = || Algorithm::ALL.map(Algorithm::name).join(", ");
        self.0.is_empty().then(|| format!("it has no key with a `kid` for any of {}", all()))
    }

    /// The key of this id for this algorithm.
    pub(super) fn find(&self, id: &str, algorithm: Algorithm) -> Option<&VerifyingKey> {
        self.0.iter().find(|key| &*key.id == id && key.algorithms.contains(&algorithm))
    }

    /// Whether there is the key with this fingerprint.
    pub(super) fn has(&self, fingerprint: &Hash) -> bool {
        self.0.iter().any(|key| key.fingerprint == *fingerprint)
    }
}

impl VerifyingKey {
    fn read(jwk: Jwk) -> Result<Self, String> {
        let id = jwk.kid.as_deref().filter(|id| !id.is_empty()).ok_or("it has no `kid`")?;
        if jwk.used_for.as_deref().is_some_and(|used_for| used_for != "sig")
            || jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|one| one == "verify"))
        {
            return Err("it is not for signatures".to_owned());
        }
        let (of_type, key): (&'static [Algorithm], _) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (&[Algorithm::Rs256, Algorithm::Ps256], rsa(&jwk)?),
            ("EC", Some("P-256")) => (&[Algorithm::Es256], p256(&jwk)?),
            ("OKP", Some("Ed25519")) => (&[Algorithm::EdDsa], ed25519(&jwk)?),
            (kind, curve) => return Err(format!("{kind} {} is not verified here", curve.unwrap_or_default())),
        };
        let algorithms = match &jwk.alg {
            None => of_type,
            Some(name) => of_type
                .iter()
                .position(|algorithm| algorithm.name() == name)
                .map(|at| &of_type[at..=at])
                .ok_or_else(|| format!("{name} is not verified here"))?,
        };
        let fingerprint = blake3::hash(&key.public_key_to_der().map_err(refused)?);
        Ok(Self { id: id.into(), fingerprint, algorithms, key })
    }

    /// Whether `signature` is that of `message`. Whatever goes wrong, it is not.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.algorithms.contains(&algorithm) && self.verify(algorithm, message, signature).unwrap_or(false)
    }

    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let sha256 = MessageDigest::sha256();
        match algorithm {
            Algorithm::Rs256 => Verifier::new(sha256, &self.key)?.verify_oneshot(signature, message),
            Algorithm::Ps256 => {
                let mut verifier = Verifier::new(sha256, &self.key)?;
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                verifier.set_rsa_mgf1_md(sha256)?;
                verifier.verify_oneshot(signature, message)
            }
            Algorithm::Es256 => {
                // Both numbers, one after the other (RFC 7518, 3.4); OpenSSL takes DER.
                if signature.len() != 2 * P256_BYTES {
                    return Ok(false);
                }
                let (r, s) = signature.split_at(P256_BYTES);
                let both = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
                Verifier::new(sha256, &self.key)?.verify_oneshot(&both.to_der()?, message)
            }
            Algorithm::EdDsa => Verifier::new_without_digest(&self.key)?.verify_oneshot(signature, message),
        }
    }
}

/// A member of a key, which is bytes in base64.
fn bytes(name: &str, member: Option<&String>) -> Result<Vec<u8>, String> {
    let text = member.ok_or_else(|| format!("it has no `{name}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|error| format!("`{name}` is no base64url: {error}"))
}

fn refused(error: ErrorStack) -> String {
    format!("OpenSSL refuses it: {error}")
}

fn rsa(jwk: &Jwk) -> Result<PKey<Public>, String> {
    let (n, e) = (bytes("n", jwk.n.as_ref())?, bytes("e", jwk.e.as_ref())?);
    let key = || Rsa::from_public_components(BigNum::from_slice(&n)?, BigNum::from_slice(&e)?).and_then(PKey::from_rsa);
    let key = key().map_err(refused)?;
    if key.bits() < SHORTEST_RSA_BITS {
        return Err(format!("it has {} bits, less than {SHORTEST_RSA_BITS}", key.bits()));
    }
    Ok(key)
}

fn p256(jwk: &Jwk) -> Result<PKey<Public>, String> {
    let (x, y) = (bytes("x", jwk.x.as_ref())?, bytes("y", jwk.y.as_ref())?);
    if x.len() != P256_BYTES || y.len() != P256_BYTES {
        return Err(format!("coordinates of P-256 have {P256_BYTES} bytes"));
    }
    let key = || {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        // A point that is not on the curve is refused.
        let key =
            EcKey::from_public_key_affine_coordinates(&group, &*BigNum::from_slice(&x)?, &*BigNum::from_slice(&y)?)?;
        PKey::from_ec_key(key)
    };
    key().map_err(refused)
}

fn ed25519(jwk: &Jwk) -> Result<PKey<Public>, String> {
    PKey::public_key_from_raw_bytes(&bytes("x", jwk.x.as_ref())?, Id::ED25519).map_err(refused)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The key and the token of RFC 7515, A.3 (ES256), and those of RFC 8037, A.4 (EdDSA).
    #[test]
    fn signatures_are_those_of_the_standards() {
        let set = json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "a3", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
              "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" },
            { "kty": "OKP", "crv": "Ed25519", "kid": "a4", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
        ]});
        let keys = KeySet::parse(&set.to_string()).unwrap();
        let tokens = [
            (
                "a3",
                Algorithm::Es256,
                "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
            (
                "a4",
                Algorithm::EdDsa,
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            ),
        ];
        for (id, algorithm, message, signature) in tokens {
            let key = keys.find(id, algorithm).unwrap();
            let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(key.verifies(algorithm, message.as_bytes(), &signature), "{id}");
            assert!(!key.verifies(algorithm, &message.as_bytes()[1..], &signature), "{id}");
            assert!(!key.verifies(Algorithm::Rs256, message.as_bytes(), &signature), "{id}");
            assert!(!key.verifies(algorithm, message.as_bytes(), &[]), "{id}");
            signature[5] ^= 1;
            assert!(!key.verifies(algorithm, message.as_bytes(), &signature), "{id}");
        }
    }

    #[test]
    fn keys_for_something_else_are_passed_over() {
        let short = Rsa::generate(1_024).unwrap();
        let n = URL_SAFE_NO_PAD.encode(short.n().to_vec());
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let good = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "good", "alg": "EdDSA", "use": "sig", "x": x });
        let with = |name: &str, value: serde_json::Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        let wrong = [
            with("kid", json!(null)),
            with("use", json!("enc")),
            with("key_ops", json!(["encrypt"])),
            with("alg", json!("HS256")),
            with("x", json!("AAAA")),
            with("kty", json!(7)),
            json!({ "kty": "oct", "kid": "o", "k": "c2VjcmV0" }),
            json!({ "kty": "RSA", "kid": "short", "n": n, "e": "AQAB" }),
            json!({ "kty": "EC", "crv": "P-256", "kid": "off", "x": "A".repeat(43), "y": "A".repeat(43) }),
        ];
        for key in &wrong {
            let set = KeySet::parse(&json!({ "keys": [key] }).to_string()).unwrap();
            assert!(set.nothing_of_use().is_some(), "{key}");
        }
        let all = [&wrong[..], &[good]].concat();
        let set = KeySet::parse(&json!({ "keys": all }).to_string()).unwrap();
        assert!(set.0.len() == 1 && &*set.0[0].id == "good" && set.has(&set.0[0].fingerprint));
        assert!(!set.has(&blake3::hash(b"another")));
        assert!(["", "[]", "{}"].iter().all(|text| KeySet::parse(text).is_err()));
    }
}
