//! What is known and in force, shared by the engine (which publishes), the sessions (which confirm) and the admin
//! server (which tells). Knows neither where objects come from nor how they travel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_compiler::model::ObjectRef;
use palisade_compiler::{Change, Changes, Severity, Spans};
use palisade_view::{NodeView, Root};
use tokio::sync::watch;

use crate::batch::{Batch, FileReport, Finding, PolicyReport};
use crate::metrics::Metrics;
use crate::progress::{NodeProgress, PolicyProgress, Progress};
use crate::reviewed::{Opinions, Reviewed, Told};
use crate::state::{FileState, NodeReport, NodeState, SourceState, State};

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
    /// What it holds for certain: nothing while an update is on its way.
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
    /// Of all updates; `None` on a standby.
    term: Option<u64>,
    ready: bool,
    files: BTreeMap<String, (FileReport, u64)>,
    gone: BTreeMap<String, u64>,
    sources: BTreeMap<&'static str, SourceState>,
    /// How far each kind has been read.
    seen: BTreeMap<&'static str, u64>,
    findings: BTreeMap<ObjectRef, Vec<Finding>>,
    opinions: Opinions,
    policies: BTreeMap<ObjectRef, Arc<PolicyProgress>>,
    spans: Arc<Spans>,
    objects: Vec<(&'static str, usize)>,
    nodes: BTreeMap<String, Node>,
    next_session: u64,
}

impl Inner {
    fn take_in_policies(
        &mut self,
        findings: BTreeMap<ObjectRef, Vec<Finding>>,
        reports: BTreeMap<ObjectRef, Option<PolicyReport>>,
    ) {
        let mut touched: BTreeSet<ObjectRef> = reports.keys().cloned().collect();
        for (object, found) in findings {
            touched.insert(object.clone());
            if found.is_empty() {
                self.findings.remove(&object);
            } else {
                self.findings.insert(object, found);
            }
        }
        let mut reports = reports;
        for object in touched {
            let known = self.policies.remove(&object);
            let report = match reports.remove(&object) {
                Some(report) => report,
                None => known.as_ref().map(|known| known.report.clone()),
            };
            let Some(report) = report else { continue };
            // What is the same generation has the same content: it was taken in when it was first seen.
            let epoch = known
                .filter(|known| {
                    known.report.uid == report.uid && known.report.generation == report.generation
                })
                .map_or(self.epoch, |known| known.epoch);
            let findings = self.opinions.beside(&object, epoch, self.findings.get(&object));
            // A span that was computed before the policy was taken in does not know its pods.
            let span = (epoch < self.epoch).then(|| self.spans.get(&object).cloned()).flatten();
            self.policies.insert(object, Arc::new(PolicyProgress { report, epoch, findings, span }));
        }
    }

    /// The epoch at which it was taken in, or a later one; `None`: not yet.
    fn taken_in(&self, what: &Awaited, called_at: u64) -> Option<u64> {
        match what {
            Awaited::Now => self.ready.then_some(called_at),
            Awaited::File { name, digest: Some(digest) } => {
                self.files.get(name).filter(|(report, _)| report.digest == *digest).map(|(_, epoch)| *epoch)
            }
            Awaited::File { name, digest: None } if self.files.contains_key(name) => None,
            Awaited::File { name, digest: None } => {
                self.ready.then(|| self.gone.get(name).copied().unwrap_or_default())
            }
            Awaited::Read { kind, version } => {
                let is_read = self.seen.get(kind.as_str()).is_some_and(|seen| seen >= version);
                is_read.then_some(self.epoch)
            }
        }
    }

    fn has_confirmed(&self, node: &str, epoch: u64) -> bool {
        self.nodes.get(node).is_some_and(|node| {
            node.session.is_some() && node.acked_epoch.is_some_and(|acked| acked >= epoch)
        })
    }

    /// Takes in what the review has to tell.
    fn take_in_opinions(&mut self, told: Told) {
        for object in self.opinions.tell(told) {
            let Some(policy) = self.policies.get_mut(&object) else { continue };
            let findings = self.opinions.beside(&object, policy.epoch, self.findings.get(&object));
            if policy.findings != findings {
                Arc::make_mut(policy).findings = findings;
            }
        }
    }

