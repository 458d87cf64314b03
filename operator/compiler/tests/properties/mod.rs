//! What must hold of every history of events: the compiled views are the oracle, the way does not matter. Each returns
//! what is wrong as a text, so that property tests and fuzz targets can share it.
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use palisade_compiler::model::{Cluster, Event, Object, Pod, Policy};
use palisade_compiler::oracle::{self, Flow};
use palisade_compiler::{Changes, Engine};
use palisade_view::{NodeView, Packet, Root};

use super::generate::{Ends, PACKET_BYTES};

/// Every packet is judged by the nodes on its way as by the oracle.
pub(crate) fn views_agree(history: Vec<Event>, packets: &[[u8; PACKET_BYTES]]) -> Result<(), String> {
    let cluster = &after(history.clone());
    let mut engine = Engine::default();
    engine.apply(history);
    equal("clusters", engine.cluster(), cluster)?;
    let ends = Ends::of(cluster);
    for &packet in packets {
        let packet = ends.packet(packet);
        let Packet { source, destination, l4 } = packet;
        // An address contested between nodes is judged on each; which of them a node's own packet reaches is not the
        // engine's to say.
        let spread = |address| {
            let homes: BTreeSet<_> = owners(cluster, address).iter().map(|pod| &pod.node).collect();
            homes.len() > 1
        };
        let is_node = |address| cluster.nodes.values().any(|node| node.addresses.contains(&address));
        if (is_node(destination) && spread(source)) || (is_node(source) && spread(destination)) {
            continue;
        }
        let flow = Flow { source, destination, l4, source_node: None, destination_node: None };
        let judgement = oracle::judge(cluster, &flow);
        let allowed = nodes_allow(&engine, &packet);
        if allowed != judgement.allowed() {
            return Err(format!(
                "{packet}: the nodes allow: {allowed}, the oracle: {judgement}\n{cluster:#?}"
            ));
        }
    }
    Ok(())
}

/// Taking events one by one, and following that by the operations alone, leads where the last objects lead at once.
pub(crate) fn steps_lead_where_the_end_leads(history: Vec<Event>) -> Result<(), String> {
    let cluster = after(history.clone());
    let mut engine = Engine::default();
    let mut shims = Shims::default();
    for event in history {
        shims.follow(&engine.apply([event]))?;
    }
    let mut scratch = Engine::default();
    scratch.apply(objects(&cluster));
    equal("clusters", engine.cluster(), &cluster)?;
    equal("clusters", scratch.cluster(), &cluster)?;
    equal("views", &views(&engine), &views(&scratch))?;
    equal("shims", &shims.0, &views(&engine))
}

/// The objects of a history's end make the same roots in any order.
pub(crate) fn order_does_not_matter(history: Vec<Event>, seed: u64) -> Result<(), String> {
    let in_order = objects(&after(history));
    let mut shuffled = in_order.clone();
    let mut state = seed | 1;
    for last in (1..shuffled.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        shuffled.swap(last, usize::try_from(state >> 33).expect("31 bits") % (last + 1));
    }
    let (mut one, mut other) = (Engine::default(), Engine::default());
    one.apply(in_order);
    for event in shuffled {
        other.apply([event]);
    }
    let roots = |engine: &Engine| -> BTreeMap<String, Root> {
        engine.views().iter().map(|(node, view)| (node.clone(), view.root())).collect()
    };
    equal("roots", &roots(&one), &roots(&other))
}

/// The cluster a history leads to, without an engine: one that takes nothing in must not agree with itself.
fn after(history: Vec<Event>) -> Cluster {
    let mut cluster = Cluster::default();
    for event in history {
        cluster.apply(event);
    }
    cluster
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, left: &T, right: &T) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{what} differ: {left:#?}\n{right:#?}")) }
}

/// Every object of a cluster, as events.
fn objects(cluster: &Cluster) -> Vec<Event> {
    let namespaces = cluster.namespaces.values().cloned().map(Object::Namespace);
    let nodes = cluster.nodes.values().cloned().map(Object::Node);
    let pods = cluster.pods.values().cloned().map(Object::Pod);
    let admin = cluster.admin_policies.values().cloned().map(|p| Object::Policy(Policy::Admin(p)));
    let network = cluster.network_policies.values().cloned().map(|p| Object::Policy(Policy::Network(p)));
    namespaces.chain(nodes).chain(pods).chain(admin).chain(network).map(Event::Apply).collect()
}

fn views(engine: &Engine) -> BTreeMap<String, Arc<NodeView>> {
    engine.views().clone()
}

/// Follows an engine as a set of shims would: by the operations alone.
#[derive(Default)]
struct Shims(BTreeMap<String, Arc<NodeView>>);

impl Shims {
    fn follow(&mut self, changes: &Changes) -> Result<(), String> {
        for node in &changes.removed {
            self.0.remove(node);
        }
        for (node, change) in &changes.nodes {
            let held = Arc::make_mut(self.0.entry(node.clone()).or_default());
            equal("the roots before", &held.root(), &change.from)?;
            held.apply_all(change.operations.iter())
                .map_err(|(at, error)| format!("operation {at}: {error}"))?;
            held.check().map_err(|error| error.to_string())?;
            equal("the roots after", &held.root(), &change.view.root())?;
        }
        Ok(())
    }
}

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
    let home = |address| owners(cluster, address).first().and_then(|pod| pod.node.as_deref());
    let is_own =
        |node: &str, address| cluster.nodes.get(node).is_some_and(|node| node.addresses.contains(&address));
    let view = |node: &str| engine.view(node).expect("a node with pods has a view");
    let (from, to) = (home(packet.source), home(packet.destination));
    if packet.source == packet.destination {
        return from.is_none_or(|node| view(node).forwards(packet));
    }
    let egress = from.is_none_or(|node| {
        if is_own(node, packet.destination) {
            view(node).delivers(packet)
        } else {
            view(node)
                .egress_program(packet.source, packet.destination)
                .is_none_or(|program| program.allows(packet.l4))
        }
    });
    let ingress = to.is_none_or(|node| {
        is_own(node, packet.source)
            || view(node)
                .ingress_program(packet.source, packet.destination)
                .is_none_or(|program| program.allows(packet.l4))
    });
    egress && ingress
}
