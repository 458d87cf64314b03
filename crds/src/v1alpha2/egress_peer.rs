//! Where traffic may go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Pods;
use crate::{Cidr, DomainName, selector};

/// A destination of traffic, by exactly one field. A peer whose field this implementation does not know fails
/// closed: it never accepts, and turns the whole rule into a denial where the rule denies or passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct EgressPeer {
    /// Every pod of the namespaces with these labels. `{}` is every namespace; pods of the host network are never
    /// meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::schema")]
    pub namespaces: Option<LabelSelector>,
    /// The pods with these labels, of the namespaces with those labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// The nodes with these labels, by their internal and external addresses; pods of the host network are reached
    /// with them. `{}` is every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::schema")]
    pub nodes: Option<LabelSelector>,
    /// Destinations by address, pods among them: denying `0.0.0.0/0` denies IPv4 between pods, too. A Service is
    /// known by the addresses of its endpoints, never by its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 25))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub networks: Option<Vec<Cidr>>,
    /// Destinations by the names that pods look up, in rules that accept; the lookup itself needs a rule of its own.
    /// Palisade does not enforce names yet: such a peer matches nothing, and the policy's status says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 25))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub domain_names: Option<Vec<DomainName>>,
}

impl EgressPeer {
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

    /// The nodes that match.
    pub fn nodes(selector: LabelSelector) -> Self {
        Self { nodes: Some(selector), ..Self::default() }
    }

    /// What lies in these networks.
    pub fn networks<C: Into<Cidr>>(networks: impl IntoIterator<Item = C>) -> Self {
        Self { networks: Some(networks.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    /// What these names stand for.
    pub fn domain_names<N: Into<DomainName>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { domain_names: Some(names.into_iter().map(Into::into).collect()), ..Self::default() }
    }
}
