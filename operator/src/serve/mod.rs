//! The gRPC server that shims connect to. Owns the port, the limits and who may speak; a [`session`] does the rest.

mod guest;
mod handshake;
pub mod session;
pub mod tls;
mod turns;

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
use self::session::Tenure;
pub use self::turns::{Port, run};
use crate::authority::Serving;
use crate::hub::Hub;
use crate::identity::{Identity, Known, Refusal};

/// The largest message taken from a node, in bytes: a Nack with its text.
const LARGEST_FROM_NODE: usize = 64 * 1024;

/// Parts of an update that may wait for a slow node. A part is at most [`palisade_proto::PART_BYTES`].
const WAITING_PARTS: usize = 4;

/// How often a silent connection is asked whether it lives, and how long it may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// How long connections may take to end once the port is served no more. Then they are cut.
const GRACE: Duration = Duration::from_secs(1);

/// The server failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port cannot be had.
    #[error("cannot listen on {address} for shims: give another --listen, or end what listens there")]
    Listen {
        /// Address and port.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the gRPC port failed")]
    Transport(#[source] tonic::transport::Error),
}

/// Whether the port goes on being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is.
    Serving,
    /// Another replica is to serve.
    Deposed,
    /// The process ends.
    Stopping,
}

impl Phase {
    /// What streams are told at the end: shims come back at once, to whoever serves by then.
    fn farewell(self) -> Option<Status> {
        match self {
            Self::Serving => None,
            Self::Deposed => Some(Status::unavailable("this operator leads no more; another one takes over")),
            Self::Stopping => Some(Status::unavailable("the operator is stopping")),
        }
    }
}

/// Waits until the port is served no more.
async fn over(phase: &mut watch::Receiver<Phase>) -> Status {
    let ended = phase.wait_for(|phase| *phase != Phase::Serving).await.map(|phase| *phase);
    // Whoever would say so has gone.
    ended.ok().and_then(Phase::farewell).unwrap_or_else(|| Status::unavailable("the operator is stopping"))
}

/// What a port is served with.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The certificate.
    pub tls: Serving,
    /// Who a stream is.
    pub identity: Identity,
    /// What nodes are told.
    pub hub: Arc<Hub>,
}

/// Serves in one term until it fails or the phase is another; then streams end with a status that makes shims come
/// back.
///
/// # Errors
/// The port fails.
pub async fn serve(
    listener: TcpListener,
    backend: Backend,
    term: u64,
    phase: watch::Receiver<Phase>,
) -> Result<(), ServeError> {
    let Backend { tls, identity, hub } = backend;
    let connections = handshake::accept(listener, tls.config, Arc::clone(&hub), phase.clone());
    let mut until = phase.clone();
    let service = NodePolicyServer::new(Service { hub, identity, term, phase })
        .max_decoding_message_size(LARGEST_FROM_NODE);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        // A shim needs one stream; a second may overlap while the first is found dead.
        .max_concurrent_streams(4)
        .http2_max_header_list_size(16 * 1024)
        .add_service(service)
        .serve_with_incoming_shutdown(connections, async move {
            over(&mut until).await;
        })
        .await
        .map_err(ServeError::Transport)
}

struct Service {
    hub: Arc<Hub>,
    identity: Identity,
    term: u64,
    phase: watch::Receiver<Phase>,
}

impl Service {
    /// The node a request comes from: what its token says, whatever its messages claim.
    async fn node(
        &self,
        request: &Request<Streaming<FromNode>>,
        pass: Option<&Pass>,
    ) -> Result<Known, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let peer = pass.map(|pass| pass.peer.ip());
        let why = match token {
            None => "no bearer token: start the shim with --token-file".to_owned(),
            Some(token) => match self.identity.node(token, peer).await {
                Ok(known) => {
                    pass.inspect(|pass| pass.admit());
                    return Ok(known);
                }
                Err(Refusal::Unknown(why)) => why,
                Err(Refusal::NotNow(why)) => return Err(Status::unavailable(why)),
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
        let mut phase = self.phase.clone();
        let known = tokio::select! {
            biased;
            farewell = over(&mut phase) => return Err(farewell),
            known = self.node(&request, pass.as_ref()) => known?,
        };
        let node = known.node;
        let span = info_span!("session", node, peer = pass.map(|pass| tracing::field::display(pass.peer)));
        let (updates, outgoing) = mpsc::channel(WAITING_PARTS);
        let tenure = Tenure { term: self.term, until: known.until, phase };
        let session = session::run(node, request.into_inner(), updates, Arc::clone(&self.hub), tenure);
        tokio::spawn(session.instrument(span));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}
