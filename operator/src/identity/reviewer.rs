//! Tokens reviewed by the API server, and as seldom as can be: answers are kept for a while, equal questions are asked
//! once, and all of them at a pace. Never keeps a token, only its hash.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use kube::Client;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::cache::Cache;
use super::claims::{self, Claims};
use super::lanes::{Lane, neighbourhood};
use super::review::review;
use super::{Known, Refusal};
use crate::said::Repeats;

/// How long an answer is kept that a token is a node's. A token that is revoked may go on opening streams for so long.
const KNOWN_FOR: Duration = Duration::from_mins(3);

/// How long an answer is kept that it is not.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// How long whoever showed a bad token waits in the slow lane.
const SUSPECT_FOR: Duration = Duration::from_mins(1);

/// How long a stream may last, whatever its token says: at least, where the clocks of operator and API server differ
/// more than tokens last, and at most.
const STREAM: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));

/// Answers that are kept: more than an operator has nodes.
const ROOM: usize = 16_384;

/// Questions that may be under way or wait; further ones are sent away.
const WAITING: usize = 8_192;

/// How long a question may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is said where there is no turn.
const BUSY: &str = "too many tokens wait for their review: come back";

/// Whose tokens are a node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Audience that they are made for.
    pub audience: String,
    /// Namespace of the shims' ServiceAccount.
    pub namespace: String,
    /// Name of the shims' ServiceAccount.
    pub service_account: String,
}

impl Settings {
    /// The user that its tokens belong to.
    pub(super) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }

    /// What would be right.
    pub(super) fn wanted(&self) -> String {
        format!(
            "--token-file must be the shim pod's projected token of ServiceAccount `{}` in namespace {} with audience \
             `{}`",
            self.service_account, self.namespace, self.audience
        )
    }
}

type Label = [(&'static str, &'static str); 1];

/// What is counted; clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    reviews: Family<Label, Counter>,
    cached: Counter,
    duration: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 13));
        Self { reviews: Family::default(), cached: Counter::default(), duration }
    }
}

impl Metrics {
    /// Makes them part of a scrape.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Tokens put before the API server, by result: known, unknown, failed, or busy (not put before it)";
        registry.register("token_reviews", help, self.reviews.clone());
        registry.register("token_cache_hits", "Tokens known from an earlier review", self.cached.clone());
        let help = "Time the API server took to review a token";
        registry.register_with_unit("token_review_duration", help, Unit::Seconds, self.duration.clone());
    }
}

/// BLAKE3 of a token.
type Digest = [u8; 32];
type Outcome = Result<Known, Refusal>;
type Question = Shared<BoxFuture<'static, Outcome>>;

#[derive(Debug)]
struct State {
    known: Cache<Digest, Known>,
    refused: Cache<Digest, String>,
    under_way: HashMap<Digest, Question>,
    suspects: Cache<IpAddr, ()>,
    repeats: Repeats,
}

struct Inner {
    client: Client,
    settings: Settings,
    metrics: Metrics,
    usual: Lane,
    slow: Lane,
    state: Mutex<State>,
}

