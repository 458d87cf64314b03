//! The stream to the operator: connects, says Hello, hands updates on and answers. Owns TLS, the token, back-off and
//! the order of messages; knows neither the kernel nor what an update says.

mod fault;

use std::path::PathBuf;
use std::time::Duration;

use palisade_proto::v1::from_node::Message;
use palisade_proto::v1::node_policy_client::NodePolicyClient;
use palisade_proto::{MESSAGE_BYTES, SCHEMA_VERSION, v1};
use palisade_view::HASH_VERSION;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tracing::{debug, info, warn};

pub use fault::Fault;

use crate::collect::{Collector, Refusal};
use crate::enforce::{Ended, Handle};
use crate::health::Health;

/// Where the operator is and how each side knows the other.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `https://HOST:PORT`
    pub url: String,
    /// Name that the operator's certificate must carry.
    pub server_name: String,
    /// Certificate authority of the operator (PEM).
    pub ca: PathBuf,
    /// Bearer token that names this node.
    pub token: PathBuf,
}

/// How long to wait between attempts: a random time up to a bound that doubles.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The bound after a session that got something done.
    pub first: Duration,
    /// The highest bound.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(10) }
    }
}

impl Backoff {
    fn bound(self, failures: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(failures)).min(self.most)
    }
}

/// Time for TCP and TLS to the operator to stand.
const CONNECT: Duration = Duration::from_secs(5);
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
}

impl Link {
    /// A link that hands updates to an enforcer.
    pub fn new(operator: Operator, capabilities: Vec<String>, enforcer: Handle, health: Health) -> Self {
        Self { operator, backoff: Backoff::default(), keepalive: KEEPALIVE, capabilities, enforcer, health }
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
        loop {
            let mut progress = false;
            let outcome = self.session(&mut progress).await;
            let fault = match outcome {
                Err(Fault::Enforcer(ended)) => return ended,
                Err(fault) => fault.to_string(),
                Ok(()) => "the operator closed the stream".to_owned(),
            };
            if progress {
                failures = 0;
            }
            let wait = rand::random_range(Duration::ZERO..=self.backoff.bound(failures));
            failures = failures.saturating_add(1);
            // A dead operator must not fill the log of every node.
            repeats = if fault == last { repeats + 1 } else { 0 };
            if repeats % QUIET == 0 {
                warn!(
                    operator = self.operator.url,
                    "no link to the operator: {fault} (policies in force stay; trying again, repeats are not logged)"
                );
            } else {
                debug!(operator = self.operator.url, ?wait, "no link to the operator: {fault}");
            }
            last = fault;
            sleep(wait).await;
        }
    }

    /// One session: from the connection to its end. Sets `progress` once an update was acknowledged.
    ///
    /// # Errors
    /// The session did not come about, or broke. `Ok`: the operator closed the stream.
    pub async fn session(&self, progress: &mut bool) -> Result<(), Fault> {
        let outcome = self.converse(progress).await;
        self.health.linked(false);
        outcome
    }

    async fn converse(&self, progress: &mut bool) -> Result<(), Fault> {
        let token = self.token().await?;
        let channel = self
            .endpoint()
            .await?
            .connect()
            .await
            .map_err(|error| Fault::connect(&error, &self.operator.server_name, &self.operator.ca))?;
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
        let say = |message| {
            let answers = &answers;
            async move { answers.send(v1::FromNode { message: Some(message) }).await.map_err(|_| Fault::Closed) }
        };
        say(Message::Hello(hello)).await?;
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request.metadata_mut().insert("authorization", token);
        let refused = |status: tonic::Status| Fault::status(&status, &self.operator.token);
        let mut updates = client.sync(request).await.map_err(refused)?.into_inner();
        info!(operator = self.operator.url, held = ?holding.root, term = holding.term, "linked to the operator");
        self.health.linked(true);

        let mut collector = Collector::new(holding.term);
        while let Some(part) = updates.message().await.map_err(refused)? {
            let outcome = match collector.push(&part) {
                Ok(None) => continue,
                Ok(Some(update)) => self.enforcer.put(update).await?,
                Err(refusal) => Err(refusal),
            };
            *progress |= outcome.is_ok();
            say(self.answer(&part.to_root, outcome)).await?;
        }
        Ok(())
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

    async fn endpoint(&self) -> Result<Endpoint, Fault> {
        let path = &self.operator.ca;
        let pem = tokio::fs::read(path).await.map_err(|source| Fault::Ca { path: path.clone(), source })?;
        if !pem.windows(27).any(|text| text == b"-----BEGIN CERTIFICATE-----") {
            return Err(Fault::CaForm { path: path.clone() });
        }
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(pem))
            .domain_name(self.operator.server_name.clone());
        let invalid = |error: tonic::transport::Error| Fault::address(&self.operator.url, &error);
        Ok(Channel::from_shared(self.operator.url.clone())
            .map_err(|error| Fault::address(&self.operator.url, &error))?
            .tls_config(tls)
            .map_err(invalid)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keepalive)
            .keep_alive_timeout(self.keepalive)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_ten_seconds() {
        let bounds: Vec<u128> =
            [0, 1, 2, 6, 7, 40, u32::MAX].map(|n| Backoff::default().bound(n).as_millis()).into();
        assert_eq!(bounds, [100, 200, 400, 6400, 10_000, 10_000, 10_000]);
    }
}
