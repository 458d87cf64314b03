//! Destination ports by number.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A destination port or several, by exactly one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Port {
    /// One port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub number: Option<i32>,
    /// A range of ports. All ports are 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<PortRange>,
}

/// Ports from one to another, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.start < self.end")
    .message("start must be lower than end; a single port is written as number"))]
pub struct PortRange {
    /// The first port of the range.
    #[schemars(range(min = 1, max = 65_535))]
    pub start: i32,
    /// The last port of the range, which belongs to it; higher than the first.
    #[schemars(range(min = 1, max = 65_535))]
    pub end: i32,
}

impl Port {
    /// One port.
    pub fn number(number: u16) -> Self {
        Self { number: Some(number.into()), range: None }
    }

    /// The ports from `start` to `end`, both included.
    pub fn range(start: u16, end: u16) -> Self {
        Self { number: None, range: Some(PortRange { start: start.into(), end: end.into() }) }
    }
}
