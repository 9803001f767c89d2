//! What the console shows of events now and then.

use headwater::log::LogRecord;
use serde_json::Value;

/// An event of several sources, in two lines.
pub fn merged_event(record: &LogRecord) -> Option<String> {
    let event: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let listings = event["listings"].as_array()?;
    let mut sources: Vec<&str> = listings.iter().filter_map(|listing| listing["source"].as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    if sources.len() < 2 {
        return None;
    }
    let place: Vec<&str> = ["name", "city"].iter().filter_map(|field| event["venue"][field].as_str()).collect();
    Some(format!(
        "  ◆ {} · {} · {}\n    {} listings of {} are one event, grade {}",
        event["title"].as_str()?,
        event["startTime"].as_str()?,
        if place.is_empty() { "place unknown".to_owned() } else { place.join(", ") },
        listings.len(),
        sources.join(", "),
        event["qualityGrade"].as_str().unwrap_or("?"),
    ))
}
