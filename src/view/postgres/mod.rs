//! The view's tables in a schema of a Postgres database (version 12 or newer).
//!
//! A batch is written with one statement per table: each column travels as one array, and
//! `unnest` makes rows of them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use postgres::{Client, Statement, Transaction};

pub use self::config::PostgresConfig;
use self::failure::failure;
use self::rows::{upsert_sql, write_changes};
use super::batch::{Batch, Step};
use super::error::ViewError;
use super::layout::{Database, Layout, State};
use super::spec::ViewSpec;
use super::store::{Generation, Stored, ViewStore, next_generation};
use super::table::quoted_list;
use crate::fail_point::FailPoint;
use crate::log::TopicPartition;

mod config;
mod failure;
mod rows;
mod tables;

/// Connections that write at once: the server works on each by one process, which is what limits a
/// view. More than the topics have partitions by default would be of no use.
const WRITERS: usize = 4;

/// See the module's documentation.
pub struct PostgresStore {
    at: String,
    client: Client,
    layout: Layout,
    /// The tables that hold rows, for a list of SQL.
    tables: String,
    generation: Generation,
    upserts: HashMap<&'static str, Statement>,
}

impl PostgresStore {
    /// Connects, and creates or updates schema and tables.
    ///
    /// # Errors
    /// [`ViewError::Unreachable`], [`ViewError::Denied`], [`ViewError::Config`],
    /// [`ViewError::NewerSchema`], [`ViewError::Foreign`].
    pub fn open(config: &PostgresConfig, spec: &ViewSpec) -> Result<Self, ViewError> {
        let layout = Layout::new(spec, Database::Postgres)?;
        let target = config.target(config.schema_of(spec))?;
        let mut client = target.connect()?;
        tables::check_rights(&mut client, &target.at, &target.schema)?;
        tables::migrate(&mut client, &target.at, &target.schema, &layout)?;
        compress_quickly(&mut client).map_err(|error| failure(&target.at, &error))?;
        let tables = quoted_list(spec.tables().iter().map(|table| table.name));
        Ok(Self { at: target.at, client, layout, tables, generation: Generation(0), upserts: HashMap::new() })
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
        let Self { at, client, layout, .. } = self;
        let fail = |error: postgres::Error| failure(at, &error);
        let mut transaction = client.transaction().map_err(fail)?;
        let owner = owner(&mut transaction, Keeps::AllAway).map_err(fail)?;
        let generation = next_generation(owner, held).ok_or_else(|| ViewError::Superseded { at: at.clone() })?;
        if layout.judge(tables::version(&mut transaction, at)?, at)? == State::Different {
            tracing::warn!(at, "the tables of the view are laid out otherwise; making them anew");
            tables::rebuild(&mut transaction, layout, at).map_err(fail)?;
        }
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
        let Self { at, client, generation, upserts, .. } = self;
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
                    "DELETE FROM dead_letters WHERE topic = $1 AND partition = $2::int4 AND record_offset < $3",
                    &[&&*partition.topic, &partition.partition, low],
                )
                .map_err(fail)?;
        }
        FailPoint::ViewWritten.reach();
        transaction.commit().map_err(fail)
    }

    fn reset(&mut self) -> Result<(), ViewError> {
        let mut transaction = begin(&mut self.client, &self.at, self.generation, Keeps::AllAway)?;
        transaction
            .batch_execute(&format!("TRUNCATE {}, view_offsets", self.tables))
            .and_then(|()| {
                FailPoint::ViewEmptied.reach();
                transaction.commit()
            })
            .map_err(|error| failure(&self.at, &error))
    }
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
