//! The view's tables in a schema of a Postgres database (version 12 or newer).
//!
//! A batch is written with one statement per table: each column travels as one array, and
//! `unnest` makes rows of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres::config::{Host, SslMode};
use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, NoTls, Statement, Transaction};
use postgres_openssl::MakeTlsConnector;
use serde::Deserialize;

use super::rows::{Cell, Changes, Column, Kind, Row, TABLES, Table};
use super::sqlite::next_generation;
use super::{Batch, BatchConfig, Generation, Step, Stored, ViewError, ViewStore};
use crate::fail_point::FailPoint;
use crate::log::TopicPartition;

/// The `[views.postgres]` section.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Where the database is: `postgres://user:password@host:5432/database?sslmode=verify-full`.
    /// `sslmode` is `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`;
    /// the last two need `sslrootcert`, the file with the authorities to trust. The password never
    /// appears in messages.
    pub url: String,
    /// The schema of the tables. Created when missing.
    #[serde(default = "default_schema")]
    pub schema: String,
    /// How long to wait for a connection, in seconds (1 or more).
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_secs: u64,
    /// How much is written in one transaction.
    #[serde(default)]
    pub batch: BatchConfig,
}

fn default_schema() -> String {
    "headwater".to_owned()
}

fn default_connect_timeout() -> u64 {
    10
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("url", &self.describe())
            .field("schema", &self.schema)
            .field("connect_timeout_secs", &self.connect_timeout_secs)
            .field("batch", &self.batch)
            .finish()
    }
}

impl PostgresConfig {
    /// A view at `url`, with defaults for the rest.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema: default_schema(),
            connect_timeout_secs: default_connect_timeout(),
            batch: BatchConfig::default(),
        }
    }

    /// Where the database is, without the password: `postgres://user@host:5432/database`.
    pub fn describe(&self) -> String {
        match self.target() {
            Ok(target) => target.at,
            Err(_) => "postgres://(not a valid url)".to_owned(),
        }
    }

    /// Whether the view can work: connects, and looks at version, rights and schema. Changes
    /// nothing. Says what was found, for people.
    ///
    /// # Errors
    /// [`ViewError::Unreachable`], [`ViewError::Denied`], [`ViewError::Config`],
    /// [`ViewError::NewerSchema`].
    pub fn check(&self) -> Result<String, ViewError> {
        let target = self.target()?;
        let mut client = target.connect()?;
        let found = check_rights(&mut client, &target.at, &self.schema);
        let server = found?;
        let version =
            schema_version(&mut client.transaction().map_err(|error| failure(&target.at, &error))?, &target.at)?;
        let state = if version == 0 { "to be created".to_owned() } else { format!("version {version}") };
        Ok(format!("{}: PostgreSQL {server}, schema {:?} {state}", target.at, self.schema))
    }

    fn target(&self) -> Result<Target, ViewError> {
        let wrong = |reason: String| ViewError::Config { reason };
        if self.schema.is_empty()
            || self.schema.len() > 63
            || self.schema.contains('\0')
            || self.schema.starts_with("pg_")
        {
            return Err(wrong(format!("views.postgres.schema {:?} is no usable name", self.schema)));
        }
        let (url, trust) = split_trust(&self.url).map_err(wrong)?;
        let mut config: postgres::Config =
            url.parse().map_err(|error| wrong(format!("views.postgres.url: {error}")))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong("views.postgres.url names no host".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("headwater");
        }
        config.connect_timeout(Duration::from_secs(self.connect_timeout_secs.max(1)));
        // A server that vanished without a word must not hold the view for ever.
        config.tcp_user_timeout(Duration::from_secs(30)).keepalives_idle(Duration::from_secs(30));
        let at = describe(&config);
        Ok(Target { config, trust, at, schema: self.schema.clone() })
    }
}

/// Whose certificate is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    /// Anyone's: the connection is encrypted, the server is not identified.
    Anyone,
    /// Those signed by an authority in the file.
    Authority(PathBuf),
    /// Those signed by an authority in the file for the host of the url.
    Host(PathBuf),
}

