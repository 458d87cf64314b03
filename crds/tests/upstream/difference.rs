//! How our definitions differ from upstream's, place by place, and the README's table of the differences that are
//! meant.

use std::collections::BTreeMap;

use serde_json::Value;

/// Places of a definition with what stands there.
pub(crate) type Flat = BTreeMap<String, String>;

/// A definition, flat: one line for each thing it says. Lists of named things go by their names and rules by
/// themselves, so that an addition moves nothing else; within the schema the path is the API's own.
pub(crate) fn flat(definition: &Value) -> Flat {
    let mut flat = Flat::new();
    let mut rest = definition.clone();
    let version = rest["spec"]["versions"][0].take();
    for (key, value) in version.as_object().expect("a version") {
        match key.as_str() {
            "schema" => schema(&value["openAPIV3Schema"], "", &mut flat),
            "additionalPrinterColumns" => {
                let columns = value.as_array().expect("columns");
                let names: Vec<_> =
                    columns.iter().map(|column| column["name"].as_str().expect("a name")).collect();
                for (index, column) in columns.iter().enumerate() {
                    leaves(column, &format!("columns.{}", names[index]), &mut flat);
                }
            }
            _ => leaves(value, &format!("version.{key}"), &mut flat),
        }
    }
    leaves(&rest, "", &mut flat);
    flat
}

fn leaves(value: &Value, at: &str, flat: &mut Flat) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let dot = if at.is_empty() { "" } else { "." };
                leaves(value, &format!("{at}{dot}{key}"), flat);
            }
        }
        other => drop(flat.insert(at.to_owned(), other.to_string())),
    }
}

fn schema(value: &Value, at: &str, flat: &mut Flat) {
    for (keyword, value) in value.as_object().expect("a schema") {
        match keyword.as_str() {
            "properties" => {
                for (name, property) in value.as_object().expect("properties") {
                    schema(property, &format!("{at}.{name}"), flat);
                }
            }
            "items" => schema(value, &format!("{at}[]"), flat),
            "additionalProperties" => schema(value, &format!("{at}{{}}"), flat),
            "x-kubernetes-validations" => {
                for rule in value.as_array().expect("rules") {
                    let text = rule["rule"].as_str().expect("a rule");
                    for (key, value) in rule.as_object().expect("a rule") {
                        flat.insert(format!("{at} rule({text}) {key}"), value.to_string());
                    }
                }
            }
            "required" => {
                for name in value.as_array().expect("names") {
                    flat.insert(
                        format!("{at} required {}", name.as_str().expect("a name")),
                        "yes".to_owned(),
                    );
                }
            }
            _ => drop(flat.insert(format!("{at} {keyword}"), value.to_string())),
        }
    }
}

/// One difference.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) place: String,
    pub(crate) upstream: Option<String>,
    pub(crate) ours: Option<String>,
}

/// What two definitions do not say alike.
pub(crate) fn differences(upstream: &Flat, ours: &Flat) -> Vec<Difference> {
    let mut found = Vec::new();
    for (place, value) in upstream {
        if ours.get(place) != Some(value) {
            let (upstream, ours) = (Some(value.clone()), ours.get(place).cloned());
            found.push(Difference { place: place.clone(), upstream, ours });
        }
    }
    for (place, value) in ours.iter().filter(|(place, _)| !upstream.contains_key(*place)) {
        found.push(Difference { place: place.clone(), upstream: None, ours: Some(value.clone()) });
    }
    found
}

/// A row of the table: a difference that is meant.
#[derive(Debug)]
pub(crate) struct Row {
    /// `all`, or short names of kinds.
    kinds: String,
    /// The place, or with a star at its beginning or end the rest of it.
    place: String,
    upstream: String,
    ours: String,
}

impl Row {
    /// Whether it is this difference that the row speaks of. In its cells `-` is nothing, and `*` is anything or nothing.
    pub(crate) fn covers(&self, kind: &str, difference: &Difference) -> bool {
        let place = &difference.place;
        let is_place = match (self.place.strip_prefix('*'), self.place.strip_suffix('*')) {
            (Some(end), _) => place.ends_with(end),
            (_, Some(start)) => place.starts_with(start),
            _ => *place == self.place,
        };
        let is = |cell: &str, value: &Option<String>| match (cell, value) {
            ("*", _) => true,
            ("-", value) => value.is_none(),
            (cell, value) => value.as_deref() == Some(cell),
        };
        (self.kinds == "all" || self.kinds.split(", ").any(|one| one == kind))
            && is_place
            && is(&self.upstream, &difference.upstream)
            && is(&self.ours, &difference.ours)
    }
}

/// The rows of the table below the heading `Differences` of a README.
pub(crate) fn table(readme: &str) -> Vec<Row> {
    let section =
        readme.split("\n## ").find(|section| section.starts_with("Differences")).expect("the section");
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines
        .map(|line| {
            let cells =
                line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
            let cells: [String; 5] = cells
                .collect::<Vec<_>>()
                .try_into()
                .unwrap_or_else(|cells| panic!("not five cells: {cells:?}"));
            let [kinds, place, upstream, ours, why] = cells;
            assert!(why.len() > 20, "{place}: a difference needs a reason");
            Row { kinds, place, upstream, ours }
        })
        .collect()
}
