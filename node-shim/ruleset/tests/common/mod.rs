//! Small random views over a universe in which everything overlaps, and what a kernel must make of them.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "every test binary uses a part of it")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use palisade_ruleset::kernel::{FakeKernel, Hook, TracePacket, Verdict};
use palisade_view::{
    Function, FunctionBuilder, Intervals, Key, KeyHasher, L4, Local, NodeView, Operation, Packet, Profile,
    Program, Protocol,
};
use proptest::prelude::*;

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn key(name: &str) -> Key {
    KeyHasher::new("test").str(name).finish()
}

pub fn identity(number: usize) -> Key {
    key(&format!("identity {number}"))
}

/// The sets that say what programs allow.
pub const PROGRAMS: [&str; 6] =
    ["allow_all", "allow_port", "allow_range_tcp", "allow_range_udp", "allow_range_sctp", "allow_other"];

/// Addresses of both families, by number: pods, then strangers.
pub const ADDRESSES: [&str; 16] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.6",
    "10.0.1.1",
    "192.0.2.10",
    "128.0.0.0",
    "255.255.255.255",
    "fd00::1",
    "fd00::2",
    "fd00::3",
    "fd00::6",
    "fd00:0:0:1::1",
    "2001:db8::10",
    "8000::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

const NETWORKS: [&str; 16] = [
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.0/30",
    "10.0.0.2/32",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "255.255.255.255/32",
    "255.255.255.254/31",
    "fd00::/8",
    "fd00::/64",
    "fd00::/126",
    "fd00::2/128",
    "::/1",
    "8000::/1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
];

pub fn programs() -> Vec<Program> {
    let tcp = |start, end| Program::ports(Protocol::Tcp, Intervals::range(start, end));
    let all = Program::all();
    vec![
        Program::NONE,
        all.clone(),
        tcp(80, 80),
        tcp(80, 90).union(&Program::ports(Protocol::Udp, Intervals::range(53, 53))),
        Program { other: true, ..Program::NONE },
        all.difference(&tcp(80, 80)),
        Program { other: false, ..all },
        Program::ports(Protocol::Sctp, Intervals::from_ranges([(0, 0), (79, 80), (65_535, 65_535)])),
    ]
}

fn function() -> impl Strategy<Value = Function> {
    let cell = 0..programs().len();
    (
        [cell.clone(), cell.clone()],
        prop::collection::btree_map(0_usize..5, cell.clone(), 0..4),
        prop::collection::btree_map(0..NETWORKS.len(), cell, 0..5),
    )
        .prop_map(|(defaults, identities, networks)| {
            let programs = programs();
            let mut builder =
                FunctionBuilder::new(programs[defaults[0]].clone(), programs[defaults[1]].clone());
            for (number, program) in identities {
                builder = builder.identity(identity(number), programs[program].clone());
            }
            for (number, program) in networks {
                let network: IpNet = NETWORKS[number].parse().unwrap();
                builder = builder.network(network, programs[program].clone()).unwrap();
            }
            builder.build()
        })
}

fn profile() -> impl Strategy<Value = Profile> {
    (function(), prop::option::of(function()))
        .prop_map(|(main, exempt)| Profile::new(main.clone(), exempt.unwrap_or(main)))
}

/// A pool of profiles that the views of a sequence choose from, so that they share some.
pub fn pool() -> impl Strategy<Value = Vec<Arc<Profile>>> {
    prop::collection::vec(profile().prop_map(Arc::new), 4)
}

/// Which profile, if any, and which identity.
type LocalChoice = (usize, Option<usize>, Option<usize>);

#[derive(Clone, Debug)]
pub struct ViewChoice {
    locals: BTreeMap<usize, LocalChoice>,
    members: BTreeMap<usize, usize>,
}

pub fn choice() -> impl Strategy<Value = ViewChoice> {
    let profile = || prop::option::weighted(0.7, 0_usize..4);
    let local = (0_usize..5, profile(), profile());
    (
        prop::collection::btree_map(0..ADDRESSES.len(), local, 0..6),
        prop::collection::btree_map(0..ADDRESSES.len(), 0_usize..5, 0..12),
    )
        .prop_map(|(locals, members)| ViewChoice { locals, members })
}

