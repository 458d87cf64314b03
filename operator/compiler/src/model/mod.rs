//! Validated domain types: what policies, pods, namespaces and nodes mean, with every default filled in and every
//! unknown already turned into something that fails closed. No Kubernetes shapes, no raw strings to interpret.

mod cluster;
mod object;
mod policy;
mod selector;
mod workload;

pub use cluster::Cluster;
pub use object::{Event, Kind, Object, ObjectRef};
pub use policy::{
    Action, AdminPolicy, AdminRule, AdminSubject, DomainPattern, NamespaceMatch, NetworkPolicy,
    NetworkPolicyRule, Peer, Policy, PortMatch, Tier,
};
pub use selector::{Labels, Operator, Requirement, Selector};
pub use workload::{NamedPort, Namespace, Node, Pod};
