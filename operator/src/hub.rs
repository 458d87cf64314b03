//! What is known and in force, shared by the engine (which publishes), the sessions (which confirm) and the admin
//! server (which tells). Knows neither where objects come from nor how they travel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_compiler::{Change, Changes, Severity};
use palisade_view::{NodeView, Root};
use tokio::sync::watch;

use crate::manifests::{Batch, FileReport, Finding};
use crate::metrics::Metrics;
use crate::state::{FileState, NodeReport, NodeState, State};

/// A node's latest view, with the step that led to it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The view.
    pub view: Arc<NodeView>,
    /// The last change, for a session that is exactly one behind.
    pub change: Option<Change>,
}

#[derive(Debug)]
struct Node {
    published: watch::Sender<Option<Published>>,
    session: Option<u64>,
    supersede: Option<watch::Sender<bool>>,
    acked: Option<Root>,
    acked_epoch: Option<u64>,
    ever: bool,
    parked: bool,
    message: String,
    version: String,
    capabilities: Vec<String>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            published: watch::Sender::new(None),
            session: None,
            supersede: None,
            acked: None,
            acked_epoch: None,
            ever: false,
            parked: false,
            message: String::new(),
            version: String::new(),
            capabilities: Vec::new(),
        }
    }
}

impl Node {
    fn is_confirmed(&self) -> bool {
        let published = self.published.borrow();
        published.as_ref().is_some_and(|published| self.acked == Some(published.view.root()))
    }

