//! Manifests as a source of objects: a directory of files, watched. Owns which content of which object is in force;
//! knows nothing of what becomes of it.

mod document;
mod library;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use palisade_compiler::Diagnostic;
use palisade_compiler::model::Event;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::changes::is_change;
use library::Library;

/// How long the source waits for more of the same after a change: an editor's rename and its neighbours, or the
/// several files of one `cp`.
const QUIET: Duration = Duration::from_millis(3);

/// How long changes may keep coming before they are taken in all the same.
const LONGEST_QUIET: Duration = Duration::from_millis(50);

/// How often the directory is read without being told: events can be lost on network file systems.
const RESCAN: Duration = Duration::from_mins(1);

/// What a source has to say at one moment.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Changes of objects.
    pub events: Vec<Event>,
    /// Files that changed; `None`: gone.
    pub files: BTreeMap<String, Option<FileReport>>,
    /// Every finding about every object in the source, sorted.
    pub diagnostics: Vec<Diagnostic>,
}

impl Batch {
    /// Adds a later batch.
    pub fn append(&mut self, later: Self) {
        self.events.extend(later.events);
        self.files.extend(later.files);
        self.diagnostics = later.diagnostics;
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

/// The directory cannot be watched or read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The directory is missing or unreadable.
    #[error("cannot read the manifest directory {path}: give an existing one with --manifests")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel does not watch it.
    #[error("cannot watch the manifest directory {path}")]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
    /// The engine is gone.
    #[error("nobody takes the changes any more")]
    Closed,
}

/// Starts to watch a directory; the future reads it, sends one batch for all there is, and one for each change.
///
/// # Errors
/// The directory cannot be read or watched; later: the receiver is gone.
pub fn watch(
    directory: PathBuf,
    batches: mpsc::Sender<Batch>,
) -> Result<impl Future<Output = Result<(), SourceError>>, SourceError> {
    let (wake, woken) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // The receiver goes only when the source ends.
        let _ = match event {
            Ok(event) if is_change(&event) => wake.send(event.paths),
            Ok(_) => return,
            Err(_) => wake.send(Vec::new()),
        };
    })
    .map_err(|source| SourceError::Watch { path: directory.clone(), source })?;
    std::fs::read_dir(&directory)
        .map_err(|source| SourceError::Directory { path: directory.clone(), source })?;
    watcher
        .watch(&directory, RecursiveMode::Recursive)
        .map_err(|source| SourceError::Watch { path: directory.clone(), source })?;
    Ok(follow(directory, watcher, woken, batches))
}

async fn follow(
    directory: PathBuf,
    watcher: impl Watcher,
    mut woken: mpsc::UnboundedReceiver<Vec<PathBuf>>,
    batches: mpsc::Sender<Batch>,
) -> Result<(), SourceError> {
    // Held for its lifetime: dropped, it stops watching.
    let _watcher = watcher;
    let mut library = Library::default();
    let mut first = true;
    loop {
        let files = read(&directory)?;
        let batch = library.replace(files);
        for (name, report) in &batch.files {
            for error in report.iter().flat_map(|report| &report.errors) {
                warn!(file = %name, "{error}");
            }
        }
        if first || !batch.events.is_empty() {
            for finding in &batch.diagnostics {
                warn!("{finding}");
            }
        }
        if first {
            info!(files = library.len(), objects = batch.events.len(), "read the manifests");
        }
        if first || !batch.files.is_empty() {
            batches.send(batch).await.map_err(|_| SourceError::Closed)?;
        }
        first = false;
        let _ = tokio::time::timeout(RESCAN, woken.recv()).await;
        settle(&mut woken).await;
    }
}

/// Waits until changes have stopped coming for a moment.
async fn settle(woken: &mut mpsc::UnboundedReceiver<Vec<PathBuf>>) {
    let limit = Instant::now() + LONGEST_QUIET;
    loop {
        let quiet = (Instant::now() + QUIET).min(limit);
        if tokio::time::timeout_at(quiet, woken.recv()).await.is_err() || Instant::now() >= limit {
            return;
        }
    }
}

/// Every manifest below the directory, by its path from there.
fn read(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, SourceError> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(source) if folder == directory => {
                return Err(SourceError::Directory { path: folder, source });
            }
            // Removed since its parent was read.
            Err(_) => continue,
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let is_manifest = path
                .extension()
                .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e));
            let Some(name) = path.strip_prefix(directory).ok().filter(|_| is_manifest) else { continue };
            match std::fs::read(&path) {
                Ok(bytes) => {
                    files.insert(name.to_string_lossy().into_owned(), bytes);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    // As an error of the file, not as its absence: what it held stays in force.
                    warn!(file = %name.display(), %error, "cannot read a manifest: what it held stays in force");
                    files.insert(name.to_string_lossy().into_owned(), Vec::from(library::UNREADABLE));
                }
            }
        }
    }
    Ok(files)
}
