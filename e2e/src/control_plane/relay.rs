//! A way for connections from inside a namespace to an address outside of it. Knows nothing of what is said.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::namespaces::Stack;

/// See the module. It ends with all its connections when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens at an address in a namespace, any port, and connects from here.
    pub async fn start(stack: &Stack, address: Ipv4Addr, server: SocketAddr) -> Result<Self> {
        let listener = stack.run(move || async move { TcpListener::bind((address, 0)).await }).await?;
        let listener = listener.with_context(|| format!("listening on {address}"))?;
        let address = listener.local_addr()?;
        let (accepted, connections) = mpsc::channel(16);
        // A socket stays in the namespace it was made in, wherever it is used.
        stack.spawn(move || accept(listener, accepted))?;
        let task = tokio::spawn(carry(connections, server));
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<std::net::TcpStream>) {
    loop {
        let connection = tokio::select! {
            () = accepted.closed() => return,
            connection = listener.accept() => connection,
        };
        if let Ok((connection, _)) = connection
            && let Ok(connection) = connection.into_std()
        {
            let _ = accepted.send(connection).await;
        }
    }
}

async fn carry(mut connections: mpsc::Receiver<std::net::TcpStream>, server: SocketAddr) {
    let mut open = JoinSet::new();
    while let Some(connection) = connections.recv().await {
        open.spawn(async move {
            let Ok(mut inside) = TcpStream::from_std(connection) else { return };
            // Where nobody answers, the connection inside ends at once, too.
            let Ok(mut outside) = TcpStream::connect(server).await else { return };
            let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
            let _ = copy_bidirectional(&mut inside, &mut outside).await;
        });
        while open.try_join_next().is_some() {}
    }
}
