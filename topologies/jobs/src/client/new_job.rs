//! What is submitted.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::ClientError;
use crate::model::OnParentFailure;
use headwater::config::Period;

/// A job to submit, without its queue. What is not said is as the configuration of the engine has it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewJob {
    /// Its id. A second submit with the same id is nothing; without one, the server draws one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What the worker is to do: any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// What kind of work it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Groups of a queue take turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Higher goes first, from -1000 to 1000; 0 for most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// It may be leased so long after it was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Period>,
    /// It may be leased from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// It is dead when no worker has begun so long after it could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_within: Option<Period>,
    /// An attempt fails when it takes longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_within: Option<Period>,
    /// A lease ends when nothing is heard for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_within: Option<Period>,
    /// The most attempts, 1 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The pause after the first attempt; then twice as long each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Period>,
    /// The longest pause between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<Period>,
    /// Jobs that have to be settled before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// What becomes of it when a parent is dead or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_parent_failure: Option<OnParentFailure>,
    /// It stays so long after it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Period>,
    /// Channels that are told when it is settled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
}

/// A new id of a job: 16 random bytes in hexadecimal.
///
/// # Errors
/// When the system gives no random numbers.
pub fn random_id() -> Result<String, ClientError> {
    random_hex::<16>()
}

/// `N` random bytes in hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> Result<String, ClientError> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Prepare(format!("no random numbers: {error}")))?;
    Ok(const_hex::Buffer::<N>::new().format(&bytes).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Submit;

    #[test]
    fn what_is_written_is_what_the_model_reads() {
        let job = NewJob {
            id: Some("a".to_owned()),
            payload: Some(RawValue::from_string("{\"n\":12345678901234567890}".to_owned()).unwrap()),
            priority: Some(-3),
            delay: Some(Period::from_secs(90)),
            attempts: Some(4),
            keep: Some(Period::from_millis(1_500)),
            on_parent_failure: Some(OnParentFailure::Run),
            parents: vec!["b".to_owned()],
            ..NewJob::default()
        };
        let mut document: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        document.insert("queue".to_owned(), "q".into());
        let read: Submit = serde_json::from_value(document.into()).unwrap();
        assert_eq!((read.id.as_deref(), read.priority, read.attempts), (Some("a"), -3, Some(4)));
        assert_eq!((read.delay, read.keep), (job.delay, job.keep));
        assert_eq!((read.parents, read.on_parent_failure), (job.parents, OnParentFailure::Run));
        assert_eq!(serde_json::to_string(&NewJob::default()).unwrap(), "{}");
    }

    #[test]
    fn ids_are_drawn_and_may_be_ids() {
        let (a, b) = (random_id().unwrap(), random_id().unwrap());
        assert!(a != b && a.len() == 32 && crate::model::check_id(&a).is_ok());
    }
}
