//! The table of metrics.

use headwater::view::{TableRow, Text, Unread, Versioned, parse, time_cell};
use headwater::{cells, tables};
use jiff::Timestamp;
use serde::Deserialize;

tables! {
    /// Metrics by window, source and category.
    pub static WINDOW_METRICS = "window_metrics", key 1 {
        key: Text, window_start: Time, window_end: Time, source: Text, category: Text,
        seen: Int, discovered: Int, updated: Int, unchanged: Int, withdrawn: Int, dead: Int, late: Int,
        closed: Bool, duplicates: Int, rejected: Int, mean_score: Real, open_events: Int,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue<'a> {
    format: u64,
    window_start: Timestamp,
    window_end: Timestamp,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    category: Option<Text<'a>>,
    #[serde(default)]
    seen: i64,
    #[serde(default)]
    discovered: i64,
    #[serde(default)]
    updated: i64,
    #[serde(default)]
    unchanged: i64,
    #[serde(default)]
    withdrawn: i64,
    #[serde(default)]
    dead: i64,
    #[serde(default)]
    late: i64,
    #[serde(default)]
    closed: bool,
    duplicates: Option<i64>,
    rejected: Option<i64>,
    mean_score: Option<f64>,
    open_events: Option<i64>,
}

impl Versioned for MetricValue<'_> {
    fn format(&self) -> u64 {
        self.format
    }
}

pub(super) fn read<'a>(key: &'a str, text: &'a str) -> Result<TableRow<'a>, Unread> {
    let metric: MetricValue<'a> = parse(text)?;
    Ok(WINDOW_METRICS.row(cells![
        key,
        time_cell(Some(metric.window_start))?,
        time_cell(Some(metric.window_end))?,
        metric.source,
        metric.category,
        metric.seen,
        metric.discovered,
        metric.updated,
        metric.unchanged,
        metric.withdrawn,
        metric.dead,
        metric.late,
        metric.closed,
        metric.duplicates,
        metric.rejected,
        metric.mean_score,
        metric.open_events,
    ]))
}

#[cfg(test)]
mod tests {
    use headwater::view::Cell;

    use super::super::tests::cell;
    use super::*;

    const METRIC: &str = r#"{"format":1,"windowStart":"2026-01-01T00:00:00Z","windowEnd":"2026-01-01T00:01:00Z",
        "source":"s","category":"music","seen":3,"closed":true,"duplicates":1,"meanScore":0.5}"#;

    #[test]
    fn a_window_is_a_row() {
        let row = read("m", METRIC).unwrap();
        assert_eq!((cell(&row, "seen"), cell(&row, "late")), (&Cell::Int(3), &Cell::Int(0)));
        assert_eq!((cell(&row, "mean_score"), cell(&row, "open_events")), (&Cell::Real(0.5), &Cell::Null));
    }
}
