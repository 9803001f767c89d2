//! Names of commits: which history a record belongs to, and which transaction of it wrote the record.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::log::{Headers, LogRecord};

/// Header of every output record: the [`CommitId`] of the transaction that wrote it. Records of former releases
/// have none.
pub const COMMIT: &str = "commit";

/// Which history commits belong to. It is drawn when a topology commits for the first time, and recorded with its
/// progress. Commits of two lineages cannot be compared: one of the logs was made anew.
///
/// The lineage of a topology that has not committed yet is [`Lineage::default`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lineage(u32);

impl Lineage {
    /// One that no other topology has, as far as 32 random bits go.
    pub fn draw() -> Self {
        Self(((RandomState::new().hash_one(std::process::id()) >> 32) as u32).max(1))
    }

    /// As a number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The lineage of this [number](Self::number).
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for Lineage {
    type Err = NoCommitId;

    fn from_str(text: &str) -> Result<Self, NoCommitId> {
        let legal = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = legal.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(NoCommitId)
    }
}

impl From<Lineage> for String {
    fn from(lineage: Lineage) -> Self {
        lineage.to_string()
    }
}

impl TryFrom<String> for Lineage {
    type Error = NoCommitId;

    fn try_from(text: String) -> Result<Self, NoCommitId> {
        text.parse()
    }
}

/// A commit of a lineage, written as `5f3a09c1-4711`: the lineage as eight hexadecimal digits, the number of the
/// commit in decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitId {
    /// The lineage.
    pub lineage: Lineage,
    /// Transactions of the lineage are numbered from 1, without gaps.
    pub number: u64,
}

impl CommitId {
    /// Its longest form in bytes.
    pub const LONGEST: usize = 8 + 1 + 20;

    /// The commit that wrote `record`, as its last header of this name says.
    pub fn of(record: &LogRecord) -> Option<Self> {
        Self::of_header(record.header(COMMIT)?)
    }

    fn of_header(value: &[u8]) -> Option<Self> {
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    /// Removes the header that the engine has added. A record may have one of its own under this name.
    pub fn remove_from(headers: &mut Headers) {
        let last = headers.iter().rposition(|(name, _)| name == COMMIT);
        if let Some(at) = last.filter(|at| Self::of_header(&headers[*at].1).is_some()) {
            headers.remove(at);
        }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.lineage, self.number)
    }
}

/// A text is no lineage, or no commit of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a commit is eight hexadecimal digits, a hyphen and a number, such as 5f3a09c1-4711")]
pub struct NoCommitId;

impl FromStr for CommitId {
    type Err = NoCommitId;

    fn from_str(text: &str) -> Result<Self, NoCommitId> {
        let (lineage, number) = text.split_once('-').ok_or(NoCommitId)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoCommitId);
        }
        Ok(Self { lineage: lineage.parse()?, number: number.parse().map_err(|_| NoCommitId)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_read_back() {
        let commit = CommitId { lineage: Lineage(0x5f), number: u64::MAX };
        assert_eq!(commit.to_string().parse(), Ok(commit));
        assert_eq!(commit.to_string().len(), CommitId::LONGEST);
        let wrong = ["", "-", "5f3a09c1", "5f3a09c1-", "5f3a09c-1", "5f3a09c1--1", "+f3a09c1-1", "5F3A09C1-1"];
        for text in wrong.into_iter().chain(["5f3a09c1-99999999999999999999"]) {
            assert_eq!(text.parse::<CommitId>(), Err(NoCommitId), "{text}");
        }
    }

    #[test]
    fn only_what_the_engine_added_is_removed() {
        let header = |value: &str| (COMMIT.to_owned(), value.as_bytes().to_vec());
        let own = || header("0123abc");
        let mut headers = vec![own(), header("5f3a09c1-7")];
        CommitId::remove_from(&mut headers);
        assert_eq!(headers, [own()]);
        CommitId::remove_from(&mut headers);
        assert_eq!(headers, [own()], "a former release has added none");
    }
}
