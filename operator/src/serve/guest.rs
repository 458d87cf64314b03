//! A connection from its arrival on: a guest until a token has been shown on it, and only for so long. Owns how many
//! connections there may be; knows nothing of TLS or of what is said.

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

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
#[derive(Debug)]
pub(super) struct Guest {
    stream: TcpStream,
    pass: Pass,
    leave: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        let pass = Pass { peer, admitted: Arc::default() };
        Self { stream, pass, leave: Box::pin(tokio::time::sleep(STAY)), _place: place }
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
        if !self.pass.admitted.load(Ordering::Relaxed) && self.leave.as_mut().poll(context).is_ready() {
            let error = io::Error::new(io::ErrorKind::TimedOut, "no known token was shown in time");
            return Poll::Ready(Err(error));
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
