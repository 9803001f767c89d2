//! Cursors: where a page ends in its order, as clients carry it to the next one.

use std::fmt::Debug;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_64;

use crate::index::PageEnd;

/// What a cursor belongs to: it goes on with the same filter in the same order only.
pub fn digest(filter: u64, sort: impl Debug) -> u64 {
    xxh3_64(format!("{filter:x} {sort:?}").as_bytes())
}

/// The cursor of the end of a page.
pub fn encode(end: &PageEnd, digest: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("1 {digest:x} {} {} {}", end.first, end.second, end.id))
}

/// The end of a page that a cursor names; `None` where it is none, or belongs to another query.
pub fn decode(text: &str, digest: u64) -> Option<PageEnd> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = text.splitn(5, ' ');
    let mut next = || parts.next();
    let (version, of, first, second, id) = (next()?, next()?, next()?, next()?, next()?);
    let own = version == "1" && u64::from_str_radix(of, 16).ok()? == digest;
    let end = PageEnd { first: first.parse().ok()?, second: second.parse().ok()?, id: id.into() };
    own.then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Sort;

    #[test]
    fn a_cursor_goes_on_with_its_own_query() {
        let end = PageEnd { first: -3, second: i64::MAX, id: "an id".into() };
        let cursor = encode(&end, 7);
        assert_eq!(decode(&cursor, 7), Some(end));
        assert_eq!(decode(&cursor, 8), None);
        for text in ["", "%", "MSA3", "cursor"] {
            assert_eq!(decode(text, 7), None, "{text}");
        }
        assert_ne!(digest(1, Sort::Start), digest(1, Sort::Relevance));
    }
}
