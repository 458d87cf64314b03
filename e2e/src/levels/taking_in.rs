//! From the state's manifests to events of the model, by the very decoding the operator uses.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use palisade_compiler::Severity;
use palisade_compiler::intake::{self, IntakeError};
use palisade_compiler::model::{Event, ObjectRef};
use serde_json::Value;

use crate::manifests;
use crate::scenario::State;

/// Follows the manifests of a changing state.
#[derive(Debug, Default)]
pub struct TakingIn {
    held: BTreeMap<ObjectRef, Value>,
    good: BTreeMap<ObjectRef, bool>,
}

impl TakingIn {
    /// The events that bring the model to a state. Cluster objects must be flawless; a policy may be malformed, and
    /// a malformed one does not replace a good one.
    pub fn events(&mut self, to: &State) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut new = BTreeMap::new();
        for raw in manifests::files(to)?.into_values().flatten() {
            let decoded = match intake::decode(&raw) {
                Ok(decoded) => decoded,
                Err(IntakeError::UnknownKind { .. }) => continue,
                Err(error) => bail!("{error}: {raw}"),
            };
            let object = decoded.object;
            if self.held.get(&object) != Some(&raw) {
                let is_broken = decoded.diagnostics.iter().any(|finding| finding.severity == Severity::Error);
                if is_broken && !object.kind.is_policy() {
                    bail!("{object}: {:?}", decoded.diagnostics);
                }
                let keeps_good = is_broken && self.good.get(&object) == Some(&true);
                if let Some(model) = decoded.model.filter(|_| !keeps_good) {
                    events.push(Event::Apply(model));
                    self.good.insert(object.clone(), !is_broken);
                }
            }
            new.insert(object, raw);
        }
        for object in self.held.keys().filter(|object| !new.contains_key(*object)) {
            events.push(Event::Delete(object.clone()));
            self.good.remove(object);
        }
        self.held = new;
        Ok(events)
    }
}
