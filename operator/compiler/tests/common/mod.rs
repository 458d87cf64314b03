//! What the tests against reference data share: the data as steps of cluster state with probes, and nodes that follow
//! an engine by its operations alone and judge packets.

pub(crate) mod conformance;
pub(crate) mod cyclonus;
pub(crate) mod nodes;
mod objects;
pub(crate) mod reference;

use std::collections::BTreeMap;

use palisade_compiler::model::{Cluster, Event, Object, ObjectRef};
use palisade_compiler::oracle::Flow;

/// One state of a cluster, and what must hold in it.
pub(crate) struct Step {
    /// Where it comes from, for messages.
    pub(crate) name: String,
    /// Every object there is.
    pub(crate) objects: BTreeMap<ObjectRef, Object>,
    pub(crate) probes: Vec<Probe>,
}

/// One flow with what the data demands of it.
pub(crate) struct Probe {
    /// Ends and port as the data names them, for messages.
    pub(crate) name: String,
    pub(crate) flow: Flow,
    pub(crate) allowed: bool,
    /// Whether egress and whether ingress permits it, where the data tells them apart.
    pub(crate) directions: Option<(bool, bool)>,
}

impl Step {
    /// The changes that lead here from another state: what is gone first, then what is new or different.
    pub(crate) fn events_from(&self, before: &BTreeMap<ObjectRef, Object>) -> Vec<Event> {
        let gone = before.keys().filter(|name| !self.objects.contains_key(*name)).cloned().map(Event::Delete);
        let put = self.objects.iter().filter(|(name, object)| before.get(*name) != Some(*object));
        gone.chain(put.map(|(_, object)| Event::Apply(object.clone()))).collect()
    }

    /// The state as a cluster.
    pub(crate) fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::default();
        for event in self.events_from(&BTreeMap::new()) {
            cluster.apply(event);
        }
        cluster
    }
}

/// How far a judge agrees with the data.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) probes: usize,
    /// One line for each probe judged otherwise.
    pub(crate) disagreements: Vec<String>,
}

impl Tally {
    /// Counts one probe. `judge` says whether the flow and whether each direction is permitted; `why` is asked only
    /// on disagreement.
    pub(crate) fn count(
        &mut self,
        step: &Step,
        probe: &Probe,
        (egress, ingress, allowed): (bool, bool, bool),
        why: impl FnOnce() -> String,
    ) {
        self.probes += 1;
        let agrees =
            allowed == probe.allowed && probe.directions.is_none_or(|expected| expected == (egress, ingress));
        if !agrees {
            let word = |allowed| if allowed { "allowed" } else { "denied" };
            let apart = probe.directions.map_or_else(String::new, |(egress, ingress)| {
                format!(" (egress {}, ingress {})", word(egress), word(ingress))
            });
            let line = format!(
                "{}: {}: must be {}{apart}, is {} ({})",
                step.name,
                probe.name,
                word(probe.allowed),
                word(allowed),
                why()
            );
            self.disagreements.push(line);
        }
    }
}
