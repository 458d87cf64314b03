//! What the daemon tells about itself over HTTP: liveness, readiness and metrics. Owns the figures; decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use palisade_view::NodeView;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::collect::Reason;

/// The daemon's figures. Clones share them.
#[derive(Clone, Debug)]
pub struct Health(Arc<Figures>);

#[derive(Debug)]
struct Figures {
    registry: Registry,
    in_force: Gauge<i64, AtomicI64>,
    linked: Gauge<i64, AtomicI64>,
    needs_missing: Gauge<i64, AtomicI64>,
    subjects: Gauge<i64, AtomicI64>,
    members: Gauge<i64, AtomicI64>,
    profiles: Gauge<i64, AtomicI64>,
    apply: Histogram,
    refused: Family<RefusedLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

impl Default for Health {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("palisade_node");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::<i64, AtomicI64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let in_force = gauge("policies_in_force", "1 where the held policies are known to be in force");
        let linked = gauge("operator_connected", "1 while the stream to the operator is open");
        let needs_missing = gauge("needs_missing", "Required needs that the probe did not find at start");
        let subjects = gauge("subject_addresses", "Local addresses in force as subjects of policy");
        let members = gauge("peer_addresses", "Addresses in force as members of an identity");
        let profiles = gauge("profiles", "Profiles in force");
        // 0.5 ms to 16 s.
        let apply = Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        registry.register_with_unit(
            "apply",
            "From a verified update to the kernel's commit",
            Unit::Seconds,
            apply.clone(),
        );
        let refused = Family::<RefusedLabels, Counter>::default();
        registry.register("updates_refused", "Updates answered with a Nack", refused.clone());
        Self(Arc::new(Figures {
            registry,
            in_force,
            linked,
            needs_missing,
            subjects,
            members,
            profiles,
            apply,
            refused,
        }))
    }
}

impl Health {
    /// The view known to be in force, or that none is.
    pub fn in_force(&self, view: Option<&NodeView>) {
        self.0.in_force.set(i64::from(view.is_some()));
        if let Some(view) = view {
            let count = |gauge: &Gauge<i64, AtomicI64>, n: usize| {
                gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
            };
            count(&self.0.subjects, view.locals().len());
            count(&self.0.members, view.members().len());
            count(&self.0.profiles, view.profiles().len());
        }
    }

    /// Whether policies are known to be in force.
    pub fn is_ready(&self) -> bool {
        self.0.in_force.get() == 1
    }

    /// Whether the stream to the operator is open.
    pub fn linked(&self, linked: bool) {
        self.0.linked.set(i64::from(linked));
    }

    /// How many required needs the probe did not find.
    pub fn needs_missing(&self, count: usize) {
        self.0.needs_missing.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The kernel took an update.
    pub fn applied(&self, duration: Duration) {
        self.0.apply.observe(duration.as_secs_f64());
    }

    /// An update was refused.
    pub fn refused(&self, reason: Reason) {
        self.0.refused.get_or_create(&RefusedLabels { reason: reason.as_str_name() }).inc();
    }

    /// The metrics as `OpenMetrics` text.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry).ok();
        text
    }
}

/// Serves /healthz, /readyz and /metrics.
///
/// # Errors
/// The address cannot be bound, or serving ends.
pub async fn serve(address: SocketAddr, health: Health) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "admin endpoints");
    axum::serve(listener, routes(health)).await
}

fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    if health.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no policies are known to be in force yet\n")
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told() {
        let health = Health::default();
        assert!(!health.is_ready());
        health.in_force(Some(&NodeView::default()));
        health.refused(Reason::StaleTerm);
        health.applied(Duration::from_millis(3));
        assert!(health.is_ready());
        let text = health.metrics();
        for line in [
            "palisade_node_policies_in_force 1",
            "palisade_node_apply_seconds_count 1",
            "palisade_node_updates_refused_total{reason=\"REASON_STALE_TERM\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
