//! What a rule does with the traffic it matches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a rule of an AdminNetworkPolicy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Permits, finally.
    Allow,
    /// Drops, finally.
    Deny,
    /// Leaves the decision to NetworkPolicy, and then to the baseline.
    Pass,
}

/// What a rule of a BaselineAdminNetworkPolicy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BaselineAction {
    /// Permits.
    Allow,
    /// Drops.
    Deny,
}
