//! How much a review may do: counted in steps, not in time, so that equal clusters give equal reviews on any machine.

/// Bounds of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps for the whole review. A step is about one comparison of a rule with a pod, a node or another rule: a tenth
    /// of a microsecond or so.
    pub steps: u64,
    /// Steps for one policy, so that one that is much work does not keep the others from being looked at.
    pub steps_per_policy: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 20_000_000, steps_per_policy: 1_000_000 }
    }
}

/// Nothing more may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// What is left.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    left: u64,
    left_of_policy: u64,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, left: limits.steps, left_of_policy: limits.steps_per_policy }
    }

    /// Goes on with another policy.
    pub(super) fn next_policy(&mut self) {
        self.left_of_policy = self.limits.steps_per_policy;
    }

    /// Uses up so many steps.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        let left = |before: u64| before.checked_sub(steps);
        match (left(self.left), left(self.left_of_policy)) {
            (Some(all), Some(policy)) => {
                (self.left, self.left_of_policy) = (all, policy);
                Ok(())
            }
            _ => Err(Exhausted),
        }
    }
}