/// A sequence of views, some of them small steps from the one before.
pub fn choices() -> impl Strategy<Value = Vec<ViewChoice>> {
    (choice(), prop::collection::vec((choice(), 0_usize..6, any::<prop::sample::Index>()), 1..6)).prop_map(
        |(first, steps)| {
            let mut views = vec![first];
            for (fresh, kind, index) in steps {
                let mut next = views[views.len() - 1].clone();
                match kind {
                    0 => next = fresh,
                    1 => next.members = fresh.members,
                    2 => next.locals = fresh.locals,
                    // One address more or moved.
                    3 => {
                        let number = index.index(ADDRESSES.len());
                        next.members
                            .insert(number, fresh.members.get(&number).copied().unwrap_or(number % 5));
                    }
                    4 => drop(next.members.pop_first()),
                    _ => drop(next.locals.pop_last()),
                }
                views.push(next);
            }
            views
        },
    )
}

pub fn view(pool: &[Arc<Profile>], choice: &ViewChoice) -> NodeView {
    let mut used: BTreeMap<Key, Arc<Profile>> = BTreeMap::new();
    let mut operations = Vec::new();
    let mut pick = |number: Option<usize>| {
        number.map(|number| {
            used.insert(pool[number].key(), Arc::clone(&pool[number]));
            pool[number].key()
        })
    };
    for (&number, &(own, egress, ingress)) in &choice.locals {
        // A pod's own identity is the one it is a member of, where it is one.
        let own = choice.members.get(&number).copied().unwrap_or(own);
        let local = Local { identity: identity(own), egress: pick(egress), ingress: pick(ingress) };
        operations.push(Operation::PutLocal(address(ADDRESSES[number]), local));
    }
    for (&number, &member) in &choice.members {
        operations.push(Operation::AddMembers(identity(member), vec![address(ADDRESSES[number])]));
    }
    operations.extend(used.into_values().map(Operation::PutProfile));
    let mut view = NodeView::default();
    view.apply_all(&operations).unwrap();
    view.check().unwrap();
    view
}

pub fn l4() -> impl Strategy<Value = L4> {
    let port = prop::sample::select(vec![0_u16, 53, 79, 80, 81, 90, 91, 65_535]);
    prop_oneof![
        4 => (prop::sample::select(Protocol::ALL.to_vec()), port)
            .prop_map(|(protocol, port)| L4::Port(protocol, port)),
        1 => prop::sample::select(vec![1_u8, 58, 50, 253]).prop_map(L4::Other),
    ]
}

/// Packets that open a flow, with any scratch value; identifiers of ours are the most tempting ones.
pub fn packet() -> impl Strategy<Value = TracePacket> {
    let end = 0..ADDRESSES.len() / 2;
    let scratch = prop_oneof![Just(0), 0_u32..8, 0x1_0000_u32..0x1_0030, any::<u32>()];
    (any::<bool>(), end.clone(), end, l4(), scratch, prop::option::of(prop::sample::select(vec![53_u16, 80])))
        .prop_map(|(v6, source, destination, l4, scratch, transport_word)| {
            let base = if v6 { ADDRESSES.len() / 2 } else { 0 };
            let packet = Packet {
                source: address(ADDRESSES[base + source]),
                destination: address(ADDRESSES[base + destination]),
                l4,
            };
            TracePacket { transport_word, ..TracePacket::new(packet).with_scratch(scratch) }
        })
}

/// The kernel does what the view says at both hooks, and leaks no identifier of ours.
pub fn agree(view: &NodeView, kernel: &FakeKernel, packet: &TracePacket) -> Result<(), TestCaseError> {
    for (hook, expected) in
        [(Hook::Forward, view.forwards(&packet.packet)), (Hook::Input, view.delivers(&packet.packet))]
    {
        let trace = kernel.trace(hook, packet);
        let steps: Vec<String> = trace.steps.iter().map(ToString::to_string).collect();
        prop_assert_eq!(
            trace.verdict == Verdict::Accept,
            expected,
            "{:?} {} scratch {:x}: {}",
            hook,
            packet.packet,
            packet.scratch,
            steps.join(", ")
        );
        if trace.verdict == Verdict::Accept {
            prop_assert!(
                trace.scratch == 0 || trace.scratch == packet.scratch,
                "left with {:x}",
                trace.scratch
            );
        }
    }
    Ok(())
}
