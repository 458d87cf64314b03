//! Names of the table and of its sets and maps. Owns spelling; knows nothing of what is stored under a name.

use palisade_view::{Family, Protocol};

/// The table's nftables family.
pub const FAMILY: &str = "inet";
/// The table's name.
pub const TABLE: &str = "palisade";

/// Programs that allow every protocol and port.
pub(crate) const ALLOW_ALL: &str = "allow_all";
/// Program . protocol . exact port.
pub(crate) const ALLOW_PORT: &str = "allow_port";
/// Programs that allow protocols without ports.
pub(crate) const ALLOW_OTHER: &str = "allow_other";

/// Program . range of at least two ports, of a protocol.
pub(crate) const fn allow_range(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "allow_range_tcp",
        Protocol::Udp => "allow_range_udp",
        Protocol::Sctp => "allow_range_sctp",
    }
}

/// Which question about a subject is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    /// What a pod may reach.
    Out,
    /// What a pod may reach of its own node.
    Own,
    /// What may reach a pod.
    In,
}

impl Question {
    pub(crate) const ALL: [Self; 3] = [Self::Out, Self::Own, Self::In];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Map: class . subject -> program.
    pub(crate) const fn decide(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Out, Family::V4) => "decide_out4",
            (Self::Out, Family::V6) => "decide_out6",
            (Self::Own, Family::V4) => "own_decide_out4",
            (Self::Own, Family::V6) => "own_decide_out6",
            (Self::In, Family::V4) => "decide_in4",
            (Self::In, Family::V6) => "decide_in6",
        }
    }

    /// Map: subject -> program for a peer whose class the decide map does not mention.
    pub(crate) const fn default(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Out, Family::V4) => "default_out4",
            (Self::Out, Family::V6) => "default_out6",
            (Self::Own, Family::V4) => "own_default_out4",
            (Self::Own, Family::V6) => "own_default_out6",
            (Self::In, Family::V4) => "default_in4",
            (Self::In, Family::V6) => "default_in6",
        }
    }
}

/// Map: exact address -> class.
pub(crate) const fn peer(family: Family) -> &'static str {
    match family {
        Family::V4 => "peer4",
        Family::V6 => "peer6",
    }
}

/// Map: interval of addresses -> class.
pub(crate) const fn cidr(family: Family) -> &'static str {
    match family {
        Family::V4 => "cidr4",
        Family::V6 => "cidr6",
    }
}

/// Set: local subjects of egress.
pub(crate) const fn out(family: Family) -> &'static str {
    match family {
        Family::V4 => "out4",
        Family::V6 => "out6",
    }
}

/// Set: local subjects of ingress.
pub(crate) const fn ingress(family: Family) -> &'static str {
    match family {
        Family::V4 => "in4",
        Family::V6 => "in6",
    }
}

/// Map: subject . the same subject -> program.
pub(crate) const fn hairpin(family: Family) -> &'static str {
    match family {
        Family::V4 => "self4",
        Family::V6 => "self6",
    }
}
