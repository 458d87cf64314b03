//! What the tests of the definitions share.

pub(crate) mod judge;
pub(crate) mod typed;

use serde_json::Value;

/// The objects of a YAML text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    documents.into_iter().filter(|document| !document.is_null()).collect()
}
