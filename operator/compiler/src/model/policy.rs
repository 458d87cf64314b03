//! Policies of every kind, defaults filled in, unknowns already failing closed.

use ipnet::IpNet;
use palisade_view::{Direction, Protocol};

use super::{Kind, ObjectRef, Selector};

/// A tier of cluster-wide policy. Between them stands NetworkPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Judged before NetworkPolicy.
    Admin,
    /// Judged after NetworkPolicy, for what it left open.
    Baseline,
}

/// What a cluster-wide rule does with the traffic it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `Allow` in v1alpha1, `Accept` in v1alpha2. Final.
    Allow,
    /// Dropped silently. Final.
    Deny,
    /// Leaves the tier: on to NetworkPolicy from the Admin tier, allowed from the Baseline tier.
    Pass,
}

/// Which namespaces a peer or subject means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceMatch {
    /// The one with this name: the policy's own, where a NetworkPolicy gives no `namespaceSelector`.
    Name(String),
    /// Those whose labels match.
    Labels(Selector),
}

/// A name or wildcard of a `domainNames` peer, lower case, without the final dot (NPEP-133). Reserved: names are not
/// enforced yet, so intake reports them and the peer matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainPattern(pub String);

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Every peer: pods, nodes and everything else. A NetworkPolicy rule without `from`/`to`; a failing-closed
    /// Deny.
    Everything,
    /// Pods by their namespaces' and their own labels; never hostNetwork pods.
    Pods {
        /// Which namespaces.
        namespaces: NamespaceMatch,
        /// Which pods in them.
        pods: Selector,
    },
    /// Addresses in one of the networks and in none of the exceptions, whether they are pods, nodes or neither.
    /// No host bits are set.
    Networks {
        /// The networks.
        networks: Vec<IpNet>,
        /// NetworkPolicy's `except`; empty for other kinds.
        except: Vec<IpNet>,
        /// Whether a named port resolves where the address is a pod's: so for NetworkPolicy; for the
        /// cluster-wide kinds the API forbids the combination, and it matches nothing.
        named_ports: bool,
    },
    /// Nodes by their labels: the addresses in their status, hostNetwork pods included.
    Nodes(Selector),
    /// Domain names. Reserved.
    Names(Vec<DomainPattern>),
}

/// Destination ports that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// Every port of the protocol.
    Protocol(Protocol),
    /// From the first to the last, both included. Reversed: matches nothing.
    Range(Protocol, u16, u16),
    /// The destination pod's port of that name. With a protocol (NetworkPolicy), only if the pod's port has the
    /// same. A destination without such a port does not match.
    Named {
        /// The name.
        name: String,
        /// The protocol asked for, if one is.
        protocol: Option<Protocol>,
    },
}

/// A rule of a cluster-wide policy. It matches if a peer and a port match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminRule {
    /// The rule's name, if it has one.
    pub name: Option<String>,
    /// Its position in the object's list, counted from 0: rules that match nothing are kept, so positions are true.
    pub index: usize,
    /// What it does.
    pub action: Action,
    /// Any of these; none: matches nothing.
    pub peers: Vec<Peer>,
    /// Any of these; `None`: every protocol and port.
    pub ports: Option<Vec<PortMatch>>,
}

/// The pods a cluster-wide policy is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdminSubject {
    /// No pod: the subject could not be understood.
    Nothing,
    /// Pods by their namespaces' and their own labels.
    Pods {
        /// Which namespaces.
        namespaces: Selector,
        /// Which pods in them.
        pods: Selector,
    },
}

/// An AdminNetworkPolicy, BaselineAdminNetworkPolicy or ClusterNetworkPolicy. It isolates nobody by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPolicy {
    /// Which of the three kinds.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its tier.
    pub tier: Tier,
    /// Its priority within the tier, 0 to 1000, lower first. A BaselineAdminNetworkPolicy has none: it comes after
    /// every ClusterNetworkPolicy of its tier, which `u32::MAX` here stands for.
    pub priority: u32,
    /// Whom it is about.
    pub subject: AdminSubject,
    /// Rules for traffic towards the subject, in order.
    pub ingress: Vec<AdminRule>,
    /// Rules for traffic away from the subject, in order.
    pub egress: Vec<AdminRule>,
}

impl AdminPolicy {
    /// The rules of one direction.
    pub fn rules(&self, direction: Direction) -> &[AdminRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The order of policies within their tier: priority, then name, then kind, a ClusterNetworkPolicy before an
    /// AdminNetworkPolicy. The API leaves ties open but asks for every policy to be applied.
    pub fn order(&self) -> (u32, &str, Kind) {
        (self.priority, &self.name, self.kind)
    }

    /// The object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef { kind: self.kind, namespace: None, name: self.name.clone() }
    }
}

/// A rule of a NetworkPolicy. It only ever allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicyRule {
    /// Its position in the object's list, counted from 0.
    pub index: usize,
    /// Any of these; an absent or empty list in the object is [`Peer::Everything`].
    pub peers: Vec<Peer>,
    /// Any of these; `None`: every protocol and port.
    pub ports: Option<Vec<PortMatch>>,
}

/// A NetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Its namespace, which is its subjects' too.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which pods of the namespace it selects; `None` where that could not be understood: it selects none.
    pub subject: Option<Selector>,
    /// `Some`: it isolates its subjects for ingress and allows this. `None`: it has no say in ingress.
    pub ingress: Option<Vec<NetworkPolicyRule>>,
    /// The same for egress.
    pub egress: Option<Vec<NetworkPolicyRule>>,
}

impl NetworkPolicy {
    /// The rules of one direction, if the policy isolates for it.
    pub fn rules(&self, direction: Direction) -> Option<&[NetworkPolicyRule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// The object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            kind: Kind::NetworkPolicy,
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        }
    }
}

/// A policy of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A cluster-wide policy.
    Admin(AdminPolicy),
    /// A namespace's own policy.
    Network(NetworkPolicy),
}

impl Policy {
    /// The object.
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::Admin(policy) => policy.object(),
            Self::Network(policy) => policy.object(),
        }
    }
}
