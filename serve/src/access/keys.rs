//! Keys: long random texts that programs and people show, of which only hashes are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::Hash;
use clap::ValueEnum;
use headwater::config::Invalid;
use serde::{Deserialize, Serialize};

/// What keys begin with, so that they are recognised where they were left by accident.
const PREFIX: &str = "hw_";

/// What hashes begin with.
const ALGORITHM: &str = "blake3:";

/// Random bytes of a key.
const BYTES: usize = 32;

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read events, places and streams.
    Read,
    /// See how the topology is doing, its sources, topics and dead letters, and what records would give.
    Ops,
    /// Send records of sources.
    Produce,
    /// Decide on listings.
    Decide,
    /// Replay dead letters.
    Replay,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Ops, Self::Produce, Self::Decide, Self::Replay];
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Ops => "ops",
            Self::Produce => "produce",
            Self::Decide => "decide",
            Self::Replay => "replay",
        })
    }
}

/// `[[serve.keys]]`: a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyConfig {
    /// Who has it: it is the name of the author of what is written with it.
    pub name: String,
    /// Hash of the key, as `headwater key` prints it.
    pub hash: String,
    /// What may be done with it.
    pub scopes: Vec<Scope>,
}

/// The hash that `text` stands for, which is `blake3:` and 64 hexadecimal digits.
fn parse_hash(text: &str) -> Option<Hash> {
    Hash::from_hex(text.strip_prefix(ALGORITHM)?).ok()
}

/// Everything that is wrong with keys, by their configuration keys.
pub(crate) fn validate(keys: &[KeyConfig]) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let mut wrong = |field: &str, problem: String| {
            invalid.push(Invalid::new(format!("serve.keys[{number}].{field}"), problem));
        };
        if key.name.trim().is_empty() {
            wrong("name", "must say who has the key".to_owned());
        } else if keys.iter().take(number).any(|other| other.name == key.name) {
            wrong("name", format!("{:?} is the name of another key", key.name));
        }
        if parse_hash(&key.hash).is_none() {
            wrong("hash", "must be a hash such as `headwater key NAME` prints, not the key itself".to_owned());
        } else if keys.iter().take(number).any(|other| other.hash == key.hash) {
            wrong("hash", "is that of another key".to_owned());
        }
        if key.scopes.is_empty() {
            let all = Scope::ALL.map(|scope| scope.to_string()).join(", ");
            wrong("scopes", format!("must name at least one of {all}"));
        }
    }
    invalid
}

/// Who has a key, and what may be done with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// None of a ticket that somebody without a key has.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) scopes: Arc<[Scope]>,
}

/// All keys.
#[derive(Debug, Default)]
pub struct Keys(HashMap<Hash, Arc<Holder>>);

impl Keys {
    /// Those of a configuration that is valid.
    pub(crate) fn new(configured: &[KeyConfig]) -> Self {
        let holder =
            |key: &KeyConfig| Holder { name: Some(key.name.as_str().into()), scopes: key.scopes.as_slice().into() };
        Self(configured.iter().filter_map(|key| Some((parse_hash(&key.hash)?, Arc::new(holder(key))))).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who has `key`. How long it takes says nothing of other keys: what is compared are hashes.
    pub(crate) fn holder(&self, key: &str) -> Option<&Arc<Holder>> {
        self.0.get(&blake3::hash(key.as_bytes()))
    }
}

/// A new key, and the hash of it to be configured.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate() -> Result<(String, String), openssl::error::ErrorStack> {
    let key = format!("{PREFIX}{}", random_text()?);
    let hash = format!("{ALGORITHM}{}", blake3::hash(key.as_bytes()).to_hex());
    Ok((key, hash))
}

/// A text that nobody can guess.
pub(crate) fn random_text() -> Result<String, openssl::error::ErrorStack> {
    let mut bytes = [0; BYTES];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash_alone() {
        let (key, hash) = generate().unwrap();
        assert!(key.starts_with(PREFIX) && key.len() == 46, "{key}");
        let configured = KeyConfig { name: "kim".to_owned(), hash, scopes: vec![Scope::Read] };
        assert_eq!(validate(std::slice::from_ref(&configured)).len(), 0);
        let keys = Keys::new(&[configured]);
        assert_eq!(keys.holder(&key).unwrap().name.as_deref(), Some("kim"));
        assert_eq!(keys.holder(&format!("{key}x")), None);
        assert_ne!(generate().unwrap().0, key);
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let (_, hash) = generate().unwrap();
        let key = |name: &str, hash: &str, scopes: &[Scope]| KeyConfig {
            name: name.to_owned(),
            hash: hash.to_owned(),
            scopes: scopes.to_vec(),
        };
        let keys = [key("a", &hash, &[Scope::Ops]), key("a", &hash, &[Scope::Ops]), key(" ", "hw_secret", &[])];
        let wrong: Vec<String> = validate(&keys).into_iter().map(|invalid| invalid.key).collect();
        let wanted = ["keys[1].name", "keys[1].hash", "keys[2].name", "keys[2].hash", "keys[2].scopes"];
        assert_eq!(wrong, wanted.map(|key| format!("serve.{key}")));
    }
}
