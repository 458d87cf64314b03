//! The test network itself: without any policy everything reaches everything, on both kinds of network, and what is
//! changed live is reached as well. Were this not so, no denial seen elsewhere would mean anything.

mod trial;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use futures::FutureExt;
use palisade_e2e::cluster::Cluster;
use palisade_e2e::levels::{Check, packets};
use palisade_e2e::scenario::{Cni, Scenario, State};
use palisade_e2e::traffic::Ports;

const TEXT: &str = "
description: everything reaches everything
tags: [network]
namespaces: {a: }
pods:
  a/one: {node: node-1}
  a/two: {node: node-1}
  a/far: {node: node-2}
  a/host: {node: node-2, hostNetwork: true}
services:
  two: {backend: a/two, port: 80, target: 8080}
  far: {backend: a/far, protocol: UDP, port: 53}
  init: {backend: a/far, protocol: SCTP, port: 99}
steps:
  - say: at the start
    probes: &probes
      - a/one -> a/two tcp/80: allow
      - a/one -> a/two udp/53: allow
      - a/one -> a/two sctp/80: allow
      - a/one -> a/two icmp: allow
      - a/one -> a/far tcp/80: allow
      - a/one -> a/far udp/53 tos-sweep: allow
      - a/one -> a/far tcp/443 tos-sweep: allow
      - a/one -> a/far icmp tos-sweep: allow
      - a/one -> a/far sctp/80 tos-sweep: allow
      - a/one -> a/host tcp/80: allow
      - a/host -> a/one tcp/80: allow
      - a/one -> gateway tcp/80: allow
      - a/one -> gateway udp/53: allow
      - a/one -> gateway icmp: allow
      - a/one -> node:node-1 tcp/80: allow
      - a/one -> node:node-1 udp/53: allow
      - a/one -> node:node-2 udp/53: allow
      - a/one -> node:node-2 sctp/53: allow
      - a/one -> world tcp/80: allow
      - a/one -> world udp/53: allow
      - a/one -> world icmp: allow
      - node:node-1 -> a/one tcp/80: allow
      - node:node-1 -> a/one udp/53: allow
      - node:node-1 -> a/far udp/53: allow
      - node:node-1 -> a/far icmp: allow
      - node:node-1 -> node:node-2 tcp/80: allow
      - node:node-1 -> svc:two tcp/80: allow
      - node:node-1 -> svc:far udp/53: allow
      - world -> a/one tcp/80: allow
      - world -> a/far udp/53: allow
      - world -> node:node-1 icmp: allow
      - world -> svc:two tcp/80: allow
      - world -> svc:far udp/53: allow
      - a/one -> svc:two tcp/80: allow
      - a/two -> svc:two tcp/80: allow
      - a/far -> svc:two tcp/80: allow
      - a/one -> svc:far udp/53: allow
      - a/far -> svc:far udp/53: allow
      - a/one -> svc:init sctp/99: allow
  - say: a pod goes, its address is another's on the same node
    pods:
      a/two: null
      a/new: {node: node-1, addresses: [10.244.1.11, 'fd00:244:1::11']}
    probes:
      - a/one -> a/new tcp/80: allow
      - a/far -> a/new udp/80: allow
      - world -> a/new icmp: allow
  - say: a pod moves to the other node and keeps its address
    pods:
      a/new: {node: node-2, addresses: [10.244.1.11, 'fd00:244:1::11']}
    probes:
      - a/far -> a/new udp/80: allow
      - world -> a/new icmp: allow
      - a/new -> gateway udp/53: allow
";

async fn everything_is_reached(cni: Cni) -> Result<()> {
    let scenario = Scenario::parse("network", Path::new("network.yaml"), TEXT)?;
    let mut state = State::of(&scenario)?;
    let mut cluster = Cluster::build(&state, cni, &Ports::default()).await?;
    for step in &scenario.steps {
        let next = state.after(step)?;
        cluster.change(Some(&state), &next).await?;
        state = next;
        let mut checks = Vec::new();
        for probe in &step.probes {
            let routes = state.routes(probe)?;
            checks.extend(routes.into_iter().map(|route| Check { probe: probe.clone(), route }));
        }
        let observed = packets::observe(&cluster, &checks).await?;
        let wrong: Vec<String> = checks
            .iter()
            .zip(&observed)
            .filter(|(_, observed)| !observed.agrees)
            .map(|(check, observed)| format!("{} {:?}: {}", check.probe, check.route.family, observed.text))
            .collect();
        ensure!(wrong.is_empty(), "{}:\n{}", step.say, wrong.join("\n"));
    }
    Ok(())
}

fn main() -> ExitCode {
    trial::run(vec![
        trial::packets("routed", |_| everything_is_reached(Cni::Routed).boxed_local()),
        trial::packets("bridged", |_| everything_is_reached(Cni::Bridged).boxed_local()),
    ])
}
