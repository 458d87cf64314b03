//! AdminNetworkPolicy and BaselineAdminNetworkPolicy: whole policies, subjects, peers and ports of v1alpha1.

use palisade_view::Protocol::{Sctp, Tcp, Udp};

use super::{
    NONE, admin, anp, banp, decoded, deny_everything, found, in_namespaces, labels, networks, object, worst,
};
use crate::diagnostic::Severity;
use crate::model::{
    Action, AdminPolicy, AdminRule, AdminSubject, DomainPattern, Kind, NamespaceMatch, Peer, PortMatch,
    Selector, Tier,
};

fn everyone() -> AdminSubject {
    AdminSubject::Pods { namespaces: Selector::EVERYTHING, pods: Selector::EVERYTHING }
}

#[test]
fn a_whole_admin_network_policy() {
    let decoded = anp("
priority: 30
subject: {pods: {namespaceSelector: {matchLabels: {tier: web}}, podSelector: {}}}
ingress:
- {name: allow-monitoring, action: Allow, from: [{namespaces: {matchLabels: {tier: ops}}}]}
- {action: Pass, from: [{namespaces: {}}], ports: [{portNumber: {port: 80}}]}
egress:
- action: Deny
  to:
  - pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}
  - networks: [10.0.0.0/8, 'fd00::/8']
  - nodes: {}
  ports:
  - portNumber: {protocol: UDP, port: 53}
  - portRange: {start: 1, end: 1023}
");
    assert_eq!(found(&decoded), NONE);
    let expected = AdminPolicy {
        kind: Kind::AdminNetworkPolicy,
        name: "a".to_owned(),
        tier: Tier::Admin,
        priority: 30,
        subject: AdminSubject::Pods { namespaces: labels("tier", "web"), pods: Selector::EVERYTHING },
        ingress: vec![
            AdminRule {
                name: Some("allow-monitoring".to_owned()),
                index: 0,
                action: Action::Allow,
                peers: vec![in_namespaces(labels("tier", "ops"))],
                ports: None,
            },
            AdminRule {
                name: None,
                index: 1,
                action: Action::Pass,
                peers: vec![in_namespaces(Selector::EVERYTHING)],
                ports: Some(vec![PortMatch::Range(Tcp, 80, 80)]),
            },
        ],
        egress: vec![AdminRule {
            name: None,
            index: 0,
            action: Action::Deny,
            peers: vec![
                Peer::Pods {
                    namespaces: NamespaceMatch::Labels(Selector::EVERYTHING),
                    pods: labels("app", "db"),
                },
                networks(&["10.0.0.0/8", "fd00::/8"]),
                Peer::Nodes(Selector::EVERYTHING),
            ],
            ports: Some(vec![PortMatch::Range(Udp, 53, 53), PortMatch::Range(Tcp, 1, 1023)]),
        }],
    };
    assert_eq!(admin(&decoded), expected);
}

#[test]
fn a_whole_baseline_admin_network_policy() {
    let decoded = banp("{subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}");
    assert_eq!(found(&decoded), NONE);
    let expected = AdminPolicy {
        kind: Kind::BaselineAdminNetworkPolicy,
        name: "default".to_owned(),
        tier: Tier::Baseline,
        priority: u32::MAX,
        subject: everyone(),
        ingress: vec![AdminRule {
            name: None,
            index: 0,
            action: Action::Deny,
            peers: vec![in_namespaces(Selector::EVERYTHING)],
            ports: None,
        }],
        egress: vec![],
    };
    assert_eq!(admin(&decoded), expected);
}

#[test]
fn ports() {
    let named = |name: &str| PortMatch::Named { name: name.to_owned(), protocol: None };
    for (port, expected) in [
        ("{portNumber: {port: 80}}", PortMatch::Range(Tcp, 80, 80)),
        ("{portNumber: {protocol: SCTP, port: 80}}", PortMatch::Range(Sctp, 80, 80)),
        ("{portNumber: {protocol: null, port: 80}, namedPort: null}", PortMatch::Range(Tcp, 80, 80)),
        ("{portRange: {start: 1, end: 65535}}", PortMatch::Range(Tcp, 1, 65535)),
        ("{portRange: {protocol: UDP, start: 5, end: 5}}", PortMatch::Range(Udp, 5, 5)),
        // What Go clients write where they set none: the schema's default is for an absent field only.
        ("{portNumber: {protocol: '', port: 80}}", PortMatch::Range(Tcp, 80, 80)),
        ("{portRange: {protocol: '', start: 1, end: 2}}", PortMatch::Range(Tcp, 1, 2)),
        ("{namedPort: http}", named("http")),
    ] {
        let decoded = anp(&format!(
            "{{priority: 0, subject: {{namespaces: {{}}}}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}], \
             ports: [{port}]}}]}}"
        ));
        assert_eq!(found(&decoded), NONE, "{port}");
        assert_eq!(admin(&decoded).ingress[0].ports, Some(vec![expected]), "{port}");
    }
}

