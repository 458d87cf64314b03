//! What has changed since the last batch, gathered.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_compiler::model::{Event, Kind, ObjectRef};

use crate::batch::{Finding, PolicyReport};

/// Something for the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Note {
    /// A finding that was not there before.
    Found(Finding),
    /// The definition of a kind has gone; its policies are held.
    Vanished {
        /// The kind.
        kind: Kind,
        /// For how long.
        grace: Duration,
    },
    /// Policies that were held for long enough are dropped.
    Dropped {
        /// Their kind.
        kind: Kind,
        /// How many.
        policies: usize,
    },
}

/// What has changed since the last batch.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The last change of each object.
    pub(super) events: BTreeMap<ObjectRef, Event>,
    /// As in a batch.
    pub(super) findings: BTreeMap<ObjectRef, Vec<Finding>>,
    /// As in a batch.
    pub(super) policies: BTreeMap<ObjectRef, Option<PolicyReport>>,
    /// As in a batch.
    pub(super) seen: BTreeMap<&'static str, u64>,
    /// For the log.
    pub(super) notes: Vec<Note>,
}

impl Pending {
    /// Everything of a kind up to a version has been taken in.
    pub(super) fn saw(&mut self, kind: Kind, version: Option<u64>) {
        if let Some(version) = version {
            let seen = self.seen.entry(kind.name()).or_default();
            *seen = version.max(*seen);
        }
    }

    /// Whether no object has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.findings.is_empty() && self.policies.is_empty()
    }
}
