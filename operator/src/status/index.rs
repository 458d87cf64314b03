//! What should be written and told by now. Pure: the hub's progress and the time in; writes and Events out. Without a
//! change, and once everything due is done, nothing is due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use palisade_compiler::model::ObjectRef;

use super::conditions::has_status;
use super::nodes::{Nodes, Trouble};
use super::notices::{Notice, Notices};
use super::track::{Class, Surroundings, Track};
use super::{Alarm, Moment, Timing, conditions, events};
use crate::progress::{PolicyProgress, Progress};

/// A status to write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Write {
    pub(super) object: ObjectRef,
    pub(super) uid: String,
    pub(super) conditions: Vec<Condition>,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// Into an object of the same name and this UID, which has taken the place of the one meant.
    Strayed(String),
    /// To be tried again after this pause and the usual one.
    Failed,
    /// No use to try again soon.
    Refused,
}

/// A policy with a status.
#[derive(Debug)]
struct Entry {
    track: Track,
    /// What is due, and its place in the queue.
    due: Option<(Class, u64, Vec<Condition>)>,
    /// Nothing will be due before the policy changes or a node is in trouble.
    is_quiet: bool,
}

/// What was told of a policy's findings.
#[derive(Debug)]
struct Told {
    policy: Arc<PolicyProgress>,
    notice: Option<Notice>,
    at: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    timing: Timing,
    /// When this operator began to lead.
    began: Duration,
    nodes: Nodes,
    entries: BTreeMap<ObjectRef, Entry>,
    queue: BTreeSet<(Class, u64, ObjectRef)>,
    queued: u64,
    crowded: BTreeSet<String>,
    /// The epoch that all nodes of a span have confirmed, by the span's address: policies about the same pods share it.
    /// Good until the next look; the policies looked at keep the spans.
    confirmed: HashMap<usize, Option<u64>>,
    /// Objects, by UID, that have a status which was not meant for them.
    strayed: BTreeSet<String>,
    told: BTreeMap<ObjectRef, Told>,
    told_nodes: BTreeMap<String, (Trouble, Duration)>,
    notices: Notices,
    alarm: Alarm,
}

impl Index {
    pub(super) fn new(timing: Timing, now: Moment) -> Self {
        Self {
            timing,
            began: now.elapsed,
            nodes: Nodes::default(),
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            queued: 0,
            crowded: BTreeSet::new(),
            confirmed: HashMap::new(),
            strayed: BTreeSet::new(),
            told: BTreeMap::new(),
            told_nodes: BTreeMap::new(),
            notices: Notices::default(),
            alarm: Alarm::default(),
        }
    }

    /// Takes in how far everything is now.
    pub(super) fn observe(&mut self, progress: &Progress, now: Moment) {
        self.alarm = Alarm::default();
        self.nodes.observe(progress, &self.timing, now, &mut self.alarm);
        let concerned = self.concerned(progress);
        self.tell_of_nodes(&concerned, now);
        self.tell_of_policies(progress, now);

        let gone = |object: &ObjectRef| !progress.policies.contains_key(object);
        self.queue.retain(|(_, _, object)| !gone(object));
        self.entries.retain(|object, _| !gone(object));
        let is_calm = self.nodes.troubles().next().is_none();
        self.confirmed.clear();
        for (object, policy) in progress.policies.iter().filter(|(object, _)| has_status(object.kind)) {
            let known = self.entries.get_mut(object);
            let is_same = known.as_ref().is_some_and(|known| Arc::ptr_eq(known.track.policy(), policy));
            match known {
                Some(known) if is_same && known.is_quiet && is_calm => continue,
                Some(_) if is_same => {}
                Some(known) => known.track.observe(policy, now),
                None => {
                    let entry = Entry { track: Track::new(policy, now), due: None, is_quiet: false };
                    self.entries.insert(object.clone(), entry);
                }
            }
            self.doubt(object);
            self.judge(object, now);
        }
    }

    /// What the API has about an object that got another's status is not to be believed.
    fn doubt(&mut self, object: &ObjectRef) {
        if let Some(entry) = self.entries.get_mut(object).filter(|_| !self.strayed.is_empty())
            && self.strayed.remove(&entry.track.policy().report.uid)
        {
            entry.track.doubt();
            entry.is_quiet = false;
        }
    }

