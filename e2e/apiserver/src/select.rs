//! Label and field selectors of queries. Knows their grammar, not which fields of which kind may be selected.

use std::collections::BTreeSet;

use serde_json::Value;

/// A selector that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Missing,
    Above(i64),
    Below(i64),
}

/// All of its requirements, as in `app=web,tier in (a,b),!old`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<(String, Operator)>,
}

impl LabelSelector {
    /// Reads a query's value; an empty one selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split(text) {
            requirements.push(requirement(part.trim())?);
        }
        Ok(Self { requirements })
    }

    /// Whether it leaves anything out.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object has such labels.
    pub fn matches(&self, object: &Value) -> bool {
        let label =
            |key: &str| object.pointer("/metadata/labels").and_then(|l| l.get(key)).and_then(Value::as_str);
        self.requirements.iter().all(|(key, operator)| {
            let value = label(key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match operator {
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::Missing => value.is_none(),
                Operator::Above(bound) => number().is_some_and(|number| number > *bound),
                Operator::Below(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

/// At the commas that are outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = text.split(|character: char| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).collect()
}

fn requirement(text: &str) -> Result<(String, Operator), SelectorError> {
    let malformed =
        || SelectorError(format!("\"{text}\" is not like key, !key, key=value, key!=value or key in (a,b)"));
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    let (key, operator) = if let Some(key) = text.strip_prefix('!') {
        (key, Operator::Missing)
    } else if let Some((head, set)) = text.split_once('(') {
        let values = set.strip_suffix(')').ok_or_else(malformed)?;
        let values: BTreeSet<_> = values.split(',').map(|value| value.trim().to_owned()).collect();
        match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [key, "in"] => (*key, Operator::In(values)),
            [key, "notin"] => (*key, Operator::NotIn(values)),
            _ => return Err(malformed()),
        }
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Operator::NotIn(one(value)))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Operator::In(one(value)))
    } else if let Some((key, value)) = text.split_once('>') {
        (key, Operator::Above(value.trim().parse().map_err(|_| malformed())?))
    } else if let Some((key, value)) = text.split_once('<') {
        (key, Operator::Below(value.trim().parse().map_err(|_| malformed())?))
    } else {
        (text, Operator::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "()!=".contains(c)) {
        return Err(malformed());
    }
    Ok((key.to_owned(), operator))
}

/// All of its requirements, as in `metadata.name=a,status.phase!=Running`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// Reads a query's value; an empty one selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, is_equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, true, value)
            } else {
                return Err(SelectorError(format!("invalid selector: '{part}'; can't understand '{part}'")));
            };
            requirements.push((field.trim().to_owned(), is_equal, value.trim().to_owned()));
        }
        Ok(Self { requirements })
    }

    /// Whether it leaves anything out.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The fields it asks for.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|(field, ..)| field.as_str())
    }

    /// Whether an object has such fields. One that is missing is empty.
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements.iter().all(|(field, is_equal, expected)| {
            let mut value = Some(object);
            for part in field.split('.') {
                value = value.and_then(|value| value.get(part));
            }
            let text = match value {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (text == *expected) == *is_equal
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_selected_by_each_operator() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "a", "n": "5"}}});
        let yes = [
            "",
            "app",
            "app=web",
            "app==web",
            "app!=x",
            "none!=x",
            "!none",
            "tier in (a,b)",
            "tier notin (c, d)",
            "none notin (a)",
            "app=web,tier in (a, b),!none",
            "n>4",
            "n<6",
            " app = web ",
        ];
        let no = [
            "!app",
            "app=x",
            "none",
            "none in (a)",
            "app!=web",
            "tier in (b,c)",
            "app=web,none",
            "n>5",
            "app>1",
        ];
        let select = |text: &str| LabelSelector::parse(text).expect(text).matches(&object);
        assert_eq!(yes.iter().filter(|text| !select(text)).collect::<Vec<_>>(), Vec::<&&str>::new());
        assert_eq!(no.iter().filter(|text| select(text)).collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for text in ["a in (b", "in (b)", "a b", "=x", "a>b", "!"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
        assert!(FieldSelector::parse("metadata.name").is_err());
    }

    #[test]
    fn fields_are_selected_and_missing_ones_are_empty() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"on": true}});
        let select = |text: &str| FieldSelector::parse(text).expect(text).matches(&object);
        assert!(
            select("metadata.name=a,spec.nodeName=") && select("spec.nodeName!=n") && select("spec.on=true")
        );
        assert!(!select("metadata.name!=a") && !select("metadata.name=a,spec.nodeName=n"));
    }
}
