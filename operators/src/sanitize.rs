//! Makes the text of listings safe and plain: no markup, no entities, no invisible or
//! direction-changing characters, one spelling of whitespace, bounded lengths, web addresses only
//! of the web.
//!
//! The result is a fixed point: sanitizing it again changes nothing. That is also what makes it
//! safe for a consumer that unescapes entities once more than it should: `&lt;script&gt;` is
//! unescaped and removed here, however often it was escaped.

use html5gum::emitters::ForwardingEmitter;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, Span, State, Tokenizer};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use url::Url;

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

/// How much of the layout of a text matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All whitespace is one space.
    Line,
    /// Line breaks stay, with at most one empty line in a row.
    Lines,
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

/// Whether there may be a tag or an entity.
fn has_markup_signs(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'<', b'&', bytes).any(|at| bytes.get(at) == Some(&b'<') || begins_entity(bytes, at))
}

/// Whether the `&` there may begin an entity: before anything but a letter, a digit or `#` it is itself
/// (HTML, "character reference state").
fn begins_entity(text: &[u8], at: usize) -> bool {
    text.get(at + 1).is_some_and(|next| *next == b'#' || next.is_ascii_alphanumeric())
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

/// Whether a text is visible ASCII with single spaces in it and holds no markup. Most texts are like that,
/// and it takes vector instructions to tell.
fn is_plain_line(text: &str) -> bool {
    let bytes = text.as_bytes();
    let odd = |byte: u8| !matches!(byte, b' '..=b'~') | matches!(byte, b'<' | b'&');
    let spaces = |(a, b): (&u8, &u8)| (*a == b' ') & (*b == b' ');
    let next = bytes.get(1..).unwrap_or_default();
    !bytes.iter().fold(false, |any, byte| any | odd(*byte))
        && !bytes.iter().zip(next).fold(false, |any, pair| any | spaces(pair))
        && ![bytes.first(), bytes.last()].contains(&Some(&b' '))
}

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

/// Whether [`tidy`] would change nothing, by one look at each character: what most texts are like.
fn is_tidy(text: &str, shape: Shape) -> bool {
    if is_plain_line(text) {
        return true;
    }
    let (mut before, mut lines, mut composed) = (' ', 0, true);
    for c in text.chars() {
        let fine = match c {
            ' ' => !matches!(before, ' ' | '\n'),
            '\n' => shape == Shape::Lines && before != ' ' && lines < 2,
            _ if c.is_ascii() => c.is_ascii_graphic(),
            _ => {
                composed &= never_composes(c);
                !(c.is_whitespace() || c.is_control() || is_unwanted(c) || is_joiner(c))
            }
        };
        if !fine {
            return false;
        }
        lines = if c == '\n' { lines + 1 } else { 0 };
        before = c;
    }
    let ends_well = text.is_empty() || !matches!(before, ' ' | '\n');
    ends_well && (composed || is_nfc_quick(text.chars()) == IsNormalized::Yes)
}

/// Of some characters that are in most texts beyond ASCII, that normalisation leaves them as they
/// are next to each other: all before the combining marks, and dashes and quotation marks (Unicode
/// 16, `NFC_Quick_Check` and `Canonical_Combining_Class` in DerivedNormalizationProps and
/// UnicodeData). False for others says nothing.
fn never_composes(c: char) -> bool {
    c < '\u{300}' || ('\u{2010}'..='\u{2027}').contains(&c)
}

/// Whether all characters come before the combining marks. It takes vector instructions to tell: the first
/// of those begins with this byte in UTF-8, and no byte of what comes before is as great.
fn is_latin(text: &str) -> bool {
    !text.bytes().fold(false, |any, byte| any | (byte >= 0xcc))
}

fn fits(text: &str, max_chars: usize) -> bool {
    text.len() <= max_chars || text.chars().count() <= max_chars
}

/// Cuts `text` to `max_chars`, the ellipsis included.
fn shorten(mut text: String, max_chars: usize) -> String {
    if fits(&text, max_chars) {
        return text;
    }
    let keep = text.char_indices().nth(max_chars.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    text.truncate(keep);
    text.truncate(text.trim_end_matches(|c: char| c.is_whitespace() || is_joiner(c)).len());
    if max_chars > 0 {
        text.push('…');
    }
    text
}

/// NFC, without unwanted characters, with whitespace collapsed according to `shape`.
fn tidy(text: String, shape: Shape) -> String {
    if is_tidy(&text, shape) { text } else { tidied(&text, shape) }
}

fn tidied(text: &str, shape: Shape) -> String {
    let mut visible = String::with_capacity(text.len());
    let composed = |text: &str| {
        is_latin(text) || text.chars().all(never_composes) || is_nfc_quick(text.chars()) == IsNormalized::Yes
    };
    if composed(text) {
        push_visible(text, shape, &mut visible);
        if visible.len() == text.len() {
            return visible;
        }
    } else {
        push_visible(&text.nfc().collect::<String>(), shape, &mut visible);
    }
    // Removing a character can bring together what composes.
    if composed(&visible) { visible } else { visible.nfc().collect() }
}

/// Appends what is seen of a text, run by run of what is seen anyway.
fn push_visible(text: &str, shape: Shape, out: &mut String) {
    let mut gap = Gap::default();
    let mut rest = text;
    let mut last = ' ';
    loop {
        let (run, after) = rest.split_at(seen_as_is(rest));
        if let Some(byte) = run.bytes().last() {
            gap.write(out);
            out.push_str(run);
            last = char::from(byte);
        }
        let mut chars = after.chars();
        let Some(c) = chars.next() else { return };
        rest = chars.as_str();
        let mut next = || chars.find(|&c| !is_unwanted(c));
        if is_unwanted(c) {
            continue;
        }
        if is_line_break(c) && shape == Shape::Lines {
            gap.lines += usize::from(!(c == '\r' && next() == Some('\n')));
        } else if c.is_whitespace() || c.is_control() {
            gap.spaces += 1;
        } else if !is_joiner(c) || (gap.is_none() && joins(last, next())) {
            gap.write(out);
            out.push(c);
            last = c;
        }
    }
}

/// How much at the beginning of a text is seen as it is: visible ASCII with single spaces inside.
fn seen_as_is(text: &str) -> usize {
    let mut before = b' ';
    for (at, byte) in text.bytes().enumerate() {
        if !(byte.is_ascii_graphic() || (byte == b' ' && before != b' ')) {
            return at.saturating_sub(usize::from(before == b' '));
        }
        before = byte;
    }
    text.len().saturating_sub(usize::from(before == b' '))
}

/// Whitespace seen but not written yet.
#[derive(Default)]
struct Gap {
    lines: usize,
    spaces: usize,
}

impl Gap {
    fn is_none(&self) -> bool {
        self.lines == 0 && self.spaces == 0
    }

    /// Writes what the gap collapses to; nothing at the beginning of a text.
    fn write(&mut self, out: &mut String) {
        if self.is_none() {
            return;
        }
        let space = match (self.lines, self.spaces) {
            (0, _) => " ",
            (1, _) => "\n",
            _ => "\n\n",
        };
        if !out.is_empty() {
            out.push_str(space);
        }
        *self = Self::default();
    }
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters without a look of their own that change how others are read: bidirectional
/// controls, zero-width and filler characters, tag characters, noncharacters. See Unicode
/// Technical Report 36, section 2.
fn is_unwanted(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control() && !c.is_ascii_whitespace() && c != '\u{b}';
    }
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !c.is_whitespace())
}

/// The zero-width joiner and non-joiner: needed inside emoji and in several scripts.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a joiner between these two can have a purpose.
fn joins(before: char, after: Option<char>) -> bool {
    let joinable = |c: char| !c.is_ascii() && !c.is_whitespace() && !is_joiner(c);
    joinable(before) && after.is_some_and(joinable)
}

/// Longest tag that is parsed; what is longer is dropped unread (data URLs, mostly).
const MAX_TAG_BYTES: usize = 4096;

/// The text of an HTML fragment: tags removed, entities resolved, content of scripts and styles
/// dropped. Block elements become line breaks, or spaces where breaks do not matter.
fn strip_markup(html: &str, shape: Shape) -> String {
    let mut sink = TextSink {
        text: String::with_capacity(html.len()),
        opened: Opened::default(),
        skips: false,
        lines: shape == Shape::Lines,
    };
    let emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| sink.take(event));
    let html = defuse(html);
    let mut tokenizer = Tokenizer::new_with_emitter(&html, Quiet(emitter));
    // Text cannot fail to be read.
    while let Some(Ok(content)) = tokenizer.next() {
        tokenizer.set_state(content);
    }
    drop(tokenizer);
    sink.text
}

