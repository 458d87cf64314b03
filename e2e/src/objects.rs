//! The cluster's state as Kubernetes objects, as the API server would give them. Knows neither files nor requests.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use palisade_view::Family;
use serde_json::{Value, json};

use crate::scenario::State;
use crate::scenario::port::Container;
use crate::scenario::state::{Node, Pod};

/// What pods would run.
const IMAGE: &str = "registry.k8s.io/e2e-test-images/agnhost:2.45";

/// The condition of what works.
fn ready(reason: &str) -> Value {
    json!({"type": "Ready", "status": "True", "reason": reason, "message": "", "lastTransitionTime": SINCE})
}

/// Since when everything works: whoever compares objects must not see time go by.
const SINCE: &str = "2026-01-01T00:00:00Z";

/// The status of a container that runs.
pub fn container(name: &str, image: &str) -> Value {
    json!({
        "name": name, "image": image, "imageID": image, "ready": true, "started": true, "restartCount": 0,
        "state": {"running": {"startedAt": SINCE}},
    })
}

/// A namespace, with the label that every one has.
pub fn namespace(name: &str, labels: &BTreeMap<String, String>) -> Value {
    let mut labels = labels.clone();
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A node, with its addresses and the ranges of its pods.
pub fn node(state: &State, name: &str, node: &Node) -> Result<Value> {
    let mut addresses = Vec::new();
    let mut ranges = Vec::new();
    for &family in &state.families {
        addresses.push(json!({"type": "InternalIP", "address": node.address(family)?}));
        ranges.push(node.pod_range(family)?.to_string());
    }
    addresses.extend(node.external.iter().map(|address| json!({"type": "ExternalIP", "address": address})));
    addresses.push(json!({"type": "Hostname", "address": name}));
    let mut labels = node.labels.clone();
    labels.insert("kubernetes.io/hostname".to_owned(), name.to_owned());
    Ok(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges},
        "status": {"addresses": addresses, "conditions": [ready("KubeletReady")]},
    }))
}

/// A pod that runs or has run.
pub fn pod(state: &State, name: &str, pod: &Pod) -> Result<Value> {
    let (namespace, name) = name.split_once('/').context("a pod is named `namespace/name`")?;
    let node = state.nodes.get(&pod.node).with_context(|| format!("there is no node {}", pod.node))?;
    let host = node.address(state.families.first().copied().unwrap_or(Family::V4))?;
    let addresses: Vec<Value> = pod.addresses.iter().map(|address| json!({"ip": address})).collect();
    let mut spec = json!({
        "nodeName": pod.node,
        "containers": [{"name": "main", "image": IMAGE, "ports": ports(pod, Container::Main)}],
    });
    let (init, sidecar) = (ports(pod, Container::Init), ports(pod, Container::Sidecar));
    if !init.is_empty() || !sidecar.is_empty() {
        spec["initContainers"] = json!([
            {"name": "init", "image": IMAGE, "ports": init},
            {"name": "sidecar", "image": IMAGE, "ports": sidecar, "restartPolicy": "Always"},
        ]);
    }
    if pod.host_network {
        spec["hostNetwork"] = true.into();
    }
    let mut metadata = json!({"namespace": namespace, "name": name, "labels": pod.labels});
    if pod.terminating {
        metadata["deletionTimestamp"] = SINCE.into();
        metadata["deletionGracePeriodSeconds"] = 30.into();
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
        "status": {
            "phase": format!("{:?}", pod.phase),
            "hostIP": host,
            "podIP": pod.addresses.first(),
            "podIPs": addresses,
            "conditions": [ready("Running")],
            "containerStatuses": [container("main", IMAGE)],
        },
    }))
}

/// The ports that one of a pod's containers declares.
fn ports(pod: &Pod, container: Container) -> Vec<Value> {
    pod.ports
        .iter()
        .filter(|port| port.container == container)
        .map(|port| match &port.name {
            Some(name) => json!({"name": name, "containerPort": port.port, "protocol": port.protocol.name()}),
            None => json!({"containerPort": port.port, "protocol": port.protocol.name()}),
        })
        .collect()
}
