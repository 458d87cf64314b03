//! A connection from its arrival on: a guest until a token has been shown on it, and only for so long; and cut when the
//! port is served no more. Owns how many connections there may be; knows nothing of TLS or of what is said.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tonic::transport::server::Connected;

use super::{GRACE, Phase, over};

/// How long a connection may stay without a known token. A shim shows its own with its first request.
const STAY: Duration = Duration::from_secs(10);

/// The most connections there may be at once; further ones wait in the kernel's queue.
const MOST: usize = 10_000;

/// File descriptors left for everything else: manifests, watches, the admin port.
const RESERVED: usize = 128;

/// Places for connections, as many as the process may open files for.
pub(super) fn places() -> Arc<Semaphore> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    Arc::new(Semaphore::new(connections(&limits)))
}

fn connections(limits: &str) -> usize {
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|numbers| numbers.split_whitespace().next());
    let soft = match soft {
        Some("unlimited") => MOST + RESERVED,
        // What a process gets where nobody says otherwise.
        soft => soft.and_then(|number| number.parse().ok()).unwrap_or(1024),
    };
    soft.saturating_sub(RESERVED).clamp(16, MOST)
}

/// Where a connection is from, and the means to let it stay.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// The other end.
    pub(super) peer: SocketAddr,
    admitted: Arc<AtomicBool>,
}

impl Pass {
    /// A token has been shown: the connection may stay.
    pub(super) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

/// See the module.
pub(super) struct Guest {
    stream: TcpStream,
    pass: Pass,
    leave: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    left: Option<&'static str>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let admitted = Arc::<AtomicBool>::default();
        let leave = Box::pin(leave(Arc::clone(&admitted), phase));
        Self { stream, pass: Pass { peer, admitted }, leave, left: None, _place: place }
    }
}

/// Waits until the connection has to go; gives why.
async fn leave(admitted: Arc<AtomicBool>, mut phase: watch::Receiver<Phase>) -> &'static str {
    let overstayed = async {
        sleep(STAY).await;
        if admitted.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = overstayed => "no known token was shown in time",
        _ = over(&mut phase) => {
            sleep(GRACE).await;
            "the port is served no more"
        }
    }
}

impl Connected for Guest {
    type ConnectInfo = Pass;

    fn connect_info(&self) -> Pass {
        self.pass.clone()
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(why) = &self.left {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, *why)));
        }
        if let Poll::Ready(why) = self.leave.as_mut().poll(context) {
            self.left = Some(why);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_file_descriptors_for_the_rest() {
        let limits = |soft: &str| {
            format!("Limit Soft Limit Hard Limit Units\nMax open files            {soft}   524288   files\n")
        };
        assert_eq!(connections(&limits("1024")), 1024 - RESERVED);
        assert_eq!(connections(&limits("1048576")), MOST);
        assert_eq!(connections(&limits("unlimited")), MOST);
        assert_eq!(connections(&limits("64")), 16);
        assert_eq!(connections(""), 1024 - RESERVED);
        assert!(places().available_permits() >= 16);
    }
}
