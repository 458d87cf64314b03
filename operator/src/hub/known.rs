//! Everything that the hub knows, behind its lock. Owns what follows from it; wakes and counts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_compiler::model::ObjectRef;
use palisade_compiler::{Severity, Spans};

use super::Awaited;
use super::node::Node;
use crate::batch::{FileReport, Finding, PolicyReport};
use crate::progress::PolicyProgress;
use crate::reviewed::{Opinions, Told};
use crate::state::SourceState;

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) epoch: u64,
    /// Of all updates; `None` on a standby.
    pub(super) term: Option<u64>,
    pub(super) ready: bool,
    pub(super) files: BTreeMap<String, (FileReport, u64)>,
    pub(super) gone: BTreeMap<String, u64>,
    pub(super) sources: BTreeMap<&'static str, SourceState>,
    /// How far each kind has been read.
    pub(super) seen: BTreeMap<&'static str, u64>,
    pub(super) findings: BTreeMap<ObjectRef, Vec<Finding>>,
    pub(super) opinions: Opinions,
    pub(super) policies: BTreeMap<ObjectRef, Arc<PolicyProgress>>,
    pub(super) spans: Arc<Spans>,
    pub(super) objects: Vec<(&'static str, usize)>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) next_session: u64,
}

impl Inner {
    pub(super) fn take_in_policies(
        &mut self,
        findings: BTreeMap<ObjectRef, Vec<Finding>>,
        reports: BTreeMap<ObjectRef, Option<PolicyReport>>,
    ) {
        let mut touched: BTreeSet<ObjectRef> = reports.keys().cloned().collect();
        for (object, found) in findings {
            touched.insert(object.clone());
            if found.is_empty() {
                self.findings.remove(&object);
            } else {
                self.findings.insert(object, found);
            }
        }
        let mut reports = reports;
        for object in touched {
            let known = self.policies.remove(&object);
            let report = match reports.remove(&object) {
                Some(report) => report,
                None => known.as_ref().map(|known| known.report.clone()),
            };
            let Some(report) = report else { continue };
            // What is the same generation has the same content: it was taken in when it was first seen.
            let epoch = known
                .filter(|known| {
                    known.report.uid == report.uid && known.report.generation == report.generation
                })
                .map_or(self.epoch, |known| known.epoch);
            let findings = self.opinions.beside(&object, epoch, self.findings.get(&object));
            // A span that was computed before the policy was taken in does not know its pods.
            let span = (epoch < self.epoch).then(|| self.spans.get(&object).cloned()).flatten();
            self.policies.insert(object, Arc::new(PolicyProgress { report, epoch, findings, span }));
        }
    }

    /// The epoch at which it was taken in, or a later one; `None`: not yet.
    pub(super) fn taken_in(&self, what: &Awaited, called_at: u64) -> Option<u64> {
        match what {
            Awaited::Now => self.ready.then_some(called_at),
            Awaited::File { name, digest: Some(digest) } => {
                self.files.get(name).filter(|(report, _)| report.digest == *digest).map(|(_, epoch)| *epoch)
            }
            Awaited::File { name, digest: None } if self.files.contains_key(name) => None,
            Awaited::File { name, digest: None } => {
                self.ready.then(|| self.gone.get(name).copied().unwrap_or_default())
            }
            Awaited::Read { kind, version } => {
                let is_read = self.seen.get(kind.as_str()).is_some_and(|seen| seen >= version);
                is_read.then_some(self.epoch)
            }
        }
    }

    pub(super) fn has_confirmed(&self, node: &str, epoch: u64) -> bool {
        self.nodes.get(node).is_some_and(|node| {
            node.session.is_some() && node.acked_epoch.is_some_and(|acked| acked >= epoch)
        })
    }

    /// Takes in what the review has to tell.
    pub(super) fn take_in_opinions(&mut self, told: Told) {
        for object in self.opinions.tell(told) {
            let Some(policy) = self.policies.get_mut(&object) else { continue };
            let findings = self.opinions.beside(&object, policy.epoch, self.findings.get(&object));
            if policy.findings != findings {
                Arc::make_mut(policy).findings = findings;
            }
        }
    }

    pub(super) fn severities(&self) -> [(Severity, usize); 4] {
        [Severity::Advice, Severity::Warning, Severity::FailClosed, Severity::Error].map(|severity| {
            let found = self.findings.values().flatten();
            let found = found.filter(|finding| finding.diagnostic.severity == severity).count();
            (severity, found + self.opinions.count(severity))
        })
    }
}
