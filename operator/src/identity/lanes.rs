//! How many questions may be asked and how fast. Two lanes: whoever showed a bad token lately waits in the slow one, so
//! that guessing cannot keep nodes out. Time is an argument of the [`Pace`].

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

/// So many at once, and then one every so often.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    burst: u32,
    /// When the next turn would be if none were left over.
    next: Instant,
}

impl Pace {
    pub(super) fn new(every: Duration, burst: u32, now: Instant) -> Self {
        Self { every, burst, next: now }
    }

    /// Reserves the next turn, unless it is later than `limit`.
    pub(super) fn turn(&mut self, now: Instant, limit: Instant) -> Option<Instant> {
        let next = self.next.max(now);
        let ahead = self.every * self.burst.saturating_sub(1);
        let turn = next.checked_sub(ahead).map_or(now, |turn| turn.max(now));
        if turn > limit {
            return None;
        }
        self.next = next + self.every;
        Some(turn)
    }
}

/// One way to the API server.
#[derive(Debug)]
pub(super) struct Lane {
    pace: Mutex<Pace>,
    at_once: Arc<Semaphore>,
}

impl Lane {
    /// `every` so often after a `burst`, and at most `at_once` under way.
    pub(super) fn new(every: Duration, burst: u32, at_once: usize) -> Self {
        let pace = Mutex::new(Pace::new(every, burst, Instant::now()));
        Self { pace, at_once: Arc::new(Semaphore::new(at_once)) }
    }

    /// Waits for a turn. `None`: there is none within `wait`.
    pub(super) async fn turn(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        let now = Instant::now();
        let limit = now + wait;
        let at = self.pace.lock().unwrap_or_else(PoisonError::into_inner).turn(now, limit)?;
        sleep_until(at).await;
        // The semaphore is never closed.
        timeout_at(limit, Arc::clone(&self.at_once).acquire_owned()).await.ok()?.ok()
    }
}

/// Whom an address stands for: of IPv6, whoever has a network has all its addresses.
pub(super) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_step() {
        let now = Instant::now();
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        let mut pace = Pace::new(Duration::from_millis(10), 3, now);
        let turns: Vec<_> = (0..6).map(|_| pace.turn(now, at(25))).collect();
        assert_eq!(turns, [Some(now), Some(now), Some(now), Some(at(10)), Some(at(20)), None]);
        // What was refused took no turn.
        assert_eq!(pace.turn(at(5), at(1000)), Some(at(30)));
        // Rest earns a burst again, and no more than that.
        let later = 100_000;
        let turns: Vec<_> = (0..4).map(|_| pace.turn(at(later), at(later + 1000))).collect();
        assert_eq!(turns, [Some(at(later)), Some(at(later)), Some(at(later)), Some(at(later + 10))]);
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_under_way() {
        let lane = Lane::new(Duration::from_micros(1), 100, 2);
        let wait = Duration::from_millis(20);
        let first = lane.turn(wait).await.unwrap();
        let _second = lane.turn(wait).await.unwrap();
        assert!(lane.turn(wait).await.is_none());
        drop(first);
        assert!(lane.turn(wait).await.is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_neighbour() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