/// The v1alpha1 schema takes it, so what was in force before does not stay.
#[test]
fn a_reversed_range_matches_nothing_and_is_reported() {
    for action in ["Allow", "Deny", "Pass"] {
        let decoded = anp(&format!(
            "{{priority: 0, subject: {{namespaces: {{}}}}, ingress: [{{action: {action}, from: [{{namespaces: {{}}}}], \
             ports: [{{portRange: {{start: 90, end: 80}}}}]}}]}}"
        ));
        let path = "spec.ingress[0].ports[0].portRange";
        let finding = "warning: the range ends before it starts: it matches no port";
        assert_eq!(found(&decoded), [format!("{path}: {finding}")]);
        let rule = &admin(&decoded).ingress[0];
        assert_eq!(rule.peers, [in_namespaces(Selector::EVERYTHING)]);
        assert_eq!(rule.ports, Some(vec![PortMatch::Range(Tcp, 90, 80)]));
    }
}

#[test]
fn subjects_that_are_not_understood_select_nothing() {
    const OLD: &str = "error: this is the shape of the API up to v0.1.1, long since replaced";
    for (subject, finding) in [
        ("null", ": error: the field is missing".to_owned()),
        ("[]", ": error: found a list, not an object".to_owned()),
        ("{}", ": fails closed: nothing is set in it".to_owned()),
        ("{nodes: {}}", ".nodes: fails closed: the field is not known".to_owned()),
        ("{namespaces: {}, nodes: {}}", ": error: `namespaces`, `nodes` are set together".to_owned()),
        (
            "{namespaces: {matchExpressions: [{key: a, operator: In}]}}",
            ".namespaces.matchExpressions[0].values: fails closed: `In` has no values".to_owned(),
        ),
        ("{namespaces: {namespaceSelector: {}}}", format!(".namespaces.namespaceSelector: {OLD}")),
        ("{pods: {podSelector: {}}}", ".pods.namespaceSelector: error: the field is missing".to_owned()),
        ("{pods: {namespaceSelector: {}}}", ".pods.podSelector: error: the field is missing".to_owned()),
        (
            "{pods: {namespaceSelector: {}, podSelector: {}, nodeSelector: {}}}",
            ".pods.nodeSelector: fails closed: the field is not known".to_owned(),
        ),
    ] {
        let decoded = anp(&format!("{{priority: 1, subject: {subject}}}"));
        let mut expected = vec![
            "spec.subject: error: the subject is not understood: it selects no pod, the policy has no effect"
                .to_owned(),
            format!("spec.subject{finding}"),
        ];
        expected.sort();
        let mut findings = found(&decoded);
        findings.sort();
        assert_eq!(findings, expected, "{subject}");
        assert_eq!(admin(&decoded).subject, AdminSubject::Nothing, "{subject}");
    }
}

#[test]
fn a_place_that_is_not_known_leaves_only_denials_in_force() {
    let rules = "egress: [{action: Allow, to: [{nodes: {}}]}, {action: Pass, to: [{nodes: {}}]}, \
                 {action: Deny, to: [{nodes: {}}]}, {action: Log, to: [{nodes: {}}]}]";
    let rule = |index, action, peers| AdminRule { name: None, index, action, peers, ports: None };
    let expected = [
        rule(0, Action::Allow, vec![]),
        rule(1, Action::Pass, vec![]),
        rule(2, Action::Deny, vec![Peer::Nodes(Selector::EVERYTHING)]),
        deny_everything(3),
    ];
    for (priority, finding) in [
        ("", "spec.priority: error: the field is missing"),
        ("priority: null", "spec.priority: error: the field is missing"),
        ("priority: '5'", "spec.priority: error: found the string \"5\", not a whole number"),
        ("priority: 5.5", "spec.priority: error: found the number 5.5, not a whole number"),
        ("priority: []", "spec.priority: error: found a list, not a whole number"),
    ] {
        let decoded = anp(&format!("subject: {{namespaces: {{}}}}\n{rules}\n{priority}"));
        let findings = found(&decoded);
        assert!(findings.contains(&finding.to_owned()), "{findings:?}");
        let place = "spec: fails closed: the policy's place among the others is not known: only its Deny rules are in \
                     force, at priority 0";
        assert!(findings.contains(&place.to_owned()), "{findings:?}");
        let policy = admin(&decoded);
        assert_eq!((policy.priority, policy.tier), (0, Tier::Admin), "{priority}");
        assert_eq!(policy.egress, expected, "{priority}");
    }
}

