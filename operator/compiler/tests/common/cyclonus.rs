//! The cyclonus cases: NetworkPolicies with truth tables of every pod to every other.

use std::collections::BTreeMap;

use palisade_compiler::model::{NamedPort, Object, ObjectRef};
use palisade_compiler::oracle::Flow;
use palisade_view::{L4, Protocol};
use serde_json::Value;

use super::conformance::insert;
use super::objects::{labels, namespace, node, parse, pod, policy, protocol, text};
use super::{Probe, Step};

/// Nodes of the cluster; a pod is on the one that its address's third octet numbers.
const NODES: std::ops::RangeInclusive<u8> = 1..=4;

/// The steps of every case, in the file's order. What the tables leave open (a pod to itself) is no probe.
pub(crate) fn steps(data: &Value) -> Vec<Step> {
    let mut steps = Vec::new();
    for case in data.as_array().expect("cases") {
        let mut policies = BTreeMap::new();
        for (raw, number) in case["steps"].as_array().expect("steps").iter().zip(1..) {
            for action in raw["actions"].as_array().expect("actions") {
                act(&mut policies, action);
            }
            let name = format!("case {} ({}), step {number}", case["id"], text(&case["description"]));
            steps.push(step(name, policies.clone(), raw));
        }
    }
    steps
}

/// Carries out what an action does to policies. What it does to pods and namespaces the step tells in whole.
fn act(policies: &mut BTreeMap<ObjectRef, Object>, action: &Value) {
    let (verb, raw) = action.as_object().and_then(|action| action.iter().next()).expect("an action");
    match verb.as_str() {
        "CreatePolicy" | "UpdatePolicy" => {
            // Some were written down as typed values, which leave out what type they are of.
            let mut raw = raw["Policy"].clone();
            raw["apiVersion"] = "networking.k8s.io/v1".into();
            raw["kind"] = "NetworkPolicy".into();
            insert(policies, policy(&raw));
        }
        "DeletePolicy" => {
            let (namespace, name) = (text(&raw["Namespace"]), text(&raw["Name"]));
            let before = policies.len();
            policies.retain(|p, _| p.namespace.as_deref() != Some(namespace) || p.name != name);
            assert_eq!(policies.len(), before - 1, "the policy to delete is there");
        }
        "DeleteNamespace" => {
            let namespace = text(&raw["Namespace"]);
            policies.retain(|policy, _| policy.namespace.as_deref() != Some(namespace));
        }
        "CreateNamespace" | "SetNamespaceLabels" | "CreatePod" | "DeletePod" | "SetPodLabels" => {}
        other => panic!("action {other}"),
    }
}

fn step(name: String, policies: BTreeMap<ObjectRef, Object>, raw: &Value) -> Step {
    let mut objects = policies;
    for number in NODES {
        let (address, range) = (format!("172.18.0.{}", 10 + number), format!("10.244.{number}.0/24"));
        insert(&mut objects, node(&format!("node-{number}"), BTreeMap::new(), &[&address], &range));
    }
    for (name, given) in raw["namespaceLabelsAfter"].as_object().expect("namespaces") {
        insert(&mut objects, namespace(name, labels(given)));
    }
    let pods = raw["podsAfter"].as_array().expect("pods");
    for raw in pods {
        let address = text(&raw["ip"]);
        let number = address.split('.').nth(2).expect("third octet");
        let node = format!("node-{number}");
        let mut pod = pod(text(&raw["ns"]), text(&raw["name"]), &node, address, labels(&raw["labels"]));
        let served = [80, 81].into_iter().flat_map(|port| Protocol::ALL.map(|protocol| (port, protocol)));
        pod.named_ports = served
            .map(|(port, protocol)| NamedPort {
                name: format!("serve-{port}-{}", protocol.name().to_ascii_lowercase()),
                protocol,
                port,
            })
            .collect();
        insert(&mut objects, Object::Pod(pod));
    }
    let tables = raw["expected"].as_object().expect("tables");
    let probes = tables.iter().flat_map(|(l4, tables)| probes(pods, l4, tables)).collect();
    Step { name, objects, probes }
}

/// A row for each source, a column for each destination.
fn probes(pods: &[Value], l4: &str, tables: &Value) -> Vec<Probe> {
    let (name, number) = l4.split_once('/').expect("protocol/port");
    let l4 = L4::Port(protocol(name), parse(number));
    let table = |name: &str| -> Vec<Vec<char>> {
        tables[name].as_array().expect("rows").iter().map(|row| text(row).chars().collect()).collect()
    };
    let (egress, ingress, combined) = (table("egress"), table("ingress"), table("combined"));
    let mut probes = Vec::new();
    for (row, source) in pods.iter().enumerate() {
        for (column, destination) in pods.iter().enumerate() {
            let cell = |table: &[Vec<char>]| match table[row][column] {
                '.' => Some(true),
                'X' => Some(false),
                '#' => None,
                other => panic!("cell {other}"),
            };
            let cells = (cell(&egress), cell(&ingress), cell(&combined));
            let (Some(egress), Some(ingress), Some(allowed)) = cells else {
                assert!(cells == (None, None, None) && row == column, "only the diagonal is open");
                continue;
            };
            let end = |pod: &Value| format!("{}/{}", text(&pod["ns"]), text(&pod["name"]));
            probes.push(Probe {
                name: format!("{} -> {} {l4}", end(source), end(destination)),
                flow: Flow {
                    source: parse(text(&source["ip"])),
                    destination: parse(text(&destination["ip"])),
                    l4,
                    source_node: None,
                    destination_node: None,
                },
                allowed,
                directions: Some((egress, ingress)),
            });
        }
    }
    probes
}
