//! A broker and a database of a test's own.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::tests_folder;

/// A broker and a database of the test's own.
pub struct Services {
    folder: TempDir,
    pub brokers: String,
    pub database: String,
}

impl Services {
    pub fn start() -> Self {
        let mut services = Self { folder: TempDir::new().unwrap(), brokers: String::new(), database: String::new() };
        services.run(&["up"]);
        let output = services.run(&["env"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).replace(['\'', '\\'], "")
        };
        (services.brokers, services.database) = (value("KAFKA_BROKERS"), value("DATABASE_URL"));
        services
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script: PathBuf = tests_folder("../scripts/services.sh");
        let mut command = Command::new(script);
        command.args(arguments).env("HEADWATER_SERVICES_DIR", self.folder.path());
        for given in ["KAFKA_BROKERS", "DATABASE_URL", "HEADWATER_KAFKA_PORT", "HEADWATER_POSTGRES_PORT"] {
            command.env_remove(given);
        }
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for arguments in [&["resume", "kafka"][..], &["resume", "postgres"], &["down"]] {
            let _ = self.command(arguments).output();
        }
    }
}
