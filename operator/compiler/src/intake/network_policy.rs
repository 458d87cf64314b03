//! `NetworkPolicy`. Its rules only ever allow, so a rule that is not understood is left out.

use palisade_view::Direction;

use super::cursor::{Cursor, Refused, shown};
use super::dialect::{peers_field, rules_field};
use super::peer::network_policy_peer;
use super::port::network_policy_port;
use super::selector::selector;
use crate::diagnostic::Severity;
use crate::model::{NetworkPolicy, NetworkPolicyRule, Peer, PortMatch, Selector};

/// A policy of that namespace and name.
pub(super) fn network_policy(root: &Cursor<'_>, namespace: &str, name: &str) -> NetworkPolicy {
    let spec = root.child("spec");
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    if spec.is_absent() {
        spec.warn(
            "the field is missing: the policy selects every pod of its namespace and denies them all ingress",
            "add `spec`, or remove the policy",
        );
    } else if spec.object().is_err() {
        spec.report(
            Severity::Error,
            "the policy is not understood: it selects no pod and has no effect",
            "correct what else is reported about it",
        );
        return NetworkPolicy { namespace, name, subject: None, ingress: Some(vec![]), egress: Some(vec![]) };
    }
    spec.ignore_others(&["podSelector", "policyTypes", "ingress", "egress"]);
    let isolated = isolated(&spec);
    NetworkPolicy {
        subject: subject(&spec),
        ingress: rules(&spec, Direction::Ingress, &isolated, &namespace),
        egress: rules(&spec, Direction::Egress, &isolated, &namespace),
        namespace,
        name,
    }
}

/// Absent, as the API server has it: every pod.
fn subject(spec: &Cursor<'_>) -> Option<Selector> {
    let subject = spec.optional("podSelector", selector);
    if subject.is_err() {
        spec.child("podSelector").report(
            Severity::Error,
            "the selector is not understood: it selects no pod, the policy has no effect",
            "correct what else is reported about the selector",
        );
    }
    subject.ok().map(Option::unwrap_or_default)
}

/// The directions the policy isolates for.
fn isolated(spec: &Cursor<'_>) -> Vec<Direction> {
    let types = spec.optional("policyTypes", |types| types.each(|_, direction| policy_type(direction)));
    match types {
        Ok(Some(types)) if !types.is_empty() => types,
        // The default of the API server: ingress always, egress if there are rules for it.
        Ok(_) => {
            let egress = spec.get("egress").is_some_and(|egress| !egress.is_empty_list());
            if egress { vec![Direction::Ingress, Direction::Egress] } else { vec![Direction::Ingress] }
        }
        Err(_) => {
            spec.child("policyTypes").report(
                Severity::FailClosed,
                "the policy's types are not understood: it isolates for ingress and egress",
                "correct what else is reported about the types",
            );
            vec![Direction::Ingress, Direction::Egress]
        }
    }
}

fn policy_type(direction: &Cursor<'_>) -> Result<Direction, Refused> {
    match direction.string()? {
        "Ingress" => Ok(Direction::Ingress),
        "Egress" => Ok(Direction::Egress),
        other => {
            Err(direction.error(format!("{} is no policy type", shown(other)), "write `Ingress` or `Egress`"))
        }
    }
}

fn rules(
    spec: &Cursor<'_>,
    direction: Direction,
    isolated: &[Direction],
    namespace: &str,
) -> Option<Vec<NetworkPolicyRule>> {
    let list = spec.child(rules_field(direction));
    if !isolated.contains(&direction) {
        if !list.is_absent() && !list.is_empty_list() {
            list.warn(
                format!("the rules have no effect: `policyTypes` leaves {direction} out"),
                "add the direction to `policyTypes`, or remove the rules",
            );
        }
        return None;
    }
    if list.is_absent() {
        return Some(Vec::new());
    }
    let rules = list.each(|index, entry| Ok(rule(entry, direction, index, namespace)));
    if rules.is_err() {
        list.report(
            Severity::FailClosed,
            format!("the rules are not understood: the policy allows no {direction}"),
            "correct what else is reported about the list",
        );
    }
    Some(rules.unwrap_or_default().into_iter().flatten().collect())
}

fn rule(
    entry: &Cursor<'_>,
    direction: Direction,
    index: usize,
    namespace: &str,
) -> Option<NetworkPolicyRule> {
    if let Ok((peers, ports)) = matched(entry, direction, namespace) {
        return Some(NetworkPolicyRule { index, peers, ports });
    }
    entry.report(
        Severity::FailClosed,
        "the rule is not understood: it allows nothing",
        "correct what else is reported about the rule",
    );
    None
}

type Matched = (Vec<Peer>, Option<Vec<PortMatch>>);

fn matched(entry: &Cursor<'_>, direction: Direction, namespace: &str) -> Result<Matched, Refused> {
    let peers_field = peers_field(direction);
    let known = entry.only(&[peers_field, "ports"], |field| match field {
        "from" => Some("an egress rule names its peers in `to`"),
        "to" => Some("an ingress rule names its peers in `from`"),
        "protocols" => Some("a NetworkPolicy names ports in `ports`"),
        "podSelector" | "namespaceSelector" | "ipBlock" => {
            Some("write it as an item of the list `from` (ingress) or `to` (egress)")
        }
        _ => None,
    });
    let peers =
        entry.optional(peers_field, |peers| peers.each(|_, peer| network_policy_peer(peer, namespace)));
    let ports = entry.optional("ports", |ports| ports.each(|_, port| network_policy_port(port)));
    known?;
    let peers = peers?.filter(|peers| !peers.is_empty()).unwrap_or_else(|| vec![Peer::Everything]);
    Ok((peers, ports?.filter(|ports| !ports.is_empty())))
}
