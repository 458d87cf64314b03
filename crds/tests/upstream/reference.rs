//! Where the reference data lies. It is no part of the project.

use std::path::{Path, PathBuf};

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

/// A file of the reference data.
pub(crate) fn read(directory: &Path, file: &str) -> String {
    let path = directory.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The YAML files below a directory of the reference data, in the order of their names.
pub(crate) fn yaml_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(yaml_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    files
}
