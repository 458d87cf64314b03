//! From one revision of the view to the transaction that puts it in force.
//!
//! # Order within a transaction
//! The kernel makes a transaction visible at once, so packets see no order. It checks commands one after the other,
//! though, and that asks for this much:
//! - a key's value cannot be changed in place: it is deleted and added again, in this order;
//! - an interval is deleted before another one is added that overlaps it.
//!
//! Beyond that, what is referred to comes before what refers to it, and removals go the other way round: programs,
//! rows, classes of addresses, subjects; then subjects, addresses, rows, programs. So any beginning of a
//! transaction would be a table that judges nobody by something that is not there.

use std::collections::{BTreeMap, BTreeSet};

use palisade_view::{Family, NodeView, Protocol, ViewError};

use crate::draft::{Draft, draft};
use crate::element::{Datum, Element, Field};
use crate::elements::Elements;
use crate::marker::{self, Markers};
use crate::names::{self, ALLOW_ALL, ALLOW_OTHER, ALLOW_PORT, Question};
use crate::numbering::OutOfIdentifiers;
use crate::numbers::Numbers;
use crate::place::Place;
use crate::skeleton;
use crate::transaction::{Op, Transaction};

/// A view that cannot be planned. Nothing changes then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The view refers to what it does not hold.
    #[error(transparent)]
    View(#[from] ViewError),
    /// There are no identifiers left.
    #[error(transparent)]
    Identifiers(#[from] OutOfIdentifiers),
    /// An update was asked for while it is not known what the kernel holds.
    #[error("the table's content is not known: open, refill or load first")]
    NotOpen,
}

/// Plans transactions and keeps what the kernel holds.
///
/// Each transaction must be settled by [`commit`](Planner::commit) or [`abort`](Planner::abort) before the next one
/// is planned; planning another one aborts it.
#[derive(Clone, Debug)]
pub struct Planner {
    /// What the kernel holds; the elements only where they are known.
    numbers: Numbers,
    elements: Option<Elements>,
    /// What it will hold once it took the transaction in hand.
    pending: Option<Draft>,
}

impl Planner {
    /// A planner for a kernel whose table is not known yet. `numbers` are those of the state file; the default on a
    /// node that has none, or whose file cannot be read.
    pub fn new(numbers: Numbers) -> Self {
        Self { numbers, elements: None, pending: None }
    }

    /// The numbers of the transaction in hand, or else of the last committed one. They belong into the state file
    /// beside the view, before the transaction is applied: a restarted shim then recognises the kernel's elements
    /// whether or not they were taken.
    pub fn numbers(&self) -> &Numbers {
        self.pending.as_ref().map_or(&self.numbers, |draft| &draft.numbers)
    }

    /// Whether the table holds rows that only packets under way at the last commit can reach. The next update
    /// removes them, be it one of the same view; it should not come within a packet's way through the kernel, a few
    /// milliseconds.
    pub fn has_leftovers(&self) -> bool {
        self.numbers.leftovers
    }

    /// The transaction that puts the view in force on a kernel whose markers were just read: none (empty) if the
    /// kernel holds this view with these numbers, a [`refill`](Planner::refill) if the skeleton is this build's,
    /// else a [`load`](Planner::load).
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn open(&mut self, view: &NodeView, markers: &Markers) -> Result<Transaction, PlanError> {
        if markers.skeleton != Some(skeleton::fingerprint()) {
            return self.load(view);
        }
        let same = markers.revision == Some(view.root().0)
            && markers.generation == Some(u128::from(self.numbers.generation))
            && !self.numbers.leftovers;
        if !same {
            return self.refill(view);
        }
        self.abort();
        view.check()?;
        // The numbers were made from this view: drafting it again with them changes none.
        let mut drafted = draft(view, &self.numbers, None)?;
        drafted.elements.generation = u128::from(self.numbers.generation);
        if drafted.numbers.families != self.numbers.families
            || drafted.numbers.programs != self.numbers.programs
        {
            return self.refill(view);
        }
        self.pending = Some(drafted);
        Ok(Transaction::default())
    }

    /// The transaction that builds the table from nothing, whatever stood in its place.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn load(&mut self, view: &NodeView) -> Result<Transaction, PlanError> {
        let drafted = self.draft(view, false)?;
        let mut transaction = Transaction::delete_table();
        transaction.append(skeleton::build());
        fill(&drafted.elements, &mut transaction);
        self.pending = Some(drafted);
        Ok(transaction)
    }

    /// The transaction that replaces all elements, for a table of this build's skeleton whose elements are not
    /// known. No packet meets an empty table.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn refill(&mut self, view: &NodeView) -> Result<Transaction, PlanError> {
        let drafted = self.draft(view, false)?;
        let mut transaction = Transaction::default();
        for set in skeleton::sets() {
            transaction.push(Op::Flush(set));
        }
        fill(&drafted.elements, &mut transaction);
        self.pending = Some(drafted);
        Ok(transaction)
    }

    /// The transaction from what the kernel holds to the view: changed elements only, and none at all where the view
    /// is in force.
    ///
    /// # Errors
    /// See [`PlanError`]; [`PlanError::NotOpen`] before an open, load or refill was committed.
    pub fn update(&mut self, view: &NodeView) -> Result<Transaction, PlanError> {
        let mut drafted = self.draft(view, true)?;
        let Some(before) = &self.elements else { return Err(PlanError::NotOpen) };
        let generation = drafted.elements.generation;
        drafted.elements.generation = before.generation;
        if drafted.elements == *before {
            return Ok(Transaction::default());
        }
        drafted.elements.generation = generation;
        let transaction = difference(before, &drafted.elements);
        self.pending = Some(drafted);
        Ok(transaction)
    }

    fn draft(&mut self, view: &NodeView, incremental: bool) -> Result<Draft, PlanError> {
        self.abort();
        view.check()?;
        let before = if incremental { Some(self.elements.as_ref().ok_or(PlanError::NotOpen)?) } else { None };
        let mut drafted = draft(view, &self.numbers, before)?;
        drafted.numbers.generation = self.numbers.generation.wrapping_add(1);
        drafted.elements.generation = u128::from(drafted.numbers.generation);
        Ok(drafted)
    }

    /// The kernel took the transaction in hand. Does nothing if there is none.
    pub fn commit(&mut self) {
        if let Some(Draft { numbers, elements }) = self.pending.take() {
            self.numbers = numbers;
            self.elements = Some(elements);
        }
    }

    /// The kernel refused the transaction in hand, or will not be given it. Where it is not known whether the kernel
    /// took it, abort and [`refill`](Planner::refill). Identifiers and generation that it used are not used again.
    pub fn abort(&mut self) {
        if let Some(Draft { numbers, .. }) = self.pending.take() {
            self.numbers.next = numbers.next;
            self.numbers.generation = numbers.generation;
        }
    }
}

