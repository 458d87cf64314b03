//! Where an API server comes from: the development server of this project, a real one of its own, or the cluster that
//! KUBECONFIG leads to. What is done with it is the same for all.

mod assets;
mod program;
mod relay;

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use kube_runtime::wait::{await_condition, conditions};
use palisade_apiserver::{Faults, Options, Server};
use tokio::time::timeout;

use crate::namespaces::Stack;
use crate::traffic::scaled;
use assets::Assets;

pub use relay::Relay;

/// Says which kind of control plane tests use.
const VARIABLE: &str = "PALISADE_CONTROL_PLANE";

/// Which control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The development server, in this process.
    #[default]
    Dev,
    /// kube-apiserver and etcd from the directory that `KUBEBUILDER_ASSETS` names, started for the occasion.
    Assets,
    /// The cluster that `KUBECONFIG` leads to. Others may use it as well.
    Kubeconfig,
}

impl Kind {
    /// What the environment asks for; the development server where it asks for nothing.
    pub fn chosen() -> Result<Self> {
        match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse(),
            _ => Ok(Self::default()),
        }
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "dev" => Self::Dev,
            "assets" => Self::Assets,
            "kubeconfig" => Self::Kubeconfig,
            other => bail!("{VARIABLE} is {other}: give dev, assets or kubeconfig"),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dev => "dev",
            Self::Assets => "assets",
            Self::Kubeconfig => "kubeconfig",
        })
    }
}

/// A control plane, running until dropped.
#[derive(Debug)]
pub struct ControlPlane {
    kind: Kind,
    origin: Origin,
    kubeconfig: PathBuf,
    contents: Kubeconfig,
}

#[derive(Debug)]
enum Origin {
    Dev { server: Server, faults: Faults },
    Assets { _running: Assets },
    Kubeconfig,
}

impl ControlPlane {
    /// The one that the environment asks for; its files live below a directory.
    pub async fn chosen(directory: &Path) -> Result<Self> {
        Self::start(Kind::chosen()?, directory).await
    }

    /// One of a kind; its files live below a directory.
    pub async fn start(kind: Kind, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let (origin, contents) = match kind {
            Kind::Dev => {
                let server = Server::start(Options::default()).await.context("starting the API server")?;
                let contents = Kubeconfig::from_yaml(&server.kubeconfig())?;
                (Origin::Dev { faults: server.faults(), server }, contents)
            }
            Kind::Assets => {
                let assets = Assets::start(directory).await?;
                let contents = Kubeconfig::from_yaml(assets.kubeconfig())?;
                (Origin::Assets { _running: assets }, contents)
            }
            Kind::Kubeconfig => {
                let contents = Kubeconfig::from_env().context("reading what KUBECONFIG names")?;
                (Origin::Kubeconfig, contents.context("KUBECONFIG is not set: it names the cluster")?)
            }
        };
        // Several files may have been named, with paths relative to each: this one is whole.
        let kubeconfig = directory.join("kubeconfig");
        crate::daemons::secret(&kubeconfig, &serde_saphyr::to_string(&contents)?)?;
        Ok(Self { kind, origin, kubeconfig, contents })
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Whether others may use it as well: then names are to be one's own, and nothing may be left behind.
    pub fn is_shared(&self) -> bool {
        self.kind == Kind::Kubeconfig
    }

    /// The development server, which can be told to fail and counts requests.
    pub fn dev(&self) -> Option<&Server> {
        match &self.origin {
            Origin::Dev { server, .. } => Some(server),
            _ => None,
        }
    }

    /// The faults that it can be told to have.
    pub fn faults(&self) -> Option<&Faults> {
        match &self.origin {
            Origin::Dev { faults, .. } => Some(faults),
            _ => None,
        }
    }

    /// A client of an administrator.
    pub async fn client(&self) -> Result<Client> {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(self.contents.clone(), &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// A way to it from inside a namespace, at an address there; its kubeconfig is written to a file.
    pub async fn relay(&self, stack: &Stack, address: Ipv4Addr, kubeconfig: &Path) -> Result<Relay> {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(self.contents.clone(), &options).await?;
        let host = config.cluster_url.host().context("the kubeconfig names no server")?.to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let server = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await?.next();
        let relay = Relay::start(stack, address, server.context("the API server has no address")?).await?;
        let text = redirected(self.contents.clone(), &host, relay.address())?;
        crate::daemons::secret(kubeconfig, &text)?;
        Ok(relay)
    }

    /// Installs the definitions of the policy kinds and waits until the API server has taken them in. Those that
    /// somebody has installed in a shared cluster stay as they are.
    pub async fn install_crds(&self) -> Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client().await?);
        let parameters = PatchParams::apply("palisade-e2e").force();
        for definition in palisade_crds::definitions() {
            let name = definition.metadata.name.clone().context("a definition without name")?;
            if self.is_shared() && definitions.get_metadata_opt(&name).await?.is_some() {
                continue;
            }
            definitions
                .patch(&name, &parameters, &Patch::Apply(&definition))
                .await
                .with_context(|| format!("installing {name}"))?;
            let established = await_condition(definitions.clone(), &name, conditions::is_crd_established());
            timeout(scaled(Duration::from_secs(30)), established)
                .await
                .with_context(|| format!("{name} is not established"))??;
        }
        Ok(())
    }
}

/// A kubeconfig that leads to another address of the same server.
fn redirected(mut contents: Kubeconfig, host: &str, address: SocketAddr) -> Result<String> {
    for cluster in contents.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some(format!("https://{address}"));
        cluster.tls_server_name.get_or_insert_with(|| host.trim_matches(['[', ']']).to_owned());
    }
    Ok(serde_saphyr::to_string(&contents)?)
}
