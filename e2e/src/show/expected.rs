//! The cluster as its objects describe it, for the oracle to judge.

use palisade_compiler::intake;
use palisade_compiler::model::{Cluster, Event};
use serde_json::Value;

/// See the module.
#[derive(Debug, Default)]
pub struct Expected {
    /// What was understood.
    pub model: Cluster,
    /// What is wrong with the objects.
    pub findings: Vec<String>,
}

impl Expected {
    /// Takes an object in.
    pub fn take_in(&mut self, object: &Value) {
        if object.is_null() {
            return;
        }
        match intake::decode(object) {
            Ok(decoded) => {
                self.findings.extend(decoded.diagnostics.iter().map(ToString::to_string));
                if let Some(model) = decoded.model {
                    self.model.apply(Event::Apply(model));
                }
            }
            Err(error) => self.findings.push(error.to_string()),
        }
    }
}
