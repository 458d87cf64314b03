//! What an API server would say of an object, by the committed definitions: defaults, then the schema, then what the
//! schema's keywords of Kubernetes say of lists, and CEL where all that holds.

use std::collections::BTreeSet;

use kube_cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use palisade_crds::MANIFESTS;
use serde_json::Value;

/// The committed definition of one kind.
pub(crate) struct Judge {
    pub(crate) kind: String,
    /// `openAPIV3Schema`.
    pub(crate) schema: Value,
    structure: jsonschema::Validator,
    cel: CompiledSchema,
}

impl Judge {
    /// A judge for each kind, as committed.
    pub(crate) fn all() -> Vec<Self> {
        MANIFESTS.iter().map(|manifest| Self::new(&definition(manifest.text))).collect()
    }

    pub(crate) fn of(kind: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|judge| judge.kind == kind)
            .unwrap_or_else(|| panic!("{kind}: no definition"))
    }

    pub(crate) fn new(definition: &Value) -> Self {
        let schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let structure = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
        let cel = compile_schema(&schema);
        assert!(!cel.has_errors(), "rules that do not compile: {:?}", cel.compilation_errors());
        let kind = definition["spec"]["names"]["kind"].as_str().expect("a kind").to_owned();
        Self { kind, schema, structure, cel }
    }

    /// The object as it would be stored, had it no fields that the schema does not know.
    pub(crate) fn defaulted(&self, object: &Value) -> Value {
        apply_defaults(&self.schema, object)
    }

    /// The constraints that an object breaks, as JSON pointers into the schema. Empty: it is valid.
    pub(crate) fn broken(&self, object: &Value) -> BTreeSet<String> {
        let object = self.defaulted(object);
        let mut broken = BTreeSet::new();
        for error in self.structure.iter_errors(&object) {
            let mut at = error.schema_path().to_string();
            if let jsonschema::error::ValidationErrorKind::Required { property } = error.kind() {
                at = format!("{at}/{}", property.as_str().unwrap_or_default());
            }
            broken.insert(at);
        }
        lists(&self.schema, &object, "", &mut broken);
        if !broken.is_empty() {
            return broken;
        }
        for error in Validator::new().validate_compiled(&self.cel, &object, None).err().into_iter().flatten()
        {
            let at = self.schema_pointer(&document_pointer(&error.field_path));
            broken.insert(format!("{at}/x-kubernetes-validations/{}", error.rule));
        }
        broken
    }

    /// The fields of an object that the schema does not know, and an API server would drop.
    pub(crate) fn unknown(&self, object: &Value) -> BTreeSet<String> {
        let mut unknown = BTreeSet::new();
        unknown_fields(&self.schema, object, "", &mut unknown);
        unknown
    }

    /// Where the schema speaks of what stands at a place of an object.
    pub(crate) fn schema_pointer(&self, document: &str) -> String {
        let mut at = String::new();
        for segment in document.split('/').skip(1) {
            let node = self.schema.pointer(&at).expect("walked so far");
            if node["items"].is_object() {
                at = format!("{at}/items");
            } else if node["properties"][segment].is_object() {
                at = format!("{at}/properties/{segment}");
            } else if node["additionalProperties"].is_object() {
                at = format!("{at}/additionalProperties");
            } else {
                panic!("{}: {document}: the schema does not know `{segment}`", self.kind);
            }
        }
        at
    }
}

/// A definition's text as a value.
pub(crate) fn definition(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// `spec.egress[0].to[1]` as `/spec/egress/0/to/1`.
fn document_pointer(field_path: &str) -> String {
    let path = field_path.replace('[', ".").replace(']', "");
    if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) }
}

/// The schemas of an object's or a list's members, with the members and where both stand.
fn members<'a>(schema: &'a Value, value: &'a Value) -> Vec<(String, &'a Value, String, &'a Value)> {
    match value {
        Value::Array(items) if schema["items"].is_object() => items
            .iter()
            .enumerate()
            .map(|(index, item)| ("/items".to_owned(), &schema["items"], format!("/{index}"), item))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .filter_map(|(key, field)| {
                let known = schema["properties"].get(key).map(|known| (format!("/properties/{key}"), known));
                let any =
                    schema.get("additionalProperties").map(|any| ("/additionalProperties".to_owned(), any));
                let (at, schema) = known.or(any)?;
                Some((at, schema, format!("/{key}"), field))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Lists that are sets, or maps by keys, hold nothing twice.
fn lists(schema: &Value, value: &Value, at: &str, broken: &mut BTreeSet<String>) {
    if let Some(items) = value.as_array() {
        let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Some(item.to_string()),
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().expect("keys of a map");
                Some(keys.iter().map(|key| item[key.as_str().expect("a key")].to_string() + "\n").collect())
            }
            _ => None,
        };
        let identities: Vec<String> = items.iter().filter_map(identity).collect();
        if identities.iter().collect::<BTreeSet<_>>().len() < identities.len() {
            broken.insert(format!("{at}/x-kubernetes-list-type"));
        }
    }
    for (down, schema, _, value) in members(schema, value) {
        lists(schema, value, &format!("{at}{down}"), broken);
    }
}

fn unknown_fields(schema: &Value, value: &Value, at: &str, unknown: &mut BTreeSet<String>) {
    // Of metadata the schema says only that it is there: the API server has its own.
    if at == "/metadata" {
        return;
    }
    let known = members(schema, value);
    if let Value::Object(fields) = value {
        let known: BTreeSet<&String> = known.iter().map(|(_, _, down, _)| down).collect();
        unknown.extend(
            fields
                .keys()
                .map(|key| format!("/{key}"))
                .filter(|key| !known.contains(key))
                .map(|key| format!("{at}{key}")),
        );
    }
    for (_, schema, down, value) in known {
        unknown_fields(schema, value, &format!("{at}{down}"), unknown);
    }
}
