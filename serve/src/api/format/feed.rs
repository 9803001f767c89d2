//! Lists as RSS 2.0.

use super::super::found::Found;
use super::calendar::location;
use crate::document::{self, EventValue};

pub(super) fn write(found: &Found) -> Vec<u8> {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\"><channel><title>Events</title>\
         <link>/api/events</link><description>Events, from all sources, each once</description>",
    );
    for event in &found.events {
        if let Ok(value) = document::value(&event.document) {
            add_item(&mut out, &event.id, &value);
        }
    }
    out.push_str("</channel></rss>\n");
    out.into_bytes()
}

fn add_item(out: &mut String, id: &str, event: &EventValue<'_>) {
    out.push_str("<item>");
    element(out, "title", event.title.as_ref().map(|title| &*title.0));
    element(out, "link", event.urls.first().map(|url| &*url.0));
    out.push_str("<guid isPermaLink=\"false\">");
    escape(out, id);
    out.push_str("</guid>");
    let published = event.updated_at.map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    element(out, "pubDate", published.as_deref());
    for category in event.category.iter().chain(&event.tags) {
        element(out, "category", Some(&category.0));
    }
    element(out, "description", Some(&summary(event)));
    out.push_str("</item>");
}

/// When and where, and then the description.
fn summary(event: &EventValue<'_>) -> String {
    let when = event.start_time.map(|start| start.to_string());
    let parts = [when, location(event), event.description.as_ref().map(|text| text.0.to_string())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn element(out: &mut String, name: &str, text: Option<&str>) {
    let Some(text) = text else { return };
    out.push_str(&format!("<{name}>"));
    escape(out, text);
    out.push_str(&format!("</{name}>"));
}

/// XML 1.0 has no place for most control characters, not even escaped (section 2.2).
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut out = String::new();
        escape(&mut out, "a<b> & \"c\"\u{0}\u{b}");
        assert_eq!(out, "a&lt;b&gt; &amp; \"c\"");
    }
}
