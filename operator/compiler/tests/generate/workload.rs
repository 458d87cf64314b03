//! Pods, nodes, namespaces and their labels.

use serde_json::{Map, Value, json};

use super::choices::Choices;

/// A label by which pods differ from one another by construction.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

pub(super) fn labels(choices: &mut Choices<'_>) -> Value {
    let mut labels = Map::new();
    for key in ["app", "env"] {
        if !choices.chance(20) {
            labels.insert(key.to_owned(), json!(choices.one(&["x", "y", "z"])));
        }
    }
    if choices.chance(30) {
        labels.insert(POD_NAME.to_owned(), json!(choices.one(&["p-0", "p-1"])));
    }
    Value::Object(labels)
}

pub(super) fn selector(choices: &mut Choices<'_>) -> Value {
    fn expression(choices: &mut Choices<'_>) -> Value {
        let kind = choices.weighted(&[6, 2, 1]);
        let key = choices.one(&["app", "env", "app", "env", POD_NAME]);
        match kind {
            0 => {
                let operator = choices.one(&["In", "NotIn"]);
                let values = choices.some(1, 2, |choices| choices.one(&["x", "y", "p-0"]));
                json!({"key": key, "operator": operator, "values": values})
            }
            1 => json!({"key": key, "operator": choices.one(&["Exists", "DoesNotExist"])}),
            // Malformed.
            _ => json!({"key": key, "operator": choices.one(&["Near", "In", ""])}),
        }
    }
    match choices.weighted(&[3, 4, 3]) {
        0 => json!({}),
        1 => {
            json!({"matchLabels": {choices.one(&["app", "env", "app", "env", POD_NAME]): choices.one(&["x", "y", "p-0"])}})
        }
        _ => json!({"matchExpressions": choices.some(1, 2, expression)}),
    }
}

pub(super) fn pod(choices: &mut Choices<'_>) -> Value {
    let namespace = choices.one(&["a", "b", "c"]);
    let name = choices.below(4);
    let node = 1 + choices.below(2);
    // A stray pod claims addresses of the other node's range, which may be another pod's.
    let range = if choices.chance(10) { 3 - node } else { node };
    let mut addresses: Vec<Value> = choices.some(0, 2, |choices| match choices.below(4) {
        3 => json!({"ip": format!("fd00:{range}::{}", 1 + name % 2)}),
        n => json!({"ip": format!("10.0.{range}.{}", n + 1)}),
    });
    addresses.dedup();
    let host = choices.chance(10);
    let phase = if choices.chance(10) { "Succeeded" } else { "Running" };
    let labels = labels(choices);
    let ports = choices.some(0, 2, |choices| {
        json!({
            "name": choices.one(&["web", "dns"]), "protocol": choices.one(&["TCP", "UDP"]),
            "containerPort": choices.one(&[53, 79, 80, 81]),
        })
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": format!("p-{name}"), "labels": labels},
        "spec": {
            "nodeName": format!("n-{node}"), "hostNetwork": host,
            "containers": [{"name": "c", "ports": ports}],
        },
        "status": {"phase": phase, "podIPs": addresses},
    })
}

pub(super) fn node(choices: &mut Choices<'_>) -> Value {
    let n = 1 + choices.below(2);
    let zone = choices.one(&["p", "q"]);
    let ranges = match choices.below(2) {
        0 => json!([format!("10.0.{n}.0/24"), format!("fd00:{n}::/64")]),
        _ => json!([]),
    };
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
}

pub(super) fn namespace(choices: &mut Choices<'_>) -> Value {
    let name = choices.one(&["a", "b", "c"]);
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels(choices)}})
}
