//! Compiled form to wire.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use palisade_view::{Family, Function, Intervals, Operation, Profile, Program, Root};
use prost::Message;

use crate::{PART_BYTES, v1};

/// Encodes one operation such that concatenated encodings are an encoded [`v1::Operations`]: bytes that are the
/// same for many nodes are encoded once.
pub fn encode_operation(operation: &Operation) -> Bytes {
    let one = v1::Operations { operations: vec![v1::Operation { operation: Some(to_wire(operation)) }] };
    one.encode_to_vec().into()
}

/// The parts of one update, in order. Holds the payload once; parts are slices of it.
#[derive(Clone, Debug)]
pub struct Parts {
    term: u64,
    from: Option<Root>,
    to: Root,
    payload: Bytes,
    next: Option<u32>,
}

/// Splits an update into parts. `from: None` is a snapshot. An update without operations is one empty part.
pub fn parts<'a>(
    term: u64,
    from: Option<Root>,
    to: Root,
    operations: impl IntoIterator<Item = &'a Bytes>,
) -> Parts {
    let mut payload = BytesMut::new();
    for operation in operations {
        payload.extend_from_slice(operation);
    }
    Parts { term, from, to, payload: payload.freeze(), next: Some(0) }
}

impl Iterator for Parts {
    type Item = v1::Update;

    fn next(&mut self) -> Option<v1::Update> {
        let part = self.next?;
        let operations = self.payload.split_to(self.payload.len().min(PART_BYTES));
        let last = self.payload.is_empty();
        self.next = (!last).then(|| part.saturating_add(1));
        Some(v1::Update {
            term: self.term,
            from_root: self.from.map(|root| root.to_bytes().to_vec()).unwrap_or_default(),
            to_root: self.to.to_bytes().to_vec(),
            part,
            last,
            operations,
        })
    }
}

fn to_wire(operation: &Operation) -> v1::operation::Operation {
    use v1::operation::Operation as Wire;
    match operation {
        Operation::PutProfile(profile) => Wire::PutProfile(profile_to_wire(profile)),
        Operation::RemoveProfile(key) => Wire::RemoveProfile(key.0.to_vec()),
        Operation::AddMembers(identity, addresses) => Wire::AddMembers(members(identity.0, addresses)),
        Operation::RemoveMembers(identity, addresses) => Wire::RemoveMembers(members(identity.0, addresses)),
        Operation::PutLocal(address, local) => Wire::PutLocal(v1::Local {
            address: address_bytes(*address),
            identity: local.identity.0.to_vec(),
            egress: local.egress.map(|key| key.0.to_vec()).unwrap_or_default(),
            ingress: local.ingress.map(|key| key.0.to_vec()).unwrap_or_default(),
        }),
        Operation::RemoveLocal(address) => Wire::RemoveLocal(address_bytes(*address)),
    }
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn members(identity: [u8; 16], addresses: &[IpAddr]) -> v1::Members {
    v1::Members {
        identity: identity.to_vec(),
        addresses: addresses.iter().copied().map(address_bytes).collect(),
    }
}

fn profile_to_wire(profile: &Profile) -> v1::Profile {
    v1::Profile {
        key: profile.key().0.to_vec(),
        main: Some(function_to_wire(profile.main())),
        exempt: profile.has_exempt().then(|| function_to_wire(profile.exempt())),
    }
}

fn function_to_wire(function: &Function) -> v1::Function {
    // Every program the function gives is one of its own table, so it is found by where it is: programs can be large.
    let positions: HashMap<*const Program, u32> =
        function.programs().iter().map(std::ptr::from_ref).zip(0..).collect();
    let index = |program: &Program| positions.get(&std::ptr::from_ref(program)).copied().unwrap_or(u32::MAX);
    let mut identities: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (key, program) in function.identities() {
        identities.entry(index(program)).or_default().extend_from_slice(&key.0);
    }
    let mut networks: BTreeMap<u32, Vec<v1::Network>> = BTreeMap::new();
    for (network, program) in function.networks() {
        networks.entry(index(program)).or_default().push(v1::Network {
            address: address_bytes(network.network()),
            prefix_length: network.prefix_len().into(),
        });
    }
    v1::Function {
        programs: function.programs().iter().map(program_to_wire).collect(),
        default_v4: index(function.default_of(Family::V4)),
        default_v6: index(function.default_of(Family::V6)),
        identities: identities.into_iter().map(|(program, keys)| v1::Identities { program, keys }).collect(),
        networks: networks
            .into_iter()
            .map(|(program, networks)| v1::Networks { program, networks })
            .collect(),
    }
}

fn program_to_wire(program: &Program) -> v1::Program {
    let flat = |ports: &Intervals| {
        ports.as_slice().iter().flat_map(|&(start, end)| [u32::from(start), u32::from(end)]).collect()
    };
    v1::Program {
        tcp: flat(&program.tcp),
        udp: flat(&program.udp),
        sctp: flat(&program.sctp),
        other: program.other,
    }
}
