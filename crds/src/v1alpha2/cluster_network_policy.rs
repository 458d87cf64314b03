//! ClusterNetworkPolicy: what the cluster's administrator decides, before or after NetworkPolicy.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Action, EgressPeer, IngressPeer, Protocol, Subject, Tier};
use crate::PolicyStatus;

/// The subject, the policy's place in the order, and the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "policy.networking.k8s.io",
    version = "v1alpha2",
    kind = "ClusterNetworkPolicy",
    plural = "clusternetworkpolicies",
    shortname = "cnp",
    status = "PolicyStatus",
    derive = "PartialEq",
    doc = "What the cluster's administrator decides for the pods of any namespace, before NetworkPolicy is asked (tier \
           Admin) or after it (tier Baseline). Per direction and tier, the policies are asked in the order of their \
           priority and their rules in the order written; the first rule that matches decides. What nothing decides \
           is permitted. A connection needs the permission of the source's egress and of the destination's ingress.",
    annotation(
        "api-approved.kubernetes.io",
        "https://github.com/kubernetes-sigs/network-policy-api/pull/347"
    ),
    annotation("policy.networking.k8s.io/bundle-version", "v0.2.0"),
    annotation("policy.networking.k8s.io/channel", "experimental"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier"),
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
pub struct ClusterNetworkPolicySpec {
    /// `Admin` comes before every NetworkPolicy, and its decision is final. `Baseline` comes after, for pods that no
    /// NetworkPolicy isolates in that direction.
    pub tier: Tier,
    /// The place among the policies of the tier: 0 is asked first, 1000 last. Policies of equal priority are asked
    /// in the order of their names, which other implementations do not promise.
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,
    /// Which pods the rules are for. Pods of the host network are never among them.
    pub subject: Subject,
    /// Rules for connections to the subject's pods. Without any, the policy says nothing of ingress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25))]
    pub ingress: Vec<IngressRule>,
    /// Rules for connections from the subject's pods. Without any, the policy says nothing of egress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25))]
    pub egress: Vec<EgressRule>,
}

impl ClusterNetworkPolicySpec {
    /// A policy without rules.
    pub fn new(tier: Tier, priority: i32, subject: Subject) -> Self {
        Self { tier, priority, subject, ingress: Vec::new(), egress: Vec::new() }
    }
}

/// What becomes of connections to the subject's pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct IngressRule {
    /// A name for people: it stands wherever this rule is reported as the one that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub name: Option<String>,
    /// `Accept` permits the connection with its replies and the ICMP that belongs to it, and asks no further. `Deny`
    /// drops without an answer. `Pass` skips the rest of the tier and asks the next.
    pub action: Action,
    /// Where the connection comes from; one peer that matches is enough.
    #[schemars(length(min = 1, max = 25))]
    pub from: Vec<IngressPeer>,
    /// Which protocols and ports of the subject's pods; one entry that matches is enough. Left out: everything, ICMP
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 25))]
    pub protocols: Option<Vec<Protocol>>,
}

impl IngressRule {
    /// A rule for all protocols.
    pub fn new(action: Action, from: impl IntoIterator<Item = IngressPeer>) -> Self {
        Self { name: None, action, from: from.into_iter().collect(), protocols: None }
    }
}

/// What becomes of connections from the subject's pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes) || has(peer.domainNames)) && has(self.protocols) && self.protocols.exists(protocol, has(protocol.destinationNamedPort)))"
).message("destinationNamedPort needs peers that are pods: networks, nodes and domainNames have no named ports; write the port's number"))]
pub struct EgressRule {
    /// A name for people: it stands wherever this rule is reported as the one that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub name: Option<String>,
    /// `Accept` permits the connection to leave, with its replies and the ICMP that belongs to it; the destination's
    /// ingress is still asked. `Deny` drops without an answer. `Pass` skips the rest of the tier and asks the next.
    pub action: Action,
    /// Where the connection goes; one peer that matches is enough.
    #[schemars(length(min = 1, max = 25))]
    pub to: Vec<EgressPeer>,
    /// Which protocols and ports of the destination; one entry that matches is enough. Left out: everything, ICMP
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 25))]
    pub protocols: Option<Vec<Protocol>>,
}

impl EgressRule {
    /// A rule for all protocols.
    pub fn new(action: Action, to: impl IntoIterator<Item = EgressPeer>) -> Self {
        Self { name: None, action, to: to.into_iter().collect(), protocols: None }
    }
}
