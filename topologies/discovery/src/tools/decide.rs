//! `headwater decide`: a person's word on two listings, or an editor's on one, given, taken back and listed.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use clap::{Args, Subcommand, ValueEnum};
use headwater::cli::ConfigArgs;
use headwater::config::Runtime;
use headwater::error::{Domain, Fault};
use headwater::log::Log;
use headwater::tools::{Opened, Outcome, ToolError, opened, print_result, still_read};
use headwater_operators::resolve::{ListingRef, Moderation};
use headwater_serve::decisions::{
    Change, Listed, NewDecision, NewModeration, Say, decide, decisions, describe, listings_text, moderate,
    parse_listing, says, unmoderate, when, withdraw,
};

use crate::config::Sections;

/// Nobody is named as the one who decides.
#[derive(Debug, thiserror::Error)]
#[error("who decides? Neither --by, nor the variables USER and LOGNAME, nor the system name anybody")]
pub struct Nobody;

impl Fault for Nobody {
    fn domain(&self) -> Domain {
        Domain::User
    }

    fn hint(&self) -> Option<String> {
        Some("name the person: --by kim".to_owned())
    }
}

/// `headwater decide`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
A listing is named SOURCE/ID, with the source's own id, or by its id on the topics listings and links. \
A later decision on a pair or a listing takes the place of an earlier one, whichever way round the two are named.

Examples:
  headwater decide same city-guide/1234 meetup/987 --by kim --because 'asked the venue'
  headwater decide different city-guide/1234 ticket-office/55 --because 'two stages'
  headwater decide moderate city-guide/1234 --as rejected --because spam
  headwater decide list --open                  what is overruled, waits or is not read yet
  headwater decide withdraw city-guide/1234 meetup/987
  headwater decide withdraw city-guide/1234     what was said of this one listing")]
pub enum DecideArgs {
    /// The two listings are one event
    #[command(after_help = "\
Examples:
  headwater decide same city-guide/1234 meetup/987
  headwater decide same city-guide/1234 meetup/987 --by kim --because 'asked the venue' --json")]
    Same(DecideOn),
    /// The two listings are not one event
    #[command(after_help = "\
Examples:
  headwater decide different city-guide/1234 ticket-office/55
  headwater decide different city-guide/1234 ticket-office/55 --because 'two stages'")]
    Different(DecideOn),
    /// The event of a listing is approved, flagged or rejected
    Moderate(ModerateArgs),
    /// Take back what was said of two listings, or of one
    Withdraw(WithdrawArgs),
    /// List the decisions, and what became of each
    List(DecisionsArgs),
}

/// `headwater decide same` and `headwater decide different`.
#[derive(Debug, Clone, Args)]
pub struct DecideOn {
    /// One listing: SOURCE/ID, or its id
    #[arg(value_parser = parse_listing)]
    pub a: ListingRef,
    /// The other one
    #[arg(value_parser = parse_listing)]
    pub b: ListingRef,
    /// Who decides [default: $USER, $LOGNAME, or else the system's name for the user]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// What an editor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SaidAs {
    /// It was looked at, and is right
    Approved,
    /// Somebody should look at it
    Flagged,
    /// It is not to be shown
    Rejected,
}

impl From<SaidAs> for Moderation {
    fn from(said: SaidAs) -> Self {
        match said {
            SaidAs::Approved => Self::Approved,
            SaidAs::Flagged => Self::Flagged,
            SaidAs::Rejected => Self::Rejected,
        }
    }
}

/// `headwater decide moderate`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
It is said of a listing, and holds for the event that this belongs to: an event has the gravest of what is said of \
its listings. Serving does not show what is rejected, unless it is asked for.

Examples:
  headwater decide moderate city-guide/1234 --as rejected --because spam
  headwater decide moderate city-guide/1234 --as flagged --by kim --json
  headwater decide withdraw city-guide/1234")]
