//! Operators killed and relieved, an API server that fails in every way it can: packets obey the policies throughout,
//! and what is said of them becomes true in the end.

mod churn;
mod faults;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use churn::Churn;
use faults::{Change, Trouble, troubles};
use futures::FutureExt;
use nix::sys::signal::Signal;
use palisade_e2e::api::{ADMIN_KINDS, Mark};
use palisade_e2e::control_plane::Kind;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::show::{ApiShow, Traffics};
use palisade_e2e::status;
use palisade_e2e::traffic::scaled;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a status may take to say what it has to.
const LIMIT: Duration = Duration::from_mins(1);

/// A standby leads this soon after its leader died.
const TAKEOVER: Duration = Duration::from_secs(15);

/// A standby leads this soon after its leader left; well before a lease would have run out.
const RELIEF: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let is_dev = Kind::chosen().is_ok_and(|kind| kind == Kind::Dev);
    trial::run(vec![
        // A real API server cannot be told to fail.
        trial::packets("an_api_server_that_fails_in_every_way", |directory| failing(directory).boxed_local())
            .with_ignored_flag(!is_dev || trial::skips_packets()),
        trial::packets("a_standby_takes_over", |directory| standby(directory).boxed_local()),
        trial::packets("operators_killed_all_the_time", |directory| killed(directory).boxed_local()),
    ])
}

/// The demo's cluster with its policies in force.
async fn start(directory: &RunDir, operators: u16) -> Result<ApiShow> {
    let show = ApiShow::start(Kind::chosen()?, directory.path(), operators).await?;
    let marks = show.add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples")).await?;
    show.installation.settled(&marks).await?;
    show.programmed(LIMIT).await?;
    Ok(show)
}

/// Waits until another operator than one leads; gives it and how long that took.
async fn relieved(show: &ApiShow, gone: usize, since: Instant) -> Result<(usize, Duration)> {
    loop {
        let leader = show.installation.leader().await?;
        if leader != gone {
            return Ok((leader, since.elapsed()));
        }
    }
}

async fn standby(directory: Arc<RunDir>) -> Result<()> {
    let mut show = start(&directory, 2).await?;
    let traffics = Traffics::start(&show.stage).await?;
    for (signal, limit) in [(Signal::SIGTERM, RELIEF), (Signal::SIGKILL, TAKEOVER)] {
        let leader = show.installation.leader().await?;
        let since = Instant::now();
        show.installation.operator_mut(leader)?.daemon.stop(signal).await?;
        let (next, took) = relieved(&show, leader, since).await?;
        println!("after {signal} the standby leads after {:.1} s", took.as_secs_f64());
        ensure!(took < scaled(limit), "the standby leads only {took:?} after {signal}");
        // Shims follow: what is said from now on, they hear from the new leader.
        let marks = vec![
            show.objects
                .merge(
                    &serde_json::json!({
                        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
                        "metadata": {"name": "dns-for-all"},
                    }),
                    &serde_json::json!({"spec": {"priority": 21 + next}}),
                )
                .await?,
        ];
        show.installation.settled(&marks).await.with_context(|| format!("shims follow after {signal}"))?;
        println!("and every node obeys it after {:.1} s", since.elapsed().as_secs_f64());
        show.programmed(LIMIT).await?;
        traffics.go_on().await?;
        show.installation.operator_mut(leader)?.start().await?;
    }
    let matrix = show.matrix().await?;
    ensure!(matrix.differences.is_empty(), "{:#?}", matrix.differences);
    traffics.go_on().await
}

async fn killed(directory: Arc<RunDir>) -> Result<()> {
    /// The time between two deaths.
    const EVERY: Duration = Duration::from_secs(10);
    let mut show = start(&directory, 2).await?;
    let traffics = Traffics::start(&show.stage).await?;
    let churn = Churn::start(&show.objects).await?;
    let mut next = Instant::now();
    for death in 0..3 {
        sleep_until(next).await;
        let leader = show.installation.leader().await?;
        next = Instant::now() + EVERY;
        let operator = show.installation.operator_mut(leader)?;
        operator.daemon.stop(Signal::SIGKILL).await?;
        operator.start().await.with_context(|| format!("death {death}"))?;
        traffics.go_on().await.with_context(|| format!("after death {death}"))?;
    }
    let marks = churn.stop().await?;
    traffics.go_on().await.context("at the end of the churn")?;
    ensure!(marks.len() > 100, "that was no churn: {} changes", marks.len());
    show.installation.settled(&marks).await?;
    show.programmed(LIMIT).await.context("statuses become true in the end")?;
    let matrix = show.matrix().await?;
    ensure!(matrix.differences.is_empty(), "{:#?}", matrix.differences);
    println!("{} changes, 3 deaths", marks.len());
    traffics.go_on().await
}

