//! What a command says on stdout and stderr.

use serde_json::{Value, json};

use super::context::JobContext;
use super::handler::HandlerError;
use super::report::LARGEST_RESULT;

/// So much of what a command says otherwise on stdout is kept, in bytes: the last.
const OUTPUT_KEPT: usize = 64 << 10;

/// So much of stderr is kept, in bytes: the last.
const ERRORS_KEPT: usize = 4 << 10;

/// Before the result on a line.
const RESULT: &[u8] = b"result ";

/// Before progress on a line.
const PROGRESS: &[u8] = b"progress ";

/// A longer line is not held in memory.
const LONGEST_LINE: usize = LARGEST_RESULT + RESULT.len();

/// The last bytes of a stream.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    kept: usize,
}

impl Tail {
    /// The last bytes of stderr.
    pub fn of_errors() -> Self {
        Self { bytes: Vec::new(), kept: ERRORS_KEPT }
    }

    fn of_output() -> Self {
        Self { bytes: Vec::new(), kept: OUTPUT_KEPT }
    }

    /// What comes next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(self.kept)..]);
        // Moved only now and then.
        if self.bytes.len() > 2 * self.kept {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.bytes.drain(..self.bytes.len().saturating_sub(self.kept));
    }

    /// What is kept, as text. A character that was cut through is left out.
    pub fn text(mut self) -> String {
        let whole = self.bytes.len() <= self.kept;
        self.cut();
        let is_rest = |byte: &&u8| **byte & 0xC0 == 0x80;
        let rest = if whole { 0 } else { self.bytes.iter().take(3).take_while(is_rest).count() };
        String::from_utf8_lossy(&self.bytes[rest..]).into_owned()
    }
}

/// What a command has said on stdout.
pub(super) struct Output {
    line: Vec<u8>,
    /// Whether the line is longer than is held; its rest is no more than output.
    overlong: bool,
    result: Option<Result<Vec<u8>, ()>>,
    other: Tail,
}

impl Output {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { line: Vec::new(), overlong: false, result: None, other: Tail::of_output() }
    }

    /// What comes next; progress goes to `context`.
    pub fn push(&mut self, mut bytes: &[u8], context: &JobContext) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.extend(&bytes[..end]);
            self.end_line(context, true);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// The end: a last line may have no end of its own.
    pub fn end(&mut self, context: &JobContext) {
        if !self.line.is_empty() || self.overlong {
            self.end_line(context, false);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        if !self.overlong && self.line.len() + bytes.len() <= LONGEST_LINE {
            self.line.extend_from_slice(bytes);
            return;
        }
        if !std::mem::replace(&mut self.overlong, true) {
            // A result may be cut off anywhere, even in its first word.
            self.line.extend_from_slice(&bytes[..bytes.len().min(RESULT.len())]);
            if self.line.starts_with(RESULT) {
                self.result = Some(Err(()));
            }
            self.line.truncate(self.line.len() - bytes.len().min(RESULT.len()));
            self.other.push(&std::mem::take(&mut self.line));
        }
        self.other.push(bytes);
    }

    fn end_line(&mut self, context: &JobContext, ended: bool) {
        let line = std::mem::take(&mut self.line);
        if !std::mem::take(&mut self.overlong) {
            let bare = line.strip_suffix(b"\r").unwrap_or(&line);
            if let Some(result) = bare.strip_prefix(RESULT) {
                self.result = Some(Ok(result.to_vec()));
                return;
            }
            if let Some((fraction, message)) = bare.strip_prefix(PROGRESS).and_then(progress) {
                context.progress(fraction, message);
                return;
            }
            self.other.push(&line);
        }
        if ended {
            self.other.push(b"\n");
        }
    }

    /// The result: that of the last line of this kind, or else the end of what was said.
    ///
    /// # Errors
    /// When the result is no JSON, or too large.
    pub fn result(self) -> Result<Value, HandlerError> {
        match self.result {
            Some(Ok(text)) => serde_json::from_slice(&text).map_err(|error| {
                HandlerError::new("invalid-result", format!("the line `result …` holds no JSON: {error}"))
                    .without_retry()
            }),
            Some(Err(())) => {
                let told = format!("the line `result …` is too long; {LARGEST_RESULT} bytes are possible");
                Err(HandlerError::new("result-too-large", told).without_retry())
            }
            None => Ok(json!({ "output": self.other.text() })),
        }
    }
}

/// What stands behind `progress `, unless it is nothing of the kind.
fn progress(rest: &[u8]) -> Option<(f64, String)> {
    let text = String::from_utf8_lossy(rest);
    let (fraction, message) = text.trim_start().split_once(' ').unwrap_or((text.trim(), ""));
    let fraction = fraction.parse().ok().filter(|fraction| (0.0..=1.0).contains(fraction))?;
    Some((fraction, message.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of a text, however it is cut into pieces.
    fn read(text: &[u8], piece: usize) -> (Result<Value, HandlerError>, JobContext) {
        let (mut output, context) = (Output::new(), JobContext::detached());
        text.chunks(piece).for_each(|piece| output.push(piece, &context));
        output.end(&context);
        (output.result(), context)
    }

    #[test]
    fn the_last_result_wins_and_progress_is_told() {
        for piece in [1, 3, 7, 1_000] {
            let text = b"hello\nresult 1\nprogress 0.25 a quarter\nprogress x\nresult {\"a\": [2]}\r\nprogress 0.5";
            let (result, context) = read(text, piece);
            assert_eq!(result.unwrap(), json!({"a": [2]}), "{piece}");
            let held = context.held("", 0);
            assert_eq!((held.progress, held.message), (Some(0.5), None));
        }
        let (_, context) = read(b"progress 0.25 a quarter\n", 5);
        assert_eq!(context.held("", 0).message.as_deref(), Some("a quarter"));
    }

    #[test]
    fn other_output_is_the_result_with_all_that_only_looks_like_progress() {
        let text = b"one\nprogress 1.5 much\nprogress\nresults\nlast";
        assert_eq!(read(text, 4).0.unwrap(), json!({ "output": "one\nprogress 1.5 much\nprogress\nresults\nlast" }));
        assert_eq!(read(b"", 1).0.unwrap(), json!({ "output": "" }));
    }

    #[test]
    fn only_the_end_of_much_output_is_kept() {
        let text = "ä\n".repeat(100_000);
        let output = read(text.as_bytes(), 777).0.unwrap();
        let kept = output["output"].as_str().unwrap();
        assert!(kept.len() <= OUTPUT_KEPT && kept.len() > OUTPUT_KEPT - 3 && kept.ends_with("ä\n"));
        assert!(!kept.contains('\u{FFFD}'));
    }

    #[test]
    fn results_that_are_no_json_or_too_large_are_failures() {
        let code = |text: &[u8], piece| read(text, piece).0.unwrap_err().code;
        assert_eq!(code(b"result {\n", 3), "invalid-result");
        let large = [b"result \"", "x".repeat(LARGEST_RESULT).as_bytes(), b"\"\n"].concat();
        assert_eq!(code(&large, 4_096), "result-too-large");
        assert_eq!(code(&large, usize::MAX), "result-too-large");
        let fits = [b"result \"", "x".repeat(LARGEST_RESULT - 2).as_bytes(), b"\"\n"].concat();
        assert!(read(&fits, 4_096).0.is_ok());
        let line = "y".repeat(LARGEST_RESULT * 2);
        let kept = read(line.as_bytes(), 65_536).0.unwrap();
        assert_eq!(kept["output"].as_str().map(str::len), Some(OUTPUT_KEPT));
    }
}
