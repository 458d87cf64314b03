//! The tiers in order: Admin, NetworkPolicy, Baseline.

use palisade_view::Direction;

use super::claim;
use super::matching::Case;
use super::walk::{Exemption, Pair, RuleRef, Stage, Walk};
use super::{Flow, Reason, Verdict};
use crate::model::{Action, AdminPolicy, AdminSubject, Cluster, NetworkPolicy, Pod, Tier};

/// One direction of a flow, for every claimant of either address.
pub(super) fn walk(cluster: &Cluster, flow: &Flow, direction: Direction) -> Walk {
    let source = (flow.source, flow.source_node.as_deref());
    let destination = (flow.destination, flow.destination_node.as_deref());
    let ((own_address, own_stack), (address, stack)) = match direction {
        Direction::Egress => (source, destination),
        Direction::Ingress => (destination, source),
    };

    // What a node's stack sends or receives is no pod's, whoever claims the address.
    let subjects = if own_stack.is_some() { Vec::new() } else { claim::claimants(cluster, own_address) };
    let peers = claim::claimants(cluster, address);
    let peers = if peers.is_empty() { vec![None] } else { peers.into_iter().map(Some).collect() };

    let mut pairs = Vec::new();
    for &subject in &subjects {
        for &peer in &peers {
            let is_hairpin = flow.source == flow.destination && stack.is_none();
            let case = Case { cluster, direction, subject, address, peer, stack, is_hairpin, l4: flow.l4 };
            let mut stages = Vec::new();
            let verdict = one(&case, &mut stages);
            pairs.push(Pair { subject: subject.object(), peer: peer.map(Pod::object), stages, verdict });
        }
    }
    let verdict = pairs
        .iter()
        .find(|pair| !pair.verdict.allowed)
        .or(pairs.first())
        .map_or(Verdict { allowed: true, reason: Reason::NotASubject }, |pair| pair.verdict.clone());
    Walk { direction, pairs, verdict }
}

/// Writes down each tier that is asked.
fn one(case: &Case<'_>, stages: &mut Vec<Stage>) -> Verdict {
    // A packet back to where it came from is the pod's own, though the pod claims its node's address.
    let is_own_node =
        !case.is_hairpin && claim::is_own_node(case.cluster, case.subject, case.address, case.stack);
    if is_own_node && case.direction == Direction::Ingress {
        stages.push(Stage::OwnNode);
        return Verdict { allowed: true, reason: Reason::OwnNode };
    }
    if let Some((Action::Allow | Action::Deny, verdict)) = cluster_wide(case, Tier::Admin, stages) {
        return verdict;
    }
    let isolating = isolating(case);
    let isolated_by = || isolating.iter().map(|policy| policy.object()).collect();
    let exempt = |exemption| Stage::NetworkPolicy {
        isolating: isolated_by(),
        exemption: Some(exemption),
        allowing: Vec::new(),
    };
    if !isolating.is_empty() {
        if is_own_node {
            stages.push(exempt(Exemption::OwnNode));
            return Verdict { allowed: true, reason: Reason::OwnNode };
        }
        if case.is_hairpin {
            stages.push(exempt(Exemption::Itself));
            return Verdict { allowed: true, reason: Reason::Itself };
        }
    }
    let allowing = allowing(case, &isolating);
    let first = allowing.first().cloned();
    stages.push(Stage::NetworkPolicy { isolating: isolated_by(), exemption: None, allowing });
    if let Some(RuleRef { policy, index, .. }) = first {
        let reason = Reason::NetworkPolicyRule { policy, direction: case.direction, index };
        return Verdict { allowed: true, reason };
    }
    if !isolating.is_empty() {
        let reason = Reason::Isolated { policies: isolated_by(), direction: case.direction };
        return Verdict { allowed: false, reason };
    }
    if let Some((_, verdict)) = cluster_wide(case, Tier::Baseline, stages) {
        return verdict;
    }
    stages.push(Stage::Default);
    Verdict { allowed: true, reason: Reason::NoRule }
}

/// The first rule of a tier that matches, with what it does and what it means if it is the last word.
fn cluster_wide(case: &Case<'_>, tier: Tier, stages: &mut Vec<Stage>) -> Option<(Action, Verdict)> {
    let mut policies: Vec<&AdminPolicy> = case
        .cluster
        .admin_policies
        .values()
        .filter(|policy| policy.tier == tier && is_about(case, &policy.subject))
        .filter(|policy| !policy.rules(case.direction).is_empty())
        .collect();
    policies.sort_by_key(|policy| policy.order());
    let rules =
        policies.iter().flat_map(|policy| policy.rules(case.direction).iter().map(move |r| (policy, r)));
    let first = rules.into_iter().find(|(_, rule)| case.matches_any(&rule.peers, rule.ports.as_deref()));
    let matched = first.map(|(policy, rule)| {
        let rule_ref = RuleRef { policy: policy.object(), index: rule.index, name: rule.name.clone() };
        (rule_ref, rule.action)
    });
    let policies = policies.iter().map(|policy| policy.object()).collect();
    stages.push(Stage::Tier { tier, policies, matched: matched.clone() });
    let (RuleRef { policy, index, name }, action) = matched?;
    let reason = Reason::AdminRule { policy, tier, direction: case.direction, index, name, action };
    Some((action, Verdict { allowed: action != Action::Deny, reason }))
}

fn is_about(case: &Case<'_>, subject: &AdminSubject) -> bool {
    match subject {
        AdminSubject::Nothing => false,
        AdminSubject::Pods { namespaces, pods } => {
            namespaces.matches(&claim::namespace_labels(case.cluster, &case.subject.namespace))
                && pods.matches(&case.subject.labels)
        }
    }
}

/// The NetworkPolicies that isolate the subject in this direction, by name.
fn isolating<'a>(case: &Case<'a>) -> Vec<&'a NetworkPolicy> {
    case.cluster
        .network_policies
        .values()
        .filter(|policy| policy.namespace == case.subject.namespace)
        .filter(|policy| {
            policy.subject.as_ref().is_some_and(|selector| selector.matches(&case.subject.labels))
        })
        .filter(|policy| policy.rules(case.direction).is_some())
        .collect()
}

/// The rules of these policies that match.
fn allowing(case: &Case<'_>, isolating: &[&NetworkPolicy]) -> Vec<RuleRef> {
    let mut allowing = Vec::new();
    for policy in isolating {
        for rule in policy.rules(case.direction).unwrap_or_default() {
            if case.matches_any(&rule.peers, rule.ports.as_deref()) {
                allowing.push(RuleRef { policy: policy.object(), index: rule.index, name: None });
            }
        }
    }
    allowing
}
