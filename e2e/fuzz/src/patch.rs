//! Patches of the development API server: tests believe it, so it must not lie to them.

use palisade_apiserver::patch::apply::{Applier, apply};
use palisade_apiserver::patch::{FieldSet, Lists, Manager, Operation, Shape, StrategicKey, merge, strategic};
use serde_json::{Map, Value, json};

use crate::generate::Choices;

/// Maps by one and by two keys, a set and an atomic map.
struct Sample;

impl Shape for Sample {
    fn list(&self, path: &[&str]) -> Lists {
        match path {
            ["spec", "items"] => Lists::Map(vec!["name".into()]),
            ["spec", "ports"] => Lists::Map(vec!["port".into(), "protocol".into()]),
            ["spec", "tags"] => Lists::Set,
            _ => Lists::Atomic,
        }
    }

    fn is_atomic_map(&self, path: &[&str]) -> bool {
        path == ["spec", "selector"]
    }

    fn strategic_key(&self, path: &[&str]) -> Option<StrategicKey> {
        match path {
            ["spec", "items"] => Some(StrategicKey::Field("name".into())),
            ["spec", "tags"] => Some(StrategicKey::Set),
            _ => None,
        }
    }
}

const WORDS: [&str; 18] = [
    "spec",
    "items",
    "ports",
    "tags",
    "selector",
    "name",
    "port",
    "protocol",
    "x",
    "y",
    "metadata",
    "managedFields",
    "",
    "$patch",
    "$retainKeys",
    "$setElementOrder/items",
    "$deleteFromPrimitiveList/tags",
    "f:spec",
];

fn anything(choices: &mut Choices<'_>, depth: usize) -> Value {
    match choices.below(if depth == 0 { 4 } else { 8 }) {
        0 => json!("x"),
        1 => Value::Null,
        2 => json!(choices.below(3)),
        3 => json!(choices.one(&WORDS)),
        4 => Value::Array(choices.some(0, 3, |choices| anything(choices, depth - 1))),
        _ => {
            let fields =
                choices.some(0, 3, |choices| (choices.one(&WORDS).to_owned(), anything(choices, depth - 1)));
            Value::Object(fields.into_iter().collect::<Map<_, _>>())
        }
    }
}

fn plain(choices: &mut Choices<'_>) -> Value {
    json!(choices.one(&["", "x", "y"]))
}

/// A list of different items, in any order.
fn keyed(choices: &mut Choices<'_>, item: fn(&mut Choices<'_>, usize) -> Value) -> Value {
    let start = choices.below(3);
    let keys = (0..3).map(|key| (key + start) % 3);
    let mut items = Vec::new();
    for key in keys {
        if choices.chance(50) {
            items.push(item(choices, key));
        }
    }
    Value::Array(items)
}

/// An object of the sample's kind: admission lets nothing else come as far as a patch's result.
fn object(choices: &mut Choices<'_>) -> Value {
    let mut spec = Map::new();
    for name in ["items", "ports", "tags", "selector", "x"] {
        if choices.chance(40) {
            continue;
        }
        let value = match name {
            "items" => {
                keyed(choices, |choices, key| json!({"name": (["a", "b", "c"])[key], "x": plain(choices)}))
            }
            "ports" => keyed(
                choices,
                |choices, key| json!({"port": key % 2, "protocol": (["TCP", "UDP"])[key / 2], "y": plain(choices)}),
            ),
            "tags" => keyed(choices, |_, key| json!((["a", "b", "c"])[key])),
            _ => json!({choices.one(&["a", "b"]): plain(choices), choices.one(&["b", "c"]): plain(choices)}),
        };
        spec.insert(name.to_owned(), value);
    }
    json!({"metadata": {"name": "x"}, "spec": spec})
}

/// The first byte says which kind of patch.
pub(crate) fn patch(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    match choices.below(4) {
        0 => merges(&mut choices),
        1 => {
            let mut target = object(&mut choices);
            let _ = strategic::patch(&Sample, &mut target, &anything(&mut choices, 4));
        }
        2 => fields(&mut choices),
        _ => applies(&mut choices),
    }
}

/// RFC 7396: what a merge patch says is so afterwards, so the second time changes nothing.
fn merges(choices: &mut Choices<'_>) {
    let (mut once, patch) = (object(choices), anything(choices, 3));
    merge::merge(&mut once, &patch);
    let mut twice = once.clone();
    merge::merge(&mut twice, &patch);
    assert_eq!(once, twice);
    let operations = Value::Array(choices.some(0, 3, |choices| {
        let place = format!("/spec/{}/{}", choices.one(&WORDS), choices.one(&["-", "0", "1", "x", ""]));
        json!({"op": choices.one(&["add", "remove", "replace", "test", "move", "copy"]), "path": place,
               "from": "/spec/items", "value": anything(choices, 2)})
    }));
    let _ = merge::operations(&mut twice, &operations);
}

/// A field set written down reads the same.
fn fields(choices: &mut Choices<'_>) {
    let set = FieldSet::from_value(&anything(choices, 4));
    assert_eq!(FieldSet::from_value(&set.to_value()), set);
    let other = FieldSet::from_value(&anything(choices, 4));
    let both = set.union(&other);
    assert_eq!(both, other.union(&set));
    assert_eq!(both.union(&set), both);
    assert_eq!(set.common(&other), other.common(&set));
}

/// Server-side apply by several managers: the second time changes nothing, force has no conflicts, and what is said is
/// so.
fn applies(choices: &mut Choices<'_>) {
    let mut live: Option<Value> = None;
    for _ in 0..=choices.below(5) {
        let manager = Manager {
            name: choices.one(&["one", "two", "three"]).to_owned(),
            operation: Operation::Apply,
            api_version: "g/v1".to_owned(),
            subresource: String::new(),
        };
        let force = choices.chance(60);
        let config = object(choices);
        let by = |live: Option<&Value>, force| {
            apply(&Sample, live, &config, Applier { manager: &manager, force, now: "2026-01-01T00:00:00Z" })
        };
        match by(live.as_ref(), force) {
            Ok(applied) => {
                let again = by(Some(&applied), false);
                assert_eq!(again.as_ref(), Ok(&applied), "applying {config} again");
                live = Some(applied);
            }
            Err(conflicts) => {
                assert!(!force, "force, and yet {conflicts}");
                assert!(!conflicts.0.is_empty());
            }
        }
    }
}
