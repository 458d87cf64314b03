//! One change in the history, and the lines it is told with. Does not know how a line is made.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Object;

/// What happened to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is different.
    Modified,
    /// It is gone.
    Deleted,
}

impl ChangeKind {
    /// As a watch event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// In which form an object is shown. Two watchers with the same form get the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The `apiVersion` it is shown with.
    pub api_version: String,
    /// Whole, metadata only, or a table: the reader's own name of it.
    pub form: &'static str,
}

/// See the module.
#[derive(Debug)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// As it is since; for a deletion as it was last, with the revision of the deletion.
    pub object: Arc<Object>,
    /// As it was before.
    pub previous: Option<Arc<Object>>,
    lines: Mutex<Vec<(ChangeKind, Encoding, Bytes)>>,
}

impl Change {
    /// A change that has not been told to anyone.
    pub fn new(kind: ChangeKind, object: Arc<Object>, previous: Option<Arc<Object>>) -> Self {
        Self { kind, object, previous, lines: Mutex::default() }
    }

    /// Its line in a form, made once. `told_as` is what the reader sees happen: an object that a change takes out of
    /// a selection is deleted for the one who selects.
    pub fn line(&self, told_as: ChangeKind, encoding: &Encoding, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., line)) = lines.iter().find(|(kind, form, _)| *kind == told_as && form == encoding) {
            return line.clone();
        }
        let line = make();
        lines.push((told_as, encoding.clone(), line.clone()));
        line
    }
}
