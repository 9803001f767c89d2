//! `[serve]`: whether events are served, and to whom.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderValue;
use headwater::config::Invalid;
use serde::Deserialize;

use crate::access::keys::{self, KeyConfig, KeyRing, Scope};
use crate::access::limits::Limiter;
use crate::access::tokens::{self, JwtConfig, Tokens};
use crate::access::watched::Unusable;
use crate::access::webhooks::{self, WebhookConfig, Webhooks};
use crate::access::{Access, KeysError};
use crate::api::Origins;

/// `[serve]`: whether events are served, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address to listen on, such as `"127.0.0.1:8081"`; `""` (default) serves nothing.
    pub listen: String,
    /// Whether others than this machine may reach it without keys and without TLS: a proxy before it has both.
    pub insecure: bool,
    /// Pages of these origins may read, such as `"https://example.org"`; `["*"]` is every page. Default: none.
    pub origins: Vec<String>,
    /// Keys, as `headwater key` makes them.
    pub keys: Vec<KeyConfig>,
    /// File with more keys, written as `[[keys]]`; it is read again when it changes.
    pub keys_file: Option<PathBuf>,
    /// Whose tokens (JWT) are taken for keys.
    pub jwt: Option<JwtConfig>,
    /// What may be done without a key. Default: nothing where there are keys; without keys, everything from this
    /// machine, and reading from others, through a proxy, or from pages of other origins.
    pub anonymous: Option<Vec<Scope>>,
    /// The certificate; without one, it is served without TLS.
    pub tls: Option<TlsConfig>,
    /// How much clients may ask for.
    pub limits: LimitsConfig,
    /// Sources that sign the records that they send, by name.
    pub webhooks: BTreeMap<String, WebhookConfig>,
}

/// `[serve.tls]`: the certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// File with the certificate and those that lead to a known authority (PEM).
    pub certificate: PathBuf,
    /// File with its private key (PEM).
    pub key: PathBuf,
}

/// `[serve.limits]`: how much clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Requests a second of one client, on average; 0 is any number. Without a key, this machine is not counted, and what
    /// workers of jobs ask never is.
    pub requests_per_second: u32,
    /// Requests at once.
    pub burst: u32,
    /// Connections at once, of all clients.
    pub connections: usize,
    /// Connections at once of one address, but for this machine.
    pub connections_per_address: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { requests_per_second: 50, burst: 200, connections: 16_000, connections_per_address: 200 }
    }
}

impl ServeConfig {
    /// The address; `None` where nothing is served, or the address is wrong.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.to_socket_addrs().ok()?.next()
    }

    /// Who may read from pages of other origins.
    pub fn origins(&self) -> Origins {
        if self.origins.iter().any(|origin| origin == "*") {
            return Origins::Any;
        }
        let origins: Vec<HeaderValue> =
            self.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        if origins.is_empty() { Origins::None } else { Origins::Only(origins) }
    }

    /// Who may ask for what, of a configuration that is valid.
    ///
    /// # Errors
    /// When a file with keys cannot be used.
    pub fn access(&self) -> Result<Access, KeysError> {
        let unusable = |key, file: &Path| {
            let file = file.to_owned();
            move |source: Unusable| KeysError { key, file, source }
        };
        let file = self.keys_file.as_deref();
        let keys = KeyRing::open(&self.keys, file).map_err(unusable("keys_file", file.unwrap_or(Path::new(""))))?;
        let tokens = self.jwt.as_ref().map(|jwt| Tokens::open(jwt).map_err(unusable("jwt.jwks", &jwt.jwks)));
        let tokens = tokens.transpose()?;
        let is_open = keys.is_empty() && tokens.is_none();
        let is_local = self.address().is_some_and(|address| address.ip().is_loopback());
        let configured = self.anonymous.as_deref();
        let without_key = |otherwise: &[Scope]| -> Arc<[Scope]> { configured.unwrap_or(otherwise).into() };
        let others: &[Scope] = if is_open { &[Scope::Read] } else { &[] };
        let forwarded = without_key(others);
        let anonymous =
            if is_open && is_local && !self.insecure { without_key(&Scope::ALL) } else { Arc::clone(&forwarded) };
        let LimitsConfig { requests_per_second, burst, .. } = self.limits;
        Ok(Access {
            only_local_names: is_open && is_local && !self.insecure,
            keys,
            tokens,
            anonymous,
            forwarded,
            limiter: (requests_per_second > 0).then(|| Limiter::new(requests_per_second, burst)),
            webhooks: Webhooks(self.webhooks.clone()),
            secure: self.tls.is_some(),
            origins: self.origins.iter().filter(|origin| *origin != "*").cloned().collect(),
            every_origin_reads: self.origins.iter().any(|origin| origin == "*"),
            ..Access::open()
        })
    }

    /// Everything that is wrong, by keys below `serve`.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut invalid = self.validate_address();
        for (number, origin) in self.origins.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
            let problem =
                format!("{origin:?} is no origin; write for instance \"https://example.org\", or \"*\" alone");
            invalid.push(Invalid::new(format!("serve.origins[{number}]"), problem));
        }
        if let Some(tls) = &self.tls {
            for (field, file) in [("certificate", &tls.certificate), ("key", &tls.key)] {
                if file.as_os_str().is_empty() {
                    invalid.push(Invalid::new(format!("serve.tls.{field}"), "must name a file in PEM"));
                }
            }
        }
        let LimitsConfig { connections, connections_per_address, .. } = self.limits;
        for (key, most) in [("connections", connections), ("connections_per_address", connections_per_address)] {
            if most == 0 {
                invalid.push(Invalid::new(format!("serve.limits.{key}"), "must be 1 or more"));
            }
        }
        invalid.extend(keys::validate(&self.keys));
        if self.keys_file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            invalid.push(Invalid::new("serve.keys_file", "must name a file"));
        }
        invalid.extend(self.jwt.iter().flat_map(tokens::validate));
        invalid.extend(webhooks::validate(&self.webhooks));
        invalid
    }

    fn validate_address(&self) -> Vec<Invalid> {
        let problem = match self.address() {
            None if !self.listen.is_empty() => "must be an address and a port, such as \"127.0.0.1:8081\"",
            Some(address) if !address.ip().is_loopback() && !self.insecure && !self.is_guarded() => {
                "others than this machine need keys ([[serve.keys]], made by `headwater key NAME`, or [serve.jwt]) and \
                 [serve.tls]; with a proxy before it that has both, set serve.insecure"
            }
            _ => return Vec::new(),
        };
        vec![Invalid::new("serve.listen", problem)]
    }

    /// Whether there are keys, or it was said what may be done without them, and TLS.
    fn is_guarded(&self) -> bool {
        let has_keys = !self.keys.is_empty() || self.keys_file.is_some() || self.jwt.is_some();
        self.tls.is_some() && (has_keys || self.anonymous.is_some())
    }
}

