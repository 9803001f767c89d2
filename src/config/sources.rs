//! Where a configuration is read from: files, environment variables and flags, as texts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::problem::{Place, Position, Problem};

/// What the names of environment variables that configure something begin with.
pub const ENVIRONMENT_PREFIX: &str = "HEADWATER__";

/// The key under which a file names files to read before it.
pub(super) const INCLUDE: &str = "include";

/// Where a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; `None` leaves everything to defaults, environment and flags.
    pub file: Option<PathBuf>,
    /// All environment variables, for those that configure and for references.
    pub environment: BTreeMap<String, String>,
    /// The values of `--set`: `section.key=value`.
    pub flags: Vec<String>,
}

impl Sources {
    /// `file` and `flags` with the environment of this process.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { file, environment: environment.collect(), flags }
    }
}

/// One text that configuration is read from.
#[derive(Debug)]
pub(super) enum Text {
    File { path: PathBuf, text: String },
    Environment { name: String, value: String },
    Flag { key: String, value: String },
}

impl Text {
    /// The place of byte `offset` in this text.
    pub(super) fn place(&self, offset: usize) -> Place {
        match self {
            Self::File { path, text } => Place::File { path: path.clone(), position: Some(Position::of(text, offset)) },
            Self::Environment { name, .. } => Place::Environment { name: name.clone() },
            Self::Flag { key, .. } => Place::Flag { flag: format!("--set {key}") },
        }
    }
}

/// The texts, in the order in which they are laid over each other.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) texts: Vec<Text>,
    pub(super) problems: Vec<Problem>,
}

impl Gathered {
    /// Reads everything that `sources` names.
    pub(super) fn of(sources: &Sources) -> Self {
        let mut gathered = Self::default();
        if let Some(file) = &sources.file {
            gathered.file(file, &mut Vec::new());
        }
        gathered.environment(&sources.environment);
        gathered.flags(&sources.flags);
        gathered
    }

    /// Adds a file, after those that it includes. `open` are the files that include it.
    fn file(&mut self, path: &Path, open: &mut Vec<PathBuf>) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.unreadable(path, &error),
        };
        open.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        for (included, offset) in self.included_by(path, &text) {
            let included = path.parent().unwrap_or(Path::new("")).join(included);
            if open.contains(&included.canonicalize().unwrap_or_else(|_| included.clone())) {
                let message = format!("{} includes itself", included.display());
                self.include_problem(path, &text, offset, message);
            } else if !included.is_file() {
                let message = format!("there is no file {}", included.display());
                self.include_problem(path, &text, offset, message);
            } else {
                self.file(&included, open);
            }
        }
        open.pop();
        self.texts.push(Text::File { path: path.to_owned(), text });
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let hint = (error.kind() == std::io::ErrorKind::NotFound).then(|| "is the path right?".to_owned());
        let place = Place::File { path: path.to_owned(), position: None };
        self.problems.push(Problem { place, key: String::new(), message: format!("cannot be read: {error}"), hint });
    }

    fn include_problem(&mut self, path: &Path, text: &str, offset: usize, message: String) {
        let place = Place::File { path: path.to_owned(), position: Some(Position::of(text, offset)) };
        let hint = Some("paths are relative to the file that includes them".to_owned());
        self.problems.push(Problem { place, key: INCLUDE.to_owned(), message, hint });
    }

    /// The files named by `include`, with where they are named.
    fn included_by(&mut self, path: &Path, text: &str) -> Vec<(String, usize)> {
        // Syntax errors are reported when the text is read for good.
        let (table, _) = DeTable::parse_recoverable(text);
        let Some(value) = table.get_ref().get(INCLUDE) else { return Vec::new() };
        let names = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        let mut files = Vec::new();
        for name in names {
            match name.get_ref().as_str() {
                Some(file) => files.push((file.to_owned(), name.span().start)),
                None => self.include_problem(path, text, name.span().start, "expected a list of file names".to_owned()),
            }
        }
        files
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) {
        let ours = environment.iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX));
        self.texts.extend(ours.map(|(name, value)| Text::Environment { name: name.clone(), value: value.clone() }));
    }

    fn flags(&mut self, flags: &[String]) {
        for flag in flags {
            match flag.split_once('=') {
                Some((key, value)) => {
                    self.texts.push(Text::Flag { key: key.trim().to_owned(), value: value.trim().to_owned() });
                }
                None => self.problems.push(Problem {
                    place: Place::Flag { flag: format!("--set {flag}") },
                    key: String::new(),
                    message: "expected section.key=value".to_owned(),
                    hint: None,
                }),
            }
        }
    }
}

/// The steps of a key as it is written in TOML: `a.b."c.d"`, and `a.0.b` for list elements.
pub(super) fn steps_of(key: &str) -> Option<Vec<String>> {
    let line = format!("{key} = 0");
    let mut table = DeTable::parse(&line).ok()?.into_inner();
    let mut steps = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        steps.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            DeValue::Integer(_) => return Some(steps),
            _ => return None,
        }
    }
}
