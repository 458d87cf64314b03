//! The committed definitions, exercised without an API server: each rule and limit by objects that just pass and
//! objects that just fail.
//!
//! For each kind there is one object with every field (`samples/`), and here is written what must hold at which place
//! of it. Objects are made by changing the full one; those that must fail must break exactly the constraint they are
//! about. What is written here knows nothing of the schema: a constraint that gets lost, loose or strict fails, and
//! so does one of which nothing is written here.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
mod constraint;
mod suite;

use common::judge::Judge;
use common::{documents, typed};
use serde_json::{Value, json};
use suite::Suite;

const ADMIN: &str = include_str!("../samples/admin-network-policy.yaml");
const BASELINE: &str = include_str!("../samples/baseline-admin-network-policy.yaml");
const CLUSTER: &str = include_str!("../samples/cluster-network-policy.yaml");
const REPORT: &str = include_str!("../samples/conformance-report.yaml");

/// What differs between the kinds of policy.
struct Dialect {
    /// What a rule may do.
    actions: &'static [&'static str],
    /// How many rules, peers and ports there may be.
    high: usize,
    /// The fields that pods as subject or peer must have, and those that they may have.
    pods: (&'static [&'static str], &'static [&'static str]),
    /// Where rules have ports, or protocols with ports.
    ports: &'static str,
    /// One of them, and one by name.
    port: fn(usize) -> Value,
    named_port: fn() -> Value,
    /// Whether names are peers.
    has_names: bool,
    /// Forbids ports by name where the peers are no pods.
    rule: &'static str,
}

const V1ALPHA1: Dialect = Dialect {
    actions: &["Allow", "Deny", "Pass"],
    high: 100,
    pods: (&["namespaceSelector", "podSelector"], &[]),
    ports: "ports",
    port: |_| json!({"portNumber": {"port": 80}}),
    named_port: || json!({"namedPort": "http"}),
    has_names: true,
    rule: "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes) || has(peer.domainNames)) && \
           has(self.ports) && self.ports.exists(port, has(port.namedPort)))",
};

const V1ALPHA1_BASELINE: Dialect = Dialect {
    actions: &["Allow", "Deny"],
    has_names: false,
    rule: "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes)) && \
           has(self.ports) && self.ports.exists(port, has(port.namedPort)))",
    ..V1ALPHA1
};

const V1ALPHA2: Dialect = Dialect {
    actions: &["Accept", "Deny", "Pass"],
    high: 25,
    pods: (&["podSelector"], &["namespaceSelector"]),
    ports: "protocols",
    port: |_| json!({"tcp": {"destinationPort": {"number": 80}}}),
    named_port: || json!({"destinationNamedPort": "http"}),
    has_names: true,
    rule: "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes) || has(peer.domainNames)) && \
           has(self.protocols) && self.protocols.exists(protocol, has(protocol.destinationNamedPort)))",
};

impl Dialect {
    /// What all policies have, but not their ports.
    fn policy(&self, suite: &mut Suite) {
        suite.required("", &["metadata", "spec"]);
        suite.optional("", &["status"]);
        suite.required("/spec", &["subject"]);
        suite.optional("/spec", &["ingress", "egress"]);
        suite.one_of("/spec/subject", "namespaces", json!({}));
        self.pods(suite, "/spec/subject/pods");
        self.rules(suite, "/spec/ingress", "from");
        self.rules(suite, "/spec/egress", "to");
        self.egress_peers(suite);
        conditions(suite);
        suite.turn_to(1);
        selector(suite, "/spec/subject/namespaces");
        suite.turn_to(0);
    }

    fn pods(&self, suite: &mut Suite, at: &str) {
        let (required, optional) = self.pods;
        suite.required(at, required);
        suite.optional(at, optional);
        selector(suite, &format!("{at}/namespaceSelector"));
        selector(suite, &format!("{at}/podSelector"));
    }

