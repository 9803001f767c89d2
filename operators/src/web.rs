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
    let (host, tail) = rest.split_at(plain_host(rest)?);
    let (path, query) = match plain_path(tail)? {
        end if end == tail.len() => (tail, None),
        end => (tail.get(..end)?, Some(tail.get(end + 1..)?)),
    };
    query.is_none_or(is_plain_query).then_some(Plain { host, path, query })
}

/// Where the host at the beginning of `rest` ends: small letters, digits and hyphens; the last label begins
/// with a letter, so that it is no number; nothing in Punycode.
fn plain_host(rest: &str) -> Option<usize> {
    let mut begin = 0;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => {}
            b'.' | b'/' => {
                let label = rest.as_bytes().get(begin..at).filter(|label| is_plain_label(label))?;
                if byte == b'/' {
                    return (at <= MAX_HOST && label.first().is_some_and(u8::is_ascii_lowercase)).then_some(at);
                }
                begin = at + 1;
            }
            _ => return None,
        }
    }
    None
}

/// Whether what is made of the bytes of hosts can be a label.
fn is_plain_label(label: &[u8]) -> bool {
    let ends_well = |end: Option<&u8>| end.is_some_and(|byte| *byte != b'-');
    ends_well(label.first()) && ends_well(label.last()) && label.len() <= MAX_LABEL && label.get(2..4) != Some(b"--")
}

/// Where the path at the beginning of `tail` ends: at the question mark, or with the text.
fn plain_path(tail: &str) -> Option<usize> {
    let mut before = 0;
    for (at, byte) in tail.bytes().enumerate() {
        if PLACES[usize::from(byte)] & IN_PATH == 0 {
            return (byte == b'?').then_some(at);
        }
        // Dots at the beginning of a part may lead upwards.
        if before == b'/' && byte == b'.' {
            return None;
        }
        before = byte;
    }
    Some(tail.len())
}

fn is_plain_query(query: &str) -> bool {
    query.bytes().all(|byte| PLACES[usize::from(byte)] & IN_QUERY != 0) && !query.contains("&amp")
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
