//! Version 2 of OpenAPI as protobuf: the messages of gnostic (`openapi.v2`), of which only the fields that clients read
//! are here.

use prost::Message;
use serde_json::Value;

use super::RELEASE;
use super::v2::swagger;
use crate::registry::Registry;

/// `/openapi/v2` as protobuf.
pub fn protobuf(registry: &Registry) -> Vec<u8> {
    let document = swagger(registry);
    let definitions = document.get("definitions").and_then(Value::as_object);
    let named = definitions
        .into_iter()
        .flatten()
        .map(|(name, schema)| NamedSchema { name: name.clone(), value: Some(message(schema)) });
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    let paths = paths.map(|(name, path)| NamedPath {
        name: name.clone(),
        value: path.get("patch").map(|patch| Path { patch: Some(operation(patch)) }),
    });
    let whole = Document {
        swagger: "2.0".to_owned(),
        info: Some(Info { title: "Kubernetes".to_owned(), version: RELEASE.to_owned() }),
        paths: Some(Paths { path: paths.collect() }),
        definitions: Some(Schemas { additional_properties: named.collect() }),
    };
    whole.encode_to_vec()
}

fn operation(operation: &Value) -> Operation {
    let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let parameter = |parameter: &Value| {
        let query = Query {
            place: text(parameter, "in"),
            name: text(parameter, "name"),
            kind: text(parameter, "type"),
        };
        ParameterItem { parameter: Some(Parameter { non_body: Some(NonBody { query: Some(query) }) }) }
    };
    Operation {
        description: text(operation, "description"),
        consumes: texts(operation, "consumes"),
        parameters: parameters.map(parameter).collect(),
        vendor_extension: extensions(operation),
    }
}

fn text(owner: &Value, name: &str) -> String {
    owner.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(owner: &Value, name: &str) -> Vec<String> {
    let list = owner.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn extensions(owner: &Value) -> Vec<NamedAny> {
    let all = owner.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-"));
    // JSON is YAML.
    let any = |value: &Value| Some(Any { yaml: value.to_string() });
    all.map(|(name, value)| NamedAny { name: name.clone(), value: any(value) }).collect()
}

fn message(schema: &Value) -> Schema {
    let properties = schema.get("properties").and_then(Value::as_object).map(|properties| Schemas {
        additional_properties: properties
            .iter()
            .map(|(name, schema)| NamedSchema { name: name.clone(), value: Some(message(schema)) })
            .collect(),
    });
    let more = schema.get("additionalProperties").and_then(|more| match more {
        Value::Bool(more) => Some(Additional { item: Some(Item::Boolean(*more)) }),
        Value::Object(_) => Some(Additional { item: Some(Item::Schema(Box::new(message(more)))) }),
        _ => None,
    });
    Schema {
        reference: text(schema, "$ref"),
        format: text(schema, "format"),
        description: text(schema, "description"),
        required: texts(schema, "required"),
        additional_properties: more.map(Box::new),
        kind: schema.get("type").and_then(Value::as_str).map(|kind| Kind { value: vec![kind.to_owned()] }),
        items: schema.get("items").map(|items| Items { schema: vec![message(items)] }),
        properties,
        vendor_extension: extensions(schema),
    }
}

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Schemas>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPath>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPath {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Path>,
}

#[derive(Clone, PartialEq, Message)]
struct Path {
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, repeated, tag = "7")]
    consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParameterItem>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParameterItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(message, optional, tag = "2")]
    non_body: Option<NonBody>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBody {
    #[prost(message, optional, tag = "3")]
    query: Option<Query>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    kind: String,
}

/// `Definitions` and `Properties`, which are alike.
#[derive(Clone, PartialEq, Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<Additional>>,
    #[prost(message, optional, tag = "22")]
    kind: Option<Kind>,
    #[prost(message, optional, tag = "23")]
    items: Option<Items>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct Additional {
    #[prost(oneof = "Item", tags = "1, 2")]
    item: Option<Item>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Item {
    #[prost(message, tag = "1")]
    Schema(Box<Schema>),
    #[prost(bool, tag = "2")]
    Boolean(bool),
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_the_same() {
        let registry = Registry::default();
        let json = swagger(&registry);
        let binary = Document::decode(protobuf(&registry).as_slice()).unwrap();
        let names: Vec<String> =
            binary.definitions.unwrap().additional_properties.into_iter().map(|named| named.name).collect();
        let expected: Vec<String> = json["definitions"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, expected);
        let paths = binary.paths.unwrap().path;
        assert_eq!(paths.len(), json["paths"].as_object().unwrap().len());
        let path = paths.iter().find(|path| path.name == "/api/v1/namespaces/{name}").unwrap();
        let merge = path.value.clone().unwrap().patch.unwrap();
        assert!(merge.consumes.iter().any(|media| media == "application/strategic-merge-patch+json"));
        let kind = &merge.vendor_extension[1];
        assert_eq!(kind.name, "x-kubernetes-group-version-kind");
        let kind: Value = serde_json::from_str(&kind.value.as_ref().unwrap().yaml).unwrap();
        assert_eq!(kind["kind"], "Namespace");
    }
}
