//! Strategic merge patch: a merge patch that knows the keys of lists and takes directives (`$patch`,
//! `$deleteFromPrimitiveList`, `$setElementOrder`, `$retainKeys`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::PatchError;
use super::shape::{Shape, StrategicKey};

const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN: &str = "$retainKeys";

/// Patches an object.
///
/// # Errors
/// A directive is unknown, or an item of a keyed list lacks its key.
pub fn patch(shape: &dyn Shape, object: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError("a strategic merge patch has to be an object".to_owned()));
    };
    maps(shape, object, patch, &mut Vec::new())
}

fn directive(patch: &Map<String, Value>) -> Result<Option<&str>, PatchError> {
    match patch.get("$patch").map(|directive| directive.as_str().unwrap_or_default()) {
        None => Ok(None),
        Some(known @ ("delete" | "replace" | "merge")) => Ok(Some(known)),
        Some(other) => {
            Err(PatchError(format!("unknown patch directive \"{other}\": use delete, replace or merge")))
        }
    }
}

fn maps<'a>(
    shape: &dyn Shape,
    object: &mut Value,
    patch: &'a Map<String, Value>,
    at: &mut Vec<&'a str>,
) -> Result<(), PatchError> {
    match directive(patch)? {
        Some("delete") => {
            *object = Value::Object(Map::new());
            return Ok(());
        }
        Some("replace") => {
            let mut content = patch.clone();
            content.remove("$patch");
            *object = Value::Object(content);
            return Ok(());
        }
        _ => {}
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(map) = object else { return Ok(()) };
    if let Some(Value::Array(kept)) = patch.get(RETAIN) {
        map.retain(|name, _| kept.iter().any(|kept| kept == name));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (map.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
        } else if !name.starts_with('$') {
            at.push(name);
            field(shape, map, name, value, at)?;
            at.pop();
        }
    }
    for (name, order) in patch {
        let Some(list) = name.strip_prefix(ORDER) else { continue };
        at.push(list);
        if let (Some(Value::Array(items)), Value::Array(order)) = (map.get_mut(list), order) {
            arrange(items, order, shape.strategic_key(at).as_ref());
        }
        at.pop();
    }
    Ok(())
}

fn field<'a>(
    shape: &dyn Shape,
    map: &mut Map<String, Value>,
    name: &str,
    value: &'a Value,
    at: &mut Vec<&'a str>,
) -> Result<(), PatchError> {
    match value {
        Value::Null => {
            map.remove(name);
        }
        Value::Object(patch) if directive(patch)? == Some("delete") => {
            map.remove(name);
        }
        Value::Object(patch) => maps(shape, map.entry(name).or_insert(Value::Null), patch, at)?,
        Value::Array(patch) => match (shape.strategic_key(at), map.get_mut(name)) {
            (Some(key), old) => {
                let mut items =
                    old.and_then(|old| old.as_array_mut().map(std::mem::take)).unwrap_or_default();
                match key {
                    StrategicKey::Field(key) => keyed(shape, &mut items, patch, &key, at)?,
                    StrategicKey::Set => {
                        let new: Vec<_> =
                            patch.iter().filter(|item| !items.contains(item)).cloned().collect();
                        items.extend(new);
                    }
                }
                map.insert(name.to_owned(), Value::Array(items));
            }
            (None, _) => {
                map.insert(name.to_owned(), value.clone());
            }
        },
        scalar => {
            map.insert(name.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

fn keyed<'a>(
    shape: &dyn Shape,
    items: &mut Vec<Value>,
    patch: &'a [Value],
    key: &str,
    at: &mut Vec<&'a str>,
) -> Result<(), PatchError> {
    if patch.iter().any(|item| item.get("$patch").is_some_and(|d| d == "replace")) {
        items.clear();
    }
    for item in patch {
        let Value::Object(content) = item else {
            return Err(PatchError(format!("{}: the items of this list have to be objects", at.join("."))));
        };
        let directive = directive(content)?;
        let Some(name) = content.get(key) else {
            if directive == Some("replace") {
                continue;
            }
            return Err(PatchError(format!(
                "map: {item} does not contain declared merge key: {key} ({})",
                at.join(".")
            )));
        };
        if directive == Some("delete") {
            items.retain(|item| item.get(key) != Some(name));
            continue;
        }
        if let Some(old) = items.iter_mut().find(|item| item.get(key) == Some(name)) {
            maps(shape, old, content, at)?;
        } else {
            let mut new = Value::Object(Map::new());
            maps(shape, &mut new, content, at)?;
            items.push(new);
        }
    }
    Ok(())
}

/// The named ones in the given order, each other one where it was among them.
fn arrange(items: &mut [Value], order: &[Value], key: Option<&StrategicKey>) {
    let rank = |item: &Value| {
        order.iter().position(|wanted| match key {
            Some(StrategicKey::Field(key)) => wanted.get(key).is_some() && wanted.get(key) == item.get(key),
            _ => wanted == item,
        })
    };
    let mut ranked: Vec<(usize, Value)> = Vec::new();
    let places: BTreeSet<usize> =
        items.iter().enumerate().filter(|(_, item)| rank(item).is_some()).map(|(place, _)| place).collect();
    for place in &places {
        if let Some(item) = items.get(*place)
            && let Some(rank) = rank(item)
        {
            ranked.push((rank, item.clone()));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    for (place, (_, item)) in places.into_iter().zip(ranked) {
        if let Some(slot) = items.get_mut(place) {
            *slot = item;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch::shape::tests::Sample;

    fn patched(object: &Value, with: &Value) -> Value {
        let mut object = object.clone();
        patch(&Sample, &mut object, with).expect("patch");
        object
    }

    #[test]
    fn lists_with_a_key_are_merged_and_others_replaced() {
        let object =
            json!({"spec": {"items": [{"name": "a", "x": 1}, {"name": "b"}], "list": [1, 2], "tags": ["s"]}});
        let patch = json!({"spec": {"items": [{"name": "a", "y": 2}, {"name": "c"}], "list": [3], "tags": ["s", "t"]}});
        let expected = json!({"spec": {
            "items": [{"name": "a", "x": 1, "y": 2}, {"name": "b"}, {"name": "c"}], "list": [3], "tags": ["s", "t"],
        }});
        assert_eq!(patched(&object, &patch), expected);
    }

    #[test]
    fn directives_delete_replace_order_and_retain() {
        let object = json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"items": [{"name": "a"}, {"name": "b"}], "m": {"x": 1}, "n": {"y": 1}, "o": 1}});
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]},
            "spec": {
                "items": [{"name": "c"}, {"name": "a", "$patch": "delete"}],
                "$setElementOrder/items": [{"name": "c"}, {"name": "b"}],
                "m": {"$patch": "replace", "z": 1}, "n": {"$patch": "delete"},
                "$retainKeys": ["items", "m", "n"],
            },
        });
        let expected = json!({"metadata": {"finalizers": ["b"]}, "spec": {"items": [{"name": "c"}, {"name": "b"}], "m": {"z": 1}}});
        assert_eq!(patched(&object, &patch), expected);
        let replaced = patched(&object, &json!({"spec": {"items": [{"$patch": "replace"}, {"name": "z"}]}}));
        assert_eq!(replaced["spec"]["items"], json!([{"name": "z"}]));
    }

    #[test]
    fn nulls_take_fields_away() {
        let object = json!({"metadata": {"labels": {"a": "b", "c": "d"}}});
        let expected = json!({"metadata": {"labels": {"c": "d"}}});
        assert_eq!(patched(&object, &json!({"metadata": {"labels": {"a": null}}})), expected);
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let error =
            patch(&Sample, &mut json!({}), &json!({"spec": {"items": [{"x": 1}]}})).expect_err("no key");
        assert_eq!(
            error.to_string(),
            "map: {\"x\":1} does not contain declared merge key: name (spec.items)"
        );
    }
}
