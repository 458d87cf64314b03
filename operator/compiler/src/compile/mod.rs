//! The engine. (interface; being written)

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_view::{NodeView, Operation, Root};

use crate::model::{Cluster, Event};

/// One node's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The root the operations apply to.
    pub from: Root,
    /// The operations, in order.
    pub operations: Arc<[Operation]>,
    /// The view after them.
    pub view: Arc<NodeView>,
}

/// What a batch of events comes to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// Nodes whose view changed. A node that is new to the cluster is here even if its view is empty.
    pub nodes: BTreeMap<String, Change>,
    /// Nodes that left the cluster.
    pub removed: Vec<String>,
}

/// Keeps the cluster and every node's view of it.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    cluster: Cluster,
    views: BTreeMap<String, Arc<NodeView>>,
}

impl Engine {
    /// Carries out a batch of changes.
    pub fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Changes {
        for event in events {
            self.cluster.apply(event);
        }
        Changes::default()
    }

    /// The cluster as the engine knows it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A node's present view; `None` for a node the cluster does not have.
    pub fn view(&self, node: &str) -> Option<&Arc<NodeView>> {
        self.views.get(node)
    }

    /// Every node's present view, by name.
    pub fn views(&self) -> &BTreeMap<String, Arc<NodeView>> {
        &self.views
    }
}
