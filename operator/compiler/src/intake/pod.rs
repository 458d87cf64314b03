//! Pods.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cursor::{Cursor, Refused, boolean, port_number, shown};
use super::network::address;
use super::port::protocol_or_tcp;
use super::selector::labels;
use super::syntax::is_port_name;
use crate::model::{NamedPort, Pod};

/// A pod of that namespace and name.
pub(super) fn pod(root: &Cursor<'_>, namespace: &str, name: &str) -> Result<Pod, Refused> {
    let metadata = root.child("metadata");
    let labels = labels(&metadata);
    let spec = root.required("spec", |spec| {
        spec.object()?;
        let node = spec.optional("nodeName", |node| node.string().map(str::to_owned));
        let host_network = spec.optional("hostNetwork", boolean);
        let named_ports = named_ports(spec);
        Ok((node?.filter(|node| !node.is_empty()), host_network?.unwrap_or_default(), named_ports?))
    });
    let status = root.optional("status", |status| {
        status.object()?;
        let (addresses, phase) = (addresses(status), status.optional("phase", finished));
        Ok((addresses?, phase?.unwrap_or_default()))
    });
    let labels = labels?;
    let (node, host_network, named_ports) = spec?;
    let (addresses, finished) = status?.unwrap_or_default();
    Ok(Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels,
        node,
        addresses,
        host_network,
        named_ports,
        finished,
    })
}

fn finished(phase: &Cursor<'_>) -> Result<bool, Refused> {
    Ok(matches!(phase.string()?, "Succeeded" | "Failed"))
}

/// `podIP` is the first of `podIPs`, and all there is on old clusters.
fn addresses(status: &Cursor<'_>) -> Result<BTreeSet<IpAddr>, Refused> {
    let all = status.optional("podIPs", |list| list.each(|_, entry| entry.required("ip", address)));
    let first = status.optional("podIP", |first| {
        if first.string()?.is_empty() { Ok(None) } else { address(first).map(Some) }
    });
    let (all, first) = (all?.unwrap_or_default(), first?.flatten());
    Ok(if all.is_empty() { first.into_iter().collect() } else { all.into_iter().collect() })
}

/// Named ports of what keeps running: containers and init containers that are restarted (sidecars).
fn named_ports(spec: &Cursor<'_>) -> Result<BTreeSet<NamedPort>, Refused> {
    let containers = spec.optional("containers", |list| list.each(|_, entry| container_ports(entry)));
    let sidecars = spec.optional("initContainers", |list| {
        list.each(|_, entry| {
            let policy = entry.optional("restartPolicy", |policy| policy.string().map(str::to_owned))?;
            let ports = container_ports(entry)?;
            Ok(if policy.as_deref() == Some("Always") { ports } else { Vec::new() })
        })
    });
    let (containers, sidecars) = (containers?.unwrap_or_default(), sidecars?.unwrap_or_default());
    Ok(containers.into_iter().chain(sidecars).flatten().collect())
}

fn container_ports(container: &Cursor<'_>) -> Result<Vec<NamedPort>, Refused> {
    container.object()?;
    let ports = container.optional("ports", |ports| ports.each(|_, port| container_port(port)))?;
    Ok(ports.unwrap_or_default().into_iter().flatten().collect())
}

fn container_port(port: &Cursor<'_>) -> Result<Option<NamedPort>, Refused> {
    port.object()?;
    let name = port.optional("name", |name| {
        let text = name.string()?;
        if text.is_empty() || is_port_name(text) {
            return Ok(text.to_owned());
        }
        Err(name.error(
            format!("{} is not a port's name", shown(text)),
            "write up to 15 lower-case letters, digits and single `-`, at least one a letter",
        ))
    });
    let number = port.required("containerPort", port_number);
    let (name, number) = (name?.unwrap_or_default(), number?);
    // Of a protocol that a newer Kubernetes may have, no rule can mean the port. The pod must stay known for it: a pod
    // that is left out is judged by no policy.
    let protocol = protocol_or_tcp(port).ok().filter(|_| !name.is_empty());
    Ok(protocol.map(|protocol| NamedPort { name, protocol, port: number }))
}
