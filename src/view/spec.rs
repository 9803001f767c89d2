//! What the views of a topology show: topics, tables, and how records become rows.

use std::collections::HashSet;
use std::sync::Arc;

use super::dead_letters::{self, DEAD_LETTERS};
use super::error::ViewError;
use super::read::ReadRecord;
use super::table::{Kind, Table};

/// One topic that a view follows, and the tables that its records change.
#[derive(Debug, Clone)]
pub struct ViewTopic {
    /// Its name, without prefix.
    pub topic: String,
    /// The tables that its records change. The row of a key is in at most one of them: whatever a record
    /// becomes, it ceases to be the rest.
    pub tables: Vec<&'static Table>,
    /// Makes a row of a record.
    pub read: ReadRecord,
}

/// SQL that lays out all tables of a view, those of the runtime too: where history asks for it. Each
/// entry is one version of the layout, from 1, and stays as it is for ever.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// Those for Postgres.
    pub postgres: &'static [&'static str],
    /// Those for SQLite.
    pub sqlite: &'static [&'static str],
}

/// What the views of a topology show. The table of [dead letters](DEAD_LETTERS) need not be declared:
/// every view has it.
///
/// ```
/// use headwater::view::{TableRow, Text, Unread, Versioned, ViewSpec, parse};
///
/// headwater::tables! {
///     /// How many registrations an event has.
///     pub static REGISTRATIONS = "registrations", key 1 { event: Text, title: Text, count: Int }
///     search [title]
/// }
///
/// #[derive(serde::Deserialize)]
/// struct Registered<'a> {
///     format: u64,
///     #[serde(borrow)]
///     title: Option<Text<'a>>,
///     count: i64,
/// }
///
/// impl Versioned for Registered<'_> {
///     fn format(&self) -> u64 {
///         self.format
///     }
/// }
///
/// fn read<'a>(event: &'a str, value: &'a str) -> Result<TableRow<'a>, Unread> {
///     let registered: Registered<'a> = parse(value)?;
///     Ok(REGISTRATIONS.row(headwater::cells![event, registered.title, registered.count]))
/// }
///
/// let spec = ViewSpec::new("registrations").follow("totals", [&REGISTRATIONS], read);
/// spec.check().unwrap();
/// assert!(spec.topics("prod.").contains("prod.totals"));
/// ```
#[derive(Debug, Clone)]
pub struct ViewSpec {
    name: String,
    topics: Vec<ViewTopic>,
    migrations: Option<Migrations>,
}

impl ViewSpec {
    /// The views of the topology `name`, which is also the default of their schema in Postgres. They show
    /// dead letters.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), topics: Vec::new(), migrations: None }
    }

    /// Lets the views follow a topic (its name is without prefix).
    #[must_use]
    pub fn follow(
        mut self,
        topic: impl Into<String>,
        tables: impl IntoIterator<Item = &'static Table>,
        read: ReadRecord,
    ) -> Self {
        self.topics.push(ViewTopic { topic: topic.into(), tables: tables.into_iter().collect(), read });
        self
    }

    /// Lets SQL lay out the tables. Without it their layout follows from their declarations: where these
    /// have changed, a view makes its tables anew and fills them from the topics.
    #[must_use]
    pub fn laid_out_by(mut self, migrations: Migrations) -> Self {
        self.migrations = Some(migrations);
        self
    }

    /// The name of the topology.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SQL that lays out the tables, where it does not follow from their declarations.
    pub fn migrations(&self) -> Option<Migrations> {
        self.migrations
    }

    /// All tables that hold rows.
    pub fn tables(&self) -> Vec<&'static Table> {
        let mut tables: Vec<&'static Table> = Vec::new();
        let declared = self.topics.iter().flat_map(|topic| topic.tables.iter().copied());
        for table in declared.chain([&DEAD_LETTERS]) {
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        tables
    }

    /// The topics under their full names, `prefix` (such as `headwater.`) included.
    pub fn topics(&self, prefix: &str) -> ViewTopics {
        let full = |topic: &str| Arc::<str>::from(format!("{prefix}{topic}"));
        ViewTopics {
            dead_letters: full(dead_letters::TOPIC),
            declared: self.topics.iter().map(|topic| (full(&topic.topic), topic.clone())).collect(),
        }
    }

    /// Whether it can be laid out.
    ///
    /// # Errors
    /// [`ViewError::Config`], which says what is declared wrongly.
    pub fn check(&self) -> Result<(), ViewError> {
        let wrong = |reason: String| Err(ViewError::Config { reason });
        let mut topics = HashSet::from([dead_letters::TOPIC]);
        for ViewTopic { topic, tables, .. } in &self.topics {
            if !topics.insert(topic) {
                return wrong(format!("two readers are declared for the topic {topic:?}"));
            }
            if tables.is_empty() {
                return wrong(format!("the topic {topic:?} changes no table"));
            }
            if let Some(table) = tables.iter().find(|table| table.key != 1) {
                return wrong(format!("the key of the table {:?} is not one column", table.name));
            }
        }
        let mut names: HashSet<String> = OWN_TABLES.iter().map(|name| (*name).to_owned()).collect();
        for table in self.tables() {
            let index = (!table.searched.is_empty()).then(|| table.search_index());
            if let Some(name) = std::iter::once(table.name.to_owned()).chain(index).find(|name| names.contains(name)) {
                return wrong(format!("two tables are called {name:?}"));
            }
            names.extend([table.name.to_owned(), table.search_index()]);
            if let Err(reason) = check_columns(table, self.migrations.is_some()) {
                return wrong(format!("the table {:?}: {reason}", table.name));
            }
        }
        Ok(())
    }
}