    fn severities(&self) -> [(Severity, usize); 4] {
        [Severity::Advice, Severity::Warning, Severity::FailClosed, Severity::Error].map(|severity| {
            let found = self.findings.values().flatten();
            let found = found.filter(|finding| finding.diagnostic.severity == severity).count();
            (severity, found + self.opinions.count(severity))
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Hub {
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

/// What a shim says of itself.
#[derive(Clone, Debug, Default)]
pub struct Shim {
    /// Its version.
    pub version: String,
    /// What its node can do.
    pub capabilities: Vec<String>,
}

impl Hub {
    /// A hub that knows nothing yet, of an operator that does not lead.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(()), metrics }
    }

    /// Says of which term the updates are from now on; `None`: another operator leads.
    pub fn lead(&self, term: Option<u64>) {
        self.lock().term = term;
        self.announce();
    }

    /// The term of all updates; 0 on a standby, which sends none.
    pub fn term(&self) -> u64 {
        self.lock().term.unwrap_or_default()
    }

    /// Says where a source of objects stands.
    pub fn source_is(&self, name: &'static str, state: SourceState) {
        self.metrics.source_is(name, &state);
        self.lock().sources.insert(name, state);
        self.announce();
    }

    /// Where everything is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock; if it did, what is known is still what was last written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes on every change of anything.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether it has to be told anew which nodes policies are about, after objects have changed or not.
    pub fn wants_spans(&self, is_changed: bool) -> bool {
        self.lock().policies.values().any(|policy| is_changed || policy.span.is_none())
    }

    fn announce(&self) {
        self.changed.send_replace(());
    }

    /// Takes in what the engine made of a batch. Returns its epoch.
    pub fn publish(
        &self,
        batch: Batch,
        changes: &Changes,
        views: &BTreeMap<String, Arc<NodeView>>,
        objects: &[(&'static str, usize)],
        took: Duration,
    ) -> u64 {
        let epoch = {
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
            inner.take_in_policies(batch.findings, batch.policies);
            inner.seen.extend(batch.seen);
            let severities = inner.severities();
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
            self.metrics.published(epoch, objects, errors, took);
            self.metrics.diagnosed(&severities);
            epoch
        };
        self.announce();
        epoch
    }

    /// Takes in a review, with what of it has stood long enough to be told.
    pub fn reviewed(&self, reviewed: Reviewed, told: Told) {
        {
            let mut inner = self.lock();
            self.metrics.reviewed(reviewed.took, reviewed.review.unreviewed.len());
            inner.opinions.take_in(reviewed);
            inner.take_in_opinions(told);
            self.metrics.diagnosed(&inner.severities());
        }
        self.announce();
    }

    /// Takes in what of the last review is to be told by now. `epoch`: up to where it still holds.
    pub fn retold(&self, epoch: u64, told: Told) {
        {
            let mut inner = self.lock();
            inner.opinions.holds_at(epoch);
            inner.take_in_opinions(told);
        }
        self.announce();
    }

    /// Everything that was found about any object, for people.
    pub fn findings(&self) -> String {
        let inner = self.lock();
        inner.opinions.render(inner.findings.values().flatten())
    }

    /// Takes in which nodes each policy is about, as of everything published so far.
    pub fn spanned(&self, spans: Spans) {
        {
            let mut inner = self.lock();
            for (object, policy) in &mut inner.policies {
                let span = spans.get(object);
                if policy.span.as_ref() != span {
                    Arc::make_mut(policy).span = span.cloned();
                }
            }
            inner.spans = Arc::new(spans);
        }
        self.announce();
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

    /// An update to a root is about to be sent to a node. Gives whether it may be: not if another view has been
    /// published meanwhile. From here on it is not known what the node holds. Without this, a view that is replaced
    /// by the one before it while it is on its way would count as undone before it is in force.
    pub fn sending(&self, name: &str, session: u64, root: Root) -> bool {
        let mut inner = self.lock();
        let Some(node) = inner.nodes.get_mut(name).filter(|node| node.session == Some(session)) else {
            return false;
        };
        let is_current = node.published.borrow().as_ref().is_some_and(|now| now.view.root() == root);
        if is_current {
            node.acked = None;
        }
        is_current
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

    /// A node has refused an update, and holds what it has confirmed before, if anything.
    pub fn refused(&self, name: &str, session: u64, held: Option<Root>, message: &str, parked: bool) {
        self.with(name, session, |node, epoch| {
            message.clone_into(&mut node.message);
            node.parked = parked;
            node.acked = held;
            if node.is_confirmed() {
                node.acked_epoch = Some(epoch);
            }
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
