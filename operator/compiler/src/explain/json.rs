//! An explanation as JSON. The field names and tags are a contract with programs, so they are written down here and do
//! not follow the names in code. Objects have their fields, and lists their elements, in one order always.

use std::net::IpAddr;

use palisade_view::{Direction, L4};
use serde::{Serialize, Serializer};

use super::{action_name, tier_name};
use crate::model::ObjectRef;
use crate::oracle::{Exemption, Explanation, Flow, Pair, Reason, RuleRef, Side, Stage, Verdict, Walk};

impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Answer {
            flow: Packet::of(&self.flow),
            allowed: self.allowed(),
            denied_by: self.denies().map(|walk| direction(walk.direction)),
            source: End::of(&self.source),
            destination: End::of(&self.destination),
            egress: Way::of(&self.egress),
            ingress: Way::of(&self.ingress),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    flow: Packet<'a>,
    allowed: bool,
    denied_by: Option<&'static str>,
    source: End<'a>,
    destination: End<'a>,
    egress: Way<'a>,
    ingress: Way<'a>,
}

#[derive(Serialize)]
struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: String,
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_node: Option<&'a str>,
}

impl<'a> Packet<'a> {
    fn of(flow: &'a Flow) -> Self {
        let (protocol, port) = match flow.l4 {
            L4::Port(protocol, port) => (protocol.name().to_owned(), Some(port)),
            L4::Other(1 | 58) => (flow.l4.to_string(), None),
            L4::Other(number) => (number.to_string(), None),
        };
        let (source_node, destination_node) = (flow.source_node.as_deref(), flow.destination_node.as_deref());
        Self {
            source: flow.source,
            destination: flow.destination,
            protocol,
            port,
            source_node,
            destination_node,
        }
    }
}

#[derive(Serialize)]
struct End<'a> {
    address: IpAddr,
    pods: Vec<Object<'a>>,
    outbid: Vec<Object<'a>>,
    nodes: &'a [String],
}

impl<'a> End<'a> {
    fn of(side: &'a Side) -> Self {
        Self {
            address: side.address,
            pods: objects(&side.pods),
            outbid: objects(&side.outbid),
            nodes: &side.nodes,
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> Object<'a> {
    fn of(object: &'a ObjectRef) -> Self {
        Self { kind: object.kind.name(), namespace: object.namespace.as_deref(), name: &object.name }
    }
}

fn objects(all: &[ObjectRef]) -> Vec<Object<'_>> {
    all.iter().map(Object::of).collect()
}

#[derive(Serialize)]
struct Way<'a> {
    #[serde(flatten)]
    verdict: Outcome<'a>,
    pairs: Vec<Case<'a>>,
}

impl<'a> Way<'a> {
    fn of(walk: &'a Walk) -> Self {
        Self { verdict: Outcome::of(&walk.verdict), pairs: walk.pairs.iter().map(Case::of).collect() }
    }
}

#[derive(Serialize)]
struct Case<'a> {
    subject: Object<'a>,
    peer: Option<Object<'a>>,
    #[serde(flatten)]
    verdict: Outcome<'a>,
    stages: Vec<Asked<'a>>,
}

impl<'a> Case<'a> {
    fn of(pair: &'a Pair) -> Self {
        Self {
            subject: Object::of(&pair.subject),
            peer: pair.peer.as_ref().map(Object::of),
            verdict: Outcome::of(&pair.verdict),
            stages: pair.stages.iter().map(Asked::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct Outcome<'a> {
    allowed: bool,
    reason: Why<'a>,
    /// The reason as scenarios and logs write it.
    text: String,
}

impl<'a> Outcome<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        let text = verdict.reason.to_string();
        Self { allowed: verdict.allowed, reason: Why::of(&verdict.reason), text }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Why<'a> {
    NotASubject,
    AdminRule {
        policy: Object<'a>,
        tier: &'static str,
        direction: &'static str,
        index: usize,
        name: Option<&'a str>,
        action: &'static str,
    },
    NetworkPolicyRule {
        policy: Object<'a>,
        direction: &'static str,
        index: usize,
    },
    Isolated {
        policies: Vec<Object<'a>>,
        direction: &'static str,
    },
    OwnNode,
    Itself,
    NoRule,
}

impl<'a> Why<'a> {
    fn of(reason: &'a Reason) -> Self {
        match reason {
            Reason::NotASubject => Self::NotASubject,
            Reason::AdminRule { policy, tier, direction: of, index, name, action } => Self::AdminRule {
                policy: Object::of(policy),
                tier: tier_name(*tier),
                direction: direction(*of),
                index: *index,
                name: name.as_deref(),
                action: action_name(*action),
            },
            Reason::NetworkPolicyRule { policy, direction: of, index } => Self::NetworkPolicyRule {
                policy: Object::of(policy),
                direction: direction(*of),
                index: *index,
            },
            Reason::Isolated { policies, direction: of } => {
                Self::Isolated { policies: objects(policies), direction: direction(*of) }
            }
            Reason::OwnNode => Self::OwnNode,
            Reason::Itself => Self::Itself,
            Reason::NoRule => Self::NoRule,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
enum Asked<'a> {
    OwnNode,
    Admin { policies: Vec<Object<'a>>, matched: Option<Rule<'a>> },
    NetworkPolicy { isolating: Vec<Object<'a>>, exemption: Option<&'static str>, allowing: Vec<Rule<'a>> },
    Baseline { policies: Vec<Object<'a>>, matched: Option<Rule<'a>> },
    Default,
}

impl<'a> Asked<'a> {
    fn of(stage: &'a Stage) -> Self {
        use crate::model::Tier;
        match stage {
            Stage::OwnNode => Self::OwnNode,
            Stage::Tier { tier, policies, matched } => {
                let policies = objects(policies);
                let matched =
                    matched.as_ref().map(|(rule, action)| Rule::of(rule, Some(action_name(*action))));
                match tier {
                    Tier::Admin => Self::Admin { policies, matched },
                    Tier::Baseline => Self::Baseline { policies, matched },
                }
            }
            Stage::NetworkPolicy { isolating, exemption, allowing } => Self::NetworkPolicy {
                isolating: objects(isolating),
                exemption: exemption.map(|exemption| match exemption {
                    Exemption::OwnNode => "own-node",
                    Exemption::Itself => "itself",
                }),
                allowing: allowing.iter().map(|rule| Rule::of(rule, None)).collect(),
            },
            Stage::Default => Self::Default,
        }
    }
}

#[derive(Serialize)]
struct Rule<'a> {
    policy: Object<'a>,
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

impl<'a> Rule<'a> {
    fn of(rule: &'a RuleRef, action: Option<&'static str>) -> Self {
        Self { policy: Object::of(&rule.policy), index: rule.index, name: rule.name.as_deref(), action }
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Egress => "egress",
        Direction::Ingress => "ingress",
    }
}
