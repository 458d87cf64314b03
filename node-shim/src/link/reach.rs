//! Connections to whoever may be there: the next one is begun at once when one fails, and without waiting for it when
//! one hangs. Knows nothing of what is said on them.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::transport::{Channel, Endpoint};

use super::Fault;
use super::address::Candidate;

/// Time for TCP and TLS to stand.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection may take before the next is begun beside it: a machine that is gone answers nothing.
const STAGGER: Duration = Duration::from_millis(300);

/// See the module.
pub(super) struct Reach<F> {
    waiting: VecDeque<Candidate>,
    under_way: JoinSet<(Candidate, Result<Channel, Fault>)>,
    begin_next: Instant,
    connect: F,
}

impl<F> Reach<F>
where
    F: Fn(&Candidate) -> Result<(Endpoint, Explain), Fault>,
{
    /// `connect` says how, and how to explain that it failed.
    pub(super) fn new(candidates: VecDeque<Candidate>, connect: F) -> Self {
        Self { waiting: candidates, under_way: JoinSet::new(), begin_next: Instant::now(), connect }
    }

    /// The next connection that stands or failed. `None`: there are no more.
    pub(super) async fn next(&mut self) -> Option<(Candidate, Result<Channel, Fault>)> {
        loop {
            if self.under_way.is_empty() {
                self.begin_next = Instant::now();
            }
            tokio::select! {
                biased;
                Some(joined) = self.under_way.join_next() => {
                    // Whatever it is, waiting for it is over.
                    self.begin_next = Instant::now();
                    // A task that broke down is a candidate less.
                    if let Ok(outcome) = joined {
                        return Some(outcome);
                    }
                }
                () = sleep_until(self.begin_next), if !self.waiting.is_empty() => {
                    let candidate = self.waiting.pop_front()?;
                    self.begin_next = Instant::now() + STAGGER;
                    match (self.connect)(&candidate) {
                        Ok((endpoint, explain)) => {
                            self.under_way.spawn(connect(candidate, endpoint, explain));
                        }
                        Err(fault) => return Some((candidate, Err(fault))),
                    }
                }
                else => return None,
            }
        }
    }
}

/// What a failed connection means.
pub(super) type Explain = Box<dyn Fn(&tonic::transport::Error) -> Fault + Send>;

async fn connect(
    candidate: Candidate,
    endpoint: Endpoint,
    explain: Explain,
) -> (Candidate, Result<Channel, Fault>) {
    let outcome = match timeout(CONNECT, endpoint.connect()).await {
        Ok(outcome) => outcome.map_err(|error| explain(&error)),
        Err(_) => Err(Fault::silent(CONNECT)),
    };
    (candidate, outcome)
}
