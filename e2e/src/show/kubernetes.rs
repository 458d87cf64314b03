//! The demo's cluster on a Kubernetes API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Expected, Matrix, Stage, samples};
use crate::api::{ADMIN_KINDS, KINDS, Mark, Objects};
use crate::control_plane::Kind;
use crate::installation::{Access, Installation};
use crate::kubectl::Kubectl;
use crate::status;

/// The demo's cluster, running on a Kubernetes API.
#[derive(Debug)]
pub struct ApiShow {
    /// Palisade.
    pub installation: Installation,
    /// The API's objects.
    pub objects: Objects,
    /// The ways to the API.
    pub access: Access,
    /// The network.
    pub stage: Stage,
    directory: PathBuf,
}

impl ApiShow {
    /// Starts the cluster without policies on a control plane of some kind; its files live below a directory.
    pub async fn start(kind: Kind, directory: &Path, operators: u16) -> Result<Self> {
        let stage = Stage::build().await?;
        let access = Access::start(kind, &stage.cluster, directory).await?;
        let objects = access.objects.clone();
        let marks = objects.change(None, &stage.state).await?;
        let mut installation =
            Installation::new(&stage.cluster, &stage.state, &access, directory, operators).await?;
        installation.start().await?;
        installation.settled(&marks).await?;
        Ok(Self { installation, objects, access, stage, directory: directory.to_owned() })
    }

    /// The kubectl of a person who works with this cluster.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::find(self.access.plane.kubeconfig(), &self.directory.join("home"))
    }

    /// Applies the objects of policy files, in order of name.
    pub async fn add(&self, directory: &Path) -> Result<Vec<Mark>> {
        let mut marks = Vec::new();
        for path in samples(directory)? {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            for object in serde_saphyr::from_multiple::<Value>(&text)? {
                marks.push(self.objects.put(&object).await.with_context(|| path.display().to_string())?);
            }
        }
        Ok(marks)
    }

    /// The cluster as the API describes it now.
    pub async fn expected(&self) -> Result<Expected> {
        let mut expected = Expected::default();
        for kind in KINDS {
            self.objects.list(kind).await?.iter().for_each(|object| expected.take_in(object));
        }
        Ok(expected)
    }

    /// Who reaches whom: what the policies say beside what packets do.
    pub async fn matrix(&self) -> Result<Matrix> {
        Matrix::observe(&self.stage, self.expected().await?).await
    }

    /// How far one must have read to know everything that is in the API now.
    pub async fn marks(&self) -> Result<Vec<Mark>> {
        let mut marks = Vec::new();
        for kind in KINDS {
            for object in self.objects.list(kind).await? {
                let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
                let version = version.context("an object without resourceVersion")?.parse()?;
                marks.push(Mark { kind: kind.1.to_owned(), version });
            }
        }
        Ok(marks)
    }

    /// Waits until every policy with a status says that its present generation is in force.
    pub async fn programmed(&self, limit: Duration) -> Result<()> {
        for kind in ADMIN_KINDS {
            for object in self.objects.list(kind).await? {
                let is = |object: &Value| status::is(object, "Programmed", "True");
                self.objects.wait(&object, "Programmed is True", limit, is).await?;
            }
        }
        Ok(())
    }
}