    /// Rules of a direction. The first one's peers are namespaces and pods.
    fn rules(&self, suite: &mut Suite, at: &str, peers: &'static str) {
        let rule: fn(usize) -> Value = match peers {
            "from" => |_| json!({"action": "Deny", "from": [{"namespaces": {}}]}),
            _ => |_| json!({"action": "Deny", "to": [{"namespaces": {}}]}),
        };
        suite.list(at, 0, Some(self.high), rule);
        let rule = format!("{at}/0");
        suite.required(&rule, &["action", peers]);
        suite.optional(&rule, &["name", self.ports]);
        suite.text(&format!("{rule}/name"), 100);
        suite.word(&format!("{rule}/action"), self.actions);
        let peers = format!("{rule}/{peers}");
        suite.list(&peers, 1, Some(self.high), |_| json!({"namespaces": {}}));
        suite.one_of(&format!("{peers}/0"), "pods", json!({"namespaceSelector": {}, "podSelector": {}}));
        selector(suite, &format!("{peers}/0/namespaces"));
        self.pods(suite, &format!("{peers}/1/pods"));
        suite.list(&format!("{rule}/{}", self.ports), 1, Some(self.high), self.port);
    }

    /// The peers that only egress has, in its second rule.
    fn egress_peers(&self, suite: &mut Suite) {
        let rule = "/spec/egress/1";
        selector(suite, &format!("{rule}/to/0/nodes"));
        let networks = format!("{rule}/to/1/networks");
        suite.list(&networks, 1, Some(25), |index| json!(format!("10.0.{index}.0/24")));
        suite.distinct(&networks);
        network(suite, &format!("{networks}/0"));
        if self.has_names {
            let names = format!("{rule}/to/2/domainNames");
            suite.list(&names, 1, Some(25), |index| json!(format!("a{index}.example.com")));
            suite.distinct(&names);
            suite.pattern(
                &format!("{names}/0"),
                &["example.com", "*.example.com", "Example.COM.", "a_b.example.com", "a-1.b2.c3"],
                &["com", "*", "*.com", "a*.example.com", "www.*.com", "-a.example.com", "a..example.com", ""],
            );
        }
        // A port by name goes with pods, with no peer that is none, and whatever stands beside it.
        let others = [
            Some(json!({"nodes": {}})),
            Some(json!({"networks": ["10.0.0.0/8"]})),
            self.has_names.then(|| json!({"domainNames": ["example.com"]})),
        ];
        let (named, number) = ((self.named_port)(), (self.port)(0));
        for peer in others.into_iter().flatten() {
            let rule_of = |peers: Value, ports: Value| {
                let mut rule = json!({"action": self.actions[0], "to": peers});
                rule[self.ports] = ports;
                rule
            };
            suite.good(rule, rule_of(json!([peer]), json!([number])));
            suite.breaks_rule(rule, self.rule, rule, rule_of(json!([peer]), json!([named])));
            let pods = json!({"namespaces": {}});
            suite.good(rule, rule_of(json!([pods]), json!([number, named])));
            suite.breaks_rule(rule, self.rule, rule, rule_of(json!([pods, peer]), json!([number, named])));
        }
    }
}

fn selector(suite: &mut Suite, at: &str) {
    suite.good(at, json!({}));
    suite.optional(at, &["matchLabels", "matchExpressions"]);
    suite.required(&format!("{at}/matchExpressions/0"), &["key", "operator"]);
    suite.optional(&format!("{at}/matchExpressions/0"), &["values"]);
}

fn network(suite: &mut Suite, at: &str) {
    let longest = "2001:0db8:0000:0000:0000:0000:0000:0000/128";
    for network in ["0.0.0.0/0", "10.1.2.3/8", "192.0.2.1/32", "::/0", "2001:db8::1/64", longest] {
        suite.good(at, json!(network));
    }
    for other in
        ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.300/24", "10.0.0/24", "2001:db8::/129", "example.com/24"]
    {
        suite.breaks_rule(at, "isCIDR(self)", at, json!(other));
    }
    suite.bad(at, json!(format!("{longest}0")), &["maxLength"]);
}

