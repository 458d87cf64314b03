//! Create, replace and patch. All come together in [`Draft`].

use serde_json::{Value, json};
use tracing::debug;

use super::answer::Answer;
use super::call::{Call, decode};
use super::draft::{Draft, How, refused};
use super::error::ApiError;
use super::form::present;
use super::read::show;
use crate::core::Core;
use crate::meta;
use crate::patch::{Operation, Shape, merge, strategic};
use crate::qualified;
use crate::schema::{Cause, Refusal};

/// How often a write that expects no revision is tried again when another one was faster.
const ATTEMPTS: usize = 100;

/// How often a generated name is drawn anew when it is taken.
const NAMES: usize = 8;

/// POST of a new object.
pub(super) fn create(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let body = call.decoded()?;
    let mut given = checked(call, body)?;
    if !meta::text(&given, "resourceVersion").is_empty() {
        return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let prefix = meta::text(&given, "generateName").to_owned();
    let is_generated = meta::text(&given, "name").is_empty();
    if is_generated && prefix.is_empty() {
        let causes = vec![Cause {
            field: "metadata.name".to_owned(),
            reason: "FieldValueRequired",
            message: "Required value: name or generateName is required".to_owned(),
        }];
        return Err(refused(call, "", &Refusal::Invalid(causes)));
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        if is_generated {
            meta::set(&mut given, "name", json!(meta::generated_name(&prefix)));
        }
        match create_named(core, call, given.clone()) {
            Err(error) if error.reason == "AlreadyExists" && is_generated && attempt < NAMES => {}
            result => return result,
        }
    }
}

fn create_named(core: &Core, call: &Call, given: Value) -> Result<Answer, ApiError> {
    let draft = Draft { core, call, name: meta::text(&given, "name").to_owned(), live: None };
    let manager = call.manager(Operation::Update);
    let saved = draft.save(given, How::Plain(&manager))?;
    Ok(show(call, 201, &saved.value).with_warnings(saved.warnings))
}

/// A body that is an object of the resource, in the right place.
fn checked(call: &Call, mut object: Value) -> Result<Value, ApiError> {
    let resource = &call.resource;
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the body of the request is no object"));
    };
    let wanted = resource.api_version();
    for (field, wanted) in [("apiVersion", wanted.as_str()), ("kind", resource.kind.as_str())] {
        match fields.get(field).and_then(Value::as_str).unwrap_or_default() {
            "" => {
                fields.insert(field.to_owned(), json!(wanted));
            }
            same if same == wanted => {}
            other => {
                let what = if field == "kind" { "kind" } else { "API version" };
                return Err(ApiError::bad_request(format!(
                    "the {what} in the data ({other}) does not match the expected {what} ({wanted})"
                )));
            }
        }
    }
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if !metadata.is_object() {
        return Err(ApiError::bad_request("metadata is no object"));
    }
    qualified::decode(&mut object).map_err(|error| {
        let (kind, version) = (&resource.kind, &resource.version);
        ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"
        ))
    })?;
    let namespace = meta::text(&object, "namespace").to_owned();
    match &call.path.namespace {
        Some(wanted) if namespace.is_empty() => meta::set(&mut object, "namespace", json!(wanted)),
        Some(wanted) if namespace != *wanted => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        None if resource.namespaced => {
            return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
        }
        None => meta::unset(&mut object, "namespace"),
        Some(_) => {}
    }
    Ok(object)
}

/// A body that is about the object that the path names.
fn checked_name(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    match meta::text(object, "name") {
        "" => meta::set(object, "name", json!(call.name())),
        name if name != call.name() => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name()
            )));
        }
        _ => {}
    }
    Ok(())
}

