//! What an object is called. It may be malformed beyond that.

use std::fmt;

use anyhow::{Context, Result};
use kube::api::DynamicObject;
use serde_json::Value;

use super::{Mark, version};

/// See the module.
pub(super) struct Name<'a> {
    pub(super) version: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) own: &'a str,
}

impl<'a> Name<'a> {
    pub(super) fn of(object: &'a Value) -> Result<Self> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        Ok(Self {
            version: text("/apiVersion").context("`apiVersion` is missing")?,
            kind: text("/kind").context("`kind` is missing")?,
            namespace: text("/metadata/namespace"),
            own: text("/metadata/name").context("`metadata.name` is missing")?,
        })
    }

    pub(super) fn mark(&self, written: &DynamicObject) -> Result<Mark> {
        Ok(Mark { kind: self.kind.to_owned(), version: version(written).with_context(|| self.to_string())? })
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.own),
            None => write!(f, "{}/{}", self.kind, self.own),
        }
    }
}
