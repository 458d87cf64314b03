//! What of one kind is in force, and why. Words of the API come in, changes go out; time is an argument.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use palisade_compiler::model::{Event, Kind, Object, ObjectRef};
use palisade_compiler::{Diagnostic, Severity};

use super::heard::{Absence, Heard, Seen};
use super::pending::{Note, Pending};
use super::resource;
use crate::batch::{Finding, PolicyReport};
use crate::state::SourceState;

/// A moment, for reckoning and for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For reckoning: no clock that is set can shorten a time of grace.
    pub(super) instant: Instant,
    /// For people.
    pub(super) timestamp: Timestamp,
}

impl Moment {
    /// The present.
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), timestamp: Timestamp::now() }
    }
}

/// Content that is in force. The compiler has it; here its digest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InForce {
    digest: [u8; 16],
    is_good: bool,
}

#[derive(Debug, Default)]
struct Entry {
    uid: Box<str>,
    in_force: Option<InForce>,
    findings: Vec<Finding>,
    report: Option<Box<PolicyReport>>,
    /// The list it was last seen in.
    round: u32,
    /// It went with its definition and is held.
    is_orphan: bool,
}

/// The definition of the kind has gone; what it took along is held.
#[derive(Debug)]
struct Vanished {
    since: Timestamp,
    drops_at: Timestamp,
    deadline: Instant,
    /// The kind has been served again since: there is a new definition, or none went at all.
    is_back: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shelf {
    kind: Kind,
    grace: Duration,
    entries: BTreeMap<ObjectRef, Entry>,
    round: u32,
    /// Newest version in the present list.
    newest: Option<u64>,
    is_read: bool,
    is_absent: bool,
    vanished: Option<Vanished>,
    failing: Option<String>,
    foreign: Option<String>,
}

impl Shelf {
    /// An empty one.
    pub(super) fn new(kind: Kind, grace: Duration) -> Self {
        Self {
            kind,
            grace,
            entries: BTreeMap::new(),
            round: 0,
            newest: None,
            is_read: false,
            is_absent: false,
            vanished: None,
            failing: None,
            foreign: None,
        }
    }

    /// Whether the kind has been read whole once, or is known not to be there.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// When what is held is dropped.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.vanished.as_ref().map(|vanished| vanished.deadline)
    }

    /// Where the kind stands.
    pub(super) fn state(&self) -> SourceState {
        match (&self.failing, &self.vanished, &self.foreign) {
            // What is about to be dropped matters more than what cannot be read now.
            (_, Some(vanished), _) => {
                SourceState::Vanished { since: vanished.since, drops_at: vanished.drops_at }
            }
            (Some(message), ..) | (None, None, Some(message)) => {
                SourceState::Failing { message: message.clone() }
            }
            (None, None, None) if self.is_absent => SourceState::Missing,
            (None, None, None) if self.is_read => SourceState::Synced,
            (None, None, None) => SourceState::Syncing,
        }
    }

    /// Takes in what is heard.
    pub(super) fn hear(&mut self, heard: Heard, now: Moment, pending: &mut Pending) {
        match heard {
            Heard::Began => {
                self.round = self.round.wrapping_add(1);
                self.newest = None;
            }
            Heard::Listed(seen) => {
                // Only at the end of the list is everything before its versions known.
                self.newest = self.newest.max(seen.version);
                self.put(seen, pending);
            }
            Heard::Ended(absence) => self.end(absence, now, pending),
            Heard::Applied(seen) => {
                pending.saw(self.kind, seen.version);
                let is_return = self.entries.get(&seen.object).is_none_or(|entry| entry.is_orphan);
                self.returned(is_return);
                self.put(seen, pending);
                self.settle();
            }
            Heard::Gone { object, version, absence } => {
                pending.saw(self.kind, version);
                match absence {
                    Absence::Deleted => self.remove(&object, pending),
                    Absence::Orphaned => self.orphan(vec![object], now, pending),
                }
                self.settle();
            }
            Heard::Absent => {
                self.is_read = true;
                self.is_absent = true;
                let all = self.entries.keys().cloned().collect();
                self.orphan(all, now, pending);
            }
            Heard::Failing(message) => self.failing = message,
            Heard::Foreign(message) => self.foreign = message,
        }
    }

    /// Drops what has been held for long enough.
    pub(super) fn tick(&mut self, now: Moment, pending: &mut Pending) {
        if self.deadline().is_none_or(|deadline| now.instant < deadline) {
            return;
        }
        self.vanished = None;
        let held = self.entries.iter().filter(|(_, entry)| entry.is_orphan);
        let held: Vec<ObjectRef> = held.map(|(object, _)| object.clone()).collect();
        pending.notes.push(Note::Dropped { kind: self.kind, policies: held.len() });
        for object in held {
            self.remove(&object, pending);
        }
    }

    fn end(&mut self, absence: Absence, now: Moment, pending: &mut Pending) {
        self.is_read = true;
        self.is_absent = false;
        pending.saw(self.kind, self.newest);
        let missing = self.entries.iter().filter(|(_, entry)| entry.round != self.round && !entry.is_orphan);
        let missing: Vec<ObjectRef> = missing.map(|(object, _)| object.clone()).collect();
        match absence {
            Absence::Deleted => missing.iter().for_each(|object| self.remove(object, pending)),
            Absence::Orphaned => self.orphan(missing, now, pending),
        }
        self.returned(absence == Absence::Deleted);
        self.settle();
    }

