//! The cluster a scenario describes, with every address assigned: what manifests, namespaces and judges are all
//! made from. Knows nothing of files or kernels.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use palisade_view::{Family, Protocol};
use serde_json::Value;

use super::format::{Phase, PodFields, Scenario, ServiceFields, Step};
use super::policy;
use super::port::Port;

/// The outside host's addresses.
pub const WORLD: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x10))];

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Position in name order, from 1; its addresses follow from it.
    pub index: u16,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses of type `ExternalIP`.
    pub external: Vec<IpAddr>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The node it runs on.
    pub node: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Its addresses; its node's where it is in the host's network.
    pub addresses: Vec<IpAddr>,
    /// Whether it shares its node's network.
    pub host_network: bool,
    /// How far it has come.
    pub phase: Phase,
    /// Whether its deletion has begun.
    pub terminating: bool,
}

/// A service with one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The backend pod, `namespace/name`.
    pub backend: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port it is reached at.
    pub port: u16,
    /// The backend's port.
    pub target: u16,
    /// The cluster addresses.
    pub addresses: Vec<IpAddr>,
}

/// The whole cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The address families in use.
    pub families: BTreeSet<Family>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Labels of namespaces by name.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Pods by `namespace/name`.
    pub pods: BTreeMap<String, Pod>,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Policies by `Kind/name` or `Kind/namespace/name`, as they are written.
    pub policies: BTreeMap<String, Value>,
    /// The next free host number of each node; never given out twice.
    next: BTreeMap<String, u16>,
}

/// An address in which the number stands as it is read: `.12` and `::12`.
fn numbered(v4: &str, v6: &str, family: Family, number: u16) -> Result<IpAddr> {
    let text = match family {
        Family::V4 => format!("{v4}{number}"),
        Family::V6 => format!("{v6}{number}"),
    };
    text.parse().with_context(|| format!("address {text}"))
}

impl Node {
    /// The node's address on the nodes' network.
    pub fn address(&self, family: Family) -> Result<IpAddr> {
        numbered("172.18.0.", "fd00:18::", family, 10 + self.index)
    }

    /// The pods' gateway on the node.
    pub fn gateway(&self, family: Family) -> Result<IpAddr> {
        self.host(family, 1)
    }

    /// The range of the node's pods.
    pub fn pod_range(&self, family: Family) -> Result<IpNet> {
        let (address, length) = (self.host(family, 0)?, if family == Family::V4 { 24 } else { 64 });
        Ok(IpNet::new(address, length)?.trunc())
    }

    fn host(&self, family: Family, number: u16) -> Result<IpAddr> {
        let index = self.index;
        numbered(&format!("10.244.{index}."), &format!("fd00:244:{index}::"), family, number)
    }
}

impl Pod {
    /// Whether it has a network of its own.
    pub fn has_stack(&self) -> bool {
        !self.host_network && self.phase == Phase::Running
    }

    /// The pod's first address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|&address| Family::of(address) == family)
    }
}

