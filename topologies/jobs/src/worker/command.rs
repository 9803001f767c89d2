//! Jobs that are done by a command: a child process for each.
//!
//! The payload comes on stdin. `HEADWATER_JOB`, `HEADWATER_QUEUE`, `HEADWATER_ATTEMPT` and `HEADWATER_LEASE` say what
//! is done. On stdout, a line `progress 0.4 text` tells how far it has come, and a line `result JSON` what it gave: the
//! last one counts. Without one, the result is `{"output": …}` with the last 64 KiB of all other lines. Exit code 0
//! is done; 65 (bad data) fails without another attempt; all others fail, 75 (a temporary failure) too, and another
//! attempt may be made.
//!
//! A job that is to stop gets SIGTERM, and after a while SIGKILL, as does all that it has started: the command leads a
//! process group of its own. Whatever it says then, it is not done: many programs exit with 0 on SIGTERM. What a
//! command leaves behind in its group when it ends by itself is killed.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid};
use serde_json::Value;

use super::context::JobContext;
use super::handler::{Handler, HandlerError};
use super::output::{Output, Tail};
use crate::client::LeasedJob;

/// How often a child is looked at, at first and later.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// What a child has written is there when it ends, unless somebody else holds its end of the pipe.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// So long what was killed in a group may take to be gone.
const GONE: Duration = Duration::from_secs(1);

/// The code of a command that was told to stop.
const STOPPED: &str = "stopped";

/// The exit code for data that are wrong (EX_DATAERR): another attempt does not help.
const BAD_DATA: i32 = 65;

/// Does jobs by a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandHandler {
    program: OsString,
    arguments: Vec<OsString>,
    grace: Duration,
}

impl CommandHandler {
    /// Starts `program` with `arguments` for each job. Between SIGTERM and SIGKILL there is `grace`.
    pub fn new(program: impl Into<OsString>, arguments: Vec<OsString>, grace: Duration) -> Self {
        Self { program: program.into(), arguments, grace }
    }

    fn start(&self, job: &LeasedJob) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("HEADWATER_JOB", &job.id).env("HEADWATER_QUEUE", &job.queue);
        // The key is the worker's: a command, and what it starts, may not act for it.
        command.env_remove("HEADWATER_KEY");
        command.env("HEADWATER_ATTEMPT", job.attempt.to_string()).env("HEADWATER_LEASE", job.lease.to_string());
        command.process_group(0).spawn()
    }
}

impl Handler for CommandHandler {
    fn run(&self, job: &LeasedJob, context: &JobContext) -> Result<Value, HandlerError> {
        let program = self.program.display();
        let wrong = |error: io::Error| HandlerError::new("command-failed", format!("{program}: {error}"));
        let mut child = self.start(job).map_err(wrong)?;
        let mut leader = Leader::new(&mut child);
        let heard = leader.hear(job, context).and_then(|pipes| Ok((pipes, leader.wait(context, self.grace)?)));
        let (pipes, ended) = heard.map_err(|error| {
            // Nobody hears or feeds it.
            leader.kill();
            wrong(error)
        })?;
        let (output, errors) = pipes.end(context);
        match ended {
            Ended::Stopped(status) => Err(HandlerError::new(STOPPED, said(status, &errors))),
            Ended::Itself(status) if status.success() => output.result(),
            Ended::Itself(status) => Err(failure(status, &errors)),
        }
    }
}

/// What a command has said to stderr, or else how it has ended.
fn said(status: ExitStatus, errors: &str) -> String {
    let said = errors.trim();
    if said.is_empty() { format!("the command ended with {status}") } else { said.to_owned() }
}

fn failure(status: ExitStatus, errors: &str) -> HandlerError {
    let message = said(status, errors);
    match (status.code(), status.signal()) {
        (Some(BAD_DATA), _) => HandlerError::new(format!("exit-{BAD_DATA}"), message).without_retry(),
        (Some(code), _) => HandlerError::new(format!("exit-{code}"), message),
        (None, Some(signal)) => HandlerError::new(format!("signal-{signal}"), message),
        (None, None) => HandlerError::new("command-failed", message),
    }
}

