//! Which definition the known objects of a kind came with, and so what their absence means. Pure.
//!
//! A definition that is deleted and installed again is another one, with another uid; what was there with the first is
//! gone without anybody having meant it. Watches go on across the change as if nothing had happened.

use super::definition::Definition;
use super::heard::Absence;

/// What an absence means, and whether the list it was seen after still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What it means.
    pub(super) absence: Absence,
    /// The definition is not what it was when the list began: look for it and list again.
    pub(super) is_outdated: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// Of the objects that are known; `None`: there are none, or it is not known.
    known: Option<String>,
    /// As it was before the present list began.
    present: Option<String>,
    is_going: bool,
}

impl Lineage {
    /// The definition was seen; a list begins.
    pub(super) fn found(&mut self, uid: Option<String>, is_going: bool) {
        if self.known.is_none() {
            self.known.clone_from(&uid);
        }
        (self.present, self.is_going) = (uid, is_going);
    }

    /// The definition is not there, and no object counts as known any more.
    pub(super) fn lost(&mut self) {
        *self = Self::default();
    }

    /// Whether it was being deleted when the present list began.
    pub(super) fn is_going(&self) -> bool {
        self.is_going
    }

    /// What it means that something is not in the list that has ended; the definition was looked at since.
    pub(super) fn ended(&mut self, now: &Definition) -> Verdict {
        let Definition::There { uid, is_going } = now else {
            return Verdict { absence: Absence::Orphaned, is_outdated: true };
        };
        let is_present = is_same(uid.as_ref(), self.present.as_ref());
        let is_known = is_present && is_same(uid.as_ref(), self.known.as_ref());
        if is_present {
            self.known.clone_from(&self.present);
        }
        let absence = if is_known && !is_going { Absence::Deleted } else { Absence::Orphaned };
        Verdict { absence, is_outdated: !is_present || *is_going != self.is_going }
    }

    /// What it means that something went after the list; the definition was looked at since.
    pub(super) fn gone(&self, now: &Definition) -> Verdict {
        let Definition::There { uid, is_going } = now else {
            return Verdict { absence: Absence::Orphaned, is_outdated: true };
        };
        let is_present = is_same(uid.as_ref(), self.present.as_ref());
        let absence = if is_present && !is_going { Absence::Deleted } else { Absence::Orphaned };
        Verdict { absence, is_outdated: !is_present || *is_going != self.is_going }
    }
}

/// What is not known is taken to be the same: discovery tells no uid.
fn is_same(one: Option<&String>, other: Option<&String>) -> bool {
    one.is_none() || other.is_none() || one == other
}