impl State {
    /// The cluster a scenario starts with.
    pub fn of(scenario: &Scenario) -> Result<Self> {
        let mut state = Self {
            families: scenario.families.clone(),
            nodes: BTreeMap::new(),
            namespaces: scenario.namespaces.clone(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            policies: BTreeMap::new(),
            next: BTreeMap::new(),
        };
        for (index, (name, fields)) in (1u16..).zip(&scenario.nodes) {
            let (labels, external) = (fields.labels.clone(), fields.external.clone());
            state.nodes.insert(name.clone(), Node { index, labels, external });
            state.next.insert(name.clone(), 10);
        }
        for (name, fields) in &scenario.pods {
            state.put_pod(name, fields).with_context(|| format!("pods: {name}"))?;
        }
        for (index, (name, fields)) in (1u16..).zip(&scenario.services) {
            state.put_service(name, fields, index).with_context(|| format!("services: {name}"))?;
        }
        state.put_policies(&scenario.apply).context("apply")?;
        Ok(state)
    }

    /// The cluster after a step's changes.
    pub fn after(&self, step: &Step) -> Result<Self> {
        let mut state = self.clone();
        for (name, fields) in &step.nodes {
            let node = state.nodes.get_mut(name).with_context(|| format!("nodes: there is no {name}"))?;
            node.labels.clone_from(&fields.labels);
            node.external.clone_from(&fields.external);
        }
        for (name, labels) in &step.namespaces {
            match labels {
                Some(labels) => drop(state.namespaces.insert(name.clone(), labels.clone())),
                None => {
                    state
                        .namespaces
                        .remove(name)
                        .with_context(|| format!("namespaces: there is no {name}"))?;
                }
            }
        }
        // What frees an address comes before what takes it.
        for (name, _) in step.pods.iter().filter(|(_, fields)| fields.is_none()) {
            state.pods.remove(name).with_context(|| format!("pods: there is no {name}"))?;
        }
        for (name, fields) in &step.pods {
            if let Some(fields) = fields {
                state.put_pod(name, fields).with_context(|| format!("pods: {name}"))?;
            }
        }
        for name in &step.delete {
            state.policies.remove(name).with_context(|| format!("delete: there is no {name}"))?;
        }
        state.put_policies(&step.apply).context("apply")?;
        Ok(state)
    }

    fn put_pod(&mut self, name: &str, fields: &PodFields) -> Result<()> {
        let Some((namespace, _)) = name.split_once('/') else { bail!("a pod is named `namespace/name`") };
        if !self.namespaces.contains_key(namespace) {
            bail!("there is no namespace {namespace}");
        }
        let old = self.pods.get(name);
        let node = match (&fields.node, old) {
            (Some(node), _) => node.clone(),
            (None, Some(old)) => old.node.clone(),
            (None, None) => bail!("`node` is missing"),
        };
        let place = self.nodes.get(&node).with_context(|| format!("node: there is no {node}"))?;
        let host_network = fields.host_network.unwrap_or(old.is_some_and(|old| old.host_network));
        let mut addresses = Vec::new();
        match (&fields.addresses, old) {
            _ if host_network => {
                for &family in &self.families {
                    addresses.push(place.address(family)?);
                }
            }
            (Some(given), _) => addresses.clone_from(given),
            (None, Some(old)) if old.node == node && !old.host_network => {
                addresses.clone_from(&old.addresses);
            }
            _ => {
                let next = self.next.get_mut(&node).context("node without numbers")?;
                // A number that a pod was given explicitly is not free either.
                while self.families.iter().any(|&family| {
                    let taken = place.host(family, *next).ok();
                    self.pods.values().any(|pod| taken.is_some_and(|taken| pod.addresses.contains(&taken)))
                }) {
                    *next += 1;
                }
                for &family in &self.families {
                    addresses.push(place.host(family, *next)?);
                }
                *next += 1;
            }
        }
        let pod = Pod {
            node,
            labels: fields.labels.clone().or(old.map(|old| old.labels.clone())).unwrap_or_default(),
            ports: match &fields.ports {
                Some(ports) => ports.iter().map(super::format::PortFields::port).collect::<Result<_>>()?,
                None => old.map(|old| old.ports.clone()).unwrap_or_default(),
            },
            addresses,
            host_network,
            phase: fields.phase.or(old.map(|old| old.phase)).unwrap_or_default(),
            terminating: fields.terminating.unwrap_or(old.is_some_and(|old| old.terminating)),
        };
        self.pods.insert(name.to_owned(), pod);
        Ok(())
    }

    fn put_service(&mut self, name: &str, fields: &ServiceFields, index: u16) -> Result<()> {
        if !self.pods.contains_key(&fields.backend) {
            bail!("backend: there is no pod {}", fields.backend);
        }
        let families = self.families.iter();
        let addresses = families.map(|&family| numbered("10.96.0.", "fd00:96::", family, 10 + index));
        let service = Service {
            backend: fields.backend.clone(),
            protocol: fields.protocol.0,
            port: fields.port,
            target: fields.target.unwrap_or(fields.port),
            addresses: addresses.collect::<Result<_>>()?,
        };
        self.services.insert(name.to_owned(), service);
        Ok(())
    }

    fn put_policies(&mut self, policies: &[Value]) -> Result<()> {
        for (position, object) in policies.iter().enumerate() {
            let name = policy::name(object).with_context(|| format!("[{position}]"))?;
            self.policies.insert(name, object.clone());
        }
        Ok(())
    }
}
