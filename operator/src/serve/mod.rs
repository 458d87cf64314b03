//! The gRPC server that shims connect to. Owns the port, the limits and who may speak; a [`session`] does the rest.

mod guest;
mod handshake;
pub mod session;
pub mod tls;
pub mod tokens;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use palisade_proto::v1::node_policy_server::{NodePolicy, NodePolicyServer};
use palisade_proto::v1::{FromNode, Update};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, info_span, warn};

use self::guest::Pass;
use self::tls::Material;
use self::tokens::Tokens;
use crate::hub::Hub;

/// The largest message taken from a node, in bytes: a Nack with its text.
const LARGEST_FROM_NODE: usize = 64 * 1024;

/// Parts of an update that may wait for a slow node. A part is at most [`palisade_proto::PART_BYTES`].
const WAITING_PARTS: usize = 4;

/// How often a silent connection is asked whether it lives, and how long it may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// The server failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificate or its key does not work.
    #[error("the serving certificate cannot be used")]
    Tls(#[source] tls::UnusableCertificate),
    /// The listener failed.
    #[error("the gRPC port failed")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves until it fails or `stopped` becomes true; then streams end with a status that makes shims come back.
///
/// # Errors
/// The certificate cannot be used, or the port fails.
pub async fn serve(
    listener: TcpListener,
    tls: &Material,
    tokens: Tokens,
    hub: Arc<Hub>,
    stopped: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let tls = tls.server_config().map_err(ServeError::Tls)?;
    let connections = handshake::accept(listener, tls, Arc::clone(&hub));
    let service = NodePolicyServer::new(Service { hub, tokens, stopped: stopped.clone() })
        .max_decoding_message_size(LARGEST_FROM_NODE);
    let mut until = stopped;
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        // A shim needs one stream; a second may overlap while the first is found dead.
        .max_concurrent_streams(4)
        .http2_max_header_list_size(16 * 1024)
        .add_service(service)
        .serve_with_incoming_shutdown(connections, async move {
            let _ = until.wait_for(|stopped| *stopped).await;
        })
        .await
        .map_err(ServeError::Transport)
}

struct Service {
    hub: Arc<Hub>,
    tokens: Tokens,
    stopped: watch::Receiver<bool>,
}

impl Service {
    /// The node a request comes from: what its token says, whatever its messages claim.
    fn node(&self, request: &Request<Streaming<FromNode>>, pass: Option<&Pass>) -> Result<String, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let why = match token {
            None => "no bearer token: start the shim with --token-file",
            Some(token) => match self.tokens.node(token) {
                Some(node) => {
                    pass.inspect(|pass| pass.admit());
                    return Ok(node);
                }
                None => "the bearer token is not known: it must be in the operator's token file (--tokens)",
            },
        };
        let failures = &self.hub.metrics().auth_failures;
        // One line for the first and for every hundredth: whoever guesses must not fill the log.
        if failures.inc().is_multiple_of(100) {
            let peer = pass.map(|pass| pass.peer);
            warn!(?peer, failures = failures.get(), "refused a stream: {why}");
        }
        Err(Status::unauthenticated(why))
    }
}

#[tonic::async_trait]
impl NodePolicy for Service {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<Update, Status>> + Send>>;

    async fn sync(
        &self,
        request: Request<Streaming<FromNode>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let pass = request.extensions().get::<TlsConnectInfo<Pass>>().map(|info| info.get_ref().clone());
        let node = self.node(&request, pass.as_ref())?;
        let span = info_span!("session", node, peer = pass.map(|pass| tracing::field::display(pass.peer)));
        let (updates, outgoing) = mpsc::channel(WAITING_PARTS);
        let session =
            session::run(node, request.into_inner(), updates, Arc::clone(&self.hub), self.stopped.clone());
        tokio::spawn(session.instrument(span));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}
