//! The real binaries, started in the cluster's namespaces as a person would start them, killed and started again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{CONTROL, Cluster};
use crate::http;
use crate::manifests::Written;
use crate::namespaces::Stack;
use crate::traffic::scaled;

const GRPC_PORT: u16 = 9443;
const ADMIN_PORT: u16 = 9090;

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

/// An operator and a shim on each node.
#[derive(Debug)]
pub struct Deployment {
    /// The operator.
    pub operator: Daemon,
    /// Shims by node.
    pub shims: BTreeMap<String, Daemon>,
    control: Arc<Stack>,
    nodes: Vec<String>,
}

impl Deployment {
    /// Prepares daemons for every node of a cluster; their files live below a directory, manifests apart. Nothing is
    /// started.
    pub fn new(cluster: &Cluster, nodes: &[String], directory: &Path, manifests: &Path) -> Result<Self> {
        let binaries = Binaries::find()?;
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        fs::create_dir_all(directory.join("logs"))?;
        let mut tokens = String::new();
        let mut shims = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            let token = blake3::hash(format!("{index} {node} {}", directory.display()).as_bytes())
                .to_hex()
                .to_string();
            tokens.extend([&token, ",", node, "\n"]);
            let token_file = format!("token-{node}");
            secret(&directory.join(&token_file), &token)?;
            let command = [
                &*binaries.node.to_string_lossy(),
                "run",
                "--operator",
                &format!("https://{CONTROL}:{GRPC_PORT}"),
                "--server-name",
                "palisade-operator",
                "--ca",
                &path("tls/ca.crt"),
                "--token-file",
                &path(&token_file),
                "--state-dir",
                &path(&format!("state-{node}")),
            ];
            let log = directory.join(format!("logs/palisade-node-{node}.log"));
            let daemon = Daemon::new(
                &format!("palisade-node on {node}"),
                cluster.node(node)?,
                command.map(str::to_owned).into(),
                log,
            );
            shims.insert(node.clone(), daemon);
        }
        secret(&directory.join("tokens"), &tokens)?;
        let command = [
            &*binaries.operator.to_string_lossy(),
            "--manifests",
            &manifests.to_string_lossy(),
            "--listen",
            &format!("{CONTROL}:{GRPC_PORT}"),
            "--admin",
            &format!("{CONTROL}:{ADMIN_PORT}"),
            "--tokens",
            &path("tokens"),
            "--tls-dir",
            &path("tls"),
        ];
        let operator = Daemon::new(
            "palisade-operator",
            cluster.control(),
            command.map(str::to_owned).into(),
            directory.join("logs/palisade-operator.log"),
        );
        Ok(Self { operator, shims, control: Arc::clone(cluster.control()), nodes: nodes.to_vec() })
    }

    /// Starts the operator, waits until it answers, and starts every shim.
    pub async fn start(&mut self) -> Result<()> {
        self.start_operator().await?;
        for shim in self.shims.values_mut() {
            shim.start().await?;
        }
        Ok(())
    }

    /// Starts the operator and waits until it has taken in the manifests.
    pub async fn start_operator(&mut self) -> Result<()> {
        self.operator.start().await?;
        let deadline = Instant::now() + scaled(Duration::from_secs(20));
        loop {
            let answer = self.get("/readyz", Duration::from_secs(2)).await;
            match answer {
                Ok(response) if response.status == 200 => return Ok(()),
                _ if !self.operator.is_running() => {
                    bail!("palisade-operator ended:\n{}", tail(&self.operator.log_text()));
                }
                _ if Instant::now() > deadline => {
                    let why = answer
                        .map_or_else(|error| format!("{error:#}"), |response| response.status.to_string());
                    bail!("palisade-operator is not ready ({why}):\n{}", tail(&self.operator.log_text()));
                }
                // Nothing listens yet, so there is nothing to wait on but time.
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Fetches a path from the operator's admin endpoint.
    pub async fn get(&self, path: &str, limit: Duration) -> Result<http::Response> {
        http::get(&self.control, SocketAddr::new(CONTROL.parse()?, ADMIN_PORT), path, scaled(limit)).await
    }

    /// The operator's own account of itself.
    pub async fn state(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/debug/state", Duration::from_secs(5)).await?.body)?)
    }

    /// Waits until every node obeys what was written.
    pub async fn settled(&self, written: &[Written]) -> Result<()> {
        self.settled_on(written, &self.nodes).await
    }

    /// Waits until the given nodes obey what was written.
    pub async fn settled_on(&self, written: &[Written], nodes: &[String]) -> Result<()> {
        // Generous: a kernel that takes many namespaces down at once may hold up a transaction for seconds.
        let limit = scaled(Duration::from_secs(45));
        let queries = if written.is_empty() {
            vec![String::new()]
        } else {
            written.iter().map(|w| format!("file={}&digest={}&", w.file, w.digest)).collect()
        };
        for query in queries {
            let path =
                format!("/debug/settled?{query}nodes={}&timeout_ms={}", nodes.join(","), limit.as_millis());
            let response = self.get(&path, limit + Duration::from_secs(5)).await?;
            if response.status != 200 {
                bail!("not settled within {limit:?} ({}): {path}\n{}", response.status, response.body);
            }
        }
        Ok(())
    }
}

fn secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// The last lines of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
