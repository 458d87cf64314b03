//! Policies taken apart into steps: one rule each, with the entities it matches and the traffic it is about,
//! in the order in which they are judged.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use palisade_view::{Direction, Family, Intervals, Program, Protocol};

use super::peers::{Entity, EntityId, Peers, PodId};
use super::vocabulary::labels_match;
use crate::model::{
    Action, AdminPolicy, AdminSubject, Cluster, Labels, NamedPort, NamespaceMatch, NetworkPolicy, Peer,
    PortMatch, Selector, Tier,
};

/// What a step does with the traffic it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Tier(Tier, Action),
    NetworkPolicy,
}

/// Which entities a peer matches. Shared by all steps with an equal peer.
#[derive(Debug, Default)]
pub(super) struct Match {
    /// Every entity of IPv4, of IPv6.
    every: [bool; 2],
    /// These too, sorted.
    pub(super) entities: Vec<EntityId>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) effect: Effect,
    /// Every entity of IPv4, of IPv6, for the numbered ports.
    pub(super) every: [bool; 2],
    /// The entities of these too; with whether the named ports count for them.
    pub(super) matches: Vec<(Rc<Match>, bool)>,
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

/// One policy's part in one direction.
#[derive(Debug)]
pub(super) struct Section<'a, P> {
    pub(super) policy: &'a P,
    /// One for each of the policy's rules, in order.
    pub(super) steps: Vec<Step>,
}

/// Policies with equal subjects, which are at these places in their part of [`Sections`]. One question is asked for
/// all of them.
#[derive(Debug)]
pub(super) struct Group<'a, S> {
    pub(super) subject: &'a S,
    pub(super) sections: Vec<usize>,
}

/// All policies that have something to say in one direction, in the order of judgement, and who their subjects are.
#[derive(Debug, Default)]
pub(super) struct Sections<'a> {
    pub(super) admin: Vec<Section<'a, AdminPolicy>>,
    pub(super) admin_groups: Vec<Group<'a, AdminSubject>>,
    pub(super) network: Vec<Section<'a, NetworkPolicy>>,
    /// By namespace.
    pub(super) network_groups: HashMap<&'a str, Vec<Group<'a, Selector>>>,
    pub(super) baseline: Vec<Section<'a, AdminPolicy>>,
    pub(super) baseline_groups: Vec<Group<'a, AdminSubject>>,
}

/// Gathers places by subject, in the order in which subjects first occur.
fn groups<'a, S: Eq + std::hash::Hash>(
    subjects: impl IntoIterator<Item = (usize, &'a S)>,
) -> Vec<Group<'a, S>> {
    let mut groups: Vec<Group<'a, S>> = Vec::new();
    let mut known: HashMap<&S, usize> = HashMap::new();
    for (section, subject) in subjects {
        let group = *known.entry(subject).or_insert_with(|| {
            groups.push(Group { subject, sections: Vec::new() });
            groups.len() - 1
        });
        groups[group].sections.push(section);
    }
    groups
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
        let mut sections = Sections::default();
        let (mut admin, mut baseline) = (Vec::new(), Vec::new());
        for policy in ordered.into_iter().filter(|policy| !policy.rules(direction).is_empty()) {
            let (tier, subjects) = match policy.tier {
                Tier::Admin => (&mut sections.admin, &mut admin),
                Tier::Baseline => (&mut sections.baseline, &mut baseline),
            };
            subjects.push((tier.len(), &policy.subject));
            let steps = policy.rules(direction).iter().map(|rule| {
                let effect = Effect::Tier(policy.tier, rule.action);
                self.step(effect, &rule.peers, rule.ports.as_deref(), direction)
            });
            tier.push(Section { policy, steps: steps.collect() });
        }
        let mut network: HashMap<&str, Vec<(usize, &Selector)>> = HashMap::new();
        for policy in cluster.network_policies.values() {
            // What selects nobody isolates nobody.
            let (Some(rules), Some(subject)) = (policy.rules(direction), &policy.subject) else { continue };
            network.entry(&policy.namespace).or_default().push((sections.network.len(), subject));
            let steps = rules
                .iter()
                .map(|rule| self.step(Effect::NetworkPolicy, &rule.peers, rule.ports.as_deref(), direction));
            sections.network.push(Section { policy, steps: steps.collect() });
        }
        sections.admin_groups = groups(admin);
        sections.baseline_groups = groups(baseline);
        sections.network_groups =
            network.into_iter().map(|(namespace, subjects)| (namespace, groups(subjects))).collect();
        sections
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
            matches: Vec::new(),
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
        for peer in peers {
            let matched = self.matched(peer);
            let named = by_peer
                && match peer {
                    Peer::Everything | Peer::Pods { .. } => true,
                    Peer::Networks { named_ports, .. } => *named_ports,
                    Peer::Nodes(_) | Peer::Names(_) => false,
                };
            for (family, every) in [Family::V4, Family::V6].into_iter().zip(matched.every) {
                if every {
                    step.every[usize::from(family == Family::V6)] = true;
                    if named {
                        let entities = self.with_named_port(&step, family).collect();
                        step.matches.push((Rc::new(Match { every: [false; 2], entities }), true));
                    }
                }
            }
            if !matched.entities.is_empty() {
                step.matches.push((matched, named));
            }
        }
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

/// Whether a cluster-wide policy with that subject is about a pod of that namespace with these labels.
pub(super) fn is_about(cluster: &Cluster, subject: &AdminSubject, namespace: &str, labels: &Labels) -> bool {
    match subject {
        AdminSubject::Nothing => false,
        AdminSubject::Pods { namespaces, pods } => {
            pods.matches(labels) && labels_match(cluster, namespaces, namespace)
        }
    }
}
