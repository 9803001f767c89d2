//! Frames: what is sent, in the form of server-sent events (HTML standard, 9.2).

use headwater::dataflow::CommitId;

use crate::history::{EventChange, Seen};
use crate::projection::project;

use super::subject::Subject;

/// Appends an event named `name`; a text of several lines would end it early, so it is put in one.
pub(super) fn event(out: &mut String, name: &str, data: &str, id: Option<CommitId>) {
    if let Some(id) = id {
        out.push_str(&format!("id: {id}\n"));
    }
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
    // In JSON a line can only end between values.
    out.extend(data.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    out.push_str("\n\n");
}

/// A position without data: it becomes the client's last event id, and nothing is told to the page.
pub(super) fn heartbeat(position: CommitId) -> String {
    format!("id: {position}\n\n")
}

/// The document of an event as `subject` wants it.
pub(super) fn document<'d>(subject: &Subject, document: &'d str) -> std::borrow::Cow<'d, str> {
    match &subject.fields {
        Some(fields) => project(document, fields).into(),
        None => document.into(),
    }
}

/// What changes of one commit mean for a subject; `None` where nothing of them can be seen.
pub(super) fn of_commit<'c>(
    subject: &Subject,
    changes: impl Iterator<Item = &'c EventChange>,
    position: CommitId,
) -> Option<String> {
    let seen: Vec<_> = changes.filter_map(|change| Some((change.seen(&subject.filter)?, change))).collect();
    let last = seen.len().checked_sub(1)?;
    let mut out = String::new();
    for ((seen, change), number) in seen.into_iter().zip(0..) {
        let id = (number == last).then_some(position);
        match (&change.now, seen) {
            (Some((_, json)), Seen::Enter | Seen::Update) => {
                let name = if seen == Seen::Enter { "enter" } else { "update" };
                // It was read as text before.
                event(&mut out, name, &document(subject, &String::from_utf8_lossy(json)), id);
            }
            _ => leave(&mut out, &change.id, change.redirect_to.as_deref(), id),
        }
    }
    Some(out)
}

/// Appends that an event is not in the result any more.
pub(super) fn leave(out: &mut String, id: &str, redirect_to: Option<&str>, position: Option<CommitId>) {
    let mut data = serde_json::json!({ "id": id });
    if let Some(to) = redirect_to {
        data["redirectTo"] = to.into();
    }
    event(out, "leave", &data.to_string(), position);
}
