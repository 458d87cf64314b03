//! Where each kind is served. Plain facts of the API; no discovery is needed to watch.

use kube::api::ApiResource;
use palisade_compiler::model::Kind;

/// Kubernetes' plural of a kind, as paths and RBAC rules name it.
pub(super) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "namespaces",
        Kind::Node => "nodes",
        Kind::Pod => "pods",
        Kind::ClusterNetworkPolicy => "clusternetworkpolicies",
        Kind::AdminNetworkPolicy => "adminnetworkpolicies",
        Kind::NetworkPolicy => "networkpolicies",
        Kind::BaselineAdminNetworkPolicy => "baselineadminnetworkpolicies",
    }
}

/// API group of a kind; empty for the core group.
pub(super) fn group(kind: Kind) -> &'static str {
    kind.api_version().split_once('/').map_or("", |(group, _)| group)
}

/// The version of a kind that is read.
pub(super) fn version(kind: Kind) -> &'static str {
    kind.api_version().split_once('/').map_or(kind.api_version(), |(_, version)| version)
}

/// Name of the `CustomResourceDefinition` of a kind, if the API server does not have the kind built in.
pub(super) fn definition(kind: Kind) -> Option<String> {
    let is_custom = matches!(
        kind,
        Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy
    );
    is_custom.then(|| full_name(kind))
}

/// Plural and group, as messages of the API server name a resource.
pub(super) fn full_name(kind: Kind) -> String {
    match group(kind) {
        "" => plural(kind).to_owned(),
        group => format!("{}.{group}", plural(kind)),
    }
}

/// A kind in one of its versions, for the client.
pub(super) fn api(kind: Kind, version: &str) -> ApiResource {
    let group = group(kind);
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
        kind: kind.name().to_owned(),
        plural: plural(kind).to_owned(),
    }
}
