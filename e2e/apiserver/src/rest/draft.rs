//! An object on its way into the store: what every write has in common, whatever brought it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::delete::after_delete;
use super::error::ApiError;
use super::form::present;
use super::{definitions, namespaces};
use crate::core::Core;
use crate::meta;
use crate::patch::apply::{Applier, Conflict, Conflicts, apply};
use crate::patch::{Manager, update};
use crate::schema::{Cause, Refusal};
use crate::store::{Object, StoreError, Write};

/// What is to become of the ownership of fields.
#[derive(Clone, Copy)]
pub(super) enum How<'a> {
    Plain(&'a Manager),
    Apply(&'a Manager),
}

pub(super) struct Saved {
    pub(super) value: Value,
    pub(super) warnings: Vec<String>,
}

/// An object on its way into the store.
pub(super) struct Draft<'a> {
    pub(super) core: &'a Core,
    pub(super) call: &'a Call,
    pub(super) name: String,
    pub(super) live: Option<Arc<Object>>,
}

impl Draft<'_> {
    /// Checks it, completes it, and writes it if that changes anything.
    pub(super) fn save(&self, mut object: Value, how: How<'_>) -> Result<Saved, ApiError> {
        let (core, call, resource) = (self.core, self.call, &self.call.resource);
        let key = call.key(&self.name);
        let live = self.live.as_ref().map(|live| present(resource, &live.value));
        let live = live.as_deref();
        let now = meta::now();
        if live.is_none() {
            if let Some(wrong) = meta::wrong_name(resource, &self.name) {
                let message = format!("Invalid value: \"{}\": {wrong}", self.name);
                let cause = Cause { field: "metadata.name".to_owned(), reason: "FieldValueInvalid", message };
                return Err(refused(call, &self.name, &Refusal::Invalid(vec![cause])));
            }
            namespaces::check_open(core, call, &self.name)?;
        }
        self.check_identity(&object, live, matches!(how, How::Apply(_)))?;
        self.keep_other_part(&mut object, live, matches!(how, How::Apply(_)));
        if let How::Apply(manager) = how {
            let force = call.params.is_set("force");
            let applier = Applier { manager, force, now: &now };
            object =
                apply(&**resource, live, &object, applier).map_err(|conflicts| conflicting(&conflicts))?;
            self.keep_other_part(&mut object, live, false);
        }
        match live {
            None => meta::begin(resource, &mut object, &now),
            Some(live) => meta::go_on(&mut object, live),
        }
        let strictness = call.params.field_validation()?;
        let warnings = resource
            .admit(&mut object, live, strictness)
            .map_err(|refusal| refused(call, &self.name, &refusal))?;
        if let Some(live) = live {
            self.check_finalizers(&object, live)?;
            meta::count_generation(resource, &mut object, live);
        }
        if let How::Plain(manager) = how {
            update(&**resource, live, &mut object, manager, &now);
        }
        if Some(&object) == live {
            return Ok(Saved { value: object, warnings });
        }
        if call.params.is_dry_run()? {
            return Ok(Saved { value: object, warnings });
        }
        let is_last_finalizer = meta::is_deleting(&object) && meta::texts(&object, "finalizers").is_empty();
        let write = match &self.live {
            None => Write::Create(object),
            Some(live) if is_last_finalizer && !namespaces::is_namespace(resource) => {
                Write::Delete(object, live.revision)
            }
            Some(live) => Write::Replace(object, live.revision),
        };
        let is_delete = matches!(write, Write::Delete(..));
        let saved = core.store.write(&resource.storage, &key, write).map_err(|error| match error {
            StoreError::Exists => ApiError::already_exists(&call.what_of(&self.name)),
            StoreError::Missing => ApiError::not_found(&call.what_of(&self.name)),
            // Without details: the caller tries again.
            _ => ApiError::new(409, "Conflict", "the object has been modified"),
        })?;
        if is_delete {
            after_delete(core, resource, &key);
        } else if namespaces::is_namespace(resource) {
            namespaces::finish(core, &self.name);
        } else if resource.is_definition() {
            definitions::installed(core, &self.name, &saved.value, live);
        }
        // A definition's answer comes before its conditions, as kube-apiserver's does.
        Ok(Saved { value: saved.value.clone(), warnings })
    }

    fn check_identity(&self, object: &Value, live: Option<&Value>, is_config: bool) -> Result<(), ApiError> {
        let Some(live) = live else { return Ok(()) };
        let (given, uid) = (meta::text(object, "uid"), meta::text(live, "uid"));
        if !given.is_empty() && given != uid {
            if is_config && self.call.subresource() == "status" {
                // What is applied to a status says nothing of the rest.
                return Ok(());
            }
            if is_config {
                let message = format!("Invalid value: \"{given}\": field is immutable");
                let cause = Cause { field: "metadata.uid".to_owned(), reason: "FieldValueInvalid", message };
                return Err(refused(self.call, &self.name, &Refusal::Invalid(vec![cause])));
            }
            let because =
                format!("Precondition failed: UID in precondition: {given}, UID in object meta: {uid}");
            return Err(ApiError::conflict(&self.call.what_of(&self.name), &because));
        }
        Ok(())
    }

    /// The object's own path does not write its status, and the status' path nothing else.
    fn keep_other_part(&self, object: &mut Value, live: Option<&Value>, is_config: bool) {
        let resource = &self.call.resource;
        let Some(fields) = object.as_object_mut() else { return };
        if self.call.subresource() == "status" {
            let status = fields.remove("status");
            let managed = object.pointer("/metadata/managedFields").cloned();
            if is_config {
                let kept = |field: &str| object.pointer(&format!("/metadata/{field}")).cloned();
                let mut rest = json!({"metadata": {}});
                for field in ["name", "namespace", "uid", "resourceVersion"] {
                    if let Some(value) = kept(field) {
                        meta::set(&mut rest, field, value);
                    }
                }
                for field in ["apiVersion", "kind"] {
                    rest[field] = object.get(field).cloned().unwrap_or_default();
                }
                *object = rest;
            } else if let Some(live) = live {
                *object = live.clone();
                match managed {
                    Some(managed) => meta::set(object, "managedFields", managed),
                    None => meta::unset(object, "managedFields"),
                }
            }
            if let Some(fields) = object.as_object_mut() {
                match status {
                    Some(status) => fields.insert("status".to_owned(), status),
                    None => fields.remove("status"),
                };
            }
        } else if resource.has_status {
            let is_kept_new = resource.plural == "nodes" && live.is_none();
            if is_kept_new {
                return;
            }
            match live.and_then(|live| live.get("status")).filter(|_| !is_config) {
                Some(status) => fields.insert("status".to_owned(), status.clone()),
                None => fields.remove("status"),
            };
        }
    }

    fn check_finalizers(&self, object: &Value, live: &Value) -> Result<(), ApiError> {
        if !meta::is_deleting(live) {
            return Ok(());
        }
        let old = meta::texts(live, "finalizers");
        let new: Vec<_> =
            meta::texts(object, "finalizers").into_iter().filter(|new| !old.contains(new)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let listed: Vec<_> = new.iter().map(|name| format!("\"{name}\"")).collect();
        let message = format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            listed.join(", ")
        );
        let cause = Cause { field: "metadata.finalizers".to_owned(), reason: "FieldValueForbidden", message };
        Err(refused(self.call, &self.name, &Refusal::Invalid(vec![cause])))
    }
}

