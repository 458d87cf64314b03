//! What an object is and how it is named.

use serde_json::json;

use crate::intake::{IntakeError, decode};
use crate::model::{Kind, ObjectRef};

#[test]
fn every_kind_is_recognised_by_version_kind_and_name() {
    for kind in Kind::ALL {
        let namespace = kind.is_namespaced().then(|| "shop".to_owned());
        let raw = json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {"name": "x", "namespace": namespace},
        });
        let expected = ObjectRef { kind, namespace, name: "x".to_owned() };
        assert_eq!(decode(&raw).unwrap().object, expected);
    }
}

#[test]
fn other_kinds_are_unknown() {
    for (api_version, kind) in [
        ("v1", "Service"),
        ("v1", "List"),
        ("v2", "Pod"),
        ("apps/v1", "Pod"),
        ("projectcalico.org/v3", "NetworkPolicy"),
        ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
        ("networking.k8s.aws/v1alpha1", "ClusterNetworkPolicy"),
        ("v1", "pod"),
    ] {
        let raw = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
        let expected =
            IntakeError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() };
        assert_eq!(decode(&raw), Err(expected));
    }
}

#[test]
fn what_cannot_be_named_is_refused() {
    let np = |metadata| json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata});
    let named = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    let name = "is not a name; write lower-case letters, digits and `-`, at both ends a letter or digit";
    for (raw, expected) in [
        (json!(null), "apiVersion: missing; add it".to_owned()),
        (json!([1, 2]), "apiVersion: missing; add it".to_owned()),
        (json!({"kind": "Pod"}), "apiVersion: missing; add it".to_owned()),
        (json!({"apiVersion": "v1"}), "kind: missing; add it".to_owned()),
        (json!({"apiVersion": "v1", "kind": ["Pod"]}), "kind: not a string; put it in quotes".to_owned()),
        (np(json!(null)), "metadata.name: missing; add it".to_owned()),
        (np(json!({"generateName": "x-"})), "metadata.name: missing; add it".to_owned()),
        (np(json!({"name": 5})), "metadata.name: not a string; put it in quotes".to_owned()),
        (np(json!({"name": ""})), "metadata.name: empty; write it".to_owned()),
        (np(json!({"name": "a/b"})), format!("metadata.name: \"a/b\" {name}")),
        (np(json!({"name": "x"})), "metadata.namespace: missing; add it".to_owned()),
        (np(json!({"name": "x", "namespace": "a.b"})), format!("metadata.namespace: \"a.b\" {name}")),
        (named("v1", "Namespace", "a.b"), format!("metadata.name: \"a.b\" {name}")),
        (
            named("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy", "x"),
            "apiVersion: \"policy.networking.k8s.io/v1beta1\" is not a version of ClusterNetworkPolicy that is read; \
             write `policy.networking.k8s.io/v1alpha2`"
                .to_owned(),
        ),
        (
            named("policy.networking.k8s.io/v1alpha2", "AdminNetworkPolicy", "x"),
            "apiVersion: \"policy.networking.k8s.io/v1alpha2\" is not a version of AdminNetworkPolicy that is read; \
             write `policy.networking.k8s.io/v1alpha1`"
                .to_owned(),
        ),
        (
            named("extensions/v1beta1", "NetworkPolicy", "x"),
            "apiVersion: \"extensions/v1beta1\" is not a version of NetworkPolicy that is read; write \
             `networking.k8s.io/v1`"
                .to_owned(),
        ),
    ] {
        let error = decode(&raw).unwrap_err();
        assert!(matches!(error, IntakeError::Unnamed { .. }), "{raw}");
        assert_eq!(error.to_string(), expected, "{raw}");
    }
}
