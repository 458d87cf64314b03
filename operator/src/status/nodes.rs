//! Where each node stands, and for how long. Turns what the hub says at one moment into what has lasted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::{Alarm, Moment, Timing};
use crate::progress::{NodeProgress, Progress};
use crate::state::NodeState;

/// How long a node's reason for refusing is repeated although it gives another one: reasons that alternate cost no
/// writes.
const SAME_CAUSE: Duration = Duration::from_mins(1);

/// Where a node stands towards one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand<'a> {
    /// It has put the policy into force.
    Confirmed,
    /// It is about to, as far as is known.
    Waiting,
    /// Its shim is not connected.
    Unreachable,
    /// No shim has ever connected.
    NoShim,
    /// Its shim refuses, and says why.
    Refusing(&'a str),
}

/// What is the matter with a node that has fallen behind. The order is by weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Its shim is connected and confirms nothing.
    Late,
    /// Its shim is not connected.
    Unreachable,
    /// No shim has connected since this operator began to lead.
    NoShim,
    /// Its shim refuses, and says why.
    Refusing(String),
}

impl Trouble {
    /// What kind it is, without what a node says.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Late => 0,
            Self::Unreachable => 1,
            Self::NoShim => 2,
            Self::Refusing(_) => 3,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("connected, but it has not confirmed in time"),
            Self::Unreachable => f.write_str("its shim is not connected"),
            Self::NoShim => f.write_str("no shim has connected from it"),
            Self::Refusing(message) => f.write_str(message),
        }
    }
}

/// A time without a connection.
#[derive(Clone, Copy, Debug)]
struct Absence {
    since: Duration,
    /// There has been a connection before.
    is_loss: bool,
    /// There is one again since then, which has yet to prove itself.
    back_since: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    acked_epoch: Option<u64>,
    absence: Option<Absence>,
    /// From its second refusal until it is in sync: why, and since when it has said so.
    refusal: Option<(String, Duration)>,
    /// It confirmed something then, or was in sync.
    advanced_at: Option<Duration>,
    /// Connected, and confirming in good time, since.
    well_since: Option<Duration>,
    /// Neither in sync nor confirming anything since.
    out_since: Option<Duration>,
    /// The same, while there has been something to confirm.
    behind_since: Option<Duration>,
    trouble: Option<Trouble>,
    /// The trouble has kept it from what it should enforce.
    is_behind: bool,
    /// What is the matter instead by now, and since when.
    next_trouble: Option<(Trouble, Duration)>,
}

impl Node {
    fn observe(&mut self, node: &NodeProgress, epoch: u64, timing: &Timing, now: Moment, alarm: &mut Alarm) {
        let at = now.elapsed;
        let is_in_sync = node.state == NodeState::InSync;
        let has_advanced = is_in_sync || node.acked_epoch > self.acked_epoch;
        self.acked_epoch = node.acked_epoch;
        if has_advanced {
            self.advanced_at = Some(at);
        }
        self.follow_absence(node.state, has_advanced, timing, now, alarm);
        match node.state {
            NodeState::InSync => self.refusal = None,
            NodeState::Parked => match &self.refusal {
                Some((said, since)) if *said == node.message || at.saturating_sub(*since) < SAME_CAUSE => {}
                _ => self.refusal = Some((node.message.clone(), at)),
            },
            NodeState::NeverConnected | NodeState::Disconnected => {
                // What a shim said that is long gone is no longer what is the matter.
                if self
                    .absence
                    .is_some_and(|absence| alarm.has_lasted(absence.since, timing.absent_after, now))
                {
                    self.refusal = None;
                }
            }
            NodeState::Updating => {}
        }

        let is_well = match node.state {
            NodeState::InSync => true,
            NodeState::Updating => self
                .advanced_at
                .is_some_and(|advanced| !alarm.has_lasted(advanced, timing.recovered_after, now)),
            NodeState::NeverConnected | NodeState::Disconnected | NodeState::Parked => false,
        };
        self.well_since = is_well.then(|| self.well_since.unwrap_or(at));
        let since = |known: Option<Duration>| if has_advanced { at } else { known.unwrap_or(at) };
        self.out_since = (!is_in_sync).then(|| since(self.out_since));
        // A node that had been told everything when it was lost keeps that: nothing is old until something changes.
        let has_all =
            is_in_sync || (node.state == NodeState::Disconnected && node.acked_epoch == Some(epoch));
        self.behind_since = (!has_all).then(|| since(self.behind_since));
        self.judge(node.state, timing, now, alarm);
    }

    fn follow_absence(
        &mut self,
        state: NodeState,
        has_advanced: bool,
        timing: &Timing,
        now: Moment,
        alarm: &mut Alarm,
    ) {
        let (is_absent, is_loss) = match state {
            NodeState::NeverConnected => (true, false),
            NodeState::Disconnected => (true, true),
            NodeState::InSync | NodeState::Updating | NodeState::Parked => (false, false),
        };
        let known = self.absence;
        self.absence = match known {
            Some(absence) if is_absent => Some(Absence { back_since: None, is_loss, ..absence }),
            None if is_absent => Some(Absence { since: now.elapsed, is_loss, back_since: None }),
            None => None,
            Some(_) if has_advanced || state == NodeState::Parked => None,
            Some(absence) => {
                let back_since = absence.back_since.unwrap_or(now.elapsed);
                let was_short = back_since.saturating_sub(absence.since) < timing.absent_after;
                let is_over = was_short || alarm.has_lasted(back_since, timing.absent_after, now);
                (!is_over).then_some(Absence { back_since: Some(back_since), ..absence })
            }
        };
    }

