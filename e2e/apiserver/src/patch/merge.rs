//! JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

use serde_json::Value;

use super::PatchError;

/// Merges a patch into an object: nulls take fields away, lists are replaced.
pub fn merge(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}

/// Applies operations in order, all or none.
///
/// # Errors
/// The patch is no list of operations, or one of them cannot be done; the object may have changed then.
pub fn operations(object: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError(format!("error decoding patch: {error}")))?;
    json_patch::patch(object, &patch).map_err(|error| PatchError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_kinds_of_patch_change_an_object() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        merge(&mut object, &json!({"a": {"b": null, "d": 3}, "l": [3]}));
        assert_eq!(object, json!({"a": {"c": 2, "d": 3}, "l": [3]}));
        let patch = json!([
            {"op": "test", "path": "/a/c", "value": 2}, {"op": "remove", "path": "/a/c"},
            {"op": "add", "path": "/l/-", "value": 4}, {"op": "replace", "path": "/a/d", "value": 5},
        ]);
        operations(&mut object, &patch).expect("patch");
        assert_eq!(object, json!({"a": {"d": 5}, "l": [3, 4]}));
    }

    #[test]
    fn operations_that_cannot_be_done_are_refused() {
        for patch in [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "remove", "path": "/b"}]),
            json!([{"op": "jump", "path": "/b"}]),
            json!({"a": 1}),
        ] {
            assert!(operations(&mut json!({"a": 1}), &patch).is_err(), "{patch}");
        }
    }
}
