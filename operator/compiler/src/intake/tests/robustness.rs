//! Whatever the JSON, intake gives an answer, and damage to a rule never widens what it lets through.

#[path = "../../../tests/generate/json.rs"]
mod json;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::{admin, network};
use crate::diagnostic::Severity;
use crate::intake::{Decoded, decode};
use crate::model::{Action, Kind, Peer};

/// JSON of any shape, with the words that mean something strewn in.
fn anything() -> impl Strategy<Value = Value> {
    let word = || prop_oneof![select(&json::WORDS[..]).prop_map(str::to_owned), ".{0,12}",];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..70_000_i64).prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A good object of the kind that uses every field there is.
fn sample(kind: Kind) -> Value {
    let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]});
    let pods = json!({"namespaceSelector": selector, "podSelector": selector});
    let peers = json!([{"namespaces": selector}, {"pods": pods}]);
    let targets = json!([
        {"namespaces": selector}, {"pods": pods}, {"networks": ["10.0.0.0/8"]}, {"nodes": selector},
    ]);
    let v1alpha1 = json!({
        "priority": 5, "subject": {"pods": pods},
        "ingress": [{"name": "x", "action": "Allow", "from": peers, "ports": [{"portNumber": {"protocol": "TCP", "port": 80}}]}],
        "egress": [{"action": "Allow", "to": targets, "ports": [{"portRange": {"start": 1, "end": 2}}]}],
    });
    let v1alpha2 = json!({
        "tier": "Admin", "priority": 5, "subject": {"pods": pods},
        "ingress": [{"name": "x", "action": "Accept", "from": peers, "protocols": [{"destinationNamedPort": "http"}]}],
        "egress": [{"action": "Accept", "to": targets, "protocols": [
            {"tcp": {"destinationPort": {"number": 80}}}, {"udp": {"destinationPort": {"range": {"start": 1, "end": 2}}}},
        ]}],
    });
    let v1 = json!({
        "podSelector": selector, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": selector, "namespaceSelector": selector}], "ports": [{"port": "http"}]}],
        "egress": [{
            "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
            "ports": [{"protocol": "UDP", "port": 1, "endPort": 2}],
        }],
    });
    let (spec, status) = match kind {
        Kind::Namespace => (json!({}), json!({})),
        Kind::Node => (
            json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}),
            json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}),
        ),
        Kind::Pod => (
            json!({
                "nodeName": "n", "hostNetwork": false,
                "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]}],
                "initContainers": [{"restartPolicy": "Always", "ports": [{"name": "x", "containerPort": 1}]}],
            }),
            json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}),
        ),
        Kind::ClusterNetworkPolicy => (v1alpha2, json!({})),
        Kind::AdminNetworkPolicy => (v1alpha1, json!({})),
        Kind::BaselineAdminNetworkPolicy => {
            let mut spec = v1alpha1;
            spec.as_object_mut().unwrap().remove("priority");
            (spec, json!({}))
        }
        Kind::NetworkPolicy => (v1, json!({})),
    };
    let mut metadata = json!({"name": "default", "labels": {"a": "b"}});
    if kind.is_namespaced() {
        metadata["namespace"] = json!("shop");
    }
    json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec, "status": status})
}

/// The sample with something else in one place of those below `at`.
fn damaged(kind: Kind, at: &str, place: Index, junk: Value) -> Value {
    let mut raw = sample(kind);
    let mut all = Vec::new();
    json::places(raw.pointer(at).unwrap(), at, &mut all);
    *raw.pointer_mut(&all[place.index(all.len())]).unwrap() = junk;
    raw
}

fn is_an_answer(decoded: &Decoded) {
    let errors = decoded.diagnostics.iter().any(|finding| finding.severity == Severity::Error);
    assert!(decoded.model.is_some() || errors, "{decoded:?}");
    assert!(decoded.model.is_some() || !decoded.object.kind.is_policy(), "{decoded:?}");
    assert!(decoded.model.iter().all(|model| model.object() == decoded.object), "{decoded:?}");
    assert!(decoded.diagnostics.is_sorted(), "{decoded:?}");
}

#[test]
fn samples_are_good() {
    for kind in Kind::ALL {
        let decoded = decode(&sample(kind)).unwrap();
        assert_eq!(decoded.diagnostics, [], "{kind}");
        assert!(decoded.model.is_some());
    }
}

/// That many cases of a property, or as many as `PROPTEST_CASES` says.
fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn any_json_has_an_answer(raw in anything()) {
        if let Ok(decoded) = decode(&raw) {
            is_an_answer(&decoded);
        }
    }

    #[test]
    fn any_damage_has_an_answer(kind in select(Kind::ALL.to_vec()), place: Index, junk in anything()) {
        if let Ok(decoded) = decode(&damaged(kind, "", place, junk)) {
            is_an_answer(&decoded);
        }
    }

    /// Of anything put into an Allow rule, whatever leaves it matching something leaves no finding of damage: a rule
    /// is understood as a whole or allows nothing.
    #[test]
    fn a_damaged_allow_rule_is_whole_or_matches_nothing(
        kind in select(vec![Kind::AdminNetworkPolicy, Kind::BaselineAdminNetworkPolicy, Kind::ClusterNetworkPolicy]),
        direction in select(vec!["ingress", "egress"]),
        place: Index,
        junk in anything(),
    ) {
        let decoded = decode(&damaged(kind, &format!("/spec/{direction}/0"), place, junk)).unwrap();
        let policy = admin(&decoded);
        let rule = if direction == "ingress" { &policy.ingress[0] } else { &policy.egress[0] };
        let follow_up = |finding: &&crate::Diagnostic| finding.field == format!("spec.{direction}[0]");
        match decoded.diagnostics.iter().find(follow_up) {
            None => prop_assert!(!rule.peers.is_empty() && !rule.peers.contains(&Peer::Everything)),
            Some(_) if rule.action == Action::Allow => prop_assert!(rule.peers.is_empty()),
            Some(_) => prop_assert_eq!((rule.action, &rule.peers, &rule.ports), (Action::Deny, &vec![Peer::Everything], &None)),
        }
    }

    /// The same for NetworkPolicy, whose rules are left out instead. Only `null` and an empty list mean everything.
    #[test]
    fn a_damaged_network_policy_rule_is_whole_or_left_out(
        direction in select(vec![("ingress", "from"), ("egress", "to")]),
        place: Index,
        junk in anything(),
    ) {
        let (direction, peers) = direction;
        let raw = damaged(Kind::NetworkPolicy, &format!("/spec/{direction}/0"), place, junk);
        let list = &raw["spec"][direction][0][peers];
        let open = list.is_null() || list.as_array().is_some_and(Vec::is_empty);
        let decoded = decode(&raw).unwrap();
        let policy = network(&decoded);
        let rules = if direction == "ingress" { policy.ingress } else { policy.egress }.unwrap();
        let left_out = decoded.diagnostics.iter().any(|finding| finding.field == format!("spec.{direction}[0]"));
        prop_assert_eq!(rules.is_empty(), left_out);
        prop_assert!(rules.iter().all(|rule| open == rule.peers.contains(&Peer::Everything)));
    }
}
