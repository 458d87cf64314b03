//! Fields that a kind does not have, and fields that go without saying.

use serde_json::Value;

use super::{Schema, keeps_unknown, properties};

/// What every object has beside what its schema describes.
const OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The fields of metadata. The API server drops others.
pub(crate) const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

pub(super) fn prune(
    schema: &Schema,
    part: &Value,
    value: &mut Value,
    path: &str,
    is_object: bool,
    unknown: &mut Vec<String>,
) {
    let part = schema.resolved(part);
    match value {
        Value::Object(fields) => {
            let known = properties(part);
            let more = part.get("additionalProperties");
            let is_free = keeps_unknown(part)
                || more == Some(&Value::Bool(true))
                || (schema.is_lenient && known.is_none() && more.is_none());
            let is_object =
                is_object || part.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
            fields.retain(|name, field| {
                let at = || if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if is_object && OBJECT.contains(&name.as_str()) {
                    if name == "metadata" {
                        metadata(field, &at(), unknown);
                    }
                    return true;
                }
                let next = known.and_then(|known| known.get(name)).or(more.filter(|more| more.is_object()));
                match next {
                    Some(next) => {
                        prune(schema, next, field, &at(), false, unknown);
                        true
                    }
                    None if is_free => true,
                    None => {
                        unknown.push(at());
                        false
                    }
                }
            });
        }
        Value::Array(items) => {
            let Some(next) = part.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(schema, next, item, &format!("{path}[{index}]"), false, unknown);
            }
        }
        _ => {}
    }
}

fn metadata(value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    if let Value::Object(fields) = value {
        fields.retain(|name, _| {
            let is_known = METADATA.contains(&name.as_str());
            if !is_known {
                unknown.push(format!("{path}.{name}"));
            }
            is_known
        });
    }
}

pub(super) fn default(schema: &Schema, part: &Value, value: &mut Value) {
    let part = schema.resolved(part);
    match value {
        Value::Object(fields) => {
            for (name, next) in properties(part).into_iter().flatten() {
                let next = schema.resolved(next);
                let is_nullable = next.get("nullable") == Some(&Value::Bool(true));
                if let Some(default) = next.get("default")
                    && fields.get(name).is_none_or(|field| field.is_null() && !is_nullable)
                {
                    fields.insert(name.clone(), default.clone());
                }
                // What cannot be null is as if it had been left out.
                if !schema.is_lenient && !is_nullable && fields.get(name).is_some_and(Value::is_null) {
                    fields.remove(name);
                }
                if let Some(field) = fields.get_mut(name) {
                    self::default(schema, next, field);
                }
            }
            if let Some(more) = part.get("additionalProperties").filter(|more| more.is_object()) {
                let known = properties(part);
                let is_nullable = schema.is_lenient || more.get("nullable") == Some(&Value::Bool(true));
                fields.retain(|name, field| {
                    !field.is_null() || is_nullable || known.is_some_and(|known| known.contains_key(name))
                });
                for (name, field) in fields.iter_mut() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        self::default(schema, more, field);
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(next) = part.get("items") {
                for item in items {
                    self::default(schema, next, item);
                }
            }
        }
        _ => {}
    }
}
