//! How things are shown to people.

use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};
use headwater::tools::{ToolError, still_read};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::model::Phase;

/// A cell: a text without control characters but for line breaks, and its colour on a terminal.
#[derive(Debug, Clone)]
pub(super) struct Cell(String, Style);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(harmless(text.into()), Style::new())
    }
}

/// A text that changes nothing of a terminal: texts of jobs come from outside.
fn harmless(text: String) -> String {
    let is_harmless = |c: char| c == '\n' || !c.is_control();
    if text.chars().all(is_harmless) {
        return text;
    }
    let shown = |c| match c {
        '\t' => ' ',
        c if is_harmless(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(shown).collect()
}

impl From<Phase> for Cell {
    fn from(phase: Phase) -> Self {
        Self(phase.name().to_owned(), style_of(phase))
    }
}

/// The colour of a phase.
fn style_of(phase: Phase) -> Style {
    let colour = match phase {
        Phase::Done => AnsiColor::Green,
        Phase::Dead => AnsiColor::Red,
        Phase::Failed => AnsiColor::Yellow,
        Phase::Leased => AnsiColor::Cyan,
        Phase::Cancelled => AnsiColor::BrightBlack,
        Phase::Blocked | Phase::Delayed | Phase::Waiting => return Style::new(),
    };
    colour.on_default()
}

/// Rows of cells, as wide as they need be.
#[derive(Debug, Default)]
pub(super) struct Listing {
    rows: Vec<Vec<Cell>>,
}

impl Listing {
    /// A table with this head.
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.iter().map(|name| Cell::from(*name)).collect()] }
    }

    /// One more row.
    pub fn push<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(row.into());
    }

    /// Writes it; with `colour` for a terminal.
    pub fn write(&self, out: &mut dyn Write, colour: bool) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.0.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let last = row.iter().rposition(|cell| !cell.0.is_empty()).unwrap_or(0);
            for (column, Cell(text, style)) in row.iter().enumerate().take(last + 1) {
                let pad = if column == last { 0 } else { widths[column] - text.chars().count() + 2 };
                match colour && !style.is_plain() {
                    true => write!(out, "{style}{text}{style:#}{:pad$}", "")?,
                    false => write!(out, "{text}{:pad$}", "")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// Prints it to stdout, in colour where that is a terminal.
    pub fn print(&self) -> Result<(), ToolError> {
        still_read(self.write(&mut io::stdout().lock(), in_colour()))?;
        Ok(())
    }
}

/// Whether stdout shows colours.
pub(super) fn in_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Prints things as JSON, one a line.
pub(super) fn print_lines<T: Serialize>(things: &[T]) -> Result<(), ToolError> {
    let mut out = io::stdout().lock();
    let mut print = || {
        for thing in things {
            serde_json::to_writer(&mut out, thing)?;
            writeln!(out)?;
        }
        Ok(())
    };
    still_read(print())?;
    Ok(())
}

/// How long ago something was: `5s`, `3m`, `2h`, `4d`; what is to come has a `+`.
pub(super) fn ago(time: Timestamp, now: Timestamp) -> String {
    let since = now.duration_since(time);
    let future = if since < SignedDuration::ZERO { "+" } else { "" };
    format!("{future}{}", span_of(since.abs()))
}

fn span_of(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Milliseconds as people read them: `35ms`, `1.2s`, `3m 20s`, `2h 5m`.
pub(super) fn millis(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m {}s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{}h {}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A text on one line of at most `most` characters.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most + 1).collect();
    if flat.chars().count() <= most {
        return flat;
    }
    flat.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_be_and_coloured_on_terminals_only() {
        let mut listing = Listing::new(["ID", "PHASE", "NOTE"]);
        listing.push(["long-id".into(), Phase::Done.into(), "".into()]);
        listing.push(["ä".into(), Phase::Waiting.into(), "x".into()]);
        let written = |colour| {
            let mut out = Vec::new();
            listing.write(&mut out, colour).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(false), "ID       PHASE    NOTE\nlong-id  done\nä        waiting  x\n");
        assert!(written(true).contains("\u{1b}[32mdone\u{1b}[0m\n"));
    }

    #[test]
    fn nothing_that_is_shown_speaks_to_the_terminal() {
        let cell = |text: &str| Cell::from(text).0;
        assert_eq!(cell("a\u{1b}]0;title\u{7}\r\n\tb\u{9b}c"), "a\u{fffd}]0;title\u{fffd}\u{fffd}\n b\u{fffd}c");
        assert_eq!(cell("ä {\n}"), "ä {\n}");
    }

    #[test]
    fn times_are_short() {
        let now: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let told = |text: &str| ago(text.parse().unwrap(), now);
        assert_eq!(told("2026-12-01T11:59:01Z"), "59s");
        assert_eq!(told("2026-12-01T10:30:00Z"), "1h");
        assert_eq!(told("2026-11-01T12:00:00Z"), "30d");
        assert_eq!(told("2026-12-01T12:05:00Z"), "+5m");
        let shown = [0, 999, 1_290, 59_999, 60_000, 7_500_000].map(millis);
        assert_eq!(shown, ["0ms", "999ms", "1.2s", "59.9s", "1m 0s", "2h 5m"]);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(one_line("a\nb", 10), "a b");
        assert_eq!(one_line("äöüß", 4), "äöüß");
        assert_eq!(one_line("äöüßx", 4), "äöü…");
    }
}
