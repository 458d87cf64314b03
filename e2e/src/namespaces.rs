//! Network namespaces that cannot outlive the process, and work done inside them.
//!
//! An [`Arena`] is one thread in a private mount and network namespace; each [`Stack`] is one thread in a network
//! namespace of its own, with an async runtime whose sockets and child processes belong to that namespace. Nothing
//! is ever made in the host's namespaces, so when the process ends, however it ends, the kernel takes everything
//! away. Knows nothing of clusters.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, gettid};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

/// Where iproute2 looks for named network namespaces.
const NAMED: &str = "/run/netns";

type Chore = Box<dyn FnOnce() + Send>;
type Job = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Checks what namespaces need of the machine.
pub fn check() -> Result<()> {
    if !Uid::effective().is_root() {
        bail!(
            "network namespaces need root: run as root, or in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN"
        );
    }
    for tool in ["ip", "nft", "setpriv"] {
        let found =
            ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(tool).exists());
        if !found {
            bail!("`{tool}` is not installed: install iproute2, nftables and util-linux");
        }
    }
    Ok(())
}

/// A probe of every type of service to every pod opens more files than a login shell is usually granted at first. What
/// is not allowed here is no error: few scenarios need it.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// A private mount and network namespace, held by a thread of its own.
#[derive(Debug)]
pub struct Arena {
    chores: Option<blocking::Sender<Chore>>,
    thread: Option<JoinHandle<()>>,
}

impl Arena {
    /// Makes a private mount and network namespace.
    pub async fn new() -> Result<Self> {
        check()?;
        raise_file_limit();
        let (chores, inbox) = blocking::channel::<Chore>();
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::Builder::new().name("arena".into()).spawn(move || {
            let entered = enter_arena();
            let is_alive = entered.is_ok();
            let _ = ready.send(entered);
            if is_alive {
                for chore in inbox {
                    chore();
                }
            }
        })?;
        is_ready.await.context("the arena's thread ended")??;
        Ok(Self { chores: Some(chores), thread: Some(thread) })
    }

