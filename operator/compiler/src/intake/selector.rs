//! Labels and label selectors.

use std::collections::BTreeSet;

use super::cursor::{Cursor, Refused, quoted, shown};
use super::syntax::{is_label_key, is_label_value};
use crate::model::{Labels, Operator, Requirement, Selector};

const KEY_SYNTAX: &str = "write a name of up to 63 letters, digits, `-`, `_` and `.` that starts and ends with a \
                          letter or digit, before it a DNS name and `/` if it has a prefix";
const VALUE_SYNTAX: &str =
    "write up to 63 letters, digits, `-`, `_` and `.` that start and end with a letter or digit";

/// The labels of an object.
pub(super) fn labels(metadata: &Cursor<'_>) -> Result<Labels, Refused> {
    let labels = metadata.optional("labels", |labels| labels.each_entry(label))?;
    Ok(labels.unwrap_or_default().into_iter().collect())
}

fn label(key: &str, entry: &Cursor<'_>) -> Result<(String, String), Refused> {
    if !is_label_key(key) {
        return Err(entry.error(format!("{} is not a label's key", shown(key)), KEY_SYNTAX));
    }
    let value = entry.string()?;
    if !is_label_value(value) {
        return Err(entry.error(format!("{} is not a label's value", shown(value)), VALUE_SYNTAX));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A `metav1.LabelSelector`. Empty: it matches everything.
pub(super) fn selector(selector: &Cursor<'_>) -> Result<Selector, Refused> {
    let known = selector.only(&["matchLabels", "matchExpressions"], |field| {
        is_label_key(field).then_some("put the labels that are asked for under `matchLabels`")
    });
    let labels = selector.optional("matchLabels", |labels| labels.each_entry(match_label));
    let expressions = selector.optional("matchExpressions", |expressions| {
        expressions.each(|_, expression| requirement(expression))
    });
    known?;
    let (labels, expressions) = (labels?.unwrap_or_default(), expressions?.unwrap_or_default());
    Ok(Selector::new(labels.into_iter().chain(expressions)))
}

fn match_label(key: &str, entry: &Cursor<'_>) -> Result<Requirement, Refused> {
    if !is_label_key(key) {
        return Err(entry.unknown(format!("{} is not a label's key", shown(key)), KEY_SYNTAX));
    }
    let value = label_value(entry)?;
    Ok(Requirement { key: key.to_owned(), operator: Operator::In(BTreeSet::from([value])) })
}

/// A value that is asked for. The API stores malformed ones in the cluster-wide kinds, so that is no broken schema.
fn label_value(entry: &Cursor<'_>) -> Result<String, Refused> {
    let value = entry.string()?;
    if !is_label_value(value) {
        return Err(entry.unknown(format!("{} is not a label's value", shown(value)), VALUE_SYNTAX));
    }
    Ok(value.to_owned())
}

fn requirement(expression: &Cursor<'_>) -> Result<Requirement, Refused> {
    expression.only(&["key", "operator", "values"], |_| None)?;
    let key = expression.required("key", |key| {
        let text = key.string()?;
        if is_label_key(text) {
            Ok(text.to_owned())
        } else {
            Err(key.unknown(format!("{} is not a label's key", shown(text)), KEY_SYNTAX))
        }
    });
    let values = expression.optional("values", |values| values.each(|_, value| label_value(value)));
    let operator = expression.required("operator", |operator| {
        const KNOWN: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];
        let text = operator.string()?;
        KNOWN.into_iter().find(|known| *known == text).ok_or_else(|| {
            operator.unknown(
                format!("the operator {} is not known", shown(text)),
                format!("write one of {}", quoted(&KNOWN)),
            )
        })
    });
    let (key, values, operator) = (key?, values?.unwrap_or_default(), operator?);
    let values: BTreeSet<_> = values.into_iter().collect();
    let takes_values = matches!(operator, "In" | "NotIn");
    if takes_values && values.is_empty() {
        let values = expression.child("values");
        return Err(values.unknown(format!("`{operator}` has no values"), "list at least one value"));
    }
    if !takes_values && !values.is_empty() {
        let values = expression.child("values");
        return Err(values.unknown(
            format!("`{operator}` has values"),
            "remove the values, or write `In` or `NotIn` if they are meant",
        ));
    }
    let operator = match operator {
        "In" => Operator::In(values),
        "NotIn" => Operator::NotIn(values),
        "Exists" => Operator::Exists,
        _ => Operator::DoesNotExist,
    };
    Ok(Requirement { key, operator })
}
