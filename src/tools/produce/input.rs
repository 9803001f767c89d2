//! Which files there are, and how each is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::error::ProduceError;
use super::options::{KeyRule, ProduceOptions};
use crate::config::Runtime;
use crate::tools::error::ToolError;

const JSON: &str = "application/json";

/// How a file is cut into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// A record a line.
    Lines,
    /// Its bytes tell: a record a line, or one record.
    Told,
    /// One record.
    Whole,
}

/// A file to read; without a path, standard input.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) path: Option<PathBuf>,
    pub(super) framing: Framing,
    /// The header to send.
    pub(super) content_type: Option<String>,
    /// What document the whole file is a version of, where it is one record.
    pub(super) document: Option<String>,
}

impl Input {
    pub(super) fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
    }

    /// The file's name without its extension.
    pub(super) fn stem(&self) -> Option<String> {
        self.path.as_ref()?.file_stem().map(|stem| stem.to_string_lossy().into_owned())
    }

    pub(super) fn open(&self) -> Result<Box<dyn Read>, ProduceError> {
        match &self.path {
            None => Ok(Box::new(io::stdin())),
            Some(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(self.unreadable(error)),
            },
        }
    }

    pub(super) fn unreadable(&self, source: io::Error) -> ProduceError {
        ToolError::Reading { path: self.path.clone().unwrap_or_else(|| "-".into()), source }.into()
    }
}

/// All files, with folders opened, and what is in them; and what people should know of their keys. Nothing
/// is read yet, so that a name that is wrong stops everything before anything is written.
pub(super) fn inputs(options: &ProduceOptions, config: &Runtime) -> Result<(Vec<Input>, Vec<String>), ProduceError> {
    let full = config.full_name(&options.topic);
    let configured = config.inputs.iter().find(|input| config.full_name(&input.topic) == full);
    let configured = configured.and_then(|input| input.content_type.as_deref());
    let mut inputs = Vec::new();
    if options.files.is_empty() && options.tombstones.is_empty() {
        inputs.push(input(None, options, configured)?);
    }
    for path in &options.files {
        if path == Path::new("-") {
            inputs.push(input(None, options, configured)?);
            continue;
        }
        let metadata = std::fs::metadata(path).map_err(|source| ToolError::Reading { path: path.clone(), source })?;
        let files = if metadata.is_dir() { files_in(path)? } else { vec![path.clone()] };
        for file in files {
            inputs.push(input(Some(file), options, configured)?);
        }
    }
    let notes = if options.key == KeyRule::Usual { tell_apart(&mut inputs) } else { Vec::new() };
    Ok((inputs, notes))
}

/// Gives files of one name, which would replace each other, their paths as keys. Returns what people should
/// know of it.
fn tell_apart(inputs: &mut [Input]) -> Vec<String> {
    let mut of_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, input) in inputs.iter().enumerate() {
        if let (Some(stem), Framing::Whole | Framing::Told) = (input.stem(), input.framing) {
            of_name.entry(stem).or_default().push(at);
        }
    }
    let mut notes = Vec::new();
    for (name, files) in of_name {
        let paths: Vec<(usize, String)> =
            files.iter().filter_map(|at| Some((*at, relative(inputs.get(*at)?.path.as_deref()?)))).collect();
        let first = paths.first().map(|(_, path)| path.clone()).unwrap_or_default();
        // One file that is named twice is no other document.
        if paths.iter().all(|(_, path)| *path == first) {
            continue;
        }
        notes.push(format!("{} files are named {name:?}: their keys are their paths, such as {first:?}", paths.len()));
        for (at, path) in paths {
            if let Some(input) = inputs.get_mut(at) {
                input.document = Some(path);
            }
        }
    }
    notes
}

/// The path as seen from the working folder, where it lies below it, so that a file has one key however it is
/// named. Slashes part folders on every system.
fn relative(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let parts = below.components().filter(|part| !matches!(part, Component::CurDir));
    let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/").replacen("//", "/", 1)
}

