//! What the hub tells: how far everything has come, to status, to the admin server, and to whoever waits for something
//! to be in force. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::Hub;
use crate::progress::{NodeProgress, Progress};
use crate::state::{FileState, NodeReport, NodeState, State};

/// What somebody waits for to be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// What has been taken in when the wait begins.
    Now,
    /// A file's content.
    File {
        /// The file.
        name: String,
        /// BLAKE3 hash of its bytes, in hex; `None`: its absence.
        digest: Option<String>,
    },
    /// What the Kubernetes API has of a kind up to a resource version.
    Read {
        /// The kind.
        kind: String,
        /// The `metadata.resourceVersion` of one of its objects or lists.
        version: u64,
    },
}

impl Hub {
    /// Everything that was found about any object, for people.
    pub fn findings(&self) -> String {
        let inner = self.lock();
        inner.opinions.render(inner.findings.values().flatten())
    }

    /// How far everything has come.
    pub fn progress(&self) -> Progress {
        let inner = self.lock();
        let nodes = inner.nodes.iter().filter(|(_, node)| node.published.borrow().is_some());
        let nodes = nodes.map(|(name, node)| {
            let (state, acked_epoch) = (node.state(), node.acked_epoch);
            (name.clone(), NodeProgress { state, acked_epoch, message: node.message.clone() })
        });
        Progress { epoch: inner.epoch, policies: inner.policies.clone(), nodes: nodes.collect() }
    }

    /// Whether every source has been read once.
    pub fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// How many nodes are in each state.
    pub fn node_states(&self) -> BTreeMap<NodeState, usize> {
        let mut states = BTreeMap::from(
            [
                NodeState::NeverConnected,
                NodeState::Disconnected,
                NodeState::Updating,
                NodeState::InSync,
                NodeState::Parked,
            ]
            .map(|state| (state, 0)),
        );
        for node in self.lock().nodes.values() {
            *states.entry(node.state()).or_default() += 1;
        }
        states
    }

    /// The epoch, and where these nodes stand in it; those that the cluster does not have are left out.
    pub fn standing(&self, nodes: &BTreeSet<String>) -> (u64, BTreeMap<String, NodeState>) {
        let inner = self.lock();
        let known = nodes.iter().filter_map(|name| Some((name.clone(), inner.nodes.get(name)?.state())));
        (inner.epoch, known.collect())
    }

    /// Everything, for people and tests.
    pub fn state(&self) -> State {
        let inner = self.lock();
        let files = inner.files.iter().map(|(name, (report, epoch))| {
            let state = FileState {
                digest: report.digest.clone(),
                epoch: *epoch,
                documents: report.documents,
                errors: report.errors.clone(),
            };
            (name.clone(), state)
        });
        let nodes = inner.nodes.iter().map(|(name, node)| {
            let root = node.published.borrow().as_ref().map(|published| published.view.root().to_string());
            let message = if root.is_none() && node.message.is_empty() && inner.ready {
                "the cluster has no such node".to_owned()
            } else {
                node.message.clone()
            };
            let report = NodeReport {
                root,
                acked_root: node.acked.map(|root| root.to_string()),
                acked_epoch: node.acked_epoch,
                connected: node.session.is_some(),
                state: node.state(),
                message,
                version: node.version.clone(),
                capabilities: node.capabilities.clone(),
            };
            (name.clone(), report)
        });
        State {
            epoch: inner.epoch,
            term: inner.term.unwrap_or_default(),
            leading: inner.term.is_some(),
            ready: inner.ready,
            files: files.collect(),
            sources: inner.sources.clone(),
            objects: inner.objects.iter().copied().collect(),
            diagnostics: inner.findings.values().flatten().map(ToString::to_string).collect(),
            nodes: nodes.collect(),
        }
    }

    /// Waits until something has been taken in and every given node is connected and has confirmed what came of it.
    pub async fn settled(&self, what: &Awaited, nodes: &[String]) {
        let mut changed = self.changed.subscribe();
        let called_at = self.lock().epoch;
        let mut epoch = None;
        loop {
            changed.mark_unchanged();
            {
                let inner = self.lock();
                epoch = epoch.or_else(|| inner.taken_in(what, called_at));
                if epoch.is_some_and(|epoch| nodes.iter().all(|name| inner.has_confirmed(name, epoch))) {
                    return;
                }
            }
            // The sender lives as long as this hub.
            let _ = changed.changed().await;
        }
    }
}
