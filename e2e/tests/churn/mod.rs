//! Changes of policies, pods and namespaces all the time, of which none concerns the traffic that is watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use palisade_e2e::api::{Mark, Objects};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// So many of a kind are there at most.
const WIDTH: u64 = 20;

/// The pause between two changes.
const PAUSE: Duration = Duration::from_millis(15);

/// Goes on until stopped.
pub(crate) struct Churn {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Result<Vec<Mark>>>,
}

impl Churn {
    /// Starts to change things in the demo's cluster.
    pub(crate) async fn start(objects: &Objects) -> Result<Self> {
        objects.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "churn"}})).await?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, objects) = (Arc::clone(&is_over), objects.clone());
        let task = tokio::spawn(async move {
            let mut marks = Vec::new();
            for round in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                marks.extend(change(&objects, round).await.with_context(|| format!("change {round}"))?);
                sleep(PAUSE).await;
            }
            Ok(marks)
        });
        Ok(Self { is_over, task })
    }

    /// Stops; gives what was changed.
    pub(crate) async fn stop(self) -> Result<Vec<Mark>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn change(objects: &Objects, round: u64) -> Result<Option<Mark>> {
    let which = round / 8;
    Ok(match round % 8 {
        0 => Some(objects.put(&policy(which)).await?),
        1 => objects.delete(&policy(which + WIDTH / 2)).await?,
        2 | 3 => Some(objects.put(&pod(round)).await?),
        4 => objects.delete(&pod(round + WIDTH / 2 - 2)).await?,
        5 => Some(objects.put(&cluster_policy(which)).await?),
        // The very pods and namespaces whose traffic is watched.
        6 => Some(objects.merge(&watched_pod(), &labels(round)).await?),
        _ => Some(objects.merge(&watched_namespace(), &labels(round)).await?),
    })
}

fn labels(round: u64) -> Value {
    json!({"metadata": {"labels": {"churn": format!("c{}", round % WIDTH)}}})
}

fn watched_pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web"}})
}

fn watched_namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "guest"}})
}

/// About the watched pods, and about other ports.
fn policy(which: u64) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
        "metadata": {"name": format!("churn-{}", which % WIDTH)},
        "spec": {
            "priority": 100 + which % 500,
            "subject": {"namespaces": {"matchLabels": {"tenant": "shop"}}},
            "ingress": [{
                "action": if which.is_multiple_of(2) { "Allow" } else { "Deny" },
                "from": [{"namespaces": {"matchLabels": {"churn": format!("c{}", which % WIDTH)}}}],
                "ports": [{"portNumber": {"protocol": "TCP", "port": 20_000 + which % 1000}}],
            }],
        },
    })
}

fn cluster_policy(which: u64) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": format!("churn-{}", which % WIDTH)},
        "spec": {
            "tier": "Admin",
            "priority": 100 + which % 500,
            "subject": {"pods": {
                "namespaceSelector": {},
                "podSelector": {"matchLabels": {"churn": format!("c{}", which % WIDTH)}},
            }},
            "egress": [{
                "action": "Accept",
                "to": [{"namespaces": {}}],
                "protocols": [{"tcp": {"destinationPort": {"number": 21_000 + which % 1000}}}],
            }],
        },
    })
}

/// A pod that nobody runs, on addresses that nobody else has.
fn pod(round: u64) -> Value {
    let number = round % WIDTH;
    let (node, address) = (1 + number % 2, 100 + number);
    let address = format!("10.244.{node}.{address}");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "churn", "name": format!("pod-{number}"),
            "labels": {"app": "web", "churn": format!("c{number}")},
        },
        "spec": {"nodeName": format!("node-{node}"), "containers": [{"name": "main", "image": "main"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}