/// The files in a folder and its folders, by path, without hidden ones. Links to folders are not
/// followed.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let unreadable = |source| ToolError::Reading { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().map_err(unreadable)?.is_dir() {
            files.extend(files_in(&entry.path())?);
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// `configured`: the content type of the topic, which a guess must not overrule.
fn input(path: Option<PathBuf>, options: &ProduceOptions, configured: Option<&str>) -> Result<Input, ProduceError> {
    let extension = path.as_ref().and_then(|path| path.extension()).map(|e| e.to_string_lossy().to_ascii_lowercase());
    let by_name = match (&path, extension.as_deref()) {
        (None, _) => Some((JSON, Framing::Told)),
        (_, Some("jsonl" | "ndjson")) => Some((JSON, Framing::Lines)),
        (_, Some("json")) => Some((JSON, Framing::Told)),
        (_, Some("jsonld")) => Some(("application/ld+json", Framing::Told)),
        (_, Some("ics" | "ical")) => Some(("text/calendar", Framing::Whole)),
        (_, Some("html" | "htm")) => Some(("text/html", Framing::Whole)),
        (_, Some("xml" | "rss" | "atom")) => Some(("application/xml", Framing::Whole)),
        (_, Some("csv")) => Some(("text/csv", Framing::Whole)),
        _ => None,
    };
    let (framing, content_type) = match (&options.content_type, configured, by_name) {
        (Some(given), _, _) => {
            let (framing, lines) = framing_of(given, extension.as_deref());
            (framing, Some(if lines { JSON.to_owned() } else { given.clone() }))
        }
        // A calendar's name says nothing of how the bytes of standard input are cut.
        (None, Some(configured), _) if by_name.is_none() || path.is_none() => {
            (framing_of(configured, extension.as_deref()).0, None)
        }
        (None, Some(_), Some((_, framing))) => (framing, None),
        (None, None, Some((content_type, framing))) => (framing, Some(content_type.to_owned())),
        (None, _, None) => return Err(ProduceError::ContentType { path: path.unwrap_or_default() }),
    };
    let mut input = Input { path, framing, content_type, document: None };
    // Standard input has no name but its source.
    input.document = input.stem().or_else(|| options.source.of_file(None));
    Ok(input)
}

/// How a file of this content type is cut, and whether the type says no more than that.
fn framing_of(content_type: &str, extension: Option<&str>) -> (Framing, bool) {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/jsonl" | "application/x-ndjson" | "application/ndjson" => (Framing::Lines, true),
        json if json.ends_with("/json") || json.ends_with("+json") => match extension {
            // The name says that there is a record a line, the type what each of them is.
            Some("jsonl" | "ndjson") => (Framing::Lines, false),
            _ => (Framing::Told, false),
        },
        _ => (Framing::Whole, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(name: Option<&str>, content_type: Option<&str>) -> Framing {
        let options = ProduceOptions { content_type: content_type.map(str::to_owned), ..ProduceOptions::default() };
        input(name.map(PathBuf::from), &options, None).unwrap().framing
    }

    #[test]
    fn a_content_type_decides_over_the_files_name() {
        for (name, content_type, expected) in [
            (Some("a.json"), None, Framing::Told),
            (Some("a.jsonl"), None, Framing::Lines),
            (Some("a.ics"), None, Framing::Whole),
            (None, None, Framing::Told),
            (None, Some("application/ld+json"), Framing::Told),
            (None, Some("text/calendar; charset=utf-8"), Framing::Whole),
            (Some("a.json"), Some("text/calendar"), Framing::Whole),
            (Some("a.jsonl"), Some("text/html"), Framing::Whole),
            (Some("a.ics"), Some("application/x-ndjson"), Framing::Lines),
            (Some("a.json"), Some("application/x-ndjson"), Framing::Lines),
            (Some("a.dat"), Some("application/json"), Framing::Told),
            (Some("a.jsonl"), Some("application/ld+json"), Framing::Lines),
        ] {
            assert_eq!(framing(name, content_type), expected, "{name:?} {content_type:?}");
        }
    }

    #[test]
    fn a_file_has_one_path_however_it_is_named() {
        let here = std::env::current_dir().unwrap();
        for path in [Path::new("a/b.ics"), Path::new("./a/b.ics"), &here.join("a/b.ics")] {
            assert_eq!(relative(path), "a/b.ics", "{}", path.display());
        }
        assert_eq!(relative(Path::new("/elsewhere/b.ics")), "/elsewhere/b.ics");
    }
}
