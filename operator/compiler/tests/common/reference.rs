//! Where the reference data lies. It is no part of the project.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The directory of the reference data: in `PALISADE_SHARED`, which must then hold it, or in `shared` beside the
/// workspace. `None` where there is none.
pub(crate) fn directory() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("PALISADE_SHARED") {
        return Some(PathBuf::from(given).join("data"));
    }
    // Above the crate, at whatever depth it lies in the workspace.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|directory| directory.join("shared/data")).find(|data| data.is_dir())
}

/// A JSON file of the reference data.
pub(crate) fn load(directory: &Path, file: &str) -> Value {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
