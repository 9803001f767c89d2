//! Makes the text of listings safe and plain: no markup, no entities, no invisible or
//! direction-changing characters, one spelling of whitespace, bounded lengths, web addresses only
//! of the web.
//!
//! The result is a fixed point: sanitizing it again changes nothing. That is also what makes it
//! safe for a consumer that unescapes entities once more than it should: `&lt;script&gt;` is
//! unescaped and removed here, however often it was escaped.

mod markup;
mod visible;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use url::Url;

use self::markup::{begins_entity, has_markup_signs, strip_markup};
use self::visible::{Shape, fits, is_plain_line, is_tidy, shorten, tidy};
use crate::listing::{Listing, Organizer, Texts, Venue};
use crate::web;

/// Limits of what a listing may hold. Lengths count characters (Unicode scalar values), and
/// include the `…` that marks what was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SanitizeConfig {
    /// Title. Default 300.
    pub max_title_chars: usize,
    /// Description. Default 10 000.
    pub max_description_chars: usize,
    /// Every other single-line text: venue, address, organizer, category, tag. Default 500.
    pub max_field_chars: usize,
    /// Longer addresses are dropped, since a cut one leads elsewhere. In bytes. Default 2048,
    /// what every browser and server takes.
    pub max_url_bytes: usize,
    /// Entries of each list: source categories, tags, images, URLs. Default 50.
    pub max_items: usize,
}

impl Default for SanitizeConfig {
    fn default() -> Self {
        Self {
            max_title_chars: 300,
            max_description_chars: 10_000,
            max_field_chars: 500,
            max_url_bytes: 2048,
            max_items: 50,
        }
    }
}

/// Sanitizes every text of `listing` in place. Its identity (source and external id), times and
/// numbers stay as they are.
///
/// ```
/// use headwater_operators::Listing;
/// use headwater_operators::sanitize::{SanitizeConfig, sanitize};
///
/// let start = "2026-03-28".parse().unwrap();
/// let mut listing = Listing::new("venue", "17", "Jazz &amp;  <b>Blues</b>", start);
/// listing.description = Some("<p>Doors at 7</p><script>alert(1)</script>Free".into());
/// listing.urls = vec!["javascript:alert(1)".into(), "https://example.org".into()].into();
/// sanitize(&mut listing, &SanitizeConfig::default());
///
/// assert_eq!(listing.title, "Jazz & Blues");
/// assert_eq!(listing.description.as_deref(), Some("Doors at 7\n\nFree"));
/// assert_eq!(*listing.urls, ["https://example.org/"]);
/// ```
pub fn sanitize(listing: &mut Listing, config: &SanitizeConfig) {
    clean_in_place(&mut listing.title, Shape::Line, config.max_title_chars);
    clean_option(&mut listing.description, Shape::Lines, config.max_description_chars);
    let field = |text: &mut Option<SmolStr>| clean_option(text, Shape::Line, config.max_field_chars);
    let Venue { name, address, city, region, postal_code, country, geo: _ } = &mut listing.venue;
    [name, address, city, region, postal_code, country].into_iter().for_each(field);
    sanitize_organizer(&mut listing.organizer, config);
    if let Some(pricing) = &mut listing.pricing {
        field(&mut pricing.currency);
    }

    listing.source_categories.iter_mut().for_each(|text| clean_in_place(text, Shape::Line, config.max_field_chars));
    let mut keeps = distinct(listing.source_categories.len(), config.max_items);
    listing.source_categories.retain(|text| keeps(text));
    listing.tags.iter_mut().for_each(|text| clean_in_place(text, Shape::Line, config.max_field_chars));
    let mut keeps = distinct(listing.tags.len(), config.max_items);
    listing.tags.retain(|text| keeps(text));
    sanitize_urls(&mut listing.images, config);
    sanitize_urls(&mut listing.urls, config);
}

fn sanitize_organizer(organizer: &mut Option<Organizer>, config: &SanitizeConfig) {
    let Some(who) = organizer else { return };
    clean_in_place(&mut who.name, Shape::Line, config.max_field_chars);
    who.url = who.url.take().and_then(|url| web_url(&url, config.max_url_bytes));
    if who.name.is_empty() && who.url.is_none() {
        *organizer = None;
    }
}

