//! `headwater serve`, and serving beside an engine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use headwater::cli::{ConfigArgs, stop_on_signals};
use headwater::config::{Config, ConfigErrors, Invalid, Section};
use headwater::error::Fault;
use headwater::http::HttpError;
use headwater::tools::dead_letters::Examine;
use headwater::tools::{Opened, Outcome, opened_or_made};
use headwater::topology::Companion;

use crate::admin::{Admin, Means, Preview};
use crate::config::ServeConfig;
use crate::follow::{FollowError, follow};
use crate::live::Live;
use crate::pipeline::{Engine, Pipeline};
use crate::server::{Listening, SERVICE, Server, ServerError};
use crate::site::Site;
use crate::stream::Hub;

/// Any free port of this machine.
const ANY_LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Where it listens unless told otherwise.
const LISTEN: &str = "127.0.0.1:8081";

/// How often signals are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Serving: a server, and a thread that follows the log.
pub struct Serving {
    server: Server,
    hub: Arc<Hub>,
    admin: Arc<Admin>,
    stop: Arc<AtomicBool>,
    follower: Option<JoinHandle<Result<(), FollowError>>>,
}

impl Serving {
    /// Serves what is on a log, as `config` says, which is valid. It listens at once, and answers once it has read
    /// the events. `engine` is the one that runs in this process, if any.
    ///
    /// # Errors
    /// When the address cannot be listened on, the certificate or a file with keys cannot be used, or no thread can be
    /// started.
    pub fn start(means: Means, config: &ServeConfig, engine: Option<Engine>) -> Result<Self, ServerError> {
        let (live, writer) = Live::new();
        let (log, prefix) = (Arc::clone(&means.log), means.config.prefix.clone());
        let hub = Hub::named(live, prefix.trim_end_matches('.').to_owned());
        let admin = Arc::new(Admin::new(means));
        let site = Site {
            hub: Arc::clone(&hub),
            access: Arc::new(config.access()?),
            admin: Some(Arc::clone(&admin)),
            pipeline: Arc::new(Pipeline::of(engine)),
        };
        let address = config.address().unwrap_or(ANY_LOCAL);
        let server = Server::start(&Listening::of(config, address), site)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (own_hub, own_stop) = (Arc::clone(&hub), Arc::clone(&stop));
        let work = move || {
            let ended = follow(&*log, &prefix, writer, &own_hub, &own_stop);
            if let Err(error) = &ended {
                tracing::error!(%error, "serving does not follow the log any more");
            }
            ended
        };
        let follower = std::thread::Builder::new().name("serve-follow".to_owned()).spawn(work);
        let follower = Some(follower.map_err(|source| HttpError::Start { service: SERVICE, source })?);
        Ok(Self { server, hub, admin, stop, follower })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where browsers find it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What it serves.
    pub fn live(&self) -> &Arc<Live> {
        self.hub.live()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.follower.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn end(mut self) -> Result<(), FollowError> {
        self.stop_following()
    }

    fn stop_following(&mut self) -> Result<(), FollowError> {
        self.stop.store(true, Ordering::Relaxed);
        self.admin.stop.store(true, Ordering::Relaxed);
        match self.follower.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => {
                tracing::error!("the thread that follows the log has panicked");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Its error is in the log.
        let _ = self.stop_following();
    }
}

impl Companion for Serving {
    fn stop(self: Box<Self>) -> Result<(), Box<dyn Fault>> {
        Ok(self.end()?)
    }
}

/// Says where events are served; not to stdout, which may be for programs.
pub fn greet(url: &str) {
    eprintln!("  console {url}");
    eprintln!("  api     {url}api/events   (explained at /docs)");
}

/// What a topology knows of raw records: what it would look at, and what it would make of them.
pub type Known = (Option<Box<dyn Examine>>, Option<Box<dyn Preview>>);

/// Makes what a topology knows of raw records, by its configuration.
pub type Knowledge<S> = fn(&Config<S>) -> Result<Known, Vec<Invalid>>;

/// `headwater serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  headwater serve
  headwater serve --listen 127.0.0.1:9000 --config config/discovery.toml
Then:
  curl 'http://127.0.0.1:8081/api/events?q=jazz&limit=3'
  curl -N 'http://127.0.0.1:8081/api/events/live?category=music'")]
pub struct ServeArgs {
    /// Address to listen on [default: serve.listen, or 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ServeArgs {
    /// Runs until a signal comes. `section` gives the `[serve]` of a topology's configuration.
    ///
    /// # Errors
    /// When it cannot be started, or cannot go on.
    pub fn run<S: Section>(self, section: fn(&S) -> &ServeConfig, knowledge: Knowledge<S>) -> Outcome {
        let Opened { config, places, log } = opened_or_made::<S>(&self.config)?;
        let serve = self.settings(section(&config.topology));
        let invalid = serve.validate();
        if let Some(problems) =
            (!invalid.is_empty()).then(|| invalid.into_iter().map(|one| places.problem(one)).collect())
        {
            return Err(ConfigErrors(problems).into());
        }
        let stop = stop_on_signals()?;
        let problems =
            |invalid: Vec<Invalid>| ConfigErrors(invalid.into_iter().map(|one| places.problem(one)).collect());
        let (examine, preview) = knowledge(&config).map_err(problems)?;
        let means = Means { log, config: config.runtime, examine, preview };
        let serving = Serving::start(means, &serve, None)?;
        greet(&serving.url());
        while !stop.load(Ordering::Relaxed) && !serving.has_ended() {
            std::thread::sleep(TICK);
        }
        Ok(serving.end()?)
    }

    fn settings(&self, configured: &ServeConfig) -> ServeConfig {
        let mut settings = configured.clone();
        match &self.listen {
            Some(listen) => settings.listen.clone_from(listen),
            None if settings.listen.is_empty() => LISTEN.clone_into(&mut settings.listen),
            None => {}
        }
        settings
    }
}