/// Takes those TLS parameters out of a url that the client library does not know.
fn split_trust(url: &str) -> Result<(String, Trust), String> {
    let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), Trust::Anyone)) };
    let (mut rest, mut root, mut mode) = (Vec::new(), None, None);
    for pair in query.split('&') {
        match url::form_urlencoded::parse(pair.as_bytes()).next() {
            Some((name, file)) if name == "sslrootcert" => root = Some(PathBuf::from(file.into_owned())),
            Some((name, value)) if name == "sslmode" && value.starts_with("verify-") => mode = Some(value.into_owned()),
            _ => rest.push(pair),
        }
    }
    // As in libpq, "require" with a root certificate verifies the authority.
    let trust = match (mode.as_deref(), root) {
        (None, None) => Trust::Anyone,
        (None, Some(root)) => Trust::Authority(root),
        (Some("verify-ca"), Some(root)) => Trust::Authority(root),
        (Some("verify-full"), Some(root)) => Trust::Host(root),
        (Some(mode), None) => return Err(format!("views.postgres.url: sslmode={mode} needs sslrootcert=FILE")),
        (Some(mode), _) => return Err(format!("views.postgres.url: unknown sslmode {mode:?}")),
    };
    if mode.is_some() {
        rest.push("sslmode=require");
    }
    Ok((format!("{base}?{}", rest.join("&")), trust))
}

fn describe(config: &postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{user}{host}:{port}/{database}")
}

/// A parsed configuration.
struct Target {
    config: postgres::Config,
    trust: Trust,
    at: String,
    schema: String,
}

impl Target {
    fn connect(&self) -> Result<Client, ViewError> {
        let fail = |error: postgres::Error| failure(&self.at, &error);
        let mut client = match self.config.get_ssl_mode() {
            SslMode::Disable => self.config.connect(NoTls).map_err(fail)?,
            _ => self.config.connect(self.tls()?).map_err(fail)?,
        };
        let schema = quoted(&self.schema);
        // A transaction of ours that hangs must not hold the owner's row for ever, nor may this
        // instance wait for ever for another one's.
        let session = format!(
            "SET search_path TO {schema}; SET lock_timeout TO '10s'; SET timezone TO 'UTC'; \
             SET idle_in_transaction_session_timeout TO '60s'"
        );
        client.batch_execute(&session).map_err(fail)?;
        Ok(client)
    }

    fn tls(&self) -> Result<MakeTlsConnector, ViewError> {
        let wrong = |error: openssl::error::ErrorStack| ViewError::Config {
            reason: format!("TLS for {} cannot be set up: {error}", self.at),
        };
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(wrong)?;
        match &self.trust {
            Trust::Anyone => builder.set_verify(SslVerifyMode::NONE),
            Trust::Authority(root) | Trust::Host(root) => builder.set_ca_file(root).map_err(wrong)?,
        }
        let mut connector = MakeTlsConnector::new(builder.build());
        let check_host = matches!(self.trust, Trust::Host(_));
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(check_host);
            Ok(())
        });
        Ok(connector)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Each entry is one version of the schema, from 1.
const MIGRATIONS: &[&str] = &[include_str!("migrations/postgres/0001_tables.sql")];

/// Generated columns came with version 12.
const OLDEST_SERVER: i32 = 120_000;

/// Connections that write at once: the server works on each by one process, which is what limits a
/// view. More than the topics have partitions by default would be of no use.
const WRITERS: usize = 4;

/// See the module's documentation.
pub struct PostgresStore {
    at: String,
    client: Client,
    generation: Generation,
    upserts: HashMap<&'static str, Statement>,
}

