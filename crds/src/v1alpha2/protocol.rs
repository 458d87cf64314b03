//! Protocols with their destination ports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Port;

/// A protocol and what of it, by exactly one field. An entry whose field this implementation does not know fails
/// closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Protocol {
    /// TCP to a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Transport>,
    /// UDP to a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<Transport>,
    /// SCTP to a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sctp: Option<Transport>,
    /// The container port of this name, with the number and protocol that each destination pod gives it. A pod that
    /// has no port of this name is not meant, and neither are nodes, networks and domain names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_named_port: Option<String>,
}

/// What of a transport protocol is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct Transport {
    /// The port of the subject's pods in ingress rules, of the peer in egress rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<Port>,
}

impl From<Port> for Transport {
    fn from(port: Port) -> Self {
        Self { destination_port: Some(port) }
    }
}

impl Protocol {
    /// TCP to these ports.
    pub fn tcp(port: Port) -> Self {
        Self { tcp: Some(port.into()), ..Self::default() }
    }

    /// UDP to these ports.
    pub fn udp(port: Port) -> Self {
        Self { udp: Some(port.into()), ..Self::default() }
    }

    /// SCTP to these ports.
    pub fn sctp(port: Port) -> Self {
        Self { sctp: Some(port.into()), ..Self::default() }
    }

    /// The container port of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { destination_named_port: Some(name.into()), ..Self::default() }
    }
}
