//! When the port is served: while this replica leads, and only then. A standby refuses connections, so that shims try
//! the next address at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Backend, GRACE, Phase, ServeError, serve};
use crate::leader::Leadership;

/// How often, and how far apart, the port is tried for: it may be in other hands for a moment.
const TRIES: u32 = 20;
const RETRY: Duration = Duration::from_millis(100);

/// Where shims connect.
#[derive(Clone, Debug)]
pub struct Port {
    /// Address and port; port 0 takes any free one, each time.
    pub listen: SocketAddr,
    /// Told where it listens; `None` while it does not.
    pub bound: watch::Sender<Option<SocketAddr>>,
}

impl Port {
    /// One that is not bound.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, bound: watch::Sender::new(None) }
    }
}

/// Serves whenever this replica leads, until `stopped` becomes true.
///
/// # Errors
/// The port cannot be bound, or fails.
pub async fn run(
    port: Port,
    backend: Backend,
    mut leadership: watch::Receiver<Leadership>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    loop {
        let leading = async {
            let leading = leadership.wait_for(|leadership| leadership.term().is_some()).await;
            leading.map(|leadership| leadership.term().unwrap_or_default())
        };
        let term = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            term = leading => match term {
                Ok(term) => term,
                // Nobody can say any more that this replica leads.
                Err(_) => return Ok(()),
            },
        };
        turn(&port, &backend, term, &mut leadership, &mut stopped).await?;
    }
}

/// Serves in one term.
async fn turn(
    port: &Port,
    backend: &Backend,
    term: u64,
    leadership: &mut watch::Receiver<Leadership>,
    stopped: &mut watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let (tell, phase) = watch::channel(Phase::Serving);
    let mut usable = backend.tls.is_usable.clone();
    let served = async {
        // Who connects must not find a port that cannot say who it is.
        if usable.wait_for(|usable| *usable).await.is_err() {
            return Ok(());
        }
        let listener = bind(port.listen).await?;
        let at = listener.local_addr().map_err(|source| failed(port.listen, source))?;
        info!(address = %at, term, "serving nodes");
        port.bound.send_replace(Some(at));
        serve(listener, backend.clone(), term, phase).await
    };
    tokio::pin!(served);
    let phase = tokio::select! {
        // Who stops leads no more either; the first is what streams are told.
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => Phase::Stopping,
        served = &mut served => {
            port.bound.send_replace(None);
            return served;
        }
        _ = leadership.wait_for(|leadership| leadership.term() != Some(term)) => Phase::Deposed,
    };
    let was_bound = port.bound.send_replace(None).is_some();
    tell.send_replace(phase);
    if was_bound && timeout(GRACE * 2, served).await.is_err() {
        warn!("not every stream was let go of in time");
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let mut tries = 1;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if tries >= TRIES => return Err(failed(address, error)),
            Err(_) => sleep(RETRY).await,
        }
        tries += 1;
    }
}

fn failed(address: SocketAddr, source: std::io::Error) -> ServeError {
    ServeError::Listen { address, source }
}