fn conditions(suite: &mut Suite) {
    suite.required("/status", &["conditions"]);
    suite.good("/status/conditions", json!([]));
    suite.distinct("/status/conditions");
    let at = |field: &str| format!("/status/conditions/0/{field}");
    let condition = "/status/conditions/0";
    suite.required(condition, &["type", "status", "reason", "message", "lastTransitionTime"]);
    suite.optional(condition, &["observedGeneration"]);
    suite.word(&at("status"), &["True", "False", "Unknown"]);
    suite.text(&at("message"), 32_768);
    suite.good(&at("observedGeneration"), json!(0));
    suite.bad(&at("observedGeneration"), json!(-1), &["minimum"]);
    suite.date(&at("lastTransitionTime"));
    suite.pattern(&at("reason"), &["A", "No_1:a,b"], &["1st", "has space", "ends:"]);
    suite.good(&at("reason"), json!("x".repeat(1024)));
    suite.bad(&at("reason"), json!("x".repeat(1025)), &["maxLength"]);
    suite.bad(&at("reason"), json!(""), &["minLength", "pattern"]);
    suite.pattern(
        &at("type"),
        &["Accepted", "example.com/Ready-In_Zone.a", "a"],
        &["", "has space", "Example.com/Ready", "-a"],
    );
    suite.good(&at("type"), json!("x".repeat(316)));
    suite.bad(&at("type"), json!("x".repeat(317)), &["maxLength"]);
}

/// Ports of v1alpha1.
fn ports(suite: &mut Suite, rule: &str) {
    let at = |index: usize| format!("{rule}/ports/{index}");
    let port = json!({"protocol": "TCP", "port": 80});
    let range = json!({"protocol": "TCP", "start": 1, "end": 2});
    suite.one_of(&at(0), "portRange", range);
    suite.one_of(&at(1), "namedPort", json!("http"));
    suite.one_of(&at(2), "portNumber", port);
    suite.integer(&(at(0) + "/portNumber/port"), 1, 65_535);
    suite.required(&(at(0) + "/portNumber"), &["port"]);
    // Its absence is no fault: the API server fills it in.
    suite.optional(&(at(0) + "/portNumber"), &["protocol"]);
    suite.integer(&(at(1) + "/portRange/start"), 1, 65_535);
    suite.integer(&(at(1) + "/portRange/end"), 1, 65_535);
    suite.required(&(at(1) + "/portRange"), &["start", "end"]);
    suite.optional(&(at(1) + "/portRange"), &["protocol"]);
}

/// Protocols of v1alpha2.
fn protocols(suite: &mut Suite, rule: &str) {
    let protocols = format!("{rule}/protocols");
    suite.one_of(&format!("{protocols}/6"), "tcp", json!({"destinationPort": {"number": 1}}));
    for (index, protocol) in ["tcp", "udp", "sctp"].iter().enumerate() {
        let number = format!("{protocols}/{}", 2 * index);
        suite.one_of(&number, "destinationNamedPort", json!("http"));
        suite.bad(&format!("{number}/{protocol}"), json!({}), &["minProperties"]);
        let port = format!("{number}/{protocol}/destinationPort");
        suite.one_of(&port, "range", json!({"start": 1, "end": 2}));
        suite.integer(&format!("{port}/number"), 1, 65_535);
        let range = format!("{protocols}/{}/{protocol}/destinationPort/range", 2 * index + 1);
        suite.required(&range, &["start", "end"]);
        suite.good(&range, json!({"start": 1, "end": 65_535}));
        suite.good(&range, json!({"start": 65_534, "end": 65_535}));
        suite.bad(&format!("{range}/start"), json!(0), &["minimum"]);
        suite.bad(&format!("{range}/start"), json!(65_536), &["maximum"]);
        suite.bad(&format!("{range}/end"), json!(0), &["minimum"]);
        suite.bad(&format!("{range}/end"), json!(65_536), &["maximum"]);
        for (start, end) in [(80, 80), (81, 80), (65_535, 1)] {
            suite.breaks_rule(&range, "self.start < self.end", &range, json!({"start": start, "end": end}));
        }
    }
}

#[test]
fn admin_network_policies() {
    let mut suite = Suite::new("AdminNetworkPolicy", ADMIN);
    V1ALPHA1.policy(&mut suite);
    suite.required("/spec", &["priority"]);
    suite.integer("/spec/priority", 0, 1000);
    ports(&mut suite, "/spec/ingress/0");
    ports(&mut suite, "/spec/egress/0");
    suite.check();
}

