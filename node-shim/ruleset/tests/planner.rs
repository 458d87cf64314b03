//! What single steps write, and what the planner does when things go wrong.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{PROGRAMS, address, choices, identity, pool, view};
use palisade_ruleset::kernel::FakeKernel;
use palisade_ruleset::{Datum, Markers, Numbers, Op, PlanError, Planner, Transaction, marker, skeleton};
use palisade_view::{
    Function, FunctionBuilder, Intervals, Local, NodeView, Operation, Profile, Program, Protocol, ViewError,
};
use proptest::prelude::*;

fn tcp(port: u16) -> Program {
    Program::ports(Protocol::Tcp, Intervals::range(port, port))
}

/// Identity 1 may use one port, identity 2 another, a network a third one; strangers nothing.
fn function(ports: [u16; 3]) -> Function {
    FunctionBuilder::new(Program::NONE, Program::NONE)
        .identity(identity(1), tcp(ports[0]))
        .identity(identity(2), tcp(ports[1]))
        .network("192.0.2.0/24".parse().unwrap(), tcp(ports[2]))
        .unwrap()
        .build()
}

const POD: &str = "10.0.0.1";

/// A pod whose ingress the function decides, and its peers.
fn node(function: Function, peers: &[(&str, usize)]) -> NodeView {
    let profile = Arc::new(Profile::new(function.clone(), function));
    let local = Local { identity: identity(9), egress: None, ingress: Some(profile.key()) };
    let mut operations = vec![Operation::PutProfile(profile), Operation::PutLocal(address(POD), local)];
    for &(peer, number) in peers {
        operations.push(Operation::AddMembers(identity(number), vec![address(peer)]));
    }
    let mut view = NodeView::default();
    view.apply_all(&operations).unwrap();
    view
}

const PEERS: [(&str, usize); 3] = [("10.0.1.1", 1), ("10.0.1.2", 1), ("10.0.1.3", 2)];

fn loaded(view: &NodeView) -> Planner {
    let mut planner = Planner::new(Numbers::default());
    planner.load(view).unwrap();
    planner.commit();
    planner
}

/// What is written, markers aside: `+set element` and `-set element`.
fn written(transaction: &Transaction) -> Vec<String> {
    let markers = [marker::REVISION, marker::GENERATION];
    transaction
        .ops()
        .iter()
        .flat_map(|op| match op {
            Op::AddElements(set, elements) if !markers.contains(set) => {
                elements.iter().map(|element| format!("+{set} {element}")).collect()
            }
            Op::DeleteElements(set, elements) if !markers.contains(set) => {
                elements.iter().map(|element| format!("-{set} {element}")).collect()
            }
            Op::AddElements(..) | Op::DeleteElements(..) => Vec::new(),
            other => vec![format!("{other:?}")],
        })
        .collect()
}

/// Commits an update and gives what it wrote.
fn step(planner: &mut Planner, view: &NodeView) -> Vec<String> {
    let transaction = planner.update(view).unwrap();
    planner.commit();
    written(&transaction)
}

#[test]
fn one_more_peer_of_a_known_kind_is_one_element() {
    let mut planner = loaded(&node(function([80, 81, 82]), &PEERS));
    let more = node(function([80, 81, 82]), &[&PEERS[..], &[("10.0.1.4", 2)]].concat());
    let classes = class_numbers(&planner, &node(function([80, 81, 82]), &PEERS));
    assert_eq!(step(&mut planner, &more), [format!("+peer4 10.0.1.4 : {}", classes["10.0.1.3"])]);
    assert!(!planner.has_leftovers());
    let fewer = node(function([80, 81, 82]), &[("10.0.1.1", 1), ("10.0.1.3", 2), ("10.0.1.4", 2)]);
    assert_eq!(step(&mut planner, &fewer), ["-peer4 10.0.1.2"]);
}

/// The class of each peer, as it stands in the table.
fn class_numbers(planner: &Planner, view: &NodeView) -> BTreeMap<String, Datum> {
    let mut kernel = FakeKernel::new();
    kernel.apply(&planner.clone().load(view).unwrap()).unwrap();
    let elements = kernel.elements("peer4").unwrap();
    elements
        .iter()
        .map(|element| (element.key[0].to_string(), Datum::ClassId(element.value.unwrap())))
        .collect()
}

