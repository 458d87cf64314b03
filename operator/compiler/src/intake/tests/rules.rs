//! Rules of the cluster-wide kinds that are not understood: an Allow matches nothing, a Deny or Pass denies everything.

use super::{NONE, admin, anp, cnp, deny_everything, found, networks, remedy};
use crate::model::{Action, AdminRule, PortMatch};

const ALLOW: &str = "fails closed: the rule is not understood: it allows nothing";
const DENY: &str = "fails closed: the rule is not understood: it denies its subjects all egress";

fn nothing(index: usize) -> AdminRule {
    AdminRule { name: None, index, action: Action::Allow, peers: vec![], ports: None }
}

/// `rest` is a rule without its action; each finding is relative to the rule.
fn fails_closed(rest: &str, finding: &str, decode: impl Fn(&str) -> super::Decoded, allow: &str) {
    for (action, follow_up, expected) in
        [(allow, ALLOW, nothing(1)), ("Deny", DENY, deny_everything(1)), ("Pass", DENY, deny_everything(1))]
    {
        let good = "{action: Deny, to: [{networks: [192.0.2.0/24]}]}";
        let decoded = decode(&format!("egress: [{good}, {{action: {action}, {rest}}}, {good}]"));
        let mut findings = found(&decoded);
        let follow_up = format!("spec.egress[1]: {follow_up}");
        assert!(findings.contains(&follow_up), "{rest}: {findings:?}");
        findings.retain(|finding| *finding != follow_up);
        assert_eq!(findings, [format!("spec.egress[1]{finding}")], "{action} {rest}");
        let good = |index| AdminRule {
            name: None,
            index,
            action: Action::Deny,
            peers: vec![networks(&["192.0.2.0/24"])],
            ports: None,
        };
        assert_eq!(admin(&decoded).egress, [good(0), expected, good(2)], "{action} {rest}");
    }
}

fn v1alpha1(egress: &str) -> super::Decoded {
    anp(&format!("priority: 1\nsubject: {{namespaces: {{}}}}\n{egress}"))
}

fn v1alpha2(egress: &str) -> super::Decoded {
    cnp(&format!("tier: Admin\npriority: 1\nsubject: {{namespaces: {{}}}}\n{egress}"))
}

#[test]
fn peers() {
    const OLD: &str = "error: this is the shape of the API up to v0.1.1, long since replaced";
    for (rest, finding) in [
        ("name: null", ".to: error: the field is missing".to_owned()),
        ("to: null", ".to: error: the field is missing".to_owned()),
        ("to: []", ".to: error: the list is empty".to_owned()),
        ("to: {nodes: {}}", ".to: error: found an object, not a list".to_owned()),
        ("to: [null]", ".to[0]: error: found null, not an object".to_owned()),
        ("to: [{}]", ".to[0]: fails closed: nothing is set in it".to_owned()),
        ("to: [{nodes: null}]", ".to[0]: fails closed: nothing is set in it".to_owned()),
        ("to: [{nodes: {}}, {services: {}}]", ".to[1].services: fails closed: the field is not known".to_owned()),
        ("to: [{nodes: {}, services: {}}]", ".to[0]: error: `nodes`, `services` are set together".to_owned()),
        ("to: [{nodes: {}, pods: {}}]", ".to[0]: error: `nodes`, `pods` are set together".to_owned()),
        ("to: [{ipBlock: {}}]", ".to[0].ipBlock: fails closed: the field is not known".to_owned()),
        ("to: [{networks: []}]", ".to[0].networks: fails closed: the list is empty".to_owned()),
        (
            "to: [{networks: 10.0.0.0/8}]",
            ".to[0].networks: error: found the string \"10.0.0.0/8\", not a list".to_owned(),
        ),
        (
            "to: [{networks: [10.0.0.0/8, 10.0.0.1]}]",
            ".to[0].networks[1]: error: \"10.0.0.1\" is not a CIDR".to_owned(),
        ),
        (
            "to: [{networks: ['::ffff:192.0.2.0/120']}]",
            ".to[0].networks[0]: error: \"::ffff:192.0.2.0/120\" is an IPv4-mapped IPv6 network, which no packet is \
             from or to"
                .to_owned(),
        ),
        ("to: [{nodes: {zone: a}}]", ".to[0].nodes.zone: fails closed: the field is not known".to_owned()),
        (
            "to: [{namespaces: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}}]",
            ".to[0].namespaces.matchExpressions[0].operator: fails closed: the operator \"Gt\" is not known".to_owned(),
        ),
        ("to: [{namespaces: {namespaceSelector: {}}}]", format!(".to[0].namespaces.namespaceSelector: {OLD}")),
        ("to: [{namespaces: {sameLabels: [tier]}}]", format!(".to[0].namespaces.sameLabels: {OLD}")),
        ("to: [{namespaces: {notSameLabels: [tier]}}]", format!(".to[0].namespaces.notSameLabels: {OLD}")),
        (
            "to: [{pods: {namespaces: {namespaceSelector: {}}, podSelector: {}}}]",
            format!(".to[0].pods.namespaces: {OLD}"),
        ),
        ("to: [{pods: []}]", ".to[0].pods: error: found a list, not an object".to_owned()),
        (
            "to: [{pods: {namespaceSelector: {}, podSelector: {}, nodeSelector: {}}}]",
            ".to[0].pods.nodeSelector: fails closed: the field is not known".to_owned(),
        ),
        ("to: [{domainNames: []}]", ".to[0].domainNames: fails closed: the list is empty".to_owned()),
        (
            "to: [{domainNames: [localhost]}]",
            ".to[0].domainNames[0]: error: \"localhost\" is not a domain name".to_owned(),
        ),
        ("to: [{nodes: {}}], via: {}", ".via: fails closed: the field is not known".to_owned()),
        ("to: [{nodes: {}}], from: []", ".from: fails closed: the field is not known".to_owned()),
    ] {
        fails_closed(rest, &finding, v1alpha1, "Allow");
        // Required in v1alpha1 only, so the old shape is all that is wrong in both.
        fails_closed(rest, &finding, v1alpha2, "Accept");
    }
}

