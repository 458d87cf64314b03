//! That damage never widens: which packets of the sample cluster a policy lets through, whole and damaged.

use std::net::IpAddr;
use std::sync::LazyLock;

use palisade_compiler::diagnostic::Severity;
use palisade_compiler::intake::{Decoded, decode};
use palisade_compiler::model::{Action, Cluster, Event, Object, Policy};
use palisade_compiler::oracle::{self, Flow};
use palisade_view::{L4, Protocol};
use serde_json::Value;

use crate::samples;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let mut cluster = Cluster::default();
    for raw in samples::cluster() {
        let model = decode(&raw).expect("a known kind").model;
        cluster.apply(Event::Apply(model.expect("a good object")));
    }
    cluster
});

static FLOWS: LazyLock<Vec<Flow>> = LazyLock::new(|| {
    const ENDS: [&str; 11] = [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "192.0.2.1",
        "203.0.113.1",
        "203.0.113.9",
        "198.51.100.1",
        "fd00::1",
        "fd00::2",
        "fd00::3",
        "2001:db8:1::1",
    ];
    let transports = [
        L4::Port(Protocol::Tcp, 80),
        L4::Port(Protocol::Tcp, 81),
        L4::Port(Protocol::Udp, 53),
        L4::Port(Protocol::Sctp, 80),
        L4::Other(1),
    ];
    let ends: Vec<IpAddr> = ENDS.iter().map(|end| end.parse().expect("an address")).collect();
    let mut flows = Vec::new();
    for &source in &ends {
        for &destination in ends.iter().filter(|end| end.is_ipv4() == source.is_ipv4()) {
            flows.extend(transports.iter().map(|&l4| Flow {
                source,
                destination,
                l4,
                source_node: None,
                destination_node: None,
            }));
        }
    }
    flows
});

fn allowed(policy: Option<&Policy>) -> Vec<bool> {
    let mut cluster = CLUSTER.clone();
    if let Some(policy) = policy {
        cluster.apply(Event::Apply(Object::Policy(policy.clone())));
    }
    FLOWS.iter().map(|flow| oracle::judge(&cluster, flow).allowed()).collect()
}

/// A good policy with damage in one place inside of a rule: if intake finds fault with it, no packet passes that did
/// not pass before. The damaged rule is refused as a whole (an Allow then matches nothing, a Deny or Pass denies
/// everything), or the fault is one that decides nothing.
pub(crate) fn damaged_rule(good: &Value, damaged: &Decoded) {
    let in_rules = |field: &str| field.starts_with("spec.ingress") || field.starts_with("spec.egress");
    let fault = damaged
        .diagnostics
        .iter()
        .find(|finding| finding.severity > Severity::Warning && in_rules(&finding.field));
    let Some(fault) = fault else { return };
    let good = decode(good).expect("a known kind");
    assert!(good.diagnostics.is_empty(), "{:?}", good.diagnostics);
    let (Some(Object::Policy(good)), Some(Object::Policy(damaged))) = (good.model, &damaged.model) else {
        panic!("policies always have a model");
    };
    let pairs = allowed(Some(&good)).into_iter().zip(allowed(Some(damaged)));
    for (flow, (before, after)) in FLOWS.iter().zip(pairs) {
        assert!(before || !after, "{fault} lets {flow:?} pass: {damaged:#?}");
    }
}

/// A cluster-wide policy of nothing but Deny rules only ever takes away, whatever is done to it, as long as nobody
/// writes another action into it.
pub(crate) fn denials_only_take_away(raw: &Value, decoded: &Decoded) {
    let text = raw.to_string();
    if ["Allow", "Accept", "Pass"].iter().any(|action| text.contains(action)) {
        return;
    }
    let Some(Object::Policy(Policy::Admin(policy))) = &decoded.model else { return };
    for rule in policy.ingress.iter().chain(&policy.egress) {
        assert!(rule.action == Action::Deny || rule.peers.is_empty(), "{rule:?}");
    }
    let policy = Policy::Admin(policy.clone());
    for (flow, (without, with)) in FLOWS.iter().zip(allowed(None).into_iter().zip(allowed(Some(&policy)))) {
        assert!(without || !with, "{flow:?} passes by denials alone: {policy:#?}");
    }
}