/// How a command has ended.
enum Ended {
    /// By itself.
    Itself(ExitStatus),
    /// After it was told to stop.
    Stopped(ExitStatus),
}

/// A child that leads a process group.
struct Leader<'c> {
    child: &'c mut Child,
    group: Pid,
    look: Duration,
}

impl<'c> Leader<'c> {
    fn new(child: &'c mut Child) -> Self {
        let group = Pid::from_child(child);
        Self { child, group, look: LOOKS.0 }
    }

    fn hear(&mut self, job: &LeasedJob, context: &JobContext) -> io::Result<Pipes> {
        Pipes::of(self.child, job, context)
    }

    /// Waits until it has ended, and with it its group. Once the job is to stop, it is asked to, and after `grace` made
    /// to.
    fn wait(&mut self, context: &JobContext, grace: Duration) -> io::Result<Ended> {
        while !self.has_ended()? {
            if context.wait_cancelled(self.next_look()) && !self.has_ended()? {
                return self.stop(context, grace).map(Ended::Stopped);
            }
        }
        // While it has not been waited for, no other group can have its number.
        self.signal(Signal::KILL);
        let status = self.child.wait()?;
        self.bury();
        Ok(Ended::Itself(status))
    }

    fn stop(&mut self, context: &JobContext, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.look = LOOKS.0;
        let until = Instant::now() + grace;
        let mut status = None;
        loop {
            if status.is_none() {
                status = self.child.try_wait()?;
            }
            if let Some(status) = status.filter(|_| self.is_empty()) {
                return Ok(status);
            }
            if context.is_hurried() || Instant::now() >= until {
                break;
            }
            let look = self.next_look().min(until.saturating_duration_since(Instant::now()));
            std::thread::sleep(look);
        }
        self.signal(Signal::KILL);
        let status = status.map_or_else(|| self.child.wait(), Ok)?;
        self.bury();
        Ok(status)
    }

    /// Ends it and its group at once.
    fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Err(error) = self.child.wait() {
            tracing::debug!(%error, "a command cannot be waited for");
        }
        self.bury();
    }

    /// Waits for those of a killed group that are children of this process. They are where the leader was their parent
    /// and this process is the first of a container: nobody else waits for them.
    fn bury(&self) {
        let until = Instant::now() + GONE;
        while self.has_children() && Instant::now() < until {
            std::thread::sleep(LOOKS.0);
        }
    }

    /// Whether nobody is left in the group of a leader that was waited for. Those that nobody has waited for count.
    fn is_empty(&self) -> bool {
        self.has_children();
        test_kill_process_group(self.group).is_err()
    }

    /// Waits for those that have ended in the group of a leader that was waited for, and says whether there are more
    /// children of this process in it.
    fn has_children(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        loop {
            match waitid(WaitId::Pgid(Some(self.group)), options) {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Whether it has ended; it stays to be waited for.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.group), options)?.is_some())
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(self.group, signal) {
            // It may have gone just now.
            tracing::debug!(%error, ?signal, "a process group cannot be signalled");
        }
    }

    fn next_look(&mut self) -> Duration {
        let look = self.look;
        self.look = (look * 2).min(LOOKS.1);
        look
    }
}

/// What a child says, read on threads of their own: a child that is not heard stands still.
struct Pipes {
    output: Arc<Mutex<Output>>,
    errors: Arc<Mutex<Tail>>,
    read: Receiver<()>,
}

