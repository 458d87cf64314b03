//! A ServiceAccount's token in a file, renewed as kubelets do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::accounts::NAMESPACE;

/// What a token is asked to last; no API server gives less.
const LIFETIME: i64 = 600;

/// How long a request that failed waits for the next one.
const PAUSE: Duration = Duration::from_millis(500);

/// Whose token it is, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    account: &'static str,
    audience: Option<&'static str>,
    pod: Option<BoundObjectReference>,
}

impl Bearer {
    /// An account, for the API server itself.
    pub(super) fn account(account: &'static str) -> Self {
        Self { account, audience: None, pod: None }
    }

    /// A pod that runs as an account, for somebody else than the API server.
    pub(super) async fn pod(
        client: &Client,
        pod: &str,
        account: &'static str,
        audience: &'static str,
    ) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let uid = pods.get(pod).await?.metadata.uid.context("a pod without uid")?;
        let pod = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.to_owned()),
            uid: Some(uid),
        };
        Ok(Self { account, audience: Some(audience), pod: Some(pod) })
    }

    async fn write(&self, client: &Client, file: &Path) -> Result<Timestamp> {
        let request = TokenRequest {
            metadata: ObjectMeta::default(),
            spec: TokenRequestSpec {
                audiences: self.audience.map(str::to_owned).into_iter().collect(),
                bound_object_ref: self.pod.clone(),
                expiration_seconds: Some(LIFETIME),
            },
            status: None,
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        let answer = accounts
            .create_token_request(self.account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("asking for a token of {}", self.account))?;
        let status = answer.status.context("a token request without status")?;
        replace(file, &status.token)?;
        Ok(status.expiration_timestamp.0)
    }
}

/// Keeps a token in a file until dropped.
#[derive(Debug)]
pub(super) struct TokenFile {
    task: JoinHandle<()>,
}

impl TokenFile {
    /// Writes a token and begins to renew it.
    pub(super) async fn start(client: &Client, bearer: Bearer, file: PathBuf) -> Result<Self> {
        let expires = bearer.write(client, &file).await?;
        Ok(Self { task: tokio::spawn(renew(client.clone(), bearer, file, expires)) })
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Renews a token at four fifths of its life.
async fn renew(client: Client, bearer: Bearer, file: PathBuf, mut expires: Timestamp) {
    loop {
        let left = expires.duration_since(Timestamp::now());
        sleep(Duration::try_from(left).unwrap_or_default().mul_f64(0.8)).await;
        match bearer.write(&client, &file).await {
            Ok(next) => expires = next,
            // The old one is still good for a fifth of its life.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Replaces a file whole.
pub(super) fn replace(file: &Path, text: &str) -> Result<()> {
    let part = file.with_extension("part");
    crate::daemons::secret(&part, text)?;
    fs::rename(&part, file).with_context(|| file.display().to_string())
}
