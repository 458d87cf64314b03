//! What no policy reaches, by packets: a pod's traffic to its own address, and what belongs to a flow that is allowed.

mod trial;

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::FutureExt;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::scenario::Traffic;
use palisade_e2e::show::Show;
use palisade_e2e::traffic::{Observation, Patience, Target, probe};
use palisade_view::Protocol;

/// Nothing listens there, so whoever gets a datagram sends an error back.
const CLOSED: u16 = 9999;

fn main() -> ExitCode {
    trial::run(vec![
        trial::packets("a_pods_own_address_is_no_matter_of_policy", |directory| {
            own_address(directory).boxed_local()
        }),
        trial::packets("errors_of_an_allowed_flow_come_back", |directory| errors(directory).boxed_local()),
    ])
}

/// A cluster with one policy in force.
async fn start(directory: &RunDir, policy: &str) -> Result<Show> {
    let show = Show::start(directory.path()).await?;
    let written = show.manifests.write("policy.yaml", policy)?;
    show.deployment.settled(&[written]).await?;
    Ok(show)
}

/// Sends from a pod's address to an address of the same family.
async fn send(
    show: &Show,
    from: &str,
    to: IpAddr,
    traffic: Traffic,
    is_allowed: bool,
) -> Result<Observation> {
    let (stack, _) = show.stage.pod(from)?;
    let source = show.stage.state.pods[from].addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4());
    let target = Target { source: source.copied(), address: to, traffic, tos: None };
    Ok(probe(stack, target, is_allowed, Patience::default(), show.stage.cluster.sightings()).await)
}

const NOTHING: &str = "\
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: nothing}
spec:
  tier: Admin
  priority: 0
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{namespaces: {}}]}]
  egress: [{action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]}]
";

/// "A Pod connecting to its own Pod IP is not subject to CNP" (overview of the API): it stays in the pod's own
/// network namespace, where no rule of ours is. Nor is it to NetworkPolicy.
async fn own_address(directory: Arc<RunDir>) -> Result<()> {
    let show = start(&directory, NOTHING).await?;
    let (web, db) = ("shop/web", "shop/db");
    let http = Traffic::Port(Protocol::Tcp, 80);
    for own in &show.stage.state.pods[web].addresses {
        let seen = send(&show, web, *own, http, true).await?;
        ensure!(seen == Observation::Answered(Some(web.to_owned())), "{own}: {seen}");
    }
    for other in &show.stage.state.pods[db].addresses {
        let seen = send(&show, web, *other, http, false).await?;
        ensure!(seen == Observation::Silent, "the policy is not in force: {other}: {seen}");
    }
    Ok(())
}

const DATAGRAMS: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: datagrams, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  egress: [{ports: [{protocol: UDP, port: 9999}]}]
";

/// "Accepts the selected traffic, including replies to that traffic and related ICMP traffic": an error that answers
/// an allowed datagram comes back to a pod that takes nothing by itself, from its own node and from another.
async fn errors(directory: Arc<RunDir>) -> Result<()> {
    let show = start(&directory, DATAGRAMS).await?;
    let web = "shop/web";
    for other in ["kube-system/dns", "monitoring/scraper"] {
        for address in &show.stage.state.pods[other].addresses {
            let datagram = Traffic::Port(Protocol::Udp, CLOSED);
            let seen = send(&show, web, *address, datagram, false).await?;
            ensure!(seen == Observation::Refused, "{other} {address}: {seen}");
            let seen = send(&show, web, *address, Traffic::Port(Protocol::Udp, CLOSED + 1), false).await?;
            ensure!(seen == Observation::Silent, "the policy is not in force: {other} {address}: {seen}");
        }
        for address in &show.stage.state.pods[web].addresses {
            let seen = send(&show, other, *address, Traffic::Echo, false).await?;
            ensure!(seen == Observation::Silent, "ICMP of no flow arrives: {other} {address}: {seen}");
        }
    }
    Ok(())
}
