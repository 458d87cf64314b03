//! Ports and protocols of rules, in each API's own shape.

use palisade_view::Protocol;

use super::cursor::{Cursor, Refused, port_number, shown};
use super::syntax::is_port_name;
use crate::diagnostic::Severity;
use crate::model::PortMatch;

/// A protocol's name; absent: TCP.
pub(super) fn protocol(holder: &Cursor<'_>) -> Result<Protocol, Refused> {
    let protocol = holder.optional("protocol", |protocol| {
        let text = protocol.string()?;
        let known =
            |matches: &dyn Fn(&str) -> bool| Protocol::ALL.into_iter().find(|known| matches(known.name()));
        known(&|name| name == text).ok_or_else(|| {
            let remedy = match known(&|name| name.eq_ignore_ascii_case(text)) {
                Some(meant) => format!("write `{}`", meant.name()),
                None => "write `TCP`, `UDP` or `SCTP`".to_owned(),
            };
            protocol.unknown(format!("the protocol {} is not known", shown(text)), remedy)
        })
    })?;
    Ok(protocol.unwrap_or(Protocol::Tcp))
}

/// The same where the API server lets an empty name through: Go writes an unset one so.
pub(super) fn protocol_or_tcp(holder: &Cursor<'_>) -> Result<Protocol, Refused> {
    if holder.get("protocol").is_some_and(|protocol| protocol.is_empty_string()) {
        return Ok(Protocol::Tcp);
    }
    protocol(holder)
}

/// A `NetworkPolicyPort`: a number, name or range with a protocol, each of them optional.
pub(super) fn network_policy_port(entry: &Cursor<'_>) -> Result<PortMatch, Refused> {
    let known = entry.only(&["protocol", "port", "endPort"], |_| None);
    let protocol = protocol(entry);
    let Some(port) = entry.get("port") else {
        if let Some(end) = entry.get("endPort") {
            return Err(
                end.error("`endPort` stands without `port`", "add `port`, the first port of the range")
            );
        }
        known?;
        return Ok(PortMatch::Protocol(protocol?));
    };
    if port.is_string() {
        let name = network_policy_port_name(&port);
        if let Some(end) = entry.get("endPort") {
            return Err(end.error("`endPort` stands beside a named port", "write `port` as a number"));
        }
        known?;
        return Ok(PortMatch::Named { name: name?, protocol: Some(protocol?) });
    }
    let first = port_number(&port);
    let last = entry.optional("endPort", port_number);
    known?;
    let (protocol, first, last) = (protocol?, first?, last?);
    if last.is_some_and(|last| last < first) {
        reversed(&entry.child("endPort"), Severity::Error);
    }
    Ok(PortMatch::Range(protocol, first, last.unwrap_or(first)))
}

fn network_policy_port_name(port: &Cursor<'_>) -> Result<String, Refused> {
    let text = port.string()?;
    if is_port_name(text) {
        return Ok(text.to_owned());
    }
    let remedy = match text.parse::<u16>() {
        Ok(number) => format!("write {number} without quotes"),
        Err(_) => PORT_NAME.to_owned(),
    };
    Err(port.error(format!("{} is not a port's name", shown(text)), remedy))
}

const PORT_NAME: &str = "write up to 15 lower-case letters, digits and single `-`, at least one a letter";

/// A v1alpha1 `AdminNetworkPolicyPort`.
pub(super) fn v1alpha1_port(entry: &Cursor<'_>) -> Result<PortMatch, Refused> {
    let hint = |field: &str| {
        matches!(field, "port" | "protocol" | "endPort")
            .then_some("write it inside `portNumber`, or inside `portRange` for a range")
    };
    match entry.one_of(&["portNumber", "portRange", "namedPort"], hint)? {
        "portNumber" => {
            let number = entry.child("portNumber");
            let known = number.only(&["protocol", "port"], |_| None);
            let (protocol, port) = (protocol_or_tcp(&number), number.required("port", port_number));
            known?;
            let (protocol, port) = (protocol?, port?);
            Ok(PortMatch::Range(protocol, port, port))
        }
        "portRange" => {
            let range = entry.child("portRange");
            let known = range.only(&["protocol", "start", "end"], |_| None);
            // The v1alpha1 schema takes a reversed range: that it matches nothing is what it says.
            let (protocol, bounds) = (protocol_or_tcp(&range), bounds(&range, Severity::Warning));
            known?;
            let (protocol, (start, end)) = (protocol?, bounds?);
            Ok(PortMatch::Range(protocol, start, end))
        }
        field => admin_named_port(&entry.child(field)),
    }
}

/// A v1alpha2 `ClusterNetworkPolicyProtocol`.
pub(super) fn v1alpha2_protocol(entry: &Cursor<'_>) -> Result<PortMatch, Refused> {
    let hint = |field: &str| match field {
        "portNumber" | "portRange" => Some("write `tcp: {destinationPort: {number: ...}}` or the like"),
        "namedPort" => Some("write `destinationNamedPort`"),
        "TCP" | "UDP" | "SCTP" => Some("write the protocol in lower case"),
        _ => None,
    };
    let field = entry.one_of(&["tcp", "udp", "sctp", "destinationNamedPort"], hint)?;
    let protocol = match field {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return admin_named_port(&entry.child(field)),
    };
    let holder = entry.child(field);
    holder.one_of(&["destinationPort"], |_| None)?;
    let port = holder.child("destinationPort");
    if port.one_of(&["number", "range"], |_| None)? == "number" {
        let number = port_number(&port.child("number"))?;
        return Ok(PortMatch::Range(protocol, number, number));
    }
    let range = port.child("range");
    let known = range.only(&["start", "end"], |_| None);
    let bounds = bounds(&range, Severity::Error);
    known?;
    let (start, end) = bounds?;
    if start == end {
        range.report(Severity::Error, "the range starts where it ends", format!("write `number: {start}`"));
    }
    Ok(PortMatch::Range(protocol, start, end))
}

fn bounds(range: &Cursor<'_>, if_reversed: Severity) -> Result<(u16, u16), Refused> {
    let (start, end) = (range.required("start", port_number), range.required("end", port_number));
    let (start, end) = (start?, end?);
    if end < start {
        reversed(range, if_reversed);
    }
    Ok((start, end))
}

fn reversed(range: &Cursor<'_>, severity: Severity) {
    range.report(
        severity,
        "the range ends before it starts: it matches no port",
        "exchange first and last port",
    );
}

/// The API bounds the name of a port of the cluster-wide kinds in no way: one that no container port can have matches
/// nothing, and that is what it says.
fn admin_named_port(port: &Cursor<'_>) -> Result<PortMatch, Refused> {
    let name = port.string()?;
    if name.is_empty() {
        return Err(port.unknown("the port's name is empty", "write the name of a container port"));
    }
    if !is_port_name(name) {
        port.warn(format!("no container port can be named {}: it matches no port", shown(name)), PORT_NAME);
    }
    Ok(PortMatch::Named { name: name.to_owned(), protocol: None })
}
