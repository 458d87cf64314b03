//! The map: sources -> engine -> hub -> sessions and the admin server.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
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

/// How long streams may take to end when the operator stops.
const LAST_WORDS: Duration = Duration::from_secs(2);

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

    // Each part is a task of its own: reading many manifests must not keep the admin port from answering.
    let mut parts = JoinSet::new();
    let source = manifests::watch(&args.manifests, batches)?;
    parts.spawn(async { ("watching manifests", source.await.map_err(anyhow::Error::from)) });
    let followed = tokens.follow()?;
    parts.spawn(async { match followed.await {} });
    let compiled = engine::run(waiting, Arc::clone(&hub));
    parts.spawn(async { ("compiling", compiled.map(Ok).await) });
    let administered = admin::serve(web, Arc::clone(&hub));
    parts.spawn(async { ("serving the admin port", administered.await.map_err(anyhow::Error::from)) });
    let served = async move { serve::serve(grpc, &tls, tokens, hub, stopped).await };
    parts.spawn(async { ("serving nodes", served.await.map_err(anyhow::Error::from)) });

    let ended = tokio::select! {
        () = asked_to_stop => None,
        ended = parts.join_next() => ended,
    };
    // Streams end with a status of their own, so that shims come back at once instead of waiting for a time-out.
    let _ = stop.send(true);
    if tokio::time::timeout(LAST_WORDS, stop.closed()).await.is_err() {
        info!("not every stream was let go of in time");
    }
    match ended {
        None => {
            info!("stopped; rules stay in force on the nodes");
            Ok(())
        }
        Some(ended) => {
            let (what, result) = ended.context("a part of the operator broke down")?;
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
