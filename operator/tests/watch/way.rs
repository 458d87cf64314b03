//! A way to the API server that can be cut: between the source and any server, without the server's help.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A way to the API server that can be cut.
pub struct Way {
    pub at: SocketAddr,
    mode: tokio::sync::watch::Sender<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes pass.
    Open,
    /// Connections stay, and nothing passes.
    Stalled,
    /// What is connected is cut, and nobody gets a connection.
    Cut,
}

impl Way {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (mode, changed) = tokio::sync::watch::channel(Mode::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *changed.borrow() == Mode::Cut {
                    continue;
                }
                let mut cut = changed.clone();
                let passed = pass(client, server, changed.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = passed => {}
                        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
                    }
                });
            }
        });
        Self { at, mode }
    }

    pub fn is(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pass(client: TcpStream, server: SocketAddr, mode: tokio::sync::watch::Receiver<Mode>) {
    async fn copy<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        mut from: R,
        mut to: W,
        mut mode: tokio::sync::watch::Receiver<Mode>,
    ) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read) = from.read(&mut bytes).await {
            // What has been read while it was open may pass; the order of bytes is kept.
            let is_open = mode.wait_for(|mode| *mode != Mode::Stalled).await.is_ok();
            if read == 0 || !is_open || to.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = copy(from_client, to_server, mode.clone()) => {}
        () = copy(from_server, to_client, mode) => {}
    }
}
