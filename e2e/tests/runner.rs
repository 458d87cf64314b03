//! The runner itself: a wrong expectation shows at every level, and in every form of the result. Were this not so,
//! no green table would mean anything.

mod trial;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use libtest_mimic::Trial;
use palisade_e2e::levels::{Failure, Level, Via};
use palisade_e2e::report::{self, Paint};
use palisade_e2e::rundir::RunDir;
use palisade_e2e::runner::{Choice, Outcome, run_one};
use palisade_e2e::scenario::{Cni, Scenario};
use palisade_e2e::show::Show;

/// Two expectations are right, two are wrong.
const TEXT: &str = "
description: half of this is wrong
tags: [wrong]
families: [ipv4]
namespaces: {a: }
pods:
  a/one: {node: node-1}
  a/two: {node: node-2, labels: {app: two}}
apply:
  - apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {namespace: a, name: p}
    spec: {podSelector: {matchLabels: {app: two}}, ingress: [{ports: [{port: 80}]}]}
steps:
  - say: some of it
    probes:
      - a/one -> a/two tcp/80: allow
      - a/one -> a/two tcp/81: deny
      - a/two -> a/one tcp/80: deny
      - a/one -> a/two udp/53: allow
";

fn main() -> ExitCode {
    trial::run(vec![
        Trial::test("a_wrong_reason_shows", || Ok(block_on(wrong_reason())?)),
        Trial::test("a_wrong_verdict_shows_at_the_oracle", || Ok(block_on(wrong_verdict(Level::Oracle))?)),
        Trial::test("a_wrong_verdict_shows_in_the_simulated_kernel", || {
            Ok(block_on(wrong_verdict(Level::Fake))?)
        }),
        trial::packets("a_wrong_verdict_shows_in_packets", |_| {
            wrong_verdict(Level::Packets(Cni::Routed, Via::Manifests)).boxed_local()
        }),
        trial::packets("a_matrix_shows_nodes_that_do_not_obey", |directory| {
            disobedience(directory).boxed_local()
        }),
    ])
}

fn block_on(test: impl Future<Output = Result<()>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(test).map_err(|error| format!("{error:#}"))
}

async fn wrong_verdict(level: Level) -> Result<()> {
    let scenario = Scenario::parse("wrong", Path::new("wrong.yaml"), TEXT)?;
    let (report, time) = run_one(&scenario, level).await;
    ensure!(!report.is_good());
    let wrong: Vec<&str> = report.failures.iter().map(|Failure { probe, .. }| probe.as_str()).collect();
    let error = report.error.clone().unwrap_or_default();
    if level == Level::Packets(Cni::Routed, Via::Manifests) {
        ensure!(report.logs.is_some(), "no logs are kept");
    }
    ensure!(error.is_empty() && report.probes == 4, "{} probes, {error}", report.probes);
    ensure!(
        wrong.len() == 2
            && wrong[0].starts_with("a/two -> a/one tcp/80")
            && wrong[1].starts_with("a/one -> a/two udp/53"),
        "{wrong:?}"
    );
    let outcomes = [Outcome { scenario, reports: [(level, (report, time))].into() }];
    let plain = Paint::plain();
    ensure!(report::line(&outcomes[0], &[level], 10, plain).contains("2 of 4 WRONG"));
    ensure!(report::failures(&outcomes, plain).contains("a/two -> a/one tcp/80"));
    ensure!(report::totals(&outcomes, plain).contains("0/1"));
    let junit = report::junit(&outcomes);
    ensure!(junit.contains("failures=\"1\"") && junit.contains("a/two -&gt; a/one tcp/80"), "{junit}");
    Ok(())
}

async fn wrong_reason() -> Result<()> {
    let right = "tcp/81: deny by isolation ingress NetworkPolicy/a/p";
    for (reason, is_good) in [(right, true), ("tcp/81: deny by no rule", false)] {
        let steps = TEXT.find("      - a/one").context("probes")?;
        let text = format!("{}      - a/one -> a/two {reason}\n", &TEXT[..steps]);
        let scenario = Scenario::parse("reason", Path::new("reason.yaml"), &text)?;
        let choice = Choice { levels: ["oracle", "fake"].map(str::to_owned).into(), ..Choice::default() };
        let levels = choice.levels(&scenario);
        ensure!(levels == [Level::Oracle, Level::Fake], "{levels:?}");
        for level in levels {
            ensure!(run_one(&scenario, level).await.0.is_good() == is_good, "{level}: {reason}");
        }
    }
    Ok(())
}

/// Nodes that nobody leads any more let pass what new policies forbid, and the matrix says so.
async fn disobedience(directory: Arc<RunDir>) -> Result<()> {
    let mut show = Show::start(directory.path()).await?;
    ensure!(show.matrix().await?.differences.is_empty());
    for shim in show.deployment.shims.values_mut() {
        shim.stop(nix::sys::signal::Signal::SIGKILL).await?;
    }
    show.add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples"))?;
    let matrix = show.matrix().await?;
    ensure!(!matrix.differences.is_empty());
    ensure!(matrix.text(Paint::plain()).contains('!'));
    Ok(())
}