#[test]
fn baseline_admin_network_policies() {
    let mut suite = Suite::new("BaselineAdminNetworkPolicy", BASELINE);
    V1ALPHA1_BASELINE.policy(&mut suite);
    suite.breaks_rule("", "self.metadata.name == 'default'", "/metadata/name", json!("Default"));
    ports(&mut suite, "/spec/ingress/0");
    ports(&mut suite, "/spec/egress/0");
    suite.check();
}

#[test]
fn cluster_network_policies() {
    let mut suite = Suite::new("ClusterNetworkPolicy", CLUSTER);
    V1ALPHA2.policy(&mut suite);
    suite.required("/spec", &["tier", "priority"]);
    suite.word("/spec/tier", &["Admin", "Baseline"]);
    suite.integer("/spec/priority", 0, 1000);
    protocols(&mut suite, "/spec/ingress/0");
    protocols(&mut suite, "/spec/egress/0");
    suite.check();
}

#[test]
fn conformance_reports() {
    let mut suite = Suite::new("ConformanceReport", REPORT);
    suite.required("", &["metadata", "date", "implementation", "networkPolicyV2APIVersion", "profiles"]);
    suite.date("/date");
    suite.some_text("/networkPolicyV2APIVersion");
    let implementation = ["organization", "project", "url", "version", "additionalInformation"];
    suite.required("/implementation", &implementation);
    suite.optional("/implementation", &["contact"]);
    for field in implementation {
        suite.some_text(&format!("/implementation/{field}"));
    }
    suite.list("/profiles", 1, None, |index| {
        let statistics = json!({"Passed": 0, "Skipped": 0, "Failed": 0});
        json!({
            "name": index.to_string(),
            "standard": {"result": "success", "summary": "", "statistics": statistics},
        })
    });
    suite.distinct("/profiles");
    suite.required("/profiles/0", &["name", "standard"]);
    suite.optional("/profiles/0", &["experimental"]);
    suite.some_text("/profiles/0/name");
    for level in ["standard", "experimental"] {
        let at = format!("/profiles/0/{level}");
        suite.required(&at, &["result", "summary", "statistics"]);
        suite.optional(&at, &["skippedTests", "failedTests"]);
        suite.word(&format!("{at}/result"), &["success", "partial", "failure"]);
        suite.good(&format!("{at}/summary"), json!(""));
        suite.required(&format!("{at}/statistics"), &["Passed", "Skipped", "Failed"]);
        for count in ["Passed", "Skipped", "Failed"] {
            suite.integer(&format!("{at}/statistics/{count}"), 0, u32::MAX.into());
        }
    }
    suite.optional("/profiles/0/experimental", &["supportedFeatures", "unsupportedFeatures"]);
    suite.check();
}

#[test]
fn what_is_left_out_is_filled_in() {
    let judge = Judge::of("AdminNetworkPolicy");
    let [mut object, _] = documents(ADMIN).try_into().expect("two objects");
    for pointer in ["/spec/ingress/0/ports/0/portNumber", "/spec/egress/0/ports/1/portRange"] {
        let port = object.pointer_mut(pointer).and_then(Value::as_object_mut).expect("a port");
        assert!(port.remove("protocol").is_some(), "{pointer}");
        let defaulted = judge.defaulted(&object);
        assert_eq!(defaulted.pointer(pointer).expect("the same port")["protocol"], "TCP");
        // The Rust types fill in the same.
        assert_eq!(typed::through(&object).expect("a policy"), defaulted);
    }
    let judge = Judge::of("ConformanceReport");
    let [mut report] = documents(REPORT).try_into().expect("one object");
    let implementation = report["implementation"].as_object_mut().expect("an object");
    assert!(implementation.remove("contact").is_some());
    assert_eq!(judge.defaulted(&report)["implementation"]["contact"], json!([]));
    assert_eq!(typed::through(&report).expect("a report"), judge.defaulted(&report));
}
