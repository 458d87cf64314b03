//! Destination ports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The protocol where none is said, as the API server fills it in.
fn tcp() -> String {
    "TCP".to_owned()
}

/// A destination port or several, by exactly one field: of the subject's pods in ingress rules, of the peer in
/// egress rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Port {
    /// One port by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_number: Option<PortNumber>,
    /// A range of ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_range: Option<PortRange>,
    /// The container port of this name, with the number and protocol that each destination pod gives it. A pod that
    /// has no port of this name is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_port: Option<String>,
}

/// One port of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["port", "protocol"]))]
pub struct PortNumber {
    /// `TCP`, `UDP` or `SCTP`; any other word fails closed.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// The port's number.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

/// A range of ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortRange {
    /// `TCP`, `UDP` or `SCTP`; any other word fails closed.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// The first port of the range.
    #[schemars(range(min = 1, max = 65_535))]
    pub start: i32,
    /// The last port of the range, which belongs to it. A range that ends before it starts matches no
    /// port.
    #[schemars(range(min = 1, max = 65_535))]
    pub end: i32,
}

impl Port {
    /// One port.
    pub fn number(protocol: impl Into<String>, port: u16) -> Self {
        let protocol = protocol.into();
        Self { port_number: Some(PortNumber { protocol, port: port.into() }), ..Self::default() }
    }

    /// The ports from `start` to `end`, both included.
    pub fn range(protocol: impl Into<String>, start: u16, end: u16) -> Self {
        let range = PortRange { protocol: protocol.into(), start: start.into(), end: end.into() };
        Self { port_range: Some(range), ..Self::default() }
    }

    /// The container port of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { named_port: Some(name.into()), ..Self::default() }
    }
}
