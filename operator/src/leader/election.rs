//! Who leads: the rules, with time as an argument. Knows neither the API client nor a clock.
//!
//! As client-go's `leaderelection` does it: a Lease has expired once it has not changed for as long as it says, by the
//! clock of whoever watches it; the times written in it are for people. It is taken with the resourceVersion last seen,
//! so of two who try one fails. Unlike client-go, every time of leading is a transition and with it a term of its own,
//! also where the same process leads again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use super::lease::{duration, first, holder, released, renewed, taken, term, transitions};
use super::{Leadership, Timing};

/// What to ask the API server for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// The Lease as it is.
    Read,
    /// To make it.
    Create(Lease),
    /// To replace it, if it is still what was seen.
    Replace(Lease),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The Lease as it is now.
    Lease(Box<Lease>),
    /// There is none.
    Missing,
    /// Somebody else was faster.
    Conflict,
    /// Nothing is known.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reign {
    term: u64,
    transitions: i32,
    /// When the last renewal that came through was sent: others count from then or later.
    renewed: Instant,
}

#[derive(Debug)]
struct Seen {
    lease: Lease,
    /// Since when it has said the same.
    since: Instant,
}

/// One participant's knowledge.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    namespace: String,
    name: String,
    timing: Timing,
    seen: Option<Seen>,
    reign: Option<Reign>,
    /// The last attempt got no answer.
    is_failing: bool,
}

impl Election {
    pub(super) fn new(me: &str, namespace: &str, name: &str, timing: Timing) -> Self {
        let [me, namespace, name] = [me, namespace, name].map(str::to_owned);
        Self { me, namespace, name, timing, seen: None, reign: None, is_failing: false }
    }

    pub(super) fn leadership(&self) -> Leadership {
        match self.reign {
            Some(reign) => Leadership::Leading { term: reign.term },
            None => Leadership::Standby {
                holder: self
                    .seen
                    .as_ref()
                    .and_then(|seen| holder(&seen.lease))
                    .filter(|&holder| holder != self.me)
                    .map(str::to_owned),
            },
        }
    }

