//! NetworkPolicies.

use palisade_view::Protocol::{Sctp, Tcp, Udp};

use super::{
    NONE, decoded, found, in_namespaces, in_own_namespace, labels, network, np, object, remedy, worst,
};
use crate::diagnostic::Severity;
use crate::model::{NamespaceMatch, NetworkPolicy, NetworkPolicyRule, Peer, PortMatch, Selector};

fn policy(
    subject: Option<Selector>,
    ingress: Option<Vec<NetworkPolicyRule>>,
    egress: Option<Vec<NetworkPolicyRule>>,
) -> NetworkPolicy {
    NetworkPolicy { namespace: "shop".to_owned(), name: "own".to_owned(), subject, ingress, egress }
}

fn allow_all(index: usize) -> NetworkPolicyRule {
    NetworkPolicyRule { index, peers: vec![Peer::Everything], ports: None }
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    Peer::Networks {
        networks: vec![cidr.parse().unwrap()],
        except: except.iter().map(|network| network.parse().unwrap()).collect(),
        named_ports: true,
    }
}

#[test]
fn defaults_are_those_of_the_api_server() {
    let all = || Some(Selector::EVERYTHING);
    for (spec, expected) in [
        ("{podSelector: {}}", policy(all(), Some(vec![]), None)),
        ("{podSelector: null}", policy(all(), Some(vec![]), None)),
        ("{}", policy(all(), Some(vec![]), None)),
        ("{podSelector: {matchLabels: {app: web}}}", policy(Some(labels("app", "web")), Some(vec![]), None)),
        ("{policyTypes: []}", policy(all(), Some(vec![]), None)),
        ("{policyTypes: null, egress: []}", policy(all(), Some(vec![]), None)),
        ("{egress: [{}]}", policy(all(), Some(vec![]), Some(vec![allow_all(0)]))),
        ("{policyTypes: [Egress]}", policy(all(), None, Some(vec![]))),
        ("{policyTypes: [Egress], ingress: []}", policy(all(), None, Some(vec![]))),
        ("{policyTypes: [Ingress]}", policy(all(), Some(vec![]), None)),
        ("{policyTypes: [Egress, Ingress]}", policy(all(), Some(vec![]), Some(vec![]))),
        ("{ingress: [{}]}", policy(all(), Some(vec![allow_all(0)]), None)),
        ("{ingress: [{from: [], ports: []}]}", policy(all(), Some(vec![allow_all(0)]), None)),
        ("{ingress: [{from: null, ports: null}]}", policy(all(), Some(vec![allow_all(0)]), None)),
    ] {
        let decoded = np(spec);
        assert_eq!(found(&decoded), NONE, "{spec}");
        assert_eq!(network(&decoded), expected, "{spec}");
    }
}

#[test]
fn peers() {
    for (peer, expected) in [
        ("{podSelector: {}}", in_own_namespace(Selector::EVERYTHING)),
        ("{podSelector: {matchLabels: {app: web}}}", in_own_namespace(labels("app", "web"))),
        ("{podSelector: {}, namespaceSelector: null}", in_own_namespace(Selector::EVERYTHING)),
        ("{namespaceSelector: {}}", in_namespaces(Selector::EVERYTHING)),
        (
            "{namespaceSelector: {matchLabels: {tier: web}}, podSelector: null}",
            in_namespaces(labels("tier", "web")),
        ),
        (
            "{namespaceSelector: {matchLabels: {tier: web}}, podSelector: {matchLabels: {app: web}}}",
            Peer::Pods {
                namespaces: NamespaceMatch::Labels(labels("tier", "web")),
                pods: labels("app", "web"),
            },
        ),
        ("{ipBlock: {cidr: 10.0.0.0/8}}", block("10.0.0.0/8", &[])),
        ("{ipBlock: {cidr: 0.0.0.0/0, except: null}}", block("0.0.0.0/0", &[])),
        (
            "{ipBlock: {cidr: '2001:DB8::/32', except: ['2001:db8:2::/48', '2001:db8:1::/48']}}",
            block("2001:db8::/32", &["2001:db8:1::/48", "2001:db8:2::/48"]),
        ),
    ] {
        let decoded = np(&format!("{{egress: [{{to: [{peer}]}}]}}"));
        assert_eq!(found(&decoded), NONE, "{peer}");
        let expected = NetworkPolicyRule { index: 0, peers: vec![expected], ports: None };
        assert_eq!(network(&decoded).egress, Some(vec![expected]), "{peer}");
    }
}

