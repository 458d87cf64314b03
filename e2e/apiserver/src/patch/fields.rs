//! Sets of fields, as `managedFields` hold them (`FieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A field and those under it. Names are `FieldsV1`'s own: `f:name`, `k:{"key":"value"}`, `v:"value"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the field itself is in the set.
    pub is_member: bool,
    /// The fields under it that are, or that have some which are.
    pub children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Nothing but the field itself.
    pub fn leaf() -> Self {
        Self { is_member: true, children: BTreeMap::new() }
    }

    /// No field.
    pub fn is_empty(&self) -> bool {
        !self.is_member && self.children.values().all(Self::is_empty)
    }

    /// Puts a set under a name. Nothing happens if it is empty.
    pub fn put(&mut self, name: String, child: Self) {
        if !child.is_empty() {
            self.children.insert(name, child);
        }
    }

    /// A field at a path.
    pub fn get(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |set, name| set.children.get(*name))
    }

    /// Takes a field out, with all under it.
    pub fn take(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.take(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// Fields in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.is_member |= other.is_member;
        for (name, theirs) in &other.children {
            let child = sum.children.get(name).map_or_else(|| theirs.clone(), |own| own.union(theirs));
            sum.children.insert(name.clone(), child);
        }
        sum
    }

    /// Fields in this one and not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = Self { is_member: self.is_member && !other.is_member, children: BTreeMap::new() };
        for (name, own) in &self.children {
            rest.put(
                name.clone(),
                other.children.get(name).map_or_else(|| own.clone(), |theirs| own.minus(theirs)),
            );
        }
        rest
    }

    /// Fields in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut both = Self { is_member: self.is_member && other.is_member, children: BTreeMap::new() };
        for (name, own) in &self.children {
            if let Some(theirs) = other.children.get(name) {
                both.put(name.clone(), own.common(theirs));
            }
        }
        both
    }

    /// As `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        if self.is_member && !self.children.is_empty() {
            fields.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (name, child) in &self.children {
            fields.insert(name.clone(), child.to_value());
        }
        Value::Object(fields)
    }

    /// Reads `fieldsV1`.
    pub fn from_value(value: &Value) -> Self {
        let mut set = Self::read(value);
        set.is_member = false;
        set
    }

    fn read(value: &Value) -> Self {
        let Some(fields) = value.as_object().filter(|fields| !fields.is_empty()) else { return Self::leaf() };
        let mut set = Self { is_member: fields.contains_key("."), children: BTreeMap::new() };
        for (name, child) in fields.iter().filter(|(name, _)| *name != ".") {
            set.children.insert(canonical(name), Self::read(child));
        }
        set
    }

    /// The members' paths as people read them, such as `.status.conditions[type="Ready"].reason`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.is_member {
            paths.push(path.clone());
        }
        for (name, child) in &self.children {
            let length = path.len();
            path.push_str(&shown(name));
            child.collect(path, paths);
            path.truncate(length);
        }
    }
}

/// Keys in order, however the client wrote them.
fn canonical(name: &str) -> String {
    let keys = name.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Value>(keys).ok());
    match keys {
        Some(mut keys) => {
            keys.sort_all_objects();
            format!("k:{keys}")
        }
        None => name.to_owned(),
    }
}

fn shown(name: &str) -> String {
    match name.split_once(':') {
        Some(("f", field)) => format!(".{field}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{name}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "f:spec": {".": {}, "f:a": {}, "f:tags": {"v:\"x\"": {}}},
            "f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:reason": {}}}},
        })
    }

    #[test]
    fn a_set_is_written_as_it_was_read() {
        assert_eq!(FieldSet::from_value(&sample()).to_value(), sample());
    }

    #[test]
    fn keys_in_any_order_name_the_same_item() {
        let set = |keys: &str| FieldSet::from_value(&json!({"f:l": {format!("k:{keys}"): {}}}));
        assert_eq!(set(r#"{"b":1,"a":2}"#), set(r#"{"a":2, "b":1}"#));
    }

    #[test]
    fn paths_read_as_kube_apiserver_writes_them() {
        let expected = [
            ".spec",
            ".spec.a",
            ".spec.tags[=\"x\"]",
            ".status.conditions[type=\"Ready\"]",
            ".status.conditions[type=\"Ready\"].reason",
        ];
        assert_eq!(FieldSet::from_value(&sample()).paths(), expected);
    }

    #[test]
    fn sets_are_added_and_subtracted_by_member() {
        let left = FieldSet::from_value(&json!({"f:a": {".": {}, "f:x": {}}, "f:b": {}}));
        let right = FieldSet::from_value(&json!({"f:a": {"f:x": {}, "f:y": {}}, "f:b": {}}));
        assert_eq!(left.minus(&right).to_value(), json!({"f:a": {}}));
        assert_eq!(left.common(&right).to_value(), json!({"f:a": {"f:x": {}}, "f:b": {}}));
        let sum = json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}});
        assert_eq!(left.union(&right).to_value(), sum);
        assert!(left.minus(&left).is_empty());
    }
}
