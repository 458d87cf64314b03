//! How the lists of a kind are merged. Custom kinds say so in their schemas; of Kubernetes' own the few that matter are
//! here, from the `patchStrategy` and `listType` marks of its types.

use serde_json::Value;

use crate::patch::{Lists, StrategicKey, metadata_list};
use crate::schema::Schema;

/// Lists of built-in kinds that are maps, by the end of their paths.
const MAPS: [(&[&str], &[&str]); 15] = [
    (&["conditions"], &["type"]),
    (&["containers"], &["name"]),
    (&["initContainers"], &["name"]),
    (&["ephemeralContainers"], &["name"]),
    (&["containers", "ports"], &["containerPort", "protocol"]),
    (&["initContainers", "ports"], &["containerPort", "protocol"]),
    (&["env"], &["name"]),
    (&["volumeMounts"], &["mountPath"]),
    (&["volumes"], &["name"]),
    (&["imagePullSecrets"], &["name"]),
    (&["hostAliases"], &["ip"]),
    (&["addresses"], &["type"]),
    (&["spec", "ports"], &["port", "protocol"]),
    (&["podIPs"], &["ip"]),
    (&["subjects"], &[]),
];

/// Lists of built-in kinds that are sets.
const SETS: [&[&str]; 2] = [&["metadata", "finalizers"], &["spec", "podCIDRs"]];

/// Maps of built-in kinds that are one value.
const ATOMIC_MAPS: [&[&str]; 3] = [&["selector"], &["podSelector"], &["namespaceSelector"]];

/// The field by which strategic merge patches tell the items of a list apart.
const STRATEGIC: [(&[&str], &str); 14] = [
    (&["conditions"], "type"),
    (&["containers"], "name"),
    (&["initContainers"], "name"),
    (&["ephemeralContainers"], "name"),
    (&["containers", "ports"], "containerPort"),
    (&["initContainers", "ports"], "containerPort"),
    (&["env"], "name"),
    (&["volumeMounts"], "mountPath"),
    (&["volumes"], "name"),
    (&["imagePullSecrets"], "name"),
    (&["hostAliases"], "ip"),
    (&["addresses"], "type"),
    (&["spec", "ports"], "port"),
    (&["podIPs"], "ip"),
];

fn ends(path: &[&str], end: &[&str]) -> bool {
    path.ends_with(end)
}

pub(super) fn list(schema: &Schema, is_custom: bool, path: &[&str]) -> Lists {
    if let Some(lists) = metadata_list(path) {
        return lists;
    }
    if is_custom {
        let Some(part) = schema.at(path) else { return Lists::Atomic };
        return match part.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Lists::Set,
            Some("map") => {
                let keys = part.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
                Lists::Map(keys.collect())
            }
            _ => Lists::Atomic,
        };
    }
    if SETS.iter().any(|end| ends(path, end)) {
        return Lists::Set;
    }
    let keys = MAPS.iter().filter(|(end, keys)| ends(path, end) && !keys.is_empty());
    // The longer end knows better.
    let keys = keys.max_by_key(|(end, _)| end.len()).map(|(_, keys)| *keys);
    keys.map_or(Lists::Atomic, |keys| Lists::Map(keys.iter().map(|&key| key.to_owned()).collect()))
}

pub(super) fn is_atomic_map(schema: &Schema, is_custom: bool, path: &[&str]) -> bool {
    if is_custom {
        let part = schema.at(path);
        return part.and_then(|part| part.get("x-kubernetes-map-type")).and_then(Value::as_str)
            == Some("atomic");
    }
    ATOMIC_MAPS.iter().any(|end| ends(path, end))
}

pub(super) fn strategic_key(path: &[&str]) -> Option<StrategicKey> {
    if ends(path, &["metadata", "finalizers"]) {
        return Some(StrategicKey::Set);
    }
    if ends(path, &["metadata", "ownerReferences"]) {
        return Some(StrategicKey::Field("uid".to_owned()));
    }
    let key = STRATEGIC.iter().filter(|(end, _)| ends(path, end)).max_by_key(|(end, _)| end.len());
    key.map(|(_, key)| StrategicKey::Field((*key).to_owned()))
}
