//! A place of its own for each test in a control plane that all share, and what several tests need.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, WatchEvent};
use kube::core::Status;
use kube::{Api, Client};
use palisade_crds::{AdminNetworkPolicy, ClusterNetworkPolicy};
use palisade_e2e::control_plane::ControlPlane;
use palisade_e2e::kubectl::Kubectl;
use palisade_e2e::traffic::scaled;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long an answer, or an event that has to come, may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// On every object of these tests, so that all can be found again: which run they belong to.
pub(crate) const RUN: &str = "e2e.palisade.example/run";

/// The API group and version of most policies here.
pub(crate) const VERSION: &str = "policy.networking.k8s.io/v1alpha1";

/// A namespace, and names for what belongs to none.
pub(crate) struct Room {
    pub(crate) plane: std::sync::Arc<ControlPlane>,
    pub(crate) client: Client,
    /// The namespace, and what names outside of it begin with.
    pub(crate) name: String,
    /// The label of everything in it.
    pub(crate) labels: BTreeMap<String, String>,
    home: PathBuf,
}

impl Room {
    /// Makes the namespace.
    pub(crate) async fn new(plane: std::sync::Arc<ControlPlane>, name: &str, home: PathBuf) -> Result<Self> {
        let client = plane.client().await?;
        let labels: BTreeMap<String, String> = [(RUN.to_owned(), name.to_owned())].into();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        namespaces.create(&PostParams::default(), &namespace).await.context("making a namespace")?;
        Ok(Self { plane, client, name: name.to_owned(), labels, home })
    }

    /// Takes away what a cluster that others use must not keep.
    pub(crate) async fn leave(&self) -> Result<()> {
        if !self.plane.is_shared() {
            return Ok(());
        }
        let (all, ours) = (DeleteParams::default(), ListParams::default().labels(&self.selector()));
        self.policies().delete_collection(&all, &ours).await?;
        self.cluster_policies().delete_collection(&all, &ours).await?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.name, &all).await?;
        Ok(())
    }

    /// Selects everything in the room.
    pub(crate) fn selector(&self) -> String {
        format!("{RUN}={}", self.name)
    }

    pub(crate) fn policies(&self) -> Api<AdminNetworkPolicy> {
        Api::all(self.client.clone())
    }

    pub(crate) fn cluster_policies(&self) -> Api<ClusterNetworkPolicy> {
        Api::all(self.client.clone())
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// A `ConfigMap` with one entry.
    pub(crate) fn config_map(&self, name: &str, value: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(self.labels.clone()),
                ..ObjectMeta::default()
            },
            data: Some([("key".to_owned(), value.to_owned())].into()),
            ..ConfigMap::default()
        }
    }

    /// The name of an object without namespace.
    pub(crate) fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// An AdminNetworkPolicy about no pod.
    pub(crate) fn policy(&self, name: &str, priority: i32) -> Value {
        json!({
            "apiVersion": VERSION, "kind": "AdminNetworkPolicy",
            "metadata": {"name": self.own(name), "labels": self.labels},
            "spec": {
                "priority": priority,
                "subject": {"namespaces": {"matchLabels": {RUN: "none"}}},
                "ingress": [{"name": "first", "action": "Allow", "from": [{"namespaces": {}}]}],
            },
        })
    }

    /// Creates an AdminNetworkPolicy about no pod.
    pub(crate) async fn create_policy(&self, name: &str, priority: i32) -> Result<AdminNetworkPolicy> {
        let policy = serde_json::from_value(self.policy(name, priority))?;
        Ok(self.policies().create(&PostParams::default(), &policy).await?)
    }

    /// A person's kubectl.
    pub(crate) fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::find(self.plane.kubeconfig(), &self.home)
    }
}

/// The refusal that a request has to meet with.
pub(crate) fn refused<T>(answer: kube::Result<T>, code: u16, reason: &str) -> Result<Status> {
    match answer {
        Err(kube::Error::Api(status)) => {
            ensure!(
                status.code == code && status.reason == reason,
                "refused with {} {} instead of {code} {reason}: {}",
                status.code,
                status.reason,
                status.message
            );
            Ok(*status)
        }
        Err(error) => bail!("failed instead of being refused with {code} {reason}: {error}"),
        Ok(_) => bail!("granted instead of being refused with {code} {reason}"),
    }
}

/// The cause that a refusal gives for a field.
pub(crate) fn cause<'a>(status: &'a Status, field: &str) -> Result<&'a str> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let found = causes.clone().find(|cause| cause.field == field);
    let found = found.with_context(|| {
        let named: Vec<_> = causes.map(|cause| cause.field.as_str()).collect();
        format!("no cause names {field}, but {named:?}: {}", status.message)
    })?;
    Ok(&found.message)
}

/// What an object's metadata has to have.
pub(crate) trait Set<T> {
    fn set(&self, what: &str) -> Result<T>;
}

impl<T: Clone> Set<T> for Option<T> {
    fn set(&self, what: &str) -> Result<T> {
        self.clone().with_context(|| format!("there is no {what}"))
    }
}

/// The resource version of an object or list, as the number that it is with every API server since 1.35's promise.
pub(crate) fn version(version: Option<&String>) -> Result<u64> {
    let text = version.context("there is no resourceVersion")?;
    text.parse().with_context(|| format!("resourceVersion {text}"))
}

/// The next event of a watch.
pub(crate) async fn next<K>(
    events: &mut (impl Stream<Item = kube::Result<WatchEvent<K>>> + Unpin),
) -> Result<Option<WatchEvent<K>>> {
    Ok(timeout(scaled(LIMIT), events.try_next()).await.context("the watch says nothing")??)
}

/// Everything that a watch says until it ends.
pub(crate) async fn rest<K>(
    events: impl Stream<Item = kube::Result<WatchEvent<K>>>,
) -> Result<Vec<WatchEvent<K>>> {
    let events: Vec<_> = timeout(scaled(LIMIT), events.collect()).await.context("the watch does not end")?;
    Ok(events.into_iter().collect::<kube::Result<_>>()?)
}
