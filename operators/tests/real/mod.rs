//! Feeds that nobody in this project wrote, for tests that run where there are any.

use std::path::{Path, PathBuf};

use headwater_operators::extract::{ExtractConfig, SourceConfig};
use headwater_operators::raw::{Origin, RawRecord};

/// 2026-03-26T12:00:00Z: about when the calendars were gathered.
pub const GATHERED_MS: i64 = 1_774_526_400_000;

/// Towns elsewhere than on the Pacific coast of the United States, and their zones.
const ZONES: [(&str, &str); 2] = [("lancaster", "America/New_York"), ("montclair", "America/New_York")];

/// The folder with the feeds, if there is one: that which `HEADWATER_DATA` names, or else
/// `../shared/data` beside the workspace.
pub fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("HEADWATER_DATA").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: there are no feeds in {}", folder.display());
        return None;
    }
    Some(folder)
}

/// The lists of conferences.
pub fn feeds() -> ExtractConfig {
    toml::from_str(include_str!("../../../config/feeds.toml")).unwrap()
}

/// The folders with the calendars of each town, by name.
pub fn towns(data: &Path) -> Vec<PathBuf> {
    let mut towns: Vec<PathBuf> =
        std::fs::read_dir(data.join("calendars")).unwrap().map(|town| town.unwrap().path()).collect();
    towns.sort();
    towns
}

/// How to read the calendars of a town.
pub fn calendars_of(town: &str) -> ExtractConfig {
    let zone = ZONES.iter().find(|(name, _)| *name == town).map_or("America/Los_Angeles", |(_, zone)| zone);
    let defaults = SourceConfig { timezone: Some(zone.to_owned()), ..SourceConfig::default() };
    ExtractConfig { defaults, ..ExtractConfig::default() }
}

pub fn record(source: &str, content_type: &str, key: &str, value: Vec<u8>) -> RawRecord {
    RawRecord {
        origin: Origin {
            topic: "raw.feeds".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: GATHERED_MS,
            order_ms: GATHERED_MS,
        },
        source: Some(source.into()),
        content_type: Some(content_type.into()),
        key: Some(key.into()),
        value: Some(value),
        headers: Vec::new(),
    }
}
