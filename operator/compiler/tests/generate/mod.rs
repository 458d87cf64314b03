//! Random clusters as raw Kubernetes objects: a universe small enough that selectors, networks and addresses meet
//! often, with malformed parts strewn in.

use std::net::IpAddr;

use palisade_compiler::intake;
use palisade_compiler::model::{Cluster, Event, Object};
use palisade_view::{L4, Protocol};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Addresses that packets come from and go to: pods', nodes' and strangers', of both families.
pub(crate) const ADDRESSES: [&str; 18] = [
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.3",
    "10.0.1.5",
    "10.0.2.1",
    "10.0.2.2",
    "10.0.2.3",
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.9",
    "198.51.100.1",
    "fd00:1::1",
    "fd00:1::2",
    "fd00:2::1",
    "fd00:2::2",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8::9",
];

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

fn labels() -> impl Strategy<Value = Value> {
    let value = || prop::option::weighted(0.8, select(vec!["x", "y", "z"]));
    (value(), value(), prop::option::weighted(0.3, select(vec!["p-0", "p-1"]))).prop_map(
        |(app, env, name)| {
            let mut labels = Map::new();
            for (key, value) in [("app", app), ("env", env), ("statefulset.kubernetes.io/pod-name", name)] {
                if let Some(value) = value {
                    labels.insert(key.to_owned(), json!(value));
                }
            }
            Value::Object(labels)
        },
    )
}

fn selector() -> impl Strategy<Value = Value> {
    let key = || select(vec!["app", "env", "app", "env", "statefulset.kubernetes.io/pod-name"]);
    let values = || prop::collection::vec(select(vec!["x", "y", "p-0"]), 1..3);
    let expression = prop_oneof![
        6 => (key(), select(vec!["In", "NotIn"]), values())
            .prop_map(|(k, o, v)| json!({"key": k, "operator": o, "values": v})),
        2 => (key(), select(vec!["Exists", "DoesNotExist"])).prop_map(|(k, o)| json!({"key": k, "operator": o})),
        // Malformed.
        1 => (key(), select(vec!["Near", "In", ""])).prop_map(|(k, o)| json!({"key": k, "operator": o})),
    ];
    prop_oneof![
        3 => Just(json!({})),
        4 => (key(), select(vec!["x", "y", "p-0"])).prop_map(|(k, v)| json!({"matchLabels": {k: v}})),
        3 => prop::collection::vec(expression, 1..3).prop_map(|e| json!({"matchExpressions": e})),
    ]
}

fn number() -> impl Strategy<Value = u16> {
    select(vec![53, 79, 80, 81])
}

fn protocol() -> impl Strategy<Value = &'static str> {
    // The last is malformed.
    prop_oneof![12 => select(vec!["TCP", "UDP", "SCTP"]), 1 => Just("ICMP")]
}

fn port_name() -> impl Strategy<Value = &'static str> {
    select(vec!["web", "dns"])
}

fn v1_port() -> impl Strategy<Value = Value> {
    prop_oneof![
        (protocol(), number()).prop_map(|(t, p)| json!({"protocol": t, "port": p})),
        (protocol(), number(), number())
            .prop_map(|(t, p, e)| json!({"protocol": t, "port": p, "endPort": e})),
        protocol().prop_map(|t| json!({"protocol": t})),
        (protocol(), port_name()).prop_map(|(t, n)| json!({"protocol": t, "port": n})),
        port_name().prop_map(|n| json!({"port": n})),
    ]
}

fn v1_peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        selector().prop_map(|s| json!({"podSelector": s})),
        selector().prop_map(|s| json!({"namespaceSelector": s})),
        (selector(), selector()).prop_map(|(p, n)| json!({"podSelector": p, "namespaceSelector": n})),
        (select(NETWORKS.to_vec()), prop::collection::vec(select(NETWORKS.to_vec()), 0..3))
            .prop_map(|(c, e)| json!({"ipBlock": {"cidr": c, "except": e}})),
        // Malformed.
        selector().prop_map(|s| json!({"serviceAccountSelector": s})),
    ]
}

fn v1_rules(side: &'static str) -> impl Strategy<Value = Value> {
    let rule = (prop::collection::vec(v1_peer(), 0..3), prop::collection::vec(v1_port(), 0..3))
        .prop_map(move |(peers, ports)| json!({side: peers, "ports": ports}));
    prop::collection::vec(rule, 0..3).prop_map(Value::Array)
}

fn network_policy() -> impl Strategy<Value = Value> {
    let types = prop_oneof![
        Just(json!(null)),
        Just(json!(["Ingress"])),
        Just(json!(["Egress"])),
        Just(json!(["Ingress", "Egress"])),
    ];
    (select(vec!["a", "b"]), 0..3, selector(), types, v1_rules("from"), v1_rules("to")).prop_map(
        |(namespace, name, subject, types, ingress, egress)| {
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"namespace": namespace, "name": format!("np-{name}")},
                "spec": {"podSelector": subject, "policyTypes": types, "ingress": ingress, "egress": egress},
            })
        },
    )
}

