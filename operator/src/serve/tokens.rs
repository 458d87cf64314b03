//! Which bearer token is which node's: a file of `token,node` lines, read again when it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::changes::is_change;

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
    pub fn follow(&self) -> Result<impl Future<Output = Result<(), TokensError>> + use<>, TokensError> {
        let (wake, mut woken) = mpsc::unbounded_channel();
        let failed = |source| TokensError::Watch { path: self.path.to_path_buf(), source };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(&event)) {
                // The receiver goes only with the operator.
                let _ = wake.send(());
            }
        })
        .map_err(failed)?;
        // The directory: a file that is replaced by renaming is another file. Kubernetes replaces a link in it.
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        watcher.watch(directory.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive).map_err(failed)?;
        let tokens = self.clone();
        Ok(async move {
            let _watcher = watcher;
            while woken.recv().await.is_some() {
                match read(&tokens.path) {
                    Ok(known) => {
                        let mut held = tokens.known.write().unwrap_or_else(PoisonError::into_inner);
                        if *held != known {
                            info!(tokens = known.len(), "read the token file again");
                            *held = known;
                        }
                    }
                    Err(error) => error!("{:#}; the tokens in force stay", anyhow::Error::from(error)),
                }
            }
            Ok(())
        })
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
