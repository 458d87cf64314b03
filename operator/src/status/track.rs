//! One policy: what its conditions are, what they should be, and whether and when the difference is worth a write.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use palisade_compiler::Severity;

use super::conditions::{
    self, ACCEPTED, DEGRADED, Draft, NO_MATCHING_PODS, PROGRAMMED, TYPES, says_the_same,
};
use super::nodes::{Nodes, Stand};
use super::{Alarm, Moment, Timing};
use crate::progress::PolicyProgress;

/// The least time between two writes of one policy that are not about its becoming `Programmed`. Doubled each time
/// that somebody else has overwritten them.
const PACE: Duration = Duration::from_secs(1);

/// How far it is doubled.
const DOUBLINGS: u32 = 6;

/// What was written and does not come back by the watch for so long has been undone by somebody before the watch saw
/// it. Longer than a watch stays silent.
const UNSEEN_AT_MOST: Duration = Duration::from_mins(6);

/// How long a policy is left alone whose status cannot be written.
const HOPELESS: Duration = Duration::from_mins(5);

/// Which writes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// It became `Programmed`, or nothing has been said about this generation.
    Awaited,
    /// A status or a reason changed.
    Changed,
    /// Only wording changed.
    Reworded,
}

/// What everything is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) timing: &'a Timing,
    /// When this operator began to lead.
    pub(super) began: Duration,
    pub(super) now: Moment,
    /// Nodes that too many policies are about to tell of their troubles in each.
    pub(super) crowded: &'a BTreeSet<String>,
}