impl PostgresStore {
    /// Connects, and creates or updates schema and tables.
    ///
    /// # Errors
    /// [`ViewError::Unreachable`], [`ViewError::Denied`], [`ViewError::Config`],
    /// [`ViewError::NewerSchema`].
    pub fn open(config: &PostgresConfig) -> Result<Self, ViewError> {
        let target = config.target()?;
        let mut client = target.connect()?;
        check_rights(&mut client, &target.at, &target.schema)?;
        migrate(&mut client, &target)?;
        compress_quickly(&mut client).map_err(|error| failure(&target.at, &error))?;
        Ok(Self { at: target.at, client, generation: Generation(0), upserts: HashMap::new() })
    }
}

/// Lets this session compress long values by LZ4 where the server can (from version 14 on, if built
/// with it): Postgres' own compression takes a sixth of the time of a batch.
fn compress_quickly(client: &mut Client) -> Result<(), postgres::Error> {
    client.execute(
        "SELECT set_config(name, 'lz4', false) FROM pg_settings \
         WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)",
        &[],
    )?;
    Ok(())
}

/// Whom a transaction keeps away from the owner's row until it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// Instances that claim the tables. Several connections of one instance write at once.
    ClaimsAway,
    /// Everybody.
    AllAway,
}

/// A transaction in which no other instance can claim or write.
fn begin<'c>(client: &'c mut Client, at: &str, held: Generation, keeps: Keeps) -> Result<Transaction<'c>, ViewError> {
    let fail = |error: postgres::Error| failure(at, &error);
    let mut transaction = client.transaction().map_err(fail)?;
    let owner = owner(&mut transaction, keeps).map_err(fail)?;
    if owner != held.0 {
        return Err(ViewError::Superseded { at: at.to_owned() });
    }
    Ok(transaction)
}

fn owner(transaction: &mut Transaction<'_>, keeps: Keeps) -> Result<i64, postgres::Error> {
    let lock = match keeps {
        Keeps::ClaimsAway => "SHARE",
        Keeps::AllAway => {
            // One who waits for a table is not overtaken. One who waits for a row is, for ever where
            // several connections share it in turn.
            transaction.batch_execute("LOCK TABLE view_owner IN EXCLUSIVE MODE")?;
            "UPDATE"
        }
    };
    transaction.query_one(&format!("SELECT generation FROM view_owner FOR {lock}"), &[])?.try_get(0)
}

impl ViewStore for PostgresStore {
    fn claim(&mut self, held: Option<Generation>) -> Result<Generation, ViewError> {
        let Self { at, client, .. } = self;
        let fail = |error: postgres::Error| failure(at, &error);
        let mut transaction = client.transaction().map_err(fail)?;
        let owner = owner(&mut transaction, Keeps::AllAway).map_err(fail)?;
        let generation = next_generation(owner, held).ok_or_else(|| ViewError::Superseded { at: at.clone() })?;
        transaction
            .execute("UPDATE view_owner SET generation = $1, claimed_at = now()", &[&generation.0])
            .and_then(|_| transaction.commit())
            .map_err(fail)?;
        self.generation = generation;
        Ok(generation)
    }

    fn writers(&self) -> usize {
        WRITERS
    }

