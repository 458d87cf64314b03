//! The committed definitions are what the types say, and what an API server takes for a definition.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::judge::{Judge, definition};
use common::{documents, typed};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use palisade_crds::{
    AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy, ConformanceReport, GROUP,
    MANIFESTS, definitions, manifest,
};
use serde_json::Value;

#[test]
fn the_files_are_current() {
    let current: Vec<_> = definitions()
        .iter()
        .map(|definition| {
            (manifest::file(definition), manifest::render(definition).expect("a definition renders"))
        })
        .collect();
    let committed: Vec<_> =
        MANIFESTS.iter().map(|manifest| (manifest.file.to_owned(), manifest.text.to_owned())).collect();
    for ((file, text), (committed_file, committed_text)) in current.iter().zip(&committed) {
        assert_eq!(file, committed_file, "MANIFESTS lists the files in the order of the definitions");
        assert!(
            text == committed_text,
            "{file} is not what the types say: run `make crds` and commit what it writes"
        );
    }
    assert_eq!(current.len(), committed.len(), "MANIFESTS lists every definition");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let files: BTreeSet<String> = std::fs::read_dir(directory)
        .expect("crds/yaml")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(
        files,
        current.into_iter().map(|(file, _)| file).collect(),
        "crds/yaml has nothing else in it"
    );
}

#[test]
fn the_files_say_what_the_definitions_say() {
    for (manifest, definition) in MANIFESTS.iter().zip(definitions()) {
        let read: CustomResourceDefinition = serde_saphyr::from_str(manifest.text).expect("a definition");
        assert_eq!(read, definition, "{}: writing YAML changed the definition", manifest.file);
    }
}

#[test]
fn crdgen_writes_and_checks() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crdgen"));
        command.args(arguments).arg(directory.path()).output().expect("crdgen runs")
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let missing = run(&["--check"]);
    assert!(!missing.status.success(), "nothing is there yet");
    assert_eq!(said(&missing).lines().count(), MANIFESTS.len(), "{}", said(&missing));
    assert!(run(&[]).status.success());
    assert!(run(&["--check"]).status.success());
    for manifest in MANIFESTS {
        let written = std::fs::read_to_string(directory.path().join(manifest.file)).expect("it was written");
        assert!(written == manifest.text, "{}: the same as committed", manifest.file);
    }

    let edited = directory.path().join(MANIFESTS[1].file);
    std::fs::write(&edited, MANIFESTS[1].text.replace("maximum: 65535", "maximum: 65534")).expect("written");
    let stale = run(&["--check"]);
    assert!(!stale.status.success());
    assert!(
        said(&stale).contains(MANIFESTS[1].file) && said(&stale).contains("make crds"),
        "{}",
        said(&stale)
    );
    assert_eq!(said(&stale).lines().count(), 1, "only what is stale is named");

    assert!(!run(&["--chekc"]).status.success(), "no such option");
    assert!(!run(&["elsewhere"]).status.success(), "two directories");
}

#[test]
fn the_kinds_have_the_names_of_the_api() {
    let names = |definition: &CustomResourceDefinition| {
        let names = &definition.spec.names;
        let short = names.short_names.clone().unwrap_or_default().join(",");
        let version = &definition.spec.versions[0];
        let status = version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some());
        format!(
            "{} {} {} {} {} status:{status}",
            version.name, names.kind, names.plural, short, definition.spec.scope
        )
    };
    let all: Vec<_> = definitions().iter().map(names).collect();
    assert_eq!(
        all,
        [
            "v1alpha1 AdminNetworkPolicy adminnetworkpolicies anp Cluster status:true",
            "v1alpha1 BaselineAdminNetworkPolicy baselineadminnetworkpolicies banp Cluster status:true",
            "v1alpha2 ClusterNetworkPolicy clusternetworkpolicies cnp Cluster status:true",
            "v1alpha1 ConformanceReport conformancereports npcr Cluster status:false",
        ]
    );
    for definition in definitions() {
        assert_eq!(definition.spec.group, GROUP);
        let annotations = definition.metadata.annotations.unwrap_or_default();
        // The API server refuses groups of k8s.io without it.
        let approved = annotations.get("api-approved.kubernetes.io").expect("the annotation is there");
        assert!(approved.starts_with("https://") || approved.starts_with("unapproved"), "{approved}");
    }
    let by_type = [
        AdminNetworkPolicy::crd_name(),
        BaselineAdminNetworkPolicy::crd_name(),
        ClusterNetworkPolicy::crd_name(),
        ConformanceReport::crd_name(),
    ];
    let by_name: Vec<_> =
        definitions().into_iter().filter_map(|definition| definition.metadata.name).collect();
    assert_eq!(by_name, by_type);
}

