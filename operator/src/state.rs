//! What the admin server shows: the state of everything at one moment, as JSON. Plain data.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// No shim has connected since the operator started.
    NeverConnected,
    /// Its shim was connected and is not now; what it confirmed last is still in force there.
    Disconnected,
    /// Its shim is connected and has yet to confirm the present view.
    Updating,
    /// Its shim is connected and has confirmed the present view.
    InSync,
    /// Its shim refused twice in a row; see the message.
    Parked,
}

impl fmt::Display for NodeState {
    /// As in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverConnected => "never-connected",
            Self::Disconnected => "disconnected",
            Self::Updating => "updating",
            Self::InSync => "in-sync",
            Self::Parked => "parked",
        })
    }
}

/// Where a source of objects stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum SourceState {
    /// It has not been read whole yet.
    Syncing,
    /// It is followed.
    Synced,
    /// The API does not serve its kind yet: the definition is not installed.
    Missing,
    /// The API no longer serves its kind, or serves it anew and has not been given all of it again; what it held and
    /// does not know any more stays in force for a time.
    Vanished {
        /// Since when.
        since: Timestamp,
        /// When what it held is dropped.
        drops_at: Timestamp,
    },
    /// It cannot be read; what it held stays in force.
    Failing {
        /// Why, and what to do.
        message: String,
    },
}

impl SourceState {
    /// Every label.
    pub const LABELS: [&str; 5] = ["syncing", "synced", "missing", "vanished", "failing"];

    /// Its label in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Synced => "synced",
            Self::Missing => "missing",
            Self::Vanished { .. } => "vanished",
            Self::Failing { .. } => "failing",
        }
    }
}

/// What the admin server shows.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    pub(crate) epoch: u64,
    pub(crate) term: u64,
    pub(crate) leading: bool,
    pub(crate) ready: bool,
    pub(crate) files: BTreeMap<String, FileState>,
    pub(crate) sources: BTreeMap<&'static str, SourceState>,
    pub(crate) objects: BTreeMap<&'static str, usize>,
    pub(crate) diagnostics: Vec<String>,
    pub(crate) nodes: BTreeMap<String, NodeReport>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileState {
    pub(crate) digest: String,
    pub(crate) epoch: u64,
    pub(crate) documents: usize,
    pub(crate) errors: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) root: Option<String>,
    pub(crate) acked_root: Option<String>,
    pub(crate) acked_epoch: Option<u64>,
    pub(crate) connected: bool,
    pub(crate) state: NodeState,
    pub(crate) message: String,
    pub(crate) version: String,
    pub(crate) capabilities: Vec<String>,
}
