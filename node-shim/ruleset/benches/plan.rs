//! How long a plan takes on a full node: the whole table, and one more address.
//!
//! The node: 110 local pods that share 20 profiles a direction; 10,000 peer addresses in 500 identities, of which
//! each profile mentions every fifth; a network in each profile.

#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use palisade_ruleset::{Numbers, Planner};
use palisade_view::{
    Function, FunctionBuilder, Intervals, Key, KeyHasher, Local, NodeView, Operation, Profile, Program,
    Protocol,
};

const PODS: u32 = 110;
const PROFILES: u16 = 20;
const IDENTITIES: u32 = 500;
const ADDRESSES: u32 = 10_000;

fn identity(number: u32) -> Key {
    KeyHasher::new("benchmark").u64(number.into()).finish()
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn tcp(port: u16) -> Program {
    Program::ports(Protocol::Tcp, Intervals::from_ranges([(port, port)]))
}

fn function(number: u16) -> Function {
    let mut builder = FunctionBuilder::new(Program::NONE, Program::NONE);
    for peer in (u32::from(number) % 5..IDENTITIES).step_by(5) {
        builder = builder.identity(identity(peer), tcp(8000 + number));
    }
    let network = format!("192.168.{number}.0/24").parse().unwrap();
    builder.network(network, tcp(443)).unwrap().build()
}

fn profile(number: u16) -> Arc<Profile> {
    Arc::new(Profile::new(function(number), Function::allow_all()))
}

fn node() -> NodeView {
    let profiles: Vec<_> = (0..2 * PROFILES).map(profile).collect();
    let (egress, ingress) = profiles.split_at(PROFILES.into());
    let mut view = NodeView::default();
    for profile in &profiles {
        view.apply(&Operation::PutProfile(Arc::clone(profile))).unwrap();
    }
    for number in 0..IDENTITIES {
        let members = (number..ADDRESSES).step_by(IDENTITIES as usize).map(address).collect();
        view.apply(&Operation::AddMembers(identity(number), members)).unwrap();
    }
    for number in 0..PODS {
        let position = (number % u32::from(PROFILES)) as usize;
        let local = Local {
            identity: identity(number % IDENTITIES),
            egress: Some(egress[position].key()),
            ingress: Some(ingress[position].key()),
        };
        view.apply(&Operation::PutLocal(address(number), local)).unwrap();
    }
    view
}

fn plan(criterion: &mut Criterion) {
    let view = node();
    let mut loaded = Planner::new(Numbers::default());
    let elements = loaded.load(&view).unwrap().elements();
    loaded.commit();
    let mut grown = view.clone();
    grown.apply(&Operation::AddMembers(identity(0), vec![address(ADDRESSES)])).unwrap();
    assert!(!loaded.clone().update(&grown).unwrap().is_empty(), "the address is a peer of somebody");

    let mut group = criterion.benchmark_group("plan");
    group.sample_size(20);
    group.bench_function(format!("whole table, {elements} elements"), |bencher| {
        bencher.iter_batched(
            || Planner::new(Numbers::default()),
            |mut planner| black_box(planner.load(&view).unwrap().to_json()),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("one more address", |bencher| {
        bencher.iter_batched(
            || loaded.clone(),
            |mut planner| {
                let transaction = planner.update(&grown).unwrap().to_json();
                (planner, transaction)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
