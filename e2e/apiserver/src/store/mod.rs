//! The objects, their revisions and the recent past. Pure: knows no requests, no schemas and no clock, and hands out
//! shared, immutable objects.
//!
//! Watchers do not have queues: each reads the history of its kind from where it stands when it is woken. A write
//! costs the same however many watch, and one that falls behind the history is told so, as Kubernetes does.

mod change;
mod kind;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

pub use self::change::{Change, ChangeKind, Encoding};
use self::kind::Kind;

/// Namespace (empty for cluster-wide objects) and name.
pub type Key = (String, String);

/// An object as it was at a revision. Its `metadata.resourceVersion` says the same revision.
#[derive(Debug, PartialEq)]
pub struct Object {
    /// Where it is.
    pub key: Key,
    /// When it became so.
    pub revision: u64,
    /// All of it.
    pub value: Value,
}

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A new object.
    Create(Value),
    /// The content, if the object still is at that revision.
    Replace(Value, u64),
    /// Removes the object, if it still is at that revision; its last content is what the watchers see.
    Delete(Value, u64),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Create: there is one.
    #[error("the object is there already")]
    Exists,
    /// Replace or delete: there is none.
    #[error("the object is not there")]
    Missing,
    /// Replace or delete: it has another revision.
    #[error("the object has changed")]
    Changed,
    /// The history does not reach back that far.
    #[error("too old resource version: {asked} ({oldest})")]
    Expired {
        /// The revision that was asked for.
        asked: u64,
        /// The oldest that can still be told.
        oldest: u64,
    },
    /// No such revision yet.
    #[error("Too large resource version: {asked}, current: {current}")]
    Future {
        /// The revision that was asked for.
        asked: u64,
        /// The latest.
        current: u64,
    },
}

/// Part of a list.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// In the order of their keys.
    pub objects: Vec<Arc<Object>>,
    /// Which state the list is of.
    pub revision: u64,
    /// Where the next page starts, and how many objects are left from there; `None` on the last page.
    pub next: Option<(Key, usize)>,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range<'a> {
    /// Objects of one namespace.
    pub namespace: Option<&'a str>,
    /// The first key that is not before this one.
    pub from: Option<&'a Key>,
    /// The state at that revision, not the latest.
    pub at: Option<u64>,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// What happened since a watcher looked last.
#[derive(Debug)]
pub struct News {
    /// In order.
    pub changes: Vec<Arc<Change>>,
    /// Everything up to here has been told, once the changes are.
    pub revision: u64,
    /// There is more at once.
    pub is_partial: bool,
    /// The kind was dropped: nothing follows.
    pub is_over: bool,
}

/// How many changes a watcher takes at a time.
const BATCH: usize = 256;

#[derive(Debug)]
struct Inner {
    revision: u64,
    kinds: BTreeMap<String, Kind>,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    history: usize,
    inner: Mutex<Inner>,
}

impl Store {
    /// An empty store that remembers that many changes of each kind.
    pub fn new(history: usize) -> Self {
        // Not zero: `resourceVersion: "0"` means "any" in Kubernetes.
        Self { history: history.max(1), inner: Mutex::new(Inner { revision: 1, kinds: BTreeMap::new() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before the lock goes.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest revision.
    pub fn revision(&self) -> u64 {
        self.inner().revision
    }

    /// An object as it is.
    pub fn get(&self, kind: &str, key: &Key) -> Option<Arc<Object>> {
        self.inner().kinds.get(kind).and_then(|kind| kind.get(key))
    }

    /// How many objects there are of a kind.
    pub fn len(&self, kind: &str) -> usize {
        self.inner().kinds.get(kind).map_or(0, Kind::len)
    }

    /// Whether a kind has objects in a namespace.
    pub fn has_any(&self, kind: &str, namespace: &str) -> bool {
        let range = Range { namespace: Some(namespace), limit: 1, ..Range::default() };
        self.list(kind, range).is_ok_and(|page| !page.objects.is_empty())
    }

    /// Writes one object, all or nothing. What was written comes back with its revision.
    pub fn write(&self, kind: &str, key: &Key, write: Write) -> Result<Arc<Object>, StoreError> {
        let mut inner = self.inner();
        let revision = inner.revision + 1;
        let history = self.history;
        let store = inner.kinds.entry(kind.to_owned()).or_insert_with(|| Kind::new(history, revision - 1));
        let object = store.write(key, write, revision)?;
        inner.revision = revision;
        Ok(object)
    }

    /// A part of the objects of a kind, of one consistent state.
    ///
    /// # Errors
    /// [`StoreError::Expired`] and [`StoreError::Future`] for a state that cannot be told.
    pub fn list(&self, kind: &str, range: Range<'_>) -> Result<Page, StoreError> {
        let inner = self.inner();
        let current = inner.revision;
        let at = range.at.unwrap_or(current);
        if at > current {
            return Err(StoreError::Future { asked: at, current });
        }
        let Some(kind) = inner.kinds.get(kind) else {
            return Ok(Page { objects: Vec::new(), revision: at, next: None });
        };
        let low = match (range.from, range.namespace) {
            (Some(from), _) => Bound::Included(from.clone()),
            (None, Some(namespace)) => Bound::Included((namespace.to_owned(), String::new())),
            (None, None) => Bound::Unbounded,
        };
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        kind.page(low, range.namespace, at, limit)
    }

    /// What happened to a kind after a revision.
    ///
    /// # Errors
    /// [`StoreError::Expired`] when some of it is forgotten, [`StoreError::Future`] when the revision is none yet.
    pub fn since(&self, kind: &str, revision: u64) -> Result<News, StoreError> {
        let inner = self.inner();
        let current = inner.revision;
        if revision > current {
            return Err(StoreError::Future { asked: revision, current });
        }
        let Some(kind) = inner.kinds.get(kind) else {
            return Ok(News { changes: Vec::new(), revision: current, is_partial: false, is_over: false });
        };
        let (changes, is_partial) = kind.since(revision, BATCH)?;
        let revision =
            if is_partial { changes.last().map_or(revision, |last| last.object.revision) } else { current };
        Ok(News { changes, revision, is_partial, is_over: kind.is_dropped() && !is_partial })
    }

    /// Says when there is news of a kind. The value is the revision of its last change.
    pub fn subscribe(&self, kind: &str) -> watch::Receiver<u64> {
        let mut inner = self.inner();
        let (history, revision) = (self.history, inner.revision);
        inner.kinds.entry(kind.to_owned()).or_insert_with(|| Kind::new(history, revision)).subscribe()
    }

    /// Forgets the past: older revisions than the present are expired.
    pub fn compact(&self) {
        let mut inner = self.inner();
        let revision = inner.revision;
        for kind in inner.kinds.values_mut() {
            kind.compact(revision);
        }
    }

    /// Ends a kind: its watchers read what is left of its history, and that it is over. Its objects must be deleted
    /// before, or they come back when the kind does.
    pub fn drop_kind(&self, kind: &str) {
        if let Some(kind) = self.inner().kinds.get_mut(kind) {
            kind.set_dropped(true);
        }
    }

    /// A kind is there, whether new, changed or dropped before; its watchers are woken.
    pub fn revive_kind(&self, kind: &str) {
        if let Some(kind) = self.inner().kinds.get_mut(kind) {
            kind.set_dropped(false);
        }
    }
}
