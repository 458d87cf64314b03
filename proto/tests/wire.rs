//! What is encoded comes back; what is forged, torn or random does not get in.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::IpAddr;
use std::sync::Arc;

use palisade_proto::{DecodeError, PART_BYTES, decode_operations, encode_operation, parts, v1};
use palisade_view::{FunctionBuilder, Intervals, Key, KeyHasher, Local, Operation, Profile, Program, Root};
use proptest::prelude::*;
use prost::Message;

fn key(n: u8) -> Key {
    KeyHasher::new("test").u64(n.into()).finish()
}

fn program() -> impl Strategy<Value = Program> {
    let ports = || prop::collection::vec((any::<u16>(), any::<u16>()), 0..4).prop_map(Intervals::from_ranges);
    (ports(), ports(), ports(), any::<bool>()).prop_map(|(tcp, udp, sctp, other)| Program {
        tcp,
        udp,
        sctp,
        other,
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn function() -> impl Strategy<Value = palisade_view::Function> {
    (
        program(),
        program(),
        prop::collection::vec((any::<u8>(), program()), 0..4),
        prop::collection::vec((address(), 1..=32_u8, program()), 0..4),
    )
        .prop_map(|(v4, v6, identities, networks)| {
            let mut builder = FunctionBuilder::new(v4, v6);
            for (n, program) in identities {
                builder = builder.identity(key(n), program);
            }
            for (address, length, program) in networks {
                let network = ipnet::IpNet::new(address, length).expect("at most 32 bits");
                builder = builder.masked(network, program);
            }
            builder.build()
        })
}

fn operation() -> impl Strategy<Value = Operation> {
    let members = || (any::<u8>(), prop::collection::vec(address(), 0..4));
    prop_oneof![
        (function(), function())
            .prop_map(|(main, exempt)| Operation::PutProfile(Arc::new(Profile::new(main, exempt)))),
        any::<u8>().prop_map(|n| Operation::RemoveProfile(key(n))),
        members().prop_map(|(n, addresses)| Operation::AddMembers(key(n), addresses)),
        members().prop_map(|(n, addresses)| Operation::RemoveMembers(key(n), addresses)),
        (address(), any::<u8>(), any::<Option<u8>>(), any::<Option<u8>>()).prop_map(
            |(address, id, egress, ingress)| {
                let local = Local { identity: key(id), egress: egress.map(key), ingress: ingress.map(key) };
                Operation::PutLocal(address, local)
            }
        ),
        address().prop_map(Operation::RemoveLocal),
    ]
}

/// That many cases of a property, or as many as `PROPTEST_CASES` says.
fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn operations_come_back(operations in prop::collection::vec(operation(), 0..6)) {
        let encoded: Vec<_> = operations.iter().map(encode_operation).collect();
        let payload: Vec<u8> = parts(7, None, Root::EMPTY, &encoded).flat_map(|part| part.operations).collect();
        prop_assert_eq!(decode_operations(&payload).expect("decodes"), operations);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_operations(&bytes);
    }

    #[test]
    fn a_damaged_payload_is_refused_or_well_formed(
        operation in operation(), position in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = encode_operation(&operation).to_vec();
        let index = position.index(bytes.len());
        bytes[index] ^= flip;
        if let Ok(operations) = decode_operations(&bytes) {
            for profile in operations.iter().filter_map(|operation| match operation {
                Operation::PutProfile(profile) => Some(profile),
                _ => None,
            }) {
                let again = Profile::new(profile.main().clone(), profile.exempt().clone());
                prop_assert_eq!(again.key(), profile.key());
            }
        }
    }
}

#[test]
fn an_update_is_cut_into_bounded_parts_that_share_their_head() {
    let addresses: Vec<IpAddr> = (0..100_000_u32).map(|n| IpAddr::from(n.to_be_bytes())).collect();
    let operation = Operation::AddMembers(key(1), addresses);
    let encoded = [encode_operation(&operation)];
    let from = Some(Root::EMPTY.plus(key(2)));
    let to = Root::EMPTY.plus(key(3));
    let all: Vec<v1::Update> = parts(9, from, to, &encoded).collect();

    assert!(all.len() > 1);
    assert_eq!(
        all.iter().map(|part| part.part as usize).collect::<Vec<_>>(),
        (0..all.len()).collect::<Vec<_>>()
    );
    assert_eq!(all.iter().filter(|part| part.last).count(), 1);
    assert!(all.last().is_some_and(|part| part.last));
    for part in &all {
        assert!(part.operations.len() <= PART_BYTES);
        assert_eq!((part.term, part.from_root.len(), &part.to_root[..]), (9, 16, &to.to_bytes()[..]));
    }
    let payload: Vec<u8> = all.iter().flat_map(|part| part.operations.clone()).collect();
    assert_eq!(decode_operations(&payload).expect("decodes"), [operation]);
}

#[test]
fn an_update_without_operations_is_one_last_part() {
    let all: Vec<v1::Update> = parts(1, Some(Root::EMPTY), Root::EMPTY, []).collect();
    assert_eq!(all.len(), 1);
    assert!(all[0].last && all[0].operations.is_empty());
}

fn refused(operation: v1::operation::Operation) -> DecodeError {
    let payload =
        v1::Operations { operations: vec![v1::Operation { operation: Some(operation) }] }.encode_to_vec();
    let (position, error) = decode_operations(&payload).expect_err("refused");
    assert_eq!(position, Some(0));
    error
}

#[test]
fn forged_profiles_are_refused() {
    let good = Profile::new(palisade_view::Function::allow_all(), palisade_view::Function::allow_all());
    let wire = || {
        let bytes = encode_operation(&Operation::PutProfile(Arc::new(good.clone())));
        let operations = v1::Operations::decode(bytes).expect("decodes").operations;
        match operations.into_iter().next().and_then(|operation| operation.operation) {
            Some(v1::operation::Operation::PutProfile(profile)) => profile,
            other => panic!("{other:?}"),
        }
    };
    let forged = |change: &dyn Fn(&mut v1::Profile)| {
        let mut profile = wire();
        change(&mut profile);
        refused(v1::operation::Operation::PutProfile(profile))
    };
    let main = |profile: &mut v1::Profile, change: &dyn Fn(&mut v1::Function)| {
        change(profile.main.as_mut().expect("main"));
    };

    assert!(matches!(forged(&|p| p.key[0] ^= 1), DecodeError::Hash { .. }));
    assert!(matches!(forged(&|p| p.key.truncate(15)), DecodeError::Length { actual: 15, .. }));
    assert!(matches!(forged(&|p| p.main = None), DecodeError::Missing("profile.main")));
    assert!(matches!(
        forged(&|p| main(p, &|f| f.default_v4 = 1)),
        DecodeError::Program { index: 1, count: 1 }
    ));
    assert!(matches!(forged(&|p| main(p, &|f| f.programs[0].tcp = vec![5])), DecodeError::Ports));
    assert!(matches!(forged(&|p| main(p, &|f| f.programs[0].tcp = vec![9, 5])), DecodeError::Ports));
    assert!(matches!(forged(&|p| main(p, &|f| f.programs[0].tcp = vec![0, 70_000])), DecodeError::Ports));
    let network = |address: &[u8], prefix_length| {
        let network = v1::Network { address: address.to_vec(), prefix_length };
        move |f: &mut v1::Function| {
            f.networks = vec![v1::Networks { program: 0, networks: vec![network.clone()] }];
        }
    };
    assert!(matches!(forged(&|p| main(p, &network(&[10, 0, 0, 1], 8))), DecodeError::Function(_)));
    assert!(matches!(forged(&|p| main(p, &network(&[0; 4], 0))), DecodeError::Function(_)));
    assert!(matches!(forged(&|p| main(p, &network(&[10, 0, 0, 0], 33))), DecodeError::Network));
    assert!(matches!(forged(&|p| main(p, &network(&[10, 0], 8))), DecodeError::Length { actual: 2, .. }));
}

/// 20,000 intervals for each of 200,000 identities: 3.4 MB on the wire, 16 GB if each had a copy of its own.
#[test]
fn a_large_program_is_shared_by_the_identities_that_have_it() {
    let large = Arc::new(Program {
        tcp: Intervals::from_ranges((0..20_000_u16).map(|n| (n * 3, n * 3 + 1))),
        ..Program::NONE
    });
    let builder = FunctionBuilder::new(Program::NONE, Program::NONE);
    let function = (0..200_000_u64)
        .fold(builder, |builder, n| {
            builder.identity(KeyHasher::new("test").u64(n).finish(), Arc::clone(&large))
        })
        .build();
    assert_eq!((function.programs().len(), function.identities().len()), (2, 200_000));
    let operation = Operation::PutProfile(Arc::new(Profile::new(function.clone(), function)));
    let encoded = encode_operation(&operation);
    assert!(encoded.len() < 4_000_000, "{} bytes", encoded.len());
    assert_eq!(decode_operations(&encoded).expect("decodes"), [operation]);
}

#[test]
fn fields_of_the_wrong_size_are_refused() {
    use v1::operation::Operation as Wire;
    assert!(matches!(refused(Wire::RemoveProfile(vec![0; 17])), DecodeError::Length { actual: 17, .. }));
    assert!(matches!(refused(Wire::RemoveLocal(vec![0; 5])), DecodeError::Length { actual: 5, .. }));
    let local = v1::Local { address: vec![0; 4], identity: vec![], ..v1::Local::default() };
    assert!(matches!(refused(Wire::PutLocal(local)), DecodeError::Length { field: "local.identity", .. }));
}