    /// Makes a named network namespace with a thread in it.
    pub async fn stack(&self, name: &str) -> Result<Stack> {
        let (made, is_made) = oneshot::channel();
        let owned = name.to_owned();
        let chores = self.chores.as_ref().context("the arena is closed")?;
        // The stack's thread must be a child of the arena's, to inherit its mount namespace.
        let chore: Chore = Box::new(move || drop(made.send(Stack::start(owned))));
        chores.send(chore).map_err(|_| anyhow!("the arena's thread ended"))?;
        let (mut stack, ready) = is_made.await.context("the arena's thread ended")??;
        stack.tid = ready
            .await
            .context("the namespace's thread ended")?
            .with_context(|| format!("namespace {name}"))?;
        Ok(stack)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.chores = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter_arena() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("unshare of mount and network namespace")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")?;
    if !Path::new(NAMED).exists() {
        // Not even an empty directory is left behind on a host that has none.
        mount(Some("palisade-e2e"), "/run", Some("tmpfs"), MsFlags::empty(), none)
            .context("tmpfs on /run")?;
        fs::create_dir_all(NAMED).context(NAMED)?;
    }
    mount(Some("palisade-e2e"), NAMED, Some("tmpfs"), MsFlags::empty(), none)
        .context("tmpfs on /run/netns")?;
    Ok(())
}

/// A network namespace with a thread in it that runs async work.
#[derive(Debug)]
pub struct Stack {
    name: String,
    tid: i32,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Stack {
    fn start(name: String) -> Result<(Self, oneshot::Receiver<Result<i32>>)> {
        let (jobs, inbox) = mpsc::unbounded_channel::<Job>();
        let (ready, is_ready) = oneshot::channel();
        let inner = name.clone();
        let thread = std::thread::Builder::new().name(format!("ns-{name}")).spawn(move || {
            match enter_stack(&inner) {
                Ok(runtime) => {
                    let _ = ready.send(Ok(gettid().as_raw()));
                    LocalSet::new().block_on(&runtime, work(inbox));
                }
                Err(error) => drop(ready.send(Err(error))),
            }
            let path = Path::new(NAMED).join(&inner);
            let _ = umount2(&path, MntFlags::MNT_DETACH);
            let _ = fs::remove_file(&path);
        })?;
        Ok((Self { name, tid: 0, jobs: Some(jobs), thread: Some(thread) }, is_ready))
    }

    /// The namespace's name, under which `ip netns` knows it inside the arena.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The thread that lives in the namespace: `/proc/PID/task/TID/ns/net` is the namespace.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// Runs async work inside the namespace. Sockets that it makes and processes that it spawns belong to the
    /// namespace. The work ends early if the caller stops waiting for it.
    pub async fn run<T, F, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce() -> F + Send + 'static,
    {
        let (mut done, is_done) = oneshot::channel();
        let job: Job = Box::new(move || {
            async move {
                let value = tokio::select! {
                    value = work() => value,
                    () = done.closed() => return,
                };
                let _ = done.send(value);
            }
            .boxed_local()
        });
        let jobs = self.jobs.as_ref().context("the namespace is closed")?;
        jobs.send(job).map_err(|_| anyhow!("namespace {}: its thread ended", self.name))?;
        is_done.await.map_err(|_| anyhow!("namespace {}: its thread ended", self.name))
    }

    /// Starts async work inside the namespace that goes on until it ends by itself or the stack is dropped.
    pub fn spawn<F, W>(&self, work: W) -> Result<()>
    where
        F: Future<Output = ()> + 'static,
        W: FnOnce() -> F + Send + 'static,
    {
        let jobs = self.jobs.as_ref().context("the namespace is closed")?;
        jobs.send(Box::new(move || work().boxed_local()))
            .map_err(|_| anyhow!("namespace {}: its thread ended", self.name))
    }

    /// Runs a program inside the namespace to its end, with text on its standard input; gives its standard output.
    pub async fn command(&self, program: &str, arguments: &[&str], input: String) -> Result<String> {
        let program = program.to_owned();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let line = format!("{}: {program} {}", self.name, arguments.join(" "));
        self.run(move || run_program(program, arguments, input)).await?.context(line)
    }

    /// Runs iproute2 commands, one a line.
    pub async fn ip(&self, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let script = lines.join("\n") + "\n";
        self.command("ip", &["-batch", "-"], script.clone()).await.map(drop).context(script)
    }

    /// Sets kernel parameters of the namespace, by path below `/proc/sys/net`. Unknown ones are skipped where the
    /// name starts with a question mark.
    pub async fn sysctl(&self, settings: &'static [(&'static str, &'static str)]) -> Result<()> {
        self.run(move || async move {
            for (path, value) in settings {
                let (path, is_optional) = path.strip_prefix('?').map_or((*path, false), |path| (path, true));
                let full = format!("/proc/sys/net/{path}");
                if is_optional && !Path::new(&full).exists() {
                    continue;
                }
                fs::write(&full, value).with_context(|| format!("{full} = {value}"))?;
            }
            Ok(())
        })
        .await?
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter_stack(name: &str) -> Result<tokio::runtime::Runtime> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare of the network namespace")?;
    let path = Path::new(NAMED).join(name);
    fs::File::create_new(&path).with_context(|| path.display().to_string())?;
    let none: Option<&str> = None;
    mount(Some("/proc/thread-self/ns/net"), &path, none, MsFlags::MS_BIND, none)
        .context("naming the namespace")?;
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn work(mut inbox: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = inbox.recv().await {
        tokio::task::spawn_local(job());
    }
}

async fn run_program(program: String, arguments: Vec<String>, input: String) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let feed = async move {
        // A program that fails early does not read on: what it says on its standard error is the error then.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
