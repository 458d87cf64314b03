//! Whether a peer and a port of a rule match a flow.

use std::net::IpAddr;

use palisade_view::{Direction, L4};

use super::claim;
use crate::model::{Cluster, NamespaceMatch, Peer, Pod, PortMatch};

/// One subject's side of a flow, with one claimant of the other side.
pub(super) struct Case<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) direction: Direction,
    pub(super) subject: &'a Pod,
    /// The other side's address.
    pub(super) address: IpAddr,
    /// The pod that has the other side's address, if one does.
    pub(super) peer: Option<&'a Pod>,
    /// The node whose own stack the other side is known to be.
    pub(super) stack: Option<&'a str>,
    /// Whether the packet goes back to where it came from.
    pub(super) is_hairpin: bool,
    pub(super) l4: L4,
}

impl Case<'_> {
    /// Whether one of the peers matches, with one of the ports as that peer understands them.
    pub(super) fn matches_any(&self, peers: &[Peer], ports: Option<&[PortMatch]>) -> bool {
        peers.iter().any(|peer| {
            self.matches_peer(peer)
                && ports.is_none_or(|ports| ports.iter().any(|port| self.matches_port(port, peer)))
        })
    }

    fn matches_peer(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Everything => true,
            Peer::Pods { namespaces, pods } => self.peer.is_some_and(|pod| {
                let in_namespace = match namespaces {
                    NamespaceMatch::Name(name) => pod.namespace == *name,
                    NamespaceMatch::Labels(selector) => {
                        selector.matches(&claim::namespace_labels(self.cluster, &pod.namespace))
                    }
                };
                in_namespace && pods.matches(&pod.labels)
            }),
            Peer::Networks { networks, except, .. } => {
                networks.iter().any(|network| network.contains(&self.address))
                    && !except.iter().any(|network| network.contains(&self.address))
            }
            Peer::Nodes(selector) => {
                claim::nodes(self.cluster, self.address).iter().any(|node| selector.matches(&node.labels))
            }
            Peer::Names(_) => false,
        }
    }

    fn matches_port(&self, port: &PortMatch, peer: &Peer) -> bool {
        let L4::Port(protocol, number) = self.l4 else { return false };
        match port {
            PortMatch::Protocol(wanted) => *wanted == protocol,
            PortMatch::Range(wanted, first, last) => {
                *wanted == protocol && (*first..=*last).contains(&number)
            }
            PortMatch::Named { name, protocol: wanted } => {
                self.resolves_names(peer)
                    && wanted.is_none_or(|wanted| wanted == protocol)
                    && self.destination().is_some_and(|pod| {
                        pod.named_ports.iter().any(|port| {
                            port.name == *name && port.protocol == protocol && port.port == number
                        })
                    })
            }
        }
    }

    /// Whether ports have names where the peer is of this kind. On ingress they are the subject's, whoever comes.
    fn resolves_names(&self, peer: &Peer) -> bool {
        match (self.direction, peer) {
            (Direction::Ingress, _) | (Direction::Egress, Peer::Everything | Peer::Pods { .. }) => true,
            (Direction::Egress, Peer::Networks { named_ports, .. }) => *named_ports,
            (Direction::Egress, Peer::Nodes(_) | Peer::Names(_)) => false,
        }
    }

    /// The pod whose ports the flow's destination port is one of.
    fn destination(&self) -> Option<&Pod> {
        match self.direction {
            Direction::Ingress => Some(self.subject),
            Direction::Egress => self.peer,
        }
    }
}