    /// What is held from now on is held for another reason: its time of grace begins anew.
    fn returned(&mut self, is_return: bool) {
        if let Some(vanished) = &mut self.vanished {
            vanished.is_back |= is_return;
        }
    }

    /// Nothing is held any more: what went with the definition is back, or has been deleted since.
    fn settle(&mut self) {
        if self.vanished.is_some() && !self.entries.values().any(|entry| entry.is_orphan) {
            self.vanished = None;
        }
    }

    fn put(&mut self, seen: Seen, pending: &mut Pending) {
        let Seen { object, uid, model, diagnostics, report, .. } = seen;
        let entry = self.entries.entry(object.clone()).or_default();
        entry.round = self.round;
        entry.is_orphan = false;
        // Another object of the same name: that the one before was good is no reason to keep anything of it.
        let is_same = *entry.uid == *uid;
        if !is_same {
            entry.uid = uid.into();
        }
        let before = entry.in_force;
        let is_good =
            model.is_some() && diagnostics.iter().all(|finding| finding.severity != Severity::Error);
        let is_kept = !is_good && is_same && before.is_some_and(|before| before.is_good);
        match model {
            // The last good content beats content that breaks the schema.
            _ if is_kept => {}
            Some(model) => {
                let digest = digest(&model);
                if before.is_none_or(|before| before.digest != digest) {
                    pending.events.insert(object.clone(), Event::Apply(model));
                }
                entry.in_force = Some(InForce { digest, is_good });
            }
            None if is_same => {}
            None => {
                if entry.in_force.take().is_some() {
                    pending.events.insert(object.clone(), Event::Delete(object.clone()));
                }
            }
        }
        let findings =
            diagnostics.into_iter().map(|diagnostic| Finding { origin: None, diagnostic, is_kept });
        find(entry, &object, findings.collect(), pending);
        if entry.report.as_deref() != report.as_ref() {
            entry.report = report.clone().map(Box::new);
            pending.policies.insert(object, report);
        }
    }

    fn remove(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(mut entry) = self.entries.remove(object) else { return };
        if entry.in_force.is_some() {
            pending.events.insert(object.clone(), Event::Delete(object.clone()));
        }
        find(&mut entry, object, Vec::new(), pending);
        if entry.report.is_some() {
            pending.policies.insert(object.clone(), None);
        }
    }

    /// Holds what went with its definition.
    fn orphan(&mut self, objects: Vec<ObjectRef>, now: Moment, pending: &mut Pending) {
        let is_held = |object: &ObjectRef| {
            self.entries.get(object).is_some_and(|entry| !entry.is_orphan && entry.in_force.is_some())
        };
        let (held, lost): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_held);
        for object in lost {
            if self.entries.get(&object).is_some_and(|entry| !entry.is_orphan) {
                self.remove(&object, pending);
            }
        }
        if held.is_empty() {
            return;
        }
        if self.vanished.as_ref().is_none_or(|vanished| vanished.is_back) {
            self.vanished = Some(Vanished {
                since: now.timestamp,
                drops_at: now.timestamp.checked_add(self.grace).unwrap_or(Timestamp::MAX),
                deadline: now.instant + self.grace,
                is_back: false,
            });
            pending.notes.push(Note::Vanished { kind: self.kind, grace: self.grace });
        }
        for object in &held {
            if let Some(entry) = self.entries.get_mut(object) {
                entry.is_orphan = true;
            }
        }
        let Some(vanished) = &self.vanished else { return };
        for (object, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.is_orphan) {
            if entry.report.take().is_some() {
                pending.policies.insert(object.clone(), None);
            }
            let finding = Finding { origin: None, diagnostic: held_finding(object, vanished), is_kept: true };
            find(entry, object, vec![finding], pending);
        }
    }
}

fn find(entry: &mut Entry, object: &ObjectRef, findings: Vec<Finding>, pending: &mut Pending) {
    if entry.findings == findings {
        return;
    }
    let new = findings.iter().filter(|finding| !entry.findings.contains(finding));
    pending.notes.extend(new.map(|finding| Note::Found(finding.clone())));
    entry.findings.clone_from(&findings);
    pending.findings.insert(object.clone(), findings);
}

fn held_finding(object: &ObjectRef, vanished: &Vanished) -> Diagnostic {
    let definition = resource::full_name(object.kind);
    Diagnostic {
        object: object.clone(),
        field: String::new(),
        severity: Severity::Warning,
        message: format!(
            "it went when the CustomResourceDefinition {definition} was deleted, and stays in force until {:.0}",
            vanished.drops_at
        ),
        remedy: "install the definition and apply the policy again, or wait if it is to go".to_owned(),
    }
}

/// Tells models apart without keeping them. What a model has is all in its `Debug` form.
fn digest(model: &Object) -> [u8; 16] {
    struct Hashing(blake3::Hasher);
    impl Write for Hashing {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut hashing = Hashing(blake3::Hasher::new());
    // Hashing does not fail.
    let _ = write!(hashing, "{model:?}");
    let mut digest = [0; 16];
    digest.copy_from_slice(&hashing.0.finalize().as_bytes()[..16]);
    digest
}
