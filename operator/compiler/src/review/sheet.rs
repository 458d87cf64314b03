//! Policies of every kind in one form, in the order in which they are judged, with what can be said of their selectors,
//! networks and ports without looking at a cluster.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use palisade_view::Direction;

use super::addresses::Addresses;
use super::ground::ClassId;
use super::shape::Shape;
use super::traffic::Traffic;
use crate::model::{
    Action, AdminSubject, Cluster, Kind, NamespaceMatch, ObjectRef, Peer, PortMatch, Selector, Tier,
};

/// When a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Admin,
    Network,
    Baseline,
}

/// Whom a policy is about.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) namespaces: NamespaceMatch,
    pub(super) pods: Selector,
    pub(super) namespace_shape: Shape,
    pub(super) pod_shape: Shape,
    /// The classes of pods that are its subjects, once somebody has asked.
    pub(super) subjects: OnceCell<Rc<[ClassId]>>,
}

impl Scope {
    fn of(namespaces: NamespaceMatch, pods: &Selector) -> Self {
        let (namespace_shape, pod_shape) = (Shape::of_match(&namespaces), Shape::of(pods));
        Self { namespaces, pods: pods.clone(), namespace_shape, pod_shape, subjects: OnceCell::new() }
    }

    /// Whether every subject of the other one is one of this.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.namespace_shape.contains(&other.namespace_shape) && self.pod_shape.contains(&other.pod_shape)
    }

    /// Whether no pod can be a subject of both.
    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        self.namespace_shape.is_disjoint(&other.namespace_shape)
            || self.pod_shape.is_disjoint(&other.pod_shape)
    }
}

/// What a peer can match.
#[derive(Debug)]
pub(super) enum Extent {
    Everything,
    Pods { namespaces: Shape, pods: Shape },
    Networks(Addresses),
    Nodes(Shape),
    Nothing,
}

/// A peer of a rule.
#[derive(Debug)]
pub(super) struct Side<'a> {
    pub(super) peer: &'a Peer,
    pub(super) extent: Extent,
    /// The classes of pods that it selects, once somebody has asked.
    pub(super) selected: OnceCell<Rc<[ClassId]>>,
}

impl<'a> Side<'a> {
    fn of(peer: &'a Peer) -> Self {
        let extent = match peer {
            Peer::Everything => Extent::Everything,
            Peer::Pods { namespaces, pods } => {
                Extent::Pods { namespaces: Shape::of_match(namespaces), pods: Shape::of(pods) }
            }
            Peer::Networks { networks, except, .. } => Extent::Networks(Addresses::of(networks, except)),
            Peer::Nodes(selector) => Extent::Nodes(Shape::of(selector)),
            Peer::Names(_) => Extent::Nothing,
        };
        Self { peer, extent, selected: OnceCell::new() }
    }

    /// Whether ports have names there.
    pub(super) fn has_names(&self) -> bool {
        match self.peer {
            Peer::Everything | Peer::Pods { .. } => true,
            Peer::Networks { named_ports, .. } => *named_ports,
            Peer::Nodes(_) | Peer::Names(_) => false,
        }
    }

    /// Whether it matches whatever the other one does, in any cluster.
    pub(super) fn contains(&self, other: &Self) -> bool {
        match (&self.extent, &other.extent) {
            (_, Extent::Nothing) | (Extent::Everything, _) => true,
            (Extent::Pods { namespaces, pods }, Extent::Pods { namespaces: others, pods: other_pods }) => {
                namespaces.contains(others) && pods.contains(other_pods)
            }
            (Extent::Networks(mine), Extent::Networks(others)) => mine.contains(others),
            (Extent::Networks(mine), _) => mine.is_all(),
            (Extent::Nodes(mine), Extent::Nodes(others)) => mine.contains(others),
            _ => false,
        }
    }

    /// Whether no address can be matched by both, in any cluster.
    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        match (&self.extent, &other.extent) {
            (Extent::Nothing, _) | (_, Extent::Nothing) => true,
            (Extent::Pods { namespaces, pods }, Extent::Pods { namespaces: others, pods: other_pods }) => {
                namespaces.is_disjoint(others) || pods.is_disjoint(other_pods)
            }
            (Extent::Networks(mine), Extent::Networks(others)) => mine.is_disjoint(others),
            // A pod's address may lie in any network, and be a node's too.
            _ => false,
        }
    }

    /// The traffic of a rule as far as this peer can be meant by it.
    pub(super) fn limited(&self, traffic: &Traffic) -> Traffic {
        if self.has_names() { traffic.clone() } else { traffic.nameless() }
    }
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) index: usize,
    /// A NetworkPolicy's rule allows.
    pub(super) action: Action,
    pub(super) sides: Vec<Side<'a>>,
    pub(super) ports: Option<&'a [PortMatch]>,
    pub(super) traffic: Traffic,
    /// It stands for a rule that intake did not understand and has reported.
    pub(super) is_stand_in: bool,
}

