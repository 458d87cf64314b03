//! What a review has to say: a diagnostic, what sort of thing it is about, and what it was concluded from.

use palisade_view::Packet;

use crate::diagnostic::{Diagnostic, Severity};
use crate::model::ObjectRef;

/// What a remark is about. With object and field it tells one remark from another, however the wording changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matter {
    /// A rule never decides anything: others take all that it matches.
    Shadowed,
    /// Nothing can meet a selector, or the exceptions leave nothing of a network.
    Contradiction,
    /// Nothing meets a selector now.
    EmptySelector,
    /// A selector meets only pods with `hostNetwork`.
    HostNetworkOnly,
    /// No destination has a port of that name.
    MissingPort,
    /// No subject has an address of the networks' family.
    WrongFamily,
    /// NetworkPolicy leaves nothing to a policy of the Baseline tier.
    NeverAsked,
    /// Isolated pods cannot ask for names.
    NoDns,
    /// Isolated pods cannot ask for names by TCP, which long answers need.
    NoDnsOverTcp,
    /// Another policy of the same tier and priority says otherwise.
    Conflict,
}

/// What a remark was concluded from, and so when it can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The policies alone: it is so whatever pods, namespaces and nodes there are.
    Policies,
    /// The pods, namespaces and nodes that are there: it comes and goes with them.
    Present,
}

/// One finding of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What is wrong and what to do.
    pub diagnostic: Diagnostic,
    /// What it is about.
    pub matter: Matter,
    /// What it was concluded from.
    pub basis: Basis,
    /// A packet that shows it, for a conflict.
    pub example: Option<Packet>,
}

impl Remark {
    /// What remarks are sorted by.
    pub(super) fn order(&self) -> (&Diagnostic, Matter) {
        (&self.diagnostic, self.matter)
    }

    fn new(
        object: &ObjectRef,
        field: impl Into<String>,
        (severity, basis): (Severity, Basis),
        matter: Matter,
        message: String,
        remedy: impl Into<String>,
    ) -> Self {
        let (object, field, remedy) = (object.clone(), field.into(), remedy.into());
        Self {
            diagnostic: Diagnostic { object, field, severity, message, remedy },
            matter,
            basis,
            example: None,
        }
    }

    /// Hardly meant, and so by the policies alone.
    pub(super) fn certain(
        object: &ObjectRef,
        field: impl Into<String>,
        matter: Matter,
        message: String,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(object, field, (Severity::Warning, Basis::Policies), matter, message, remedy)
    }

    /// Hardly meant, with what is there now.
    pub(super) fn present(
        object: &ObjectRef,
        field: impl Into<String>,
        matter: Matter,
        message: String,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(object, field, (Severity::Warning, Basis::Present), matter, message, remedy)
    }

    /// Perhaps meant, with what is there now.
    pub(super) fn advice(
        object: &ObjectRef,
        field: impl Into<String>,
        matter: Matter,
        message: String,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(object, field, (Severity::Advice, Basis::Present), matter, message, remedy)
    }

    /// With a packet that shows it.
    pub(super) fn shown_by(mut self, packet: Packet) -> Self {
        self.example = Some(packet);
        self
    }

    /// With another severity.
    pub(super) fn graded(mut self, severity: Severity) -> Self {
        self.diagnostic.severity = severity;
        self
    }
}
