//! The part of `JSONPath` that columns use: names, quoted names, indices, `*`, and filters by equality.

use std::borrow::Cow;

use serde_json::Value;

/// Everything that a path leads to, such as `.status.conditions[?(@.type=="Ready")].status`; nothing where the path is malformed.
pub(super) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let Some(steps) = steps(path) else { return Vec::new() };
    for step in steps {
        found = found.into_iter().flat_map(|value| step.from(value)).collect();
    }
    found
}

enum Step<'a> {
    Name(Cow<'a, str>),
    Index(usize),
    All,
    Filter { path: &'a str, value: &'a str },
}

impl Step<'_> {
    fn from<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Name(name), value) => value.get(&**name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(fields)) => fields.values().collect(),
            (Self::Filter { path, value: wanted }, Value::Array(items)) => {
                let is = |item: &&Value| match find(item, path).first() {
                    Some(Value::String(text)) => text == wanted,
                    Some(other) => other.to_string().as_str() == *wanted,
                    None => false,
                };
                items.iter().filter(is).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end = closing(inside)?;
            let (step, after) = (&inside[..end], &inside[end + 1..]);
            rest = after;
            if let Some(filter) = step.strip_prefix("?(").and_then(|filter| filter.strip_suffix(')')) {
                let (path, value) = filter.split_once("==")?;
                let path = path.trim().trim_start_matches('@');
                steps.push(Step::Filter { path, value: value.trim().trim_matches(['"', '\'']) });
            } else if step == "*" {
                steps.push(Step::All);
            } else if let Ok(index) = step.parse() {
                steps.push(Step::Index(index));
            } else {
                // As Kubernetes has it: a dot separates even here, unless it is escaped.
                steps.extend(names(step.trim_matches(['"', '\''])));
            }
        } else {
            rest = rest.trim_start_matches('.');
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            if !name.is_empty() {
                steps.push(if name == "*" { Step::All } else { Step::Name(Cow::Borrowed(name)) });
            }
        }
    }
    Some(steps)
}

/// Names with dots between them; a backslash takes a dot into a name.
fn names<'a>(text: &str) -> Vec<Step<'a>> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => name.extend(characters.next()),
            '.' => names.push(Step::Name(Cow::Owned(std::mem::take(&mut name)))),
            other => name.push(other),
        }
    }
    names.push(Step::Name(Cow::Owned(name)));
    names
}

/// Where a bracket ends, brackets and quotes inside of it left alone.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (place, character) in text.char_indices() {
        match (character, quote) {
            (_, Some(open)) => quote = (character != open).then_some(open),
            ('"' | '\'', None) => quote = Some(character),
            ('[', None) => depth += 1,
            (']', None) if depth == 0 => return Some(place),
            (']', None) => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_where_columns_mean_them_to() {
        let object = json!({
            "spec": {"priority": 5, "names": ["a", "b"]},
            "metadata": {"annotations": {"example.com/a.b": "c"}},
            "status": {"conditions": [
                {"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        for (path, expected) in [
            (".spec.priority", vec![json!(5)]),
            (".spec.names[1]", vec![json!("b")]),
            (".spec.names[*]", vec![json!("a"), json!("b")]),
            (".metadata.annotations['example\\.com/a\\.b']", vec![json!("c")]),
            (".metadata.annotations['example.com/a.b']", vec![]),
            (".status.conditions[?(@.type==\"Ready\")].status", vec![json!("True")]),
            (".status.conditions[?(@.type=='A')].status", vec![json!("False")]),
            (".status.nothing", vec![]),
            (".spec.names[", vec![]),
        ] {
            assert_eq!(find(&object, path).into_iter().cloned().collect::<Vec<_>>(), expected, "{path}");
        }
    }
}