    /// Whether all nodes of a policy's span have confirmed its epoch.
    fn is_confirmed(&mut self, policy: &PolicyProgress) -> bool {
        let Some(span) = &policy.span else { return false };
        let address = Arc::as_ptr(span).addr();
        let epoch = self.confirmed.entry(address).or_insert_with(|| self.nodes.confirmed_by_all(span));
        epoch.is_some_and(|epoch| epoch >= policy.epoch)
    }

    /// Settles what is due of one policy.
    fn judge(&mut self, object: &ObjectRef, now: Moment) {
        let Some(entry) = self.entries.get(object) else { return };
        let policy = Arc::clone(entry.track.policy());
        let is_confirmed = self.is_confirmed(&policy);
        let Some(entry) = self.entries.get_mut(object) else { return };
        let around = Surroundings {
            nodes: &self.nodes,
            timing: &self.timing,
            began: self.began,
            now,
            crowded: &self.crowded,
        };
        let mut alarm = Alarm::default();
        let due = entry.track.due(is_confirmed, &around, &mut alarm);
        if let Some(at) = alarm.at() {
            self.alarm.set(at);
        }
        entry.is_quiet = due.is_none() && alarm.at().is_none() && entry.track.is_settled();
        let old = entry.due.take();
        let place = match (&old, &due) {
            // It keeps its place.
            (Some((old, place, _)), Some((class, _))) if old == class => *place,
            _ => {
                self.queued += 1;
                self.queued
            }
        };
        if let Some((class, place, _)) = old {
            self.queue.remove(&(class, place, object.clone()));
        }
        if let Some((class, conditions)) = due {
            self.queue.insert((class, place, object.clone()));
            entry.due = Some((class, place, conditions));
        }
    }

    /// The next status to write, if one is due. It counts as under way until [`Self::ended`].
    pub(super) fn next_write(&mut self) -> Option<Write> {
        let (_, _, object) = self.queue.pop_first()?;
        let entry = self.entries.get_mut(&object)?;
        let (_, _, conditions) = entry.due.take()?;
        entry.track.sent(&conditions);
        Some(Write { uid: entry.track.policy().report.uid.clone(), object, conditions })
    }

    /// How a write ended. `pause`: how long to wait after so many failures in a row.
    pub(super) fn ended(
        &mut self,
        write: &Write,
        outcome: &Outcome,
        pause: impl FnOnce(u32) -> Duration,
        now: Moment,
    ) {
        if let Outcome::Strayed(uid) = outcome {
            self.strayed.insert(uid.clone());
        }
        self.doubt(&write.object);
        let Some(entry) = self.entries.get_mut(&write.object) else { return };
        if entry.track.policy().report.uid != write.uid {
            entry.is_quiet = false;
            self.judge(&write.object, now);
            return;
        }
        match outcome {
            Outcome::Written => entry.track.written(now),
            Outcome::Failed => entry.track.failed(pause, now),
            Outcome::Refused | Outcome::Strayed(_) => entry.track.refused(now),
        }
        entry.is_quiet = false;
        self.judge(&write.object, now);
    }

    /// How many statuses are due.
    pub(super) fn due(&self) -> usize {
        self.queue.len()
    }

