//! Names of objects and changes of them.

use std::fmt;

use super::{Namespace, Node, Pod, Policy};

/// The kinds of object that matter. The order is the tie-break between kinds: a ClusterNetworkPolicy comes before
/// an AdminNetworkPolicy of the same priority and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Namespace
    Namespace,
    /// `v1` Node
    Node,
    /// `v1` Pod
    Pod,
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy
    ClusterNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` AdminNetworkPolicy
    AdminNetworkPolicy,
    /// `networking.k8s.io/v1` NetworkPolicy
    NetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` BaselineAdminNetworkPolicy
    BaselineAdminNetworkPolicy,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::ClusterNetworkPolicy,
        Self::AdminNetworkPolicy,
        Self::NetworkPolicy,
        Self::BaselineAdminNetworkPolicy,
    ];

    /// Kubernetes' name of the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
        }
    }

    /// The `apiVersion` of the kind.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::Node | Self::Pod => "v1",
            Self::ClusterNetworkPolicy => "policy.networking.k8s.io/v1alpha2",
            Self::AdminNetworkPolicy | Self::BaselineAdminNetworkPolicy => {
                "policy.networking.k8s.io/v1alpha1"
            }
            Self::NetworkPolicy => "networking.k8s.io/v1",
        }
    }

    /// Whether objects of the kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::Pod | Self::NetworkPolicy)
    }

    /// Whether the kind is a policy.
    pub fn is_policy(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node | Self::Pod)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of an object, written `Kind/name` or `Kind/namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, if the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// An object of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A policy.
    Policy(Policy),
}

impl Object {
    /// The object's name.
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::Namespace(namespace) => {
                ObjectRef { kind: Kind::Namespace, namespace: None, name: namespace.name.clone() }
            }
            Self::Node(node) => ObjectRef { kind: Kind::Node, namespace: None, name: node.name.clone() },
            Self::Pod(pod) => pod.object(),
            Self::Policy(policy) => policy.object(),
        }
    }
}

/// A change of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The object is there, new or changed.
    Apply(Object),
    /// The object is gone.
    Delete(ObjectRef),
}
