//! A run's files: gone with the run, and with the next one where a run was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

const PREFIX: &str = "palisade-e2e-";

/// A directory for one cluster's files.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// A new directory. The first one of a process also removes those of processes that are gone.
    pub fn new() -> Result<Self> {
        static SWEEP: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the logs to where they outlive the run: `e2e-logs` in cargo's target directory. A relative path, if
    /// that is under the working directory.
    pub fn keep_logs(&self, name: &str) -> Result<PathBuf> {
        let program = std::env::current_exe()?;
        let target = program
            .ancestors()
            .find(|path| path.file_name().is_some_and(|name| name == "target"))
            .map_or_else(std::env::temp_dir, Path::to_owned);
        let kept = target.join("e2e-logs").join(name.replace('/', "."));
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        for part in ["logs", "manifests"] {
            let from = self.path.join(part);
            let to = if part == "logs" { kept.clone() } else { kept.join(part) };
            fs::create_dir_all(&to)?;
            for entry in fs::read_dir(&from).into_iter().flatten().flatten() {
                let _ = fs::copy(entry.path(), to.join(entry.file_name()));
            }
        }
        let here = std::env::current_dir()?;
        Ok(kept.strip_prefix(&here).map_or(kept.clone(), Path::to_owned))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok())
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
