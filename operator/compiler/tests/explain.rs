//! Explanations: what the engine says of its compiled steps is what the oracle says rule by rule, as whole values.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generate;
#[path = "generate/strategy.rs"]
mod strategy;

use palisade_compiler::explain::{Question, QuestionError};
use palisade_compiler::model::Event;
use palisade_compiler::oracle::{self, Explanation, Flow};
use palisade_compiler::{Engine, intake};
use palisade_view::{L4, Packet, Protocol};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use strategy::cases;

fn stack() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::weighted(0.15, select(vec!["n-1", "n-2", "n-3"]))
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn the_engine_explains_as_the_oracle_does(
        history in strategy::history(),
        packets in strategy::packets(60),
        stacks in prop::collection::vec((stack(), stack()), 60),
    ) {
        let mut engine = Engine::default();
        engine.apply(generate::history(&history));
        let ends = generate::Ends::of(engine.cluster());
        for (packet, (source_node, destination_node)) in packets.into_iter().zip(stacks) {
            let Packet { source, destination, l4 } = ends.packet(packet);
            let flow = Flow {
                source,
                destination,
                l4,
                source_node: source_node.map(str::to_owned),
                destination_node: destination_node.map(str::to_owned),
            };
            let expected = oracle::walk(engine.cluster(), &flow);
            prop_assert_eq!(engine.explain(&flow), expected, "{:#?}", engine.cluster());
        }
    }
}

/// A cluster with something to say in every tier.
const CLUSTER: &str = r#"
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {tier: front}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: data, labels: {tier: back}}}
- apiVersion: v1
  kind: Node
  metadata: {name: n-1, labels: {zone: a}}
  spec: {podCIDRs: [10.0.1.0/24, "fd00:1::/64"]}
  status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
- apiVersion: v1
  kind: Node
  metadata: {name: n-2, labels: {zone: b}}
  spec: {podCIDRs: [10.0.2.0/24]}
  status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: shop, name: web, labels: {app: web}}
  spec: {nodeName: n-1}
  status: {phase: Running, podIPs: [{ip: 10.0.1.1}, {ip: "fd00:1::1"}]}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: shop, name: job, labels: {app: job}}
  spec: {nodeName: n-1}
  status: {phase: Succeeded, podIPs: [{ip: 10.0.1.1}]}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: data, name: db, labels: {app: db}}
  spec: {nodeName: n-2, containers: [{name: c, ports: [{name: pg, containerPort: 5432}]}]}
  status: {phase: Running, podIPs: [{ip: 10.0.2.1}]}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: data, name: thief, labels: {app: thief}}
  spec: {nodeName: n-1}
  status: {phase: Running, podIPs: [{ip: 10.0.2.1}, {ip: 10.9.9.9}]}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: data, name: twin, labels: {app: twin}}
  spec: {nodeName: n-2}
  status: {phase: Running, podIPs: [{ip: 10.9.9.9}]}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: data, name: agent}
  spec: {nodeName: n-2, hostNetwork: true}
  status: {phase: Running, podIPs: [{ip: 192.0.2.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {namespace: data, name: new}
  spec: {nodeName: n-2}
  status: {phase: Pending}
- apiVersion: policy.networking.k8s.io/v1alpha1
  kind: AdminNetworkPolicy
  metadata: {name: tenants}
  spec:
    priority: 10
    subject: {namespaces: {matchLabels: {tier: back}}}
    ingress:
      - {name: "to pg", action: Pass, from: [{namespaces: {matchLabels: {tier: front}}}], ports: [{namedPort: pg}]}
      - {name: apart, action: Deny, from: [{namespaces: {matchLabels: {tier: front}}}]}
- apiVersion: policy.networking.k8s.io/v1alpha2
  kind: ClusterNetworkPolicy
  metadata: {name: first}
  spec:
    tier: Admin
    priority: 5
    subject: {namespaces: {}}
    ingress: [{action: Accept, from: [{namespaces: {matchLabels: {tier: none}}}]}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: data, name: a}
  spec: {podSelector: {matchLabels: {app: db}}, ingress: []}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: data, name: b}
  spec:
    podSelector: {matchLabels: {app: db}}
    ingress: [{from: [{podSelector: {}}]}, {from: [{namespaceSelector: {}}], ports: [{port: 5432}]}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: data, name: c}
  spec: {podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: pg}]}]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {namespace: data, name: twin}
  spec: {podSelector: {matchLabels: {app: twin}}, policyTypes: [Ingress, Egress]}
