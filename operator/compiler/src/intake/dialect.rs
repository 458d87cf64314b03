//! What the three cluster-wide kinds say in different words. Facts of the CRDs v0.1.8 and v0.2.0 and nothing else.

use palisade_view::Direction;

use crate::model::Kind;

/// One kind's words and limits.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The kind.
    pub(super) kind: Kind,
    /// Its word for allowing.
    pub(super) allow: &'static str,
    /// Whether it has `Pass`.
    pub(super) has_pass: bool,
    /// The fields of `spec`.
    pub(super) spec: &'static [&'static str],
    /// The field of a rule that names ports.
    pub(super) ports: &'static str,
    /// The peers an egress rule may have.
    pub(super) egress_peers: &'static [&'static str],
    /// Whether `pods` must have a `namespaceSelector`.
    pub(super) needs_namespace_selector: bool,
    /// The longest list of rules, peers and ports.
    pub(super) longest: usize,
}

impl Dialect {
    /// `AdminNetworkPolicy`, v1alpha1.
    pub(super) const ADMIN: Self = Self {
        kind: Kind::AdminNetworkPolicy,
        allow: "Allow",
        has_pass: true,
        spec: &["priority", "subject", "ingress", "egress"],
        ports: "ports",
        egress_peers: &["namespaces", "pods", "networks", "nodes", "domainNames"],
        needs_namespace_selector: true,
        longest: 100,
    };

    /// `BaselineAdminNetworkPolicy`, v1alpha1.
    pub(super) const BASELINE: Self = Self {
        kind: Kind::BaselineAdminNetworkPolicy,
        has_pass: false,
        spec: &["subject", "ingress", "egress"],
        egress_peers: &["namespaces", "pods", "networks", "nodes"],
        ..Self::ADMIN
    };

    /// `ClusterNetworkPolicy`, v1alpha2.
    pub(super) const CLUSTER: Self = Self {
        kind: Kind::ClusterNetworkPolicy,
        allow: "Accept",
        spec: &["tier", "priority", "subject", "ingress", "egress"],
        ports: "protocols",
        needs_namespace_selector: false,
        longest: 25,
        ..Self::ADMIN
    };

    /// The peers a rule of that direction may have.
    pub(super) fn peers(&self, direction: Direction) -> &'static [&'static str] {
        match direction {
            Direction::Ingress => &["namespaces", "pods"],
            Direction::Egress => self.egress_peers,
        }
    }
}

/// The field of a rule that names its peers, whatever the kind.
pub(super) fn peers_field(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// The field of `spec` that holds the rules of a direction, whatever the kind.
pub(super) fn rules_field(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}
