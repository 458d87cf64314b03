//! Runs scenarios at the levels asked for and collects what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::stream::{self, StreamExt};
use tokio::time::timeout;

use crate::daemons::Binaries;
use crate::levels::fake::FakeJudge;
use crate::levels::oracle::OracleJudge;
use crate::levels::packets::PacketJudge;
use crate::levels::{Level, Report, Via, walk};
use crate::namespaces;
use crate::scenario::{Cni, Scenario};
use crate::traffic::scaled;

/// How many clusters run at once. Mostly they wait for silence, so more than there are processors.
const PARALLEL: usize = 4;

/// How long one scenario may take at one level.
const LIMIT: Duration = Duration::from_mins(2);

/// Which scenarios to run, and where.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only those with one of these tags; empty: all.
    pub tags: BTreeSet<String>,
    /// Only those whose name contains one of these; empty: all.
    pub names: BTreeSet<String>,
    /// The levels' words: `oracle`, `fake`, `packets`, `api`; empty: all but `api`, which is `packets` by another way.
    pub levels: BTreeSet<String>,
}

impl Choice {
    /// Whether a scenario is chosen.
    pub fn takes(&self, scenario: &Scenario) -> bool {
        (self.tags.is_empty() || !self.tags.is_disjoint(&scenario.tags))
            && (self.names.is_empty() || self.names.iter().any(|name| scenario.name.contains(name.as_str())))
    }

    /// The levels a scenario is to run at.
    pub fn levels(&self, scenario: &Scenario) -> Vec<Level> {
        let has = |word: &str| self.levels.is_empty() || self.levels.contains(word);
        let mut levels = Vec::new();
        if has("oracle") {
            levels.push(Level::Oracle);
        }
        if has("fake") {
            levels.push(Level::Fake);
        }
        if has("packets") {
            levels.extend(scenario.cni.iter().map(|&cni: &Cni| Level::Packets(cni, Via::Manifests)));
        }
        if self.levels.contains("api") {
            levels.extend(scenario.cni.iter().map(|&cni: &Cni| Level::Packets(cni, Via::Api)));
        }
        levels
    }

    /// Whether packets are to be sent.
    pub fn has_packets(&self) -> bool {
        self.levels.is_empty() || self.levels.contains("packets") || self.levels.contains("api")
    }

    /// Checks the words.
    pub fn check(&self) -> Result<()> {
        match self
            .levels
            .iter()
            .find(|level| !matches!(level.as_str(), "oracle" | "fake" | "packets" | "api"))
        {
            Some(level) => bail!("`{level}` is not a level: oracle, fake, packets, api"),
            None => Ok(()),
        }
    }
}

/// A scenario with what came of it at each level.
#[derive(Debug)]
pub struct Outcome {
    /// The scenario.
    pub scenario: Scenario,
    /// What came of it, and how long that took.
    pub reports: BTreeMap<Level, (Report, Duration)>,
}

impl Outcome {
    /// Whether it came out as expected at every level.
    pub fn is_good(&self) -> bool {
        !self.reports.is_empty() && self.reports.values().all(|(report, _)| report.is_good())
    }
}

/// Runs one scenario at one level.
pub async fn run_one(scenario: &Scenario, level: Level) -> (Report, Duration) {
    let start = Instant::now();
    let limit = scaled(LIMIT);
    let failed = |error: String| Report { error: Some(error), ..Report::default() };
    let report = match level {
        Level::Oracle => walk(scenario, &mut OracleJudge::default()).await,
        Level::Fake => walk(scenario, &mut FakeJudge::default()).await,
        Level::Packets(cni, via) => match PacketJudge::new(scenario, cni, via) {
            Err(error) => failed(format!("{error:#}")),
            Ok(mut judge) => {
                let walked = timeout(limit, walk(scenario, &mut judge)).await;
                let mut report = walked.unwrap_or_else(|_| failed(format!("not done within {limit:?}")));
                if !report.is_good() {
                    report.logs = judge.keep_logs(&scenario.name).await.ok();
                }
                report
            }
        },
    };
    (report, start.elapsed())
}

/// Runs all scenarios that are chosen; tells of each as it is done. The result is in the scenarios' order.
pub async fn run(directory: &Path, choice: &Choice, done: impl Fn(&Outcome)) -> Result<Vec<Outcome>> {
    choice.check()?;
    if choice.has_packets() {
        namespaces::check()?;
        Binaries::find()?;
    }
    let scenarios: Vec<Scenario> =
        Scenario::load(directory)?.into_iter().filter(|scenario| choice.takes(scenario)).collect();
    if scenarios.is_empty() {
        bail!("no scenario is chosen");
    }
    let outcomes = stream::iter(scenarios)
        .map(|scenario| async {
            let mut reports = BTreeMap::new();
            for level in choice.levels(&scenario) {
                reports.insert(level, run_one(&scenario, level).await);
            }
            Outcome { scenario, reports }
        })
        .buffered(PARALLEL)
        .inspect(|outcome| done(outcome))
        .collect()
        .await;
    Ok(outcomes)
}
