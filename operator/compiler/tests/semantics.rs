//! `docs/semantics.md` names a test or scenario for every sentence: they exist, and no cell is empty.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tables, each as its header and its rows, cell by cell.
fn tables(text: &str) -> Vec<(Vec<String>, Vec<Vec<String>>)> {
    let mut tables: Vec<(Vec<String>, Vec<Vec<String>>)> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            is_inside = false;
            continue;
        };
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().to_owned()).collect();
        if !is_inside {
            tables.push((cells, Vec::new()));
        } else if cells.iter().any(|cell| cell != "---") {
            tables.last_mut().unwrap().1.push(cells);
        }
        is_inside = true;
    }
    tables
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether the test file has a test of that name: a function, or a trial by its name.
fn has_test(file: &str, name: &str) -> bool {
    file.contains(&format!("fn {name}(")) || file.contains(&format!("\"{name}\""))
}

/// What is wrong with a reference, if anything.
fn missing(reference: &str, files: &BTreeMap<String, String>) -> Option<String> {
    if let Some((file, name)) = reference.rsplit_once("::") {
        return match files.get(file) {
            Some(text) if has_test(text, name) => None,
            Some(_) => Some(format!("no test {name} in {file}")),
            None => Some(format!("the document does not say where {file} is")),
        };
    }
    let path = root().join("e2e/scenarios").join(format!("{reference}.yaml"));
    (!reference.contains('/') || !path.is_file()).then(|| format!("no scenario {reference}"))
}

#[test]
fn every_sentence_names_tests_that_exist() {
    let text = read(&root().join("docs/semantics.md"));
    let tables = tables(&text);
    let (_, places) =
        tables.iter().find(|(header, _)| *header == ["short", "file"]).expect("where tests are");
    let files: BTreeMap<String, String> = places
        .iter()
        .map(|row| (quoted(&row[0])[0].to_owned(), read(&root().join(quoted(&row[1])[0]))))
        .collect();

    let mut wrong = Vec::new();
    let mut sentences = 0;
    for (header, rows) in &tables {
        for row in rows {
            if row.len() != header.len() || row.iter().any(String::is_empty) {
                wrong.push(format!("a cell is missing or empty: {row:?}"));
            }
            if header.last().is_some_and(|last| last == "held by") {
                sentences += 1;
                let references = quoted(row.last().unwrap());
                if references.is_empty() {
                    wrong.push(format!("nothing holds {:?}", row[0]));
                }
                wrong.extend(references.into_iter().filter_map(|reference| missing(reference, &files)));
            }
        }
    }
    // Those of the text around the tables.
    for reference in quoted(&text).into_iter().filter(|quoted| quoted.contains("::")) {
        let is_test = reference.rsplit_once("::").is_some_and(|(file, _)| files.contains_key(file));
        if is_test {
            wrong.extend(missing(reference, &files));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "docs/semantics.md:\n{}", wrong.join("\n"));
    assert!(sentences > 90, "{sentences} sentences: the tables are not read");
}

#[test]
fn what_is_not_there_is_missed() {
    let files = BTreeMap::from([("a".to_owned(), "fn is_there() {} trial(\"by name\")".to_owned())]);
    for there in ["a::is_there", "a::by name", "smoke/isolation"] {
        assert_eq!(missing(there, &files), None, "{there}");
    }
    for absent in ["a::is_ther", "a::is", "b::is_there", "smoke/isolatio", "isolation", "is_there"] {
        assert!(missing(absent, &files).is_some(), "{absent}");
    }
    let (header, rows) = tables("x\n| a | b |\n|---|---|\n| 1 | |\n\n| c |\n|---|\n").remove(0);
    assert_eq!((header.len(), rows), (2, vec![vec!["1".to_owned(), String::new()]]));
}
