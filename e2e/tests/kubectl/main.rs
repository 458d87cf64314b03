//! kubectl as people run it, against the API server that `PALISADE_CONTROL_PLANE` chooses. Each file in `transcripts/` is
//! what a person typed and what came back, recorded from a real kube-apiserver; here the whole of it must come back
//! again, but for names, ages, times and the like. `docs/testing.md` says how to record.
//!
//! Without a kubectl every test is ignored, and so is each that needs a later one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cluster;
mod normal;
mod transcript;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Trial};

use crate::cluster::Cluster;
use crate::transcript::Transcript;

/// Set, the transcripts are written anew.
const RECORD: &str = "PALISADE_RECORD";

fn transcripts() -> Result<Vec<(String, PathBuf, Transcript)>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl/transcripts");
    let mut all = Vec::new();
    for entry in directory.read_dir().with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?.to_owned();
        let transcript = Transcript::parse(&fs::read_to_string(&path)?).with_context(|| name.clone())?;
        all.push((name, path, transcript));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

fn run(name: &str, path: &Path, expected: &Transcript, cluster: &Cluster) -> Result<()> {
    let room = cluster.room(name)?;
    let mut found = expected.clone();
    for step in found.steps.iter_mut().filter(|step| cluster.minor() >= step.minor) {
        step.output = room.run(&step.command)?;
    }
    if std::env::var_os(RECORD).is_some() {
        if !cluster.is_real() {
            bail!("only what a real API server says is recorded: choose one by PALISADE_CONTROL_PLANE");
        }
        return Ok(fs::write(path, found.to_string())?);
    }
    let differing = expected.steps.iter().zip(&found.steps).filter(|(old, new)| old.output != new.output);
    let told: Vec<String> = differing.map(|(old, new)| old.difference(new)).collect();
    if !told.is_empty() {
        bail!("{}", told.join("\n"));
    }
    Ok(())
}

fn trials(cluster: Option<&Arc<Cluster>>) -> Result<Vec<Trial>> {
    let trial = |(name, path, transcript): (String, PathBuf, Transcript)| {
        let cluster = cluster.cloned();
        let is_ignored = cluster.as_ref().is_none_or(|cluster| cluster.minor() < transcript.minor);
        let label = name.clone();
        let test = move || match cluster {
            Some(cluster) => {
                run(&name, &path, &transcript, &cluster).map_err(|error| format!("{error:#}").into())
            }
            None => Err("there is no kubectl".into()),
        };
        Trial::test(label, test).with_ignored_flag(is_ignored)
    };
    Ok(transcripts()?.into_iter().map(trial).collect())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let started = Cluster::start().map(|cluster| cluster.map(Arc::new)).and_then(|cluster| {
        let trials = trials(cluster.as_ref())?;
        Ok((cluster, trials))
    });
    match started {
        Ok((cluster, trials)) => {
            match &cluster {
                Some(cluster) => eprintln!("{}", cluster.said()),
                None => {
                    eprintln!("skipped: all of it, there is no kubectl; `.ci/prepare kubectl` installs one");
                }
            }
            libtest_mimic::run(&arguments, trials).exit_code()
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
