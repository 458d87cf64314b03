use std::net::IpAddr;
use std::path::Path;

use super::*;

const TEXT: &str = "
description: addresses
tags: [test]
namespaces: {a: {x: y}}
pods:
  a/one: {node: node-1}
  a/two: {node: node-1, ports: [{name: http, port: 80}]}
  a/far: {node: node-2}
  a/host: {node: node-2, hostNetwork: true}
services:
  one: {backend: a/one, port: 80, target: 8080}
steps:
  - say: one goes, another comes, two is relabelled
    pods: {a/one: null, a/new: {node: node-1}, a/two: {labels: {app: two}}}
    probes: [a/two -> a/new tcp/80: allow]
  - say: the address is used again
    pods: {a/reused: {node: node-1, addresses: [10.244.1.10]}}
    probes: [a/two -> a/reused tcp/80: allow]
";

fn scenario(text: &str) -> anyhow::Result<Scenario> {
    Scenario::parse("test", Path::new("test.yaml"), text)
}

fn addresses(state: &State, pod: &str) -> Vec<String> {
    state.pods[pod].addresses.iter().map(IpAddr::to_string).collect()
}

#[test]
fn addresses_follow_from_names_and_stay() {
    let scenario = scenario(TEXT).expect("parses");
    let start = State::of(&scenario).expect("resolves");
    assert_eq!(addresses(&start, "a/one"), ["10.244.1.10", "fd00:244:1::10"]);
    assert_eq!(addresses(&start, "a/two"), ["10.244.1.11", "fd00:244:1::11"]);
    assert_eq!(addresses(&start, "a/far"), ["10.244.2.10", "fd00:244:2::10"]);
    assert_eq!(addresses(&start, "a/host"), ["172.18.0.12", "fd00:18::12"]);
    let next = start.after(&scenario.steps[0]).expect("resolves");
    assert_eq!(addresses(&next, "a/two"), addresses(&start, "a/two"));
    assert_eq!(next.pods["a/two"].ports, start.pods["a/two"].ports, "what is left out stays");
    assert_eq!(addresses(&next, "a/new"), ["10.244.1.12", "fd00:244:1::12"], "no number twice");
    let last = next.after(&scenario.steps[1]).expect("resolves");
    assert_eq!(addresses(&last, "a/reused"), ["10.244.1.10"]);
}

#[test]
fn what_has_finished_keeps_its_addresses_and_no_network() {
    let text = TEXT.replacen("a/two: {labels: {app: two}}", "a/two: {phase: Failed, terminating: true}", 1);
    let scenario = scenario(&text).expect("parses");
    let start = State::of(&scenario).expect("resolves");
    let next = start.after(&scenario.steps[0]).expect("resolves");
    let two = &next.pods["a/two"];
    assert!(start.pods["a/two"].has_stack() && !two.has_stack() && two.terminating);
    assert_eq!(addresses(&next, "a/two"), addresses(&start, "a/two"));
    let error = next.routes(&scenario.steps[0].probes[0]).expect_err("nobody is there");
    assert!(format!("{error:#}").contains("a/two has finished"), "{error:#}");
}

#[test]
fn routes_see_through_services_and_gateways() {
    let state = State::of(&scenario(TEXT).expect("parses")).expect("resolves");
    let routes = |line: &str| state.routes(&Probe::parse_line(line).expect("parses"));
    let service = &routes("world -> svc:one tcp/80 v4: allow").expect("resolves")[0];
    assert_eq!(service.dialled.to_string(), "10.96.0.11");
    assert_eq!(service.flow.destination.to_string(), "10.244.1.10");
    assert_eq!(service.flow.l4.to_string(), "TCP/8080");
    let hairpin = &routes("a/one -> svc:one tcp/80 v6: allow").expect("resolves")[0];
    assert_eq!(hairpin.flow.source, hairpin.flow.destination);
    let gateway = &routes("a/far -> gateway icmp v4: allow").expect("resolves")[0];
    assert_eq!(gateway.flow.destination.to_string(), "10.244.2.1");
    assert_eq!(gateway.flow.destination_node.as_deref(), Some("node-2"));
    let host = &routes("a/host -> a/one udp/53 v4: allow").expect("resolves")[0];
    assert_eq!(
        (&host.source, host.flow.source_node.as_deref()),
        (&Place::Node("node-2".into()), Some("node-2"))
    );
    assert_eq!(routes("a/one -> a/two tcp/80: allow").expect("resolves").len(), 2, "one a family");
    for line in
        ["a/one -> a/one tcp/80: allow", "world -> gateway tcp/80: allow", "a/one -> svc:one tcp/81: allow"]
    {
        assert!(routes(line).is_err(), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    for (from, to, word) in [
        ("tags: [test]", "tags: [Test]", "Test"),
        ("tags: [test]", "tag: [test]", "tag"),
        ("description: addresses", "description: ''", "description"),
        ("node: node-1}", "node: node-9}", "node-9"),
        ("a/one: {node", "b/one: {node", "namespace b"),
        ("backend: a/one", "backend: a/none", "a/none"),
        ("port: 80}", "port: 0}", "ports"),
    ] {
        let text = TEXT.replacen(from, to, 1);
        let error = scenario(&text).and_then(|scenario| State::of(&scenario));
        let error = error.map(|_| ()).expect_err(to);
        assert!(format!("{error:#}").contains(word), "{to}: {error:#}");
    }
    let scenario = scenario(&TEXT.replacen("a/one: null", "a/none: null", 1)).expect("parses");
    let error =
        State::of(&scenario).expect("resolves").after(&scenario.steps[0]).expect_err("there is no such pod");
    assert!(format!("{error:#}").contains("a/none"), "{error:#}");
}
