//! Raw Kubernetes objects to the model. (interface; being written)

use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::model::{Object, ObjectRef};

/// What intake makes of one raw object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The object's name.
    pub object: ObjectRef,
    /// The model, with every part that is not understood failing closed. `None` where the object cannot be
    /// represented at all (a pod, namespace or node whose fields are malformed): its last good state stays.
    pub model: Option<Object>,
    /// Findings, sorted.
    pub diagnostics: Vec<Diagnostic>,
}

/// A raw value that is no object of a kind Palisade reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The kind is not one of ours: ignore it.
    #[error("{api_version} {kind} is not a kind that matters to network policy")]
    UnknownKind {
        /// `apiVersion` as given.
        api_version: String,
        /// `kind` as given.
        kind: String,
    },
    /// A field needed to name the object is missing or malformed.
    #[error("{field}: {message}")]
    Unnamed {
        /// The field's path.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Decodes one raw object, field by field.
///
/// # Errors
/// The value is no object of a known kind, or has no name.
pub fn decode(_raw: &Value) -> Result<Decoded, IntakeError> {
    Err(IntakeError::UnknownKind { api_version: String::new(), kind: String::new() })
}
