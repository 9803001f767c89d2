//! Values given by reference: `"${NAME}"`, `"${NAME:-default}"` and `{ from_file = "/run/secrets/x" }`.
//!
//! References stand in strings, whole or in part, and keep secrets out of the file. `$${` is a
//! plain `${`. What was put in is remembered, so that it can be kept out of messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeString, DeTable, DeValue};

use super::document::{Document, NodeId};

/// What stands where a secret was.
const MASK: &str = "***";

/// Parts of key names whose values are secret, however they were given.
const SECRET_NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "jaas", "key.pem", "credential"];

/// Whether the value of a key of this name must not be printed.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// The key of a table that stands for the contents of a file.
const FROM_FILE: &str = "from_file";

/// Shorter secrets are not looked for inside of messages: they would hide harmless words. They are
/// still hidden where they stand alone in quotes.
const SHORTEST_SOUGHT: usize = 4;

/// A reference that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The value it stands in.
    pub node: NodeId,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub hint: String,
}

/// What references were replaced by; knows how to keep it out of messages.
#[derive(Default)]
pub struct Resolved {
    /// Resolved text, and the reference as it was written.
    texts: Vec<(String, String)>,
    /// Values of single variables and files.
    parts: Vec<String>,
}

impl Resolved {
    /// `message` with references in place of what they stand for.
    pub fn redact(&self, message: &str) -> String {
        let whole = self.texts.iter().fold(message.to_owned(), |message, (text, written)| {
            message.replace(&format!("{text:?}"), &format!("{written:?}"))
        });
        let sought = self.parts.iter().filter(|part| part.len() >= SHORTEST_SOUGHT);
        sought.fold(whole, |message, part| message.replace(part.as_str(), MASK))
    }
}

/// Replaces all references in `document` by what they stand for. `folder_of` gives the folder that
/// relative paths of a node start from.
pub fn resolve(
    document: &mut Document<'_>,
    environment: &BTreeMap<String, String>,
    folder_of: &dyn Fn(NodeId) -> PathBuf,
) -> (Resolved, Vec<Broken>) {
    let mut resolved = Resolved::default();
    let mut broken = Vec::new();
    document.visit_mut(&mut |node, value| {
        if let Err((message, hint)) = resolve_value(value, environment, &|| folder_of(node), &mut resolved) {
            broken.push(Broken { node, message, hint });
        }
    });
    (resolved, broken)
}

/// What is wrong, and what would mend it.
type Trouble = (String, String);

fn resolve_value(
    value: &mut DeValue<'_>,
    environment: &BTreeMap<String, String>,
    folder: &dyn Fn() -> PathBuf,
    resolved: &mut Resolved,
) -> Result<(), Trouble> {
    match value {
        DeValue::String(text) => {
            if let Some(new) = expand(text, environment, resolved)? {
                *value = DeValue::String(DeString::Owned(new));
            }
        }
        DeValue::Table(table) => {
            let Some(named) = file_named_by(table) else { return Ok(()) };
            let path = expand(&named, environment, resolved)?.unwrap_or(named);
            let text = read_secret(&folder().join(&path))?;
            resolved.parts.push(text.clone());
            resolved.texts.push((text.clone(), format!("{{ {FROM_FILE} = {path:?} }}")));
            *value = DeValue::String(DeString::Owned(text));
        }
        _ => {}
    }
    Ok(())
}

fn file_named_by(table: &DeTable<'_>) -> Option<String> {
    let only = (table.len() == 1).then(|| table.get(FROM_FILE)).flatten()?;
    only.get_ref().as_str().map(str::to_owned)
}

/// The file's contents without the line break at the end.
fn read_secret(path: &Path) -> Result<String, Trouble> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        (message, format!("{FROM_FILE} names a file that holds the value"))
    })?;
    Ok(text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).unwrap_or(&text).to_owned())
}

/// `text` with its references replaced; `None` when it holds none.
fn expand(
    text: &str,
    environment: &BTreeMap<String, String>,
    resolved: &mut Resolved,
) -> Result<Option<String>, Trouble> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((reference, after)) = after.split_once('}') else {
            return Err(("a reference `${` without its `}`".to_owned(), literal_hint()));
        };
        let value = look_up(reference, environment)?;
        expanded.push_str(&value);
        resolved.parts.push(value);
        rest = after;
    }
    expanded.push_str(rest);
    resolved.texts.push((expanded.clone(), text.to_owned()));
    Ok(Some(expanded))
}

fn look_up(reference: &str, environment: &BTreeMap<String, String>) -> Result<String, Trouble> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !legal {
        return Err((format!("`${{{reference}}}` does not name an environment variable"), literal_hint()));
    }
    match environment.get(name).map(String::as_str).filter(|value| !value.is_empty()).or(default) {
        Some(value) => Ok(value.to_owned()),
        None => Err((
            format!("environment variable {name} is not set"),
            format!("set {name}, or give a default: ${{{name}:-…}}"),
        )),
    }
}

fn literal_hint() -> String {
    "write `$${` for a plain `${`".to_owned()
}
