//! The certificate authority that shims trust: kept in a Secret, given out in a `ConfigMap`, rotated in time, and the
//! serving certificate that it issues. Only a leader keeps it. Knows nothing of connections.

mod ca;
mod plan;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::Client;
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::watch_object;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use self::ca::{Anchor, Ca};
use self::plan::{Kept, Step, leaf_renewal, plan};
use self::store::{FoundSecret, NAME, Store, Written};
use crate::leader::Leadership;
use crate::said::Repeats;

pub use self::plan::Timing;

/// How long a look at what is kept may take, with all that it entails.
const LIMIT: Duration = Duration::from_secs(15);

/// How soon to look again after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Steps and conflicts in one look.
const STEPS: usize = 12;

/// Why there is no authority to serve with.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The API server does not let it be kept.
    #[error("cannot {verb} {object}: {why}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// The object.
        object: String,
        /// What it said, and what to do.
        why: String,
    },
    /// The Secret holds something else.
    #[error(
        "Secret {object} holds no authority that can be used: {what}. It is left as it is, because shims trust what it \
         should hold: put the right content back, or delete the Secret to have a new authority made, which shims trust \
         once they have read ConfigMap {object} again"
    )]
    Damaged {
        /// Namespace and name.
        object: String,
        /// The entry, and what is wrong with it.
        what: String,
    },
    /// A name for the serving certificate is none.
    #[error("cannot make a certificate: {0}; check the names given with --tls-san")]
    Make(#[from] rcgen::Error),
    /// The certificate cannot be served.
    #[error("cannot serve with a certificate of the kept authority")]
    Use(#[from] rustls::Error),
    /// Others kept changing it.
    #[error(
        "Secret or ConfigMap {0} is being changed by somebody else all the time: find out who, and stop it"
    )]
    Unsettled(String),
    /// No answer.
    #[error("the API server takes more than {} s to let the authority be kept", LIMIT.as_secs())]
    TimedOut,
}

/// What an authority is for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the Secret, the `ConfigMap` and the operator's Service.
    pub namespace: String,
    /// Further names and addresses that the serving certificate carries.
    pub names: Vec<String>,
    /// The times.
    pub timing: Timing,
}

/// What is counted; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    ca_end: Gauge,
    leaf_end: Gauge,
    failures: Counter,
}

impl Metrics {
    /// Makes them part of a scrape.
    pub fn register(&self, registry: &mut Registry) {
        let unit = || Unit::Other("timestamp_seconds".to_owned());
        let help = "When the authority in force ends, in seconds since 1970; 0 on a standby";
        registry.register_with_unit("authority_end", help, unit(), self.ca_end.clone());
        let help = "When the serving certificate ends, in seconds since 1970; 0 on a standby";
        registry.register_with_unit("serving_certificate_end", help, unit(), self.leaf_end.clone());
        let help = "Times the authority could not be read, kept or given out";
        registry.register("authority_failures", help, self.failures.clone());
    }
}

/// The certificate in force, for the port.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Answers with the certificate in force, whatever it is by then.
    pub config: Arc<ServerConfig>,
    /// Whether there is one.
    pub is_usable: watch::Receiver<bool>,
}

