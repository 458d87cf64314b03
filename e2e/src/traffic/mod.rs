//! Real packets: servers in every stack, and clients that find out whether they are reached.

mod client;
mod echo;
mod flood;
mod sctp;
mod server;
mod talk;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use client::{Target, open_datagram, open_stream, probe};
pub use flood::{Flood, Tally};
pub use sctp::Sctp;
pub use server::serve;
pub use talk::{Progress, Talk};

/// The ports every stack listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// TCP ports.
    pub tcp: BTreeSet<u16>,
    /// UDP ports.
    pub udp: BTreeSet<u16>,
    /// SCTP ports, where the kernel has SCTP sockets. Packets made by hand are seen at any port.
    pub sctp: BTreeSet<u16>,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            tcp: BTreeSet::from([80, 81, 443, 5432, 8080, 8443]),
            udp: BTreeSet::from([53, 80, 81, 5353]),
            sctp: BTreeSet::from([53, 80, 81, 99]),
        }
    }
}

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// An answer came from the stack of this name (echo replies do not say).
    Answered(Option<String>),
    /// The packet passed, and somebody refused it: a reset or an unreachable message came back.
    Refused,
    /// Nothing came back.
    Silent,
    /// The probe itself could not be made.
    Failed(String),
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(Some(name)) => write!(f, "answered by {name}"),
            Self::Answered(None) => f.write_str("answered"),
            Self::Refused => f.write_str("refused"),
            Self::Silent => f.write_str("silence"),
            Self::Failed(error) => write!(f, "probe failed: {error}"),
        }
    }
}

/// How long to try and to wait. `PALISADE_TIME_SCALE` scales all of it, for slow machines.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long an answer that must come may take.
    pub allowed: Duration,
    /// How long silence is listened to.
    pub denied: Duration,
    /// The time between attempts.
    pub retry: Duration,
}

/// A time, scaled by `PALISADE_TIME_SCALE`.
pub fn scaled(time: Duration) -> Duration {
    let scale = std::env::var("PALISADE_TIME_SCALE").ok().and_then(|text| text.parse::<f64>().ok());
    time.mul_f64(scale.filter(|scale| scale.is_finite() && *scale > 0.0).unwrap_or(1.0))
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            allowed: scaled(Duration::from_secs(3)),
            denied: scaled(Duration::from_millis(300)),
            retry: scaled(Duration::from_millis(100)),
        }
    }
}

/// SCTP packets made by hand that are waited for, by the tag they carry. Servers report what they see here: there is no
/// answer.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<HashMap<u32, oneshot::Sender<String>>>);

impl Sightings {
    /// Waits for a tag.
    fn expect(&self, tag: u32) -> oneshot::Receiver<String> {
        let (seen, is_seen) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, seen);
        is_seen
    }

    /// Notes that a stack has seen a tag.
    fn saw(&self, tag: u32, stack: &str) {
        if let Some(seen) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&tag) {
            let _ = seen.send(stack.to_owned());
        }
    }

    /// Waits no longer.
    fn forget(&self, tag: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&tag);
    }
}
