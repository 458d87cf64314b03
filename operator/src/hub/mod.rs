//! What is known and in force, shared by the engine (which publishes), the sessions (which confirm) and the admin
//! server (which tells). Knows neither where objects come from nor how they travel.

mod known;
mod node;
mod telling;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_compiler::{Change, Changes, Spans};
use palisade_view::{NodeView, Root};
use tokio::sync::watch;

use self::known::Inner;
use self::node::Node;
pub use self::telling::Awaited;
use crate::batch::Batch;
use crate::metrics::Metrics;
use crate::reviewed::{Reviewed, Told};
use crate::state::SourceState;

/// A node's latest view, with the step that led to it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The view.
    pub view: Arc<NodeView>,
    /// The last change, for a session that is exactly one behind.
    pub change: Option<Change>,
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
}