- apiVersion: policy.networking.k8s.io/v1alpha2
  kind: ClusterNetworkPolicy
  metadata: {name: world}
  spec:
    tier: Baseline
    priority: 7
    subject: {namespaces: {}}
    egress:
      - {name: open, action: Pass, to: [{networks: [198.51.100.0/24]}]}
      - {action: Deny, to: [{networks: [198.51.0.0/16]}]}
"#;

fn engine() -> Engine {
    let objects: Vec<serde_json::Value> = serde_saphyr::from_str(CLUSTER).unwrap();
    let model = |raw: &serde_json::Value| intake::decode(raw).unwrap().model.expect("a model");
    let mut engine = Engine::default();
    engine.apply(objects.iter().map(model).map(Event::Apply));
    engine
}

fn question(text: &str) -> Result<Question, QuestionError> {
    Question::parse(text.split('&').map(|pair| pair.split_once('=').unwrap()))
}

/// The answers to a question, held to the oracle's.
fn explain(engine: &Engine, text: &str) -> Vec<Explanation> {
    let flows = question(text).unwrap().flows(engine.cluster()).unwrap();
    let explanations: Vec<_> = flows.iter().map(|flow| engine.explain(flow)).collect();
    for (flow, explanation) in flows.iter().zip(&explanations) {
        assert_eq!(*explanation, oracle::walk(engine.cluster(), flow), "{flow:?}");
    }
    explanations
}

