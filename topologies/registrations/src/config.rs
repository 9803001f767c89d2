//! The topology's own sections of the configuration, and how a record is read by them.

use headwater::config::{Invalid, Lifetime, Period, Runtime, Section, TopicRole};
use headwater::log::{LONGEST_TOPIC, is_legal_topic};
use headwater::schema::roles;
use headwater_flow::json::{Pointer, check_id, in_range};
use headwater_flow::{DeadLetterCode, LogPosition, Positioned, RawRecord, Unusable, cloud_event};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Registration, Registrations};

/// The topology's own keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Full name of discovery's topic of events.
    pub events: String,
    /// How long registrations count.
    pub retention: Retention,
    /// Where a record says what.
    pub mapping: Mapping,
}

impl Default for Settings {
    fn default() -> Self {
        Self { events: "headwater.events".to_owned(), retention: Retention::default(), mapping: Mapping::default() }
    }
}

/// `[retention]`: how long registrations count.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// An hour leaves this long after its beginning, with its registrations: `"400 days"`, or `"forever"`.
    pub keep: Lifetime,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep: Lifetime::For(Period::from_days(400)) }
    }
}

/// `[mapping]`: where a record says what, as JSON Pointers into its JSON or, where it is a CloudEvent, into its
/// data.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// The registration's id. Where nothing is there, it is the record's key.
    pub registration: Pointer,
    /// The id of discovery's event.
    pub event: Pointer,
    /// When it was made. Where nothing is there, it is the time of the CloudEvent, or else the record's timestamp.
    pub time: Pointer,
    /// Whether it is registered or cancelled. Where nothing is there, it is registered.
    pub status: Pointer,
    /// What `status` says of a registration that counts.
    pub registered: Vec<String>,
    /// What `status` says of one that counts no more.
    pub cancelled: Vec<String>,
    /// How much later than its record a registration may say that it was made: `"1 day"`, or `"forever"`. One that
    /// lies further ahead is a mistake, and its hour would stay for as long.
    pub max_time_lead: Lifetime,
}

impl Default for Mapping {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            registration: Pointer::to("id"),
            event: Pointer::to("event"),
            time: Pointer::to("time"),
            status: Pointer::to("status"),
            registered: words(&["registered", "confirmed"]),
            cancelled: words(&["cancelled", "canceled"]),
            max_time_lead: Lifetime::For(Period::from_days(1)),
        }
    }
}

impl Section for Settings {
    const NAME: &'static str = "registrations";
    const PREFIX: &'static str = "registrations.";
    const INPUT: &'static str = "raw.registrations";
    const ADMIN: &'static str = "127.0.0.1:8082";

    fn topics(&self) -> Vec<TopicRole> {
        roles(|schema| drop(Registrations::of(self, schema)))
    }

    fn validate(&self, _runtime: &Runtime) -> Vec<Invalid> {
        let mut found = Vec::new();
        if !is_legal_topic(&self.events) || self.events.is_empty() || self.events.len() > LONGEST_TOPIC {
            found.push(Invalid::new("events", "must be the full name of a topic, such as \"headwater.events\""));
        }
        if let Some(both) = self.mapping.registered.iter().find(|word| self.mapping.cancelled.contains(word)) {
            found.push(Invalid::new("mapping.cancelled", format!("{both:?} is among `registered` too")));
        }
        found
    }
}

impl Mapping {
    /// What a record says, and of which registration.
    ///
    /// # Errors
    /// What cannot be read, or lacks an id or an event.
    pub fn read(&self, record: &RawRecord) -> Result<(String, Positioned<Registration>), Unusable> {
        let (id, value) = match record.value {
            None => (of_key(record)?, withdrawn(record)?),
            Some(_) => self.read_value(record)?,
        };
        Ok((id, Positioned { position: LogPosition::of(&record.origin), value }))
    }

    fn read_value(&self, record: &RawRecord) -> Result<(String, Registration), Unusable> {
        let opened = cloud_event::open(record)?;
        let id = self.registration.id(&opened.data)?.map_or_else(|| of_key(record), Ok)?;
        let time = match self.time.time(&opened.data)?.or(opened.time) {
            Some(time) => time,
            None => timestamp(record)?,
        };
        self.check_lead(time, record.origin.timestamp_ms)?;
        if self.is_cancelled(&opened.data)? {
            return Ok((id, Registration { event: None, time }));
        }
        let missing =
            || Unusable::new(DeadLetterCode::MISSING_FIELD, format!("no event at {:?}", self.event.to_string()));
        let event = self.event.id(&opened.data)?.ok_or_else(missing)?;
        Ok((id, Registration { event: Some(event), time }))
    }

    /// A time far ahead of its record's timestamp is none at which a registration was made.
    fn check_lead(&self, time: Timestamp, record_ms: i64) -> Result<(), Unusable> {
        let Some(most) = self.max_time_lead.as_millis_i64() else { return Ok(()) };
        if time.as_millisecond().saturating_sub(record_ms) <= most {
            return Ok(());
        }
        let reason = format!(
            "the time {time} lies more than mapping.max_time_lead, {}, after the timestamp of the record",
            self.max_time_lead
        );
        Err(Unusable::new(DeadLetterCode::INVALID_FIELD, reason))
    }

    fn is_cancelled(&self, data: &serde_json::Value) -> Result<bool, Unusable> {
        let Some(status) = self.status.text(data)? else { return Ok(false) };
        let says = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case(&status));
        if says(&self.cancelled) || says(&self.registered) {
            return Ok(says(&self.cancelled));
        }
        let reason = format!("the status {status:?} is neither in mapping.registered nor in mapping.cancelled");
        Err(Unusable::new(DeadLetterCode::INVALID_FIELD, reason))
    }
}

/// A record without a value withdraws the registration that its key names.
fn withdrawn(record: &RawRecord) -> Result<Registration, Unusable> {
    Ok(Registration { event: None, time: timestamp(record)? })
}

fn timestamp(record: &RawRecord) -> Result<Timestamp, Unusable> {
    let time = Timestamp::from_millisecond(record.origin.timestamp_ms).map_err(|error| error.to_string());
    time.and_then(in_range)
        .map_err(|wrong| Unusable::new(DeadLetterCode::INVALID_FIELD, format!("its timestamp: {wrong}")))
}

/// The registration that the key of a record names.
fn of_key(record: &RawRecord) -> Result<String, Unusable> {
    let missing =
        || Unusable::new(DeadLetterCode::MISSING_FIELD, "neither the record nor its key names a registration");
    let key = record.key.as_deref().ok_or_else(missing)?;
    let invalid = |error| Unusable::new(DeadLetterCode::INVALID_FIELD, format!("its key: {error}"));
    let id = std::str::from_utf8(key).map_err(invalid)?.trim();
    check_id(id).map(|()| id.to_owned())
}
