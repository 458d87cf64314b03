//! What namespaces mean for what is in them: nothing is created where there is none or where it is going, and a
//! namespace goes when it is empty.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::error::{ApiError, What};
use crate::core::Core;
use crate::meta;
use crate::registry::{Resource, Verbs};
use crate::store::{Key, StoreError, Write};

const STORAGE: &str = "namespaces";

/// Whether a kind is that of namespaces.
pub(super) fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}

fn key(name: &str) -> Key {
    (String::new(), name.to_owned())
}

/// Refuses what is to be created in a namespace that is not there or is going.
pub(super) fn check_open(core: &Core, call: &Call, name: &str) -> Result<(), ApiError> {
    let Some(namespace) = &call.path.namespace else { return Ok(()) };
    let Some(object) = core.store.get(STORAGE, &key(namespace)) else {
        let what = What { group: String::new(), resource: STORAGE.to_owned(), name: namespace.clone() };
        return Err(ApiError::not_found(&what));
    };
    if !meta::is_deleting(&object.value) {
        return Ok(());
    }
    let because =
        format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut error = ApiError::forbidden(&call.what_of(name), &because);
    error.details["causes"] = json!([{
        "reason": "NamespaceTerminating", "field": "metadata.namespace",
        "message": format!("namespace {namespace} is being terminated"),
    }]);
    Err(error)
}

/// The kinds that namespaces hold, each store once.
pub(super) fn contents(core: &Core) -> Vec<Arc<Resource>> {
    let mut kinds: Vec<Arc<Resource>> = core
        .registry
        .resources()
        .into_iter()
        .filter(|resource| resource.namespaced && resource.verbs == Verbs::All)
        .collect();
    kinds.sort_by(|a, b| a.storage.cmp(&b.storage));
    kinds.dedup_by(|a, b| a.storage == b.storage);
    kinds
}

/// Removes a namespace that is to go, if nothing holds it any more.
pub(super) fn finish(core: &Core, name: &str) {
    let key = key(name);
    while let Some(live) = core.store.get(STORAGE, &key) {
        let is_held = !meta::is_deleting(&live.value)
            || !meta::texts(&live.value, "finalizers").is_empty()
            || contents(core).iter().any(|resource| core.store.has_any(&resource.storage, name));
        if is_held {
            return;
        }
        let mut last: Value = live.value.clone();
        last["spec"] = json!({});
        match core.store.write(STORAGE, &key, Write::Delete(last, live.revision)) {
            Err(StoreError::Changed) => {}
            _ => return,
        }
    }
}

/// The namespaces that every cluster has.
pub(crate) fn begin(core: &Core) {
    let Some(resource) = core.registry.find("", "v1", STORAGE) else { return };
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        meta::begin(&resource, &mut object, &meta::now());
        if resource.admit(&mut object, None, crate::schema::FieldValidation::Ignore).is_ok() {
            // The store is empty: nothing is in the way.
            let _ = core.store.write(STORAGE, &key(name), Write::Create(object));
        }
    }
}
