//! `policy.networking.k8s.io/v1alpha1`: every field of the experimental channel of upstream's v0.1.8.

mod action;
mod admin_network_policy;
mod baseline_admin_network_policy;
mod conformance_report;
mod egress_peer;
mod ingress_peer;
mod pods;
mod port;
mod subject;

pub use action::{Action, BaselineAction};
pub use admin_network_policy::{AdminNetworkPolicy, AdminNetworkPolicySpec, EgressRule, IngressRule};
pub use baseline_admin_network_policy::{
    BaselineAdminNetworkPolicy, BaselineAdminNetworkPolicySpec, BaselineEgressRule, BaselineIngressRule,
};
pub use conformance_report::{
    ConformanceReport, ConformanceReportFields, ExperimentalLevel, Implementation, Level, Outcome, Profile,
    Statistics,
};
pub use egress_peer::{BaselineEgressPeer, EgressPeer};
pub use ingress_peer::IngressPeer;
pub use pods::Pods;
pub use port::{Port, PortNumber, PortRange};
pub use subject::Subject;
