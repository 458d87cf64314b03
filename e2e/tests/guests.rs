//! Established connections outlive their denial, new ones do not: with TCP, and with SCTP over the kernel's own sockets.
//! Many kernels have none: there the SCTP tests are shown as ignored, and `make test-guests` boots a kernel that has.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod trial;

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use palisade_e2e::cluster::Cluster;
use palisade_e2e::daemons::Deployment;
use palisade_e2e::levels::{Check, packets};
use palisade_e2e::manifests::ManifestDir;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::scenario::{Cni, Place, Scenario, State};
use palisade_e2e::traffic::{Ports, Sctp, Talk, Target};
use palisade_view::Protocol;

/// The port that is talked over.
const PORT: u16 = 9003;

/// How often something goes there and back before it counts as going on.
const ROUNDS: u64 = 20;

/// A client speaks to a server on the other node and to one on its own, and goes on while policies come and go.
/// `PROTOCOL` and `protocol` stand for what it speaks.
const TEXT: &str = "
description: what is established stays when policy turns against it, and nothing new begins
tags: [guest]
namespaces: {a: }
pods:
  a/client: {node: node-1, labels: {app: client}}
  a/other: {node: node-1, labels: {app: other}}
  a/near: {node: node-1, labels: {app: server}}
  a/far: {node: node-2, labels: {app: server}}
steps:
  - say: no policy
    probes:
      - a/client -> a/near protocol/9003: allow
      - a/client -> a/far protocol/9003: allow
      - a/other -> a/far protocol/9005: allow
      - a/far -> a/client protocol/9003: allow
      - node:node-2 -> a/near protocol/9003: allow
  - say: the servers admit the client, on one port
    apply:
      - apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {namespace: a, name: servers}
        spec:
          podSelector: {matchLabels: {app: server}}
          ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{protocol: PROTOCOL, port: 9003}]}]
    probes:
      - a/client -> a/near protocol/9003: allow
      - a/client -> a/far protocol/9003: allow
      - a/client -> a/near protocol/9005: deny by isolation ingress NetworkPolicy/a/servers
      - a/client -> a/far protocol/9005: deny by isolation ingress NetworkPolicy/a/servers
      - a/other -> a/near protocol/9003: deny by isolation ingress NetworkPolicy/a/servers
      - a/other -> a/far protocol/9003: deny by isolation ingress NetworkPolicy/a/servers
      - a/far -> a/client protocol/9003: allow
      - node:node-1 -> a/near protocol/9003: allow
      - node:node-1 -> a/far protocol/9003: deny by isolation ingress NetworkPolicy/a/servers
  - say: the servers admit nobody any more
    apply:
      - apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {namespace: a, name: servers}
        spec: {podSelector: {matchLabels: {app: server}}}
    probes:
      - a/client -> a/near protocol/9003: deny by isolation ingress NetworkPolicy/a/servers
      - a/client -> a/far protocol/9003: deny by isolation ingress NetworkPolicy/a/servers
      - a/far -> a/client protocol/9003: allow
  - say: and the client may not even ask
    apply:
      - apiVersion: policy.networking.k8s.io/v1alpha2
        kind: ClusterNetworkPolicy
        metadata: {name: client}
        spec:
          tier: Admin
          priority: 1
          subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}
          egress: [{action: Deny, to: [{namespaces: {}}], protocols: [{PORTS: {destinationPort: {number: 9003}}}]}]
    probes:
      - a/client -> a/far protocol/9003: deny by ClusterNetworkPolicy/client egress[0]
      - a/client -> a/other protocol/9003: deny by ClusterNetworkPolicy/client egress[0]
      - a/client -> a/other protocol/9005: allow
  - say: no policy again
    delete: [NetworkPolicy/a/servers, ClusterNetworkPolicy/client]
    probes:
      - a/client -> a/near protocol/9003: allow
      - a/client -> a/far protocol/9003: allow
      - a/other -> a/far protocol/9005: allow
";

