//! Names in metadata, as Kubernetes wants them: of objects, labels, annotations, finalizers and owners. Pure.

use serde_json::Value;

use crate::schema::Cause;

/// Most characters of a label's value and of the name part of its key.
const LABEL: usize = 63;

/// Most characters of an object's name and of the prefix of a key.
const SUBDOMAIN: usize = 253;

/// Most bytes of all annotations together.
const ANNOTATIONS: usize = 256 << 10;

const NAME_PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                         validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Letters and digits, with `-`, `_` and `.` between them; not empty.
fn is_word(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(is_end) && text.ends_with(is_end) && text.chars().all(|c| is_end(c) || "-_.".contains(c))
}

/// Whether a text is a DNS label, whatever its length.
pub(crate) fn is_label(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_end) && text.ends_with(is_end) && text.chars().all(|c| is_end(c) || c == '-')
}

fn too_long(most: usize) -> String {
    format!("must be no more than {most} characters")
}

/// What is wrong with the name of a domain.
pub(crate) fn subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN {
        wrong.push(too_long(SUBDOMAIN));
    }
    if !text.split('.').all(is_label) {
        wrong.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

/// What is wrong with a key, such as a label's.
pub(crate) fn key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            wrong.push(format!(
                "a qualified name {NAME_PART} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            ));
            return wrong;
        }
        Some(("", name)) => {
            wrong.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            wrong.extend(subdomain(prefix).into_iter().map(|what| format!("prefix part {what}")));
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL {
        wrong.push(format!("name part {}", too_long(LABEL)));
    }
    if !is_word(name) {
        wrong.push(format!("name part {NAME_PART}"));
    }
    wrong
}

/// What is wrong with a label's value.
pub(crate) fn value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL {
        wrong.push(too_long(LABEL));
    }
    if !text.is_empty() && !is_word(text) {
        wrong.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
             for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// What is wrong, as causes of one field.
pub(crate) fn causes(field: &str, text: &str, wrong: Vec<String>) -> Vec<Cause> {
    let cause = |what: String| Cause {
        field: field.to_owned(),
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {}: {what}", Value::from(text)),
    };
    wrong.into_iter().map(cause).collect()
}

/// What is wrong with a map of labels at a field.
pub(crate) fn labels(field: &str, labels: Option<&Value>) -> Vec<Cause> {
    let mut all = Vec::new();
    for (name, text) in labels.and_then(Value::as_object).into_iter().flatten() {
        let text = text.as_str().unwrap_or_default();
        all.extend(causes(field, name, key(name)));
        all.extend(causes(field, text, value(text)));
    }
    all
}

/// What is wrong with an object's metadata, but for its name.
pub(crate) fn metadata(object: &Value) -> Vec<Cause> {
    let Some(metadata) = object.get("metadata") else { return Vec::new() };
    let mut all = Vec::new();
    if let Some(prefix) = metadata.get("generateName").and_then(Value::as_str).filter(|text| !text.is_empty())
    {
        // What follows makes good an end that is none.
        let trimmed = prefix.strip_suffix('-').unwrap_or(prefix);
        all.extend(causes("metadata.generateName", prefix, subdomain(trimmed)));
    }
    all.extend(labels("metadata.labels", metadata.get("labels")));
    let mut size = 0;
    for (name, text) in metadata.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        all.extend(causes("metadata.annotations", name, key(&name.to_lowercase())));
        size += name.len() + text.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS {
        let message = format!("Too long: may not be more than {ANNOTATIONS} bytes");
        all.push(Cause { field: "metadata.annotations".to_owned(), reason: "FieldValueTooLong", message });
    }
    let list = |name: &str| metadata.get(name).and_then(Value::as_array).into_iter().flatten();
    for name in list("finalizers").filter_map(Value::as_str) {
        all.extend(causes("metadata.finalizers", name, key(name)));
    }
    for owner in list("ownerReferences") {
        for field in ["apiVersion", "kind", "name", "uid"] {
            let text = owner.get(field).and_then(Value::as_str).unwrap_or_default();
            if text.is_empty() {
                let wrong = vec!["must not be empty".to_owned()];
                all.extend(causes(&format!("metadata.ownerReferences.{field}"), text, wrong));
            }
        }
    }
    all
}

/// What keeps labels and annotations from being read at all: each is a map of texts. A value that is null is an empty
/// one.
pub(crate) fn decode(object: &mut Value) -> Result<(), String> {
    for name in ["labels", "annotations"] {
        let Some(map) = object.pointer_mut(&format!("/metadata/{name}")) else { continue };
        let wrong = |value: &Value, wanted: &str| {
            let kind = match value {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                _ => "object",
            };
            format!("json: cannot unmarshal {kind} into Go struct field ObjectMeta.{name} of type {wanted}")
        };
        match map {
            Value::Null => {}
            Value::Object(fields) => {
                for value in fields.values_mut() {
                    match value {
                        Value::Null => *value = Value::from(""),
                        Value::String(_) => {}
                        other => return Err(wrong(other, "string")),
                    }
                }
            }
            other => return Err(wrong(other, "map[string]string")),
        }
    }
    Ok(())
}
