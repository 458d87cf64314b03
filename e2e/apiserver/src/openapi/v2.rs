//! Version 2 of OpenAPI, as JSON.

use serde_json::{Map, Value, json};

use super::{PARAMETERS, PREFIX, RELEASE, documents, kind, patches, place, schemas};
use crate::registry::{Registry, Resource, Verbs};

/// `/openapi/v2` as JSON.
pub fn swagger(registry: &Registry) -> Value {
    let (mut paths, mut all) = (Map::new(), Map::new());
    for (path, resources) in documents(registry) {
        for resource in resources.iter().filter(|resource| resource.verbs == Verbs::All) {
            paths.insert(format!("/{path}/{}", place(resource)), operation(resource));
        }
        all.extend(schemas(&resources).into_iter().map(|(name, schema)| (name, older(&schema))));
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": RELEASE},
        "paths": paths,
        "definitions": all,
    })
}

/// As in version 3, with version 2's words.
fn operation(resource: &Resource) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "type": "string", "uniqueItems": true});
    json!({"patch": {
        "description": format!("partially update the specified {}", resource.kind),
        "consumes": patches(resource),
        "parameters": PARAMETERS.map(parameter),
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind(resource),
    }})
}

/// A schema without what version 2 does not have.
fn older(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            // A reference with a description is an `allOf` of one in version 3.
            let only = fields.get("allOf").and_then(Value::as_array).filter(|all| all.len() == 1);
            let mut copy = Map::new();
            for (name, value) in fields {
                match name.as_str() {
                    // Names of fields, whatever they say.
                    "properties" if value.is_object() => {
                        let fields = value.as_object().into_iter().flatten();
                        let fields = fields.map(|(name, schema)| (name.clone(), older(schema)));
                        copy.insert(name.clone(), Value::Object(fields.collect()));
                    }
                    "anyOf" | "oneOf" | "not" | "nullable" => {}
                    "allOf" if only.is_some() => {
                        if let Some(Value::Object(inner)) = only.and_then(|all| all.first()).map(older) {
                            copy.extend(inner);
                        }
                    }
                    "$ref" if value.is_string() => {
                        let target = value.as_str().unwrap_or_default().replace(PREFIX, "#/definitions/");
                        copy.insert(name.clone(), target.into());
                    }
                    _ => drop(copy.insert(name.clone(), older(value))),
                }
            }
            Value::Object(copy)
        }
        Value::Array(items) => items.iter().map(older).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_definitions() {
        let document = swagger(&Registry::default());
        assert!(!document.to_string().contains(PREFIX));
        assert!(
            document["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["metadata"]["$ref"].is_string()
        );
    }

    #[test]
    fn fields_may_have_the_names_of_what_is_left_out() {
        let document = swagger(&Registry::default());
        let schema = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        let fields = document["definitions"][schema]["properties"].as_object().unwrap();
        for name in ["$ref", "allOf", "anyOf", "not", "nullable", "oneOf", "properties"] {
            assert!(fields.contains_key(name), "{name}");
        }
        let both =
            older(&json!({"nullable": true, "oneOf": [{"type": "string"}], "format": "int-or-string"}));
        assert_eq!(both, json!({"format": "int-or-string"}));
    }
}
