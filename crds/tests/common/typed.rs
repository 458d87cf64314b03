//! Objects through the Rust types and back.

use palisade_crds::{
    AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy, ConformanceReport,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The object as the Rust type of its kind writes what it read. Fails where the type cannot read it.
pub(crate) fn through(object: &Value) -> Result<Value, String> {
    let through = match object["kind"].as_str() {
        Some("AdminNetworkPolicy") => through_type::<AdminNetworkPolicy>,
        Some("BaselineAdminNetworkPolicy") => through_type::<BaselineAdminNetworkPolicy>,
        Some("ClusterNetworkPolicy") => through_type::<ClusterNetworkPolicy>,
        Some("ConformanceReport") => through_type::<ConformanceReport>,
        other => return Err(format!("{other:?}: no type for this kind")),
    };
    through(object).map_err(|error| format!("{}: {error}", object["metadata"]["name"]))
}

fn through_type<T: Serialize + DeserializeOwned>(object: &Value) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_value::<T>(object.clone())?)
}
