//! Which content of which object is in force. Files come in, changes of objects go out.

use std::collections::{BTreeMap, BTreeSet};

use palisade_compiler::intake::{self, IntakeError};
use palisade_compiler::model::{Event, Object, ObjectRef};
use palisade_compiler::{Diagnostic, Severity};
use tracing::debug;

use super::document::documents;
use crate::batch::{Batch, FileReport, Finding, Origin};

/// Stands for the bytes of a file that cannot be read: no document, one error.
pub(super) const UNREADABLE: &[u8] = b"\xff\xfe unreadable";

/// What a file says of one object.
#[derive(Clone, Debug)]
struct Entry {
    line: usize,
    model: Option<Object>,
    diagnostics: Vec<Diagnostic>,
}

impl Entry {
    fn is_good(&self) -> bool {
        self.model.is_some() && self.diagnostics.iter().all(|finding| finding.severity != Severity::Error)
    }
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    report: FileReport,
    entries: BTreeMap<ObjectRef, Entry>,
}

/// An object in force.
#[derive(Debug)]
struct InForce {
    model: Object,
    is_good: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Library {
    files: BTreeMap<String, File>,
    in_force: BTreeMap<ObjectRef, InForce>,
    /// What was last said of each file.
    told: BTreeMap<String, FileReport>,
    /// What was last said of each object.
    told_findings: BTreeMap<ObjectRef, Vec<Finding>>,
}

impl Library {
    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether a known file has less in it now.
    pub(super) fn would_shrink(&self, files: &BTreeMap<String, Vec<u8>>) -> bool {
        let is_less = |(name, file): (&String, &File)| {
            files.get(name).is_some_and(|bytes| bytes.len() < file.bytes.len())
        };
        self.files.iter().any(is_less)
    }

    /// What is known of a file.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|file| &*file.bytes)
    }

    /// Takes in the directory as it is now.
    pub(super) fn replace(&mut self, files: BTreeMap<String, Vec<u8>>) -> Batch {
        let before = self.files.len();
        self.files.retain(|name, _| files.contains_key(name));
        let mut is_changed = self.files.len() != before;
        for (name, bytes) in files {
            let old = self.files.remove(&name);
            let file = match old {
                Some(same) if same.bytes == bytes => same,
                old => {
                    is_changed = true;
                    read(&name, bytes, old)
                }
            };
            self.files.insert(name, file);
        }
        if is_changed { self.resolve() } else { Batch::default() }
    }

