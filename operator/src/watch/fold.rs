//! All kinds into batches: what has changed since the last one, each object once. Pure; time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use palisade_compiler::model::Kind;

use super::heard::Heard;
use super::pending::{Note, Pending};
use super::shelf::{Moment, Shelf};
use crate::batch::Batch;
use crate::state::SourceState;

/// See the module.
#[derive(Debug)]
pub(super) struct Fold {
    shelves: BTreeMap<Kind, Shelf>,
    pending: Pending,
    /// The first batch has been made.
    has_begun: bool,
    /// What was last said of each kind.
    told: BTreeMap<Kind, SourceState>,
}

impl Fold {
    /// One that has heard nothing. What goes with its definition is held for the time of grace.
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            shelves: Kind::ALL.into_iter().map(|kind| (kind, Shelf::new(kind, grace))).collect(),
            pending: Pending::default(),
            has_begun: false,
            told: BTreeMap::new(),
        }
    }

    /// Takes in what is heard of a kind.
    pub(super) fn hear(&mut self, kind: Kind, heard: Heard, now: Moment) {
        if let Some(shelf) = self.shelves.get_mut(&kind) {
            shelf.hear(heard, now, &mut self.pending);
        }
    }

    /// When [`Fold::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.shelves.values().filter_map(Shelf::deadline).min()
    }

    /// Drops what has been held for long enough.
    pub(super) fn tick(&mut self, now: Moment) {
        for shelf in self.shelves.values_mut() {
            shelf.tick(now, &mut self.pending);
        }
    }

    /// Whether there is a batch to send: everything has been read once, and something has changed that matters.
    pub(super) fn is_due(&self) -> bool {
        let is_whole = self.has_begun || self.shelves.values().all(Shelf::is_read);
        is_whole && !(self.has_begun && self.pending.is_empty())
    }

    /// What has changed since the last batch.
    pub(super) fn batch(&mut self) -> Batch {
        self.has_begun = true;
        let pending = &mut self.pending;
        Batch {
            events: std::mem::take(&mut pending.events).into_values().collect(),
            findings: std::mem::take(&mut pending.findings),
            policies: std::mem::take(&mut pending.policies),
            seen: std::mem::take(&mut pending.seen),
            ..Batch::default()
        }
    }

    /// What is to be said in the log since the last time.
    pub(super) fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.pending.notes)
    }

    /// Kinds that stand elsewhere than last time.
    pub(super) fn states(&mut self) -> Vec<(Kind, SourceState)> {
        let mut changed = Vec::new();
        for (&kind, shelf) in &self.shelves {
            let state = shelf.state();
            if self.told.get(&kind) != Some(&state) {
                self.told.insert(kind, state.clone());
                changed.push((kind, state));
            }
        }
        changed
    }
}
