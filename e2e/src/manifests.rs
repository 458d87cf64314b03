//! The cluster's state as a directory of Kubernetes manifests, each file put in place whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::objects;
use crate::scenario::State;

/// Every object of a state, by file and in order.
pub fn files(state: &State) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut files = BTreeMap::new();
    let namespaces = state.namespaces.iter().map(|(name, labels)| objects::namespace(name, labels)).collect();
    files.insert("namespaces.yaml".to_owned(), namespaces);
    let nodes =
        state.nodes.iter().map(|(name, fields)| objects::node(state, name, fields)).collect::<Result<_>>()?;
    files.insert("nodes.yaml".to_owned(), nodes);
    let pods =
        state.pods.iter().map(|(name, fields)| objects::pod(state, name, fields)).collect::<Result<_>>()?;
    files.insert("pods.yaml".to_owned(), pods);
    for (name, object) in &state.policies {
        let file = name.to_ascii_lowercase().replace('/', ".");
        files.insert(format!("policy.{file}.yaml"), vec![object.clone()]);
    }
    Ok(files)
}

/// The text of a manifest file.
pub fn text(objects: &[Value]) -> Result<String> {
    let mut text = String::new();
    for object in objects {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        let yaml = serde_saphyr::to_string(object)?;
        // What is written must be what is read back, whatever the writer thinks of quoting.
        let read: Option<Value> = serde_saphyr::from_str(&yaml).ok();
        if read.as_ref() == Some(object) {
            text.push_str(&yaml);
        } else {
            text.push_str(&serde_json::to_string_pretty(object)?);
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

/// What a file must have become: the BLAKE3 digest of its bytes in hexadecimal, or `absent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file's name.
    pub file: String,
    /// Its digest.
    pub digest: String,
}

/// A directory of manifests.
#[derive(Clone, Debug)]
pub struct ManifestDir {
    directory: PathBuf,
    staging: PathBuf,
}

impl ManifestDir {
    /// A new directory, with one beside it on the same file system where files are made before they are renamed.
    pub fn new(directory: &Path) -> Result<Self> {
        let staging = directory.with_extension("staging");
        for path in [directory, &staging] {
            fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        }
        Ok(Self { directory: directory.to_owned(), staging })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Puts a file in place.
    pub fn write(&self, file: &str, text: &str) -> Result<Written> {
        let staged = self.staging.join(file);
        fs::write(&staged, text).with_context(|| staged.display().to_string())?;
        let path = self.directory.join(file);
        fs::rename(&staged, &path).with_context(|| path.display().to_string())?;
        Ok(Written { file: file.to_owned(), digest: blake3::hash(text.as_bytes()).to_hex().to_string() })
    }

    /// Takes a file away.
    pub fn remove(&self, file: &str) -> Result<Written> {
        fs::remove_file(self.directory.join(file)).context(file.to_owned())?;
        Ok(Written { file: file.to_owned(), digest: "absent".to_owned() })
    }

    /// Makes the directory say what a state says; touches only files that differ from what `from` says.
    pub fn change(&self, from: Option<&State>, to: &State) -> Result<Vec<Written>> {
        let old = from.map(files).transpose()?.unwrap_or_default();
        let new = files(to)?;
        let mut written = Vec::new();
        for file in old.keys().filter(|file| !new.contains_key(*file)) {
            written.push(self.remove(file)?);
        }
        for (file, objects) in &new {
            if old.get(file) != Some(objects) {
                written.push(self.write(file, &text(objects)?)?);
            }
        }
        Ok(written)
    }
}