#[test]
fn the_text_says_it_tier_by_tier() {
    let engine = engine();
    let text =
        |question: &str| explain(&engine, question).iter().map(ToString::to_string).collect::<String>();
    let cases = [
        (
            "source=shop/web&destination=data/db&port=5432",
            "\
shop/web (10.0.1.1) -> data/db (10.0.2.1) TCP/5432: allowed

egress of shop/web (10.0.1.1): allowed: no rule
  Admin: no policy is about the pod
  NetworkPolicy: none isolates the pod
  Baseline: no rule matches of ClusterNetworkPolicy/world
  nothing has decided, so it is allowed

ingress of data/db (10.0.2.1): allowed: NetworkPolicy/data/b ingress[1]
  Admin: AdminNetworkPolicy/tenants ingress[0] \"to pg\" passes it on to NetworkPolicy; about the pod are, in order: \
ClusterNetworkPolicy/first, AdminNetworkPolicy/tenants
  NetworkPolicy: isolated by NetworkPolicy/data/a, NetworkPolicy/data/b, NetworkPolicy/data/c; allowed by \
NetworkPolicy/data/b ingress[1], NetworkPolicy/data/c ingress[0]
  not asked: Baseline

note: 10.0.2.1 is also claimed by data/thief, whose node's pod range does not hold it. On a node that hosts no \
rightful owner, the policies of who claims it there count as well.
",
        ),
        (
            "source=10.0.1.1&destination=10.0.2.1&protocol=udp&port=5432",
            "\
shop/web (10.0.1.1) -> data/db (10.0.2.1) UDP/5432: denied by ingress: AdminNetworkPolicy/tenants ingress[1]

egress of shop/web (10.0.1.1): allowed: no rule
  Admin: no policy is about the pod
  NetworkPolicy: none isolates the pod
  Baseline: no rule matches of ClusterNetworkPolicy/world
  nothing has decided, so it is allowed

ingress of data/db (10.0.2.1): denied: AdminNetworkPolicy/tenants ingress[1]
  Admin: AdminNetworkPolicy/tenants ingress[1] \"apart\" denies; about the pod are, in order: \
ClusterNetworkPolicy/first, AdminNetworkPolicy/tenants
  not asked: NetworkPolicy, Baseline

note: 10.0.2.1 is also claimed by data/thief, whose node's pod range does not hold it. On a node that hosts no \
rightful owner, the policies of who claims it there count as well.
",
        ),
        (
            "source=192.0.2.2&destination=data/db&protocol=icmp&source_node=n-2",
            "\
node n-2 (192.0.2.2) -> data/db (10.0.2.1) ICMP: allowed

egress of node n-2 (192.0.2.2): allowed: not a subject

ingress of data/db (10.0.2.1): allowed: own node
  the pod's own node sends, which no policy restricts
  not asked: Admin, NetworkPolicy, Baseline

note: 10.0.2.1 is also claimed by data/thief, whose node's pod range does not hold it. On a node that hosts no \
rightful owner, the policies of who claims it there count as well.
",
        ),
        (
            "source=shop/web&destination=198.51.100.7&port=443",
            "\
shop/web (10.0.1.1) -> 198.51.100.7 TCP/443: allowed

egress of shop/web (10.0.1.1): allowed: ClusterNetworkPolicy/world egress[0]
  Admin: no policy is about the pod
  NetworkPolicy: none isolates the pod
  Baseline: ClusterNetworkPolicy/world egress[0] \"open\" passes it, which allows it here

ingress of 198.51.100.7: allowed: not a subject

note: 198.51.100.7 is no pod's and no node's address that the operator knows. If it is a Service's, ask for a pod \
behind it: policies judge packets after the translation.
",
        ),
        (
            "source=10.9.9.9&destination=192.0.2.2&port=10250&protocol=TCP",
            "\
data/thief or data/twin (10.9.9.9) -> node n-2 (192.0.2.2) TCP/10250: allowed

egress of data/thief or data/twin (10.9.9.9): allowed: no rule
  egress as data/thief, peer as no pod: allowed: no rule
    Admin: no policy is about the pod
    NetworkPolicy: none isolates the pod
    Baseline: no rule matches of ClusterNetworkPolicy/world
    nothing has decided, so it is allowed
  egress as data/twin, peer as no pod: allowed: own node
    Admin: no policy is about the pod
    NetworkPolicy: isolated by NetworkPolicy/data/twin; but never from its own node
    not asked: Baseline

ingress of node n-2 (192.0.2.2): allowed: not a subject

note: 10.9.9.9 is claimed by data/thief, data/twin, and no node's pod range tells whose it is. Only what is allowed \
for each of them is allowed.
",
        ),
    ];
    for (question, expected) in cases {
        assert_eq!(text(question), expected, "{question}");
    }

    // The pair that denies gives the verdict, though it is not the first; and to itself a pod is never isolated.
    let denied = text("source=10.9.9.9&destination=192.0.2.1&port=80");
    assert!(denied.contains("denied by egress: isolation egress NetworkPolicy/data/twin\n"), "{denied}");
    let itself = text("source=data/db&destination=data/db&port=80");
    assert!(itself.contains("NetworkPolicy/data/c; but never from itself\n"), "{itself}");
    assert_eq!(itself.matches("note:").count(), 1, "{itself}");
    let open = text("source=shop/web&destination=198.51.9.9&port=80");
    assert!(open.contains("  Baseline: ClusterNetworkPolicy/world egress[1] denies\n"), "{open}");
}

