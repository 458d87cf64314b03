//! The review: what it says of each kind of mistake, word for word, and that it is right, by the oracle, over random
//! clusters.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generate;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;

use palisade_compiler::model::{Action, AdminPolicy, Cluster, Event, Kind, ObjectRef, Tier};
use palisade_compiler::oracle::{self, Flow, Reason};
use palisade_compiler::review::{Basis, Limits, Matter, Remark, review};
use palisade_compiler::{Severity, intake};
use palisade_view::{Direction, L4, Packet, Protocol};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use serde_json::Value;

/// Two namespaces with three pods, one of them with a named port, cluster DNS, a pod in its node's network; IPv4 only.
const CLUSTER: &str = r"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: bank, labels: {team: bank}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}
---
apiVersion: v1
kind: Node
metadata: {name: n-1, labels: {zone: a}}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: n-1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.0.1.1}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: n-1, containers: [{name: c}]}
status: {podIPs: [{ip: 10.0.1.2}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: bank, name: till, labels: {app: till}}
spec: {nodeName: n-1, containers: [{name: c}]}
status: {podIPs: [{ip: 10.0.1.3}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: kube-system, name: coredns, labels: {k8s-app: kube-dns}}
spec: {nodeName: n-1, containers: [{name: c, ports: [{name: dns, protocol: UDP, containerPort: 53}]}]}
status: {podIPs: [{ip: 10.0.1.4}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: kube-system, name: proxy, labels: {k8s-app: kube-proxy}}
spec: {nodeName: n-1, hostNetwork: true, containers: [{name: c}]}
status: {podIPs: [{ip: 192.0.2.1}]}
";

fn cluster(text: &str) -> Cluster {
    let mut cluster = Cluster::default();
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    for document in documents {
        let decoded = intake::decode(&document).expect("an object");
        assert_eq!(decoded.diagnostics, [], "intake has nothing to say of what is reviewed here");
        cluster.apply(Event::Apply(decoded.model.expect("a model")));
    }
    cluster
}

fn remarks(policies: &str) -> Vec<Remark> {
    let review = review(&cluster(&format!("{CLUSTER}---\n{policies}")), Limits::default());
    assert_eq!(review.unreviewed, BTreeSet::new());
    review.remarks
}

/// Everything that is said with those policies in the cluster, as people read it.
fn told(policies: &str) -> Vec<String> {
    remarks(policies).iter().map(|remark| remark.diagnostic.to_string()).collect()
}

/// The same without advice.
fn warned(policies: &str) -> Vec<String> {
    let remarks = remarks(policies);
    let warnings = remarks.iter().filter(|remark| remark.diagnostic.severity > Severity::Advice);
    warnings.map(|remark| remark.diagnostic.to_string()).collect()
}

fn admin(name: &str, priority: u32, subject: &str, rules: &str) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  priority: {priority}\n  subject: {subject}\n{rules}---\n"
    )
}

fn network(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: shop, name: {name}}}\n\
         spec: {spec}\n---\n"
    )
}

const SHOP: &str = "{namespaces: {matchLabels: {team: shop}}}";
const ANYBODY: &str = "{namespaces: {}}";

#[test]
fn what_is_in_order_is_not_talked_about() {
    let policies = [
        admin(
            "a",
            5,
            SHOP,
            "  ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: bank}}}]}]\n",
        ),
        admin("b", 6, ANYBODY, "  egress: [{action: Pass, to: [{networks: [10.0.0.0/8]}]}]\n"),
        network("web", "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http}]}]}"),
    ];
    assert_eq!(told(&policies.concat()), Vec::<String>::new());
}

#[test]
fn a_rule_behind_a_wider_one_of_its_own_policy() {
    let rules = "  ingress:\n  - {action: Allow, from: [{namespaces: {}}]}\n  \
                 - {action: Deny, from: [{pods: {namespaceSelector: {matchLabels: {team: bank}}, podSelector: {}}}]}\n";
    assert_eq!(
        told(&admin("a", 5, SHOP, rules)),
        [
            "AdminNetworkPolicy/a: spec.ingress[1]: warning: the rule never decides anything: it is shadowed by \
          spec.ingress[0]; remove it, or move it up in the list"
        ]
    );
}