impl Pipes {
    fn of(child: &mut Child, job: &LeasedJob, context: &JobContext) -> io::Result<Self> {
        let (ended, read) = bounded(2);
        let pipes =
            Self { output: Arc::new(Mutex::new(Output::new())), errors: Arc::new(Mutex::new(Tail::of_errors())), read };
        if let Some(stdin) = child.stdin.take() {
            feed(stdin, job.payload.get().to_owned())?;
        }
        if let Some(stdout) = child.stdout.take() {
            let (output, context) = (Arc::clone(&pipes.output), context.clone());
            hear(stdout, ended.clone(), move |bytes| locked(&output).push(bytes, &context))?;
        }
        if let Some(stderr) = child.stderr.take() {
            let errors = Arc::clone(&pipes.errors);
            hear(stderr, ended, move |bytes| locked(&errors).push(bytes))?;
        }
        Ok(pipes)
    }

    /// What has been said, once all of it has been read, or whoever holds a pipe has been waited for.
    fn end(self, context: &JobContext) -> (Output, String) {
        let until = Instant::now() + LAST_OUTPUT;
        // Both threads drop their senders at the end.
        while self.read.recv_deadline(until).is_ok() {}
        let mut output = std::mem::replace(&mut *locked(&self.output), Output::new());
        output.end(context);
        let errors = locked(&self.errors).clone().text();
        (output, errors)
    }
}

fn feed(mut stdin: impl Write + Send + 'static, payload: String) -> io::Result<()> {
    let work = move || {
        // A command need not read its payload.
        let _ = stdin.write_all(payload.as_bytes());
    };
    std::thread::Builder::new().name("job-stdin".to_owned()).spawn(work)?;
    Ok(())
}

