//! Trouble on request: what a test, or a person at `/_faults`, wants to go wrong. Everything that is counted is
//! deterministic: the same requests meet the same faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::Tokens;
use crate::requests::RequestKind;
use crate::store::Store;

/// Which requests. What is empty fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Target {
    /// Such as `create` and `patch`.
    pub verbs: BTreeSet<String>,
    /// Plural names with groups, such as `pods` or `leases.coordination.k8s.io`.
    pub resources: BTreeSet<String>,
    /// Such as `status`; `-` is the object itself.
    pub subresources: BTreeSet<String>,
    /// Clients' first names, such as `kubectl`.
    pub user_agents: BTreeSet<String>,
}

impl Target {
    /// Those of some verbs on some resources.
    pub fn new<'a>(
        verbs: impl IntoIterator<Item = &'a str>,
        resources: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            verbs: verbs.into_iter().map(str::to_owned).collect(),
            resources: resources.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// All that write.
    pub fn writes() -> Self {
        Self::new(["create", "update", "patch", "delete", "deletecollection"], [])
    }

    fn fits(&self, request: &RequestKind) -> bool {
        let fits = |wanted: &BTreeSet<String>, is: &str| wanted.is_empty() || wanted.contains(is);
        let subresource = if request.subresource.is_empty() { "-" } else { &request.subresource };
        fits(&self.verbs, &request.verb)
            && fits(&self.resources, &request.resource)
            && fits(&self.subresources, subresource)
            && fits(&self.user_agents, &request.user_agent)
    }
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// It takes longer.
    Delay {
        /// By so much.
        millis: u64,
    },
    /// It is refused, and nothing is done.
    Fail {
        /// HTTP code.
        code: u16,
        /// Seconds, for `Retry-After`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// It is refused as if another writer had been faster.
    Conflict,
    /// The connection is reset and nothing is done.
    Reset,
    /// What it asks for is done, but the connection is reset before the answer.
    LoseAnswer,
}

/// How many of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// The next so many.
    Next(u64),
    /// That share of them, from 0 to 1, evenly spread.
    Share(f64),
    /// All.
    Always,
}

/// A fault that stays until it is spent or cleared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Which requests.
    #[serde(default)]
    pub target: Target,
    /// What happens to them.
    pub effect: Effect,
    /// To how many.
    pub when: When,
}

/// One thing to go wrong, as `POST /_faults` takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Command {
    /// See [`Faults::add`].
    Add(Rule),
    /// See [`Faults::drop_watches`]. The resource; empty: all.
    DropWatches(String),
    /// See [`Faults::stall_watches`].
    StallWatches(String),
    /// See [`Faults::resume_watches`].
    ResumeWatches,
    /// See [`Faults::compact`].
    Compact,
    /// See [`Faults::refuse_connections`].
    RefuseConnections {
        /// For so long.
        millis: u64,
    },
    /// See [`Faults::advance_token_clock`].
    AdvanceTokenClock {
        /// By so much.
        seconds: u64,
    },
}

/// What watches have to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disturbance {
    dropped: BTreeMap<String, u64>,
    stalled: BTreeSet<String>,
}

impl Disturbance {
    /// How often watches of a resource have been dropped.
    pub(crate) fn drops(&self, resource: &str) -> u64 {
        ["", resource].iter().filter_map(|name| self.dropped.get(*name)).sum()
    }

    /// Whether watches of a resource are silent.
    pub(crate) fn is_stalled(&self, resource: &str) -> bool {
        self.stalled.contains("") || self.stalled.contains(resource)
    }
}

/// What the faults make of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) effect: Option<Effect>,
}

#[derive(Debug)]
struct Active {
    rule: Rule,
    left: u64,
    share: f64,
    hits: u64,
}

#[derive(Debug)]
struct Inner {
    rules: Mutex<Vec<Active>>,
    disturbance: watch::Sender<Disturbance>,
    refusing: watch::Sender<Option<Instant>>,
    store: Arc<Store>,
    tokens: Arc<Tokens>,
}

/// See the module. All clones are of the same server.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Inner>);

