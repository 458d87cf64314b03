//! What is heard of a kind, and how an object of the API is read. Knows intake, and nothing of what is in force.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use palisade_compiler::intake::{self, Decoded, IntakeError};
use palisade_compiler::model::{Kind, Object, ObjectRef};
use palisade_compiler::{Diagnostic, Severity};
use serde_json::Value;

use super::resource;
use super::slim::{Shape, Slim};
use crate::batch::PolicyReport;

/// An object as the API has it now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Its name.
    pub(super) object: ObjectRef,
    /// `metadata.uid`.
    pub(super) uid: String,
    /// `metadata.resourceVersion`.
    pub(super) version: Option<u64>,
    /// What it means, as far as it is understood.
    pub(super) model: Option<Object>,
    /// What was found, sorted.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Of a policy: what the API says beside its content.
    pub(super) report: Option<PolicyReport>,
}

/// What the absence of an object means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Somebody deleted it.
    Deleted,
    /// It went with the definition of its kind: nobody may have meant it.
    Orphaned,
}

/// What is heard of a kind, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    /// A list begins.
    Began,
    /// An object of the list.
    Listed(Seen),
    /// The list was whole; this is what it means that something is not in it.
    Ended(Absence),
    /// An object is new or changed.
    Applied(Seen),
    /// An object is not there any more.
    Gone {
        /// Its name.
        object: ObjectRef,
        /// The version at which it went.
        version: Option<u64>,
        /// What that means.
        absence: Absence,
    },
    /// The kind is not served: its definition is not there.
    Absent,
    /// The kind cannot be read for this reason; `None`: it can.
    Failing(Option<String>),
    /// The kind is read in another version than ours, and what follows from that; `None`: in ours.
    Foreign(Option<String>),
}

/// Reads an object of a kind.
///
/// # Errors
/// It has no name: what it is, for the log.
pub(super) fn read<S: Shape>(kind: Kind, slim: Slim<S>, foreign: Option<&str>) -> Result<Seen, String> {
    let uid = slim.metadata("uid").unwrap_or_default().to_owned();
    let version = slim.metadata("resourceVersion").and_then(|version| version.parse().ok());
    let named = name(kind, &slim);
    let mut raw = slim.raw;
    // Lists of built-in kinds leave both out of their items.
    if let Value::Object(fields) = &mut raw {
        fields.insert("apiVersion".to_owned(), kind.api_version().into());
        fields.insert("kind".to_owned(), kind.name().into());
    }
    let report = kind.is_policy().then(|| report(&raw, &uid));
    let Decoded { object, model, mut diagnostics } = match intake::decode(&raw) {
        Ok(decoded) => decoded,
        Err(IntakeError::Unnamed { field, message }) => {
            let object = named.ok_or_else(|| format!("an object without a name: {field}: {message}"))?;
            let remedy = "remove the object: nothing of it is in force".to_owned();
            let diagnostic =
                Diagnostic { object: object.clone(), field, severity: Severity::Error, message, remedy };
            Decoded { object, model: None, diagnostics: vec![diagnostic] }
        }
        Err(error @ IntakeError::UnknownKind { .. }) => return Err(error.to_string()),
    };
    if let Some(foreign) = foreign {
        diagnostics.push(foreign_finding(&object, foreign));
        diagnostics.sort_unstable();
    }
    Ok(Seen { object, uid, version, model, diagnostics, report })
}

/// Name of an object, however malformed.
pub(super) fn name<S>(kind: Kind, slim: &Slim<S>) -> Option<ObjectRef> {
    let name = slim.metadata("name")?.to_owned();
    let namespace = slim.metadata("namespace").map(str::to_owned).filter(|_| kind.is_namespaced());
    (namespace.is_some() == kind.is_namespaced()).then_some(ObjectRef { kind, namespace, name })
}

/// A policy that is served in a version that is not ours: a field of the same name may mean something else there.
fn foreign_finding(object: &ObjectRef, version: &str) -> Diagnostic {
    Diagnostic {
        object: object.clone(),
        field: "apiVersion".to_owned(),
        severity: Severity::Error,
        message: format!(
            "the API serves the kind as {version} and not as {} any more: the policy is read as if it were one of \
             those, and what is not known of it fails closed",
            resource::version(object.kind)
        ),
        remedy: format!(
            "serve {} again in the CustomResourceDefinition, or use a release of Palisade that reads {version}",
            resource::version(object.kind)
        ),
    }
}

fn report(raw: &Value, uid: &str) -> PolicyReport {
    let conditions = raw.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    PolicyReport {
        uid: uid.to_owned(),
        generation: raw.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
        // Of a condition that is malformed nothing is known, as of one that is missing: it is written anew.
        conditions: conditions
            .filter_map(|condition| serde_json::from_value::<Condition>(condition.clone()).ok())
            .collect(),
    }
}
