//! Which remarks have stood long enough to be told, and since when. Pure: reviews and the time in, what to tell out.
//!
//! What follows from the policies alone is told, reworded and taken back with the review that shows it. What follows from
//! the pods of the moment comes and goes with them, and each telling is a write for each policy: it must stand a while
//! first, is taken back a while after it has gone, and is seldom put into other words (another pod as the example, say).
//! An edit of the policy itself is no such coming and going: what follows it is told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use palisade_compiler::model::ObjectRef;
use palisade_compiler::review::{Basis, Matter, Remark, Review};
use palisade_compiler::{Diagnostic, Severity};

/// How long things must last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Before a remark about what is there now is told.
    pub appears_after: Duration,
    /// Before one that has gone is taken back.
    pub vanishes_after: Duration,
    /// The least time between two wordings of the same.
    pub reword_every: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            appears_after: Duration::from_secs(30),
            vanishes_after: Duration::from_secs(30),
            reword_every: Duration::from_mins(10),
        }
    }
}

/// What tells one remark from another, whatever its words.
type Key = (ObjectRef, String, Matter);

#[derive(Clone, Debug)]
struct Held {
    /// As the last review that had it has it.
    latest: Diagnostic,
    /// Since when it has been there.
    since: Duration,
    /// Since when it has been gone, if it is.
    gone_since: Option<Duration>,
    /// As it is told, and since when in these words.
    told: Option<(Diagnostic, Duration)>,
    /// When it is told first.
    due: Duration,
    /// When it may be reworded.
    reword_every: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    patience: Patience,
    held: BTreeMap<Key, Held>,
}

impl Standing {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, held: BTreeMap::new() }
    }

    /// Takes in a review. `edited`: policies that were made, changed or removed since the one before.
    pub(super) fn observe(&mut self, review: &Review, edited: &BTreeSet<ObjectRef>, now: Duration) {
        // Advice is for those who ask.
        let told = review.remarks.iter().filter(|remark| remark.diagnostic.severity > Severity::Advice);
        let mut present = BTreeSet::new();
        for remark in told {
            let Remark { diagnostic, matter, basis, .. } = remark;
            let key = (diagnostic.object.clone(), diagnostic.field.clone(), *matter);
            let is_prompt = *basis == Basis::Policies || edited.contains(&diagnostic.object);
            let patience = |long| if is_prompt { Duration::ZERO } else { long };
            let held = self.held.entry(key.clone()).or_insert_with(|| Held {
                latest: diagnostic.clone(),
                since: now,
                gone_since: None,
                told: None,
                due: now,
                reword_every: Duration::ZERO,
            });
            held.latest.clone_from(diagnostic);
            if held.gone_since.take().is_some() && held.told.is_none() {
                held.since = now;
            }
            held.due = held.since.saturating_add(patience(self.patience.appears_after));
            held.reword_every = patience(self.patience.reword_every);
            present.insert(key);
        }
        for (key, held) in &mut self.held {
            // Of what was not looked at nothing new is known.
            if !present.contains(key) && !review.unreviewed.contains(&key.0) {
                held.gone_since.get_or_insert(now);
            }
        }
        let vanishes_after = self.patience.vanishes_after;
        self.held.retain(|(object, _, _), held| match held.gone_since {
            None => true,
            Some(_) if edited.contains(object) => false,
            // What has not been told is not taken back.
            Some(since) => held.told.is_some() && since.saturating_add(vanishes_after) > now,
        });
    }

    /// What is to be told by now, sorted.
    pub(super) fn told(&mut self, now: Duration) -> BTreeMap<ObjectRef, Vec<Diagnostic>> {
        let vanishes_after = self.patience.vanishes_after;
        self.held
            .retain(|_, held| held.gone_since.is_none_or(|since| since.saturating_add(vanishes_after) > now));
        let mut all: BTreeMap<ObjectRef, Vec<Diagnostic>> = BTreeMap::new();
        for ((object, _, _), held) in &mut self.held {
            let is_due = match &held.told {
                None => held.due <= now,
                Some((told, at)) => *told != held.latest && at.saturating_add(held.reword_every) <= now,
            };
            if is_due && held.gone_since.is_none() {
                held.told = Some((held.latest.clone(), now));
            }
            if let Some((told, _)) = &held.told {
                all.entry(object.clone()).or_default().push(told.clone());
            }
        }
        for diagnostics in all.values_mut() {
            diagnostics.sort_unstable();
        }
        all
    }

    /// When time alone changes what is to be told.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let moments = self.held.values().filter_map(|held| match (&held.told, held.gone_since) {
            (Some(_), Some(since)) => Some(since.saturating_add(self.patience.vanishes_after)),
            (None, None) => Some(held.due),
            (Some((told, at)), None) if *told != held.latest => Some(at.saturating_add(held.reword_every)),
            // Told as it is, or gone before it was told.
            _ => None,
        });
        moments.min()
    }
}

#[cfg(test)]
mod tests {
    use palisade_compiler::model::Kind;
    use palisade_compiler::review::Basis::{Policies, Present};

    use super::*;

