//! Daemons that live on manifests: an operator that reads a directory, and shims whose tokens are in a file.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::{Admin, Binaries, Daemon, secret};
use crate::cluster::{CONTROL, Cluster};
use crate::manifests::Written;

const GRPC_PORT: u16 = 9443;
const ADMIN_PORT: u16 = 9090;

/// An operator and a shim on each node.
#[derive(Debug)]
pub struct Deployment {
    /// The operator.
    pub operator: Daemon,
    /// Shims by node.
    pub shims: BTreeMap<String, Daemon>,
    admin: Admin,
    nodes: Vec<String>,
}

impl Deployment {
    /// Prepares daemons for every node of a cluster; their files live below a directory, manifests apart. Nothing is
    /// started.
    pub fn new(cluster: &Cluster, nodes: &[String], directory: &Path, manifests: &Path) -> Result<Self> {
        let binaries = Binaries::find()?;
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        fs::create_dir_all(directory.join("logs"))?;
        let mut tokens = String::new();
        let mut shims = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            let token = blake3::hash(format!("{index} {node} {}", directory.display()).as_bytes())
                .to_hex()
                .to_string();
            tokens.extend([&token, ",", node, "\n"]);
            let token_file = format!("token-{node}");
            secret(&directory.join(&token_file), &token)?;
            let command = [
                &*binaries.node.to_string_lossy(),
                "run",
                "--operator",
                &format!("https://{CONTROL}:{GRPC_PORT}"),
                "--server-name",
                "palisade-operator",
                "--ca",
                &path("tls/ca.crt"),
                "--token-file",
                &path(&token_file),
                "--state-dir",
                &path(&format!("state-{node}")),
            ];
            let log = directory.join(format!("logs/palisade-node-{node}.log"));
            let daemon = Daemon::new(
                &format!("palisade-node on {node}"),
                cluster.node(node)?,
                command.map(str::to_owned).into(),
                log,
            );
            shims.insert(node.clone(), daemon);
        }
        secret(&directory.join("tokens"), &tokens)?;
        let command = [
            &*binaries.operator.to_string_lossy(),
            "--manifests",
            &manifests.to_string_lossy(),
            "--listen",
            &format!("{CONTROL}:{GRPC_PORT}"),
            "--admin",
            &format!("{CONTROL}:{ADMIN_PORT}"),
            "--tokens",
            &path("tokens"),
            "--tls-dir",
            &path("tls"),
        ];
        let operator = Daemon::new(
            "palisade-operator",
            cluster.control(),
            command.map(str::to_owned).into(),
            directory.join("logs/palisade-operator.log"),
        );
        let admin = Admin::new(cluster.control(), SocketAddr::new(CONTROL.parse()?, ADMIN_PORT));
        Ok(Self { operator, shims, admin, nodes: nodes.to_vec() })
    }

    /// Starts the operator, waits until it answers, and starts every shim.
    pub async fn start(&mut self) -> Result<()> {
        self.start_operator().await?;
        for shim in self.shims.values_mut() {
            shim.start().await?;
        }
        Ok(())
    }

    /// Starts the operator and waits until it has taken in the manifests.
    pub async fn start_operator(&mut self) -> Result<()> {
        self.operator.start().await?;
        self.admin.ready(&mut self.operator).await
    }

    /// The operator's own account of itself.
    pub async fn state(&self) -> Result<Value> {
        self.admin.state().await
    }

    /// The operator's admin endpoint.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Waits until every node obeys what was written.
    pub async fn settled(&self, written: &[Written]) -> Result<()> {
        self.settled_on(written, &self.nodes).await
    }

    /// Waits until the given nodes obey what was written.
    pub async fn settled_on(&self, written: &[Written], nodes: &[String]) -> Result<()> {
        if written.is_empty() {
            return self.admin.settled("", nodes).await;
        }
        for Written { file, digest } in written {
            self.admin.settled(&format!("file={file}&digest={digest}&"), nodes).await?;
        }
        Ok(())
    }
}