#[test]
fn the_schemas_are_structural_and_explained() {
    for manifest in MANIFESTS {
        let definition = definition(manifest.text);
        let version = &definition["spec"]["versions"][0];
        assert_eq!((&version["served"], &version["storage"]), (&Value::Bool(true), &Value::Bool(true)));
        let schema = &version["schema"]["openAPIV3Schema"];
        for field in ["apiVersion", "kind", "metadata"] {
            assert!(schema["properties"][field].is_object(), "{}: {field}", manifest.file);
        }
        structural(schema, manifest.file, "");
    }
}

/// The rules of structural schemas, as far as what is generated here could break them.
fn structural(schema: &Value, file: &str, at: &str) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{file}: {at}: is no schema"));
    for forbidden in [
        "$ref",
        "$schema",
        "$defs",
        "definitions",
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "nullable",
        "title",
        "const",
        "uniqueItems",
        "patternProperties",
        "x-kubernetes-preserve-unknown-fields",
    ] {
        assert!(!fields.contains_key(forbidden), "{file}: {at}: has `{forbidden}`");
    }
    let type_ = schema["type"].as_str().unwrap_or_else(|| panic!("{file}: {at}: has no type"));
    assert_eq!(
        type_ == "array",
        fields.contains_key("items"),
        "{file}: {at}: lists, and only they, have items"
    );
    let has_fields = fields.contains_key("properties") || fields.contains_key("additionalProperties");
    assert_eq!(type_ == "object" && at != "/metadata", has_fields, "{file}: {at}: objects have fields");
    let both = fields.contains_key("properties") && fields.contains_key("additionalProperties");
    assert!(!both, "{file}: {at}: fields by name or by any name, not both");
    if let Some(format) = schema["format"].as_str() {
        assert!(["int32", "int64", "date-time"].contains(&format), "{file}: {at}: the format {format}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(
            schema["properties"][name].is_object(),
            "{file}: {at}: `{name}` is required, and there is none"
        );
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        let description = property["description"].as_str();
        assert!(
            description.is_some() || at == "/metadata",
            "{file}: {at}: `kubectl explain` has nothing to say"
        );
        let own_lines = description.is_some_and(|text| text.contains('\n') && !text.contains("\n\n"));
        assert!(!own_lines, "{file}: {at}: the source's line breaks are in the description");
        structural(property, file, &at);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below_schema) = schema.get(below) {
            structural(below_schema, file, &format!("{at}/{below}"));
        }
    }
}

/// The samples in `config`, and the full objects of these tests.
#[test]
fn the_types_lose_nothing() {
    let mut objects = Vec::new();
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in [home.join("../config/samples"), home.join("tests/samples")] {
        for entry in std::fs::read_dir(&directory).expect("a directory of samples") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                objects.extend(documents(&std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    let ours =
        |object: &Value| object["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP));
    objects.retain(ours);
    let mut kinds = BTreeSet::new();
    for object in &objects {
        let judge = Judge::of(object["kind"].as_str().expect("a kind"));
        let name = &object["metadata"]["name"];
        assert_eq!(judge.broken(object), BTreeSet::new(), "{} {name}", judge.kind);
        assert_eq!(judge.unknown(object), BTreeSet::new(), "{} {name}", judge.kind);
        assert_eq!(
            typed::through(object).expect("the type reads it"),
            judge.defaulted(object),
            "{} {name}",
            judge.kind
        );
        kinds.insert(judge.kind);
    }
    assert_eq!(kinds.len(), MANIFESTS.len(), "there are samples of every kind");
}

/// A report without its metadata is the file that upstream's suite writes.
#[test]
fn a_report_has_no_spec() {
    let [report] = documents(include_str!("samples/conformance-report.yaml")).try_into().expect("one object");
    let typed: ConformanceReport = serde_json::from_value(report).expect("a report");
    let Value::Object(mut written) = serde_json::to_value(&typed).expect("JSON") else { panic!("no object") };
    assert!(written.remove("metadata").is_some());
    let keys: Vec<_> = written.keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(
        keys,
        ["apiVersion", "date", "implementation", "kind", "networkPolicyV2APIVersion", "profiles"]
    );
}
