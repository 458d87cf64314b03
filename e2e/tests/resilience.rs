//! Daemons killed and started again, lied to, and refused by the kernel: what is in force stays in force, and what
//! is wrong is said.

mod trial;

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::FutureExt;
use nix::sys::signal::Signal;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::show::{Show, Traffics};
use palisade_e2e::traffic::scaled;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// A port on which only floods are.
const FLOOD: u16 = 9999;

fn main() -> ExitCode {
    trial::run(vec![
        trial::packets("restarts_break_nothing_and_let_nothing_pass", |directory| {
            restarts(directory).boxed_local()
        }),
        trial::packets("a_change_while_the_operator_is_away_is_caught_up_with", |directory| {
            away(directory).boxed_local()
        }),
        trial::packets("garbage_on_the_grpc_port", |directory| garbage(directory).boxed_local()),
        trial::packets("a_wrong_token", |directory| wrong_token(directory).boxed_local()),
        trial::packets("a_missing_nft", |directory| missing_nft(directory).boxed_local()),
        trial::packets("a_refused_transaction", |directory| refused_transaction(directory).boxed_local()),
        trial::packets("malformed_manifests_of_every_kind", |directory| malformed(directory).boxed_local()),
    ])
}

fn samples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples")
}

/// The demo's cluster with its policies in force.
async fn start(directory: &RunDir) -> Result<Show> {
    let show = Show::start(directory.path()).await?;
    let written = show.add(&samples())?;
    show.deployment.settled(&written).await?;
    Ok(show)
}