/// One set's or map's part of a transaction.
#[derive(Default)]
struct Changes {
    added: Vec<Element>,
    /// Keys of changed values, and the elements in their place.
    changed: (Vec<Element>, Vec<Element>),
    removed: Vec<Element>,
}

/// What changes in a pair of sets or maps that one table feeds, by family.
struct Difference {
    names: [&'static str; 2],
    changes: [Changes; 2],
}

impl Difference {
    fn of_map<K: Place>(
        names: [&'static str; 2],
        before: &BTreeMap<K, u32>,
        after: &BTreeMap<K, u32>,
    ) -> Self {
        let pairs = |map| BTreeMap::<K, u32>::iter(map).map(|(&key, &value)| (key, Some(value)));
        Self::of(names, pairs(before), pairs(after))
    }

    fn of_set<K: Place>(names: [&'static str; 2], before: &BTreeSet<K>, after: &BTreeSet<K>) -> Self {
        let pairs = |set| BTreeSet::<K>::iter(set).map(|&key| (key, None));
        Self::of(names, pairs(before), pairs(after))
    }

    /// Both sorted by key.
    fn of<K: Place>(
        names: [&'static str; 2],
        before: impl Iterator<Item = (K, Option<u32>)>,
        after: impl Iterator<Item = (K, Option<u32>)>,
    ) -> Self {
        let mut changes = [Changes::default(), Changes::default()];
        let element = |key: K, value: Option<u32>| Element { key: key.fields(), value };
        let (mut old, mut new) = (before.peekable(), after.peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => old.0.cmp(&new.0),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            let gone = if order.is_le() { old.next() } else { None };
            let come = if order.is_ge() { new.next() } else { None };
            let Some((key, _)) = gone.or(come) else { break };
            let changes = &mut changes[usize::from(key.family() == Family::V6)];
            match (gone, come) {
                (Some((_, gone)), Some((_, come))) if gone == come => {}
                (Some(_), Some((_, come))) => {
                    changes.changed.0.push(element(key, None));
                    changes.changed.1.push(element(key, come));
                }
                (Some(_), None) => changes.removed.push(element(key, None)),
                (None, come) => changes.added.push(element(key, come.and_then(|(_, value)| value))),
            }
        }
        Self { names, changes }
    }

    fn each(&mut self, mut with: impl FnMut(&'static str, &mut Changes)) {
        for (name, changes) in self.names.iter().zip(&mut self.changes) {
            with(name, changes);
        }
    }

    fn additions(&mut self, transaction: &mut Transaction) {
        self.each(|name, changes| {
            transaction.add(name, std::mem::take(&mut changes.added));
            transaction.delete(name, std::mem::take(&mut changes.changed.0));
            transaction.add(name, std::mem::take(&mut changes.changed.1));
        });
    }

    fn removals(&mut self, transaction: &mut Transaction) {
        self.each(|name, changes| transaction.delete(name, std::mem::take(&mut changes.removed)));
    }
}

/// Adds everything to empty sets and maps.
fn fill(elements: &Elements, transaction: &mut Transaction) {
    content(&Elements::default(), elements, transaction);
    transaction.add(marker::SKELETON, vec![mark(skeleton::fingerprint())]);
    transaction.add(marker::GENERATION, vec![mark(elements.generation)]);
    transaction.add(marker::REVISION, vec![mark(elements.revision)]);
}

/// Turns one revision's elements into the next one's.
fn difference(before: &Elements, after: &Elements) -> Transaction {
    let mut transaction = Transaction::default();
    content(before, after, &mut transaction);
    for (name, before, after) in [
        (marker::GENERATION, before.generation, after.generation),
        (marker::REVISION, before.revision, after.revision),
    ] {
        if before != after {
            transaction.delete(name, vec![mark(before)]);
            transaction.add(name, vec![mark(after)]);
        }
    }
    transaction
}

fn mark(bits: u128) -> Element {
    Element { key: vec![Field::Exact(Datum::Ipv6(bits.into()))], value: None }
}

/// Everything but the markers.
fn content(before: &Elements, after: &Elements, transaction: &mut Transaction) {
    let by_family = |name: fn(Family) -> &'static str| [name(Family::V4), name(Family::V6)];
    // Programs serve both families; one name takes all.
    let mut parts = vec![
        Difference::of_set([ALLOW_ALL; 2], &before.allow_all, &after.allow_all),
        Difference::of_set([ALLOW_PORT; 2], &before.allow_port, &after.allow_port),
        Difference::of_set([ALLOW_OTHER; 2], &before.allow_other, &after.allow_other),
    ];
    for ((protocol, before), after) in
        Protocol::ALL.into_iter().zip(&before.allow_range).zip(&after.allow_range)
    {
        parts.push(Difference::of_set([names::allow_range(protocol); 2], before, after));
    }
    for question in Question::ALL {
        let names = [Family::V4, Family::V6];
        let (position, decide, default) = (
            question.index(),
            names.map(|family| question.decide(family)),
            names.map(|family| question.default(family)),
        );
        parts.push(Difference::of_map(decide, &before.decide[position], &after.decide[position]));
        parts.push(Difference::of_map(default, &before.default[position], &after.default[position]));
    }
    parts.push(Difference::of_map(by_family(names::hairpin), &before.hairpin, &after.hairpin));
    let mut intervals = Difference::of_map(by_family(names::cidr), &before.cidr, &after.cidr);
    let mut last = [
        Difference::of_map(by_family(names::peer), &before.peer, &after.peer),
        Difference::of_set(by_family(names::out), &before.out, &after.out),
        Difference::of_set(by_family(names::ingress), &before.ingress, &after.ingress),
    ];

    for part in &mut parts {
        part.additions(transaction);
    }
    // An interval may overlap one that goes.
    intervals.removals(transaction);
    intervals.additions(transaction);
    for part in &mut last {
        part.additions(transaction);
    }
    last.iter_mut().rev().for_each(|part| part.removals(transaction));
    parts.iter_mut().rev().for_each(|part| part.removals(transaction));
}
