//! Which replica leads: the participant in the election around one Lease. Owns the requests, their time limits and
//! the clock; `election` holds the rules. Knows nothing of what a leader does.

mod election;
mod lease;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::watch_object;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info, warn};

use self::election::{Answer, Election, Request};
use crate::said::{Chain, Repeats, api_error};

/// Requests of one attempt: read, create or replace, and once more after a conflict.
const REQUESTS: usize = 4;

/// The times of an election. Each must be well above the next, or leaders change without need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A Lease that has not changed for so long is free. Written in whole seconds.
    pub lease: Duration,
    /// A leader that could not renew for so long stops leading.
    pub renew_deadline: Duration,
    /// From one attempt to the next.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            renew_deadline: Duration::from_secs(7),
            retry: Duration::from_secs(2),
        }
    }
}

/// What an election is about.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// This participant; see [`unique`].
    pub identity: String,
    /// The times.
    pub timing: Timing,
}

/// This replica's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Another one leads, or nobody.
    Standby {
        /// Who, as far as is known.
        holder: Option<String>,
    },
    /// This one leads.
    Leading {
        /// Higher than every term before.
        term: u64,
    },
}

impl Leadership {
    /// The term, while this replica leads.
    pub fn term(&self) -> Option<u64> {
        match self {
            Self::Leading { term } => Some(*term),
            Self::Standby { .. } => None,
        }
    }
}

/// What is counted; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    leading: Gauge,
    changes: Counter,
    failures: Counter,
}

impl Metrics {
    /// Makes them part of a scrape.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("leading", "Whether this replica leads (1) or stands by (0)", self.leading.clone());
        registry.register(
            "leader_changes",
            "Times this replica began or ceased to lead",
            self.changes.clone(),
        );
        let help = "Requests about the Lease that failed or had no answer in time";
        registry.register("lease_failures", help, self.failures.clone());
    }
}

/// An identity that no other process has: two processes of one name must never take each other's Lease for theirs.
pub fn unique(name: &str) -> String {
    format!("{name}_{:08x}", rand::random::<u32>())
}

/// Takes part in an election: the part this replica plays, and the future that plays it until `stopped` becomes true.
/// Then it leads no more, and has given the Lease up so that another may take over at once.
///
/// Begin only once this replica could do what a leader does: one that cannot should leave it to the others.
pub fn run(
    client: &Client,
    settings: Settings,
    metrics: Metrics,
    stopped: watch::Receiver<bool>,
) -> (watch::Receiver<Leadership>, impl Future<Output = ()> + Send + use<>) {
    let Settings { namespace, lease, identity, timing } = settings;
    let (tell, told) = watch::channel(Leadership::Standby { holder: None });
    let participant = Participant {
        api: Api::namespaced(client.clone(), &namespace),
        election: Election::new(&identity, &namespace, &lease, timing),
        name: format!("{namespace}/{lease}"),
        lease,
        timing,
        tell,
        metrics,
        repeats: Repeats::default(),
        is_in_doubt: false,
    };
    (told, participant.run(stopped))
}

struct Participant {
    api: Api<Lease>,
    election: Election,
    /// With its namespace, for people.
    name: String,
    lease: String,
    timing: Timing,
    tell: watch::Sender<Leadership>,
    metrics: Metrics,
    repeats: Repeats,
    /// The last request was cut short or failed, and may have come through all the same.
    is_in_doubt: bool,
}

