//! Where a probe's packets go: the addresses dialled, what is left of them behind DNAT, and whose stacks they start
//! and end in. The one place that knows what a service or a gateway means to a packet.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use palisade_compiler::oracle::Flow;
use palisade_view::{Family, L4};

use super::format::Phase;
use super::probe::{End, Probe, Traffic};
use super::state::{State, WORLD};

/// A network stack of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A pod's, `namespace/name`.
    Pod(String),
    /// A node's, and that of its pods in the host's network.
    Node(String),
    /// The outside host's.
    World,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => f.write_str(name),
            Self::Node(name) => write!(f, "node:{name}"),
            Self::World => f.write_str("world"),
        }
    }
}

/// One probe over one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The family.
    pub family: Family,
    /// Where packets start.
    pub source: Place,
    /// Where packets end.
    pub destination: Place,
    /// The address dialled: a service's, or the destination's.
    pub dialled: IpAddr,
    /// What is sent to the address dialled.
    pub traffic: Traffic,
    /// What the judges see.
    pub flow: Flow,
}

/// A stack with the address it has there.
struct Resolved {
    place: Place,
    address: IpAddr,
    node: Option<String>,
}

impl State {
    /// The routes of a probe, one a family.
    pub fn routes(&self, probe: &Probe) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for &family in &self.families {
            if probe.family.is_none_or(|asked| asked == family)
                && let Some(route) = self.route(probe, family).with_context(|| format!("probe `{probe}`"))?
            {
                routes.push(route);
            }
        }
        if routes.is_empty() {
            bail!("probe `{probe}`: the ends have no family in common");
        }
        Ok(routes)
    }

    fn route(&self, probe: &Probe, family: Family) -> Result<Option<Route>> {
        let Some(source) = self.resolve(&probe.source, None, family)? else { return Ok(None) };
        let mut traffic = probe.traffic;
        let mut dialled = None;
        let end = match &probe.destination {
            End::Service(name) => {
                let service =
                    self.services.get(name).with_context(|| format!("there is no service {name}"))?;
                if probe.traffic != Traffic::Port(service.protocol, service.port) {
                    let expected = Traffic::Port(service.protocol, service.port);
                    bail!("svc:{name} is reached at {expected}, not at {}", probe.traffic);
                }
                traffic = Traffic::Port(service.protocol, service.target);
                dialled = service.addresses.iter().copied().find(|&address| Family::of(address) == family);
                if dialled.is_none() {
                    return Ok(None);
                }
                &End::Pod(service.backend.clone())
            }
            end => end,
        };
        let Some(destination) = self.resolve(end, Some(&source), family)? else { return Ok(None) };
        let l4 = match (traffic, family) {
            (Traffic::Port(protocol, port), _) => L4::Port(protocol, port),
            (Traffic::Echo, Family::V4) => L4::Other(1),
            (Traffic::Echo, Family::V6) => L4::Other(58),
        };
        if source.place == destination.place && dialled.is_none() {
            bail!("a packet of {} to itself never leaves its namespace: use a service", source.place);
        }
        Ok(Some(Route {
            family,
            dialled: dialled.unwrap_or(destination.address),
            traffic: probe.traffic,
            flow: Flow {
                source: source.address,
                destination: destination.address,
                l4,
                source_node: source.node,
                destination_node: destination.node,
            },
            source: source.place,
            destination: destination.place,
        }))
    }

    fn resolve(&self, end: &End, source: Option<&Resolved>, family: Family) -> Result<Option<Resolved>> {
        let node = |name: &str| self.nodes.get(name).with_context(|| format!("there is no node {name}"));
        Ok(Some(match end {
            End::Pod(name) => {
                let pod = self.pods.get(name).with_context(|| format!("there is no pod {name}"))?;
                let Some(address) = pod.address(family) else { return Ok(None) };
                if pod.phase != Phase::Running {
                    bail!("{name} has finished: it sends and receives nothing");
                }
                if pod.host_network {
                    let name = pod.node.clone();
                    Resolved { place: Place::Node(name.clone()), address, node: Some(name) }
                } else {
                    Resolved { place: Place::Pod(name.clone()), address, node: None }
                }
            }
            End::Node(name) => {
                let address = node(name)?.address(family)?;
                Resolved { place: Place::Node(name.clone()), address, node: Some(name.clone()) }
            }
            End::Gateway => {
                let Some(Resolved { place: Place::Pod(pod), .. }) = source else {
                    bail!("only a pod has a gateway");
                };
                let name = &self.pods.get(pod).with_context(|| format!("there is no pod {pod}"))?.node;
                let address = node(name)?.gateway(family)?;
                Resolved { place: Place::Node(name.clone()), address, node: Some(name.clone()) }
            }
            End::World => Resolved {
                place: Place::World,
                address: WORLD[usize::from(family == Family::V6)],
                node: None,
            },
            End::Service(name) => bail!("svc:{name} is no stack"),
        }))
    }
}
