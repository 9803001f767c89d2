//! Positions: which state of which log an answer shows.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

/// Which history commits belong to. Commits of two lineages cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lineage(u32);

impl Lineage {
    /// The lineage of what is called `name`.
    pub fn named(name: &str) -> Self {
        Self((xxh3_64(name.as_bytes()) & u64::from(u32::MAX)) as u32)
    }
}

/// A commit of a lineage, written as `5f3a09c1-1780000000000`: the lineage as eight hexadecimal digits, the
/// number of the commit in decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The lineage.
    pub lineage: Lineage,
    /// The number of the commit. It only grows.
    pub commit: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.lineage.0, self.commit)
    }
}

/// A text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is eight hexadecimal digits, a hyphen and the number of a commit, such as 5f3a09c1-1780000000000")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (lineage, commit) = text.split_once('-').ok_or(NoPosition)?;
        let digits = |text: &str, legal: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| legal(&byte));
        if lineage.len() != 8 || !digits(lineage, u8::is_ascii_hexdigit) || !digits(commit, u8::is_ascii_digit) {
            return Err(NoPosition);
        }
        let lineage = u32::from_str_radix(lineage, 16).map_err(|_| NoPosition)?;
        Ok(Self { lineage: Lineage(lineage), commit: commit.parse().map_err(|_| NoPosition)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back() {
        let position = Position { lineage: Lineage::named("a"), commit: 17 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in [
            "",
            "-",
            "5f3a09c1",
            "5f3a09c1-",
            "5f3a09c-1",
            "5f3a09c1--1",
            "+f3a09c1-1",
            "5f3a09c1-99999999999999999999",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
    }
}
