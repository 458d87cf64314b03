//! How far everything has come, at one moment: what status is made of. Plain data, published by the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_compiler::model::ObjectRef;

use crate::batch::{Finding, PolicyReport};
use crate::state::NodeState;

/// Policies and nodes, and how far each is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Batches taken in so far.
    pub epoch: u64,
    /// Every policy of the Kubernetes API.
    pub policies: BTreeMap<ObjectRef, Arc<PolicyProgress>>,
    /// Every node of the cluster.
    pub nodes: BTreeMap<String, NodeProgress>,
}

impl Progress {
    /// Whether a node has confirmed everything up to an epoch.
    pub fn is_confirmed(&self, node: &str, epoch: u64) -> bool {
        self.nodes.get(node).is_some_and(|node| node.acked_epoch.is_some_and(|acked| acked >= epoch))
    }
}

/// A policy, as far as status is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyProgress {
    /// What the API says of it.
    pub report: PolicyReport,
    /// The epoch at which this generation was taken in.
    pub epoch: u64,
    /// What was found about it, sorted.
    pub findings: Vec<Finding>,
    /// Nodes with a pod that the policy is about. `None`: not known yet.
    pub span: Option<Arc<BTreeSet<String>>>,
}

/// A node, as far as status is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeProgress {
    /// Where it stands.
    pub state: NodeState,
    /// It has confirmed everything that was taken in up to this epoch.
    pub acked_epoch: Option<u64>,
    /// Why its stream ended or why it refused; empty if nothing is wrong.
    pub message: String,
}
