//! What a shim receives: parts of updates, put together, decoded and applied to what it holds. Nothing panics, nothing
//! grows beyond a multiple of what arrived, and what is taken says the same when it is sent again.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use palisade_node::collect::Collector;
use palisade_proto::{decode_operations, encode_operation, parts, v1};
use palisade_view::{
    Function, FunctionBuilder, Intervals, Key, KeyHasher, Local, NodeView, Operation, Profile, Program, Root,
};
use prost::Message;

use crate::generate::Choices;

/// The first byte says what the others are: a payload, messages, or choices of good operations and of damage to them.
pub(crate) fn wire(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    match choices.below(4) {
        0 => {
            if let Ok(operations) = decode_operations(choices.rest()) {
                taken(&operations, choices.rest().len());
            }
        }
        1 => messages(choices.rest()),
        2 => whole(&mut choices),
        _ => damaged(&mut choices),
    }
}

/// Messages with a byte of length before each.
fn messages(bytes: &[u8]) {
    let mut collector = Collector::new(0);
    let mut left = bytes;
    while let Some((&length, rest)) = left.split_first() {
        let (message, rest) = rest.split_at(rest.len().min(usize::from(length)));
        left = rest;
        let Ok(part) = v1::Update::decode(message) else { continue };
        match collector.push(&part) {
            Ok(Some(update)) => taken(&update.operations, bytes.len()),
            Ok(None) => {}
            Err(refusal) => {
                let nack = refusal.to_wire(&part.to_root);
                assert!(nack.message.len() <= 1024, "{} bytes of explanation", nack.message.len());
            }
        }
    }
}

/// Good operations come back as they were.
fn whole(choices: &mut Choices<'_>) {
    let operations = choices.some(0, 7, operation);
    let encoded: Vec<_> = operations.iter().map(encode_operation).collect();
    let mut collector = Collector::new(3);
    let mut update = None;
    for part in parts(3, None, Root::EMPTY, &encoded) {
        update = collector.push(&part).expect("a good part");
    }
    assert_eq!(update.expect("the last part").operations, operations);
    taken(&operations, encoded.iter().map(bytes::len).sum());
}

/// Damaged operations are refused or well-formed.
fn damaged(choices: &mut Choices<'_>) {
    let operations = choices.some(1, 4, operation);
    let mut payload: Vec<u8> =
        operations.iter().flat_map(|operation| encode_operation(operation).to_vec()).collect();
    for _ in 0..=choices.below(4) {
        let at = (usize::from(choices.byte()) << 8 | usize::from(choices.byte())) % payload.len().max(1);
        match choices.below(4) {
            0 => payload.truncate(at),
            1 => payload.insert(at, choices.byte()),
            _ => {
                if let Some(byte) = payload.get_mut(at) {
                    *byte ^= choices.byte();
                }
            }
        }
    }
    if let Ok(operations) = decode_operations(&payload) {
        taken(&operations, payload.len());
    }
}

mod bytes {
    /// How many there are.
    pub(super) fn len(bytes: &impl AsRef<[u8]>) -> usize {
        bytes.as_ref().len()
    }
}

/// What must hold of operations that were decoded out of so many bytes.
fn taken(operations: &[Operation], arrived: usize) {
    assert!(weight(operations) <= 64 * arrived + 1024, "{} bytes out of {arrived}", weight(operations));
    for operation in operations {
        let again = decode_operations(&encode_operation(operation));
        assert_eq!(again.as_deref().ok(), Some(std::slice::from_ref(operation)));
    }
    let mut view = NodeView::default();
    if view.apply_all(operations).is_err() {
        return;
    }
    // The root is the content's, whatever way led to it.
    let mut fresh = NodeView::default();
    fresh.apply_all(&NodeView::default().diff(&view)).expect("a difference fits");
    assert_eq!(fresh, view);
    fresh.apply_all(&view.diff(&NodeView::default())).expect("a difference fits");
    assert_eq!((fresh.root(), fresh.is_empty()), (Root::EMPTY, true));
    let _ = view.check();
    let ends: Vec<IpAddr> = view.locals().keys().chain(view.members().keys()).copied().take(8).collect();
    for &source in &ends {
        for &destination in &ends {
            let packet = palisade_view::Packet { source, destination, l4: palisade_view::L4::Other(1) };
            let _ = (view.forwards(&packet), view.delivers(&packet));
        }
    }
}

/// About the bytes of memory that operations hold.
fn weight(operations: &[Operation]) -> usize {
    let function = |function: &Function| {
        let programs = function.programs().iter();
        let ports = |program: &Program| {
            64 + 4 * [&program.tcp, &program.udp, &program.sctp]
                .map(|ports| ports.as_slice().len())
                .iter()
                .sum::<usize>()
        };
        programs.map(ports).sum::<usize>() + 20 * function.identities().len() + 24 * function.networks().len()
    };
    let of_one = |operation: &Operation| match operation {
        Operation::PutProfile(profile) => function(profile.main()) + function(profile.exempt()),
        Operation::AddMembers(_, addresses) | Operation::RemoveMembers(_, addresses) => 17 * addresses.len(),
        _ => 64,
    };
    operations.iter().map(|operation| 64 + of_one(operation)).sum()
}

fn key(choices: &mut Choices<'_>) -> Key {
    KeyHasher::new("fuzz").u64(choices.below(8) as u64).finish()
}

fn address(choices: &mut Choices<'_>) -> IpAddr {
    let last = choices.byte();
    match choices.below(4) {
        3 => IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
        n => IpAddr::from([10, 0, u8::try_from(n).expect("below 4"), last]),
    }
}

fn program(choices: &mut Choices<'_>) -> Program {
    let mut ports = || {
        Intervals::from_ranges(choices.some(0, 3, |choices| {
            let mut port = || u16::from(choices.byte()) << choices.below(9);
            (port(), port())
        }))
    };
    let (tcp, udp, sctp) = (ports(), ports(), ports());
    Program { tcp, udp, sctp, other: choices.chance(50) }
}

fn function(choices: &mut Choices<'_>) -> Function {
    let mut builder = FunctionBuilder::new(program(choices), program(choices));
    for _ in 0..choices.below(4) {
        builder = builder.identity(key(choices), program(choices));
    }
    for _ in 0..choices.below(4) {
        let address = address(choices);
        let length = choices.byte() % (if address.is_ipv4() { 33 } else { 129 });
        builder = builder.masked(IpNet::new(address, length).expect("a prefix"), program(choices));
    }
    builder.build()
}

fn operation(choices: &mut Choices<'_>) -> Operation {
    let optional_key = |choices: &mut Choices<'_>| choices.chance(50).then(|| key(choices));
    match choices.below(6) {
        0 => Operation::AddMembers(key(choices), choices.some(0, 3, address)),
        1 => Operation::RemoveMembers(key(choices), choices.some(0, 3, address)),
        2 => {
            let (identity, egress, ingress) = (key(choices), optional_key(choices), optional_key(choices));
            Operation::PutLocal(address(choices), Local { identity, egress, ingress })
        }
        3 => Operation::RemoveLocal(address(choices)),
        4 => Operation::RemoveProfile(key(choices)),
        _ => Operation::PutProfile(Arc::new(Profile::new(function(choices), function(choices)))),
    }
}
