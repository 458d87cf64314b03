//! What Palisade does, shown in a few seconds.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use palisade_compiler::oracle;

use crate::report::Paint;
use crate::rundir::RunDir;
use crate::show::{Matrix, Show};
use crate::traffic::scaled;

/// The port of the stream that is watched while a policy changes.
const STREAM_PORT: u16 = 9999;

/// The policy of the live edit: the shop's api talks to no pod any more, by any protocol.
const EDIT: &str = "\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: live-edit}
spec:
  priority: 0
  subject: {pods: {namespaceSelector: {matchLabels: {tenant: shop}}, podSelector: {matchLabels: {app: api}}}}
  egress:
    - {name: silence, action: Deny, to: [{namespaces: {}}]}
";

/// Runs the demo; false if anything came out otherwise than the policies say.
pub async fn run(samples: &Path) -> Result<bool> {
    let paint = Paint::of_terminal();
    let start = Instant::now();
    let directory = RunDir::new()?;
    println!(
        "{}",
        paint.head("Two nodes, six pods, a host outside: network namespaces that vanish with this process")
    );
    let show = Show::start(directory.path()).await?;
    print!("{}", show.topology(paint)?);
    println!("  {}\n", paint.dim(&format!("operator and two nodes up after {}", seconds(start.elapsed()))));

    println!("{}", paint.head("Before: no policy, everything reaches everything"));
    let before = show.matrix().await?;
    print!("{}", before.text(paint));
    println!("  {}\n", verdict(&before, paint));

    println!("{}", paint.head(&format!("After: the policies of {}", samples.display())));
    let written = show.add(samples)?;
    let applied = Instant::now();
    show.deployment.settled(&written).await?;
    let confirmed = applied.elapsed();
    let after = show.matrix().await?;
    print!("{}", after.text(paint));
    println!(
        "  {}; both nodes confirmed {} files after {}\n",
        verdict(&after, paint),
        written.len(),
        millis(confirmed)
    );

    println!("{}", paint.head("Why"));
    let reasons = reasons(&show, paint)?;

    println!("\n{}", paint.head("A live edit: an administrator silences shop/api, then takes that back"));
    let edits = live_edit(&show, paint).await;
    if let Err(error) = &edits {
        println!("  {}", paint.bad(&format!("{error:#}")));
    }

    let is_good = before.differences.is_empty() && after.differences.is_empty() && reasons && edits.is_ok();
    drop(show);
    println!("\n{}", paint.dim(&format!("done and cleaned up in {}", seconds(start.elapsed()))));
    Ok(is_good)
}

fn verdict(matrix: &Matrix, paint: Paint) -> String {
    let probes = matrix.probes();
    match matrix.differences.len() {
        0 => paint.good(&format!("{probes} of {probes} probes as expected")),
        wrong => paint.bad(&format!("{wrong} of {probes} probes otherwise than expected")),
    }
}

fn reasons(show: &Show, paint: Paint) -> Result<bool> {
    let (model, _) = show.model()?;
    let mut is_good = true;
    for probe in show.scenario.steps.iter().flat_map(|step| &step.probes) {
        let route = show.state.routes(probe)?.into_iter().next().context("a probe without a route")?;
        let judgement = oracle::judge(&model, &route.flow);
        is_good &= judgement.allowed() == probe.allowed;
        println!("  {probe}\n    {judgement}");
        if judgement.allowed() != probe.allowed {
            println!("    {}", paint.bad("that is not what the demo's own policies are meant to say"));
        }
    }
    Ok(is_good)
}

async fn live_edit(show: &Show, paint: Paint) -> Result<()> {
    let limit = scaled(Duration::from_secs(5));
    // The DNS server accepts from everyone, so that only the edit decides.
    let flood = show.flood("shop/api", "kube-system/dns", STREAM_PORT).await?;
    flood.steady(true, limit).await?;

    for (text, is_allowed) in [(Some(EDIT), false), (None, true)] {
        match text {
            Some(text) => drop(show.manifests.write("live-edit.yaml", text)?),
            None => drop(show.manifests.remove("live-edit.yaml")?),
        }
        let written = Instant::now();
        let time = flood.obeyed(written, is_allowed, limit).await?;
        let what = if is_allowed {
            "live-edit.yaml removed: packets pass "
        } else {
            "live-edit.yaml written: packets stop "
        };
        println!("  {what} after {}", paint.good(&millis(time)));
    }
    Ok(())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
