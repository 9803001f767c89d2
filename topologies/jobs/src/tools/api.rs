//! What all tools of jobs share: where the API is, and what they read.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use clap::Args;
use headwater::error::{Domain, Fault};
use headwater::telemetry::{LogFormat, TelemetryError, start_logging};
use headwater::tools::ToolError;
use serde_json::value::RawValue;

use crate::client::{Client, ClientError, USUAL_URL};

/// Where the API is, and how results are printed.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// Where jobs are served
    #[arg(long, value_name = "URL", env = "HEADWATER_URL", default_value = USUAL_URL, global = true)]
    pub url: String,
    /// Key for the API, where one is needed; others see it in the list of processes, so better set HEADWATER_KEY
    #[arg(long, value_name = "KEY", env = "HEADWATER_KEY", hide_env_values = true, global = true)]
    pub key: Option<String>,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

impl ApiArgs {
    /// A client of the API.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::new(&self.url, self.key.as_deref().filter(|key| !key.is_empty()))
    }
}

/// How much to log.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// Log lines to show: error, warn, info, debug, trace, or tracing's filter syntax [env: RUST_LOG]
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
    /// Form of the log lines
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    pub log_format: LogFormat,
}

impl LogArgs {
    /// Starts log lines, at level `default` unless told otherwise.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn start(&self, default: &str) -> Result<(), TelemetryError> {
        start_logging(self.log_level.as_deref(), default, self.log_format)
    }
}

/// What is wrong with what the user wrote.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct UsageError {
    what: String,
    hint: Option<String>,
}

impl UsageError {
    /// Something is wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    /// Something is wrong, and this would be right.
    pub(crate) fn with_hint(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: Some(hint.into()) }
    }
}

impl Fault for UsageError {
    fn domain(&self) -> Domain {
        Domain::User
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The JSON in `text`, which comes from `place`.
pub(super) fn json_of(text: &str, place: &str) -> Result<Box<RawValue>, UsageError> {
    serde_json::from_str(text.trim()).map_err(|error| {
        UsageError::with_hint(
            format!("{place} is no JSON: {error}"),
            "texts stand in double quotes, and in a shell in single quotes around those: '\"text\"'",
        )
    })
}

/// The JSON in a file; `-` is standard input.
pub(super) fn json_of_file(path: &Path) -> Result<Box<RawValue>, Box<dyn Fault>> {
    let reading = |source: io::Error| ToolError::Reading { path: path.to_owned(), source };
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(reading)?;
        return Ok(json_of(&text, "standard input")?);
    }
    let text = fs::read_to_string(path).map_err(reading)?;
    Ok(json_of(&text, &path.display().to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_kept_as_it_is_and_what_is_none_is_told_with_its_place() {
        assert_eq!(json_of(" {\"n\": 1.50}\n", "the payload").unwrap().get(), "{\"n\": 1.50}");
        let error = json_of("hello", "the payload").unwrap_err();
        assert!(error.to_string().starts_with("the payload is no JSON: ") && error.hint().is_some());
        assert_eq!(error.domain().exit_code(), 2);
    }
}
