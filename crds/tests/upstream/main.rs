//! The definitions and types held against upstream's: its definitions say what ours say but for what the README's
//! table names, and its policies are as valid here as there. The data is no part of the project: where it is absent,
//! every test is shown as ignored.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
mod difference;
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::judge::{Judge, definition};
use common::{documents, typed};
use difference::{differences, flat, table};
use libtest_mimic::{Arguments, Failed, Trial};
use palisade_crds::{GROUP, MANIFESTS};
use reference::{read, yaml_below};
use serde_json::Value;

/// Short name, upstream's definition, ours.
const DEFINITIONS: [(&str, &str, &str); 3] = [
    (
        "anp",
        "crds/v0.1.8/experimental/policy.networking.k8s.io_adminnetworkpolicies.yaml",
        "policy.networking.k8s.io_adminnetworkpolicies.yaml",
    ),
    (
        "banp",
        "crds/v0.1.8/experimental/policy.networking.k8s.io_baselineadminnetworkpolicies.yaml",
        "policy.networking.k8s.io_baselineadminnetworkpolicies.yaml",
    ),
    (
        "cnp",
        "crds/v0.2.0/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml",
        "policy.networking.k8s.io_clusternetworkpolicies.yaml",
    ),
];

fn ours(file: &str) -> Value {
    definition(MANIFESTS.iter().find(|manifest| manifest.file == file).expect("committed").text)
}

/// Every difference has a row in the table, and every row a difference.
fn same_definitions(data: &Path) -> Result<(), Failed> {
    let rows = table(include_str!("../../README.md"));
    let (mut used, mut wrong, mut alike) = (BTreeSet::new(), Vec::new(), 0);
    for (kind, upstream, file) in DEFINITIONS {
        let (upstream, ours) = (flat(&definition(&read(data, upstream))), flat(&ours(file)));
        let found = differences(&upstream, &ours);
        alike += upstream.iter().filter(|(place, value)| ours.get(*place) == Some(value)).count();
        for difference in found {
            let rows = rows.iter().enumerate().filter(|(_, row)| row.covers(kind, &difference));
            let covering: Vec<usize> = rows.map(|(index, _)| index).collect();
            if covering.is_empty() {
                wrong.push(format!("{kind}: {difference:?}"));
            }
            used.extend(covering);
        }
    }
    let unused = rows.iter().enumerate().filter(|(index, _)| !used.contains(index));
    wrong.extend(unused.map(|(_, row)| format!("a row that no difference needs: {row:?}")));
    println!("{alike} statements alike, {} rows of differences", rows.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The columns that upstream prints are printed in upstream's order.
fn same_columns(data: &Path) -> Result<(), Failed> {
    let columns = |definition: &Value| -> Vec<Value> {
        let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array();
        columns.expect("columns").iter().map(|column| column["name"].clone()).collect()
    };
    for (kind, upstream, file) in DEFINITIONS {
        let upstream = columns(&definition(&read(data, upstream)));
        let mut ours = columns(&ours(file));
        ours.retain(|name| upstream.contains(name));
        if ours != upstream {
            return Err(format!("{kind}: {ours:?} instead of {upstream:?}").into());
        }
    }
    Ok(())
}

/// How many words in a row make a sentence somebody's.
const RUN: usize = 7;

/// What our descriptions say is in our words.
fn own_words(data: &Path) -> Result<(), Failed> {
    let words = |text: &str| -> Vec<String> {
        let letters = text.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), " ");
        letters.split_whitespace().map(str::to_owned).collect()
    };
    let texts = |definition: &Value| -> Vec<String> {
        let said =
            |(place, _): &(&String, &String)| place.ends_with(" description") || place.ends_with(" message");
        flat(definition).iter().filter(said).map(|(_, text)| text.clone()).collect()
    };
    let mut theirs: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in yaml_below(&data.join("crds")) {
        for text in texts(&definition(&std::fs::read_to_string(file)?)) {
            theirs.extend(words(&text).windows(RUN).map(<[String]>::to_vec));
        }
    }
    let mut wrong = BTreeSet::new();
    for manifest in MANIFESTS {
        for text in texts(&definition(manifest.text)) {
            wrong.extend(
                words(&text).windows(RUN).filter(|run| theirs.contains(*run)).map(|run| run.join(" ")),
            );
        }
    }
    println!("{} runs of {RUN} words are upstream's", theirs.len());
    if theirs.len() < 500 {
        return Err("upstream's descriptions are missing from the data".into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("upstream's words: {wrong:#?}").into()) }
}

/// A policy object of the data, and where it is from.
struct Sample {
    origin: String,
    object: Value,
}