#[test]
fn several_rules_of_several_policies_shadow_one_together() {
    let ports = |from: u16, to: u16| format!("[{{portRange: {{start: {from}, end: {to}}}}}]");
    let peer = "from: [{namespaces: {matchExpressions: [{key: team, operator: In, values: [bank, shop]}]}}]";
    let policies = [
        admin("a", 5, ANYBODY, &format!("  ingress: [{{action: Pass, {peer}, ports: {}}}]\n", ports(1, 100))),
        admin("b", 6, SHOP, &format!("  ingress: [{{action: Deny, {peer}, ports: {}}}]\n", ports(101, 200))),
        admin(
            "c",
            7,
            SHOP,
            &format!(
                "  ingress: [{{action: Allow, from: [{{namespaces: {{matchLabels: {{team: bank}}}}}}], ports: {}}}]\n",
                ports(50, 150)
            ),
        ),
    ];
    assert_eq!(
        told(&policies.concat()),
        [
            "AdminNetworkPolicy/c: spec.ingress[0]: warning: the rule never decides anything: it is shadowed by \
          AdminNetworkPolicy/a ingress[0] and AdminNetworkPolicy/b ingress[0]; \
          remove it, or let its policy be asked earlier"
        ]
    );
    // One port more, and it is not.
    let wider = policies.concat().replace("end: 150", "end: 201");
    assert_eq!(told(&wider), Vec::<String>::new());
}

#[test]
fn a_shadow_that_the_pods_of_now_cast_is_advice() {
    let policies = [
        admin(
            "a",
            5,
            SHOP,
            "  ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: bank}}}]}]\n",
        ),
        admin(
            "b",
            6,
            SHOP,
            "  ingress: [{action: Allow, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: till}}}}]}]\n",
        ),
    ];
    assert_eq!(
        told(&policies.concat()),
        [
            "AdminNetworkPolicy/b: spec.ingress[0]: advice: with the pods there are now, the rule decides nothing: it is \
          shadowed by AdminNetworkPolicy/a ingress[0]; remove it, or let its policy be asked earlier"
        ]
    );
}

#[test]
fn what_an_earlier_tier_forbids_or_allows_is_not_for_networkpolicies() {
    let rule = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: bank}}}]}]}";
    let wide = |action: &str| {
        admin("a", 5, ANYBODY, &format!("  ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]\n"))
    };
    assert_eq!(
        told(&(wide("Deny") + &network("from-bank", rule))),
        [
            "NetworkPolicy/shop/from-bank: spec.ingress[0]: warning: the rule never decides anything: it is shadowed by \
          AdminNetworkPolicy/a ingress[0]; remove it, or have the cluster-wide policy pass on what the namespace may decide"
        ]
    );
    assert_eq!(
        told(&(wide("Allow") + &network("from-bank", rule))),
        [
            "NetworkPolicy/shop/from-bank: spec.ingress[0]: advice: the rule never decides anything: it is shadowed by \
          AdminNetworkPolicy/a ingress[0]; remove it: what it allows is allowed without it"
        ]
    );
    assert_eq!(told(&(wide("Pass") + &network("from-bank", rule))), Vec::<String>::new());
    // What may have been passed on before does reach it.
    let pass = admin(
        "z",
        4,
        SHOP,
        "  ingress: [{action: Pass, from: [{pods: {namespaceSelector: {}, podSelector: {}}}], ports: [{namedPort: http}]}]\n",
    );
    assert_eq!(told(&(pass + &wide("Deny") + &network("from-bank", rule))), Vec::<String>::new());
}

