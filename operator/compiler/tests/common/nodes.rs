//! Nodes that follow an engine as shims do, by the operations alone, and judge packets by what they hold.

use std::collections::BTreeMap;
use std::net::IpAddr;

use palisade_compiler::Changes;
use palisade_compiler::model::Cluster;
use palisade_view::{NodeView, Packet, Program};

/// What every node holds.
#[derive(Default)]
pub(crate) struct Nodes(BTreeMap<String, NodeView>);

impl Nodes {
    /// Carries out an engine's changes, checking as a shim would that they fit and come out as announced.
    pub(crate) fn follow(&mut self, changes: &Changes) {
        for node in &changes.removed {
            self.0.remove(node);
        }
        for (node, change) in &changes.nodes {
            let held = self.0.entry(node.clone()).or_default();
            assert_eq!(held.root(), change.from, "{node}: the change starts from what is held");
            for operation in change.operations.iter() {
                held.apply(operation).expect("the operation fits");
            }
            held.check().expect("nothing dangles");
            assert_eq!(*held, *change.view, "{node}: the operations lead to the view");
        }
    }

    /// Whether egress, whether ingress, and whether the path as a whole permits the packet. The path: the node of the
    /// source and the node of the destination, each by the hook the packet comes to there.
    pub(crate) fn judge(&self, cluster: &Cluster, packet: &Packet) -> (bool, bool, bool) {
        let (source, destination) = (home(cluster, packet.source), home(cluster, packet.destination));
        let permits = |program: Option<&Program>| program.is_none_or(|program| program.allows(packet.l4));
        let is_local = source.is_some() && source == destination;
        let is_to_stack = has_address(cluster, destination, packet.destination);
        let is_from_stack = has_address(cluster, source, packet.source);

        let at_source = self.view(source).is_none_or(|view| {
            // What a node's own stack sends is not forwarded by it.
            is_from_stack
                || if is_local && is_to_stack { view.delivers(packet) } else { view.forwards(packet) }
        });
        let at_destination = self
            .view(destination)
            .is_none_or(|view| is_to_stack || (is_local && is_from_stack) || view.forwards(packet));
        let egress = self.view(source).is_none_or(|view| {
            if is_local && is_to_stack {
                view.delivers(packet)
            } else {
                is_from_stack || permits(view.egress_program(packet.source, packet.destination))
            }
        });
        let ingress = self.view(destination).is_none_or(|view| {
            is_to_stack
                || (is_local && is_from_stack)
                || permits(view.ingress_program(packet.source, packet.destination))
        });
        (egress, ingress, at_source && at_destination)
    }

    fn view(&self, node: Option<&str>) -> Option<&NodeView> {
        node.map(|node| self.0.get(node).unwrap_or_else(|| panic!("{node} has a view")))
    }
}

/// The node a packet from or to the address passes: the address's own, or its pod's. Addresses are not contested here.
fn home(cluster: &Cluster, address: IpAddr) -> Option<&str> {
    let own = cluster.nodes.values().find(|node| node.addresses.contains(&address));
    let pod = || cluster.pods.values().find(|pod| pod.is_networked() && pod.addresses.contains(&address));
    own.map(|node| node.name.as_str()).or_else(|| pod()?.node.as_deref())
}

fn has_address(cluster: &Cluster, node: Option<&str>, address: IpAddr) -> bool {
    node.and_then(|name| cluster.nodes.get(name)).is_some_and(|node| node.addresses.contains(&address))
}
