//! The skeleton as it is: its commands against a committed listing, and what it does with packets that are no
//! matter of policy.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::Arc;

use common::{address, key};
use palisade_ruleset::kernel::{CtState, FakeKernel, Hook, TracePacket, Verdict};
use palisade_ruleset::{End, Numbers, Planner, Transaction, judge, skeleton};
use palisade_view::{
    Function, FunctionBuilder, Intervals, L4, Local, NodeView, Operation, Packet, Profile, Program, Protocol,
};

/// Set this variable to write the listing anew after a change that is meant.
const BLESS: &str = "PALISADE_BLESS";

#[test]
fn the_skeleton_is_the_committed_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/skeleton.jsonl");
    let mut listing = String::new();
    for op in skeleton::build().ops() {
        let mut command = Transaction::default();
        command.push(op.clone());
        let text = command.to_json();
        let body = text.strip_prefix(r#"{"nftables":["#).and_then(|text| text.strip_suffix("]}")).unwrap();
        listing.push_str(body);
        listing.push('\n');
    }
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(path, &listing).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    for (number, (now, then)) in listing.lines().zip(committed.lines()).enumerate() {
        assert_eq!(now, then, "line {}; {BLESS}=1 writes the listing anew", number + 1);
    }
    assert_eq!(listing.lines().count(), committed.lines().count());
}

const POD: &str = "fd00::1";
const POD4: &str = "10.0.0.1";
const PEER: &str = "fd00::2";

fn tcp(port: u16) -> Program {
    Program::ports(Protocol::Tcp, Intervals::range(port, port))
}

/// A table whose only pod may do nothing but what the exempt program says.
fn kernel(egress: bool, ingress: bool, exempt: &Program) -> (NodeView, FakeKernel) {
    let function = |program: &Program| FunctionBuilder::new(program.clone(), program.clone()).build();
    let profile = Arc::new(Profile::new(function(&Program::NONE), function(exempt)));
    let local = Local {
        identity: key("own"),
        egress: egress.then(|| profile.key()),
        ingress: ingress.then(|| profile.key()),
    };
    let mut view = NodeView::default();
    view.apply(&Operation::PutProfile(profile)).unwrap();
    for pod in [POD, POD4] {
        view.apply(&Operation::PutLocal(address(pod), local)).unwrap();
    }
    let mut kernel = FakeKernel::new();
    kernel.apply(&Planner::new(Numbers::default()).load(&view).unwrap()).unwrap();
    (view, kernel)
}

fn locked() -> FakeKernel {
    kernel(true, true, &Program::NONE).1
}

fn packet(source: &str, destination: &str, l4: L4) -> TracePacket {
    TracePacket::new(Packet { source: address(source), destination: address(destination), l4 })
}

fn accepts(kernel: &FakeKernel, hook: Hook, packet: &TracePacket) -> bool {
    kernel.trace(hook, packet).verdict == Verdict::Accept
}

#[test]
fn what_links_need_passes_from_the_link_only() {
    let kernel = locked();
    let icmp6 = |destination, icmp6_type, hop_limit| TracePacket {
        icmp6_type,
        hop_limit,
        ..packet(POD, destination, L4::Other(58))
    };
    for hook in [Hook::Forward, Hook::Input] {
        for kind in 133..=137 {
            assert!(accepts(&kernel, hook, &icmp6(PEER, kind, 255)), "{kind}");
            assert!(!accepts(&kernel, hook, &icmp6(PEER, kind, 254)), "{kind} came through a router");
        }
        for kind in [130, 131, 132, 143] {
            assert!(accepts(&kernel, hook, &icmp6("ff02::16", kind, 1)), "{kind}");
            assert!(!accepts(&kernel, hook, &icmp6("ff02::16", kind, 2)), "{kind} is meant to go further");
            assert!(!accepts(&kernel, hook, &icmp6(PEER, kind, 1)), "{kind} is for one host");
        }
        assert!(!accepts(&kernel, hook, &icmp6(PEER, 128, 255)), "an echo request");
    }
    let disguised =
        TracePacket { icmp6_type: 135, hop_limit: 255, ..packet(POD4, "10.0.0.2", L4::Other(58)) };
    assert!(!accepts(&kernel, Hook::Forward, &disguised), "IPv4 has no neighbour discovery");
    assert!(!accepts(&kernel, Hook::Input, &disguised));
}

#[test]
fn only_flows_already_judged_and_their_errors_pass_unjudged() {
    let kernel = locked();
    let state = |ct_state, l4| TracePacket { ct_state, ..packet(POD, PEER, l4) };
    let tcp = L4::Port(Protocol::Tcp, 80);
    for hook in [Hook::Forward, Hook::Input] {
        assert!(accepts(&kernel, hook, &state(CtState::Established, tcp)));
        assert!(accepts(&kernel, hook, &state(CtState::Related, L4::Other(58))));
        for ct_state in [CtState::New, CtState::Related, CtState::Untracked, CtState::Invalid] {
            assert!(!accepts(&kernel, hook, &state(ct_state, tcp)), "{ct_state:?}");
        }
    }
}

