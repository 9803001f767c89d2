//! English dates and ranges of dates, as people write them in lists of conferences:
//! "17–19 March 2026", "February 22 - March 1, 2022", "Dec 29, 2025 - Jan 2, 2026",
//! "Sept 30, 2025", "September 29 to October 2, 2026".

use jiff::civil::Date;

/// Longer texts are not dates.
const MAX_BYTES: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Number(i16),
    Month(i8),
    Dash,
}

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
}

/// The first and, for a range, the last day. `year` is for texts without one. `None` where the
/// text says less than a day ("August 2027"), more than one range, or anything that is no date.
pub(crate) fn read(text: &str, year: Option<i16>) -> Option<(Date, Option<Date>)> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let tokens = tokens(text)?;
    let mut sides = tokens.split(|token| *token == Token::Dash);
    let mut first = side(sides.next()?)?;
    let Some(last) = sides.next() else {
        first.year = first.year.or(year);
        return Some((date(first)?, None));
    };
    if sides.next().is_some() {
        return None;
    }
    let mut last = side(last)?;
    first.month = first.month.or(last.month);
    last.month = last.month.or(first.month);
    fill_years(&mut first, &mut last, year);
    Some((date(first)?, Some(date(last)?)))
}

/// A year given on one side holds on the other, except over New Year.
fn fill_years(first: &mut Side, last: &mut Side, year: Option<i16>) {
    let over_new_year = i16::from(first.month > last.month);
    match (first.year, last.year) {
        (Some(_), Some(_)) => {}
        (Some(known), None) => last.year = known.checked_add(over_new_year),
        (None, Some(known)) => first.year = known.checked_sub(over_new_year),
        (None, None) => {
            first.year = year;
            last.year = year.and_then(|known| known.checked_add(over_new_year));
        }
    }
}

fn date(side: Side) -> Option<Date> {
    Date::new(side.year?, side.month?, side.day?).ok()
}

fn side(tokens: &[Token]) -> Option<Side> {
    let mut side = Side::default();
    for token in tokens {
        match *token {
            Token::Month(month) if side.month.is_none() => side.month = Some(month),
            Token::Number(number) if (1..=31).contains(&number) && side.day.is_none() => {
                side.day = i8::try_from(number).ok();
            }
            Token::Number(number) if (1900..=2200).contains(&number) && side.year.is_none() => {
                side.year = Some(number);
            }
            _ => return None,
        }
    }
    Some(side)
}

/// Splits into numbers, months and dashes. Weekdays, commas and what stands in brackets are left
/// out; any other word is no date.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = without_brackets(text);
    rest = rest.trim_start();
    while let Some(first) = rest.chars().next() {
        let kind = Kind::of(first);
        let end = rest.find(|c| Kind::of(c) != kind).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        match kind {
            Kind::Digit => {
                tokens.push(Token::Number(word.parse().ok()?));
                rest = without_ordinal(tail);
                continue;
            }
            Kind::Letter => tokens.extend(word_token(word)?),
            Kind::Dash => tokens.push(Token::Dash),
            Kind::Blank => {}
            Kind::Other => return None,
        }
        rest = tail;
    }
    Some(tokens)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Digit,
    Letter,
    Dash,
    Blank,
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            '0'..='9' => Self::Digit,
            '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' => Self::Dash,
            ',' | '.' => Self::Blank,
            c if c.is_whitespace() => Self::Blank,
            c if c.is_alphabetic() => Self::Letter,
            _ => Self::Other,
        }
    }
}

fn without_brackets(text: &str) -> &str {
    text.split_once('(').map_or(text, |(before, _)| before)
}

/// Drops the ending of `1st`, `2nd`, `3rd`, `4th`.
fn without_ordinal(tail: &str) -> &str {
    let ending = tail.get(..2).filter(|two| ["st", "nd", "rd", "th"].iter().any(|th| th.eq_ignore_ascii_case(two)));
    let ends = tail.chars().nth(2).is_none_or(|next| !next.is_alphabetic());
    if ending.is_some() && ends { tail.get(2..).unwrap_or("") } else { tail }
}

/// The token of a word, `Some(None)` for words that say nothing, `None` for what is no date.
fn word_token(word: &str) -> Option<Option<Token>> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.to_lowercase();
    if ["to", "until", "till", "through", "thru"].contains(&word.as_str()) {
        return Some(Some(Token::Dash));
    }
    if ["of", "the", "from", "on"].contains(&word.as_str()) {
        return Some(None);
    }
    if word.len() < 3 {
        return None;
    }
    if let Some(month) = MONTHS.iter().position(|month| month.starts_with(&word)) {
        return Some(i8::try_from(month + 1).ok().map(Token::Month));
    }
    DAYS.iter().any(|day| day.starts_with(&word)).then_some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, year: Option<i16>) -> Option<String> {
        let (first, last) = read(text, year)?;
        Some(last.map_or_else(|| first.to_string(), |last| format!("{first}..{last}")))
    }

    #[test]
    fn dates_and_ranges_as_people_write_them() {
        for (text, expected) in [
            ("17–19 March 2026", "2026-03-17..2026-03-19"),
            ("February 22 - March 1, 2022", "2022-02-22..2022-03-01"),
            ("June 19-24, 2027", "2027-06-19..2027-06-24"),
            ("Sept 30, 2025", "2025-09-30"),
            ("Dec 29, 2025 - Jan 2, 2026", "2025-12-29..2026-01-02"),
            ("December 29 - January 2, 2026", "2025-12-29..2026-01-02"),
            ("Dec 29, 2025 - Jan 2", "2025-12-29..2026-01-02"),
            ("31 January-1 February 2026", "2026-01-31..2026-02-01"),
            ("January 31 - 4 February, 2026", "2026-01-31..2026-02-04"),
            ("September, 7-8, 2023", "2023-09-07..2023-09-08"),
            ("MAY 12-15, 2025", "2025-05-12..2025-05-15"),
            ("July 14-16 , 2022", "2022-07-14..2022-07-16"),
            ("September 29 to October 2, 2026", "2026-09-29..2026-10-02"),
            ("5th November 2024", "2024-11-05"),
            ("Monday, 1st of June 2026", "2026-06-01"),
            ("March 3-5, 2026 (tentative)", "2026-03-03..2026-03-05"),
            ("November 22-26 2026", "2026-11-22..2026-11-26"),
        ] {
            assert_eq!(shown(text, None).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_year_from_elsewhere_is_used_only_where_there_is_none() {
        assert_eq!(shown("19-20 September", Some(2025)).as_deref(), Some("2025-09-19..2025-09-20"));
        assert_eq!(shown("30 December - 2 January", Some(2025)).as_deref(), Some("2025-12-30..2026-01-02"));
        assert_eq!(shown("4 May 2024", Some(2025)).as_deref(), Some("2024-05-04"));
        assert_eq!(shown("4 May", None), None);
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "TBD",
            "",
            "August 2027 (exact dates TBD)",
            "2027",
            "March-April, 2025",
            "To be announced",
            "Extended",
            "32 May 2026",
            "February 30, 2026",
            "3-5 and 8-9 March 2026",
            "3-5-7 March 2026",
            "99999999999 May 2026",
            "Mayor 5, 2026",
            "5 M 2026",
        ] {
            assert_eq!(shown(text, None), None, "{text}");
        }
    }
}
