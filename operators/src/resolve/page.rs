//! The web page of a listing, and the site that it is on.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use crate::web::{self, Plain};

/// A web address, reduced to what tells pages and sites apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Page {
    /// Hash of the address without what differs between copies of it; 0 for a site's front page,
    /// which says nothing about a single event by itself.
    pub exact: u64,
    /// Hash of the host without `www`, years and numbers; 0 on platforms that many events share.
    pub site: u32,
    /// Hash of the host's own name without its ending, years and numbers; 0 on platforms.
    pub family: u32,
    /// Whether the path leads below the front page, leaving years and languages aside.
    pub deep: bool,
    /// Whether a script draws it, so that what follows the hash sign tells it from others.
    pub routed: bool,
}

/// Hosts that serve pages of many organisers: by the last two labels, or by the name alone.
const PLATFORMS: &[&str] = &[
    "allevents",
    "bandsintown",
    "blogspot",
    "eventbrite",
    "eventful",
    "facebook",
    "forms",
    "github",
    "gitlab",
    "google",
    "instagram",
    "linkedin",
    "lu",
    "luma",
    "medium",
    "meetup",
    "notion",
    "sessionize",
    "songkick",
    "squarespace",
    "ti",
    "ticketmaster",
    "ticketweb",
    "tito",
    "twitter",
    "vimeo",
    "weebly",
    "wikipedia",
    "wixsite",
    "wordpress",
    "youtube",
    "zoom",
];

impl Page {
    /// The page at that address, if it is one of the web.
    pub fn of(text: &str) -> Option<Self> {
        let text = unarchived(text);
        if let Some(Plain { host, path, query }) = web::plain(text) {
            return Some(Self::at(host, path, query, None));
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        // Pages that a script draws are told apart by what follows the hash sign: `/events/#/details/1042`.
        let route = url.fragment().filter(|fragment| fragment.trim_start_matches('!').starts_with('/'));
        Some(Self::at(url.host_str()?, url.path(), url.query(), route))
    }

    fn at(host: &str, path: &str, query: Option<&str>, route: Option<&str>) -> Self {
        let host = host.strip_prefix("www.").unwrap_or(host);
        let path = path.trim_end_matches('/');
        let mut query: SmallVec<[&str; 8]> =
            query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !is_tracking(pair)).collect();
        query.sort_unstable();
        let (site, family) = site_and_family(host);
        Self {
            exact: exact(host, path, &query, route),
            site,
            family,
            deep: is_deep(path) || !query.is_empty(),
            routed: route.is_some(),
        }
    }
}

/// The address inside one of the web archive's.
fn unarchived(text: &str) -> &str {
    let archived = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//web.archive.org/web/"));
    let inside = archived.and_then(|rest| rest.split_once('/'));
    inside.map(|(_, inside)| inside).filter(|inside| inside.starts_with("http")).unwrap_or(text)
}

fn exact(host: &str, path: &str, query: &[&str], route: Option<&str>) -> u64 {
    let mut all: SmallVec<[u8; 256]> = SmallVec::new();
    all.extend_from_slice(host.as_bytes());
    all.extend_from_slice(path.as_bytes());
    for pair in query {
        all.push(b'&');
        all.extend_from_slice(pair.as_bytes());
    }
    if let Some(route) = route {
        all.push(b'#');
        all.extend_from_slice(route.as_bytes());
    }
    xxh3_64(&all)
}

