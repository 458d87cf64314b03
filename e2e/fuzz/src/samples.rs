//! Good objects of every kind that use every field there is, and a small cluster that they are about.

use palisade_compiler::model::Kind;
use serde_json::{Value, json};

fn selector(key: &str, value: &str) -> Value {
    json!({
        "matchLabels": {key: value},
        "matchExpressions": [
            {"key": key, "operator": "In", "values": [value]}, {"key": "gone", "operator": "DoesNotExist"},
        ],
    })
}

/// A policy of that kind whose rules have that action (NetworkPolicy: always Allow), a second rule in each direction
/// denying everything else.
pub(crate) fn policy(kind: Kind, action: &str) -> Value {
    let pods = json!({"namespaceSelector": selector("team", "a"), "podSelector": selector("app", "x")});
    let sources = json!([{"namespaces": selector("team", "b")}, {"pods": pods}]);
    let targets = json!([
        {"namespaces": selector("team", "b")}, {"pods": pods}, {"networks": ["203.0.113.0/24", "2001:db8:1::/48"]},
    ]);
    let whole = json!([{"namespaces": {}}]);
    let world = json!([{"namespaces": {}}, {"networks": ["0.0.0.0/0", "::/0"]}, {"nodes": {}}]);
    let subject = json!({"pods": {"namespaceSelector": {}, "podSelector": selector("app", "x")}});
    let cluster_wide = |ports: &str, by_number: Value, by_name: Value| {
        json!({
            "subject": subject,
            "ingress": [
                {"name": "one", "action": action, "from": sources, ports: by_name},
                {"name": "rest", "action": "Deny", "from": whole},
            ],
            "egress": [
                {"name": "one", "action": action, "to": targets, ports: by_number},
                {"name": "nodes", "action": action, "to": [{"nodes": selector("zone", "p")}]},
                {"name": "rest", "action": "Deny", "to": world},
            ],
        })
    };
    let v1alpha1 = || {
        cluster_wide(
            "ports",
            json!([
                {"portNumber": {"protocol": "TCP", "port": 80}}, {"portRange": {"protocol": "UDP", "start": 50, "end": 60}},
            ]),
            json!([{"namedPort": "web"}]),
        )
    };
    let (name, spec) = match kind {
        Kind::AdminNetworkPolicy => {
            let mut spec = v1alpha1();
            spec["priority"] = json!(10);
            ("good", spec)
        }
        Kind::BaselineAdminNetworkPolicy => ("default", v1alpha1()),
        Kind::ClusterNetworkPolicy => {
            let mut spec = cluster_wide(
                "protocols",
                json!([
                    {"tcp": {"destinationPort": {"number": 80}}},
                    {"udp": {"destinationPort": {"range": {"start": 50, "end": 60}}}},
                ]),
                json!([{"destinationNamedPort": "web"}]),
            );
            spec["tier"] = json!("Admin");
            spec["priority"] = json!(10);
            ("good", spec)
        }
        _ => (
            "good",
            json!({
                "podSelector": selector("app", "x"), "policyTypes": ["Ingress", "Egress"],
                "ingress": [{
                    "from": [
                        {"podSelector": selector("app", "x"), "namespaceSelector": selector("team", "b")},
                        {"podSelector": selector("app", "y")},
                    ],
                    "ports": [{"port": "web"}, {"protocol": "UDP"}],
                }],
                "egress": [
                    {
                        "to": [{"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.9/32"]}}],
                        "ports": [{"protocol": "TCP", "port": 80, "endPort": 81}],
                    },
                    {"to": [{"namespaceSelector": selector("team", "b")}]},
                ],
            }),
        ),
    };
    let mut metadata = json!({"name": name, "labels": {"a": "b"}});
    if kind.is_namespaced() {
        metadata["namespace"] = json!("a");
    }
    json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec})
}

/// A good object of any kind.
pub(crate) fn object(kind: Kind, action: &str) -> Value {
    match kind {
        Kind::Namespace => namespace("a"),
        Kind::Node => node(),
        Kind::Pod => pod("a", "x", 1),
        _ => policy(kind, action),
    }
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"team": name, "kubernetes.io/metadata.name": name}},
    })
}

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"zone": "p"}},
        "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "fd00::/64"]},
        "status": {"addresses": [
            {"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "n"},
        ]},
    })
}

fn pod(namespace: &str, app: &str, number: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": format!("p-{number}"), "labels": {"app": app}},
        "spec": {
            "nodeName": "n", "hostNetwork": false,
            "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 80, "protocol": "TCP"}]}],
            "initContainers": [{"name": "i", "restartPolicy": "Always", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}],
        },
        "status": {
            "phase": "Running", "podIP": format!("10.0.0.{number}"),
            "podIPs": [{"ip": format!("10.0.0.{number}")}, {"ip": format!("fd00::{number}")}],
        },
    })
}

/// Two namespaces with two pods each, on one node.
pub(crate) fn cluster() -> Vec<Value> {
    vec![
        namespace("a"),
        namespace("b"),
        node(),
        pod("a", "x", 1),
        pod("a", "y", 2),
        pod("b", "x", 3),
        pod("b", "y", 4),
    ]
}
