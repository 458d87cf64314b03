//! How long to wait before trying again.

use std::time::Duration;

/// A random time up to a bound that doubles.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The bound after a session that got something done.
    pub first: Duration,
    /// The highest bound while an operator is between two leaders: nobody listens, or whoever does serves no more.
    pub between: Duration,
    /// The highest bound where something is wrong that will not pass by itself.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        // Thousands of nodes that knock once a second on a closed port cost nobody anything; a node that is late at the
        // new leader does.
        Self {
            first: Duration::from_millis(100),
            between: Duration::from_secs(1),
            most: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    pub(super) fn bound(self, failures: u32, is_between: bool) -> Duration {
        let most = if is_between { self.between } else { self.most };
        self.first.saturating_mul(2_u32.saturating_pow(failures)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_a_second_or_ten() {
        let bounds = |is_between| {
            [0, 1, 2, 6, 7, 40, u32::MAX].map(|n| Backoff::default().bound(n, is_between).as_millis())
        };
        assert_eq!(bounds(false), [100, 200, 400, 6400, 10_000, 10_000, 10_000]);
        assert_eq!(bounds(true), [100, 200, 400, 1000, 1000, 1000, 1000]);
    }
}
