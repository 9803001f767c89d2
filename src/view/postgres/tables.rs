//! Laying out the tables in a schema.

use postgres::{Client, Transaction};

use super::failure::failure;
use crate::view::error::ViewError;
use crate::view::layout::{Layout, State};
use crate::view::table::{quoted, quoted_list};

/// Generated columns came with version 12.
const OLDEST_SERVER: i32 = 120_000;

/// Version, and the right to create or use the schema. Returns the server's version as text.
pub(super) fn check_rights(client: &mut Client, at: &str, schema: &str) -> Result<String, ViewError> {
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

/// Makes schema and tables that are not there, and those of a schema of which some are missing; runs the
/// SQL of newer versions. What is laid out otherwise is left to whoever claims the tables.
pub(super) fn migrate(client: &mut Client, at: &str, schema: &str, layout: &Layout) -> Result<(), ViewError> {
    let fail = |error: postgres::Error| failure(at, &error);
    let mut transaction = client.transaction().map_err(fail)?;
    // Two instances that start at once must not both create the tables.
    transaction.execute("SELECT pg_advisory_xact_lock(hashtext('headwater view ' || $1))", &[&schema]).map_err(fail)?;
    let namespace = transaction.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema]).map_err(fail)?;
    if namespace.is_none() {
        transaction.batch_execute(&format!("CREATE SCHEMA {}", quoted(schema))).map_err(fail)?;
    }
    let version = version(&mut transaction, at)?;
    match layout.judge(version, at)? {
        State::Different if exists(&mut transaction, "view_owner").map_err(fail)? => {}
        State::Different => rebuild(&mut transaction, layout, at).map_err(fail)?,
        State::Absent => run(&mut transaction, layout, version).map_err(fail)?,
        state @ (State::Current | State::Older) => {
            let missing = missing(&mut transaction, layout).map_err(fail)?;
            if missing.is_empty() {
                run(&mut transaction, layout, version).map_err(fail)?;
            } else if state == State::Current && may_create_schemas(&mut transaction).map_err(fail)? {
                tracing::warn!(
                    at,
                    schema,
                    ?missing,
                    "tables of the view are missing; making them, and filling all anew"
                );
                restore(&mut transaction, layout, schema, &missing).map_err(fail)?;
            } else {
                tracing::warn!(at, schema, ?missing, "tables of the view are missing; making all of them anew");
                rebuild(&mut transaction, layout, at).map_err(fail)?;
            }
        }
    }
    transaction.commit().map_err(fail)
}

fn may_create_schemas(transaction: &mut Transaction<'_>) -> Result<bool, postgres::Error> {
    transaction.query_one("SELECT has_database_privilege(current_database(), 'CREATE')", &[])?.try_get(0)
}

fn exists(transaction: &mut Transaction<'_>, table: &str) -> Result<bool, postgres::Error> {
    // The search path holds nothing but the view's own schema and the system's.
    transaction.query_one("SELECT to_regclass($1) IS NOT NULL", &[&quoted(table)])?.try_get(0)
}

fn missing<'l>(transaction: &mut Transaction<'_>, layout: &'l Layout) -> Result<Vec<&'l str>, postgres::Error> {
    let mut missing = Vec::new();
    for name in layout.tables() {
        if !exists(transaction, name)? {
            missing.push(name.as_str());
        }
    }
    Ok(missing)
}

/// The version of the tables in the schema; 0 where there are none.
pub(super) fn version(transaction: &mut Transaction<'_>, at: &str) -> Result<i64, ViewError> {
    let mut read = || -> Result<i64, postgres::Error> {
        if !exists(transaction, "view_migrations")? {
            return Ok(0);
        }
        transaction.query_one("SELECT coalesce(max(version), 0)::int8 FROM view_migrations", &[])?.try_get(0)
    };
    read().map_err(|error| failure(at, &error))
}

fn run(transaction: &mut Transaction<'_>, layout: &Layout, from: i64) -> Result<(), postgres::Error> {
    if from == 0 {
        transaction.batch_execute(
            "CREATE TABLE view_migrations (version bigint PRIMARY KEY, applied_at timestamptz NOT NULL)",
        )?;
    }
    for (version, sql) in layout.steps_after(from) {
        transaction.batch_execute(sql)?;
        transaction.execute("INSERT INTO view_migrations VALUES ($1, now())", &[version])?;
    }
    Ok(())
}

/// Makes the missing tables and empties the others, which stay where they are: somebody's own SQL views
/// may read them. SQL that lays out all tables makes all of them elsewhere, and the missing ones move in.
fn restore(
    transaction: &mut Transaction<'_>,
    layout: &Layout,
    schema: &str,
    missing: &[&str],
) -> Result<(), postgres::Error> {
    let name = transaction.query_one("SELECT 'headwater scratch ' || pg_backend_pid()", &[])?;
    let (scratch, schema) = (quoted(name.try_get(0)?), quoted(schema));
    transaction.batch_execute(&format!("CREATE SCHEMA {scratch}; SET LOCAL search_path TO {scratch}"))?;
    run(transaction, layout, 0)?;
    for table in missing {
        transaction.batch_execute(&format!("ALTER TABLE {} SET SCHEMA {schema}", quoted(table)))?;
    }
    let stays = |name: &&str| !["view_owner", "view_migrations"].contains(name);
    let emptied = quoted_list(layout.tables().iter().map(String::as_str).filter(stays));
    transaction
        .batch_execute(&format!("SET LOCAL search_path TO {schema}; DROP SCHEMA {scratch} CASCADE; TRUNCATE {emptied}"))
}

/// Drops all tables and makes them again. The owner stays. What others have made of the tables goes with
/// them, and is named.
pub(super) fn rebuild(transaction: &mut Transaction<'_>, layout: &Layout, at: &str) -> Result<(), postgres::Error> {
    let owner: Option<i64> = match exists(transaction, "view_owner")? {
        true => transaction.query_opt("SELECT generation FROM view_owner", &[])?.map(|row| row.get(0)),
        false => None,
    };
    let dependents = dependents(transaction, layout)?;
    if !dependents.is_empty() {
        tracing::warn!(at, ?dependents, "dropping what depends on the tables of the view; make it again");
    }
    let names = quoted_list(layout.tables().iter().map(String::as_str));
    transaction.batch_execute(&format!("DROP TABLE IF EXISTS {names} CASCADE"))?;
    run(transaction, layout, 0)?;
    if let Some(owner) = owner {
        transaction.execute("UPDATE view_owner SET generation = $1", &[&owner])?;
    }
    Ok(())
}

/// The SQL views and foreign keys of others that depend on the tables.
fn dependents(transaction: &mut Transaction<'_>, layout: &Layout) -> Result<Vec<String>, postgres::Error> {
    let own: Vec<String> = layout.tables().iter().map(|name| quoted(name)).collect();
    let rows = transaction.query(
        "WITH RECURSIVE own (id) AS (SELECT to_regclass(name) FROM unnest($1::text[]) AS name),
         gone (id) AS (
             SELECT id::oid FROM own WHERE id IS NOT NULL
             UNION
             SELECT rule.ev_class FROM gone
             JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = gone.id
             JOIN pg_rewrite AS rule ON classid = 'pg_rewrite'::regclass AND rule.oid = objid
         )
         SELECT id::regclass::text FROM gone WHERE id NOT IN (SELECT id FROM own WHERE id IS NOT NULL)
         UNION ALL
         SELECT conname || ' of ' || conrelid::regclass FROM pg_constraint JOIN gone ON confrelid = gone.id
         WHERE contype = 'f'
         ORDER BY 1",
        &[&own],
    )?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
