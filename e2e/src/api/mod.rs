//! Objects put into a Kubernetes API and taken out of it, each with what a reader has to have read to know of it.
//! Knows nothing of who serves the API nor of who reads it.

mod change;
mod name;
mod reading;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::traffic::scaled;
use name::Name;
use reading::gone;

/// Who writes, as the API server notes it.
const MANAGER: &str = "palisade-e2e";

/// How many requests are under way at once when many objects are written.
const PARALLEL: usize = 16;

/// How long a request that the API server fails to carry out is made again.
const PATIENCE: Duration = Duration::from_secs(20);

/// The kinds that policy is made of.
pub const KINDS: [(&str, &str); 7] = [
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("v1", "Pod"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"),
    ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy"),
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
];

/// The kinds of policies that have a status.
pub const ADMIN_KINDS: [(&str, &str); 3] = [KINDS[4], KINDS[5], KINDS[6]];

/// How far a reader of a kind must have read to know of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The kind.
    pub kind: String,
    /// The `metadata.resourceVersion` of the change.
    pub version: u64,
}

/// The furthest mark of each kind.
pub fn furthest(marks: &[Mark]) -> Vec<Mark> {
    let mut furthest: BTreeMap<&str, u64> = BTreeMap::new();
    for mark in marks {
        let version = furthest.entry(&mark.kind).or_default();
        *version = mark.version.max(*version);
    }
    furthest.into_iter().map(|(kind, version)| Mark { kind: kind.to_owned(), version }).collect()
}

/// The objects of a Kubernetes API.
#[derive(Clone)]
pub struct Objects {
    client: Client,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl Objects {
    /// What a client reaches.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn api(&self, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Makes an object what it says, status included, whether it is there or not.
    pub async fn put(&self, object: &Value) -> Result<Mark> {
        let name = Name::of(object)?;
        let api = self.api(name.version, name.kind, name.namespace);
        let parameters = PatchParams::apply(MANAGER).force();
        let mut spec = object.clone();
        let status = spec.as_object_mut().and_then(|fields| fields.remove("status"));
        let patch = Patch::Apply(&spec);
        let mut written = patiently(|| api.patch(name.own, &parameters, &patch))
            .await
            .with_context(|| format!("applying {name}"))?;
        if let Some(status) = status {
            let patch = Patch::Merge(json!({"status": status}));
            let parameters = PatchParams::default();
            written = patiently(|| api.patch_status(name.own, &parameters, &patch))
                .await
                .with_context(|| format!("the status of {name}"))?;
        }
        name.mark(&written)
    }

    /// Makes an object that is not there yet, in as few requests as that takes.
    pub async fn create(&self, object: &Value) -> Result<Mark> {
        let name = Name::of(object)?;
        let api = self.api(name.version, name.kind, name.namespace);
        let new: DynamicObject = serde_json::from_value(object.clone()).with_context(|| name.to_string())?;
        let mut written = api
            .create(&PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }, &new)
            .await
            .with_context(|| format!("creating {name}"))?;
        if let Some(status) = object.get("status") {
            let patch = Patch::Merge(json!({"status": status}));
            written = api
                .patch_status(name.own, &PatchParams::default(), &patch)
                .await
                .with_context(|| format!("the status of {name}"))?;
        }
        name.mark(&written)
    }

    /// Makes many objects, several at a time.
    pub async fn create_all(&self, objects: &[Value]) -> Result<Vec<Mark>> {
        stream::iter(objects).map(|object| self.create(object)).buffer_unordered(PARALLEL).try_collect().await
    }

    /// Replaces an object that is there by what changes it, whoever wrote it before.
    pub async fn replace(&self, object: &Value, change: impl Fn(&mut Value)) -> Result<Mark> {
        let name = Name::of(object)?;
        let api = self.api(name.version, name.kind, name.namespace);
        let mut found =
            serde_json::to_value(api.get(name.own).await.with_context(|| format!("reading {name}"))?)?;
        change(&mut found);
        let changed: DynamicObject = serde_json::from_value(found)?;
        let written = api
            .replace(name.own, &PostParams::default(), &changed)
            .await
            .with_context(|| format!("replacing {name}"))?;
        name.mark(&written)
    }

    /// Merges a patch into an object.
    pub async fn merge(&self, object: &Value, patch: &Value) -> Result<Mark> {
        let name = Name::of(object)?;
        let api = self.api(name.version, name.kind, name.namespace);
        let patch = Patch::Merge(patch);
        let parameters = PatchParams::default();
        let written = patiently(|| api.patch(name.own, &parameters, &patch))
            .await
            .with_context(|| format!("patching {name}"))?;
        name.mark(&written)
    }

    /// Takes an object out and waits until it is gone. Nothing is done where it is not there.
    pub async fn delete(&self, object: &Value) -> Result<Option<Mark>> {
        let name = Name::of(object)?;
        let api = self.api(name.version, name.kind, name.namespace);
        let what = || format!("deleting {name}");
        let Some(found) = patiently(|| api.get_opt(name.own)).await.with_context(what)? else {
            return Ok(None);
        };
        // A pod on a node waits for its kubelet, unless it is given no time to end.
        let parameters = DeleteParams::default().grace_period(0);
        match patiently(|| api.delete(name.own, &parameters)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other.with_context(what)?),
        }
        if name.kind == "Namespace" {
            self.finalize(name.own).await.with_context(what)?;
        }
        let seen = found.metadata.resource_version.unwrap_or_default();
        Ok(Some(Mark {
            kind: name.kind.to_owned(),
            version: gone(&api, name.own, &seen).await.with_context(what)?,
        }))
    }

    /// Ends a namespace's end where no controller does: what was in it has been taken out before.
    async fn finalize(&self, name: &str) -> Result<()> {
        let api = self.api("v1", "Namespace", None);
        let Some(found) = api.get_opt(name).await? else { return Ok(()) };
        let mut body = serde_json::to_value(&found)?;
        body["spec"] = json!({"finalizers": []});
        let request = kube::api::Request::new("/api/v1/namespaces").replace_subresource(
            "finalize",
            name,
            &PostParams::default(),
            serde_json::to_vec(&body)?,
        )?;
        match self.client.request_text(request).await {
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            other => other.map(drop).map_err(Into::into),
        }
    }
}

fn version(object: &DynamicObject) -> Result<u64> {
    let text = object.metadata.resource_version.as_deref().context("an object without resourceVersion")?;
    text.parse().with_context(|| format!("resourceVersion {text}"))
}

/// Makes a request again while the API server cannot carry it out, as clients do.
async fn patiently<T, F>(request: impl Fn() -> F) -> kube::Result<T>
where
    F: Future<Output = kube::Result<T>>,
{
    let deadline = Instant::now() + scaled(PATIENCE);
    loop {
        let error = match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let may_pass = match &error {
            kube::Error::Api(status) => status.code == 429 || status.code == 409 || status.code >= 500,
            kube::Error::HyperError(_) | kube::Error::Service(_) => true,
            _ => false,
        };
        if !may_pass || Instant::now() > deadline {
            return Err(error);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_mark_of_each_kind_counts() {
        let mark = |kind: &str, version| Mark { kind: kind.to_owned(), version };
        let marks = [mark("Pod", 10), mark("Node", 2), mark("Pod", 9)];
        assert_eq!(furthest(&marks), [mark("Node", 2), mark("Pod", 10)]);
    }
}
