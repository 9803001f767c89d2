//! Places in the code at which a test can end or stop the process, as a crash or a long pause would.
//!
//! They are there in builds with debug assertions, which those for users are not: in a release
//! build [`FailPoint::reach`] is an empty function.
//!
//! The variable [`VARIABLE`] names a point and the hit that counts: `commit.begun:3` ends the
//! process with SIGKILL when it gets to that point for the third time, so that nothing is flushed,
//! unlocked or said farewell to. `commit.begun:3:stop` sends SIGSTOP instead: the process pauses
//! there until somebody sends SIGCONT.

/// The environment variable that arms a point.
pub const VARIABLE: &str = "HEADWATER_FAIL_POINT";

/// Whether this build has fail points.
pub const AVAILABLE: bool = cfg!(all(debug_assertions, unix));

macro_rules! fail_points {
    ($($(#[$documentation:meta])* $point:ident = $name:literal,)*) => {
        /// A named place in the code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FailPoint {
            $($(#[$documentation])* $point,)*
        }

        impl FailPoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

fail_points! {
    /// A transaction is put together, and nothing of it is written.
    CommitPrepared = "commit.prepared",
    /// A transaction has begun on the log.
    CommitBegun = "commit.begun",
    /// One of its records is about to be appended.
    CommitRecord = "commit.record",
    /// Its records are with the client library (Kafka only).
    CommitQueued = "commit.queued",
    /// Its records are on the log, uncommitted.
    CommitAppended = "commit.appended",
    /// The positions are sent along (Kafka only).
    CommitPositions = "commit.positions",
    /// The log has committed, and nobody knows yet.
    CommitWritten = "commit.written",
    /// The sources know.
    CommitFedBack = "commit.fed-back",
    /// Nothing was asked of the log yet.
    RecoveryStart = "recovery.start",
    /// Older instances are fenced.
    RecoveryFenced = "recovery.fenced",
    /// The progress record is read.
    RecoveryProgress = "recovery.progress",
    /// What the output tables hold is read, for comparison.
    RecoveryHeld = "recovery.held",
    /// It is decided how to start.
    RecoveryPlanned = "recovery.planned",
    /// A batch of the state or of the tables is read.
    RecoveryReading = "recovery.reading",
    /// One worker's share of the state is in the dataflow.
    RecoveryRestored = "recovery.restored",
    /// The outputs are compared with the state, and nothing is corrected.
    CorrectionCompared = "correction.compared",
    /// A batch of corrections is about to be written.
    CorrectionBatch = "correction.batch",
    /// A batch of corrections is written.
    CorrectionBatchWritten = "correction.batch-written",
    /// Everything is corrected; the new fingerprint is not recorded.
    CorrectionCorrected = "correction.corrected",
    /// The new fingerprint is recorded.
    CorrectionRecorded = "correction.recorded",
    /// The ends of the outputs are about to be recorded.
    EndsBegun = "ends.begun",
    /// The marker of the last transaction is certainly written.
    EndsSettled = "ends.settled",
    /// The ends are known, and not recorded.
    EndsRead = "ends.read",
    /// The ends are recorded.
    EndsRecorded = "ends.recorded",
    /// A view has opened its store.
    ViewOpened = "view.opened",
    /// A view has claimed its store.
    ViewClaimed = "view.claimed",
    /// A view has emptied its tables, uncommitted.
    ViewEmptied = "view.emptied",
    /// A view has emptied its tables.
    ViewReset = "view.reset",
    /// A view's transaction has begun.
    ViewBegun = "view.begun",
    /// The offsets are moved, and no row is written, uncommitted.
    ViewOffsets = "view.offsets",
    /// The rows of one table are written, uncommitted.
    ViewRows = "view.rows",
    /// Everything is written, uncommitted.
    ViewWritten = "view.written",
    /// A view's transaction is committed, and the view does not know yet.
    ViewCommitted = "view.committed",
}

impl FailPoint {
    /// Says that this point is reached; ends or stops the process where that is asked for.
    #[cfg(all(debug_assertions, unix))]
    pub fn reach(self) {
        armed::reach(self);
    }

    /// Nothing, in this build.
    #[cfg(not(all(debug_assertions, unix)))]
    #[inline(always)]
    pub fn reach(self) {}
}

#[cfg(all(debug_assertions, unix))]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use signal_hook::low_level::raise;

    use super::{FailPoint, VARIABLE};

    /// Numbers of signals that no program can catch, as on every Unix that Rust knows.
    const SIGKILL: i32 = 9;
    #[cfg(target_os = "linux")]
    const SIGSTOP: i32 = 19;
    #[cfg(not(target_os = "linux"))]
    const SIGSTOP: i32 = 17;

    struct Armed {
        point: FailPoint,
        /// How often it is still to be reached.
        left: AtomicU64,
        signal: i32,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())?;
        let armed = parse(&text);
        if armed.is_none() {
            // A test that arms nothing would prove nothing.
            eprintln!("{VARIABLE}: {text:?} is no fail point; give NAME:HIT or NAME:HIT:stop");
            std::process::exit(2);
        }
        armed
    });

    fn parse(text: &str) -> Option<Armed> {
        let mut parts = text.split(':');
        let name = parts.next()?;
        let point = FailPoint::ALL.iter().copied().find(|point| point.name() == name)?;
        let left = AtomicU64::new(parts.next()?.parse().ok().filter(|hit| *hit > 0)?);
        let signal = match parts.next() {
            None => SIGKILL,
            Some("stop") => SIGSTOP,
            Some(_) => return None,
        };
        Some(Armed { point, left, signal })
    }

    pub(super) fn reach(point: FailPoint) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == point) else { return };
        // Below zero it wraps around, and is not one again.
        if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = raise(armed.signal);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_is_armed_by_its_name_and_hit() {
            let armed = parse("commit.begun:3").unwrap();
            assert_eq!((armed.point, armed.signal), (FailPoint::CommitBegun, SIGKILL));
            assert_eq!(armed.left.into_inner(), 3);
            assert_eq!(parse("view.rows:1:stop").unwrap().signal, SIGSTOP);
            for wrong in ["commit.begun", "commit.begun:0", "commit.began:1", "commit.begun:1:pause", ""] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
