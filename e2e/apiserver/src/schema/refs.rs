//! Named parts of schemas, and what a schema must compile to before objects are held against it.

use std::collections::HashMap;

use kube_cel::CompiledSchema;
use regex::Regex;
use serde_json::{Map, Value};

use super::Cause;

/// Where references lead.
const PREFIX: &str = "#/components/schemas/";

/// Schemas by name.
#[derive(Clone, Debug, Default)]
pub struct Definitions(Map<String, Value>);

impl Definitions {
    /// Named schemas.
    pub fn new(schemas: Map<String, Value>) -> Self {
        Self(schemas)
    }

    /// All of them, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The schema itself, where it is only a reference.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let single = || schema.get("allOf").and_then(Value::as_array).filter(|all| all.len() == 1);
        let target = schema.get("$ref").or_else(|| single().and_then(|all| all[0].get("$ref")));
        let name = target.and_then(Value::as_str).and_then(|target| target.strip_prefix(PREFIX));
        name.and_then(|name| self.0.get(name)).unwrap_or(schema)
    }
}

/// Every schema below a schema, with its name there.
pub(super) fn children(schema: &Value) -> Vec<(String, &Value)> {
    let mut below = Vec::new();
    for (name, child) in super::properties(schema).into_iter().flatten() {
        below.push((format!("properties[{name}]"), child));
    }
    for name in ["items", "additionalProperties", "not"] {
        below
            .extend(schema.get(name).filter(|child| child.is_object()).map(|child| (name.to_owned(), child)));
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        let several = schema.get(name).and_then(Value::as_array).into_iter().flatten().enumerate();
        below.extend(several.map(|(index, child)| (format!("{name}[{index}]"), child)));
    }
    below
}

pub(super) fn collect_patterns(
    schema: &Value,
    path: &str,
    patterns: &mut HashMap<String, Regex>,
    causes: &mut Vec<Cause>,
) {
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        match Regex::new(pattern) {
            Ok(regex) => drop(patterns.insert(pattern.to_owned(), regex)),
            Err(error) => causes.push(Cause {
                field: format!("{path}pattern"),
                reason: "FieldValueInvalid",
                message: format!("Invalid value: \"{pattern}\": {error}"),
            }),
        }
    }
    for (name, child) in children(schema) {
        collect_patterns(child, &format!("{path}{name}."), patterns, causes);
    }
}

/// Whether a schema has rules in CEL anywhere.
pub(super) fn has_rules(schema: &Value) -> bool {
    schema.get("x-kubernetes-validations").is_some()
        || children(schema).iter().any(|(_, child)| has_rules(child))
}

/// Rules that do not compile.
pub(super) fn rules(schema: &Value, path: &str, compiled: &CompiledSchema) -> Vec<Cause> {
    let mut causes: Vec<Cause> = compiled
        .compilation_errors()
        .iter()
        .map(|error| Cause {
            field: format!("{path}x-kubernetes-validations"),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: compilation failed: {error}"),
        })
        .collect();
    for (name, child) in super::properties(schema).into_iter().flatten() {
        if let Some(compiled) = compiled.properties.get(name) {
            causes.extend(rules(child, &format!("{path}properties[{name}]."), compiled));
        }
    }
    if let (Some(child), Some(compiled)) = (schema.get("items"), &compiled.items) {
        causes.extend(rules(child, &format!("{path}items."), compiled));
    }
    if let (Some(child), Some(compiled)) =
        (schema.get("additionalProperties"), &compiled.additional_properties)
    {
        causes.extend(rules(child, &format!("{path}additionalProperties."), compiled));
    }
    causes
}