impl Surroundings<'_> {
    /// From then on something can be said of nodes that are not connected: before, they could not come back yet.
    fn warm_at(&self) -> Duration {
        self.began.saturating_add(self.timing.warm_up)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Track {
    policy: Arc<PolicyProgress>,
    /// Its generation has been known since.
    new_at: Duration,
    /// `Programmed`, once it is true of this generation. It stays.
    latched: Option<Condition>,
    /// What was written and has not come back by the watch.
    unseen: VecDeque<Vec<Condition>>,
    last_sent: Vec<Condition>,
    is_in_flight: bool,
    written_at: Option<Duration>,
    /// How often others changed what was written of this generation.
    contests: u32,
    /// Writes that failed in a row.
    failures: u32,
    not_before: Duration,
    /// What the API has of this generation may have been meant for another object.
    is_doubted: bool,
}

impl Track {
    pub(super) fn new(policy: &Arc<PolicyProgress>, now: Moment) -> Self {
        Self {
            policy: Arc::clone(policy),
            new_at: now.elapsed,
            latched: None,
            unseen: VecDeque::new(),
            last_sent: Vec::new(),
            is_in_flight: false,
            written_at: None,
            contests: 0,
            failures: 0,
            not_before: Duration::ZERO,
            is_doubted: false,
        }
    }

    pub(super) fn policy(&self) -> &Arc<PolicyProgress> {
        &self.policy
    }

    /// Takes in what the policy is now.
    pub(super) fn observe(&mut self, policy: &Arc<PolicyProgress>, now: Moment) {
        let (old, new) = (&self.policy.report, &policy.report);
        if old.uid != new.uid {
            *self = Self::new(policy, now);
            return;
        }
        let is_same_generation = old.generation == new.generation;
        if old.conditions != new.conditions {
            let seen = ours(&new.conditions);
            if let Some(position) = self.unseen.iter().position(|written| *written == seen) {
                self.unseen.drain(..=position);
            } else if seen != ours(&old.conditions) && seen != self.last_sent {
                self.unseen.clear();
                self.contests += u32::from(is_same_generation && self.written_at.is_some());
            }
            (self.failures, self.not_before) = (0, Duration::ZERO);
        }
        if !is_same_generation {
            (self.new_at, self.latched) = (now.elapsed, None);
            (self.contests, self.failures, self.not_before) = (0, 0, Duration::ZERO);
            self.is_doubted = false;
        }
        self.policy = Arc::clone(policy);
    }

    /// Our conditions as the API has them, or will have once what was written has come back.
    fn known(&self) -> Vec<Condition> {
        self.unseen.back().cloned().unwrap_or_else(|| ours(&self.policy.report.conditions))
    }

    /// What should be written by now, and how soon. `is_confirmed`: all nodes of its span have confirmed its epoch.
    pub(super) fn due(
        &mut self,
        is_confirmed: bool,
        around: &Surroundings<'_>,
        alarm: &mut Alarm,
    ) -> Option<(Class, Vec<Condition>)> {
        if self.is_in_flight {
            return None;
        }
        if !self.unseen.is_empty()
            && self.written_at.is_some_and(|at| alarm.has_lasted(at, UNSEEN_AT_MOST, around.now))
        {
            self.unseen.clear();
        }
        let known = self.known();
        if !is_confirmed
            && let Some(at) = self.held_until(&known, around)
            && at > around.now.elapsed
        {
            alarm.set(at);
            return None;
        }
        let conditions = self.wanted(&known, is_confirmed, around, alarm);
        let (class, at) = self.urgency(&known, &conditions, around)?;
        // What the leader before wrote last may not have come by the watch.
        let at = at.max(self.not_before).max(around.began.saturating_add(around.timing.settle));
        if at > around.now.elapsed {
            alarm.set(at);
            return None;
        }
        Some((class, conditions))
    }

    /// Until when nothing is said of a generation that is not in force everywhere, if nothing has been yet. Found out
    /// before anything is put into words: after a change of thousands of policies most are held.
    fn held_until(&self, known: &[Condition], around: &Surroundings<'_>) -> Option<Duration> {
        let generation = Some(self.policy.report.generation);
        let is_said = find(known, PROGRAMMED).is_some_and(|known| known.observed_generation == generation);
        let is_held = !is_said
            && self.latched.is_none()
            && conditions::worst(&self.policy.findings) != Some(Severity::Error);
        is_held.then(|| self.settled_at(around).max(around.warm_at()))
    }

    fn settled_at(&self, around: &Surroundings<'_>) -> Duration {
        self.new_at.saturating_add(around.timing.settle)
    }

    /// The conditions as they should be.
    fn wanted(
        &mut self,
        known: &[Condition],
        is_confirmed: bool,
        around: &Surroundings<'_>,
        alarm: &mut Alarm,
    ) -> Vec<Condition> {
        let generation = self.policy.report.generation;
        let wall = around.now.wall;
        let complete = |draft: Draft, kind: &str| draft.complete(kind, generation, find(known, kind), wall);
        let accepted = complete(conditions::accepted(&self.policy.findings), ACCEPTED);
        let programmed = self.programmed(known, is_confirmed, around, alarm);
        let degraded = match self.degraded(known, programmed.status == "True", around, alarm) {
            Some(draft) => complete(draft, DEGRADED),
            None => match find(known, DEGRADED) {
                Some(condition) => Condition { observed_generation: Some(generation), ..condition.clone() },
                None => complete(conditions::degraded(&[], 0), DEGRADED),
            },
        };
        vec![accepted, programmed, degraded]
    }

    fn programmed(
        &mut self,
        known: &[Condition],
        is_confirmed: bool,
        around: &Surroundings<'_>,
        alarm: &mut Alarm,
    ) -> Condition {
        let policy = Arc::clone(&self.policy);
        let generation = policy.report.generation;
        let before = find(known, PROGRAMMED);
        if conditions::worst(&policy.findings) == Some(Severity::Error) {
            self.latched = None;
        } else if self.latched.is_none() && !self.is_doubted {
            // What an earlier leader found out stays true.
            let is_true = |condition: &&Condition| {
                condition.status == "True" && condition.observed_generation == Some(generation)
            };
            self.latched = before.filter(is_true).cloned();
        }
        let has_pods = policy.span.as_ref().is_some_and(|span| !span.is_empty());
        if let Some(latched) = &self.latched
            && !(latched.reason == NO_MATCHING_PODS && has_pods && is_confirmed)
        {
            return latched.clone();
        }
        let before = self.latched.as_ref().or(before);
        let stand = |node: &str| {
            let Surroundings { nodes, timing, now, .. } = *around;
            if is_confirmed { Stand::Confirmed } else { nodes.stand(node, policy.epoch, timing, now, alarm) }
        };
        let condition = conditions::programmed(&policy.findings, policy.span.as_deref(), stand).complete(
            PROGRAMMED,
            generation,
            before,
            around.now.wall,
        );
        if condition.status == "True" {
            self.latched = Some(condition.clone());
        }
        condition
    }

    /// What `Degraded` should say; `None`: what it says already.
    fn degraded(
        &self,
        known: &[Condition],
        is_programmed: bool,
        around: &Surroundings<'_>,
        alarm: &mut Alarm,
    ) -> Option<Draft> {
        let nodes = around.nodes;
        let is_marked = find(known, DEGRADED).is_some_and(|condition| condition.status == "True");
        let Some(span) = &self.policy.span else {
            return (!is_marked).then(|| conditions::degraded(&[], 0));
        };
        if !is_marked && !is_programmed {
            // `Programmed` says it.
            return Some(conditions::degraded(&[], 0));
        }
        let mut behind = nodes.behind(span);
        behind.retain(|(node, _)| is_marked || !around.crowded.contains(*node));
        let is_well = |node: &String| nodes.is_well(node, around.timing, around.now, alarm);
        if behind.is_empty() && is_marked && !span.iter().all(is_well) {
            // Since before this operator began to lead: only nodes that are well take it back.
            return None;
        }
        Some(conditions::degraded(&behind, span.len()))
    }

    /// Which class of write leads from one to the other, if any, and from when on.
    fn urgency(
        &self,
        known: &[Condition],
        wanted: &[Condition],
        around: &Surroundings<'_>,
    ) -> Option<(Class, Duration)> {
        let pairs = || wanted.iter().map(|wanted| (find(known, &wanted.type_), wanted));
        if pairs().all(|(known, wanted)| known.is_some_and(|known| says_the_same(known, wanted))) {
            return None;
        }
        let generation = Some(self.policy.report.generation);
        let is_first =
            pairs().any(|(known, _)| known.is_none_or(|known| known.observed_generation != generation));
        let programmed = find(wanted, PROGRAMMED);
        let is_done = programmed.is_some_and(|wanted| wanted.status == "True");
        let was_done = find(known, PROGRAMMED).is_some_and(|known| known.status == "True");
        let is_final = programmed.is_some_and(|programmed| match programmed.reason.as_str() {
            // Pods often come right after the policies that are about them.
            NO_MATCHING_PODS => false,
            conditions::INVALID => true,
            _ => is_done,
        });
        let warm = around.warm_at();
        let spaced = |space: Duration| self.written_at.map_or(Duration::ZERO, |at| at.saturating_add(space));
        let contested = PACE.saturating_mul(1 << self.contests.min(DOUBLINGS));
        let free = if self.contests == 0 { Duration::ZERO } else { spaced(contested) };
        let is_known = |(known, wanted): (Option<&Condition>, &Condition)| {
            known.is_some_and(|known| (&known.status, &known.reason) == (&wanted.status, &wanted.reason))
        };
        Some(if is_first || (is_done && !was_done) {
            let settled = self.settled_at(around).max(if is_done { Duration::ZERO } else { warm });
            (Class::Awaited, if is_final { free } else { free.max(settled) })
        } else if pairs().all(is_known) {
            (Class::Reworded, spaced(around.timing.reword_every.max(contested)).max(warm))
        } else {
            (Class::Changed, spaced(contested).max(if is_final { Duration::ZERO } else { warm }))
        })
    }

    /// A write of these conditions is on its way.
    pub(super) fn sent(&mut self, conditions: &[Condition]) {
        self.is_in_flight = true;
        self.last_sent = conditions.to_vec();
        self.unseen.push_back(conditions.to_vec());
    }

    /// It has arrived.
    pub(super) fn written(&mut self, now: Moment) {
        (self.is_in_flight, self.failures, self.written_at) = (false, 0, Some(now.elapsed));
        // If it has come back already, it is not among the unseen any more.
    }

    /// It has not arrived, as far as is known. To be tried again after a pause of so many failures.
    pub(super) fn failed(&mut self, pause: impl FnOnce(u32) -> Duration, now: Moment) {
        self.forget();
        self.not_before = now.elapsed.saturating_add(pause(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// It cannot arrive: the object is gone, or its definition does not allow it. Tried again when the object changes,
    /// or after a while.
    pub(super) fn refused(&mut self, now: Moment) {
        self.forget();
        self.not_before = now.elapsed.saturating_add(HOPELESS);
    }

    fn forget(&mut self) {
        self.is_in_flight = false;
        if self.unseen.back() == Some(&self.last_sent) {
            self.unseen.pop_back();
        }
    }

    /// It got a status that was meant for an object that was there before it.
    pub(super) fn doubt(&mut self) {
        (self.is_doubted, self.latched) = (true, None);
    }

    /// Whether nothing but a change of the policy itself, or trouble, will lead to a write.
    pub(super) fn is_settled(&self) -> bool {
        let report = &self.policy.report;
        let known = ours(&report.conditions);
        let is_true = |kind: &str| find(&known, kind).is_some_and(|condition| condition.status == "True");
        !self.is_in_flight
            && self.unseen.is_empty()
            && self.latched.as_ref().is_some_and(|latched| latched.reason != NO_MATCHING_PODS)
            && !is_true(DEGRADED)
    }
}

/// Our conditions among others, in our order.
fn ours(conditions: &[Condition]) -> Vec<Condition> {
    TYPES.iter().filter_map(|kind| find(conditions, kind).cloned()).collect()
}

fn find<'c>(conditions: &'c [Condition], kind: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}
