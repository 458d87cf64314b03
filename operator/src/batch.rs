//! What a source of objects has to say at one moment. Plain data: sources make batches, the engine and the hub take
//! them; knows neither.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use palisade_compiler::Diagnostic;
use palisade_compiler::model::{Event, ObjectRef};

/// What a source has to say at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Changes of objects.
    pub events: Vec<Event>,
    /// Files that changed; `None`: gone. Only a source of files has any.
    pub files: BTreeMap<String, Option<FileReport>>,
    /// Objects whose findings changed, with all that is found now, sorted; nothing where nothing is found any more
    /// or the object is gone.
    pub findings: BTreeMap<ObjectRef, Vec<Finding>>,
    /// Policies whose report changed; `None`: gone. Only the Kubernetes API has any.
    pub policies: BTreeMap<ObjectRef, Option<PolicyReport>>,
    /// How far the source has read each kind (by its name, such as `Pod`): the newest `metadata.resourceVersion` that
    /// this batch and those before it contain, of objects. Versions of one kind are ordered. A change that means nothing
    /// here makes no batch, so its version may never be seen. Only the Kubernetes API has any; tests wait on it.
    pub seen: BTreeMap<&'static str, u64>,
}

impl Batch {
    /// Adds a later batch.
    pub fn append(&mut self, later: Self) {
        self.events.extend(later.events);
        self.files.extend(later.files);
        self.findings.extend(later.findings);
        self.policies.extend(later.policies);
        self.seen.extend(later.seen);
    }
}

/// A finding about an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where the object is written, if in a file.
    pub origin: Option<Origin>,
    /// What was found.
    pub diagnostic: Diagnostic,
    /// Whether its last good content is in force instead.
    pub is_kept: bool,
}

/// Where an object is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Its file.
    pub file: String,
    /// Line, from 1, that its document starts at.
    pub line: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Origin { file, line }) = &self.origin {
            write!(f, "{file}:{line}: ")?;
        }
        write!(f, "{}", self.diagnostic)?;
        f.write_str(if self.is_kept { " (its last good content stays in force)" } else { "" })
    }
}

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// BLAKE3 hash of its bytes, in hex.
    pub digest: String,
    /// Documents that hold something.
    pub documents: usize,
    /// Documents that cannot be read or named, as `file:line: what, and what to do`.
    pub errors: Vec<String>,
}

/// What the Kubernetes API says of a policy beside its content.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyReport {
    /// `metadata.uid`: tells a policy from an earlier one of the same name.
    pub uid: String,
    /// `metadata.generation`: counts changes of the content.
    pub generation: i64,
    /// `status.conditions` as the API has them, whoever wrote them.
    pub conditions: Vec<Condition>,
}
