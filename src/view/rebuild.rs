//! Whether a view can go on from its offsets, or has to make its tables anew.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::store::Stored;
use crate::log::{TopicPartition, Watermarks};

/// Why the tables are made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rebuild {
    New,
    Foreign(TopicPartition),
    Beyond { partition: TopicPartition, next: i64, high: i64 },
    Gone { partition: TopicPartition, next: i64, low: i64 },
    Away { partition: TopicPartition, age: Duration },
}

impl fmt::Display for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "nothing was read yet"),
            Self::Foreign(at) => write!(f, "the tables reflect {}/{}, which is not there", at.topic, at.partition),
            Self::Beyond { partition: at, next, high } => {
                write!(f, "{}/{} ends at {high}, before offset {next}: it was recreated", at.topic, at.partition)
            }
            Self::Gone { partition: at, next, low } => {
                write!(f, "{}/{} begins at {low}, after offset {next}: records are gone", at.topic, at.partition)
            }
            Self::Away { partition: at, age } => write!(
                f,
                "the view was away from {}/{} for {} s: it may have missed tombstones",
                at.topic,
                at.partition,
                age.as_secs()
            ),
        }
    }
}

/// Whether what the store holds can be continued with what the log holds.
pub(super) fn why_rebuild(
    stored: &BTreeMap<TopicPartition, Stored>,
    marks: &BTreeMap<TopicPartition, Watermarks>,
    rebuild_after: Duration,
) -> Option<Rebuild> {
    if stored.is_empty() {
        return Some(Rebuild::New);
    }
    stored.iter().find_map(|(partition, &Stored { next, age })| {
        let Some(&Watermarks { low, high }) = marks.get(partition) else {
            return Some(Rebuild::Foreign(partition.clone()));
        };
        let partition = partition.clone();
        if next > high {
            return Some(Rebuild::Beyond { partition, next, high });
        }
        if next < low {
            return Some(Rebuild::Gone { partition, next, low });
        }
        // Where nothing is unread, no tombstone can have been missed.
        (age > rebuild_after && next < high).then_some(Rebuild::Away { partition, age })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn stored(next: i64, age: Duration) -> BTreeMap<TopicPartition, Stored> {
        BTreeMap::from([(at(0), Stored { next, age })])
    }

    fn marks(low: i64, high: i64) -> BTreeMap<TopicPartition, Watermarks> {
        BTreeMap::from([(at(0), Watermarks { low, high }), (at(1), Watermarks { low: 0, high: 9 })])
    }

    #[test]
    fn a_view_resumes_only_where_it_cannot_have_missed_anything() {
        let soon = Duration::from_secs(5);
        assert_eq!(why_rebuild(&stored(7, soon), &marks(7, 7), DAY), None);
        assert_eq!(why_rebuild(&stored(7, soon), &marks(0, 9), DAY), None);
        assert_eq!(why_rebuild(&BTreeMap::new(), &marks(0, 9), DAY), Some(Rebuild::New));
        let gone = Rebuild::Gone { partition: at(0), next: 7, low: 8 };
        assert_eq!(why_rebuild(&stored(7, soon), &marks(8, 9), DAY), Some(gone));
        let beyond = Rebuild::Beyond { partition: at(0), next: 7, high: 6 };
        assert_eq!(why_rebuild(&stored(7, soon), &marks(0, 6), DAY), Some(beyond));
        assert_eq!(why_rebuild(&stored(7, soon), &BTreeMap::new(), DAY), Some(Rebuild::Foreign(at(0))));
    }

    #[test]
    fn being_away_matters_only_where_something_is_unread() {
        let away = Rebuild::Away { partition: at(0), age: DAY * 2 };
        assert_eq!(why_rebuild(&stored(7, DAY * 2), &marks(0, 9), DAY), Some(away));
        assert_eq!(why_rebuild(&stored(7, DAY * 2), &marks(0, 7), DAY), None);
    }
}
