use std::collections::BTreeSet;
use std::net::IpAddr;

use palisade_view::{Family, FunctionBuilder, Intervals, Key, Program, Protocol};

use super::*;
use crate::model::{
    Action, AdminPolicy, AdminRule, AdminSubject, Kind, NamedPort, Namespace, NamespaceMatch, NetworkPolicy,
    NetworkPolicyRule, Node, Object, ObjectRef, Operator, Peer, Pod, Policy, PortMatch, Requirement,
    Selector, Tier,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tcp(start: u16, end: u16) -> Program {
    Program::ports(Protocol::Tcp, Intervals::range(start, end))
}

fn app(value: &str) -> Selector {
    Selector::match_labels([("app", value)])
}

/// A pod `app` in namespace `shop`, with that label, on a node.
fn pod(name: &str, node: &str, address: &str) -> Pod {
    Pod {
        namespace: "shop".into(),
        name: name.into(),
        labels: [("app".to_owned(), name.trim_end_matches(char::is_numeric).to_owned())].into(),
        node: Some(node.into()),
        addresses: [ip(address)].into(),
        host_network: false,
        named_ports: BTreeSet::new(),
        finished: false,
    }
}

fn with_port(mut pod: Pod, name: &str, protocol: Protocol, port: u16) -> Pod {
    pod.named_ports.insert(NamedPort { name: name.into(), protocol, port });
    pod
}

fn node(name: &str, address: &str, zone: &str) -> Event {
    Event::Apply(Object::Node(Node {
        name: name.into(),
        labels: [("zone".to_owned(), zone.to_owned())].into(),
        addresses: [ip(address)].into(),
        pod_cidrs: BTreeSet::new(),
    }))
}

fn namespace(name: &str, env: &str) -> Event {
    let labels = [("env", env), ("kubernetes.io/metadata.name", name)];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Event::Apply(Object::Namespace(Namespace { name: name.into(), labels }))
}

fn put(pod: Pod) -> Event {
    Event::Apply(Object::Pod(pod))
}

/// A NetworkPolicy of namespace `shop` that isolates for egress and allows one rule's worth.
fn egress_only(subject: Selector, peers: Vec<Peer>, ports: Option<Vec<PortMatch>>) -> Event {
    Event::Apply(Object::Policy(Policy::Network(NetworkPolicy {
        namespace: "shop".into(),
        name: "egress".into(),
        subject: Some(subject),
        ingress: None,
        egress: Some(vec![NetworkPolicyRule { index: 0, peers, ports }]),
    })))
}

fn admin(subject: AdminSubject, action: Action, peers: Vec<Peer>) -> Event {
    Event::Apply(Object::Policy(Policy::Admin(AdminPolicy {
        kind: Kind::ClusterNetworkPolicy,
        name: "admin".into(),
        tier: Tier::Admin,
        priority: 10,
        subject,
        ingress: vec![],
        egress: vec![AdminRule { name: None, index: 0, action, peers, ports: None }],
    })))
}

fn everyone() -> AdminSubject {
    AdminSubject::Pods { namespaces: Selector::EVERYTHING, pods: Selector::EVERYTHING }
}

fn pods(namespaces: NamespaceMatch, pods: Selector) -> Peer {
    Peer::Pods { namespaces, pods }
}

fn own(selector: Selector) -> Peer {
    pods(NamespaceMatch::Name("shop".into()), selector)
}

fn networks(networks: &[&str], except: &[&str]) -> Peer {
    let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
    Peer::Networks { networks: parse(networks), except: parse(except), named_ports: true }
}

fn base() -> Vec<Event> {
    vec![
        node("n1", "192.0.2.1", "a"),
        node("n2", "192.0.2.2", "b"),
        namespace("shop", "prod"),
        put(pod("web", "n1", "10.0.1.1")),
        put(pod("db", "n2", "10.0.2.1")),
    ]
}

fn engine(events: impl IntoIterator<Item = Event>) -> Engine {
    let mut engine = Engine::default();
    engine.apply(base().into_iter().chain(events));
    engine
}

fn egress(engine: &Engine, node: &str, address: &str) -> Arc<Profile> {
    let view = engine.view(node).unwrap();
    Arc::clone(&view.profiles()[&view.locals()[&ip(address)].egress.unwrap()])
}

fn identity(engine: &Engine, node: &str, address: &str) -> Key {
    engine.view(node).unwrap().members()[&ip(address)]
}

#[test]
fn without_policies_nobody_is_a_subject_but_every_node_has_a_view() {
    let mut engine = Engine::default();
    let changes = engine.apply(base());
    assert_eq!(changes.nodes.keys().collect::<Vec<_>>(), ["n1", "n2"]);
    assert!(engine.views().values().all(|view| view.is_empty()));
    assert_eq!(engine.apply(base()), Changes::default());
}

#[test]
fn isolation_denies_by_default_and_leaves_the_own_node_alone() {
    let engine = engine([egress_only(
        app("web"),
        vec![own(app("db"))],
        Some(vec![PortMatch::Range(Protocol::Tcp, 5432, 5432)]),
    )]);
    let db = identity(&engine, "n1", "10.0.2.1");
    let main = FunctionBuilder::new(Program::NONE, Program::NONE).identity(db, tcp(5432, 5432)).build();
    let exempt = FunctionBuilder::new(Program::all(), Program::all()).build();
    assert_eq!(*egress(&engine, "n1", "10.0.1.1"), Profile::new(main, exempt));
    let view = engine.view("n1").unwrap();
    assert_eq!(view.members().keys().collect::<Vec<_>>(), [&ip("10.0.2.1")]);
    assert_eq!(view.locals()[&ip("10.0.1.1")].ingress, None);
    assert!(engine.view("n2").unwrap().is_empty());
}

#[test]
fn a_pod_that_is_like_another_is_one_address_more() {
    let mut engine = engine([egress_only(app("web"), vec![own(app("db"))], None)]);
    let db = identity(&engine, "n1", "10.0.2.1");
    let changes = engine.apply([put(pod("db2", "n2", "10.0.2.2"))]);
    assert_eq!(changes.nodes.keys().collect::<Vec<_>>(), ["n1"]);
    assert_eq!(*changes.nodes["n1"].operations, [Operation::AddMembers(db, vec![ip("10.0.2.2")])]);
}

#[test]
fn a_namespaces_labels_are_no_part_of_an_identity() {
    let prod = NamespaceMatch::Labels(Selector::match_labels([("env", "prod")]));
    let mut engine = engine([admin(everyone(), Action::Deny, vec![pods(prod, Selector::EVERYTHING)])]);
    let before = identity(&engine, "n1", "10.0.2.1");
    engine.apply([namespace("shop", "test")]);
    assert!(engine.view("n1").unwrap().is_empty());
    engine.apply([namespace("shop", "prod")]);
    assert_eq!(identity(&engine, "n1", "10.0.2.1"), before);
}

#[test]
fn volatile_labels_count_only_where_a_selector_names_them() {
    let labelled = |name: &str, value: &str, address| {
        let mut pod = pod(name, "n2", address);
        pod.labels.insert("pod-template-hash".into(), value.into());
        put(pod)
    };
    let mut engine = engine([
        labelled("db2", "aaaa", "10.0.2.2"),
        labelled("db3", "bbbb", "10.0.2.3"),
        labelled("db4", "cccc", "10.0.2.4"),
        egress_only(app("web"), vec![own(app("db"))], None),
    ]);
    let ids = |engine: &Engine| -> BTreeSet<Key> {
        ["10.0.2.2", "10.0.2.3", "10.0.2.4"].map(|address| identity(engine, "n1", address)).into()
    };
    assert_eq!(ids(&engine).len(), 1);
    let named = Selector::match_labels([("app", "db"), ("pod-template-hash", "aaaa")]);
    engine.apply([admin(everyone(), Action::Deny, vec![own(named)])]);
    assert_eq!(ids(&engine).len(), 2);
    assert_eq!(identity(&engine, "n1", "10.0.2.3"), identity(&engine, "n1", "10.0.2.4"));
}

#[test]
fn nested_networks_list_only_what_differs_from_their_parent() {
    let engine = engine([
        admin(everyone(), Action::Deny, vec![networks(&["10.0.0.0/8"], &[])]),
        egress_only(app("web"), vec![networks(&["0.0.0.0/0"], &["172.16.0.0/12", "10.1.0.0/16"])], None),
    ]);
    let profile = egress(&engine, "n1", "10.0.1.1");
    let listed: Vec<_> =
        profile.main().networks().map(|(network, program)| (network.to_string(), program.clone())).collect();
    assert_eq!(
        listed,
        [("10.0.0.0/8".to_owned(), Program::NONE), ("172.16.0.0/12".to_owned(), Program::NONE),]
    );
    assert_eq!(profile.main().default_of(Family::V4), &Program::all());
    assert_eq!(profile.main().default_of(Family::V6), &Program::NONE);
    // Pods in the denied network are what their address says: no cell, no member.
    assert_eq!(profile.main().identities().len(), 0);
}

#[test]
fn named_ports_are_the_destination_pods() {
    let named = |protocol| Some(vec![PortMatch::Named { name: "sql".into(), protocol }]);
    let engine = engine([
        put(with_port(pod("db", "n2", "10.0.2.1"), "sql", Protocol::Tcp, 5432)),
        put(with_port(pod("db2", "n2", "10.0.2.2"), "sql", Protocol::Tcp, 3306)),
        put(with_port(pod("db3", "n2", "10.0.2.3"), "sql", Protocol::Udp, 53)),
        put(with_port(pod("web", "n1", "10.0.1.1"), "sql", Protocol::Tcp, 1)),
        egress_only(app("web"), vec![Peer::Everything], named(Some(Protocol::Tcp))),
    ]);
    let view = engine.view("n1").unwrap();
    let allowed = |destination: &str| view.egress_program(ip("10.0.1.1"), ip(destination)).unwrap().clone();
    assert_eq!(allowed("10.0.2.1"), tcp(5432, 5432));
    assert_eq!(allowed("10.0.2.2"), tcp(3306, 3306));
    assert_eq!(allowed("10.0.2.3"), Program::NONE);
    assert_eq!(allowed("192.0.2.77"), Program::NONE);
}

#[test]
fn nodes_are_identities_by_the_selectors_they_match() {
    let zone = |zone| Peer::Nodes(Selector::match_labels([("zone", zone)]));
    let mut engine = engine([admin(everyone(), Action::Deny, vec![zone("b")])]);
    let view = engine.view("n1").unwrap();
    assert_eq!(view.members().keys().collect::<Vec<_>>(), [&ip("192.0.2.2")]);
    assert!(view.egress_program(ip("10.0.1.1"), ip("192.0.2.2")).unwrap().is_none());
    assert!(view.egress_program(ip("10.0.1.1"), ip("192.0.2.1")).unwrap().is_all());
    engine.apply([node("n2", "192.0.2.2", "c")]);
    assert!(engine.view("n1").unwrap().is_empty());
}

/// Nodes that differ in which selectors match them, however alike the selectors, are not one identity.
#[test]
fn nodes_that_different_selectors_match_are_apart() {
    let values = |all: &[&str]| all.iter().map(|&value| value.to_owned()).collect::<BTreeSet<String>>();
    let is = |key: &str, operator| Requirement { key: key.to_owned(), operator };
    let any = |all: &[&str]| is("zone", Operator::In(values(all)));
    let without = |all: &[&str]| is("zone", Operator::NotIn(values(all)));
    // Each pair: what only n2 (zone b, disk) matches, and what only n3 (zone c, rack) matches.
    for (second, third) in [
        (vec![any(&["b"])], vec![any(&["c"])]),
        (vec![without(&["c"])], vec![without(&["b"])]),
        (vec![any(&["b"])], vec![without(&["b"])]),
        (vec![is("disk", Operator::Exists)], vec![is("rack", Operator::Exists)]),
        (vec![is("disk", Operator::Exists)], vec![is("disk", Operator::DoesNotExist)]),
        (vec![any(&["a", "b"])], vec![any(&["a", "c"])]),
        (vec![any(&["a", "b"])], vec![any(&["c"])]),
        (vec![any(&["b"]), is("disk", Operator::Exists)], vec![any(&["c"])]),
    ] {
        let labelled = |name: &str, address: &str, labels: &[(&str, &str)]| {
            Event::Apply(Object::Node(Node {
                name: name.into(),
                labels: labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
                addresses: [ip(address)].into(),
                pod_cidrs: BTreeSet::new(),
            }))
        };
        let to = |requirements: &Vec<Requirement>| vec![Peer::Nodes(Selector::new(requirements.clone()))];
        let rule = |index, action, peers| AdminRule { name: None, index, action, peers, ports: None };
        let mut policy = admin(everyone(), Action::Deny, to(&second));
        if let Event::Apply(Object::Policy(Policy::Admin(policy))) = &mut policy {
            policy.egress.push(rule(1, Action::Allow, to(&third)));
            policy.egress.push(rule(2, Action::Deny, vec![Peer::Nodes(Selector::EVERYTHING)]));
        }
        let engine = engine([
            labelled("n2", "192.0.2.2", &[("zone", "b"), ("disk", "")]),
            labelled("n3", "192.0.2.3", &[("zone", "c"), ("rack", "")]),
            policy,
        ]);
        let program = |to| engine.view("n1").unwrap().egress_program(ip("10.0.1.1"), ip(to)).unwrap();
        assert!(program("192.0.2.2").is_none(), "{second:?}");
        assert!(program("192.0.2.3").is_all(), "{third:?}");
    }
}

#[test]
fn an_address_claimed_twice_goes_to_the_node_whose_range_holds_it_or_gets_what_both_would() {
    let range = |ranges: &[&str]| {
        Event::Apply(Object::Node(Node {
            name: "n2".into(),
            labels: [].into(),
            addresses: BTreeSet::new(),
            pod_cidrs: ranges.iter().map(|text| text.parse().unwrap()).collect(),
        }))
    };
    let mut engine = engine([
        put(pod("thief", "n1", "10.0.2.1")),
        admin(
            AdminSubject::Pods { namespaces: Selector::EVERYTHING, pods: app("web") },
            Action::Deny,
            vec![own(app("db"))],
        ),
    ]);
    let program = |engine: &Engine| {
        engine.view("n1").unwrap().egress_program(ip("10.0.1.1"), ip("10.0.2.1")).unwrap().clone()
    };
    assert!(program(&engine).is_none());
    // The thief would be allowed; the range says the address is db's.
    engine.apply([range(&["10.0.2.0/24"])]);
    assert!(program(&engine).is_none());
    engine.apply([Event::Delete(ObjectRef {
        kind: Kind::Pod,
        namespace: Some("shop".into()),
        name: "db".into(),
    })]);
    assert!(engine.view("n1").unwrap().is_empty());
}

#[test]
fn equal_subjects_share_one_profile_across_nodes() {
    let engine =
        engine([put(pod("web2", "n2", "10.0.2.9")), egress_only(app("web"), vec![own(app("db"))], None)]);
    assert!(Arc::ptr_eq(&egress(&engine, "n1", "10.0.1.1"), &egress(&engine, "n2", "10.0.2.9")));
}

#[test]
fn what_leaves_a_pod_is_judged_by_its_own_policies_even_from_an_address_that_is_anothers() {
    let range = Event::Apply(Object::Node(Node {
        name: "n2".into(),
        labels: [].into(),
        addresses: BTreeSet::new(),
        pod_cidrs: ["10.0.2.0/24".parse().unwrap()].into(),
    }));
    let engine =
        engine([range, put(pod("thief", "n1", "10.0.2.1")), egress_only(app("thief"), vec![], None)]);
    let at_the_thief = engine.view("n1").unwrap().egress_program(ip("10.0.2.1"), ip("198.51.100.1"));
    assert_eq!(at_the_thief, Some(&Program::NONE));
    // Its rightful owner is not held to the thief's policies.
    assert_eq!(engine.view("n2").unwrap().egress_program(ip("10.0.2.1"), ip("198.51.100.1")), None);
}

#[test]
fn a_policy_spans_the_nodes_of_its_subjects() {
    let finished = Pod { finished: true, ..pod("web9", "n-9", "10.0.9.1") };
    let hosted = Pod { host_network: true, ..pod("web8", "n-8", "10.0.8.1") };
    let addressless = Pod { addresses: BTreeSet::new(), ..pod("web7", "n-7", "10.0.7.1") };
    let unbound = Pod { node: None, ..pod("web6", "n-6", "10.0.6.1") };
    let elsewhere = Pod { namespace: "other".into(), ..pod("web5", "n-5", "10.0.5.1") };
    let mut engine = Engine::default();
    engine.apply([
        namespace("shop", "prod"),
        put(pod("web1", "n-1", "10.0.1.1")),
        put(pod("web2", "n-2", "10.0.2.1")),
        put(pod("api1", "n-3", "10.0.3.1")),
        put(elsewhere),
        put(unbound),
        put(addressless),
        put(hosted),
        put(finished),
        egress_only(app("web"), vec![Peer::Everything], None),
        admin(everyone(), Action::Deny, vec![]),
    ]);
    let spans = |engine: &Engine| -> Vec<(String, String)> {
        let spans = engine.spans().into_iter();
        spans
            .map(|(object, nodes)| (object.to_string(), nodes.iter().cloned().collect::<Vec<_>>().join(" ")))
            .collect()
    };
    let named = |name: &str, nodes: &str| (name.to_owned(), nodes.to_owned());
    let admin_policy = "ClusterNetworkPolicy/admin";
    let egress = "NetworkPolicy/shop/egress";
    assert_eq!(spans(&engine), [named(admin_policy, "n-1 n-2 n-3 n-5"), named(egress, "n-1 n-2")]);

    let prod = AdminSubject::Pods { namespaces: Selector::match_labels([("env", "prod")]), pods: app("api") };
    engine.apply([admin(prod, Action::Deny, vec![])]);
    assert_eq!(spans(&engine), [named(admin_policy, "n-3"), named(egress, "n-1 n-2")]);
    engine.apply([admin(AdminSubject::Nothing, Action::Deny, vec![])]);
    assert_eq!(spans(&engine), [named(admin_policy, ""), named(egress, "n-1 n-2")]);
}