/// Prepares for the tokenizer what is text although it looks like the beginning of a tag: a `<`
/// that no `>` follows, `<https://example.org>` and `<info@example.org>`; and drops tags that are
/// too long.
fn defuse(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + 8);
    let mut rest = html;
    let mut close = None;
    while let Some(open) = memchr::memchr(b'<', rest.as_bytes()) {
        let (before, tag) = rest.split_at(open);
        out.push_str(before);
        let inner = tag.get(1..).unwrap_or_default();
        // Where the next `>` is, counted from the end, is remembered while it lies ahead.
        let from_end = match close {
            Some(None) => None,
            Some(Some(at)) if at <= inner.len() => Some(at),
            _ => memchr::memchr(b'>', inner.as_bytes()).map(|at| inner.len() - at),
        };
        close = Some(from_end);
        let (body, after) = match from_end {
            Some(at) => inner.split_at_checked(inner.len() - at).unwrap_or((inner, "")),
            None => (inner, ""),
        };
        let after = after.strip_prefix('>').unwrap_or(after);
        let starts_tag = body.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
        rest = match (starts_tag, from_end) {
            (false, _) => {
                out.push('<');
                inner
            }
            (true, None) => {
                out.push_str("< ");
                inner
            }
            (true, Some(_)) if body.starts_with("!--") => {
                out.push('<');
                inner
            }
            (true, Some(_)) if is_address(body) => {
                out.extend([" ", body, " "]);
                after
            }
            (true, Some(_)) if body.len() > MAX_TAG_BYTES => {
                out.push(' ');
                after
            }
            (true, Some(_)) => {
                out.extend(["<", body, ">"]);
                after
            }
        };
    }
    out.push_str(rest);
    out
}

