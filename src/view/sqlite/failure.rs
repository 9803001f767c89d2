//! What an error of SQLite means for the view.

use rusqlite::ErrorCode;

use crate::view::error::ViewError;

/// What an error of SQLite means for the view.
pub(super) fn failure(at: &str, error: &rusqlite::Error) -> ViewError {
    let (at, reason) = (at.to_owned(), error.to_string());
    if reason.contains("no such table") {
        return ViewError::TablesMissing { at, reason };
    }
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull | ErrorCode::SystemIoFailure,
        ) => ViewError::Unreachable { at, reason },
        Some(ErrorCode::SchemaChanged) => ViewError::TablesMissing { at, reason },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            ViewError::Denied { at, reason }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ViewError::Damaged { at, reason },
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            ViewError::Rejected { at, reason }
        }
        _ => ViewError::Failed { doing: "writing the SQLite view", reason },
    }
}
