//! The side table from (profile, identity, protocol, port) to the rule that decides, made when it is asked for.
//!
//! The stages of the compiler run over a slice of the cluster, up to the steps that match a peer, in order. There a
//! compile folds them into programs; here they are walked for one packet, and each is known by its rule.

use std::net::IpAddr;

use palisade_view::{Direction, Family};

use super::peers::{self, Peers, PodId};
use super::profiles::{Outcomes, Places, Profiles};
use super::slice::slice;
use super::steps::{Effect, Lowering};
use super::vocabulary::Vocabulary;
use crate::model::{
    Action, AdminPolicy, AdminRule, Cluster, NetworkPolicy, NetworkPolicyRule, ObjectRef, Pod, Tier,
};
use crate::oracle::{Exemption, Explanation, Flow, Pair, Reason, RuleRef, Side, Stage, Verdict, Walk};

/// See the module.
pub(super) fn explain(cluster: &Cluster, flow: &Flow) -> Explanation {
    let slice = slice(cluster, [flow.source, flow.destination]);
    let vocabulary = Vocabulary::of(&slice);
    let peers = Peers::of(&slice, &vocabulary);
    let ends = Ends { slice: &slice, vocabulary: &vocabulary, peers: &peers };
    let mut lowering = Lowering::new(&slice, &peers);
    let mut walk = |direction| {
        let profiles = Profiles::new(&slice, &vocabulary, &peers, direction, lowering.sections(direction));
        SideTable { ends, profiles, flow, direction }.walk()
    };
    Explanation {
        flow: flow.clone(),
        source: ends.side(flow.source),
        destination: ends.side(flow.destination),
        egress: walk(Direction::Egress),
        ingress: walk(Direction::Ingress),
    }
}

/// Whose the two addresses are.
#[derive(Clone, Copy)]
struct Ends<'a> {
    slice: &'a Cluster,
    vocabulary: &'a Vocabulary,
    peers: &'a Peers,
}

impl<'a> Ends<'a> {
    fn claims(&self, address: IpAddr) -> Vec<(PodId, &'a Pod)> {
        let claims = self.slice.pods.values().filter(|pod| pod.addresses.contains(&address));
        claims.filter_map(|pod| Some((self.peers.id_of(pod, self.vocabulary)?, pod))).collect()
    }

    /// The pods that the address stands for, by namespace and name.
    fn owners(&self, address: IpAddr) -> Vec<(PodId, &'a Pod)> {
        peers::owners(self.slice, address, &self.claims(address))
    }

    fn side(&self, address: IpAddr) -> Side {
        let pods: Vec<ObjectRef> = self.owners(address).iter().map(|(_, pod)| pod.object()).collect();
        let claims = self.claims(address).into_iter().map(|(_, pod)| pod.object());
        let nodes = self.slice.nodes.values().filter(|node| node.addresses.contains(&address));
        Side {
            address,
            outbid: claims.filter(|claim| !pods.contains(claim)).collect(),
            pods,
            nodes: nodes.map(|node| node.name.clone()).collect(),
        }
    }
}

/// The rule behind a step.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Admin(&'a AdminPolicy, &'a AdminRule),
    Network(&'a NetworkPolicy, &'a NetworkPolicyRule),
}

impl Origin<'_> {
    fn rule(self) -> RuleRef {
        match self {
            Self::Admin(policy, rule) => {
                RuleRef { policy: policy.object(), index: rule.index, name: rule.name.clone() }
            }
            Self::Network(policy, rule) => RuleRef { policy: policy.object(), index: rule.index, name: None },
        }
    }
}

/// One direction of a flow.
struct SideTable<'a> {
    ends: Ends<'a>,
    profiles: Profiles<'a>,
    flow: &'a Flow,
    direction: Direction,
}

impl<'a> SideTable<'a> {
    fn walk(&self) -> Walk {
        let Flow { source, destination, source_node, destination_node, .. } = self.flow;
        let (own, own_stack, address, stack) = match self.direction {
            Direction::Egress => (*source, source_node, *destination, destination_node),
            Direction::Ingress => (*destination, destination_node, *source, source_node),
        };
        // A node judges the pods it hosts, and what its own stack sends is none of theirs.
        let subjects = if own_stack.is_some() { Vec::new() } else { self.ends.owners(own) };
        let mut others: Vec<_> = self.ends.owners(address).into_iter().map(Some).collect();
        if others.is_empty() {
            others.push(None);
        }

        let mut pairs = Vec::new();
        for (id, subject) in subjects {
            let exemption = self.exemption(subject, address, stack.as_deref());
            let places = self.profiles.places_of(id);
            let steps = self.profiles.steps(&places, &subject.named_ports);
            let origins = self.origins(&places);
            let outcomes = Outcomes::of(self.ends.peers, &steps, !places.network.is_empty());
            for other in &others {
                let mut matching = Vec::new();
                let other_id = other.map(|(id, _)| id);
                if let Some(entity) = self.ends.peers.entity_at(address, other_id, self.ends.vocabulary) {
                    let key = outcomes.key(entity, Family::of(address));
                    let about = outcomes.matching(&key);
                    let about_it = about.filter(|(_, (_, traffic))| traffic.allows(self.flow.l4));
                    matching.extend(about_it.map(|(at, (effect, _))| (effect, origins[at as usize])));
                }
                let mut stages = Vec::new();
                let verdict = self.decide(&places, &matching, exemption, &mut stages);
                let peer = other.map(|(_, pod)| pod.object());
                pairs.push(Pair { subject: subject.object(), peer, stages, verdict });
            }
        }
        let walk = Walk {
            direction: self.direction,
            pairs,
            verdict: Verdict { allowed: true, reason: Reason::NotASubject },
        };
        match walk.decisive() {
            Some(decisive) => Walk { verdict: decisive.verdict.clone(), ..walk },
            None => walk,
        }
    }

