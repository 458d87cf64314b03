//! Objects and the definition of a kind, made and taken away by a client of no account.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use palisade_compiler::model::{Kind, ObjectRef};
use serde_json::{Value, json};

use crate::source::LIMIT;

pub const GROUP: &str = "policy.networking.k8s.io";
pub const ANP: Kind = Kind::AdminNetworkPolicy;

pub fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn reference(kind: Kind, name: &str) -> ObjectRef {
    let namespace = kind.is_namespaced().then(|| "default".to_owned());
    ObjectRef { kind, namespace, name: name.to_owned() }
}

pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let (group, version) = (group.to_owned(), version.to_owned());
    ApiResource { group, version, api_version, kind: kind.to_owned(), plural: plural.to_owned() }
}

pub fn api(client: &Client, kind: Kind) -> Api<DynamicObject> {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let plural = match kind {
        Kind::NetworkPolicy => "networkpolicies".to_owned(),
        kind => format!("{}s", kind.name().to_lowercase()).replace("policys", "policies"),
    };
    let resource = resource(group, version, kind.name(), &plural);
    if kind.is_namespaced() {
        Api::namespaced_with(client.clone(), "default", &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    }
}

pub async fn create(client: &Client, kind: Kind, object: &Value) -> DynamicObject {
    let mut object = object.clone();
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.name().into();
    let object = serde_json::from_value(object).unwrap();
    api(client, kind).create(&PostParams::default(), &object).await.unwrap()
}

pub async fn patch(client: &Client, kind: Kind, name: &str, change: &Value) -> DynamicObject {
    api(client, kind).patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap()
}

pub async fn delete(client: &Client, kind: Kind, name: &str) {
    let _ = api(client, kind).delete(name, &DeleteParams::default()).await.unwrap();
}

pub fn definitions(client: &Client) -> Api<DynamicObject> {
    let kind = "CustomResourceDefinition";
    Api::all_with(client.clone(), &resource("apiextensions.k8s.io", "v1", kind, "customresourcedefinitions"))
}

pub const DEFINITION: &str = "adminnetworkpolicies.policy.networking.k8s.io";

/// A definition of `AdminNetworkPolicy` that lets everything pass, as a newer one might.
pub fn definition(served: &[&str]) -> Value {
    let version = |name: &str, is_served: bool, is_stored: bool| {
        json!({
            "name": name, "served": is_served, "storage": is_stored, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": DEFINITION,
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": "AdminNetworkPolicy", "listKind": "AdminNetworkPolicyList", "plural": "adminnetworkpolicies",
                "singular": "adminnetworkpolicy", "shortNames": ["anp"],
            },
            "versions": [
                version("v1alpha1", served.contains(&"v1alpha1"), true),
                version("v1beta1", served.contains(&"v1beta1"), false),
            ],
        },
    })
}

/// Installs the definition and waits until the kind is served.
pub async fn install(client: &Client) {
    let object = serde_json::from_value(definition(&["v1alpha1"])).unwrap();
    definitions(client).create(&PostParams::default(), &object).await.unwrap();
    served(client).await;
}

pub async fn served(client: &Client) {
    let start = Instant::now();
    while let Err(error) = api(client, ANP).list(&ListParams::default()).await {
        assert!(start.elapsed() < LIMIT, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Deletes the definition and waits until it is gone.
pub async fn uninstall(client: &Client) {
    let _ = definitions(client).delete(DEFINITION, &DeleteParams::default()).await.unwrap();
    let start = Instant::now();
    while definitions(client).get_opt(DEFINITION).await.unwrap().is_some() {
        assert!(start.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn policy(name: &str, priority: u32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "priority": priority, "subject": {"namespaces": {}},
            "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}],
        },
    })
}

pub fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}
