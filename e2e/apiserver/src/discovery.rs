//! What clients learn of the server before they ask for anything: groups, versions and kinds, in the two forms that
//! Kubernetes has for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::registry::{Registry, Resource, Verbs};
use crate::version::rank;

/// A version with its kinds.
type Version = (String, Vec<Arc<Resource>>);

/// Kubernetes' own groups, in the order in which it prefers them; all others come behind, by name. It decides where
/// people's names for kinds fit several.
const ORDER: [&str; 12] = [
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
];

/// Groups in that order with their versions, preferred first.
fn groups(registry: &Registry) -> Vec<(String, Vec<Version>)> {
    let mut groups: BTreeMap<String, BTreeMap<String, Vec<Arc<Resource>>>> = BTreeMap::new();
    for resource in registry.resources() {
        let versions = groups.entry(resource.group.clone()).or_default();
        versions.entry(resource.version.clone()).or_default().push(resource);
    }
    let ordered = |versions: BTreeMap<String, Vec<Arc<Resource>>>| {
        let mut versions: Vec<_> = versions.into_iter().collect();
        versions.sort_by_key(|(version, _)| rank(version));
        versions
    };
    let mut groups: Vec<_> = groups.into_iter().map(|(group, versions)| (group, ordered(versions))).collect();
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    groups.sort_by_key(|(name, _)| place(name));
    groups
}

/// `/api`.
pub fn api_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

fn group(name: &str, versions: &[Version]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

/// `/apis`.
pub fn api_groups(registry: &Registry) -> Value {
    let groups: Vec<Value> = groups(registry)
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| group(name, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`; `None`: there is none.
pub fn api_group(registry: &Registry, name: &str) -> Option<Value> {
    let all = groups(registry);
    let (_, versions) = all.iter().find(|(group, _)| group.as_str() == name && !name.is_empty())?;
    let mut found = group(name, versions);
    found["kind"] = json!("APIGroup");
    found["apiVersion"] = json!("v1");
    Some(found)
}

/// What may be done with a kind, in Kubernetes' words.
fn verbs(resource: &Resource) -> Vec<&'static str> {
    match resource.verbs {
        // They are emptied one by one.
        Verbs::All if resource.storage == "namespaces" => {
            vec!["create", "delete", "get", "list", "patch", "update", "watch"]
        }
        // In another order for no reason that matters, but people see it.
        Verbs::All if resource.is_custom => {
            vec!["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
        }
        Verbs::All => vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        Verbs::Create => vec!["create"],
    }
}

/// The paths below a kind's objects: name, verbs, and the kind that is read and written there.
fn subresources(resource: &Resource) -> Vec<(&'static str, &'static [&'static str], Value)> {
    let own = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let mut all: Vec<(&str, &[&str], Value)> = Vec::new();
    if resource.has_status {
        all.push(("status", &["get", "patch", "update"], own.clone()));
    }
    match resource.storage.as_str() {
        "namespaces" => all.insert(0, ("finalize", &["update"], own)),
        "serviceaccounts" => {
            let kind = json!({"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"});
            all.push(("token", &["create"], kind));
        }
        _ => {}
    }
    all
}

/// `/api/v1` and `/apis/<group>/<version>`; `None`: there is no such version.
pub fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let all = groups(registry);
    let (_, versions) = all.iter().find(|(name, _)| name.as_str() == group)?;
    let (_, resources) = versions.iter().find(|(name, _)| name == version)?;
    let mut entries = Vec::new();
    for resource in resources {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs(resource),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        entries.push(entry);
        for (name, verbs, mut kind) in subresources(resource) {
            if kind["group"] == resource.group.as_str()
                && let Some(fields) = kind.as_object_mut()
            {
                // Its group and version go without saying.
                fields.retain(|field, _| field == "kind");
            }
            kind["name"] = json!(format!("{}/{name}", resource.plural));
            kind["singularName"] = json!("");
            kind["namespaced"] = json!(resource.namespaced);
            kind["verbs"] = json!(verbs);
            entries.push(kind);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}),
    )
}

/// The versions of the aggregated form, newest first, each with its media type.
pub const AGGREGATED: [(&str, &str); 2] = [
    ("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    ("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
];

/// `/api` or `/apis` in one answer, in a version of that form.
pub fn aggregated(registry: &Registry, is_core: bool, version: &str) -> Value {
    let items: Vec<Value> = groups(registry)
        .iter()
        .filter(|(name, _)| name.is_empty() == is_core)
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions.iter().map(aggregated_version).collect();
            let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_version((version, resources): &Version) -> Value {
    let entries: Vec<Value> = resources
        .iter()
        .map(|resource| {
            let mut entry = json!({
                "resource": resource.plural,
                "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
                "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": resource.singular,
                "verbs": verbs(resource),
            });
            if !resource.short_names.is_empty() {
                entry["shortNames"] = json!(resource.short_names);
            }
            if !resource.categories.is_empty() {
                entry["categories"] = json!(resource.categories);
            }
            let below: Vec<Value> = subresources(resource)
                .into_iter()
                .map(|(name, verbs, kind)| json!({"subresource": name, "responseKind": kind, "verbs": verbs}))
                .collect();
            if !below.is_empty() {
                entry["subresources"] = json!(below);
            }
            entry
        })
        .collect();
    json!({"version": version, "freshness": "Current", "resources": entries})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_kinds() {
        let registry = Registry::default();
        let whole = aggregated(&registry, false, "v2");
        let mut named = 0;
        for group in whole["items"].as_array().unwrap() {
            for version in group["versions"].as_array().unwrap() {
                let (group, version_name) = (&group["metadata"]["name"], &version["version"]);
                let list = resource_list(&registry, group.as_str().unwrap(), version_name.as_str().unwrap())
                    .unwrap();
                let is_kind = |entry: &&Value| !entry["name"].as_str().unwrap().contains('/');
                let listed: Vec<&Value> = list["resources"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(is_kind)
                    .map(|entry| &entry["name"])
                    .collect();
                let aggregated: Vec<&Value> =
                    version["resources"].as_array().unwrap().iter().map(|entry| &entry["resource"]).collect();
                assert_eq!(listed, aggregated);
                named += listed.len();
            }
        }
        assert!(named > 15, "{named}");
        assert!(api_group(&registry, "nothing.example.com").is_none());
        assert!(resource_list(&registry, "", "v2").is_none());
    }
}
