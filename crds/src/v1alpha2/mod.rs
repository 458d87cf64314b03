//! `policy.networking.k8s.io/v1alpha2`: every field of the experimental channel of upstream's v0.2.0.

mod action;
mod cluster_network_policy;
mod egress_peer;
mod ingress_peer;
mod pods;
mod port;
mod protocol;
mod subject;
mod tier;

pub use action::Action;
pub use cluster_network_policy::{ClusterNetworkPolicy, ClusterNetworkPolicySpec, EgressRule, IngressRule};
pub use egress_peer::EgressPeer;
pub use ingress_peer::IngressPeer;
pub use pods::Pods;
pub use port::{Port, PortRange};
pub use protocol::{Protocol, Transport};
pub use subject::Subject;
pub use tier::Tier;
