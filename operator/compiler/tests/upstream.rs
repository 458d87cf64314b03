//! The oracle and the engine held against reference data: the upstream conformance suites of both API generations as
//! live changes of one cluster, and the cyclonus cases. The data is no part of the project: where it is absent, every
//! test is shown as ignored.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::nodes::Nodes;
use common::{Step, Tally, conformance, cyclonus, reference};
use libtest_mimic::{Arguments, Failed, Trial};
use palisade_compiler::{Engine, oracle};
use palisade_view::Packet;
use serde_json::Value;

/// A set of reference data.
#[derive(Clone, Copy)]
struct Suite {
    name: &'static str,
    file: &'static str,
    steps: fn(&Value) -> Vec<Step>,
    /// How many probes it has: a loader that loses some must not pass.
    probes: usize,
}

const V1ALPHA2: Suite = Suite {
    name: "conformance v1alpha2",
    file: "conformance/main-0eec1b0-v1alpha2/scenarios.json",
    steps: conformance::steps,
    probes: 301,
};
const V1ALPHA1: Suite = Suite {
    name: "conformance v1alpha1",
    file: "conformance/release-0.1-e80807c-v1alpha1/scenarios.json",
    steps: conformance::steps,
    probes: 289,
};
const CYCLONUS: Suite = Suite {
    name: "cyclonus",
    file: "cyclonus/cases-with-expected.json",
    steps: cyclonus::steps,
    probes: 111_036,
};

type Check = fn(&Suite, &Path) -> Result<(), Failed>;

impl Suite {
    fn load(&self, data: &Path) -> Vec<Step> {
        (self.steps)(&reference::load(data, self.file))
    }

    fn conclude(&self, judge: &str, tally: &Tally) -> Result<(), Failed> {
        let wrong = tally.disagreements.len();
        println!("{}: {judge}: {} of {} probes agree", self.name, tally.probes - wrong, tally.probes);
        if tally.probes != self.probes {
            return Err(format!("the data has {} probes, {} were judged", self.probes, tally.probes).into());
        }
        if wrong > 0 {
            let listed = tally.disagreements.iter().take(50).map(|line| format!("\n  {line}"));
            return Err(format!("{wrong} disagreements:{}", listed.collect::<String>()).into());
        }
        Ok(())
    }

    fn against_the_oracle(&self, data: &Path) -> Result<(), Failed> {
        let mut tally = Tally::default();
        for step in &self.load(data) {
            let cluster = step.cluster();
            for probe in &step.probes {
                let judgement = oracle::judge(&cluster, &probe.flow);
                let verdicts = (judgement.egress.allowed, judgement.ingress.allowed, judgement.allowed());
                tally.count(step, probe, verdicts, || judgement.to_string());
            }
        }
        self.conclude("oracle", &tally)
    }

    /// One engine lives through all steps, as a cluster would.
    fn against_the_engine(&self, data: &Path) -> Result<(), Failed> {
        let steps = self.load(data);
        let mut tally = Tally::default();
        let (mut engine, mut nodes, mut before) = (Engine::default(), Nodes::default(), &BTreeMap::new());
        for step in &steps {
            nodes.follow(&engine.apply(step.events_from(before)));
            before = &step.objects;
            assert_eq!(*engine.cluster(), step.cluster(), "{}: the engine is where the step is", step.name);
            for probe in &step.probes {
                let flow = &probe.flow;
                let packet = Packet { source: flow.source, destination: flow.destination, l4: flow.l4 };
                let verdicts = nodes.judge(engine.cluster(), &packet);
                tally.count(step, probe, verdicts, || {
                    format!("by the compiled views: egress {}, ingress {}", verdicts.0, verdicts.1)
                });
                let walk = oracle::walk(engine.cluster(), flow);
                assert_eq!(engine.explain(flow), walk, "{}: {}: the explanations", step.name, probe.name);
            }
        }
        self.conclude("engine", &tally)
    }
}

fn main() {
    let data = reference::directory();
    if data.is_none() {
        println!(
            "skipped: reference data not present (set PALISADE_SHARED to the directory that holds `data`)"
        );
    }
    let mut trials = Vec::new();
    for suite in [V1ALPHA2, V1ALPHA1, CYCLONUS] {
        let judges: [(&str, Check); 2] =
            [("oracle", Suite::against_the_oracle), ("engine", Suite::against_the_engine)];
        for (judge, check) in judges {
            let given = data.clone();
            let run = move || check(&suite, given.as_deref().ok_or("reference data not present")?);
            let trial = Trial::test(format!("{judge} agrees with {}", suite.name), run);
            trials.push(trial.with_ignored_flag(data.is_none()));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