#[test]
fn selectors_that_nothing_can_meet_are_told_from_those_that_nothing_meets() {
    let rules = "  egress:\n  - action: Deny\n    to:\n    \
                 - {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}, matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}}\n    \
                 - {namespaces: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: DoesNotExist}]}}\n    \
                 - {nodes: {matchExpressions: [{key: zone, operator: Exists}, {key: zone, operator: DoesNotExist}]}}\n    \
                 - {nodes: {matchLabels: {zone: b}}}\n    \
                 - {namespaces: {matchLabels: {team: none}}}\n    \
                 - {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: gone}}}}\n    \
                 - {pods: {namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-proxy}}}}\n    \
                 - {namespaces: {matchLabels: {team: bank}}}\n";
    assert_eq!(
        told(&admin("a", 5, SHOP, rules)),
        [
            "AdminNetworkPolicy/a: spec.egress[0].to[0]: warning: no pod can be selected: the requirements on the label \
             `app` exclude each other; correct what is asked of `app`",
            "AdminNetworkPolicy/a: spec.egress[0].to[1]: warning: no namespace can be selected: the requirements on the \
             label `kubernetes.io/metadata.name` exclude each other; correct what is asked of `kubernetes.io/metadata.name`",
            "AdminNetworkPolicy/a: spec.egress[0].to[2]: warning: no node can be selected: the requirements on the label \
             `zone` exclude each other; correct what is asked of `zone`",
            "AdminNetworkPolicy/a: spec.egress[0].to[3]: advice: no node is selected now; \
             nothing, if such nodes are to come; else correct the selector",
            "AdminNetworkPolicy/a: spec.egress[0].to[4]: advice: no namespace is selected now; \
             nothing, if such pods are to come; else correct the selector",
            "AdminNetworkPolicy/a: spec.egress[0].to[5]: advice: no pod is selected now; \
             nothing, if such pods are to come; else correct the selector",
            "AdminNetworkPolicy/a: spec.egress[0].to[6]: warning: only pods with `hostNetwork` are selected, such as \
             kube-system/proxy: no selector of pods is about these; select their nodes, or write their nodes' addresses",
        ]
    );
}

#[test]
fn subjects_that_are_nobody() {
    let policies = [
        admin(
            "a",
            5,
            "{pods: {namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-proxy}}}}",
            "",
        ),
        admin("b", 6, "{namespaces: {matchLabels: {team: none}}}", ""),
        network(
            "c",
            "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}, {key: app, operator: In, values: [db]}]}}",
        ),
        network("d", "{podSelector: {matchLabels: {app: gone}}}"),
    ];
    assert_eq!(
        told(&policies.concat()),
        [
            "AdminNetworkPolicy/a: spec.subject: warning: only pods with `hostNetwork` are selected, such as \
             kube-system/proxy: no policy is about these; remove the policy, or select pods that have addresses of their own",
            "AdminNetworkPolicy/b: spec.subject: advice: no namespace is selected now; \
             nothing, if pods are to come; else correct the selector",
            "NetworkPolicy/shop/c: spec.podSelector: warning: no pod can be selected: the requirements on the label `app` \
             exclude each other; correct what is asked of `app`",
            "NetworkPolicy/shop/d: spec.podSelector: advice: no pod is selected now; \
             nothing, if pods are to come; else correct the selector",
        ]
    );
}

#[test]
fn exceptions_that_leave_nothing_together() {
    let spec = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.128.0.0/9]}}]}]}";
    assert_eq!(
        told(&network("a", spec)),
        [
            "NetworkPolicy/shop/a: spec.ingress[0].from[0]: warning: the exceptions together leave nothing of the network; \
          remove the peer, or an exception"
        ]
    );
}

#[test]
fn ports_that_no_destination_names_and_networks_of_another_family() {
    let policies = [
        network(
            "a",
            "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 'fd00::/8'}}], ports: [{port: http}, {port: httpx}, {protocol: UDP, port: http}]}]}",
        ),
        admin(
            "b",
            5,
            SHOP,
            "  egress: [{action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}}], ports: [{namedPort: http}]}]\n",
        ),
    ];
    assert_eq!(
        told(&policies.concat()),
        [
            "AdminNetworkPolicy/b: spec.egress[0].ports[0]: warning: none of the pods that the rule names has a port named \
             `http`: it matches nothing; correct the name, name the port in the pods' containers, or write its number",
            "NetworkPolicy/shop/a: spec.ingress[0].from[0]: warning: the pods that the policy is about have no IPv6 address: \
             with IPv6 networks they exchange no packet; write the IPv4 networks that are meant",
            "NetworkPolicy/shop/a: spec.ingress[0].ports[1]: warning: none of the pods that the policy is about has a TCP \
             port named `httpx`: it matches nothing; correct the name, name the port in the pods' containers, or write its number",
            "NetworkPolicy/shop/a: spec.ingress[0].ports[2]: warning: none of the pods that the policy is about has a UDP \
             port named `http`: it matches nothing; correct the name, name the port in the pods' containers, or write its number",
        ]
    );
}

