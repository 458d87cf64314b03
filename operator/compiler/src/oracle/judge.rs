//! The tiers in order: Admin, NetworkPolicy, Baseline.

use palisade_view::Direction;

use super::claim;
use super::matching::Case;
use super::{Flow, Reason, Verdict};
use crate::model::{Action, AdminPolicy, AdminSubject, Cluster, NetworkPolicy, Tier};

/// One direction of a flow, for every claimant of either address.
pub(super) fn verdict(cluster: &Cluster, flow: &Flow, direction: Direction) -> Verdict {
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

    let mut verdicts = Vec::new();
    for &subject in &subjects {
        for &peer in &peers {
            let is_hairpin = flow.source == flow.destination;
            let case = Case { cluster, direction, subject, address, peer, stack, is_hairpin, l4: flow.l4 };
            verdicts.push(one(&case));
        }
    }
    verdicts
        .iter()
        .find(|verdict| !verdict.allowed)
        .or(verdicts.first())
        .cloned()
        .unwrap_or(Verdict { allowed: true, reason: Reason::NotASubject })
}

fn one(case: &Case<'_>) -> Verdict {
    // A packet back to where it came from is the pod's own, though the pod claims its node's address.
    let is_own_node =
        !case.is_hairpin && claim::is_own_node(case.cluster, case.subject, case.address, case.stack);
    if is_own_node && case.direction == Direction::Ingress {
        return Verdict { allowed: true, reason: Reason::OwnNode };
    }
    if let Some((Action::Allow | Action::Deny, verdict)) = cluster_wide(case, Tier::Admin) {
        return verdict;
    }
    let isolating = isolating(case);
    if !isolating.is_empty() {
        if is_own_node {
            return Verdict { allowed: true, reason: Reason::OwnNode };
        }
        if case.is_hairpin {
            return Verdict { allowed: true, reason: Reason::Itself };
        }
        return network_policies(case, &isolating);
    }
    match cluster_wide(case, Tier::Baseline) {
        Some((_, verdict)) => verdict,
        None => Verdict { allowed: true, reason: Reason::NoRule },
    }
}

/// The first rule of a tier that matches, with what it does and what it means if it is the last word.
fn cluster_wide(case: &Case<'_>, tier: Tier) -> Option<(Action, Verdict)> {
    let mut policies: Vec<&AdminPolicy> =
        case.cluster.admin_policies.values().filter(|policy| policy.tier == tier).collect();
    policies.sort_by_key(|policy| policy.order());
    for policy in policies {
        if !is_about(case, &policy.subject) {
            continue;
        }
        for rule in policy.rules(case.direction) {
            if case.matches_any(&rule.peers, rule.ports.as_deref()) {
                let reason = Reason::AdminRule {
                    policy: policy.object(),
                    tier,
                    direction: case.direction,
                    index: rule.index,
                    name: rule.name.clone(),
                    action: rule.action,
                };
                return Some((rule.action, Verdict { allowed: rule.action != Action::Deny, reason }));
            }
        }
    }
    None
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

fn network_policies(case: &Case<'_>, isolating: &[&NetworkPolicy]) -> Verdict {
    for policy in isolating {
        for rule in policy.rules(case.direction).unwrap_or_default() {
            if case.matches_any(&rule.peers, rule.ports.as_deref()) {
                let reason = Reason::NetworkPolicyRule {
                    policy: policy.object(),
                    direction: case.direction,
                    index: rule.index,
                };
                return Verdict { allowed: true, reason };
            }
        }
    }
    let policies = isolating.iter().map(|policy| policy.object()).collect();
    Verdict { allowed: false, reason: Reason::Isolated { policies, direction: case.direction } }
}
