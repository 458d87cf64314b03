//! The program as a person uses it: demo, a cluster that stays up, and what is left when it is killed.

mod trial;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::FutureExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_e2e::hold;
use palisade_e2e::kubectl::Kubectl;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::traffic::scaled;
use tokio::time::{Instant, sleep};

fn main() -> ExitCode {
    trial::run(vec![
        trial::packets("demo", |_| async { demo() }.boxed_local()),
        trial::packets("demo_files", |_| async { demo_files() }.boxed_local()),
        trial::packets("up_matrix_exec_down", |directory| {
            async move { up(&directory, &[], edit_by_kubectl) }.boxed_local()
        }),
        trial::packets("up_matrix_exec_down_files", |directory| {
            async move { up(&directory, &["--files"], edit_manifest) }.boxed_local()
        }),
        trial::packets("a_killed_cluster_leaves_nothing", |directory| killed(directory).boxed_local()),
    ])
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade-e2e"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

/// Runs the program to its end; gives what it said.
fn run(arguments: &[&str]) -> Result<String> {
    let output = program().args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {}\n{said}{complained}", output.status);
    Ok(said)
}

fn demo() -> Result<()> {
    let said = run(&["demo"])?;
    ensure!(said.matches("288 of 288 probes as expected").count() == 2, "{said}");
    ensure!(said.contains("denied: isolation ingress NetworkPolicy/shop/db"), "{said}");
    ensure!(said.matches("(in-sync)").count() == 4, "the operator says who judges:\n{said}");
    for typed in [
        "$ kubectl apply -f config/samples",
        "$ kubectl get anp,banp,cnp,netpol --all-namespaces",
        "$ kubectl describe anp quarantine",
        "$ kubectl patch anp live-edit --type=json",
    ] {
        ensure!(said.contains(typed), "`{typed}` is not shown:\n{said}");
    }
    ensure!(said.contains("packets stop") && said.contains("packets pass"), "{said}");
    ensure!(said.contains("matchExpressions[0].operator: fails closed"), "{said}");
    ensure!(!said.contains('\u{1b}'), "no colours where there is no terminal");
    Ok(())
}

fn demo_files() -> Result<()> {
    let said = run(&["demo", "--files"])?;
    ensure!(said.matches("288 of 288 probes as expected").count() == 2, "{said}");
    ensure!(said.contains("denied: isolation ingress NetworkPolicy/shop/db"), "{said}");
    ensure!(said.matches("(in-sync)").count() == 4, "the operator says who judges:\n{said}");
    ensure!(said.contains("packets stop") && said.contains("packets pass"), "{said}");
    ensure!(!said.contains('\u{1b}'), "no colours where there is no terminal");
    Ok(())
}

/// A person's change of a policy in a cluster that is up.
type Edit = fn(&Path) -> Result<()>;

fn edit_manifest(dir: &Path) -> Result<()> {
    Ok(fs::remove_file(dir.join("manifests/90-default.yaml"))?)
}

fn edit_by_kubectl(dir: &Path) -> Result<()> {
    let kubectl = Kubectl::find(&dir.join("kubeconfig"), &dir.join("home"))?;
    let said = kubectl.call(&["delete", "banp", "default"], "")?;
    ensure!(said.status.success(), "{said:?}");
    Ok(())
}

fn up(directory: &RunDir, form: &[&str], edit: Edit) -> Result<()> {
    let dir = directory.path().join("up").to_string_lossy().into_owned();
    let at = ["--dir", &dir];
    let said = run(&[&["up"], &at[..], form].concat())?;
    let way = if form.is_empty() { "export KUBECONFIG=" } else { "/manifests:" };
    let result = look_around(&at, Path::new(&dir), edit);
    let pid = holder(Path::new(&dir));
    run(&[&["down"], &at[..]].concat())?;
    result?;
    ensure!(said.contains(way), "{said}");
    ensure!(!Path::new(&format!("/proc/{}", pid?)).exists(), "it is still there");
    ensure!(run(&[&["matrix"], &at[..]].concat()).is_err(), "nothing is up any more");
    Ok(())
}

fn look_around(at: &[&str; 2], dir: &Path, edit: Edit) -> Result<()> {
    ensure!(run(&[&["up"], &at[..]].concat()).is_err(), "a second cluster in the same place");
    let before = run(&[&["matrix"], &at[..]].concat())?;
    ensure!(before.contains("w...") && !differs(&before), "{before}");
    let link = run(&[&["exec"], &at[..], &["shop/web", "--", "ip", "-4", "-brief", "address"]].concat())?;
    ensure!(link.contains("10.244.1.12"), "{link}");
    let table = run(&[&["exec"], &at[..], &["node:node-1", "--", "nft", "list", "tables"]].concat())?;
    ensure!(table.contains("inet palisade"), "{table}");
    // A person edits a policy, and packets follow.
    edit(dir)?;
    let deadline = Instant::now() + scaled(Duration::from_secs(20));
    loop {
        let after = run(&[&["matrix"], &at[..]].concat())?;
        if !differs(&after) && after != before {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "packets do not follow:\n{after}");
    }
}

/// Whether a matrix shows a cell that is not as expected; the legend below it explains the mark.
fn differs(matrix: &str) -> bool {
    matrix.lines().any(|line| line.contains('!') && !line.contains("! not as expected"))
}

fn holder(dir: &Path) -> Result<i32> {
    let places: serde_json::Value = serde_json::from_str(&fs::read_to_string(dir.join("places.json"))?)?;
    Ok(places["pid"].as_i64().context("no pid")?.try_into()?)
}

async fn killed(directory: Arc<RunDir>) -> Result<()> {
    let dir = directory.path().join("killed");
    fs::create_dir(&dir)?;
    let named = || {
        fs::read_dir("/run/netns")
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect::<BTreeSet<_>>())
            .unwrap_or_default()
    };
    let before = named();
    let mut child = program()
        .args(["hold", "--samples", "config/samples", "--dir"])
        .arg(&dir)
        .stdout(Stdio::null())
        .spawn()?;
    let limit = scaled(Duration::from_secs(30));
    wait("it comes up", limit, async || hold::ask(&dir, "ping").await.is_ok()).await?;
    let text = dir.to_string_lossy().into_owned();
    ensure!(processes(&text).len() >= 4, "holder, operator and two nodes: {:?}", processes(&text));
    let namespaces = namespaces_of(&child.id().to_string());
    ensure!(namespaces.len() > 10, "{namespaces:?}");
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGKILL)?;
    child.wait()?;
    wait("every process is gone", limit, async || processes(&text).is_empty()).await?;
    wait("nobody is left in its namespaces", limit, async || {
        !all_processes().iter().any(|pid| !namespaces_of(pid).is_disjoint(&namespaces))
    })
    .await?;
    ensure!(named() == before, "names of namespaces are left: {:?}", named());
    Ok(())
}

async fn wait(what: &str, limit: Duration, mut is: impl AsyncFnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !is().await {
        if Instant::now() > deadline {
            bail!("never: {what}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn all_processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// Processes whose command line mentions a text; zombies have none.
fn processes(text: &str) -> Vec<String> {
    let mut found = all_processes();
    found.retain(|pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    });
    found
}

/// The network namespaces of a process's threads, without this process's own.
fn namespaces_of(pid: &str) -> BTreeSet<String> {
    let own = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_link(thread.path().join("ns/net")).ok())
        .filter(|namespace| *namespace != own)
        .map(|namespace| namespace.to_string_lossy().into_owned())
        .collect()
}
