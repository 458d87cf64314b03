//! Manifests as a source of objects: a directory of files, watched. Owns which content of which object is in force;
//! knows nothing of what becomes of it.

mod document;
mod library;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use palisade_compiler::Diagnostic;
use palisade_compiler::model::ObjectRef;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::batch::{Batch, Finding};
use crate::changes::Changes;
use library::Library;

/// How long the source waits for more of the same after a change: an editor's rename and its neighbours, or the
/// several files of one `cp`.
const QUIET: Duration = Duration::from_millis(3);

/// How long changes may keep coming before they are taken in all the same.
const LONGEST_QUIET: Duration = Duration::from_millis(50);

/// How often the directory is read without being told: events can be lost on network file systems.
const RESCAN: Duration = Duration::from_mins(1);

/// Bytes by name.
type Files = BTreeMap<String, Vec<u8>>;

/// How long the source waits after the directory could not be read.
const RETRY: Duration = Duration::from_secs(1);

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
    directory: &Path,
    batches: mpsc::Sender<Batch>,
) -> Result<impl Future<Output = Result<(), SourceError>> + use<>, SourceError> {
    let path = || directory.to_path_buf();
    let failed = |source| SourceError::Watch { path: path(), source };
    std::fs::read_dir(directory).map_err(|source| SourceError::Directory { path: path(), source })?;
    let changes = Changes::default();
    let told = changes.clone();
    let watcher = notify::recommended_watcher(move |event| told.tell(event)).map_err(failed)?;
    // The watcher tells absolute paths.
    let absolute = std::path::absolute(directory).map_err(|error| failed(notify::Error::io(error)))?;
    let mut watch = Watch { watcher, directory: absolute, inode: None };
    watch.renew().map_err(failed)?;
    Ok(follow(watch, changes, batches))
}

/// What the kernel watches for us. It watches a directory, whatever its name comes to be; we mean the name.
struct Watch<W> {
    watcher: W,
    directory: PathBuf,
    /// Device and inode of the directory that is watched.
    inode: Option<(u64, u64)>,
}

impl<W: Watcher> Watch<W> {
    /// Watches what the name leads to now. Does nothing if that is watched already.
    fn renew(&mut self) -> notify::Result<()> {
        let found = std::fs::metadata(&self.directory).map_err(notify::Error::io)?;
        let found = Some((found.dev(), found.ino()));
        if self.inode != found {
            // The kernel may have forgotten it by itself.
            let _ = self.watcher.unwatch(&self.directory);
            self.watcher.watch(&self.directory, RecursiveMode::Recursive)?;
            self.inode = found;
        }
        Ok(())
    }
}

async fn follow(
    mut watch: Watch<impl Watcher>,
    changes: Changes,
    batches: mpsc::Sender<Batch>,
) -> Result<(), SourceError> {
    let mut library = Library::default();
    let mut told = Told::new();
    let mut first = true;
    loop {
        let watched =
            watch.renew().map_err(|source| SourceError::Watch { path: watch.directory.clone(), source });
        let files = match steady(&watch.directory, &changes, &library)
            .await
            .and_then(|files| watched.map(|()| files))
        {
            Err(error) if first => return Err(error),
            Err(error) => {
                // A directory that is gone, or cannot be opened for the moment, says nothing of its objects.
                warn!("{:#}; what is in force stays", anyhow::Error::from(error));
                changes.within(RETRY).await;
                continue;
            }
            Ok(Steady { half: Some(name), .. }) if first => {
                // To leave its policies out would open what they close.
                info!(file = %name, "waiting for a manifest that is being written");
                changes.within(RESCAN).await;
                continue;
            }
            Ok(Steady { files, .. }) => files,
        };
        let batch = library.replace(files);
        tell(&batch, &mut told);
        if first {
            info!(files = library.len(), objects = batch.events.len(), "read the manifests");
        }
        if first || !batch.files.is_empty() {
            batches.send(batch).await.map_err(|_| SourceError::Closed)?;
        }
        first = false;
        changes.within(RESCAN).await;
        changes.settle(QUIET, LONGEST_QUIET).await;
    }
}

/// A directory without what is half written.
struct Steady {
    /// A file that is being written is as it was, or is left out if it is new.
    files: Files,
    /// One that is left out.
    half: Option<String>,
}

async fn steady(directory: &Path, changes: &Changes, library: &Library) -> Result<Steady, SourceError> {
    changes.begin_reading();
    let mut files = read(directory)?;
    if library.would_shrink(&files) {
        // A writer may have begun by truncating its file, and the word of it is on the way.
        changes.settle(QUIET, QUIET).await;
        changes.begin_reading();
        files = read(directory)?;
    }
    let mut half = None;
    for path in changes.end_reading() {
        let Ok(name) = path.strip_prefix(directory) else { continue };
        let name = name.to_string_lossy().into_owned();
        if let Some(known) = library.bytes(&name) {
            files.insert(name, known.to_vec());
        } else if files.remove(&name).is_some() {
            half = Some(name);
        }
    }
    Ok(Steady { files, half })
}

/// What was last said of each object.
type Told = BTreeMap<ObjectRef, BTreeSet<(Diagnostic, bool)>>;

/// Logs what is new of what is wrong.
fn tell(batch: &Batch, told: &mut Told) {
    for (name, report) in &batch.files {
        for error in report.iter().flat_map(|report| &report.errors) {
            warn!(file = %name, "{error}");
        }
    }
    for (object, findings) in &batch.findings {
        let known = told.remove(object).unwrap_or_default();
        let key = |finding: &Finding| (finding.diagnostic.clone(), finding.is_kept);
        for finding in findings.iter().filter(|finding| !known.contains(&key(finding))) {
            warn!("{finding}");
        }
        if !findings.is_empty() {
            told.insert(object.clone(), findings.iter().map(key).collect());
        }
    }
}

/// Every manifest below the directory, by its path from there.
fn read(directory: &Path) -> Result<Files, SourceError> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![directory.to_path_buf()];
    let mut visited = BTreeSet::new();
    while let Some(folder) = waiting.pop() {
        // A link may lead back up.
        if !visited.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
            continue;
        }
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
