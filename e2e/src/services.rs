//! Services as a node's proxy would do them: DNAT on every node before policy is judged, masquerade for a pod that
//! reaches itself. Knows only addresses and ports.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use palisade_view::{Family, Protocol};

use crate::namespaces::Stack;
use crate::scenario::State;

const TABLE: &str = "inet kube-services-test";

/// One address of one service with what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    service: IpAddr,
    protocol: Protocol,
    port: u16,
    pod: IpAddr,
    target: u16,
    node: String,
}

/// What every node has to translate.
pub fn backends(state: &State) -> Vec<Backend> {
    let mut backends = Vec::new();
    for service in state.services.values() {
        let Some(pod) = state.pods.get(&service.backend) else { continue };
        for &address in &service.addresses {
            if let Some(target) = pod.address(Family::of(address)) {
                backends.push(Backend {
                    service: address,
                    protocol: service.protocol,
                    port: service.port,
                    pod: target,
                    target: service.target,
                    node: pod.node.clone(),
                });
            }
        }
    }
    backends
}

/// Replaces the translation on every node, and leads service addresses from outside to their backend's node, as a
/// load balancer that keeps client addresses does.
pub async fn program(
    nodes: &BTreeMap<String, Arc<Stack>>,
    fabric: &Stack,
    from: Option<&State>,
    to: &State,
) -> Result<()> {
    let backends = backends(to);
    let script = script(&backends);
    for stack in nodes.values() {
        stack.command("nft", &["-f", "-"], script.clone()).await?;
    }
    let mut routes = Vec::new();
    if let Some(from) = from {
        for old in self::backends(from) {
            routes.push(format!("route del {}", host_net(old.service)));
        }
    }
    for backend in &backends {
        if let Some(node) = to.nodes.get(&backend.node) {
            let via = node.address(Family::of(backend.service))?;
            routes.push(format!("route add {} via {via}", host_net(backend.service)));
        }
    }
    fabric.ip(&routes).await
}

fn host_net(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn script(backends: &[Backend]) -> String {
    let (mut translate, mut hairpin) = (String::new(), String::new());
    for b in backends {
        let (ip, target) = match b.pod {
            IpAddr::V4(address) => ("ip", format!("{address}:{}", b.target)),
            IpAddr::V6(address) => ("ip6", format!("[{address}]:{}", b.target)),
        };
        let protocol = b.protocol.name().to_ascii_lowercase();
        // Writing to a string does not fail.
        let _ =
            writeln!(translate, "{ip} daddr {} {protocol} dport {} dnat {ip} to {target}", b.service, b.port);
        let _ = writeln!(hairpin, "{ip} saddr {0} {ip} daddr {0} masquerade", b.pod);
    }
    format!(
        "table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n\
         chain prerouting {{\ntype nat hook prerouting priority dstnat\n{translate}}}\n\
         chain output {{\ntype nat hook output priority -100\n{translate}}}\n\
         chain postrouting {{\ntype nat hook postrouting priority srcnat\n{hairpin}}}\n}}\n"
    )
}
