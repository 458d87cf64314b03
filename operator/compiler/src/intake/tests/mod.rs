//! Tests of intake, by kind of object. Expected values are whole models and whole lists of findings.

mod admin;
mod cluster;
mod hints;
mod identity;
mod network_policy;
mod robustness;
mod rules;
mod selector;
mod workload;

use std::fmt::Write as _;

use serde_json::Value;

use super::{Decoded, decode};
use crate::diagnostic::Severity;
use crate::model::{
    AdminPolicy, AdminRule, NamespaceMatch, NetworkPolicy, Object, Operator, Peer, Policy, Requirement,
    Selector,
};

/// No findings.
const NONE: [&str; 0] = [];

fn value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn decoded(yaml: &str) -> Decoded {
    let decoded = decode(&value(yaml)).unwrap();
    for diagnostic in &decoded.diagnostics {
        assert_eq!(diagnostic.object, decoded.object);
        assert!(!diagnostic.message.is_empty() && !diagnostic.remedy.is_empty(), "{diagnostic:?}");
        assert!(!diagnostic.message.ends_with('.') && !diagnostic.remedy.ends_with('.'), "{diagnostic:?}");
    }
    decoded
}

/// An object of the kind, with `spec` in the YAML flow or block style given.
fn object(api_version: &str, kind: &str, metadata: &str, spec: &str) -> String {
    let mut yaml = format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {metadata}\nspec:\n");
    for line in spec.lines() {
        writeln!(yaml, "  {line}").unwrap();
    }
    yaml
}

fn anp(spec: &str) -> Decoded {
    decoded(&object("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", "{name: a}", spec))
}

fn banp(spec: &str) -> Decoded {
    decoded(&object(
        "policy.networking.k8s.io/v1alpha1",
        "BaselineAdminNetworkPolicy",
        "{name: default}",
        spec,
    ))
}

fn cnp(spec: &str) -> Decoded {
    decoded(&object("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "{name: c}", spec))
}

fn np(spec: &str) -> Decoded {
    decoded(&object("networking.k8s.io/v1", "NetworkPolicy", "{namespace: shop, name: own}", spec))
}

fn admin(decoded: &Decoded) -> AdminPolicy {
    match &decoded.model {
        Some(Object::Policy(Policy::Admin(policy))) => policy.clone(),
        other => panic!("{other:?}"),
    }
}

fn network(decoded: &Decoded) -> NetworkPolicy {
    match &decoded.model {
        Some(Object::Policy(Policy::Network(policy))) => policy.clone(),
        other => panic!("{other:?}"),
    }
}

/// Findings as `field: severity: message`.
fn found(decoded: &Decoded) -> Vec<String> {
    decoded
        .diagnostics
        .iter()
        .map(|finding| format!("{}: {}: {}", finding.field, finding.severity, finding.message))
        .collect()
}

fn worst(decoded: &Decoded) -> Option<Severity> {
    decoded.diagnostics.iter().map(|finding| finding.severity).max()
}

/// The remedy of the finding about that field that is not the follow-up.
fn remedy(decoded: &Decoded, field: &str) -> String {
    let remedies: Vec<_> = decoded
        .diagnostics
        .iter()
        .filter(|finding| finding.field == field)
        .map(|finding| &finding.remedy)
        .collect();
    assert_eq!(remedies.len(), 1, "{field}: {:?}", decoded.diagnostics);
    remedies[0].clone()
}

fn labels(key: &str, value: &str) -> Selector {
    Selector::match_labels([(key, value)])
}

fn requirement(key: &str, operator: Operator) -> Selector {
    Selector::new([Requirement { key: key.to_owned(), operator }])
}

fn in_namespaces(namespaces: Selector) -> Peer {
    Peer::Pods { namespaces: NamespaceMatch::Labels(namespaces), pods: Selector::EVERYTHING }
}

fn in_own_namespace(pods: Selector) -> Peer {
    Peer::Pods { namespaces: NamespaceMatch::Name("shop".to_owned()), pods }
}

fn networks(networks: &[&str]) -> Peer {
    Peer::Networks {
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        except: vec![],
        named_ports: false,
    }
}

fn deny_everything(index: usize) -> AdminRule {
    AdminRule {
        name: None,
        index,
        action: crate::model::Action::Deny,
        peers: vec![Peer::Everything],
        ports: None,
    }
}