    /// Which packets are judged by the exempt function, or, where they come from the own node, not at all.
    fn exemption(&self, subject: &Pod, address: IpAddr, stack: Option<&str>) -> Option<Exemption> {
        // A packet back to where it came from is the pod's own, though the pod claims its node's address.
        if stack.is_none() && self.flow.source == self.flow.destination {
            return Some(Exemption::Itself);
        }
        let is_own_node = subject.node.as_deref().is_some_and(|own| match stack {
            Some(stack) => stack == own,
            None => self.ends.slice.nodes.get(own).is_some_and(|node| node.addresses.contains(&address)),
        });
        is_own_node.then_some(Exemption::OwnNode)
    }

    /// The rules of the steps at these places.
    fn origins(&self, places: &Places) -> Vec<Origin<'a>> {
        let sections = self.profiles.sections();
        let admin = places.admin.iter().map(|&place| sections.admin[place].policy);
        let baseline = places.baseline.iter().map(|&place| sections.baseline[place].policy);
        let network = places.network.iter().map(|&place| sections.network[place].policy);
        let of_admin = |policy: &'a AdminPolicy| {
            policy.rules(self.direction).iter().map(move |rule| Origin::Admin(policy, rule))
        };
        let of_network = |policy: &'a NetworkPolicy| {
            let rules = policy.rules(self.direction).unwrap_or_default();
            rules.iter().map(move |rule| Origin::Network(policy, rule))
        };
        admin
            .flat_map(of_admin)
            .chain(network.flat_map(of_network))
            .chain(baseline.flat_map(of_admin))
            .collect()
    }

    /// Walks the steps that match, in order.
    fn decide(
        &self,
        places: &Places,
        matching: &[(Effect, Origin<'a>)],
        exemption: Option<Exemption>,
        stages: &mut Vec<Stage>,
    ) -> Verdict {
        let allowed = |reason| Verdict { allowed: true, reason };
        if exemption == Some(Exemption::OwnNode) && self.direction == Direction::Ingress {
            stages.push(Stage::OwnNode);
            return allowed(Reason::OwnNode);
        }
        let sections = self.profiles.sections();
        let admin = places.admin.iter().map(|&place| sections.admin[place].policy.object());
        let matched = first(matching, Tier::Admin);
        stages.push(Stage::Tier { tier: Tier::Admin, policies: admin.collect(), matched: matched.clone() });
        if let Some((rule, action @ (Action::Allow | Action::Deny))) = matched {
            return self.by_rule(Tier::Admin, rule, action);
        }

        let isolating: Vec<ObjectRef> =
            places.network.iter().map(|&place| sections.network[place].policy.object()).collect();
        let exemption = exemption.filter(|_| !isolating.is_empty());
        let mut allowing = Vec::new();
        if exemption.is_none() {
            let network = matching.iter().filter(|(effect, _)| *effect == Effect::NetworkPolicy);
            allowing.extend(network.map(|(_, origin)| origin.rule()));
        }
        let first_allowing = allowing.first().cloned();
        stages.push(Stage::NetworkPolicy { isolating: isolating.clone(), exemption, allowing });
        match (exemption, first_allowing) {
            (Some(Exemption::OwnNode), _) => return allowed(Reason::OwnNode),
            (Some(Exemption::Itself), _) => return allowed(Reason::Itself),
            (None, Some(RuleRef { policy, index, .. })) => {
                return allowed(Reason::NetworkPolicyRule { policy, direction: self.direction, index });
            }
            (None, None) if !isolating.is_empty() => {
                let reason = Reason::Isolated { policies: isolating, direction: self.direction };
                return Verdict { allowed: false, reason };
            }
            (None, None) => {}
        }

        let baseline = places.baseline.iter().map(|&place| sections.baseline[place].policy.object());
        let matched = first(matching, Tier::Baseline);
        let policies = baseline.collect();
        stages.push(Stage::Tier { tier: Tier::Baseline, policies, matched: matched.clone() });
        if let Some((rule, action)) = matched {
            return self.by_rule(Tier::Baseline, rule, action);
        }
        stages.push(Stage::Default);
        allowed(Reason::NoRule)
    }

    fn by_rule(&self, tier: Tier, rule: RuleRef, action: Action) -> Verdict {
        let RuleRef { policy, index, name } = rule;
        let reason = Reason::AdminRule { policy, tier, direction: self.direction, index, name, action };
        Verdict { allowed: action != Action::Deny, reason }
    }
}

/// The first rule of a tier.
fn first(matching: &[(Effect, Origin<'_>)], tier: Tier) -> Option<(RuleRef, Action)> {
    matching.iter().find_map(|(effect, origin)| match effect {
        Effect::Tier(of, action) if *of == tier => Some((origin.rule(), *action)),
        _ => None,
    })
}
