//! A cluster that stays up for a person: started in the background, asked over a socket, entered, ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::control_plane::Kind;
use crate::namespaces;
use crate::report::Paint;
use crate::show::{ApiShow, Matrix, Show, Stage};
use crate::traffic::scaled;

const SOCKET: &str = "control.sock";
const PLACES: &str = "places.json";
const LOG: &str = "hold.log";
/// How a person reaches the API.
const KUBECONFIG: &str = "kubeconfig";

/// Where the cluster's stacks are.
#[derive(Serialize, Deserialize)]
struct Places {
    pid: u32,
    /// Threads by place.
    tids: BTreeMap<String, i32>,
}

/// What a cluster lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A Kubernetes API.
    Api,
    /// A directory of manifests.
    Files,
}

/// A cluster, on either.
#[derive(Debug)]
enum Held {
    Api(Box<ApiShow>),
    Files(Box<Show>),
}

impl Held {
    /// Starts it, with policies in force.
    async fn start(directory: &Path, samples: &Path, form: Form) -> Result<Self> {
        match form {
            Form::Api => {
                let show = ApiShow::start(Kind::chosen()?, directory, 1).await?;
                let marks = show.add(samples).await?;
                show.installation.settled(&marks).await?;
                Ok(Self::Api(Box::new(show)))
            }
            Form::Files => {
                let show = Show::start(directory).await?;
                let written = show.add(samples)?;
                show.deployment.settled(&written).await?;
                Ok(Self::Files(Box::new(show)))
            }
        }
    }

    fn stage(&self) -> &Stage {
        match self {
            Self::Api(show) => &show.stage,
            Self::Files(show) => &show.stage,
        }
    }

    async fn matrix(&self) -> Result<Matrix> {
        match self {
            Self::Api(show) => show.matrix().await,
            Self::Files(show) => show.matrix().await,
        }
    }
}

/// Starts a cluster in the background and waits until it is there.
pub async fn up(directory: &Path, samples: &Path, form: Form) -> Result<()> {
    namespaces::check()?;
    if ask(directory, "ping").await.is_ok() {
        bail!("a cluster is already up in {}: `palisade-e2e down` first", directory.display());
    }
    fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let samples = samples.canonicalize().with_context(|| samples.display().to_string())?;
    clear(&directory)?;
    let log = File::create(directory.join(LOG))?;
    let mut holder = Command::new(std::env::current_exe()?)
        .arg("hold")
        .arg("--dir")
        .arg(&directory)
        .arg("--samples")
        .arg(&samples)
        .args((form == Form::Files).then_some("--files"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let deadline = Instant::now() + scaled(Duration::from_secs(30));
    while ask(&directory, "ping").await.is_err() {
        if let Some(status) = holder.try_wait()? {
            bail!("{status}: {}", fs::read_to_string(directory.join(LOG)).unwrap_or_default().trim());
        }
        if Instant::now() > deadline {
            let _ = holder.kill();
            bail!("the cluster did not come up: see {}", directory.join(LOG).display());
        }
        sleep(Duration::from_millis(20)).await;
    }
    print!("{}", help(&directory, form)?);
    Ok(())
}

/// Removes what an earlier cluster left, apart from manifests, which a person may have edited: they step aside.
fn clear(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if ["home", "logs", "tls", "manifests.staging", "manifests.before"].contains(&&*name)
            || name.starts_with("state-")
        {
            fs::remove_dir_all(entry.path())?;
        } else if [SOCKET, PLACES, LOG, "tokens"].contains(&&*name)
            || ["ca-", "kubeconfig", "token-"].iter().any(|start| name.starts_with(start))
        {
            fs::remove_file(entry.path())?;
        }
    }
    let manifests = directory.join("manifests");
    if manifests.exists() {
        fs::rename(manifests, directory.join("manifests.before"))?;
    }
    Ok(())
}

/// What a person can do with the cluster.
fn help(directory: &Path, form: Form) -> Result<String> {
    let here = std::env::current_dir()?;
    let shown = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    let program = shown(&std::env::current_exe()?);
    let dir = shown(directory);
    let option = if dir == "target/demo" { String::new() } else { format!(" --dir {dir}") };
    let (_, state) = Stage::plan()?;
    let api = state
        .pods
        .get("shop/api")
        .and_then(|pod| pod.addresses.first())
        .context("the demo has no shop/api")?;
    let asked: &[(&str, &str)] = match form {
        Form::Files => &[],
        Form::Api => &[
            (
                "kubectl get anp,banp,cnp,netpol --all-namespaces",
                "the policies, and whether they are in force",
            ),
            ("kubectl describe anp tenants-apart", "one of them, with what became of it"),
            ("kubectl edit netpol --namespace shop api", "change one"),
        ],
    };
    let own = [
        (format!("{program} matrix{option}"), "who reaches whom, expected and observed"),
        (format!("{program} exec{option} shop/web -- curl -m1 {api}:8080"), "a program in a pod's network"),
        (
            format!("{program} exec{option} node:node-1 -- nft -t list table inet palisade"),
            "the table of a node",
        ),
        (format!("{program} down{option}"), "end it"),
    ];
    let asked = asked.iter().map(|(command, meaning)| ((*command).to_owned(), *meaning));
    let commands: Vec<(String, &str)> = asked.chain(own).collect();
    let width = commands.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let mut text = match form {
        Form::Files => format!(
            "The demo's cluster is up. Policies, pods and namespaces are the files in {dir}/manifests:\n\
             edit, add or remove them, and both nodes follow.\n\n"
        ),
        Form::Api => format!(
            "The demo's cluster is up, on a development API server. Work with it as with any cluster, and both nodes\n\
             follow:\n\n  export KUBECONFIG={}\n\n",
            directory.join(KUBECONFIG).display()
        ),
    };
    for (command, meaning) in commands {
        let _ = writeln!(text, "  {command:<width$}   # {meaning}");
    }
    let _ = writeln!(text, "\nLogs are in {dir}/logs.");
    Ok(text)
}

/// Holds the cluster until asked to end it.
pub async fn hold(directory: &Path, samples: &Path, form: Form) -> Result<()> {
    let held = Held::start(directory, samples, form).await?;
    let places = Places { pid: std::process::id(), tids: held.stage().cluster.stacks() };
    fs::write(directory.join(PLACES), serde_json::to_string_pretty(&places)?)?;
    let listener = UnixListener::bind(directory.join(SOCKET))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        match answer(stream, &held).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => eprintln!("{error:#}"),
        }
    }
    for file in [SOCKET, PLACES] {
        let _ = fs::remove_file(directory.join(file));
    }
    Ok(())
}

