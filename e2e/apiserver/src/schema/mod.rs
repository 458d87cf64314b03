//! The schema of a kind: what its objects may hold. Decides what is unknown, what goes without saying, and what is
//! wrong, in Kubernetes' words. Pure.

mod check;
mod fields;
mod refs;
mod structural;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kube_cel::{CompiledSchema, Validator, compile_schema};
use regex::Regex;
use serde_json::{Map, Value};

pub use refs::Definitions;

/// One thing that is wrong with an object, as `status.details.causes` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The field's path, such as `spec.ingress[0].action`.
    pub field: String,
    /// Kubernetes' class of it, such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why an object is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Fields that the kind does not have, where the caller wants none (400).
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
    /// The object breaks the schema (422).
    #[error("{}", joined(.0))]
    Invalid(Vec<Cause>),
}

fn joined(causes: &[Cause]) -> String {
    let all: Vec<String> = causes.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", all.join(", ")),
    }
}

/// What becomes of fields that the kind does not have; `fieldValidation` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, with a warning.
    #[default]
    Warn,
    /// The object is refused.
    Strict,
}

/// See the module.
pub struct Schema {
    root: Value,
    definitions: Arc<Definitions>,
    patterns: HashMap<String, Regex>,
    /// Rules in CEL, compiled. Only definitions have any.
    rules: Option<Mutex<Rules>>,
    /// Whether objects without described fields keep everything, as free-form parts of built-in kinds do.
    is_lenient: bool,
}

struct Rules {
    validator: Validator,
    compiled: CompiledSchema,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("is_lenient", &self.is_lenient).finish_non_exhaustive()
    }
}

impl Schema {
    /// The schema of a version in a CustomResourceDefinition.
    ///
    /// # Errors
    /// What makes it no structural schema, at its path below `openAPIV3Schema`.
    pub fn structural(root: Value) -> Result<Self, Vec<Cause>> {
        let mut patterns = HashMap::new();
        let mut causes = Vec::new();
        structural::check(&root, "", "", &mut causes);
        if !causes.is_empty() {
            return Err(causes);
        }
        refs::collect_patterns(&root, "", &mut patterns, &mut causes);
        let compiled = compile_schema(&root);
        let broken = refs::rules(&root, "", &compiled);
        causes.extend(broken);
        if !causes.is_empty() {
            return Err(causes);
        }
        let rules =
            refs::has_rules(&root).then(|| Mutex::new(Rules { validator: Validator::new(), compiled }));
        Ok(Self { root, definitions: Arc::default(), patterns, rules, is_lenient: false })
    }

    /// The schema of a built-in kind, by reference to its definition.
    pub fn built_in(root: Value, definitions: &Arc<Definitions>) -> Self {
        let (definitions, patterns) = (Arc::clone(definitions), HashMap::new());
        Self { root, definitions, patterns, rules: None, is_lenient: true }
    }

    /// As OpenAPI has it.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// What is wrong with the fields that are there and those that are not; rules in CEL come last, and only where
    /// the object has the form that they expect.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = Vec::new();
        check::check(self, &self.root, object, "", &mut causes);
        if let Some(rules) = &self.rules {
            if causes.iter().any(is_blocking) {
                causes.push(unchecked());
                return causes;
            }
            let rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(errors) = rules.validator.validate_compiled(&rules.compiled, object, old) {
                causes.extend(errors.into_vec().into_iter().map(|error| self.broken_rule(error)));
            }
        }
        causes
    }

    /// Removes the fields that the kind does not have; gives their paths, in order.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        fields::prune(self, &self.root, object, "", true, &mut unknown);
        unknown
    }

    /// Fills in what goes without saying.
    pub fn default(&self, object: &mut Value) {
        fields::default(self, &self.root, object);
    }

    /// The part of the schema at a path of field names; items of lists have the list's path.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self.resolved(&self.root), |schema, name| {
            let schema = schema.get("items").map_or(schema, |items| self.resolved(items));
            let next = schema.get("properties").and_then(|properties| properties.get(name));
            let next = next.or_else(|| schema.get("additionalProperties").filter(|next| next.is_object()));
            next.map(|next| self.resolved(next))
        })
    }

    /// A rule's complaint. It shows of a value only the type, so that no secret gets into a message.
    fn broken_rule(&self, error: kube_cel::ValidationError) -> Cause {
        let reason = match error.reason.as_deref() {
            Some("FieldValueRequired") => "FieldValueRequired",
            Some("FieldValueForbidden") => "FieldValueForbidden",
            Some("FieldValueDuplicate") => "FieldValueDuplicate",
            _ => "FieldValueInvalid",
        };
        let field = error.field_path;
        let names: Vec<&str> = field.split('.').filter(|name| !name.is_empty()).collect();
        let part = names.iter().try_fold(&self.root, |part, name| {
            let mut part = properties(part).and_then(|known| known.get(name.split('[').next()?));
            for _ in name.matches('[') {
                part = part.and_then(|part| part.get("items").or_else(|| part.get("additionalProperties")));
            }
            part
        });
        let kind = part.and_then(|part| part.get("type")).and_then(Value::as_str).unwrap_or("object");
        let message = match reason {
            "FieldValueRequired" => format!("Required value: {}", error.message),
            "FieldValueForbidden" => format!("Forbidden: {}", error.message),
            "FieldValueDuplicate" => format!("Duplicate value: \"{kind}\""),
            _ => format!("Invalid value: \"{kind}\": {}", error.message),
        };
        Cause { field: if field.is_empty() { "<nil>".to_owned() } else { field }, reason, message }
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        self.definitions.resolve(schema)
    }
}

/// Whether rules in CEL cannot be held against an object that has such a fault.
fn is_blocking(cause: &Cause) -> bool {
    let blocking = [
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    ];
    blocking.contains(&cause.reason)
}

fn unchecked() -> Cause {
    Cause {
        field: "<nil>".to_owned(),
        reason: "FieldValueInvalid",
        message: "Invalid value: null: some validation rules were not checked because the object was invalid; correct \
                  the existing errors to complete validation"
            .to_owned(),
    }
}

/// The fields of a schema's object, by name.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Whether unknown fields are kept there.
fn keeps_unknown(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}