#[test]
fn the_json_has_the_same() {
    let engine = engine();
    let explanations = explain(&engine, "source=shop/web&destination=data/db&port=5432");
    let object = |kind, namespace, name| json!({"kind": kind, "namespace": namespace, "name": name});
    let (web, db) = (object("Pod", "shop", "web"), object("Pod", "data", "db"));
    let np = |name| object("NetworkPolicy", "data", name);
    let tenants = json!({"kind": "AdminNetworkPolicy", "name": "tenants"});
    let world = json!({"kind": "ClusterNetworkPolicy", "name": "world"});
    let first = json!({"kind": "ClusterNetworkPolicy", "name": "first"});
    let expected = json!([{
        "flow": {"source": "10.0.1.1", "destination": "10.0.2.1", "protocol": "TCP", "port": 5432},
        "allowed": true,
        "denied_by": null,
        "source": {"address": "10.0.1.1", "pods": [web], "outbid": [], "nodes": []},
        "destination": {
            "address": "10.0.2.1", "pods": [db], "outbid": [object("Pod", "data", "thief")], "nodes": [],
        },
        "egress": {
            "allowed": true,
            "reason": {"type": "no-rule"},
            "text": "no rule",
            "pairs": [{
                "subject": web, "peer": db,
                "allowed": true, "reason": {"type": "no-rule"}, "text": "no rule",
                "stages": [
                    {"stage": "admin", "policies": [], "matched": null},
                    {"stage": "network-policy", "isolating": [], "exemption": null, "allowing": []},
                    {"stage": "baseline", "policies": [world], "matched": null},
                    {"stage": "default"},
                ],
            }],
        },
        "ingress": {
            "allowed": true,
            "reason": {
                "type": "network-policy-rule", "policy": np("b"), "direction": "ingress", "index": 1,
            },
            "text": "NetworkPolicy/data/b ingress[1]",
            "pairs": [{
                "subject": db, "peer": web,
                "allowed": true,
                "reason": {
                    "type": "network-policy-rule", "policy": np("b"), "direction": "ingress", "index": 1,
                },
                "text": "NetworkPolicy/data/b ingress[1]",
                "stages": [
                    {
                        "stage": "admin", "policies": [first, tenants],
                        "matched": {"policy": tenants, "index": 0, "name": "to pg", "action": "Pass"},
                    },
                    {
                        "stage": "network-policy", "isolating": [np("a"), np("b"), np("c")], "exemption": null,
                        "allowing": [{"policy": np("b"), "index": 1}, {"policy": np("c"), "index": 0}],
                    },
                ],
            }],
        },
    }]);
    assert_eq!(serde_json::to_value(&explanations).unwrap(), expected);

    let reason = |question: &str, way: &str| {
        let all = serde_json::to_value(explain(&engine, question)).unwrap();
        all[0][way]["reason"].clone()
    };
    assert_eq!(
        reason("source=shop/web&destination=data/db&port=80", "ingress"),
        json!({
            "type": "admin-rule", "policy": tenants, "tier": "Admin", "direction": "ingress", "index": 1,
            "name": "apart", "action": "Deny",
        })
    );
    assert_eq!(
        reason("source=192.0.2.1&destination=data/twin&port=80", "ingress"),
        json!({"type": "isolated", "policies": [np("twin")], "direction": "ingress"})
    );
    assert_eq!(
        reason("source=data/agent&destination=data/db&protocol=1", "egress"),
        json!({"type": "not-a-subject"})
    );
    assert_eq!(
        reason("source=data/agent&destination=data/db&protocol=1", "ingress"),
        json!({"type": "own-node"})
    );
    assert_eq!(reason("source=data/db&destination=data/db&port=1", "ingress"), json!({"type": "itself"}));
}

