//! Policies taken apart into steps: one rule each, with the entities it matches and the traffic it is about,
//! in the order in which they are judged.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use palisade_view::{Direction, Family, Intervals, Program, Protocol};

use super::peers::{Entity, EntityId, Peers, PodFacts, PodId};
use super::vocabulary::labels_match;
use crate::model::{
    Action, AdminPolicy, AdminSubject, Cluster, NamedPort, NamespaceMatch, NetworkPolicy, Peer, PortMatch,
    Tier,
};

/// What a step does with the traffic it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Tier(Tier, Action),
    NetworkPolicy,
}

/// Which entities a peer matches.
#[derive(Debug, Default)]
struct Match {
    /// Every entity of IPv4, of IPv6.
    every: [bool; 2],
    /// These too, sorted.
    entities: Vec<EntityId>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) effect: Effect,
    /// Every entity of IPv4, of IPv6, for the numbered ports.
    pub(super) every: [bool; 2],
    /// These too, sorted; with whether the named ports count for the entity.
    pub(super) entities: Vec<(EntityId, bool)>,
    /// Traffic given by number.
    pub(super) numbered: Program,
    /// Traffic given by the name of a port of the destination pod.
    pub(super) named: Vec<(String, Option<Protocol>)>,
}

impl Step {
    /// The traffic that named ports come to at a destination with these ports.
    pub(super) fn resolve(&self, ports: &BTreeSet<NamedPort>) -> Program {
        let wanted = |port: &NamedPort| {
            self.named.iter().any(|(name, protocol)| {
                *name == port.name && protocol.is_none_or(|protocol| protocol == port.protocol)
            })
        };
        ports
            .iter()
            .filter(|port| wanted(port))
            .map(|port| Program::ports(port.protocol, Intervals::range(port.port, port.port)))
            .fold(Program::NONE, |all, one| all.union(&one))
    }
}

/// The steps of one policy for one direction.
pub(super) type Steps = Rc<Vec<Step>>;

/// A policy that has something to say in a direction.
#[derive(Debug)]
pub(super) struct Section<'a, P> {
    pub(super) policy: &'a P,
    pub(super) steps: Steps,
}

/// All policies for one direction, in the order of judgement.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    pub(super) admin: Vec<Section<'a, AdminPolicy>>,
    pub(super) network: Vec<Section<'a, NetworkPolicy>>,
    /// Indices into `network`, by namespace.
    pub(super) network_in: HashMap<&'a str, Vec<usize>>,
    pub(super) baseline: Vec<Section<'a, AdminPolicy>>,
}

