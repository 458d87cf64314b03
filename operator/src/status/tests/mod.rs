//! The pure parts, over time: a small world of policies and nodes, an API that keeps what is written, and a clock that
//! the tests move.

mod budget;
mod conditions;
mod events;
mod property;
mod review;
mod sequences;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use palisade_compiler::model::{Kind, ObjectRef};
use palisade_compiler::{Diagnostic, Severity};

use super::index::{Index, Outcome, Write};
use super::notices::Post;
use super::{Moment, Timing};
use crate::batch::{Finding, PolicyReport};
use crate::progress::{NodeProgress, PolicyProgress, Progress};
use crate::state::NodeState;

/// Midnight of the tests' first day.
const START: i64 = 1_790_000_000;

pub(super) fn anp(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::AdminNetworkPolicy, namespace: None, name: name.to_owned() }
}

pub(super) fn netpol(name: &str) -> ObjectRef {
    let namespace = Some("shop".to_owned());
    ObjectRef { kind: Kind::NetworkPolicy, namespace, name: name.to_owned() }
}

pub(super) fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

pub(super) fn finding(object: &ObjectRef, severity: Severity, field: &str, message: &str) -> Finding {
    let diagnostic = Diagnostic {
        object: object.clone(),
        field: field.to_owned(),
        severity,
        message: message.to_owned(),
        remedy: "write it right".to_owned(),
    };
    Finding { origin: None, diagnostic, is_kept: false }
}

/// A whole condition, `seconds` after the start.
pub(super) fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    generation: i64,
    seconds: i64,
) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: Time(Timestamp::from_second(START + seconds).unwrap()),
    }
}

pub(super) fn accepted(generation: i64, seconds: i64) -> Condition {
    condition("Accepted", "True", "Accepted", "in effect as written", generation, seconds)
}

pub(super) fn programmed(message: &str, generation: i64, seconds: i64) -> Condition {
    condition("Programmed", "True", "Programmed", message, generation, seconds)
}

pub(super) fn not_degraded(generation: i64, seconds: i64) -> Condition {
    condition("Degraded", "False", "AsExpected", "", generation, seconds)
}

/// See the module.
pub(super) struct World {
    pub(super) progress: Progress,
    pub(super) index: Index,
    pub(super) elapsed: Duration,
    /// Every write so far.
    pub(super) writes: Vec<Write>,
    /// Every Event so far.
    pub(super) posts: Vec<Post>,
}

impl World {
    pub(super) fn new() -> Self {
        let elapsed = Duration::ZERO;
        let index = Index::new(Timing::default(), moment(elapsed));
        Self { progress: Progress::default(), index, elapsed, writes: Vec::new(), posts: Vec::new() }
    }

    /// A world in which this operator has been leading for a minute.
    pub(super) fn warm() -> Self {
        let mut world = Self::new();
        world.pass(60.0);
        world
    }

    /// Another process, or another leader, begins with what the API has. The nodes have yet to come back.
    pub(super) fn restart(&mut self) {
        for node in self.progress.nodes.values_mut() {
            *node =
                NodeProgress { state: NodeState::NeverConnected, acked_epoch: None, message: String::new() };
        }
        self.index = Index::new(Timing::default(), self.now());
    }

    pub(super) fn now(&self) -> Moment {
        moment(self.elapsed)
    }

    pub(super) fn pass(&mut self, seconds: f64) {
        self.elapsed += Duration::from_secs_f64(seconds);
    }

    /// Puts a policy in, in a new generation and a new epoch, about these nodes.
    pub(super) fn apply(&mut self, object: &ObjectRef, span: Option<BTreeSet<String>>) {
        self.apply_with(object, span, Vec::new());
    }

