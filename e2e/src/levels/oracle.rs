//! The specification, with reasons.

use anyhow::Result;
use palisade_compiler::model::Cluster;
use palisade_compiler::oracle::{self, Flow, Judgement};

use super::{Check, Judge, Observed, TakingIn};
use crate::scenario::State;

/// The oracle over the cluster that the manifests describe.
#[derive(Debug, Default)]
pub struct OracleJudge {
    taking_in: TakingIn,
    cluster: Cluster,
}

impl OracleJudge {
    /// The judgement of a flow.
    pub fn judgement(&self, flow: &Flow) -> Judgement {
        oracle::judge(&self.cluster, flow)
    }

    /// Takes a state's manifests in.
    pub fn take_in(&mut self, to: &State) -> Result<()> {
        for event in self.taking_in.events(to)? {
            self.cluster.apply(event);
        }
        Ok(())
    }
}

impl Judge for OracleJudge {
    async fn change(&mut self, _from: Option<&State>, to: &State) -> Result<()> {
        self.take_in(to)
    }

    async fn judge(&mut self, _state: &State, checks: &[Check]) -> Result<Vec<Observed>> {
        Ok(checks
            .iter()
            .map(|check| {
                let judgement = self.judgement(&check.route.flow);
                Observed { agrees: agrees(check, &judgement), text: judgement.to_string() }
            })
            .collect())
    }
}

/// The reason for a denial is that of the first side that denies; an allowed flow may be named after either side.
pub(super) fn agrees(check: &Check, judgement: &Judgement) -> bool {
    if judgement.allowed() != check.probe.allowed {
        return false;
    }
    let Some(reason) = &check.probe.reason else { return true };
    let (egress, ingress) = (judgement.egress.reason.to_string(), judgement.ingress.reason.to_string());
    if judgement.allowed() {
        *reason == egress || *reason == ingress
    } else if judgement.egress.allowed {
        *reason == ingress
    } else {
        *reason == egress
    }
}
