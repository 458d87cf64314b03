//! Participants around one Lease in memory, each with a clock of its own.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::election::{Answer, Election, Request};
use super::lease::{holder, term, transitions};
use super::{Leadership, Timing};

/// The API server's side: one object, versioned.
struct Server {
    lease: Option<Lease>,
    version: u64,
    /// Seconds since 1970.
    clock: i64,
}

impl Server {
    fn new() -> Self {
        Self { lease: None, version: 0, clock: 1_800_000_000 }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let stored = match (request, &self.lease) {
            (Request::Read | Request::Replace(_), None) => return Answer::Missing,
            (Request::Read, Some(lease)) => return Answer::Lease(Box::new(lease.clone())),
            (Request::Create(_), Some(_)) => return Answer::Conflict,
            (Request::Create(lease), None) => {
                let mut lease = lease.clone();
                lease.metadata.uid = Some(format!("uid-{}", self.version));
                lease.metadata.creation_timestamp = Some(Time(Timestamp::from_second(self.clock).unwrap()));
                lease
            }
            (Request::Replace(lease), Some(stored))
                if lease.metadata.resource_version != stored.metadata.resource_version =>
            {
                return Answer::Conflict;
            }
            (Request::Replace(lease), Some(_)) => lease.clone(),
        };
        self.store(stored.clone());
        Answer::Lease(Box::new(self.lease.clone().unwrap()))
    }

    fn store(&mut self, mut lease: Lease) {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease);
    }

    /// As somebody with kubectl does.
    fn edit(&mut self, change: impl FnOnce(&mut Lease)) {
        let mut lease = self.lease.clone().unwrap();
        change(&mut lease);
        self.store(lease);
    }

    fn holder(&self) -> Option<&str> {
        self.lease.as_ref().and_then(holder)
    }
}

struct Participant {
    election: Election,
    /// Its clock at the start of the test: participants agree about nothing.
    start: Instant,
    wall: Timestamp,
}

impl Participant {
    /// `skew`: by how much its clocks are off, in seconds.
    fn new(name: &str, skew: i64) -> Self {
        let start = Instant::now() + Duration::from_secs(1_000_000 + skew.unsigned_abs());
        let wall = Timestamp::from_second(1_800_000_000 + skew).unwrap();
        Self {
            election: Election::new(name, "palisade-system", "palisade-operator", Timing::default()),
            start,
            wall,
        }
    }

    /// An attempt at so many seconds into the test.
    fn attempt(&mut self, server: &mut Server, at: f64) -> Leadership {
        let now = self.start + Duration::from_secs_f64(at);
        let wall = self.wall + Duration::from_secs_f64(at);
        self.election.expire(now);
        let mut request = self.election.begin(wall);
        for _ in 0..super::REQUESTS {
            let answer = server.answer(&request);
            match self.election.take(&request, answer, now, now, wall) {
                Some(next) => request = next,
                None => break,
            }
        }
        self.election.leadership()
    }

    fn fail(&mut self, at: f64) {
        let now = self.start + Duration::from_secs_f64(at);
        let request = self.election.begin(self.wall);
        assert_eq!(self.election.take(&request, Answer::Failed, now, now, self.wall), None);
    }

    fn at(&self, at: f64) -> Instant {
        self.start + Duration::from_secs_f64(at)
    }
}

fn standby(holder: &str) -> Leadership {
    Leadership::Standby { holder: Some(holder.to_owned()) }
}

fn is_leading(leadership: &Leadership) -> bool {
    leadership.term().is_some()
}

#[test]
fn the_first_leads_and_others_stand_by() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    let first = a.attempt(&mut server, 0.0);
    assert_eq!(first, Leadership::Leading { term: 1_800_000_000 << 31 });
    assert_eq!(b.attempt(&mut server, 0.0), standby("a"));
    for second in 1..100 {
        assert_eq!(a.attempt(&mut server, f64::from(second)), first);
        assert_eq!(b.attempt(&mut server, f64::from(second)), standby("a"));
    }
    let spec = server.lease.as_ref().unwrap().spec.clone().unwrap();
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(10), Some(0)));
    assert!(spec.acquire_time.is_some() && spec.renew_time.is_some());
}

