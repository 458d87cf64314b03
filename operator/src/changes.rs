//! What file system events say of files: which may differ now, and which are being written.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, Event, EventKind, ModifyKind};
use tokio::sync::Notify;

/// How long a file whose writer has gone quiet without closing it counts as being written. The word that it was
/// closed is lost where the kernel had more to tell than it keeps.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What has been told of a directory's files. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told {
    changed: Notify,
    writers: Mutex<Writers>,
}

#[derive(Debug, Default)]
struct Writers {
    /// Files that are being written, with the time of the last write.
    now: BTreeMap<PathBuf, Instant>,
    /// Files that were being written at some time since [`Changes::begin_reading`].
    meanwhile: BTreeSet<PathBuf>,
}

impl Changes {
    /// Takes in what the watcher tells.
    pub(crate) fn tell(&self, event: notify::Result<Event>) {
        // An error says that something was missed: read everything.
        let Ok(event) = event else { return self.told.changed.notify_one() };
        if event.need_rescan() {
            return self.told.changed.notify_one();
        }
        match event.kind {
            // Until its writer closes it, a file is half of what it will be. Reading makes events too (an open, a
            // close), which must not be answered by reading.
            EventKind::Modify(ModifyKind::Data(_)) => self.begin(event.paths),
            EventKind::Create(CreateKind::File) => {
                let (new, whole) = event.paths.into_iter().partition(|path| is_empty_file(path));
                self.begin(new);
                self.end(whole);
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => self.end(event.paths),
            EventKind::Create(_) | EventKind::Other => self.told.changed.notify_one(),
            _ => {}
        }
    }

    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.told.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, paths: Vec<PathBuf>) {
        let now = Instant::now();
        let mut writers = self.writers();
        for path in paths {
            writers.meanwhile.insert(path.clone());
            writers.now.insert(path, now);
        }
    }

    fn end(&self, paths: Vec<PathBuf>) {
        if paths.is_empty() {
            return;
        }
        {
            let mut writers = self.writers();
            for path in paths {
                writers.now.remove(&path);
            }
        }
        self.told.changed.notify_one();
    }

    /// Waits until a file may differ, or for as long as given.
    pub(crate) async fn within(&self, limit: Duration) -> bool {
        // A file that is given up on has to be looked at again.
        let last = self.writers().now.values().min().copied();
        let oldest = last.map(|last| LONGEST_PAUSE.saturating_sub(last.elapsed()));
        let limit = oldest.map_or(limit, |oldest| oldest.min(limit));
        tokio::time::timeout(limit, self.told.changed.notified()).await.is_ok()
    }

    /// Waits until nothing more has come for a moment (`quiet`), but not longer than given.
    pub(crate) async fn settle(&self, quiet: Duration, limit: Duration) {
        let end = tokio::time::Instant::now() + limit;
        while tokio::time::Instant::now() < end {
            if tokio::time::timeout(quiet, self.told.changed.notified()).await.is_err() {
                return;
            }
        }
    }

    /// To be called before files are read; then [`Changes::end_reading`].
    pub(crate) fn begin_reading(&self) {
        let mut writers = self.writers();
        writers.now.retain(|_, last| last.elapsed() < LONGEST_PAUSE);
        writers.meanwhile = writers.now.keys().cloned().collect();
    }

    /// The files that somebody was writing while they were read: what was read of them may be half of it.
    pub(crate) fn end_reading(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.writers().meanwhile)
    }
}

/// Whether a new name is that of a file about to be written. Links come with their content, and nobody closes them.
fn is_empty_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|data| data.is_file() && data.nlink() == 1)
}