pub struct ModerateArgs {
    /// The listing: SOURCE/ID, or its id
    #[arg(value_parser = parse_listing)]
    pub listing: ListingRef,
    /// What is said of it
    #[arg(long = "as", value_name = "WORD")]
    pub said: SaidAs,
    /// Who decides [default: $USER, $LOGNAME, or else the system's name for the user]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater decide withdraw`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
With two listings, what was said of the two is taken back; with one, whether it was approved, flagged or rejected.

Examples:
  headwater decide withdraw city-guide/1234 meetup/987
  headwater decide withdraw city-guide/1234
  headwater decide withdraw city-guide/1234 meetup/987 --json")]
pub struct WithdrawArgs {
    /// One listing: SOURCE/ID, or its id
    #[arg(value_parser = parse_listing)]
    pub a: ListingRef,
    /// The other one
    #[arg(value_parser = parse_listing)]
    pub b: Option<ListingRef>,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `headwater decide list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
States: holds (followed), waits (a listing is not live), overruled (newer decisions leave no room for \
it), pending (the topology has not read it yet), superseded (a newer one is on the same pair or listing, under \
another key).

Examples:
  headwater decide list
  headwater decide list --open
  headwater decide list --listing city-guide/1234 --json")]
pub struct DecisionsArgs {
    /// Only those that name this listing
    #[arg(long, value_name = "LISTING", value_parser = parse_listing)]
    pub listing: Option<ListingRef>,
    /// Only those that do not hold: overruled, waiting, pending
    #[arg(long)]
    pub open: bool,
    /// One JSON object a decision
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl DecideArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run(self) -> Outcome {
        match self {
            Self::Same(on) => on.run(Say::Same),
            Self::Different(on) => on.run(Say::Different),
            Self::Moderate(args) => args.run(),
            Self::Withdraw(args) => {
                let Opened { config, log, .. } = opened::<Sections>(&args.config)?;
                let changes = match args.b {
                    Some(b) => vec![withdraw(log.as_ref(), &config.runtime, [args.a, b])?],
                    None => unmoderate(log.as_ref(), &config.runtime, &[args.a])?,
                };
                write(log.as_ref(), changes, args.json)
            }
            Self::List(args) => {
                let Opened { config, log, .. } = opened::<Sections>(&args.config)?;
                let options = ListOptions { listing: args.listing, open: args.open, json: args.json };
                Ok(list(log.as_ref(), &config.runtime, &options, &mut io::stdout())?)
            }
        }
    }
}

impl DecideOn {
    fn run(self, say: Say) -> Outcome {
        let who = who(self.by, |variable| std::env::var(variable).ok(), system_user)?;
        let Opened { config, log, .. } = opened::<Sections>(&self.config)?;
        let new = NewDecision {
            say,
            listings: [self.a, self.b],
            who,
            why: self.because,
            at_ms: jiff::Timestamp::now().as_millisecond(),
        };
        write(log.as_ref(), vec![decide(log.as_ref(), &config.runtime, new)?], self.json)
    }
}

impl ModerateArgs {
    fn run(self) -> Outcome {
        let who = who(self.by, |variable| std::env::var(variable).ok(), system_user)?;
        let Opened { config, log, .. } = opened::<Sections>(&self.config)?;
        let new = NewModeration {
            moderation: self.said.into(),
            listings: vec![self.listing],
            who,
            why: self.because,
            at_ms: jiff::Timestamp::now().as_millisecond(),
        };
        write(log.as_ref(), moderate(log.as_ref(), &config.runtime, new)?, self.json)
    }
}

/// Writes changes, and prints what was changed.
fn write(log: &dyn Log, changes: Vec<Change>, json: bool) -> Outcome {
    for change in changes {
        print_result(&change.write(log)?, json)?;
    }
    Ok(())
}

/// Who decides: as named, or else as the environment or the `system` names the user. In a container there is
/// often no variable.
fn who(
    by: Option<String>,
    variable: impl Fn(&str) -> Option<String>,
    system: impl FnOnce() -> Option<String>,
) -> Result<String, Nobody> {
    let named = [by, variable("USER"), variable("LOGNAME")].into_iter().flatten();
    let is_name = |name: &String| !name.trim().is_empty();
    named.into_iter().find(is_name).or_else(|| system().filter(is_name)).ok_or(Nobody)
}

/// The user of this process: a name, or a number where it has no name.
fn system_user() -> Option<String> {
    let ask = |flags: &str| {
        let said = Command::new("id").arg(flags).stderr(Stdio::null()).output().ok()?;
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    ask("-un").or_else(|| Some(format!("user {}", ask("-u")?)))
}

/// Which decisions are listed, and how.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only those that name this listing.
    pub listing: Option<ListingRef>,
    /// Only those that do not hold: overruled, waiting, pending.
    pub open: bool,
    /// One JSON object a line.
    pub json: bool,
}

/// Prints the decisions: a table, or with `json` one JSON object a line.
///
/// # Errors
/// When the log fails, or nothing can be printed.
pub fn list(log: &dyn Log, config: &Runtime, options: &ListOptions, out: &mut dyn Write) -> Result<(), ToolError> {
    let (mut listed, unreadable) = decisions(log, config)?;
    listed.retain(|one| one.is_meant(options.listing.as_ref(), options.open));
    let printed = if options.json { print_json(&listed, out) } else { print_table(&listed, out) };
    if !still_read(printed)? {
        return Ok(());
    }
    if unreadable > 0 {
        let code = "headwater dead-letters list --code invalid-control";
        eprintln!("{unreadable} records of the topic are no decisions; `{code}` shows why");
    }
    if listed.is_empty() && !options.json {
        eprintln!("no decisions");
    }
    Ok(())
}

fn print_json(listed: &[Listed], out: &mut dyn Write) -> io::Result<()> {
    for one in listed {
        serde_json::to_writer(&mut *out, one)?;
        writeln!(out)?;
    }
    Ok(())
}

fn print_table(listed: &[Listed], out: &mut dyn Write) -> io::Result<()> {
    if listed.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = listed.iter().map(|one| listings_text(&one.decision)).collect();
    let widest = named.iter().map(|named| named.chars().count()).fold("LISTINGS".len(), usize::max);
    let who = listed.iter().map(|one| one.decision.who().chars().count()).fold("BY".len(), usize::max);
    writeln!(out, "STATE       SAYS       {:widest$}  {:who$}  WHEN                  BECAUSE", "LISTINGS", "BY")?;
    for (one, named) in listed.iter().zip(&named) {
        let decision = &one.decision;
        let (state, says, why) = (one.state.as_str(), says(decision), decision.why().unwrap_or(""));
        let (by, at) = (decision.who(), when(decision.at()));
        writeln!(out, "{state:10}  {says:9}  {named:widest$}  {by:who$}  {at}  {why}")?;
        for missing in &one.missing {
            writeln!(out, "            not live: {missing}")?;
        }
        for by in &one.overruled_by {
            writeln!(out, "            overruled by {}", describe(by))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decides_is_named_by_hand_or_by_the_system() {
        let in_system = |by: Option<&str>, variables: &[(&str, &str)], system: Option<&str>| {
            let of = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            who(by.map(str::to_owned), of, || system.map(str::to_owned)).map_err(|error| error.to_string())
        };
        let named = |by, variables: &[(&str, &str)]| in_system(by, variables, None);
        let both = [("USER", "root"), ("LOGNAME", "kim")];
        assert_eq!(named(Some("ada"), &both), Ok("ada".to_owned()));
        assert_eq!(named(None, &both), Ok("root".to_owned()));
        assert_eq!(named(None, &[("USER", ""), ("LOGNAME", "kim")]), Ok("kim".to_owned()));
        assert!(named(None, &[]).unwrap_err().contains("--by"));
        assert_eq!(in_system(None, &[("USER", " ")], Some("user 1000")), Ok("user 1000".to_owned()));
        assert_eq!(in_system(None, &both, Some("user 1000")), Ok("root".to_owned()));
    }
}