#[test]
fn a_lease_that_does_not_change_is_taken_whatever_clocks_say() {
    for skew in [0, -86_400, 86_400] {
        let mut server = Server::new();
        let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", skew));
        let first = a.attempt(&mut server, 0.0);
        // The times written may be long past or far ahead by b's clock: it counts from when it saw them first.
        assert_eq!(b.attempt(&mut server, 3.0), standby("a"));
        assert_eq!(b.attempt(&mut server, 12.9), standby("a"), "skew {skew}");
        let second = b.attempt(&mut server, 13.0);
        assert!(second.term() > first.term(), "skew {skew}: {second:?}");
        assert_eq!(transitions(server.lease.as_ref().unwrap()), 1);
    }
}

#[test]
fn a_leader_ends_before_anybody_else_may_begin() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    a.attempt(&mut server, 0.0);
    a.attempt(&mut server, 2.0);
    // Seen as early as can be.
    b.attempt(&mut server, 2.0);
    for failure in [4.0, 5.0, 6.0, 8.9] {
        a.fail(failure);
        assert!(!a.election.expire(a.at(failure)));
        assert!(is_leading(&a.election.leadership()));
    }
    let over = a.election.deadline().unwrap();
    assert_eq!(over, a.at(9.0));
    assert!(a.election.expire(over));
    assert!(!is_leading(&a.election.leadership()));
    assert!(!is_leading(&b.attempt(&mut server, 11.99)));
    assert!(is_leading(&b.attempt(&mut server, 12.0)));
    assert_eq!(a.attempt(&mut server, 12.0), standby("b"));
}

#[test]
fn a_renewal_counts_from_when_it_was_sent() {
    let mut server = Server::new();
    let mut a = Participant::new("a", 0);
    a.attempt(&mut server, 0.0);
    let request = a.election.begin(a.wall);
    let answer = server.answer(&request);
    assert_eq!(a.election.take(&request, answer, a.at(2.0), a.at(5.0), a.wall), None);
    assert_eq!(a.election.deadline(), Some(a.at(9.0)));
}

#[test]
fn of_two_who_try_at_once_one_leads() {
    let mut server = Server::new();
    let mut many: Vec<_> = (0..5).map(|n| Participant::new(&format!("p{n}"), n * 100)).collect();
    // Everybody has found that there is none before anybody creates it.
    let requests: Vec<_> = many
        .iter_mut()
        .map(|p| {
            let now = p.at(0.0);
            p.election.take(&Request::Read, Answer::Missing, now, now, p.wall).unwrap()
        })
        .collect();
    for (p, request) in many.iter_mut().zip(&requests) {
        let now = p.at(0.0);
        let answer = server.answer(request);
        p.election.take(request, answer, now, now, p.wall);
    }
    assert_eq!(many.iter().filter(|p| is_leading(&p.election.leadership())).count(), 1);

    // The same with a Lease that has expired.
    for p in &mut many[1..] {
        p.attempt(&mut server, 1.0);
    }
    let mut requests = Vec::new();
    for p in &mut many[1..] {
        let now = p.at(11.0);
        let found = server.answer(&Request::Read);
        requests.push(p.election.take(&Request::Read, found, now, now, p.wall).unwrap());
    }
    for (p, request) in many[1..].iter_mut().zip(&requests) {
        let now = p.at(11.0);
        let answer = server.answer(request);
        p.election.take(request, answer, now, now, p.wall);
    }
    assert_eq!(many[1..].iter().filter(|p| is_leading(&p.election.leadership())).count(), 1);
}

