//! `metadata.managedFields`: who owns which field, and how a plain write changes that.

use serde_json::{Value, json};

use super::FieldSet;
use super::shape::Shape;
use super::tree::{Difference, difference, fields_of};

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes, and how: what tells entries of `managedFields` apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// `fieldManager`, or what the user agent says.
    pub name: String,
    /// See there.
    pub operation: Operation,
    /// Of the object as it is written.
    pub api_version: String,
    /// Empty for the object itself.
    pub subresource: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: Manager,
    pub(super) fields: FieldSet,
    pub(super) time: String,
}

impl Entry {
    /// As conflicts name it.
    pub(super) fn shown(&self) -> String {
        let manager = &self.manager;
        let part = match manager.subresource.as_str() {
            "" => String::new(),
            subresource => format!(" with subresource \"{subresource}\""),
        };
        let when = match (manager.operation, self.time.as_str()) {
            (Operation::Apply, _) => String::new(),
            (Operation::Update, "") => format!(" using {}", manager.api_version),
            (Operation::Update, time) => format!(" using {} at {time}", manager.api_version),
        };
        format!("\"{}\"{part}{when}", manager.name)
    }

    fn to_value(&self) -> Value {
        let manager = &self.manager;
        let mut entry = json!({
            "manager": manager.name, "operation": manager.operation.as_str(), "apiVersion": manager.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.to_value(),
        });
        if !self.time.is_empty() {
            entry["time"] = json!(self.time);
        }
        if !manager.subresource.is_empty() {
            entry["subresource"] = json!(manager.subresource);
        }
        entry
    }
}

/// All entries of an object. Those that cannot be read are left out: kube-apiserver starts anew from such, too.
pub(super) fn read(object: &Value) -> Vec<Entry> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let read = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match entry.get("operation").and_then(Value::as_str)? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let manager = Manager {
            name: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
        };
        Some(Entry { manager, fields: FieldSet::from_value(entry.get("fieldsV1")?), time: text("time") })
    };
    entries.into_iter().flatten().filter_map(read).collect()
}

/// Writes the entries that own something into an object, appliers first, each in the order of their times.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        (a.manager.operation, &a.time, &a.manager).cmp(&(b.manager.operation, &b.time, &b.manager))
    });
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), entries.iter().map(Entry::to_value).collect());
    }
}

/// Takes out what nobody owns: identity, and what the server sets.
pub(super) fn owned(mut fields: FieldSet) -> FieldSet {
    fields.is_member = false;
    fields.take(&["f:apiVersion"]);
    fields.take(&["f:kind"]);
    if let Some(metadata) = fields.children.get_mut("f:metadata") {
        metadata.is_member = false;
        let of_the_server = [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
            "managedFields",
            "selfLink",
        ];
        for name in of_the_server {
            metadata.take(&[&format!("f:{name}")]);
        }
    }
    fields.children.retain(|_, child| !child.is_empty());
    fields
}

/// What differs between two objects, apart from what nobody owns.
pub(super) fn owned_difference(shape: &dyn Shape, old: Option<&Value>, new: &Value) -> Difference {
    // A new object's parts are all new, but they are owned one by one.
    let nothing = json!({"metadata": {}});
    let found = difference(shape, Some(old.unwrap_or(&nothing)), Some(new));
    Difference { changed: owned(found.changed), removed: owned(found.removed) }
}

/// The fields an object has.
pub(super) fn owned_fields(shape: &dyn Shape, object: &Value) -> FieldSet {
    owned(fields_of(shape, object))
}

