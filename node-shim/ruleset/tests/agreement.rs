//! The transactions that are produced make a kernel judge as the view does: from nothing, from step to step, and
//! while a step is being committed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{PROGRAMS, agree, choice, choices, packet, pool, view};
use palisade_ruleset::kernel::{FakeKernel, Hook, TracePacket, Verdict};
use palisade_ruleset::{Element, Field, Markers, Numbers, Op, Planner, Transaction, marker, skeleton};
use palisade_view::{NodeView, Packet};
use proptest::prelude::*;

/// That many cases of a property, or as many as `PROPTEST_CASES` says.
fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
}

fn packets() -> impl Strategy<Value = Vec<TracePacket>> {
    prop::collection::vec(packet(), 24)
}

fn apply(kernel: &mut FakeKernel, transaction: &Transaction) -> Result<(), TestCaseError> {
    kernel.apply(transaction).map_err(|refusal| TestCaseError::fail(refusal.to_string()))
}

fn content(kernel: &FakeKernel) -> BTreeMap<&'static str, Vec<Element>> {
    skeleton::sets().iter().map(|set| (set.name, kernel.elements(set.name).unwrap_or_default())).collect()
}

/// A transaction touches an element only if it is another one afterwards.
fn touches_only_what_changes(
    before: &FakeKernel,
    after: &FakeKernel,
    transaction: &Transaction,
) -> Result<(), TestCaseError> {
    let (before, after) = (content(before), content(after));
    for op in transaction.ops() {
        let (set, elements) = match op {
            Op::AddElements(set, elements) | Op::DeleteElements(set, elements) => (set, elements),
            other => return Err(TestCaseError::fail(format!("an update must not contain {other:?}"))),
        };
        let value = |elements: &[Element], key: &[Field]| {
            elements.iter().find(|element| element.key == key).map(|element| element.value)
        };
        for element in elements {
            let (old, new) = (value(&before[set], &element.key), value(&after[set], &element.key));
            prop_assert_ne!(old, new, "{} {} is written although it stays", set, element);
        }
    }
    Ok(())
}

/// What the sets say once names are taken out of it: each program by what it allows, each class by what is granted
/// to it. Two tables with the same text judge alike.
fn meaning(kernel: &FakeKernel) -> BTreeMap<&'static str, BTreeSet<String>> {
    let content = content(kernel);
    let datum = |element: &Element, position: usize| element.key[position].to_string();
    let mut programs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in PROGRAMS {
        for element in &content[name] {
            let rest: Vec<String> = element.key[1..].iter().map(ToString::to_string).collect();
            programs.entry(datum(element, 0)).or_default().insert(format!("{name} {}", rest.join(" ")));
        }
    }
    let id = |value: Option<u32>| palisade_ruleset::Datum::ClassId(value.unwrap()).to_string();
    let program = |value: Option<u32>| format!("{:?}", programs.get(&id(value)));
    let mut classes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, elements) in content.iter().filter(|(name, _)| name.contains("decide")) {
        for element in elements {
            let row = format!("{name} {} {}", datum(element, 1), program(element.value));
            classes.entry(datum(element, 0)).or_default().insert(row);
        }
    }
    let class = |value: Option<u32>| format!("{:?}", classes.get(&id(value)));
    let mut meaning = BTreeMap::new();
    for (name, elements) in &content {
        let text = |element: &Element| match *name {
            name if name.starts_with("peer") || name.starts_with("cidr") => {
                Some(format!("{} {}", datum(element, 0), class(element.value)))
            }
            name if name.contains("default") || name.starts_with("self") => {
                Some(format!("{} {}", datum(element, 0), program(element.value)))
            }
            name if name.starts_with("out") || name.starts_with("in") => Some(datum(element, 0)),
            "revision" | "skeleton" => Some(datum(element, 0)),
            _ => None,
        };
        meaning.insert(*name, elements.iter().filter_map(text).collect());
    }
    meaning
}

/// Judged under way, each side by the old or by the new revision.
fn judged_by_either(views: [&NodeView; 2], hook: Hook, packet: &Packet, allowed: bool) -> bool {
    let sides = |view: &NodeView| -> [bool; 2] {
        let permits = |program: Option<&palisade_view::Program>| program.is_none_or(|p| p.allows(packet.l4));
        match hook {
            Hook::Forward if packet.source == packet.destination => [view.forwards(packet), true],
            Hook::Forward => [
                permits(view.egress_program(packet.source, packet.destination)),
                permits(view.ingress_program(packet.source, packet.destination)),
            ],
            _ => [view.delivers(packet), true],
        }
    };
    let [old, new] = views.map(sides);
    if allowed {
        (0..2).all(|side| old[side] || new[side])
    } else {
        (0..2).any(|side| !old[side] || !new[side])
    }
}

