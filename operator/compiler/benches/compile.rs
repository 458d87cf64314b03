//! How long the engine takes from a cluster to views, from one more pod to the changed views, and to say why a packet is
//! allowed or denied; and how long a review of the policies takes.
//!
//! The cluster: 1,000 namespaces on 50 nodes, in each four pods and three NetworkPolicies (isolation, the namespace
//! to itself, DNS and monitoring), and above them one AdminNetworkPolicy that keeps two tiers of tenants apart.

#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use palisade_compiler::Engine;
use palisade_compiler::model::{
    Action, AdminPolicy, AdminRule, AdminSubject, Cluster, Event, Kind, Labels, Namespace, NamespaceMatch,
    NetworkPolicy, NetworkPolicyRule, Node, Object, Peer, Pod, Policy, PortMatch, Selector, Tier,
};
use palisade_compiler::oracle::Flow;
use palisade_compiler::review::{Limits, review};
use palisade_view::{L4, Protocol};

const NAMESPACES: u32 = 1_000;
const PODS: u32 = 4;
const NODES: u32 = 50;

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn pod(namespace: &str, number: u32, app: &str) -> Event {
    Event::Apply(Object::Pod(Pod {
        namespace: namespace.to_owned(),
        name: format!("pod-{number}"),
        labels: labels([("app", app)]),
        node: Some(format!("node-{}", number % NODES)),
        addresses: BTreeSet::from([IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))]),
        host_network: false,
        named_ports: BTreeSet::new(),
        finished: false,
    }))
}

fn namespace(name: &str, tier: &str) -> Event {
    let labels = labels([("kubernetes.io/metadata.name", name), ("tier", tier)]);
    Event::Apply(Object::Namespace(Namespace { name: name.to_owned(), labels }))
}

fn node(number: u32) -> Event {
    Event::Apply(Object::Node(Node {
        name: format!("node-{number}"),
        labels: Labels::new(),
        addresses: BTreeSet::from([IpAddr::V4(Ipv4Addr::from_bits(0xac12_0000 + number))]),
        pod_cidrs: BTreeSet::new(),
    }))
}

fn rule(peer: Peer, ports: Option<Vec<PortMatch>>) -> NetworkPolicyRule {
    NetworkPolicyRule { index: 0, peers: vec![peer], ports }
}

fn network_policy(
    namespace: &str,
    name: &str,
    ingress: Option<Vec<NetworkPolicyRule>>,
    egress: Option<Vec<NetworkPolicyRule>>,
) -> Event {
    Event::Apply(Object::Policy(Policy::Network(NetworkPolicy {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subject: Some(Selector::EVERYTHING),
        ingress,
        egress,
    })))
}

fn policies(namespace: &str) -> [Event; 3] {
    let own = |app: &str| Peer::Pods {
        namespaces: NamespaceMatch::Name(namespace.to_owned()),
        pods: Selector::match_labels([("app", app)]),
    };
    let infrastructure = |name: &str| Peer::Pods {
        namespaces: NamespaceMatch::Labels(Selector::match_labels([("kubernetes.io/metadata.name", name)])),
        pods: Selector::EVERYTHING,
    };
    let tcp = |port| Some(vec![PortMatch::Range(Protocol::Tcp, port, port)]);
    let dns = Some(vec![PortMatch::Range(Protocol::Udp, 53, 53)]);
    [
        network_policy(namespace, "default-deny", Some(vec![]), Some(vec![])),
        network_policy(
            namespace,
            "own",
            Some(vec![rule(own("web"), tcp(8080))]),
            Some(vec![rule(own("db"), tcp(5432))]),
        ),
        network_policy(
            namespace,
            "infrastructure",
            Some(vec![rule(infrastructure("ns-1"), tcp(9090))]),
            Some(vec![rule(infrastructure("ns-0"), dns)]),
        ),
    ]
}

