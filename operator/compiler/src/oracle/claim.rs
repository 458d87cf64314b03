//! Whose an address is: the pods that claim it, the nodes that have it, and the labels of a namespace.

use std::net::IpAddr;

use super::walk::Side;
use crate::model::{Cluster, Labels, Node, Pod};

/// The label every namespace carries with its own name as the value.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The pods whose the address may be, by namespace and name. A claim that the pod's node backs with its pod ranges
/// beats claims that no node backs: whoever may write pod addresses must not take over another node's.
pub(super) fn claimants(cluster: &Cluster, address: IpAddr) -> Vec<&Pod> {
    let claims = claims(cluster, address);
    let backed: Vec<&Pod> = claims.iter().copied().filter(|pod| is_backed(cluster, pod, address)).collect();
    if backed.is_empty() { claims } else { backed }
}

/// Everybody at an address, for people.
pub(super) fn side(cluster: &Cluster, address: IpAddr) -> Side {
    let pods: Vec<_> = claimants(cluster, address).into_iter().map(Pod::object).collect();
    let claims = claims(cluster, address).into_iter().map(Pod::object);
    Side {
        address,
        outbid: claims.filter(|claim| !pods.contains(claim)).collect(),
        pods,
        nodes: nodes(cluster, address).into_iter().map(|node| node.name.clone()).collect(),
    }
}

fn claims(cluster: &Cluster, address: IpAddr) -> Vec<&Pod> {
    cluster.pods.values().filter(|pod| pod.is_networked() && pod.addresses.contains(&address)).collect()
}

fn is_backed(cluster: &Cluster, pod: &Pod, address: IpAddr) -> bool {
    pod.node
        .as_ref()
        .and_then(|name| cluster.nodes.get(name))
        .is_some_and(|node| node.pod_cidrs.iter().any(|range| range.contains(&address)))
}

/// The nodes that have the address in their status. Their other addresses, such as a bridge's gateway address, are
/// not theirs to a `nodes` peer (NPEP-126 speaks of `status.addresses`).
pub(super) fn nodes(cluster: &Cluster, address: IpAddr) -> Vec<&Node> {
    cluster.nodes.values().filter(|node| node.addresses.contains(&address)).collect()
}

/// Whether the stack of the pod's own node is at the other side of the packet.
pub(super) fn is_own_node(cluster: &Cluster, pod: &Pod, address: IpAddr, stack: Option<&str>) -> bool {
    let Some(own) = pod.node.as_deref() else { return false };
    match stack {
        Some(stack) => stack == own,
        None => cluster.nodes.get(own).is_some_and(|node| node.addresses.contains(&address)),
    }
}

/// A namespace's labels. A namespace that is not known (its pod was seen first) has at least its name.
pub(super) fn namespace_labels(cluster: &Cluster, namespace: &str) -> Labels {
    match cluster.namespaces.get(namespace) {
        Some(namespace) => namespace.labels.clone(),
        None => Labels::from([(NAME_LABEL.to_owned(), namespace.to_owned())]),
    }
}
