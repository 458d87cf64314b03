//! What people are told through the Kubernetes API: conditions on policies and Events. The only writer of both.
//!
//! `index` decides, from the hub's [`Progress`](crate::progress::Progress) and the time, what should be there; it has
//! no client and no clock. `writer` sends what differs, while this operator leads. What the conditions and Events
//! mean is in docs/status.md.

mod api;
mod budget;
mod conditions;
mod events;
mod index;
mod meters;
mod nodes;
mod notices;
#[cfg(test)]
mod tests;
mod track;
mod writer;

use std::time::Duration;

use jiff::Timestamp;

pub use self::meters::Meters;
pub use self::writer::{Options, run};

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since any fixed moment; never goes back. For all waiting.
    pub(crate) elapsed: Duration,
    /// The time of day, for people.
    pub(crate) wall: Timestamp,
}

/// How long things must last before they are told, so that what passes by itself costs no write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A new generation whose enforcement is not complete yet is left alone this long: usually it is complete by then
    /// and costs one write instead of two.
    pub settle: Duration,
    /// After this operator has begun to lead, shims are given this long to come (back) before anything is said about
    /// policies that wait for them.
    pub warm_up: Duration,
    /// A node counts as not connected only after this long.
    pub absent_after: Duration,
    /// A node that has confirmed nothing for this long, while there was something to confirm, has fallen behind.
    pub behind_after: Duration,
    /// A node that fell behind must be well this long before that is over.
    pub recovered_after: Duration,
    /// The least time between two writes of a policy of which the second changes no more than wording.
    pub reword_every: Duration,
    /// What has no status to be seen in, and lasts, is told again in an Event this often: Events are forgotten after
    /// an hour.
    pub remind_every: Duration,
    /// A node that has fallen behind makes at most this many policies `Degraded`. If it concerns more, it is told of
    /// by its Event and metric alone: an outage must not become thousands of writes.
    pub degraded_at_most: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(300),
            warm_up: Duration::from_secs(5),
            absent_after: Duration::from_secs(10),
            behind_after: Duration::from_secs(30),
            recovered_after: Duration::from_secs(10),
            reword_every: Duration::from_secs(10),
            remind_every: Duration::from_mins(30),
            degraded_at_most: 100,
        }
    }
}

/// The earliest of the moments at which time alone changes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alarm(Option<Duration>);

impl Alarm {
    /// Goes off at that moment, too.
    pub(crate) fn set(&mut self, at: Duration) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether something has lasted long enough; if not, the alarm is set for it.
    pub(crate) fn has_lasted(&mut self, since: Duration, long: Duration, now: Moment) -> bool {
        let at = since.saturating_add(long);
        if at > now.elapsed {
            self.set(at);
        }
        at <= now.elapsed
    }

    /// When it goes off.
    pub(crate) fn at(self) -> Option<Duration> {
        self.0
    }
}
