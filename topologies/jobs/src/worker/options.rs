//! How a worker works.

use crate::client::ClientError;
use crate::client::random_hex;
use crate::model::{check_queue, check_worker};

/// So many bytes of the name of the machine stand in the name of a worker.
const LONGEST_HOST: usize = 60;

/// So many jobs a worker runs at once at most: each has a thread, and one request names them all.
pub const MOST_SLOTS: u32 = 1_000;

/// How a worker works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Its name: one of its own for each process, also after a restart.
    pub name: String,
    /// The queues that it takes jobs of: one or more.
    pub queues: Vec<String>,
    /// How many jobs it runs at once at most: 1 to [`MOST_SLOTS`].
    pub slots: u32,
    /// How many seconds the server may wait with an answer, up to 30.
    pub wait: u32,
}

impl WorkerOptions {
    /// Takes one job at a time of these queues, under a name that is made up.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn of_queues<S: Into<String>>(queues: impl IntoIterator<Item = S>) -> Result<Self, ClientError> {
        let queues = queues.into_iter().map(Into::into).collect();
        Ok(Self { name: worker_name()?, queues, slots: 1, wait: 20 })
    }

    /// Whether a worker can work so.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        check_worker(&self.name)?;
        if self.queues.is_empty() {
            return Err("a worker needs a queue".to_owned());
        }
        self.queues.iter().try_for_each(|queue| check_queue(queue))?;
        if !(1..=MOST_SLOTS).contains(&self.slots) {
            return Err(format!("a worker has 1 to {MOST_SLOTS} slots, not {}", self.slots));
        }
        if self.wait > 30 {
            return Err(format!("the server waits up to 30 seconds, not {}", self.wait));
        }
        Ok(())
    }
}

/// A name of a worker of this process: machine, process and chance.
///
/// # Errors
/// When the system gives no random numbers.
pub fn worker_name() -> Result<String, ClientError> {
    let host: String = host().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let host = &host[..host.len().min(LONGEST_HOST)];
    let host = if host.is_empty() { "worker" } else { host };
    Ok(format!("{host}-{}-{}", std::process::id(), random_hex::<4>()?))
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_new_each_time_and_may_be_names() {
        let (a, b) = (worker_name().unwrap(), worker_name().unwrap());
        assert!(a != b && check_worker(&a).is_ok(), "{a}");
        assert!(a.contains(&format!("-{}-", std::process::id())));
    }

    #[test]
    fn what_cannot_work_is_told() {
        let good = WorkerOptions::of_queues(["a"]).unwrap();
        assert!(good.check().is_ok());
        for bad in [
            WorkerOptions { queues: Vec::new(), ..good.clone() },
            WorkerOptions { queues: vec!["a b".to_owned()], ..good.clone() },
            WorkerOptions { slots: 0, ..good.clone() },
            WorkerOptions { slots: MOST_SLOTS + 1, ..good.clone() },
            WorkerOptions { wait: 31, ..good.clone() },
            WorkerOptions { name: String::new(), ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
