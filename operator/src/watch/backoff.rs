//! How long to wait before asking again.

use std::time::Duration;

use rand::RngExt;

/// Waits that double up to a limit, each shortened by up to a half by chance, so that many who lost the same server do
/// not come back together.
///
/// Not `kube_runtime`'s: its stream resets on every event, and a watcher that cannot list yields an `Init` before each
/// failure, so that it would never wait longer than the first time.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// One that begins at `first`.
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A duration, made longer by up to a tenth by chance.
pub(super) fn spread(duration: Duration) -> Duration {
    duration.mul_f64(rand::rng().random_range(1.0..=1.1))
}
