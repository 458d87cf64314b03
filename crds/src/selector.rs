//! Label selectors: the schema of `metav1.LabelSelector`, which is the type everywhere here.
//!
//! `k8s-openapi` has a schema of its own, but without the merge strategies that the API server needs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::{Schema, SchemaGenerator, json_schema};

/// What a field that holds a label selector accepts. As in upstream's definitions `operator` is a plain string: what
/// is no operator is storable, and for the implementation to refuse.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels that must all be there, each with exactly this value.",
                "type": "object",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "description": "Conditions on labels. All of them, and all of `matchLabels`, must hold.",
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "description": "One condition on one label.",
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "The label's key.",
                            "type": "string",
                        },
                        "operator": {
                            "description": "`In`: the label is there with one of `values`. `NotIn`: it is absent or has another value. \
                                            `Exists` and `DoesNotExist`: it is there, or not, whatever its value. Any other word \
                                            fails closed, and the policy's status says so.",
                            "type": "string",
                        },
                        "values": {
                            "description": "For `In` and `NotIn`, at least one value; for the other operators, none.",
                            "type": "array",
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string" },
                        },
                    },
                },
            },
        },
    })
}

/// The selector that selects everything.
pub fn everything() -> LabelSelector {
    LabelSelector::default()
}

/// A selector of exactly these labels.
pub fn labels<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> LabelSelector {
    let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}
