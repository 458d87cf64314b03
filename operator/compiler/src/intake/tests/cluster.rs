//! ClusterNetworkPolicy: whole policies, subjects and protocols of v1alpha2.

use palisade_view::Protocol::{Sctp, Tcp, Udp};

use super::{NONE, admin, cnp, found, in_namespaces, labels, networks};
use crate::model::{
    Action, AdminPolicy, AdminRule, AdminSubject, Kind, NamespaceMatch, Peer, PortMatch, Selector, Tier,
};

#[test]
fn a_whole_policy() {
    let decoded = cnp("
tier: Baseline
priority: 0
subject: {pods: {podSelector: {matchLabels: {app: web}}}}
ingress:
- {action: Pass, from: [{pods: {podSelector: {matchLabels: {app: web}}}}]}
egress:
- {name: out, action: Accept, to: [{networks: [192.0.2.0/24]}], protocols: [{tcp: {destinationPort: {number: 443}}}]}
");
    assert_eq!(found(&decoded), NONE);
    let expected = AdminPolicy {
        kind: Kind::ClusterNetworkPolicy,
        name: "c".to_owned(),
        tier: Tier::Baseline,
        priority: 0,
        subject: AdminSubject::Pods { namespaces: Selector::EVERYTHING, pods: labels("app", "web") },
        ingress: vec![AdminRule {
            name: None,
            index: 0,
            action: Action::Pass,
            peers: vec![Peer::Pods {
                namespaces: NamespaceMatch::Labels(Selector::EVERYTHING),
                pods: labels("app", "web"),
            }],
            ports: None,
        }],
        egress: vec![AdminRule {
            name: Some("out".to_owned()),
            index: 0,
            action: Action::Allow,
            peers: vec![networks(&["192.0.2.0/24"])],
            ports: Some(vec![PortMatch::Range(Tcp, 443, 443)]),
        }],
    };
    assert_eq!(admin(&decoded), expected);
}

#[test]
fn protocols() {
    for (protocol, expected) in [
        ("{tcp: {destinationPort: {number: 80}}}", PortMatch::Range(Tcp, 80, 80)),
        ("{udp: {destinationPort: {range: {start: 1, end: 65535}}}}", PortMatch::Range(Udp, 1, 65535)),
        ("{sctp: {destinationPort: {number: 5, range: null}}, tcp: null}", PortMatch::Range(Sctp, 5, 5)),
        ("{destinationNamedPort: http}", PortMatch::Named { name: "http".to_owned(), protocol: None }),
    ] {
        let decoded = cnp(&format!(
            "{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}], \
             protocols: [{protocol}]}}]}}"
        ));
        assert_eq!(found(&decoded), NONE, "{protocol}");
        assert_eq!(admin(&decoded).ingress[0].ports, Some(vec![expected]), "{protocol}");
    }
}

#[test]
fn ranges_the_schema_forbids_are_kept() {
    for (start, end, finding) in [
        (5, 5, "the range starts where it ends"),
        (6, 5, "the range ends before it starts: it matches no port"),
    ] {
        let decoded = cnp(&format!(
            "{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: [{{action: Accept, from: [{{namespaces: {{}}}}], \
             protocols: [{{tcp: {{destinationPort: {{range: {{start: {start}, end: {end}}}}}}}}}]}}]}}"
        ));
        let path = "spec.ingress[0].protocols[0].tcp.destinationPort.range";
        assert_eq!(found(&decoded), [format!("{path}: error: {finding}")]);
        assert_eq!(admin(&decoded).ingress[0].ports, Some(vec![PortMatch::Range(Tcp, start, end)]));
    }
}

#[test]
fn a_tier_that_is_not_known_leaves_only_denials_in_force() {
    for (tier, finding) in [
        ("null", "spec.tier: error: the field is missing"),
        ("admin", "spec.tier: error: \"admin\" is no tier"),
        ("1", "spec.tier: error: found the number 1, not a string"),
    ] {
        let decoded = cnp(&format!(
            "{{tier: {tier}, priority: 7, subject: {{namespaces: {{}}}}, ingress: [{{action: Accept, from: [{{namespaces: {{}}}}]}}, \
             {{action: Deny, from: [{{namespaces: {{}}}}]}}]}}"
        ));
        let place = "spec: fails closed: the policy's place among the others is not known: only its Deny rules are in \
                     force, at priority 0";
        assert_eq!(found(&decoded), [place, finding]);
        let policy = admin(&decoded);
        assert_eq!((policy.tier, policy.priority), (Tier::Admin, 0));
        assert_eq!(policy.ingress[0].peers, []);
        assert_eq!(policy.ingress[1].peers, [in_namespaces(Selector::EVERYTHING)]);
    }
}

#[test]
fn a_pod_selector_is_required() {
    let decoded = cnp("{tier: Admin, priority: 7, subject: {pods: {namespaceSelector: {}}}}");
    assert_eq!(admin(&decoded).subject, AdminSubject::Nothing);
    assert_eq!(
        found(&decoded),
        [
            "spec.subject: error: the subject is not understood: it selects no pod, the policy has no effect",
            "spec.subject.pods.podSelector: error: the field is missing",
        ]
    );
}

#[test]
fn long_lists_are_reported_and_in_force() {
    let repeated = |item: &str, count: usize| vec![item; count].join(", ");
    let peers = repeated("{nodes: {}}", 26);
    let protocols = repeated("{tcp: {destinationPort: {number: 80}}}", 26);
    let nets: Vec<_> = (0..26).map(|net| format!("10.{net}.0.0/16")).collect();
    let names: Vec<_> = (10..36).map(|name| format!("n{name}.example.com")).collect();
    let rules = [
        format!("{{action: Deny, to: [{peers}], protocols: [{protocols}], name: {}}}", "ä".repeat(101)),
        format!("{{action: Deny, to: [{{networks: [{}]}}], name: {}}}", nets.join(", "), "ä".repeat(100)),
        format!("{{action: Accept, to: [{{domainNames: [{}]}}]}}", names.join(", ")),
    ];
    let rest = repeated("{action: Deny, to: [{nodes: {}}]}", 23);
    let decoded = cnp(&format!(
        "{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{}, {rest}]}}",
        rules.join(", ")
    ));
    let long = "error: the list has 26 items, the API allows 25";
    assert_eq!(
        found(&decoded),
        [
            format!("spec.egress: {long}"),
            "spec.egress[0].name: error: the name has 101 characters, the API allows 100".to_owned(),
            format!("spec.egress[0].protocols: {long}"),
            format!("spec.egress[0].to: {long}"),
            format!("spec.egress[1].to[0].networks: {long}"),
            "spec.egress[2].to[0].domainNames: fails closed: domain names are not enforced yet: this peer matches nothing"
                .to_owned(),
            format!("spec.egress[2].to[0].domainNames: {long}"),
        ]
    );
    let egress = admin(&decoded).egress;
    assert_eq!(egress.len(), 26);
    assert_eq!((egress[0].peers.len(), egress[0].ports.as_ref().unwrap().len()), (26, 26));
    assert_eq!(egress[0].name, Some("ä".repeat(101)));
    assert!(matches!(&egress[1].peers[0], Peer::Networks { networks, .. } if networks.len() == 26));
    assert!(matches!(&egress[2].peers[0], Peer::Names(names) if names.len() == 26));
}