/// See the module; clones share what they know.
#[derive(Clone)]
pub struct Reviewer(Arc<Inner>);

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviewer").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Reviewer {
    /// One that knows nothing yet.
    pub fn new(client: Client, settings: Settings, metrics: Metrics) -> Self {
        let state = State {
            known: Cache::new(ROOM),
            refused: Cache::new(ROOM),
            under_way: HashMap::new(),
            suspects: Cache::new(ROOM),
            repeats: Repeats::default(),
        };
        // A thousand nodes that come back together are through within about two seconds.
        let usual = Lane::new(Duration::from_millis(3), 300, 32);
        let slow = Lane::new(Duration::from_millis(200), 5, 2);
        Self(Arc::new(Inner { client, settings, metrics, usual, slow, state: Mutex::new(state) }))
    }

    /// The node a token belongs to.
    pub(super) async fn node(&self, token: &str, peer: Option<IpAddr>) -> Outcome {
        let claims = self.plausible(token).map_err(Refusal::Unknown)?;
        let digest = *blake3::hash(token.as_bytes()).as_bytes();
        let now = Instant::now();
        let peer = peer.map(neighbourhood);
        let question = {
            let mut state = self.lock();
            if let Some(known) = state.known.get(&digest, now) {
                self.0.metrics.cached.inc();
                return Ok(known.clone());
            }
            if let Some(why) = state.refused.get(&digest, now) {
                return Err(Refusal::Unknown(why.clone()));
            }
            match state.under_way.get(&digest) {
                Some(question) => question.clone(),
                None if state.under_way.len() >= WAITING => {
                    self.0.metrics.reviews.get_or_create(&[("result", "busy")]).inc();
                    return Err(Refusal::NotNow(BUSY.to_owned()));
                }
                None => {
                    let question = self.ask(digest, token.to_owned(), claims, peer);
                    state.under_way.insert(digest, question.clone());
                    question
                }
            }
        };
        question.await
    }

    /// Whether the token can be a node's at all: what cannot is not worth a review.
    fn plausible(&self, token: &str) -> Result<Claims, String> {
        let settings = &self.0.settings;
        let wanted = || settings.wanted();
        let claims = claims::read(token)
            .ok_or_else(|| format!("the bearer token is no ServiceAccount token; {}", wanted()))?;
        if claims.subject != settings.user() {
            let user = claims.subject.chars().take(300).collect::<String>();
            return Err(format!("the bearer token is of user `{}`; {}", user.escape_debug(), wanted()));
        }
        if !claims.audiences.contains(&settings.audience) {
            return Err(format!("the bearer token is for another audience; {}", wanted()));
        }
        Ok(claims)
    }

    /// A task of its own: the answer serves others too when whoever asked first has gone.
    fn ask(&self, digest: Digest, token: String, claims: Claims, peer: Option<IpAddr>) -> Question {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let outcome = this.review(&token, &claims, peer).await;
            drop(token);
            this.keep(digest, &outcome, peer);
            outcome
        });
        let broken = |_| Err(Refusal::NotNow("reviewing the token broke down: come back".to_owned()));
        task.map(move |outcome| outcome.unwrap_or_else(broken)).boxed().shared()
    }

    async fn review(&self, token: &str, claims: &Claims, peer: Option<IpAddr>) -> Outcome {
        let Inner { client, settings, metrics, usual, slow, .. } = &*self.0;
        let is_suspect = peer.is_some_and(|peer| self.lock().suspects.get(&peer, Instant::now()).is_some());
        let Some(_turn) = (if is_suspect { slow } else { usual }).turn(PATIENCE).await else {
            return Err(Refusal::NotNow(BUSY.to_owned()));
        };
        let start = Instant::now();
        let reviewed = review(client, settings, token).await;
        metrics.duration.observe(start.elapsed().as_secs_f64());
        let node = reviewed?;
        let until = start + stream_length(claims.expires, Timestamp::now());
        debug!(node, "reviewed a token");
        Ok(Known { node, until: Some(until) })
    }

    fn keep(&self, digest: Digest, outcome: &Outcome, peer: Option<IpAddr>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.under_way.remove(&digest);
        let result = match outcome {
            Ok(known) => {
                let until = known.until.map_or(now, |until| until.min(now + KNOWN_FOR));
                state.known.put(digest, known.clone(), until);
                state.repeats.clear();
                "known"
            }
            Err(Refusal::Unknown(why)) => {
                state.refused.put(digest, why.clone(), now + REFUSED_FOR);
                if let Some(peer) = peer {
                    state.suspects.put(peer, (), now + SUSPECT_FOR);
                }
                "unknown"
            }
            Err(Refusal::NotNow(why)) => {
                if state.repeats.is_due(why) {
                    warn!("{why} (streams that are up stay, repeats are not logged)");
                }
                if why == BUSY { "busy" } else { "failed" }
            }
        };
        self.0.metrics.reviews.get_or_create(&[("result", result)]).inc();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a stream may last that a token with this end has opened.
fn stream_length(expires: Option<i64>, wall: Timestamp) -> Duration {
    let left = expires.map_or(STREAM.1, |expires| {
        let seconds = expires.saturating_sub(wall.as_second());
        Duration::from_secs(seconds.max(0).unsigned_abs())
    });
    left.clamp(STREAM.0, STREAM.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_lasts_as_its_token_within_reason() {
        let wall = Timestamp::from_second(1_000_000).unwrap();
        let length = |expires| stream_length(expires, wall).as_secs();
        assert_eq!(length(Some(1_003_600)), 3600);
        // Clocks that differ must not end every stream at once.
        assert_eq!(length(Some(999_000)), 60);
        assert_eq!(length(Some(i64::MIN)), 60);
        assert_eq!(length(Some(i64::MAX)), 86_400);
        assert_eq!(length(None), 86_400);
    }
}
