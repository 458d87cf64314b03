//! What a node keeps on disk: the view in force, the numbers it was given in the kernel, and the highest term. One
//! file, replaced whole. Knows neither the kernel nor the link.
//!
//! The file is written after the kernel took a transaction, not before: an update must not wait for a disk. A crash
//! in between leaves a file that is older than the kernel; the kernel's own markers tell (revision and generation),
//! and [`enforce`](crate::enforce) acts on that. A file lost with the power costs nothing either, since the kernel's
//! rules are gone with it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_proto::{DecodeError, decode_operations, encode_operation};
use palisade_ruleset::Numbers;
use palisade_view::{HASH_VERSION, NodeView, Root, ViewError};

const FILE: &str = "state";
const TEMPORARY: &str = "state.new";
const LOCK: &str = "lock";

/// First bytes of the file: its kind and the version of its form.
const MAGIC: &[u8; 16] = b"palisade-state 1";
/// Checksum at the file's end, in bytes.
const SUM: usize = blake3::OUT_LEN;

/// What is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The view in force.
    pub view: Arc<NodeView>,
    /// The numbers that its elements have in the kernel.
    pub numbers: Numbers,
    /// The highest term the node has seen.
    pub term: u64,
}

/// A state that cannot be read, or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refuses.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process works on the same directory.
    #[error(
        "{} is in use by another palisade-node: stop that one first, or give each its own --state-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file is cut off or damaged.
    #[error("the state file is torn or damaged: {0}")]
    Damaged(&'static str),
    /// The file is whole and comes from a build whose hashes mean something else.
    #[error("the state file has hash version {0}, this build has {HASH_VERSION}")]
    Version(u32),
    /// The numbers do not decode.
    #[error("the state file's numbers: {0}")]
    Numbers(#[from] serde_json::Error),
    /// The view does not decode.
    #[error("the state file's view: {0}")]
    View(#[from] DecodeError),
    /// The view's parts do not fit together.
    #[error("the state file's view: {0}")]
    Unfit(#[from] ViewError),
}

/// The state directory, held against other processes as long as this value lives.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens the directory, making it (mode 0700) where it is absent.
    ///
    /// # Errors
    /// The directory cannot be made, or another process holds it.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { action, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io("cannot make the state directory", directory))?;
        let path = directory.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("cannot open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(io("cannot lock", &path)(source)),
        }
    }

    /// The state file.
    pub fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Reads the state. `None`: there is none.
    ///
    /// # Errors
    /// There is one, and it cannot be read or is not whole.
    pub fn load(&self) -> Result<Option<State>, StateError> {
        let path = self.path();
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => decode(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { action: "cannot read", path, source }),
        }
    }

    /// Replaces the state; a reader sees the old or the new, never a part. Blocks until the disk has it.
    ///
    /// # Errors
    /// The disk does not take it. The old state stays.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        let bytes = encode(state)?;
        let temporary = self.directory.join(TEMPORARY);
        let io = |action| {
            let path = temporary.clone();
            move |source| StateError::Io { action, path, source }
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(io("cannot create"))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io("cannot write"))?;
        fs::rename(&temporary, self.path()).map_err(io("cannot rename"))?;
        // The rename itself is on disk only once the directory is.
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(io("cannot sync"))
    }

    /// Removes the state; the directory stays. Whether there was any.
    ///
    /// # Errors
    /// A file is there and cannot be removed.
    pub fn remove(&self) -> Result<bool, StateError> {
        let mut found = false;
        for name in [TEMPORARY, FILE] {
            let path = self.directory.join(name);
            match fs::remove_file(&path) {
                Ok(()) => found = true,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(StateError::Io { action: "cannot remove", path, source }),
            }
        }
        Ok(found)
    }
}

/// Magic, hash version, term, root, length of the numbers, numbers (JSON), view (operations from an empty one), sum.
fn encode(state: &State) -> Result<Vec<u8>, StateError> {
    let numbers = serde_json::to_vec(&state.numbers)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&HASH_VERSION.to_be_bytes());
    bytes.extend_from_slice(&state.term.to_be_bytes());
    bytes.extend_from_slice(&state.view.root().to_bytes());
    bytes.extend_from_slice(&(numbers.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&numbers);
    for operation in NodeView::default().diff(&state.view) {
        bytes.extend_from_slice(&encode_operation(&operation));
    }
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<State, StateError> {
    const SHORT: StateError = StateError::Damaged("it is too short");
    let (body, sum) = bytes.split_last_chunk::<SUM>().ok_or(SHORT)?;
    let (magic, body_rest) = body.split_first_chunk::<16>().ok_or(SHORT)?;
    if magic != MAGIC {
        return Err(StateError::Damaged("it does not begin as a state file of this build does"));
    }
    if blake3::hash(body) != *sum {
        return Err(StateError::Damaged("its checksum is wrong"));
    }
    let (version, rest) = body_rest.split_first_chunk::<4>().ok_or(SHORT)?;
    let version = u32::from_be_bytes(*version);
    if version != HASH_VERSION {
        return Err(StateError::Version(version));
    }
    let (term, rest) = rest.split_first_chunk::<8>().ok_or(SHORT)?;
    let (root, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(SHORT)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| SHORT)?;
    let (numbers, operations) = rest.split_at_checked(length).ok_or(SHORT)?;
    let operations = decode_operations(operations).map_err(|(_, error)| error)?;
    let mut view = NodeView::default();
    view.apply_all(&operations).map_err(|(_, error)| error)?;
    view.check()?;
    let announced = Root::from_bytes(*root);
    if view.root() != announced {
        return Err(ViewError::WrongRoot { announced, actual: view.root() }.into());
    }
    Ok(State {
        view: Arc::new(view),
        numbers: serde_json::from_slice(numbers)?,
        term: u64::from_be_bytes(*term),
    })
}

#[cfg(test)]
mod tests;