#[test]
fn ports() {
    let named = |name: &str, protocol| PortMatch::Named { name: name.to_owned(), protocol: Some(protocol) };
    for (port, expected) in [
        ("{}", PortMatch::Protocol(Tcp)),
        ("{protocol: UDP}", PortMatch::Protocol(Udp)),
        ("{port: 80}", PortMatch::Range(Tcp, 80, 80)),
        ("{protocol: null, port: 65535}", PortMatch::Range(Tcp, 65535, 65535)),
        ("{protocol: SCTP, port: 1, endPort: 65535}", PortMatch::Range(Sctp, 1, 65535)),
        ("{port: 80, endPort: 80}", PortMatch::Range(Tcp, 80, 80)),
        ("{port: http}", named("http", Tcp)),
        ("{protocol: UDP, port: dns}", named("dns", Udp)),
    ] {
        let decoded = np(&format!("{{ingress: [{{ports: [{port}]}}]}}"));
        assert_eq!(found(&decoded), NONE, "{port}");
        let expected =
            NetworkPolicyRule { index: 0, peers: vec![Peer::Everything], ports: Some(vec![expected]) };
        assert_eq!(network(&decoded).ingress, Some(vec![expected]), "{port}");
    }
}

/// Each of these stands between two good rules, which keep their positions.
#[test]
fn a_rule_that_is_not_understood_is_left_out() {
    for (rule, expected) in [
        ("null", ": error: found null, not an object"),
        ("5", ": error: found the number 5, not an object"),
        ("{to: [], via: {}}", ".via: fails closed: the field is not known"),
        ("{from: [{podSelector: {}}]}", ".from: fails closed: the field is not known"),
        ("{podSelector: {}}", ".podSelector: fails closed: the field is not known"),
        ("{to: {podSelector: {}}}", ".to: error: found an object, not a list"),
        ("{to: [null]}", ".to[0]: error: found null, not an object"),
        ("{to: [{}]}", ".to[0]: fails closed: nothing is set in it"),
        ("{to: [{podSelector: null}]}", ".to[0]: fails closed: nothing is set in it"),
        ("{to: [{podSelector: {}}, {}]}", ".to[1]: fails closed: nothing is set in it"),
        ("{to: [{podSelector: {}, nodes: {}}]}", ".to[0].nodes: fails closed: the field is not known"),
        (
            "{to: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}",
            ".to[0]: error: `ipBlock` stands beside a selector",
        ),
        ("{to: [{ipBlock: {}}]}", ".to[0].ipBlock.cidr: error: the field is missing"),
        (
            "{to: [{ipBlock: 10.0.0.0/8}]}",
            ".to[0].ipBlock: error: found the string \"10.0.0.0/8\", not an object",
        ),
        ("{to: [{ipBlock: {cidr: 10.0.0.1}}]}", ".to[0].ipBlock.cidr: error: \"10.0.0.1\" is not a CIDR"),
        (
            "{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}",
            ".to[0].ipBlock.cidr: error: \"10.0.0.0/33\" is not a CIDR",
        ),
        (
            "{to: [{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]}",
            ".to[0].ipBlock.cidr: error: \"::ffff:10.0.0.0/104\" is an IPv4-mapped IPv6 network, which no packet is \
             from or to",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [x]}}]}",
            ".to[0].ipBlock.except[0]: error: \"x\" is not a CIDR",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}]}",
            ".to[0].ipBlock.except: error: found the string \"10.1.0.0/16\", not a list",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.0.0.0/8, unless: []}}]}",
            ".to[0].ipBlock.unless: fails closed: the field is not known",
        ),
        ("{ports: {port: 80}}", ".ports: error: found an object, not a list"),
        ("{ports: [80]}", ".ports[0]: error: found the number 80, not an object"),
        (
            "{ports: [{protocol: ICMP}]}",
            ".ports[0].protocol: fails closed: the protocol \"ICMP\" is not known",
        ),
        ("{ports: [{protocol: tcp}]}", ".ports[0].protocol: fails closed: the protocol \"tcp\" is not known"),
        ("{ports: [{protocol: 6}]}", ".ports[0].protocol: error: found the number 6, not a string"),
        ("{ports: [{port: 0}]}", ".ports[0].port: error: 0 is not a port number"),
        ("{ports: [{port: 65536}]}", ".ports[0].port: error: 65536 is not a port number"),
        ("{ports: [{port: 80.5}]}", ".ports[0].port: error: found the number 80.5, not a whole number"),
        ("{ports: [{port: '80'}]}", ".ports[0].port: error: \"80\" is not a port's name"),
        ("{ports: [{port: Web}]}", ".ports[0].port: error: \"Web\" is not a port's name"),
        ("{ports: [{endPort: 80}]}", ".ports[0].endPort: error: `endPort` stands without `port`"),
        (
            "{ports: [{port: http, endPort: 80}]}",
            ".ports[0].endPort: error: `endPort` stands beside a named port",
        ),
        (
            "{ports: [{port: 80, endPort: x}]}",
            ".ports[0].endPort: error: found the string \"x\", not a whole number",
        ),
        ("{ports: [{port: 80, icmpType: 8}]}", ".ports[0].icmpType: fails closed: the field is not known"),
    ] {
        let decoded = np(&format!("{{policyTypes: [Egress], egress: [{{}}, {rule}, {{}}]}}"));
        let mut expected = vec![
            format!("spec.egress[1]{expected}"),
            "spec.egress[1]: fails closed: the rule is not understood: it allows nothing".to_owned(),
        ];
        // A finding about the rule itself and the follow-up are ordered by severity.
        expected.sort_by_key(|text| {
            let field = text.split(": ").next().unwrap().to_owned();
            (field, !text.contains("fails closed"))
        });
        assert_eq!(found(&decoded), expected, "{rule}");
        let all = Some(Selector::EVERYTHING);
        assert_eq!(network(&decoded), policy(all, None, Some(vec![allow_all(0), allow_all(2)])), "{rule}");
    }
}