#[test]
fn a_baseline_that_is_never_asked() {
    let baseline = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\n\
                    metadata: {name: default}\nspec: {subject: {namespaces: {matchLabels: {team: shop}}}, \
                    ingress: [{action: Deny, from: [{namespaces: {}}]}]}\n---\n";
    assert_eq!(
        told(&(baseline.to_owned() + &network("a", "{podSelector: {}}"))),
        [
            "BaselineAdminNetworkPolicy/default: spec.ingress: advice: NetworkPolicies isolate every pod that the policy is \
          about for ingress: its rules are never asked; nothing, if it is for pods to come; else remove the rules"
        ]
    );
    assert_eq!(
        told(&(baseline.to_owned() + &network("a", "{podSelector: {matchLabels: {app: web}}}"))),
        Vec::<String>::new()
    );
}

const NO_DNS: &str = "spec.egress: warning: the policy isolates pods for egress, and nothing lets them ask DNS: shop/db, for \
                      one, cannot resolve names; if they need names, add to `spec.egress`: `- {to: [{namespaceSelector: \
                      {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: \
                      kube-dns}}}], ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]}`";

#[test]
fn isolation_that_cuts_dns_off() {
    let deny = network("deny", "{podSelector: {}, policyTypes: [Egress]}");
    let with = |rule: &str| {
        deny.clone()
            + &network("more", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}"))
    };
    let expected = format!("NetworkPolicy/shop/deny: {NO_DNS}");
    assert_eq!(warned(&deny), [expected.as_str()]);
    // To others, at another port, or by TCP alone: still none.
    for rule in [
        "{to: [{podSelector: {}}]}",
        "{to: [{namespaceSelector: {matchLabels: {team: bank}}}]}",
        "{to: [{ipBlock: {cidr: 10.0.1.0/30, except: [10.0.1.0/32]}}]}",
        "{ports: [{port: 443}]}",
        "{ports: [{port: 53}]}",
        "{to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 443}]}",
    ] {
        assert_eq!(warned(&with(rule)), [expected.as_str()], "{rule}");
    }
    for rule in [
        "{}",
        "{ports: [{protocol: UDP, port: 53}, {port: 53}]}",
        "{to: [{namespaceSelector: {}}]}",
        "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]}",
        "{to: [{ipBlock: {cidr: 169.254.20.10/32}}]}",
        "{to: [{ipBlock: {cidr: 198.51.100.53/32}}]}",
        "{to: [{ipBlock: {cidr: 10.0.1.4/32}}]}",
    ] {
        assert_eq!(warned(&with(rule)), Vec::<String>::new(), "{rule}");
    }
    // What the Admin tier allows is not for NetworkPolicy to cut off.
    let allow =
        |subject: &str| admin("a", 5, subject, "  egress: [{action: Allow, to: [{namespaces: {}}]}]\n");
    assert_eq!(warned(&(allow(SHOP) + &deny)), Vec::<String>::new());
    assert_eq!(warned(&(allow("{namespaces: {matchLabels: {team: bank}}}") + &deny)), [expected.as_str()]);
}

#[test]
fn dns_by_udp_alone_is_advice() {
    let spec = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP, port: 53}]}]}";
    assert_eq!(
        told(&network("a", spec)),
        [
            "NetworkPolicy/shop/a: spec.egress: advice: the policy isolates pods for egress, and they may ask DNS by UDP alone: \
          shop/web, for one, does not get long answers; if they need names, add to `spec.egress`: `- {to: \
          [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: \
          {k8s-app: kube-dns}}}], ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]}`"
        ]
    );
}

#[test]
fn without_cluster_dns_in_sight_only_who_may_ask_nobody_is_told_of() {
    let elsewhere = CLUSTER.replace("k8s-app: kube-dns", "k8s-app: names");
    let count = |spec: &str| {
        let review = review(&cluster(&format!("{elsewhere}---\n{}", network("a", spec))), Limits::default());
        review.remarks.iter().filter(|remark| remark.matter == Matter::NoDns).count()
    };
    assert_eq!(count("{podSelector: {}, policyTypes: [Egress]}"), 1);
    assert_eq!(count("{podSelector: {}, egress: [{ports: [{port: 443}]}]}"), 1);
    assert_eq!(count("{podSelector: {}, egress: [{to: [{podSelector: {}}]}]}"), 0);
}

