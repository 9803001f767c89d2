//! The text of HTML fragments.

use html5gum::emitters::ForwardingEmitter;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, Span, State, Tokenizer};

use super::visible::Shape;

/// Whether there may be a tag or an entity.
pub(super) fn has_markup_signs(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'<', b'&', bytes).any(|at| bytes.get(at) == Some(&b'<') || begins_entity(bytes, at))
}

/// Whether the `&` there may begin an entity: before anything but a letter, a digit or `#` it is itself
/// (HTML, "character reference state").
pub(super) fn begins_entity(text: &[u8], at: usize) -> bool {
    text.get(at + 1).is_some_and(|next| *next == b'#' || next.is_ascii_alphanumeric())
}

/// Longest tag that is parsed; what is longer is dropped unread (data URLs, mostly).
const MAX_TAG_BYTES: usize = 4096;

/// The text of an HTML fragment: tags removed, entities resolved, content of scripts and styles
/// dropped. Block elements become line breaks, or spaces where breaks do not matter.
pub(super) fn strip_markup(html: &str, shape: Shape) -> String {
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
