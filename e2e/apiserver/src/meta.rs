//! The metadata that the server keeps: identity, times, generations, names. Pure; time comes as an argument.

use rand::RngExt as _;
use serde_json::{Value, json};

use crate::qualified;
use crate::registry::Resource;

/// How long a generated name's random end is, and of which letters, as in Kubernetes: no vowels, no words.
const SUFFIX: usize = 5;
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Sets a field of an object's metadata. Bodies are refused before if their metadata is no object.
pub(crate) fn set(object: &mut Value, field: &str, value: Value) {
    let Some(fields) = object.as_object_mut() else { return };
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert(field.to_owned(), value);
    }
}

/// Takes a field out of an object's metadata.
pub(crate) fn unset(object: &mut Value, field: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

/// A text in an object's metadata, empty if there is none.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The texts of a list in an object's metadata.
pub(crate) fn texts<'a>(object: &'a Value, field: &str) -> Vec<&'a str> {
    let list = object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether an object waits for its finalizers.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// A time as Kubernetes writes it, in whole seconds.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A new uid (a version 4 UUID).
pub(crate) fn uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// A name that begins with a prefix.
pub(crate) fn generated_name(prefix: &str) -> String {
    let mut random = rand::rng();
    let mut name: String = prefix.chars().take(58).collect();
    name.extend((0..SUFFIX).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])));
    name
}

/// What is wrong with a name of a kind, in Kubernetes' words.
pub(crate) fn wrong_name(resource: &Resource, name: &str) -> Option<String> {
    if resource.group == "rbac.authorization.k8s.io" {
        let is_wrong = matches!(name, "." | "..") || name.contains(['/', '%']);
        return is_wrong.then(|| "may not be '.' or '..' and may not contain '/' or '%'".to_owned());
    }
    if matches!(resource.plural.as_str(), "namespaces" | "services") && resource.group.is_empty() {
        let is_wrong = name.len() > 63 || !qualified::is_label(name);
        return is_wrong.then(|| {
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
             and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .to_owned()
        });
    }
    qualified::subdomain(name).into_iter().next()
}

/// Whether a kind's objects count their generations.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    resource.is_custom
        || matches!(
            resource.plural.as_str(),
            "networkpolicies"
                | "deployments"
                | "daemonsets"
                | "replicasets"
                | "statefulsets"
                | "poddisruptionbudgets"
                | "customresourcedefinitions"
                | "endpointslices"
                | "priorityclasses"
        )
}

/// Begins an object's life. What the client said of these fields does not count.
pub(crate) fn begin(resource: &Resource, object: &mut Value, now: &str) {
    for field in
        ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"]
    {
        unset(object, field);
    }
    set(object, "uid", json!(uid()));
    set(object, "creationTimestamp", json!(now));
    if has_generation(resource) {
        set(object, "generation", json!(1));
    }
}

/// Goes on with an object's life: what clients cannot change is as it was.
pub(crate) fn go_on(object: &mut Value, old: &Value) {
    unset(object, "selfLink");
    let kept = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
    ];
    for field in kept {
        match old.get("metadata").and_then(|metadata| metadata.get(field)) {
            Some(value) => set(object, field, value.clone()),
            None => unset(object, field),
        }
    }
}

/// Counts a generation if more than metadata and status differ.
pub(crate) fn count_generation(resource: &Resource, object: &mut Value, old: &Value) {
    if !has_generation(resource) {
        return;
    }
    let is_counted = |name: &str| {
        let is_status = resource.has_status && name == "status";
        !(is_status || matches!(name, "metadata" | "apiVersion" | "kind"))
    };
    let parts = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(name, _)| is_counted(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Vec<_>>()
    };
    if parts(object) != parts(old) {
        next_generation(object);
    }
}

/// One more, for a kind that counts.
pub(crate) fn next_generation(object: &mut Value) {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_u64);
    if let Some(generation) = generation {
        set(object, "generation", json!(generation + 1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::Registry;

    fn resource(group: &str, plural: &str) -> Arc<Resource> {
        Registry::default().find(group, "v1", plural).expect("built in")
    }

    #[test]
    fn a_life_begins_with_what_the_server_says() {
        let mut object = json!({"metadata": {"name": "x", "resourceVersion": "7", "uid": "mine", "generation": 9,
                                             "deletionTimestamp": "t", "selfLink": "/x"}});
        begin(&resource("networking.k8s.io", "networkpolicies"), &mut object, "now");
        let uid = text(&object, "uid").to_owned();
        assert_eq!(uid.len(), 36);
        let expected =
            json!({"metadata": {"name": "x", "uid": uid, "creationTimestamp": "now", "generation": 1}});
        assert_eq!(object, expected);
    }

    #[test]
    fn generations_count_what_is_neither_metadata_nor_status() {
        let resource = resource("apps", "deployments");
        let old = json!({"metadata": {"generation": 3}, "spec": {"a": 1}, "status": {"b": 1}});
        let generation = |mut object: Value| {
            count_generation(&resource, &mut object, &old);
            object["metadata"]["generation"].as_u64()
        };
        let same = json!({"metadata": {"generation": 3, "labels": {}}, "spec": {"a": 1}, "status": {"b": 2}});
        assert_eq!(generation(same), Some(3));
        assert_eq!(generation(json!({"metadata": {"generation": 3}, "spec": {"a": 2}})), Some(4));
    }

    #[test]
    fn names_follow_the_rules_of_their_kinds() {
        let is_wrong =
            |group: &str, plural: &str, name: &str| wrong_name(&resource(group, plural), name).is_some();
        assert!(!is_wrong("", "pods", "a-1.b") && is_wrong("", "pods", "A") && is_wrong("", "pods", "a..b"));
        assert!(is_wrong("", "namespaces", "a.b") && is_wrong("", "pods", "-a") && is_wrong("", "pods", ""));
        assert!(!is_wrong("rbac.authorization.k8s.io", "clusterroles", "system:Node"));
        let name = generated_name("p-");
        assert!(name.starts_with("p-") && name.len() == 7 && !is_wrong("", "pods", &name));
    }
}