#[test]
fn the_old_shape_comes_with_the_way_to_write_it_now() {
    const GONE: &str = "the API has nothing like it any more: write a policy for each group of namespaces";
    for (peer, field, expected) in [
        (
            "{namespaces: {namespaceSelector: {}}}",
            "namespaces.namespaceSelector",
            "write what is in `namespaceSelector` directly into `namespaces`",
        ),
        ("{namespaces: {sameLabels: [tenant]}}", "namespaces.sameLabels", GONE),
        ("{namespaces: {notSameLabels: [tenant]}}", "namespaces.notSameLabels", GONE),
        (
            "{pods: {namespaces: {namespaceSelector: {}}, podSelector: {}}}",
            "pods.namespaces",
            "write the selector of namespaces as `pods.namespaceSelector`",
        ),
        ("{pods: {namespaces: {sameLabels: [tenant]}, podSelector: {}}}", "pods.namespaces.sameLabels", GONE),
    ] {
        for (decoded, list) in [
            (v1alpha1(&format!("ingress: [{{action: Pass, from: [{peer}]}}]")), "ingress[0].from[0]"),
            (v1alpha2(&format!("egress: [{{action: Deny, to: [{peer}]}}]")), "egress[0].to[0]"),
        ] {
            assert_eq!(remedy(&decoded, &format!("spec.{list}.{field}")), expected, "{peer}");
            let policy = admin(&decoded);
            let rules = if policy.ingress.is_empty() { policy.egress } else { policy.ingress };
            assert_eq!(rules, [deny_everything(0)], "{peer}");
        }
    }
}

#[test]
fn namespace_selectors_of_pods_are_required_in_v1alpha1() {
    let rest = "to: [{pods: {podSelector: {}}}]";
    fails_closed(rest, ".to[0].pods.namespaceSelector: error: the field is missing", v1alpha1, "Allow");
    assert_eq!(found(&v1alpha2(&format!("egress: [{{action: Deny, {rest}}}]"))), NONE);
}

#[test]
fn ports_of_v1alpha1() {
    for (ports, finding) in [
        ("[]", ": error: the list is empty"),
        ("{}", ": error: found an object, not a list"),
        ("[80]", "[0]: error: found the number 80, not an object"),
        ("[{}]", "[0]: fails closed: nothing is set in it"),
        ("[{namedPort: ''}]", "[0].namedPort: fails closed: the port's name is empty"),
        ("[{namedPort: 80}]", "[0].namedPort: error: found the number 80, not a string"),
        ("[{port: 80}]", "[0].port: fails closed: the field is not known"),
        ("[{tcp: {}}]", "[0].tcp: fails closed: the field is not known"),
        ("[{namedPort: http, icmp: {}}]", "[0]: error: `icmp`, `namedPort` are set together"),
        ("[{portNumber: 80}]", "[0].portNumber: error: found the number 80, not an object"),
        ("[{portNumber: {}}]", "[0].portNumber.port: error: the field is missing"),
        ("[{portNumber: {port: 0}}]", "[0].portNumber.port: error: 0 is not a port number"),
        (
            "[{portNumber: {port: http}}]",
            "[0].portNumber.port: error: found the string \"http\", not a whole number",
        ),
        ("[{portNumber: {port: 80, end: 90}}]", "[0].portNumber.end: fails closed: the field is not known"),
        (
            "[{portNumber: {port: 80, protocol: ICMP}}]",
            "[0].portNumber.protocol: fails closed: the protocol \"ICMP\" is not known",
        ),
        (
            "[{portNumber: {port: 80, protocol: tcp}}]",
            "[0].portNumber.protocol: fails closed: the protocol \"tcp\" is not known",
        ),
        ("[{portRange: {start: 1}}]", "[0].portRange.end: error: the field is missing"),
        ("[{portRange: {end: 1}}]", "[0].portRange.start: error: the field is missing"),
        ("[{portRange: {start: 1, end: 65536}}]", "[0].portRange.end: error: 65536 is not a port number"),
    ] {
        fails_closed(
            &format!("to: [{{nodes: {{}}}}], ports: {ports}"),
            &format!(".ports{finding}"),
            v1alpha1,
            "Allow",
        );
    }
    fails_closed(
        "to: [{nodes: {}}], protocols: []",
        ".protocols: fails closed: the field is not known",
        v1alpha1,
        "Allow",
    );
}

