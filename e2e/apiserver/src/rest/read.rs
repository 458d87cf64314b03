//! Get and list.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::error::ApiError;
use super::form::{Form, List, metadata_only, present};
use super::params::{Continuation, Freshness};
use crate::core::Core;
use crate::select::{FieldSelector, LabelSelector};
use crate::store::{Object, Page, Range, StoreError};
use crate::table;

/// What a query selects.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

impl Selection {
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        let (labels, fields) = (call.params.labels()?, call.params.fields()?);
        let is_known = |field: &str| {
            matches!(field, "metadata.name" | "metadata.namespace")
                || call.resource.selectable.iter().any(|selectable| selectable == field)
        };
        if let Some(unknown) = fields.fields().find(|field| !is_known(field)) {
            return Err(ApiError::bad_request(format!("field label not supported: {unknown}")));
        }
        Ok(Self { labels, fields })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, shown: &Value) -> bool {
        self.labels.matches(shown) && self.fields.matches(shown)
    }
}

pub(super) fn expired(error: &StoreError) -> ApiError {
    match error {
        StoreError::Future { .. } => ApiError::too_large_revision(error.to_string()),
        StoreError::Expired { .. } => ApiError::expired(error.to_string()),
        other => ApiError::internal(other.to_string()),
    }
}

/// GET of one object.
pub(super) fn get(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let object = core.store.get(&call.resource.storage, &call.key(call.name()));
    let object = object.ok_or_else(|| ApiError::not_found(&call.what()))?;
    Ok(show(call, 200, &object.value))
}

/// An object in the form that the client wants.
pub(super) fn show(call: &Call, code: u16, value: &Value) -> Answer {
    let shown = present(&call.resource, value);
    match call.form {
        Form::Whole => Answer::json(code, &*shown),
        Form::Metadata => Answer::json(code, &metadata_only(&shown)),
        Form::Table => {
            let mut table = table_of(call, &[&shown]);
            if let Some(revision) = shown.pointer("/metadata/resourceVersion") {
                table["metadata"] = json!({"resourceVersion": revision});
            }
            Answer::json(code, &table)
        }
    }
}

pub(super) fn table_of(call: &Call, objects: &[&Value]) -> Value {
    table::table(&call.resource, objects, include(call), jiff::Timestamp::now())
}

/// What the rows of a table carry beside their cells.
pub(super) fn include(call: &Call) -> table::Include {
    match call.params.get("includeObject") {
        Some("None") => table::Include::None,
        Some("Object") => table::Include::Object,
        _ => table::Include::Metadata,
    }
}

/// GET of many.
pub(super) fn list(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let selection = Selection::of(call)?;
    let (page, is_first_exact) = page(core, call)?;
    let selected: Vec<Arc<Object>> = if selection.is_empty() {
        page.objects.clone()
    } else {
        let is_in = |object: &&Arc<Object>| selection.matches(&present(&call.resource, &object.value));
        page.objects.iter().filter(is_in).cloned().collect()
    };
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(page.revision.to_string()));
    if let Some((from, left)) = page.next {
        let revision = is_first_exact.then_some(page.revision);
        metadata.insert("continue".to_owned(), json!(Continuation { revision, from }.token()));
        // With a selector nobody has counted.
        if selection.is_empty() {
            metadata.insert("remainingItemCount".to_owned(), json!(left));
        }
    }
    let items: Vec<Cow<'_, Value>> =
        selected.iter().map(|object| present(&call.resource, &object.value)).collect();
    Ok(match call.form {
        Form::Whole => Answer::json(200, &List { resource: &call.resource, metadata, items }),
        Form::Metadata => {
            let items: Vec<Value> = items.iter().map(|item| metadata_only(item)).collect();
            let kind = "PartialObjectMetadataList";
            Answer::json(
                200,
                &json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": metadata, "items": items}),
            )
        }
        Form::Table => {
            let mut table = table_of(call, &items.iter().map(|item| &**item).collect::<Vec<_>>());
            table["metadata"] = Value::Object(metadata);
            Answer::json(200, &table)
        }
    })
}

/// The page that a query asks for, and whether further ones shall be of the same state.
fn page(core: &Core, call: &Call) -> Result<(Page, bool), ApiError> {
    let limit = call.params.limit()?;
    let namespace = call.path.namespace.as_deref();
    let storage = &call.resource.storage;
    if let Some(continuation) = call.params.continuation()? {
        let from = Some(&continuation.from);
        let range = Range { namespace, from, at: continuation.revision, limit };
        return match core.store.list(storage, range) {
            Ok(page) => Ok((page, continuation.revision.is_some())),
            Err(StoreError::Expired { .. }) => {
                let mut error = ApiError::expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a \
                     new list without the continue parameter, or use the continue token in this response to retrieve \
                     the remainder of the results. Continuing with the provided token results in an inconsistent \
                     list - objects that were created, modified, or deleted between the time the first chunk was \
                     returned and now may show up in the list.",
                );
                error.proceed = Some(Continuation { revision: None, from: continuation.from }.token());
                Err(error)
            }
            Err(error) => Err(expired(&error)),
        };
    }
    let at = match call.params.freshness()? {
        Freshness::Latest => None,
        Freshness::Exact(revision) => Some(revision),
        Freshness::NotOlderThan(asked) => {
            let current = core.store.revision();
            if asked > current {
                return Err(expired(&StoreError::Future { asked, current }));
            }
            None
        }
    };
    let page = core.store.list(storage, Range { namespace, from: None, at, limit });
    page.map(|page| (page, true)).map_err(|error| expired(&error))
}
