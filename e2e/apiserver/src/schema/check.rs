//! A value held against a schema, keyword by keyword, in the words of kube-apiserver.

use serde_json::Value;

use super::{Cause, Schema, properties};

pub(super) fn check(schema: &Schema, part: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let part = schema.resolved(part);
    let count = causes.len();
    kind(schema, part, value, path, causes);
    if causes.len() > count && value.is_number() {
        scalar(schema, part, value, path, causes);
    }
    if causes.len() > count || (value.is_null() && part.get("nullable") == Some(&Value::Bool(true))) {
        return;
    }
    scalar(schema, part, value, path, causes);
    match value {
        Value::Object(fields) => {
            let known = properties(part);
            bounds(part, fields.len(), ["minProperties", "maxProperties"], "properties", path, causes);
            for (name, field) in fields {
                let next = known.and_then(|known| known.get(name));
                let more = || part.get("additionalProperties").filter(|more| more.is_object());
                let is_above = path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str());
                if let Some(next) = next.or_else(more).filter(|_| !is_above) {
                    check(schema, next, field, &join(path, name), causes);
                }
            }
            let embedded = part.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
            let of_any = if embedded { &["apiVersion", "kind"][..] } else { &[] };
            for name in strings(part, "required").chain(of_any.iter().copied()) {
                if !fields.contains_key(name) {
                    causes.push(Cause {
                        field: join(path, name),
                        reason: "FieldValueRequired",
                        message: "Required value".to_owned(),
                    });
                }
            }
        }
        Value::Array(items) => {
            if let Some(next) = part.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check(schema, next, item, &format!("{path}[{index}]"), causes);
                }
            }
            bounds(part, items.len(), ["minItems", "maxItems"], "items", path, causes);
            unique(part, items, path, causes);
        }
        _ => {}
    }
    // Kubernetes' own kinds have either-or only in schemas of schemas, which are held against what they must compile to.
    if !schema.is_lenient {
        combined(schema, part, value, path, causes);
    }
}

fn invalid(path: &str, value: &Value, what: &str) -> Cause {
    let field = if path.is_empty() { "<nil>" } else { path }.to_owned();
    let message = format!("Invalid value: {}: {path} in body {what}", shown(Some(value)));
    Cause { field, reason: "FieldValueInvalid", message }
}

fn kind(schema: &Schema, part: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(wanted) = part.get("type").and_then(Value::as_str) else {
        let either = part.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
        if either && !(value.is_string() || is_integer(value)) {
            causes.push(typed(path, value, "integer,string"));
        }
        return;
    };
    let is = match (wanted, value) {
        (_, Value::Null) => part.get("nullable") == Some(&Value::Bool(true)) || schema.is_lenient,
        ("object", Value::Object(_))
        | ("array", Value::Array(_))
        | ("string", Value::String(_))
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_)) => true,
        ("integer", number) => is_integer(number),
        _ => false,
    };
    if !is {
        causes.push(typed(path, value, wanted));
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn typed(path: &str, value: &Value, wanted: &str) -> Cause {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let field = if path.is_empty() { "<nil>" } else { path }.to_owned();
    let message = format!("Invalid value: \"{got}\": {path} in body must be of type {wanted}: \"{got}\"");
    Cause { field, reason: "FieldValueTypeInvalid", message }
}

fn scalar(schema: &Schema, part: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if let Some(allowed) = part.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let all: Vec<String> = allowed.iter().map(|value| shown(Some(value))).collect();
        let message =
            format!("Unsupported value: {}: supported values: {}", shown(Some(value)), all.join(", "));
        causes.push(Cause { field: path.to_owned(), reason: "FieldValueNotSupported", message });
    }
    match value {
        Value::Number(number) => {
            let Some(number) = number.as_f64() else { return };
            let bound = |name: &str| part.get(name).and_then(Value::as_f64);
            let is_open = |name: &str| part.get(name) == Some(&Value::Bool(true));
            if let Some(least) = bound("minimum") {
                let is_open = is_open("exclusiveMinimum");
                if number < least || (is_open && number <= least) {
                    let or_equal = if is_open { "" } else { " or equal to" };
                    causes.push(invalid(path, value, &format!("should be greater than{or_equal} {least}")));
                }
            }
            if let Some(most) = bound("maximum") {
                let is_open = is_open("exclusiveMaximum");
                if number > most || (is_open && number >= most) {
                    let or_equal = if is_open { "" } else { " or equal to" };
                    causes.push(invalid(path, value, &format!("should be less than{or_equal} {most}")));
                }
            }
            if let Some(factor) = bound("multipleOf")
                && (number / factor).fract() != 0.0
            {
                causes.push(invalid(path, value, &format!("should be a multiple of {factor}")));
            }
        }
        Value::String(text) => {
            let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            let count = |name: &str| part.get(name).and_then(Value::as_u64);
            let pattern = part.get("pattern").and_then(Value::as_str);
            // Only the first of these is said.
            if let Some(most) = count("maxLength").filter(|most| length > *most) {
                let message = format!("Too long: may not be more than {most} bytes");
                causes.push(Cause { field: path.to_owned(), reason: "FieldValueTooLong", message });
            } else if let Some(least) = count("minLength").filter(|least| length < *least) {
                causes.push(invalid(path, value, &format!("should be at least {least} chars long")));
            } else if let Some(pattern) = pattern
                && schema.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
            {
                causes.push(invalid(path, value, &format!("should match '{pattern}'")));
            }
            let format = part.get("format").and_then(Value::as_str).unwrap_or_default();
            let is_of_format = match format {
                "date-time" => text.contains(['T', 't']) && text.parse::<jiff::Timestamp>().is_ok(),
                "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
                "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
                _ => true,
            };
            if !is_of_format {
                let what = format!("must be of type {format}: {}", shown(Some(value)));
                causes.push(Cause { reason: "FieldValueTypeInvalid", ..invalid(path, value, &what) });
            }
        }
        _ => {}
    }
}

