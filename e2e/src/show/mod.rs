//! The demo's cluster: a network, daemons on manifests or on the Kubernetes API, policies as a person writes them, and
//! a look at who reaches whom.

mod expected;
mod files;
mod kubernetes;
mod matrix;
mod stage;
mod traffics;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use expected::Expected;
pub use files::Show;
pub use kubernetes::ApiShow;
pub use matrix::{Matrix, topology};
pub use stage::Stage;
pub use traffics::Traffics;

/// The manifests of a directory in order of name.
pub fn samples(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "yaml"))
        .collect();
    paths.sort();
    Ok(paths)
}
