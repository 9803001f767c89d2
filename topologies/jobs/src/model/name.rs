//! Names: of jobs, queues, workers and channels.

/// Longest id of a job, in bytes.
pub const LONGEST_ID: usize = 200;

/// Longest name of a queue, a worker or a channel, in bytes.
const LONGEST_NAME: usize = 100;

/// Words that stand in paths of the API where the name of a queue, a job or a schedule may stand.
const RESERVED: [&str; 6] = ["lease", "retry", "cancel", "errors", ".", ".."];

/// Whether `id` may be the id of a job: 1 to [`LONGEST_ID`] letters, digits and `. _ - : @ +`.
///
/// # Errors
/// What is wrong with it.
///
/// ```
/// assert!(jobs::model::check_id("report@2026-12-01T10:00:00Z").is_ok());
/// assert!(jobs::model::check_id("a/b").is_err());
/// ```
pub fn check_id(id: &str) -> Result<(), String> {
    check("id", id, LONGEST_ID, ".:_-@+")
}

/// Whether `queue` may be the name of a queue: 1 to 100 letters, digits and `. _ -`, and no word of the API.
///
/// # Errors
/// What is wrong with it.
pub fn check_queue(queue: &str) -> Result<(), String> {
    check("queue", queue, LONGEST_NAME, "._-")
}

/// Whether `text` may tell of a job what kind of work it is, or its group: 1 to 100 bytes without control characters.
///
/// # Errors
/// What is wrong with it.
pub fn check_label(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > LONGEST_NAME {
        return Err(format!("the {what} has {} bytes; 1 to {LONGEST_NAME} are possible", text.len()));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(_) => Err(format!("the {what} {text:?} has a control character")),
        None => Ok(()),
    }
}

/// Whether `worker` may be the name of a worker: 1 to 100 letters, digits and `. _ - : @`.
///
/// # Errors
/// What is wrong with it.
pub fn check_worker(worker: &str) -> Result<(), String> {
    check("worker", worker, LONGEST_NAME, "._-:@")
}

/// Whether `channel` may be the name of a channel of notifications, such as `user:123`: as of a worker.
///
/// # Errors
/// What is wrong with it.
pub fn check_channel(channel: &str) -> Result<(), String> {
    check("channel", channel, LONGEST_NAME, "._-:@")
}

fn check(what: &str, name: &str, longest: usize, others: &str) -> Result<(), String> {
    if RESERVED.contains(&name) {
        return Err(format!("the {what} {name:?} has the name of a path of the API"));
    }
    if name.is_empty() || name.len() > longest {
        return Err(format!("the {what} {name:?} has {} bytes; 1 to {longest} are possible", name.len()));
    }
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !others.contains(*c)) {
        Some(c) => Err(format!("the {what} {name:?} has {c:?}; letters, digits and {others} are possible")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_paths_and_keys() {
        for good in ["a", "mail.out-2", "A_b"] {
            assert!(check_queue(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", "lease", "..", &"x".repeat(101)] {
            assert!(check_queue(bad).is_err(), "{bad}");
        }
        assert!(check_id("errors").is_err() && check_id("..").is_err() && check_id("...").is_ok());
        assert!(check_label("group", "Tenant 7 ä").is_ok() && check_label("group", "a\u{1b}[2J").is_err());
        assert!(check_channel("user:123").is_ok() && check_worker("host-7:81").is_ok());
        assert!(check_id(&"x".repeat(LONGEST_ID)).is_ok() && check_id(&"x".repeat(LONGEST_ID + 1)).is_err());
    }
}
