//! JSON as it stands in web pages: in script tags, with comments, commas at the ends of lists, line breaks in
//! texts, escaped quotes. No parser of a dialect of JSON takes all of that, so the text is mended before it
//! is parsed; it is gone through once, and only where it is no JSON as it is.

use std::borrow::Cow;

/// A text made JSON, as far as that goes, and what was done to it.
#[derive(Debug, PartialEq)]
pub(super) struct Mended {
    pub(super) text: String,
    /// For people, such as `comments`.
    pub(super) mended: Vec<&'static str>,
}

/// Mends a text. What it is afterwards may be no JSON either, or several values one after the other.
pub(super) fn mend(text: &str) -> Mended {
    let mut mended = Vec::new();
    let text = out_of_scripts(text, &mut mended);
    let text = without_escaped_quotes(text, &mut mended);
    let mut mender = Mender { out: String::with_capacity(text.len()), mended, last: None };
    mender.go_through(&text);
    mender.mended.sort_unstable();
    mender.mended.dedup();
    Mended { text: mender.out, mended: mender.mended }
}

/// What stands in script tags, where there are any.
fn out_of_scripts<'t>(text: &'t str, mended: &mut Vec<&'static str>) -> Cow<'t, str> {
    let trimmed = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
    if !trimmed.starts_with('<') || trimmed.starts_with("<!") && !trimmed.contains("<script") {
        return Cow::Borrowed(text);
    }
    let lower = text.to_ascii_lowercase();
    let mut found = String::new();
    let mut at = 0;
    while let Some(open) = lower.get(at..).and_then(|rest| rest.find("<script")) {
        let begin = at + open;
        let Some(end_of_tag) = lower.get(begin..).and_then(|rest| rest.find('>')) else { break };
        let content = begin + end_of_tag + 1;
        let length = lower.get(content..).map_or(0, |rest| rest.find("</script").unwrap_or(rest.len()));
        let linked = lower.get(begin..content).is_some_and(|tag| tag.contains("ld+json") || begin == 0);
        if linked {
            found.push_str(text.get(content..content + length).unwrap_or_default());
            found.push('\n');
        }
        at = content + length;
    }
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    mended.push("script tags");
    Cow::Owned(found)
}

/// Resolves entities where every quote is one.
fn without_escaped_quotes<'t>(text: Cow<'t, str>, mended: &mut Vec<&'static str>) -> Cow<'t, str> {
    let escaped = ["&quot;", "&#34;", "&#034;", "&#x22;"];
    if text.contains('"') || !escaped.iter().any(|quote| text.contains(quote)) {
        return text;
    }
    mended.push("escaped quotes");
    let mut text = text.into_owned();
    for quote in escaped {
        text = text.replace(quote, "\"");
    }
    for (entity, sign) in [("&#39;", "'"), ("&apos;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")] {
        text = text.replace(entity, sign);
    }
    Cow::Owned(text)
}

struct Mender {
    out: String,
    mended: Vec<&'static str>,
    /// The last sign that is part of JSON, blanks aside, and where it stands.
    last: Option<(char, usize)>,
}

impl Mender {
    fn go_through(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let taken = match c {
                '"' => self.string(rest),
                '/' | '<' | '-' | ']' | '\u{feff}' | ';' => self.skipped(rest),
                _ => 0,
            };
            let taken = if taken == 0 { self.sign(c) } else { taken };
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.drop_comma();
    }

    /// Copies a sign, unless it is a comma that separates nothing. Gives how long it is.
    fn sign(&mut self, c: char) -> usize {
        if matches!(c, '}' | ']') {
            self.drop_comma();
        }
        let needless = c == ',' && self.last.is_none_or(|(last, _)| matches!(last, '{' | '[' | ','));
        if needless {
            self.mended.push("commas at ends");
            return 1;
        }
        if !c.is_whitespace() {
            self.last = Some((c, self.out.len()));
        }
        self.out.push(c);
        c.len_utf8()
    }

    /// Takes back a comma after which nothing has come.
    fn drop_comma(&mut self) {
        if let Some((',', at)) = self.last {
            self.mended.push("commas at ends");
            self.out.remove(at);
            self.last = None;
        }
    }