/// Keeps `managedFields` when an object is written without apply: the writer owns what it changed, and nobody owns
/// what is gone. `new` may bring entries of its own, as clients that migrate ownership do; an empty list resets them.
/// `now` is RFC 3339.
pub fn update(shape: &dyn Shape, old: Option<&Value>, new: &mut Value, manager: &Manager, now: &str) {
    let given = new.pointer("/metadata/managedFields").and_then(Value::as_array);
    // kube-apiserver takes a list with one empty entry as the wish to forget all.
    let is_reset =
        given.is_some_and(|given| given.is_empty() || given.iter().all(|entry| *entry == json!({})));
    let mut entries = match (old, given) {
        _ if is_reset => {
            write(new, Vec::new());
            return;
        }
        (Some(old), None) => read(old),
        _ => read(new),
    };
    let Difference { changed, removed } = owned_difference(shape, old, new);
    let lost = changed.union(&removed);
    let mut is_known = false;
    for entry in &mut entries {
        let is_own = entry.manager == *manager;
        let fields = if is_own {
            is_known = true;
            entry.fields.minus(&removed).union(&changed)
        } else {
            entry.fields.minus(&lost)
        };
        if is_own && fields != entry.fields {
            now.clone_into(&mut entry.time);
        }
        entry.fields = fields;
    }
    if !is_known && !changed.is_empty() {
        entries.push(Entry { manager: manager.clone(), fields: changed, time: now.to_owned() });
    }
    write(new, entries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::shape::tests::Sample;

    fn manager(name: &str) -> Manager {
        Manager {
            name: name.into(),
            operation: Operation::Update,
            api_version: "g/v1".into(),
            subresource: String::new(),
        }
    }

    fn written(name: &str, time: &str, fields: &Value) -> Value {
        json!({"manager": name, "operation": "Update", "apiVersion": "g/v1", "time": time,
               "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn a_creator_owns_what_it_wrote() {
        let mut object = json!({
            "apiVersion": "g/v1", "kind": "Thing",
            "metadata": {"name": "x", "uid": "u", "labels": {"a": "b"}},
            "spec": {"n": 1, "selector": {"a": "b"}, "empty": {}, "items": [{"name": "i", "x": 1}], "tags": ["t"]},
        });
        update(&Sample, None, &mut object, &manager("m"), "1");
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {
                ".": {}, "f:n": {}, "f:selector": {}, "f:empty": {}, "f:tags": {".": {}, "v:\"t\"": {}},
                "f:items": {".": {}, "k:{\"name\":\"i\"}": {".": {}, "f:name": {}, "f:x": {}}},
            },
        });
        assert_eq!(object["metadata"]["managedFields"], json!([written("m", "1", &fields)]));
    }

    #[test]
    fn a_writer_takes_over_what_it_changes_and_nobody_owns_what_is_gone() {
        let mut old = json!({"metadata": {"name": "x"}, "spec": {"a": 1, "b": 1, "c": 1}});
        update(&Sample, None, &mut old, &manager("one"), "1");
        let mut new = old.clone();
        new["spec"] = json!({"a": 2, "b": 1, "d": 1});
        update(&Sample, Some(&old), &mut new, &manager("two"), "2");
        let expected = json!([
            written("one", "1", &json!({"f:spec": {".": {}, "f:b": {}}})),
            written("two", "2", &json!({"f:spec": {"f:a": {}, "f:d": {}}})),
        ]);
        assert_eq!(new["metadata"]["managedFields"], expected);
        // The same again changes neither owners nor times.
        let mut same = new.clone();
        update(&Sample, Some(&new), &mut same, &manager("two"), "3");
        assert_eq!(same, new);
    }

    #[test]
    fn a_write_without_entries_keeps_them_and_an_empty_list_resets_them() {
        let mut old = json!({"metadata": {"name": "x"}, "spec": {"a": 1}});
        update(&Sample, None, &mut old, &manager("one"), "1");
        let mut silent = json!({"metadata": {"name": "x"}, "spec": {"a": 1}});
        update(&Sample, Some(&old), &mut silent, &manager("two"), "2");
        assert_eq!(silent, old);
        let mut reset = json!({"metadata": {"name": "x", "managedFields": [{}]}, "spec": {"a": 1}});
        update(&Sample, Some(&old), &mut reset, &manager("two"), "2");
        assert_eq!(reset, json!({"metadata": {"name": "x"}, "spec": {"a": 1}}));
    }
}
