//! The engine: keeps the cluster, and turns changes of it into changes of each node's view.
//!
//! `vocabulary` (what can be told apart) -> `peers` (who there is) -> `steps` (what the rules match) -> `fold`
//! (what they come to) -> `profiles` -> views. Each stage knows only those before it.

mod explain;
mod fold;
mod peers;
mod profiles;
mod slice;
mod spans;
mod steps;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use palisade_view::{Direction, Local, NodeView, Operation, Profile, Root};

use crate::model::{Cluster, Event};
use crate::oracle::{Explanation, Flow};
use peers::Peers;
use profiles::Profiles;
pub use spans::Spans;
use steps::Lowering;
use vocabulary::Vocabulary;

/// One node's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The root the operations apply to.
    pub from: Root,
    /// The operations, in order.
    pub operations: Arc<[Operation]>,
    /// The view after them.
    pub view: Arc<NodeView>,
}

/// What a batch of events comes to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// Nodes whose view changed. A node that is new to the cluster is here even if its view is empty.
    pub nodes: BTreeMap<String, Change>,
    /// Nodes that left the cluster, sorted.
    pub removed: Vec<String>,
}

/// Keeps the cluster and every node's view of it.
///
/// A node is known as soon as a Node object or a pod bound to it names it: a pod must not go unjudged because its
/// Node object comes late.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    cluster: Cluster,
    views: BTreeMap<String, Arc<NodeView>>,
}

impl Engine {
    /// Carries out a batch of changes. The result depends only on the cluster before and after, not on the order of
    /// the events between.
    pub fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Changes {
        let mut changed = false;
        for event in events {
            changed |= self.cluster.apply(event);
        }
        if changed { self.replace(views(&self.cluster)) } else { Changes::default() }
    }

    fn replace(&mut self, new: BTreeMap<String, NodeView>) -> Changes {
        let removed = self.views.keys().filter(|node| !new.contains_key(*node)).cloned().collect();
        let mut nodes = BTreeMap::new();
        let mut views = BTreeMap::new();
        for (node, view) in new {
            let old = self.views.remove(&node);
            if let Some(old) = &old
                && **old == view
            {
                views.insert(node, Arc::clone(old));
                continue;
            }
            let old = old.unwrap_or_default();
            let operations = old.diff(&view).into();
            let view = Arc::new(view);
            nodes.insert(node.clone(), Change { from: old.root(), operations, view: Arc::clone(&view) });
            views.insert(node, view);
        }
        self.views = views;
        Changes { nodes, removed }
    }

    /// Which nodes each policy is about. Computed anew: about as much work as matching every distinct subject with
    /// every distinct set of pod labels once.
    pub fn spans(&self) -> Spans {
        spans::spans(&self.cluster)
    }

    /// Why a flow is allowed or denied: which rule decides in each direction, and what every tier made of it.
    ///
    /// Programs do not say which rule decided, so this compiles anew what the two addresses concern: the pods that
    /// claim them and the policies that select those. Beside that it looks once at every pod, node and cluster-wide
    /// policy. Nothing is kept.
    pub fn explain(&self, flow: &Flow) -> Explanation {
        explain::explain(&self.cluster, flow)
    }

    /// The cluster as the engine knows it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A node's present view; `None` for a node the cluster does not have.
    pub fn view(&self, node: &str) -> Option<&Arc<NodeView>> {
        self.views.get(node)
    }

    /// Every node's present view, by name.
    pub fn views(&self) -> &BTreeMap<String, Arc<NodeView>> {
        &self.views
    }
}

fn views(cluster: &Cluster) -> BTreeMap<String, NodeView> {
    let vocabulary = Vocabulary::of(cluster);
    let peers = Peers::of(cluster, &vocabulary);
    let mut lowering = Lowering::new(cluster, &peers);
    let mut compile =
        |direction| Profiles::new(cluster, &vocabulary, &peers, direction, lowering.sections(direction));
    let mut egress = compile(Direction::Egress);
    let mut ingress = compile(Direction::Ingress);

    let bound = cluster.pods.values().filter_map(|pod| pod.node.as_ref());
    let mut views: BTreeMap<String, NodeView> =
        cluster.nodes.keys().chain(bound).map(|node| (node.clone(), NodeView::default())).collect();
    for (node, subjects) in &peers.subjects {
        let locals = subjects.iter().map(|(&address, pods)| (address, egress.of(pods), ingress.of(pods)));
        views.insert(node.clone(), view(&peers, locals));
    }
    views
}

/// One node's view: its subjects, their profiles, and the members of every identity those mention.
fn view(
    peers: &Peers,
    locals: impl Iterator<Item = (IpAddr, Option<Arc<Profile>>, Option<Arc<Profile>>)>,
) -> NodeView {
    let mut profiles = BTreeMap::new();
    let mut operations = Vec::new();
    for (address, egress, ingress) in locals {
        let Some(&identity) = peers.identity_of.get(&address) else { continue };
        if egress.is_none() && ingress.is_none() {
            continue;
        }
        let local = Local {
            identity: peers.identities[identity].key,
            egress: egress.as_ref().map(|profile| profile.key()),
            ingress: ingress.as_ref().map(|profile| profile.key()),
        };
        operations.push(Operation::PutLocal(address, local));
        profiles.extend(egress.into_iter().chain(ingress).map(|profile| (profile.key(), profile)));
    }
    operations.extend(profiles.into_values().map(Operation::PutProfile));
    let mut view = NodeView::default();
    // Nothing is put twice, so nothing is refused; the members come after the profiles that mention them.
    let _ = view.apply_all(&operations);
    let mentioned = view.mentioned_identities();
    for identity in mentioned.iter().filter_map(|key| peers.identity_by_key.get(key)) {
        let identity = &peers.identities[*identity];
        let members = identity.members.iter().copied().collect();
        let _ = view.apply(&Operation::AddMembers(identity.key, members));
    }
    view
}
