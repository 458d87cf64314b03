//! Policies of every kind, with malformed parts strewn in.

use serde_json::{Value, json};

use super::choices::Choices;
use super::workload::selector;

const NETWORKS: [&str; 14] = [
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/8",
    "10.0.1.0/24",
    "10.0.1.0/30",
    "10.0.1.2/32",
    "10.0.2.3/24",
    "192.0.2.0/24",
    "192.0.2.1/32",
    "198.51.100.1/32",
    "fd00:1::/64",
    "fd00::/8",
    "fd00:1::2/128",
    "2001:db8::/32",
];

fn number(choices: &mut Choices<'_>) -> u16 {
    choices.one(&[80, 53, 79, 81])
}

fn protocol(choices: &mut Choices<'_>) -> &'static str {
    // The last is malformed.
    choices.one(&[
        "TCP", "TCP", "TCP", "TCP", "UDP", "UDP", "UDP", "UDP", "SCTP", "SCTP", "SCTP", "SCTP", "ICMP",
    ])
}

fn port_name(choices: &mut Choices<'_>) -> &'static str {
    choices.one(&["web", "dns"])
}

fn v1_port(choices: &mut Choices<'_>) -> Value {
    match choices.below(5) {
        0 => json!({"protocol": protocol(choices), "port": number(choices)}),
        1 => json!({"protocol": protocol(choices), "port": number(choices), "endPort": number(choices)}),
        2 => json!({"protocol": protocol(choices)}),
        3 => json!({"protocol": protocol(choices), "port": port_name(choices)}),
        _ => json!({"port": port_name(choices)}),
    }
}

fn v1_peer(choices: &mut Choices<'_>) -> Value {
    match choices.below(5) {
        0 => json!({"podSelector": selector(choices)}),
        1 => json!({"namespaceSelector": selector(choices)}),
        2 => json!({"podSelector": selector(choices), "namespaceSelector": selector(choices)}),
        3 => {
            let network = choices.one(&NETWORKS);
            let except = choices.some(0, 2, |choices| choices.one(&NETWORKS));
            json!({"ipBlock": {"cidr": network, "except": except}})
        }
        // Malformed.
        _ => json!({"serviceAccountSelector": selector(choices)}),
    }
}

fn v1_rules(choices: &mut Choices<'_>, side: &str) -> Value {
    let rules = choices.some(0, 2, |choices| {
        let peers = choices.some(0, 2, v1_peer);
        let ports = choices.some(0, 2, v1_port);
        json!({side: peers, "ports": ports})
    });
    Value::Array(rules)
}

pub(super) fn network_policy(choices: &mut Choices<'_>) -> Value {
    let namespace = choices.one(&["a", "b"]);
    let name = format!("np-{}", choices.below(3));
    let types = match choices.below(4) {
        0 => json!(null),
        1 => json!(["Ingress"]),
        2 => json!(["Egress"]),
        _ => json!(["Ingress", "Egress"]),
    };
    let subject = selector(choices);
    let (ingress, egress) = (v1_rules(choices, "from"), v1_rules(choices, "to"));
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"podSelector": subject, "policyTypes": types, "ingress": ingress, "egress": egress},
    })
}

fn pods_peer(choices: &mut Choices<'_>) -> Value {
    match choices.weighted(&[4, 4, 1, 1, 1]) {
        0 => json!({"namespaces": selector(choices)}),
        1 => json!({"pods": {"namespaceSelector": selector(choices), "podSelector": selector(choices)}}),
        // Malformed: from a newer API, the old shape, nothing at all.
        2 => json!({"serviceAccounts": {}}),
        3 => json!({"namespaces": {"namespaceSelector": selector(choices)}}),
        _ => json!({}),
    }
}

fn egress_peer(choices: &mut Choices<'_>) -> Value {
    match choices.weighted(&[3, 3, 2, 1, 1]) {
        0 => pods_peer(choices),
        1 => json!({"networks": choices.some(1, 2, |choices| choices.one(&NETWORKS))}),
        2 => json!({"nodes": {"matchLabels": {"zone": choices.one(&["p", "q"])}}}),
        3 => json!({"nodes": {}}),
        _ => json!({"domainNames": ["example.com"]}),
    }
}

