//! The real binaries, started in the cluster's namespaces as a person would start them, killed and started again.

mod admin;
mod deployment;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::namespaces::Stack;
use crate::traffic::scaled;

pub use admin::Admin;
pub use deployment::Deployment;

/// The binaries under test.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `palisade-operator`
    pub operator: PathBuf,
    /// `palisade-node`
    pub node: PathBuf,
}

impl Binaries {
    /// Looks beside the running program, where cargo puts binaries and, one level below, tests.
    pub fn find() -> Result<Self> {
        let program = std::env::current_exe()?;
        let beside: Vec<&Path> = program.ancestors().skip(1).take(2).collect();
        let find = |name: &str| {
            beside
                .iter()
                .map(|directory| directory.join(name))
                .find(|path| path.is_file())
                .with_context(|| format!("{name} is not built: run `cargo build --bins` first"))
        };
        Ok(Self { operator: find("palisade-operator")?, node: find("palisade-node")? })
    }
}

/// A program in a namespace. It dies with this process, however this process dies.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    stack: Arc<Stack>,
    command: Vec<String>,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    pid: i32,
    exit: oneshot::Receiver<String>,
}

impl Daemon {
    /// A daemon that is not started yet.
    pub fn new(name: &str, stack: &Arc<Stack>, command: Vec<String>, log: PathBuf) -> Self {
        Self { name: name.to_owned(), stack: Arc::clone(stack), command, log, running: None }
    }

    /// Its log, of all its lives.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its command line.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// Changes its command line for its next life.
    pub fn command_mut(&mut self) -> &mut Vec<String> {
        &mut self.command
    }

    /// Starts it.
    pub async fn start(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("{} is already running", self.name);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .context(self.log.display().to_string())?;
        // The kernel kills it when this process dies. Had this process died before that was arranged, its parent
        // would be another by now: then it must not start.
        let guard = format!("test $PPID -eq {} && exec \"$@\"", std::process::id());
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", &guard, "sh"])
            .args(&self.command)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let (exited, exit) = oneshot::channel();
        let mut child = self
            .stack
            .run(move || async move { command.spawn() })
            .await?
            .with_context(|| format!("starting {}", self.name))?;
        let pid = child.id().context("ended at once")?.try_into()?;
        self.stack.spawn(move || async move {
            let status = child.wait().await;
            let _ = exited.send(status.map_or_else(|error| error.to_string(), |status| status.to_string()));
        })?;
        self.running = Some(Running { pid, exit });
        Ok(())
    }

    /// Whether it is started and has not ended.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| {
            matches!(running.exit.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        })
    }

    /// Its process, if started.
    pub fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Sends it a signal and waits for its end; gives its exit status.
    pub async fn stop(&mut self, signal: Signal) -> Result<String> {
        let running = self.running.take().with_context(|| format!("{} is not running", self.name))?;
        kill(Pid::from_raw(running.pid), signal).with_context(|| format!("killing {}", self.name))?;
        let limit = scaled(Duration::from_secs(10));
        timeout(limit, running.exit)
            .await
            .with_context(|| format!("{} did not end", self.name))?
            .context("no status")
    }

    /// Waits for it to end by itself; gives its exit status.
    pub async fn ended(&mut self, limit: Duration) -> Result<String> {
        let running = self.running.take().with_context(|| format!("{} is not running", self.name))?;
        timeout(scaled(limit), running.exit)
            .await
            .with_context(|| format!("{} did not end", self.name))?
            .context("no status")
    }

    /// The log's text.
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Writes a file that only its owner reads.
pub(crate) fn secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// The last lines of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
