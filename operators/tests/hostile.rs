//! The fuzz targets of this crate without a fuzzer, see `fuzz/`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../fuzz/src/drive.rs"]
mod drive;
#[path = "../../fuzz/src/parsers.rs"]
mod parsers;

use drive::drive;

#[test]
fn calendars() {
    drive("icalendar", parsers::icalendar);
}

#[test]
fn json_ld() {
    drive("jsonld", parsers::jsonld);
}

#[test]
fn mapped_json() {
    drive("mapped", parsers::mapped);
}

#[test]
fn recurrence_rules() {
    drive("recurrence", parsers::recurrence);
}

#[test]
fn dates_in_texts() {
    drive("text_dates", parsers::text_dates);
}

#[test]
fn bytes_in_any_encoding() {
    drive("charsets", parsers::charsets);
}

#[test]
fn what_is_around_the_value() {
    drive("envelope", parsers::envelope);
}

#[test]
fn texts_with_markup() {
    drive("sanitize", parsers::sanitize);
}
