//! What a rule does with the traffic it matches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a rule of a ClusterNetworkPolicy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Permits, finally.
    Accept,
    /// Drops, finally.
    Deny,
    /// Leaves the decision to the next tier.
    Pass,
}
