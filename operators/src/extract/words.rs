//! Words and prices that mean the same in every format.

use smallvec::SmallVec;

use super::marks;
use crate::listing::{Amount, Pricing, Status};

/// The status that a word means: schema.org's, with or without its address, or one in common use.
pub(crate) fn status(word: &str) -> Option<Status> {
    if let Some(status) = marks::of_word(word) {
        return Some(status);
    }
    let word = local_name(word.trim());
    let word: String = word.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    match word.strip_prefix("event").filter(|rest| !rest.is_empty()).unwrap_or(&word) {
        "scheduled" | "confirmed" | "active" | "live" => Some(Status::Scheduled),
        "tentative" | "provisional" => Some(Status::Tentative),
        "rescheduled" => Some(Status::Rescheduled),
        "movedonline" => Some(Status::MovedOnline),
        "postponed" => Some(Status::Postponed),
        "cancelled" | "canceled" => Some(Status::Cancelled),
        "soldout" => Some(Status::SoldOut),
        _ => None,
    }
}

/// The last part of an address such as `https://schema.org/MusicEvent` or `schema:MusicEvent`.
pub(crate) fn local_name(name: &str) -> &str {
    name.rsplit(['/', '#', ':']).next().unwrap_or(name)
}

/// What stands between the two ends of a range of prices.
const BETWEEN: [&str; 7] = ["-", "–", "—", "/", "to", "bis", "à"];

/// Signs of currencies.
const SIGNS: [char; 4] = ['€', '$', '£', '¥'];

/// The lowest and the highest amount of money in a text such as `12.50`, `$1,200`, `12,50 €`, `from 10 EUR` or
/// `€15–€20`. `None` where there is no number, and where numbers are neither one nor a range.
pub(crate) fn prices(text: &str) -> Option<(Amount, Amount)> {
    if text.len() > 64 {
        return None;
    }
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
    let runs = text.split(|c| !is_part(c)).map(|run| run.trim_matches(['.', ',']));
    let numbers: SmallVec<[&str; 2]> = runs.filter(|run| !run.is_empty()).take(3).collect();
    let amount = |number: &str| plain_number(number).parse::<f64>().ok().map(Amount::from);
    match *numbers.as_slice() {
        [number] => {
            let Amount(value) = amount(number)?;
            let price = Amount(if text.trim_start().starts_with('-') { -value } else { value });
            Some((price, price))
        }
        [one, other] if is_range(text, one, other) => {
            let (one, other) = (amount(one)?, amount(other)?);
            Some((one.min(other), one.max(other)))
        }
        _ => None,
    }
}

/// What stands before a range of prices.
const BEFORE: [&str; 7] = ["from", "ab", "von", "price", "prices", "preis", "tickets"];

/// Whether two numbers of a text are a range of prices: a dash or such stands between them, one currency beside them,
/// and nothing else that would make them ages, hours or a price for several.
fn is_range(text: &str, one: &str, other: &str) -> bool {
    let Some((before, rest)) = text.split_once(one) else { return false };
    let Some((between, after)) = rest.split_once(other) else { return false };
    let mut between = words_beside(between);
    let is_between = between.next().is_some_and(|word| BETWEEN.contains(&word)) && between.next().is_none();
    let mut before = words_beside(before);
    is_between
        && before.all(|word| BEFORE.contains(&word.to_lowercase().as_str()))
        && words_beside(after).next().is_none()
        && has_one_currency(text)
}

/// The words of a text that are no currency.
fn words_beside(text: &str) -> impl Iterator<Item = &str> {
    let is_joint = |c: char| c.is_whitespace() || SIGNS.contains(&c) || matches!(c, '.' | ',' | ':');
    text.split(is_joint).filter(|word| !word.is_empty() && !is_currency(word))
}

/// Whether a text names one currency at most.
fn has_one_currency(text: &str) -> bool {
    let signs = SIGNS.into_iter().filter(|sign| text.contains(*sign)).count();
    let codes = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| is_currency(word));
    let mut codes = codes.chain(codes_of_signs(text));
    let first = codes.next();
    signs <= 1 && codes.all(|code| Some(code) == first)
}

/// The codes of the signs in a text that are of one currency each. A dollar may be of many countries.
fn codes_of_signs(text: &str) -> impl Iterator<Item = &str> {
    [('€', "EUR"), ('£', "GBP")].into_iter().filter(|(sign, _)| text.contains(*sign)).map(|(_, code)| code)
}

