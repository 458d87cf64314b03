//! How the lists and maps of a kind grow together when several write them.

use serde_json::{Map, Value};

/// How a list is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lists {
    /// As one value.
    Atomic,
    /// Each scalar for itself.
    Set,
    /// Each object for itself, told apart by these fields.
    Map(Vec<String>),
}

/// What is known of a kind's fields. Paths are names of fields from the top; the items of a list have its path.
pub trait Shape {
    /// How the list there is merged.
    fn list(&self, path: &[&str]) -> Lists;
    /// Whether the map there is one value, not one for each key.
    fn is_atomic_map(&self, path: &[&str]) -> bool;
    /// The field by which a strategic merge patch tells the items of a list apart; `None`: it replaces the list.
    fn strategic_key(&self, path: &[&str]) -> Option<StrategicKey>;
}

/// How a strategic merge patch merges a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrategicKey {
    /// Objects, told apart by one field.
    Field(String),
    /// Scalars.
    Set,
}

/// The fields that every kind has.
pub(crate) fn metadata_list(path: &[&str]) -> Option<Lists> {
    match path {
        ["metadata", "finalizers"] => Some(Lists::Set),
        ["metadata", "ownerReferences"] => Some(Lists::Map(vec!["uid".to_owned()])),
        ["metadata", ..] => Some(Lists::Atomic),
        _ => None,
    }
}

/// How an item of an associative list is named in a field set; `None`: it cannot be told apart from others, so the
/// list has to be taken as one value.
pub(super) fn item_name(lists: &Lists, item: &Value) -> Option<String> {
    match lists {
        Lists::Atomic => None,
        Lists::Set => (!item.is_object() && !item.is_array()).then(|| format!("v:{item}")),
        Lists::Map(keys) => {
            let item = item.as_object()?;
            let mut named = Map::new();
            let mut is_any = false;
            for key in keys {
                let value = match item.get(key) {
                    Some(value) => {
                        is_any = true;
                        value.clone()
                    }
                    // The only key of a built-in kind that has a default.
                    None if key == "protocol" => Value::String("TCP".to_owned()),
                    None => Value::Null,
                };
                named.insert(key.clone(), value);
            }
            named.sort_keys();
            is_any.then(|| format!("k:{}", Value::Object(named)))
        }
    }
}

/// The items of a list by their names, in order; `None`: it is one value.
pub(super) fn named_items<'a>(lists: &Lists, items: &'a [Value]) -> Option<Vec<(String, &'a Value)>> {
    if *lists == Lists::Atomic {
        return None;
    }
    let named: Option<Vec<_>> = items.iter().map(|item| Some((item_name(lists, item)?, item))).collect();
    let named = named?;
    let unique: std::collections::BTreeSet<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    (unique.len() == named.len()).then_some(named)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// `spec.items` and `status.conditions` are maps by key, `spec.tags` is a set, `spec.selector` one value.
    pub(crate) struct Sample;

    impl Shape for Sample {
        fn list(&self, path: &[&str]) -> Lists {
            match path {
                ["spec", "items"] => Lists::Map(vec!["name".into()]),
                ["status", "conditions"] => Lists::Map(vec!["type".into()]),
                ["spec", "ports"] => Lists::Map(vec!["port".into(), "protocol".into()]),
                ["spec", "tags"] => Lists::Set,
                path => metadata_list(path).unwrap_or(Lists::Atomic),
            }
        }

        fn is_atomic_map(&self, path: &[&str]) -> bool {
            path == ["spec", "selector"]
        }

        fn strategic_key(&self, path: &[&str]) -> Option<StrategicKey> {
            match path {
                ["spec", "items"] => Some(StrategicKey::Field("name".into())),
                ["metadata", "finalizers"] | ["spec", "tags"] => Some(StrategicKey::Set),
                _ => None,
            }
        }
    }

    #[test]
    fn items_are_named_by_their_keys_with_defaults() {
        let ports = Sample.list(&["spec", "ports"]);
        let expected = Some(r#"k:{"port":80,"protocol":"TCP"}"#.to_owned());
        assert_eq!(item_name(&ports, &json!({"port": 80, "x": 1})), expected);
        assert_eq!(item_name(&ports, &json!({"protocol": "TCP", "port": 80})), expected);
        assert_eq!(item_name(&ports, &json!({"x": 1})), None);
        assert_eq!(item_name(&Lists::Set, &json!("a")), Some(r#"v:"a""#.into()));
    }

    #[test]
    fn a_list_that_names_an_item_twice_is_one_value() {
        let items = [json!({"name": "a"}), json!({"name": "a", "x": 1})];
        assert_eq!(named_items(&Sample.list(&["spec", "items"]), &items), None);
    }
}
