//! What tools print.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use super::error::ToolError;
use crate::error::Fault;

/// What a tool of the command line came to.
pub type Outcome = Result<(), Box<dyn Fault>>;

/// Prints a line.
///
/// # Errors
/// When it cannot be printed.
pub fn print_line(line: &str) -> Outcome {
    still_read(writeln!(io::stdout(), "{line}"))?;
    Ok(())
}

/// Prints a result, as text or as JSON.
///
/// # Errors
/// When it cannot be printed.
pub fn print_result<T: Serialize + Display>(result: &T, json: bool) -> Outcome {
    print_line(&if json { serde_json::json!(result).to_string() } else { result.to_string() })
}

/// Whether somebody still takes what is printed. Whoever reads it may have enough of it and go, which
/// is no error.
///
/// # Errors
/// When it cannot be printed for another reason.
pub fn still_read(printed: io::Result<()>) -> Result<bool, ToolError> {
    match printed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(ToolError::Output(error)),
    }
}
