//! The scenario file as it is written. Names the file and the field of what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use palisade_view::{Family, Protocol};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::port::{Container, Port};
use super::probe::Probe;

/// How pods are attached to their node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// A point-to-point link and a host route for each pod.
    Routed,
    /// One bridge a node with the gateway's address.
    Bridged,
}

impl Cni {
    /// The word used in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Bridged => "bridged",
        }
    }
}

/// A node as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFields {
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its addresses of type `ExternalIP`. No stack of the node has them.
    #[serde(default)]
    pub external: Vec<IpAddr>,
}

/// How far a pod with a node has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Phase {
    /// It has a network.
    #[default]
    Running,
    /// It is done, its network gone; its status still has its addresses.
    Succeeded,
    /// The same after an error.
    Failed,
}

/// A protocol by Kubernetes' name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolName(pub Protocol);

impl<'de> Deserialize<'de> for ProtocolName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.name() == text)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not TCP, UDP or SCTP")))
    }
}

fn tcp() -> ProtocolName {
    ProtocolName(Protocol::Tcp)
}

/// A container port as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortFields {
    name: Option<String>,
    port: u16,
    #[serde(default = "tcp")]
    protocol: ProtocolName,
    #[serde(default)]
    container: Container,
}

impl PortFields {
    /// The port.
    pub(super) fn port(&self) -> Result<Port> {
        if self.port == 0 {
            bail!("ports: 0 is not a port");
        }
        let (name, protocol) = (self.name.clone(), self.protocol.0);
        Ok(Port { name, port: self.port, protocol, container: self.container })
    }
}

/// A pod as written. What is left out stays as it was.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodFields {
    /// The node it runs on.
    pub node: Option<String>,
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Its ports.
    pub ports: Option<Vec<PortFields>>,
    /// Its addresses, instead of the assigned ones.
    pub addresses: Option<Vec<IpAddr>>,
    /// Whether it shares its node's network.
    pub host_network: Option<bool>,
    /// How far it has come.
    pub phase: Option<Phase>,
    /// Whether its deletion has begun; it runs on meanwhile.
    pub terminating: Option<bool>,
}

/// A service as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFields {
    /// The backend pod.
    pub backend: String,
    /// Its protocol.
    #[serde(default = "tcp")]
    pub protocol: ProtocolName,
    /// The port it is reached at.
    pub port: u16,
    /// The backend's port; the same if left out.
    pub target: Option<u16>,
}

/// A step as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it shows.
    pub say: String,
    /// Nodes whose fields are replaced. Nodes neither come nor go.
    #[serde(default)]
    pub nodes: BTreeMap<String, NodeFields>,
    /// Namespaces to relabel or (null) to delete.
    #[serde(default)]
    pub namespaces: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// Pods to create, to change or (null) to delete.
    #[serde(default)]
    pub pods: BTreeMap<String, Option<PodFields>>,
    /// Policies to create or replace.
    #[serde(default)]
    pub apply: Vec<Value>,
    /// Policies to delete, by `Kind/name` or `Kind/namespace/name`.
    #[serde(default)]
    pub delete: Vec<String>,
    /// What must hold afterwards.
    #[serde(default)]
    pub probes: Vec<Probe>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    tags: BTreeSet<String>,
    cni: Option<BTreeSet<Cni>>,
    families: Option<BTreeSet<FamilyName>>,
    nodes: Option<BTreeMap<String, NodeFields>>,
    #[serde(default)]
    namespaces: BTreeMap<String, Option<BTreeMap<String, String>>>,
    #[serde(default)]
    pods: BTreeMap<String, PodFields>,
    #[serde(default)]
    services: BTreeMap<String, ServiceFields>,
    #[serde(default)]
    apply: Vec<Value>,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FamilyName {
    Ipv4,
    Ipv6,
}

/// A scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its path below the directory of scenarios, without the suffix.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What must hold, and why.
    pub description: String,
    /// Words to choose scenarios by.
    pub tags: BTreeSet<String>,
    /// How pods are attached, each in turn.
    pub cni: BTreeSet<Cni>,
    /// The families in use.
    pub families: BTreeSet<Family>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeFields>,
    /// Labels of namespaces by name.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Pods by `namespace/name`.
    pub pods: BTreeMap<String, PodFields>,
    /// Services by name.
    pub services: BTreeMap<String, ServiceFields>,
    /// Policies at the start.
    pub apply: Vec<Value>,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// Reads a scenario from its text.
    pub fn parse(name: &str, path: &Path, text: &str) -> Result<Self> {
        let file: File = serde_saphyr::from_str(text).with_context(|| path.display().to_string())?;
        let in_file = |what: &str| format!("{}: {what}", path.display());
        if file.description.trim().is_empty() {
            bail!(in_file("description: is empty"));
        }
        if let Some(tag) = file
            .tags
            .iter()
            .find(|tag| !tag.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
        {
            bail!(in_file(&format!("tags: `{tag}` is not a lower-case word")));
        }
        if file.steps.iter().all(|step| step.probes.is_empty()) {
            bail!(in_file("steps: no step has probes"));
        }
        let families = match file.families {
            None => BTreeSet::from([Family::V4, Family::V6]),
            Some(names) if names.is_empty() => bail!(in_file("families: is empty")),
            Some(names) => names
                .into_iter()
                .map(|name| if name == FamilyName::Ipv4 { Family::V4 } else { Family::V6 })
                .collect(),
        };
        let nodes = file.nodes.unwrap_or_else(|| {
            ["node-1", "node-2"].map(|name| (name.to_owned(), NodeFields::default())).into_iter().collect()
        });
        let namespaces =
            file.namespaces.into_iter().map(|(name, labels)| (name, labels.unwrap_or_default())).collect();
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            description: file.description.trim().to_owned(),
            tags: file.tags,
            cni: file.cni.unwrap_or_else(|| BTreeSet::from([Cni::Routed])),
            families,
            nodes,
            namespaces,
            pods: file.pods,
            services: file.services,
            apply: file.apply,
            steps: file.steps,
        })
    }

    /// Reads every scenario below a directory, in order of name.
    pub fn load(directory: &Path) -> Result<Vec<Self>> {
        let mut files = Vec::new();
        collect(directory, &mut files)?;
        files.sort();
        if files.is_empty() {
            bail!("{}: no scenario files (*.yaml)", directory.display());
        }
        let scenario = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let name = path.strip_prefix(directory).unwrap_or(path).with_extension("");
            Self::parse(&name.to_string_lossy(), path, &text)
        };
        files.iter().map(scenario).collect()
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|suffix| suffix == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}
