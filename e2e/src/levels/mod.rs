//! The judges that scenarios are held against: the specification, the compiled tables in a simulated kernel, and
//! packets in the real one. Each walks the same steps, changed live.

pub mod fake;
pub mod oracle;
pub mod packets;
mod platform;
mod taking_in;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::scenario::{Cni, Probe, Route, Scenario, State};

use oracle::OracleJudge;
pub use taking_in::TakingIn;

/// Which judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The oracle, with reasons.
    Oracle,
    /// The ruleset's simulated kernel.
    Fake,
    /// Real daemons and packets.
    Packets(Cni, Via),
}

/// How the operator learns of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// From a directory.
    Manifests,
    /// From a Kubernetes API.
    Api,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oracle => f.write_str("oracle"),
            Self::Fake => f.write_str("fake"),
            Self::Packets(cni, Via::Manifests) => write!(f, "packets({})", cni.name()),
            Self::Packets(cni, Via::Api) => write!(f, "api({})", cni.name()),
        }
    }
}

/// A probe over one family.
#[derive(Clone, Debug)]
pub struct Check {
    /// The probe.
    pub probe: Probe,
    /// Where its packets go.
    pub route: Route,
}

/// What a judge makes of a check: the verdict in its own words, and whether it is the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whether it is as expected.
    pub agrees: bool,
    /// What was observed.
    pub text: String,
}

/// Something that judges probes in a cluster that changes.
pub trait Judge {
    /// Carries a change of the cluster out; on return it is in force.
    fn change(&mut self, from: Option<&State>, to: &State) -> impl Future<Output = Result<()>> + Send;

    /// Judges all checks, in order.
    fn judge(
        &mut self,
        state: &State,
        checks: &[Check],
    ) -> impl Future<Output = Result<Vec<Observed>>> + Send;
}

/// A probe that did not come out as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: String,
    /// The probe, with its family.
    pub probe: String,
    /// What had to come out.
    pub expected: String,
    /// What came out.
    pub observed: String,
    /// The oracle's judgement, with its reasons.
    pub oracle: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: expected {}, observed {}", self.step, self.probe, self.expected, self.observed)
    }
}

/// What came of a scenario at one level.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Probes judged, one a family.
    pub probes: usize,
    /// Those that came out otherwise.
    pub failures: Vec<Failure>,
    /// Why it could not be carried through.
    pub error: Option<String>,
    /// Where logs are kept, if anything failed.
    pub logs: Option<PathBuf>,
}

impl Report {
    /// Whether everything came out as expected, and something did.
    pub fn is_good(&self) -> bool {
        self.error.is_none() && self.failures.is_empty() && self.probes > 0
    }
}

/// Walks a scenario's steps with a judge.
pub async fn walk<J: Judge>(scenario: &Scenario, judge: &mut J) -> Report {
    let mut report = Report::default();
    if let Err(error) = steps(scenario, judge, &mut report).await {
        report.error = Some(format!("{error:#}"));
    }
    report
}

async fn steps<J: Judge>(scenario: &Scenario, judge: &mut J, report: &mut Report) -> Result<()> {
    let mut state = State::of(scenario).with_context(|| scenario.path.display().to_string())?;
    let mut oracle = OracleJudge::default();
    oracle.take_in(&state).context("at the start")?;
    judge.change(None, &state).await.context("at the start")?;
    for (position, step) in scenario.steps.iter().enumerate() {
        let place = format!("{}: steps[{position}]", scenario.path.display());
        let next = state.after(step).with_context(|| place.clone())?;
        judge.change(Some(&state), &next).await.with_context(|| place.clone())?;
        state = next;
        oracle.take_in(&state).with_context(|| place.clone())?;
        let mut checks = Vec::new();
        for probe in &step.probes {
            for route in state.routes(probe).with_context(|| place.clone())? {
                checks.push(Check { probe: probe.clone(), route });
            }
        }
        let observed = judge.judge(&state, &checks).await.with_context(|| place.clone())?;
        report.probes += checks.len();
        for (check, observed) in checks.iter().zip(observed).filter(|(_, observed)| !observed.agrees) {
            report.failures.push(failure(&step.say, check, observed, &oracle));
        }
    }
    Ok(())
}

fn failure(say: &str, check: &Check, observed: Observed, oracle: &OracleJudge) -> Failure {
    let verdict = if check.probe.allowed { "allow" } else { "deny" };
    let expected = match &check.probe.reason {
        Some(reason) => format!("{verdict} by {reason}"),
        None => verdict.to_owned(),
    };
    let Route { flow, dialled, .. } = &check.route;
    let probe = format!(
        "{} ({} -> {dialled}, judged as {} -> {} {})",
        check.probe, flow.source, flow.source, flow.destination, flow.l4
    );
    Failure {
        step: say.to_owned(),
        probe,
        expected,
        observed: observed.text,
        oracle: oracle.judgement(flow).to_string(),
    }
}
