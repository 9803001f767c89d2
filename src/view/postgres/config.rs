//! Where the database is, and how to connect to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres::config::{Host, SslMode};
use postgres::{Client, NoTls};
use postgres_openssl::MakeTlsConnector;
use serde::Deserialize;

use super::failure::failure;
use super::tables;
use crate::view::error::ViewError;
use crate::view::layout::{Database, Layout};
use crate::view::options::BatchConfig;
use crate::view::spec::ViewSpec;
use crate::view::table::quoted;

/// The `[views.postgres]` section.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Where the database is: `postgres://user:password@host:5432/database?sslmode=verify-full`.
    /// `sslmode` is `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`;
    /// the last two need `sslrootcert`, the file with the authorities to trust. The password never
    /// appears in messages.
    pub url: String,
    /// The schema of the tables. Created when missing. By default it is called as the topology.
    #[serde(default)]
    pub schema: Option<String>,
    /// How long to wait for a connection, in seconds (1 or more).
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_secs: u64,
    /// How much is written in one transaction.
    #[serde(default)]
    pub batch: BatchConfig,
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
            schema: None,
            connect_timeout_secs: default_connect_timeout(),
            batch: BatchConfig::default(),
        }
    }

    /// Where the database is, without the password: `postgres://user@host:5432/database`.
    pub fn describe(&self) -> String {
        match split_trust(&self.url).ok().and_then(|(url, _)| url.parse().ok()) {
            Some(config) => describe(&config),
            None => "postgres://(not a valid url)".to_owned(),
        }
    }

    /// The schema of the tables of `spec`.
    pub fn schema_of<'s>(&'s self, spec: &'s ViewSpec) -> &'s str {
        self.schema.as_deref().unwrap_or(spec.name())
    }

    /// Whether a view of `spec` can work: connects, and looks at version, rights and schema. Changes
    /// nothing. Says what was found, for people.
    ///
    /// # Errors
    /// [`ViewError::Unreachable`], [`ViewError::Denied`], [`ViewError::Config`],
    /// [`ViewError::NewerSchema`], [`ViewError::Foreign`].
    pub fn check(&self, spec: &ViewSpec) -> Result<String, ViewError> {
        let layout = Layout::new(spec, Database::Postgres)?;
        let target = self.target(self.schema_of(spec))?;
        let mut client = target.connect()?;
        let server = tables::check_rights(&mut client, &target.at, &target.schema)?;
        let mut transaction = client.transaction().map_err(|error| failure(&target.at, &error))?;
        let found = layout.describe(tables::version(&mut transaction, &target.at)?, &target.at)?;
        Ok(format!("{}: PostgreSQL {server}, schema {:?} {found}", target.at, target.schema))
    }

    /// Where the tables are, in `schema`.
    pub(super) fn target(&self, schema: &str) -> Result<Target, ViewError> {
        let wrong = |reason: String| ViewError::Config { reason };
        if schema.is_empty() || schema.len() > 63 || schema.contains('\0') || schema.starts_with("pg_") {
            return Err(wrong(format!("views.postgres.schema {schema:?} is no usable name")));
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
        Ok(Target { config, trust, at, schema: schema.to_owned() })
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
pub(super) struct Target {
    config: postgres::Config,
    trust: Trust,
    /// For messages, without secrets.
    pub at: String,
    pub schema: String,
}

impl Target {
    pub fn connect(&self) -> Result<Client, ViewError> {
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
        let shown = format!("{wrong:?} {:?}", wrong.check(&ViewSpec::new("x")));
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
    fn configurations_that_cannot_work_say_why() {
        let schema =
            |schema: &str| PostgresConfig { schema: Some(schema.to_owned()), ..PostgresConfig::new("postgres://h/d") };
        for config in [PostgresConfig::new("mysql://h/d"), PostgresConfig::new(""), schema(""), schema("pg_x")] {
            let error = config.check(&ViewSpec::new("x")).unwrap_err();
            assert!(matches!(&error, ViewError::Config { reason } if reason.contains("views.postgres")), "{error}");
        }
    }
}
