//! The stream to the operator: connects, says Hello, hands updates on and answers. Owns TLS, the token and the order of
//! messages; knows neither the kernel nor what an update says.

mod address;
mod backoff;
mod fault;
mod reach;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use palisade_proto::v1::from_node::Message;
use palisade_proto::v1::node_policy_client::NodePolicyClient;
use palisade_proto::{MESSAGE_BYTES, SCHEMA_VERSION, v1};
use palisade_view::HASH_VERSION;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};
use tracing::{debug, info, warn};

pub use self::address::Address;
use self::address::{Candidate, candidates};
pub use self::backoff::Backoff;
pub use self::fault::Fault;
use self::reach::{Explain, Reach};
use crate::collect::{Collector, Refusal};
use crate::enforce::{Ended, Handle, Holding};
use crate::health::Health;

/// Where the operator is and how each side knows the other.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Where it may be: of several replicas one serves.
    pub addresses: Vec<Address>,
    /// Name that the operator's certificate must carry.
    pub server_name: String,
    /// Certificate authority of the operator (PEM).
    pub ca: PathBuf,
    /// Bearer token that names this node.
    pub token: PathBuf,
}

/// Time for an operator to take a stream: it may have to ask for whose token it is.
const TAKEN: Duration = Duration::from_secs(15);
/// A silent connection is asked for a sign of life this often, and given up if there is none for as long again.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// The stream's window, in bytes: a snapshot should not wait for the round trip of each part.
const WINDOW: u32 = 1024 * 1024;
/// How many equal failures in a row pass between two log lines about them.
const QUIET: u32 = 30;

/// The link.
#[derive(Debug)]
pub struct Link {
    operator: Operator,
    backoff: Backoff,
    keepalive: Duration,
    capabilities: Vec<String>,
    enforcer: Handle,
    health: Health,
    /// Whoever took the last stream is asked first.
    last: Mutex<Option<SocketAddr>>,
}

/// What came of one round through all addresses.
struct Round {
    outcome: Result<(), Fault>,
    /// An update was acknowledged.
    progress: bool,
    /// Somebody will serve soon.
    is_between: bool,
}

impl Link {
    /// A link that hands updates to an enforcer.
    pub fn new(operator: Operator, capabilities: Vec<String>, enforcer: Handle, health: Health) -> Self {
        let (backoff, last) = (Backoff::default(), Mutex::default());
        Self { operator, backoff, keepalive: KEEPALIVE, capabilities, enforcer, health, last }
    }

