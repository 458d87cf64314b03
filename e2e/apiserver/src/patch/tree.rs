//! Walks of typed objects: which fields one has, what differs between two, how one is laid over another.

use serde_json::{Map, Value};

use super::FieldSet;
use super::shape::{Shape, named_items};

/// The fields that an object speaks of, as one who applies it owns them.
pub(super) fn fields_of(shape: &dyn Shape, value: &Value) -> FieldSet {
    walk(shape, value, &mut Vec::new())
}

fn walk<'a>(shape: &dyn Shape, value: &'a Value, path: &mut Vec<&'a str>) -> FieldSet {
    let mut set = FieldSet::default();
    match value {
        Value::Object(map) if !map.is_empty() && !shape.is_atomic_map(path) => {
            for (name, child) in map {
                path.push(name);
                set.put(format!("f:{name}"), walk(shape, child, path));
                path.pop();
            }
            set
        }
        Value::Array(items) if !items.is_empty() => {
            let Some(named) = named_items(&shape.list(path), items) else { return FieldSet::leaf() };
            for (name, item) in named {
                let mut child = if item.is_object() { walk(shape, item, path) } else { FieldSet::leaf() };
                child.is_member = true;
                set.put(name, child);
            }
            set
        }
        _ => FieldSet::leaf(),
    }
}

/// What one object has that is new or different in the other, and what is gone.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// New or different.
    pub(super) changed: FieldSet,
    /// No longer there.
    pub(super) removed: FieldSet,
}

/// From `old` to `new`.
pub(super) fn difference(shape: &dyn Shape, old: Option<&Value>, new: Option<&Value>) -> Difference {
    compare(shape, old, new, &mut Vec::new())
}

static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

fn compare<'a>(
    shape: &dyn Shape,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    path: &mut Vec<&'a str>,
) -> Difference {
    let mut difference = Difference::default();
    if old == new {
        return difference;
    }
    let leaf = |difference: &mut Difference| {
        if new.is_some() {
            difference.changed.is_member = true;
        } else {
            difference.removed.is_member = true;
        }
    };
    let is_map = |value: Option<&Value>| value.is_none_or(Value::is_object);
    let is_list = |value: Option<&Value>| value.is_none_or(Value::is_array);
    if is_map(old) && is_map(new) && !shape.is_atomic_map(path) {
        let [old_map, new_map] = [old, new].map(|value| value.and_then(Value::as_object));
        let (old_map, new_map) = (old_map.unwrap_or(&EMPTY), new_map.unwrap_or(&EMPTY));
        let gone = old_map.keys().filter(|name| !new_map.contains_key(*name));
        for name in new_map.keys().chain(gone) {
            path.push(name);
            let child = compare(shape, old_map.get(name), new_map.get(name), path);
            path.pop();
            difference.changed.put(format!("f:{name}"), child.changed);
            difference.removed.put(format!("f:{name}"), child.removed);
        }
        if old.is_none() || new.is_none() {
            leaf(&mut difference);
        }
        return difference;
    }
    if is_list(old) && is_list(new) {
        let lists = shape.list(path);
        let named = |value: Option<&'a Value>| match value.and_then(Value::as_array) {
            Some(items) => named_items(&lists, items),
            None => Some(Vec::new()),
        };
        if let (Some(old_items), Some(new_items)) = (named(old), named(new)) {
            let find = |items: &[(String, &'a Value)], name: &str| {
                items.iter().find(|(other, _)| other == name).map(|(_, item)| *item)
            };
            let gone = old_items.iter().filter(|(name, _)| find(&new_items, name).is_none());
            for (name, _) in new_items.iter().chain(gone) {
                let child = compare(shape, find(&old_items, name), find(&new_items, name), path);
                difference.changed.put(name.clone(), child.changed);
                difference.removed.put(name.clone(), child.removed);
            }
            if old.is_none() || new.is_none() {
                leaf(&mut difference);
            }
            return difference;
        }
    }
    leaf(&mut difference);
    difference
}

/// Lays a configuration over an object, list by list as their shapes have it. A null takes a field away.
pub(super) fn overlay(shape: &dyn Shape, object: &Value, config: &Value) -> Value {
    lay(shape, Some(object), config, &mut Vec::new())
}

fn lay<'a>(shape: &dyn Shape, under: Option<&Value>, over: &'a Value, path: &mut Vec<&'a str>) -> Value {
    match (under, over) {
        (under, Value::Object(config)) if !shape.is_atomic_map(path) => {
            let mut merged = under.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, value) in config {
                if value.is_null() {
                    merged.remove(name);
                    continue;
                }
                path.push(name);
                let child = lay(shape, merged.get(name), value, path);
                path.pop();
                merged.insert(name.clone(), child);
            }
            Value::Object(merged)
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let lists = shape.list(path);
            let (Some(old), Some(new)) = (named_items(&lists, old), named_items(&lists, new)) else {
                return over.clone();
            };
            let mut merged: Vec<Value> = Vec::with_capacity(old.len().max(new.len()));
            for (name, item) in &old {
                let item = match new.iter().find(|(other, _)| other == name) {
                    Some((_, config)) if config.is_object() => lay(shape, Some(item), config, path),
                    _ => (*item).clone(),
                };
                merged.push(item);
            }
            for (_, config) in new.iter().filter(|(name, _)| old.iter().all(|(other, _)| other != name)) {
                merged.push(if config.is_object() {
                    lay(shape, None, config, path)
                } else {
                    (*config).clone()
                });
            }
            Value::Array(merged)
        }
        _ => over.clone(),
    }
}

/// Takes away the fields that are in `last` and that nobody keeps.
pub(super) fn prune(shape: &dyn Shape, value: &mut Value, last: &FieldSet, keep: &FieldSet) {
    cut(shape, value, last, keep, &mut Vec::new());
}

fn cut(shape: &dyn Shape, value: &mut Value, last: &FieldSet, keep: &FieldSet, path: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, child) in &last.children {
                let Some(field) = name.strip_prefix("f:") else { continue };
                match keep.children.get(name) {
                    None => {
                        map.remove(field);
                    }
                    Some(kept) => {
                        let Some(value) = map.get_mut(field) else { continue };
                        path.push(field.to_owned());
                        cut(shape, value, child, kept, path);
                        path.pop();
                    }
                }
            }
        }
        Value::Array(items) => {
            let lists = shape.list(&path.iter().map(String::as_str).collect::<Vec<_>>());
            items.retain_mut(|item| {
                let Some(name) = super::shape::item_name(&lists, item) else { return true };
                match (last.children.get(&name), keep.children.get(&name)) {
                    (Some(_), None) => false,
                    (Some(child), Some(kept)) => {
                        cut(shape, item, child, kept, path);
                        true
                    }
                    (None, _) => true,
                }
            });
        }
        _ => {}
    }
}
