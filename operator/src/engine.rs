//! The one task that owns the compiler's engine. Batches in, epochs and views out; questions are answered in between.

use std::sync::Arc;
use std::time::Instant;

use palisade_compiler::Engine;
use palisade_compiler::model::Cluster;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::batch::Batch;
use crate::explain::Inquiry;
use crate::hub::Hub;
use crate::review::TakenIn;

/// Takes batches until the sources are gone, and answers questions in between. Hands on what it has taken in to the
/// review, which it never waits for.
pub async fn run(
    mut batches: mpsc::Receiver<Batch>,
    mut inquiries: mpsc::Receiver<Inquiry>,
    hub: Arc<Hub>,
    taken_in: mpsc::UnboundedSender<TakenIn>,
) {
    let mut engine = Engine::default();
    loop {
        // By turns, at random: neither waits for more than a few of the other.
        let batch = tokio::select! {
            batch = batches.recv() => batch,
            Some(inquiry) = inquiries.recv() => {
                engine = answer(engine, inquiry, &hub).await;
                continue;
            }
        };
        let Some(mut batch) = batch else { return };
        // What has come in meanwhile is compiled with it.
        while let Ok(next) = batches.try_recv() {
            batch.append(next);
        }
        let is_changed = !batch.events.is_empty();
        let compile = tokio::task::spawn_blocking(move || {
            let events = batch.events.clone();
            let start = Instant::now();
            let changes = engine.apply(std::mem::take(&mut batch.events));
            (engine, batch, changes, events, start.elapsed())
        });
        let Ok((returned, batch, changes, events, took)) = compile.await else {
            // Only a panic in the compiler ends here; its state is lost, so the process must not go on.
            return;
        };
        engine = returned;
        let objects = counts(engine.cluster());
        info!(
            nodes = changes.nodes.len(),
            milliseconds = took.as_secs_f64() * 1000.0,
            "compiled a batch of changes"
        );
        let epoch = hub.publish(batch, &changes, engine.views(), &objects, took);
        // Where nobody reviews, nobody is told.
        let _ = taken_in.send(TakenIn { events, epoch });
        if hub.wants_spans(is_changed) {
            // After the nodes have been told: only status waits for it.
            let span = tokio::task::spawn_blocking(move || {
                let spans = engine.spans();
                (engine, spans)
            });
            let Ok((returned, spans)) = span.await else { return };
            engine = returned;
            hub.spanned(spans);
        }
    }
}

/// Answers a question. If that breaks down, so does only the answer: the engine is not changed by it.
async fn answer(engine: Engine, inquiry: Inquiry, hub: &Arc<Hub>) -> Engine {
    let (engine, hub) = (Arc::new(engine), Arc::clone(hub));
    let asked = Arc::clone(&engine);
    let answered = tokio::task::spawn_blocking(move || inquiry.answer(&asked, |nodes| hub.standing(&nodes)));
    if let Err(error) = answered.await {
        warn!(%error, "a question about a flow could not be answered");
    }
    // The task has ended, and its share with it: nothing is cloned.
    Arc::unwrap_or_clone(engine)
}

fn counts(cluster: &Cluster) -> Vec<(&'static str, usize)> {
    let admin = |name: &str| cluster.admin_policies.keys().filter(|(kind, _)| kind.name() == name).count();
    let mut counts = vec![
        ("Namespace", cluster.namespaces.len()),
        ("NetworkPolicy", cluster.network_policies.len()),
        ("Node", cluster.nodes.len()),
        ("Pod", cluster.pods.len()),
    ];
    for kind in ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"] {
        counts.push((kind, admin(kind)));
    }
    counts.sort_unstable();
    counts
}
