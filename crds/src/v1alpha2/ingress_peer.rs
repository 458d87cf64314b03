//! Where traffic may come from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Pods;
use crate::selector;

/// A source of traffic, by exactly one field. A peer whose field this implementation does not know fails closed: it
/// never accepts, and turns the whole rule into a denial where the rule denies or passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct IngressPeer {
    /// Every pod of the namespaces with these labels. `{}` is every namespace; pods of the host network are never
    /// meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::schema")]
    pub namespaces: Option<LabelSelector>,
    /// The pods with these labels, of the namespaces with those labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
}

impl IngressPeer {
    /// Every pod of the namespaces that match.
    pub fn namespaces(selector: LabelSelector) -> Self {
        Self { namespaces: Some(selector), ..Self::default() }
    }

    /// The pods that match.
    pub fn pods(namespace_selector: LabelSelector, pod_selector: LabelSelector) -> Self {
        Self {
            pods: Some(Pods { namespace_selector: Some(namespace_selector), pod_selector }),
            ..Self::default()
        }
    }
}