fn conflicting(conflicts: &Conflicts) -> ApiError {
    let mut error = ApiError::new(409, "Conflict", conflicts.to_string());
    let cause = |conflict: &Conflict| {
        json!({"reason": "FieldManagerConflict", "field": conflict.field,
               "message": format!("conflict with {}", conflict.manager)})
    };
    error.details = json!({"causes": conflicts.0.iter().map(cause).collect::<Vec<_>>()});
    error
}

/// A refusal of admission as a `Status`.
pub(super) fn refused(call: &Call, name: &str, refusal: &Refusal) -> ApiError {
    let resource = &call.resource;
    match refusal {
        // Of a patch, kube-apiserver does not say what it patches.
        Refusal::Strict(_) if call.kind.verb == "patch" => {
            let message = format!("Invalid value: {:?}: {refusal}", String::from_utf8_lossy(&call.body));
            let cause = json!({"reason": "FieldValueInvalid", "message": message, "field": "patch"});
            ApiError::invalid("", "", "", &format!("patch: {message}"), &[cause])
        }
        Refusal::Strict(_) => {
            let message = format!(
                "{} in version \"{}\" cannot be handled as a {}: {refusal}",
                resource.kind, resource.version, resource.kind
            );
            ApiError::bad_request(message)
        }
        Refusal::Invalid(causes) => {
            let shown = |cause: &Cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field});
            ApiError::invalid(
                &resource.kind,
                &resource.group,
                name,
                &refusal.to_string(),
                &causes.iter().map(shown).collect::<Vec<_>>(),
            )
        }
    }
}
