//! The map: sources -> engine -> hub -> sessions, status and the admin server.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::args::{Args, Kubernetes};
use crate::authority::{self, Authority};
use crate::batch::Batch;
use crate::explain::Desk;
use crate::hub::Hub;
use crate::identity::tokens::Tokens;
use crate::identity::{self, Identity, Reviewer};
use crate::leader::{self, Leadership};
use crate::metrics::Metrics;
use crate::serve::{self, Backend, Port, tls};
use crate::{admin, engine, manifests, review, status, watch as api};

/// Batches that may wait for the engine; a source that is faster waits itself.
const WAITING_BATCHES: usize = 64;

/// How long streams and the Lease may take to be let go of when the operator stops.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// The operator's parts. Each is a task of its own: reading many objects must not keep the admin port from answering.
type Parts = JoinSet<(&'static str, anyhow::Result<()>)>;

/// Runs the operator until `asked_to_stop` is done or something it cannot do without fails.
///
/// # Errors
/// A port cannot be bound, the certificates cannot be made or read, or a part of the operator ended.
pub async fn run(args: Args, asked_to_stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let hub = Arc::new(Hub::new(Arc::new(Metrics::default())));
    let (batches, waiting) = mpsc::channel::<Batch>(WAITING_BATCHES);
    let (stop, stopped) = watch::channel(false);
    let mut parts = Parts::new();
    // In all but the files' mode, whoever holds the Lease says who leads.
    let (term, given) = watch::channel(Leadership::Leading { term: args.manifests.term });

    let port = Port::new(args.listen);
    let bound = port.bound.subscribe();
    let (backend, leadership) = match &args.manifests.directory {
        Some(directory) => {
            let backend = from_files(&args, Arc::clone(&hub), &mut parts)?;
            let source = manifests::watch(directory, batches)?;
            parts.spawn(async { ("watching manifests", source.await.map_err(anyhow::Error::from)) });
            (backend, given)
        }
        None => from_api(&args, Arc::clone(&hub), &mut parts, batches, stopped.clone()).await?,
    };
    let web = TcpListener::bind(args.admin).await.with_context(|| format!("listening on {}", args.admin))?;
    let admin = web.local_addr()?;
    info!(%admin, "listening");
    let (desk, inquiries) = Desk::new();
    let (taken_in, looked_at) = mpsc::unbounded_channel();
    let compiled = engine::run(waiting, inquiries, Arc::clone(&hub), taken_in);
    let administered = admin::serve(web, Arc::clone(&hub), desk);
    parts.spawn(async { ("compiling", compiled.map(Ok).await) });
    let reviewed = review::run(looked_at, Arc::clone(&hub), review::Pace::default());
    parts.spawn(async { ("reviewing policies", reviewed.map(Ok).await) });
    parts.spawn(async { ("serving the admin port", administered.await.map_err(anyhow::Error::from)) });
    parts.spawn(follow(leadership.clone(), hub).map(|()| ("following the Lease", Ok(()))));
    let served = serve::run(port, backend, leadership, stopped);
    parts.spawn(async { ("serving nodes", served.await.map_err(anyhow::Error::from)) });
    if let Some(path) = args.ready_file {
        let is_alone = args.manifests.directory.is_some();
        parts.spawn(async move { ("announcing", announce(path, admin, bound, is_alone).await) });
    }

    let ended = tokio::select! {
        () = asked_to_stop => None,
        ended = parts.join_next() => ended,
    };
    // Streams end with a status of their own, so that shims come back at once instead of waiting for a time-out; the
    // Lease is given up, so that another operator need not wait either.
    let _ = stop.send(true);
    if tokio::time::timeout(LAST_WORDS, stop.closed()).await.is_err() {
        warn!("not everything was let go of in time");
    }
    drop(term);
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

/// Who may connect where objects come from files.
fn from_files(args: &Args, hub: Arc<Hub>, parts: &mut Parts) -> anyhow::Result<Backend> {
    let file = args.manifests.tokens.as_ref().context("--manifests needs --tokens")?;
    let tls = tls::Material::prepare(args)?.serving().context("the serving certificate cannot be used")?;
    let tokens = Tokens::load(file)?;
    let followed = tokens.follow()?;
    parts.spawn(async { match followed.await {} });
    Ok(Backend { tls, identity: Identity::Static(tokens), hub })
}

/// Objects from the Kubernetes API, with who may connect and who leads.
async fn from_api(
    args: &Args,
    hub: Arc<Hub>,
    parts: &mut Parts,
    batches: mpsc::Sender<Batch>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<(Backend, watch::Receiver<Leadership>)> {
    let given = &args.kubernetes;
    let client = client(given).await?;
    let name = leader::unique(&given.identity.clone().unwrap_or_else(hostname));
    let metrics = hub.metrics();
    let (counted, reviews, kept, meters) =
        <(leader::Metrics, identity::Metrics, authority::Metrics, status::Meters)>::default();
    metrics.register(|registry| {
        counted.register(registry);
        reviews.register(registry);
        kept.register(registry);
        meters.register(registry);
    });

    let settings = api::Settings {
        page_size: given.page_size,
        crd_grace: Duration::from_secs(given.crd_grace),
        ..api::Settings::default()
    };
    let source = api::run(client.clone(), settings, Arc::clone(&hub), batches);
    parts.spawn(async { ("watching the Kubernetes API", source.await.map_err(anyhow::Error::from)) });

    let settings = leader::Settings {
        namespace: given.namespace.clone(),
        lease: given.lease_name.clone(),
        identity: name.clone(),
        timing: leader::Timing::default(),
    };
    let (leadership, election) = leader::run(&client, settings, counted, stopped.clone());
    parts.spawn(run_for_office(Arc::clone(&hub), stopped, election));

    let tls = if args.tls_cert.is_some() {
        tls::Material::prepare(args)?.serving().context("the serving certificate cannot be used")?
    } else {
        let settings = authority::Settings {
            namespace: given.namespace.clone(),
            names: args.tls_san.clone(),
            timing: authority::Timing::default(),
        };
        let authority = Authority::new(&client, settings, kept)?;
        let serving = authority.serving();
        parts.spawn(authority.keep(leadership.clone()).map(|()| ("keeping the authority", Ok(()))));
        serving
    };
    let settings = identity::Settings {
        audience: given.token_audience.clone(),
        namespace: given.namespace.clone(),
        service_account: given.node_service_account.clone(),
    };
    let identity = Identity::Reviewed(Reviewer::new(client.clone(), settings, reviews));
    let written = status::run(client, Arc::clone(&hub), status::Options::of(&name), meters);
    parts.spawn(async { match written.await {} });
    Ok((Backend { tls, identity, hub }, leadership))
}

async fn client(given: &Kubernetes) -> anyhow::Result<Client> {
    let mut config = match &given.kubeconfig {
        Some(path) => {
            let contents = Kubeconfig::read_from(path)
                .with_context(|| format!("reading --kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(contents, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("using --kubeconfig {}", path.display()))?
        }
        None => Config::infer().await.context(
            "finding the Kubernetes API: give --kubeconfig, run as a pod, or give --manifests and --tokens to do without",
        )?,
    };
    // Each part tries again in its own way, with what is true by then.
    config.default_retry = false;
    info!(server = %config.cluster_url, namespace = given.namespace, "using the Kubernetes API");
    Client::try_from(config).context("setting up the client of the Kubernetes API")
}

/// Takes part in the election once this operator could do what a leader does: one that knows nothing of the cluster yet
/// leaves it to the others.
async fn run_for_office(
    hub: Arc<Hub>,
    mut stopped: watch::Receiver<bool>,
    election: impl Future<Output = ()>,
) -> (&'static str, anyhow::Result<()>) {
    let mut changes = hub.changes();
    while !hub.is_ready() {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            _ = changes.changed() => {}
        }
    }
    drop(stopped);
    election.await;
    ("taking part in the election", Ok(()))
}

/// Tells the hub of which term updates and status are.
async fn follow(mut leadership: watch::Receiver<Leadership>, hub: Arc<Hub>) {
    loop {
        let term = leadership.borrow_and_update().term();
        hub.lead(term);
        if leadership.changed().await.is_err() {
            // Nobody tells any more, because the operator stops.
            return std::future::pending().await;
        }
    }
}

/// Keeps a file that says where this operator listens. One that is alone waits for both ports first.
async fn announce(
    path: PathBuf,
    admin: SocketAddr,
    mut bound: watch::Receiver<Option<SocketAddr>>,
    is_alone: bool,
) -> anyhow::Result<()> {
    if is_alone && bound.wait_for(Option::is_some).await.is_err() {
        return std::future::pending().await;
    }
    loop {
        let grpc = *bound.borrow_and_update();
        write(&path, &serde_json::json!({"grpc": grpc, "admin": admin}).to_string())
            .with_context(|| format!("writing {}", path.display()))?;
        if bound.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, text)?;
    std::fs::rename(&part, path)
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "palisade-operator".to_owned() } else { name.trim().to_owned() }
}
