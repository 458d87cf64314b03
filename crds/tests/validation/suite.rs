//! A kind's full objects, and what must pass and what must fail when one thing of them is changed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::documents;
use crate::common::judge::Judge;
use crate::constraint::constraints;

/// One change of a full object: what stands at a place, or nothing.
struct Change {
    /// Of which full object.
    of: usize,
    at: String,
    value: Option<Value>,
}

/// See the module.
pub(crate) struct Suite {
    judge: Judge,
    /// Several, since not all fields can stand in one.
    full: Vec<Value>,
    /// Which of them is meant.
    current: usize,
    good: Vec<Change>,
    /// With exactly the constraints that the change must break.
    bad: Vec<(Change, BTreeSet<String>)>,
}

impl Suite {
    /// `samples` are the full objects, as YAML. The first one is meant until told otherwise.
    pub(crate) fn new(kind: &str, samples: &str) -> Self {
        let full = documents(samples);
        Self { judge: Judge::of(kind), full, current: 0, good: Vec::new(), bad: Vec::new() }
    }

    /// From here on another full object is meant.
    pub(crate) fn turn_to(&mut self, index: usize) {
        self.current = index;
    }

    /// Another value at a place, and the object is valid.
    pub(crate) fn good(&mut self, at: &str, value: Value) {
        self.good.push(Change { of: self.current, at: at.to_owned(), value: Some(value) });
    }

    /// Another value at a place, and the object breaks these keywords of the place's schema, and nothing else.
    pub(crate) fn bad(&mut self, at: &str, value: Value, keywords: &[&str]) {
        self.breaks(at, keywords, at, Some(value));
    }

    /// Without these fields of the object at a place, each, the object is invalid.
    pub(crate) fn required(&mut self, at: &str, fields: &[&str]) {
        for field in fields {
            self.breaks(at, &[&format!("required/{field}")], &format!("{at}/{field}"), None);
        }
    }

    /// Without these fields of the object at a place, each, the object is valid.
    pub(crate) fn optional(&mut self, at: &str, fields: &[&str]) {
        let without = |field: &&str| Change { of: self.current, at: format!("{at}/{field}"), value: None };
        self.good.extend(fields.iter().map(without));
    }

    fn breaks(&mut self, at: &str, keywords: &[&str], place: &str, value: Option<Value>) {
        let at = self.judge.schema_pointer(at);
        let broken = keywords.iter().map(|keyword| format!("{at}/{keyword}")).collect();
        self.bad.push((Change { of: self.current, at: place.to_owned(), value }, broken));
    }

    /// A whole number, at least this and at most that.
    pub(crate) fn integer(&mut self, at: &str, low: i64, high: i64) {
        self.good(at, json!(low));
        self.good(at, json!(high));
        self.bad(at, json!(low - 1), &["minimum"]);
        self.bad(at, json!(high + 1), &["maximum"]);
    }

    /// A text that may be empty, and of so many characters at most.
    pub(crate) fn text(&mut self, at: &str, high: usize) {
        self.good(at, json!(""));
        self.good(at, json!("ü".repeat(high)));
        self.bad(at, json!("x".repeat(high + 1)), &["maxLength"]);
    }

    /// A text of at least one character.
    pub(crate) fn some_text(&mut self, at: &str) {
        self.good(at, json!("x"));
        self.bad(at, json!(""), &["minLength"]);
    }

    /// One of these words.
    pub(crate) fn word(&mut self, at: &str, words: &[&str]) {
        for word in words {
            self.good(at, json!(word));
        }
        for other in ["Other", "", &words[0].to_uppercase()] {
            self.bad(at, json!(other), &["enum"]);
        }
    }

    /// Texts that match a pattern, and texts that do not.
    pub(crate) fn pattern(&mut self, at: &str, matching: &[&str], others: &[&str]) {
        for text in matching {
            self.good(at, json!(text));
        }
        for text in others {
            self.bad(at, json!(text), &["pattern"]);
        }
    }

    /// A moment, as in RFC 3339.
    pub(crate) fn date(&mut self, at: &str) {
        self.good(at, json!("2026-12-31T23:59:59Z"));
        self.good(at, json!("2026-12-31T23:59:59.123456+01:00"));
        self.bad(at, json!("2026-12-31"), &["format"]);
        self.bad(at, json!("2026-13-31T23:59:59Z"), &["format"]);
    }

    /// A list of at least `low` entries and at most `high`, which `make` makes, each different.
    pub(crate) fn list(&mut self, at: &str, low: usize, high: Option<usize>, make: fn(usize) -> Value) {
        let list = |length: usize| Value::Array((0..length).map(make).collect());
        self.good(at, list(low));
        if let Some(shorter) = low.checked_sub(1) {
            self.bad(at, list(shorter), &["minItems"]);
        }
        if let Some(high) = high {
            self.good(at, list(high));
            self.bad(at, list(high + 1), &["maxItems"]);
        }
    }

