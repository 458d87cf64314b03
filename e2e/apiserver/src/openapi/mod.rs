//! OpenAPI documents: enough for `kubectl apply` to know that the server validates, and for `kubectl explain`. In
//! version 3 for today's clients, in version 2, also as protobuf, for those up to 1.26.

mod gnostic;
mod merging;
mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::registry::{Registry, Resource, Verbs, definitions};

pub use gnostic::protobuf;
pub use v2::swagger;

/// Where references lead in version 3.
const PREFIX: &str = "#/components/schemas/";

/// What a patch may be asked with.
const PARAMETERS: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "force"];

/// What the documents call the server's release.
const RELEASE: &str = "1.33";

/// The schema of an object's metadata.
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What Kubernetes says of it.
const METADATA_TEXT: &str = "Standard object's metadata. More info: \
                             https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The schema of a list's metadata.
const LIST_METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Kinds by group and version, as paths have them: `api/v1`, `apis/apps/v1`.
fn documents(registry: &Registry) -> BTreeMap<String, Vec<Arc<Resource>>> {
    let mut documents: BTreeMap<String, Vec<Arc<Resource>>> = BTreeMap::new();
    for resource in registry.resources() {
        documents.entry(root(&resource)).or_default().push(resource);
    }
    documents
}

fn root(resource: &Resource) -> String {
    let below = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{below}/{}", resource.api_version())
}

/// `/openapi/v3`.
pub fn index(registry: &Registry) -> Value {
    let paths: Map<String, Value> = documents(registry)
        .iter()
        .map(|(path, resources)| {
            // What can change is which kinds there are, and the schemas of custom ones.
            let named = resources.iter().map(|resource| {
                let schema = if resource.is_custom { resource.schema().to_string() } else { String::new() };
                format!("{}{schema}", resource.schema_name)
            });
            let hash = hash(&named.collect::<String>());
            (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
        })
        .collect();
    json!({"paths": paths})
}

/// Clients keep a document for as long as its hash stays (FNV-1a: they only compare it).
fn hash(text: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016X}")
}

/// `/openapi/v3/<path>`; `None`: there is no such group and version.
pub fn v3(registry: &Registry, path: &str) -> Option<Value> {
    let documents = documents(registry);
    let resources = documents.get(path)?;
    let mut paths = Map::new();
    for resource in resources.iter().filter(|resource| resource.verbs == Verbs::All) {
        paths.insert(format!("/{path}/{}", place(resource)), operations(resource));
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": RELEASE},
        "paths": paths,
        "components": {"schemas": schemas(resources)},
    }))
}

fn place(resource: &Resource) -> String {
    let inside = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    format!("{inside}{}/{{name}}", resource.plural)
}

/// How a kind may be patched.
fn patches(resource: &Resource) -> Vec<&'static str> {
    let mut all =
        vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    if !resource.is_custom {
        all.push("application/strategic-merge-patch+json");
    }
    all
}

/// The operation that clients look at: whether it takes `fieldValidation` tells them that the server validates, and
/// what it consumes how to merge.
fn operations(resource: &Resource) -> Value {
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let content =
        patches(resource).into_iter().map(|media| (media.to_owned(), json!({"schema": {"type": "object"}})));
    json!({"patch": {
        "description": format!("partially update the specified {}", resource.kind),
        "parameters": PARAMETERS.map(parameter),
        "requestBody": {"required": true, "content": content.collect::<Map<_, _>>()},
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind(resource),
    }})
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

/// The schemas of some kinds, and of everything that those are made of.
fn schemas(resources: &[Arc<Resource>]) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut waiting: BTreeSet<String> = BTreeSet::new();
    for resource in resources {
        let mut schema = if resource.is_custom {
            custom(resource)
        } else {
            definitions().get(&resource.schema_name).cloned().unwrap_or_default()
        };
        schema["x-kubernetes-group-version-kind"] = json!([kind(resource)]);
        references(&schema, &mut waiting);
        schemas.insert(resource.schema_name.clone(), schema);
        if resource.verbs == Verbs::All {
            let list = list(resource);
            references(&list, &mut waiting);
            schemas.insert(list_name(resource), list);
        }
    }
    while let Some(name) = waiting.pop_first() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(schema) = definitions().get(&name) else { continue };
        let mut schema = schema.clone();
        references(&schema, &mut waiting);
        merging::mark(&name, &mut schema);
        schemas.insert(name, schema);
    }
    schemas
}

/// The names of the fields that say what an object is, with what Kubernetes says of them.
fn type_fields() -> Map<String, Value> {
    let pod = definitions().get("io.k8s.api.core.v1.Pod").and_then(|pod| pod.get("properties"));
    let field = |name: &str| {
        let described = pod.and_then(|fields| fields.get(name)).and_then(|field| field.get("description"));
        json!({"type": "string", "description": described})
    };
    ["apiVersion", "kind"].into_iter().map(|name| (name.to_owned(), field(name))).collect()
}

fn list_name(resource: &Resource) -> String {
    resource.schema_name.strip_suffix(&resource.kind).unwrap_or_default().to_owned() + &resource.list_kind
}

/// A list of objects of a kind.
fn list(resource: &Resource) -> Value {
    let mut fields = type_fields();
    let link = |name: &str| json!({"$ref": format!("{PREFIX}{name}")});
    fields.insert(
        "items".to_owned(),
        json!({"description": format!("List of {}", resource.plural), "type": "array", "items": link(&resource.schema_name)}),
    );
    fields.insert(
        "metadata".to_owned(),
        json!({"description": "Standard list metadata.", "allOf": [link(LIST_METADATA)]}),
    );
    let mut kind = kind(resource);
    kind["kind"] = json!(resource.list_kind);
    json!({
        "description": format!("{} is a list of {}", resource.list_kind, resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": fields,
        "x-kubernetes-group-version-kind": [kind],
    })
}

/// A definition's schema with what every object has.
fn custom(resource: &Resource) -> Value {
    let mut schema = resource.schema().clone();
    if let Some(fields) = schema.as_object_mut() {
        let properties = fields.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.extend(type_fields());
            properties.insert(
                "metadata".to_owned(),
                json!({"description": METADATA_TEXT, "allOf": [{"$ref": format!("{PREFIX}{METADATA}")}]}),
            );
        }
    }
    schema
}

fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(PREFIX));
            found.extend(name.map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_whole() {
        let registry = Registry::default();
        let index = index(&registry);
        for path in index["paths"].as_object().unwrap().keys() {
            let document = v3(&registry, path).unwrap();
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let mut named = BTreeSet::new();
            references(&document, &mut named);
            for name in named {
                assert!(schemas.contains_key(&name), "{path}: {name}");
            }
        }
        assert!(v3(&registry, "apis/nothing/v1").is_none());
    }
}
