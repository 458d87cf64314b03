//! Rules of the cluster-wide kinds.
//!
//! What the API asks of an implementation that does not understand a rule: an Allow matches nothing, a Deny or Pass
//! denies everything. The same holds for rules that break the schema.

use palisade_view::Direction;

use super::cursor::{Cursor, Refused, quoted, shown};
use super::dialect::{Dialect, peers_field, rules_field};
use super::peer::{admin_peer, too_long};
use super::port::{v1alpha1_port, v1alpha2_protocol};
use crate::diagnostic::Severity;
use crate::model::{Action, AdminRule, Kind, Peer, PortMatch};

/// The longest name of a rule, in characters.
const LONGEST_NAME: usize = 100;

/// The rules of one direction.
pub(super) fn rules(spec: &Cursor<'_>, dialect: &Dialect, direction: Direction) -> Vec<AdminRule> {
    let list = spec.child(rules_field(direction));
    if list.is_absent() {
        return Vec::new();
    }
    if let Ok(rules) = list.each(|index, entry| Ok(rule(entry, dialect, direction, index))) {
        too_long(&list, rules.len(), dialect.longest);
        return rules;
    }
    list.report(
        Severity::FailClosed,
        format!("what the policy does with {direction} cannot be told: it denies its subjects all of it"),
        "correct what else is reported about the list",
    );
    vec![AdminRule { name: None, index: 0, action: Action::Deny, peers: vec![Peer::Everything], ports: None }]
}

fn rule(entry: &Cursor<'_>, dialect: &Dialect, direction: Direction, index: usize) -> AdminRule {
    let action = entry.required("action", |action| self::action(action, dialect));
    let name = name(entry);
    // Without an action nothing can come of peers and ports, but what else is wrong shall be reported all the same.
    let matched = matched(entry, dialect, direction, *action.as_ref().unwrap_or(&Action::Deny));
    match (action, matched) {
        (Ok(action), Ok((peers, ports))) => AdminRule { name, index, action, peers, ports },
        (Ok(Action::Allow), Err(_)) => {
            entry.report(
                Severity::FailClosed,
                "the rule is not understood: it allows nothing",
                "correct what else is reported about the rule",
            );
            AdminRule { name, index, action: Action::Allow, peers: Vec::new(), ports: None }
        }
        (Ok(Action::Deny | Action::Pass) | Err(_), _) => {
            entry.report(
                Severity::FailClosed,
                format!("the rule is not understood: it denies its subjects all {direction}"),
                "correct what else is reported about the rule",
            );
            AdminRule { name, index, action: Action::Deny, peers: vec![Peer::Everything], ports: None }
        }
    }
}

fn action(action: &Cursor<'_>, dialect: &Dialect) -> Result<Action, Refused> {
    let text = action.string()?;
    match text {
        "Deny" => Ok(Action::Deny),
        "Pass" if dialect.has_pass => Ok(Action::Pass),
        _ if text == dialect.allow => Ok(Action::Allow),
        _ => {
            let known: &[&str] =
                if dialect.has_pass { &[dialect.allow, "Deny", "Pass"] } else { &[dialect.allow, "Deny"] };
            let remedy = match text {
                "Allow" | "Accept" => format!("{} says `{}`", dialect.kind, dialect.allow),
                _ => format!("write one of {}", quoted(known)),
            };
            Err(action.error(format!("{} is no action of {}", shown(text), dialect.kind), remedy))
        }
    }
}

/// The rule's name, which decides nothing: what is wrong with it is reported and leaves the rule in force.
fn name(entry: &Cursor<'_>) -> Option<String> {
    let name = entry.get("name")?;
    let text = name.string().ok()?;
    let length = text.chars().count();
    if length > LONGEST_NAME {
        name.report(
            Severity::Error,
            format!("the name has {length} characters, the API allows {LONGEST_NAME}"),
            "shorten it",
        );
    }
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

type Matched = (Vec<Peer>, Option<Vec<PortMatch>>);

fn matched(
    entry: &Cursor<'_>,
    dialect: &Dialect,
    direction: Direction,
    action: Action,
) -> Result<Matched, Refused> {
    let peers_field = peers_field(direction);
    let known = entry.only(&["name", "action", peers_field, dialect.ports], |field| match field {
        "from" => Some("an egress rule names its peers in `to`"),
        "to" => Some("an ingress rule names its peers in `from`"),
        "ports" => Some("a ClusterNetworkPolicy names ports in `protocols`"),
        "protocols" => Some("v1alpha1 names ports in `ports`"),
        _ => None,
    });
    let list = |list: &Cursor<'_>, length: usize| {
        if length == 0 {
            return Err(list.error("the list is empty", "list at least one"));
        }
        too_long(list, length, dialect.longest);
        Ok(())
    };
    let peers = entry.required(peers_field, |peers| {
        let decoded = peers.each(|_, peer| admin_peer(peer, dialect, direction, action))?;
        list(peers, decoded.len()).map(|()| decoded)
    });
    let ports = entry.optional(dialect.ports, |ports| {
        let decoded = ports.each(|_, port| match dialect.kind {
            Kind::ClusterNetworkPolicy => v1alpha2_protocol(port),
            _ => v1alpha1_port(port),
        })?;
        list(ports, decoded.len()).map(|()| decoded)
    });
    known?;
    let (peers, ports) = (peers?, ports?);
    warn_of_nameless_peers(&entry.child(peers_field), &peers, ports.as_deref().unwrap_or_default());
    Ok((peers, ports))
}

/// The API forbids named ports beside peers that are no pods, but only its experimental channel checks it.
fn warn_of_nameless_peers(list: &Cursor<'_>, peers: &[Peer], ports: &[PortMatch]) {
    let named = ports.iter().any(|port| matches!(port, PortMatch::Named { .. }));
    let nameless =
        peers.iter().any(|peer| matches!(peer, Peer::Networks { .. } | Peer::Nodes(_) | Peer::Names(_)));
    if named && nameless {
        list.warn(
            "named ports match nothing of networks, nodes and domain names: these have no named ports",
            "write the ports as numbers, or split the rule",
        );
    }
}
