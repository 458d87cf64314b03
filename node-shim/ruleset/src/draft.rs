//! From a view to everything that must stand in the table: programs, classes, rows. Knows nothing of transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade_view::{Family, NodeView, Program};

use crate::elements::Elements;
use crate::names::Question;
use crate::numbering::{self, Allocator, OutOfIdentifiers};
use crate::numbers::{FamilyNumbers, Numbers, Subject};
use crate::peers::{Peers, functions_in_use};
use crate::place::Twice;
use crate::regions::to_address;

/// The numbers and the elements of one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) numbers: Numbers,
    pub(crate) elements: Elements,
}

impl Subject {
    /// The profile that a question is asked of.
    fn profile(self, question: Question) -> Option<palisade_view::Key> {
        match question {
            Question::Out | Question::Own => self.egress,
            Question::In => self.ingress,
        }
    }
}

impl FamilyNumbers {
    /// The function that answers a question about a subject.
    fn asked(&self, subject: Subject, question: Question) -> Option<u32> {
        self.function(subject.profile(question)?, question == Question::Own)
    }
}

/// Drafts a view, whose references must have been checked. `before` is what is in the kernel, where that is known:
/// then what packets under way may still read is kept.
pub(crate) fn draft(
    view: &NodeView,
    old: &Numbers,
    before: Option<&Elements>,
) -> Result<Draft, OutOfIdentifiers> {
    let mut allocator = Allocator::new(old);
    let subjects: BTreeMap<IpAddr, Subject> = view
        .locals()
        .iter()
        .map(|(&address, local)| (address, Subject { egress: local.egress, ingress: local.ingress }))
        .filter(|(_, subject)| *subject != Subject::default())
        .collect();
    let functions = [Family::V4, Family::V6].map(|family| functions_in_use(family, view));
    let hairpin: BTreeMap<IpAddr, _> =
        subjects.keys().filter_map(|&address| Some((address, view.hairpin_program(address)?))).collect();

    let wanted = functions
        .iter()
        .flat_map(BTreeMap::values)
        .flat_map(|function| function.programs())
        .chain(hairpin.values())
        .cloned();
    let programs = numbering::programs(wanted, old, &mut allocator)?;

    let mut elements = Elements { revision: view.root().0, ..Elements::default() };
    for (program, &id) in &programs {
        elements.program(id, program);
    }
    for (address, program) in &hairpin {
        if let Some(&id) = programs.get(program) {
            elements.hairpin.insert(Twice(*address), id);
        }
    }
    let mut families = [FamilyNumbers::default(), FamilyNumbers::default()];
    for (family, functions) in [Family::V4, Family::V6].into_iter().zip(&functions) {
        let peers = Peers::of(family, view, functions, &programs);
        let ids = numbering::classes(family, &peers, &subjects, old, before, &mut allocator)?;
        elements.peer.extend(peers.addresses.iter().map(|(&address, &class)| (address, ids[class])));
        elements.cidr.extend(
            peers.intervals.iter().map(|&(start, end, class)| {
                ((to_address(family, start), to_address(family, end)), ids[class])
            }),
        );
        families[usize::from(family == Family::V6)] = FamilyNumbers {
            functions: peers.functions,
            classes: ids.into_iter().zip(peers.classes).collect(),
        };
    }
    let mut numbers = Numbers {
        next: allocator.next,
        generation: old.generation,
        leftovers: false,
        retired: BTreeSet::new(),
        programs,
        subjects,
        families,
    };
    rows(&numbers, &mut elements);
    if before.is_some() {
        let asked_for = elements.count();
        leftovers(old, &mut numbers, &mut elements, &mut allocator)?;
        numbers.next = allocator.next;
        numbers.leftovers = elements.count() > asked_for;
    }
    Ok(Draft { numbers, elements })
}

/// What subjects grant to classes: only where it is not their default.
fn rows(numbers: &Numbers, elements: &mut Elements) {
    // What each function grants, by class.
    let granted = [Family::V4, Family::V6].map(|family| {
        let family = numbers.family(family);
        let mut granted = vec![Vec::new(); family.functions.len()];
        for (&class, column) in &family.classes {
            for &(function, program) in column {
                granted[function as usize].push((class, program));
            }
        }
        granted
    });
    for question in Question::ALL {
        let mut decide = Vec::new();
        for (&address, &subject) in &numbers.subjects {
            let family = numbers.family(Family::of(address));
            let Some(function) = family.asked(subject, question) else { continue };
            let granted = &granted[usize::from(address.is_ipv6())][function as usize];
            decide.extend(granted.iter().map(|&(class, program)| ((address, class), program)));
            elements.default[question.index()].insert(address, family.functions[function as usize].1);
        }
        elements.decide[question.index()] = decide.into_iter().collect();
    }
    for (&address, subject) in &numbers.subjects {
        if subject.egress.is_some() {
            elements.out.insert(address);
        }
        if subject.ingress.is_some() {
            elements.ingress.insert(address);
        }
    }
}

/// What a packet under way may still ask of the old revision; see `numbering`.
fn leftovers(
    old: &Numbers,
    numbers: &mut Numbers,
    elements: &mut Elements,
    allocator: &mut Allocator,
) -> Result<(), OutOfIdentifiers> {
    for (program, &id) in &old.programs {
        if !numbers.programs.contains_key(program) {
            elements.program(id, program);
            numbers.retired.insert(id);
        }
    }
    let everything = Program::all();
    let known = [&numbers.programs, &old.programs].into_iter().find_map(|programs| programs.get(&everything));
    let mut everything_id = known.copied();
    for family in [Family::V4, Family::V6] {
        let (then, now) = (old.family(family), numbers.family(family));
        let retired: Vec<_> = then.classes.iter().filter(|(id, _)| !now.classes.contains_key(id)).collect();
        let of_family = |address: &&IpAddr| Family::of(**address) == family;
        for question in Question::ALL {
            let decide = &mut elements.decide[question.index()];
            for address in old.subjects.keys().filter(of_family) {
                let asked = |numbers: &FamilyNumbers, subjects: &BTreeMap<IpAddr, Subject>| {
                    numbers.asked(*subjects.get(address)?, question)
                };
                let Some(was) = asked(then, &old.subjects) else { continue };
                if let Some(is) = asked(now, &numbers.subjects) {
                    let default = now.functions[is as usize].1;
                    for &(&class, column) in &retired {
                        let program = then.program(column, was);
                        if program != default {
                            decide.insert((*address, class), program);
                        }
                    }
                } else {
                    // No subject any more: whatever it asks is allowed, whoever the peer is by now.
                    let id = match everything_id {
                        Some(id) => id,
                        None => *everything_id.insert(allocator.fresh()?),
                    };
                    elements.default[question.index()].insert(*address, id);
                }
            }
        }
        numbers.retired.extend(retired.iter().map(|&(&id, _)| id));
    }
    if let Some(id) = everything_id
        && !numbers.programs.contains_key(&everything)
    {
        elements.program(id, &everything);
        numbers.retired.insert(id);
    }
    Ok(())
}
