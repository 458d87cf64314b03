//! What the hub knows of one node. Knows nothing of other nodes, of policies or of who asks.

use palisade_view::Root;
use tokio::sync::watch;

use super::Published;
use crate::state::NodeState;

/// A node, whether the cluster has it, a shim of its name has called, or both.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) published: watch::Sender<Option<Published>>,
    pub(super) session: Option<u64>,
    pub(super) supersede: Option<watch::Sender<bool>>,
    /// What it holds for certain: nothing while an update is on its way.
    pub(super) acked: Option<Root>,
    pub(super) acked_epoch: Option<u64>,
    pub(super) ever: bool,
    pub(super) parked: bool,
    pub(super) message: String,
    pub(super) version: String,
    pub(super) capabilities: Vec<String>,
}

impl Node {
    /// Whether it holds the latest view.
    pub(super) fn is_confirmed(&self) -> bool {
        let published = self.published.borrow();
        published.as_ref().is_some_and(|published| self.acked == Some(published.view.root()))
    }

    /// Where it stands.
    pub(super) fn state(&self) -> NodeState {
        match self.session {
            None if self.ever => NodeState::Disconnected,
            None => NodeState::NeverConnected,
            Some(_) if self.is_confirmed() => NodeState::InSync,
            Some(_) if self.parked => NodeState::Parked,
            Some(_) => NodeState::Updating,
        }
    }
}