#[test]
fn protocols_of_v1alpha2() {
    for (protocols, finding) in [
        ("[]", ": error: the list is empty"),
        ("tcp", ": error: found the string \"tcp\", not a list"),
        ("[tcp]", "[0]: error: found the string \"tcp\", not an object"),
        ("[{}]", "[0]: fails closed: nothing is set in it"),
        ("[{icmp: {}}]", "[0].icmp: fails closed: the field is not known"),
        ("[{portNumber: {port: 80}}]", "[0].portNumber: fails closed: the field is not known"),
        ("[{destinationNamedPort: ''}]", "[0].destinationNamedPort: fails closed: the port's name is empty"),
        ("[{tcp: {}}]", "[0].tcp: fails closed: nothing is set in it"),
        ("[{tcp: null}]", "[0]: fails closed: nothing is set in it"),
        ("[{tcp: {}, udp: {}}]", "[0]: error: `tcp`, `udp` are set together"),
        ("[{tcp: {sourcePort: {}}}]", "[0].tcp.sourcePort: fails closed: the field is not known"),
        (
            "[{tcp: {destinationPort: {number: 1}, sourcePort: {}}}]",
            "[0].tcp: error: `destinationPort`, `sourcePort` are set together",
        ),
        (
            "[{tcp: {destinationPort: 80}}]",
            "[0].tcp.destinationPort: error: found the number 80, not an object",
        ),
        ("[{tcp: {destinationPort: {}}}]", "[0].tcp.destinationPort: fails closed: nothing is set in it"),
        (
            "[{tcp: {destinationPort: {name: x}}}]",
            "[0].tcp.destinationPort.name: fails closed: the field is not known",
        ),
        (
            "[{tcp: {destinationPort: {number: 70000}}}]",
            "[0].tcp.destinationPort.number: error: 70000 is not a port number",
        ),
        (
            "[{tcp: {destinationPort: {range: {start: 1, end: 2, step: 2}}}}]",
            "[0].tcp.destinationPort.range.step: fails closed: the field is not known",
        ),
    ] {
        let rest = format!("to: [{{nodes: {{}}}}], protocols: {protocols}");
        fails_closed(&rest, &format!(".protocols{finding}"), v1alpha2, "Accept");
    }
    fails_closed(
        "to: [{nodes: {}}], ports: []",
        ".ports: fails closed: the field is not known",
        v1alpha2,
        "Accept",
    );
}

#[test]
fn actions_that_are_not_known_deny_everything() {
    for (rule, finding) in [
        ("null", ": error: found null, not an object"),
        ("Deny", ": error: found the string \"Deny\", not an object"),
        ("{to: [{nodes: {}}]}", ".action: error: the field is missing"),
        ("{action: '', to: [{nodes: {}}]}", ".action: error: \"\" is no action of AdminNetworkPolicy"),
        (
            "{action: allow, to: [{nodes: {}}]}",
            ".action: error: \"allow\" is no action of AdminNetworkPolicy",
        ),
        (
            "{action: Accept, to: [{nodes: {}}]}",
            ".action: error: \"Accept\" is no action of AdminNetworkPolicy",
        ),
        ("{action: [Allow], to: [{nodes: {}}]}", ".action: error: found a list, not a string"),
    ] {
        let decoded = v1alpha1(&format!("egress: [{rule}]"));
        let mut findings = found(&decoded);
        findings.sort();
        let mut expected = vec![format!("spec.egress[0]{finding}"), format!("spec.egress[0]: {DENY}")];
        expected.sort();
        assert_eq!(findings, expected, "{rule}");
        assert_eq!(admin(&decoded).egress, [deny_everything(0)], "{rule}");
    }
    let decoded = v1alpha2("egress: [{action: Allow, to: [{nodes: {}}]}]");
    assert_eq!(remedy(&decoded, "spec.egress[0].action"), "ClusterNetworkPolicy says `Accept`");
}

