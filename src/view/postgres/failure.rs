//! What an error of Postgres means for the view.

use postgres::error::SqlState;

use crate::view::error::ViewError;

/// What an error of Postgres means for the view.
pub(super) fn failure(at: &str, error: &postgres::Error) -> ViewError {
    let at = at.to_owned();
    let Some(server) = error.as_db_error() else { return ViewError::Unreachable { at, reason: with_causes(error) } };
    let mut reason = format!("{} ({})", server.message(), server.code().code());
    if let Some(detail) = server.detail() {
        reason = format!("{reason}: {detail}");
    }
    let code = server.code();
    if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_OBJECT].contains(code) {
        return ViewError::TablesMissing { at, reason };
    }
    let passing = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::OBJECT_IN_USE,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::DATABASE_DROPPED,
    ];
    if passing.contains(code) {
        return ViewError::Unreachable { at, reason };
    }
    match code.code().get(..2) {
        // Connection, transaction rolled back, insufficient resources, system error.
        Some("08" | "40" | "53" | "58") => ViewError::Unreachable { at, reason },
        // No such database, authorization.
        Some("3D" | "28") => ViewError::Denied { at, reason },
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => ViewError::Denied { at, reason },
        // Data, constraints, limits of the server.
        Some("22" | "23" | "54") => ViewError::Rejected { at, reason },
        _ => ViewError::Failed { doing: "writing the Postgres view", reason },
    }
}

/// An error with what caused it: the client library says only "error connecting to server".
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