/// What there is to see of a cluster's policies.
#[derive(Debug, PartialEq)]
struct Picture {
    /// What each node enforces, as a hash.
    roots: BTreeMap<String, Value>,
    /// What each status says.
    statuses: BTreeMap<String, Vec<String>>,
    /// Who reaches whom.
    verdicts: Vec<(String, Vec<bool>)>,
}

impl Picture {
    async fn of(show: &ApiShow) -> Result<Self> {
        show.installation.settled(&show.marks().await?).await?;
        let state = show.installation.state().await?;
        let nodes = state["nodes"].as_object().context("nodes")?;
        let roots = nodes.iter().map(|(name, node)| (name.clone(), node["acked_root"].clone())).collect();
        let mut statuses = BTreeMap::new();
        for kind in ADMIN_KINDS {
            for object in show.objects.list(kind).await? {
                statuses
                    .insert(format!("{}/{}", kind.1, object["metadata"]["name"]), status::essence(&object));
            }
        }
        let matrix = show.matrix().await?;
        ensure!(matrix.differences.is_empty(), "{:#?}", matrix.differences);
        Ok(Self { roots, statuses, verdicts: matrix.observed() })
    }
}

async fn failing(directory: Arc<RunDir>) -> Result<()> {
    let undisturbed = {
        let own = RunDir::new()?;
        let show = start(&own, 1).await?;
        for Trouble { what, change, .. } in troubles() {
            let marks = change.make(&show.objects).await.context(what)?;
            show.installation.settled(&marks).await.context(what)?;
        }
        show.programmed(LIMIT).await?;
        Picture::of(&show).await?
    };

    let show = start(&directory, 1).await?;
    let traffics = Traffics::start(&show.stage).await?;
    for Trouble { what, begin, is_deaf, change } in troubles() {
        disturb(&show, begin, is_deaf, &change).await.context(what)?;
        traffics.go_on().await.context(what)?;
    }
    // A node that fell behind for a moment counts as such for some time.
    let deadline = Instant::now() + scaled(LIMIT);
    loop {
        show.programmed(LIMIT).await?;
        let disturbed = Picture::of(&show).await?;
        if disturbed == undisturbed {
            return traffics.go_on().await;
        }
        ensure!(Instant::now() < deadline, "undisturbed: {undisturbed:#?}\ndisturbed: {disturbed:#?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Changes something during a fault, and waits until the change is in force.
async fn disturb(
    show: &ApiShow,
    begin: fn(&palisade_apiserver::faults::Faults),
    is_deaf: bool,
    change: &Change,
) -> Result<()> {
    let faults = show.access.plane.faults().context("a server that can be told to fail")?;
    begin(faults);
    let is_counted = !faults.list().is_empty();
    let mut marks = change.make(&show.objects).await?;
    if is_deaf {
        faults.clear();
    }
    if let Change::Lose(kind) = change {
        marks = lose(show, kind).await?;
    }
    show.installation.settled(&marks).await?;
    // A fault that did not happen proves nothing.
    let deadline = Instant::now() + scaled(LIMIT);
    while is_counted && faults.hits().0 == 0 {
        ensure!(Instant::now() < deadline, "no request met the fault");
        sleep(Duration::from_millis(20)).await;
    }
    faults.clear();
    Ok(())
}

/// Deletes a definition, with all of its objects, and makes all of it anew once that has been noticed.
async fn lose(show: &ApiShow, kind: &str) -> Result<Vec<Mark>> {
    let kind = ADMIN_KINDS.into_iter().find(|(_, name)| *name == kind).context("a kind")?;
    let lost = show.objects.list(kind).await?;
    let name = format!("{}.policy.networking.k8s.io", "adminnetworkpolicies");
    let definition = serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
    });
    show.objects.delete(&definition).await?.context("it was there")?;
    let deadline = Instant::now() + scaled(LIMIT);
    loop {
        let sources = show.installation.state().await?["sources"].clone();
        if sources[kind.1]["state"] == "vanished" {
            break;
        }
        ensure!(Instant::now() < deadline, "nobody notices: {sources:#}");
        sleep(Duration::from_millis(20)).await;
    }
    show.access.plane.install_crds().await?;
    let mut marks = Vec::new();
    for mut object in lost {
        object["metadata"] = serde_json::json!({"name": object["metadata"]["name"]});
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        marks.push(show.objects.put(&object).await?);
    }
    Ok(marks)
}