    /// Settles which content of each object is in force.
    fn resolve(&mut self) -> Batch {
        let mut chosen: BTreeMap<&ObjectRef, (&String, &Entry)> = BTreeMap::new();
        let mut duplicates: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        for (name, file) in &self.files {
            for (object, entry) in &file.entries {
                if let Some((first, _)) = chosen.get(object) {
                    duplicates.entry(name).or_default().push(format!(
                        "{name}:{}: {object} is in {first} too, which comes first and counts; remove one of them",
                        entry.line
                    ));
                } else {
                    chosen.insert(object, (name, entry));
                }
            }
        }
        let mut batch = Batch::default();
        let mut findings = BTreeMap::new();
        for object in self.in_force.keys().filter(|object| !chosen.contains_key(object)) {
            batch.events.push(Event::Delete(object.clone()));
        }
        for (object, (file, entry)) in &chosen {
            let is_good = entry.is_good();
            let is_kept = !is_good && self.in_force.get(*object).is_some_and(|old| old.is_good);
            let finding = |diagnostic: &Diagnostic| Finding {
                origin: Some(Origin { file: (*file).clone(), line: entry.line }),
                diagnostic: diagnostic.clone(),
                is_kept,
            };
            let found: Vec<Finding> = entry.diagnostics.iter().map(finding).collect();
            if !found.is_empty() {
                findings.insert((*object).clone(), found);
            }
            let Some(model) = &entry.model else { continue };
            match self.in_force.get(*object) {
                // The last good content beats content that breaks the schema.
                Some(_) if is_kept => {}
                Some(old) if old.model == *model && old.is_good == is_good => {}
                _ => batch.events.push(Event::Apply(model.clone())),
            }
        }
        let kept: BTreeSet<ObjectRef> = chosen.keys().map(|object| (*object).clone()).collect();
        let goods: Vec<(ObjectRef, InForce)> = batch
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Apply(model) => {
                    let object = model.object();
                    let is_good = chosen.get(&object).is_some_and(|(_, entry)| entry.is_good());
                    Some((object, InForce { model: model.clone(), is_good }))
                }
                Event::Delete(_) => None,
            })
            .collect();
        self.in_force.retain(|object, _| kept.contains(object));
        self.in_force.extend(goods);
        // A file gets and loses duplicates through other files' changes, too.
        let mut reports = BTreeMap::new();
        for (name, file) in &self.files {
            let mut report = file.report.clone();
            report.errors.extend(duplicates.remove(name).into_iter().flatten());
            if self.told.get(name) != Some(&report) {
                batch.files.insert(name.clone(), Some(report.clone()));
            }
            reports.insert(name.clone(), report);
        }
        let gone = self.told.keys().filter(|name| !reports.contains_key(*name));
        batch.files.extend(gone.map(|name| (name.clone(), None)));
        self.told = reports;
        let gone = self.told_findings.keys().filter(|object| !findings.contains_key(*object));
        batch.findings.extend(gone.map(|object| (object.clone(), Vec::new())));
        let is_new =
            |(object, found): &(&ObjectRef, &Vec<Finding>)| self.told_findings.get(*object) != Some(*found);
        let new = findings.iter().filter(is_new).map(|(object, found)| (object.clone(), found.clone()));
        batch.findings.extend(new);
        self.told_findings = findings;
        batch
    }
}

/// Reads a file. What its broken documents held before stays: by name where a document can be named, else
/// everything of the file's last content that is not in its good documents.
fn read(name: &str, bytes: Vec<u8>, old: Option<File>) -> File {
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let mut report = FileReport { digest, documents: 0, errors: Vec::new() };
    let mut entries: BTreeMap<ObjectRef, Entry> = BTreeMap::new();
    let mut is_broken = false;
    match std::str::from_utf8(&bytes) {
        Err(_) => {
            report
                .errors
                .push(format!("{name}:1: not UTF-8 text, or unreadable; what it held stays in force"));
            is_broken = true;
        }
        Ok(text) => {
            for document in documents(text) {
                report.documents += 1;
                match document.objects {
                    Err((line, what)) => {
                        report
                            .errors
                            .push(format!("{name}:{line}: {what}; what the file held here stays in force"));
                        is_broken = true;
                    }
                    Ok(objects) => {
                        for raw in &objects {
                            is_broken |= take(name, document.line, raw, &mut entries, &mut report.errors);
                        }
                    }
                }
            }
        }
    }
    if is_broken && let Some(old) = old {
        for (object, entry) in old.entries {
            entries.entry(object).or_insert(entry);
        }
    }
    File { bytes, report, entries }
}

/// Takes one raw object in. Whether it is one of ours but cannot be named.
fn take(
    file: &str,
    line: usize,
    raw: &serde_json::Value,
    entries: &mut BTreeMap<ObjectRef, Entry>,
    errors: &mut Vec<String>,
) -> bool {
    match intake::decode(raw) {
        Ok(decoded) => {
            if let Some(first) = entries.get(&decoded.object) {
                errors.push(format!(
                    "{file}:{line}: {} is in line {} too, which counts; remove one of them",
                    decoded.object, first.line
                ));
                return false;
            }
            let entry = Entry { line, model: decoded.model, diagnostics: decoded.diagnostics };
            entries.insert(decoded.object, entry);
            false
        }
        Err(IntakeError::UnknownKind { api_version, kind }) => {
            debug!(file, line, api_version, kind, "not a kind that matters to network policy");
            false
        }
        Err(error @ IntakeError::Unnamed { .. }) => {
            errors.push(format!("{file}:{line}: {error}"));
            true
        }
    }
}