fn sanitize_urls(urls: &mut Texts, config: &SanitizeConfig) {
    urls.retain(|url| match web_url(url, config.max_url_bytes) {
        Some(clean) => {
            *url = clean;
            true
        }
        None => false,
    });
    let mut keeps = distinct(urls.len(), config.max_items);
    urls.retain(|url| keeps(url));
}

/// Which of so many entries stay: no empty and no repeated ones (letter case aside), and none over the
/// limit.
fn distinct(entries: usize, max_items: usize) -> impl FnMut(&str) -> bool {
    let (mut seen, mut kept) = (foldhash::HashSet::default(), 0);
    move |text| {
        let keeps = !text.is_empty() && kept < max_items && (entries < 2 || seen.insert(text.to_lowercase()));
        kept += usize::from(keeps);
        keeps
    }
}

/// The address in the normal form of the URL standard; `None` unless it is one of the web and no
/// longer than `max_bytes`. User names and passwords are removed: in public listings they only
/// serve to disguise the host.
fn web_url(raw: &SmolStr, max_bytes: usize) -> Option<SmolStr> {
    let text = raw.trim();
    if text.len() > max_bytes {
        return None;
    }
    if web::plain(text).is_some() {
        return Some(if text.len() == raw.len() { raw.clone() } else { text.into() });
    }
    let mut text = unescaped(text);
    if text.starts_with("www.") {
        text.insert_str(0, "https://");
    } else if text.starts_with("//") {
        text.insert_str(0, "https:");
    }
    let mut url = Url::parse(&text).ok()?;
    // Parsing writes hosts in lower case and without percent signs, so that more may show.
    while url.as_str().contains("&amp;") {
        url = Url::parse(&unescaped(url.as_str())).ok()?;
    }
    let credentials = !url.username().is_empty() || url.password().is_some();
    let bare = !credentials || (url.set_username("").is_ok() && url.set_password(None).is_ok());
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (web && bare && url.as_str().len() <= max_bytes).then(|| String::from(url).into())
}

/// Without escapes of `&`, however often it was escaped.
fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("&amp;") {
        text = text.replace("&amp;", "&");
    }
    text
}

/// Whether nothing is left of a line of text when it is sanitized.
pub(crate) fn is_blank(text: &str) -> bool {
    let plain = !has_markup_signs(text) && text.bytes().any(|byte| byte.is_ascii_alphanumeric());
    !plain && clean(text, Shape::Line, usize::MAX).map_or(text.is_empty(), |clean| clean.is_empty())
}

fn clean_option(text: &mut Option<SmolStr>, shape: Shape, max_chars: usize) {
    if let Some(inner) = text {
        clean_in_place(inner, shape, max_chars);
        if inner.is_empty() {
            *text = None;
        }
    }
}

fn clean_in_place(text: &mut SmolStr, shape: Shape, max_chars: usize) {
    if let Some(clean) = clean(text, shape, max_chars) {
        *text = clean.into();
    }
}

/// Passes over a text that keeps changing, such as one escaped many times over, before its
/// remaining `<` and `&` are removed outright.
const MAX_PASSES: usize = 6;

/// The safe plain text of `raw`; `None` where that is `raw` itself.
fn clean(raw: &str, shape: Shape, max_chars: usize) -> Option<String> {
    if fits(raw, max_chars) && is_clean(raw, shape) {
        return None;
    }
    let mut text = pass(raw, shape);
    for _ in 1..MAX_PASSES {
        if !has_markup_signs(&text) {
            break;
        }
        let next = pass(&text, shape);
        if next == text {
            break;
        }
        text = next;
    }
    if has_markup_signs(&text) && pass(&text, shape) != text {
        text = tidy(text.replace(['<', '&'], " "), shape);
    }
    Some(shorten(text, max_chars))
}

fn pass(text: &str, shape: Shape) -> String {
    if has_markup_signs(text) { tidy(strip_markup(text, shape), shape) } else { tidy(text.to_owned(), shape) }
}

/// Signs that are fine wherever they stand: those of ASCII that are seen, without `<` and `&`.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'<' && byte != b'&';
        byte += 1;
    }
    plain
};

/// Whether a text is plain lines, with at most one empty line between two.
fn are_plain_lines(text: &str) -> bool {
    let mut after_line = false;
    let plain = text.split('\n').all(|line| match line.is_empty() {
        true => std::mem::take(&mut after_line),
        false => {
            after_line = true;
            is_plain_line(line)
        }
    });
    plain && after_line
}

