//! An operator that says what a test tells it to: the real service over real TLS.

#![allow(dead_code, unreachable_pub, reason = "a module of one test binary")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use palisade_proto::v1::node_policy_server::{NodePolicy, NodePolicyServer};
use palisade_proto::v1::{self, from_node::Message};
use palisade_proto::{encode_operation, parts};
use palisade_view::{NodeView, Root};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::common::due;

pub const TOKEN: &str = "the token of node-1";
pub const NAME: &str = "palisade-operator";

/// A certificate authority and the serving certificate it issued.
pub struct Authority {
    pub ca: String,
    serving: Identity,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let serving =
            CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { ca, serving: Identity::from_pem(serving.pem(), key.serialize_pem()) }
    }
}

/// One stream of a node, seen from the operator.
pub struct Session {
    pub hello: v1::Hello,
    incoming: Streaming<v1::FromNode>,
    outgoing: mpsc::Sender<Result<v1::Update, Status>>,
}

impl Session {
    pub async fn send(&self, update: v1::Update) {
        self.outgoing.send(Ok(update)).await.unwrap();
    }

    /// Sends what leads from one view to another and returns the answer.
    pub async fn update(&mut self, term: u64, from: Option<&NodeView>, to: &NodeView) -> Message {
        self.update_to(term, from, to, to.root()).await
    }

    /// As [`Session::update`], with a root of the test's choice.
    pub async fn update_to(
        &mut self,
        term: u64,
        from: Option<&NodeView>,
        to: &NodeView,
        root: Root,
    ) -> Message {
        let operations = from.unwrap_or(&NodeView::default()).diff(to);
        let encoded: Vec<_> = operations.iter().map(encode_operation).collect();
        for part in parts(term, from.map(NodeView::root), root, &encoded) {
            self.send(part).await;
        }
        self.answer().await
    }

    pub async fn answer(&mut self) -> Message {
        let next = due("an answer", self.incoming.next()).await;
        next.expect("the stream is open").expect("the stream is whole").message.expect("a message")
    }
}

struct Service {
    sessions: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl NodePolicy for Service {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<v1::Update, Status>> + Send>>;

    async fn sync(
        &self,
        request: Request<Streaming<v1::FromNode>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let token = request.metadata().get("authorization").map(|value| value.as_bytes().to_vec());
        if token != Some(format!("Bearer {TOKEN}").into_bytes()) {
            return Err(Status::unauthenticated("unknown token"));
        }
        let mut incoming = request.into_inner();
        let Some(v1::FromNode { message: Some(Message::Hello(hello)) }) = incoming.message().await? else {
            return Err(Status::invalid_argument("the first message must be a Hello"));
        };
        let (outgoing, updates) = mpsc::channel(8);
        let session = Session { hello, incoming, outgoing };
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(updates))))
    }
}

pub struct TestOperator {
    pub address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl TestOperator {
    pub async fn start(authority: &Authority, address: Option<SocketAddr>) -> Self {
        let address = address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, sessions) = mpsc::channel(8);
        let (stop, stopped) = oneshot::channel::<()>();
        let tls = ServerTlsConfig::new().identity(authority.serving.clone());
        let serving = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(NodePolicyServer::new(Service { sessions: sender }))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                async move { drop(stopped.await) },
            );
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, sessions, stop, serving }
    }

    pub async fn session(&mut self) -> Session {
        due("a session", self.sessions.recv()).await.unwrap()
    }

    /// Goes on listening, and answers every stream that it is not available.
    pub fn retire(&mut self) {
        self.sessions.close();
    }

    /// Ends; sessions must be dropped before.
    pub async fn stop(self) {
        drop(self.stop);
        due("the server's end", self.serving).await.unwrap();
    }
}

/// The files that a node is given.
pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub fn new(authority: &Authority) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write("ca.crt", &authority.ca);
        files.write("token", &format!("{TOKEN}\n"));
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(Path::new(&self.path(name)), text).unwrap();
    }
}
