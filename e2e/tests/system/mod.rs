//! An engine with a simulated kernel for every node, led by the engine's changes alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use palisade_compiler::Engine;
use palisade_compiler::model::{Cluster, Event};
use palisade_ruleset::{End, FakeKernel, Numbers, Planner};
use palisade_view::NodeView;

/// A node as its shim keeps it.
#[derive(Clone)]
struct Node {
    planner: Planner,
    kernel: FakeKernel,
}

impl Node {
    fn new() -> Self {
        static EMPTY: LazyLock<Node> = LazyLock::new(|| {
            let mut node = Node { planner: Planner::new(Numbers::default()), kernel: FakeKernel::new() };
            let load = node.planner.load(&NodeView::default()).expect("an empty view can be planned");
            node.kernel.apply(&load).expect("the kernel takes the skeleton");
            node.planner.commit();
            node
        });
        EMPTY.clone()
    }

    fn update(&mut self, view: &NodeView) {
        let transaction = self.planner.update(view).expect("a view can be planned");
        self.kernel.apply(&transaction).expect("the kernel takes what is planned");
        self.planner.commit();
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct System {
    engine: Engine,
    nodes: BTreeMap<String, Node>,
}

impl System {
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) {
        let changes = self.engine.apply(events);
        for node in &changes.removed {
            self.nodes.remove(node);
        }
        for (name, change) in &changes.nodes {
            self.nodes.entry(name.clone()).or_insert_with(Node::new).update(&change.view);
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.engine.cluster()
    }

    /// The nodes with a pod that claims the address.
    fn homes(&self, address: IpAddr) -> BTreeSet<&str> {
        let pods = self.cluster().pods.values();
        let claimants = pods.filter(|pod| pod.is_networked() && pod.addresses.contains(&address));
        claimants.filter_map(|pod| pod.node.as_deref()).collect()
    }

    fn stack(&self, address: IpAddr) -> Option<&str> {
        let node = self.cluster().nodes.values().find(|node| node.addresses.contains(&address))?;
        Some(&node.name)
    }

    /// Where a packet that the address sends or receives is judged; `None` where that cannot be told: an address
    /// claimed on several nodes, or one that is a pod's and a node's. The node of a pod that claims another's address
    /// holds what comes from its rightful owner to that pod's policies too, for it sees nothing but the address.
    pub(crate) fn end(&self, address: IpAddr) -> Option<End<'_>> {
        let homes = self.homes(address);
        match (homes.len(), self.stack(address)) {
            (0, None) => Some(End::World),
            (0, Some(node)) => Some(End::Node(&self.nodes[node].kernel)),
            (1, None) => homes.first().map(|node| End::Pod(&self.nodes[*node].kernel)),
            _ => None,
        }
    }
}
