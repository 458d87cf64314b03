//! The truth: the real binaries in network namespaces, and packets that pass or do not.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use futures::future::join_all;
use palisade_view::Protocol;

use super::platform::Platform;
use super::{Check, Judge, Level, Observed, Via};
use crate::cluster::Cluster;
use crate::rundir::RunDir;
use crate::scenario::{Cni, Place, Probe, Scenario, State, Traffic};
use crate::traffic::{Observation, Patience, Ports, Target, probe};

/// Every value of the TOS byte that leaves congestion notification alone.
const ALL_TOS: std::ops::RangeInclusive<u8> = 0..=63;

/// A cluster with real daemons. Only the first change builds anything.
#[derive(Debug)]
pub struct PacketJudge {
    cni: Cni,
    ports: Ports,
    /// What will be denied at some time: before any policy it must pass, else its denial would mean nothing.
    denied: Vec<Probe>,
    directory: RunDir,
    via: Via,
    running: Option<(Cluster, Platform)>,
}

impl PacketJudge {
    /// A judge for one scenario over one kind of network, by one way to the operator.
    pub fn new(scenario: &Scenario, cni: Cni, via: Via) -> Result<Self> {
        let directory = RunDir::new()?;
        let probes = || scenario.steps.iter().flat_map(|step| &step.probes);
        let mut denied: Vec<Probe> = Vec::new();
        for probe in probes().filter(|probe| !probe.allowed) {
            let open = Probe { allowed: true, reason: None, tos_sweep: false, ..probe.clone() };
            if !denied.contains(&open) {
                denied.push(open);
            }
        }
        Ok(Self { cni, ports: ports(probes(), scenario), denied, directory, via, running: None })
    }

    /// Keeps logs and tables for a person to read.
    pub async fn keep_logs(&self, name: &str) -> Result<PathBuf> {
        if let Some((cluster, platform)) = &self.running {
            let logs = self.directory.path().join("logs");
            for (node, stack) in cluster.nodes() {
                let table = stack.command("nft", &["list", "ruleset"], String::new()).await;
                let text = table.unwrap_or_else(|error| format!("{error:#}"));
                fs::write(logs.join(format!("ruleset-{node}.nft")), text)?;
            }
            let state = platform
                .state()
                .await
                .map_or_else(|error| format!("{error:#}"), |state| format!("{state:#}"));
            fs::write(logs.join("operator-state.json"), state)?;
        }
        let level = Level::Packets(self.cni, self.via);
        self.directory.keep_logs(&format!("{name}-{level}"))
    }

    async fn start(&mut self, state: &State) -> Result<()> {
        let mut cluster = Cluster::build(state, self.cni, &self.ports).await?;
        self.check_open(&mut cluster, state).await?;
        let platform = Platform::start(self.via, &cluster, state, self.directory.path()).await?;
        self.running = Some((cluster, platform));
        Ok(())
    }

    async fn check_open(&self, cluster: &mut Cluster, state: &State) -> Result<()> {
        let mut checks = Vec::new();
        for probe in &self.denied {
            // Ends that only a later step brings are not there yet.
            if let Ok(routes) = state.routes(probe) {
                checks.extend(routes.into_iter().map(|route| Check { probe: probe.clone(), route }));
            }
        }
        for (check, observed) in checks.iter().zip(observe(cluster, &checks).await?) {
            if !observed.agrees {
                bail!(
                    "the test network itself is broken: without any policy {} got {}",
                    check.probe,
                    observed.text
                );
            }
        }
        Ok(())
    }
}

/// The usual ports and every port that a probe goes to.
fn ports<'a>(probes: impl Iterator<Item = &'a Probe>, scenario: &Scenario) -> Ports {
    let mut ports = Ports::default();
    let mut tcp = BTreeSet::new();
    let (mut udp, mut sctp) = (BTreeSet::new(), BTreeSet::new());
    let targets = scenario
        .services
        .values()
        .map(|service| Traffic::Port(service.protocol.0, service.target.unwrap_or(service.port)));
    for traffic in probes.map(|probe| probe.traffic).chain(targets) {
        match traffic {
            Traffic::Port(Protocol::Tcp, port) => drop(tcp.insert(port)),
            Traffic::Port(Protocol::Udp, port) => drop(udp.insert(port)),
            Traffic::Port(Protocol::Sctp, port) => drop(sctp.insert(port)),
            Traffic::Echo => {}
        }
    }
    ports.tcp.extend(tcp);
    ports.udp.extend(udp);
    ports.sctp.extend(sctp);
    ports
}

impl Judge for PacketJudge {
    async fn change(&mut self, from: Option<&State>, to: &State) -> Result<()> {
        let Some((cluster, platform)) = &mut self.running else { return self.start(to).await };
        cluster.change(from, to).await?;
        platform.change(from, to).await
    }

    async fn judge(&mut self, _state: &State, checks: &[Check]) -> Result<Vec<Observed>> {
        let (cluster, _) = self.running.as_mut().context("the cluster is not started")?;
        observe(cluster, checks).await
    }
}

/// Sends every check's packets at once.
pub async fn observe(cluster: &Cluster, checks: &[Check]) -> Result<Vec<Observed>> {
    let mut all = Vec::new();
    for check in checks {
        let route = &check.route;
        let source = match route.source {
            Place::Pod(_) | Place::World => Some(route.flow.source),
            // A node chooses by the way it sends, as its kubelet does.
            Place::Node(_) => None,
        };
        let stack = cluster.stack(&route.source)?;
        let services: Vec<Option<u8>> =
            if check.probe.tos_sweep { ALL_TOS.map(|tos| Some(tos << 2)).collect() } else { vec![None] };
        let expected = route.destination.to_string();
        all.push(async move {
            let one = |tos: Option<u8>| {
                let target = Target { source, address: route.dialled, traffic: route.traffic, tos };
                let expected = &expected;
                async move {
                    let seen =
                        probe(stack, target, check.probe.allowed, Patience::default(), cluster.sightings())
                            .await;
                    judge(&seen, check.probe.allowed, expected, tos)
                }
            };
            let observed = join_all(services.into_iter().map(one)).await;
            let wrong = observed.iter().position(|observed| !observed.agrees).unwrap_or(0);
            observed.into_iter().nth(wrong)
        });
    }
    join_all(all).await.into_iter().collect::<Option<Vec<_>>>().context("a probe without attempts")
}

fn judge(seen: &Observation, is_allowed: bool, destination: &str, tos: Option<u8>) -> Observed {
    let agrees = match seen {
        Observation::Answered(Some(name)) => is_allowed && name == destination,
        Observation::Answered(None) => is_allowed,
        Observation::Silent => !is_allowed,
        Observation::Refused | Observation::Failed(_) => false,
    };
    let text = match tos {
        Some(tos) => format!("{seen} (TOS {tos:#04x})"),
        None => seen.to_string(),
    };
    Observed { agrees, text }
}
