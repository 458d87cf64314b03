//! The map: sources -> engine -> hub -> sessions and the admin server.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::info;

use crate::admin;
use crate::args::Args;
use crate::engine;
use crate::hub::Hub;
use crate::manifests::{self, Batch};
use crate::metrics::Metrics;
use crate::serve::tokens::Tokens;
use crate::serve::{self, tls};

/// Batches that may wait for the engine; a source that is faster waits itself.
const WAITING_BATCHES: usize = 64;

/// Runs the operator until `asked_to_stop` is done or something it cannot do without fails.
///
/// # Errors
/// A port cannot be bound, the certificates cannot be made or read, or a part of the operator ended.
pub async fn run(args: Args, asked_to_stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let tls = tls::Material::prepare(&args)?;
    let tokens = Tokens::load(&args.tokens)?;
    let hub = Arc::new(Hub::new(args.term, Arc::new(Metrics::default())));
    let (batches, waiting) = mpsc::channel::<Batch>(WAITING_BATCHES);
    let (stop, stopped) = watch::channel(false);

    let grpc =
        TcpListener::bind(args.listen).await.with_context(|| format!("listening on {}", args.listen))?;
    let web = TcpListener::bind(args.admin).await.with_context(|| format!("listening on {}", args.admin))?;
    let (grpc_at, web_at) = (grpc.local_addr()?, web.local_addr()?);
    info!(grpc = %grpc_at, admin = %web_at, manifests = %args.manifests.display(), "listening");
    if let Some(path) = &args.ready_file {
        announce(path, grpc_at, web_at)?;
    }

    let source = manifests::watch(args.manifests.clone(), batches)?;
    let tokens_followed = tokens.follow()?;
    let ended = tokio::select! {
        () = asked_to_stop => None,
        result = source => Some(("watching manifests", result.map_err(anyhow::Error::from))),
        result = tokens_followed => Some(("watching tokens", result.map_err(anyhow::Error::from))),
        () = engine::run(waiting, Arc::clone(&hub)) => Some(("compiling", Ok(()))),
        result = serve::serve(grpc, &tls, tokens.clone(), Arc::clone(&hub), stopped.clone()) =>
            Some(("serving nodes", result.map_err(anyhow::Error::from))),
        result = admin::serve(web, Arc::clone(&hub)) => Some(("serving the admin port", result.map_err(anyhow::Error::from))),
    };
    // Streams end with a status of their own, so that shims come back at once instead of waiting for a time-out.
    let _ = stop.send(true);
    match ended {
        None => {
            info!("stopping; rules stay in force on the nodes");
            Ok(())
        }
        Some((what, result)) => {
            result.context(what)?;
            anyhow::bail!("{what} ended");
        }
    }
}

fn announce(path: &Path, grpc: SocketAddr, admin: SocketAddr) -> anyhow::Result<()> {
    let text = serde_json::json!({"grpc": grpc.to_string(), "admin": admin.to_string()}).to_string();
    let part = path.with_extension("part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("writing {}", path.display()))
}
