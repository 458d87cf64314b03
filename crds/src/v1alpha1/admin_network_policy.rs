//! AdminNetworkPolicy: what the cluster's administrator decides before any NetworkPolicy is asked.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Action, EgressPeer, IngressPeer, Port, Subject};
use crate::PolicyStatus;

/// The subject, the policy's place in the order, and the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "policy.networking.k8s.io",
    version = "v1alpha1",
    kind = "AdminNetworkPolicy",
    plural = "adminnetworkpolicies",
    shortname = "anp",
    status = "PolicyStatus",
    derive = "PartialEq",
    doc = "What the cluster's administrator decides for the pods of any namespace, before NetworkPolicy is asked. \
           Per direction, the policies are asked in the order of their priority and their rules in the order \
           written; the first rule that matches decides. What no rule matches goes on to NetworkPolicy, and then to \
           BaselineAdminNetworkPolicy. A connection needs the permission of the source's egress and of the \
           destination's ingress.",
    annotation(
        "api-approved.kubernetes.io",
        "https://github.com/kubernetes-sigs/network-policy-api/pull/300"
    ),
    annotation("policy.networking.k8s.io/bundle-version", "v0.1.7"),
    annotation("policy.networking.k8s.io/channel", "experimental"),
    printcolumn(name = "Priority", type_ = "string", json_path = ".spec.priority"),
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
pub struct AdminNetworkPolicySpec {
    /// The place among all admin policies: 0 is asked first, 1000 last. Policies of equal priority are asked in the
    /// order of their names, which other implementations do not promise.
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,
    /// Which pods the rules are for. Pods of the host network are never among them.
    pub subject: Subject,
    /// Rules for connections to the subject's pods. Without any, the policy says nothing of ingress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub ingress: Vec<IngressRule>,
    /// Rules for connections from the subject's pods. Without any, the policy says nothing of egress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub egress: Vec<EgressRule>,
}

impl AdminNetworkPolicySpec {
    /// A policy without rules.
    pub fn new(priority: i32, subject: Subject) -> Self {
        Self { priority, subject, ingress: Vec::new(), egress: Vec::new() }
    }
}

/// What becomes of connections to the subject's pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct IngressRule {
    /// A name for people: it stands wherever this rule is reported as the one that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub name: Option<String>,
    /// `Allow` permits whatever NetworkPolicy says. `Deny` drops without an answer. `Pass` skips every further
    /// AdminNetworkPolicy and asks NetworkPolicy and then the baseline.
    pub action: Action,
    /// Where the connection comes from; one peer that matches is enough.
    #[schemars(length(min = 1, max = 100))]
    pub from: Vec<IngressPeer>,
    /// Which ports of the subject's pods; one that matches is enough. Left out: every port and every protocol, ICMP
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub ports: Option<Vec<Port>>,
}

impl IngressRule {
    /// A rule for all ports.
    pub fn new(action: Action, from: impl IntoIterator<Item = IngressPeer>) -> Self {
        Self { name: None, action, from: from.into_iter().collect(), ports: None }
    }
}

/// What becomes of connections from the subject's pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes) || has(peer.domainNames)) && has(self.ports) && self.ports.exists(port, has(port.namedPort)))"
).message("namedPort needs peers that are pods: networks, nodes and domainNames have no named ports; write the port's number"))]
pub struct EgressRule {
    /// A name for people: it stands wherever this rule is reported as the one that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub name: Option<String>,
    /// `Allow` permits whatever NetworkPolicy says. `Deny` drops without an answer. `Pass` skips every further
    /// AdminNetworkPolicy and asks NetworkPolicy and then the baseline.
    pub action: Action,
    /// Where the connection goes; one peer that matches is enough.
    #[schemars(length(min = 1, max = 100))]
    pub to: Vec<EgressPeer>,
    /// Which ports of the destination; one that matches is enough. Left out: every port and every protocol, ICMP
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub ports: Option<Vec<Port>>,
}

impl EgressRule {
    /// A rule for all ports.
    pub fn new(action: Action, to: impl IntoIterator<Item = EgressPeer>) -> Self {
        Self { name: None, action, to: to.into_iter().collect(), ports: None }
    }
}