    /// When leading ends unless it is renewed before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.reign.map(|reign| reign.renewed + self.timing.renew_deadline)
    }

    /// Ends a leadership that was not renewed in time. Gives whether there was one.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let is_over = self.deadline().is_some_and(|deadline| deadline <= now);
        if is_over {
            self.reign = None;
        }
        is_over
    }

    /// The first request of an attempt to lead or to go on leading.
    pub(super) fn begin(&self, wall: Timestamp) -> Request {
        match (&self.reign, &self.seen) {
            // As long as nobody interferes, one request is all that a renewal takes.
            (Some(reign), Some(seen)) if !self.is_failing => self.renewal(&seen.lease, *reign, wall),
            _ => Request::Read,
        }
    }

    /// What follows from an answer to a request that was sent at `sent`: another request, or nothing for now.
    pub(super) fn take(
        &mut self,
        request: &Request,
        answer: Answer,
        sent: Instant,
        now: Instant,
        wall: Timestamp,
    ) -> Option<Request> {
        self.is_failing = matches!(answer, Answer::Failed);
        match (request, answer) {
            (_, Answer::Failed) => None,
            (Request::Read, Answer::Lease(lease)) => {
                self.observe(*lease, now);
                self.decide(now, wall)
            }
            (Request::Read | Request::Replace(_), Answer::Missing) => {
                self.reign = None;
                Some(self.creation(wall))
            }
            (Request::Create(_) | Request::Replace(_), Answer::Lease(lease)) => {
                self.hold(&lease, sent);
                self.observe(*lease, now);
                None
            }
            (_, Answer::Missing | Answer::Conflict) => Some(Request::Read),
        }
    }

    /// Leads no more. Gives the request that gives the Lease up, if this one was its last known holder.
    pub(super) fn release(&mut self, wall: Timestamp) -> Option<Request> {
        self.reign = None;
        let lease = &self.seen.as_ref()?.lease;
        (holder(lease) == Some(&self.me)).then(|| Request::Replace(released(lease, wall)))
    }

    /// Takes in what the Lease is, without wanting it.
    pub(super) fn observe(&mut self, lease: Lease, now: Instant) {
        let since = match &self.seen {
            // Labels and the like are no sign of life.
            Some(seen) if seen.lease.spec == lease.spec && seen.lease.metadata.uid == lease.metadata.uid => {
                seen.since
            }
            _ => now,
        };
        self.seen = Some(Seen { lease, since });
    }

    /// Whether a change that somebody made calls for an attempt at once.
    pub(super) fn is_urgent(&self, lease: Option<&Lease>) -> bool {
        let holder = lease.and_then(holder);
        if self.reign.is_some() { holder != Some(&self.me) } else { holder.is_none() }
    }

    /// When to try next. `spread` from 0 to 1 keeps participants from trying in step.
    pub(super) fn next(&self, now: Instant, spread: f64) -> Instant {
        let retry = self.timing.retry;
        let Some(seen) = self.seen.as_ref().filter(|_| self.reign.is_none()) else {
            // Who leads and cannot renew tries more often: there is little time left.
            return now + if self.is_failing { retry.mul_f64(0.25 + 0.25 * spread) } else { retry };
        };
        let usual = now + retry.mul_f64(1.0 + 0.2 * spread);
        let expiry = seen.since + self.lasts(&seen.lease);
        if expiry > now { usual.min(expiry) } else { usual }
    }

    fn lasts(&self, lease: &Lease) -> Duration {
        duration(lease).unwrap_or(self.timing.lease)
    }

    /// What to do about the Lease just read.
    fn decide(&mut self, now: Instant, wall: Timestamp) -> Option<Request> {
        let seen = self.seen.as_ref()?;
        let holder = holder(&seen.lease);
        let is_mine = holder == Some(self.me.as_str());
        match self.reign {
            // The creation is in the term: another Lease of the same name is another term.
            Some(reign) if is_mine && term(&seen.lease) >> 31 == reign.term >> 31 => {
                return Some(self.renewal(&seen.lease, reign, wall));
            }
            _ => self.reign = None,
        }
        let is_free = holder.is_none() || is_mine || seen.since + self.lasts(&seen.lease) <= now;
        is_free.then(|| {
            let transitions = transitions(&seen.lease).saturating_add(1);
            Request::Replace(taken(&seen.lease, &self.me, self.timing.lease, transitions, wall))
        })
    }

    fn renewal(&self, lease: &Lease, reign: Reign, wall: Timestamp) -> Request {
        let transitions = reign.transitions.max(transitions(lease));
        Request::Replace(renewed(lease, &self.me, self.timing.lease, transitions, wall))
    }

    fn creation(&mut self, wall: Timestamp) -> Request {
        // Of two Leases made within one second the later one must not have the lower term.
        let transitions = self.seen.take().map_or(0, |seen| transitions(&seen.lease).saturating_add(1));
        let base = first(&self.namespace, &self.name);
        Request::Create(taken(&base, &self.me, self.timing.lease, transitions, wall))
    }

    /// A write came through.
    fn hold(&mut self, lease: &Lease, sent: Instant) {
        if holder(lease) != Some(&self.me) {
            return;
        }
        let transitions = transitions(lease);
        // The renewal of a leadership that is over came through: leading again takes a term of its own.
        let is_late = self.seen.as_ref().is_some_and(|seen| {
            holder(&seen.lease) == Some(&self.me) && super::lease::transitions(&seen.lease) == transitions
        });
        match &mut self.reign {
            Some(reign) => (reign.renewed, reign.transitions) = (sent, transitions),
            None if is_late => {}
            None => self.reign = Some(Reign { term: term(lease), transitions, renewed: sent }),
        }
    }
}
