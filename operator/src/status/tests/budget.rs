//! Rates and pauses.

use super::super::budget::{Budget, pause};
use super::*;

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
    let mut budget = Budget::new(20, 40, at(0));
    let mut now = at(0);
    let mut sent = Vec::new();
    while sent.len() < 100 {
        match budget.take(now) {
            Ok(()) => sent.push(now),
            Err(next) => {
                assert!(next > now);
                now = next;
            }
        }
    }
    assert!(sent[..40].iter().all(|&sent| sent == at(0)));
    assert_eq!(sent[40], at(50));
    let last = sent[99].as_secs_f64();
    assert!((2.99..3.1).contains(&last), "{last}");
    // What is not used is not saved beyond the burst.
    now += at(60_000);
    let burst = (0..100).take_while(|_| budget.take(now).is_ok()).count();
    assert_eq!(burst, 40);
}

#[test]
fn a_failure_pauses_everything_and_longer_each_time() {
    let mut budget = Budget::new(1000, 1000, at(0));
    budget.failed(None, 0.0, at(0));
    assert!(budget.is_failing());
    assert_eq!(budget.take(at(199)), Err(at(200)));
    // Requests that were under way when it began say nothing new.
    budget.failed(None, 0.0, at(150));
    assert_eq!(budget.take(at(200)), Ok(()));
    budget.failed(None, 0.0, at(200));
    assert_eq!(budget.take(at(200)), Err(at(600)));
    budget.succeeded();
    assert!(!budget.is_failing());
    budget.failed(None, 0.0, at(1000));
    assert_eq!(budget.take(at(1000)), Err(at(1200)));
}

#[test]
fn the_server_may_ask_for_a_longer_pause_but_not_for_any() {
    let mut budget = Budget::new(1000, 1000, at(0));
    budget.failed(Some(Duration::from_secs(3)), 0.0, at(0));
    assert_eq!(budget.take(at(2999)), Err(at(3000)));
    assert_eq!(budget.take(at(3000)), Ok(()));
    budget.failed(Some(Duration::from_hours(24)), 1.0, at(3000));
    assert_eq!(budget.take(at(3000)), Err(at(3000 + 132_000)));
}

#[test]
fn pauses_double_to_half_a_minute_and_differ() {
    let full: Vec<_> = (0..10).map(|failures| pause(failures, 0.0).as_millis()).collect();
    assert_eq!(full, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    assert_eq!(pause(u32::MAX, 0.0), Duration::from_secs(30));
    assert_eq!(pause(0, 1.0), at(150));
}
