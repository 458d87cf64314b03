//! How much may be asked of the API server: a rate with a burst, and pauses while it cannot serve. Pure.

use std::time::Duration;

/// The first pause after a failure; the next is twice as long.
const SHORTEST: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// A pause after so many failures in a row, less a part of up to a quarter: who failed together should not come back
/// together. `chance` is between 0 and 1.
pub(super) fn pause(failures: u32, chance: f64) -> Duration {
    let full = SHORTEST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
}

/// What may still be asked.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// Requests a second.
    rate: f64,
    burst: f64,
    left: f64,
    counted_at: Duration,
    failures: u32,
    paused_until: Duration,
}

impl Budget {
    pub(super) fn new(rate: u32, burst: u32, now: Duration) -> Self {
        let (rate, burst) = (f64::from(rate.max(1)), f64::from(burst.max(1)));
        Self { rate, burst, left: burst, counted_at: now, failures: 0, paused_until: Duration::ZERO }
    }

    /// Takes one request out, or says when the next may be taken.
    pub(super) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        if now < self.paused_until {
            return Err(self.paused_until);
        }
        let earned = now.saturating_sub(self.counted_at).as_secs_f64() * self.rate;
        (self.left, self.counted_at) = ((self.left + earned).min(self.burst), now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - self.left) / self.rate);
        // Never the same moment again: sums of fractions fall short.
        Err(now.saturating_add(wait.max(Duration::from_millis(1))))
    }

    /// Whether the last request failed: then one at a time finds out whether it works again.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The server answered.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The server could not serve, and asks for a pause, perhaps.
    pub(super) fn failed(&mut self, asked_for: Option<Duration>, chance: f64, now: Duration) {
        // What was under way when the pause began says nothing new.
        if now >= self.paused_until {
            let own = pause(self.failures, chance);
            self.failures = self.failures.saturating_add(1);
            self.paused_until = now.saturating_add(own);
        }
        if let Some(asked_for) = asked_for {
            let asked_for =
                asked_for.min(LONGEST.saturating_mul(4)).mul_f64(1.0 + chance.clamp(0.0, 1.0) / 10.0);
            self.paused_until = self.paused_until.max(now.saturating_add(asked_for));
        }
    }
}
