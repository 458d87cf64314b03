//! Server-side apply: merges what a manager wants into an object, takes back what it no longer wants, and finds those
//! it would overrule.

use serde_json::{Value, json};

use super::FieldSet;
use super::managed::{Entry, Manager, Operation, owned, owned_difference, owned_fields, read, write};
use super::shape::Shape;
use super::tree::{fields_of, overlay, prune};

/// A field that belongs to another manager and would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager, as messages name it.
    pub manager: String,
    /// The field's path.
    pub field: String,
}

/// All conflicts of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl std::fmt::Display for Conflicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [one] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field);
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut last = "";
        for (index, conflict) in self.0.iter().enumerate() {
            if conflict.manager != last {
                let gap = if index == 0 { "" } else { "\n" };
                write!(f, "{gap}conflicts with {}:", conflict.manager)?;
                last = &conflict.manager;
            }
            write!(f, "\n- {}", conflict.field)?;
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}

/// Who applies, and when.
#[derive(Clone, Copy, Debug)]
pub struct Applier<'a> {
    /// With [`Operation::Apply`].
    pub manager: &'a Manager,
    /// Overrules others.
    pub force: bool,
    /// RFC 3339.
    pub now: &'a str,
}

/// Applies a configuration to an object, or makes one of it.
///
/// # Errors
/// Others own fields that would change, and the applier does not force.
pub fn apply(
    shape: &dyn Shape,
    live: Option<&Value>,
    config: &Value,
    applier: Applier<'_>,
) -> Result<Value, Conflicts> {
    let mut wanted = config.clone();
    if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    let mut entries = live.map(read).unwrap_or_default();
    if let (Some(live), true) = (live, entries.is_empty()) {
        // Owned by nobody known: by whoever wrote it before the first apply.
        let manager = Manager {
            name: "before-first-apply".to_owned(),
            operation: Operation::Update,
            api_version: applier.manager.api_version.clone(),
            subresource: String::new(),
        };
        entries.push(Entry { manager, fields: owned_fields(shape, live), time: applier.now.to_owned() });
    }
    let (own, mut others): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.manager == *applier.manager);
    let own = own.into_iter().next();
    let fields = owned(without_nulls(fields_of(shape, &wanted), &wanted));
    let mut merged = match live {
        Some(live) => overlay(shape, live, &wanted),
        None => overlay(shape, &json!({"metadata": {}}), &wanted),
    };

    let changed = owned_difference(shape, live, &merged).changed;
    let mut conflicts = Vec::new();
    for other in &mut others {
        let overruled = other.fields.common(&changed);
        if !applier.force {
            let manager = other.shown();
            conflicts.extend(
                overruled.paths().into_iter().map(|field| Conflict { manager: manager.clone(), field }),
            );
        }
        other.fields = other.fields.minus(&overruled);
    }
    if !conflicts.is_empty() {
        conflicts.sort_by(|a, b| (&a.manager, &a.field).cmp(&(&b.manager, &b.field)));
        return Err(Conflicts(conflicts));
    }

    if let Some(own) = &own {
        let keep = others.iter().fold(fields.clone(), |keep, other| keep.union(&other.fields));
        prune(shape, &mut merged, &own.fields, &keep);
    }
    let time = match own {
        Some(own) if own.fields == fields => own.time,
        _ => applier.now.to_owned(),
    };
    others.push(Entry { manager: applier.manager.clone(), fields, time });
    write(&mut merged, others);
    Ok(merged)
}

