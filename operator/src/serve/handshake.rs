//! TLS handshakes at the port: bounded in time and number, failures counted and told of. Whoever cannot finish one
//! costs the others nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

use super::guest::{Guest, places};
use crate::hub::Hub;
use crate::metrics::Metrics;

/// How long a client may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Handshakes under way at once; further connections wait in the kernel's queue.
const AT_ONCE: usize = 1024;

/// How long accepting rests after the kernel had no file descriptor to give.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections for as long as somebody takes them.
pub(super) fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    hub: Arc<Hub>,
) -> ReceiverStream<io::Result<TlsStream<Guest>>> {
    let (ready, accepted) = mpsc::channel(AT_ONCE);
    let acceptor = TlsAcceptor::from(tls);
    let under_way = Arc::new(Semaphore::new(AT_ONCE));
    let places = places();
    tokio::spawn(async move {
        // The semaphores are never closed.
        while let Ok(turn) = Arc::clone(&under_way).acquire_owned().await
            && let Ok(place) = Arc::clone(&places).acquire_owned().await
        {
            let (stream, peer) = tokio::select! {
                () = ready.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        warn!(%error, "cannot accept a connection; trying again");
                        tokio::time::sleep(REST).await;
                        continue;
                    }
                },
            };
            let (acceptor, ready, hub) = (acceptor.clone(), ready.clone(), hub.clone());
            tokio::spawn(async move {
                let _turn = turn;
                let _ = stream.set_nodelay(true);
                match timeout(LIMIT, acceptor.accept(Guest::new(stream, peer, place))).await {
                    // Nobody takes it any more when the operator stops.
                    Ok(Ok(stream)) => drop(ready.send(Ok(stream)).await),
                    Ok(Err(error)) => failed(hub.metrics(), peer, &error.to_string()),
                    Err(_) => failed(hub.metrics(), peer, "not finished within 5 seconds"),
                }
            });
        }
    });
    ReceiverStream::new(accepted)
}

fn failed(metrics: &Metrics, peer: SocketAddr, why: &str) {
    // One line for the first and for every hundredth: strangers must not fill the log.
    let before = metrics.handshake_failures.inc();
    if before.is_multiple_of(100) {
        warn!(%peer, failures = before + 1, "a TLS handshake failed: {why}; only shims should connect to this port");
    }
}
