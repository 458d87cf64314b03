//! The objects of a cluster's state, brought into the API.

use anyhow::Result;
use serde_json::Value;

use super::name::Name;
use super::{Mark, Objects};
use crate::manifests;
use crate::scenario::State;

impl Objects {
    /// Brings the API's objects from one state of the cluster to another.
    pub async fn change(&self, from: Option<&State>, to: &State) -> Result<Vec<Mark>> {
        let old = from.map(objects).transpose()?.unwrap_or_default();
        let new = objects(to)?;
        let mut marks = Vec::new();
        // What a pod is made of cannot change: it is made anew.
        let is_gone = |name: &str, object: &Value| {
            new.iter()
                .find(|(other, _)| other == name)
                .is_none_or(|(_, new)| object["kind"] == "Pod" && object["spec"] != new["spec"])
        };
        let gone: Vec<&(String, Value)> = old.iter().filter(|(name, object)| is_gone(name, object)).collect();
        for (_, object) in gone.iter().rev() {
            marks.extend(self.delete(object).await?);
        }
        for (name, object) in &new {
            let is_there = old.iter().any(|(other, old)| other == name && old == object)
                && !gone.iter().any(|(other, _)| other == name);
            if !is_there {
                marks.push(self.put(object).await?);
            }
        }
        Ok(marks)
    }
}

/// Every object of a state by its name; what others need comes first.
fn objects(state: &State) -> Result<Vec<(String, Value)>> {
    let mut files = manifests::files(state)?;
    let mut ordered = Vec::new();
    for file in ["namespaces.yaml", "nodes.yaml", "pods.yaml"] {
        ordered.extend(files.remove(file).unwrap_or_default());
    }
    ordered.extend(files.into_values().flatten());
    ordered.into_iter().map(|object| Ok((Name::of(&object)?.to_string(), object))).collect()
}
