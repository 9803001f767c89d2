//! Reads a configuration from its layers and finds everything that is wrong with it at once.
//!
//! Layers, each over the one before:
//!
//! 1. the defaults of the configuration's two types, the runtime's and the topology's own;
//! 2. the files that the file includes (`include = ["feeds.toml"]`, relative to it), then the file;
//! 3. environment variables, `HEADWATER__SECTION__KEY=value`: two underscores between levels,
//!    capitals for small letters, `_` also for `-`;
//! 4. flags, `--set section.key=value`: the key as in TOML.
//!
//! The value of a variable or a flag is read as TOML (`3`, `true`, `["a", "b"]`) where it can be,
//! or else as the text itself. Tables merge; anything else, lists too, is replaced. An element of
//! a list is named by its number: `inputs.0.topic`.
//!
//! A value that cannot be used is noted, taken out, and reading goes on without it, so that one
//! run shows all that has to be mended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::document::{self, Document, NodeId, ROOT, SetError, SourceId};
use super::explain::Complaint;
use super::keys::keys_of;
use super::problem::{ConfigErrors, Invalid, Place, Places, Position, Problem};
use super::reference::{self, Resolved, is_secret_name};
use super::runtime::Runtime;
use super::section::{Config, Section};
use super::sources::{ENVIRONMENT_PREFIX, Gathered, INCLUDE, Sources, Text, steps_of};

/// A configuration, and where each of its values was written.
#[derive(Debug, Clone)]
pub struct Loaded<S> {
    /// The configuration.
    pub config: Config<S>,
    /// Where each value was written.
    pub places: Places,
}

/// What reading came to: all problems, and what could be made of the rest.
#[derive(Debug, Clone)]
pub struct Attempt<S> {
    /// The configuration without what is wrong in it; `None` when nothing could be made of it.
    pub loaded: Option<Loaded<S>>,
    /// Everything that is wrong; empty when the configuration can be used.
    pub problems: Vec<Problem>,
}

/// Reads, merges, deserialises and validates.
///
/// # Errors
/// Everything that is wrong: files that cannot be read, syntax, unknown keys, wrong types, missing
/// variables, and what [`Config::validate`] says.
pub fn load<S: Section>(sources: &Sources) -> Result<Loaded<S>, ConfigErrors> {
    match attempt(sources) {
        Attempt { loaded: Some(loaded), problems } if problems.is_empty() => Ok(loaded),
        Attempt { problems, .. } => Err(ConfigErrors(problems)),
    }
}

/// As [`load`], but keeps what is right beside what is wrong, so that it can be checked further.
pub fn attempt<S: Section>(sources: &Sources) -> Attempt<S> {
    let Gathered { texts, mut problems } = Gathered::of(sources);
    let mut loader =
        Loader { document: Document::new(), texts: &texts, problems: Vec::new(), as_text: BTreeMap::new() };
    for source in 0..texts.len() {
        loader.add(source);
    }
    problems.append(&mut loader.problems);
    // With a file or a bracket missing, whatever else there is to say would mislead.
    if !problems.is_empty() {
        return Attempt { loaded: None, problems: sorted(problems) };
    }

    loader.document.take(INCLUDE);
    loader.document.complete(S::NAME, S::PREFIX, S::INPUT, S::ADMIN);
    let resolved = loader.resolve_references(&sources.environment);
    let places = loader.places();
    let (config, removed) = loader.both(&resolved);
    let mut problems = loader.problems;
    if let Some(config) = &config {
        let untouched = |invalid: &Invalid| !removed.iter().any(|path| is_within(&invalid.key, path));
        problems.extend(config.validate().into_iter().filter(untouched).map(|invalid| places.problem(invalid)));
    }
    Attempt { loaded: config.map(|config| Loaded { config, places }), problems: sorted(problems) }
}

/// Whether one path is the other, or lies inside of it.
fn is_within(path: &str, other: &str) -> bool {
    let (short, long) = if path.len() < other.len() { (path, other) } else { (other, path) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// By file and line, then environment, then flags.
fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| match &problem.place {
        Place::File { path, position } => (0, path.clone(), *position),
        Place::Environment { name } => (1, PathBuf::from(name), None),
        Place::Flag { flag } => (2, PathBuf::from(flag), None),
        Place::Default => (3, PathBuf::new(), None),
    });
    problems
}