impl<'a> Rule<'a> {
    fn of(
        index: usize,
        action: Action,
        peers: &'a [Peer],
        ports: Option<&'a [PortMatch]>,
        is_admin: bool,
    ) -> Self {
        let is_stand_in = is_admin && (peers.is_empty() || peers.contains(&Peer::Everything));
        let sides = peers.iter().map(Side::of).collect();
        Self { index, action, sides, ports, traffic: Traffic::of(ports), is_stand_in }
    }
}

/// A policy.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    pub(super) object: ObjectRef,
    pub(super) stage: Stage,
    pub(super) priority: u32,
    /// `None`: nobody, because the subject was not understood.
    pub(super) scope: Option<Scope>,
    rules: [Vec<Rule<'a>>; 2],
    isolates: [bool; 2],
}

fn slot(direction: Direction) -> usize {
    usize::from(direction == Direction::Egress)
}

impl<'a> Sheet<'a> {
    /// The rules of one direction.
    pub(super) fn rules(&self, direction: Direction) -> &[Rule<'a>] {
        self.rules.get(slot(direction)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether it is a NetworkPolicy that isolates its subjects in that direction.
    pub(super) fn isolates(&self, direction: Direction) -> bool {
        self.isolates.get(slot(direction)).copied().unwrap_or_default()
    }
}

/// Every policy, in the order of judgement: the Admin tier, NetworkPolicies by namespace and name, the Baseline tier.
pub(super) fn sheets(cluster: &Cluster) -> Vec<Sheet<'_>> {
    let admin = |tier: Tier| {
        let mut policies: Vec<_> =
            cluster.admin_policies.values().filter(|policy| policy.tier == tier).collect();
        policies.sort_by_key(|policy| policy.order());
        policies.into_iter().map(move |policy| Sheet {
            object: policy.object(),
            stage: if tier == Tier::Admin { Stage::Admin } else { Stage::Baseline },
            priority: policy.priority,
            scope: match &policy.subject {
                AdminSubject::Nothing => None,
                AdminSubject::Pods { namespaces, pods } => {
                    Some(Scope::of(NamespaceMatch::Labels(namespaces.clone()), pods))
                }
            },
            rules: [Direction::Ingress, Direction::Egress].map(|direction| {
                let rules = policy.rules(direction).iter();
                rules
                    .map(|rule| Rule::of(rule.index, rule.action, &rule.peers, rule.ports.as_deref(), true))
                    .collect()
            }),
            isolates: [false; 2],
        })
    };
    let network = cluster.network_policies.values().map(|policy| Sheet {
        object: policy.object(),
        stage: Stage::Network,
        priority: 0,
        scope: policy
            .subject
            .as_ref()
            .map(|pods| Scope::of(NamespaceMatch::Name(policy.namespace.clone()), pods)),
        rules: [Direction::Ingress, Direction::Egress].map(|direction| {
            let rules = policy.rules(direction).unwrap_or_default().iter();
            rules
                .map(|rule| Rule::of(rule.index, Action::Allow, &rule.peers, rule.ports.as_deref(), false))
                .collect()
        }),
        isolates: [Direction::Ingress, Direction::Egress].map(|direction| policy.rules(direction).is_some()),
    });
    admin(Tier::Admin).chain(network).chain(admin(Tier::Baseline)).collect()
}

/// Names fields as they are written in the objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path(pub(super) Direction, pub(super) usize);

impl Path {
    pub(super) fn peer(self, index: usize) -> String {
        let side = if self.0 == Direction::Ingress { "from" } else { "to" };
        format!("{self}.{side}[{index}]")
    }

    pub(super) fn port(self, kind: Kind, index: usize) -> String {
        let ports = if kind == Kind::ClusterNetworkPolicy { "protocols" } else { "ports" };
        format!("{self}.{ports}[{index}]")
    }

    /// Without the `spec`, as other objects' messages name it.
    pub(super) fn short(self) -> String {
        format!("{}[{}]", self.0, self.1)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spec.{}[{}]", self.0, self.1)
    }
}

/// The field that says whom a policy is about.
pub(super) fn subject_field(kind: Kind) -> &'static str {
    if kind == Kind::NetworkPolicy { "spec.podSelector" } else { "spec.subject" }
}
