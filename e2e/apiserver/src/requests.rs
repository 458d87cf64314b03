//! How often what was asked for, so that a test can say how much a client writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests that count together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKind {
    /// As Kubernetes names it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Plural name with the group, such as `pods` or `leases.coordination.k8s.io`.
    pub resource: String,
    /// Such as `status`; empty: the object itself.
    pub subresource: String,
    /// The client's first name: its user agent up to the first `/` or blank.
    pub user_agent: String,
    /// Who asked.
    pub user: String,
}

/// Counts since the start, or since another count. Writes are counted when they are asked for, whatever the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<RequestKind, u64>);

impl Counts {
    /// What was added since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let added = |(kind, count): (&RequestKind, &u64)| {
            let added = count - earlier.0.get(kind).copied().unwrap_or_default().min(*count);
            (added > 0).then(|| (kind.clone(), added))
        };
        Self(self.0.iter().filter_map(added).collect())
    }

    /// The sum over some of them.
    pub fn sum(&self, of: impl Fn(&RequestKind) -> bool) -> u64 {
        self.0.iter().filter(|(kind, _)| of(kind)).map(|(_, count)| count).sum()
    }

    /// The sum of all that write.
    pub fn writes(&self) -> u64 {
        let verbs = ["create", "update", "patch", "delete", "deletecollection"];
        self.sum(|kind| verbs.contains(&kind.verb.as_str()))
    }
}

/// The running count.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<Counts>>);

impl Requests {
    /// One more.
    pub(crate) fn count(&self, kind: RequestKind) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).0.entry(kind).or_default() += 1;
    }

    /// All since the start.
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(verb: &str) -> RequestKind {
        RequestKind {
            verb: verb.into(),
            resource: "pods".into(),
            subresource: String::new(),
            user_agent: "test".into(),
            user: "admin".into(),
        }
    }

    #[test]
    fn counts_are_of_the_time_between() {
        let requests = Requests::default();
        requests.count(kind("patch"));
        requests.count(kind("get"));
        let mark = requests.counts();
        requests.count(kind("patch"));
        requests.count(kind("create"));
        let expected = Counts([(kind("create"), 1), (kind("patch"), 1)].into());
        assert_eq!(requests.counts().since(&mark), expected);
        assert_eq!((requests.counts().writes(), mark.writes()), (3, 1));
    }
}