fn hear(
    mut pipe: impl Read + Send + 'static,
    ended: Sender<()>,
    mut each: impl FnMut(&[u8]) + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let mut bytes = vec![0; 16 << 10];
        loop {
            match pipe.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => each(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        drop(ended);
    };
    std::thread::Builder::new().name("job-output".to_owned()).spawn(work)?;
    Ok(())
}

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::worker::Cancellation;

    fn job() -> LeasedJob {
        serde_json::from_value(json!({
            "id": "j-1", "queue": "q", "lease": 7, "attempt": 2, "maxAttempts": 3, "payload": {"n": 1},
            "until": "2026-12-01T10:00:00Z", "heartbeatWithinMs": 30_000,
        }))
        .unwrap()
    }

    fn shell(script: &str, grace: Duration) -> CommandHandler {
        CommandHandler::new("sh", vec!["-c".into(), script.into()], grace)
    }

    fn run(script: &str) -> Result<Value, HandlerError> {
        shell(script, Duration::from_secs(10)).run(&job(), &JobContext::detached())
    }

    #[test]
    fn a_command_is_told_its_job_and_gives_a_result() {
        let said = "echo $HEADWATER_JOB $HEADWATER_QUEUE $HEADWATER_ATTEMPT $HEADWATER_LEASE; cat";
        assert_eq!(run(said).unwrap(), json!({ "output": "j-1 q 2 7\n{\"n\":1}" }));
        assert_eq!(run("echo noise; echo 'result [1, 2]'").unwrap(), json!([1, 2]));
    }

    #[test]
    fn how_a_command_fails_is_a_code_and_a_message() {
        let failed = |script: &str| run(script).unwrap_err();
        assert_eq!(failed("echo no disk >&2; exit 3"), HandlerError::new("exit-3", "no disk"));
        assert_eq!(failed("exit 65").code, "exit-65");
        assert!(!failed("exit 65").retry && failed("exit 75").retry);
        assert_eq!(failed("kill -9 $$").code, "signal-9");
        let long = failed("yes error | head -c 100000 >&2; exit 1");
        assert!(long.message.len() <= 4_096 && long.message.len() > 4_000);
        let gone = CommandHandler::new("no/such/command", Vec::new(), Duration::ZERO);
        assert_eq!(gone.run(&job(), &JobContext::detached()).unwrap_err().code, "command-failed");
    }

    #[test]
    fn a_payload_that_is_not_read_stops_nobody() {
        let mut large = job();
        large.payload = serde_json::value::to_raw_value(&"x".repeat(1 << 20)).unwrap();
        let handler = shell("echo 'result 1'", Duration::ZERO);
        assert_eq!(handler.run(&large, &JobContext::detached()).unwrap(), json!(1));
    }

    /// Cancels when the script has said that it runs, and tells how long the end took then.
    fn cancelled(script: &str, grace: Duration) -> (Result<Value, HandlerError>, Duration) {
        stopped(script, grace, |context| context.cancel(Cancellation::Cancelled))
    }

    fn stopped(script: &str, grace: Duration, end: fn(&JobContext)) -> (Result<Value, HandlerError>, Duration) {
        let context = JobContext::detached();
        let (own, handler) = (context.clone(), shell(script, grace));
        let ends = std::thread::spawn(move || handler.run(&job(), &own));
        while !context.has_changed() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let begun = Instant::now();
        end(&context);
        (ends.join().unwrap(), begun.elapsed())
    }

    #[test]
    fn a_cancelled_command_may_clean_up() {
        let script = "trap 'echo cleaned >&2; exit 9' TERM; echo progress 0.1; while :; do sleep 0.01; done";
        let (ended, took) = cancelled(script, Duration::from_secs(10));
        let stopped = ended.unwrap_err();
        assert!(stopped.code == "stopped" && stopped.message.ends_with("cleaned"), "{stopped}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn a_command_that_does_not_stop_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let inner = format!("(trap '' TERM; while :; do touch {}; sleep 0.01; done) & ", mark.display());
        let script = format!("trap '' TERM; {inner} echo progress 0.1; while :; do sleep 0.01; done");
        let (ended, took) = cancelled(&script, Duration::from_millis(300));
        let told = ended.unwrap_err().to_string();
        assert!(told.starts_with("stopped: the command ended with signal: 9"), "{told}");
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
        std::thread::sleep(Duration::from_millis(50));
        std::fs::remove_file(&mark).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(!mark.exists());
    }

    #[test]
    fn what_a_command_has_started_may_clean_up_though_the_command_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("cleaned");
        let inner = format!(
            "sh -c \"trap 'sleep 0.2; touch {}; exit' TERM; echo progress 0.1; while :; do sleep 0.01; done\" &",
            mark.display()
        );
        let (ended, _) = cancelled(&format!("{inner} exec sleep 60"), Duration::from_secs(10));
        assert_eq!(ended.unwrap_err().code, "stopped");
        assert!(mark.exists());
    }

    #[test]
    fn what_a_command_leaves_behind_neither_holds_it_up_nor_stays() {
        let begun = Instant::now();
        assert_eq!(run("sleep 60 & echo 'result 5'").unwrap(), json!(5));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_command_that_was_told_to_stop_is_not_done_whatever_it_says() {
        let script = "trap 'echo result 1; exit 0' TERM; echo progress 0.1; while :; do sleep 0.01; done";
        let (ended, _) = cancelled(script, Duration::from_secs(10));
        assert_eq!(ended.unwrap_err().code, "stopped");
    }

    #[test]
    fn a_command_that_is_in_the_way_is_killed_without_grace() {
        let script = "trap '' TERM; echo progress 0.1; while :; do sleep 0.01; done";
        let (ended, took) = stopped(script, Duration::from_secs(60), |context| {
            context.cancel(Cancellation::Stopping);
            context.hurry();
        });
        assert_eq!(ended.unwrap_err().code, "stopped");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_that_a_command_has_started_stays_as_a_zombie() {
        // As the first process of a container: what has no parent becomes a child of this one.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("group");
        let is_clean = || {
            let group: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pgid(Pid::from_raw(group)), options).is_err()
        };
        let begin = format!("echo $$ > {}; sleep 60 & sleep 60 &", file.display());
        assert_eq!(run(&format!("{begin} echo 'result 5'")).unwrap(), json!(5));
        assert!(is_clean());
        let begun = Instant::now();
        let (ended, _) = cancelled(&format!("{begin} echo progress 0.1; exec sleep 60"), Duration::from_secs(30));
        assert!(ended.is_err() && is_clean() && begun.elapsed() < Duration::from_secs(10));
    }
}
