//! Pods by the labels of their namespace and their own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::selector;

/// Pods chosen by two selectors, both of which must match. Pods of the host network are never meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Which namespaces the pods are in. `{}` is every namespace.
    #[schemars(schema_with = "selector::schema")]
    pub namespace_selector: LabelSelector,
    /// Which pods of these namespaces. `{}` is every pod.
    #[schemars(schema_with = "selector::schema")]
    pub pod_selector: LabelSelector,
}
