//! The demo's cluster on a directory of manifests.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Expected, Matrix, Stage, samples};
use crate::daemons::Deployment;
use crate::manifests::{ManifestDir, Written};

/// The demo's cluster, running on manifests.
#[derive(Debug)]
pub struct Show {
    /// The network.
    pub stage: Stage,
    /// The daemons.
    pub deployment: Deployment,
    /// The manifests.
    pub manifests: ManifestDir,
}

impl Show {
    /// Starts the cluster without policies; its files live below a directory.
    pub async fn start(directory: &Path) -> Result<Self> {
        let stage = Stage::build().await?;
        let manifests = ManifestDir::new(&directory.join("manifests"))?;
        let written = manifests.change(None, &stage.state)?;
        let nodes: Vec<String> = stage.state.nodes.keys().cloned().collect();
        let mut deployment = Deployment::new(&stage.cluster, &nodes, directory, manifests.path())?;
        deployment.start().await?;
        deployment.settled(&written).await?;
        Ok(Self { stage, deployment, manifests })
    }

    /// Copies policy files into the manifests, in order of name. Gives what was written.
    pub fn add(&self, directory: &Path) -> Result<Vec<Written>> {
        let mut written = Vec::new();
        for path in samples(directory)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            written.push(self.manifests.write(&name, &text)?);
        }
        Ok(written)
    }

    /// The cluster as the manifests describe it now.
    pub fn expected(&self) -> Result<Expected> {
        let mut expected = Expected::default();
        for path in samples(self.manifests.path())? {
            let text = fs::read_to_string(&path)?;
            match serde_saphyr::from_multiple::<Value>(&text) {
                Ok(objects) => objects.iter().for_each(|object| expected.take_in(object)),
                Err(error) => expected.findings.push(format!(
                    "{}: {error}; what it held before is in force, but not in what is expected here",
                    path.display()
                )),
            }
        }
        Ok(expected)
    }

    /// Who reaches whom: what the policies say beside what packets do.
    pub async fn matrix(&self) -> Result<Matrix> {
        Matrix::observe(&self.stage, self.expected()?).await
    }
}
