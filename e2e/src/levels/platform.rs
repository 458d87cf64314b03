//! What the daemons of a judged cluster live on, told of each change of the cluster.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Via;
use crate::cluster::Cluster;
use crate::control_plane::Kind;
use crate::daemons::Deployment;
use crate::installation::{Access, Installation};
use crate::manifests::ManifestDir;
use crate::scenario::State;

/// See the module.
#[derive(Debug)]
pub(super) enum Platform {
    /// A directory.
    Manifests { manifests: ManifestDir, deployment: Box<Deployment> },
    /// An API server of its own.
    Api { access: Box<Access>, installation: Box<Installation> },
}

impl Platform {
    /// Starts daemons; on return the cluster's first state is in force.
    pub(super) async fn start(via: Via, cluster: &Cluster, state: &State, directory: &Path) -> Result<Self> {
        match via {
            Via::Manifests => {
                let manifests = ManifestDir::new(&directory.join("manifests"))?;
                let written = manifests.change(None, state)?;
                let nodes: Vec<String> = state.nodes.keys().cloned().collect();
                let mut deployment = Deployment::new(cluster, &nodes, directory, manifests.path())?;
                deployment.start().await?;
                deployment.settled(&written).await?;
                Ok(Self::Manifests { manifests, deployment: Box::new(deployment) })
            }
            Via::Api => {
                let access = Access::start(Kind::chosen()?, cluster, directory).await?;
                let marks = access.objects.change(None, state).await?;
                let mut installation = Installation::new(cluster, state, &access, directory, 1).await?;
                installation.start().await?;
                installation.settled(&marks).await?;
                Ok(Self::Api { access: Box::new(access), installation: Box::new(installation) })
            }
        }
    }

    /// Carries a change out; on return it is in force.
    pub(super) async fn change(&self, from: Option<&State>, to: &State) -> Result<()> {
        match self {
            Self::Manifests { manifests, deployment } => {
                deployment.settled(&manifests.change(from, to)?).await
            }
            Self::Api { access, installation } => {
                installation.settled(&access.objects.change(from, to).await?).await
            }
        }
    }

    /// The operator's own account of itself.
    pub(super) async fn state(&self) -> Result<Value> {
        let state = match self {
            Self::Manifests { deployment, .. } => deployment.state().await,
            Self::Api { installation, .. } => installation.state().await,
        };
        state.context("the operator's state")
    }
}
