//! Web addresses that are in their normal form already, told without parsing them.
//!
//! Nearly all addresses of listings are plain: a host of small letters, a path, perhaps a query. The
//! URL standard leaves those as they are, so they need not go through its whole state machine, each
//! time that somebody looks at them. Whatever is not plain does.

/// The parts of a plain address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain<'a> {
    pub(crate) host: &'a str,
    /// Begins with a slash.
    pub(crate) path: &'a str,
    /// Without the question mark.
    pub(crate) query: Option<&'a str>,
}

/// Longest host that DNS takes.
const MAX_HOST: usize = 253;

/// Longest label of a host.
const MAX_LABEL: usize = 63;

const IN_PATH: u8 = 1;
const IN_QUERY: u8 = 2;

/// Where each byte may stand as it is: in paths, none that a URL parser may encode, decode or take for
/// an end; no `&` there, since it may begin an entity; in queries `%` and `&` too.
const PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~' | b'/' | b'+' | b'=' | b',' | b':' | b'@')
        {
            places[byte] = IN_PATH | IN_QUERY;
        }
        byte += 1;
    }
    places[b'%' as usize] = IN_QUERY;
    places[b'&' as usize] = IN_QUERY;
    places
};

/// The parts of `text` where it is a plain web address: one that the URL standard leaves as it is.
pub(crate) fn plain(text: &str) -> Option<Plain<'_>> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (host, tail) = rest.split_at(rest.find('/')?);
    if !is_plain_host(host) {
        return None;
    }
    let all = |text: &str, place: u8| text.bytes().all(|byte| PLACES[usize::from(byte)] & place != 0);
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    // Dots at the beginning of a part may lead upwards.
    let leads_upwards = |pair: (u8, u8)| pair == (b'/', b'.');
    let good = all(path, IN_PATH) && !path.bytes().zip(path.bytes().skip(1)).any(leads_upwards);
    let good = good && query.is_none_or(|query| all(query, IN_QUERY) && !query.contains("&amp"));
    good.then_some(Plain { host, path, query })
}

/// Small letters, digits and hyphens; the last label begins with a letter, so that it is no number;
/// nothing in Punycode.
fn is_plain_host(host: &str) -> bool {
    let mut last_begins_with_letter = false;
    let good = host.len() <= MAX_HOST
        && host.split('.').all(|label| {
            let bytes = label.as_bytes();
            last_begins_with_letter = bytes.first().is_some_and(u8::is_ascii_lowercase);
            let ends_well = bytes.last().is_some_and(u8::is_ascii_alphanumeric) && bytes.first() != Some(&b'-');
            let plain = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
            ends_well && plain && bytes.len() <= MAX_LABEL && bytes.get(2..4) != Some(b"--")
        });
    good && last_begins_with_letter
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::Url;

    #[test]
    fn usual_addresses_are_plain_and_odd_ones_are_not() {
        let parts = plain("https://www.example-hall.org/events/2026/jazz_night?id=7&x=%20").unwrap();
        assert_eq!(
            parts,
            Plain { host: "www.example-hall.org", path: "/events/2026/jazz_night", query: Some("id=7&x=%20") }
        );
        for odd in [
            "https://example.org",
            "https://Example.org/",
            "https://example.org:8080/",
            "https://user@example.org/",
            "https://example.org/a/../b",
            "https://example.org/a%2e",
            "https://example.org/a b",
            "https://example.org/#top",
            "https://example.org/?a=1&amp;b=2",
            "https://1.2.3.4/",
            "https://example.0x7f/",
            "https://xn--bcher-kva.example/",
            "https://exa_mple.org/",
            "https://.org/",
            "https://a..org/",
            "https:///a",
            "ftp://example.org/",
            "https://example.org/é",
            "",
        ] {
            assert_eq!(plain(odd), None, "{odd}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_is_plain_is_what_the_standard_makes_of_it(
            text in "https?://[a-z0-9.x-]{1,12}(\\.[a-z0-9-]{1,4})?/[a-zA-Z0-9./%~_+=,:@&;-]{0,12}(\\?[a-z0-9?&;%=/'+amp-]{0,12})?(#[a-z]{0,2})?"
        ) {
            if let Some(parts) = plain(&text) {
                let url = Url::parse(&text).unwrap();
                prop_assert_eq!(url.as_str(), &text);
                prop_assert_eq!(url.host_str(), Some(parts.host));
                prop_assert_eq!(url.path(), parts.path);
                prop_assert_eq!(url.query(), parts.query);
            }
        }
    }
}
