//! How a policy object is named. It may be malformed beyond its name.

use anyhow::{Context, Result};
use serde_json::Value;

/// `Kind/name`, or `Kind/namespace/name` where the object has a namespace.
pub fn name(object: &Value) -> Result<String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let kind = text("/kind").context("`kind` is missing")?;
    let name = text("/metadata/name")
        .context("`metadata.name` is missing or no text (quote words such as y and no)")?;
    Ok(match text("/metadata/namespace") {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    })
}
