//! The listener: connections over TLS, each with its requests, until the server is dropped.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::auth::{Tokens, encode, encode_standard};
use crate::certificate::{Certificate, CertificateError};
use crate::core::Core;
use crate::faults::Faults;
use crate::registry::Registry;
use crate::requests::Requests;
use crate::rest;
use crate::store::Store;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens. Port 0: any free one.
    pub listen: SocketAddr,
    /// How many changes of each kind are remembered for watches and pages.
    pub history: usize,
    /// Further addresses and names that the serving certificate is for, beside the listening address, `localhost`,
    /// 127.0.0.1 and `::1`.
    pub names: Vec<String>,
    /// The administrator's user name.
    pub admin: String,
    /// How often quiet watches that take bookmarks get one.
    pub bookmark_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            history: 8192,
            names: Vec::new(),
            admin: "palisade-admin".to_owned(),
            bookmark_interval: Duration::from_secs(10),
        }
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound.
    #[error("cannot listen on {0}: choose another address with --listen")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The listener does not say where it is.
    #[error("the listener has no address")]
    Address(#[source] std::io::Error),
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A running server. Dropping it ends all its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    certificate: Certificate,
    core: Arc<Core>,
    stop: CancellationToken,
}

impl Server {
    /// Starts a server on an address of its own.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|error| StartError::Listen(options.listen, error))?;
        Self::serve_on(listener, options)
    }

    /// Starts a server on a listener that was bound elsewhere, such as in another network namespace; `listen` does
    /// not count then. Has to be called in a Tokio runtime.
    pub fn serve_on(listener: TcpListener, options: Options) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(StartError::Address)?;
        let certificate = Certificate::issue(address.ip(), &options.names)?;
        let acceptor = TlsAcceptor::from(certificate.server_config()?);
        let store = Arc::new(Store::new(options.history));
        let tokens = Arc::new(Tokens::new());
        let secret: [u8; 32] = rand::random();
        let core = Arc::new(Core {
            faults: Faults::new(store.clone(), tokens.clone()),
            store,
            registry: Registry::default(),
            tokens,
            requests: Requests::default(),
            admin_name: options.admin,
            admin_token: encode(secret),
            bookmark_interval: options.bookmark_interval,
        });
        rest::begin(&core);
        let stop = CancellationToken::new();
        let accept = Accept { listener, acceptor, core: core.clone(), stop: stop.clone() };
        tokio::spawn(accept.run());
        info!(%address, "development API server: in memory, for tests and demonstrations only");
        Ok(Self { address, certificate, core, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for the administrator, as YAML (JSON, which is YAML).
    pub fn kubeconfig(&self) -> String {
        let name = "palisade-dev";
        let ca = encode_standard(self.certificate.authority());
        let mut address = self.address;
        if address.ip().is_unspecified() {
            // It listens everywhere; whoever reads this file is most likely on the same host.
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{
                "name": name,
                "cluster": {"server": format!("https://{address}"), "certificate-authority-data": ca},
            }],
            "users": [{"name": self.core.admin_name, "user": {"token": self.core.admin_token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": self.core.admin_name}}],
        });
        format!("{kubeconfig:#}\n")
    }

    /// The certificate that clients are to trust, as PEM.
    pub fn authority(&self) -> &str {
        self.certificate.authority()
    }

    /// What may go wrong on request.
    pub fn faults(&self) -> Faults {
        self.core.faults.clone()
    }

    /// What has been asked.
    pub fn requests(&self) -> Requests {
        self.core.requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Accept {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    core: Arc<Core>,
    stop: CancellationToken,
}

impl Accept {
    async fn run(self) {
        let mut refusing = self.core.faults.refusing();
        // All connections of a time; refusing ends them together.
        let mut connections = self.stop.child_token();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                changed = refusing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if is_refusing(&refusing) {
                        connections.cancel();
                        connections = self.stop.child_token();
                    }
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: others have to end first.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if is_refusing(&refusing) {
                reset(&stream);
                continue;
            }
            let connection = connections.child_token();
            tokio::spawn(serve(stream, self.acceptor.clone(), self.core.clone(), connection));
        }
    }
}

fn is_refusing(refusing: &tokio::sync::watch::Receiver<Option<Instant>>) -> bool {
    refusing.borrow().is_some_and(|until| Instant::now() < until)
}

/// The peer's next packet is answered by a reset, not by an orderly end.
fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        debug!(%error, "a connection ends in good order instead of by a reset");
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, core: Arc<Core>, connection: CancellationToken) {
    // Watch events are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    // A second handle of the same socket, to set how it ends while the first is in use.
    let handle = SockRef::from(&stream).try_clone();
    let requests = async {
        let stream = match acceptor.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "no TLS");
                return;
            }
        };
        let token = connection.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (core, connection) = (core.clone(), token.clone());
            async move {
                Ok::<_, std::convert::Infallible>(
                    rest::handle(core, connection, request.map(Body::new)).await,
                )
            }
        });
        let served =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            debug!(%error, "a connection broke");
        }
    };
    tokio::select! {
        () = connection.cancelled() => {
            if let Ok(handle) = handle
                && let Err(error) = handle.set_linger(Some(Duration::ZERO))
            {
                debug!(%error, "a connection ends in good order instead of by a reset");
            }
        }
        () = requests => {}
    }
}
