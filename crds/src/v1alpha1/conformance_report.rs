//! `ConformanceReport`: what upstream's conformance suite found, as an object.
//!
//! Upstream writes the report to a file, and has no definition for its kind. Here the same fields stand at the same
//! places, at the top and not under `spec`: without `metadata`, the object is the file.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a report says. It lies at the top of the object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "policy.networking.k8s.io",
    version = "v1alpha1",
    kind = "ConformanceReport",
    plural = "conformancereports",
    shortname = "npcr",
    no_spec,
    derive = "PartialEq",
    doc = "What the network policy API's conformance suite found on a cluster. Without `metadata`, it is the file that \
           the suite writes and that upstream collects.",
    annotation(
        "api-approved.kubernetes.io",
        "unapproved, upstream writes this kind to files and has no definition for it"
    ),
    printcolumn(name = "Project", type_ = "string", json_path = ".implementation.project"),
    printcolumn(name = "Version", type_ = "string", json_path = ".implementation.version"),
    printcolumn(
        name = "Profile",
        type_ = "string",
        json_path = ".profiles[0].name",
        description = "The first profile; a report may have more"
    ),
    printcolumn(
        name = "Standard",
        type_ = "string",
        json_path = ".profiles[0].standard.result",
        description = "The first profile's result in the standard tests"
    ),
    printcolumn(
        name = "Experimental",
        type_ = "string",
        json_path = ".profiles[0].experimental.result",
        description = "The first profile's result in the experimental tests"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".date", description = "Time since the suite ran")
)]
pub struct ConformanceReportFields {
    /// When the suite ran, as in RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub date: String,
    /// Which implementation was tested.
    pub implementation: Implementation,
    /// The version of the policy API, as the suite knows it.
    #[serde(rename = "networkPolicyV2APIVersion")]
    #[schemars(length(min = 1))]
    pub network_policy_v2_api_version: String,
    /// The results, one entry a profile.
    #[schemars(length(min = 1))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub profiles: Vec<Profile>,
}

/// Who made what was tested, and where it is found. The suite refuses to write a report that lacks one of the
/// required fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Implementation {
    /// The organisation that makes it.
    #[schemars(length(min = 1))]
    pub organization: String,
    /// The implementation's name.
    #[schemars(length(min = 1))]
    pub project: String,
    /// Where it is found.
    #[schemars(length(min = 1))]
    pub url: String,
    /// Which version was tested.
    #[schemars(length(min = 1))]
    pub version: String,
    /// Whom to ask about the report: handles or addresses.
    #[serde(default)]
    pub contact: Vec<String>,
    /// How the test was set up, or where that is written.
    #[schemars(length(min = 1))]
    pub additional_information: String,
}

/// What was found in one profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// The profile's name: `ClusterNetworkPolicy`, or in the older API `AdminNetworkPolicy` and
    /// `BaselineAdminNetworkPolicy`.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The tests that every implementation must pass to conform.
    pub standard: Level,
    /// The tests of features that an implementation may have. Absent where none was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experimental: Option<ExperimentalLevel>,
}

/// What was found in the tests of one level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    /// `success`: all tests passed. `partial`: none failed, some were skipped. `failure`: some failed.
    pub result: Outcome,
    /// The same in words.
    pub summary: String,
    /// How many tests.
    pub statistics: Statistics,
    /// The names of the tests that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped_tests: Vec<String>,
    /// The names of the tests that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<String>,
}

/// What was found in the tests of the experimental level, and which features it was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentalLevel {
    /// What was found.
    #[serde(flatten)]
    pub level: Level,
    /// The features that the implementation says it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<String>,
    /// The features that it has not; their tests were not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsupported_features: Vec<String>,
}

/// How the tests of a level ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All passed.
    Success,
    /// None failed, some were skipped.
    Partial,
    /// Some failed.
    Failure,
}

/// How many tests ended how. The keys are upstream's, capitals included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Statistics {
    /// Tests that passed.
    #[schemars(extend("format" = "int64"), range(min = 0, max = 4_294_967_295_u32))]
    pub passed: u32,
    /// Tests that were skipped.
    #[schemars(extend("format" = "int64"), range(min = 0, max = 4_294_967_295_u32))]
    pub skipped: u32,
    /// Tests that failed.
    #[schemars(extend("format" = "int64"), range(min = 0, max = 4_294_967_295_u32))]
    pub failed: u32,
}
