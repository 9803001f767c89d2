//! `[serve]`: whether events are served, and to whom.

use std::net::{SocketAddr, ToSocketAddrs};

use axum::http::HeaderValue;
use headwater::config::Invalid;
use serde::Deserialize;

use crate::api::Origins;

/// `[serve]`: whether events are served, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address to listen on, such as `"127.0.0.1:8081"`; `""` (default) serves nothing.
    pub listen: String,
    /// Whether others than this machine may be listened to: there are no keys and no TLS yet, so put a proxy
    /// before it that has both.
    pub insecure: bool,
    /// Pages of these origins may read, such as `"https://example.org"`; `["*"]` is every page. Default: none.
    pub origins: Vec<String>,
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

    /// Everything that is wrong, by keys below `serve`.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        match self.address() {
            None if !self.listen.is_empty() => {
                invalid.push(Invalid::new("serve.listen", "must be an address and a port, such as \"127.0.0.1:8081\""));
            }
            Some(address) if !address.ip().is_loopback() && !self.insecure => {
                let problem = "must be an address of this machine alone, such as \"127.0.0.1:8081\", unless serve.insecure is true";
                invalid.push(Invalid::new("serve.listen", problem));
            }
            _ => {}
        }
        for (number, origin) in self.origins.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
            let problem =
                format!("{origin:?} is no origin; write for instance \"https://example.org\", or \"*\" alone");
            invalid.push(Invalid::new(format!("serve.origins[{number}]"), problem));
        }
        invalid
    }
}

/// A scheme, a host and perhaps a port, as browsers write it (RFC 6454, 6.1), or a star.
fn is_origin(text: &str) -> bool {
    text == "*" || url::Url::parse(text).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(config: &ServeConfig) -> Vec<String> {
        config.validate().into_iter().map(|invalid| invalid.key).collect()
    }

    #[test]
    fn only_this_machine_is_listened_to_unless_told_otherwise() {
        let listen =
            |listen: &str, insecure| ServeConfig { listen: listen.to_owned(), insecure, ..ServeConfig::default() };
        assert!(keys(&ServeConfig::default()).is_empty());
        assert!(keys(&listen("127.0.0.1:8081", false)).is_empty());
        assert!(keys(&listen("[::1]:0", false)).is_empty());
        assert_eq!(keys(&listen("0.0.0.0:8081", false)), ["serve.listen"]);
        assert!(keys(&listen("0.0.0.0:8081", true)).is_empty());
        assert_eq!(keys(&listen("8081", true)), ["serve.listen"]);
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let config = |origins: &[&str]| ServeConfig {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            ..ServeConfig::default()
        };
        assert!(keys(&config(&["https://example.org", "http://localhost:3000", "*"])).is_empty());
        let wrong = config(&["https://example.org/", "example.org", "https://example.org"]);
        assert_eq!(keys(&wrong), ["serve.origins[0]", "serve.origins[1]"]);
        assert_eq!(config(&["https://a.example", "*"]).origins(), Origins::Any);
        assert_eq!(config(&[]).origins(), Origins::None);
    }
}
