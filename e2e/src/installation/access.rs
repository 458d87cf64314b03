//! The ways to an API server: a person's, and the operators' from their namespace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::Objects;
use crate::cluster::{CONTROL, Cluster};
use crate::control_plane::{ControlPlane, Kind, Relay};
use crate::daemons::secret;

/// See the module.
#[derive(Debug)]
pub struct Access {
    /// The objects, as an administrator reaches them.
    pub objects: Objects,
    /// How operators reach it.
    pub operators: PathBuf,
    /// Who serves the API.
    pub plane: ControlPlane,
    _relay: Relay,
}

/// Requests that wrote what only operators write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Statuses of policies.
    pub statuses: u64,
    /// Events.
    pub events: u64,
}

impl Access {
    /// To a control plane of some kind for a cluster of namespaces, with the definitions of the policy kinds installed;
    /// its files live below a directory.
    pub async fn start(kind: Kind, cluster: &Cluster, directory: &Path) -> Result<Self> {
        let plane = ControlPlane::start(kind, directory).await?;
        plane.install_crds().await?;
        let operators = directory.join("kubeconfig-operators");
        let relay = plane.relay(cluster.control(), CONTROL.parse()?, &operators).await?;
        let objects = Objects::new(plane.client().await?);
        Ok(Self { objects, operators, plane, _relay: relay })
    }

    /// Makes the operators' way that of somebody whose token is in a file, instead of an administrator's.
    pub(super) fn hand_over(&self, token_file: &Path) -> Result<()> {
        let text = fs::read_to_string(&self.operators).context("the kubeconfig of operators")?;
        let mut contents: Value = serde_saphyr::from_str(&text).context("the kubeconfig of operators")?;
        for user in contents["users"].as_array_mut().into_iter().flatten() {
            user["user"] = json!({"tokenFile": token_file});
        }
        secret(&self.operators, &contents.to_string())
    }

    /// What operators have written so far; `None` where the API server does not count.
    pub fn writes(&self) -> Option<Writes> {
        let counts = self.plane.dev()?.requests().counts();
        let verbs = ["create", "update", "patch"];
        let statuses = counts.sum(|kind| {
            verbs.contains(&kind.verb.as_str())
                && kind.resource.ends_with(".policy.networking.k8s.io")
                && kind.subresource == "status"
        });
        let events = counts.sum(|kind| {
            verbs.contains(&kind.verb.as_str()) && kind.resource.split('.').next() == Some("events")
        });
        Some(Writes { statuses, events })
    }
}
