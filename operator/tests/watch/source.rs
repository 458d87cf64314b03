//! The source under test, and what came of its batches.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use palisade_compiler::model::{Cluster, Event, Kind, ObjectRef};
use palisade_operator::batch::{Batch, Finding, PolicyReport};
use palisade_operator::hub::Hub;
use palisade_operator::metrics::Metrics;
use palisade_operator::watch::{self, Settings, SourceError};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::objects::{ANP, create, unique};

/// The longest that anything may take on a machine that is busy.
pub const LIMIT: Duration = Duration::from_mins(1);

/// The source, and what came of its batches.
pub struct Source {
    pub hub: Arc<Hub>,
    pub batches: mpsc::Receiver<Batch>,
    pub task: JoinHandle<Result<(), SourceError>>,
    pub cluster: Cluster,
    pub findings: BTreeMap<ObjectRef, Vec<Finding>>,
    pub reports: BTreeMap<ObjectRef, PolicyReport>,
    pub seen: BTreeMap<&'static str, u64>,
    pub taken: Vec<Batch>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    pub fn start(client: &Client, settings: Settings) -> Self {
        let hub = Arc::new(Hub::new(Arc::new(Metrics::default())));
        let (sender, batches) = mpsc::channel(64);
        let task = tokio::spawn(watch::run(client.clone(), settings, Arc::clone(&hub), sender));
        Self {
            hub,
            batches,
            task,
            cluster: Cluster::default(),
            findings: BTreeMap::new(),
            reports: BTreeMap::new(),
            seen: BTreeMap::new(),
            taken: Vec::new(),
        }
    }

    /// One that has read everything once.
    pub async fn ready(client: &Client, settings: Settings) -> Self {
        let mut source = Self::start(client, settings);
        source.until("the first batch", |source| !source.taken.is_empty()).await;
        source
    }

    pub fn take(&mut self, batch: Batch) {
        self.taken.push(batch.clone());
        for event in batch.events {
            self.cluster.apply(event);
        }
        for (object, found) in batch.findings {
            if found.is_empty() {
                self.findings.remove(&object);
            } else {
                self.findings.insert(object, found);
            }
        }
        for (object, report) in batch.policies {
            match report {
                Some(report) => drop(self.reports.insert(object, report)),
                None => drop(self.reports.remove(&object)),
            }
        }
        self.seen.extend(batch.seen);
    }

    pub async fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let mut changed = self.hub.changes();
        let deadline = tokio::time::Instant::now() + LIMIT;
        while !is(self) {
            tokio::select! {
                batch = self.batches.recv() => self.take(batch.expect("the source goes on")),
                changed = changed.changed() => changed.expect("the hub is there"),
                // What is waited for may be the server's own.
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                () = tokio::time::sleep_until(deadline) => {
                    let (taken, policies) = (self.taken.len(), self.cluster.admin_policies.keys());
                    panic!(
                        "waited in vain for {what}: {:#}\n{taken} batches, {:?}, {:?}",
                        self.states(),
                        policies.collect::<Vec<_>>(),
                        self.cluster.pods.keys()
                    );
                }
            }
        }
    }

    /// Takes what comes until a change made now has come.
    pub async fn settle(&mut self, client: &Client) {
        let name = unique("settled");
        create(client, Kind::Namespace, &json!({"metadata": {"name": name}})).await;
        self.until("a namespace", |source| source.cluster.namespaces.contains_key(&name)).await;
    }

    /// Asserts what a scrape says.
    pub fn is_counted(&self, expected: &[(&str, usize)]) {
        let scrape = self.hub.metrics().render([]);
        for (metric, value) in expected {
            let line = format!("{metric} {value}");
            assert!(scrape.lines().any(|found| found == line), "{line} is not in\n{scrape}");
        }
    }

    pub fn states(&self) -> Value {
        serde_json::to_value(self.hub.state()).unwrap()["sources"].take()
    }

    pub fn state(&self, kind: Kind) -> String {
        self.states()[kind.name()]["state"].as_str().unwrap_or_default().to_owned()
    }

    pub fn has(&self, policy: &str) -> bool {
        self.cluster.admin_policies.contains_key(&(ANP, policy.to_owned()))
    }

    /// Policies that any batch so far has removed.
    pub fn removed(&self) -> Vec<String> {
        let events = self.taken.iter().flat_map(|batch| &batch.events);
        let removed = events.filter_map(|event| match event {
            Event::Delete(object) if object.kind == ANP => Some(object.name.clone()),
            _ => None,
        });
        removed.collect()
    }
}
