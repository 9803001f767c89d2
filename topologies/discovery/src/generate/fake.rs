//! A log in memory, for tests: it takes what is produced and gives nothing back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater::log::{
    Log, LogError, NewRecord, Producer, Reader, Start, TopicInfo, TopicPartition, TopicSpec, Transactional, Watermarks,
};

#[derive(Default)]
pub(super) struct FakeLog {
    pub records: Arc<Mutex<Vec<NewRecord>>>,
    /// Sending fails once so many records have been taken.
    pub limit: Option<usize>,
}

struct FakeProducer {
    records: Arc<Mutex<Vec<NewRecord>>>,
    limit: usize,
}

fn unsupported<T>() -> Result<T, LogError> {
    Err(LogError::Failed { doing: "reading", reason: "not in this log".to_owned() })
}

impl Producer for FakeProducer {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        let mut records = self.records.lock().unwrap();
        if records.len() >= self.limit {
            return Err(LogError::Failed { doing: "sending", reason: "full".to_owned() });
        }
        records.push(record);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}

impl Log for FakeLog {
    fn describe(&self) -> String {
        "fake://".to_owned()
    }

    fn check(&self, _: Duration) -> Result<(), LogError> {
        Ok(())
    }

    fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    fn topics(&self, _: &str) -> Result<Vec<TopicInfo>, LogError> {
        unsupported()
    }

    fn watermarks(&self, _: &str) -> Result<Option<Vec<Watermarks>>, LogError> {
        unsupported()
    }

    fn reader(&self, _: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        unsupported()
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(FakeProducer { records: self.records.clone(), limit: self.limit.unwrap_or(usize::MAX) }))
    }

    fn transactional(&self, _: &str, _: &str) -> Result<Box<dyn Transactional>, LogError> {
        unsupported()
    }
}
