//! From what the types derive to what an API server is given.
//!
//! The derive says what Rust decodes; a definition says what may be stored. They differ in `null`, which decodes as
//! absent but is not stored, and in the fields that every object has, which the derive leaves out.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy, ConformanceReport};

/// The definitions of all kinds here, in the order of their names.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut all = [
        AdminNetworkPolicy::crd(),
        BaselineAdminNetworkPolicy::crd(),
        ClusterNetworkPolicy::crd(),
        ConformanceReport::crd(),
    ]
    .map(finish);
    all.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    all.into()
}

fn finish(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let names = &mut definition.spec.names;
    names.list_kind = Some(format!("{}List", names.kind));
    for version in &mut definition.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            envelop(schema);
        }
    }
    definition
}

/// Takes back what the derive says for Rust's sake only, here and below.
fn tidy(schema: &mut JSONSchemaProps) {
    // An absent field and `null` are one to Rust. To the API server `null` would be a value to keep, and other
    // clients of these kinds do not expect it.
    schema.nullable = None;
    // The name of a Rust type.
    schema.title = None;
    schema.description = schema.description.as_deref().map(paragraphs);
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        tidy(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Lines that a source file broke, made whole. Empty lines stay, between paragraphs.
fn paragraphs(text: &str) -> String {
    let whole = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split("\n\n").map(whole).collect::<Vec<_>>().join("\n\n")
}

/// Adds what every object has.
fn envelop(schema: &mut JSONSchemaProps) {
    let string = |description: &str| JSONSchemaProps {
        description: Some(description.to_owned()),
        type_: Some("string".to_owned()),
        ..JSONSchemaProps::default()
    };
    let properties = schema.properties.get_or_insert_default();
    properties
        .insert("apiVersion".to_owned(), string("The API group and version that this object is written in."));
    properties.insert("kind".to_owned(), string("What kind of object this is."));
    let metadata = JSONSchemaProps { type_: Some("object".to_owned()), ..JSONSchemaProps::default() };
    properties.insert("metadata".to_owned(), metadata);
    let required = schema.required.get_or_insert_default();
    required.push("metadata".to_owned());
    required.sort();
}
