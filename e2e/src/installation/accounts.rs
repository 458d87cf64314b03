//! What an installer puts into the API for Palisade itself: its namespace, its accounts and their rights, as `config/rbac`
//! has them, and the shims' pods.

use anyhow::Result;
use palisade_view::Family;
use serde_json::{Value, json};

use crate::objects;
use crate::scenario::State;

/// Palisade's namespace.
pub const NAMESPACE: &str = "palisade-system";

/// What shims run as.
pub(super) const NODE_ACCOUNT: &str = "palisade-node";

/// What operators run as.
pub(super) const OPERATOR_ACCOUNT: &str = "palisade-operator";

/// The `ConfigMap` of the operator's authority.
pub(super) const AUTHORITY: &str = "palisade-ca";

/// The accounts, and what they may do.
const RIGHTS: [&str; 3] = [
    include_str!("../../../config/rbac/service-accounts.yaml"),
    include_str!("../../../config/rbac/operator-cluster-role.yaml"),
    include_str!("../../../config/rbac/operator-role.yaml"),
];

/// The name of a shim's pod.
pub(super) fn shim(node: &str) -> String {
    format!("palisade-node-{node}")
}

/// Everything, in the order in which it has to come. An API server that lets everybody do everything may know no
/// rights.
pub(super) fn objects(state: &State, has_rights: bool) -> Result<Vec<Value>> {
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"kubernetes.io/metadata.name": NAMESPACE}},
    })];
    for text in RIGHTS {
        for mut object in serde_saphyr::from_multiple::<Value>(text)? {
            let kind = object["kind"].as_str().unwrap_or_default();
            let is_right = kind != "ServiceAccount";
            // As `kubectl apply -k` would.
            if !kind.starts_with("Cluster") {
                object["metadata"]["namespace"] = NAMESPACE.into();
            }
            if has_rights || !is_right {
                objects.push(object);
            }
        }
    }
    objects.extend(state.nodes.keys().map(|node| pod(state, node)));
    Ok(objects)
}

/// A pod in its node's network, which no policy is about.
fn pod(state: &State, node: &str) -> Value {
    let addresses =
        state.nodes.get(node).into_iter().flat_map(|node| {
            [Family::V4, Family::V6].into_iter().filter_map(|family| node.address(family).ok())
        });
    let addresses: Vec<Value> = addresses.map(|address| json!({"ip": address})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": NAMESPACE, "name": shim(node), "labels": {"app.kubernetes.io/name": NODE_ACCOUNT},
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": true,
            "serviceAccountName": NODE_ACCOUNT,
            "containers": [{"name": "main", "image": NODE_ACCOUNT}],
        },
        "status": {
            "phase": "Running",
            "hostIP": addresses.first().map(|address| &address["ip"]),
            "podIP": addresses.first().map(|address| &address["ip"]),
            "podIPs": addresses,
            "containerStatuses": [objects::container("main", NODE_ACCOUNT)],
        },
    })
}
