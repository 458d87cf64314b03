//! The upstream conformance suites: every test's stages, with the suite's pods, nodes and namespaces.

use std::collections::BTreeMap;

use palisade_compiler::model::{NamedPort, Object, ObjectRef};
use palisade_compiler::oracle::Flow;
use palisade_view::L4;
use serde_json::Value;

use super::objects::{labels, namespace, node, parse, pod, policy, port, protocol, text};
use super::{Probe, Step};

/// The steps of every test, in the file's order.
pub(crate) fn steps(data: &Value) -> Vec<Step> {
    let fixed = fixed(data);
    let mut steps = Vec::new();
    for test in data["tests"].as_array().expect("tests") {
        for stage in test["stages"].as_array().expect("stages") {
            let mut objects = fixed.clone();
            for (name, given) in stage["namespaceLabels"].as_object().expect("namespaces") {
                insert(&mut objects, namespace(name, labels(given)));
            }
            for raw in stage["objects"].as_array().expect("objects") {
                insert(&mut objects, policy(raw));
            }
            let probes = stage["probes"].as_array().expect("probes");
            let probes = probes.iter().map(|raw| probe(&data["pods"], raw)).collect();
            let name = format!("{}: {}", text(&test["shortName"]), text(&stage["subtest"]));
            steps.push(Step { name, objects, probes });
        }
    }
    steps
}

pub(super) fn insert(objects: &mut BTreeMap<ObjectRef, Object>, object: Object) {
    objects.insert(object.object(), object);
}

/// What no test changes: nodes and pods.
fn fixed(data: &Value) -> BTreeMap<ObjectRef, Object> {
    let mut objects = BTreeMap::new();
    for ((name, raw), number) in data["nodes"].as_object().expect("nodes").iter().zip(1..) {
        let addresses: Vec<&str> = raw["addresses"].as_array().expect("addresses").iter().map(text).collect();
        let range = format!("10.244.{number}.0/24");
        insert(&mut objects, node(name, labels(&raw["labels"]), &addresses, &range));
    }
    for (path, raw) in data["pods"].as_object().expect("pods") {
        let (namespace, name) = path.split_once('/').expect("namespace/name");
        let mut pod = pod(namespace, name, text(&raw["node"]), text(&raw["ip"]), labels(&raw["labels"]));
        pod.host_network = raw["hostNetwork"].as_bool().expect("hostNetwork");
        pod.named_ports = raw["namedPorts"]
            .as_array()
            .expect("namedPorts")
            .iter()
            .map(|raw| NamedPort {
                name: text(&raw["name"]).to_owned(),
                protocol: protocol(text(&raw["protocol"])),
                port: port(&raw["port"]),
            })
            .collect();
        insert(&mut objects, Object::Pod(pod));
    }
    objects
}

fn probe(pods: &Value, raw: &Value) -> Probe {
    let (client, server) = (text(&raw["client"]), text(&raw["server"]));
    let l4 = L4::Port(protocol(text(&raw["protocol"])), port(&raw["port"]));
    Probe {
        name: format!("{client} -> {server} {l4}"),
        flow: Flow {
            source: parse(text(&pods[client]["ip"])),
            destination: parse(text(&pods[server]["ip"])),
            l4,
            source_node: None,
            destination_node: None,
        },
        allowed: raw["shouldConnect"].as_bool().expect("shouldConnect"),
        directions: None,
    }
}