#[test]
fn policies_of_one_priority_that_disagree() {
    let rules = |action: &str, port: u16| {
        format!(
            "  ingress: [{{action: {action}, from: [{{namespaces: {{}}}}], ports: [{{portRange: {{start: 80, end: {port}}}}}]}}]\n"
        )
    };
    let a = admin("a", 5, SHOP, &rules("Allow", 90));
    let b = admin("b", 5, ANYBODY, &rules("Deny", 100));
    assert_eq!(
        told(&(a.clone() + &b)),
        [
            "AdminNetworkPolicy/a: spec.priority: warning: AdminNetworkPolicy/b has the same priority and disagrees: of TCP \
             port 80 from bank/till to shop/db, ingress[0] here says Allow and ingress[0] there says Deny; \
             AdminNetworkPolicy/a wins, because its name comes first; give one of them another priority",
            "AdminNetworkPolicy/b: spec.priority: warning: AdminNetworkPolicy/a has the same priority and disagrees: of TCP \
             port 80 from bank/till to shop/db, ingress[0] here says Deny and ingress[0] there says Allow; \
             AdminNetworkPolicy/a wins, because its name comes first; give one of them another priority",
        ]
    );
    // Other subjects, other priorities, the same action, or decided before: no conflict.
    let bank = "{namespaces: {matchLabels: {team: bank}}}";
    for other in [
        admin("b", 5, bank, &rules("Deny", 100)),
        admin("b", 6, ANYBODY, &rules("Deny", 100)),
        admin("b", 5, ANYBODY, &rules("Allow", 100)),
        b.clone() + &admin("z", 4, ANYBODY, &rules("Pass", 95)),
    ] {
        let conflicts =
            remarks(&(a.clone() + &other)).into_iter().filter(|remark| remark.matter == Matter::Conflict);
        assert_eq!(conflicts.collect::<Vec<_>>(), []);
    }
    // Three of them, and a kind that says Accept.
    let cluster_wide = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: b}\n\
                        spec: {tier: Admin, priority: 5, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{namespaces: {}}]}]}\n---\n";
    let third = admin("c", 5, ANYBODY, &rules("Pass", 80));
    let remarks = remarks(&(b + cluster_wide + &third));
    let about_b = remarks
        .iter()
        .filter(|remark| remark.matter == Matter::Conflict && remark.diagnostic.object.name == "b");
    let said: Vec<_> = about_b.map(|remark| remark.diagnostic.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "AdminNetworkPolicy/b has the same priority and disagrees: of TCP port 80 from bank/till to bank/till, ingress[0] \
             here says Accept and ingress[0] there says Deny; ClusterNetworkPolicy/b wins, because its kind comes first; \
             one more policy of this priority disagrees too",
            "ClusterNetworkPolicy/b has the same priority and disagrees: of TCP port 80 from bank/till to bank/till, ingress[0] \
             here says Deny and ingress[0] there says Accept; ClusterNetworkPolicy/b wins, because its kind comes first",
        ]
    );
}

#[test]
fn what_is_too_much_work_is_named_and_not_passed_over() {
    let policies = [
        admin(
            "a",
            5,
            ANYBODY,
            "  ingress: [{action: Allow, from: [{namespaces: {}}]}, {action: Deny, from: [{namespaces: {}}]}]\n",
        ),
        network("deny", "{podSelector: {}, policyTypes: [Egress]}"),
    ];
    let cluster = cluster(&format!("{CLUSTER}---\n{}", policies.concat()));
    let whole = review(&cluster, Limits::default());
    assert_eq!((whole.remarks.len(), whole.unreviewed.len()), (2, 0));
    let all: BTreeSet<ObjectRef> =
        whole.remarks.iter().map(|remark| remark.diagnostic.object.clone()).collect();
    for steps in 0..400 {
        let part = review(&cluster, Limits { steps, steps_per_policy: 1000 });
        assert!(part.remarks.iter().all(|remark| whole.remarks.contains(remark)), "{steps}");
        for missing in whole.remarks.iter().filter(|remark| !part.remarks.contains(remark)) {
            assert!(part.unreviewed.contains(&missing.diagnostic.object), "{steps}: {missing:?}");
        }
    }
    assert_eq!(review(&cluster, Limits { steps: 0, steps_per_policy: 0 }).unreviewed, all);
    assert_eq!(review(&cluster, Limits { steps: 400, steps_per_policy: 1000 }), whole);
}