#[test]
fn what_breaks_the_schema_but_can_be_told_is_in_force() {
    for (rule, peers, ports, expected) in [
        (
            "{ports: [{port: 90, endPort: 80}]}",
            Peer::Everything,
            Some(vec![PortMatch::Range(Tcp, 90, 80)]),
            "spec.egress[0].ports[0].endPort: error: the range ends before it starts: it matches no port",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.1.0.0/16, except: [192.168.0.0/24, 10.1.1.0/24]}}]}",
            block("10.1.0.0/16", &["10.1.1.0/24"]),
            None,
            "spec.egress[0].to[0].ipBlock.except[0]: error: the exception 192.168.0.0/24 lies outside 10.1.0.0/16: it \
             takes nothing out",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.1.0.0/16, except: ['fd00::/8']}}]}",
            block("10.1.0.0/16", &[]),
            None,
            "spec.egress[0].to[0].ipBlock.except[0]: error: the exception fd00::/8 lies outside 10.1.0.0/16: it takes \
             nothing out",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.1.0.0/16, except: [10.0.0.0/8]}}]}",
            block("10.1.0.0/16", &["10.1.0.0/16"]),
            None,
            "spec.egress[0].to[0].ipBlock.except[0]: error: the exception 10.0.0.0/8 leaves nothing of 10.1.0.0/16",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.1.0.0/16, except: [10.1.0.0/16]}}]}",
            block("10.1.0.0/16", &["10.1.0.0/16"]),
            None,
            "spec.egress[0].to[0].ipBlock.except[0]: error: the exception 10.1.0.0/16 leaves nothing of 10.1.0.0/16",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.1.0.0/16, except: [10.1.1.0/24, 10.1.1.9/28, 10.1.1.0/24]}}]}",
            block("10.1.0.0/16", &["10.1.1.0/24", "10.1.1.0/28"]),
            None,
            "spec.egress[0].to[0].ipBlock.except[1]: warning: `10.1.1.9/28` has bits set behind its prefix: it is read \
             as `10.1.1.0/28`",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.1.2.3/16}}]}",
            block("10.1.0.0/16", &[]),
            None,
            "spec.egress[0].to[0].ipBlock.cidr: warning: `10.1.2.3/16` has bits set behind its prefix: it is read as \
             `10.1.0.0/16`",
        ),
    ] {
        let decoded = np(&format!("{{policyTypes: [Egress], egress: [{rule}]}}"));
        assert_eq!(found(&decoded), [expected]);
        let expected = NetworkPolicyRule { index: 0, peers: vec![peers], ports };
        assert_eq!(network(&decoded).egress, Some(vec![expected]), "{rule}");
    }
}

