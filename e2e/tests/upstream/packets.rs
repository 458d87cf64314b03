//! The conformance suites in the real kernel: the suite's cluster of network namespaces, the real operator and a real
//! shim on each node, every stage a live change of that one system, and its probes as packets. Denied means silence: a
//! refusal counts as wrong, as upstream has it.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use libtest_mimic::Failed;
use palisade_e2e::levels::packets::PacketJudge;
use palisade_e2e::levels::{Report, Via, walk};
use palisade_e2e::report;
use palisade_e2e::scenario::{Cni, Scenario};
use palisade_e2e::traffic::scaled;
use palisade_view::Family;
use tokio::time::timeout;

use crate::common::reference;
use crate::{Suite, as_scenario, trial};

/// How long one suite may take.
const LIMIT: Duration = Duration::from_mins(5);

/// How a suite is put on: the network that carries the packets, how the operator learns of the cluster, and whether
/// every address and network is the data's own or its counterpart in the other family.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    cni: Cni,
    via: Via,
    family: Family,
}

impl Form {
    /// Everything that matters to a packet once.
    pub(crate) const ALL: [Self; 3] = [
        Self { cni: Cni::Routed, via: Via::Manifests, family: Family::V4 },
        Self { cni: Cni::Bridged, via: Via::Api, family: Family::V4 },
        Self { cni: Cni::Routed, via: Via::Manifests, family: Family::V6 },
    ];
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.family == Family::V4 { "IPv4" } else { "IPv6" };
        let via = if self.via == Via::Api { ", through the API" } else { "" };
        write!(f, "packets ({} {family}{via})", self.cni.name())
    }
}

/// Holds the real kernel against a suite.
pub(crate) fn run(suite: &Suite, form: Form, data: &Path) -> Result<(), Failed> {
    trial::check()?;
    let start = Instant::now();
    let scenario = as_scenario::read(suite, &reference::load(data, suite.file), form.family)
        .map_err(|error| format!("{}: {error:#}", suite.file))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(judge(&scenario, form)).map_err(|error| format!("{error:#}"))?;
    println!(
        "{}: {form}: {} of {} probes agree, {} stages, {:.1} s",
        suite.name,
        report.probes - report.failures.len(),
        report.probes,
        scenario.steps.len(),
        start.elapsed().as_secs_f64()
    );
    if !report.is_good() {
        return Err(report::details(&report).into());
    }
    if report.probes != suite.probes {
        return Err(format!("the data has {} probes, {} were made", suite.probes, report.probes).into());
    }
    Ok(())
}

async fn judge(scenario: &Scenario, form: Form) -> Result<Report> {
    let mut judge = PacketJudge::new(scenario, form.cni, form.via)?;
    let limit = scaled(LIMIT);
    let mut report = timeout(limit, walk(scenario, &mut judge)).await.unwrap_or_else(|_| Report {
        error: Some(format!("not done within {limit:?}")),
        ..Report::default()
    });
    if !report.is_good() {
        report.logs = judge.keep_logs(&scenario.name).await.ok();
    }
    Ok(report)
}
