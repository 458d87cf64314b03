//! Writes the `CustomResourceDefinition`s into `crds/yaml`, or with `--check` says whether what is there is current.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use palisade_crds::{definitions, manifest};

const USAGE: &str = "usage: crdgen [--check] [DIRECTORY]\n\
    Writes one file for each CustomResourceDefinition into DIRECTORY (by `cargo run`: crds/yaml).\n\
    --check writes nothing, names the files that are not current, and fails if there are any.";

fn main() -> Result<ExitCode> {
    let (mut check, mut directory) = (false, None);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--check" => check = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            option if option.starts_with('-') => bail!("{option}: no such option\n{USAGE}"),
            _ if directory.is_some() => bail!("{argument}: one directory at most\n{USAGE}"),
            _ => directory = Some(PathBuf::from(argument)),
        }
    }
    // Set by `cargo run`: the place of this crate.
    let home = || std::env::var_os("CARGO_MANIFEST_DIR").map(|crate_| Path::new(&crate_).join("yaml"));
    let directory = directory.or_else(home).with_context(|| format!("which directory?\n{USAGE}"))?;
    if check { stale(&directory) } else { write(&directory) }
}

fn write(directory: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(directory).with_context(|| format!("{}: cannot be made", directory.display()))?;
    for definition in definitions() {
        let path = directory.join(manifest::file(&definition));
        let text = manifest::render(&definition)?;
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        std::fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        println!("{}: written", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn stale(directory: &Path) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for definition in definitions() {
        let path = directory.join(manifest::file(&definition));
        if std::fs::read_to_string(&path).ok() != Some(manifest::render(&definition)?) {
            eprintln!(
                "{}: not what the types say: run `make crds` and commit what it writes",
                path.display()
            );
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