#[test]
fn a_lease_given_up_is_taken_at_once() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    let first = a.attempt(&mut server, 0.0);
    b.attempt(&mut server, 0.0);
    assert_eq!(b.election.release(b.wall), None, "it is not b's to give up");
    let release = a.election.release(a.wall).unwrap();
    assert!(!is_leading(&a.election.leadership()));
    server.answer(&release);
    let spec = server.lease.as_ref().unwrap().spec.clone().unwrap();
    assert_eq!((spec.holder_identity, spec.lease_duration_seconds), (None, Some(1)));
    assert!(b.election.is_urgent(server.lease.as_ref()));
    let second = b.attempt(&mut server, 0.1);
    assert!(second.term() > first.term());
}

#[test]
fn a_lease_that_somebody_deletes_is_made_anew_with_a_higher_term() {
    for seconds_later in [0, 1, 1000] {
        let mut server = Server::new();
        let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
        let first = a.attempt(&mut server, 0.0).term();
        b.attempt(&mut server, 0.0);
        server.lease = None;
        server.clock += seconds_later;
        assert!(a.election.is_urgent(None) && b.election.is_urgent(None));
        let second = b.attempt(&mut server, 1.0).term();
        assert!(second > first, "{seconds_later} s later: {second:?}");
        assert_eq!(a.attempt(&mut server, 2.0), standby("b"), "it notices and gives way");

        // Also where the leader itself notices first, within the same second.
        server.lease = None;
        let third = a.attempt(&mut server, 3.0).term();
        assert!(third > second, "{third:?}");
        server.lease = None;
        let fourth = a.attempt(&mut server, 4.0).term();
        assert!(fourth > third, "{fourth:?}");
    }
}

#[test]
fn whoever_somebody_writes_into_the_lease_holds_it() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    let first = a.attempt(&mut server, 0.0);
    b.attempt(&mut server, 0.0);

    let set = |holder: &str| {
        let holder = holder.to_owned();
        move |lease: &mut Lease| lease.spec.as_mut().unwrap().holder_identity = Some(holder)
    };
    server.edit(set("somebody"));
    assert!(a.election.is_urgent(server.lease.as_ref()));
    assert_eq!(a.attempt(&mut server, 2.0), standby("somebody"));
    assert_eq!(b.attempt(&mut server, 2.0), standby("somebody"));
    // Nobody of that name renews it.
    assert_eq!(a.attempt(&mut server, 11.9), standby("somebody"));
    let second = a.attempt(&mut server, 12.0);
    assert!(second.term() > first.term());

    // Emptied: whoever comes first. That the leader itself may be it makes no difference to the term.
    server.edit(set(""));
    let third = a.attempt(&mut server, 13.0);
    assert!(third.term() > second.term());

    // A name of one's own that one has not put there is no leadership, but free to take.
    server.edit(set("b"));
    let fourth = b.attempt(&mut server, 14.0);
    assert!(fourth.term() > third.term());
    assert_eq!(a.attempt(&mut server, 14.0), standby("b"));
}

#[test]
fn edits_that_are_no_business_of_the_election_change_nothing_of_it() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    let first = a.attempt(&mut server, 0.0);
    b.attempt(&mut server, 0.0);
    server.edit(|lease| {
        lease.metadata.labels = Some([("team".to_owned(), "net".to_owned())].into());
    });
    assert!(!b.election.is_urgent(server.lease.as_ref()));
    assert_eq!(a.attempt(&mut server, 2.0), first);
    let kept = server.lease.clone().unwrap().metadata.labels.unwrap();
    assert_eq!(kept["team"], "net", "what others put there stays");

    // A label is no sign of life either.
    b.attempt(&mut server, 2.0);
    server.edit(|lease| lease.metadata.labels = None);
    assert_eq!(b.attempt(&mut server, 11.9), standby("a"));
    assert!(is_leading(&b.attempt(&mut server, 12.0)));
}

