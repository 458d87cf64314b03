//! Sends what is due while this operator leads: the most awaited first, within a budget, a few requests at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::api::{self, Failure};
use super::budget::{Budget, pause};
use super::index::{Index, Outcome, Write};
use super::meters::Meters;
use super::nodes::Trouble;
use super::notices::Post;
use super::{Moment, Timing};
use crate::hub::Hub;
use crate::said::Repeats;

/// Requests under way at a time.
const AT_A_TIME: usize = 8;

/// The least time between two looks at the hub, and what part of the time looking may take.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKING: u32 = 10;

/// The least time before what had no answer is tried again: it may come back by the watch.
const LOST: Duration = Duration::from_secs(1);

/// How often what is counted is brought up to date.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How the writer is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This process, as Events name it. 128 bytes at most.
    pub instance: String,
    /// How long things must last before they are told.
    pub timing: Timing,
    /// Writes of a policy's status a second, in the long run and at once.
    pub writes: (u32, u32),
    /// Events a second, in the long run and at once.
    pub events: (u32, u32),
}

impl Options {
    /// The usual ones.
    pub fn of(instance: &str) -> Self {
        Self {
            instance: super::conditions::shortened(instance, 128),
            timing: Timing::default(),
            writes: (50, 100),
            events: (5, 25),
        }
    }
}

/// Writes status and Events for as long as it is polled. While another operator leads ([`Hub::term`] is 0) it does
/// nothing; each time this one begins to, it starts from what the API has.
///
/// The client should not try again by itself (`kube::Config::default_retry`): the writer does, with what is true by then.
pub async fn run(client: Client, hub: Arc<Hub>, options: Options, meters: Meters) -> Infallible {
    let mut changes = hub.changes();
    loop {
        changes.mark_unchanged();
        let term = hub.term();
        if term == 0 || !hub.is_ready() {
            changed(&mut changes).await;
            continue;
        }
        info!(term, "writing status and Events");
        let leader = Leader::new(client.clone(), &hub, &options, &meters);
        leader.run(term).await;
        // Nobody counts for another one.
        meters.waiting.set(0);
        meters.troubles.clear();
        meters.policies.clear();
        info!(term, "writing status and Events no more");
    }
}

async fn changed(changes: &mut tokio::sync::watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        // The hub is gone, and so is everything there was to write about.
        std::future::pending::<()>().await;
    }
}

#[derive(Debug)]
enum Answer {
    Write(Write, Result<String, Failure>),
    Post(Post, Result<(), Failure>),
}

struct Leader<'a> {
    client: Client,
    hub: &'a Hub,
    options: &'a Options,
    meters: &'a Meters,
    origin: Instant,
    index: Index,
    writes: Budget,
    events: Budget,
    /// Aborted when it is dropped: who leads no more writes no more.
    under_way: JoinSet<Answer>,
    writing: usize,
    posting: usize,
    repeats: Repeats,
    counted_at: Option<Instant>,
}

impl<'a> Leader<'a> {
    fn new(client: Client, hub: &'a Hub, options: &'a Options, meters: &'a Meters) -> Self {
        let start = Moment { elapsed: Duration::ZERO, wall: Timestamp::now() };
        Self {
            client,
            hub,
            options,
            meters,
            origin: Instant::now(),
            index: Index::new(options.timing, start),
            writes: Budget::new(options.writes.0, options.writes.1, start.elapsed),
            events: Budget::new(options.events.0, options.events.1, start.elapsed),
            under_way: JoinSet::new(),
            writing: 0,
            posting: 0,
            repeats: Repeats::default(),
            counted_at: None,
        }
    }

    fn now(&self) -> Moment {
        Moment { elapsed: self.origin.elapsed(), wall: Timestamp::now() }
    }

    async fn run(mut self, term: u64) {
        let mut changes = self.hub.changes();
        let mut is_stale = true;
        let mut look_at = self.origin;
        loop {
            if self.hub.term() != term {
                return;
            }
            if is_stale && look_at <= Instant::now() {
                changes.mark_unchanged();
                let start = Instant::now();
                self.index.observe(&self.hub.progress(), self.now());
                is_stale = false;
                look_at = Instant::now() + LOOK_EVERY.max(start.elapsed() * LOOKING);
            }
            let retry_at = self.send();
            self.count();
            let alarm = self.index.wake_at().map(|at| self.origin + at);
            let retry_at = retry_at.map(|at| self.origin + at);
            tokio::select! {
                () = changed(&mut changes), if !is_stale => is_stale = true,
                () = sleep_until(look_at), if is_stale => {}
                () = until(alarm), if !is_stale && alarm.is_some() => is_stale = true,
                () = until(retry_at), if retry_at.is_some() => {}
                Some(answer) = self.under_way.join_next() => match answer {
                    Ok(Answer::Write(write, result)) => self.wrote(&write, result),
                    Ok(Answer::Post(post, result)) => self.posted(&post, result),
                    // The requests are never aborted while they are waited for, and do not panic.
                    Err(error) => warn!(%error, "a request broke down"),
                },
                () = until(self.counted_at.map(|at| at + COUNT_EVERY)) => {}
            }
        }
    }

