//! What the review has come to, as the hub keeps it beside what intake has found. Plain data: it does not know how reviews
//! are made or what waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use palisade_compiler::model::ObjectRef;
use palisade_compiler::review::Review;
use palisade_compiler::{Diagnostic, Severity};

use crate::batch::Finding;

/// A review.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// What was found.
    pub review: Arc<Review>,
    /// The epoch of what was looked at.
    pub epoch: u64,
    /// How long it took.
    pub took: Duration,
}

/// What is to be told of each policy, sorted.
pub type Told = BTreeMap<ObjectRef, Vec<Diagnostic>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Opinions {
    last: Option<Reviewed>,
    told: Told,
}

impl Opinions {
    /// Takes in a review.
    pub(crate) fn take_in(&mut self, reviewed: Reviewed) {
        self.last = Some(reviewed);
    }

    /// The last review is of a later epoch, too: nothing has changed that it looked at.
    pub(crate) fn holds_at(&mut self, epoch: u64) {
        if let Some(last) = &mut self.last {
            last.epoch = last.epoch.max(epoch);
        }
    }

    /// Takes in what is to be told. Returns the policies of which something was or is.
    pub(crate) fn tell(&mut self, told: Told) -> BTreeSet<ObjectRef> {
        let before = std::mem::replace(&mut self.told, told);
        before.into_keys().chain(self.told.keys().cloned()).collect()
    }

    /// What is found about a policy whose content was taken in at an epoch: by intake, and by the review if it has seen that
    /// content.
    pub(crate) fn beside(
        &self,
        object: &ObjectRef,
        epoch: u64,
        intake: Option<&Vec<Finding>>,
    ) -> Vec<Finding> {
        let mut findings = intake.cloned().unwrap_or_default();
        let has_seen = self.last.as_ref().is_some_and(|last| last.epoch >= epoch);
        // What is in force instead of broken content is not what is found about here.
        let is_kept = findings.iter().any(|finding| finding.is_kept);
        if let Some(told) = self.told.get(object).filter(|_| has_seen && !is_kept) {
            findings.extend(told.iter().map(|told| Finding {
                origin: None,
                diagnostic: told.clone(),
                is_kept: false,
            }));
            findings.sort();
        }
        findings
    }

    /// How many remarks of a severity the last review had, told or not.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        let remarks = self.last.iter().flat_map(|last| &last.review.remarks);
        remarks.filter(|remark| remark.diagnostic.severity == severity).count()
    }

    /// Everything that intake and the last review have found, for people.
    pub(crate) fn render<'f>(&self, intake: impl IntoIterator<Item = &'f Finding>) -> String {
        let remarks = self.last.iter().flat_map(|last| &last.review.remarks);
        let mut lines: Vec<(&Diagnostic, String)> =
            remarks.map(|remark| (&remark.diagnostic, remark.diagnostic.to_string())).collect();
        lines.extend(intake.into_iter().map(|finding| (&finding.diagnostic, finding.to_string())));
        lines.sort();
        let mut text = match &self.last {
            None => format!("# findings: {}; the policies have not been reviewed yet\n", lines.len()),
            Some(last) => format!(
                "# findings: {}; the policies were reviewed as of epoch {}, in {:.1} ms\n",
                lines.len(),
                last.epoch,
                last.took.as_secs_f64() * 1000.0
            ),
        };
        for (_, line) in lines {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{line}");
        }
        for object in self.last.iter().flat_map(|last| &last.review.unreviewed) {
            let _ = writeln!(text, "{object}: not reviewed: too large");
        }
        text
    }
}