/// A null takes a field away; it owns nothing.
fn without_nulls(mut fields: FieldSet, value: &Value) -> FieldSet {
    if let Value::Object(map) = value {
        for (name, child) in map {
            let name = format!("f:{name}");
            if child.is_null() {
                fields.children.remove(&name);
            } else if let Some(under) = fields.children.remove(&name) {
                fields.put(name, without_nulls(under, child));
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::managed::update;
    use crate::patch::shape::tests::Sample;

    fn manager(name: &str, operation: Operation) -> Manager {
        Manager { name: name.into(), operation, api_version: "g/v1".into(), subresource: String::new() }
    }

    fn by(name: &str, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, Conflicts> {
        let manager = manager(name, Operation::Apply);
        apply(&Sample, live, config, Applier { manager: &manager, force, now: "1" })
    }

    fn config(spec: &Value) -> Value {
        json!({"apiVersion": "g/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec})
    }

    fn owners(object: &Value) -> Vec<(String, Value)> {
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| {
                (entry["manager"].as_str().unwrap_or_default().to_owned(), entry["fieldsV1"].clone())
            })
            .collect()
    }

    #[test]
    fn the_first_apply_makes_the_object_and_owns_what_it_says() {
        let config =
            config(&json!({"a": 1, "items": [{"name": "i", "x": 1}], "tags": ["t"], "selector": {"k": "v"}}));
        let object = by("one", None, &config, false).expect("apply");
        assert_eq!(object["spec"], config["spec"]);
        let fields = json!({"f:spec": {
            "f:a": {}, "f:tags": {"v:\"t\"": {}}, "f:selector": {},
            "f:items": {"k:{\"name\":\"i\"}": {".": {}, "f:name": {}, "f:x": {}}},
        }});
        assert_eq!(owners(&object), [("one".to_owned(), fields)]);
        assert_eq!(
            by("one", Some(&object), &config, false).expect("again"),
            object,
            "the same changes nothing"
        );
    }

    #[test]
    fn another_value_is_a_conflict_and_the_same_value_is_shared() {
        let object = by("one", None, &config(&json!({"a": 1, "b": 1})), false).expect("apply");
        let shared = by("two", Some(&object), &config(&json!({"a": 1})), false).expect("same value");
        let both =
            [("one", json!({"f:spec": {"f:a": {}, "f:b": {}}})), ("two", json!({"f:spec": {"f:a": {}}}))];
        assert_eq!(owners(&shared), both.map(|(name, fields)| (name.to_owned(), fields)));
        let conflicts = by("two", Some(&shared), &config(&json!({"a": 2})), false).expect_err("conflict");
        assert_eq!(conflicts.to_string(), "Apply failed with 1 conflict: conflict with \"one\": .spec.a");
        let forced = by("two", Some(&shared), &config(&json!({"a": 2})), true).expect("force");
        assert_eq!(forced["spec"], json!({"a": 2, "b": 1}));
        let after = [("one", json!({"f:spec": {"f:b": {}}})), ("two", json!({"f:spec": {"f:a": {}}}))];
        assert_eq!(owners(&forced), after.map(|(name, fields)| (name.to_owned(), fields)));
    }

    #[test]
    fn conflicts_with_plain_writers_name_their_version_and_time() {
        let mut object = config(&json!({"a": 1, "items": [{"name": "i", "x": 1}]}));
        update(&Sample, None, &mut object, &manager("kubectl", Operation::Update), "T");
        let wanted = config(&json!({"a": 2, "items": [{"name": "i", "x": 2}]}));
        let conflicts = by("one", Some(&object), &wanted, false).expect_err("conflict");
        let expected = "Apply failed with 2 conflicts: conflicts with \"kubectl\" using g/v1 at T:\n\
                        - .spec.a\n- .spec.items[name=\"i\"].x";
        assert_eq!(conflicts.to_string(), expected);
    }

    #[test]
    fn what_is_no_longer_applied_goes_unless_another_owns_it() {
        let full = json!({"a": 1, "b": 1, "items": [{"name": "i", "x": 1}, {"name": "j"}], "tags": ["s", "t"], "deep": {"x": 1}});
        let object = by("one", None, &config(&full), false).expect("apply");
        let object = by(
            "two",
            Some(&object),
            &config(&json!({"b": 1, "tags": ["t"], "items": [{"name": "i", "y": 2}]})),
            false,
        )
        .expect("apply");
        let less = by("one", Some(&object), &config(&json!({"a": 1})), false).expect("apply less");
        let expected = json!({"a": 1, "b": 1, "items": [{"name": "i", "y": 2}], "tags": ["t"]});
        assert_eq!(less["spec"], expected);
    }

    #[test]
    fn items_of_others_stay_in_their_order() {
        let one =
            by("one", None, &config(&json!({"items": [{"name": "b"}, {"name": "a"}]})), false).expect("one");
        let two =
            by("two", Some(&one), &config(&json!({"items": [{"name": "c"}, {"name": "a", "x": 1}]})), false);
        let names = json!([{"name": "b"}, {"name": "a", "x": 1}, {"name": "c"}]);
        assert_eq!(two.expect("two")["spec"]["items"], names);
    }

    #[test]
    fn one_who_wrote_before_the_first_apply_is_a_manager() {
        let object = config(&json!({"a": 1}));
        let conflicts = by("one", Some(&object), &config(&json!({"a": 2})), false).expect_err("conflict");
        assert_eq!(conflicts.0[0].field, ".spec.a");
        assert!(conflicts.0[0].manager.starts_with("\"before-first-apply\""));
        assert!(by("one", Some(&object), &config(&json!({"b": 2})), false).is_ok());
    }

    #[test]
    fn atomic_lists_and_maps_are_replaced_whole() {
        let object =
            by("one", None, &config(&json!({"list": [1, 2], "selector": {"a": "b"}})), false).expect("one");
        let next = by("one", Some(&object), &config(&json!({"list": [3], "selector": {"c": "d"}})), false)
            .expect("two");
        assert_eq!(next["spec"], json!({"list": [3], "selector": {"c": "d"}}));
    }
}