/// Answers one question; true: it was the last.
async fn answer(stream: UnixStream, held: &Held) -> Result<bool> {
    let mut stream = BufReader::new(stream);
    let mut question = String::new();
    timeout(Duration::from_secs(1), stream.read_line(&mut question)).await??;
    let reply = match question.trim() {
        "ping" | "down" => "ok\n".to_owned(),
        "matrix" => match held.matrix().await {
            Ok(matrix) => matrix.text(Paint::plain()),
            Err(error) => format!("error: {error:#}\n"),
        },
        other => format!("error: {other}?\n"),
    };
    stream.write_all(reply.as_bytes()).await?;
    Ok(question.trim() == "down")
}

/// Asks the cluster that is up.
pub async fn ask(directory: &Path, question: &str) -> Result<String> {
    let path = directory.join(SOCKET);
    let mut stream = UnixStream::connect(&path)
        .await
        .with_context(|| format!("no cluster is up in {}", directory.display()))?;
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    Ok(reply)
}

fn places(directory: &Path) -> Result<Places> {
    let path = directory.join(PLACES);
    let text =
        fs::read_to_string(path).with_context(|| format!("no cluster is up in {}", directory.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Becomes a program in the network of a place.
pub fn exec(directory: &Path, place: &str, program: &[String]) -> Result<()> {
    let places = places(directory)?;
    let tid = places.tids.get(place).with_context(|| {
        let known: Vec<&str> = places.tids.keys().map(String::as_str).collect();
        format!("there is no {place}: {}", known.join(", "))
    })?;
    let path = PathBuf::from(format!("/proc/{}/task/{tid}/ns/net", places.pid));
    let namespace =
        File::open(&path).with_context(|| format!("no cluster is up in {}", directory.display()))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
    let (name, arguments) = program.split_first().context("no program is given")?;
    Err(Command::new(name).args(arguments).exec()).with_context(|| name.clone())
}

/// Ends the cluster that is up, and waits until it is gone.
pub async fn down(directory: &Path) -> Result<()> {
    let pid = places(directory)?.pid;
    ask(directory, "down").await?;
    let deadline = Instant::now() + scaled(Duration::from_secs(10));
    while Path::new(&format!("/proc/{pid}")).exists() {
        if Instant::now() > deadline {
            bail!("process {pid} does not end");
        }
        sleep(Duration::from_millis(10)).await;
    }
    let manifests = directory.join("manifests");
    let stay = if manifests.exists() {
        format!(" Its manifests stay in {}.", manifests.display())
    } else {
        String::new()
    };
    println!("The demo's cluster is gone.{stay}");
    Ok(())
}