#[test]
fn equal_columns_are_one_class_and_their_rows_are_written_once() {
    let view = node(function([80, 80, 82]), &PEERS);
    let classes = class_numbers(&Planner::new(Numbers::default()), &view);
    assert_eq!(classes.values().collect::<std::collections::BTreeSet<_>>().len(), 1);
    let transaction = Planner::new(Numbers::default()).load(&view).unwrap();
    let rows = written(&transaction).into_iter().filter(|line| line.starts_with("+decide_in4")).count();
    assert_eq!(rows, 2, "one for the identities, one for the network");
}

#[test]
fn a_policy_change_keeps_classes_and_writes_their_rows_and_programs() {
    let mut planner = loaded(&node(function([80, 81, 82]), &PEERS));
    let before = class_numbers(&planner, &node(function([80, 81, 82]), &PEERS));
    let written = step(&mut planner, &node(function([90, 81, 82]), &PEERS));
    let class = before["10.0.1.1"];
    let row = format!("decide_in4 {class} . {POD}");
    assert_eq!(written.len(), 3, "{written:?}");
    assert!(written[0].starts_with("+allow_port") && written[0].ends_with("6 . 90"), "{written:?}");
    assert_eq!(written[1], format!("-{row}"));
    assert!(written[2].starts_with(&format!("+{row} : ")), "{written:?}");

    // The program that nothing refers to any more goes with the next update, be the view the same.
    assert!(planner.has_leftovers());
    let tidied = step(&mut planner, &node(function([90, 81, 82]), &PEERS));
    assert!(tidied.len() == 1 && tidied[0].starts_with("-allow_port") && tidied[0].ends_with("6 . 80"));
    assert!(!planner.has_leftovers());
}

#[test]
fn a_class_that_is_torn_apart_keeps_its_rows_for_packets_under_way() {
    let together = node(function([80, 80, 82]), &PEERS);
    let mut planner = loaded(&together);
    let torn = class_numbers(&planner, &together)["10.0.1.1"];
    let apart = node(function([80, 81, 82]), &PEERS);
    let written = step(&mut planner, &apart);
    assert!(!written.iter().any(|line| line.starts_with("-decide_in4")), "{written:?}");
    let after = class_numbers(&planner, &apart);
    assert_eq!(after["10.0.1.1"], torn, "to the members that are granted the same, the class is the same");
    assert_ne!(after["10.0.1.3"], torn);

    // Nobody is granted what the class was granted, and its members part: the number goes.
    let mut planner = loaded(&together);
    let moved = node(function([90, 91, 82]), &PEERS);
    step(&mut planner, &moved);
    assert!(!class_numbers(&planner, &moved).values().any(|class| *class == torn));
    let tidied = step(&mut planner, &moved);
    assert!(tidied.contains(&format!("-decide_in4 {torn} . {POD}")), "{tidied:?}");
}

#[test]
fn an_address_that_is_no_subject_any_more_is_allowed_everything_until_it_is_forgotten() {
    let mut planner = loaded(&node(function([80, 81, 82]), &PEERS));
    let written = step(&mut planner, &NodeView::default());
    assert!(written.contains(&format!("-in4 {POD}")));
    assert!(planner.has_leftovers());
    assert!(step(&mut planner, &NodeView::default()).contains(&format!("-default_in4 {POD}")));
    assert!(!planner.has_leftovers());
}

