//! Nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::cursor::{Cursor, Refused, shown};
use super::network::{address, network};
use super::selector::labels;
use crate::model::Node;

/// A node of that name.
pub(super) fn node(root: &Cursor<'_>, name: &str) -> Result<Node, Refused> {
    let metadata = root.child("metadata");
    let labels = labels(&metadata);
    let pod_cidrs = root.optional("spec", pod_cidrs);
    let addresses = root.optional("status", |status| {
        status.object()?;
        status.optional("addresses", |list| list.each(|_, entry| node_address(entry)))
    });
    Ok(Node {
        name: name.to_owned(),
        labels: labels?,
        addresses: addresses?.flatten().unwrap_or_default().into_iter().flatten().collect(),
        pod_cidrs: pod_cidrs?.unwrap_or_default(),
    })
}

/// Host names and DNS names of a node are no addresses that packets carry. Kubernetes does not check what stands in
/// `address`: what is none is left out, and the node keeps the others.
fn node_address(entry: &Cursor<'_>) -> Result<Option<IpAddr>, Refused> {
    let kind = entry.required("type", |kind| kind.string().map(str::to_owned))?;
    if !matches!(kind.as_str(), "InternalIP" | "ExternalIP") {
        return Ok(None);
    }
    entry.required("address", |entry| {
        let text = entry.string()?;
        if text.parse::<IpAddr>().is_err() {
            entry.warn(
                format!("{} is not an IP address: it is left out", shown(text)),
                "write an IPv4 or IPv6 address",
            );
            return Ok(None);
        }
        address(entry).map(Some)
    })
}

/// `podCIDR` is the first of `podCIDRs`, and all there is on old clusters.
fn pod_cidrs(spec: &Cursor<'_>) -> Result<BTreeSet<IpNet>, Refused> {
    spec.object()?;
    let all = spec.optional("podCIDRs", |list| list.each(|_, cidr| network(cidr)));
    let first = spec.optional("podCIDR", |first| {
        if first.string()?.is_empty() { Ok(None) } else { network(first).map(Some) }
    });
    let (all, first) = (all?.unwrap_or_default(), first?.flatten());
    Ok(if all.is_empty() { first.into_iter().collect() } else { all.into_iter().collect() })
}