/// Takes policies apart. Remembers what each peer matches: peers repeat from rule to rule.
pub(super) struct Lowering<'a> {
    cluster: &'a Cluster,
    peers: &'a Peers,
    matches: HashMap<&'a Peer, Rc<Match>>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(cluster: &'a Cluster, peers: &'a Peers) -> Self {
        Self { cluster, peers, matches: HashMap::new() }
    }

    pub(super) fn sections(&mut self, direction: Direction) -> Sections<'a> {
        let cluster = self.cluster;
        let mut ordered: Vec<&AdminPolicy> = cluster.admin_policies.values().collect();
        ordered.sort_by_key(|policy| policy.order());
        let mut tiers = [Vec::new(), Vec::new()];
        for policy in ordered.into_iter().filter(|policy| !policy.rules(direction).is_empty()) {
            let steps = policy.rules(direction).iter().map(|rule| {
                let effect = Effect::Tier(policy.tier, rule.action);
                self.step(effect, &rule.peers, rule.ports.as_deref(), direction)
            });
            let steps = Rc::new(steps.collect());
            tiers[usize::from(policy.tier == Tier::Baseline)].push(Section { policy, steps });
        }
        let mut network = Vec::new();
        let mut network_in: HashMap<&str, Vec<usize>> = HashMap::new();
        for policy in cluster.network_policies.values() {
            if let Some(rules) = policy.rules(direction) {
                let steps = rules.iter().map(|rule| {
                    self.step(Effect::NetworkPolicy, &rule.peers, rule.ports.as_deref(), direction)
                });
                network_in.entry(&policy.namespace).or_default().push(network.len());
                network.push(Section { policy, steps: Rc::new(steps.collect()) });
            }
        }
        let [admin, baseline] = tiers;
        Sections { admin, network, network_in, baseline }
    }

    fn step(
        &mut self,
        effect: Effect,
        peers: &'a [Peer],
        ports: Option<&[PortMatch]>,
        direction: Direction,
    ) -> Step {
        let mut step = Step {
            effect,
            every: [false; 2],
            entities: Vec::new(),
            numbered: if ports.is_none() { Program::all() } else { Program::NONE },
            named: Vec::new(),
        };
        for port in ports.into_iter().flatten() {
            let numbered = match port {
                PortMatch::Protocol(protocol) => Program::ports(*protocol, Intervals::all()),
                PortMatch::Range(protocol, start, end) => {
                    Program::ports(*protocol, Intervals::range(*start, *end))
                }
                PortMatch::Named { name, protocol } => {
                    step.named.push((name.clone(), *protocol));
                    continue;
                }
            };
            step.numbered = step.numbered.union(&numbered);
        }
        // On ingress the destination is the subject: its ports are resolved once for all peers. On egress they are
        // the peer's, where the peer may be meant by a port of its own.
        let by_peer = direction == Direction::Egress && !step.named.is_empty();
        let mut entities: HashMap<EntityId, bool> = HashMap::new();
        for peer in peers {
            let matched = self.matched(peer);
            let named = by_peer
                && match peer {
                    Peer::Everything | Peer::Pods { .. } => true,
                    Peer::Networks { named_ports, .. } => *named_ports,
                    Peer::Nodes(_) | Peer::Names(_) => false,
                };
            for &entity in &matched.entities {
                *entities.entry(entity).or_default() |= named;
            }
            for (family, every) in [Family::V4, Family::V6].into_iter().zip(matched.every) {
                if every {
                    step.every[usize::from(family == Family::V6)] = true;
                    if named {
                        entities.extend(self.with_named_port(&step, family).map(|entity| (entity, true)));
                    }
                }
            }
        }
        step.entities = entities.into_iter().collect();
        step.entities.sort_unstable();
        step
    }

    fn with_named_port(&self, step: &Step, family: Family) -> impl Iterator<Item = EntityId> {
        let peers = self.peers;
        (0..).zip(&peers.entities).filter_map(move |(id, entity)| {
            let facts = entity.pod.filter(|_| entity.region.family == family)?;
            let ports = &peers.pods[facts as usize].named_ports;
            (!step.resolve(ports).is_none()).then_some(id)
        })
    }

    fn matched(&mut self, peer: &'a Peer) -> Rc<Match> {
        if let Some(known) = self.matches.get(peer) {
            return Rc::clone(known);
        }
        let matched = Rc::new(self.compute(peer));
        self.matches.insert(peer, Rc::clone(&matched));
        matched
    }

    fn compute(&self, peer: &Peer) -> Match {
        let mut matched = Match::default();
        match peer {
            Peer::Everything => matched.every = [true; 2],
            Peer::Names(_) => {}
            Peer::Pods { namespaces, pods } => {
                let mut add = |ids: &[PodId]| {
                    for &id in ids {
                        if pods.matches(&self.peers.pods[id as usize].labels) {
                            matched.entities.extend(&self.peers.entities_of_pod[id as usize]);
                        }
                    }
                };
                match namespaces {
                    NamespaceMatch::Name(name) => {
                        self.peers.pods_in.get(name).into_iter().for_each(|ids| add(ids));
                    }
                    NamespaceMatch::Labels(selector) => {
                        let in_meant = self
                            .peers
                            .pods_in
                            .iter()
                            .filter(|(namespace, _)| labels_match(self.cluster, selector, namespace));
                        in_meant.for_each(|(_, ids)| add(ids));
                    }
                }
            }
            Peer::Nodes(selector) => {
                let is_meant = |entity: &Entity| entity.nodes.contains(selector);
                let ids = (0..).zip(&self.peers.entities);
                matched.entities.extend(ids.filter(|(_, entity)| is_meant(entity)).map(|(id, _)| id));
            }
            Peer::Networks { networks, except, .. } => {
                for (family, every) in [Family::V4, Family::V6].into_iter().zip(&mut matched.every) {
                    *every =
                        networks.iter().any(|n| n.prefix_len() == 0 && Family::of(n.network()) == family)
                            && !except.iter().any(|network| Family::of(network.network()) == family);
                }
                for (region, entities) in &self.peers.entities_in {
                    if !matched.every[usize::from(region.family == Family::V6)]
                        && networks.iter().any(|network| region.is_in(network))
                        && !except.iter().any(|network| region.is_in(network))
                    {
                        matched.entities.extend(entities);
                    }
                }
            }
        }
        matched.entities.sort_unstable();
        matched
    }
}

/// Whether a cluster-wide policy is about a pod.
pub(super) fn admin_selects(cluster: &Cluster, policy: &AdminPolicy, pod: &PodFacts) -> bool {
    match &policy.subject {
        AdminSubject::Nothing => false,
        AdminSubject::Pods { namespaces, pods } => {
            pods.matches(&pod.labels) && labels_match(cluster, namespaces, &pod.namespace)
        }
    }
}

/// Whether a NetworkPolicy of the pod's namespace selects it.
pub(super) fn network_selects(policy: &NetworkPolicy, pod: &PodFacts) -> bool {
    policy.subject.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
}
