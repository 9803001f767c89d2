//! Records that cannot be used, each broken in a way in which feeds break.

use super::Form;
use super::dice::Dice;
use super::text::push_json;

/// A broken record.
pub(super) struct Broken {
    pub value: Vec<u8>,
    /// In place of the form's own.
    pub content_type: Option<&'static str>,
    /// Whether it loses its key.
    pub unkeyed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Truncated,
    ErrorPage,
    NoTitle,
    NoStart,
    BadDate,
    InvalidUtf8,
    UnknownContentType,
    TooDeep,
    WrongType,
    Empty,
}

const JSON_WAYS: &[Way] = &[
    Way::Truncated,
    Way::ErrorPage,
    Way::NoTitle,
    Way::NoStart,
    Way::BadDate,
    Way::InvalidUtf8,
    Way::UnknownContentType,
    Way::TooDeep,
    Way::WrongType,
    Way::Empty,
];

/// Readers of calendars forgive more: a calendar that stops in the middle may still give events.
const CALENDAR_WAYS: &[Way] = &[Way::ErrorPage, Way::NoStart, Way::BadDate, Way::UnknownContentType, Way::Empty];

/// Nesting of a record that is nested too deeply.
const DEPTH: usize = 400;

/// Breaks the record `whole`, a telling of one event under `title`.
pub(super) fn broken(dice: &mut Dice, form: Form, whole: String, title: &str) -> Broken {
    let way = *dice.pick(if form == Form::Calendar { CALENDAR_WAYS } else { JSON_WAYS });
    let mut broken = Broken { value: Vec::new(), content_type: None, unkeyed: way == Way::Empty };
    broken.value = match way {
        Way::Truncated => {
            let mut bytes = whole.into_bytes();
            bytes.truncate(bytes.len() / 2);
            bytes
        }
        Way::ErrorPage => {
            b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body></body></html>".to_vec()
        }
        Way::NoTitle => without_title(&whole, title).into_bytes(),
        Way::NoStart => with_start(&whole, form, None).into_bytes(),
        Way::BadDate => with_start(&whole, form, Some("31 June at teatime")).into_bytes(),
        Way::InvalidUtf8 => {
            // Cut as well: whole, it would be read as text of another encoding.
            let mut bytes = whole.into_bytes();
            bytes.truncate(bytes.len() / 2);
            bytes.extend([0xC3, 0x28, 0xFF]);
            bytes
        }
        Way::UnknownContentType => {
            broken.content_type = Some("text/csv");
            format!("title,start\n{},2026-06-01\n", title.replace(',', " ")).into_bytes()
        }
        Way::TooDeep => format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)).into_bytes(),
        Way::WrongType => b"42".to_vec(),
        Way::Empty => Vec::new(),
    };
    broken
}

fn without_title(whole: &str, title: &str) -> String {
    let mut told = String::from(":");
    push_json(&mut told, title);
    // An unknown field in its place; a form writes the title once.
    whole.replacen(&told, ":null", 1)
}

/// `whole` with another start, or with its start under a name that nobody reads.
fn with_start(whole: &str, form: Form, start: Option<&str>) -> String {
    let (label, ends_with) = match form {
        Form::JsonLd | Form::JsonLdGraph => ("\"startDate\":\"", '"'),
        Form::Tickets => ("\"start\":\"", '"'),
        Form::Circle => ("\"starts\":\"", '"'),
        Form::Campus => ("\"from\":\"", '"'),
        Form::Calendar => ("DTSTART", '\r'),
    };
    let Some((before, after)) = whole.split_once(label) else { return whole.to_owned() };
    let Some(start) = start else {
        let renamed = if form == Form::Calendar { "X-START" } else { "\"x\":\"" };
        return format!("{before}{renamed}{after}");
    };
    let rest = after.find(ends_with).and_then(|at| after.get(at..)).unwrap_or("");
    let colon = if form == Form::Calendar { ":" } else { "" };
    format!("{before}{label}{colon}{start}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_and_starts_go() {
        let json = r#"{"name":"A \"B\"","start":"2026-06-01T10:00:00Z","x":1}"#;
        assert_eq!(without_title(json, "A \"B\""), r#"{"name":null,"start":"2026-06-01T10:00:00Z","x":1}"#);
        assert_eq!(with_start(json, Form::Tickets, Some("soon")), r#"{"name":"A \"B\"","start":"soon","x":1}"#);
        assert!(!with_start(json, Form::Tickets, None).contains("\"start\""));
        let calendar = "BEGIN:VEVENT\r\nDTSTART;TZID=Europe/Berlin:20260601T100000\r\nEND:VEVENT\r\n";
        assert_eq!(
            with_start(calendar, Form::Calendar, Some("soon")),
            "BEGIN:VEVENT\r\nDTSTART:soon\r\nEND:VEVENT\r\n"
        );
    }
}
