//! What a policy's status says, as a person reads it.

use serde_json::Value;

/// A condition of an object that is about its present generation.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let generation = object.pointer("/metadata/generation")?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind && condition["observedGeneration"] == *generation)
}

/// Whether a condition about the present generation has a status.
pub fn is(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == status)
}

/// Everything a status says but when, for comparing; sorted.
pub fn essence(object: &Value) -> Vec<String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let mut said: Vec<String> = conditions
        .into_iter()
        .flatten()
        .map(|condition| {
            let of = &condition["observedGeneration"];
            let is_present = object.pointer("/metadata/generation") == Some(of);
            format!(
                "{}={} {}: {} (of the present generation: {is_present})",
                condition["type"], condition["status"], condition["reason"], condition["message"]
            )
        })
        .collect();
    said.sort();
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_about_an_older_generation_does_not_count() {
        let object = |generation: i64| {
            json!({
                "metadata": {"generation": generation},
                "status": {"conditions": [{"type": "Programmed", "status": "True", "observedGeneration": 2}]},
            })
        };
        assert!(is(&object(2), "Programmed", "True"));
        assert!(!is(&object(2), "Programmed", "False"));
        assert!(!is(&object(2), "Accepted", "True"));
        assert!(!is(&object(3), "Programmed", "True"));
    }
}
