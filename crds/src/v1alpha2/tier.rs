//! When a policy is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Before or after NetworkPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Tier {
    /// Before every NetworkPolicy.
    Admin,
    /// After NetworkPolicy, for pods that none isolates.
    Baseline,
}