/// The objects of our group in a file. Upstream's templates ask for ports of the host network.
fn samples(path: &Path) -> Vec<Sample> {
    let mut text = std::fs::read_to_string(path).expect("text");
    for index in 0..10 {
        text =
            text.replace(&format!("{{{{ index .HostNetworkPorts {index} }}}}"), &(34345 + index).to_string());
    }
    let origin = path.display().to_string();
    let objects = documents(&text).into_iter().filter(is_ours);
    objects.map(|object| Sample { origin: origin.clone(), object }).collect()
}

fn is_ours(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP))
}

fn judge_all(samples: &[Sample], least: usize) -> Result<(), Failed> {
    let judges: BTreeMap<String, Judge> =
        Judge::all().into_iter().map(|judge| (judge.kind.clone(), judge)).collect();
    let mut wrong = Vec::new();
    for Sample { origin, object } in samples {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(judge) = judges.get(kind) else {
            wrong.push(format!("{origin}: {kind}: no such kind"));
            continue;
        };
        let (broken, unknown) = (judge.broken(object), judge.unknown(object));
        if !broken.is_empty() || !unknown.is_empty() {
            wrong.push(format!("{origin}: breaks {broken:?}, has the unknown fields {unknown:?}"));
        } else if typed::through(object) != Ok(judge.defaulted(object)) {
            wrong.push(format!(
                "{origin}: {:?} instead of {}",
                typed::through(object),
                judge.defaulted(object)
            ));
        }
    }
    println!("{} objects, valid and read without loss", samples.len() - wrong.len());
    if samples.len() < least {
        return Err(format!("{} objects in the data, {least} expected at least", samples.len()).into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The policies of upstream's suites and tests.
fn valid_policies(data: &Path) -> Result<(), Failed> {
    let conformance = data.join("conformance");
    let directories = [
        "main-0eec1b0-v1alpha2/base",
        "release-0.1-e80807c-v1alpha1/base",
        "crdtest-testdata/valid",
        "pending-prs/pr-383/pkg/crdtest/testdata/valid",
        "pending-prs/pr-384",
        "pending-prs/pr-385",
        "pending-prs/pr-386",
    ];
    let files = directories.iter().flat_map(|directory| yaml_below(&conformance.join(directory)));
    judge_all(&files.flat_map(|file| samples(&file)).collect::<Vec<_>>(), 60)
}

/// The policies as upstream's suites change them in the course of their tests.
fn changed_policies(data: &Path) -> Result<(), Failed> {
    let mut found = Vec::new();
    for file in ["main-0eec1b0-v1alpha2", "release-0.1-e80807c-v1alpha1"] {
        let scenarios: Value =
            serde_json::from_str(&read(data, &format!("conformance/{file}/scenarios.json")))?;
        for test in scenarios["tests"].as_array().ok_or("no tests")? {
            for stage in test["stages"].as_array().ok_or("no stages")? {
                let objects =
                    stage["objects"].as_array().ok_or("no objects")?.iter().filter(|object| is_ours(object));
                let origin = format!("{file}: {}: {}", test["shortName"], stage["subtest"]);
                found.extend(objects.map(|object| Sample { origin: origin.clone(), object: object.clone() }));
            }
        }
    }
    judge_all(&found, 150)
}

/// What upstream's tests expect to be refused, is.
fn invalid_policies(data: &Path) -> Result<(), Failed> {
    let conformance = data.join("conformance");
    let directories = ["crdtest-testdata/invalid", "pending-prs/pr-383/pkg/crdtest/testdata/invalid"];
    let files = directories.iter().flat_map(|directory| yaml_below(&conformance.join(directory)));
    let (judge, mut count) = (Judge::of("ClusterNetworkPolicy"), 0);
    for Sample { origin, object } in files.flat_map(|file| samples(&file)) {
        let broken = judge.broken(&object);
        if broken.len() != 1 {
            return Err(format!("{origin}: breaks {broken:?}").into());
        }
        println!("{origin}: breaks {broken:?}");
        count += 1;
    }
    if count == 4 { Ok(()) } else { Err(format!("{count} objects instead of 4").into()) }
}

type Check = fn(&Path) -> Result<(), Failed>;

fn main() {
    let data = reference::directory();
    if data.is_none() {
        println!(
            "skipped: reference data not present (set PALISADE_SHARED to the directory that holds `data`)"
        );
    }
    let checks: [(&str, Check); 6] = [
        ("the definitions say what upstream's say", same_definitions),
        ("the columns are in upstream's order", same_columns),
        ("the descriptions are in our own words", own_words),
        ("upstream's policies are valid and read without loss", valid_policies),
        ("upstream's policies stay so as its suites change them", changed_policies),
        ("what upstream refuses is refused", invalid_policies),
    ];
    let trials = checks.map(|(name, check)| {
        let given = data.clone();
        let run = move || check(given.as_deref().ok_or("reference data not present")?);
        Trial::test(name, run).with_ignored_flag(data.is_none())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
