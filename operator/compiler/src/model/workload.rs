//! Pods, namespaces and nodes, reduced to what policy can see of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_view::Protocol;

use super::{Kind, Labels, ObjectRef};

/// A container port with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// The port's name, unique within a container, not within a pod.
    pub name: String,
    /// Its protocol; Kubernetes' default is TCP.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// The node it is bound to, if any.
    pub node: Option<String>,
    /// Its addresses; none before the CNI has given it one.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether it lives in its node's network namespace. Such a pod is never a subject nor a pod peer; its traffic
    /// is its node's.
    pub host_network: bool,
    /// Named ports of its containers and of its restartable init containers.
    pub named_ports: BTreeSet<NamedPort>,
    /// Whether it has come to an end (phase Succeeded or Failed): its address may already be another's.
    pub finished: bool,
}

impl Pod {
    /// Whether policy sees the pod as subject and peer: it has an address of its own and has not finished. A
    /// terminating pod still counts.
    pub fn is_networked(&self) -> bool {
        !self.host_network && !self.finished && !self.addresses.is_empty()
    }

    /// The object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef { kind: Kind::Pod, namespace: Some(self.namespace.clone()), name: self.name.clone() }
    }
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, `kubernetes.io/metadata.name` included.
    pub labels: Labels,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its `InternalIP` and `ExternalIP` addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The ranges its pods have their addresses from, where the cluster assigns them.
    pub pod_cidrs: BTreeSet<IpNet>,
}