#[test]
fn a_malformed_spec_never_lets_more_through() {
    let all = || Some(Selector::EVERYTHING);
    for (spec, expected, findings) in [
        (
            "{podSelector: {matchExpressions: [{key: app, operator: Near}]}}",
            policy(None, Some(vec![]), None),
            vec![
                "spec.podSelector: error: the selector is not understood: it selects no pod, the policy has no effect",
                "spec.podSelector.matchExpressions[0].operator: fails closed: the operator \"Near\" is not known",
            ],
        ),
        (
            "[]",
            policy(None, Some(vec![]), Some(vec![])),
            vec![
                "spec: error: found a list, not an object",
                "spec: error: the policy is not understood: it selects no pod and has no effect",
            ],
        ),
        (
            "{policyTypes: [Ingress, Ingres], ingress: [{}]}",
            policy(all(), Some(vec![allow_all(0)]), Some(vec![])),
            vec![
                "spec.policyTypes: fails closed: the policy's types are not understood: it isolates for ingress and \
                 egress",
                "spec.policyTypes[1]: error: \"Ingres\" is no policy type",
            ],
        ),
        (
            "{policyTypes: Egress}",
            policy(all(), Some(vec![]), Some(vec![])),
            vec![
                "spec.policyTypes: fails closed: the policy's types are not understood: it isolates for ingress and \
                 egress",
                "spec.policyTypes: error: found the string \"Egress\", not a list",
            ],
        ),
        (
            "{egress: {to: []}}",
            policy(all(), Some(vec![]), Some(vec![])),
            vec![
                "spec.egress: fails closed: the rules are not understood: the policy allows no egress",
                "spec.egress: error: found an object, not a list",
            ],
        ),
        (
            "{policyTypes: [Ingress], egress: [{}]}",
            policy(all(), Some(vec![]), None),
            vec!["spec.egress: warning: the rules have no effect: `policyTypes` leaves egress out"],
        ),
        (
            "{podSelectors: {}}",
            policy(all(), Some(vec![]), None),
            vec!["spec.podSelectors: warning: unknown field, ignored"],
        ),
    ] {
        let decoded = np(spec);
        assert_eq!(found(&decoded), findings, "{spec}");
        assert_eq!(network(&decoded), expected, "{spec}");
    }
}

#[test]
fn a_policy_without_spec_is_what_the_api_server_makes_of_it() {
    let decoded = decoded(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: own}}",
    );
    assert_eq!(network(&decoded), policy(Some(Selector::EVERYTHING), Some(vec![]), None));
    assert_eq!(worst(&decoded), Some(Severity::Warning));
}

#[test]
fn fields_beside_spec_are_ignored_with_a_warning() {
    let yaml =
        object("networking.k8s.io/v1", "NetworkPolicy", "{namespace: shop, name: own, labels: {x: 5}}", "{}");
    assert_eq!(found(&decoded(&format!("{yaml}status: {{}}\n"))), NONE);
    assert_eq!(found(&decoded(&format!("{yaml}egress: []\n"))), ["egress: warning: unknown field, ignored"]);
}

#[test]
fn remedies_say_what_to_write() {
    for (rule, field, expected) in [
        ("{ports: [{port: '80'}]}", "ports[0].port", "write 80 without quotes"),
        ("{ports: [{protocol: udp}]}", "ports[0].protocol", "write `UDP`"),
        (
            "{to: [{ipBlock: {cidr: 10.0.0.1}}]}",
            "to[0].ipBlock.cidr",
            "write the prefix length too: `10.0.0.1/32`",
        ),
        ("{from: []}", "from", "an egress rule names its peers in `to`"),
        (
            "{to: [{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]}",
            "to[0].ipBlock.cidr",
            "write it as an IPv4 network, such as `10.0.0.0/8`",
        ),
        (
            "{to: [{ipBlock: {cidr: 10.1.2.3/16}}]}",
            "to[0].ipBlock.cidr",
            "write `10.1.0.0/16`, or `10.1.2.3/32` if the one address is meant",
        ),
    ] {
        let decoded = np(&format!("{{policyTypes: [Egress], egress: [{rule}]}}"));
        assert_eq!(remedy(&decoded, &format!("spec.egress[0].{field}")), expected);
    }
}
