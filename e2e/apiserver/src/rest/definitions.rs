//! What happens when a CustomResourceDefinition comes or changes; what follows when it goes is with deletion.

use serde_json::{Value, json};
use tracing::warn;

use crate::core::Core;
use crate::meta;
use crate::store::{Key, StoreError, Write};

const STORAGE: &str = "customresourcedefinitions.apiextensions.k8s.io";

fn key(name: &str) -> Key {
    (String::new(), name.to_owned())
}

/// Serves the kinds of a definition, and says in its status that it does.
///
/// `old` is the definition as it was before. If it said something else, the kinds' watches end: clients have to come
/// back and are served by the new one.
pub(super) fn installed(core: &Core, name: &str, definition: &Value, old: Option<&Value>) {
    if meta::is_deleting(definition) {
        return;
    }
    if old.is_none_or(|old| old.get("spec") != definition.get("spec")) {
        if let Err(causes) = core.registry.install(definition) {
            // Admission has compiled the schema before.
            warn!(definition = name, ?causes, "a definition that was admitted cannot be served");
            return;
        }
        core.store.revive_kind(name);
    }
    while let Some(live) = core.store.get(STORAGE, &key(name)) {
        let status = status(&live.value);
        if live.value.get("status") == Some(&status) {
            return;
        }
        let mut value = live.value.clone();
        value["status"] = status;
        if !matches!(
            core.store.write(STORAGE, &key(name), Write::Replace(value, live.revision)),
            Err(StoreError::Changed)
        ) {
            return;
        }
    }
}

fn status(definition: &Value) -> Value {
    let names = definition.pointer("/spec/names").cloned().unwrap_or_default();
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let stored: Vec<&Value> = versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
        .filter_map(|version| version.get("name"))
        .collect();
    let since = definition
        .pointer("/status/conditions/0/lastTransitionTime")
        .cloned()
        .unwrap_or_else(|| json!(meta::now()));
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since});
    json!({
        "acceptedNames": names,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored,
    })
}