impl Faults {
    pub(crate) fn new(store: Arc<Store>, tokens: Arc<Tokens>) -> Self {
        Self(Arc::new(Inner {
            rules: Mutex::default(),
            disturbance: watch::Sender::default(),
            refusing: watch::Sender::default(),
            store,
            tokens,
        }))
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Active>> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule. Of several that fit a request all delays count, and the first other effect.
    pub fn add(&self, target: Target, effect: Effect, when: When) {
        let left = if let When::Next(count) = when { count } else { u64::MAX };
        self.rules().push(Active { rule: Rule { target, effect, when }, left, share: 0.0, hits: 0 });
    }

    /// How many requests the rules have met so far, and how many hits they still have in store (those without a count
    /// do not count).
    pub fn hits(&self) -> (u64, u64) {
        let rules = self.rules();
        let left = rules.iter().filter(|active| active.left != u64::MAX).map(|active| active.left).sum();
        (rules.iter().map(|active| active.hits).sum(), left)
    }

    /// The rules, in order; spent ones too.
    pub fn list(&self) -> Vec<Rule> {
        self.rules().iter().map(|active| active.rule.clone()).collect()
    }

    /// Takes away all rules, lets watches go on and connections in.
    pub fn clear(&self) {
        self.rules().clear();
        self.resume_watches();
        self.0.refusing.send_replace(None);
    }

    /// Resets the connections of all watches of a resource (such as `pods`; empty: of all), in the middle of a line.
    pub fn drop_watches(&self, resource: &str) {
        self.0.disturbance.send_modify(|disturbance| {
            *disturbance.dropped.entry(resource.to_owned()).or_default() += 1;
        });
    }

    /// Keeps all watches of a resource (empty: of all) open and silent: no events, no bookmarks, no end.
    pub fn stall_watches(&self, resource: &str) {
        self.0.disturbance.send_modify(|disturbance| {
            disturbance.stalled.insert(resource.to_owned());
        });
    }

    /// Ends all stalls. Watches tell what they have missed.
    pub fn resume_watches(&self) {
        self.0.disturbance.send_modify(|disturbance| disturbance.stalled.clear());
    }

    /// Forgets the past: whoever asks for an older revision than the present gets 410.
    pub fn compact(&self) {
        self.0.store.compact();
    }

    /// Resets all connections, and new ones as they come, for a while.
    pub fn refuse_connections(&self, time: Duration) {
        self.0.refusing.send_replace(Some(Instant::now() + time));
    }

    /// Moves the clock that tokens are judged by forward: those that end within that time are expired.
    pub fn advance_token_clock(&self, by: Duration) {
        self.0.tokens.advance(by);
    }

    /// Does what is asked.
    pub fn run(&self, command: Command) {
        match command {
            Command::Add(rule) => self.add(rule.target, rule.effect, rule.when),
            Command::DropWatches(resource) => self.drop_watches(&resource),
            Command::StallWatches(resource) => self.stall_watches(&resource),
            Command::ResumeWatches => self.resume_watches(),
            Command::Compact => self.compact(),
            Command::RefuseConnections { millis } => self.refuse_connections(Duration::from_millis(millis)),
            Command::AdvanceTokenClock { seconds } => self.advance_token_clock(Duration::from_secs(seconds)),
        }
    }

    /// What becomes of a request.
    pub(crate) fn judge(&self, request: &RequestKind) -> Verdict {
        let mut verdict = Verdict::default();
        for active in self.rules().iter_mut().filter(|active| active.rule.target.fits(request)) {
            let is_delay = matches!(active.rule.effect, Effect::Delay { .. });
            // A request fails once: the second rule keeps its hit for the next one.
            if active.left == 0 || (!is_delay && verdict.effect.is_some()) {
                continue;
            }
            match active.rule.when {
                When::Next(_) => active.left -= 1,
                When::Share(share) => {
                    active.share += share;
                    if active.share < 1.0 {
                        continue;
                    }
                    active.share -= 1.0;
                }
                When::Always => {}
            }
            active.hits += 1;
            match &active.rule.effect {
                Effect::Delay { millis } => verdict.delay += Duration::from_millis(*millis),
                effect => verdict.effect = Some(effect.clone()),
            }
        }
        verdict
    }

    pub(crate) fn disturbance(&self) -> watch::Receiver<Disturbance> {
        self.0.disturbance.subscribe()
    }

    pub(crate) fn refusing(&self) -> watch::Receiver<Option<Instant>> {
        self.0.refusing.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Faults {
        Faults::new(Arc::new(Store::new(10)), Arc::new(Tokens::new()))
    }

    fn request(verb: &str, resource: &str) -> RequestKind {
        RequestKind {
            verb: verb.into(),
            resource: resource.into(),
            subresource: String::new(),
            user_agent: "test".into(),
            user: "admin".into(),
        }
    }

    #[test]
    fn the_next_so_many_that_fit_are_hit() {
        let faults = faults();
        let fail = Effect::Fail { code: 500, retry_after: None };
        faults.add(Target::new(["patch"], ["pods"]), fail.clone(), When::Next(2));
        let mut seen = Vec::new();
        for (verb, resource) in
            [("get", "pods"), ("patch", "nodes"), ("patch", "pods"), ("patch", "pods"), ("patch", "pods")]
        {
            seen.push(faults.judge(&request(verb, resource)).effect);
        }
        assert_eq!(seen, [None, None, Some(fail.clone()), Some(fail), None]);
        assert_eq!(faults.hits(), (2, 0));
    }

    #[test]
    fn a_share_is_spread_evenly() {
        let faults = faults();
        faults.add(Target::default(), Effect::Conflict, When::Share(0.25));
        let hits: Vec<bool> =
            (0..8).map(|_| faults.judge(&request("get", "pods")).effect.is_some()).collect();
        assert_eq!(hits, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn delays_add_up_and_one_failure_is_enough() {
        let faults = faults();
        faults.add(Target::default(), Effect::Delay { millis: 5 }, When::Always);
        faults.add(Target::writes(), Effect::Delay { millis: 7 }, When::Always);
        faults.add(Target::default(), Effect::Conflict, When::Next(1));
        faults.add(Target::default(), Effect::Reset, When::Next(1));
        let first = faults.judge(&request("create", "pods"));
        assert_eq!(first, Verdict { delay: Duration::from_millis(12), effect: Some(Effect::Conflict) });
        let second = faults.judge(&request("get", "pods"));
        assert_eq!(second, Verdict { delay: Duration::from_millis(5), effect: Some(Effect::Reset) });
    }

    #[test]
    fn commands_are_read_from_json() {
        let read = |text: &str| serde_json::from_str::<Command>(text).expect(text);
        assert_eq!(read(r#"{"dropWatches": "pods"}"#), Command::DropWatches("pods".into()));
        assert_eq!(read(r#""compact""#), Command::Compact);
        let rule = r#"{"add": {"target": {"verbs": ["patch"]}, "effect": {"fail": {"code": 429, "retryAfter": 1}},
                       "when": {"next": 3}}}"#;
        let expected = Rule {
            target: Target::new(["patch"], []),
            effect: Effect::Fail { code: 429, retry_after: Some(1) },
            when: When::Next(3),
        };
        assert_eq!(read(rule), Command::Add(expected));
        assert!(serde_json::from_str::<Command>(r#"{"dropwatches": ""}"#).is_err());
    }
}