/// PUT.
pub(super) fn replace(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let mut given = checked(call, call.decoded()?)?;
    checked_name(call, &mut given)?;
    let needs_revision = call.resource.is_custom
        || matches!(
            call.resource.plural.as_str(),
            "leases" | "customresourcedefinitions" | "serviceaccounts" | "endpointslices"
        );
    if needs_revision && meta::text(&given, "resourceVersion").is_empty() {
        let none = if call.resource.is_custom { "0" } else { "0x0" };
        let causes = vec![Cause {
            field: "metadata.resourceVersion".to_owned(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {none}: must be specified for an update"),
        }];
        return Err(refused(call, call.name(), &Refusal::Invalid(causes)));
    }
    let manager = call.manager(Operation::Update);
    change(core, call, |_| Ok(given.clone()), How::Plain(&manager))
}

/// PATCH, of whatever kind.
pub(super) fn patch(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let media = call.content_type.split(';').next().unwrap_or_default().trim();
    if media == "application/apply-patch+yaml" {
        return apply_patch(core, call);
    }
    let patch = decode("application/json", &call.body)?;
    // kube-apiserver does not say more of it either.
    let unprocessable = |error: crate::patch::PatchError| {
        debug!(%error, "a patch that does not fit");
        let message = "the server rejected our request due to an error in our request";
        let mut status = ApiError::new(422, "Invalid", message);
        status.details = json!({});
        status
    };
    let changed = |live: &Value| -> Result<Value, ApiError> {
        let mut object = live.clone();
        match media {
            "application/merge-patch+json" => merge::merge(&mut object, &patch),
            "application/json-patch+json" => merge::operations(&mut object, &patch).map_err(unprocessable)?,
            "application/strategic-merge-patch+json" if !call.resource.is_custom => {
                let shape: &dyn Shape = &*call.resource;
                strategic::patch(shape, &mut object, &patch).map_err(unprocessable)?;
            }
            _ => {
                let mut supported =
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
                        .to_owned();
                if !call.resource.is_custom {
                    supported.push_str(", application/strategic-merge-patch+json");
                }
                return Err(ApiError::unsupported_media_type(&supported));
            }
        }
        let mut object = checked(call, object)?;
        checked_name(call, &mut object)?;
        Ok(object)
    };
    let manager = call.manager(Operation::Update);
    change(core, call, changed, How::Plain(&manager))
}

fn apply_patch(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    if call.params.get("fieldManager").is_none() {
        let cause = json!({"reason": "FieldValueRequired", "field": "fieldManager",
                           "message": "Required value: is required for apply patch"});
        let message = "fieldManager: Required value: is required for apply patch";
        return Err(ApiError::invalid("PatchOptions", "meta.k8s.io", "", message, &[cause]));
    }
    let mut config = checked(call, call.decoded()?)?;
    checked_name(call, &mut config)?;
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null() && *fields != json!([]))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let manager = call.manager(Operation::Apply);
    let key = call.key(call.name());
    for _ in 0..ATTEMPTS {
        if core.store.get(&call.resource.storage, &key).is_some() {
            match change(core, call, |_| Ok(config.clone()), How::Apply(&manager)) {
                Err(error) if error.code == 404 => continue,
                result => return result,
            }
        }
        if !call.subresource().is_empty() {
            return Err(ApiError::not_found(&call.what()));
        }
        if !meta::text(&config, "uid").is_empty() {
            return Err(ApiError::conflict(
                &call.what(),
                "uid mismatch: the provided object specified a uid, and no existing object was found",
            ));
        }
        if !meta::text(&config, "resourceVersion").is_empty() {
            return Err(ApiError::not_found(&call.what()));
        }
        let draft = Draft { core, call, name: call.name().to_owned(), live: None };
        match draft.save(config.clone(), How::Apply(&manager)) {
            Err(error) if error.reason == "AlreadyExists" => {}
            Err(error) => return Err(error),
            Ok(saved) => return Ok(show(call, 201, &saved.value).with_warnings(saved.warnings)),
        }
    }
    Err(ApiError::modified(&call.what()))
}

/// Changes what is there. What expects no revision is tried again when another writer was faster.
fn change(
    core: &Core,
    call: &Call,
    changed: impl Fn(&Value) -> Result<Value, ApiError>,
    how: How<'_>,
) -> Result<Answer, ApiError> {
    let key = call.key(call.name());
    for _ in 0..ATTEMPTS {
        let live = core.store.get(&call.resource.storage, &key);
        let live = live.ok_or_else(|| ApiError::not_found(&call.what()))?;
        let shown = present(&call.resource, &live.value);
        let object = changed(&shown)?;
        let expected = meta::text(&object, "resourceVersion");
        if !expected.is_empty() && expected != meta::text(&shown, "resourceVersion") {
            return Err(ApiError::modified(&call.what()));
        }
        let draft = Draft { core, call, name: call.name().to_owned(), live: Some(live.clone()) };
        match draft.save(object, how) {
            // The next attempt sees the new revision, and says whether that is a conflict.
            Err(error) if error.reason == "Conflict" && error.details.is_null() => {}
            Err(error) => return Err(error),
            Ok(saved) => return Ok(show(call, 200, &saved.value).with_warnings(saved.warnings)),
        }
    }
    Err(ApiError::modified(&call.what()))
}
