//! BaselineAdminNetworkPolicy: what holds where nobody else has decided.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{BaselineAction, BaselineEgressPeer, IngressPeer, Port, Subject};
use crate::PolicyStatus;

/// The subject and the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "policy.networking.k8s.io",
    version = "v1alpha1",
    kind = "BaselineAdminNetworkPolicy",
    plural = "baselineadminnetworkpolicies",
    shortname = "banp",
    status = "PolicyStatus",
    derive = "PartialEq",
    doc = "What holds for pods that no NetworkPolicy isolates and about which no AdminNetworkPolicy has decided: the \
           cluster's defaults. There is one in a cluster, named `default`. Rules are asked in the order written, the \
           first that matches decides, and what none matches is permitted.",
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/network-policy-api/pull/300"),
    annotation("policy.networking.k8s.io/bundle-version", "v0.1.7"),
    annotation("policy.networking.k8s.io/channel", "experimental"),
    validation = Rule::new("self.metadata.name == 'default'")
        .message("there is one BaselineAdminNetworkPolicy in a cluster, and its name must be \"default\""),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct BaselineAdminNetworkPolicySpec {
    /// Which pods the rules are for. Pods of the host network are never among them.
    pub subject: Subject,
    /// Rules for connections to the subject's pods. Without any, the policy says nothing of ingress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub ingress: Vec<BaselineIngressRule>,
    /// Rules for connections from the subject's pods. Without any, the policy says nothing of egress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub egress: Vec<BaselineEgressRule>,
}

impl BaselineAdminNetworkPolicySpec {
    /// A policy without rules.
    pub fn new(subject: Subject) -> Self {
        Self { subject, ingress: Vec::new(), egress: Vec::new() }
    }
}

/// What becomes of connections to the subject's pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct BaselineIngressRule {
    /// A name for people: it stands wherever this rule is reported as the one that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub name: Option<String>,
    /// `Allow` permits, `Deny` drops without an answer.
    pub action: BaselineAction,
    /// Where the connection comes from; one peer that matches is enough.
    #[schemars(length(min = 1, max = 100))]
    pub from: Vec<IngressPeer>,
    /// Which ports of the subject's pods; one that matches is enough. Left out: every port and every protocol, ICMP
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub ports: Option<Vec<Port>>,
}

impl BaselineIngressRule {
    /// A rule for all ports.
    pub fn new(action: BaselineAction, from: impl IntoIterator<Item = IngressPeer>) -> Self {
        Self { name: None, action, from: from.into_iter().collect(), ports: None }
    }
}

/// What becomes of connections from the subject's pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes)) && has(self.ports) && self.ports.exists(port, has(port.namedPort)))"
).message("namedPort needs peers that are pods: networks and nodes have no named ports; write the port's number"))]
pub struct BaselineEgressRule {
    /// A name for people: it stands wherever this rule is reported as the one that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub name: Option<String>,
    /// `Allow` permits, `Deny` drops without an answer.
    pub action: BaselineAction,
    /// Where the connection goes; one peer that matches is enough.
    #[schemars(length(min = 1, max = 100))]
    pub to: Vec<BaselineEgressPeer>,
    /// Which ports of the destination; one that matches is enough. Left out: every port and every protocol, ICMP
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub ports: Option<Vec<Port>>,
}

impl BaselineEgressRule {
    /// A rule for all ports.
    pub fn new(action: BaselineAction, to: impl IntoIterator<Item = BaselineEgressPeer>) -> Self {
        Self { name: None, action, to: to.into_iter().collect(), ports: None }
    }
}
