//! What Palisade does, shown in a few seconds: on the Kubernetes API with the real kubectl, or on a directory of
//! manifests.

pub mod files;
pub mod kubernetes;
mod terminal;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::daemons::Admin;
use crate::report::Paint;
use crate::show::{Matrix, Stage};

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

fn verdict(matrix: &Matrix, paint: Paint) -> String {
    let probes = matrix.probes();
    match matrix.differences.len() {
        0 => paint.good(&format!("{probes} of {probes} probes as expected")),
        wrong => paint.bad(&format!("{wrong} of {probes} probes otherwise than expected")),
    }
}

/// Lets the operator explain the verdicts worth it; false if one is not what the demo's own policies are meant to say.
async fn reasons(stage: &Stage, admin: &Admin, paint: Paint) -> Result<bool> {
    let mut is_good = true;
    for probe in stage.scenario.steps.iter().flat_map(|step| &step.probes) {
        let route = stage.state.routes(probe)?.into_iter().next().context("a probe without a route")?;
        let explanation = admin.explain(&route.flow).await?;
        let mut lines = explanation.lines();
        let verdict = lines.next().context("an explanation without a verdict")?;
        println!("  {}", paint.head(verdict));
        for line in lines {
            println!("{}", if line.is_empty() { String::new() } else { format!("    {line}") });
        }
        println!();
        if verdict.ends_with(": allowed") != probe.allowed {
            is_good = false;
            println!(
                "  {}",
                paint.bad(&format!("that is not what the demo's own policies are meant to say: {probe}"))
            );
        }
    }
    Ok(is_good)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