#[test]
fn names_stay_with_rules_that_fail_closed() {
    let decoded = v1alpha1(
        "egress: [{name: called, action: Pass, to: [{}]}, {name: 5, action: Deny, to: [{networks: [192.0.2.0/24]}]}]",
    );
    let egress = admin(&decoded).egress;
    assert_eq!(egress[0], AdminRule { name: Some("called".to_owned()), ..deny_everything(0) });
    assert_eq!((&egress[1].name, &egress[1].peers), (&None, &vec![networks(&["192.0.2.0/24"])]));
}

#[test]
fn domain_names_in_denials_fail_closed() {
    for action in ["Deny", "Pass"] {
        let decoded =
            v1alpha2(&format!("egress: [{{action: {action}, to: [{{domainNames: [a.example.com]}}]}}]"));
        assert_eq!(
            found(&decoded),
            [
                format!("spec.egress[0]: {DENY}"),
                "spec.egress[0].to[0].domainNames: fails closed: domain names are for `Accept` rules only: which \
                 addresses a name has is never fully known"
                    .to_owned(),
            ]
        );
        assert_eq!(admin(&decoded).egress, [deny_everything(0)]);
    }
}

#[test]
fn ingress_has_pod_peers_only() {
    for field in ["networks: [10.0.0.0/8]", "nodes: {}", "domainNames: [a.example.com]"] {
        let decoded = v1alpha1(&format!("ingress: [{{action: Allow, from: [{{{field}}}]}}]"));
        let name = field.split(':').next().unwrap();
        assert_eq!(
            remedy(&decoded, &format!("spec.ingress[0].from[0].{name}")),
            "only egress rules have such peers: select pods by `namespaces` or `pods`"
        );
        assert_eq!(admin(&decoded).ingress, [nothing(0)]);
    }
}

#[test]
fn named_ports_beside_peers_without_names_are_warned_of() {
    let text =
        "warning: named ports match nothing of networks, nodes and domain names: these have no named ports";
    for peer in ["networks: [10.0.0.0/8]", "nodes: {}"] {
        let decoded =
            v1alpha1(&format!("egress: [{{action: Deny, to: [{{{peer}}}], ports: [{{namedPort: http}}]}}]"));
        assert_eq!(found(&decoded), [format!("spec.egress[0].to: {text}")]);
        let rule = &admin(&decoded).egress[0];
        assert_eq!(rule.ports, Some(vec![PortMatch::Named { name: "http".to_owned(), protocol: None }]));
        assert_eq!(rule.peers.len(), 1);
    }
    let decoded = v1alpha1("egress: [{action: Deny, to: [{namespaces: {}}], ports: [{namedPort: http}]}]");
    assert_eq!(found(&decoded), NONE);
    let decoded = v1alpha1("egress: [{action: Deny, to: [{namespaces: {}}], ports: [{namedPort: No One}]}]");
    assert_eq!(
        found(&decoded),
        [
            "spec.egress[0].ports[0].namedPort: warning: no container port can be named \"No One\": it matches no port"
        ]
    );
}

#[test]
fn host_bits_are_masked_and_networks_sorted() {
    let decoded =
        v1alpha1("egress: [{action: Deny, to: [{networks: [192.0.2.7/24, 10.0.0.0/8, 192.0.2.0/24]}]}]");
    assert_eq!(
        found(&decoded),
        [
            "spec.egress[0].to[0].networks[0]: warning: `192.0.2.7/24` has bits set behind its prefix: it is read as \
          `192.0.2.0/24`"
        ]
    );
    assert_eq!(admin(&decoded).egress[0].peers, [networks(&["10.0.0.0/8", "192.0.2.0/24"])]);
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let decoded = v1alpha1(
        "egress: [{action: Log, via: {}, to: [{}, {networks: [x, y]}], ports: [{portNumber: {port: 0, protocol: X}}]}]",
    );
    let fields: Vec<_> = decoded.diagnostics.iter().map(|finding| finding.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.egress[0]",
            "spec.egress[0].action",
            "spec.egress[0].ports[0].portNumber.port",
            "spec.egress[0].ports[0].portNumber.protocol",
            "spec.egress[0].to[0]",
            "spec.egress[0].to[1].networks[0]",
            "spec.egress[0].to[1].networks[1]",
            "spec.egress[0].via",
        ]
    );
}