#[test]
fn pods_are_asked_for_by_name_and_in_each_family() {
    let engine = engine();
    let flows = |text: &str| question(text).unwrap().flows(engine.cluster()).unwrap();
    let both = flows("source=shop/web&destination=shop/web&protocol=icmp");
    let ends: Vec<_> = both.iter().map(|flow| (flow.source.to_string(), flow.l4)).collect();
    assert_eq!(ends, [("10.0.1.1".to_owned(), L4::Other(1)), ("fd00:1::1".to_owned(), L4::Other(58))]);
    let mixed = flows("source=shop/web&destination=2001:db8::1&protocol=SCTP&port=9");
    assert_eq!(mixed.len(), 1);
    assert_eq!(
        (mixed[0].source.to_string().as_str(), mixed[0].l4),
        ("fd00:1::1", L4::Port(Protocol::Sctp, 9))
    );

    // A pod in its node's network is that node.
    let agent = flows("source=data/agent&destination=::ffff:10.0.2.1&protocol=132&port=1");
    assert_eq!((&agent[0].source_node, &agent[0].destination_node), (&Some("n-2".to_owned()), &None));
    assert_eq!(agent[0].destination.to_string(), "10.0.2.1");
}

#[test]
fn what_is_wrong_with_a_question_is_said_with_the_remedy() {
    let engine = engine();
    let ends = "source=shop/web&destination=data/db";
    let cases = [
        (
            "destination=data/db&port=1".to_owned(),
            "`source`: missing; give an address, or a pod as namespace/name",
        ),
        ("source=web&destination=data/db&port=1".to_owned(), "`source`: \"web\" is neither; give an address"),
        ("source=a/b/c&destination=data/db&port=1".to_owned(), "`source`: \"a/b/c\" is neither"),
        (
            "source=10.0.0.0/8&destination=data/db&port=1".to_owned(),
            "`source`: there is no pod 10.0.0.0/8; see",
        ),
        (
            "source=shop/web&destination=data/nn&port=1".to_owned(),
            "`destination`: there is no pod data/nn; see",
        ),
        (
            "source=shop/job&destination=data/db&port=1".to_owned(),
            "`source`: the pod shop/job has come to an end",
        ),
        (
            "source=data/new&destination=data/db&port=1".to_owned(),
            "`source`: the pod data/new has no address yet",
        ),
        (
            "source=fd00:1::1&destination=data/db&port=1".to_owned(),
            "`destination`: fd00:1::1 and data/db have no",
        ),
        (ends.to_owned(), "`port`: missing; TCP has ports: give"),
        (format!("{ends}&port=65536"), "`port`: \"65536\" is not a port; give"),
        (format!("{ends}&protocol=icmp&port=8"), "`port`: icmp has no ports; leave it out"),
        (format!("{ends}&protocol=http&port=80"), "`protocol`: \"http\" is not known; give tcp, udp,"),
        (format!("{ends}&protocol=256"), "`protocol`: \"256\" is not known; give"),
        (format!("{ends}&port=1&source_node=n-9"), "`source_node`: there is no node \"n-9\"; see"),
        (format!("{ends}&port=1&port=2"), "`port`: given twice; "),
        (format!("{ends}&dport=1"), "`dport`: not known; there are source, destination, protocol, port, "),
    ];
    for (text, expected) in cases {
        let error = question(&text).and_then(|question| question.flows(engine.cluster())).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn an_address_that_everybody_claims_is_not_gone_through() {
    let mut engine = engine();
    let claim = |n: usize| {
        let raw = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": format!("p-{n}")},
            "spec": {"nodeName": "n-2"}, "status": {"podIPs": [{"ip": "10.7.7.7"}]},
        });
        Event::Apply(intake::decode(&raw).unwrap().model.unwrap())
    };
    engine.apply((0..64).map(claim));
    assert_eq!(explain(&engine, "source=10.7.7.7&destination=data/db&port=1")[0].egress.pairs.len(), 64);
    engine.apply([claim(64)]);
    let flows = question("source=shop/web&destination=10.7.7.7&port=1").unwrap().flows(engine.cluster());
    let error = flows.unwrap_err().to_string();
    assert!(error.starts_with("`destination`: 65 pods claim 10.7.7.7, more than 64; see"), "{error}");
}
