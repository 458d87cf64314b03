//! What all checks look at: the policies in order, who is there, and whom NetworkPolicy isolates.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use palisade_view::Direction;

use super::ground::{ClassId, Ground, Sort};
use super::meter::{Exhausted, Meter};
use super::sheet::{Scope, Sheet, Side, Stage, sheets};
use crate::model::{Cluster, NamespaceMatch, Peer, Selector};

/// See the module.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) sheets: Vec<Sheet<'a>>,
    pub(super) ground: Ground<'a>,
    isolated: [BTreeSet<ClassId>; 2],
    starts: Vec<usize>,
    /// How many policies are of the Admin tier.
    admin: usize,
}

impl<'a> Survey<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        let sheets = sheets(cluster);
        let starts = starts(&sheets);
        let admin = sheets.iter().filter(|sheet| sheet.stage == Stage::Admin).count();
        Self { sheets, ground: Ground::of(cluster), isolated: Default::default(), starts, admin }
    }

    /// Finds out whom NetworkPolicy isolates. Until then, and for policies that were too much work, it is nobody.
    /// Returns whether all could be looked at.
    pub(super) fn find_isolated(&mut self, meter: &mut Meter) -> bool {
        let mut is_whole = true;
        for direction in [Direction::Ingress, Direction::Egress] {
            let (mut isolated, mut known) = (BTreeSet::new(), HashSet::new());
            for sheet in self.sheets.iter().filter(|sheet| sheet.isolates(direction)) {
                let Some(scope) = &sheet.scope else { continue };
                meter.next_policy();
                match self.subjects(scope, meter) {
                    // Equal answers are the same one.
                    Ok(subjects) if known.insert(Rc::as_ptr(&subjects).addr()) => {
                        isolated.extend(subjects.iter());
                    }
                    Ok(_) => {}
                    Err(Exhausted) => is_whole = false,
                }
            }
            if let Some(slot) = self.isolated.get_mut(usize::from(direction == Direction::Egress)) {
                *slot = isolated;
            }
        }
        is_whole
    }

    /// The classes of pods that a policy is about.
    pub(super) fn subjects(&self, scope: &Scope, meter: &mut Meter) -> Result<Rc<[ClassId]>, Exhausted> {
        self.known(&scope.subjects, &scope.namespaces, &scope.pods, meter)
    }

    /// The classes of pods that a peer selects by labels; none where it is something else.
    pub(super) fn selected(&self, side: &Side<'_>, meter: &mut Meter) -> Result<Rc<[ClassId]>, Exhausted> {
        match side.peer {
            Peer::Pods { namespaces, pods } => self.known(&side.selected, namespaces, pods, meter),
            _ => Ok(Rc::default()),
        }
    }

    fn known(
        &self,
        cell: &OnceCell<Rc<[ClassId]>>,
        namespaces: &NamespaceMatch,
        pods: &Selector,
        meter: &mut Meter,
    ) -> Result<Rc<[ClassId]>, Exhausted> {
        meter.spend(1)?;
        if let Some(known) = cell.get() {
            return Ok(Rc::clone(known));
        }
        let found = self.ground.pods(Sort::Networked, namespaces, pods, meter)?;
        Ok(Rc::clone(cell.get_or_init(|| found)))
    }

    /// Whether a policy is about a class.
    pub(super) fn is_about(
        &self,
        sheet: &Sheet<'_>,
        id: ClassId,
        meter: &mut Meter,
    ) -> Result<bool, Exhausted> {
        let Some(scope) = &sheet.scope else { return Ok(false) };
        Ok(self.subjects(scope, meter)?.binary_search(&id).is_ok())
    }

    /// Whether NetworkPolicy isolates a class.
    pub(super) fn is_isolated(&self, id: ClassId, direction: Direction) -> bool {
        self.isolated.get(usize::from(direction == Direction::Egress)).is_some_and(|all| all.contains(&id))
    }

    /// Every position, those with the fewest policies before them first: what is much work comes last.
    pub(super) fn cheapest_first(&self) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..self.sheets.len()).collect();
        let start = |position: usize| self.starts.get(position).copied().unwrap_or_default();
        positions.sort_by_key(|&position| self.admin.min(start(position)) + (position - start(position)));
        positions
    }

    /// The policies that are asked before the one at a position: all of the Admin tier before NetworkPolicy and Baseline;
    /// of NetworkPolicies those of the same namespace; of the own tier those that stand before.
    pub(super) fn before(&self, position: usize) -> impl Iterator<Item = &Sheet<'a>> {
        let start = self.starts.get(position).copied().unwrap_or_default();
        let own = self.sheets.get(start..position).unwrap_or_default();
        self.sheets.iter().take(self.admin.min(start)).chain(own)
    }
}

/// For each policy the position of the first that it stands in a row with: of its tier, or of its namespace.
fn starts(sheets: &[Sheet<'_>]) -> Vec<usize> {
    let mut starts: Vec<usize> = Vec::with_capacity(sheets.len());
    for (position, sheet) in sheets.iter().enumerate() {
        let before =
            position.checked_sub(1).and_then(|before| Some((sheets.get(before)?, *starts.get(before)?)));
        let row = |sheet: &Sheet<'_>| (sheet.stage, sheet.object.namespace.clone());
        starts.push(match before {
            Some((before, start)) if row(before) == row(sheet) => start,
            _ => position,
        });
    }
    starts
}
