//! What implementations say of a policy. All policy kinds have the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition;

/// What the cluster's network policy implementations say of this policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStatus {
    /// Whether the policy is understood (`Accepted`), in force on every node that has a pod of its subject
    /// (`Programmed`), and still so (`Degraded`).
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
}
