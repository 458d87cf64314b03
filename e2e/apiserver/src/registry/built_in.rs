//! Kubernetes' own kinds: those that the manifests of our users hold, and those that clients ask for unasked. Their
//! schemas come from Kubernetes' OpenAPI; what goes without saying and what is checked beyond them is the little that
//! readers of such objects rely on.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::authentication::v1 as authentication;
use k8s_openapi::api::authorization::v1 as authorization;
use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::events::v1 as events;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::api::scheduling::v1 as scheduling;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Resource, Verbs, network_policy};
use crate::auth::encode_standard;
use crate::schema::{Cause, Definitions, Schema};

/// What tells a kind from others: names, and whether it is in namespaces, has a status, and is only created.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    status: bool,
    create: bool,
    selectable: &'static [&'static str],
    schema: Value,
}

/// The schemas of all of them and of what they are made of, by Kubernetes' names.
pub fn definitions() -> &'static Arc<Definitions> {
    &BUILT_IN.1
}

static BUILT_IN: LazyLock<(Vec<Row>, Arc<Definitions>)> = LazyLock::new(|| {
    let mut settings = SchemaSettings::openapi3();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let mut rows = Vec::new();
    macro_rules! row {
        ($type:path, $group:literal, $version:literal, $kind:literal, $plural:literal, $short:expr, $($mark:ident),*) => {{
            let schema = serde_json::to_value(generator.subschema_for::<$type>()).unwrap_or_default();
            let marks: &[&str] = &[$(stringify!($mark)),*];
            rows.push(Row {
                group: $group,
                version: $version,
                kind: $kind,
                plural: $plural,
                short: $short,
                namespaced: marks.contains(&"namespaced"),
                status: marks.contains(&"status"),
                create: marks.contains(&"create"),
                selectable: selectable($kind),
                schema,
            });
        }};
    }
    row!(core::ConfigMap, "", "v1", "ConfigMap", "configmaps", &["cm"], namespaced);
    row!(core::Endpoints, "", "v1", "Endpoints", "endpoints", &["ep"], namespaced);
    row!(core::Event, "", "v1", "Event", "events", &["ev"], namespaced);
    row!(core::Namespace, "", "v1", "Namespace", "namespaces", &["ns"], status);
    row!(core::Node, "", "v1", "Node", "nodes", &["no"], status);
    row!(core::Pod, "", "v1", "Pod", "pods", &["po"], namespaced, status);
    row!(core::Secret, "", "v1", "Secret", "secrets", &[], namespaced);
    row!(core::Service, "", "v1", "Service", "services", &["svc"], namespaced, status);
    row!(core::ServiceAccount, "", "v1", "ServiceAccount", "serviceaccounts", &["sa"], namespaced);
    row!(apps::DaemonSet, "apps", "v1", "DaemonSet", "daemonsets", &["ds"], namespaced, status);
    row!(apps::Deployment, "apps", "v1", "Deployment", "deployments", &["deploy"], namespaced, status);
    row!(apps::ReplicaSet, "apps", "v1", "ReplicaSet", "replicasets", &["rs"], namespaced, status);
    row!(apps::StatefulSet, "apps", "v1", "StatefulSet", "statefulsets", &["sts"], namespaced, status);
    row!(
        apiextensions::CustomResourceDefinition,
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        &["crd", "crds"],
        status
    );
    row!(
        authentication::TokenReview,
        "authentication.k8s.io",
        "v1",
        "TokenReview",
        "tokenreviews",
        &[],
        create
    );
    row!(
        authentication::SelfSubjectReview,
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        &[],
        create
    );
    row!(
        authorization::SubjectAccessReview,
        "authorization.k8s.io",
        "v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        &[],
        create
    );
    row!(
        authorization::SelfSubjectAccessReview,
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        &[],
        create
    );
    row!(
        authorization::SelfSubjectRulesReview,
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        &[],
        create
    );
    row!(coordination::Lease, "coordination.k8s.io", "v1", "Lease", "leases", &[], namespaced);
    row!(
        discovery::EndpointSlice,
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        &[],
        namespaced
    );
    row!(events::Event, "events.k8s.io", "v1", "Event", "events", &["ev"], namespaced);
    row!(
        networking::NetworkPolicy,
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        &["netpol"],
        namespaced
    );
    row!(
        policy::PodDisruptionBudget,
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        &["pdb"],
        namespaced,
        status
    );
    row!(rbac::ClusterRole, "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", &[],);
    row!(
        rbac::ClusterRoleBinding,
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        &[],
    );
    row!(rbac::Role, "rbac.authorization.k8s.io", "v1", "Role", "roles", &[], namespaced);
    row!(
        rbac::RoleBinding,
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
        &[],
        namespaced
    );
    row!(scheduling::PriorityClass, "scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"],);
    // Beside the kinds themselves, clients look these up by name.
    generator.subschema_for::<authentication::TokenRequest>();
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta>();
    let mut definitions: Map<String, Value> = generator.take_definitions(true);
    // Kubernetes' own schemas have it required nowhere, and kubectl looks into them before it asks.
    for definition in definitions.values_mut() {
        if let Some(required) = definition.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| name != "metadata");
        }
    }
    // Any JSON value, not only objects.
    let any = definitions.get_mut("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON");
    any.and_then(Value::as_object_mut).and_then(|any| any.remove("type"));
    (rows, Arc::new(Definitions::new(definitions)))
});

fn selectable(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        "Node" => &["spec.unschedulable"],
        "Namespace" => &["status.phase"],
        "Secret" => &["type"],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &[],
    }
}

pub(super) fn resources() -> Vec<Resource> {
    let (rows, definitions) = &*BUILT_IN;
    let all: BTreeSet<&str> =
        ["daemonsets", "deployments", "pods", "replicasets", "services", "statefulsets"].into();
    rows.iter()
        .map(|row| {
            let reference = row.schema.get("$ref").and_then(Value::as_str).unwrap_or_default();
            Resource {
                group: row.group.to_owned(),
                version: row.version.to_owned(),
                kind: row.kind.to_owned(),
                list_kind: format!("{}List", row.kind),
                plural: row.plural.to_owned(),
                singular: row.kind.to_lowercase(),
                short_names: row.short.iter().map(|&name| name.to_owned()).collect(),
                categories: match row.plural {
                    plural if all.contains(plural) => vec!["all".to_owned()],
                    "customresourcedefinitions" => vec!["api-extensions".to_owned()],
                    _ => Vec::new(),
                },
                namespaced: row.namespaced,
                has_status: row.status,
                is_custom: false,
                verbs: if row.create { Verbs::Create } else { Verbs::All },
                // The two kinds of events are one.
                storage: match row.plural {
                    "events" => "events".to_owned(),
                    plural if row.group.is_empty() => plural.to_owned(),
                    plural => format!("{plural}.{}", row.group),
                },
                columns: Vec::new(),
                schema_name: reference.rsplit('/').next().unwrap_or_default().to_owned(),
                selectable: row.selectable.iter().map(|&field| field.to_owned()).collect(),
                deprecation: None,
                schema: Schema::built_in(row.schema.clone(), definitions),
            }
        })
        .collect()
}

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