/// The document as it is put together and mended.
struct Loader<'i> {
    document: Document<'i>,
    texts: &'i [Text],
    problems: Vec<Problem>,
    /// The plain text of values that were read as something else than text.
    as_text: BTreeMap<NodeId, &'i str>,
}

impl<'i> Loader<'i> {
    fn add(&mut self, source: SourceId) {
        let texts = self.texts;
        match texts.get(source) {
            Some(Text::File { text, .. }) => self.add_file(source, text),
            Some(Text::Environment { name, value }) => {
                let steps = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(name).split("__");
                let steps: Vec<String> = steps.map(str::to_ascii_lowercase).collect();
                self.add_single(source, &steps, value);
            }
            Some(Text::Flag { key, value }) => match steps_of(key) {
                Some(steps) => self.add_single(source, &steps, value),
                None => {
                    let hint = Some("for instance --set 'engine.epoch_interval=50ms'".to_owned());
                    self.report(source, 0, String::new(), "the key cannot be read".to_owned(), hint);
                }
            },
            None => {}
        }
    }

    /// Adds the value of a variable or a flag.
    fn add_single(&mut self, source: SourceId, steps: &[String], value: &'i str) {
        if steps.first().is_some_and(|step| step == INCLUDE) {
            let hint = Some("say it at the beginning of the file that --config names".to_owned());
            return self.report(source, 0, INCLUDE.to_owned(), "only files include files".to_owned(), hint);
        }
        self.add_value(source, steps, value);
    }

