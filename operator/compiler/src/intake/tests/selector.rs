//! Selectors and the grammars behind them, through the peer of a NetworkPolicy.

use std::collections::BTreeSet;

use super::{NONE, found, in_own_namespace, labels, network, np, remedy, requirement};
use crate::intake::syntax::{is_domain_pattern, is_label_key, is_label_value, is_port_name};
use crate::model::{Operator, Selector};

fn values(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn selectors_mean_what_kubernetes_says() {
    for (yaml, expected) in [
        ("{}", Selector::EVERYTHING),
        ("{matchLabels: {}, matchExpressions: []}", Selector::EVERYTHING),
        ("{matchLabels: null, matchExpressions: null}", Selector::EVERYTHING),
        ("{matchLabels: {app: web}}", labels("app", "web")),
        ("{matchLabels: {app: ''}}", labels("app", "")),
        ("{matchExpressions: [{key: app, operator: In, values: [web]}]}", labels("app", "web")),
        (
            "{matchExpressions: [{key: a.b/app, operator: In, values: [west, east, west]}]}",
            requirement("a.b/app", Operator::In(values(&["east", "west"]))),
        ),
        (
            "{matchExpressions: [{key: app, operator: NotIn, values: [x]}]}",
            requirement("app", Operator::NotIn(values(&["x"]))),
        ),
        ("{matchExpressions: [{key: app, operator: Exists}]}", requirement("app", Operator::Exists)),
        (
            "{matchExpressions: [{key: app, operator: DoesNotExist, values: []}]}",
            requirement("app", Operator::DoesNotExist),
        ),
        (
            "{matchLabels: {b: x, a: x}, matchExpressions: [{key: b, operator: In, values: [x]}]}",
            Selector::match_labels([("a", "x"), ("b", "x")]),
        ),
    ] {
        let decoded = np(&format!("{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {yaml}}}]}}]}}"));
        assert_eq!(found(&decoded), NONE, "{yaml}");
        let ingress = network(&decoded).ingress.unwrap();
        assert_eq!(ingress[0].peers, [in_own_namespace(expected)], "{yaml}");
    }
}

#[test]
fn malformed_selectors_of_peers_drop_the_rule() {
    let at = "spec.ingress[0].from[0].podSelector";
    for (yaml, expected) in [
        ("[]", vec![": error: found a list, not an object"]),
        ("{app: web}", vec![".app: fails closed: the field is not known"]),
        ("{matchLabels: [app]}", vec![".matchLabels: error: found a list, not an object"]),
        ("{matchLabels: {app: 5}}", vec![".matchLabels.app: error: found the number 5, not a string"]),
        ("{matchLabels: {app: null}}", vec![".matchLabels.app: error: found null, not a string"]),
        (
            "{matchLabels: {app: '-web'}}",
            vec![".matchLabels.app: fails closed: \"-web\" is not a label's value"],
        ),
        (
            "{matchLabels: {a/b/c: web}}",
            vec![".matchLabels[\"a/b/c\"]: fails closed: \"a/b/c\" is not a label's key"],
        ),
        ("{matchExpressions: {key: app}}", vec![".matchExpressions: error: found an object, not a list"]),
        (
            "{matchExpressions: [{operator: Exists}, {key: '', operator: Exists}, {key: app}]}",
            vec![
                ".matchExpressions[0].key: error: the field is missing",
                ".matchExpressions[1].key: fails closed: \"\" is not a label's key",
                ".matchExpressions[2].operator: error: the field is missing",
            ],
        ),
        (
            "{matchExpressions: [{key: app, operator: in, values: [x]}]}",
            vec![".matchExpressions[0].operator: fails closed: the operator \"in\" is not known"],
        ),
        (
            "{matchExpressions: [{key: app, operator: In}, {key: app, operator: NotIn, values: []}]}",
            vec![
                ".matchExpressions[0].values: fails closed: `In` has no values",
                ".matchExpressions[1].values: fails closed: `NotIn` has no values",
            ],
        ),
        (
            "{matchExpressions: [{key: app, operator: Exists, values: [x]}]}",
            vec![".matchExpressions[0].values: fails closed: `Exists` has values"],
        ),
        (
            "{matchExpressions: [{key: app, operator: In, values: [x y]}]}",
            vec![".matchExpressions[0].values[0]: fails closed: \"x y\" is not a label's value"],
        ),
        (
            "{matchExpressions: [{key: app, operator: Exists, negate: true}]}",
            vec![".matchExpressions[0].negate: fails closed: the field is not known"],
        ),
    ] {
        let decoded = np(&format!("{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {yaml}}}]}}]}}"));
        let follow_up =
            "spec.ingress[0]: fails closed: the rule is not understood: it allows nothing".to_owned();
        let expected: Vec<_> =
            [follow_up].into_iter().chain(expected.iter().map(|rest| format!("{at}{rest}"))).collect();
        assert_eq!(found(&decoded), expected, "{yaml}");
        assert_eq!(network(&decoded).ingress, Some(vec![]), "{yaml}");
    }
}

#[test]
fn a_label_straight_in_a_selector_gets_a_hint() {
    let decoded = np("{podSelector: {}, ingress: [{from: [{podSelector: {app: web}}]}]}");
    assert_eq!(
        remedy(&decoded, "spec.ingress[0].from[0].podSelector.app"),
        "put the labels that are asked for under `matchLabels`"
    );
}

#[test]
fn grammars() {
    let long = "a".repeat(63);
    let longer = "a".repeat(64);
    let prefixed = format!("example.com/{long}");
    for (grammar, good, bad) in [
        (
            is_label_key as fn(&str) -> bool,
            vec!["a", "A.b_c-9", long.as_str(), prefixed.as_str(), "kubernetes.io/metadata.name"],
            vec!["", "/a", "a/", "A/b", "a//b", "-a", "a.", longer.as_str(), "ä"],
        ),
        (
            is_label_value,
            vec!["", "a", "A.b_c-9", long.as_str()],
            vec!["-", "a/b", " ", longer.as_str(), "a\n"],
        ),
        (
            is_port_name,
            vec!["http", "a", "8080-tcp", "abcdefghijklmno"],
            vec!["", "80", "a--b", "-a", "a-", "HTTP", "abcdefghijklmnop", "a_b"],
        ),
        (
            is_domain_pattern,
            vec!["example.com", "*.example.com", "a.b.c.", "WWW.example.Com", "_x.example.com", "a_b.c1-d.e"],
            vec![
                "",
                "com",
                "*",
                "*.com",
                "localhost",
                "w*.example.com",
                "a..b",
                "a-.com",
                "*.*.com",
                ".a.b",
                "a.b..",
                "-a.com",
            ],
        ),
    ] {
        for text in good {
            assert!(grammar(text), "{text}");
        }
        for text in bad {
            assert!(!grammar(text), "{text}");
        }
    }
}