impl Participant {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        // Only a hint: without it everything happens a little later.
        let changes = watch_object(self.api.clone(), &self.lease).default_backoff();
        let mut changes = Box::pin(changes);
        loop {
            tokio::select! {
                biased;
                () = until(self.election.deadline()) => {}
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = self.attempt() => {}
            }
            let now = Instant::now();
            if self.election.expire(now) {
                let seconds = self.timing.renew_deadline.as_secs_f64();
                warn!(lease = self.name, "could not renew the Lease for {seconds} s: leading no more");
            }
            self.announce();
            let next = self.election.next(now, rand::random());
            tokio::select! {
                biased;
                () = until(self.election.deadline()) => {}
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = urgent(&mut changes, &self.election) => {}
                () = sleep_until(next.into()) => {}
            }
        }
        self.leave().await;
    }

    /// Asks until nothing is left to ask.
    async fn attempt(&mut self) {
        let mut request = self.election.begin(Timestamp::now());
        for _ in 0..REQUESTS {
            let sent = Instant::now();
            let answer = self.ask(&request).await;
            match self.election.take(&request, answer, sent, Instant::now(), Timestamp::now()) {
                Some(next) => request = next,
                None => return,
            }
            self.announce();
        }
    }

    async fn ask(&mut self, request: &Request) -> Answer {
        self.is_in_doubt = true;
        let answer = self.answer(request).await;
        self.is_in_doubt = matches!(answer, Answer::Failed);
        answer
    }

    async fn answer(&mut self, request: &Request) -> Answer {
        let parameters = PostParams::default();
        let asked = async {
            match request {
                Request::Read => self.api.get(&self.lease).await,
                Request::Create(lease) => self.api.create(&parameters, lease).await,
                Request::Replace(lease) => self.api.replace(&self.lease, &parameters, lease).await,
            }
        };
        // Two must fit before a leader has to stop.
        let limit = self.timing.renew_deadline / 2;
        let failure = match timeout(limit, asked).await {
            Ok(Ok(lease)) => {
                self.repeats.clear();
                return Answer::Lease(Box::new(lease));
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => return Answer::Conflict,
            Ok(Err(kube::Error::Api(status)))
                if status.code == 404 && !matches!(request, Request::Create(_)) =>
            {
                return Answer::Missing;
            }
            Ok(Err(error)) => self.explained(&error),
            Err(_) => format!("no answer within {} s", limit.as_secs_f64()),
        };
        self.failed(&failure);
        Answer::Failed
    }

    fn explained(&self, error: &kube::Error) -> String {
        let namespace = self.name.split('/').next().unwrap_or_default();
        let said = api_error(error);
        match error {
            kube::Error::Api(status) if status.code == 403 => format!(
                "{said}; the operator's ServiceAccount needs get, list, watch, create and update on \
                 leases.coordination.k8s.io in namespace {namespace}"
            ),
            kube::Error::Api(status) if status.code == 404 => {
                format!("{said}; create namespace {namespace}, or name another with --namespace")
            }
            _ => said,
        }
    }

    fn failed(&mut self, failure: &str) {
        self.metrics.failures.inc();
        if self.repeats.is_due(failure) {
            warn!(
                lease = self.name,
                "cannot use the Lease: {failure} (trying again, repeats are not logged)"
            );
        } else {
            debug!(lease = self.name, "cannot use the Lease: {failure}");
        }
    }

    fn announce(&self) {
        let leadership = self.election.leadership();
        let changed = self.tell.send_if_modified(|told| {
            let is_news = *told != leadership;
            if told.term() != leadership.term() {
                self.metrics.changes.inc();
            }
            told.clone_from(&leadership);
            is_news
        });
        if changed {
            self.metrics.leading.set(i64::from(leadership.term().is_some()));
            info!(lease = self.name, "{leadership}");
        }
    }

    /// Leads no more before anybody else can.
    async fn leave(mut self) {
        let mut is_in_doubt = self.is_in_doubt;
        let mut release = self.election.release(Timestamp::now());
        self.announce();
        for _ in 0..REQUESTS {
            let answer = if is_in_doubt {
                self.ask(&Request::Read).await
            } else if let Some(request) = &release {
                self.ask(request).await
            } else {
                return;
            };
            match answer {
                Answer::Lease(lease) => self.election.observe(*lease, Instant::now()),
                Answer::Missing => return,
                Answer::Conflict => {
                    is_in_doubt = true;
                    continue;
                }
                Answer::Failed => break,
            }
            is_in_doubt = false;
            release = self.election.release(Timestamp::now());
        }
        let seconds = self.timing.lease.as_secs_f64();
        warn!(
            lease = self.name,
            "could not give the Lease up: another replica takes over within {seconds} s"
        );
    }
}

impl fmt::Display for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standby { holder: None } => f.write_str("standing by; nobody leads"),
            Self::Standby { holder: Some(holder) } => write!(f, "standing by; {holder} leads"),
            Self::Leading { term } => write!(f, "leading, term {term}"),
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for a change that calls for an attempt at once.
async fn urgent(
    changes: &mut (impl Stream<Item = Result<Option<Lease>, kube_runtime::watcher::Error>> + Unpin),
    election: &Election,
) {
    loop {
        match changes.next().await {
            Some(Ok(lease)) if election.is_urgent(lease.as_ref()) => return,
            Some(Ok(_)) => {}
            Some(Err(error)) => debug!("the watch of the Lease failed: {}", Chain(&error)),
            None => std::future::pending().await,
        }
    }
}
