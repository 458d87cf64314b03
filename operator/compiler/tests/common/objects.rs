//! Objects of the model, from the little that the data says of them.

use std::net::IpAddr;

use ipnet::IpNet;
use palisade_compiler::intake;
use palisade_compiler::model::{Labels, Namespace, Node, Object, Pod};
use palisade_view::Protocol;
use serde_json::Value;

/// A JSON string.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a string, not {value}"))
}

/// A JSON object of strings.
pub(super) fn labels(value: &Value) -> Labels {
    let pairs = value.as_object().unwrap_or_else(|| panic!("labels, not {value}"));
    pairs.iter().map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
}

/// A protocol in either case.
pub(super) fn protocol(name: &str) -> Protocol {
    Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
        .unwrap_or_else(|| panic!("protocol {name}"))
}

/// A destination port.
pub(super) fn port(value: &Value) -> u16 {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_else(|| panic!("a port, not {value}"))
}

/// A namespace with the label that the API server gives it.
pub(super) fn namespace(name: &str, mut labels: Labels) -> Object {
    labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| name.to_owned());
    Object::Namespace(Namespace { name: name.to_owned(), labels })
}

/// A node whose pods have their addresses from the given range.
pub(super) fn node(name: &str, labels: Labels, addresses: &[&str], range: &str) -> Object {
    Object::Node(Node {
        name: name.to_owned(),
        labels,
        addresses: addresses.iter().map(|address| parse::<IpAddr>(address)).collect(),
        pod_cidrs: [parse::<IpNet>(range)].into(),
    })
}

/// A running pod without named ports.
pub(super) fn pod(namespace: &str, name: &str, node: &str, address: &str, labels: Labels) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels,
        node: Some(node.to_owned()),
        addresses: [parse(address)].into(),
        host_network: false,
        named_ports: [].into(),
        finished: false,
    }
}

/// A policy, through intake, which must understand all of it.
pub(super) fn policy(raw: &Value) -> Object {
    let decoded = intake::decode(raw).unwrap_or_else(|error| panic!("{error}: {raw}"));
    let blemish =
        decoded.diagnostics.iter().find(|found| found.severity > palisade_compiler::Severity::Warning);
    assert!(blemish.is_none(), "{}: {raw}", blemish.map(ToString::to_string).unwrap_or_default());
    decoded.model.unwrap_or_else(|| panic!("no model of {raw}"))
}

/// An address or a network.
pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}
