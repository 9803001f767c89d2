//! Signatures of records that sources send: HMAC-SHA256 of the body (RFC 2104), in hexadecimal digits after
//! `sha256=`, as most services that call webhooks write them.

use std::collections::BTreeMap;
use std::fmt;

use axum::http::HeaderName;
use headwater::config::Invalid;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde::Deserialize;

/// The header of signatures unless another one is configured.
const HEADER: &str = "x-hub-signature-256";

/// Secrets that are shorter can be guessed.
const SHORTEST_SECRET: usize = 16;

/// `[serve.webhooks.SOURCE]`: how records of a source are signed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// What the source and Headwater alone know.
    pub secret: String,
    /// The header that holds the signature.
    #[serde(default = "usual_header")]
    pub header: String,
}

fn usual_header() -> String {
    HEADER.to_owned()
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Everything that is wrong with webhooks.
pub(crate) fn validate(webhooks: &BTreeMap<String, WebhookConfig>) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    for (source, webhook) in webhooks {
        if webhook.secret.len() < SHORTEST_SECRET {
            let problem = format!("must have at least {SHORTEST_SECRET} characters");
            invalid.push(Invalid::new(format!("serve.webhooks.{source}.secret"), problem));
        }
        if webhook.header.parse::<HeaderName>().is_err() {
            invalid.push(Invalid::new(format!("serve.webhooks.{source}.header"), "is no name of a header"));
        }
    }
    invalid
}

/// How records are signed, by source.
#[derive(Debug, Default)]
pub(crate) struct Webhooks(pub(crate) BTreeMap<String, WebhookConfig>);

impl Webhooks {
    /// The header with the signature of records of `source`; none where they are not signed.
    pub(crate) fn header(&self, source: &str) -> Option<&str> {
        self.0.get(source).map(|webhook| webhook.header.as_str())
    }

    /// Whether `signature` is that of `body`, in a time that says nothing of where they differ.
    pub(crate) fn is_signed(&self, source: &str, body: &[u8], signature: &str) -> bool {
        let Some(webhook) = self.0.get(source) else { return false };
        let given = signature.trim().strip_prefix("sha256=").unwrap_or(signature.trim());
        let mut wanted = [0; 32];
        let mut read = [0; 32];
        let is_read = const_hex::decode_to_slice(given, &mut read).is_ok();
        is_read && sign(&webhook.secret, body, &mut wanted).is_ok() && openssl::memcmp::eq(&wanted, &read)
    }
}

/// Writes the signature of `body` into `signature`.
fn sign(secret: &str, body: &[u8], signature: &mut [u8; 32]) -> Result<(), openssl::error::ErrorStack> {
    let key = PKey::hmac(secret.as_bytes())?;
    Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot(signature, body).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 4231, test case 2.
        let signature = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let webhook = WebhookConfig { secret: "Jefe".to_owned(), header: usual_header() };
        assert_eq!(validate(&[("a".to_owned(), webhook.clone())].into()).len(), 1, "it is too short");
        let webhooks = Webhooks([("a".to_owned(), webhook)].into());
        let body = b"what do ya want for nothing?";
        assert!(webhooks.is_signed("a", body, signature));
        assert!(webhooks.is_signed("a", body, &format!("sha256={signature}")));
        assert!(!webhooks.is_signed("a", b"what do ya want for nothing!", signature));
        assert!(!webhooks.is_signed("b", body, signature));
        assert!(["", "sha256=", "zz", &signature[2..]].iter().all(|wrong| !webhooks.is_signed("a", body, wrong)));
        assert_eq!((webhooks.header("a"), webhooks.header("b")), (Some(HEADER), None));
    }
}
