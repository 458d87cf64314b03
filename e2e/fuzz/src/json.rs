//! JSON of any shape out of choices, with the words of the policy kinds strewn in, and damage done with it.

use serde_json::{Map, Value};

use crate::generate::Choices;
use crate::generate::json::{WORDS, places};

fn word(choices: &mut Choices<'_>) -> String {
    match choices.below(WORDS.len() + 2) {
        at if at < WORDS.len() => WORDS[at].to_owned(),
        at => {
            let length = if at == WORDS.len() { 4 } else { 200 };
            choices.some(0, length, |choices| char::from(choices.byte())).into_iter().collect()
        }
    }
}

fn number(choices: &mut Choices<'_>) -> Value {
    match choices.below(8) {
        0 => 0.into(),
        1 => 80.into(),
        2 => (-1).into(),
        3 => 65_535.into(),
        4 => 65_536.into(),
        5 => i64::MIN.into(),
        6 => u64::MAX.into(),
        _ => 1.5.into(),
    }
}

/// Any JSON, at most that deep.
pub(crate) fn anything(choices: &mut Choices<'_>, depth: usize) -> Value {
    match choices.below(if depth == 0 { 4 } else { 7 }) {
        0 => Value::Null,
        1 => choices.chance(50).into(),
        2 => number(choices),
        3 => word(choices).into(),
        4 => Value::Array(choices.some(0, 3, |choices| anything(choices, depth - 1))),
        _ => {
            let fields = choices.some(0, 3, |choices| (word(choices), anything(choices, depth - 1)));
            Value::Object(fields.into_iter().collect::<Map<_, _>>())
        }
    }
}

/// Puts something else, nothing or something more in one of the places below `at`. Says where.
pub(crate) fn damage(choices: &mut Choices<'_>, raw: &mut Value, at: &str) -> Option<String> {
    let mut all = Vec::new();
    places(raw.pointer(at)?, at, &mut all);
    if all.is_empty() {
        return None;
    }
    let place = all[(usize::from(choices.byte()) << 8 | usize::from(choices.byte())) % all.len()].clone();
    let kind = choices.below(6);
    let value = raw.pointer_mut(&place)?;
    match (kind, value) {
        (0, Value::Object(fields)) => {
            fields.insert(word(choices), anything(choices, 2));
        }
        (0, Value::Array(items)) => items.push(anything(choices, 2)),
        (1, Value::Object(fields)) => {
            let count = fields.len().max(1);
            if let Some(key) = fields.keys().nth(choices.below(count.min(256))).cloned() {
                fields.remove(&key);
            }
        }
        (1, Value::Array(items)) => {
            items.pop();
        }
        (2, Value::String(text)) => text.push(char::from(choices.byte())),
        (_, value) => *value = anything(choices, 3),
    }
    Some(place)
}
