//! What constrains objects in a schema, read off keyword by keyword. A keyword that is not known here fails: else a
//! new kind of constraint would stand untested.

use std::collections::BTreeSet;

use serde_json::Value;

/// Every constraint of a schema, as a JSON pointer that ends in the keyword. Of `required` and of CEL rules each
/// entry counts by itself.
pub(crate) fn constraints(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(schema, "", &mut found);
    found
}

fn collect(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    for (keyword, value) in schema.as_object().expect("a schema is an object") {
        let here = format!("{at}/{keyword}");
        match keyword.as_str() {
            "properties" => {
                for (name, property) in value.as_object().expect("properties") {
                    collect(property, &format!("{here}/{name}"), found);
                }
            }
            "items" | "additionalProperties" => collect(value, &here, found),
            "required" => {
                for name in value.as_array().expect("names") {
                    let name = name.as_str().expect("a name");
                    // With a default, the field is never missing.
                    if schema["properties"][name].get("default").is_none() {
                        found.insert(format!("{here}/{name}"));
                    }
                }
            }
            "x-kubernetes-validations" => {
                for rule in value.as_array().expect("rules") {
                    found.insert(format!("{here}/{}", rule["rule"].as_str().expect("a rule")));
                }
            }
            "type" | "enum" | "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems"
            | "minProperties" | "maxProperties" | "pattern" => {
                found.insert(here);
            }
            // The widths of integers constrain nothing that the limits beside them do not; dates are checked.
            "format" if value == "date-time" => {
                found.insert(here);
            }
            "x-kubernetes-list-type" if value == "set" || value == "map" => {
                found.insert(here);
            }
            "format" => assert!(value == "int32" || value == "int64", "{here}: {value}"),
            "x-kubernetes-list-type" | "x-kubernetes-map-type" => {
                assert!(value == "atomic", "{here}: {value}");
            }
            "description" | "default" | "x-kubernetes-list-map-keys" => {}
            other => panic!("{at}: the tests do not know the keyword `{other}`"),
        }
    }
}
