//! TLS handshakes at the port: bounded in time and number, failures counted and told of. Whoever cannot finish one
//! costs the others nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

use super::Phase;
use super::guest::{Guest, places};
use crate::hub::Hub;
use crate::metrics::Metrics;

/// How long a client may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Handshakes under way at once; further connections wait in the kernel's queue.
const AT_ONCE: usize = 1024;

/// How long accepting rests after the kernel had no file descriptor to give.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections for as long as somebody takes them. They are cut a moment after the phase has changed.
pub(super) fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    hub: Arc<Hub>,
    phase: watch::Receiver<Phase>,
) -> ReceiverStream<io::Result<TlsStream<Guest>>> {
    let (ready, accepted) = mpsc::channel(AT_ONCE);
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        let taken = ready.clone();
        tokio::select! {
            // The port must be free as soon as it is served no more.
            () = taken.closed() => {}
            () = greet(listener, acceptor, ready, hub, phase) => {}
        }
    });
    ReceiverStream::new(accepted)
}

async fn greet(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<io::Result<TlsStream<Guest>>>,
    hub: Arc<Hub>,
    phase: watch::Receiver<Phase>,
) {
    let under_way = Arc::new(Semaphore::new(AT_ONCE));
    let places = places();
    // The semaphores are never closed.
    while let Ok(turn) = Arc::clone(&under_way).acquire_owned().await
        && let Ok(place) = Arc::clone(&places).acquire_owned().await
    {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let (acceptor, ready, hub, phase) = (acceptor.clone(), ready.clone(), hub.clone(), phase.clone());
        tokio::spawn(async move {
            let _turn = turn;
            let _ = stream.set_nodelay(true);
            match timeout(LIMIT, acceptor.accept(Guest::new(stream, peer, place, phase))).await {
                // Nobody takes it any more when the port is served no more.
                Ok(Ok(stream)) => drop(ready.send(Ok(stream)).await),
                Ok(Err(error)) => failed(hub.metrics(), peer, &error.to_string()),
                Err(_) => failed(hub.metrics(), peer, "not finished within 5 seconds"),
            }
        });
    }
}

fn failed(metrics: &Metrics, peer: SocketAddr, why: &str) {
    // One line for the first and for every hundredth: strangers must not fill the log.
    let before = metrics.handshake_failures.inc();
    if before.is_multiple_of(100) {
        warn!(%peer, failures = before + 1, "a TLS handshake failed: {why}; only shims should connect to this port");
    }
}