    fn offsets(&mut self) -> Result<BTreeMap<TopicPartition, Stored>, ViewError> {
        let Self { at, client, .. } = self;
        let mut read = || -> Result<BTreeMap<TopicPartition, Stored>, postgres::Error> {
            let rows = client.query(
                "SELECT topic, partition, next_offset, \
                 extract(epoch FROM clock_timestamp() - updated_at)::float8 FROM view_offsets",
                &[],
            )?;
            let stored = rows.iter().map(|row| {
                let at = TopicPartition::new(row.try_get::<_, String>(0)?, row.try_get(1)?);
                let age = Duration::try_from_secs_f64(row.try_get(3)?).unwrap_or(Duration::ZERO);
                Ok((at, Stored { next: row.try_get(2)?, age }))
            });
            stored.collect()
        };
        read().map_err(|error| failure(at, &error))
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), ViewError> {
        let Self { at, client, generation, upserts } = self;
        for changes in batch.changes.iter().filter(|changes| !changes.upserts.is_empty()) {
            let table = changes.table;
            if !upserts.contains_key(table.name) {
                let statement = client.prepare(&upsert_sql(table)).map_err(|error| failure(at, &error))?;
                upserts.insert(table.name, statement);
            }
        }
        let mut transaction = begin(client, at, *generation, Keeps::ClaimsAway)?;
        FailPoint::ViewBegun.reach();
        let fail = |error: postgres::Error| failure(at, &error);
        if !take_steps(&mut transaction, &batch.steps).map_err(fail)? {
            return Err(ViewError::OffsetsMoved { at: at.clone() });
        }
        FailPoint::ViewOffsets.reach();
        for changes in &batch.changes {
            write_changes(&mut transaction, changes, upserts.get(changes.table.name)).map_err(fail)?;
            FailPoint::ViewRows.reach();
        }
        for (partition, low) in &batch.forget {
            transaction
                .execute(
                    "DELETE FROM dead_letters WHERE topic = $1 AND partition = $2 AND record_offset < $3",
                    &[&&*partition.topic, &partition.partition, low],
                )
                .map_err(fail)?;
        }
        FailPoint::ViewWritten.reach();
        transaction.commit().map_err(fail)
    }

    fn reset(&mut self) -> Result<(), ViewError> {
        let mut transaction = begin(&mut self.client, &self.at, self.generation, Keeps::AllAway)?;
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).chain(["view_offsets"]).collect();
        transaction
            .batch_execute(&format!("TRUNCATE {}", names.join(", ")))
            .and_then(|()| {
                FailPoint::ViewEmptied.reach();
                transaction.commit()
            })
            .map_err(|error| failure(&self.at, &error))
    }
}

/// Version, and the right to create or use the schema. Returns the server's version as text.
fn check_rights(client: &mut Client, at: &str, schema: &str) -> Result<String, ViewError> {
    let fail = |error: postgres::Error| failure(at, &error);
    let row = client
        .query_one(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int4, \
             (SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE') \
              FROM pg_namespace WHERE nspname = $1), \
             has_database_privilege(current_database(), 'CREATE'), current_user::text",
            &[&schema],
        )
        .map_err(fail)?;
    let version: String = row.try_get(0).map_err(fail)?;
    let number: i32 = row.try_get(1).map_err(fail)?;
    let in_schema: Option<bool> = row.try_get(2).map_err(fail)?;
    let in_database: bool = row.try_get(3).map_err(fail)?;
    let user: String = row.try_get(4).map_err(fail)?;
    let denied = |reason: String| Err(ViewError::Denied { at: at.to_owned(), reason });
    match in_schema {
        _ if number < OLDEST_SERVER => denied(format!("it is PostgreSQL {version}; the view needs 12 or newer")),
        Some(false) => denied(format!("user {user:?} may not create tables in schema {schema:?}")),
        None if !in_database => denied(format!("there is no schema {schema:?}, and user {user:?} may not create it")),
        _ => Ok(version),
    }
}

fn migrate(client: &mut Client, target: &Target) -> Result<(), ViewError> {
    let at = &target.at;
    let fail = |error: postgres::Error| failure(at, &error);
    let mut transaction = client.transaction().map_err(fail)?;
    // Two instances that start at once must not both create the tables.
    transaction
        .execute("SELECT pg_advisory_xact_lock(hashtext('headwater view ' || $1))", &[&target.schema])
        .map_err(fail)?;
    let exists =
        transaction.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&target.schema]).map_err(fail)?;
    if exists.is_none() {
        transaction.batch_execute(&format!("CREATE SCHEMA {}", quoted(&target.schema))).map_err(fail)?;
    }
    let mut version = schema_version(&mut transaction, at)?;
    if version > 0 && !tables_complete(&mut transaction).map_err(fail)? {
        tracing::warn!(at, schema = target.schema, "tables of the view are missing; making all of them anew");
        let names: Vec<&str> = own_tables().collect();
        transaction.batch_execute(&format!("DROP TABLE IF EXISTS {}", names.join(", "))).map_err(fail)?;
        version = 0;
    }
    run_migrations(&mut transaction, version).map_err(fail)?;
    transaction.commit().map_err(fail)
}

