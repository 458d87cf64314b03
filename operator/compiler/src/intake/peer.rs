//! The other side of a rule, in each API's own shape.

use ipnet::IpNet;
use palisade_view::Direction;

use super::cursor::{Cursor, Refused, shown};
use super::dialect::Dialect;
use super::network::network;
use super::selector::selector;
use super::subject::{namespaces, pods};
use super::syntax::is_domain_pattern;
use crate::diagnostic::Severity;
use crate::model::{Action, DomainPattern, NamespaceMatch, Peer, Selector};

/// The longest list of networks or names in one peer.
const LONGEST_LIST: usize = 25;

/// A peer of a cluster-wide rule that does `action`.
pub(super) fn admin_peer(
    entry: &Cursor<'_>,
    dialect: &Dialect,
    direction: Direction,
    action: Action,
) -> Result<Peer, Refused> {
    let field = entry.one_of(dialect.peers(direction), |field| admin_hint(field, dialect, direction))?;
    let value = entry.child(field);
    match field {
        "namespaces" => Ok(Peer::Pods {
            namespaces: NamespaceMatch::Labels(namespaces(&value)?),
            pods: Selector::EVERYTHING,
        }),
        "pods" => {
            let (namespaces, pods) = pods(&value, dialect)?;
            Ok(Peer::Pods { namespaces: NamespaceMatch::Labels(namespaces), pods })
        }
        "networks" => {
            let networks = filled_list(&value, network)?;
            Ok(Peer::Networks { networks: sorted(networks), except: Vec::new(), named_ports: false })
        }
        "nodes" => Ok(Peer::Nodes(selector(&value)?)),
        _ => domain_names(&value, dialect, action),
    }
}

fn admin_hint(field: &str, dialect: &Dialect, direction: Direction) -> Option<&'static str> {
    match (field, direction) {
        ("ipBlock", Direction::Egress) => Some("write `networks`, a list of CIDRs"),
        ("ipBlock" | "networks" | "nodes" | "domainNames", Direction::Ingress) => {
            Some("only egress rules have such peers: select pods by `namespaces` or `pods`")
        }
        ("domainNames", Direction::Egress) if !dialect.egress_peers.contains(&"domainNames") => {
            Some("a BaselineAdminNetworkPolicy has no names: write them into an AdminNetworkPolicy")
        }
        ("namespaceSelector", _) => Some("write the selector as `namespaces`"),
        ("podSelector", _) => Some("write `pods` with `namespaceSelector` and `podSelector` in it"),
        _ => None,
    }
}

fn filled_list<T>(
    list: &Cursor<'_>,
    decode: impl Fn(&Cursor<'_>) -> Result<T, Refused>,
) -> Result<Vec<T>, Refused> {
    let items = list.each(|_, item| decode(item))?;
    if items.is_empty() {
        return Err(list.unknown("the list is empty", "list at least one"));
    }
    too_long(list, items.len(), LONGEST_LIST);
    Ok(items)
}

/// Reports a list that the API server would not take for its length. All of it is in force nevertheless.
pub(super) fn too_long(list: &Cursor<'_>, length: usize, longest: usize) {
    if length > longest {
        list.report(
            Severity::Error,
            format!("the list has {length} items, the API allows {longest}"),
            "distribute them over more rules or policies",
        );
    }
}

fn domain_names(list: &Cursor<'_>, dialect: &Dialect, action: Action) -> Result<Peer, Refused> {
    let names = filled_list(list, |name| {
        let text = name.string()?;
        if !is_domain_pattern(text) {
            return Err(name.error(
                format!("{} is not a domain name", shown(text)),
                "write a name of two or more labels, such as `www.example.com`, or `*.` before one",
            ));
        }
        let lower = text.to_ascii_lowercase();
        Ok(DomainPattern(lower.strip_suffix('.').map_or(lower.clone(), str::to_owned)))
    })?;
    if action != Action::Allow {
        return Err(list.unknown(
            format!(
                "domain names are for `{}` rules only: which addresses a name has is never fully known",
                dialect.allow
            ),
            "write the addresses as `networks`",
        ));
    }
    list.report(
        Severity::FailClosed,
        "domain names are not enforced yet: this peer matches nothing",
        "write the addresses as `networks` meanwhile",
    );
    Ok(Peer::Names(sorted(names)))
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

/// A `NetworkPolicyPeer` of a policy in that namespace.
pub(super) fn network_policy_peer(entry: &Cursor<'_>, namespace: &str) -> Result<Peer, Refused> {
    entry.only(&["podSelector", "namespaceSelector", "ipBlock"], |field| match field {
        "namespaces" => Some("write `namespaceSelector`"),
        "pods" => Some("write `podSelector`"),
        "networks" => Some("write `ipBlock` with a `cidr`, a peer of its own for each network"),
        _ => None,
    })?;
    let namespaces = entry.optional("namespaceSelector", selector);
    let pods = entry.optional("podSelector", selector);
    let block = entry.optional("ipBlock", ip_block);
    match (namespaces?, pods?, block?) {
        (None, None, None) => Err(entry.unknown(
            "nothing is set in it",
            "set `podSelector`, `namespaceSelector`, both, or `ipBlock`; remove the list if every peer is meant",
        )),
        (None, None, Some(block)) => Ok(block),
        (_, _, Some(_)) => Err(entry
            .error("`ipBlock` stands beside a selector", "write the `ipBlock` as a peer of its own")),
        (None, Some(pods), None) => {
            Ok(Peer::Pods { namespaces: NamespaceMatch::Name(namespace.to_owned()), pods })
        }
        (Some(namespaces), pods, None) => Ok(Peer::Pods {
            namespaces: NamespaceMatch::Labels(namespaces),
            pods: pods.unwrap_or(Selector::EVERYTHING),
        }),
    }
}

fn ip_block(block: &Cursor<'_>) -> Result<Peer, Refused> {
    let known = block.only(&["cidr", "except"], |_| None);
    let cidr = block.required("cidr", network);
    let except = block.optional("except", |list| {
        list.each(|_, item| {
            let exception = network(item)?;
            Ok(match &cidr {
                Ok(cidr) => overlap(item, *cidr, exception),
                Err(_) => None,
            })
        })
    });
    known?;
    let except = except?.unwrap_or_default().into_iter().flatten().collect();
    Ok(Peer::Networks { networks: vec![cidr?], except: sorted(except), named_ports: true })
}

/// What an exception takes out of the network.
fn overlap(item: &Cursor<'_>, cidr: IpNet, exception: IpNet) -> Option<IpNet> {
    if exception != cidr && cidr.contains(&exception) {
        return Some(exception);
    }
    let (message, taken) = if exception.contains(&cidr) {
        (format!("the exception {exception} leaves nothing of {cidr}"), Some(cidr))
    } else {
        (format!("the exception {exception} lies outside {cidr}: it takes nothing out"), None)
    };
    item.report(Severity::Error, message, format!("write a network inside {cidr}, or remove it"));
    taken
}
