//! The part of a cluster that two addresses concern: who claims them, and the policies that select those. To every
//! question about a packet between the two it gives the answer of the whole.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::steps::is_about;
use crate::model::{Cluster, Pod};

/// See the module.
pub(super) fn slice(cluster: &Cluster, addresses: [IpAddr; 2]) -> Cluster {
    let claims =
        |pod: &Pod| pod.is_networked() && addresses.iter().any(|address| pod.addresses.contains(address));
    let pods: BTreeMap<_, _> = clone(cluster.pods.iter().filter(|(_, pod)| claims(pod)));
    let nodes = cluster.nodes.iter().filter(|(name, node)| {
        let is_home = pods.values().any(|pod| pod.node.as_ref() == Some(*name));
        is_home || addresses.iter().any(|address| node.addresses.contains(address))
    });
    let namespaces = pods.values().filter_map(|pod| cluster.namespaces.get_key_value(&pod.namespace));
    let admin_policies = cluster.admin_policies.iter().filter(|(_, policy)| {
        pods.values().any(|pod| is_about(cluster, &policy.subject, &pod.namespace, &pod.labels))
    });
    let network_policies = pods.values().flat_map(|pod| {
        let from = (pod.namespace.clone(), String::new());
        let inside = cluster.network_policies.range(from..);
        let inside = inside.take_while(|(_, policy)| policy.namespace == pod.namespace);
        inside
            .filter(|(_, policy)| policy.subject.as_ref().is_some_and(|subject| subject.matches(&pod.labels)))
    });
    Cluster {
        namespaces: clone(namespaces),
        nodes: clone(nodes),
        admin_policies: clone(admin_policies),
        network_policies: clone(network_policies),
        pods,
    }
}

fn clone<'a, K: Clone + Ord + 'a, V: Clone + 'a>(
    some: impl Iterator<Item = (&'a K, &'a V)>,
) -> BTreeMap<K, V> {
    some.map(|(key, value)| (key.clone(), value.clone())).collect()
}