fn own_tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name).chain(["view_offsets", "view_owner", "view_migrations"])
}

fn table_exists(transaction: &mut Transaction<'_>, name: &str) -> Result<bool, postgres::Error> {
    // The search path holds nothing but the view's own schema and the system's.
    transaction.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name])?.try_get(0)
}

fn tables_complete(transaction: &mut Transaction<'_>) -> Result<bool, postgres::Error> {
    for name in own_tables() {
        if !table_exists(transaction, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn schema_version(transaction: &mut Transaction<'_>, at: &str) -> Result<i64, ViewError> {
    let mut read = || -> Result<i64, postgres::Error> {
        if !table_exists(transaction, "view_migrations")? {
            return Ok(0);
        }
        transaction.query_one("SELECT coalesce(max(version), 0)::int8 FROM view_migrations", &[])?.try_get(0)
    };
    let found = read().map_err(|error| failure(at, &error))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(ViewError::NewerSchema { at: at.to_owned(), found, known });
    }
    Ok(found)
}

fn run_migrations(transaction: &mut Transaction<'_>, from: i64) -> Result<(), postgres::Error> {
    if from == 0 {
        transaction.batch_execute(
            "CREATE TABLE view_migrations (version bigint PRIMARY KEY, applied_at timestamptz NOT NULL)",
        )?;
    }
    for (sql, version) in MIGRATIONS.iter().zip(1_i64..).skip_while(|(_, version)| *version <= from) {
        transaction.batch_execute(sql)?;
        transaction.execute("INSERT INTO view_migrations VALUES ($1, now())", &[&version])?;
    }
    Ok(())
}

/// Moves the offsets; false when the store does not hold what is expected.
fn take_steps(transaction: &mut Transaction<'_>, steps: &[Step]) -> Result<bool, postgres::Error> {
    let (known, new): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.expected.is_some());
    let topics = |steps: &[&Step]| steps.iter().map(|step| step.partition.topic.to_string()).collect::<Vec<_>>();
    let partitions = |steps: &[&Step]| steps.iter().map(|step| step.partition.partition).collect::<Vec<_>>();
    let nexts = |steps: &[&Step]| steps.iter().map(|step| step.next).collect::<Vec<_>>();
    if !known.is_empty() {
        let expected: Vec<i64> = known.iter().filter_map(|step| step.expected).collect();
        let moved = transaction.execute(
            "UPDATE view_offsets AS held SET next_offset = step.next, updated_at = now() \
             FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[]) AS step (topic, partition, expected, next) \
             WHERE held.topic = step.topic AND held.partition = step.partition AND held.next_offset = step.expected",
            &[&topics(&known), &partitions(&known), &expected, &nexts(&known)],
        )?;
        if moved != known.len() as u64 {
            return Ok(false);
        }
    }
    if new.is_empty() {
        return Ok(true);
    }
    let inserted = transaction.execute(
        "INSERT INTO view_offsets SELECT step.*, now() FROM unnest($1::text[], $2::int4[], $3::int8[]) AS step \
         ON CONFLICT DO NOTHING",
        &[&topics(&new), &partitions(&new), &nexts(&new)],
    )?;
    Ok(inserted == new.len() as u64)
}

fn write_changes(
    transaction: &mut Transaction<'_>,
    changes: &Changes<'_>,
    upsert: Option<&Statement>,
) -> Result<(), postgres::Error> {
    if let Some(upsert) = upsert.filter(|_| !changes.upserts.is_empty()) {
        let columns = changes.table.columns.iter().enumerate();
        let arrays: Vec<Array<'_>> = columns.map(|(index, column)| array(&changes.upserts, index, column)).collect();
        let arrays: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect();
        transaction.execute(upsert, &arrays)?;
    }
    if let (false, Some(key)) = (changes.deletes.is_empty(), changes.table.columns.first()) {
        let sql = format!("DELETE FROM {} WHERE {} = ANY($1)", changes.table.name, key.name);
        transaction.execute(&sql, &[&changes.deletes])?;
    }
    Ok(())
}

fn upsert_sql(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let parameters = table.columns.iter().zip(1..).map(|(column, n)| format!("${n}::{}", array_type(column.kind)));
    let values = table.columns.iter().map(value_sql);
    let (key, rest) = names.split_at(table.key.min(names.len()));
    let set = rest.iter().map(|name| format!("{name} = excluded.{name}"));
    format!(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM unnest({parameters}) AS given ({columns}) \
         ON CONFLICT ({key}) DO UPDATE SET {set}",
        table = table.name,
        columns = names.join(", "),
        values = values.collect::<Vec<_>>().join(", "),
        parameters = parameters.collect::<Vec<_>>().join(", "),
        key = key.join(", "),
        set = set.collect::<Vec<_>>().join(", "),
    )
}

/// The type by which a column travels.
fn array_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::List | Kind::Date | Kind::Json => "text[]",
        Kind::Int | Kind::Money => "int8[]",
        Kind::Real => "float8[]",
        Kind::Bool => "bool[]",
        Kind::Time => "timestamptz[]",
        Kind::Bytes => "bytea[]",
    }
}