#[test]
fn a_priority_out_of_range_is_read_as_the_nearest() {
    for (priority, expected) in [("1001", 1000), ("-1", 0), ("9223372036854775807", 1000)] {
        let decoded = anp(&format!(
            "{{priority: {priority}, subject: {{namespaces: {{}}}}, ingress: [{{action: Allow, from: [{{namespaces: {{}}}}]}}]}}"
        ));
        assert_eq!(
            found(&decoded),
            [format!("spec.priority: error: {priority} is no priority: it is read as {expected}")]
        );
        let policy = admin(&decoded);
        assert_eq!(policy.priority, expected);
        assert_eq!(policy.ingress[0].peers, [in_namespaces(Selector::EVERYTHING)]);
    }
    for priority in [0, 1000] {
        let decoded = anp(&format!("{{priority: {priority}, subject: {{namespaces: {{}}}}}}"));
        assert_eq!((found(&decoded), admin(&decoded).priority), (vec![], priority));
    }
}

#[test]
fn the_baseline_policy_is_named_default() {
    let spec = "{subject: {namespaces: {}}, egress: [{action: Allow, to: [{nodes: {}}]}, {action: Deny, to: [{nodes: {}}]}]}";
    let decoded = decoded(&object(
        "policy.networking.k8s.io/v1alpha1",
        "BaselineAdminNetworkPolicy",
        "{name: mine}",
        spec,
    ));
    assert_eq!(
        found(&decoded),
        [
            "metadata.name: error: the one BaselineAdminNetworkPolicy is named `default`, not \"mine\"",
            "spec: fails closed: the policy's place among the others is not known: only its Deny rules are in force, \
             at priority 0",
        ]
    );
    let policy = admin(&decoded);
    assert_eq!(policy.tier, Tier::Baseline);
    assert_eq!(policy.egress[0].peers, []);
    assert_eq!(policy.egress[1].peers, [Peer::Nodes(Selector::EVERYTHING)]);
}

#[test]
fn the_baseline_policy_knows_less() {
    for (rule, finding) in [
        (
            "{action: Pass, to: [{nodes: {}}]}",
            ".action: error: \"Pass\" is no action of BaselineAdminNetworkPolicy",
        ),
        (
            "{action: Allow, to: [{domainNames: [a.b]}]}",
            ".to[0].domainNames: fails closed: the field is not known",
        ),
    ] {
        let decoded = banp(&format!("{{subject: {{namespaces: {{}}}}, egress: [{rule}]}}"));
        assert!(found(&decoded).contains(&format!("spec.egress[0]{finding}")), "{:?}", found(&decoded));
        let rule = &admin(&decoded).egress[0];
        assert!(rule.peers.is_empty() || *rule == deny_everything(0));
    }
    let decoded = banp("{subject: {namespaces: {}}, priority: 5}");
    assert_eq!(found(&decoded), ["spec.priority: warning: unknown field, ignored"]);
    assert_eq!(admin(&decoded).priority, u32::MAX);
}

#[test]
fn a_spec_that_is_none_has_no_effect() {
    for (yaml, finding) in [
        ("spec: null", "spec: error: the field is missing"),
        ("spec: 5", "spec: error: found the number 5, not an object"),
        ("specs: {}", "spec: error: the field is missing"),
    ] {
        let decoded = decoded(&format!(
            "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: a}}\n{yaml}"
        ));
        assert!(found(&decoded).contains(&finding.to_owned()), "{:?}", found(&decoded));
        let policy = admin(&decoded);
        assert_eq!(policy.subject, AdminSubject::Nothing);
        assert_eq!((policy.ingress, policy.egress), (vec![], vec![]));
    }
}

#[test]
fn rules_that_are_no_list_deny_everything() {
    for rules in ["{action: Allow}", "Allow", "5"] {
        let decoded = anp(&format!("{{priority: 1, subject: {{namespaces: {{}}}}, egress: {rules}}}"));
        assert_eq!(worst(&decoded), Some(Severity::Error));
        assert_eq!(admin(&decoded).egress, [deny_everything(0)], "{rules}");
        assert_eq!(admin(&decoded).ingress, []);
    }
}

#[test]
fn domain_names_are_kept_and_reported() {
    let decoded = anp(
        "{priority: 1, subject: {namespaces: {}}, egress: [{action: Allow, to: [{nodes: {}}, {domainNames: [WWW.Example.com., '*.example.com']}]}]}",
    );
    assert_eq!(
        found(&decoded),
        [
            "spec.egress[0].to[1].domainNames: fails closed: domain names are not enforced yet: this peer matches nothing"
        ]
    );
    let names = ["*.example.com", "www.example.com"].map(|name| DomainPattern(name.to_owned()));
    assert_eq!(
        admin(&decoded).egress[0].peers,
        [Peer::Nodes(Selector::EVERYTHING), Peer::Names(names.to_vec())]
    );
}

#[test]
fn a_namespace_and_unknown_fields_are_ignored_with_a_warning() {
    let yaml = object(
        "policy.networking.k8s.io/v1alpha1",
        "AdminNetworkPolicy",
        "{name: a, namespace: shop}",
        "{priority: 1, tier: Admin, subject: {namespaces: {}}}",
    );
    assert_eq!(
        found(&decoded(&yaml)),
        [
            "metadata.namespace: warning: objects of kind AdminNetworkPolicy are in no namespace: ignored",
            "spec.tier: warning: unknown field, ignored",
        ]
    );
}