/// Whether a word has the form of a currency's code (ISO 4217).
fn is_currency(word: &str) -> bool {
    word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The currency that a price names itself, such as `12,50 EUR` or `€15`.
pub(crate) fn currency(text: &str) -> Option<&str> {
    const KNOWN: [&str; 12] = ["EUR", "USD", "GBP", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "PLN", "CZK"];
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
    words.find(|word| KNOWN.contains(word)).or_else(|| codes_of_signs(text).next())
}

/// Whether a text says that nothing has to be paid.
pub(crate) fn says_free(text: &str) -> bool {
    ["free", "free of charge", "free admission", "gratis", "kostenlos"].contains(&text.trim().to_lowercase().as_str())
}

/// Makes a decimal point of a decimal comma, and drops separators of thousands.
fn plain_number(number: &str) -> String {
    let decimals = match (number.rfind('.'), number.rfind(',')) {
        (Some(point), Some(comma)) => Some(point.max(comma)),
        (Some(point), None) if number.matches('.').count() == 1 => Some(point),
        (None, Some(comma)) if number.matches(',').count() == 1 && number.len() - comma != 4 => Some(comma),
        _ => None,
    };
    number
        .char_indices()
        .filter_map(|(at, c)| match c {
            '.' | ',' if Some(at) == decimals => Some('.'),
            '.' | ',' => None,
            digit => Some(digit),
        })
        .collect()
}

/// Puts prices together: the lowest and the highest of them.
#[derive(Debug, Default)]
pub(crate) struct Prices {
    pub(crate) pricing: Pricing,
}

impl Prices {
    /// Adds a price, or a range of prices.
    pub(crate) fn add(&mut self, (low, high): (Amount, Amount)) {
        let pricing = &mut self.pricing;
        pricing.min = Some(pricing.min.map_or(low, |min| min.min(low)));
        pricing.max = Some(pricing.max.map_or(high, |max| max.max(high)));
    }

    /// The pricing, where anything is known of it. What costs nothing is free.
    pub(crate) fn finish(self) -> Option<Pricing> {
        let mut pricing = self.pricing;
        if pricing.max == Some(Amount(0)) && pricing.min == Some(Amount(0)) {
            pricing.free = pricing.free.or(Some(true));
        }
        (pricing != Pricing::default()).then_some(pricing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_in_many_spellings() {
        for (word, expected) in [
            ("https://schema.org/EventCancelled", Some(Status::Cancelled)),
            ("EventMovedOnline", Some(Status::MovedOnline)),
            ("schema:EventPostponed", Some(Status::Postponed)),
            ("canceled", Some(Status::Cancelled)),
            ("Moved online", Some(Status::MovedOnline)),
            ("CONFIRMED", Some(Status::Scheduled)),
            ("event", None),
            ("", None),
        ] {
            assert_eq!(status(word), expected, "{word}");
        }
    }

    #[test]
    fn prices_in_many_spellings() {
        for (text, expected) in [
            ("12.50", Some((12_500, 12_500))),
            ("$1,200", Some((1_200_000, 1_200_000))),
            ("12,50 €", Some((12_500, 12_500))),
            ("1.234,50", Some((1_234_500, 1_234_500))),
            ("1,234.5", Some((1_234_500, 1_234_500))),
            ("from 10 EUR", Some((10_000, 10_000))),
            ("-5", Some((-5_000, -5_000))),
            ("10 - 20", Some((10_000, 20_000))),
            ("€8—€12,50", Some((8_000, 12_500))),
            ("7 EUR bis 9 EUR", Some((7_000, 9_000))),
            ("$30 to $25", Some((25_000, 30_000))),
            ("11 / 9 €", Some((9_000, 11_000))),
            ("Tickets: 10 - 20 EUR", Some((10_000, 20_000))),
            ("€10 – 12 EUR", Some((10_000, 12_000))),
            ("10 10", None),
            ("CHF 20 / EUR 18", None),
            ("€20 / $22", None),
            ("€20 / 18 CHF", None),
            ("12 €/3 Tage", None),
            ("$20/2 hours", None),
            ("ages 12-15", None),
            ("2-3 tickets", None),
            ("5 for 2 people", None),
            ("10 - 20 - 30", None),
            ("free", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(prices(text).map(|(low, high)| (low.0, high.0)), expected, "{text}");
        }
    }

    #[test]
    fn prices_name_their_currency() {
        for (text, expected) in [
            ("12,50 EUR", Some("EUR")),
            ("CHF 20", Some("CHF")),
            ("€8–€12", Some("EUR")),
            ("£5", Some("GBP")),
            ("$5", None),
            ("5 USDT", None),
            ("12", None),
        ] {
            assert_eq!(currency(text), expected, "{text}");
        }
    }
}