fn is_address(body: &str) -> bool {
    let web = ["http://", "https://", "mailto:"].iter().any(|scheme| body.starts_with(scheme));
    let mail = body.contains('@') && !body.contains('=');
    (web || mail) && body.len() <= 2048 && !body.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<'))
}

/// Does not look for what is wrong with the markup: nobody asks.
struct Quiet<E>(E);

impl<E: Emitter> ForwardingEmitter for Quiet<E> {
    type Token = E::Token;

    fn inner(&mut self) -> &mut impl Emitter<Token = Self::Token> {
        &mut self.0
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }
}

/// Gathers the text of a token stream. There is no tree, so depth costs nothing.
struct TextSink {
    text: String,
    /// The start tag that is being read. It may never end.
    opened: Opened,
    /// Inside an element whose content is not text.
    skips: bool,
    lines: bool,
}

/// What follows from a start tag.
#[derive(Default)]
struct Opened {
    edge: Break,
    /// How the content is to be read where it is neither markup nor text.
    content: Option<State>,
}

impl Opened {
    fn of(element: &[u8]) -> Self {
        let content = match element {
            b"script" => Some(State::ScriptData),
            b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" => Some(State::RawText),
            b"title" => Some(State::RcData),
            _ => None,
        };
        let edge = if content.is_some() { Break::Space } else { Break::of(element) };
        Self { edge, content }
    }
}

impl TextSink {
    /// Takes what the tokenizer has read; tells how it is to go on where that is not as before.
    fn take(&mut self, event: CallbackEvent<'_>) -> Option<State> {
        match event {
            CallbackEvent::OpenStartTag { name } => self.opened = Opened::of(name),
            CallbackEvent::CloseStartTag { .. } => {
                let Opened { edge, content } = std::mem::take(&mut self.opened);
                self.break_at(edge);
                self.skips = content.is_some();
                return content;
            }
            // Where content is skipped, no end tag is told but the one that closes it.
            CallbackEvent::EndTag { .. } if self.skips => self.skips = false,
            CallbackEvent::EndTag { name } => self.break_at(Break::of(name)),
            CallbackEvent::String { value } if !self.skips => self.text.push_str(&String::from_utf8_lossy(value)),
            _ => {}
        }
        None
    }

    fn break_at(&mut self, edge: Break) {
        self.text.push_str(match (edge, self.lines) {
            (Break::None, _) => "",
            (Break::Paragraph, true) => "\n\n",
            (Break::Line, true) => "\n",
            (Break::Space | Break::Line | Break::Paragraph, _) => " ",
        });
    }
}

/// What the edge of an element is in text.
#[derive(Default)]
enum Break {
    #[default]
    None,
    Space,
    Line,
    Paragraph,
}

impl Break {
    fn of(element: &[u8]) -> Self {
        match element {
            b"p" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"blockquote" | b"pre" | b"table" | b"ul"
            | b"ol" | b"dl" | b"hr" | b"section" | b"article" => Self::Paragraph,
            b"br" | b"div" | b"li" | b"tr" | b"dt" | b"dd" | b"header" | b"footer" | b"main" | b"nav" | b"aside"
            | b"address" | b"figure" | b"figcaption" | b"form" | b"fieldset" | b"legend" | b"caption" | b"option"
            | b"summary" | b"details" | b"center" | b"body" | b"head" => Self::Line,
            b"td" | b"th" | b"img" | b"input" | b"button" | b"select" | b"textarea" | b"video" | b"audio"
            | b"object" => Self::Space,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
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
