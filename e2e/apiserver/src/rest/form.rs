//! In which form an object goes out: in which version, whole, as metadata, or as a table.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use crate::registry::Resource;

/// What the client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The object.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table`, as `kubectl get` shows it.
    Table,
}

impl Form {
    /// The first of the `Accept` header's types that is spoken here. None at all means JSON.
    pub(super) fn of(accept: &str) -> Result<Self, ApiError> {
        if accept.trim().is_empty() {
            return Ok(Self::Whole);
        }
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(media, "application/json" | "application/*" | "*/*") {
                continue;
            }
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            match (get("as"), get("v"), get("g")) {
                (None, ..) => return Ok(Self::Whole),
                (Some("Table"), Some("v1"), Some("meta.k8s.io")) => return Ok(Self::Table),
                (
                    Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                    Some("v1"),
                    Some("meta.k8s.io"),
                ) => {
                    return Ok(Self::Metadata);
                }
                _ => {}
            }
        }
        Err(ApiError::not_acceptable("application/json"))
    }

    /// For the store's cache of lines.
    pub(super) fn name(self, include: &str) -> &'static str {
        match (self, include) {
            (Self::Whole, _) => "whole",
            (Self::Metadata, _) => "metadata",
            (Self::Table, "Object") => "table with objects",
            (Self::Table, "None") => "table alone",
            (Self::Table, _) => "table",
        }
    }
}

/// An object in the version of a resource.
pub(super) fn present<'a>(resource: &Resource, value: &'a Value) -> Cow<'a, Value> {
    let wanted = resource.api_version();
    let stored = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if stored == wanted {
        return Cow::Borrowed(value);
    }
    let mut converted = value.clone();
    if resource.storage == "events" {
        convert_event(&mut converted, resource.group.is_empty());
    }
    if let Some(object) = converted.as_object_mut() {
        object.insert("apiVersion".to_owned(), Value::String(wanted));
    }
    Cow::Owned(converted)
}

/// What `v1` and `events.k8s.io/v1` call differently.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn convert_event(event: &mut Value, to_core: bool) {
    let Some(fields) = event.as_object_mut() else { return };
    for (core, new) in EVENT_FIELDS {
        let (from, to) = if to_core { (new, core) } else { (core, new) };
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    if !to_core {
        fields.entry("eventTime").or_insert(Value::Null);
    }
}

/// An object's metadata alone.
pub(super) fn metadata_only(value: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": value.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// An object in a list of a built-in kind, where the list says what its items are.
#[derive(Debug)]
pub(super) struct Untyped<'a>(pub(super) &'a Value);

impl Serialize for Untyped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.0.as_object() else { return self.0.serialize(serializer) };
        let is_shown = |(name, _): &(&String, &Value)| !matches!(name.as_str(), "apiVersion" | "kind");
        let shown: Vec<_> = fields.iter().filter(is_shown).collect();
        let mut map = serializer.serialize_map(Some(shown.len()))?;
        for (name, value) in shown {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A list, written without copying its items.
#[derive(Debug)]
pub(super) struct List<'a> {
    pub(super) resource: &'a Resource,
    pub(super) metadata: Map<String, Value>,
    pub(super) items: Vec<Cow<'a, Value>>,
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("kind", &self.resource.list_kind)?;
        map.serialize_entry("apiVersion", &self.resource.api_version())?;
        map.serialize_entry("metadata", &self.metadata)?;
        if self.resource.is_custom {
            map.serialize_entry("items", &self.items)?;
        } else {
            map.serialize_entry("items", &self.items.iter().map(|item| Untyped(item)).collect::<Vec<_>>())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn the_first_type_that_is_spoken_counts() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                     application/json";
        let cases = [
            ("", Form::Whole),
            ("*/*", Form::Whole),
            (table, Form::Table),
            ("application/vnd.kubernetes.protobuf, application/json", Form::Whole),
            ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Form::Metadata),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Form::Whole),
        ];
        for (accept, form) in cases {
            assert_eq!(Form::of(accept), Ok(form), "{accept}");
        }
        assert_eq!(Form::of("application/vnd.kubernetes.protobuf").expect_err("none").code, 406);
    }

    #[test]
    fn an_event_is_shown_in_both_versions() {
        let registry = Registry::default();
        let core = registry.find("", "v1", "events").expect("core");
        let new = registry.find("events.k8s.io", "v1", "events").expect("new");
        let event = json!({"apiVersion": "v1", "kind": "Event", "message": "m", "involvedObject": {"name": "x"},
                           "count": 2, "reason": "R"});
        let expected = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "m",
                              "regarding": {"name": "x"}, "deprecatedCount": 2, "reason": "R", "eventTime": null});
        assert_eq!(*present(&new, &event), expected);
        let mut back = event.clone();
        back["eventTime"] = Value::Null;
        assert_eq!(*present(&core, &expected), back);
        assert!(matches!(present(&core, &event), Cow::Borrowed(_)));
    }

    #[test]
    fn lists_of_built_in_kinds_say_the_kind_once() {
        let resource = Registry::default().find("", "v1", "pods").expect("pods");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}});
        let list = List { resource: &resource, metadata: Map::new(), items: vec![Cow::Borrowed(&pod)] };
        let expected = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": {"name": "x"}}]});
        assert_eq!(serde_json::to_value(&list).expect("json"), expected);
    }
}
