//! The objects of one kind and its history.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::{Change, ChangeKind, Key, Object, Page, StoreError, Write};

/// See the module.
#[derive(Debug)]
pub(super) struct Kind {
    objects: BTreeMap<Key, Arc<Object>>,
    history: VecDeque<Arc<Change>>,
    capacity: usize,
    /// What happened after this revision is in the history.
    oldest: u64,
    is_dropped: bool,
    news: watch::Sender<u64>,
}

impl Kind {
    pub(super) fn new(capacity: usize, revision: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            capacity,
            // Nothing happened before its first change.
            oldest: 0,
            is_dropped: false,
            news: watch::Sender::new(revision),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    pub(super) fn set_dropped(&mut self, is_dropped: bool) {
        self.is_dropped = is_dropped;
        self.news.send_modify(|_| {});
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(super) fn write(
        &mut self,
        key: &Key,
        write: Write,
        revision: u64,
    ) -> Result<Arc<Object>, StoreError> {
        let previous = self.objects.get(key).cloned();
        let expect = |expected: u64| match &previous {
            None => Err(StoreError::Missing),
            Some(previous) if previous.revision != expected => Err(StoreError::Changed),
            Some(_) => Ok(()),
        };
        let (kind, mut value) = match write {
            Write::Create(_) if previous.is_some() => return Err(StoreError::Exists),
            Write::Create(value) => (ChangeKind::Added, value),
            Write::Replace(value, expected) => {
                expect(expected)?;
                (ChangeKind::Modified, value)
            }
            Write::Delete(value, expected) => {
                expect(expected)?;
                (ChangeKind::Deleted, value)
            }
        };
        stamp(&mut value, revision);
        let object = Arc::new(Object { key: key.clone(), revision, value });
        if kind == ChangeKind::Deleted {
            self.objects.remove(key);
        } else {
            self.objects.insert(key.clone(), object.clone());
        }
        if self.history.len() >= self.capacity
            && let Some(forgotten) = self.history.pop_front()
        {
            self.oldest = forgotten.object.revision;
        }
        self.history.push_back(Arc::new(Change::new(kind, object.clone(), previous)));
        self.news.send_replace(revision);
        Ok(object)
    }

    /// Objects as they were at a revision: the present, with what happened since undone.
    pub(super) fn page(
        &self,
        low: Bound<Key>,
        namespace: Option<&str>,
        at: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let undone = self.undone(at)?;
        let is_in = |key: &Key| namespace.is_none_or(|namespace| key.0 == namespace);
        let mut removed: Vec<&Arc<Object>> = undone
            .iter()
            .filter(|(key, _)| !self.objects.contains_key(*key) && is_in(key))
            .filter_map(|(_, object)| *object)
            .filter(|object| is_at_or_after(&object.key, &low))
            .collect();
        removed.sort_by(|a, b| a.key.cmp(&b.key));
        let mut removed = removed.into_iter().peekable();
        let mut present = self
            .objects
            .range((low, Bound::Unbounded))
            .take_while(|(key, _)| is_in(key))
            .filter_map(|(key, object)| match undone.get(key) {
                None => Some(object),
                Some(before) => *before,
            })
            .peekable();
        let mut objects = Vec::new();
        loop {
            let take_removed = match (removed.peek(), present.peek()) {
                (Some(old), Some(new)) => old.key < new.key,
                (old, _) => old.is_some(),
            };
            let next = if take_removed { removed.next() } else { present.next() };
            let Some(next) = next else { return Ok(Page { objects, revision: at, next: None }) };
            if objects.len() == limit {
                let left = 1 + removed.count() + present.count();
                return Ok(Page { objects, revision: at, next: Some((next.key.clone(), left)) });
            }
            objects.push(next.clone());
        }
    }

    /// What objects that changed since were at a revision; `None`: not there.
    fn undone(&self, at: u64) -> Result<HashMap<&Key, Option<&Arc<Object>>>, StoreError> {
        let mut before = HashMap::new();
        let start = self.position(at)?;
        for change in self.history.range(start..) {
            before.entry(&change.object.key).or_insert(change.previous.as_ref());
        }
        Ok(before)
    }

    fn position(&self, revision: u64) -> Result<usize, StoreError> {
        if revision < self.oldest {
            return Err(StoreError::Expired { asked: revision, oldest: self.oldest });
        }
        Ok(self.history.partition_point(|change| change.object.revision <= revision))
    }

    pub(super) fn since(&self, revision: u64, most: usize) -> Result<(Vec<Arc<Change>>, bool), StoreError> {
        let start = self.position(revision)?;
        let changes: Vec<_> = self.history.range(start..).take(most).cloned().collect();
        let is_partial = self.history.len() - start > changes.len();
        Ok((changes, is_partial))
    }

    pub(super) fn compact(&mut self, revision: u64) {
        self.history.clear();
        self.oldest = revision;
    }
}

fn is_at_or_after(key: &Key, low: &Bound<Key>) -> bool {
    match low {
        Bound::Included(low) => key >= low,
        Bound::Excluded(low) => key > low,
        Bound::Unbounded => true,
    }
}

fn stamp(value: &mut Value, revision: u64) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
    }
}