#[test]
fn a_refused_transaction_is_forgotten_but_not_its_numbers() {
    let (old, new) = (node(function([80, 81, 82]), &PEERS), node(function([90, 91, 92]), &PEERS));
    let mut planner = loaded(&old);
    let before = serde_json::to_string(planner.numbers()).unwrap();
    let first = planner.update(&new).unwrap();
    assert_ne!(serde_json::to_string(planner.numbers()).unwrap(), before, "those of the transaction in hand");
    planner.abort();
    assert!(planner.update(&old).unwrap().is_empty(), "what is in force still is");
    let second = planner.update(&new).unwrap();
    let programs = |transaction| -> Vec<String> {
        let added = written(transaction).into_iter().filter(|line| line.starts_with("+allow_port"));
        added.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(programs(&first).len(), 3);
    assert!(
        programs(&second).iter().all(|id| !programs(&first).contains(id)),
        "the kernel may have taken it"
    );
}

#[test]
fn what_cannot_be_planned_is_an_error_and_changes_nothing() {
    let view = node(function([80, 81, 82]), &PEERS);
    assert_eq!(Planner::new(Numbers::default()).update(&view), Err(PlanError::NotOpen));

    let mut dangling = view.clone();
    let profile = *view.profiles().keys().next().unwrap();
    dangling.apply(&Operation::RemoveProfile(profile)).unwrap();
    let error = Err(PlanError::View(ViewError::DanglingProfile { address: address(POD), profile }));
    let mut planner = loaded(&view);
    assert_eq!(planner.update(&dangling), error);
    assert_eq!(planner.load(&dangling), error);
    assert_eq!(planner.refill(&dangling), error);
    assert!(planner.update(&view).unwrap().is_empty());
}

#[test]
fn opening_does_no_more_than_it_must() {
    let view = node(function([80, 81, 82]), &PEERS);
    let planner = loaded(&view);
    let right = Markers {
        revision: Some(view.root().0),
        skeleton: Some(skeleton::fingerprint()),
        generation: Some(1),
    };
    let open = |markers: Markers| {
        let mut restarted = Planner::new(planner.numbers().clone());
        let transaction = restarted.open(&view, &markers).unwrap();
        restarted.commit();
        assert!(restarted.update(&view).unwrap().is_empty());
        transaction
    };
    assert!(open(right).is_empty());
    let builds = |transaction: &Transaction| transaction.ops().contains(&Op::DeleteTable);
    for markers in [
        Markers { revision: Some(1), ..right },
        Markers { revision: None, ..right },
        Markers { generation: Some(2), ..right },
    ] {
        let transaction = open(markers);
        assert!(matches!(transaction.ops()[0], Op::Flush(_)) && !builds(&transaction), "a refill");
    }
    assert!(builds(&open(Markers::default())));
    assert!(builds(&open(Markers { skeleton: Some(1), ..right })));
}

/// What every program in the table allows.
fn allowed(kernel: &FakeKernel) -> BTreeMap<Datum, Vec<String>> {
    let mut allowed: BTreeMap<Datum, Vec<String>> = BTreeMap::new();
    for set in PROGRAMS {
        for element in kernel.elements(set).unwrap() {
            let rest = element.key[1..].iter().map(|field| format!("{set} {field}")).collect::<Vec<_>>();
            allowed.entry(element.key[0].bounds().0).or_default().push(format!("{set} {}", rest.join(" ")));
        }
    }
    allowed
}

fn classes(kernel: &FakeKernel) -> Vec<Datum> {
    let sets = kernel.sets().filter(|set| set.name.starts_with("peer") || set.name.starts_with("cidr"));
    sets.flat_map(|set| kernel.elements(set.name).unwrap())
        .map(|element| Datum::ClassId(element.value.unwrap()))
        .collect()
}

proptest! {
    #[test]
    fn a_number_never_comes_to_mean_something_else(pool in pool(), choices in choices()) {
        let mut planner = Planner::new(Numbers::default());
        let mut kernel = FakeKernel::new();
        kernel.apply(&planner.load(&view(&pool, &choices[0])).unwrap()).unwrap();
        planner.commit();
        let mut programs = allowed(&kernel);
        for choice in &choices[1..] {
            kernel.apply(&planner.update(&view(&pool, choice)).unwrap()).unwrap();
            planner.commit();
            for (id, now) in allowed(&kernel) {
                prop_assert!(id > Datum::ClassId(0x1_0000) && id < Datum::ClassId(u32::MAX));
                // Ever: numbers do not come round in a test.
                let then = programs.entry(id).or_insert_with(|| now.clone());
                prop_assert_eq!(&*then, &now);
            }
            for class in classes(&kernel) {
                prop_assert!(class > Datum::ClassId(0x1_0000) && class < Datum::ClassId(u32::MAX));
                prop_assert!(!programs.contains_key(&class), "a class read as a program would allow something");
            }
        }
    }
}