/// The runtime's tables that hold no rows.
pub(super) const OWN_TABLES: [&str; 3] = ["view_offsets", "view_owner", "view_migrations"];

/// The column of a table's full-text index.
pub(super) const SEARCH: &str = "search";

fn is_usable(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len()) && bytes.iter().all(|byte| *byte == b'_' || byte.is_ascii_alphanumeric())
}

fn check_columns(table: &Table, written: bool) -> Result<(), String> {
    if !is_usable(table.name) {
        return Err("that is no usable name".to_owned());
    }
    if table.key == 0 || table.key > table.columns.len() {
        return Err(format!("{} of {} columns cannot be its key", table.key, table.columns.len()));
    }
    let key = table.columns.first().filter(|key| key.kind != Kind::Text);
    if let Some(key) = key {
        return Err(format!("the key {:?} is no text", key.name));
    }
    let mut names = HashSet::new();
    for column in table.columns {
        if !is_usable(column.name) || !names.insert(column.name) {
            return Err(format!("{:?} is no usable name of a column, or occurs twice", column.name));
        }
    }
    if !table.searched.is_empty() && names.contains(SEARCH) {
        return Err(format!("the column {SEARCH:?} belongs to its full-text index"));
    }
    for name in table.indexes.iter().copied().flatten().chain(table.searched) {
        if table.place(name).is_none() {
            return Err(format!("there is no column {name:?} to index"));
        }
    }
    let is_text = |name: &&&str| table.place(name).is_some_and(|at| table.columns[at].kind == Kind::Text);
    match table.searched.iter().find(|name| !is_text(name)) {
        // The layout of Postgres is SQL then, and may find its own way.
        Some(name) if !written => Err(format!("only text can be searched, and {name:?} is none")),
        _ => Ok(()),
    }
}

/// The topics that a view follows, under their full names.
#[derive(Debug, Clone)]
pub struct ViewTopics {
    dead_letters: Arc<str>,
    declared: Vec<(Arc<str>, ViewTopic)>,
}

impl ViewTopics {
    /// The full names of all of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<str>> {
        self.declared.iter().map(|(name, _)| name).chain([&self.dead_letters])
    }

    /// Whether a topic of this full name is among them.
    pub fn contains(&self, topic: &str) -> bool {
        self.all().any(|own| **own == *topic)
    }

    /// The full name of the topic of dead letters.
    pub fn dead_letters(&self) -> &Arc<str> {
        &self.dead_letters
    }

    /// The declared topic of this full name.
    pub fn declared(&self, topic: &str) -> Option<&ViewTopic> {
        self.declared.iter().find(|(name, _)| **name == *topic).map(|(_, declared)| declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{TableRow, Unread};

    crate::tables! {
        /// Fine.
        pub static FINE = "fine", key 1 { id: Text, size: Int } index [size]
        /// Its index lacks a column.
        pub static UNINDEXED = "unindexed", key 1 { id: Text } index [size]
        /// Searches a number.
        pub static SEARCHED = "searched", key 1 { id: Text, size: Int } search [size]
        /// Named as the runtime's.
        pub static OWNER = "view_owner", key 1 { id: Text }
        /// A composite key.
        pub static PAIRS = "pairs", key 2 { id: Text, other: Text }
        /// A number for a key.
        pub static NUMBERED = "numbered", key 1 { id: Int }
    }

    fn nothing<'a>(_key: &'a str, _value: &'a str) -> Result<TableRow<'a>, Unread> {
        Err(Unread::malformed("nothing is read here"))
    }

    fn check<const N: usize>(tables: [&'static Table; N]) -> String {
        let checked = ViewSpec::new("x").follow("things", tables, nothing).check();
        checked.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_is_declared_wrongly_is_told() {
        assert_eq!(check([&FINE]), "");
        assert!(check([&UNINDEXED]).contains("no column \"size\""));
        assert!(check([&SEARCHED]).contains("only text can be searched"));
        assert!(check([&OWNER]).contains("two tables are called \"view_owner\""));
        assert!(check([&PAIRS]).contains("not one column"));
        assert!(check([&NUMBERED]).contains("is no text"));
        assert!(check([]).contains("changes no table"));
        let twice = ViewSpec::new("x").follow("dead-letters", [&FINE], nothing).check();
        assert!(twice.unwrap_err().to_string().contains("two readers"));
    }

    #[test]
    fn every_view_follows_dead_letters() {
        let spec = ViewSpec::new("x").follow("things", [&FINE], nothing);
        let topics = spec.topics("t.");
        assert_eq!(topics.all().map(|name| &**name).collect::<Vec<_>>(), ["t.things", "t.dead-letters"]);
        assert!(topics.declared("t.things").is_some() && topics.declared("t.dead-letters").is_none());
        assert_eq!(spec.tables(), [&FINE, &DEAD_LETTERS]);
    }
}