async fn eventually<T, F>(what: &str, mut check: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + scaled(Duration::from_secs(15));
    loop {
        if let Some(value) = check().await? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("never: {what}");
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The operator's account of a node, once it is of some kind.
async fn node_is(show: &Show, node: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let result = eventually(what, async || {
        let state = show.deployment.state().await?;
        let account = state["nodes"][node].clone();
        Ok(is(&account).then_some(account))
    });
    match result.await {
        Ok(account) => Ok(account),
        Err(error) => bail!("{error:#}: {:#}", show.deployment.state().await?["nodes"]),
    }
}

async fn restarts(directory: Arc<RunDir>) -> Result<()> {
    let mut show = start(&directory).await?;
    let traffics = Traffics::start(&show.stage).await?;
    traffics.go_on().await.context("at the start")?;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        show.deployment.operator.stop(signal).await?;
        traffics.go_on().await.with_context(|| format!("operator gone by {signal}"))?;
        show.deployment.start_operator().await?;
        show.deployment.settled(&[]).await?;
        traffics.go_on().await.with_context(|| format!("operator back after {signal}"))?;
        for node in ["node-1", "node-2"] {
            let shim = show.deployment.shims.get_mut(node).context("a shim on each node")?;
            shim.stop(signal).await?;
            traffics.go_on().await.with_context(|| format!("shim of {node} gone by {signal}"))?;
            shim.start().await?;
            show.deployment.settled(&[]).await?;
            traffics.go_on().await.with_context(|| format!("shim of {node} back after {signal}"))?;
        }
    }
    // All at once.
    show.deployment.operator.stop(Signal::SIGKILL).await?;
    for shim in show.deployment.shims.values_mut() {
        shim.stop(Signal::SIGKILL).await?;
    }
    traffics.go_on().await.context("everything gone")?;
    for shim in show.deployment.shims.values_mut() {
        shim.start().await?;
    }
    traffics.go_on().await.context("shims back before the operator")?;
    show.deployment.start_operator().await?;
    show.deployment.settled(&[]).await?;
    traffics.go_on().await.context("everything back")
}

const SILENCE: &str = "\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: silence}
spec:
  priority: 0
  subject: {namespaces: {matchLabels: {tenant: guest}}}
  egress: [{action: Deny, to: [{namespaces: {}}]}]
";

async fn away(directory: Arc<RunDir>) -> Result<()> {
    let mut show = start(&directory).await?;
    let flood = show.stage.flood("guest/app", "kube-system/dns", FLOOD).await?;
    let limit = scaled(Duration::from_secs(10));
    flood.steady(true, limit).await?;
    show.deployment.operator.stop(Signal::SIGKILL).await?;
    let written = show.manifests.write("silence.yaml", SILENCE)?;
    flood.goes_on(300).await?;
    flood.steady(true, limit).await.context("nobody has told the node yet")?;
    show.deployment.start_operator().await?;
    show.deployment.settled(&[written]).await?;
    flood.steady(false, limit).await?;

    // A shim that comes back while the operator is away keeps what was in force.
    show.deployment.operator.stop(Signal::SIGKILL).await?;
    let shim = show.deployment.shims.get_mut("node-2").context("a shim on each node")?;
    shim.stop(Signal::SIGKILL).await?;
    shim.start().await?;
    let before = flood.tally();
    flood.goes_on(1000).await?;
    ensure!(flood.tally().arrived == before.arrived, "denied datagrams arrived");
    Ok(())
}

async fn garbage(directory: Arc<RunDir>) -> Result<()> {
    let mut show = start(&directory).await?;
    let traffics = Traffics::start(&show.stage).await?;
    let pid = show.deployment.operator.pid();
    let noise: [&[u8]; 4] = [
        &[0xff; 4096],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        // The head of a TLS handshake record that promises more than comes.
        &[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let node = show.stage.cluster.node("node-1")?;
    let silent = node
        .run(move || async move {
            let address = "172.18.0.2:9443";
            let mut silent = Vec::new();
            for _ in 0..50 {
                silent.push(TcpStream::connect(address).await?);
            }
            for bytes in noise {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(bytes).await?;
                // The operator may hang up or wait for more: both are fine.
                let _ = timeout(Duration::from_millis(200), stream.read_to_end(&mut Vec::new())).await;
                silent.push(stream);
            }
            std::io::Result::Ok(silent)
        })
        .await??;
    let written = show.manifests.write("silence.yaml", SILENCE)?;
    show.deployment.settled(&[written]).await.context("a change while garbage is held open")?;
    traffics.go_on().await?;
    ensure!(
        show.deployment.operator.is_running() && show.deployment.operator.pid() == pid,
        "the operator fell"
    );
    let log = show.deployment.operator.log_text();
    ensure!(log.contains("a TLS handshake failed: received corrupt message"), "nothing is said:\n{log}");
    drop(silent);
    Ok(())
}

async fn wrong_token(directory: Arc<RunDir>) -> Result<()> {
    let mut show = start(&directory).await?;
    let traffics = Traffics::start(&show.stage).await?;
    let token = directory.path().join("token-node-1");
    let right = fs::read_to_string(&token)?;
    let shim = show.deployment.shims.get_mut("node-1").context("a shim on each node")?;
    shim.stop(Signal::SIGTERM).await?;
    fs::write(&token, "not-a-token")?;
    shim.start().await?;
    let shim = &show.deployment.shims["node-1"];
    eventually("the shim says what is wrong", async || {
        Ok(shim.log_text().contains("the bearer token is not known").then_some(()))
    })
    .await?;
    let log = show.deployment.operator.log_text();
    ensure!(
        log.contains("refused a stream: the bearer token is not known"),
        "the operator says nothing:\n{log}"
    );
    node_is(&show, "node-1", "node-1 is disconnected", |node| node["connected"] == false).await?;

    let written = show.manifests.write("silence.yaml", SILENCE)?;
    show.deployment.settled_on(&[written], &["node-2".to_owned()]).await.context("the other node goes on")?;
    traffics.go_on().await.context("what was in force stays")?;

    fs::write(&token, right)?;
    show.deployment.settled(&[]).await.context("the right token is taken up without a restart")
}

/// A stand-in for nft that fails while a file is there.
fn fake_nft(directory: &Path) -> Result<(String, std::path::PathBuf)> {
    let (program, switch) = (directory.join("nft-that-fails"), directory.join("fail-now"));
    let script = format!(
        "#!/bin/sh\nif test -e {}; then cat >/dev/null; echo 'Error: Could not process rule: Device or resource busy' >&2; exit 1; fi\nexec nft \"$@\"\n",
        switch.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok((program.to_string_lossy().into_owned(), switch))
}

async fn restart_with_nft(show: &mut Show, node: &str, nft: &str) -> Result<()> {
    let shim = show.deployment.shims.get_mut(node).context("a shim on each node")?;
    shim.stop(Signal::SIGTERM).await?;
    shim.command_mut().extend(["--nft".to_owned(), nft.to_owned()]);
    shim.start().await
}

async fn missing_nft(directory: Arc<RunDir>) -> Result<()> {
    let mut show = start(&directory).await?;
    let traffics = Traffics::start(&show.stage).await?;
    restart_with_nft(&mut show, "node-2", "/nowhere/nft").await?;
    let shim = &show.deployment.shims["node-2"];
    eventually("the shim says what is wrong", async || {
        let log = shim.log_text();
        Ok((log.contains("/nowhere/nft") && (log.contains("WARN") || log.contains("ERROR"))).then_some(()))
    })
    .await?;
    let written = show.manifests.write("silence.yaml", SILENCE)?;
    show.deployment.settled_on(&[written], &["node-1".to_owned()]).await.context("the other node goes on")?;
    let account =
        node_is(&show, "node-2", "node-2 is not in sync", |node| node["state"] != "in-sync").await?;
    ensure!(
        account["acked_root"] != account["root"],
        "a node without nft cannot have confirmed: {account:#}"
    );
    traffics.go_on().await.context("what was in force stays")
}

async fn refused_transaction(directory: Arc<RunDir>) -> Result<()> {
    let mut show = start(&directory).await?;
    let (nft, switch) = fake_nft(directory.path())?;
    restart_with_nft(&mut show, "node-2", &nft).await?;
    show.deployment.settled(&[]).await?;
    let traffics = Traffics::start(&show.stage).await?;
    let changed = show.stage.flood("guest/app", "kube-system/dns", FLOOD).await?;
    let limit = scaled(Duration::from_secs(15));
    changed.steady(true, limit).await?;

    fs::write(&switch, "")?;
    let written = show.manifests.write("silence.yaml", SILENCE)?;
    let account = node_is(&show, "node-2", "node-2 is parked", |node| node["state"] == "parked").await?;
    let message = account["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Device or resource busy"), "the kernel's own words are missing: {message}");
    show.deployment.settled_on(std::slice::from_ref(&written), &["node-1".to_owned()]).await?;
    traffics.go_on().await.context("what was in force stays")?;
    changed.steady(true, limit).await.context("a revision is in force whole or not at all")?;

    fs::remove_file(&switch)?;
    show.deployment.settled(&[written]).await.context("the parked node is tried again")?;
    changed.steady(false, limit).await?;
    traffics.go_on().await
}

async fn malformed(directory: Arc<RunDir>) -> Result<()> {
    let show = start(&directory).await?;
    let before = show.matrix().await?.observed();
    let cases = [
        ("Namespace", "v1", "metadata: {name: bad, labels: 5}", "metadata.labels"),
        (
            "Node",
            "v1",
            "metadata: {name: bad}\nstatus: {addresses: [{type: InternalIP, address: nowhere}]}",
            "nowhere",
        ),
        (
            "Pod",
            "v1",
            "metadata: {namespace: shop, name: bad}\nspec: {nodeName: node-1, containers: []}\nstatus: {podIPs: [{ip: 1.2.3}]}",
            "1.2.3",
        ),
        (
            "NetworkPolicy",
            "networking.k8s.io/v1",
            "metadata: {namespace: shop, name: bad}\nspec: {podSelector: 5, ingress: []}",
            "spec.podSelector",
        ),
        (
            "AdminNetworkPolicy",
            "policy.networking.k8s.io/v1alpha1",
            "metadata: {name: bad}\nspec: {priority: 1, subject: {planets: {}}, egress: [{action: Deny, to: [{namespaces: {}}]}]}",
            "spec.subject",
        ),
        (
            "ClusterNetworkPolicy",
            "policy.networking.k8s.io/v1alpha2",
            "metadata: {name: bad}\nspec: {tier: Admin, priority: 1, subject: {planets: {}}, egress: [{action: Deny, to: [{namespaces: {}}]}]}",
            "spec.subject",
        ),
    ];
    for (kind, version, rest, needle) in cases {
        let file = format!("bad-{}.yaml", kind.to_lowercase());
        let text = format!("apiVersion: {version}\nkind: {kind}\n{rest}\n");
        says(&show, &file, &text, &[needle]).await.with_context(|| kind)?;
    }
    // The baseline is one object: the good one stays in force when it is spoilt, as does any other.
    let sample = |name: &str| fs::read_to_string(samples().join(name));
    let spoilt = sample("90-default.yaml")?.replace("  subject:\n", "  subject: 5\n  other:\n");
    says(&show, "90-default.yaml", &spoilt, &["BaselineAdminNetworkPolicy/default", "spec.subject"]).await?;
    let spoilt = sample("40-shop.yaml")?.replace("policyTypes: [Ingress, Egress]", "policyTypes: 5");
    says(&show, "40-shop.yaml", &spoilt, &["NetworkPolicy/shop/db", "spec.policyTypes"]).await?;
    // Not even YAML: the file and the line are named.
    let spoilt = sample("30-tenants-apart.yaml")?.replace("  priority: 30", "  priority: [30");
    says(&show, "30-tenants-apart.yaml", &spoilt, &["30-tenants-apart.yaml:"]).await?;
    says(&show, "bad.yaml", "{[", &["bad.yaml:1"]).await?;

    let after = show.matrix().await?.observed();
    for (before, after) in before.iter().zip(&after) {
        ensure!(before == after, "harmed: {before:?} is now {after:?}");
    }
    Ok(())
}

/// Writes a manifest, and looks for words in what the operator says of it.
async fn says(show: &Show, file: &str, text: &str, needles: &[&str]) -> Result<()> {
    let written = show.manifests.write(file, text)?;
    show.deployment.settled(&[written]).await?;
    let state = show.deployment.state().await?;
    let said = format!("{}\n{}", state["files"][file]["errors"], state["diagnostics"]);
    for needle in needles {
        ensure!(said.contains(needle), "{file}: `{needle}` is not mentioned:\n{said}");
    }
    Ok(())
}