    /// A list that may not have the same entry, or an entry with the same key, twice.
    pub(crate) fn distinct(&mut self, at: &str) {
        let first = self.here(at)[0].clone();
        self.bad(at, json!([first, first]), &["x-kubernetes-list-type"]);
    }

    /// An object of exactly one field. `other` is one that it does not have in the full object.
    pub(crate) fn one_of(&mut self, at: &str, other: &str, value: Value) {
        self.bad(at, json!({}), &["minProperties"]);
        let mut two = self.here(at).clone();
        two[other] = value;
        assert_eq!(two.as_object().map(serde_json::Map::len), Some(2), "{at}: has `{other}` already");
        self.bad(at, two, &["maxProperties"]);
    }

    /// An object whose rule in CEL is broken by this at a place in or below it.
    pub(crate) fn breaks_rule(&mut self, at: &str, rule: &str, place: &str, value: Value) {
        self.breaks(at, &[&format!("x-kubernetes-validations/{rule}")], place, Some(value));
    }

    fn here(&self, at: &str) -> &Value {
        self.full[self.current]
            .pointer(at)
            .unwrap_or_else(|| panic!("{at}: the full object has no such place"))
    }

    fn changed(&self, change: &Change) -> Value {
        let mut object = self.full[change.of].clone();
        let at = &change.at;
        let (parent, field) = at.rsplit_once('/').expect("a place below the top");
        match (object.pointer_mut(parent), &change.value) {
            (Some(Value::Object(fields)), Some(value)) => {
                drop(fields.insert(field.to_owned(), value.clone()));
            }
            (Some(Value::Object(fields)), None) => {
                assert!(fields.remove(field).is_some(), "{at}: the full object has no such place");
            }
            (Some(Value::Array(items)), Some(value)) => {
                items[field.parse::<usize>().expect("an index")] = value.clone();
            }
            (other, _) => panic!("{at}: there is {other:?}"),
        }
        object
    }

    /// Judges all of it, and that no constraint of the schema is left out.
    pub(crate) fn check(mut self) {
        let kind = self.judge.kind.clone();
        for full in &self.full {
            assert_eq!(self.judge.broken(full), BTreeSet::new(), "{kind}: {}", full["metadata"]);
            assert_eq!(self.judge.unknown(full), BTreeSet::new(), "{kind}: {}", full["metadata"]);
        }
        self.other_types();
        let mut wrong = Vec::new();
        for change in &self.good {
            let broken = self.judge.broken(&self.changed(change));
            if !broken.is_empty() {
                wrong.push(format!("{} must pass, but breaks {broken:#?}", change.says()));
            }
        }
        for (change, expected) in &self.bad {
            let broken = self.judge.broken(&self.changed(change));
            if broken != *expected {
                wrong.push(format!("{} must break {expected:#?}, but breaks {broken:#?}", change.says()));
            }
        }
        assert!(wrong.is_empty(), "{kind}: {} wrong:\n{}", wrong.len(), wrong.join("\n"));
        let shown: BTreeSet<&String> = self.bad.iter().flat_map(|(_, broken)| broken).collect();
        let all = constraints(&self.judge.schema);
        // No object of another type gets as far as a schema.
        let untested: Vec<_> = all.iter().filter(|one| *one != "/type" && !shown.contains(one)).collect();
        assert!(untested.is_empty(), "{kind}: no entry breaks {untested:#?}");
        println!(
            "{kind}: {} constraints; {} good and {} bad objects",
            all.len(),
            self.good.len(),
            self.bad.len()
        );
    }

    /// For every place of the full objects, something of another type.
    fn other_types(&mut self) {
        for index in 0..self.full.len() {
            self.turn_to(index);
            let full = self.full[index].clone();
            let mut places = vec![(String::new(), &full)];
            while let Some((at, value)) = places.pop() {
                match value {
                    Value::Object(fields) if at != "/metadata" => {
                        places.extend(fields.iter().map(|(key, field)| (format!("{at}/{key}"), field)));
                    }
                    Value::Array(items) => {
                        let items = items.iter().enumerate();
                        places.extend(items.map(|(index, item)| (format!("{at}/{index}"), item)));
                    }
                    _ => {}
                }
                if !at.is_empty() {
                    let other = if value.is_string() { json!(5) } else { json!("text") };
                    // What is of another type is none of the words either.
                    let schema = self.judge.schema.pointer(&self.judge.schema_pointer(&at));
                    let has_words = schema.is_some_and(|schema| schema["enum"].is_array());
                    self.bad(&at, other, if has_words { &["type", "enum"] } else { &["type"] });
                }
            }
        }
    }
}

impl Change {
    fn says(&self) -> String {
        let value = self.value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        format!("{}: {}", self.at, value.chars().take(80).collect::<String>())
    }
}
