//! The demo's cluster as the network it is, without daemons and without policies.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::namespaces::Stack;
use crate::scenario::{Cni, Place, Scenario, State};
use crate::traffic::{Flood, Ports};

const CLUSTER: &str = include_str!("../../demo.yaml");

/// See the module.
#[derive(Debug)]
pub struct Stage {
    /// The cluster's namespaces.
    pub cluster: Cluster,
    /// What is in it at the start.
    pub state: State,
    /// The cluster as data, with the verdicts worth explaining.
    pub scenario: Scenario,
}

impl Stage {
    /// What the cluster is to be.
    pub fn plan() -> Result<(Scenario, State)> {
        let scenario = Scenario::parse("demo", Path::new("demo.yaml"), CLUSTER)?;
        let state = State::of(&scenario)?;
        Ok((scenario, state))
    }

    /// Builds it.
    pub async fn build() -> Result<Self> {
        let (scenario, state) = Self::plan()?;
        let cluster = Cluster::build(&state, Cni::Routed, &Ports::default()).await?;
        Ok(Self { cluster, state, scenario })
    }

    /// A pod's stack and its first address.
    pub fn pod(&self, name: &str) -> Result<(&Arc<Stack>, IpAddr)> {
        let pod = self.state.pods.get(name).with_context(|| format!("there is no pod {name}"))?;
        let address = pod.addresses.first().copied().with_context(|| format!("{name} has no address"))?;
        Ok((self.cluster.stack(&Place::Pod(name.to_owned()))?, address))
    }

    /// A stream of datagrams from one pod to a port of another.
    pub async fn flood(&self, source: &str, destination: &str, port: u16) -> Result<Flood> {
        let (source, from) = self.pod(source)?;
        let (destination, to) = self.pod(destination)?;
        Flood::start(source, from, destination, SocketAddr::new(to, port)).await
    }
}