fn bounds(
    part: &Value,
    count: usize,
    [least, most]: [&str; 2],
    what: &str,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if let Some(least) = part.get(least).and_then(Value::as_u64)
        && count < least
    {
        causes.push(invalid(path, &Value::from(count), &format!("should have at least {least} {what}")));
    }
    if let Some(most) = part.get(most).and_then(Value::as_u64)
        && count > most
    {
        let items = if most == 1 { "item" } else { "items" };
        let message = format!("Too many: {count}: must have at most {most} {items}");
        causes.push(Cause { field: path.to_owned(), reason: "FieldValueTooMany", message });
    }
}

/// Lists that are sets or maps name nothing twice.
fn unique(part: &Value, items: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let keys: Vec<&str> = strings(part, "x-kubernetes-list-map-keys").collect();
    let is_set = part.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
    if keys.is_empty() && !is_set {
        return;
    }
    let named = |item: &Value| {
        if is_set { item.clone() } else { keys.iter().map(|key| (*key, item.get(*key).cloned())).collect() }
    };
    let mut known: Vec<Value> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let name = named(item);
        if known.iter().filter(|known| **known == name).count() == 1 {
            let message = format!("Duplicate value: {}", shown(Some(&name)));
            let field = format!("{path}[{index}]");
            causes.push(Cause { field, reason: "FieldValueDuplicate", message });
        }
        known.push(name);
    }
}

fn combined(schema: &Schema, part: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let list = |name: &str| part.get(name).and_then(Value::as_array);
    let passes = |part: &Value| {
        let mut causes = Vec::new();
        check(schema, part, value, path, &mut causes);
        causes.is_empty()
    };
    for part in list("allOf").into_iter().flatten() {
        check(schema, part, value, path, causes);
    }
    let must = |what: &str| Cause {
        field: "<nil>".to_owned(),
        reason: "FieldValueInvalid",
        message: format!("Invalid value: \"\": \"{path}\" must {what}"),
    };
    // Where nothing fits, the first alternative says what it lacks.
    let first = |all: &[Value], causes: &mut Vec<Cause>| {
        all.iter().take(1).for_each(|part| check(schema, part, value, path, causes));
    };
    if let Some(any) = list("anyOf").filter(|any| !any.iter().any(passes)) {
        causes.push(must("validate at least one schema (anyOf)"));
        first(any, causes);
    }
    if let Some(one) = list("oneOf") {
        match one.iter().filter(|part| passes(part)).count() {
            1 => {}
            0 => {
                causes.push(must("validate one and only one schema (oneOf). Found none valid"));
                first(one, causes);
            }
            several => causes.push(must(&format!(
                "validate one and only one schema (oneOf). Found {several} valid alternatives"
            ))),
        }
    }
    if part.get("not").is_some_and(passes) {
        causes.push(must("not validate the schema (not)"));
    }
}

fn strings<'a>(part: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    part.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value as messages show it.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "null".to_owned(),
        Some(value) => value.to_string(),
    }
}