    /// When time alone makes something due.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        self.alarm.at()
    }

    /// What is to be told in Events.
    pub(super) fn notices(&mut self) -> &mut Notices {
        &mut self.notices
    }

    /// Nodes in trouble.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.nodes.troubles().map(|(_, trouble)| trouble)
    }

    /// Policies by type and status of their conditions, as the API has them.
    pub(super) fn tally(&self) -> BTreeMap<(&'static str, &'static str), usize> {
        let mut tally = BTreeMap::new();
        for kind in conditions::TYPES {
            for status in ["True", "False", "Unknown"] {
                tally.insert((kind, status), 0);
            }
        }
        for entry in self.entries.values() {
            let report = &entry.track.policy().report;
            for kind in conditions::TYPES {
                let current = report.conditions.iter().find(|condition| {
                    condition.type_ == kind && condition.observed_generation == Some(report.generation)
                });
                let status = match current.map(|condition| condition.status.as_str()) {
                    Some("True") => "True",
                    Some("False") => "False",
                    _ => "Unknown",
                };
                *tally.entry((kind, status)).or_default() += 1;
            }
        }
        tally
    }

    /// How many policies, of all kinds, each node in trouble has pods of; and which of them too many to tell of in
    /// each.
    fn concerned(&mut self, progress: &Progress) -> BTreeMap<String, usize> {
        self.crowded.clear();
        let troubled: BTreeSet<&str> = self.nodes.troubles().map(|(name, _)| name).collect();
        if troubled.is_empty() {
            return BTreeMap::new();
        }
        let mut spans: HashMap<usize, (&BTreeSet<String>, usize, usize)> = HashMap::new();
        for (object, policy) in &progress.policies {
            if let Some(span) = &policy.span {
                let (_, all, with_status) = spans.entry(Arc::as_ptr(span).addr()).or_insert((span, 0, 0));
                *all += 1;
                *with_status += usize::from(has_status(object.kind));
            }
        }
        let mut concerned: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (span, all, with_status) in spans.into_values() {
            let mut add = |name: &str| {
                let (sum, sum_with_status) = concerned.entry(name.to_owned()).or_default();
                *sum += all;
                *sum_with_status += with_status;
            };
            // The smaller of the two is walked.
            if span.len() < troubled.len() {
                span.iter().filter(|name| troubled.contains(name.as_str())).for_each(|name| add(name));
            } else {
                troubled.iter().filter(|name| span.contains(**name)).for_each(|name| add(name));
            }
        }
        let most = self.timing.degraded_at_most;
        let crowded = concerned.iter().filter(|(_, (_, with_status))| *with_status > most);
        self.crowded = crowded.map(|(name, _)| name.clone()).collect();
        concerned.into_iter().map(|(name, (all, _))| (name, all)).collect()
    }

    fn tell_of_nodes(&mut self, concerned: &BTreeMap<String, usize>, now: Moment) {
        let remind_every = self.timing.remind_every;
        let back: Vec<String> =
            self.told_nodes.keys().filter(|name| self.nodes.trouble(name).is_none()).cloned().collect();
        for name in back {
            self.told_nodes.remove(&name);
            if self.nodes.contains(&name) {
                self.notices.tell(events::recovery(&name), now);
            }
        }
        for (name, trouble) in self.nodes.troubles() {
            let known = self.told_nodes.get(name);
            // A node that no policy is about is not missed.
            if known.is_none() && !concerned.contains_key(name) {
                continue;
            }
            let is_news = known.is_none_or(|(told, _)| told.rank() != trouble.rank());
            let is_due = known.is_none_or(|&(_, at)| self.alarm.has_lasted(at, remind_every, now));
            if is_news || is_due {
                self.notices.tell(events::trouble(name, trouble), now);
                self.told_nodes.insert(name.to_owned(), (trouble.clone(), now.elapsed));
            }
        }
    }

    fn tell_of_policies(&mut self, progress: &Progress, now: Moment) {
        self.told.retain(|object, _| progress.policies.contains_key(object));
        for (object, policy) in &progress.policies {
            let told = self.told.get_mut(object);
            if policy.findings.is_empty() {
                if told.is_some() {
                    self.told.remove(object);
                }
                continue;
            }
            match told {
                Some(told) if Arc::ptr_eq(&told.policy, policy) => {
                    // A status shows what is wrong for as long as it lasts; an Event does not.
                    if !has_status(object.kind)
                        && let Some(notice) = &told.notice
                        && self.alarm.has_lasted(told.at, self.timing.remind_every, now)
                    {
                        self.notices.tell(notice.clone(), now);
                        told.at = now.elapsed;
                    }
                }
                known => {
                    let notice = events::findings(object, policy);
                    let at = match known {
                        Some(known) if known.notice == notice => known.at,
                        _ => {
                            if let Some(notice) = &notice {
                                self.notices.tell(notice.clone(), now);
                            }
                            now.elapsed
                        }
                    };
                    self.told.insert(object.clone(), Told { policy: Arc::clone(policy), notice, at });
                    if !has_status(object.kind) {
                        self.alarm.set(at.saturating_add(self.timing.remind_every));
                    }
                }
            }
        }
    }
}
