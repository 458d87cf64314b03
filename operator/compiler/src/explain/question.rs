//! A question as people ask it, by names or addresses, and the flows that it is about in a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use palisade_view::{Family, L4, Protocol};

use crate::model::{Cluster, Pod};
use crate::oracle::Flow;

/// The most pods that may claim an address that is asked about: every pair of claimants is walked by itself.
const CLAIMANTS: usize = 64;

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// An address, behind DNAT where it is the destination's.
    Address(IpAddr),
    /// A pod by its name: all its addresses.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl FromStr for Party {
    type Err = ();

    /// Reads `ADDRESS` or `NAMESPACE/POD`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::Pod { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Pod { namespace, name } => write!(f, "{namespace}/{name}"),
        }
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    L4(L4),
    /// ICMP over IPv4, `ICMPv6` over IPv6.
    Icmp,
}

/// Why may or may not this reach that?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    source: Party,
    destination: Party,
    traffic: Traffic,
    source_node: Option<String>,
    destination_node: Option<String>,
}

/// What is wrong with a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}`: {problem}")]
pub struct QuestionError {
    /// The parameter at fault.
    pub parameter: String,
    /// What is wrong and what to give instead.
    pub problem: String,
}

fn wrong(parameter: &str, problem: impl Into<String>) -> QuestionError {
    QuestionError { parameter: parameter.to_owned(), problem: problem.into() }
}

/// The parameters there are.
const PARAMETERS: [&str; 6] =
    ["source", "destination", "protocol", "port", "source_node", "destination_node"];

impl Question {
    /// Reads a question of named parameters: `source` and `destination` (an address, or `namespace/pod`), `protocol`
    /// (`tcp`, which goes without saying, `udp`, `sctp`, `icmp` or an IANA number), `port` for those that have ports,
    /// and, where an address does not tell that a node's own stack is meant, `source_node` and `destination_node`.
    pub fn parse<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QuestionError> {
        let mut given = BTreeMap::new();
        for (name, value) in parameters {
            if !PARAMETERS.contains(&name) {
                return Err(wrong(name, format!("not known; there are {}", PARAMETERS.join(", "))));
            }
            if given.insert(name, value).is_some() {
                return Err(wrong(name, "given twice; a question is about one flow"));
            }
        }
        let party = |name| {
            let help = "give an address, or a pod as namespace/name";
            let text = given.get(name).ok_or_else(|| wrong(name, format!("missing; {help}")))?;
            text.parse().map_err(|()| wrong(name, format!("{text:?} is neither; {help}")))
        };
        let node = |name| given.get(name).map(|&node| node.to_owned()).filter(|node| !node.is_empty());
        Ok(Self {
            source: party("source")?,
            destination: party("destination")?,
            traffic: traffic(given.get("protocol").copied(), given.get("port").copied())?,
            source_node: node("source_node"),
            destination_node: node("destination_node"),
        })
    }

    /// The flows that it is about in a cluster: one a family that both ends have, IPv4 first. A pod in its node's
    /// network is that node's stack.
    pub fn flows(&self, cluster: &Cluster) -> Result<Vec<Flow>, QuestionError> {
        let source = resolve(cluster, "source", &self.source, self.source_node.as_deref())?;
        let destination =
            resolve(cluster, "destination", &self.destination, self.destination_node.as_deref())?;
        let mut flows = Vec::new();
        for family in [Family::V4, Family::V6] {
            let of = |end: &End| end.addresses.iter().copied().find(|&address| Family::of(address) == family);
            let (Some(from), Some(to)) = (of(&source), of(&destination)) else { continue };
            flows.push(Flow {
                source: from,
                destination: to,
                l4: match self.traffic {
                    Traffic::L4(l4) => l4,
                    Traffic::Icmp => L4::Other(if family == Family::V4 { 1 } else { 58 }),
                },
                source_node: source.node.clone(),
                destination_node: destination.node.clone(),
            });
        }
        for flow in &flows {
            check_claims(cluster, "source", flow.source)?;
            check_claims(cluster, "destination", flow.destination)?;
        }
        if flows.is_empty() {
            let problem =
                format!("{} and {} have no address family in common", self.source, self.destination);
            return Err(wrong("destination", format!("{problem}; give two ends of IPv4 or two of IPv6")));
        }
        Ok(flows)
    }
}

fn traffic(protocol: Option<&str>, port: Option<&str>) -> Result<Traffic, QuestionError> {
    let name = protocol.unwrap_or("tcp");
    let number = name.parse::<u8>().ok();
    let with_ports = Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.name().eq_ignore_ascii_case(name) || number == Some(protocol.number()));
    if let Some(protocol) = with_ports {
        let help = "give the destination's port, behind a Service the pod's own, from 0 to 65535";
        let port = port.ok_or_else(|| wrong("port", format!("missing; {protocol} has ports: {help}")))?;
        let number = port.parse().map_err(|_| wrong("port", format!("{port:?} is not a port; {help}")))?;
        return Ok(Traffic::L4(L4::Port(protocol, number)));
    }
    let traffic = if name.eq_ignore_ascii_case("icmp") {
        Traffic::Icmp
    } else if name.eq_ignore_ascii_case("icmpv6") {
        Traffic::L4(L4::Other(58))
    } else if let Some(number) = number {
        Traffic::L4(L4::Other(number))
    } else {
        let problem = format!("{name:?} is not known; give tcp, udp, sctp, icmp or an IANA number");
        return Err(wrong("protocol", problem));
    };
    if port.is_some() {
        return Err(wrong("port", format!("{name} has no ports; leave it out")));
    }
    Ok(traffic)
}

fn check_claims(cluster: &Cluster, parameter: &str, address: IpAddr) -> Result<(), QuestionError> {
    let claims = |pod: &&Pod| pod.is_networked() && pod.addresses.contains(&address);
    let count = cluster.pods.values().filter(claims).count();
    if count <= CLAIMANTS {
        return Ok(());
    }
    let help = format!("see `kubectl get pods -A --field-selector status.podIP={address}`");
    Err(wrong(parameter, format!("{count} pods claim {address}, more than {CLAIMANTS}; {help}")))
}

/// Addresses of one end, and the node whose stack it is known to be.
struct End {
    addresses: Vec<IpAddr>,
    node: Option<String>,
}

fn resolve(
    cluster: &Cluster,
    parameter: &str,
    party: &Party,
    node: Option<&str>,
) -> Result<End, QuestionError> {
    if let Some(node) = node.filter(|node| !cluster.nodes.contains_key(*node)) {
        let parameter = format!("{parameter}_node");
        return Err(wrong(&parameter, format!("there is no node {node:?}; see `kubectl get nodes`")));
    }
    let node = node.map(str::to_owned);
    let (namespace, name) = match party {
        Party::Address(address) => return Ok(End { addresses: vec![*address], node }),
        Party::Pod { namespace, name } => (namespace, name),
    };
    let Some(pod) = cluster.pods.get(&(namespace.clone(), name.clone())) else {
        let help = "see `kubectl get pods -A`, or give an address";
        return Err(wrong(parameter, format!("there is no pod {party}; {help}")));
    };
    if pod.finished {
        let problem =
            format!("the pod {party} has come to an end; its address may be another's, so give that");
        return Err(wrong(parameter, problem));
    }
    if pod.addresses.is_empty() {
        return Err(wrong(parameter, format!("the pod {party} has no address yet; ask again once it has")));
    }
    let own_node = pod.node.clone().filter(|_| pod.host_network);
    Ok(End { addresses: pod.addresses.iter().copied().collect(), node: node.or(own_node) })
}
