//! Views: lookup, judgement, difference and root.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::IpAddr;
use std::sync::Arc;

use palisade_view::{
    Function, FunctionBuilder, FunctionError, Intervals, Key, KeyHasher, L4, Local, NodeView, Operation,
    Packet, Profile, Program, Protocol, Root, ViewError,
};
use proptest::prelude::*;

fn key(n: u8) -> Key {
    KeyHasher::new("test").u64(n.into()).finish()
}

fn tcp(port: u16) -> Program {
    Program::ports(Protocol::Tcp, Intervals::range(port, port))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn profile(port: u16) -> Arc<Profile> {
    let function = FunctionBuilder::new(tcp(port), Program::NONE).build();
    Arc::new(Profile::new(function.clone(), function))
}

#[test]
fn lookup_goes_by_identity_then_by_longest_network_then_by_family() {
    let network = |text: &str| text.parse().expect("a network");
    let function = FunctionBuilder::new(tcp(1), tcp(6))
        .identity(key(1), tcp(2))
        .masked(network("10.0.0.0/8"), tcp(3))
        .masked(network("10.1.0.0/16"), tcp(4))
        .masked(network("fd00::/16"), tcp(5))
        .build();
    let at = |identity, address| function.lookup(identity, ip(address)).clone();
    assert_eq!(at(Some(key(1)), "10.1.2.3"), tcp(2));
    assert_eq!(at(Some(key(9)), "10.1.2.3"), tcp(4));
    assert_eq!(at(None, "10.2.2.3"), tcp(3));
    assert_eq!(at(None, "192.0.2.1"), tcp(1));
    assert_eq!(at(None, "fd00::1"), tcp(5));
    assert_eq!(at(None, "2001:db8::1"), tcp(6));
    assert_eq!(function.networks().len(), 3);
}

#[test]
fn a_function_is_its_content_however_it_was_built() {
    let network = "10.0.0.0/8".parse().expect("a network");
    let one = FunctionBuilder::new(tcp(1), tcp(2)).identity(key(1), tcp(3)).masked(network, tcp(4)).build();
    let other = FunctionBuilder::new(tcp(1), tcp(2)).masked(network, tcp(4)).identity(key(1), tcp(3)).build();
    assert_eq!(one, other);
    let key_of = |main: &Function, exempt: &Function| Profile::new(main.clone(), exempt.clone()).key();
    assert_eq!(key_of(&one, &one), key_of(&other, &other));
    assert_ne!(key_of(&one, &one), key_of(&one, &Function::allow_all()));
    assert!(!Profile::new(one.clone(), other).has_exempt());
}

#[test]
fn networks_that_are_no_cells_are_refused() {
    let builder = || FunctionBuilder::new(tcp(1), tcp(2));
    let (all, bits) = ("0.0.0.0/0".parse().expect("a network"), "10.0.0.1/8".parse().expect("a network"));
    assert_eq!(builder().network(all, tcp(3)).map(|_| ()), Err(FunctionError::NetworkIsDefault(all)));
    assert_eq!(builder().network(bits, tcp(3)).map(|_| ()), Err(FunctionError::HostBits(bits)));
}

#[test]
fn both_directions_must_permit_and_hairpin_is_judged_by_the_exempt_functions() {
    let (web, db) = (ip("10.0.0.1"), ip("10.0.0.2"));
    let out =
        FunctionBuilder::new(Program::NONE, Program::NONE).identity(key(2), tcp(80).union(&tcp(81))).build();
    let out_exempt = FunctionBuilder::new(tcp(90).union(&tcp(91)), Program::NONE).build();
    let out = Arc::new(Profile::new(out, out_exempt));
    let into = FunctionBuilder::new(tcp(81).union(&tcp(82)), Program::NONE).build();
    let into = Arc::new(Profile::new(into, FunctionBuilder::new(tcp(91), tcp(91)).build()));
    let mut view = NodeView::default();
    view.apply_all(&[
        Operation::PutLocal(
            web,
            Local { identity: key(1), egress: Some(out.key()), ingress: Some(into.key()) },
        ),
        Operation::PutLocal(db, Local { identity: key(2), egress: None, ingress: Some(into.key()) }),
        Operation::AddMembers(key(2), vec![db]),
        Operation::PutProfile(out),
        Operation::PutProfile(into),
    ])
    .expect("fits");
    let packet =
        |source, destination, port| Packet { source, destination, l4: L4::Port(Protocol::Tcp, port) };
    let forwarded = |source, destination| {
        (80..=91).filter(|&port| view.forwards(&packet(source, destination, port))).collect::<Vec<_>>()
    };
    assert_eq!(forwarded(web, db), [81]);
    assert_eq!(forwarded(db, web), [81, 82]);
    assert_eq!(forwarded(web, web), [91]);
    assert_eq!(forwarded(web, ip("10.0.0.9")), [] as [u16; 0]);
    assert_eq!(forwarded(ip("10.0.0.9"), ip("10.0.0.8")).len(), 12);
    assert!(view.delivers(&packet(web, ip("192.0.2.1"), 90)));
    assert!(!view.delivers(&packet(web, ip("192.0.2.1"), 80)));
    assert!(view.delivers(&packet(db, ip("192.0.2.1"), 80)));
}

#[test]
fn operations_that_do_not_fit_are_named() {
    let address = ip("10.0.0.1");
    let check = |operations: &[Operation]| NodeView::default().apply_all(operations);
    let put = || Operation::PutProfile(profile(80));
    let held = profile(80).key();
    assert_eq!(check(&[put(), put()]), Err((1, ViewError::ProfileHeld(held))));
    assert_eq!(check(&[Operation::RemoveProfile(held)]), Err((0, ViewError::ProfileMissing(held))));
    assert_eq!(
        check(&[Operation::AddMembers(key(1), vec![address]), Operation::AddMembers(key(2), vec![address])]),
        Err((1, ViewError::AddressTaken { address, holder: key(1) }))
    );
    assert_eq!(
        check(&[Operation::RemoveMembers(key(1), vec![address])]),
        Err((0, ViewError::NotAMember { address, identity: key(1) }))
    );
    assert_eq!(check(&[Operation::RemoveLocal(address)]), Err((0, ViewError::LocalMissing(address))));

    let mut view = NodeView::default();
    let local = Local { identity: key(1), egress: Some(held), ingress: None };
    view.apply(&Operation::PutLocal(address, local)).expect("fits");
    assert_eq!(view.check(), Err(ViewError::DanglingProfile { address, profile: held }));
}

fn view() -> impl Strategy<Value = NodeView> {
    let member = (0..6_u8, 0..4_u8);
    let local = (0..6_u8, 0..3_u16, prop::option::of(0..3_u16));
    (prop::collection::vec(member, 0..6), prop::collection::vec(local, 0..6)).prop_map(|(members, locals)| {
        let mut view = NodeView::default();
        let address = |n: u8| ip(&format!("10.0.0.{n}"));
        for (n, identity) in members {
            let _ = view.apply(&Operation::AddMembers(key(identity), vec![address(n)]));
        }
        for (n, egress, ingress) in locals {
            for port in [Some(egress), ingress].into_iter().flatten() {
                if !view.profiles().contains_key(&profile(port).key()) {
                    view.apply(&Operation::PutProfile(profile(port))).expect("not held");
                }
            }
            let of = |port| profile(port).key();
            let local = Local { identity: key(n), egress: Some(of(egress)), ingress: ingress.map(of) };
            view.apply(&Operation::PutLocal(address(n), local)).expect("fits");
        }
        view
    })
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_view_to_the_other(from in view(), to in view()) {
        let mut walked = from.clone();
        walked.apply_all(&from.diff(&to)).expect("fits");
        prop_assert_eq!(&walked, &to);
        prop_assert_eq!(walked.root(), to.root());
        prop_assert_eq!(from.root() == to.root(), from == to);
        prop_assert!(to.diff(&to).is_empty());
        let mut emptied = to.clone();
        emptied.apply_all(&to.diff(&NodeView::default())).expect("fits");
        prop_assert!(emptied.is_empty());
        prop_assert_eq!(emptied.root(), Root::EMPTY);
    }
}
