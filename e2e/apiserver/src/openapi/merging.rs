//! How clients are to merge lists of Kubernetes' own kinds: the `x-kubernetes-patch-*` and `x-kubernetes-list-*` marks of
//! its OpenAPI, for those lists that [`Resource`](crate::registry::Resource) merges by key. Without them a client sends
//! whole lists, and finds a change in every field that was filled in.

use serde_json::{Map, Value, json};

/// Definition, field, strategy, and the field that tells items apart.
const MERGED: [(&str, &str, &str, &str); 26] = [
    ("api.apps.v1.DaemonSetStatus", "conditions", "merge", "type"),
    ("api.apps.v1.DeploymentSpec", "strategy", "retainKeys", ""),
    ("api.apps.v1.DeploymentStatus", "conditions", "merge", "type"),
    ("api.apps.v1.ReplicaSetStatus", "conditions", "merge", "type"),
    ("api.apps.v1.StatefulSetStatus", "conditions", "merge", "type"),
    ("api.core.v1.Container", "env", "merge", "name"),
    ("api.core.v1.Container", "ports", "merge", "containerPort"),
    ("api.core.v1.Container", "volumeMounts", "merge", "mountPath"),
    ("api.core.v1.EphemeralContainer", "env", "merge", "name"),
    ("api.core.v1.EphemeralContainer", "volumeMounts", "merge", "mountPath"),
    ("api.core.v1.NamespaceStatus", "conditions", "merge", "type"),
    ("api.core.v1.NodeStatus", "addresses", "merge", "type"),
    ("api.core.v1.NodeStatus", "conditions", "merge", "type"),
    ("api.core.v1.PodSpec", "containers", "merge", "name"),
    ("api.core.v1.PodSpec", "ephemeralContainers", "merge", "name"),
    ("api.core.v1.PodSpec", "hostAliases", "merge", "ip"),
    ("api.core.v1.PodSpec", "imagePullSecrets", "merge", "name"),
    ("api.core.v1.PodSpec", "initContainers", "merge", "name"),
    ("api.core.v1.PodSpec", "volumes", "merge,retainKeys", "name"),
    ("api.core.v1.PodStatus", "conditions", "merge", "type"),
    ("api.core.v1.PodStatus", "podIPs", "merge", "ip"),
    ("api.core.v1.ServiceSpec", "ports", "merge", "port"),
    ("api.core.v1.ServiceStatus", "conditions", "merge", "type"),
    ("api.policy.v1.PodDisruptionBudgetStatus", "conditions", "merge", "type"),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers", "merge", ""),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", "merge", "uid"),
];

/// Marks the fields of a definition.
pub(super) fn mark(name: &str, schema: &mut Value) {
    let Some(short) = name.strip_prefix("io.k8s.") else { return };
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, field, strategy, key) in MERGED.iter().filter(|(definition, ..)| *definition == short) {
        if let Some(field) = properties.get_mut(*field).and_then(Value::as_object_mut) {
            describe(field, strategy, key);
        }
    }
}

fn describe(field: &mut Map<String, Value>, strategy: &str, key: &str) {
    field.insert("x-kubernetes-patch-strategy".to_owned(), strategy.into());
    if key.is_empty() {
        if strategy == "merge" {
            field.insert("x-kubernetes-list-type".to_owned(), "set".into());
        }
        return;
    }
    // Ports of one number may differ in protocol; patches tell them apart by number alone.
    let keys = if key.ends_with("ort") { json!([key, "protocol"]) } else { json!([key]) };
    field.insert("x-kubernetes-patch-merge-key".to_owned(), key.into());
    field.insert("x-kubernetes-list-map-keys".to_owned(), keys);
    field.insert("x-kubernetes-list-type".to_owned(), "map".into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::definitions;

    #[test]
    fn every_list_is_there() {
        for (definition, field, ..) in MERGED {
            let schema = definitions().get(&format!("io.k8s.{definition}")).expect(definition);
            assert!(schema["properties"].get(field).is_some(), "{definition}.{field}");
        }
        let mut pod = definitions().get("io.k8s.api.core.v1.PodSpec").unwrap().clone();
        mark("io.k8s.api.core.v1.PodSpec", &mut pod);
        assert_eq!(pod["properties"]["containers"]["x-kubernetes-patch-merge-key"], "name");
        assert!(pod["properties"]["tolerations"].get("x-kubernetes-patch-strategy").is_none());
    }
}
