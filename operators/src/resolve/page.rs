//! The web page of a listing, and the site that it is on.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use url::Url;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

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
        let url = Url::parse(unarchived(text)).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let host = url.host_str()?;
        let host = host.strip_prefix("www.").unwrap_or(host);
        let path = url.path().trim_end_matches('/');
        let mut query: SmallVec<[&str; 8]> =
            url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !is_tracking(pair)).collect();
        query.sort_unstable();
        let (site, family) = site_and_family(host);
        Some(Self { exact: exact(host, path, &query), site, family, deep: is_deep(path) || !query.is_empty() })
    }
}

/// The address inside one of the web archive's.
fn unarchived(text: &str) -> &str {
    let inside = text.split_once("://web.archive.org/web/").and_then(|(_, rest)| rest.split_once('/'));
    inside.map(|(_, inside)| inside).filter(|inside| inside.starts_with("http")).unwrap_or(text)
}

fn exact(host: &str, path: &str, query: &[&str]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(host.as_bytes());
    hasher.update(path.as_bytes());
    for pair in query {
        hasher.update(b"&");
        hasher.update(pair.as_bytes());
    }
    hasher.digest()
}

fn site_and_family(host: &str) -> (u32, u32) {
    let labels: SmallVec<[&str; 6]> = host.split('.').collect();
    let second = labels.len().checked_sub(2).and_then(|at| labels.get(at));
    let of_country = labels.last().is_some_and(|last| last.len() == 2)
        && second.is_some_and(|second| matches!(*second, "co" | "com" | "org" | "net" | "ac" | "gov" | "edu"));
    let ending = if of_country && labels.len() > 2 { 2 } else { 1 };
    let Some(own) = labels.len().checked_sub(ending + 1) else { return (0, 0) };
    let name = letters(labels.get(own).copied().unwrap_or_default());
    if name.is_empty() || PLATFORMS.binary_search(&name.as_str()).is_ok() {
        return (0, 0);
    }
    let mut whole = String::with_capacity(host.len());
    for label in &labels {
        let label = letters(label);
        if !label.is_empty() {
            whole.push('.');
            whole.push_str(&label);
        }
    }
    let hash = |text: &str| (xxh3_64(text.as_bytes()) as u32).max(1);
    let mut family = String::with_capacity(host.len());
    for label in labels.iter().take(own) {
        family.push_str(&letters(label));
    }
    family.push_str(&name);
    (hash(&whole), hash(&family))
}

fn letters(label: &str) -> String {
    label.chars().filter(|c| c.is_alphabetic()).collect()
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
        assert_eq!(Page::of("mailto:someone"), None);
        assert_eq!(Page::of("not an address"), None);
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
