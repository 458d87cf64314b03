//! Random clusters, malformed policies and packets: what the oracle says, what the compiled views say and what the
//! fake kernel makes of the transactions that were actually produced are one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../operator/compiler/tests/generate/mod.rs"]
mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade_compiler::Engine;
use palisade_compiler::model::{Cluster, Event};
use palisade_compiler::oracle::{self, Flow};
use palisade_ruleset::kernel::TracePacket;
use palisade_ruleset::{End, FakeKernel, Numbers, Planner, judge};
use palisade_view::{NodeView, Packet};
use proptest::prelude::*;

/// A node as its shim keeps it.
struct Node {
    planner: Planner,
    kernel: FakeKernel,
}

impl Node {
    fn new() -> Self {
        let mut node = Self { planner: Planner::new(Numbers::default()), kernel: FakeKernel::new() };
        let load = node.planner.load(&NodeView::default()).expect("an empty view can be planned");
        node.kernel.apply(&load).expect("the kernel takes the skeleton");
        node.planner.commit();
        node
    }

    fn update(&mut self, view: &NodeView) {
        let transaction = self.planner.update(view).expect("a view can be planned");
        self.kernel.apply(&transaction).expect("the kernel takes what is planned");
        self.planner.commit();
    }
}

/// An engine with a simulated kernel for every node, led by the engine's changes alone.
#[derive(Default)]
struct System {
    engine: Engine,
    nodes: BTreeMap<String, Node>,
}

impl System {
    fn apply(&mut self, events: impl IntoIterator<Item = Event>) {
        let changes = self.engine.apply(events);
        for node in &changes.removed {
            self.nodes.remove(node);
        }
        for (name, change) in &changes.nodes {
            self.nodes.entry(name.clone()).or_insert_with(Node::new).update(&change.view);
        }
    }

    fn cluster(&self) -> &Cluster {
        self.engine.cluster()
    }

    /// The nodes whose pods own the address.
    fn homes(&self, address: IpAddr) -> BTreeSet<&str> {
        let cluster = self.cluster();
        let claims =
            cluster.pods.values().filter(|pod| pod.is_networked() && pod.addresses.contains(&address));
        let (backed, others): (Vec<_>, Vec<_>) = claims.partition(|pod| {
            let node = pod.node.as_ref().and_then(|node| cluster.nodes.get(node));
            node.is_some_and(|node| node.pod_cidrs.iter().any(|range| range.contains(&address)))
        });
        let owners = if backed.is_empty() { others } else { backed };
        owners.into_iter().filter_map(|pod| pod.node.as_deref()).collect()
    }

    fn stack(&self, address: IpAddr) -> Option<&str> {
        let node = self.cluster().nodes.values().find(|node| node.addresses.contains(&address))?;
        Some(&node.name)
    }

    /// Where a packet that the address sends or receives is judged; `None` where that cannot be told: an address
    /// contested between nodes, or one that is a pod's and a node's.
    fn end(&self, address: IpAddr) -> Option<End<'_>> {
        let homes = self.homes(address);
        match (homes.len(), self.stack(address)) {
            (0, None) => Some(End::World),
            (0, Some(node)) => Some(End::Node(&self.nodes[node].kernel)),
            (1, None) => homes.first().map(|node| End::Pod(&self.nodes[*node].kernel)),
            _ => None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn oracle_views_and_kernel_agree(
        history in generate::history(),
        in_one in any::<bool>(),
        packets in prop::collection::vec((generate::address(), generate::address(), generate::l4(), any::<u32>()), 60),
    ) {
        let mut system = System::default();
        if in_one {
            system.apply(history);
        } else {
            for event in history {
                system.apply([event]);
            }
        }
        for (source, destination, l4, scratch) in packets {
            if source.is_ipv4() != destination.is_ipv4() {
                continue;
            }
            let (Some(from), Some(to)) = (system.end(source), system.end(destination)) else { continue };
            let flow = Flow { source, destination, l4, source_node: None, destination_node: None };
            let judgement = oracle::judge(system.cluster(), &flow);
            let packet = Packet { source, destination, l4 };
            // Pods do not send ND or MLD to each other: an ICMPv6 packet here is an echo request.
            let trace = judge(from, to, &TracePacket::new(packet).with_scratch(scratch));
            prop_assert_eq!(
                trace.allows(),
                judgement.allowed(),
                "{}: {}\n{:#?}\n{:#?}",
                packet,
                judgement,
                trace,
                system.cluster()
            );
        }
    }
}
