//! Delete of one object and of many.
//!
//! There is no kubelet here, so pods go at once, whatever their grace period; there is no garbage collector either, so
//! dependents stay.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::error::ApiError;
use super::form::present;
use super::namespaces;
use super::read::{Selection, show};
use crate::core::Core;
use crate::meta;
use crate::registry::Resource;
use crate::store::{Key, Object, Range, StoreError, Write};

/// What the body of a delete says.
#[derive(Debug, Default)]
struct Options {
    uid: Option<String>,
    revision: Option<String>,
    is_dry_run: bool,
}

impl Options {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let body = if call.body.is_empty() { json!({}) } else { call.decoded()? };
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let is_dry_run = body.get("dryRun").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
        Ok(Self {
            uid: text("/preconditions/uid"),
            revision: text("/preconditions/resourceVersion"),
            is_dry_run: is_dry_run || call.params.is_dry_run()?,
        })
    }
}

/// What became of an object that was to be deleted.
enum Deleted {
    /// It is gone.
    Gone(Arc<Object>),
    /// It waits for its finalizers.
    Marked(Value),
}

/// DELETE of one.
pub(super) fn delete(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let options = Options::of(call)?;
    Ok(match delete_key(core, call, &call.key(call.name()), &options)? {
        Deleted::Marked(value) => show(call, 200, &value),
        Deleted::Gone(object) => Answer::json(200, &gone(call, &object.value)),
    })
}

fn gone(call: &Call, object: &Value) -> Value {
    let resource = &call.resource;
    let mut details = json!({"name": call.name(), "kind": resource.plural, "uid": meta::text(object, "uid")});
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn delete_key(core: &Core, call: &Call, key: &Key, options: &Options) -> Result<Deleted, ApiError> {
    loop {
        let live = core.store.get(&call.resource.storage, key);
        let live = live.ok_or_else(|| ApiError::not_found(&call.what_of(&key.1)))?;
        for (what, wanted, is) in [
            ("UID", &options.uid, meta::text(&live.value, "uid")),
            ("ResourceVersion", &options.revision, meta::text(&live.value, "resourceVersion")),
        ] {
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != is) {
                let because = format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {is}"
                );
                return Err(ApiError::conflict(&call.what_of(&key.1), &because));
            }
        }
        if options.is_dry_run {
            return Ok(Deleted::Gone(live));
        }
        match delete_object(core, &call.resource, &live) {
            Err(StoreError::Changed) => {}
            Err(_) => return Err(ApiError::not_found(&call.what_of(&key.1))),
            Ok(deleted) => return Ok(deleted),
        }
    }
}

/// Deletes an object as it is, or marks it if something has to be done first.
fn delete_object(core: &Core, resource: &Resource, live: &Arc<Object>) -> Result<Deleted, StoreError> {
    let is_namespace = namespaces::is_namespace(resource);
    let waits = is_namespace || !meta::texts(&live.value, "finalizers").is_empty();
    if !waits {
        if resource.is_definition() {
            remove_objects(core, &live.key.1);
        }
        let object = core.store.write(
            &resource.storage,
            &live.key,
            Write::Delete(live.value.clone(), live.revision),
        )?;
        after_delete(core, resource, &live.key);
        return Ok(Deleted::Gone(object));
    }
    let mut marked = live.clone();
    if !meta::is_deleting(&live.value) {
        let mut value = live.value.clone();
        meta::set(&mut value, "deletionTimestamp", json!(meta::now()));
        meta::set(&mut value, "deletionGracePeriodSeconds", json!(0));
        meta::next_generation(&mut value);
        if is_namespace {
            value["status"] = json!({"phase": "Terminating"});
        }
        marked = core.store.write(&resource.storage, &live.key, Write::Replace(value, live.revision))?;
    }
    if is_namespace {
        empty(core, &live.key.1);
        namespaces::finish(core, &live.key.1);
    }
    Ok(Deleted::Marked(present(resource, &marked.value).into_owned()))
}

/// What follows when an object has gone.
pub(super) fn after_delete(core: &Core, resource: &Resource, gone: &Key) {
    if resource.is_definition() {
        definition_gone(core, &gone.1);
    } else if !gone.0.is_empty() {
        namespaces::finish(core, &gone.0);
    }
}

/// Deletes what is in a namespace; what has finalizers is marked.
fn empty(core: &Core, namespace: &str) {
    for resource in namespaces::contents(core) {
        let range = Range { namespace: Some(namespace), ..Range::default() };
        let Ok(page) = core.store.list(&resource.storage, range) else { continue };
        for object in page.objects {
            delete_surely(core, &resource, &object.key);
        }
    }
}

/// Deletes an object however often others change it meanwhile.
fn delete_surely(core: &Core, resource: &Resource, key: &Key) {
    while let Some(live) = core.store.get(&resource.storage, key) {
        if !matches!(delete_object(core, resource, &live), Err(StoreError::Changed)) {
            return;
        }
    }
}

/// Deletes all objects of a definition's kind.
fn remove_objects(core: &Core, name: &str) {
    let Some(resource) = core.registry.resources().into_iter().find(|resource| resource.storage == name)
    else {
        return;
    };
    let Ok(page) = core.store.list(name, Range::default()) else { return };
    for object in page.objects {
        delete_surely(core, &resource, &object.key);
    }
}

/// The kind is no longer served; its watches end.
fn definition_gone(core: &Core, name: &str) {
    // What is still there or came in between: a later definition of the same name starts empty.
    remove_objects(core, name);
    core.registry.remove(name);
    if let Ok(page) = core.store.list(name, Range::default()) {
        for object in page.objects {
            let _ = core.store.write(name, &object.key, Write::Delete(object.value.clone(), object.revision));
        }
    }
    core.store.drop_kind(name);
}

/// DELETE of many.
pub(super) fn delete_collection(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let options = Options::of(call)?;
    let selection = Selection::of(call)?;
    let range = Range { namespace: call.path.namespace.as_deref(), ..Range::default() };
    let page = core
        .store
        .list(&call.resource.storage, range)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let mut items = Vec::new();
    for object in page.objects {
        let shown = present(&call.resource, &object.value);
        if !selection.matches(&shown) {
            continue;
        }
        match delete_key(core, call, &object.key, &options) {
            Ok(Deleted::Gone(_)) => items.push(shown.into_owned()),
            Ok(Deleted::Marked(value)) => items.push(value),
            // Another one was faster.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let revision = core.store.revision().to_string();
    Ok(Answer::json(
        200,
        &json!({
            "kind": call.resource.list_kind, "apiVersion": call.resource.api_version(),
            "metadata": {"resourceVersion": revision}, "items": items,
        }),
    ))
}