fn site_and_family(host: &str) -> (u32, u32) {
    let labels: SmallVec<[&str; 6]> = host.split('.').collect();
    let second = labels.len().checked_sub(2).and_then(|at| labels.get(at));
    let of_country = labels.last().is_some_and(|last| last.len() == 2)
        && second.is_some_and(|second| matches!(*second, "co" | "com" | "org" | "net" | "ac" | "gov" | "edu"));
    let ending = if of_country && labels.len() > 2 { 2 } else { 1 };
    let Some(own) = labels.len().checked_sub(ending + 1) else { return (0, 0) };
    let mut name = Letters::new();
    push_letters(labels.get(own).copied().unwrap_or_default(), &mut name);
    let known = std::str::from_utf8(&name).is_ok_and(|name| PLATFORMS.binary_search(&name).is_ok());
    if name.is_empty() || known {
        return (0, 0);
    }
    let (mut whole, mut family) = (Letters::new(), Letters::new());
    for label in &labels {
        let before = whole.len();
        whole.push(b'.');
        push_letters(label, &mut whole);
        if whole.len() == before + 1 {
            whole.truncate(before);
        }
    }
    labels.iter().take(own + 1).for_each(|label| push_letters(label, &mut family));
    let hash = |text: &[u8]| (xxh3_64(text) as u32).max(1);
    (hash(&whole), hash(&family))
}

/// Letters in UTF-8.
type Letters = SmallVec<[u8; 64]>;

fn push_letters(label: &str, letters: &mut Letters) {
    if label.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return letters.extend_from_slice(label.as_bytes());
    }
    if label.is_ascii() {
        return letters.extend(label.bytes().filter(u8::is_ascii_alphabetic));
    }
    let mut buffer = [0; 4];
    let kept = label.chars().filter(|c| c.is_alphabetic());
    kept.for_each(|c| letters.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()));
}

/// Whether a path has a part that is neither a year nor a language nor a usual front page.
fn is_deep(path: &str) -> bool {
    path.split('/').any(|part| {
        let short = part.len() <= 3;
        let year = part.len() <= 8 && part.chars().filter(char::is_ascii_digit).count() >= 4;
        !short && !year && !part.starts_with("index") && !part.starts_with("home")
    })
}

fn is_tracking(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    name.starts_with("utm_") || matches!(name, "fbclid" | "gclid" | "mc_cid" | "mc_eid" | "ref" | "igshid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page::of(text).unwrap()
    }

    #[test]
    fn addresses_are_canonical() {
        let one = page("http://www.Example.org/a/?utm_source=x&b=1&a=2#top");
        assert_eq!(one, page("https://example.org/a?a=2&b=1"));
        assert_eq!(one.exact, page("https://web.archive.org/web/20190219060618/https://example.org/a?a=2&b=1").exact);
        let route = page("https://example.org/events/?utm_source=x#/details/jazz/7");
        assert_eq!(route.exact, page("https://example.org/events#/details/jazz/7").exact);
        assert_ne!(route.exact, page("https://example.org/events#/details/opera/8").exact);
        assert_ne!(route.exact, page("https://example.org/events#!/details/jazz/7").exact);
        assert_eq!(Page::of("mailto:someone"), None);
        assert_eq!(Page::of("not an address"), None);
    }

    #[test]
    fn plain_addresses_are_read_like_all_others() {
        for text in
            ["https://www.a1-b.example.co.uk/x/2019/?b=1&a=2&utm_source=x", "http://x.org/", "http://b.com/?%20"]
        {
            let url = Url::parse(text).unwrap();
            assert_eq!(page(text), Page::at(url.host_str().unwrap(), url.path(), url.query(), None), "{text}");
            assert!(web::plain(text).is_some(), "{text}");
        }
    }

    #[test]
    fn sites_outlive_their_years() {
        let (a, b) = (page("https://2018.bathruby.uk"), page("https://2018.bathruby.co.uk/"));
        assert_eq!(a.family, b.family);
        assert_eq!(page("http://www.euruko2017.org").site, page("https://2018.euruko.org/en").site);
        assert_ne!(page("https://us.pycon.org/2019").family, page("https://tw.pycon.org/2019").family);
        assert_eq!(page("https://www.meetup.com/a-group").site, 0);
        assert!(!page("https://x.org/2019/en/").deep && page("https://x.org/event/jazz").deep);
        assert!(PLATFORMS.is_sorted());
    }
}
