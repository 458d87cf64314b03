//! The specification in code: one flow, judged rule by rule as the API's text reads.
//!
//! Slow and obvious on purpose. For each subject and each rule it asks whether the rule matches the flow, and nothing
//! else: no compiled form, no set of ports, no index. It shares only the model with the engine and must know nothing
//! of how the engine or the data path work, so that the three can be held against each other.

mod claim;
mod judge;
mod matching;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::net::IpAddr;

use palisade_view::{Direction, L4};

use crate::model::{Action, Cluster, ObjectRef, Tier};
pub use walk::{Exemption, Explanation, Pair, RuleRef, Side, Stage, Walk};

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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASubject => f.write_str("not a subject"),
            Self::AdminRule { policy, direction, index, .. }
            | Self::NetworkPolicyRule { policy, direction, index } => {
                write!(f, "{policy} {direction}[{index}]")
            }
            Self::Isolated { policies, direction } => {
                write!(f, "isolation {direction} ")?;
                for (position, policy) in policies.iter().enumerate() {
                    let separator = if position == 0 { "" } else { ", " };
                    write!(f, "{separator}{policy}")?;
                }
                Ok(())
            }
            Self::OwnNode => f.write_str("own node"),
            Self::Itself => f.write_str("itself"),
            Self::NoRule => f.write_str("no rule"),
        }
    }
}

/// One direction's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the direction permits the flow.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.allowed { "allowed" } else { "denied" }, self.reason)
    }
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

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "egress {}; ingress {}", self.egress, self.ingress)
    }
}

/// Judges the first packet of a flow: the source's egress and the destination's ingress, each by itself.
///
/// - A node's own stack is no subject. Who claims an address and what a contested address is worth: only what is
///   allowed for every claimant, on either side; the reason is that of the first claimant denied.
/// - What the own node sends to a pod is allowed whatever the policies say. NetworkPolicy guarantees it; and no
///   ingress peer of the cluster-wide kinds can name a node, so only a Deny that stands for something not understood
///   could differ, and that must not take away health checks.
/// - What a pod sends to its own node, and to itself through a service, is subject to the cluster-wide policies, while
///   NetworkPolicy never restricts it.
pub fn judge(cluster: &Cluster, flow: &Flow) -> Judgement {
    walk(cluster, flow).judgement()
}

/// The same with the whole way to it: what each tier made of each direction.
pub fn walk(cluster: &Cluster, flow: &Flow) -> Explanation {
    Explanation {
        flow: flow.clone(),
        source: claim::side(cluster, flow.source),
        destination: claim::side(cluster, flow.destination),
        egress: judge::walk(cluster, flow, Direction::Egress),
        ingress: judge::walk(cluster, flow, Direction::Ingress),
    }
}
