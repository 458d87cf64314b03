//! Networks in CIDR notation.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A network as written, `10.0.0.0/8` or `2001:db8::/32`. Nothing is checked: what the API server stores, it has
/// checked by the definition's rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cidr(pub String);

impl<T: Into<String>> From<T> for Cidr {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Cidr {
    fn schema_name() -> Cow<'static, str> {
        "CIDR".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A network, IPv4 or IPv6, as address and prefix length: `10.0.0.0/8`, `2001:db8::/32`. \
                            Bits of the address beyond the prefix are ignored.",
            "type": "string",
            // The longest there is: an IPv6 address in full, a slash and three digits.
            "maxLength": 43,
            "x-kubernetes-validations": [
                { "rule": "isCIDR(self)", "message": "must be a network such as 10.0.0.0/8 or 2001:db8::/32" },
            ],
        })
    }
}
