//! The engine held against the oracle, and against itself, over random clusters.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use palisade_compiler::model::{Cluster, Event, Pod};
use palisade_compiler::oracle::{self, Flow};
use palisade_compiler::{Changes, Engine};
use palisade_view::{NodeView, Packet, Root};
use proptest::prelude::*;

/// The pods an address belongs to, by the same rule as the oracle's, written down once more.
fn owners(cluster: &Cluster, address: IpAddr) -> Vec<&Pod> {
    let claimants: Vec<&Pod> =
        cluster.pods.values().filter(|pod| pod.is_networked() && pod.addresses.contains(&address)).collect();
    let rightful: Vec<&Pod> = claimants
        .iter()
        .copied()
        .filter(|pod| {
            pod.node
                .as_ref()
                .and_then(|node| cluster.nodes.get(node))
                .is_some_and(|node| node.pod_cidrs.iter().any(|range| range.contains(&address)))
        })
        .collect();
    if rightful.is_empty() { claimants } else { rightful }
}

/// What the nodes on a packet's way make of it.
fn nodes_allow(engine: &Engine, packet: &Packet) -> bool {
    let cluster = engine.cluster();
    let home = |address| owners(cluster, address).first().and_then(|pod| pod.node.clone());
    let is_own =
        |node: &str, address| cluster.nodes.get(node).is_some_and(|node| node.addresses.contains(&address));
    let view = |node: &str| engine.view(node).expect("a node with pods has a view");
    let (from, to) = (home(packet.source), home(packet.destination));
    if packet.source == packet.destination {
        return from.is_none_or(|node| view(&node).forwards(packet));
    }
    let egress = from.as_ref().is_none_or(|node| {
        if is_own(node, packet.destination) {
            view(node).delivers(packet)
        } else {
            view(node)
                .egress_program(packet.source, packet.destination)
                .is_none_or(|program| program.allows(packet.l4))
        }
    });
    let ingress = to.as_ref().is_none_or(|node| {
        is_own(node, packet.source)
            || view(node)
                .ingress_program(packet.source, packet.destination)
                .is_none_or(|program| program.allows(packet.l4))
    });
    egress && ingress
}

fn views(engine: &Engine) -> BTreeMap<String, NodeView> {
    engine.views().iter().map(|(node, view)| (node.clone(), NodeView::clone(view))).collect()
}

/// Follows an engine as a set of shims would: by the operations alone.
#[derive(Default)]
struct Shims(BTreeMap<String, NodeView>);

impl Shims {
    fn follow(&mut self, changes: &Changes) {
        for node in &changes.removed {
            self.0.remove(node);
        }
        for (node, change) in &changes.nodes {
            let held = self.0.entry(node.clone()).or_default();
            assert_eq!(held.root(), change.from);
            held.apply_all(change.operations.iter()).expect("operations fit");
            held.check().expect("no dangling reference");
            assert_eq!(held.root(), change.view.root());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn compiled_views_agree_with_the_oracle(
        history in generate::history(),
        ends in prop::collection::vec((generate::address(), generate::address(), generate::l4()), 100),
    ) {
        let mut engine = Engine::default();
        engine.apply(history);
        for (source, destination, l4) in ends {
            let (source, destination) = (source.of(engine.cluster()), destination.of(engine.cluster()));
            if source.is_ipv4() != destination.is_ipv4() {
                continue;
            }
            let packet = Packet { source, destination, l4 };
            // An address contested between nodes is judged on each; which of them a node's own packet reaches is
            // not the engine's to say.
            let spread = |address| {
                let homes: BTreeSet<_> = owners(engine.cluster(), address).iter().map(|pod| &pod.node).collect();
                homes.len() > 1
            };
            let is_node = |address| engine.cluster().nodes.values().any(|node| node.addresses.contains(&address));
            if (spread(source) && is_node(destination)) || (spread(destination) && is_node(source)) {
                continue;
            }
            let flow = Flow { source, destination, l4, source_node: None, destination_node: None };
            let judgement = oracle::judge(engine.cluster(), &flow);
            prop_assert_eq!(
                nodes_allow(&engine, &packet),
                judgement.allowed(),
                "{}: {:?}\n{:#?}",
                packet,
                judgement,
                engine.cluster()
            );
        }
    }

    #[test]
    fn event_by_event_is_from_scratch(history in generate::history()) {
        let mut engine = Engine::default();
        let mut shims = Shims::default();
        for event in history {
            shims.follow(&engine.apply([event]));
        }
        let mut scratch = Engine::default();
        let last = objects(engine.cluster());
        scratch.apply(last);
        prop_assert_eq!(engine.cluster(), scratch.cluster());
        prop_assert_eq!(views(&engine), views(&scratch));
        prop_assert_eq!(views(&engine), shims.0);
    }

    #[test]
    fn order_of_events_does_not_matter(history in generate::history().prop_map(objects_of), seed in any::<u64>()) {
        let mut shuffled = history.clone();
        let mut state = seed | 1;
        for last in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(last, usize::try_from(state >> 33).expect("31 bits") % (last + 1));
        }
        let (mut one, mut other) = (Engine::default(), Engine::default());
        one.apply(history);
        for event in shuffled {
            other.apply([event]);
        }
        let roots = |engine: &Engine| -> BTreeMap<String, Root> {
            engine.views().iter().map(|(node, view)| (node.clone(), Arc::clone(view).root())).collect()
        };
        prop_assert_eq!(roots(&one), roots(&other));
    }
}

/// The objects a history ends with, each once.
fn objects_of(history: Vec<Event>) -> Vec<Event> {
    let mut cluster = Cluster::default();
    for event in history {
        cluster.apply(event);
    }
    objects(&cluster)
}

fn objects(cluster: &Cluster) -> Vec<Event> {
    use palisade_compiler::model::{Object, Policy};
    let namespaces = cluster.namespaces.values().cloned().map(Object::Namespace);
    let nodes = cluster.nodes.values().cloned().map(Object::Node);
    let pods = cluster.pods.values().cloned().map(Object::Pod);
    let admin = cluster.admin_policies.values().cloned().map(|p| Object::Policy(Policy::Admin(p)));
    let network = cluster.network_policies.values().cloned().map(|p| Object::Policy(Policy::Network(p)));
    namespaces.chain(nodes).chain(pods).chain(admin).chain(network).map(Event::Apply).collect()
}
