//! Whom a policy is about.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Pods;
use crate::selector;

/// The pods that the policy is about, by exactly one field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Subject {
    /// Every pod of the namespaces with these labels. `{}` is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::schema")]
    pub namespaces: Option<LabelSelector>,
    /// The pods with these labels, of the namespaces with those labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
}

impl Subject {
    /// Every pod of the namespaces that match.
    pub fn namespaces(selector: LabelSelector) -> Self {
        Self { namespaces: Some(selector), pods: None }
    }

    /// The pods that match.
    pub fn pods(namespace_selector: LabelSelector, pod_selector: LabelSelector) -> Self {
        Self {
            namespaces: None,
            pods: Some(Pods { namespace_selector: Some(namespace_selector), pod_selector }),
        }
    }
}
