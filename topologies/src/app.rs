//! Discovery as a program.

use std::process::ExitCode;

use headwater::app::App;
use headwater::cli::TopologyArgs;
use headwater::config::Invalid;
use headwater::tools::dead_letters::Examine;

use crate::config::{Config, Sections};
use crate::discovery::Discovery;
use crate::run;
use crate::tools::{DiscoveryTools, Examiner};

impl App for Discovery {
    const ABOUT: &'static str = "Turn raw event listings into clean, deduplicated, scored events";
    const HELP: &'static str = "\
Without --config, config/quickstart.toml is used where it is there: an embedded log, a SQLite view \
and a generated feed. Where it is not, built-in defaults are: an embedded log and no view. Ctrl-C or SIGTERM ends it in order.

Examples:
  discovery
  discovery --config config/discovery.toml --workers 2
  discovery --config config/discovery.toml --exit-when-idle --json
  discovery --config config/discovery.toml --plan            what a start would correct
  discovery --config config/discovery.toml --yes             consent to it, where it is much
  discovery --config config/discovery.toml --rebuild --plan  the same for a rebuild from the raw topics
  discovery check --config config/discovery.toml

Exit codes: 0 ended in order, 2 something to mend in configuration or usage, 3 something outside \
failed, 4 another instance has taken over, 70 a defect.";
    type Config = Sections;
    type Tools = DiscoveryTools;

    fn run(args: &TopologyArgs) -> ExitCode {
        run::discovery(args)
    }

    fn examine(config: &Config) -> Result<Option<Box<dyn Examine>>, Vec<Invalid>> {
        Examiner::of(config)
    }
}