#[test]
fn terms_do_not_go_back_when_somebody_lowers_the_transitions() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    a.attempt(&mut server, 0.0);
    for _ in 0..3 {
        let release = a.election.release(a.wall).unwrap();
        server.answer(&release);
        a.attempt(&mut server, 0.0);
    }
    let term_of_a = a.election.leadership().term();
    server.edit(|lease| lease.spec.as_mut().unwrap().lease_transitions = Some(0));
    assert_eq!(a.attempt(&mut server, 1.0).term(), term_of_a);
    assert_eq!(transitions(server.lease.as_ref().unwrap()), 3);
    let release = a.election.release(a.wall).unwrap();
    server.answer(&release);
    assert!(b.attempt(&mut server, 1.0).term() > term_of_a);
}

#[test]
fn a_renewal_that_came_through_unnoticed_is_no_harm() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    let first = a.attempt(&mut server, 0.0);
    b.attempt(&mut server, 0.0);
    // Written, and the answer is lost.
    let request = a.election.begin(a.wall);
    server.answer(&request);
    assert_eq!(a.election.take(&request, Answer::Failed, a.at(2.0), a.at(5.0), a.wall), None);
    assert_eq!(a.attempt(&mut server, 6.0), first, "still the same leadership");

    // The same at the very end: over is over, and what comes next is another term.
    let request = a.election.begin(a.wall);
    let late = server.answer(&request);
    assert!(a.election.expire(a.at(13.0)));
    assert_eq!(a.election.take(&request, late, a.at(8.0), a.at(13.0), a.wall), None);
    assert!(!is_leading(&a.election.leadership()));
    assert!(a.attempt(&mut server, 13.1).term() > first.term());
    assert_eq!(b.attempt(&mut server, 13.1), standby("a"));
}

#[test]
fn attempts_come_in_time() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    a.attempt(&mut server, 0.0);
    b.attempt(&mut server, 0.0);
    let seconds = |p: &Participant, now: f64, spread: f64| {
        (p.election.next(p.at(now), spread) - p.at(now)).as_secs_f64()
    };
    assert!((seconds(&a, 0.0, 1.0) - 2.0).abs() < 1e-6);
    a.fail(2.0);
    assert!((0.5..=1.0).contains(&seconds(&a, 2.0, 1.0)), "little time is left");
    assert!((2.0..=2.4).contains(&seconds(&b, 0.0, 1.0)));
    assert!((seconds(&b, 9.0, 1.0) - 1.0).abs() < 1e-6, "exactly when it expires");
    // Expired long ago, and the attempt failed: no busy loop.
    assert!(seconds(&b, 20.0, 0.0) >= 2.0);
}

#[test]
fn other_peoples_durations_count() {
    let mut server = Server::new();
    let (mut a, mut b) = (Participant::new("a", 0), Participant::new("b", 0));
    a.attempt(&mut server, 0.0);
    server.edit(|lease| lease.spec.as_mut().unwrap().lease_duration_seconds = Some(60));
    b.attempt(&mut server, 1.0);
    assert_eq!(b.attempt(&mut server, 60.9), standby("a"));
    assert!(is_leading(&b.attempt(&mut server, 61.0)));
    // What nobody wrote is our own.
    server.edit(|lease| lease.spec.as_mut().unwrap().lease_duration_seconds = None);
    a.attempt(&mut server, 70.0);
    assert_eq!(a.attempt(&mut server, 79.9), standby("b"));
    assert!(is_leading(&a.attempt(&mut server, 80.0)));
    assert_eq!(server.holder(), Some("a"));
}

#[test]
fn a_term_is_made_of_creation_and_transitions() {
    let mut lease = Lease::default();
    assert_eq!(term(&lease), 0);
    lease.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_800_000_000).unwrap()));
    lease.spec.get_or_insert_default().lease_transitions = Some(i32::MAX);
    let last = term(&lease);
    assert_eq!(last, (1_800_000_000 << 31) + 0x7fff_ffff);
    lease.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_800_000_001).unwrap()));
    lease.spec.get_or_insert_default().lease_transitions = Some(-5);
    assert_eq!(term(&lease), last + 1);
}