    /// Waits otherwise between attempts.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Asks a silent operator for a sign of life otherwise than every 5 s.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: Duration) -> Self {
        self.keepalive = keepalive;
        self
    }

    /// Keeps the stream up until the enforcer ends. Dropping the future closes the stream; an update that was
    /// handed on is carried out all the same.
    pub async fn run(self) -> Ended {
        let mut failures = 0;
        let mut repeats = 0;
        let mut last = String::new();
        let operator = self.operator.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        loop {
            let Round { outcome, progress, is_between } = self.round().await;
            if progress && !outcome.as_ref().is_err_and(Fault::is_superseded) {
                failures = 0;
            }
            let fault = match outcome {
                Err(Fault::Enforcer(ended)) => return ended,
                Err(fault) => fault.to_string(),
                Ok(()) => "the operator closed the stream".to_owned(),
            };
            let wait = rand::random_range(Duration::ZERO..=self.backoff.bound(failures, is_between));
            failures = failures.saturating_add(1);
            // A dead operator must not fill the log of every node.
            repeats = if fault == last { repeats + 1 } else { 0 };
            if repeats % QUIET == 0 {
                warn!(
                    operator,
                    "no link to the operator: {fault} (policies in force stay; trying again, repeats are not logged)"
                );
            } else {
                debug!(operator, ?wait, "no link to the operator: {fault}");
            }
            last = fault;
            sleep(wait).await;
        }
    }

    /// One session: from the connections to its end. Sets `progress` once an update was acknowledged.
    ///
    /// # Errors
    /// The session did not come about at any address, or broke. `Ok`: the operator closed the stream.
    pub async fn session(&self, progress: &mut bool) -> Result<(), Fault> {
        let round = self.round().await;
        *progress = round.progress;
        round.outcome
    }

    /// Tries every address once, one after another without a pause, until a stream comes about and ends.
    async fn round(&self) -> Round {
        let mut progress = false;
        let (mut worst, mut is_between, mut is_refused) = (None::<Fault>, false, false);
        let mut note = |fault: Fault| {
            is_between |= fault.is_between();
            is_refused |= fault.is_verdict();
            if worst.as_ref().is_none_or(|worst| worst.weight() <= fault.weight()) {
                worst = Some(fault);
            }
        };
        let outcome = self.first_stream(&mut progress, &mut note).await;
        self.health.linked(false);
        match outcome {
            Ok(Some(())) => Round { outcome: Ok(()), progress, is_between: true },
            // That a standby refuses connections says nothing where the leader has spoken.
            Ok(None) => Round {
                outcome: Err(worst.unwrap_or(Fault::Closed)),
                progress,
                is_between: is_between && !is_refused,
            },
            Err(fault) => Round { is_between: fault.is_between(), outcome: Err(fault), progress },
        }
    }

    /// The end of the first stream that comes about; `None`: none did, and why was noted.
    async fn first_stream(
        &self,
        progress: &mut bool,
        note: &mut impl FnMut(Fault),
    ) -> Result<Option<()>, Fault> {
        let token = self.token().await?;
        let ca = self.authority().await?;
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (candidates, faults) = candidates(&self.operator.addresses, last).await;
        faults.into_iter().for_each(&mut *note);
        let mut reach = Reach::new(candidates, |candidate: &Candidate| self.endpoint(candidate, &ca));
        while let Some((candidate, connected)) = reach.next().await {
            let opened = match connected {
                Ok(channel) => self.open(channel, &token).await,
                Err(fault) => Err(fault),
            };
            match opened {
                Ok(stream) => {
                    drop(reach);
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(candidate.at);
                    let (held, term) = (stream.holding.root, stream.holding.term);
                    info!(operator = %candidate.address, at = %candidate.at, ?held, term, "linked to the operator");
                    self.health.linked(true);
                    return self.converse(stream, progress).await.map(Some);
                }
                Err(fault @ Fault::Enforcer(_)) => return Err(fault),
                Err(fault) => {
                    debug!(operator = %candidate.address, at = %candidate.at, "no stream: {fault}");
                    note(fault);
                }
            }
        }
        Ok(None)
    }

    /// Says Hello. The operator has taken the stream when this returns.
    async fn open(&self, channel: Channel, token: &MetadataValue<Ascii>) -> Result<Open, Fault> {
        let mut client = NodePolicyClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
        let holding = self.enforcer.holding().await?;
        let (answers, outgoing) = mpsc::channel(2);
        let hello = v1::Hello {
            schema: SCHEMA_VERSION,
            hash_version: HASH_VERSION,
            held_root: holding.root.map(|root| root.to_bytes().to_vec()).unwrap_or_default(),
            term: holding.term,
            capabilities: self.capabilities.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        say(&answers, Message::Hello(hello)).await?;
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request.metadata_mut().insert("authorization", token.clone());
        let answer = timeout(TAKEN, client.sync(request)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not take the stream in time")));
        let updates = answer.map_err(|status| self.refused(&status))?.into_inner();
        Ok(Open { holding, answers, updates })
    }

    async fn converse(&self, stream: Open, progress: &mut bool) -> Result<(), Fault> {
        let Open { holding, answers, mut updates } = stream;
        let mut collector = Collector::new(holding.term);
        while let Some(part) = updates.message().await.map_err(|status| self.refused(&status))? {
            let outcome = match collector.push(&part) {
                Ok(None) => continue,
                Ok(Some(update)) => self.enforcer.put(update).await?,
                Err(refusal) => Err(refusal),
            };
            *progress |= outcome.is_ok();
            say(&answers, self.answer(&part.to_root, outcome)).await?;
        }
        Ok(())
    }

    fn refused(&self, status: &Status) -> Fault {
        Fault::status(status, &self.operator.token)
    }

    fn answer(&self, root: &[u8], outcome: Result<palisade_view::Root, Refusal>) -> Message {
        match outcome {
            Ok(root) => Message::Ack(v1::Ack { root: root.to_bytes().to_vec() }),
            Err(refusal) => {
                warn!(reason = refusal.reason.as_str_name(), "update refused: {}", refusal.message);
                self.health.refused(refusal.reason);
                Message::Nack(refusal.to_wire(root))
            }
        }
    }

    async fn token(&self) -> Result<MetadataValue<Ascii>, Fault> {
        let path = &self.operator.token;
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|source| Fault::Token { path: path.clone(), source })?;
        let token = text.trim();
        if token.is_empty() {
            return Err(Fault::TokenForm { path: path.clone(), what: "is empty" });
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| Fault::TokenForm { path: path.clone(), what: "holds more than one line of text" })?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn authority(&self) -> Result<Certificate, Fault> {
        let path = &self.operator.ca;
        let pem = tokio::fs::read(path).await.map_err(|source| Fault::Ca { path: path.clone(), source })?;
        if !pem.windows(27).any(|text| text == b"-----BEGIN CERTIFICATE-----") {
            return Err(Fault::CaForm { path: path.clone() });
        }
        Ok(Certificate::from_pem(pem))
    }

    fn endpoint(&self, candidate: &Candidate, ca: &Certificate) -> Result<(Endpoint, Explain), Fault> {
        let tls =
            ClientTlsConfig::new().ca_certificate(ca.clone()).domain_name(self.operator.server_name.clone());
        let invalid = |error: tonic::transport::Error| Fault::address(&candidate.address, &error);
        // The one replica, not whichever its name stands for by now.
        let endpoint = Channel::from_shared(format!("https://{}", candidate.at))
            .map_err(|error| Fault::address(&candidate.address, &error))?
            .origin(candidate.address.uri().clone())
            .tls_config(tls)
            .map_err(invalid)?
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keepalive)
            .keep_alive_timeout(self.keepalive)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let (name, ca) = (self.operator.server_name.clone(), self.operator.ca.clone());
        Ok((endpoint, Box::new(move |error| Fault::connect(error, &name, &ca))))
    }
}

/// A stream that the operator has taken.
struct Open {
    holding: Holding,
    answers: mpsc::Sender<v1::FromNode>,
    updates: Streaming<v1::Update>,
}

async fn say(answers: &mpsc::Sender<v1::FromNode>, message: Message) -> Result<(), Fault> {
    answers.send(v1::FromNode { message: Some(message) }).await.map_err(|_| Fault::Closed)
}
