//! What a node's kubelet does for its shim's pod: keeps a token of its own and the operator's authority in files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::accounts::{AUTHORITY, NAMESPACE, NODE_ACCOUNT};
use super::token::{Bearer, TokenFile, replace};
use crate::traffic::scaled;

/// Whom a shim shows its token.
const AUDIENCE: &str = "palisade";

/// How long a watch that failed waits for the next one.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps a shim's files until dropped.
#[derive(Debug)]
pub(super) struct Kubelet {
    projection: JoinHandle<()>,
    present: watch::Receiver<bool>,
    _token: TokenFile,
}

impl Kubelet {
    /// Writes the token of a pod and begins to keep both files.
    pub(super) async fn start(
        client: &Client,
        pod: &str,
        token: PathBuf,
        authority: PathBuf,
    ) -> Result<Self> {
        let bearer = Bearer::pod(client, pod, NODE_ACCOUNT, AUDIENCE).await?;
        let token = TokenFile::start(client, bearer, token).await?;
        let (found, present) = watch::channel(false);
        let projection = tokio::spawn(project(client.clone(), authority, found));
        Ok(Self { projection, present, _token: token })
    }

    /// Waits until the authority is there; before, the pod would not start.
    pub(super) async fn ready(&self) -> Result<()> {
        let limit = scaled(Duration::from_secs(30));
        let mut present = self.present.clone();
        timeout(limit, present.wait_for(|present| *present))
            .await
            .with_context(|| format!("ConfigMap {NAMESPACE}/{AUTHORITY} is not there after {limit:?}"))??;
        Ok(())
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.projection.abort();
    }
}

async fn project(client: Client, file: PathBuf, found: watch::Sender<bool>) {
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let mut changes = Box::pin(kube_runtime::watcher::watch_object(maps, AUTHORITY));
    while let Some(change) = changes.next().await {
        let Ok(map) = change else {
            sleep(PAUSE).await;
            continue;
        };
        if let Some(bundle) = map.and_then(|map| map.data?.remove("ca.crt"))
            && replace(&file, &bundle).is_ok()
        {
            found.send_replace(true);
        }
    }
}
