//! Tables as a topology declares them, and the values of their rows.

use std::borrow::Cow;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A list of texts.
    List,
    /// A whole number.
    Int,
    /// A floating point number.
    Real,
    /// An amount of money; the cell holds thousandths.
    Money,
    /// True or false.
    Bool,
    /// An instant; the cell holds ms since the Unix epoch.
    Time,
    /// A calendar day; the cell holds `2026-03-28`.
    Date,
    /// A JSON document; the cell holds its text.
    Json,
    /// Bytes.
    Bytes,
}

/// A column of a table.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// A table of a view. The macro [`tables!`](crate::tables) declares it.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How many of the first columns are the primary key. The key of a table that a topology declares is
    /// one column, and holds the key of the record that gave the row.
    pub key: usize,
    /// Its columns, in the order of the cells of a [`Row`].
    pub columns: &'static [Column],
    /// Columns of further indexes. Indexed values should be short: neither database indexes a text of
    /// several thousand bytes.
    pub indexes: &'static [&'static [&'static str]],
    /// Columns of the full-text index. Such a table has one more column, `search`: in Postgres what is
    /// searched, in SQLite the row of the index, which is called as the table with `_search` after it.
    pub searched: &'static [&'static str],
}

impl Table {
    /// The row of `cells`, which are in the order of the columns.
    pub fn row<'a>(&'static self, cells: Row<'a>) -> TableRow<'a> {
        TableRow { table: self, cells }
    }

    /// The column that holds the keys of records.
    pub(super) fn key_column(&self) -> &'static str {
        self.columns.first().map_or("", |column| column.name)
    }

    /// The place of a column.
    pub(super) fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|known| known.name == column)
    }

    /// The name of SQLite's full-text index.
    pub(super) fn search_index(&self) -> String {
        format!("{}_search", self.name)
    }
}

/// A row, with its table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRow<'a> {
    /// The table.
    pub table: &'static Table,
    /// The cells, in the order of the columns.
    pub cells: Row<'a>,
}

impl PartialEq for Table {
    /// Tables are statics: the same one is the same place.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// Declares tables as statics. `key` is the number of first columns that are the primary key; `index`
/// and `search` name columns of further indexes and of the full-text index.
///
/// ```
/// headwater::tables! {
///     /// Registrations for each event, hour by hour.
///     pub static HOURS = "hours", key 1 {
///         id: Text, event: Text, title: Text, start: Time, registrations: Int,
///     }
///     index [event, start]
///     search [title]
/// }
/// assert_eq!(HOURS.columns[3].name, "start");
/// ```
#[macro_export]
macro_rules! tables {
    ($(
        $(#[$doc:meta])*
        pub static $table:ident = $name:literal, key $key:literal { $($column:ident: $kind:ident),+ $(,)? }
        $(index [$($indexed:ident),+ $(,)?])*
        $(search [$($searched:ident),+ $(,)?])?
    )+) => {
        $(
            $(#[$doc])*
            pub static $table: $crate::view::Table = $crate::view::Table {
                name: $name,
                key: $key,
                columns: &[$($crate::view::Column {
                    name: stringify!($column),
                    kind: $crate::view::Kind::$kind,
                }),+],
                indexes: &[$(&[$(stringify!($indexed)),+]),*],
                searched: &[$($(stringify!($searched)),+)?],
            };
        )+
    };
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// For [`Kind::Text`], [`Kind::Date`] and [`Kind::Json`]. Must not hold a NUL character; the keys and
    /// values that readers get hold none.
    Text(Cow<'a, str>),
    /// For [`Kind::List`].
    List(Vec<Cow<'a, str>>),
    /// For [`Kind::Int`], [`Kind::Money`] and [`Kind::Time`].
    Int(i64),
    /// For [`Kind::Real`].
    Real(f64),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Bytes`].
    Bytes(&'a [u8]),
}

impl Cell<'_> {
    /// Whether a column of this kind takes it.
    pub fn fits(&self, kind: Kind) -> bool {
        match self {
            Self::Null => true,
            Self::Text(_) => matches!(kind, Kind::Text | Kind::Date | Kind::Json),
            Self::List(_) => kind == Kind::List,
            Self::Int(_) => matches!(kind, Kind::Int | Kind::Money | Kind::Time),
            Self::Real(_) => kind == Kind::Real,
            Self::Bool(_) => kind == Kind::Bool,
            Self::Bytes(_) => kind == Kind::Bytes,
        }
    }
}

/// The cells of one row, in the order of its table's columns. The macro [`cells!`](crate::cells) makes
/// them of values.
pub type Row<'a> = Vec<Cell<'a>>;

/// Makes a [`Row`] of values that can be made cells.
///
/// ```
/// use headwater::view::Cell;
/// let row = headwater::cells!["id", 7, None::<f64>, true];
/// assert_eq!(row, [Cell::Text("id".into()), Cell::Int(7), Cell::Null, Cell::Bool(true)]);
/// ```
#[macro_export]
macro_rules! cells {
    ($($cell:expr),+ $(,)?) => { vec![$($crate::view::Cell::from($cell)),+] };
}

impl<'a> From<Cow<'a, str>> for Cell<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Cell<'_> {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Cell<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl<'a> From<&'a [u8]> for Cell<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// An identifier for SQL, as it is written.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Identifiers for SQL, with commas between them.
pub(super) fn quoted_list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}