    /// Sends what is due and within the budget. Says when more may be sent.
    fn send(&mut self) -> Option<Duration> {
        let now = self.now();
        let mut retry_at: Option<Duration> = None;
        let mut later = |at: Duration| retry_at = Some(retry_at.map_or(at, |earlier| earlier.min(at)));
        while self.index.due() > 0 && self.writing < at_a_time(&self.writes) {
            if let Err(at) = self.writes.take(now.elapsed) {
                later(at);
                break;
            }
            let Some(write) = self.index.next_write() else { break };
            debug!(object = %write.object, "writing the status");
            self.writing += 1;
            let client = self.client.clone();
            self.under_way.spawn(async move {
                let result = api::write(client, &write).await;
                Answer::Write(write, result)
            });
        }
        while self.index.notices().is_waiting() && self.posting < at_a_time(&self.events) {
            if let Err(at) = self.events.take(now.elapsed) {
                later(at);
                break;
            }
            let Some(post) = self.index.notices().next(now) else { break };
            self.posting += 1;
            let (client, instance) = (self.client.clone(), self.options.instance.clone());
            self.under_way.spawn(async move {
                let result = api::post(client, &instance, &post).await;
                Answer::Post(post, result)
            });
        }
        retry_at
    }

    fn wrote(&mut self, write: &Write, result: Result<String, Failure>) {
        self.writing -= 1;
        let (now, chance) = (self.now(), rand::random::<f64>());
        // What may have been written after all is waited for.
        let least = if matches!(result, Err(Failure::Lost(_))) { LOST } else { Duration::ZERO };
        let (label, outcome) = match result {
            Ok(uid) if uid == write.uid => ("written", Outcome::Written),
            Ok(uid) => ("strayed", Outcome::Strayed(uid)),
            Err(Failure::Gone) => ("gone", Outcome::Refused),
            Err(Failure::Conflict | Failure::Exists) => ("conflict", Outcome::Failed),
            Err(Failure::Refused(message)) => {
                if self.repeats.is_due(write.object.kind.name()) {
                    warn!(
                        "the status of {} cannot be written: {message}; left alone for a while",
                        write.object
                    );
                }
                ("refused", Outcome::Refused)
            }
            Err(Failure::Later { after, message }) => {
                self.postpone(after, chance, &message, now);
                ("failed", Outcome::Failed)
            }
            Err(Failure::Lost(message)) => {
                self.postpone(None, chance, &message, now);
                ("failed", Outcome::Failed)
            }
        };
        if label != "failed" {
            self.writes.succeeded();
        }
        self.meters.writes.get_or_create(&[("result", label)]).inc();
        self.index.ended(write, &outcome, |failures| pause(failures, chance).max(least), now);
    }

    fn postpone(&mut self, after: Option<Duration>, chance: f64, message: &str, now: Moment) {
        self.writes.failed(after, chance, now.elapsed);
        self.complain(&format!("the API does not take statuses: {message}; trying again"));
    }

    fn posted(&mut self, post: &Post, result: Result<(), Failure>) {
        self.posting -= 1;
        let now = self.now();
        let is_new = matches!(post, Post::Create { .. });
        let label = match result {
            Ok(()) if is_new => "created",
            Ok(()) => "repeated",
            Err(Failure::Exists) => "known",
            Err(Failure::Gone) if !is_new => {
                self.events.succeeded();
                self.index.notices().forgotten(post.key(), now);
                return;
            }
            Err(Failure::Gone) => {
                // Its namespace is gone or going.
                self.events.succeeded();
                self.index.notices().refused(post.key());
                return;
            }
            Err(Failure::Refused(message)) => {
                self.events.succeeded();
                self.complain(&format!("an Event cannot be made: {message}"));
                self.index.notices().refused(post.key());
                return;
            }
            Err(Failure::Conflict) => {
                self.index.notices().failed(post.key());
                self.meters.events.get_or_create(&[("result", "failed")]).inc();
                return;
            }
            Err(Failure::Lost(message)) => {
                self.postpone_event(post, None, &message, now);
                return;
            }
            Err(Failure::Later { after, message }) => {
                self.postpone_event(post, after, &message, now);
                return;
            }
        };
        self.events.succeeded();
        self.index.notices().done(post.key());
        self.meters.events.get_or_create(&[("result", label)]).inc();
    }

    fn postpone_event(&mut self, post: &Post, after: Option<Duration>, message: &str, now: Moment) {
        self.events.failed(after, rand::random(), now.elapsed);
        self.complain(&format!("the API does not take Events: {message}; trying again"));
        self.index.notices().failed(post.key());
        self.meters.events.get_or_create(&[("result", "failed")]).inc();
    }

    fn complain(&mut self, what: &str) {
        if self.repeats.is_due(what) {
            warn!("{what}");
        }
    }

    fn count(&mut self) {
        self.meters.waiting.set(gauge(self.index.due() + self.writing));
        if self.counted_at.is_some_and(|at| at.elapsed() < COUNT_EVERY) {
            return;
        }
        self.counted_at = Some(Instant::now());
        let dropped = self.index.notices().take_dropped();
        self.meters.events.get_or_create(&[("result", "dropped")]).inc_by(dropped);
        let kinds = ["late", "unreachable", "no_shim", "refusing"];
        let mut counts = [0; 4];
        for trouble in self.index.troubles() {
            let kind = match trouble {
                Trouble::Late => 0,
                Trouble::Unreachable => 1,
                Trouble::NoShim => 2,
                Trouble::Refusing(_) => 3,
            };
            counts[kind] += 1;
        }
        for (kind, count) in kinds.into_iter().zip(counts) {
            self.meters.troubles.get_or_create(&[("trouble", kind)]).set(count);
        }
        for ((kind, status), count) in self.index.tally() {
            let label = [("condition", kind), ("status", status)];
            self.meters.policies.get_or_create(&label).set(gauge(count));
        }
    }
}

/// While the server cannot serve, one request finds out whether it can again.
fn at_a_time(budget: &Budget) -> usize {
    if budget.is_failing() { 1 } else { AT_A_TIME }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