/// Answers handshakes with the certificate in force.
#[derive(Debug, Default)]
struct InForce(RwLock<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for InForce {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Issued {
    by: Anchor,
    not_after: Timestamp,
}

/// See the module.
pub struct Authority {
    store: Store,
    names: Vec<String>,
    timing: Timing,
    metrics: Metrics,
    in_force: Arc<InForce>,
    usable: watch::Sender<bool>,
    config: Arc<ServerConfig>,
    /// As this leader last saw it.
    memory: Option<Kept>,
    issued: Option<Issued>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Authority {
    /// One that has not looked yet.
    ///
    /// # Errors
    /// A name is none, or the TLS library has no usable algorithms.
    pub fn new(client: &Client, settings: Settings, metrics: Metrics) -> Result<Self, AuthorityError> {
        let Settings { namespace, names, timing } = settings;
        let own = ["palisade-operator", "localhost"].map(str::to_owned);
        let service =
            [format!("palisade-operator.{namespace}"), format!("palisade-operator.{namespace}.svc")];
        let mut names: Vec<String> = own.into_iter().chain(service).chain(names).collect();
        names.sort();
        names.dedup();
        // Malformed names are told of at the start, not by the first leader.
        rcgen::CertificateParams::new(names.clone())?;
        let in_force = Arc::new(InForce::default());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<InForce>::clone(&in_force));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            store: Store::new(client, &namespace),
            names,
            timing,
            metrics,
            in_force,
            usable: watch::Sender::new(false),
            config: Arc::new(config),
            memory: None,
            issued: None,
        })
    }

    /// What the port serves with.
    pub fn serving(&self) -> Serving {
        Serving { config: Arc::clone(&self.config), is_usable: self.usable.subscribe() }
    }

    /// Keeps the authority whenever this replica leads, for as long as somebody can tell whether it does.
    pub async fn keep(mut self, mut leadership: watch::Receiver<Leadership>) {
        while leadership.wait_for(|leadership| leadership.term().is_some()).await.is_ok() {
            tokio::select! {
                () = self.reign() => {}
                _ = leadership.wait_for(|leadership| leadership.term().is_none()) => {}
            }
            // Another leader may rotate it meanwhile.
            self.usable.send_replace(false);
            (self.memory, self.issued) = (None, None);
            *self.in_force.0.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.metrics.ca_end.set(0);
            self.metrics.leaf_end.set(0);
        }
    }

    async fn reign(&mut self) {
        // Only hints: without them a change is seen a little later.
        let secrets = watch_object(self.store.secrets.clone(), NAME).default_backoff();
        let config_maps = watch_object(self.store.config_maps.clone(), NAME).default_backoff();
        let (mut secrets, mut config_maps) = (Box::pin(secrets), Box::pin(config_maps));
        let mut repeats = Repeats::default();
        loop {
            let now = Timestamp::now();
            let looked = timeout(LIMIT, self.look(now)).await.unwrap_or(Err(AuthorityError::TimedOut));
            let pause = match looked {
                Ok(next) => {
                    repeats.clear();
                    let until = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                    until.max(Duration::from_secs(1)).min(self.timing.look)
                }
                Err(error) => {
                    self.metrics.failures.inc();
                    let error = anyhow::Error::from(error);
                    let failure = format!("{error:#}");
                    if repeats.is_due(&failure) {
                        warn!("{failure} (trying again, repeats are not logged)");
                    }
                    // What is in force goes on being renewed without the API server.
                    if let Some(kept) = self.memory.clone()
                        && let Err(error) = self.serve(&kept.current, now)
                    {
                        warn!("{:#}", anyhow::Error::from(error));
                    }
                    RETRY
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = changed(&mut secrets) => {}
                () = changed(&mut config_maps) => {}
            }
        }
    }

    /// Looks at what is kept, does what is due, and gives when to look again.
    async fn look(&mut self, now: Timestamp) -> Result<Timestamp, AuthorityError> {
        for _ in 0..STEPS {
            let mut found = self.store.secret().await?;
            let Some(kept) = self.kept(&mut found, now).await? else { continue };
            let out = self.store.bundle().await?;
            let written = match plan(&kept, &out.bundle, now, self.timing) {
                Step::Succeed => {
                    info!(
                        "made a successor to the certificate authority; it signs once every shim can know it"
                    );
                    let next = Some(Ca::make(self.timing.lifetime, now)?);
                    self.store.keep(&Kept { next, ..kept }, found).await?
                }
                Step::Keep(next) => {
                    info!(
                        "keeping the certificate authority anew: a successor takes over, or what has ended goes"
                    );
                    self.store.keep(&next, found).await?
                }
                Step::Publish(text) => {
                    info!(config_map = NAME, "giving out the certificates that shims trust");
                    self.store.publish(&text, now, out).await?
                }
                Step::Rest(until) => {
                    let renewal = self.serve(&kept.current, now)?;
                    self.memory = Some(kept);
                    return Ok(until.min(renewal));
                }
            };
            // Whatever came of it, what follows goes by what is there now.
            if written == Written::Overtaken {
                info!("the kept authority was changed by somebody else at the same time; looking again");
            }
        }
        Err(AuthorityError::Unsettled(self.object()))
    }

    /// What the Secret holds. What this leader knows of it is put back if it is gone or damaged. `None`: look again.
    async fn kept(
        &self,
        found: &mut Option<FoundSecret>,
        now: Timestamp,
    ) -> Result<Option<Kept>, AuthorityError> {
        let object = self.object();
        let what = match (found.as_ref().map(|found| &found.kept), &self.memory) {
            (Some(Ok(kept)), _) => return Ok(Some(kept.clone())),
            (Some(Err(what)), None) => return Err(AuthorityError::Damaged { object, what: what.clone() }),
            (Some(Err(what)), Some(_)) => what.clone(),
            (None, _) => "it is gone".to_owned(),
        };
        let kept = if let Some(kept) = &self.memory {
            warn!(secret = object, "putting the authority that shims trust back into its Secret: {what}");
            kept.clone()
        } else {
            info!(secret = object, "making a certificate authority");
            let current = Ca::make(self.timing.lifetime, now)?;
            Kept { current, next: None, previous: Vec::new() }
        };
        self.store.keep(&kept, found.take()).await?;
        Ok(None)
    }

    /// Serves with a certificate of this authority; gives when it is to be issued anew.
    fn serve(&mut self, ca: &Ca, now: Timestamp) -> Result<Timestamp, AuthorityError> {
        if let Some(Issued { by, not_after }) = &self.issued
            && *by == ca.anchor
        {
            let renewal = leaf_renewal(*not_after, self.timing);
            // What ends with its authority cannot be made to last longer.
            if now < renewal || *not_after >= ca.anchor.not_after {
                return Ok(if now < renewal { renewal } else { *not_after });
            }
        }
        let leaf = ca.issue(&self.names, self.timing.leaf, now)?;
        let key = rustls::crypto::ring::sign::any_supported_type(&leaf.key)?;
        let certified = Arc::new(CertifiedKey::new(leaf.chain, key));
        *self.in_force.0.write().unwrap_or_else(PoisonError::into_inner) = Some(certified);
        info!(until = %leaf.not_after, "issued a serving certificate");
        self.metrics.ca_end.set(ca.anchor.not_after.as_second());
        self.metrics.leaf_end.set(leaf.not_after.as_second());
        self.issued = Some(Issued { by: ca.anchor.clone(), not_after: leaf.not_after });
        self.usable.send_replace(true);
        Ok(leaf_renewal(leaf.not_after, self.timing))
    }

    fn object(&self) -> String {
        format!("{}/{NAME}", self.store.namespace)
    }
}

/// Waits until something is said of an object; at first that is how it is.
async fn changed<T>(events: &mut (impl Stream<Item = Result<T, kube_runtime::watcher::Error>> + Unpin)) {
    loop {
        match events.next().await {
            Some(Ok(_)) => return,
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }
}
