//! Which views there are: the `[views]` section of the configuration.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::options::{BatchConfig, REBUILD_AFTER, ViewOptions};
use super::postgres::{PostgresConfig, PostgresStore};
use super::spec::ViewSpec;
use super::sqlite::{SqliteConfig, SqliteStore};
use super::store::OpenStore;
use crate::config::Invalid;

/// Which views there are: the `[views]` section of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewsConfig {
    /// Tables in Postgres.
    pub postgres: Option<PostgresConfig>,
    /// Tables in a SQLite file.
    pub sqlite: Option<SqliteConfig>,
    /// A view that was away for longer than this many seconds (1 or more) rebuilds itself. It must
    /// not exceed the time for which the log keeps tombstones (`delete.retention.ms`).
    pub rebuild_after_secs: u64,
}

impl Default for ViewsConfig {
    fn default() -> Self {
        Self { postgres: None, sqlite: None, rebuild_after_secs: REBUILD_AFTER.as_secs() }
    }
}

impl ViewsConfig {
    /// The configured views, which show what `spec` says: name, what opens the store, and how to run it.
    pub fn views(&self, spec: &Arc<ViewSpec>) -> Vec<(&'static str, OpenStore, ViewOptions)> {
        let mut views: Vec<(&'static str, OpenStore, ViewOptions)> = Vec::new();
        if let Some(config) = self.postgres.clone() {
            let (options, spec) = (self.options(&config.batch), Arc::clone(spec));
            views.push(("postgres", Box::new(move || Ok(Box::new(PostgresStore::open(&config, &spec)?))), options));
        }
        if let Some(config) = self.sqlite.clone() {
            let (options, spec) = (self.options(&config.batch), Arc::clone(spec));
            views.push(("sqlite", Box::new(move || Ok(Box::new(SqliteStore::open(&config, &spec)?))), options));
        }
        views
    }

    /// Everything that is wrong; empty when it can be used.
    pub fn validate(&self) -> Vec<Invalid> {
        /// A hundred years.
        const LONGEST: u64 = 36_525 * 86_400;
        let mut found: Vec<Invalid> =
            Invalid::outside("views.rebuild_after_secs", self.rebuild_after_secs, 1, LONGEST).into_iter().collect();
        if let Some(postgres) = &self.postgres {
            let key = "views.postgres.connect_timeout_secs";
            found.extend(Invalid::outside(key, postgres.connect_timeout_secs, 1, 3_600));
            found.extend(postgres.batch.validate("views.postgres.batch"));
        }
        found.extend(self.sqlite.iter().flat_map(|sqlite| sqlite.batch.validate("views.sqlite.batch")));
        found
    }

    fn options(&self, batch: &BatchConfig) -> ViewOptions {
        ViewOptions { batch: batch.clone(), rebuild_after: Duration::from_secs(self.rebuild_after_secs.max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_refuses_unknown_keys() {
        let read = toml::from_str::<ViewsConfig>;
        let config =
            read("[postgres]\nurl = 'postgres://u:p@h/d'\nbatch.records = 7\n[sqlite]\npath = 'a.sqlite'").unwrap();
        let views = config.views(&Arc::new(ViewSpec::new("x")));
        let names: Vec<_> = views.iter().map(|(name, _, options)| (*name, options.batch.records)).collect();
        assert_eq!(names, [("postgres", 7), ("sqlite", 20_000)]);
        assert!(read("[postgres]\nurl = 'x'\nscheme = 'y'").unwrap_err().to_string().contains("scheme"));
        assert!(read("[sqlite]\n").unwrap_err().to_string().contains("path"));
        assert!(read("rebuild_after = 1").is_err());
    }
}