    /// Copies a text; control characters in it are escaped. Gives how long it is.
    fn string(&mut self, rest: &str) -> usize {
        self.last = Some(('"', self.out.len()));
        self.out.push('"');
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                '"' if !escaped => {
                    self.out.push('"');
                    return at + 1;
                }
                c if c.is_ascii_control() => {
                    self.mended.push("line breaks in texts");
                    // After a backslash it is one that goes on in the next line.
                    let code = match c {
                        '\n' => "\\n",
                        '\t' => "\\t",
                        _ => "",
                    };
                    self.out.push_str(if escaped { code.trim_start_matches('\\') } else { code });
                    escaped = false;
                    continue;
                }
                c => self.out.push(c),
            }
            escaped = c == '\\' && !escaped;
        }
        rest.len()
    }

    /// How much of what begins here is no part of JSON: comments, marks of CDATA and of HTML comments, byte
    /// order marks, and a semicolon.
    fn skipped(&mut self, rest: &str) -> usize {
        let marks = ["<![CDATA[", "]]>", "<!--", "-->"];
        if let Some(mark) = marks.iter().find(|mark| rest.starts_with(**mark)) {
            self.mended.push("CDATA");
            return mark.len();
        }
        if rest.starts_with("/*") {
            self.mended.push("comments");
            let inner = rest.get(2..).unwrap_or_default();
            return inner.find("*/").map_or(rest.len(), |end| end + 4);
        }
        if rest.starts_with("//") {
            self.mended.push("comments");
            return rest.find(['\n', '\r']).unwrap_or(rest.len());
        }
        let (sign, what) = match rest.chars().next() {
            Some(sign @ '\u{feff}') => (sign, "a byte order mark"),
            Some(sign @ ';') => (sign, "semicolons"),
            _ => return 0,
        };
        self.mended.push(what);
        sign.len_utf8()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mended(text: &str) -> String {
        mend(text).text.trim().to_owned()
    }

    #[test]
    fn each_kind_is_mended_and_named() {
        for (text, expected, kind) in [
            ("/* made by us */ {\"a\": 1} // end", "{\"a\": 1}", "comments"),
            ("{\"a\": [1,, 2, /* 3 */],}", "{\"a\": [1, 2 ]}", "commas at ends"),
            ("{\"a\": 1};", "{\"a\": 1}", "semicolons"),
            ("//<![CDATA[\n{\"a\": 1}\n//]]>", "{\"a\": 1}", "comments"),
            ("<![CDATA[{\"a\": [[1]]}]]>", "{\"a\": [[1]]}", "CDATA"),
            ("<!-- {\"a\": 1} -->", "{\"a\": 1}", "CDATA"),
            ("{\"a\": \"b\r\n\tc\"}", "{\"a\": \"b\\n\\tc\"}", "line breaks in texts"),
            ("{&quot;a&quot;: &quot;b &amp; c&quot;}", "{\"a\": \"b & c\"}", "escaped quotes"),
            ("<script type=\"application/ld+json\">\u{feff}{\"a\": 1}</script>", "{\"a\": 1}", "script tags"),
            (
                "<html><script>var a = 1;</script><SCRIPT type='application/ld+json'>{\"a\": 1}</SCRIPT></html>",
                "{\"a\": 1}",
                "script tags",
            ),
        ] {
            assert_eq!(mended(text), expected);
            assert!(mend(text).mended.contains(&kind), "{text}: {:?}", mend(text).mended);
        }
    }

    #[test]
    fn texts_stay_as_they_are() {
        for text in [
            r#"{"a": "http://b.example/*c*/ // d"}"#,
            r#"{"a": "b, ] ; <!-- \" ,} &quot;"}"#,
            r#"[-1, -2.5e-3, [], {}]"#,
        ] {
            assert_eq!(mend(text), Mended { text: text.to_owned(), mended: vec![] });
        }
    }

    proptest! {
        #[test]
        fn json_is_left_alone(text in "[a\"\\\\,;/*<!\\[\\]{}: \n-]{0,30}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(mend(&json).text, json);
        }

        #[test]
        fn mending_ends_and_does_not_grow_without_bounds(text in "[a\"\\\\,;/*<!\\[\\]{}:\n\u{feff}&quot;script>-]{0,60}") {
            prop_assert!(mend(&text).text.len() <= 2 * text.len() + 2);
        }
    }
}