fn scenario(transport: Protocol) -> Result<Scenario> {
    let upper = transport.name();
    let lower = upper.to_ascii_lowercase();
    let text =
        TEXT.replace("protocol/", &format!("{lower}/")).replace("PROTOCOL", upper).replace("PORTS", &lower);
    Scenario::parse("established", Path::new("established.yaml"), &text)
}

async fn established_stays(transport: Protocol, cni: Cni, directory: Arc<RunDir>) -> Result<()> {
    let scenario = scenario(transport)?;
    let mut state = State::of(&scenario)?;
    let ports = Ports { tcp: [PORT, 9005].into(), sctp: [PORT, 9005].into(), ..Ports::default() };
    let mut cluster = Cluster::build(&state, cni, &ports).await?;
    let manifests = ManifestDir::new(&directory.path().join("manifests"))?;
    let written = manifests.change(None, &state)?;
    let nodes: Vec<String> = state.nodes.keys().cloned().collect();
    let mut deployment = Deployment::new(&cluster, &nodes, directory.path(), manifests.path())?;
    deployment.start().await?;
    deployment.settled(&written).await?;
    let talks = talks(&cluster, &state, transport)?;
    for step in &scenario.steps {
        let next = state.after(step)?;
        cluster.change(Some(&state), &next).await?;
        deployment.settled(&manifests.change(Some(&state), &next)?).await?;
        state = next;
        check(&cluster, &state, &step.probes).await.with_context(|| step.say.clone())?;
        for (name, talk) in &talks {
            talk.goes_on(ROUNDS).await.with_context(|| format!("{}: {name}", step.say))?;
        }
    }
    Ok(())
}

/// The client, talking to each server over each family.
fn talks(cluster: &Cluster, state: &State, transport: Protocol) -> Result<Vec<(String, Talk)>> {
    let addresses = |pod: &str| -> Result<Vec<IpAddr>> {
        Ok(state.pods.get(pod).with_context(|| format!("no pod {pod}"))?.addresses.clone())
    };
    let stack = cluster.stack(&Place::Pod("a/client".to_owned()))?;
    let mut talks = Vec::new();
    for server in ["a/near", "a/far"] {
        for (source, address) in addresses("a/client")?.into_iter().zip(addresses(server)?) {
            let traffic = palisade_e2e::scenario::Traffic::Port(transport, PORT);
            let target = Target { source: Some(source), address, traffic, tos: None };
            let talk = Talk::over_one_connection(stack, target, transport, PORT)?;
            talks.push((format!("{server} at {address}"), talk));
        }
    }
    ensure!(talks.len() == 4, "two servers, two families");
    Ok(talks)
}

async fn check(cluster: &Cluster, state: &State, probes: &[palisade_e2e::scenario::Probe]) -> Result<()> {
    let mut checks = Vec::new();
    for probe in probes {
        checks.extend(state.routes(probe)?.into_iter().map(|route| Check { probe: probe.clone(), route }));
    }
    let observed = packets::observe(cluster, &checks).await?;
    ensure!(observed.len() == checks.len(), "{} of {} probes were made", observed.len(), checks.len());
    let wrong: Vec<String> = checks
        .iter()
        .zip(&observed)
        .filter(|(_, observed)| !observed.agrees)
        .map(|(check, observed)| format!("{} {:?}: {}", check.probe, check.route.family, observed.text))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn main() -> ExitCode {
    let has_sctp = Sctp::of_kernel() == Sctp::Sockets;
    if !has_sctp {
        println!(
            "skipped: SCTP associations, for this kernel has no SCTP sockets (make test-guests boots one that has)"
        );
    }
    let mut trials = Vec::new();
    for cni in [Cni::Routed, Cni::Bridged] {
        for transport in [Protocol::Tcp, Protocol::Sctp] {
            let name = format!("established {} outlives its denial ({})", transport.name(), cni.name());
            let trial = trial::packets(&name, move |directory| {
                established_stays(transport, cni, directory).boxed_local()
            });
            let is_ignored = trial::skips_packets() || (transport == Protocol::Sctp && !has_sctp);
            trials.push(trial.with_ignored_flag(is_ignored));
        }
    }
    trial::run(trials)
}