    /// Begins, changes or ends the trouble.
    fn judge(&mut self, state: NodeState, timing: &Timing, now: Moment, alarm: &mut Alarm) {
        if let Some(well_since) = self.well_since {
            self.next_trouble = None;
            if self.trouble.is_some() && alarm.has_lasted(well_since, timing.recovered_after, now) {
                (self.trouble, self.is_behind) = (None, false);
            }
            return;
        }
        let Some(out_since) = self.out_since else { return };
        let present = match (&self.refusal, state) {
            (Some((message, _)), _) => Trouble::Refusing(message.clone()),
            (None, NodeState::NeverConnected) => Trouble::NoShim,
            (None, NodeState::Disconnected) => Trouble::Unreachable,
            (None, _) => Trouble::Late,
        };
        let is_refusing = matches!(present, Trouble::Refusing(_));
        match &self.trouble {
            // Two refusals in a row are no hiccup.
            _ if is_refusing => (self.trouble, self.next_trouble) = (Some(present), None),
            None if alarm.has_lasted(out_since, timing.behind_after, now) => self.trouble = Some(present),
            None => {}
            Some(trouble) if *trouble == present => self.next_trouble = None,
            Some(_) => {
                let since = match &self.next_trouble {
                    Some((next, since)) if *next == present => *since,
                    _ => now.elapsed,
                };
                if alarm.has_lasted(since, timing.absent_after, now) {
                    (self.trouble, self.next_trouble) = (Some(present), None);
                } else {
                    self.next_trouble = Some((present, since));
                }
            }
        }
        let is_long = |since| is_refusing || alarm.has_lasted(since, timing.behind_after, now);
        self.is_behind |= self.trouble.is_some() && self.behind_since.is_some_and(is_long);
    }

    fn stand(&self, epoch: u64, timing: &Timing, now: Moment, alarm: &mut Alarm) -> Stand<'_> {
        if self.acked_epoch.is_some_and(|acked| acked >= epoch) {
            return Stand::Confirmed;
        }
        if let Some((message, _)) = &self.refusal {
            return Stand::Refusing(message);
        }
        match self.absence {
            Some(Absence { since, is_loss, .. }) if alarm.has_lasted(since, timing.absent_after, now) => {
                if is_loss {
                    Stand::Unreachable
                } else {
                    Stand::NoShim
                }
            }
            _ => Stand::Waiting,
        }
    }
}

/// Every node of the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<String, Node>,
    /// Those in trouble.
    troubled: BTreeSet<String>,
}

impl Nodes {
    /// Takes in how far the nodes are now.
    pub(super) fn observe(&mut self, progress: &Progress, timing: &Timing, now: Moment, alarm: &mut Alarm) {
        self.nodes.retain(|name, _| progress.nodes.contains_key(name));
        for (name, node) in &progress.nodes {
            let known = match self.nodes.get_mut(name) {
                Some(known) => known,
                None => self.nodes.entry(name.clone()).or_default(),
            };
            known.observe(node, progress.epoch, timing, now, alarm);
        }
        let troubled = self.nodes.iter().filter(|(_, node)| node.trouble.is_some());
        self.troubled = troubled.map(|(name, _)| name.clone()).collect();
    }

    /// Where a node stands towards a policy of that epoch.
    pub(super) fn stand(
        &self,
        name: &str,
        epoch: u64,
        timing: &Timing,
        now: Moment,
        alarm: &mut Alarm,
    ) -> Stand<'_> {
        // A node that is not there yet, while a pod already names it, will come.
        self.nodes.get(name).map_or(Stand::Waiting, |node| node.stand(epoch, timing, now, alarm))
    }

    /// The epoch that every one of some nodes has confirmed; `None` if one has confirmed nothing.
    pub(super) fn confirmed_by_all(&self, names: &BTreeSet<String>) -> Option<u64> {
        let acked = names.iter().map(|name| self.nodes.get(name).and_then(|node| node.acked_epoch));
        // `None` is less than any epoch.
        acked.min().unwrap_or(Some(u64::MAX))
    }

    /// Those of some nodes that are kept from what they should enforce, and by what; ordered.
    pub(super) fn behind<'n>(&'n self, names: &'n BTreeSet<String>) -> Vec<(&'n str, &'n Trouble)> {
        // The smaller of the two is walked.
        if names.len() < self.troubled.len() {
            names.iter().filter_map(|name| Some((name.as_str(), self.is_behind(name)?))).collect()
        } else {
            let troubled = self.troubled.iter().filter(|name| names.contains(*name));
            troubled.filter_map(|name| Some((name.as_str(), self.is_behind(name)?))).collect()
        }
    }

    fn is_behind(&self, name: &str) -> Option<&Trouble> {
        self.nodes.get(name).filter(|node| node.is_behind)?.trouble.as_ref()
    }

    /// What is the matter with a node.
    pub(super) fn trouble(&self, name: &str) -> Option<&Trouble> {
        self.nodes.get(name)?.trouble.as_ref()
    }

    /// Every node in trouble, whether or not it has missed something already.
    pub(super) fn troubles(&self) -> impl Iterator<Item = (&str, &Trouble)> {
        self.troubled.iter().filter_map(|name| Some((name.as_str(), self.trouble(name)?)))
    }

    /// Whether a node has been well for long enough to take back that it was not.
    pub(super) fn is_well(&self, name: &str, timing: &Timing, now: Moment, alarm: &mut Alarm) -> bool {
        self.nodes.get(name).is_none_or(|node| {
            let well = node.well_since.filter(|_| node.trouble.is_none());
            well.is_some_and(|since| alarm.has_lasted(since, timing.recovered_after, now))
        })
    }

    /// Whether there is such a node.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }
}
