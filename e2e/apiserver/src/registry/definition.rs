//! CustomResourceDefinitions: what they leave out, what may be wrong with them, and the kinds that they bring.

use serde_json::{Value, json};

use super::{Column, Resource, Verbs};
use crate::schema::{Cause, Schema};
use crate::version::rank;

/// Fills in what a definition leaves out.
pub(super) fn complete(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) else { return };
    if let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned) {
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let all = value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is(value: &Value, field: &str) -> bool {
    value.get(field) == Some(&Value::Bool(true))
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten()
}

/// Where the objects of its kind are kept.
pub(super) fn storage(definition: &Value) -> String {
    text(definition, "/metadata/name").to_owned()
}

/// A number without fraction is an integer, however it was written.
pub(super) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Below 2^53 every float is what it says.
            let whole =
                number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15);
            if let Some(whole) = whole.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// What a column may show.
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];

/// What its schema cannot say.
pub(super) fn check(definition: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut wrong = |field: &str, message: String| {
        causes.push(Cause { field: field.to_owned(), reason: "FieldValueInvalid", message });
    };
    let (group, plural) = (text(definition, "/spec/group"), text(definition, "/spec/names/plural"));
    let (name, wanted) = (text(definition, "/metadata/name"), format!("{plural}.{group}"));
    if name != wanted {
        wrong(
            "metadata.name",
            format!("Invalid value: \"{name}\": must be spec.names.plural+\".\"+spec.group"),
        );
    }
    if !["Cluster", "Namespaced"].contains(&text(definition, "/spec/scope")) {
        let scope = text(definition, "/spec/scope");
        wrong(
            "spec.scope",
            format!("Unsupported value: \"{scope}\": supported values: \"Cluster\", \"Namespaced\""),
        );
    }
    let protected = group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io");
    let approval =
        definition.pointer("/metadata/annotations/api-approved.kubernetes.io").and_then(Value::as_str);
    let is_approved = approval.is_some_and(|text| text.starts_with("http") || text.starts_with("unapproved"));
    if protected && !is_approved {
        wrong(
            "metadata.annotations[api-approved.kubernetes.io]",
            "Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
             https://github.com/kubernetes/enhancements/pull/1111"
                .to_owned(),
        );
    }
    if versions(definition).filter(|version| is(version, "storage")).count() != 1 {
        wrong(
            "spec.versions",
            "Invalid value: must have exactly one version marked as storage version".to_owned(),
        );
    }
    for (index, version) in versions(definition).enumerate() {
        // A schema that all versions share is kept apart from them.
        let schemas: Vec<_> = versions(definition).map(|version| version.get("schema")).collect();
        let path = if schemas.windows(2).all(|pair| pair[0] == pair[1]) {
            "spec.validation.openAPIV3Schema".to_owned()
        } else {
            format!("spec.versions[{index}].schema.openAPIV3Schema")
        };
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else {
            wrong(&path, "Required value: schemas are required".to_owned());
            continue;
        };
        let kind = schema.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
        if kind.is_some_and(|kind| kind != "object") {
            wrong(&format!("{path}.type"), "Invalid value: must be object at the root".to_owned());
        }
        for cause in Schema::structural(schema.clone()).err().into_iter().flatten() {
            wrong(&format!("{path}.{}", cause.field), cause.message);
        }
        let columns = version.get("additionalPrinterColumns").and_then(Value::as_array).into_iter().flatten();
        for (place, column) in columns.enumerate() {
            let kind = text(column, "/type");
            if !COLUMN_TYPES.contains(&kind) {
                let field = format!("spec.versions[{index}].additionalPrinterColumns[{place}].type");
                let all = COLUMN_TYPES.join(",");
                wrong(&field, format!("Invalid value: \"{kind}\": must be one of {all}"));
            }
        }
    }
    causes
}

/// The kinds that it brings, one a version that is served.
pub(super) fn resources(definition: &Value) -> Result<Vec<Resource>, Vec<Cause>> {
    let group = text(definition, "/spec/group");
    let kind = text(definition, "/spec/names/kind");
    let reversed: Vec<&str> = group.split('.').rev().collect();
    let mut resources = Vec::new();
    for version in versions(definition).filter(|version| is(version, "served")) {
        let name = text(version, "/name");
        let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_else(|| json!({}));
        resources.push(Resource {
            group: group.to_owned(),
            version: name.to_owned(),
            kind: kind.to_owned(),
            list_kind: text(definition, "/spec/names/listKind").to_owned(),
            plural: text(definition, "/spec/names/plural").to_owned(),
            singular: text(definition, "/spec/names/singular").to_owned(),
            short_names: texts(definition, "/spec/names/shortNames"),
            categories: texts(definition, "/spec/names/categories"),
            namespaced: text(definition, "/spec/scope") == "Namespaced",
            has_status: version.pointer("/subresources/status").is_some(),
            is_custom: true,
            verbs: Verbs::All,
            storage: storage(definition),
            columns: columns(version),
            schema_name: format!("{}.{name}.{kind}", reversed.join(".")),
            selectable: selectable(version),
            deprecation: deprecation(definition, version),
            schema: Schema::structural(schema)?,
        });
    }
    Ok(resources)
}

/// The definition's own words, or which version to use instead.
fn deprecation(definition: &Value, version: &Value) -> Option<String> {
    if !is(version, "deprecated") {
        return None;
    }
    if let Some(given) = version.get("deprecationWarning").and_then(Value::as_str) {
        return Some(given.to_owned());
    }
    let (group, kind) = (text(definition, "/spec/group"), text(definition, "/spec/names/kind"));
    let name = text(version, "/name");
    let others = versions(definition).filter(|other| is(other, "served") && !is(other, "deprecated"));
    let newest = others.map(|other| text(other, "/name")).min_by_key(|name| rank(name));
    let instead = newest.filter(|newest| rank(newest) < rank(name));
    let instead = instead.map(|newest| format!("; use {group}/{newest} {kind}")).unwrap_or_default();
    Some(format!("{group}/{name} {kind} is deprecated{instead}"))
}

fn selectable(version: &Value) -> Vec<String> {
    let fields = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    fields.map(|field| text(field, "/jsonPath").trim_start_matches('.').to_owned()).collect()
}

fn columns(version: &Value) -> Vec<Column> {
    let given = version.get("additionalPrinterColumns").and_then(Value::as_array);
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return vec![Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: "When the object was created.".to_owned(),
            priority: 0,
            path: ".metadata.creationTimestamp".to_owned(),
        }];
    };
    let column = |column: &Value| Column {
        name: text(column, "/name").to_owned(),
        kind: text(column, "/type").to_owned(),
        format: text(column, "/format").to_owned(),
        description: text(column, "/description").to_owned(),
        priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
        path: text(column, "/jsonPath").to_owned(),
    };
    given.iter().map(column).collect()
}