    fn add_file(&mut self, source: SourceId, text: &'i str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut lines = BTreeSet::new();
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            // One slip often gives several errors, of which the first is the one to mend.
            if lines.insert(Position::of(text, offset).line) {
                self.report(source, offset, String::new(), error.message().to_owned(), None);
            }
        }
        if errors.is_empty() {
            self.document.merge(source, table.into_inner());
        }
    }

    fn add_value(&mut self, source: SourceId, steps: &[String], text: &'i str) {
        let parsed = DeValue::parse(text).ok();
        let is_text = parsed.as_ref().is_none_or(|value| value.get_ref().is_str());
        let value = parsed.unwrap_or_else(|| Spanned::new(0..text.len(), DeValue::String(DeString::Borrowed(text))));
        match self.document.set(source, steps, value) {
            Ok(Some(id)) if !is_text => {
                self.as_text.insert(id, text);
            }
            Ok(_) => {}
            Err(SetError::NotATable(path)) => {
                let message = "is a single value, which nothing can be set inside of".to_owned();
                self.report(source, 0, path, message, None);
            }
            Err(SetError::NoSuchElement(path, length)) => {
                let message = format!("is a list of {length}; name an element by its number, from 0");
                self.report(source, 0, path, message, None);
            }
        }
    }

    fn report(&mut self, source: SourceId, offset: usize, key: String, message: String, hint: Option<String>) {
        let place = self.texts.get(source).map_or(Place::Default, |text| text.place(offset));
        self.problems.push(Problem { place, key, message, hint });
    }

    fn report_node(&mut self, id: NodeId, key: String, message: String, hint: Option<String>) {
        let place = self.place_of(id);
        self.problems.push(Problem { place, key, message, hint });
    }

    fn place_of(&self, id: NodeId) -> Place {
        let Some(node) = self.document.node(id) else { return Place::Default };
        match node.source.and_then(|source| self.texts.get(source)) {
            Some(text) => text.place(node.offset),
            None => self.first_file().map_or(Place::Default, |path| Place::File { path, position: None }),
        }
    }

    /// The file that stands for the document as a whole: the last, which includes the others.
    fn first_file(&self) -> Option<PathBuf> {
        self.texts.iter().rev().find_map(|text| match text {
            Text::File { path, .. } => Some(path.clone()),
            _ => None,
        })
    }

    fn path_of(&self, id: NodeId) -> String {
        self.document.node(id).map(|node| node.path.clone()).unwrap_or_default()
    }

    fn places(&self) -> Places {
        let ids = 1..self.document.nodes().len();
        Places(ids.map(|id| (self.path_of(id), self.place_of(id))).collect())
    }

    fn resolve_references(&mut self, environment: &BTreeMap<String, String>) -> Resolved {
        let texts = self.texts;
        let nodes = self.document.nodes().to_vec();
        let folder_of = |id: NodeId| match nodes.get(id).and_then(|node| texts.get(node.source?)) {
            Some(Text::File { path, .. }) => path.parent().unwrap_or(Path::new("")).to_owned(),
            _ => PathBuf::new(),
        };
        let (resolved, broken) = reference::resolve(&mut self.document, environment, &folder_of);
        for trouble in broken {
            self.report_node(trouble.node, self.path_of(trouble.node), trouble.message, Some(trouble.hint));
        }
        resolved
    }

    /// Reads the runtime's sections from their keys, and the topology's from all others. Returns the
    /// paths that were taken out as well.
    fn both<S: Section>(&mut self, resolved: &Resolved) -> (Option<Config<S>>, Vec<String>) {
        let of_runtime = keys_of::<Runtime>().unwrap_or_default();
        let own = keys_of::<S>();
        debug_assert!(own.iter().copied().flatten().all(|key| !of_runtime.contains(key)), "a key is in both types");
        if let Some(own) = own {
            self.take_unknown(of_runtime.iter().chain(own).map(|key| (*key).to_owned()).collect());
        }
        let (runtime, mut removed) = self.deserialize::<Runtime>(resolved, &|key| of_runtime.contains(&key));
        let (topology, more) = self.deserialize::<S>(resolved, &|key| !of_runtime.contains(&key));
        removed.extend(more);
        (runtime.zip(topology).map(|(runtime, topology)| Config::new(runtime, topology)), removed)
    }

    /// Takes out the keys of the root that are not `known`: neither of the two types could tell what
    /// the other one knows.
    fn take_unknown(&mut self, known: Vec<String>) {
        for (key, id) in self.document.root_keys() {
            if !known.contains(&key) {
                let complaint = Complaint::UnknownKey { key: key.clone(), known: known.clone() };
                self.report_node(id, self.path_of(id), complaint.message(false), complaint.hint());
                self.document.take(&key);
            }
        }
    }

    /// Deserialises the keys of the root that `keep` names, taking out what cannot be used until the
    /// rest can. Returns the paths that were taken out, and `None` for the sections when nothing
    /// could be made of them.
    fn deserialize<T: DeserializeOwned>(
        &mut self,
        resolved: &Resolved,
        keep: &dyn Fn(&str) -> bool,
    ) -> (Option<T>, Vec<String>) {
        let mut removed: Vec<String> = self.problems.iter().map(|problem| problem.key.clone()).collect();
        let mut last_try: BTreeMap<NodeId, Problem> = BTreeMap::new();
        loop {
            let error = match T::deserialize(self.document.deserializer(keep)) {
                Ok(config) => return (Some(config), removed),
                Err(error) => error,
            };
            let id = error.span().map_or(ROOT, |span| span.start);
            let (id, problem) = self.understand(id, error.message(), resolved);
            if let Some(text) = self.as_text.remove(&id) {
                // A value from a variable or a flag that looks like a number may be meant as text.
                self.document.replace(id, DeValue::String(DeString::Borrowed(text)));
                last_try.insert(id, problem);
                continue;
            }
            let path = self.path_of(id);
            // What is missing because it was taken out has been reported already.
            if !removed.contains(&problem.key) {
                self.problems.push(last_try.remove(&id).unwrap_or(problem));
            }
            removed.push(path);
            if id == ROOT || !self.document.remove(id) {
                return (None, removed);
            }
        }
    }

    /// Which node an error is about, and what to say.
    fn understand(&self, id: NodeId, message: &str, resolved: &Resolved) -> (NodeId, Problem) {
        let complaint = Complaint::read(message);
        let mut id = id;
        let mut key = self.path_of(id);
        match &complaint {
            // Tables that are buffered before they are understood report all errors as their own.
            Complaint::UnknownKey { key: unknown, .. } => {
                if let Some(inner) = self.document.key_in(id, unknown) {
                    id = inner;
                    key = self.path_of(id);
                }
            }
            Complaint::MissingKey { key: missing } => key = document::join(&key, missing),
            _ => {}
        }
        let message = resolved.redact(&complaint.message(is_secret_name(&key)));
        let hint = complaint.hint().map(|hint| resolved.redact(&hint));
        (id, Problem { place: self.place_of(id), key, message, hint })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::config::{Period, Role};

    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Small {
        label: String,
        count: u32,
        rate: f64,
        tags: Vec<String>,
        inner: Inner,
        feeds: BTreeMap<String, Feed>,
        items: Vec<Feed>,
        properties: BTreeMap<String, String>,
    }

    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        on: bool,
        password: String,
        shape: Shape,
    }

    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
    enum Shape {
        #[default]
        Point,
        Circle {
            radius: u32,
        },
    }

    #[derive(Debug, Clone, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Feed {
        url: String,
        #[serde(default)]
        every: Option<u32>,
    }

    impl Section for Small {
        const NAME: &'static str = "small";
        const PREFIX: &'static str = "headwater.";
        const INPUT: &'static str = "raw.small";

        fn topics(&self) -> Vec<crate::config::TopicRole> {
            vec![("sums".into(), Role::Compacted)]
        }

        fn validate(&self, runtime: &Runtime) -> Vec<Invalid> {
            let large = self.count > 100 && runtime.workers < 1000;
            large.then(|| Invalid::new("count", "must be 100 or less")).into_iter().collect()
        }
    }

    /// Loads `text` from a file, with paths shown without their folder.
    fn load_text(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Loaded<Small>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        fs::write(&file, text).unwrap();
        let sources = Sources {
            file: Some(file),
            environment: environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        load(&sources).map_err(|errors| errors.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    fn loaded(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> Small {
        load_text(text, environment, flags).unwrap().config.topology
    }

    fn refused(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
        load_text(text, environment, flags).unwrap_err()
    }

    #[test]
    fn layers_lie_over_each_other() {
        let text = "label = 'file'\ncount = 1\nrate = 0.5\n[inner]\non = true";
        let environment = [("HEADWATER__COUNT", "2"), ("HEADWATER__RATE", "1"), ("OTHER", "x")];
        let config = loaded(text, &environment, &["rate=2.5", "inner.password = p"]);
        assert_eq!((config.label.as_str(), config.count, config.rate), ("file", 2, 2.5));
        assert_eq!((config.inner.on, config.inner.password.as_str()), (true, "p"));
    }

    #[test]
    fn without_a_file_there_are_defaults() {
        let config = load::<Small>(&Sources::default()).unwrap().config;
        assert_eq!(config.topology, Small::default());
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::<Small>::default()));
    }

    #[test]
    fn values_of_flags_are_toml_or_text() {
        let config = loaded("", &[], &["tags=['a', 'b']", "label=127.0.0.1:80", "feeds.x={url='u', every=3}"]);
        assert_eq!((config.tags.len(), config.label.as_str()), (2, "127.0.0.1:80"));
        assert_eq!(config.feeds.get("x").unwrap().every, Some(3));
    }

    #[test]
    fn text_that_looks_like_a_number_may_be_text() {
        let config = loaded("", &[("HEADWATER__LABEL", "12345")], &["inner.password=true", "properties.\"a.b\"=5"]);
        assert_eq!((config.label.as_str(), config.inner.password.as_str()), ("12345", "true"));
        assert_eq!(config.properties.get("a.b").unwrap(), "5");
    }

    #[test]
    fn elements_of_lists_are_named_by_number() {
        let text = "[[items]]\nurl = 'a'\n[[items]]\nurl = 'b'";
        let config = loaded(text, &[("HEADWATER__ITEMS__1__URL", "c")], &["items.0.every=4"]);
        assert_eq!((config.items[0].every, config.items[1].url.as_str()), (Some(4), "c"));
        let errors = refused(text, &[], &["items.7.url=x", "items.0.url.deeper=x"]);
        assert_eq!(
            errors,
            "the configuration has 2 problems\n\
             --set items.0.url.deeper: items[0].url: is a single value, which nothing can be set inside of\n\
             --set items.7.url: items: is a list of 2; name an element by its number, from 0"
        );
    }

    #[test]
    fn only_files_include_files() {
        let errors = refused("", &[("HEADWATER__INCLUDE", "a.toml")], &["include=['b.toml']"]);
        assert_eq!(errors.matches("only files include files").count(), 2, "{errors}");
    }

    #[test]
    fn names_of_variables_match_keys_but_for_case_and_hyphens() {
        let config = loaded("[feeds.My-Feed]\nurl = 'a'", &[("HEADWATER__FEEDS__MY_FEED__URL", "b")], &[]);
        assert_eq!(config.feeds.get("My-Feed").unwrap().url, "b");
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        assert_eq!(
            refused("lable = 'x'\nworker = 2", &[], &[]),
            "the configuration has 2 problems\nc.toml:1:1: lable: unknown key\n  hint: did you mean `label`?\n\
             c.toml:2:1: worker: unknown key\n  hint: did you mean `workers`?"
        );
    }

    #[test]
    fn a_wrong_type_is_an_error_at_its_value() {
        assert_eq!(
            refused("# first\n  count = 'many'", &[], &[]),
            "the configuration has a problem\n\
             c.toml:2:11: count: expected a whole number, 0 or more, found string \"many\""
        );
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let text = "count = -1\nlabel = '${NOT_SET}'\ncolour = 1\n[inner]\non = 'yes'\npasswort = 'x'\n\
                    [feeds.a]\nevery = 'x'\n[[items]]\nurl = 'u'\n[[items]]\nurl = 3";
        assert_eq!(
            refused(text, &[("HEADWATER__RATE", "fast"), ("HEADWATER__INNER__OF", "1")], &["tags=x", "zzz=1"]),
            "the configuration has 12 problems\n\
             c.toml:1:9: count: expected a whole number, 0 or more, found integer -1\n\
             c.toml:2:9: label: environment variable NOT_SET is not set\n  \
               hint: set NOT_SET, or give a default: ${NOT_SET:-…}\n\
             c.toml:3:1: colour: unknown key\n  \
               hint: known here: name, prefix, workers, cluster, log, topics, inputs, engine, dead_letters, admin, views, \
               label, count, rate, tags, inner, feeds, items, properties\n\
             c.toml:5:6: inner.on: expected true or false, found string \"yes\"\n\
             c.toml:6:1: inner.passwort: unknown key\n  \
               hint: did you mean `password`?\n\
             c.toml:7:1: feeds.a.url: missing\n  \
               hint: add `url = …`\n\
             c.toml:8:9: feeds.a.every: expected a whole number, 0 or more, found string \"x\"\n\
             c.toml:12:7: items[1].url: expected a string, found integer 3\n\
             environment HEADWATER__INNER__OF: inner.of: unknown key\n  \
               hint: known here: on, password, shape\n\
             environment HEADWATER__RATE: rate: expected a number, found string \"fast\"\n\
             --set tags: expected a list, found string \"x\"\n\
             --set zzz: unknown key\n  \
               hint: known here: name, prefix, workers, cluster, log, topics, inputs, engine, dead_letters, admin, views, \
               label, count, rate, tags, inner, feeds, items, properties"
        );
    }

    #[test]
    fn problems_inside_of_a_tagged_table_are_found() {
        assert_eq!(
            refused("[inner.shape]\nkind = 'circle'\nradius = 1\nradios = 2", &[], &[]),
            "the configuration has a problem\n\
             c.toml:4:1: inner.shape.radios: unknown key\n  hint: did you mean `radius`?"
        );
        assert_eq!(
            refused("inner.shape = { kind = 'cirkle' }", &[], &[]),
            "the configuration has a problem\n\
             c.toml:1:24: inner.shape.kind: \"cirkle\" is not known here\n  hint: did you mean \"circle\"?"
        );
    }

    #[test]
    fn validation_is_reported_with_its_line_beside_other_problems() {
        assert_eq!(
            refused("lable = 'x'\ncount = 101", &[], &[]),
            "the configuration has 2 problems\n\
             c.toml:1:1: lable: unknown key\n  hint: did you mean `label`?\n\
             c.toml:2:9: count: must be 100 or less"
        );
        assert_eq!(
            refused("count = 1", &[], &["count=200"]),
            "the configuration has a problem\n--set count: must be 100 or less"
        );
    }

    #[test]
    fn both_types_are_read_from_one_document() {
        let text = "name = 'n'\ncount = 7\n[engine]\nepoch_interval = '20ms'\n[inner]\non = true\n\
                    [[inputs]]\nsource = 'a'\n[[inputs]]\ntopic = 'raw.b'";
        let loaded = load_text(text, &[("HEADWATER__WORKERS", "3")], &["topics.only.sums.partitions=2"]).unwrap();
        let Config { runtime, topology } = loaded.config;
        assert_eq!((runtime.name.as_str(), runtime.workers, topology.count), ("n", 3, 7));
        assert_eq!(runtime.engine.epoch_interval, Period::from_millis(20));
        let inputs: Vec<(&str, Option<&str>)> =
            runtime.inputs.iter().map(|input| (input.topic.as_str(), input.source.as_deref())).collect();
        assert_eq!(inputs, [("raw.small", Some("a")), ("raw.b", None)]);
        assert_eq!(runtime.topic_spec("sums").partitions, 2);
        // What the topology filled in stands nowhere; the table around it does.
        assert!(loaded.places.locate("inputs[0].topic").to_string().ends_with("c.toml:7:1"));
    }

    #[test]
    fn what_is_wrong_in_either_type_is_told_at_once() {
        let text = "name = ''\ncount = 101\n[engine]\nepoch_intervall = 1\n[inner]\non = 1\n\
                    [[inputs]]\ntopic = ''\ntopc = 1";
        assert_eq!(
            refused(text, &[], &[]),
            "the configuration has 6 problems\n\
             c.toml:1:8: name: is empty\n\
             c.toml:2:9: count: must be 100 or less\n\
             c.toml:4:1: engine.epoch_intervall: unknown key\n  hint: did you mean `epoch_interval`?\n\
             c.toml:6:6: inner.on: expected true or false, found integer 1\n\
             c.toml:8:9: inputs[0].topic: is empty\n\
             c.toml:9:1: inputs[0].topc: unknown key\n  hint: did you mean `topic`?"
        );
    }

    #[test]
    fn syntax_errors_are_located() {
        assert_eq!(
            refused("label = 'x\n[inner\n", &[], &[])
                .lines()
                .skip(1)
                .map(|line| line.split(": ").next().unwrap())
                .collect::<Vec<_>>(),
            ["c.toml:1:11", "c.toml:2:7"]
        );
    }

    #[test]
    fn a_missing_file_is_a_problem() {
        let sources = Sources { file: Some("/nowhere/c.toml".into()), ..Sources::default() };
        let errors = load::<Small>(&sources).unwrap_err().to_string();
        assert!(errors.contains("/nowhere/c.toml: cannot be read: No such file"), "{errors}");
    }

    #[test]
    fn references_are_replaced() {
        let environment = [("USER_NAME", "ann"), ("SECRET", "s3cret")];
        let config = loaded(
            "label = '${USER_NAME}@${HOST:-home}'\nproperties = { a = '$${SECRET}', b = '${EMPTY:-}', c = '${SECRET}' }",
            &environment,
            &[],
        );
        assert_eq!(config.label, "ann@home");
        let values: Vec<&str> = config.properties.values().map(String::as_str).collect();
        assert_eq!(values, ["${SECRET}", "", "s3cret"]);
    }

    #[test]
    fn a_value_may_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
        fs::write(folder.path().join("c.toml"), "[inner]\npassword = { from_file = 'secret' }").unwrap();
        let sources = Sources { file: Some(folder.path().join("c.toml")), ..Sources::default() };
        assert_eq!(load::<Small>(&sources).unwrap().config.topology.inner.password, "s3cret");
        assert!(
            refused("[inner]\npassword = { from_file = 'gone' }", &[], &[]).contains("inner.password: cannot read")
        );
    }

    #[test]
    fn broken_references_are_explained() {
        assert_eq!(
            refused("label = '${A'\ntags = ['${a b}']", &[], &[]),
            "the configuration has 2 problems\n\
             c.toml:1:9: label: a reference `${` without its `}`\n  hint: write `$${` for a plain `${`\n\
             c.toml:2:9: tags[0]: `${a b}` does not name an environment variable\n  \
               hint: write `$${` for a plain `${`"
        );
    }

    #[test]
    fn secrets_are_never_printed() {
        let environment = [("SECRET", "hunter2"), ("PIN", "12")];
        let text = "count = '${SECRET}'\nrate = '${PIN}'\n[inner]\npassword = 7\nshape = { kind = '${SECRET}' }\n\
                    [[items]]\nurl = 'x'\nevery = 'pre-${SECRET}'";
        let errors = refused(text, &environment, &[]);
        assert!(!errors.contains("hunter2"), "{errors}");
        assert!(errors.contains("rate: expected a number, found string \"${PIN}\""), "{errors}");
        assert!(errors.contains("inner.password: expected a string\n"), "{errors}");
    }

    #[test]
    fn files_may_be_included() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("c.toml", "include = ['feeds.toml']\nlabel = 'outer'");
        write("feeds.toml", "label = 'inner'\ncount = 7\n[feeds.a]\nurl = 'u'");
        let sources = Sources { file: Some(folder.path().join("c.toml")), ..Sources::default() };
        let Loaded { config: Config { topology: config, .. }, places } = load::<Small>(&sources).unwrap();
        assert_eq!((config.label.as_str(), config.count, config.feeds.len()), ("outer", 7, 1));
        let at = |path: &str| places.locate(path).to_string().rsplit('/').next().unwrap().to_owned();
        assert_eq!(at("feeds.a.url"), "feeds.toml:4:7");
        assert_eq!(at("feeds.a.every"), "feeds.toml:3:1");
        assert_eq!(at("label"), "c.toml:2:9");
        assert_eq!(at("rate"), "default");

        write("feeds.toml", "include = ['c.toml', 'gone.toml', 3]");
        let errors = load::<Small>(&sources).unwrap_err();
        let messages: Vec<String> =
            errors.0.iter().map(|p| p.message.replace(&format!("{}/", folder.path().display()), "")).collect();
        assert_eq!(messages, ["c.toml includes itself", "there is no file gone.toml", "expected a list of file names"]);
    }

    /// Pieces that make TOML of every kind, right and wrong.
    fn toml_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("label".to_owned()),
            Just("workers".to_owned()),
            Just("[[inputs]]\n".to_owned()),
            Just("inner.on".to_owned()),
            Just("[feeds.a]\n".to_owned()),
            Just("[[items]]\n".to_owned()),
            Just("include = ".to_owned()),
            Just(" = ".to_owned()),
            Just("\n".to_owned()),
            Just("'${X}'".to_owned()),
            Just("{ from_file = 'x' }".to_owned()),
            Just("[1, 'a', { b = 2 }]".to_owned()),
            Just("2026-01-01".to_owned()),
            Just("99999999999999999999999999".to_owned()),
            "[a-z0-9.=\\[\\]{}\"'$,# \n]{0,8}",
            ".{0,6}",
        ];
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_text_loads_or_is_refused(text in toml_text(), flag in toml_text(), variable in toml_text()) {
            let environment = [("HEADWATER__ITEMS__0__URL", variable.as_str()), ("HEADWATER__", variable.as_str())];
            if let Err(message) = load_text(&text, &environment, &[&flag]) {
                prop_assert!(message.contains('\n'));
            }
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("c.toml");
            fs::write(&file, &text).unwrap();
            let _ = load::<Small>(&Sources { file: Some(file), ..Sources::default() });
        }
    }
}