/// The direction and index of the rule that a field names.
fn rule_of(field: &str) -> (Direction, usize) {
    let (list, index) =
        field.trim_start_matches("spec.").trim_end_matches(']').split_once('[').expect("a rule");
    let direction = if list == "ingress" { Direction::Ingress } else { Direction::Egress };
    (direction, index.parse().expect("an index"))
}

fn without_rule(cluster: &Cluster, object: &ObjectRef, field: &str) -> Cluster {
    let (direction, index) = rule_of(field);
    let mut cluster = cluster.clone();
    let before = format!("{cluster:?}").len();
    if object.kind == Kind::NetworkPolicy {
        let key = (object.namespace.clone().unwrap(), object.name.clone());
        let policy = cluster.network_policies.get_mut(&key).unwrap();
        let rules = if direction == Direction::Ingress { &mut policy.ingress } else { &mut policy.egress };
        rules.as_mut().unwrap().retain(|rule| rule.index != index);
    } else {
        let policy = cluster.admin_policies.get_mut(&(object.kind, object.name.clone())).unwrap();
        let rules = if direction == Direction::Ingress { &mut policy.ingress } else { &mut policy.egress };
        rules.retain(|rule| rule.index != index);
    }
    assert_ne!(format!("{cluster:?}").len(), before, "the rule was there");
    cluster
}

/// Ports beside, on and between all that the generator writes, and a protocol without.
fn transports() -> Vec<L4> {
    let ports = [0, 1, 52, 53, 54, 78, 79, 80, 81, 82, u16::MAX];
    let ported = Protocol::ALL.into_iter().flat_map(|protocol| ports.map(|port| L4::Port(protocol, port)));
    ported.chain([L4::Other(1)]).collect()
}

fn flow(source: IpAddr, destination: IpAddr, l4: L4) -> Flow {
    Flow { source, destination, l4, source_node: None, destination_node: None }
}

