//! Words and prices that mean the same in every format.

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

/// An amount of money in a text such as `12.50`, `$1,200`, `12,50 €` or `from 10 EUR`. `None`
/// where there is no number or more than one.
pub(crate) fn price(text: &str) -> Option<Amount> {
    if text.len() > 64 {
        return None;
    }
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
    let mut numbers = text.split(|c| !is_part(c)).filter(|run| run.contains(|c: char| c.is_ascii_digit()));
    let number = numbers.next()?.trim_matches(['.', ',']);
    if numbers.next().is_some() {
        return None;
    }
    let negative = text.trim_start().starts_with('-');
    let value: f64 = plain_number(number).parse().ok()?;
    Some(Amount::from(if negative { -value } else { value }))
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
    pub(crate) fn add(&mut self, amount: Amount) {
        let pricing = &mut self.pricing;
        pricing.min = Some(pricing.min.map_or(amount, |min| min.min(amount)));
        pricing.max = Some(pricing.max.map_or(amount, |max| max.max(amount)));
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
            ("12.50", Some(12_500)),
            ("$1,200", Some(1_200_000)),
            ("12,50 €", Some(12_500)),
            ("1.234,50", Some(1_234_500)),
            ("1,234.5", Some(1_234_500)),
            ("from 10 EUR", Some(10_000)),
            ("-5", Some(-5_000)),
            ("10 - 20", None),
            ("free", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(price(text).map(|amount| amount.0), expected, "{text}");
        }
    }
}