    fn state(&self) -> NodeState {
        match self.session {
            None if self.ever => NodeState::Disconnected,
            None => NodeState::NeverConnected,
            Some(_) if self.is_confirmed() => NodeState::InSync,
            Some(_) if self.parked => NodeState::Parked,
            Some(_) => NodeState::Updating,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    epoch: u64,
    ready: bool,
    files: BTreeMap<String, (FileReport, u64)>,
    gone: BTreeMap<String, u64>,
    diagnostics: Vec<String>,
    objects: Vec<(&'static str, usize)>,
    nodes: BTreeMap<String, Node>,
    next_session: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Hub {
    term: u64,
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
    metrics: Arc<Metrics>,
}

/// A session's hold on its node.
#[derive(Debug)]
pub struct Attachment {
    /// Tells this session from others of the same node.
    pub session: u64,
    /// The node's views. `None` until the node is known and the sources have been read once.
    pub views: watch::Receiver<Option<Published>>,
    /// Becomes true when a newer session of the same node takes over.
    pub superseded: watch::Receiver<bool>,
}

/// What a shim says of itself.
#[derive(Clone, Debug, Default)]
pub struct Shim {
    /// Its version.
    pub version: String,
    /// What its node can do.
    pub capabilities: Vec<String>,
}

impl Hub {
    /// A hub that knows nothing yet and stamps updates with `term`.
    pub fn new(term: u64, metrics: Arc<Metrics>) -> Self {
        Self { term, inner: Mutex::default(), changed: watch::Sender::new(()), metrics }
    }

    /// The term of all updates.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Where everything is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock; if it did, what is known is still what was last written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.changed.send_replace(());
    }

    /// Takes in what the engine made of a batch.
    pub fn publish(
        &self,
        batch: Batch,
        changes: &Changes,
        views: &BTreeMap<String, Arc<NodeView>>,
        objects: &[(&'static str, usize)],
        took: Duration,
    ) {
        {
            let mut inner = self.lock();
            inner.epoch += 1;
            let epoch = inner.epoch;
            // Before anything is sent: the first batch is the whole of the sources, and an empty cluster must not
            // wipe what nodes hold.
            inner.ready = true;
            for (name, report) in batch.files {
                if let Some(report) = report {
                    inner.gone.remove(&name);
                    inner.files.insert(name, (report, epoch));
                } else {
                    inner.files.remove(&name);
                    inner.gone.insert(name, epoch);
                }
            }
            let severities = [Severity::Warning, Severity::FailClosed, Severity::Error].map(|severity| {
                let of = |finding: &&Finding| finding.diagnostic.severity == severity;
                let count = batch.findings.iter().filter(of).count();
                (severity, count)
            });
            inner.diagnostics = batch.findings.iter().map(ToString::to_string).collect();
            inner.objects = objects.to_vec();
            for node in &changes.removed {
                if let Some(node) = inner.nodes.get_mut(node) {
                    node.published.send_replace(None);
                    "the cluster has no such node any more".clone_into(&mut node.message);
                }
            }
            for (name, view) in views {
                let node = inner.nodes.entry(name.clone()).or_default();
                let change = changes.nodes.get(name).cloned();
                let is_new = node.published.borrow().is_none();
                if is_new {
                    node.message.clear();
                }
                if change.is_some() || is_new {
                    node.published.send_replace(Some(Published { view: Arc::clone(view), change }));
                }
                if node.is_confirmed() {
                    node.acked_epoch = Some(epoch);
                }
            }
            let errors = inner.files.values().map(|(report, _)| report.errors.len()).sum();
            self.metrics.published(epoch, objects, &severities, errors, took);
        }
        self.announce();
    }

    /// Gives a session its node. An older session of the same node is told to end.
    pub fn attach(&self, name: &str, shim: Shim) -> Attachment {
        let attachment = {
            let mut inner = self.lock();
            inner.next_session += 1;
            let session = inner.next_session;
            let node = inner.nodes.entry(name.to_owned()).or_default();
            let (supersede, superseded) = watch::channel(false);
            if let Some(older) = node.supersede.replace(supersede) {
                older.send_replace(true);
            }
            (node.session, node.ever, node.parked) = (Some(session), true, false);
            (node.version, node.capabilities) = (shim.version, shim.capabilities);
            // What an earlier stream confirmed says nothing of what the node holds now: it may have been reinstalled.
            (node.acked, node.acked_epoch) = (None, None);
            node.message.clear();
            Attachment { session, views: node.published.subscribe(), superseded }
        };
        self.announce();
        attachment
    }

    /// Ends a session's hold. Does nothing if a newer one has taken over.
    pub fn detach(&self, name: &str, session: u64, why: &str) {
        self.with(name, session, |node, _| {
            (node.session, node.supersede, node.parked) = (None, None, false);
            why.clone_into(&mut node.message);
        });
    }

    /// A node's stream was refused before it began. Says nothing where an earlier one goes on.
    pub fn turned_away(&self, name: &str, why: &str) {
        {
            let mut inner = self.lock();
            let node = inner.nodes.entry(name.to_owned()).or_default();
            if node.session.is_some() {
                return;
            }
            why.clone_into(&mut node.message);
        }
        self.announce();
    }

    /// A node has confirmed a root.
    pub fn confirmed(&self, name: &str, session: u64, root: Root) {
        self.with(name, session, |node, epoch| {
            node.acked = Some(root);
            node.parked = false;
            node.message.clear();
            if node.is_confirmed() {
                node.acked_epoch = Some(epoch);
            }
        });
    }

    /// A node has refused an update.
    pub fn refused(&self, name: &str, session: u64, message: &str, parked: bool) {
        self.with(name, session, |node, _| {
            message.clone_into(&mut node.message);
            node.parked = parked;
        });
    }

    fn with(&self, name: &str, session: u64, change: impl FnOnce(&mut Node, u64)) {
        {
            let mut inner = self.lock();
            let epoch = inner.epoch;
            match inner.nodes.get_mut(name) {
                Some(node) if node.session == Some(session) => change(node, epoch),
                _ => return,
            }
        }
        self.announce();
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
            term: self.term,
            ready: inner.ready,
            files: files.collect(),
            objects: inner.objects.iter().copied().collect(),
            diagnostics: inner.diagnostics.clone(),
            nodes: nodes.collect(),
        }
    }

    /// Waits until a file's content (`None`: its absence) has been taken in and every given node is connected and
    /// has confirmed what came of it. Without a file: what is in force at the moment of the call.
    pub async fn settled(&self, file: Option<(&str, Option<&str>)>, nodes: &[String]) {
        let mut changed = self.changed.subscribe();
        let called_at = self.lock().epoch;
        loop {
            changed.mark_unchanged();
            if self.is_settled(file, nodes, called_at) {
                return;
            }
            // The sender lives as long as this hub.
            let _ = changed.changed().await;
        }
    }

    fn is_settled(&self, file: Option<(&str, Option<&str>)>, nodes: &[String], called_at: u64) -> bool {
        let inner = self.lock();
        let epoch = match file {
            None => inner.ready.then_some(called_at),
            Some((name, Some(digest))) => {
                inner.files.get(name).filter(|(report, _)| report.digest == digest).map(|(_, epoch)| *epoch)
            }
            Some((name, None)) if inner.files.contains_key(name) => None,
            Some((name, None)) => inner.ready.then(|| inner.gone.get(name).copied().unwrap_or_default()),
        };
        let Some(epoch) = epoch else { return false };
        nodes.iter().all(|name| {
            inner.nodes.get(name).is_some_and(|node| {
                node.session.is_some() && node.acked_epoch.is_some_and(|acked| acked >= epoch)
            })
        })
    }
}
