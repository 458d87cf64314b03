//! Palisade on a Kubernetes API: operators of which one leads, a shim on each node, and what a cluster would do for
//! them: accounts, pods, tokens, the projected authority.

mod access;
mod accounts;
mod kubelet;
mod token;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::api::{Mark, Objects};
use crate::cluster::{CONTROL, Cluster};
use crate::control_plane::Kind;
use crate::daemons::{Admin, Binaries, Daemon, tail};
use crate::scenario::State;
use crate::traffic::scaled;
use kubelet::Kubelet;
use token::{Bearer, TokenFile};

pub use access::{Access, Writes};
pub use accounts::NAMESPACE;

/// Where the first operator listens; the others follow.
const GRPC_PORT: u16 = 9443;
const ADMIN_PORT: u16 = 9090;

/// An operator.
#[derive(Debug)]
pub struct Operator {
    /// Its process.
    pub daemon: Daemon,
    /// Its admin endpoint.
    pub admin: Admin,
}

impl Operator {
    /// Starts it and waits until it has read everything once.
    pub async fn start(&mut self) -> Result<()> {
        self.daemon.start().await?;
        self.admin.ready(&mut self.daemon).await
    }

    /// Whether it leads.
    pub async fn leads(&self) -> bool {
        self.admin.state().await.is_ok_and(|state| state["leading"] == true)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Installation {
    /// Operators. Nobody says which one leads but they themselves.
    pub operators: Vec<Operator>,
    /// Shims by node.
    pub shims: BTreeMap<String, Daemon>,
    /// What they live on.
    pub objects: Objects,
    kubelets: BTreeMap<String, Kubelet>,
    directory: PathBuf,
    nodes: Vec<String>,
    _token: TokenFile,
}

impl Installation {
    /// Puts into the API what belongs to Palisade and prepares its daemons. Their files live below a directory; they
    /// reach the API as the kubeconfig says. The nodes are in the API already. Nothing is started.
    pub async fn new(
        cluster: &Cluster,
        state: &State,
        access: &Access,
        directory: &Path,
        operators: u16,
    ) -> Result<Self> {
        let objects = access.objects.clone();
        for object in accounts::objects(state, access.plane.kind() != Kind::Dev)? {
            objects.put(&object).await?;
        }
        // Operators have their own rights and no others.
        let token_file = directory.join("token-operators");
        let bearer = Bearer::account(accounts::OPERATOR_ACCOUNT);
        let token = TokenFile::start(objects.client(), bearer, token_file.clone()).await?;
        access.hand_over(&token_file)?;
        let binaries = Binaries::find()?;
        fs::create_dir_all(directory.join("logs"))?;
        let nodes: Vec<String> = state.nodes.keys().cloned().collect();
        let operators = (0..operators)
            .map(|index| operator(cluster, &binaries, &access.operators, directory, index))
            .collect::<Result<Vec<_>>>()?;
        let mut shims = BTreeMap::new();
        for node in &nodes {
            shims.insert(node.clone(), shim(cluster, &binaries, node, directory, operators.len())?);
        }
        Ok(Self {
            operators,
            shims,
            objects,
            kubelets: BTreeMap::new(),
            directory: directory.to_owned(),
            nodes,
            _token: token,
        })
    }

    /// Starts the first operator, waits until it leads, and starts the others and every shim.
    pub async fn start(&mut self) -> Result<()> {
        let (first, others) = self.operators.split_first_mut().context("no operator")?;
        first.start().await?;
        led(std::slice::from_ref(first), Duration::from_secs(20)).await?;
        for operator in others {
            operator.start().await?;
        }
        for node in &self.nodes {
            let path = |what: &str| self.directory.join(format!("{what}-{node}"));
            let pod = accounts::shim(node);
            let kubelet = Kubelet::start(self.objects.client(), &pod, path("token"), path("ca")).await?;
            self.kubelets.insert(node.clone(), kubelet);
        }
        for (node, shim) in &mut self.shims {
            let kubelet = self.kubelets.get(node).context("a node without kubelet")?;
            kubelet.ready().await?;
            shim.start().await?;
        }
        Ok(())
    }

    /// The operator that leads, waited for.
    pub async fn leader(&self) -> Result<usize> {
        led(&self.operators, Duration::from_secs(30)).await
    }

    /// The leader's own account of everything.
    pub async fn state(&self) -> Result<Value> {
        self.admin().await?.state().await
    }

    /// The leader's admin endpoint.
    pub async fn admin(&self) -> Result<&Admin> {
        Ok(&self.operator(self.leader().await?)?.admin)
    }

    /// An operator.
    pub fn operator(&self, index: usize) -> Result<&Operator> {
        self.operators.get(index).with_context(|| format!("there is no operator {index}"))
    }

    /// An operator, to be stopped or started.
    pub fn operator_mut(&mut self, index: usize) -> Result<&mut Operator> {
        self.operators.get_mut(index).with_context(|| format!("there is no operator {index}"))
    }

    /// The nodes.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Waits until every node obeys what was written.
    pub async fn settled(&self, marks: &[Mark]) -> Result<()> {
        self.settled_on(marks, &self.nodes).await
    }

    /// Waits until the given nodes obey what was written.
    pub async fn settled_on(&self, marks: &[Mark], nodes: &[String]) -> Result<()> {
        self.admin().await?.settled_at(marks, nodes).await
    }
}

/// Waits until one of some operators leads.
async fn led(operators: &[Operator], limit: Duration) -> Result<usize> {
    let deadline = Instant::now() + scaled(limit);
    loop {
        for (index, operator) in operators.iter().enumerate() {
            if operator.leads().await {
                return Ok(index);
            }
        }
        if Instant::now() > deadline {
            let logs: Vec<String> =
                operators.iter().map(|operator| tail(&operator.daemon.log_text())).collect();
            bail!("no operator leads:\n{}", logs.join("\n\n"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn operator(
    cluster: &Cluster,
    binaries: &Binaries,
    kubeconfig: &Path,
    directory: &Path,
    index: u16,
) -> Result<Operator> {
    let name = format!("palisade-operator-{index}");
    let address = SocketAddr::new(CONTROL.parse()?, ADMIN_PORT + index);
    let command = [
        &*binaries.operator.to_string_lossy(),
        "--kubeconfig",
        &kubeconfig.to_string_lossy(),
        "--namespace",
        NAMESPACE,
        "--identity",
        &name,
        "--listen",
        &format!("{CONTROL}:{}", GRPC_PORT + index),
        "--admin",
        &address.to_string(),
    ];
    let log = directory.join(format!("logs/{name}.log"));
    let daemon = Daemon::new(&name, cluster.control(), command.map(str::to_owned).into(), log);
    Ok(Operator { daemon, admin: Admin::new(cluster.control(), address) })
}

fn shim(
    cluster: &Cluster,
    binaries: &Binaries,
    node: &str,
    directory: &Path,
    operators: usize,
) -> Result<Daemon> {
    let path = |what: &str| directory.join(format!("{what}-{node}")).to_string_lossy().into_owned();
    let addresses: Vec<String> =
        (GRPC_PORT..).take(operators).map(|port| format!("https://{CONTROL}:{port}")).collect();
    let command = [
        &*binaries.node.to_string_lossy(),
        "run",
        "--operator",
        &addresses.join(","),
        "--server-name",
        "palisade-operator",
        "--ca",
        &path("ca"),
        "--token-file",
        &path("token"),
        "--state-dir",
        &path("state"),
    ];
    let log = directory.join(format!("logs/palisade-node-{node}.log"));
    let name = format!("palisade-node on {node}");
    Ok(Daemon::new(&name, cluster.node(node)?, command.map(str::to_owned).into(), log))
}
