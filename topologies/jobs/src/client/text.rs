//! Lists of other APIs of Headwater, page by page, as text.

use std::time::Duration;

use reqwest::header::LINK;
use reqwest::{Method, Url};

use super::error::ClientError;
use super::http::Client;

/// A page of a list, in whatever form it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPage {
    /// The page.
    pub text: String,
    /// The cursor of the next page; `None` after the last one.
    pub cursor: Option<String>,
}

impl Client {
    /// A page of the list at `path` with these parameters. A server names the next page in the header `Link`.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn page_as_text(&self, path: &[&str], query: &[(String, String)]) -> Result<TextPage, ClientError> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let response = self.send(self.request(Method::GET, url.clone(), Duration::ZERO))?;
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        let cursor = link.and_then(|link| cursor_of(&url, link));
        let text = response.text().map_err(|error| self.away(&error))?;
        Ok(TextPage { text, cursor })
    }
}

/// The cursor in a header `Link` of the answer of `url`: `</api/events?cursor=x>; rel="next"`.
fn cursor_of(url: &Url, link: &str) -> Option<String> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = rest.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
    let next = url.join(target).ok().filter(|_| is_next)?;
    next.query_pairs().find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_named_by_its_cursor() {
        let url: Url = "http://h/api/events?q=a".parse().unwrap();
        let cursor = |link: &str| cursor_of(&url, link);
        assert_eq!(cursor("</api/events?q=a&cursor=x%2By>; rel=\"next\"").as_deref(), Some("x+y"));
        assert_eq!(cursor("</api/events?cursor=x>; rel=\"prev\""), None);
        assert_eq!(cursor("</api/events?q=a>; rel=next"), None);
        assert_eq!(cursor("nothing"), None);
    }
}