fn tenants_apart() -> Event {
    let tier = |name| Selector::match_labels([("tier", name)]);
    Event::Apply(Object::Policy(Policy::Admin(AdminPolicy {
        kind: Kind::AdminNetworkPolicy,
        name: "tenants-apart".to_owned(),
        tier: Tier::Admin,
        priority: 10,
        subject: AdminSubject::Pods { namespaces: tier("gold"), pods: Selector::EVERYTHING },
        ingress: vec![AdminRule {
            name: None,
            index: 0,
            action: Action::Deny,
            peers: vec![Peer::Pods {
                namespaces: NamespaceMatch::Labels(tier("silver")),
                pods: Selector::EVERYTHING,
            }],
            ports: None,
        }],
        egress: vec![],
    })))
}

fn cluster(namespaces: u32) -> Vec<Event> {
    let mut events: Vec<Event> = (0..NODES).map(node).collect();
    for number in 0..namespaces {
        let name = format!("ns-{number}");
        events.push(namespace(&name, ["gold", "silver", "none"][number as usize % 3]));
        events.extend((0..PODS).map(|i| pod(&name, number * PODS + i, ["web", "db"][i as usize % 2])));
        events.extend(policies(&name));
    }
    events.push(tenants_apart());
    events
}

fn compile(criterion: &mut Criterion) {
    let events = cluster(NAMESPACES);
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    group.bench_function("cold, 1,000 namespaces, 3,000 policies, 4,000 pods", |bencher| {
        bencher.iter_batched(
            || events.clone(),
            |events| black_box(Engine::default().apply(events)),
            BatchSize::PerIteration,
        );
    });

    let mut engine = Engine::default();
    engine.apply(events);
    let newcomer = || pod("ns-500", NAMESPACES * PODS, "web");
    group.bench_function("one pod added", |bencher| {
        bencher.iter_batched(
            || (engine.clone(), newcomer()),
            |(mut engine, newcomer)| {
                let changes = engine.apply([newcomer]);
                (engine, changes)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group("explain");
    for (name, destination) in [("pod to pod", "10.0.7.208"), ("pod to world", "192.0.2.10")] {
        let flow = Flow {
            source: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + 500 * PODS)),
            destination: destination.parse().unwrap(),
            l4: L4::Port(Protocol::Tcp, 8080),
            source_node: None,
            destination_node: None,
        };
        group.bench_function(name, |bencher| bencher.iter(|| black_box(engine.explain(black_box(&flow)))));
    }
    group.finish();
}

/// 10,000 policies of one namespace that all select all of its 10,000 pods, each with a rule of its own.
fn crowd() -> Vec<Event> {
    let mut events = vec![namespace("crowd", "gold")];
    events.extend((0..10_000).map(|number| pod("crowd", number, &format!("app-{}", number % 500))));
    events.extend((0..10_000).map(|number| {
        let app = format!("app-{}", number % 500);
        let peer = Peer::Pods {
            namespaces: NamespaceMatch::Name("crowd".to_owned()),
            pods: Selector::match_labels([("app", app)]),
        };
        let port = u16::try_from(number % 60_000).unwrap();
        let ports = Some(vec![PortMatch::Range(Protocol::Tcp, port, port)]);
        network_policy("crowd", &format!("np-{number:05}"), Some(vec![rule(peer, ports)]), None)
    }));
    events
}

fn reviews(criterion: &mut Criterion) {
    let whole = |events: Vec<Event>| {
        let mut cluster = Cluster::default();
        for event in events {
            cluster.apply(event);
        }
        cluster
    };
    let mut group = criterion.benchmark_group("review");
    group.sample_size(10);
    let tenants = whole(cluster(3_334));
    group.bench_function("10,003 policies, 13,336 pods, 3,334 namespaces", |bencher| {
        bencher.iter(|| black_box(review(&tenants, Limits::default())));
    });
    let crowd = whole(crowd());
    let found = review(&crowd, Limits::default());
    println!("in the crowd {} policies are too much work", found.unreviewed.len());
    group.bench_function("10,000 policies that all select all of 10,000 pods", |bencher| {
        bencher.iter(|| black_box(review(&crowd, Limits::default())));
    });
    group.finish();
}

criterion_group!(benches, compile, reviews);
criterion_main!(benches);