/// Whether a text holds no markup and [`tidy`] would change nothing. What is not plain takes a look at each
/// byte as long as all are ASCII.
fn is_clean(text: &str, shape: Shape) -> bool {
    let plain = match shape {
        Shape::Line => is_plain_line(text),
        Shape::Lines => text.is_empty() || are_plain_lines(text),
    };
    if plain {
        return true;
    }
    let bytes = text.as_bytes();
    let before = |at: usize, by: usize| at.checked_sub(by).and_then(|at| bytes.get(at)).copied();
    let mut at = 0;
    while let Some(next) = bytes.iter().skip(at).position(|byte| !PLAIN[usize::from(*byte)]) {
        at += next;
        let last = before(at, 1).unwrap_or(b' ');
        let fine = match bytes.get(at).copied().unwrap_or_default() {
            b' ' => !matches!(last, b' ' | b'\n'),
            b'\n' => shape == Shape::Lines && last != b' ' && !(last == b'\n' && before(at, 2) == Some(b'\n')),
            b'&' => !begins_entity(bytes, at),
            0x80.. => return !has_markup_signs(text) && is_tidy(text, shape),
            _ => false,
        };
        if !fine {
            return false;
        }
        at += 1;
    }
    !matches!(bytes.last(), Some(b' ' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::visible::{Gap, is_joiner, is_line_break, is_unwanted, joins, push_visible, tidied};
    use super::*;
    use crate::listing::Pricing;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sign_that_is_none_is_left_alone(text in "[a&;<# \\n\u{e9}]{0,12}") {
            if !has_markup_signs(&text) {
                prop_assert_eq!(tidied(&strip_markup(&text, Shape::Lines), Shape::Lines), tidied(&text, Shape::Lines));
            }
        }
    }

    /// Of what texts are made of, and of what must not be in them.
    fn some_text() -> impl Strategy<Value = String> {
        let pieces = [
            "a",
            "B",
            "7",
            ".",
            " ",
            " ",
            "\n",
            "\n\n",
            "\r\n",
            "\t",
            "é",
            "e\u{301}",
            "\u{301}",
            "–",
            "…",
            "“",
            "\u{a0}",
            "\u{ad}",
            "\u{85}",
            "\u{200d}",
            "\u{200b}",
            "\u{2028}",
            "ł",
            "日本",
            "👩\u{200d}🚀",
            "\u{1100}\u{1161}",
            "\u{212b}",
            "\u{327}\u{301}",
            "\0",
            "\u{7f}",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_tidy_at_a_look_is_tidy_by_the_rules(text in some_text()) {
            for shape in [Shape::Line, Shape::Lines] {
                if is_tidy(&text, shape) {
                    prop_assert_eq!(&tidied(&text, shape), &text);
                }
            }
        }
    }

    fn lines(raw: &str) -> String {
        clean(raw, Shape::Lines, 10_000).unwrap_or_else(|| raw.to_owned())
    }

    fn line(raw: &str) -> String {
        clean(raw, Shape::Line, 10_000).unwrap_or_else(|| raw.to_owned())
    }

    #[test]
    fn markup_becomes_text() {
        assert_eq!(lines("<h1>Jazz</h1><p>One<br>two</p><ul><li>a</li><li>b</li></ul>"), "Jazz\n\nOne\ntwo\n\na\n\nb");
        assert_eq!(line("<td>1</td><td>2</td>"), "1 2");
        assert_eq!(lines("a<style>p{color:red}</style>b<script>if (a<b) x('</p>')</script>c"), "a b c");
        assert_eq!(lines("<!-- note > --> x"), "x");
        assert_eq!(line("Tom &amp; Jerry&nbsp;&eacute; &#8217;s &#x1F3B5;"), "Tom & Jerry é ’s 🎵");
    }

    #[test]
    fn text_that_looks_like_markup_stays() {
        assert_eq!(line("I <3 jazz"), "I <3 jazz");
        assert_eq!(line("5 < 6 & 7 > 2"), "5 < 6 & 7 > 2");
        assert_eq!(line("under <b"), "under < b");
        assert_eq!(
            line("ask <info@example.org> or <https://example.org/a?b=c>."),
            "ask info@example.org or https://example.org/a?b=c ."
        );
        assert_eq!(line("AT&T, R&B; Q&A"), "AT&T, R&B; Q&A");
    }

    #[test]
    fn escaping_does_not_smuggle_markup() {
        for raw in [
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "&amp;lt;img src=x onerror=alert(1)&amp;gt;",
            "&amp;amp;amp;amp;amp;amp;amp;amp;amp;amp;lt;b&gt;",
            "<\u{200b}script>alert(1)<\u{200b}/script>",
            "<scr<script>ipt>alert(1)</scr</script>ipt>",
            "<svg/onload=alert(1)>",
            "<script <b>x</b>",
        ] {
            let text = line(raw);
            assert!(
                !text.contains("<s") && !text.contains("<i") && !text.contains("<b") && !text.contains("&lt"),
                "{raw} -> {text}"
            );
        }
    }

    #[test]
    fn invisible_characters_go_and_useful_joiners_stay() {
        assert_eq!(line("a\u{202e}b\u{200b}c\u{feff}d\u{ad}e\u{7}f"), "abcdef");
        assert_eq!(line("👨\u{200d}👩\u{200d}👧 x\u{200d}y"), "👨\u{200d}👩\u{200d}👧 xy");
        assert_eq!(line("e\u{301}"), "é");
        assert_eq!(line("e\u{200b}\u{301}"), "é");
    }

    #[test]
    fn whitespace_collapses() {
        assert_eq!(line(" a \t\n b\u{a0} "), "a b");
        assert_eq!(lines("a  \r\n b\r\n\r\n\r\n\r\nc\u{2028}d "), "a\nb\n\nc\nd");
    }

    #[test]
    fn lengths_are_cut_at_characters() {
        assert_eq!(clean("ééééé", Shape::Line, 4).unwrap(), "ééé…");
        assert_eq!(clean("ab cdef", Shape::Line, 4).unwrap(), "ab…");
        assert_eq!(clean("abcd", Shape::Line, 4), None);
        assert_eq!(clean("abcde", Shape::Line, 0).unwrap(), "");
    }

    #[test]
    fn only_the_web_is_linked() {
        let url = |raw: &str| web_url(&raw.into(), 100);
        assert_eq!(url(" HTTP://Example.ORG/a b?x=1&amp;amp;y=2 ").unwrap(), "http://example.org/a%20b?x=1&y=2");
        assert_eq!(url("https://a.e&AMP;AMP;b%26amp;c.org").unwrap(), "https://a.e&b&c.org/");
        assert_eq!(url("www.example.org").unwrap(), "https://www.example.org/");
        assert_eq!(url("https://bank.example@evil.example/").unwrap(), "https://evil.example/");
        for raw in [
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://example.org",
            "example",
            "",
            "https://",
            "java\nscript:x",
        ] {
            assert_eq!(url(raw), None, "{raw}");
        }
        assert_eq!(url(&format!("https://example.org/{}", "a".repeat(100))), None);
    }

    #[test]
    fn lists_are_distinct_and_bounded() {
        let start = "2026-03-28".parse().unwrap();
        let mut listing = Listing::new("s", "1", "t", start);
        listing.tags = [" Jazz", "jazz", "", "<b></b>", "Blues", "Rock"].map(Into::into).to_vec();
        listing.organizer = Some(Organizer { name: "<br>".into(), url: Some("mailto:a@b.c".into()) });
        listing.description = Some(" &nbsp; ".into());
        sanitize(&mut listing, &SanitizeConfig { max_items: 2, ..SanitizeConfig::default() });
        assert_eq!(listing.tags, ["Jazz".into(), "Blues".into()] as [SmolStr; 2]);
        assert_eq!(listing.organizer, None);
        assert_eq!(listing.description, None);
    }

    #[test]
    fn hostile_sizes_take_linear_time() {
        let began = std::time::Instant::now();
        assert_eq!(lines(&"<div>".repeat(100_000)), "");
        assert_eq!(lines(&format!("<b {}>x", "a1 b2 c3 ".repeat(100_000))), "x");
        lines(&"<a ".repeat(300_000));
        lines(&format!("{}>", "<a".repeat(300_000)));
        lines(&"<!--".repeat(200_000));
        lines(&"&".repeat(500_000));
        lines(&format!("&{}lt;b&gt;", "amp;".repeat(100_000)));
        // Quadratic behaviour would take hours.
        assert!(began.elapsed().as_secs() < 60);
    }

    fn messy() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "\\PC{0,6}",
            prop::sample::select(vec![
                "<",
                ">",
                "&",
                "&amp;",
                "&lt;",
                "&gt;",
                "&nbsp",
                "&#60;",
                "&#x3c",
                ";",
                "<b>",
                "</b>",
                "<br/>",
                "<p>",
                "<script>",
                "</script>",
                "<style>",
                "</style>",
                "<!--",
                "-->",
                "<title>",
                "\u{200b}",
                "\u{200d}",
                "\u{202e}",
                "\u{301}",
                "e",
                "é",
                "\n",
                "\r\n",
                "  ",
                "lt",
                "amp",
                "👩",
                "\u{212a}",
                "\u{338}",
                "=",
                "\"",
                "@",
                "://",
                "\u{0}",
                "!",
                "/",
                "?",
                "…",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    prop_compose! {
        fn listing()(title in messy(), description in prop::option::of(messy()), name in prop::option::of(messy()),
                     tags in prop::collection::vec(messy(), 0..4), urls in prop::collection::vec("(https?://|//|www\\.|ftp:)?[a-z@:&;./?%é ]{0,12}", 0..4),
                     currency in prop::option::of(messy())) -> Listing {
            let mut listing = Listing::new("s", "1", &title, "2026-03-28".parse().unwrap());
            listing.description = description.map(Into::into);
            listing.venue.name = name.clone().map(Into::into);
            listing.organizer = name.map(|name| Organizer { name: name.into(), url: urls.first().map(Into::into) });
            listing.source_categories = tags.iter().map(Into::into).collect();
            listing.tags = tags.into_iter().map(Into::into).collect();
            listing.images = urls.iter().map(Into::into).collect();
            listing.urls = listing.images.clone();
            listing.pricing = Some(Pricing { currency: currency.map(Into::into), ..Pricing::default() });
            listing
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_short_ways_come_to_the_same(
            text in messy(), ascii in "[a-c \\n\\r\\t\u{b}\u{c}\u{1}\u{7f}<&;#]{0,16}", plain in "[ab\\n ]{0,8}", lines: bool
        ) {
            let shape = if lines { Shape::Lines } else { Shape::Line };
            for text in [&text, &ascii, &plain] {
                prop_assert_eq!(is_clean(text, shape), !has_markup_signs(text) && is_tidy(text, shape), "{:?}", text);
            }
            for text in [&text, &ascii, &plain] {
                let mut by_runs = String::new();
                push_visible(text, shape, &mut by_runs);
                prop_assert_eq!(by_runs, visible_by_chars(text, shape), "{:?}", text);
            }
        }
    }

    /// What is seen of a text, character by character.
    fn visible_by_chars(text: &str, shape: Shape) -> String {
        let (mut out, mut gap, mut last) = (String::new(), Gap::default(), ' ');
        let mut chars = text.chars().filter(|&c| !is_unwanted(c)).peekable();
        while let Some(c) = chars.next() {
            if is_line_break(c) && shape == Shape::Lines {
                gap.lines += usize::from(!(c == '\r' && chars.peek() == Some(&'\n')));
            } else if c.is_whitespace() || c.is_control() {
                gap.spaces += 1;
            } else if !is_joiner(c) || (gap.is_none() && joins(last, chars.peek().copied())) {
                gap.write(&mut out);
                out.push(c);
                last = c;
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn twice_is_once_and_nothing_unsafe_is_left(mut listing in listing(), max in 0usize..30) {
            let config = SanitizeConfig {
                max_title_chars: max, max_description_chars: max * 2, max_field_chars: max, max_items: 2, ..SanitizeConfig::default()
            };
            sanitize(&mut listing, &config);
            let mut again = listing.clone();
            sanitize(&mut again, &config);
            prop_assert_eq!(&again, &listing);
            prop_assert!(listing.title.chars().count() <= max);
            prop_assert!(!listing.title.contains('\n'));
            let text = listing.description.unwrap_or_default();
            prop_assert!(!text.chars().any(is_unwanted));
            let mut after_sign = text.split('<').skip(1);
            prop_assert!(!after_sign.any(|after| after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')), "{}", text);
        }
    }
}
