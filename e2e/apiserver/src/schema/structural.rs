//! What makes a schema structural: each field has a type, and no two keywords that contradict each other. Kubernetes
//! takes no other in a definition, because it could not tell from it which fields to drop.

use serde_json::{Map, Value};

use super::{Cause, keeps_unknown, properties};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What is wrong with a schema and those below it; paths begin at the schema.
pub(super) fn check(schema: &Value, path: &str, place: &str, causes: &mut Vec<Cause>) {
    let mut wrong = |field: &str, reason: &'static str, message: String| {
        causes.push(Cause { field: format!("{path}{field}"), reason, message });
    };
    let is = |field: &str| schema.get(field) == Some(&Value::Bool(true));
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind.is_empty() {
        let is_free = keeps_unknown(schema) && !place.is_empty();
        if !is("x-kubernetes-int-or-string") && !is_free {
            let place = if place.is_empty() { "at the root" } else { place };
            wrong("type", "FieldValueRequired", format!("Required value: must not be empty {place}"));
        }
    } else if !TYPES.contains(&kind) {
        let all = TYPES.map(|name| format!("\"{name}\"")).join(", ");
        let message = format!("Unsupported value: \"{kind}\": supported values: {all}");
        wrong("type", "FieldValueNotSupported", message);
    }
    if kind == "array" && schema.get("items").is_none() {
        wrong("items", "FieldValueRequired", "Required value: must be specified".to_owned());
    }
    let has_more = schema.get("additionalProperties").is_some();
    if has_more && properties(schema).is_some_and(|known| !known.is_empty()) {
        let message = "Forbidden: additionalProperties and properties are mutual exclusive";
        wrong("additionalProperties", "FieldValueForbidden", message.to_owned());
    }
    if schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map")
        && schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).is_none_or(Vec::is_empty)
    {
        let message = "Required value: must not be empty if x-kubernetes-list-type is map";
        wrong("x-kubernetes-list-map-keys", "FieldValueRequired", message.to_owned());
    }
    for (name, below) in properties(schema).unwrap_or(&Map::new()) {
        check(below, &format!("{path}properties[{name}]."), "for specified object fields", causes);
    }
    for (name, place) in
        [("items", "for specified array items"), ("additionalProperties", "for specified object fields")]
    {
        if let Some(below) = schema.get(name).filter(|below| below.is_object()) {
            check(below, &format!("{path}{name}."), place, causes);
        }
    }
}
