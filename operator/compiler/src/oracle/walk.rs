//! The whole way to a verdict, as plain values: who is at either side, and for each direction what every tier made of
//! the flow. The oracle fills them in rule by rule, the engine from its compiled steps ([`crate::Engine::explain`]);
//! nothing here knows either.

use std::net::IpAddr;

use palisade_view::Direction;

use super::{Flow, Judgement, Verdict};
use crate::model::{Action, ObjectRef, Tier};

/// Both directions of a flow, each walked to its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked.
    pub flow: Flow,
    /// Whose the source address is.
    pub source: Side,
    /// Whose the destination address is.
    pub destination: Side,
    /// The source's egress.
    pub egress: Walk,
    /// The destination's ingress.
    pub ingress: Walk,
}

impl Explanation {
    /// Whether both directions permit the flow.
    pub fn allowed(&self) -> bool {
        self.egress.verdict.allowed && self.ingress.verdict.allowed
    }

    /// The two verdicts.
    pub fn judgement(&self) -> Judgement {
        Judgement { egress: self.egress.verdict.clone(), ingress: self.ingress.verdict.clone() }
    }

    /// The direction that denies, egress before ingress; `None` where the flow is allowed.
    pub fn denies(&self) -> Option<&Walk> {
        [&self.egress, &self.ingress].into_iter().find(|walk| !walk.verdict.allowed)
    }
}

/// Whose an address is. With no pod and no node it is outside the cluster, or is no packet's address behind DNAT, such
/// as a Service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The address.
    pub address: IpAddr,
    /// The pods whose it is, by namespace and name. Several: nothing tells whose it is, and the flow needs what all of
    /// them are allowed.
    pub pods: Vec<ObjectRef>,
    /// Pods that claim it too, while the pod range of another's node holds it: they are not judged by here.
    pub outbid: Vec<ObjectRef>,
    /// Nodes that have it in their status, sorted by name.
    pub nodes: Vec<String>,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Which.
    pub direction: Direction,
    /// One for each pod whose the subject's address may be with each pod whose the peer's may be; none where the side
    /// is no pod.
    pub pairs: Vec<Pair>,
    /// What they come to: the first of them that is denied, or else the first.
    pub verdict: Verdict,
}

impl Walk {
    /// The pair whose verdict is the direction's.
    pub fn decisive(&self) -> Option<&Pair> {
        self.pairs.iter().find(|pair| !pair.verdict.allowed).or(self.pairs.first())
    }
}

/// A subject with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The pod whose policies are asked.
    pub subject: ObjectRef,
    /// The pod at the other side, if there is one.
    pub peer: Option<ObjectRef>,
    /// What was asked, in order, the decisive one last. What would come after it is not asked.
    pub stages: Vec<Stage>,
    /// The outcome.
    pub verdict: Verdict,
}

/// What one tier made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The pod's own node sends, which is allowed before any policy is asked.
    OwnNode,
    /// A tier of cluster-wide policies.
    Tier {
        /// Which.
        tier: Tier,
        /// Those about the subject that have rules for this direction, in the order of judgement.
        policies: Vec<ObjectRef>,
        /// The first rule that matches, with what it does.
        matched: Option<(RuleRef, Action)>,
    },
    /// The NetworkPolicies of the subject's namespace.
    NetworkPolicy {
        /// Those that isolate the subject in this direction, by name. None: the tier has no say.
        isolating: Vec<ObjectRef>,
        /// Why isolation is nothing to this flow.
        exemption: Option<Exemption>,
        /// Every rule that allows the flow, in order of policy name and rule; not asked where there is an exemption.
        allowing: Vec<RuleRef>,
    },
    /// Nothing decided.
    Default,
}

/// A rule, in the list of the direction in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// The policy.
    pub policy: ObjectRef,
    /// Position in the object's list, from 0.
    pub index: usize,
    /// The rule's name. Rules of NetworkPolicies have none.
    pub name: Option<String>,
}

/// Traffic that NetworkPolicy never restricts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exemption {
    /// Between a pod and its own node.
    OwnNode,
    /// Of a pod with itself, through a service.
    Itself,
}