/// The two cases that are left open (see `numbering`): the peer is found where it was not, or the subject is judged
/// by another default.
fn left_open(before: &FakeKernel, after: &FakeKernel, packet: &Packet) -> bool {
    let digit = if packet.source.is_ipv4() { '4' } else { '6' };
    let find = |kernel: &FakeKernel, set: &str, address: std::net::IpAddr| {
        let datum = palisade_ruleset::Datum::from(address);
        let elements = kernel.elements(&format!("{set}{digit}")).unwrap_or_default();
        elements.into_iter().find(|element| {
            let (start, end) = element.key[0].bounds();
            (start..=end).contains(&datum)
        })
    };
    let becomes_known = |peer| {
        let by_itself = |kernel| find(kernel, "peer", peer).is_some();
        let at_all = |kernel| by_itself(kernel) || find(kernel, "cidr", peer).is_some();
        !by_itself(before) && by_itself(after) || !at_all(before) && at_all(after)
    };
    let another_default = |subjects, set, subject| {
        find(after, subjects, subject).is_some() && find(before, set, subject) != find(after, set, subject)
    };
    becomes_known(packet.source)
        || becomes_known(packet.destination)
        || another_default("out", "default_out", packet.source)
        || another_default("out", "own_default_out", packet.source)
        || another_default("in", "default_in", packet.destination)
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn a_loaded_table_judges_as_the_view(pool in pool(), choice in choice(), packets in packets()) {
        let view = view(&pool, &choice);
        let mut kernel = FakeKernel::new();
        let transaction = Planner::new(Numbers::default()).load(&view).unwrap();
        apply(&mut kernel, &transaction)?;
        for packet in &packets {
            agree(&view, &kernel, packet)?;
        }
        // Loading again, over what is there, gives the same table.
        apply(&mut kernel, &transaction)?;
    }

    #[test]
    fn updates_lead_where_loading_leads(pool in pool(), choices in choices(), packets in packets()) {
        let views: Vec<NodeView> = choices.iter().map(|choice| view(&pool, choice)).collect();
        let mut planner = Planner::new(Numbers::default());
        let mut kernel = FakeKernel::new();
        apply(&mut kernel, &planner.load(&views[0]).unwrap())?;
        planner.commit();
        for (before, view) in views.iter().zip(&views[1..]) {
            let in_force = before.root() == view.root() && !planner.has_leftovers();
            let transaction = planner.update(view).unwrap();
            prop_assert_eq!(in_force, transaction.is_empty());
            let mut next = kernel.clone();
            apply(&mut next, &transaction)?;
            touches_only_what_changes(&kernel, &next, &transaction)?;
            planner.commit();
            kernel = next;
            for packet in &packets {
                agree(view, &kernel, packet)?;
            }
            // Without what it leaves for packets under way, the table is the one that loading gives.
            let mut tidy = (kernel.clone(), planner.clone());
            let transaction = tidy.1.update(view).unwrap();
            prop_assert_eq!(planner.has_leftovers(), !transaction.is_empty());
            apply(&mut tidy.0, &transaction)?;
            tidy.1.commit();
            prop_assert!(!tidy.1.has_leftovers());
            prop_assert!(tidy.1.update(view).unwrap().is_empty());
            let mut fresh = FakeKernel::new();
            apply(&mut fresh, &Planner::new(Numbers::default()).load(view).unwrap())?;
            prop_assert_eq!(meaning(&tidy.0), meaning(&fresh));
            // Half the sequences go on from the tidied table.
            if view.root().0 % 2 == 0 {
                (kernel, planner) = tidy;
            }
        }
    }

    #[test]
    fn a_packet_under_way_is_judged_by_the_old_or_the_new_revision(
        pool in pool(),
        choices in choices(),
        packets in packets(),
    ) {
        let views: Vec<NodeView> = choices.iter().map(|choice| view(&pool, choice)).collect();
        let mut planner = Planner::new(Numbers::default());
        let mut kernel = FakeKernel::new();
        apply(&mut kernel, &planner.load(&views[0]).unwrap())?;
        planner.commit();
        for pair in views.windows(2) {
            let mut next = kernel.clone();
            apply(&mut next, &planner.update(&pair[1]).unwrap())?;
            planner.commit();
            for packet in &packets {
                if left_open(&kernel, &next, &packet.packet) {
                    continue;
                }
                for hook in [Hook::Forward, Hook::Input] {
                    for lookups in 0..12 {
                        let trace = kernel.trace_across(&next, lookups, hook, packet);
                        let allowed = trace.verdict == Verdict::Accept;
                        prop_assert!(
                            judged_by_either([&pair[0], &pair[1]], hook, &packet.packet, allowed),
                            "{:?} {} after {} lookups: allowed {}: {:?}",
                            hook, packet.packet, lookups, allowed, trace.steps
                        );
                    }
                }
            }
            kernel = next;
        }
    }

    #[test]
    fn a_restarted_planner_knows_its_table(pool in pool(), choices in choices(), packets in packets()) {
        let views: Vec<NodeView> = choices.iter().map(|choice| view(&pool, choice)).collect();
        let mut planner = Planner::new(Numbers::default());
        let mut kernel = FakeKernel::new();
        let first = planner.open(&views[0], &Markers::default()).unwrap();
        apply(&mut kernel, &first)?;
        planner.commit();
        for view in &views[1..] {
            let transaction = planner.update(view).unwrap();
            let file = serde_json::to_string(planner.numbers()).unwrap();
            apply(&mut kernel, &transaction)?;
            let leftovers = { planner.commit(); planner.has_leftovers() };

            let mut restarted = Planner::new(serde_json::from_str(&file).unwrap());
            let opened = restarted.open(view, &markers(&kernel)).unwrap();
            prop_assert_eq!(opened.is_empty(), !leftovers);
            apply(&mut kernel, &opened)?;
            restarted.commit();
            prop_assert!(restarted.update(view).unwrap().is_empty());
            for packet in &packets {
                agree(view, &kernel, packet)?;
            }
            planner = restarted;
        }
    }
}

fn markers(kernel: &FakeKernel) -> Markers {
    let read = |set| match kernel.elements(set)?.first()?.key[0].bounds().0 {
        palisade_ruleset::Datum::Ipv6(address) => Some(u128::from(address)),
        _ => None,
    };
    Markers {
        revision: read(marker::REVISION),
        skeleton: read(marker::SKELETON),
        generation: read(marker::GENERATION),
    }
}