    fn policy(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::NetworkPolicy, namespace: Some("shop".to_owned()), name: name.to_owned() }
    }

    fn remark(name: &str, basis: Basis, message: &str) -> Remark {
        let diagnostic = Diagnostic {
            object: policy(name),
            field: "spec.egress".to_owned(),
            severity: Severity::Warning,
            message: message.to_owned(),
            remedy: "write it right".to_owned(),
        };
        Remark { diagnostic, matter: Matter::NoDns, basis, example: None }
    }

    /// A standing over time, told what is there; says what it tells.
    struct World(Standing, u64);

    impl World {
        fn new() -> Self {
            Self(Standing::new(Patience::default()), 0)
        }

        fn now(&self) -> Duration {
            Duration::from_secs(self.1)
        }

        fn review(&mut self, remarks: &[Remark], edited: &[&str]) -> Vec<String> {
            let review = Review { remarks: remarks.to_vec(), unreviewed: BTreeSet::new() };
            let edited = edited.iter().map(|name| policy(name)).collect();
            let now = self.now();
            self.0.observe(&review, &edited, now);
            self.told()
        }

        fn told(&mut self) -> Vec<String> {
            let now = self.now();
            let told = self.0.told(now);
            assert!(self.0.wake_at().is_none_or(|at| at > now), "an alarm in the past");
            told.into_values().flatten().map(|diagnostic| diagnostic.message).collect()
        }

        fn pass(&mut self, seconds: u64) -> &mut Self {
            self.1 += seconds;
            self
        }
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn what_policies_alone_show_is_told_and_taken_back_at_once() {
        let mut world = World::new();
        assert_eq!(world.review(&[remark("p", Policies, "one")], &[]), ["one"]);
        assert_eq!(world.pass(1).review(&[remark("p", Policies, "two")], &["p"]), ["two"]);
        assert_eq!(world.pass(1).review(&[], &["p"]), NOTHING);
    }

    #[test]
    fn what_pods_show_must_stand_and_must_have_gone_for_a_while() {
        let mut world = World::new();
        assert_eq!(world.review(&[remark("p", Present, "one")], &[]), NOTHING);
        assert_eq!(world.0.wake_at(), Some(Duration::from_secs(30)));
        assert_eq!(world.pass(29).told(), NOTHING);
        assert_eq!(world.pass(1).told(), ["one"]);
        assert_eq!(world.0.wake_at(), None);
        assert_eq!(world.pass(1).review(&[], &[]), ["one"]);
        assert_eq!(world.0.wake_at(), Some(Duration::from_secs(61)));
        assert_eq!(world.pass(29).told(), ["one"]);
        assert_eq!(world.pass(1).told(), NOTHING);
        // It starts anew.
        assert_eq!(world.pass(1).review(&[remark("p", Present, "one")], &[]), NOTHING);
    }

    #[test]
    fn what_comes_and_goes_is_never_told_and_what_goes_and_comes_never_taken_back() {
        let mut world = World::new();
        for _ in 0..50 {
            assert_eq!(world.pass(20).review(&[remark("p", Present, "one")], &[]), NOTHING);
            assert_eq!(world.pass(9).review(&[], &[]), NOTHING);
        }
        world.review(&[remark("p", Present, "one")], &[]);
        assert_eq!(world.pass(30).told(), ["one"]);
        for _ in 0..50 {
            assert_eq!(world.pass(20).review(&[], &[]), ["one"]);
            assert_eq!(world.pass(9).review(&[remark("p", Present, "one")], &[]), ["one"]);
        }
    }

    #[test]
    fn other_words_for_the_same_are_told_seldom() {
        let mut world = World::new();
        world.review(&[remark("p", Present, "web-0")], &[]);
        assert_eq!(world.pass(30).told(), ["web-0"]);
        let mut wordings = BTreeSet::new();
        for n in 1..=119 {
            wordings.extend(world.pass(10).review(&[remark("p", Present, &format!("web-{n}"))], &[]));
        }
        assert_eq!(wordings.into_iter().collect::<Vec<_>>(), ["web-0", "web-60"]);
        assert_eq!(world.pass(10).told(), ["web-119"]);
    }

    #[test]
    fn an_edit_of_the_policy_is_answered_at_once() {
        let mut world = World::new();
        assert_eq!(world.review(&[remark("p", Present, "one")], &["p"]), ["one"]);
        assert_eq!(world.pass(1).review(&[remark("p", Present, "two")], &["p"]), ["two"]);
        assert_eq!(world.pass(1).review(&[], &["p"]), NOTHING);
        // Another's edit is not.
        world.review(&[remark("p", Present, "one")], &["p"]);
        assert_eq!(world.pass(1).review(&[], &["q"]), ["one"]);
    }

    #[test]
    fn of_what_was_not_reviewed_what_was_told_stays() {
        let mut world = World::new();
        world.review(&[remark("p", Policies, "one"), remark("q", Policies, "two")], &[]);
        let review = Review { remarks: Vec::new(), unreviewed: BTreeSet::from([policy("p")]) };
        let now = world.now();
        world.0.observe(&review, &BTreeSet::from([policy("q")]), now);
        assert_eq!(world.pass(3600).told(), ["one"]);
    }

    #[test]
    fn advice_is_left_to_those_who_ask() {
        let mut world = World::new();
        let mut advice = remark("p", Policies, "one");
        advice.diagnostic.severity = Severity::Advice;
        assert_eq!(world.review(&[advice], &["p"]), NOTHING);
        assert_eq!(world.0.wake_at(), None);
    }
}