fn v1alpha1_port(choices: &mut Choices<'_>) -> Value {
    match choices.weighted(&[1, 1, 2]) {
        0 => json!({"portNumber": {"protocol": protocol(choices), "port": number(choices)}}),
        1 => {
            let protocol = protocol(choices);
            json!({"portRange": {"protocol": protocol, "start": number(choices), "end": number(choices)}})
        }
        _ => json!({"namedPort": port_name(choices)}),
    }
}

fn v1alpha2_port(choices: &mut Choices<'_>) -> Value {
    // The last is malformed.
    let mut protocol = || choices.one(&["tcp", "udp", "sctp", "tcp", "udp", "sctp", "icmp"]);
    let protocol = protocol();
    match choices.weighted(&[1, 1, 2]) {
        0 => json!({protocol: {"destinationPort": {"number": number(choices)}}}),
        1 => {
            let (start, end) = (number(choices), number(choices));
            json!({protocol: {"destinationPort": {"range": {"start": start, "end": end}}}})
        }
        _ => json!({"destinationNamedPort": port_name(choices)}),
    }
}

/// How a version of the cluster-wide API words its rules.
struct Wording {
    allow: &'static str,
    ports: &'static str,
    port: fn(&mut Choices<'_>) -> Value,
}

const V1ALPHA1: Wording = Wording { allow: "Allow", ports: "ports", port: v1alpha1_port };
const V1ALPHA2: Wording = Wording { allow: "Accept", ports: "protocols", port: v1alpha2_port };

impl Wording {
    fn rules(&self, choices: &mut Choices<'_>, side: &str, peer: fn(&mut Choices<'_>) -> Value) -> Value {
        let rules = choices.some(0, 3, |choices| {
            // The last is malformed.
            let action = match choices.weighted(&[3, 3, 3, 1]) {
                0 => self.allow,
                1 => "Deny",
                2 => "Pass",
                _ => "Log",
            };
            let mut rule = json!({"action": action, side: choices.some(1, 2, peer)});
            if choices.chance(30) {
                rule["name"] = json!(choices.one(&["first", "second"]));
            }
            if choices.chance(50) {
                rule[self.ports] = json!(choices.some(1, 2, self.port));
            }
            rule
        });
        Value::Array(rules)
    }
}

fn subject(choices: &mut Choices<'_>) -> Value {
    match choices.weighted(&[4, 4, 1]) {
        0 => json!({"namespaces": selector(choices)}),
        1 => json!({"pods": {"namespaceSelector": selector(choices), "podSelector": selector(choices)}}),
        // Malformed.
        _ => json!({}),
    }
}

pub(super) fn v1alpha1(choices: &mut Choices<'_>) -> Value {
    let name = choices.below(4);
    let subject = subject(choices);
    let mut spec = json!({"subject": subject});
    let (kind, name) = if name < 3 {
        // The last is malformed.
        spec["priority"] = json!(choices.one(&[5, 5, 10, 2000]));
        ("AdminNetworkPolicy", format!("p-{name}"))
    } else {
        ("BaselineAdminNetworkPolicy", "default".to_owned())
    };
    spec["ingress"] = V1ALPHA1.rules(choices, "from", pods_peer);
    spec["egress"] = V1ALPHA1.rules(choices, "to", egress_peer);
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
}

pub(super) fn v1alpha2(choices: &mut Choices<'_>) -> Value {
    let name = format!("p-{}", choices.below(3));
    let tier = choices.one(&["Admin", "Baseline"]);
    let priority = choices.one(&[5, 5, 10]);
    let subject = subject(choices);
    let ingress = V1ALPHA2.rules(choices, "from", pods_peer);
    let egress = V1ALPHA2.rules(choices, "to", egress_peer);
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": tier, "priority": priority, "subject": subject, "ingress": ingress, "egress": egress},
    })
}
