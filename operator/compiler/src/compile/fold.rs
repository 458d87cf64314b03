//! Tiers, priorities, Pass and isolation resolved: from the steps that match a peer, in order, to what is allowed.

use palisade_view::Program;

use super::steps::Effect;
use crate::model::{Action, Tier};

/// What is allowed to or from one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Of ordinary traffic.
    pub(super) main: Program,
    /// Of traffic that NetworkPolicy never restricts.
    pub(super) exempt: Program,
}

impl Outcome {
    /// What both allow.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self { main: self.main.intersection(&other.main), exempt: self.exempt.intersection(&other.exempt) }
    }
}

/// Folds the steps that match a peer, in the order of judgement, each with the traffic it is about.
///
/// `isolated`: whether any NetworkPolicy selects the subject in this direction, whatever its rules match.
pub(super) fn fold(steps: impl IntoIterator<Item = (Effect, Program)>, isolated: bool) -> Outcome {
    let mut allowed = Program::NONE;
    let mut admin_open = Program::all();
    let mut passed = Program::NONE;
    let mut network_allowed = Program::NONE;
    let mut baseline = Vec::new();
    for (effect, traffic) in steps {
        match effect {
            Effect::Tier(Tier::Admin, action) => {
                let decided = admin_open.intersection(&traffic);
                admin_open = admin_open.difference(&decided);
                match action {
                    Action::Allow => allowed = allowed.union(&decided),
                    Action::Pass => passed = passed.union(&decided),
                    Action::Deny => {}
                }
            }
            Effect::NetworkPolicy => network_allowed = network_allowed.union(&traffic),
            Effect::Tier(Tier::Baseline, action) => baseline.push((action, traffic)),
        }
    }
    let left = admin_open.union(&passed);
    if isolated {
        // NetworkPolicy is final for the pods it selects: the Baseline tier is not asked.
        return Outcome {
            main: allowed.union(&left.intersection(&network_allowed)),
            exempt: allowed.union(&left),
        };
    }
    let mut open = left;
    for (action, traffic) in baseline {
        let decided = open.intersection(&traffic);
        open = open.difference(&decided);
        if matches!(action, Action::Allow | Action::Pass) {
            allowed = allowed.union(&decided);
        }
    }
    let allowed = allowed.union(&open);
    Outcome { main: allowed.clone(), exempt: allowed }
}

#[cfg(test)]
mod tests {
    use palisade_view::{Intervals, Protocol};

    use super::*;

    fn tcp(start: u16, end: u16) -> Program {
        Program::ports(Protocol::Tcp, Intervals::range(start, end))
    }

    #[test]
    fn pass_reaches_network_policy_and_what_is_not_passed_does_too() {
        let steps = [
            (Effect::Tier(Tier::Admin, Action::Pass), tcp(80, 80)),
            (Effect::Tier(Tier::Admin, Action::Deny), tcp(0, 100)),
            (Effect::NetworkPolicy, tcp(80, 200)),
            (Effect::Tier(Tier::Baseline, Action::Allow), Program::all()),
        ];
        let outcome = fold(steps, true);
        assert_eq!(outcome.main, tcp(80, 80).union(&tcp(101, 200)));
        assert_eq!(outcome.exempt, Program::all().difference(&tcp(0, 79)).difference(&tcp(81, 100)));
    }

    #[test]
    fn baseline_pass_allows_and_what_no_rule_matches_is_allowed() {
        let steps = [
            (Effect::Tier(Tier::Baseline, Action::Pass), tcp(80, 80)),
            (Effect::Tier(Tier::Baseline, Action::Deny), tcp(1, 1000)),
        ];
        let outcome = fold(steps, false);
        assert_eq!(outcome.main, Program::all().difference(&tcp(1, 79)).difference(&tcp(81, 1000)));
        assert_eq!(outcome.main, outcome.exempt);
    }

    #[test]
    fn isolation_without_a_matching_rule_denies_all_but_exempt_traffic() {
        let outcome = fold([], true);
        assert_eq!(outcome, Outcome { main: Program::NONE, exempt: Program::all() });
    }
}