/// Over random clusters, every other one without what is not understood: that shadows too much else.
fn over_clusters(cases: u32, check: impl Fn(Cluster) -> Result<(), TestCaseError>) {
    let persistence = FileFailurePersistence::Direct("tests/review.proptest-regressions");
    let failure_persistence = Some(Box::new(persistence) as Box<_>);
    let config = ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let is_sound = |raw: &Value| {
        let decoded = intake::decode(raw);
        decoded
            .is_ok_and(|decoded| decoded.diagnostics.iter().all(|found| found.severity <= Severity::Warning))
    };
    let bytes = prop::collection::vec(any::<u8>(), generate::OBJECT_BYTES);
    let objects = (prop::collection::vec(bytes, 8..80), any::<bool>());
    let strategy = objects.prop_map(|(bytes, is_strict)| {
        let mut objects: Vec<Value> = bytes.iter().map(|bytes| generate::object(bytes)).collect();
        objects.retain(|raw| !is_strict || is_sound(raw));
        let mut cluster = Cluster::default();
        for event in generate::events(&objects) {
            cluster.apply(event);
        }
        cluster
    });
    runner.run(&strategy, check).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_rule_that_is_reported_as_shadowed_can_be_removed() {
    let seen = [Cell::new(0), Cell::new(0)];
    let transports = transports();
    let strangers: Vec<IpAddr> = generate::ADDRESSES.map(|text| text.parse().unwrap()).into();
    over_clusters(400, |cluster| {
        let shadowed = review(&cluster, Limits::default()).remarks;
        // One rule at a time, and at last all of them.
        let mut bare = cluster.clone();
        let mut variants = Vec::new();
        for remark in shadowed.iter().filter(|remark| remark.matter == Matter::Shadowed) {
            let (object, field) = (&remark.diagnostic.object, &remark.diagnostic.field);
            seen[usize::from(remark.basis == Basis::Present)].update(|seen| seen + 1);
            variants.push((
                remark.diagnostic.to_string(),
                rule_of(field).0,
                without_rule(&cluster, object, field),
            ));
            bare = without_rule(&bare, object, field);
        }
        if variants.len() > 1 {
            for direction in [Direction::Ingress, Direction::Egress] {
                variants.push(("all of them".to_owned(), direction, bare.clone()));
            }
        }
        let pods: BTreeSet<IpAddr> =
            cluster.pods.values().flat_map(|pod| pod.addresses.iter().copied()).collect();
        for (what, direction, variant) in &variants {
            for &subject in &pods {
                for &peer in strangers.iter().filter(|peer| peer.is_ipv4() == subject.is_ipv4()) {
                    for &l4 in &transports {
                        let flow = match direction {
                            Direction::Ingress => flow(peer, subject, l4),
                            Direction::Egress => flow(subject, peer, l4),
                        };
                        let (with, without) = (oracle::judge(&cluster, &flow), oracle::judge(variant, &flow));
                        prop_assert_eq!(with, without, "{}\n{:?}\n{:#?}", what, flow, &cluster);
                    }
                }
            }
        }
        Ok(())
    });
    // Else the test says nothing.
    let [always, now] = seen.map(Cell::into_inner);
    assert!(always > 100 && now > 20, "{always} and {now} shadowed rules");
    println!("{always} rules that are always shadowed, {now} that are now");
}

/// What a tier comes to for a packet when there are no other policies: the action, or `None` where no rule says anything or
/// the Admin tier passes.
fn decision(
    cluster: &Cluster,
    keep: &[&ObjectRef],
    packet: &Packet,
    direction: Direction,
) -> Option<(ObjectRef, Action)> {
    let mut cluster = cluster.clone();
    cluster.network_policies.clear();
    cluster.admin_policies.retain(|_, policy| keep.contains(&&policy.object()));
    let judgement = oracle::judge(&cluster, &flow(packet.source, packet.destination, packet.l4));
    let verdict = if direction == Direction::Ingress { judgement.ingress } else { judgement.egress };
    match verdict.reason {
        Reason::AdminRule { policy, action, .. } => Some((policy, action)),
        Reason::NoRule => None,
        other => panic!("{other} decides about {packet}"),
    }
}

#[test]
fn a_conflict_that_is_reported_is_one_and_its_winner_wins() {
    let seen = Cell::new(0);
    over_clusters(800, |cluster| {
        for remark in review(&cluster, Limits::default()).remarks {
            let Some(packet) = remark.example else { continue };
            prop_assert_eq!(remark.matter, Matter::Conflict);
            seen.update(|seen| seen + 1);
            let message = &remark.diagnostic.message;
            let own = &remark.diagnostic.object;
            let named = |name: &str| {
                let mut policies = cluster.admin_policies.values().map(AdminPolicy::object);
                policies.find(|object| object.to_string() == name).expect("a policy of that name")
            };
            let other = named(message.split(' ').next().expect("a name"));
            let winner =
                named(message.split("; ").nth(1).and_then(|part| part.split(' ').next()).expect("a winner"));
            let direction = if message.contains(" egress[") { Direction::Egress } else { Direction::Ingress };
            let [mine, others, both] = [&[own][..], &[&other], &[own, &other]]
                .map(|keep| decision(&cluster, keep, &packet, direction));
            let action =
                |decision: &Option<(ObjectRef, Action)>| decision.as_ref().map(|(_, action)| *action);
            prop_assert_ne!(action(&mine), action(&others), "{} {:#?}", message, &cluster);
            prop_assert_eq!(&both, if winner == *own { &mine } else { &others }, "{}", message);
            // With all the others there the winner decides too, where it has the last word.
            let last = action(&both);
            let tier = cluster.admin_policies[&(own.kind, own.name.clone())].tier;
            if last.is_some() && tier == Tier::Admin {
                let judgement = oracle::judge(&cluster, &flow(packet.source, packet.destination, packet.l4));
                let verdict =
                    if direction == Direction::Ingress { judgement.ingress } else { judgement.egress };
                let decided =
                    matches!(&verdict.reason, Reason::AdminRule { policy, .. } if *policy == winner);
                prop_assert!(decided, "{} {} {:#?}", message, verdict, &cluster);
            }
        }
        Ok(())
    });
    let seen = seen.into_inner();
    assert!(seen > 30, "{seen} conflicts");
    println!("{seen} conflicts");
}
