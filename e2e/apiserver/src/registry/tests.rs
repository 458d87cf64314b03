use serde_json::{Value, json};

use super::*;

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "walls.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Wall", "plural": "walls", "shortNames": ["wl"]},
            "scope": "Cluster",
            "versions": [
                {
                    "name": "v1", "served": true, "storage": true,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [{"name": "Height", "type": "integer", "jsonPath": ".spec.height"}],
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "height": {"type": "integer", "minimum": 1},
                            "stones": {"type": "array", "x-kubernetes-list-type": "map",
                                "x-kubernetes-list-map-keys": ["name"],
                                "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                            "box": {"type": "object", "x-kubernetes-map-type": "atomic",
                                "properties": {"a": {"type": "string"}}},
                        }},
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    }}},
                },
                {"name": "v1alpha1", "served": false, "storage": false,
                    "schema": {"openAPIV3Schema": {"type": "object"}}},
            ],
        },
    })
}

fn admitted(registry: &Registry, mut object: Value) -> Result<Value, Refusal> {
    let text = |field: &str| object[field].as_str().unwrap().to_owned();
    let resource = registry.by_kind(&text("apiVersion"), &text("kind")).unwrap();
    resource.admit(&mut object, None, FieldValidation::Strict)?;
    Ok(object)
}

#[test]
fn a_definition_brings_its_served_versions_and_takes_them_with_it() {
    let registry = Registry::default();
    let whole = admitted(&registry, definition()).unwrap();
    assert_eq!(whole["spec"]["names"]["listKind"], "WallList");
    registry.install(&whole).unwrap();
    let wall = registry.find("example.com", "v1", "walls").unwrap();
    assert_eq!((wall.singular.as_str(), wall.has_status, wall.namespaced), ("wall", true, false));
    assert_eq!(wall.schema_name, "com.example.v1.Wall");
    assert_eq!(wall.columns[0].path, ".spec.height");
    assert!(registry.find("example.com", "v1alpha1", "walls").is_none(), "it is not served");

    assert_eq!(wall.list(&["spec", "stones"]), Lists::Map(vec!["name".to_owned()]));
    assert_eq!(wall.list(&["spec", "height"]), Lists::Atomic);
    assert!(wall.is_atomic_map(&["spec", "box"]) && !wall.is_atomic_map(&["spec"]));

    registry.remove("walls.example.com");
    assert!(registry.find("example.com", "v1", "walls").is_none());
    assert!(registry.find("", "v1", "pods").is_some());
}

#[test]
fn definitions_that_cannot_serve_are_refused_with_the_field() {
    let registry = Registry::default();
    let refused = |pointer: &str, value: Value| -> Vec<String> {
        let mut definition = definition();
        *definition.pointer_mut(pointer).unwrap() = value;
        match admitted(&registry, definition) {
            Err(Refusal::Invalid(causes)) => causes.into_iter().map(|cause| cause.field).collect(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("/metadata/name", json!("other")), ["metadata.name"]);
    assert_eq!(refused("/spec/scope", json!("World")), ["spec.scope"]);
    assert_eq!(refused("/spec/versions/0/storage", json!(false)), ["spec.versions"]);
    let pattern = json!({"type": "object", "properties": {"spec": {"type": "string", "pattern": "["}}});
    assert_eq!(
        refused("/spec/versions/0/schema/openAPIV3Schema", pattern),
        ["spec.versions[0].schema.openAPIV3Schema.properties[spec].pattern"]
    );
    let mut protected = definition();
    protected["spec"]["group"] = json!("policy.networking.k8s.io");
    protected["metadata"]["name"] = json!("walls.policy.networking.k8s.io");
    let Err(Refusal::Invalid(causes)) = admitted(&registry, protected) else { panic!("taken") };
    assert_eq!(causes[0].field, "metadata.annotations[api-approved.kubernetes.io]");
}

#[test]
fn built_in_kinds_are_completed_and_checked() {
    let registry = Registry::default();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let expected = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    });
    assert_eq!(admitted(&registry, namespace).unwrap(), expected);

    let policy = |spec: Value| json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": spec});
    let spec =
        json!({"podSelector": {}, "egress": [{"ports": [{"port": 80}, {"port": "web", "protocol": "UDP"}]}]});
    let whole = admitted(&registry, policy(spec)).unwrap();
    assert_eq!(
        whole["spec"],
        json!({
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"ports": [{"port": 80, "protocol": "TCP"}, {"port": "web", "protocol": "UDP"}]}],
        })
    );
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}]});
    let Err(Refusal::Invalid(causes)) = admitted(&registry, policy(spec)) else { panic!("taken") };
    assert_eq!(causes[0].field, "spec.ingress[0].from[0].ipBlock.cidr");
    let spec = json!({"podSelector": {}, "colour": "red", "ingress": [{"form": []}]});
    assert_eq!(
        admitted(&registry, policy(spec)),
        Err(Refusal::Strict(vec![
            "unknown field \"spec.colour\"".to_owned(),
            "unknown field \"spec.ingress[0].form\"".to_owned(),
        ]))
    );
}

#[test]
fn a_pod_stays_what_it_was_made() {
    let registry = Registry::default();
    let pod = |node: &str, image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]}})
    };
    let resource = registry.by_kind("v1", "Pod").unwrap();
    let old = admitted(&registry, pod("a", "x")).unwrap();
    assert!(resource.admit(&mut pod("a", "y"), Some(&old), FieldValidation::Strict).is_ok());
    let refused = resource.admit(&mut pod("b", "x"), Some(&old), FieldValidation::Strict).unwrap_err();
    assert!(refused.to_string().starts_with("spec: Forbidden: pod updates may not change"), "{refused}");
}

#[test]
fn every_built_in_kind_has_a_schema_of_its_own() {
    for resource in Registry::default().resources() {
        assert!(definitions().get(&resource.schema_name).is_some(), "{}", resource.schema_name);
    }
}
