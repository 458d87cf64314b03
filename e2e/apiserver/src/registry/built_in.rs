//! Kubernetes' own kinds: those that the manifests of our users hold, and those that clients ask for unasked. Their
//! schemas come from Kubernetes' OpenAPI.

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
use serde_json::{Map, Value};

use super::{Resource, Verbs};
use crate::schema::{Definitions, Schema};

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
