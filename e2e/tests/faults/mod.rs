//! Everything that the development API server can be told to do wrong, and changes to make meanwhile.

use std::time::Duration;

use anyhow::{Context, Result};
use palisade_apiserver::faults::{Effect, Faults, Target, When};
use palisade_e2e::api::{Mark, Objects};
use serde_json::{Value, json};

/// A fault, and what is changed while it lasts.
pub(crate) struct Trouble {
    pub(crate) what: &'static str,
    pub(crate) begin: fn(&Faults),
    /// Whether nothing is heard of the change before the fault is over.
    pub(crate) is_deaf: bool,
    pub(crate) change: Change,
}

/// A change.
pub(crate) enum Change {
    Put(Value),
    Merge(Value, Value),
    Delete(Value),
    /// The definition of a kind is deleted, and its objects with it; then all that is made anew.
    Lose(&'static str),
}

impl Change {
    /// Makes it.
    pub(crate) async fn make(&self, objects: &Objects) -> Result<Vec<Mark>> {
        Ok(match self {
            Self::Put(object) => vec![objects.put(object).await?],
            Self::Merge(object, patch) => vec![objects.merge(object, patch).await?],
            Self::Delete(object) => vec![objects.delete(object).await?.context("it was there")?],
            Self::Lose(_) => Vec::new(),
        })
    }
}

/// Every fault once.
pub(crate) fn troubles() -> Vec<Trouble> {
    let trouble = |what, begin, change| Trouble { what, begin, is_deaf: false, change };
    vec![
        trouble(
            "watches dropped in the middle of a line",
            |faults| faults.drop_watches(""),
            Change::Put(admin("extra", 40, "Deny")),
        ),
        Trouble {
            what: "watches that are silent",
            begin: |faults| faults.stall_watches(""),
            is_deaf: true,
            change: Change::Merge(admin("tenants-apart", 0, ""), json!({"spec": {"priority": 31}})),
        },
        trouble(
            "delays",
            |faults| faults.add(Target::default(), Effect::Delay { millis: 300 }, When::Always),
            Change::Put(pod()),
        ),
        trouble(
            "internal errors",
            |faults| faults.add(Target::default(), fail(500, None), When::Share(0.5)),
            Change::Merge(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}),
                json!({"metadata": {"labels": {"purpose": "watching"}}}),
            ),
        ),
        trouble(
            "too many requests",
            |faults| faults.add(Target::default(), fail(429, Some(1)), When::Share(0.5)),
            Change::Delete(network("db", "sql")),
        ),
        trouble(
            "unavailable",
            |faults| faults.add(Target::default(), fail(503, None), When::Next(20)),
            Change::Merge(admin("dns-for-all", 0, ""), json!({"spec": {"priority": 22}})),
        ),
        trouble(
            "conflicts",
            |faults| faults.add(Target::writes(), Effect::Conflict, When::Next(10)),
            Change::Put(cluster()),
        ),
        trouble(
            "connections that are reset",
            |faults| faults.add(Target::default(), Effect::Reset, When::Next(10)),
            Change::Merge(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "monitoring", "name": "scraper"}}),
                json!({"metadata": {"labels": {"app": "other"}}}),
            ),
        ),
        trouble(
            "answers that are lost",
            |faults| faults.add(Target::writes(), Effect::LoseAnswer, When::Next(10)),
            Change::Delete(pod()),
        ),
        trouble(
            "a history that is forgotten",
            |faults| {
                faults.compact();
                faults.drop_watches("");
            },
            Change::Put(admin("extra", 41, "Pass")),
        ),
        trouble(
            "connections that are refused",
            |faults| faults.refuse_connections(Duration::from_secs(2)),
            Change::Put(network("db", "sql")),
        ),
        trouble("a definition that vanishes", |_| {}, Change::Lose("AdminNetworkPolicy")),
    ]
}

fn fail(code: u16, retry_after: Option<u64>) -> Effect {
    Effect::Fail { code, retry_after }
}

fn admin(name: &str, priority: u16, action: &str) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "priority": priority,
            "subject": {"namespaces": {"matchLabels": {"tenant": "guest"}}},
            "egress": [{"action": action, "to": [{"namespaces": {"matchLabels": {"purpose": "watching"}}}]}],
        },
    })
}

fn cluster() -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "extra"},
        "spec": {
            "tier": "Admin",
            "priority": 50,
            "subject": {"namespaces": {"matchLabels": {"tenant": "guest"}}},
            "egress": [{"action": "Deny", "to": [{"networks": ["192.0.2.0/24"]}]}],
        },
    })
}

fn network(name: &str, port: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "podSelector": {"matchLabels": {"app": name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "api"}}}], "ports": [{"port": port}]}],
        },
    })
}

/// A pod that nobody runs.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "guest", "name": "extra", "labels": {"app": "guest"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "main"}]},
        "status": {"phase": "Running", "podIP": "10.244.1.99", "podIPs": [{"ip": "10.244.1.99"}]},
    })
}
