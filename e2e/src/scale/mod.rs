//! Many policies and pods created at full speed: how long until every node obeys and every status says so, and how many
//! requests the operator wrote for it.

mod load;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::sleep;

use crate::api::ADMIN_KINDS;
use crate::control_plane::Kind;
use crate::rundir::RunDir;
use crate::show::ApiShow;
use crate::status;
use crate::traffic::scaled;

pub use load::Load;

/// How long everything may take.
const LIMIT: Duration = Duration::from_mins(5);

/// A write that comes later than this after the last status has become true is another matter's.
const QUIET: Duration = Duration::from_secs(2);

/// What is created first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Nothing, as when a cluster is restored. A policy that comes before its pods is about no pod at first, and its
    /// status is worded anew once it is: that is a second write.
    AtOnce,
    /// Pods, as when policies come to a cluster that runs. A write a policy is enough.
    PodsFirst,
}

/// What came of it. Times in seconds, from the first request on.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What was created first.
    pub order: Order,
    /// Policies made, of all four kinds.
    pub policies: usize,
    /// Of these, policies that have a status.
    pub with_status: usize,
    /// Pods made.
    pub pods: usize,
    /// Until the API server had everything.
    pub created: f64,
    /// Until both nodes obeyed.
    pub obeyed: f64,
    /// Until every status was true.
    pub programmed: f64,
    /// Requests that wrote a status; `None` where the API server does not count.
    pub status_writes: Option<u64>,
    /// Requests that wrote an Event.
    pub event_writes: Option<u64>,
}

/// Runs it on a development API server, prints the figures and writes them where asked to.
pub async fn run(pods: usize, policies: usize, order: Order, json: Option<&Path>) -> Result<()> {
    let directory = RunDir::new()?;
    let show = ApiShow::start(Kind::chosen()?, directory.path(), 1).await?;
    let figures = measure(&show, pods, policies, order).await.inspect_err(|_| {
        if let Ok(logs) = directory.keep_logs("scale") {
            eprintln!("logs: {}", logs.display());
        }
    })?;
    println!("{figures}");
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    Ok(())
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order = match self.order {
            Order::AtOnce => "at once",
            Order::PodsFirst => "pods first",
        };
        writeln!(
            f,
            "{} policies and {} pods created at full speed, {order}, 2 nodes",
            self.policies, self.pods
        )?;
        writeln!(f, "  created after       {:>6.1} s", self.created)?;
        writeln!(f, "  obeyed after        {:>6.1} s", self.obeyed)?;
        writeln!(f, "  every status true   {:>6.1} s", self.programmed)?;
        let count = |writes: Option<u64>| writes.map_or("?".to_owned(), |writes| writes.to_string());
        let statuses = count(self.status_writes);
        writeln!(f, "  status writes       {statuses:>6}   for {} policies that have one", self.with_status)?;
        write!(f, "  Event writes        {:>6}", count(self.event_writes))
    }
}

/// Puts the load on a cluster that has no policies.
pub async fn measure(show: &ApiShow, pods: usize, policies: usize, order: Order) -> Result<Figures> {
    let load = Load::new(show.installation.nodes(), pods, policies);
    let start = Instant::now();
    let mut marks = show.objects.create_all(&load.namespaces).await?;
    let (pods_made, policies_made) =
        (show.objects.create_all(&load.pods), show.objects.create_all(&load.policies));
    let (pods_made, policies_made) = match order {
        Order::AtOnce => tokio::try_join!(pods_made, policies_made)?,
        Order::PodsFirst => {
            let pods = pods_made.await?;
            show.installation.settled(&pods).await?;
            (pods, policies_made.await?)
        }
    };
    let created = start.elapsed();
    marks.extend(pods_made);
    marks.extend(policies_made);
    show.installation.settled(&marks).await?;
    let obeyed = start.elapsed();
    let mut with_status = 0;
    for kind in ADMIN_KINDS {
        let count = load.policies.iter().filter(|policy| policy["kind"] == kind.1).count();
        let is =
            |object: &_| status::is(object, "Accepted", "True") && status::is(object, "Programmed", "True");
        show.objects.all_are(kind, count, "Accepted and Programmed", LIMIT, is).await?;
        with_status += count;
    }
    let programmed = start.elapsed();
    // Writes that nobody needs would come now.
    sleep(scaled(QUIET)).await;
    let writes = show.access.writes();
    if let Some(writes) = writes {
        ensure!(writes.statuses >= u64::try_from(with_status)?, "a status that nobody wrote: {writes:?}");
    }
    Ok(Figures {
        order,
        policies: load.policies.len(),
        with_status,
        pods: load.pods.len(),
        created: created.as_secs_f64(),
        obeyed: obeyed.as_secs_f64(),
        programmed: programmed.as_secs_f64(),
        status_writes: writes.map(|writes| writes.statuses),
        event_writes: writes.map(|writes| writes.events),
    })
}