/// From what travels to what is stored.
fn value_sql(column: &Column) -> String {
    let name = column.name;
    match column.kind {
        Kind::List => format!("given.{name}::text[]"),
        Kind::Date => format!("given.{name}::date"),
        Kind::Json => format!("given.{name}::jsonb"),
        Kind::Money => format!("given.{name}::numeric / 1000"),
        Kind::Text | Kind::Int | Kind::Real | Kind::Bool | Kind::Time | Kind::Bytes => format!("given.{name}"),
    }
}

type Array<'a> = Box<dyn ToSql + Sync + 'a>;

/// One column of all rows. A cell that does not fit its column's kind is NULL; the tests hold
/// rows and tables together.
fn array<'a>(rows: &'a [Row<'a>], index: usize, column: &Column) -> Array<'a> {
    fn collect<'a, T>(rows: &'a [Row<'a>], index: usize, get: impl Fn(&'a Cell<'a>) -> Option<T>) -> Vec<Option<T>> {
        rows.iter().map(|row| row.get(index).and_then(&get)).collect()
    }
    match column.kind {
        Kind::Text | Kind::Date | Kind::Json => Box::new(collect(rows, index, |cell| match cell {
            Cell::Text(text) => Some(&**text),
            _ => None,
        })),
        Kind::List => Box::new(collect(rows, index, |cell| match cell {
            Cell::List(items) => Some(array_literal(items)),
            _ => None,
        })),
        Kind::Int | Kind::Money => Box::new(collect(rows, index, |cell| match cell {
            Cell::Int(number) => Some(*number),
            _ => None,
        })),
        Kind::Real => Box::new(collect(rows, index, |cell| match cell {
            Cell::Real(number) => Some(*number),
            _ => None,
        })),
        Kind::Bool => Box::new(collect(rows, index, |cell| match cell {
            Cell::Bool(truth) => Some(*truth),
            _ => None,
        })),
        Kind::Time => Box::new(collect(rows, index, |cell| match cell {
            Cell::Int(ms) => system_time(*ms),
            _ => None,
        })),
        Kind::Bytes => Box::new(collect(rows, index, |cell| match cell {
            Cell::Bytes(bytes) => Some(*bytes),
            _ => None,
        })),
    }
}

fn system_time(ms: i64) -> Option<SystemTime> {
    let distance = Duration::from_millis(ms.unsigned_abs());
    if ms < 0 { SystemTime::UNIX_EPOCH.checked_sub(distance) } else { SystemTime::UNIX_EPOCH.checked_add(distance) }
}

/// A list in the text form of Postgres arrays: `unnest` cannot make rows of arrays of arrays.
fn array_literal<S: AsRef<str>>(items: &[S]) -> String {
    let mut literal = String::from("{");
    for (index, item) in items.iter().enumerate() {
        literal.push_str(if index == 0 { "\"" } else { ",\"" });
        for c in item.as_ref().chars() {
            if matches!(c, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(c);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

/// What an error of Postgres means for the view.
fn failure(at: &str, error: &postgres::Error) -> ViewError {
    let at = at.to_owned();
    let Some(server) = error.as_db_error() else { return ViewError::Unreachable { at, reason: with_causes(error) } };
    let mut reason = format!("{} ({})", server.message(), server.code().code());
    if let Some(detail) = server.detail() {
        reason = format!("{reason}: {detail}");
    }
    let code = server.code();
    if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_OBJECT].contains(code) {
        return ViewError::TablesMissing { at, reason };
    }
    let passing = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::OBJECT_IN_USE,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::DATABASE_DROPPED,
    ];
    if passing.contains(code) {
        return ViewError::Unreachable { at, reason };
    }
    match code.code().get(..2) {
        // Connection, transaction rolled back, insufficient resources, system error.
        Some("08" | "40" | "53" | "58") => ViewError::Unreachable { at, reason },
        // No such database, authorization.
        Some("3D" | "28") => ViewError::Denied { at, reason },
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => ViewError::Denied { at, reason },
        // Data, constraints, limits of the server.
        Some("22" | "23" | "54") => ViewError::Rejected { at, reason },
        _ => ViewError::Failed { doing: "writing the Postgres view", reason },
    }
}

/// An error with what caused it: the client library says only "error connecting to server".
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        for url in ["postgres://ann:s3cret@db.example:6432/town", "host=db.example user=ann password=s3cret port=6432"]
        {
            let config = PostgresConfig::new(url);
            let shown = format!("{config:?} {}", config.describe());
            assert!(shown.contains("ann@db.example:6432") && !shown.contains("s3cret"), "{shown}");
        }
        let wrong = PostgresConfig::new("postgres://ann:s3cret@db.example:port/town");
        let shown = format!("{wrong:?} {:?}", wrong.check());
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn tls_parameters_are_those_of_libpq() {
        let trust = |query: &str| split_trust(&format!("postgres://h/d{query}"));
        let file = || PathBuf::from("/a b.pem");
        assert_eq!(trust(""), Ok(("postgres://h/d".to_owned(), Trust::Anyone)));
        assert_eq!(trust("?sslmode=require"), Ok(("postgres://h/d?sslmode=require".to_owned(), Trust::Anyone)));
        let full = trust("?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fa%20b.pem");
        assert_eq!(full, Ok(("postgres://h/d?connect_timeout=3&sslmode=require".to_owned(), Trust::Host(file()))));
        let authority = trust("?sslmode=require&sslrootcert=%2Fa%20b.pem");
        assert_eq!(authority, Ok(("postgres://h/d?sslmode=require".to_owned(), Trust::Authority(file()))));
        assert!(trust("?sslmode=verify-full").unwrap_err().contains("sslrootcert"));
        assert!(trust("?sslmode=verify-some&sslrootcert=x").is_err());
    }

    #[test]
    fn lists_are_quoted() {
        assert_eq!(array_literal::<&str>(&[]), "{}");
        assert_eq!(array_literal(&["a", "b,\"c\\", "NULL", ""]), r#"{"a","b,\"c\\","NULL",""}"#);
    }

    #[test]
    fn configurations_that_cannot_work_say_why() {
        let schema =
            |schema: &str| PostgresConfig { schema: schema.to_owned(), ..PostgresConfig::new("postgres://h/d") };
        for config in [PostgresConfig::new("mysql://h/d"), PostgresConfig::new(""), schema(""), schema("pg_x")] {
            let error = config.check().unwrap_err();
            assert!(matches!(&error, ViewError::Config { reason } if reason.contains("views.postgres")), "{error}");
        }
    }
}
