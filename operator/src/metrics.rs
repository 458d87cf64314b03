//! What is counted. Names follow `OpenMetrics`: base units, `_total` for counters (added by the encoder).

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use palisade_compiler::Severity;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::state::{NodeState, SourceState};

type Label = [(&'static str, &'static str); 1];

/// Every metric of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    epoch: Gauge<i64>,
    objects: Family<Label, Gauge>,
    diagnostics: Family<Label, Gauge>,
    manifest_errors: Gauge,
    sources: Family<[(&'static str, &'static str); 2], Gauge>,
    policies_dropped: Counter,
    compile: Histogram,
    review: Histogram,
    unreviewed: Gauge,
    nodes: Family<Label, Gauge>,
    /// Updates sent, by kind: `snapshot`, `delta` or `confirm` (nothing to change).
    pub updates: Family<Label, Counter>,
    /// Payload bytes of the updates sent.
    pub update_bytes: Counter<u64, AtomicU64>,
    /// Updates refused by a node, by reason.
    pub nacks: Family<Label, Counter>,
    /// Streams refused for a missing or wrong token.
    pub auth_failures: Counter,
    /// TLS handshakes that failed or were not finished in time.
    pub handshake_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            epoch: Gauge::default(),
            objects: Family::default(),
            diagnostics: Family::default(),
            manifest_errors: Gauge::default(),
            sources: Family::default(),
            policies_dropped: Counter::default(),
            compile: Histogram::new(exponential_buckets(0.0001, 2.0, 18)),
            review: Histogram::new(exponential_buckets(0.0001, 2.0, 18)),
            unreviewed: Gauge::default(),
            nodes: Family::default(),
            updates: Family::default(),
            update_bytes: Counter::default(),
            nacks: Family::default(),
            auth_failures: Counter::default(),
            handshake_failures: Counter::default(),
        };
        let mut all = Registry::with_prefix("palisade");
        all.register("operator_epoch", "Batches of changes taken in", metrics.epoch.clone());
        all.register("objects", "Objects in force, by kind", metrics.objects.clone());
        all.register("diagnostics", "Findings about objects, by severity", metrics.diagnostics.clone());
        all.register("manifest_errors", "Documents that cannot be read", metrics.manifest_errors.clone());
        let help = "1 where the watch of a kind of the Kubernetes API is in a state, 0 in the others";
        all.register("sources", help, metrics.sources.clone());
        let help = "Policies dropped because the definition of their kind was deleted";
        all.register("policies_dropped", help, metrics.policies_dropped.clone());
        let help = "Time to compile a batch of changes";
        all.register_with_unit("compile_duration", help, Unit::Seconds, metrics.compile.clone());
        let help = "Time to review the policies";
        all.register_with_unit("review_duration", help, Unit::Seconds, metrics.review.clone());
        let help = "Policies left out of the last review for being too much work";
        all.register("unreviewed_policies", help, metrics.unreviewed.clone());
        all.register("nodes", "Nodes, by state", metrics.nodes.clone());
        all.register("updates", "Updates sent to nodes, by kind", metrics.updates.clone());
        all.register("update_bytes", "Payload bytes of updates sent to nodes", metrics.update_bytes.clone());
        all.register("nacks", "Updates refused by nodes, by reason", metrics.nacks.clone());
        all.register("auth_failures", "Streams refused for their token", metrics.auth_failures.clone());
        let help = "TLS handshakes that failed";
        all.register("handshake_failures", help, metrics.handshake_failures.clone());
        Self { registry: Mutex::new(all), ..metrics }
    }
}

impl Metrics {
    /// Records a published batch.
    pub fn published(
        &self,
        epoch: u64,
        objects: &[(&'static str, usize)],
        manifest_errors: usize,
        took: Duration,
    ) {
        self.epoch.set(epoch.cast_signed());
        for &(kind, count) in objects {
            self.objects.get_or_create(&[("kind", kind)]).set(to_gauge(count));
        }
        self.manifest_errors.set(to_gauge(manifest_errors));
        self.compile.observe(took.as_secs_f64());
    }

    /// Records how many findings there are.
    pub fn diagnosed(&self, severities: &[(Severity, usize)]) {
        for &(severity, count) in severities {
            let severity = match severity {
                Severity::Advice => "advice",
                Severity::Warning => "warning",
                Severity::FailClosed => "fail_closed",
                Severity::Error => "error",
            };
            self.diagnostics.get_or_create(&[("severity", severity)]).set(to_gauge(count));
        }
    }

    /// Records a review that left out so many policies.
    pub fn reviewed(&self, took: Duration, unreviewed: usize) {
        self.review.observe(took.as_secs_f64());
        self.unreviewed.set(to_gauge(unreviewed));
    }

    /// Records where the watch of a kind stands.
    pub fn source_is(&self, kind: &'static str, state: &SourceState) {
        for label in SourceState::LABELS {
            let is = label == state.label();
            self.sources.get_or_create(&[("kind", kind), ("state", label)]).set(is.into());
        }
    }

    /// Records policies that went with the definition of their kind.
    pub fn dropped(&self, policies: usize) {
        self.policies_dropped.inc_by(u64::try_from(policies).unwrap_or(u64::MAX));
    }

    /// Makes the metrics of another part a part of every scrape.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        add(&mut registry);
    }

    /// The text of a scrape.
    pub fn render(&self, nodes: impl IntoIterator<Item = (NodeState, usize)>) -> String {
        for (state, count) in nodes {
            let state = match state {
                NodeState::NeverConnected => "never_connected",
                NodeState::Disconnected => "disconnected",
                NodeState::Updating => "updating",
                NodeState::InSync => "in_sync",
                NodeState::Parked => "parked",
            };
            self.nodes.get_or_create(&[("state", state)]).set(to_gauge(count));
        }
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn to_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
