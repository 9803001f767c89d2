//! Which timestamps of records to believe.
//!
//! What users see as time is the record's timestamp, and the watermark follows it. One record from
//! the year 9999 would close every window for good, and one without a timestamp (Kafka's -1) would
//! be of 1969. A timestamp that cannot be one therefore counts as that of the record's arrival,
//! which is its epoch.

use std::time::Duration;

use headwater_flow::Epoch;

/// 9999-01-01T00:00:00Z in milliseconds: near the end of the times that can be written, with room
/// for what is added to them.
const LAST_MS: i64 = 253_370_764_800_000;

/// How far timestamps are believed.
#[derive(Debug, Clone, Copy)]
pub struct Timestamps {
    max_lead_ms: i64,
}

impl Timestamps {
    /// Those up to `max_lead` ahead of the epoch in which they are read; `None` for all that can be
    /// written.
    pub fn new(max_lead: Option<Duration>) -> Self {
        let max_lead_ms = max_lead.and_then(|lead| i64::try_from(lead.as_millis()).ok());
        Self { max_lead_ms: max_lead_ms.unwrap_or(i64::MAX) }
    }

    /// The time of a record with this timestamp that was read in `epoch`.
    pub fn believed(&self, timestamp_ms: i64, epoch: Epoch) -> i64 {
        let arrival = i64::try_from(epoch).unwrap_or(LAST_MS).min(LAST_MS);
        let latest = arrival.saturating_add(self.max_lead_ms).min(LAST_MS);
        if (0..=latest).contains(&timestamp_ms) { timestamp_ms } else { arrival }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_timestamp_counts_as_the_arrival() {
        let day = Timestamps::new(Some(Duration::from_secs(86_400)));
        let now = 1_774_483_200_000;
        for good in [0, 1, now, now + 86_400_000] {
            assert_eq!(day.believed(good, now as u64), good);
        }
        for bad in [-1, i64::MIN, now + 86_400_001, 3_093_527_980_799_000, i64::MAX] {
            assert_eq!(day.believed(bad, now as u64), now, "{bad}");
        }
    }

    #[test]
    fn without_a_bound_all_that_can_be_written_is_believed() {
        let any = Timestamps::new(None);
        assert_eq!(any.believed(LAST_MS, 1_000), LAST_MS);
        assert_eq!(any.believed(LAST_MS + 1, 1_000), 1_000);
        assert_eq!(any.believed(i64::MAX, u64::MAX), LAST_MS);
    }
}
