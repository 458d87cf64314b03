//! What goes without saying in objects of Kubernetes' own kinds, and what is checked beyond their schemas: the little that
//! writers and readers of such objects rely on.

use serde_json::{Map, Value, json};

use super::{Resource, network_policy};
use crate::auth::encode_standard;
use crate::schema::Cause;

/// Fills in what goes without saying.
pub(super) fn default(resource: &Resource, object: &mut Value) {
    if resource.is_custom {
        return;
    }
    match resource.kind.as_str() {
        "Namespace" => {
            let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                let labels = metadata.entry("labels").or_insert_with(|| json!({}));
                if let Some(labels) = labels.as_object_mut() {
                    labels.insert("kubernetes.io/metadata.name".to_owned(), name);
                }
            }
            fill(object, "status", "phase", || "Active".into());
            fill(object, "spec", "finalizers", || json!(["kubernetes"]));
        }
        "Pod" => {
            fill(object, "status", "phase", || "Pending".into());
            for (field, value) in [
                ("restartPolicy", "Always"),
                ("dnsPolicy", "ClusterFirst"),
                ("schedulerName", "default-scheduler"),
            ] {
                fill(object, "spec", field, || value.into());
            }
            fill(object, "spec", "terminationGracePeriodSeconds", || 30.into());
            fill(object, "spec", "enableServiceLinks", || true.into());
            fill(object, "spec", "securityContext", || json!({}));
            for list in ["containers", "initContainers"] {
                let containers = object.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
                for port in containers.into_iter().flatten().flat_map(ports) {
                    port.entry("protocol").or_insert_with(|| "TCP".into());
                }
            }
        }
        "NetworkPolicy" => {
            for direction in ["ingress", "egress"] {
                let rules = object.pointer_mut(&format!("/spec/{direction}")).and_then(Value::as_array_mut);
                for port in rules.into_iter().flatten().flat_map(ports) {
                    port.entry("protocol").or_insert_with(|| "TCP".into());
                }
            }
            let is_egress = object.pointer("/spec/egress").is_some_and(|rules| !rules.is_null());
            let types = if is_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            fill(object, "spec", "podSelector", || json!({}));
            fill(object, "spec", "policyTypes", || types);
        }
        "Secret" => {
            if let Some(fields) = object.as_object_mut() {
                // What was written as text for people is kept like the rest.
                if let Some(Value::Object(texts)) = fields.remove("stringData")
                    && let Some(data) = fields.entry("data").or_insert_with(|| json!({})).as_object_mut()
                {
                    let encoded = |text: Value| json!(encode_standard(text.as_str().unwrap_or_default()));
                    data.extend(texts.into_iter().map(|(name, text)| (name, encoded(text))));
                }
                fields.entry("type").or_insert_with(|| "Opaque".into());
            }
        }
        _ => {}
    }
}

fn ports(owner: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let ports = owner.get_mut("ports").and_then(Value::as_array_mut);
    ports.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn fill(object: &mut Value, part: &str, field: &str, value: impl FnOnce() -> Value) {
    let Some(fields) = object.as_object_mut() else { return };
    let part = fields.entry(part).or_insert_with(|| json!({}));
    if let Some(part) = part.as_object_mut()
        && part.get(field).is_none_or(Value::is_null)
    {
        part.insert(field.to_owned(), value());
    }
}

/// What a pod's owner may still change of its spec.
const CHANGEABLE: [&str; 4] =
    ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates"];

/// What the schema cannot say.
pub(super) fn check(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    if resource.is_custom {
        return Vec::new();
    }
    match (resource.kind.as_str(), old) {
        ("Pod", Some(old)) => pod_update(object, old),
        ("NetworkPolicy", _) => network_policy::check(object),
        ("ConfigMap", _) => config_map(object),
        ("Event", None) => event(object),
        ("Lease", _) => {
            let seconds = object.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64);
            let wrong = seconds.filter(|seconds| *seconds <= 0).map(|seconds| {
                cause(
                    "spec.leaseDurationSeconds",
                    format!("Invalid value: {seconds}: must be greater than 0"),
                )
            });
            wrong.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn cause(field: &str, message: String) -> Cause {
    Cause { field: field.to_owned(), reason: "FieldValueInvalid", message }
}

fn pod_update(object: &Value, old: &Value) -> Vec<Cause> {
    let kept = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| !CHANGEABLE.contains(&name.as_str()));
            for list in ["containers", "initContainers"] {
                let containers = fields.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                containers
                    .filter_map(Value::as_object_mut)
                    .for_each(|container| drop(container.remove("image")));
            }
        }
        spec
    };
    if kept(object) == kept(old) {
        return Vec::new();
    }
    let message = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
                   `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                   existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                   previously negative)";
    vec![Cause { field: "spec".to_owned(), reason: "FieldValueForbidden", message: message.to_owned() }]
}

/// An event is in the namespace of what it is about; in `default` where that has none.
fn event(object: &Value) -> Vec<Cause> {
    let text =
        |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let about =
        text("/involvedObject/namespace").or_else(|| text("/regarding/namespace")).unwrap_or("default");
    let place = text("/metadata/namespace").unwrap_or("default");
    if place == about {
        return Vec::new();
    }
    let field =
        if object.get("regarding").is_some() { "regarding.namespace" } else { "involvedObject.namespace" };
    vec![cause(field, format!("Invalid value: \"{about}\": does not match event.namespace"))]
}

fn config_map(object: &Value) -> Vec<Cause> {
    let keys = ["data", "binaryData"].map(|part| (part, object.get(part).and_then(Value::as_object)));
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let mut causes = Vec::new();
    for (part, fields) in keys {
        for name in fields.into_iter().flat_map(Map::keys) {
            if name.is_empty() || !name.chars().all(is_known) {
                causes.push(cause(
                    &format!("{part}[{name}]"),
                    format!(
                        "Invalid value: {}: a valid config key must consist of alphanumeric characters, '-', '_' or \
                         '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
                         '[-._a-zA-Z0-9]+')",
                        Value::from(name.as_str())
                    ),
                ));
            }
        }
    }
    causes
}
