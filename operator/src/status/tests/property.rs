//! Whatever happens, in whatever order: what is written is true, nothing is written for nothing, and in the end
//! everything is said.

use proptest::prelude::*;

use super::*;

const NODES: [&str; 4] = ["n-1", "n-2", "n-3", "n-4"];
const POLICIES: [&str; 3] = ["p", "q", "r"];

#[derive(Clone, Debug)]
enum Step {
    /// A policy is made or edited: its span, and what is wrong with it.
    Apply(usize, Option<u8>, Option<Severity>),
    Delete(usize),
    /// Pods come and go.
    Span(usize, u8),
    /// Something else changes, for these nodes.
    Change(u8),
    /// A node's shim takes the next step: connects, confirms, refuses or is lost.
    Node(usize, NodeState),
    /// What is due is written: all, or the first few; and they succeed, or not.
    Write(usize, bool),
    /// What was written comes back by the watch.
    Echo,
    /// Somebody else writes one of our conditions.
    Foreign(usize, bool),
    /// Time passes, in tenths of a second.
    Pass(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let severity = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Severity::Warning)),
        1 => Just(Some(Severity::FailClosed)),
        1 => Just(Some(Severity::Error)),
    ];
    let state = prop_oneof![
        4 => Just(NodeState::InSync),
        2 => Just(NodeState::Updating),
        2 => Just(NodeState::Disconnected),
        1 => Just(NodeState::Parked),
    ];
    prop_oneof![
        4 => (0..3usize, proptest::option::weighted(0.8, 0..16u8), severity)
            .prop_map(|(policy, span, severity)| Step::Apply(policy, span, severity)),
        1 => (0..3usize).prop_map(Step::Delete),
        3 => (0..3usize, 0..16u8).prop_map(|(policy, span)| Step::Span(policy, span)),
        2 => (0..16u8).prop_map(Step::Change),
        8 => (0..4usize, state).prop_map(|(node, state)| Step::Node(node, state)),
        8 => (1..4usize, proptest::bool::weighted(0.8)).prop_map(|(most, works)| Step::Write(most, works)),
        6 => Just(Step::Echo),
        1 => (0..3usize, any::<bool>()).prop_map(|(policy, status)| Step::Foreign(policy, status)),
        8 => prop_oneof![0..5u64, 5..50u64, 50..1000u64].prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

fn span(bits: u8) -> BTreeSet<String> {
    (0..4).filter(|bit| bits & (1 << bit) != 0).map(|bit| NODES[bit].to_owned()).collect()
}

/// What a test knows beside the world.
struct Truth {
    world: World,
    /// Generations that were in force everywhere at some moment that was looked at.
    been_true: BTreeSet<(String, i64)>,
    /// Written, and not shown by the watch yet.
    on_the_way: Vec<Write>,
    /// What the API has, ahead of the watch.
    api: BTreeMap<String, Vec<Condition>>,
}

impl Truth {
    fn new() -> Self {
        let mut truth = Self {
            world: World::new(),
            been_true: BTreeSet::new(),
            on_the_way: Vec::new(),
            api: BTreeMap::new(),
        };
        for node in NODES {
            truth.world.node(node, NodeState::NeverConnected, None, "");
        }
        truth
    }

    fn object(policy: usize) -> ObjectRef {
        anp(POLICIES[policy])
    }

    /// Views change on some nodes: those have to confirm anew, the others have it already.
    fn bump(&mut self, changed: &BTreeSet<String>) {
        self.world.progress.epoch += 1;
        let epoch = self.world.progress.epoch;
        for (name, node) in &mut self.world.progress.nodes {
            if changed.contains(name) {
                if node.state == NodeState::InSync {
                    node.state = NodeState::Updating;
                }
            } else if node.acked_epoch == Some(epoch - 1) {
                node.acked_epoch = Some(epoch);
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Apply(policy, bits, severity) => {
                let object = Self::object(policy);
                let findings = severity.map(|severity| finding(&object, severity, "spec", "it is wrong"));
                let span = bits.map(span);
                let old = self.world.progress.policies.get(&object).and_then(|policy| policy.span.clone());
                let mut changed = span.clone().unwrap_or_default();
                changed.extend(old.iter().flat_map(|old| old.iter().cloned()));
                self.world.apply_with(&object, span, findings.into_iter().collect());
                // The epoch has been counted.
                self.world.progress.epoch -= 1;
                self.bump(&changed);
            }
            Step::Delete(policy) => {
                self.world.progress.policies.remove(&Self::object(policy));
                self.bump(&BTreeSet::new());
            }
            Step::Span(policy, bits) => {
                if self.world.progress.policies.contains_key(&Self::object(policy)) {
                    self.bump(&span(bits));
                    self.world.span(&Self::object(policy), span(bits));
                }
            }
            Step::Change(bits) => self.bump(&span(bits)),
            Step::Node(node, state) => self.node(NODES[node], state),
            Step::Write(most, works) => {
                self.look();
                for _ in 0..most {
                    if !self.write(works) {
                        break;
                    }
                }
            }
            Step::Echo => self.echo(),
            Step::Foreign(policy, status) => {
                self.echo();
                let object = Self::object(policy);
                if let Some(policy) = self.world.progress.policies.get(&object) {
                    let uid = policy.report.uid.clone();
                    // Never that it was enforced: nobody else knows.
                    let (kind, generation) = ("Accepted", policy.report.generation);
                    let status = if status { "True" } else { "False" };
                    let theirs = condition(kind, status, "Theirs", "", generation, 3);
                    merge(self.api.entry(uid).or_default(), std::slice::from_ref(&theirs));
                    self.world.edit(&object, |policy| merge(&mut policy.report.conditions, &[theirs]));
                }
            }
            Step::Pass(tenths) => self.world.elapsed += Duration::from_millis(100 * tenths),
            Step::Restart => {
                self.world.restart();
                // The new process reads the API first.
                self.echo();
            }
        }
        self.look();
    }

    fn node(&mut self, name: &str, state: NodeState) {
        let epoch = self.world.progress.epoch;
        let old = self.world.progress.nodes[name].clone();
        let was_connected = !matches!(old.state, NodeState::NeverConnected | NodeState::Disconnected);
        let acked = match state {
            NodeState::InSync => Some(epoch),
            NodeState::Disconnected if was_connected => old.acked_epoch,
            NodeState::Disconnected | NodeState::NeverConnected => return,
            NodeState::Updating | NodeState::Parked if was_connected => {
                old.acked_epoch.filter(|acked| *acked < epoch)
            }
            NodeState::Updating | NodeState::Parked => None,
        };
        self.world.node(
            name,
            state,
            acked,
            if state == NodeState::Parked { "refused (kernel): no" } else { "" },
        );
    }

    /// Notes what is true, and lets the index look.
    fn look(&mut self) {
        let progress = &self.world.progress;
        for policy in progress.policies.values() {
            let is_true = policy
                .span
                .as_ref()
                .is_some_and(|span| span.iter().all(|node| progress.is_confirmed(node, policy.epoch)));
            if is_true {
                self.been_true.insert((policy.report.uid.clone(), policy.report.generation));
            }
        }
        self.world.observe();
    }

    fn write(&mut self, works: bool) -> bool {
        let Some(write) = self.world.index.next_write() else { return false };
        let policy = Arc::clone(&self.world.progress.policies[&write.object]);
        let report = &policy.report;
        let stored = self.api.entry(report.uid.clone()).or_default();
        assert_eq!(write.uid, report.uid);
        assert_eq!(write.conditions.len(), 3);
        let mut is_new = false;
        for condition in &write.conditions {
            assert_eq!(condition.observed_generation, Some(report.generation), "{write:?}");
            let known = stored.iter().find(|known| known.type_ == condition.type_);
            is_new |= known.is_none_or(|known| {
                (&known.status, &known.reason, &known.message, known.observed_generation)
                    != (
                        &condition.status,
                        &condition.reason,
                        &condition.message,
                        condition.observed_generation,
                    )
            });
            if let Some(known) = known {
                let has_moved = known.last_transition_time != condition.last_transition_time;
                assert!(!has_moved || known.status != condition.status, "{known:?} {condition:?}");
            }
            if condition.type_ == "Programmed" && condition.status == "True" {
                let generation = (report.uid.clone(), report.generation);
                assert!(self.been_true.contains(&generation), "{condition:?} {policy:?}");
                assert!(policy.findings.iter().all(|found| found.diagnostic.severity != Severity::Error));
            }
        }
        assert!(is_new, "a write that changes nothing: {write:?}");
        if works {
            merge(stored, &write.conditions);
            self.on_the_way.push(write.clone());
        }
        let outcome = if works { Outcome::Written } else { Outcome::Failed };
        let now = self.world.now();
        self.world.index.ended(
            &write,
            &outcome,
            |failures| Duration::from_millis(200 << failures.min(6)),
            now,
        );
        true
    }

    fn echo(&mut self) {
        for write in std::mem::take(&mut self.on_the_way) {
            let current = self.world.progress.policies.get(&write.object);
            if current.is_some_and(|policy| policy.report.uid == write.uid) {
                self.world
                    .edit(&write.object, |policy| merge(&mut policy.report.conditions, &write.conditions));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_true_and_new_and_in_the_end_complete(steps in proptest::collection::vec(step(), 1..80)) {
        let mut truth = Truth::new();
        for step in steps {
            truth.take(&step);
        }
        truth.echo();
        // Everything becomes well, and time passes.
        let objects: Vec<ObjectRef> = truth.world.progress.policies.keys().cloned().collect();
        for object in &objects {
            if truth.world.progress.policies[object].span.is_none() {
                truth.world.span(object, names(["n-1"]));
            }
        }
        for node in NODES {
            truth.world.in_sync(node);
        }
        truth.look();
        let mut world = truth.world;
        world.live(1200.0);
        for object in &objects {
            let policy = &world.progress.policies[object];
            let status = |kind: &str| {
                let condition = world.condition(object, kind);
                assert_eq!(condition.observed_generation, Some(policy.report.generation));
                condition.status == "True"
            };
            let worst = policy.findings.iter().map(|found| found.diagnostic.severity).max();
            prop_assert_eq!(status("Accepted"), worst <= Some(Severity::Warning), "{:?}", policy);
            prop_assert_eq!(status("Programmed"), worst != Some(Severity::Error), "{:?}", policy);
            prop_assert!(!status("Degraded"), "{:?}", policy);
        }
        prop_assert_eq!(world.live(7200.0), 0);
    }
}
