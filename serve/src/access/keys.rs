//! Keys: long random texts that programs and people show, of which only hashes are kept.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::Hash;
use clap::ValueEnum;
use headwater::config::Invalid;
use serde::{Deserialize, Serialize};

use super::watched::{Unusable, Watched};
use super::{Basis, Identity};

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
    /// Read events, places and streams; look at jobs and queues.
    Read,
    /// See how the topology is doing, its sources, topics and dead letters, and what records would give.
    Ops,
    /// Send records of sources; submit jobs.
    Produce,
    /// Lease jobs and report on them.
    Work,
    /// Decide on listings.
    Decide,
    /// Replay dead letters.
    Replay,
    /// Change how the topology works, such as its gates; cancel and retry jobs, change queues and schedules.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Ops, Self::Produce, Self::Work, Self::Decide, Self::Replay, Self::Admin];
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Ops => "ops",
            Self::Produce => "produce",
            Self::Work => "work",
            Self::Decide => "decide",
            Self::Replay => "replay",
            Self::Admin => "admin",
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

/// What is wrong with a key.
struct Wrong {
    number: usize,
    field: &'static str,
    problem: String,
}

/// Everything that is wrong with keys, by their configuration keys.
pub(crate) fn validate(keys: &[KeyConfig]) -> Vec<Invalid> {
    let invalid = |Wrong { number, field, problem }| Invalid::new(format!("serve.keys[{number}].{field}"), problem);
    problems(keys).into_iter().map(invalid).collect()
}

fn problems(keys: &[KeyConfig]) -> Vec<Wrong> {
    let mut found = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let mut wrong = |field, problem| found.push(Wrong { number, field, problem });
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
    found
}

/// All keys of one place, by their hashes.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<Hash, Identity>);

impl Keys {
    /// Those of a configuration that is valid.
    fn new(configured: &[KeyConfig]) -> Self {
        let identity = |key: &KeyConfig| {
            let hash = parse_hash(&key.hash)?;
            let (name, scopes) = (Some(key.name.as_str().into()), key.scopes.as_slice().into());
            Some((hash, Identity { name, scopes, basis: Basis::Key(hash) }))
        };
        Self(configured.iter().filter_map(identity).collect())
    }
}

/// The keys of the configuration, and those of a file beside it, which may change.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    configured: Keys,
    file: Option<Watched<Keys>>,
}

impl KeyRing {
    /// Those of a configuration that is valid, and of the file that it names, if any.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(crate) fn open(configured: &[KeyConfig], file: Option<&Path>) -> Result<Self, Unusable> {
        let known = configured.to_vec();
        let file = file.map(|file| Watched::open(file, move |text| parse_file(&known, text))).transpose()?;
        Ok(Self { configured: Keys::new(configured), file })
    }

    /// Whether there is no key, and will be none.
    pub(crate) fn is_empty(&self) -> bool {
        self.configured.0.is_empty() && self.file.is_none()
    }

    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the file again if it has changed; whether it has.
    pub(crate) fn refresh(&self) -> bool {
        self.file.as_ref().is_some_and(Watched::refresh)
    }

    /// Who has `key`. How long it takes says nothing of other keys: what is compared are hashes.
    pub(crate) fn identity(&self, key: &str) -> Option<Identity> {
        self.of(&blake3::hash(key.as_bytes()))
    }

    /// Whether a key has this name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        let is_in = |keys: &Keys| keys.0.values().any(|identity| identity.who() == name);
        is_in(&self.configured) || self.file.as_ref().is_some_and(|file| is_in(&file.get()))
    }

    /// Whether the key with this hash is still that of an identity, and may do no more and no less.
    pub(crate) fn still_has(&self, hash: &Hash, identity: &Identity) -> bool {
        self.of(hash).is_some_and(|now| now.name == identity.name && now.scopes == identity.scopes)
    }

    fn of(&self, hash: &Hash) -> Option<Identity> {
        let in_file = || self.file.as_ref().and_then(|file| file.get().0.get(hash).cloned());
        self.configured.0.get(hash).cloned().or_else(in_file)
    }
}

/// The keys of a file, which are written as in the configuration.
fn parse_file(configured: &[KeyConfig], text: &str) -> Result<Keys, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        keys: Vec<KeyConfig>,
    }
    let File { keys } = toml::from_str(text).map_err(|error| error.to_string())?;
    let all = [configured, &keys].concat();
    let wrong = problems(&all).into_iter().filter(|wrong| wrong.number >= configured.len());
    let wrong: Vec<String> = wrong
        .map(|Wrong { number, field, problem }| format!("keys[{}].{field} {problem}", number - configured.len()))
        .collect();
    if wrong.is_empty() { Ok(Keys::new(&keys)) } else { Err(wrong.join("; ")) }
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
        let keys = KeyRing::open(&[configured], None).unwrap();
        assert_eq!(keys.identity(&key).unwrap().who(), "kim");
        assert_eq!(keys.identity(&format!("{key}x")), None);
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

    #[test]
    fn keys_of_a_file_come_and_go() {
        let [(ann, ann_hash), (kim, kim_hash), (_, other_hash)] = [(); 3].map(|()| generate().unwrap());
        let configured = KeyConfig { name: "ann".to_owned(), hash: ann_hash.clone(), scopes: vec![Scope::Ops] };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        let write = |name: &str, hash: &str, scopes: &str| {
            std::fs::write(&file, format!("[[keys]]\nname = {name:?}\nhash = {hash:?}\nscopes = [{scopes}]\n"))
                .unwrap();
        };
        let open = || KeyRing::open(std::slice::from_ref(&configured), Some(&file));
        assert!(open().is_err(), "there is no file");
        write("ann", &ann_hash, "");
        let error = open().unwrap_err().to_string();
        assert!(["name", "hash", "scopes"].iter().all(|field| error.contains(&format!("keys[0].{field}"))), "{error}");
        write("kim", &kim_hash, "'read'");
        let keys = open().unwrap();
        let known = keys.identity(&kim).unwrap();
        assert!(keys.identity(&ann).is_some() && keys.still_has(&blake3::hash(kim.as_bytes()), &known));
        write("kim", &kim_hash, "'read', 'ops'");
        assert!(keys.refresh() && keys.identity(&kim).unwrap().may(Scope::Ops));
        assert!(!keys.still_has(&blake3::hash(kim.as_bytes()), &known), "it may do more");
        write("someone", &other_hash, "'read'");
        assert!(keys.refresh() && keys.identity(&kim).is_none() && keys.identity(&ann).is_some());
    }
}
