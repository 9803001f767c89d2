//! Where a worker gets jobs from.

use crate::client::{Ask, Client, ClientError, Given, HeartbeatAnswer, Held, Report, Taken};

/// Where a worker gets jobs from, and reports to: the API, or in tests something that does as it does.
pub trait Exchange: Send + Sync + 'static {
    /// Asks for jobs. It may wait as long as `ask` says.
    ///
    /// # Errors
    /// When there is no answer.
    fn lease(&self, ask: &Ask) -> Result<Given, ClientError>;

    /// Tells that the worker is at a job.
    ///
    /// # Errors
    /// When there is no answer.
    fn heartbeat(&self, held: &Held) -> Result<HeartbeatAnswer, ClientError>;

    /// Tells how a lease ended.
    ///
    /// # Errors
    /// When it was not taken for another reason than that the lease had ended before.
    fn report(&self, id: &str, lease: u32, report: &Report) -> Result<Taken, ClientError>;
}

impl Exchange for Client {
    fn lease(&self, ask: &Ask) -> Result<Given, ClientError> {
        Client::lease(self, ask)
    }

    fn heartbeat(&self, held: &Held) -> Result<HeartbeatAnswer, ClientError> {
        Client::heartbeat(self, &held.id, held.lease, held.progress, held.message.as_deref())
    }

    fn report(&self, id: &str, lease: u32, report: &Report) -> Result<Taken, ClientError> {
        Client::report(self, id, lease, report)
    }
}
