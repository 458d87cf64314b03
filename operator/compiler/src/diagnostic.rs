//! What intake and the review have to say about an object.

use std::fmt;

use crate::model::ObjectRef;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object takes effect as written, and perhaps as meant: worth a look with what else is there now.
    Advice,
    /// The object takes effect as written, but hardly as meant.
    Warning,
    /// A part of the object is not understood and fails closed; the rest takes effect.
    FailClosed,
    /// The object breaks the API's schema. A source that still has good content of it keeps that in force;
    /// otherwise the decodable part takes effect with everything else failing closed.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Advice => "advice",
            Self::Warning => "warning",
            Self::FailClosed => "fails closed",
            Self::Error => "error",
        })
    }
}

/// One finding about one field of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The object.
    pub object: ObjectRef,
    /// Path of the field, such as `spec.egress[2].to[0]`; empty for the whole object.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it, in one sentence without a full stop.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}: {}; {}", self.severity, self.message, self.remedy)
    }
}