fn pods_peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => selector().prop_map(|s| json!({"namespaces": s})),
        4 => (selector(), selector()).prop_map(|(n, p)| json!({"pods": {"namespaceSelector": n, "podSelector": p}})),
        // Malformed: from a newer API, the old shape, nothing at all.
        1 => Just(json!({"serviceAccounts": {}})),
        1 => selector().prop_map(|s| json!({"namespaces": {"namespaceSelector": s}})),
        1 => Just(json!({})),
    ]
}

fn egress_peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => pods_peer(),
        3 => prop::collection::vec(select(NETWORKS.to_vec()), 1..3).prop_map(|n| json!({"networks": n})),
        2 => select(vec!["p", "q"]).prop_map(|z| json!({"nodes": {"matchLabels": {"zone": z}}})),
        1 => Just(json!({"nodes": {}})),
        1 => Just(json!({"domainNames": ["example.com"]})),
    ]
}

fn v1alpha1_port() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => (protocol(), number()).prop_map(|(t, p)| json!({"portNumber": {"protocol": t, "port": p}})),
        1 => (protocol(), number(), number())
            .prop_map(|(t, s, e)| json!({"portRange": {"protocol": t, "start": s, "end": e}})),
        2 => port_name().prop_map(|n| json!({"namedPort": n})),
    ]
}

fn v1alpha2_port() -> impl Strategy<Value = Value> {
    let protocol = || select(vec!["tcp", "udp", "sctp", "tcp", "udp", "sctp", "icmp"]);
    prop_oneof![
        1 => (protocol(), number()).prop_map(|(t, p)| json!({t: {"destinationPort": {"number": p}}})),
        1 => (protocol(), number(), number())
            .prop_map(|(t, s, e)| json!({t: {"destinationPort": {"range": {"start": s, "end": e}}}})),
        2 => port_name().prop_map(|n| json!({"destinationNamedPort": n})),
    ]
}

fn rules(
    peer: BoxedStrategy<Value>,
    side: &'static str,
    port: BoxedStrategy<Value>,
    ports: &'static str,
    allow: &'static str,
) -> impl Strategy<Value = Value> {
    let action = prop_oneof![8 => select(vec![allow, "Deny", "Pass"]), 1 => Just("Log")];
    let name = prop::option::weighted(0.3, select(vec!["first", "second"]));
    let rule = (
        action,
        name,
        prop::collection::vec(peer, 1..3),
        prop::option::of(prop::collection::vec(port, 1..3)),
    )
        .prop_map(move |(action, name, peers, matched)| {
            let mut rule = json!({"action": action, side: peers});
            if let Some(name) = name {
                rule["name"] = json!(name);
            }
            if let Some(matched) = matched {
                rule[ports] = json!(matched);
            }
            rule
        });
    prop::collection::vec(rule, 0..4).prop_map(Value::Array)
}

fn subject() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => selector().prop_map(|s| json!({"namespaces": s})),
        4 => (selector(), selector()).prop_map(|(n, p)| json!({"pods": {"namespaceSelector": n, "podSelector": p}})),
        1 => Just(json!({})),
    ]
}

fn v1alpha1() -> impl Strategy<Value = Value> {
    let side = |peer, side| rules(peer, side, v1alpha1_port().boxed(), "ports", "Allow");
    (
        prop::option::weighted(0.8, 0..3_u8),
        select(vec![5, 5, 10, 2000]),
        subject(),
        side(pods_peer().boxed(), "from"),
        side(egress_peer().boxed(), "to"),
    )
        .prop_map(|(name, priority, subject, ingress, egress)| {
            let mut spec = json!({"subject": subject, "ingress": ingress, "egress": egress});
            let (kind, name) = match name {
                Some(name) => {
                    spec["priority"] = json!(priority);
                    ("AdminNetworkPolicy", format!("p-{name}"))
                }
                None => ("BaselineAdminNetworkPolicy", "default".to_owned()),
            };
            json!({
                "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": kind,
                "metadata": {"name": name}, "spec": spec,
            })
        })
}

fn v1alpha2() -> impl Strategy<Value = Value> {
    let side = |peer, side| rules(peer, side, v1alpha2_port().boxed(), "protocols", "Accept");
    (
        0..3,
        select(vec!["Admin", "Baseline"]),
        select(vec![5, 5, 10]),
        subject(),
        side(pods_peer().boxed(), "from"),
        side(egress_peer().boxed(), "to"),
    )
        .prop_map(|(name, tier, priority, subject, ingress, egress)| {
            json!({
                "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
                "metadata": {"name": format!("p-{name}")},
                "spec": {"tier": tier, "priority": priority, "subject": subject, "ingress": ingress, "egress": egress},
            })
        })
}