/// A scheme, a host and perhaps a port, as browsers write it (RFC 6454, 6.1), or a star.
fn is_origin(text: &str) -> bool {
    text == "*" || url::Url::parse(text).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(config: &ServeConfig) -> Vec<String> {
        config.validate().into_iter().map(|invalid| invalid.key).collect()
    }

    #[test]
    fn only_this_machine_is_listened_to_unless_told_otherwise() {
        let listen =
            |listen: &str, insecure| ServeConfig { listen: listen.to_owned(), insecure, ..ServeConfig::default() };
        assert!(wrong(&ServeConfig::default()).is_empty());
        assert!(wrong(&listen("127.0.0.1:8081", false)).is_empty());
        assert!(wrong(&listen("[::1]:0", false)).is_empty());
        assert_eq!(wrong(&listen("0.0.0.0:8081", false)), ["serve.listen"]);
        assert!(wrong(&listen("0.0.0.0:8081", true)).is_empty());
        assert_eq!(wrong(&listen("8081", true)), ["serve.listen"]);
    }

    #[test]
    fn others_need_keys_and_tls() {
        let key = KeyConfig {
            name: "kim".to_owned(),
            hash: keys::generate().unwrap().1,
            scopes: vec![Scope::Read, Scope::Decide],
        };
        let tls = TlsConfig { certificate: "cert.pem".into(), key: "key.pem".into() };
        let config = |keys: &[KeyConfig], tls: Option<&TlsConfig>| ServeConfig {
            listen: "0.0.0.0:8443".to_owned(),
            keys: keys.to_vec(),
            tls: tls.cloned(),
            ..ServeConfig::default()
        };
        let key = [key];
        assert_eq!(wrong(&config(&key, None)), ["serve.listen"]);
        assert_eq!(wrong(&config(&[], Some(&tls))), ["serve.listen"]);
        assert!(wrong(&config(&key, Some(&tls))).is_empty());
        assert_eq!(wrong(&config(&key, Some(&TlsConfig::default()))), ["serve.tls.certificate", "serve.tls.key"]);
        assert!(config(&key, Some(&tls)).access().unwrap().anonymous.is_empty());
    }

    #[test]
    fn without_keys_this_machine_may_do_everything_and_others_read() {
        let config = |listen: &str, anonymous: Option<Vec<Scope>>| {
            let listen = listen.to_owned();
            ServeConfig { listen, insecure: true, anonymous, ..ServeConfig::default() }.access().unwrap()
        };
        let local = ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() }.access().unwrap();
        assert_eq!((&*local.anonymous, &*local.forwarded), (&Scope::ALL[..], &[Scope::Read][..]));
        let behind_a_proxy = config("127.0.0.1:0", None);
        assert_eq!(&*behind_a_proxy.anonymous, [Scope::Read]);
        let open = config("0.0.0.0:0", None);
        assert_eq!((&*open.anonymous, &*open.forwarded), (&[Scope::Read][..], &[Scope::Read][..]));
        assert_eq!(&*config("0.0.0.0:0", Some(vec![Scope::Ops])).anonymous, [Scope::Ops]);
        assert!(
            ServeConfig { listen: "127.0.0.1:0".to_owned(), ..ServeConfig::default() }
                .access()
                .unwrap()
                .only_local_names
        );
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let config = |origins: &[&str]| ServeConfig {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            ..ServeConfig::default()
        };
        assert!(wrong(&config(&["https://example.org", "http://localhost:3000", "*"])).is_empty());
        let bad = config(&["https://example.org/", "example.org", "https://example.org"]);
        assert_eq!(wrong(&bad), ["serve.origins[0]", "serve.origins[1]"]);
        assert_eq!(config(&["https://a.example", "*"]).origins(), Origins::Any);
        assert_eq!(config(&[]).origins(), Origins::None);
    }
}
