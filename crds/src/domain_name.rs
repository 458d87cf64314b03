//! Names of the Domain Name System, as egress peers.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A name as written: `example.com`, or `*.example.com` for every name below it. Nothing is checked here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainName(pub String);

impl<T: Into<String>> From<T> for DomainName {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for DomainName {
    fn schema_name() -> Cow<'static, str> {
        "DomainName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A domain name of at least two labels. `example.com` is that name alone; `*.example.com` is every name \
                            below it, at any depth, but not `example.com` itself. The star stands for whole labels and only in front. \
                            Case and a final dot do not matter.",
            "type": "string",
            // Upstream's, with its `A-z` for `A-Z`: what one accepts, the other must.
            "pattern": r"^(\*\.)?([a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$",
        })
    }
}
