//! The policy API as Rust types, and the `CustomResourceDefinition`s made from them.
//!
//! [`v1alpha1`] has AdminNetworkPolicy, BaselineAdminNetworkPolicy and `ConformanceReport`, [`v1alpha2`] has
//! ClusterNetworkPolicy; what both versions say in the same words lies beside them. [`definitions`] makes the
//! definitions from the types, [`manifest`] has their committed text.
//!
//! These types are for those who write objects and read well-formed ones. Whoever must judge what a cluster holds
//! decodes field by field (`palisade_compiler::intake`): a stored object may have fields that no type here knows,
//! and must fail closed, not be dropped.

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a copy of each type inside a function, as visible as the type"
)]
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type and a path of its own")]

pub mod cidr;
pub mod condition;
pub mod definition;
pub mod domain_name;
pub mod manifest;
pub mod selector;
pub mod status;
pub mod v1alpha1;
pub mod v1alpha2;

pub use cidr::Cidr;
pub use definition::definitions;
pub use domain_name::DomainName;
pub use manifest::{MANIFESTS, Manifest};
pub use status::PolicyStatus;
pub use v1alpha1::{AdminNetworkPolicy, BaselineAdminNetworkPolicy, ConformanceReport};
pub use v1alpha2::ClusterNetworkPolicy;

/// The API group of all kinds here.
pub const GROUP: &str = "policy.networking.k8s.io";
