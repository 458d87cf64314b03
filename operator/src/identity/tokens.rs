//! Which bearer token is which node's: a file of `token,node` lines, read again when it changes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tracing::{error, info};

use crate::changes::Changes;

/// How often the file is read without being told: events can be lost on network file systems.
const RESCAN: Duration = Duration::from_mins(1);

/// Tokens by their hash: comparing hashes tells nothing about how much of a guess was right.
type Known = HashMap<blake3::Hash, String>;

/// The tokens in force; clones share them.
#[derive(Clone, Debug)]
pub struct Tokens {
    path: Arc<PathBuf>,
    known: Arc<RwLock<Known>>,
}

/// The token file does not serve.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the token file {path}: give an existing one with --tokens")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is malformed.
    #[error("{path}:{line}: {what}; a line is `token,node-name`")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// It cannot be watched.
    #[error("cannot watch the token file {path}")]
    Watch {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// The file is unreadable or malformed.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let known = read(path)?;
        Ok(Self { path: Arc::new(path.to_path_buf()), known: Arc::new(RwLock::new(known)) })
    }

    /// The node a token belongs to.
    pub fn node(&self, token: &str) -> Option<String> {
        let hash = blake3::hash(token.as_bytes());
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    /// Reads the file again whenever it changes. One that is malformed then is reported, and the tokens in force
    /// stay. A token taken away does not end a stream that it opened.
    ///
    /// # Errors
    /// The file cannot be watched.
    pub fn follow(&self) -> Result<impl Future<Output = Infallible> + use<>, TokensError> {
        let failed = |source| TokensError::Watch { path: self.path.to_path_buf(), source };
        // The watcher tells absolute paths.
        let path = std::path::absolute(&*self.path).map_err(|error| failed(notify::Error::io(error)))?;
        let changes = Changes::default();
        let told = changes.clone();
        let mut watcher = notify::recommended_watcher(move |event| told.tell(event)).map_err(failed)?;
        // The directory: a file that is replaced by renaming is another file. Kubernetes replaces a link in it.
        let directory = path.parent().unwrap_or(Path::new("/"));
        watcher.watch(directory, RecursiveMode::NonRecursive).map_err(failed)?;
        let tokens = self.clone();
        Ok(async move {
            let _watcher = watcher;
            loop {
                // At first without being told: it may have changed between loading and watching.
                changes.begin_reading();
                let known = read(&path);
                // Truncated to be written again, it would take every token away.
                if !changes.end_reading().contains(&path) {
                    tokens.take(known);
                }
                changes.within(RESCAN).await;
            }
        })
    }

    fn take(&self, known: Result<Known, TokensError>) {
        match known {
            Ok(known) => {
                let mut held = self.known.write().unwrap_or_else(PoisonError::into_inner);
                if *held != known {
                    info!(tokens = known.len(), "read the token file again");
                    *held = known;
                }
            }
            Err(error) => error!("{:#}; the tokens in force stay", anyhow::Error::from(error)),
        }
    }
}

fn read(path: &Path) -> Result<Known, TokensError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| TokensError::Read { path: path.to_path_buf(), source })?;
    let mut known = Known::new();
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let malformed = |what| TokensError::Line { path: path.to_path_buf(), line, what };
        let (token, node) = content.split_once(',').ok_or_else(|| malformed("no comma"))?;
        let (token, node) = (token.trim(), node.trim());
        if token.is_empty() || node.is_empty() {
            return Err(malformed("the token or the node's name is empty"));
        }
        if known.insert(blake3::hash(token.as_bytes()), node.to_owned()).is_some() {
            return Err(malformed("the token is there already"));
        }
    }
    Ok(known)
}
