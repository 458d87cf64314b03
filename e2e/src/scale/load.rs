//! Many namespaces, pods and policies of every kind. Equal sizes give equal objects.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// Pods of one namespace.
const PODS: usize = 50;
/// Groups of namespaces that rules name.
const GROUPS: usize = 10;
/// Labels that tell a namespace's pods apart.
const APPS: usize = 5;
/// The first pod's address.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);

/// See the module.
#[derive(Clone, Debug)]
pub struct Load {
    /// What pods live in.
    pub namespaces: Vec<Value>,
    /// The pods.
    pub pods: Vec<Value>,
    /// The policies.
    pub policies: Vec<Value>,
}

impl Load {
    /// So many pods, spread over the nodes, and so many policies.
    pub fn new(nodes: &[String], pods: usize, policies: usize) -> Self {
        let teams = pods.div_ceil(PODS).max(1);
        let namespaces = (0..teams).map(namespace).collect();
        let pods = (0..pods).zip(nodes.iter().cycle()).map(|(index, node)| pod(index, node, teams)).collect();
        let policies = (0..policies)
            .map(|index| match index {
                0 => baseline(),
                _ => match index % 3 {
                    0 => admin(index / 3, teams),
                    1 => cluster(index / 3),
                    _ => network(index / 3, teams),
                },
            })
            .collect();
        Self { namespaces, pods, policies }
    }
}

fn team(index: usize, teams: usize) -> String {
    format!("team-{}", index % teams)
}

fn group(index: usize) -> Value {
    json!({"group": format!("g{}", index % GROUPS)})
}

fn app(index: usize) -> Value {
    json!({"app": format!("a{}", index % APPS)})
}

fn namespace(index: usize) -> Value {
    let name = format!("team-{index}");
    let labels = json!({"team": name, "group": group(index)["group"], "kubernetes.io/metadata.name": name});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn pod(index: usize, node: &str, teams: usize) -> Value {
    // Some addresses lie outside their node's range: nobody else claims them.
    let offset = u32::try_from(index).unwrap_or(u32::MAX);
    let address = Ipv4Addr::from(u32::from(FIRST).saturating_add(offset)).to_string();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": team(index, teams), "name": format!("pod-{index}"), "labels": app(index / teams)},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": "main", "ports": [{"name": "http", "containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

fn baseline() -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "BaselineAdminNetworkPolicy",
        "metadata": {"name": "default"},
        "spec": {
            "subject": {"namespaces": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},
            "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}],
        },
    })
}

fn admin(index: usize, teams: usize) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
        "metadata": {"name": format!("scale-{index}")},
        "spec": {
            "priority": index % 1000,
            "subject": {"namespaces": {"matchLabels": {"team": team(index, teams)}}},
            "ingress": [{
                "action": if index.is_multiple_of(2) { "Allow" } else { "Deny" },
                "from": [{"namespaces": {"matchLabels": group(index)}}],
                "ports": [{"portNumber": {"protocol": "TCP", "port": 1000 + index % 1000}}],
            }],
        },
    })
}

fn cluster(index: usize) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": format!("scale-{index}")},
        "spec": {
            "tier": if index.is_multiple_of(2) { "Admin" } else { "Baseline" },
            "priority": index % 1000,
            "subject": {"pods": {
                "namespaceSelector": {"matchLabels": group(index)},
                "podSelector": {"matchLabels": app(index)},
            }},
            "egress": [{
                "action": "Accept",
                "to": [{"namespaces": {"matchLabels": group(index + 1)}}],
                "protocols": [{"tcp": {"destinationPort": {"number": 2000 + index % 1000}}}],
            }],
        },
    })
}

fn network(index: usize, teams: usize) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": team(index, teams), "name": format!("scale-{index}")},
        "spec": {
            "podSelector": {"matchLabels": app(index)},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{"namespaceSelector": {"matchLabels": group(index)}}],
                "ports": [{"port": "http"}],
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_load_has_every_kind_and_no_name_or_address_twice() {
        let nodes = ["node-1".to_owned(), "node-2".to_owned()];
        let load = Load::new(&nodes, 500, 100);
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for object in load.namespaces.iter().chain(&load.pods).chain(&load.policies) {
            let kind = object["kind"].as_str().expect("a kind");
            *kinds.entry(kind).or_default() += 1;
            assert!(names.insert((
                kind,
                object["metadata"]["namespace"].as_str(),
                object["metadata"]["name"].as_str()
            )));
            palisade_compiler::intake::decode(object).expect("it is understood");
        }
        let expected = [
            ("AdminNetworkPolicy", 33),
            ("BaselineAdminNetworkPolicy", 1),
            ("ClusterNetworkPolicy", 33),
            ("Namespace", 10),
            ("NetworkPolicy", 33),
            ("Pod", 500),
        ];
        assert_eq!(kinds, BTreeMap::from(expected));
        let addresses: BTreeSet<_> = load.pods.iter().map(|pod| pod["status"]["podIP"].as_str()).collect();
        assert_eq!(addresses.len(), 500);
    }
}
