//! The specification in code. (interface; being written)

use std::net::IpAddr;

use palisade_view::{Direction, L4};

use crate::model::{Action, Cluster, ObjectRef, Tier};

/// A packet to judge, with what the addresses alone do not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, behind DNAT.
    pub destination: IpAddr,
    /// Protocol and destination port.
    pub l4: L4,
    /// The node whose own stack sends it, where `status.addresses` does not tell (a bridge's gateway address).
    pub source_node: Option<String>,
    /// The node whose own stack receives it, where `status.addresses` does not tell.
    pub destination_node: Option<String>,
}

/// Why one direction of a flow is allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The side is no pod that policy can be about: no rule applies.
    NotASubject,
    /// A rule of a cluster-wide policy decided (Allow, Deny; Pass in the Baseline tier).
    AdminRule {
        /// The policy.
        policy: ObjectRef,
        /// Its tier.
        tier: Tier,
        /// The direction whose list the rule is in.
        direction: Direction,
        /// Position in that list, from 0.
        index: usize,
        /// The rule's name.
        name: Option<String>,
        /// What it did.
        action: Action,
    },
    /// A NetworkPolicy rule allowed it (the first in order of policy name and rule).
    NetworkPolicyRule {
        /// The policy.
        policy: ObjectRef,
        /// The direction whose list the rule is in.
        direction: Direction,
        /// Position in that list, from 0.
        index: usize,
    },
    /// NetworkPolicies isolate the pod and none allows it.
    Isolated {
        /// Every policy that isolates the pod in this direction, sorted.
        policies: Vec<ObjectRef>,
        /// The direction.
        direction: Direction,
    },
    /// NetworkPolicy never restricts traffic between a pod and its own node.
    OwnNode,
    /// NetworkPolicy never restricts traffic of a pod with itself.
    Itself,
    /// No rule had anything to say.
    NoRule,
}

/// One direction's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the direction permits the flow.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
}

/// Both directions' verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The source's side.
    pub egress: Verdict,
    /// The destination's side.
    pub ingress: Verdict,
}

impl Judgement {
    /// Whether both directions permit the flow.
    pub fn allowed(&self) -> bool {
        self.egress.allowed && self.ingress.allowed
    }
}

/// Judges the first packet of a flow.
pub fn judge(_cluster: &Cluster, _flow: &Flow) -> Judgement {
    let verdict = Verdict { allowed: true, reason: Reason::NotASubject };
    Judgement { egress: verdict.clone(), ingress: verdict }
}