    pub(super) fn apply_with(
        &mut self,
        object: &ObjectRef,
        span: Option<BTreeSet<String>>,
        findings: Vec<Finding>,
    ) {
        self.progress.epoch += 1;
        let epoch = self.progress.epoch;
        let report = match self.progress.policies.get(object) {
            Some(old) => PolicyReport { generation: old.report.generation + 1, ..old.report.clone() },
            None => PolicyReport { uid: format!("uid-{epoch}"), generation: 1, conditions: Vec::new() },
        };
        let policy = PolicyProgress { report, epoch, findings, span: span.map(Arc::new) };
        self.progress.policies.insert(object.clone(), Arc::new(policy));
    }

    pub(super) fn edit(&mut self, object: &ObjectRef, change: impl FnOnce(&mut PolicyProgress)) {
        change(Arc::make_mut(self.progress.policies.get_mut(object).unwrap()));
    }

    pub(super) fn span(&mut self, object: &ObjectRef, span: BTreeSet<String>) {
        self.edit(object, |policy| policy.span = Some(Arc::new(span)));
    }

    pub(super) fn node(&mut self, name: &str, state: NodeState, acked_epoch: Option<u64>, message: &str) {
        let node = NodeProgress { state, acked_epoch, message: message.to_owned() };
        self.progress.nodes.insert(name.to_owned(), node);
    }

    /// A node that has confirmed everything.
    pub(super) fn in_sync(&mut self, name: &str) {
        self.node(name, NodeState::InSync, Some(self.progress.epoch), "");
    }

    pub(super) fn observe(&mut self) {
        let now = self.now();
        self.index.observe(&self.progress, now);
    }

    /// Writes what is due; the API takes it, and the watch shows it. What was written of each.
    pub(super) fn settle(&mut self) -> BTreeMap<ObjectRef, Vec<Condition>> {
        let mut written = BTreeMap::new();
        self.observe();
        while let Some(write) = self.index.next_write() {
            self.edit(&write.object, |policy| merge(&mut policy.report.conditions, &write.conditions));
            let now = self.now();
            self.index.ended(&write, &Outcome::Written, |_| Duration::ZERO, now);
            let again = written.insert(write.object.clone(), write.conditions.clone());
            assert_eq!(again, None, "written twice at one moment: {write:?}");
            self.writes.push(write);
        }
        while let Some(post) = {
            let now = self.now();
            self.index.notices().next(now)
        } {
            self.index.notices().done(post.key());
            self.posts.push(post);
        }
        self.observe();
        assert_eq!(self.index.due(), 0, "something is due again at once");
        written
    }

    /// Lets so much time pass, and does everything that becomes due meanwhile when it does. How many writes.
    pub(super) fn live(&mut self, seconds: f64) -> usize {
        let before = self.writes.len();
        let end = self.elapsed + Duration::from_secs_f64(seconds);
        self.settle();
        for _ in 0..10_000 {
            match self.index.wake_at() {
                Some(at) if at <= end => {
                    assert!(at > self.elapsed, "an alarm in the past");
                    self.elapsed = at;
                }
                _ => {
                    self.elapsed = end;
                    self.settle();
                    return self.writes.len() - before;
                }
            }
            self.settle();
        }
        panic!("it never comes to rest");
    }

    /// Our conditions of a policy, as the API has them.
    pub(super) fn conditions(&self, object: &ObjectRef) -> Vec<Condition> {
        self.progress.policies[object].report.conditions.clone()
    }

    pub(super) fn condition(&self, object: &ObjectRef, kind: &str) -> Condition {
        self.conditions(object).into_iter().find(|condition| condition.type_ == kind).unwrap()
    }
}

/// Merges as server-side apply does it: by type, and others' stay.
pub(super) fn merge(conditions: &mut Vec<Condition>, ours: &[Condition]) {
    for condition in ours {
        match conditions.iter_mut().find(|known| known.type_ == condition.type_) {
            Some(known) => known.clone_from(condition),
            None => conditions.push(condition.clone()),
        }
    }
}

pub(super) fn moment(elapsed: Duration) -> Moment {
    let wall = Timestamp::from_second(START).unwrap() + elapsed;
    Moment { elapsed, wall }
}
