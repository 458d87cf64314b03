//! Answers that stay true for a while, and no more of them than there is room for. Time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    entries: HashMap<K, (V, Instant)>,
    ends: BTreeSet<(Instant, K)>,
    most: usize,
}

impl<K: Clone + Eq + Hash + Ord, V> Cache<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), ends: BTreeSet::new(), most }
    }

    pub(super) fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.entries.get(key).filter(|(_, until)| now < *until).map(|(value, _)| value)
    }

    /// Keeps an answer. Where there is no room, what ends first goes first.
    pub(super) fn put(&mut self, key: K, value: V, until: Instant) {
        self.remove(&key);
        while self.entries.len() >= self.most
            && let Some((_, first)) = self.ends.pop_first()
        {
            self.entries.remove(&first);
        }
        self.ends.insert((until, key.clone()));
        self.entries.insert(key, (value, until));
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some((_, until)) = self.entries.remove(key) {
            self.ends.remove(&(until, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn entries_end_and_never_outgrow_the_room() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut cache = Cache::new(3);
        for (key, seconds) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            cache.put(key, key * 100, at(seconds));
        }
        assert_eq!(cache.get(&2, now), None, "it would have ended first");
        assert_eq!([1, 3, 4].map(|key| cache.get(&key, now).copied()), [Some(100), Some(300), Some(400)]);
        assert_eq!(cache.get(&3, at(19)), Some(&300));
        assert_eq!(cache.get(&3, at(20)), None);

        // Replaced, not doubled.
        cache.put(4, 1, at(5));
        cache.put(5, 500, at(50));
        assert_eq!([1, 3, 4, 5].map(|key| cache.get(&key, now).is_some()), [true, true, false, true]);
        cache.remove(&1);
        assert_eq!((cache.get(&1, now), cache.entries.len(), cache.ends.len()), (None, 2, 2));
    }
}
