//! The table of hours, for views.

use headwater::view::{TableRow, Text, Unread, Versioned, parse, time_cell};
use headwater::{cells, tables};
use jiff::Timestamp;
use serde::Deserialize;

tables! {
    /// Registrations for each event, hour by hour.
    pub static HOURS = "hours", key 1 { id: Text, event: Text, title: Text, hour: Time, registrations: Int }
    index [event, hour]
    search [title]
}

#[derive(Deserialize)]
struct HourValue<'a> {
    format: u64,
    #[serde(borrow)]
    event: Text<'a>,
    title: Option<Text<'a>>,
    hour: Timestamp,
    registrations: i64,
}

impl Versioned for HourValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

pub(crate) fn read<'a>(id: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread> {
    let HourValue { event, title, hour, registrations, .. } = parse(value)?;
    Ok(HOURS.row(cells![id, event, title, time_cell(Some(hour))?, registrations]))
}