#[test]
fn the_own_node_is_judged_by_the_exempt_function_and_never_judges_its_own() {
    let (_, kernel) = kernel(true, true, &tcp(53));
    let to = |source, port| packet(source, PEER, L4::Port(Protocol::Tcp, port));
    assert!(accepts(&kernel, Hook::Input, &to(POD, 53)));
    assert!(!accepts(&kernel, Hook::Input, &to(POD, 54)));
    assert!(!accepts(&kernel, Hook::Forward, &to(POD, 53)));
    assert!(accepts(&kernel, Hook::Input, &to(PEER, 54)), "no pod of ours");
    assert!(accepts(&kernel, Hook::Input, &TracePacket { loopback: true, ..to(POD, 54) }));
    assert!(accepts(&kernel, Hook::Output, &packet(PEER, POD, L4::Port(Protocol::Tcp, 54))));
}

#[test]
fn hairpin_is_judged_by_its_own_program_whatever_directions_are_restricted() {
    for (egress, ingress) in [(true, true), (true, false), (false, true)] {
        let (view, kernel) = kernel(egress, ingress, &tcp(80));
        for (port, expected) in [(80, true), (81, false)] {
            for pod in [POD, POD4] {
                let packet = packet(pod, pod, L4::Port(Protocol::Tcp, port));
                assert_eq!(view.forwards(&packet.packet), expected);
                let trace = kernel.trace(Hook::Forward, &packet);
                assert_eq!(trace.verdict == Verdict::Accept, expected, "{egress} {ingress} {port}");
                let judged = trace.steps.iter().filter(|step| step.chain == "hairpin_program").count();
                assert_eq!(judged, 1, "judged once");
                assert!(trace.steps.iter().all(|step| !step.chain.contains("default")));
            }
        }
    }
}

/// Two nodes with a pod each; the first pod may leave to port 80, the second one takes port 80 and 81.
#[test]
fn a_flow_needs_every_node_on_its_way() {
    let node = |pod: &str, egress: Function, ingress: Function| {
        let own = FunctionBuilder::new(tcp(53), tcp(53)).build();
        let profiles = [Profile::new(egress, own.clone()), Profile::new(ingress, own)].map(Arc::new);
        let mut view = NodeView::default();
        let local =
            Local { identity: key("own"), egress: Some(profiles[0].key()), ingress: Some(profiles[1].key()) };
        view.apply(&Operation::PutLocal(address(pod), local)).unwrap();
        for profile in profiles {
            view.apply(&Operation::PutProfile(profile)).unwrap();
        }
        let mut kernel = FakeKernel::new();
        kernel.apply(&Planner::new(Numbers::default()).load(&view).unwrap()).unwrap();
        kernel
    };
    let only = |program: Program| FunctionBuilder::new(program.clone(), program).build();
    let (a, b) = ("10.0.1.1", "10.0.2.1");
    let first = node(a, only(tcp(80)), only(Program::NONE));
    let second = node(b, only(Program::NONE), only(tcp(80).union(&tcp(81))));
    let allows = |from, to, source, destination, port| {
        judge(from, to, &packet(source, destination, L4::Port(Protocol::Tcp, port))).allows()
    };
    let (node_a, world) = ("172.18.0.11", "192.0.2.10");

    assert!(allows(End::Pod(&first), End::Pod(&second), a, b, 80));
    assert!(!allows(End::Pod(&first), End::Pod(&second), a, b, 81), "it may not leave");
    assert!(!allows(End::Pod(&second), End::Pod(&first), b, a, 80));
    assert!(allows(End::World, End::Pod(&second), world, b, 81));
    assert!(!allows(End::World, End::Pod(&second), world, b, 82));
    assert!(allows(End::Pod(&first), End::World, a, world, 80));
    assert!(allows(End::Pod(&first), End::Node(&first), a, node_a, 53), "the own node");
    assert!(!allows(End::Pod(&first), End::Node(&first), a, node_a, 80));
    assert!(!allows(End::Pod(&first), End::Node(&second), a, "172.18.0.12", 53), "another node");
    assert!(allows(End::Pod(&first), End::Node(&second), a, "172.18.0.12", 80));
    assert!(allows(End::Node(&first), End::Pod(&first), node_a, a, 9), "from the own node");
    assert!(!allows(End::Node(&first), End::Pod(&second), node_a, b, 9), "from another node");
    assert!(allows(End::Node(&first), End::Pod(&second), node_a, b, 81));
    let judged = judge(End::Pod(&first), End::Pod(&second), &packet(a, b, L4::Other(1)));
    assert_eq!(judged.traces.len(), 1, "what is dropped goes no further");
}