fn pod() -> impl Strategy<Value = Value> {
    let ports = prop::collection::vec(
        (port_name(), select(vec!["TCP", "UDP"]), number())
            .prop_map(|(n, t, p)| json!({"name": n, "protocol": t, "containerPort": p})),
        0..3,
    );
    (
        select(vec!["a", "b", "c"]),
        0..4,
        labels(),
        1..=2_u8,
        prop::collection::btree_set(0..4_usize, 0..3),
        prop::bool::weighted(0.1),
        ports,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(namespace, name, labels, node, which, host, ports, finished, stray)| {
            // A stray pod claims addresses of the other node's range, which may be another pod's.
            let range = if stray { 3 - node } else { node };
            let addresses: Vec<Value> = which
                .into_iter()
                .map(|n| match n {
                    3 => json!({"ip": format!("fd00:{range}::{}", 1 + name % 2)}),
                    n => json!({"ip": format!("10.0.{range}.{}", n + 1)}),
                })
                .collect();
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": namespace, "name": format!("p-{name}"), "labels": labels},
                "spec": {
                    "nodeName": format!("n-{node}"), "hostNetwork": host,
                    "containers": [{"name": "c", "ports": ports}],
                },
                "status": {"phase": if finished { "Succeeded" } else { "Running" }, "podIPs": addresses},
            })
        })
}

fn node() -> impl Strategy<Value = Value> {
    (1..=2_u8, select(vec!["p", "q"]), any::<bool>()).prop_map(|(n, zone, ranges)| {
        let ranges =
            if ranges { json!([format!("10.0.{n}.0/24"), format!("fd00:{n}::/64")]) } else { json!([]) };
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": format!("n-{n}"), "labels": {"zone": zone}},
            "spec": {"podCIDRs": ranges},
            "status": {"addresses": [
                {"type": "InternalIP", "address": format!("192.0.2.{n}")},
                {"type": "InternalIP", "address": format!("2001:db8::{n}")},
                {"type": "Hostname", "address": format!("n-{n}")},
            ]},
        })
    })
}

fn namespace() -> impl Strategy<Value = Value> {
    (select(vec!["a", "b", "c"]), labels()).prop_map(
        |(name, labels)| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
    )
}

/// One object of any kind.
pub(crate) fn object() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => namespace(),
        2 => node(),
        8 => pod(),
        5 => network_policy(),
        4 => v1alpha1(),
        4 => v1alpha2(),
    ]
}

/// Objects as the engine takes them. What intake cannot make a model of is left out, as the operator would.
pub(crate) fn events(objects: &[Value]) -> Vec<Event> {
    objects.iter().filter_map(|raw| intake::decode(raw).ok()?.model).map(Event::Apply).collect()
}

/// The events, and for some of them a deletion later on.
pub(crate) fn history() -> impl Strategy<Value = Vec<Event>> {
    (prop::collection::vec(object(), 1..24), prop::collection::vec(any::<prop::sample::Index>(), 0..4))
        .prop_map(|(objects, deletions)| {
            let mut events = events(&objects);
            for index in deletions.iter().filter(|_| !objects.is_empty()) {
                if let Some(Event::Apply(object)) = events.get(index.index(objects.len())) {
                    events.push(Event::Delete(Object::object(object)));
                }
            }
            events
        })
}

/// A transport on and beside the ports that policies name.
pub(crate) fn l4() -> impl Strategy<Value = L4> {
    let port = select(vec![0, 22, 53, 54, 78, 79, 80, 81, 82, u16::MAX]);
    prop_oneof![
        9 => (select(Protocol::ALL.to_vec()), port).prop_map(|(protocol, port)| L4::Port(protocol, port)),
        1 => select(vec![1, 58, 253]).prop_map(L4::Other),
    ]
}

/// An end of a packet, chosen once the cluster is known: mostly an address of a pod there is, or any of
/// [`ADDRESSES`].
#[derive(Clone, Debug)]
pub(crate) struct Address(prop::sample::Index);

impl Address {
    /// The address in a cluster.
    pub(crate) fn of(&self, cluster: &Cluster) -> IpAddr {
        let pods = cluster.pods.values().flat_map(|pod| pod.addresses.iter().copied());
        let all = ADDRESSES.iter().map(|text| text.parse().expect("an address"));
        // Thrice: pods are what policy is about.
        let pods: Vec<IpAddr> = pods.collect();
        let choice: Vec<IpAddr> = pods.iter().chain(&pods).chain(&pods).copied().chain(all).collect();
        choice[self.0.index(choice.len())]
    }
}

/// Any end.
pub(crate) fn address() -> impl Strategy<Value = Address> {
    any::<prop::sample::Index>().prop_map(Address)
}
